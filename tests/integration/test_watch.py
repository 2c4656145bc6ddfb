"""Watching: metrics, the status page, health, against the real daemon and the real server."""
import base64
import ctypes
import hashlib
import html.parser
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from archive import Archive
from cairn import TOP, Started, Workspace
from pg import Server, wait_until
from slow_dump import ROWS

pytestmark = pytest.mark.stores("file")


def parse(text):
    """{name: {labels as text: value}} of the text format."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
            found.setdefault(name, {})[labels or ""] = float(value)
    return found


def promtool(*arguments, text=None, cwd=None):
    if not shutil.which("promtool"):
        pytest.skip("promtool (Debian's prometheus) is not installed")
    done = subprocess.run(["promtool", *arguments], input=text, cwd=cwd, check=False, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return done.stdout


def small(workspace, database, **jobs):
    database("small", "create table t as select generate_series(1, 1000) as v")
    return workspace(["small"], jobs={"nightly": {"type": "dump", "schedule": "0 2 * * *", "keep": {"last": 5}}, **jobs})


@pytest.mark.stores("file", "s3")
def test_metrics_of_a_cluster(workspace, database, tmp_path):
    ws = small(workspace, database)
    ws.run("run", "demo/nightly")
    ws.run("verify", "demo")
    text = ws.run("metrics", "--audit").out
    promtool("check", "metrics", text=text)
    seen = parse(text)
    job = 'cluster="demo",job_name="nightly"'
    assert seen["pgcairn_job_last_ok"] == {job: 1} and seen["pgcairn_job_backups"] == {job: 1}
    assert seen["pgcairn_job_runs_total"][f'{job},outcome="done"'] == 1
    assert seen["pgcairn_job_runs_total"][f'{job},outcome="failed"'] == 0
    assert abs(seen["pgcairn_job_last_success_timestamp_seconds"][job] - time.time()) < 60
    dump = 'cluster="demo",kind="dump"'
    assert seen["pgcairn_newest_backup_verified_level"] == {dump: 2}
    assert seen["pgcairn_stored_bytes"][dump] == seen["pgcairn_job_last_stored_bytes"][job]
    assert seen["pgcairn_database_size_bytes"]['cluster="demo",database="small"'] > 1e6
    assert 0 < seen["pgcairn_server_connections"]['cluster="demo"'] < seen["pgcairn_server_connections_max"]['cluster="demo"']
    assert sum(seen["pgcairn_audit_controls"].values()) > 30
    assert set(seen["pgcairn_facts_up"].values()) == {1} and len(seen["pgcairn_facts_up"]) == 4
    as_json = ws.run("metrics", json=True).json["samples"]
    assert {"name": "pgcairn_job_last_ok", "labels": {"cluster": "demo", "job_name": "nightly"}, "value": 1.0} in as_json
    target = tmp_path / "pgcairn.prom"
    target.write_text("old")
    assert ws.run("metrics", "demo", "--output", target).out == ""
    assert "pgcairn_job_last_ok" in target.read_text() and target.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.glob("pgcairn.prom*")) == [target]


def test_metrics_without_server_or_repository(workspace, database):
    """What can't be asked is absent and said so; the rest is there, and the exit status tells."""
    ws = small(workspace, database)
    ws.run("run", "demo/nightly")
    ws.policy["postgres"]["connection"] = "postgresql:///small?host=/nowhere"
    ws.write()
    run = ws.run("metrics", expect=3)
    seen = parse(run.out)
    assert "/nowhere" in run.err
    assert seen["pgcairn_facts_up"] == {f'cluster="demo",source="{s}"': float(s == "repository") for s in ("repository", "server", "wal")}
    assert "pgcairn_database_size_bytes" not in seen and "pgcairn_job_backups" in seen and "pgcairn_job_last_ok" in seen
    ws.repository.hide()
    seen = parse(ws.run("metrics", expect=3).out)
    assert set(seen["pgcairn_facts_up"].values()) == {0} and "pgcairn_backups" not in seen
    assert seen["pgcairn_job_last_ok"] == {'cluster="demo",job_name="nightly"': 1}
    ws.repository.show()


@pytest.mark.parametrize("words, rc, told", [
    (["metrics", "nowhere"], 2, "nowhere"), (["metrics", "--gather", "all", "demo"], 2, "facts or audit"),
    (["metrics", "--output", "/proc/x/y"], 1, "/proc/x/y"),
    (["daemon", "--listen", "here:there"], 2, "the port"), (["daemon", "--listen", "no.such.host.invalid:1"], 2, "no.such.host"),
    (["daemon", "--listen", "127.0.0.1:70000"], 2, "the port"), (["daemon", "--listen", "[::1"], 2, "ADDRESS:PORT"),
    (["daemon", "--token-file", "x"], 2, "--listen"), (["daemon", "--listen", "0", "--token-file", "/nowhere"], 1, "/nowhere"),
    (["daemon", "--gather-every", "1s"], 2, "less than 10 s"), (["daemon", "--gather-every", "soon"], 2, "--gather-every"),
])
def test_wrong_words(workspace, database, words, rc, told):
    assert told in small(workspace, database).run(*words, expect=rc, timeout=20).err


# -- the daemon ---------------------------------------------------------------------------------


def address(daemon):
    """Where the daemon listens, as host and port."""
    wait_until(lambda: "http://" in daemon.err or not daemon.running(), 20, "the daemon's address")
    found = re.search(r"http://(\S+):(\d+)/", daemon.err)
    assert found and daemon.running(), daemon.err
    return found.group(1), int(found.group(2))


def get(where, path, token=None, method="GET", basic=None):
    """(status, headers, body)."""
    connection = http.client.HTTPConnection(*where, timeout=20)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if basic:
        headers = {"Authorization": "Basic " + base64.b64encode(f"any:{basic}".encode()).decode()}
    connection.request(method, path, headers=headers)
    reply = connection.getresponse()
    body = reply.read().decode()
    connection.close()
    names = {k.lower() for k, _ in reply.getheaders()}
    return reply.status, {k: ", ".join(reply.headers.get_all(k)) for k in names}, body


def scrape(where, **more):
    status, headers, body = get(where, "/metrics", **more)
    assert status == 200, body
    return parse(body)


NASTY = "<img src=x onerror=alert(1)>\"&"
JOBS = {"wal": {"type": "wal", "schedule": "0 * * * *", "keep": {"within": "7d"}, "timeout": "60s"},
        "weekly": {"type": "snapshot", "schedule": "0 3 * * sun", "keep": {"within": "90d", "last": 2}},
        "nightly": {"type": "dump", "schedule": "0 2 * * *", "keep": {"within": "30d", "last": 3}},
        "tidy": {"type": "vacuum", "schedule": "30 4 * * sun", "analyze": True, "budget": "10m"},
        "prune": {"type": "prune", "schedule": "15 5 * * *"},
        "audit": {"type": "audit", "schedule": "0 7 * * *"},
        "broken": {"type": "dump", "keep": {"last": 1}, "schedule": "0 4 1 * *"}}


class Watched:
    """Two clusters under one daemon that listens; of "slow" a dump takes seconds."""

    def __init__(self):
        self.server = Server("watch")
        self.archive = Archive(self.server, cluster="demo", jobs=JOBS)
        self.archive.policy["jobs"]["broken"]["connection"] = self.server.url(NASTY)
        self.archive.write()
        self.server.configure(**self.archive.settings())
        self.server.start()
        self.server.createdb("slow")
        self.server.psql("slow", ROWS)
        self.slow = Workspace(self.archive.root / "slow", self.server, ["slow"], cluster="slow",
                              jobs={"copy": {"type": "dump", "schedule": "0 1 * * *", "keep": {"last": 2}}},
                              repository={"rate_limit": "1MB"})
        for job in ("weekly", "nightly", "wal", "weekly", "nightly", "tidy"):
            self.archive.run("run", f"demo/{job}")
        self.archive.run("run", "demo/broken", expect=1)
        self.environment = {**self.archive.environment(), "HOME": str(self.archive.root)}
        self.started = None

    def start(self, *options):
        policies = ["-c", self.archive.policy_file, "-c", self.slow.policy_file]
        return Started([*policies, "daemon", "--listen", "127.0.0.1:0", *options], self.environment)

    def copy(self):
        """A dump of "slow", on record in the daemon's journal."""
        return Started(["-c", self.slow.policy_file, "run", "slow/copy"], self.environment)


@pytest.fixture(scope="module")
def watched():
    made = Watched()
    try:
        yield made
    finally:
        made.server.stop()


def picture(name, url, width, height, profile, dark=False):
    """A screenshot under build/, kept."""
    folder = Path(os.environ.get("PGCAIRN_BUILD", TOP / "build/dev")) / "test-results"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    path.unlink(missing_ok=True)
    subprocess.run(["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
                    "--hide-scrollbars", f"--window-size={width},{height}", f"--screenshot={path}",
                    *(["--blink-settings=preferredColorScheme=0"] if dark else []), url],
                   check=True, timeout=120, capture_output=True)
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 20000
    return path


def test_scrape_before_while_and_after_a_run(watched):
    job = 'cluster="slow",job_name="copy"'
    with watched.start() as daemon:
        where = address(daemon)
        wait_until(lambda: len(scrape(where).get("pgcairn_audit_ok", {})) == 2, 30, "everything gathered")
        promtool("check", "metrics", text=get(where, "/metrics")[2])
        before = scrape(where)
        assert before["pgcairn_job_running"][job] == 0 and job not in before.get("pgcairn_job_progress_ratio", {})
        with watched.copy() as copy:
            wait_until(lambda: job in scrape(where).get("pgcairn_job_progress_ratio", {}), 30, "progress")
            during = scrape(where)
            assert during["pgcairn_job_running"][job] == 1 and 0 <= during["pgcairn_job_progress_ratio"][job] <= 1
            copy.wait(0)
        time.sleep(1)  # metrics are made once a second
        after = scrape(where)
    assert after["pgcairn_job_running"][job] == 0 and after["pgcairn_job_last_ok"][job] == 1
    done = f'{job},outcome="done"'
    assert after["pgcairn_job_runs_total"][done] == before["pgcairn_job_runs_total"][done] + 1
    assert after["pgcairn_job_last_duration_seconds"][job] > 3
    demo = 'cluster="demo"'
    assert before["pgcairn_wal_lag_segments"][demo] == 0 and before["pgcairn_recovery_window_seconds"][demo] >= 0
    assert before["pgcairn_recovery_window_end_timestamp_seconds"][demo] > time.time() - 600
    assert before["pgcairn_facts_age_seconds"]['cluster="demo",source="repository"'] < 60
    assert before["pgcairn_job_last_outcome"] | {'cluster="demo",job_name="broken",outcome="failed"': 1} == before["pgcairn_job_last_outcome"]
    assert before["pgcairn_alarms"]['kind="failing"'] >= 1


def test_status_page(watched, tmp_path):
    with watched.start() as daemon:
        where = address(daemon)
        wait_until(lambda: "Not gathered yet" not in get(where, "/")[2], 30, "everything gathered")
        with watched.copy() as copy:
            wait_until(lambda: "<progress" in get(where, "/")[2], 30, "the progress of a run")
            status, headers, body = get(where, "/")
            if shutil.which("chromium"):
                url = f"http://{where[0]}:{where[1]}/"
                picture("status-desktop", url, 1200, 2600, tmp_path / "profile")
                picture("status-phone", url, 500, 2600, tmp_path / "profile", dark=True)
    assert status == 200 and headers["cache-control"] == "no-store" and headers["x-content-type-options"] == "nosniff"
    style = re.search("<style>(.*?)</style>", body, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert headers["content-security-policy"].startswith(f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'")
    assert "&lt;img src=x onerror=alert(1)&gt;&quot;&amp;" in body and "<img" not in body and "<script" not in body
    assert not re.search(r"\bsrc=|url\(|@import|style=", body.replace("src=x onerror", ""))
    assert "<progress value=" in body and "slow/copy" in body and 'class="window"' in body and "4 controls failed" in body
    Page().feed(body)


class Page(html.parser.HTMLParser):
    """Every element that must be closed is, in order."""
    OPEN = {"html", "head", "body", "meta", "td", "th", "tr", "line", "rect", "li", "br"}  # HTML closes these, or SVG has

    def __init__(self):
        super().__init__()
        self.stack = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.OPEN:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.OPEN:
            assert self.stack and self.stack.pop() == tag, f"</{tag}> at {self.getpos()}"

    def close(self):
        assert not self.stack, self.stack


def test_token(watched, tmp_path):
    token_file = tmp_path / "token"
    token_file.write_text("short")
    token_file.chmod(0o600)
    with watched.start("--token-file", token_file) as daemon:
        assert "16 to 1024" in daemon.wait(2, 20).err
    token_file.write_text("a-token-of-good-length\n")
    token_file.chmod(0o644)
    with watched.start("--token-file", token_file) as daemon:
        assert "can be read by others" in daemon.wait(1, 20).err
    token_file.chmod(0o600)
    with watched.start("--token-file", token_file) as daemon:
        where = address(daemon)
        token = "a-token-of-good-length"
        for path in ("/metrics", "/", "/nowhere"):
            for wrong in ({}, {"token": token[:-1]}, {"token": token + "x"}, {"token": ""}, {"basic": token + "x"}):
                status, headers, body = get(where, path, **wrong)
                assert status == 401 and "bearer" in headers["www-authenticate"].lower() and "pgcairn_" not in body, (path, wrong)
        assert get(where, "/healthz")[0] == get(where, "/readyz")[0] == 200
        assert get(where, "/metrics", token=token)[0] == get(where, "/", basic=token)[0] == 200
        assert get(where, "/nowhere", token=token)[0] == 404 and get(where, "/metrics", token=token, method="POST")[0] == 405
        head = get(where, "/metrics", token=token, method="HEAD")
        assert head[0] == 200 and head[2] == "" and int(head[1]["content-length"]) > 1000
        token_file.write_text("another-token-of-good-length")
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: get(where, "/", token=token)[0] == 401, 20, "the new token")
        assert get(where, "/", token="another-token-of-good-length")[0] == 200
        token_file.write_text("bad")
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: "stays as it was" in daemon.err, 20, "the bad token")
        assert get(where, "/", token="another-token-of-good-length")[0] == 200
        assert token not in daemon.err


def test_no_client_delays_a_job(workspace, database):
    """Hundreds of connections that say nothing, or a byte now and then; what is due runs all the same, on time."""
    database("small", "create table t as select 1 as v")
    ws = workspace(["small"], jobs={"often": {"type": "dump", "schedule": "* * * * * */2", "seconds": True, "keep": {"last": 3}}})
    started = re.compile(r"T(\S+)Z info demo/often \S+: started for \S+T(\S+)Z,")
    with ws.start("daemon", "--listen", "127.0.0.1:0") as daemon:
        where = address(daemon)
        slow = connect(where, 200)
        wait_until(lambda: send(slow[:100], b"GET / HTTP/1.1\r\nX: ") == 100, 20, "a hundred connections")
        send(slow[100:101], b"GET /" + b"x" * 60000)
        begun = time.monotonic()
        assert get(where, "/healthz")[0] == 200 and time.monotonic() - begun < 2, "two hundred are no reason to wait"
        more, runs = connect(where, 400), len(started.findall(daemon.err))

        def ended():
            """They go on sending; a send fails when the server has ended them."""
            send(slow[:100], b"y")
            return send(slow[:100], b"y") == 0 and len(started.findall(daemon.err)) >= runs + 3

        wait_until(ended, 20, "the end of the slow ones, and three runs")
        wait_until(lambda: answers(where, "/healthz"), 30, "room for an honest client")
        times = started.findall(daemon.err)
        assert all(seconds(at) - seconds(due) <= 1 for at, due in times), times
        time.sleep(1)
        assert scrape(where)["pgcairn_job_last_ok"]['cluster="demo",job_name="often"'] == 1
        for client in slow + more:
            client.close()


def test_listens_again_when_too_many_have_gone(workspace):
    """They came at once, say nothing and are ended at once: who waited in the kernel meanwhile is answered then."""
    ws = workspace(["small"], jobs={"yearly": {"type": "prune", "schedule": "0 0 1 1 *"}})
    with ws.start("daemon", "--listen", "127.0.0.1:0") as daemon:
        where = address(daemon)
        quiet = connect(where, 300)
        wait_until(lambda: answers(where, "/healthz"), 20, "room for an honest client")
        for client in quiet:
            client.close()


def seconds(clock):
    hours, minutes, rest = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


def connect(where, count):
    """So many connections; what the server and its backlog do not take waits in the kernel."""
    clients = [socket.socket() for _ in range(count)]
    for client in clients:
        client.setblocking(False)
        client.connect_ex(where)
    return clients


def send(clients, data):
    """To how many of them it could be sent."""
    sent = 0
    for client in clients:
        try:
            sent += client.send(data) > 0
        except OSError:
            pass
    return sent


def answers(where, path):
    try:
        return get(where, path)[0] == 200
    except OSError:
        return False


def test_health_when_the_loop_hangs(workspace, database):
    """The main thread is stopped by a tracer; the thread that answers is not, and says so."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    seize, interrupt, detach = 0x4206, 0x4207, 17
    ws = small(workspace, database, often={"type": "vacuum", "schedule": "* * * * * */5", "seconds": True})
    with ws.start("daemon", "--listen", "127.0.0.1:0") as daemon:
        where = address(daemon)
        assert get(where, "/healthz")[::2] == (200, "ok\n") and get(where, "/readyz")[::2] == (200, "ready\n")
        pid = daemon.process.pid
        if libc.ptrace(seize, pid, None, None) or libc.ptrace(interrupt, pid, None, None):
            pytest.skip("processes can't be traced here")
        wait_until(lambda: get(where, "/healthz")[0] == 503, 45, "the loop to be missed")
        assert "hangs" in get(where, "/readyz")[2] and get(where, "/readyz")[0] == 503
        assert get(where, "/metrics")[0] == 200
        os.waitpid(pid, 0x40000000)
        assert libc.ptrace(detach, pid, None, None) == 0
        wait_until(lambda: get(where, "/healthz")[0] == 200, 20, "the loop to be back")


def test_bad_policy_and_lost_server(watched, tmp_path):
    """A bad file is counted and the old policy stays; a server that is gone leaves what was known, with its age."""
    size = 'cluster="slow",database="slow"'
    up = 'cluster="slow",source="server"'
    good = watched.slow.policy_file.read_text()
    try:
        with watched.start() as daemon:
            where = address(daemon)
            wait_until(lambda: size in scrape(where).get("pgcairn_database_size_bytes", {}), 30, "the server's facts")
            watched.slow.policy_file.write_text("cluster: [")
            daemon.signal(signal.SIGHUP)
            wait_until(lambda: scrape(where)["pgcairn_policy_files_bad"][""] == 1, 20, "the bad file")
            seen = scrape(where)
            assert seen["pgcairn_policy_reload_failures_total"][""] == 1 and seen["pgcairn_policies"][""] == 2
            assert size in seen["pgcairn_database_size_bytes"] and get(where, "/readyz")[0] == 200
            watched.slow.policy_file.write_text(good.replace("host=", "host=/nowhere-"))
            daemon.signal(signal.SIGHUP)
            wait_until(lambda: scrape(where)["pgcairn_facts_up"].get(up) == 0, 30, "the server to be missed")
            seen = scrape(where)
            assert seen["pgcairn_policy_files_bad"][""] == 0 and seen["pgcairn_facts_up"]['cluster="slow",source="repository"'] == 1
            assert size in seen["pgcairn_database_size_bytes"], "what the server told before is gone"
            times = seen["pgcairn_facts_timestamp_seconds"]
            assert times[up] < times['cluster="slow",source="repository"'], "the old is called new"
            assert 'cluster="demo",database="slow"' in seen["pgcairn_database_size_bytes"], "another cluster's metrics went too"
            assert "/nowhere-" in get(where, "/")[2]
    finally:
        watched.slow.policy_file.write_text(good)
