"""Watching: metrics, the status page, health, against the real daemon and the real server."""
import base64
import http.client
import os
import re
import shutil
import signal
import subprocess
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
def test_metrics_of_a_cluster(workspace, database):
    ws = small(workspace, database)
    ws.run("run", "demo/nightly")
    ws.run("verify", "demo")
    run = ws.run("metrics", "--audit", expect=0)
    print(run.out)
    seen = parse(run.out)
    job = 'cluster="demo",job_name="nightly"'
    assert seen["pgcairn_job_last_ok"] == {job: 1}


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
    return reply.status, {k.lower(): v for k, v in reply.getheaders()}, body


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
                picture("status-phone", url, 500, 2600, tmp_path / "profile")
                picture("status-dark", url, 1200, 2600, tmp_path / "profile", dark=True)
            (tmp_path / "page.html").write_text(body)
            copy.wait(0)
