"""Two machines with one policy: a due instant is done once, whoever dies, is cut off or is a standby.

Each has a state folder of its own, and nothing else: one repository, one server.
"""
import copy
import datetime
import json
import os
import shutil
import signal
import subprocess
from contextlib import contextmanager

import pytest
from cairn import CLUSTER, JOBS, assert_error
from pg import BINDIR, PASSWORD, Server, as_user, own, wait_until
from slow_dump import ROWS, copying, mid_dump, slow_workspace
from test_daemon import rows

DUE = "2026-11-21T02:00:00Z"
RECORD = f"{CLUSTER}/runs/nightly/20261121T020000Z.json"
SECOND = 1_000_000


def other_host(ws):
    """The same policy with a journal of its own."""
    other = copy.copy(ws)
    other.state = ws.folder / "state-of-the-other"
    other.state.mkdir(exist_ok=True)
    return other


def records(ws, job):
    """What is on record of a job: {name of the due instant: record}."""
    keys = ws.repository.keys(f"{CLUSTER}/runs/{job}/")
    return {key.rsplit("/", 1)[-1].removesuffix(".json"): json.loads(ws.repository.read(key)) for key in keys}


def fast(ws):
    ws.policy["repository"].pop("rate_limit", None)
    ws.write()


def nothing_but(ws, *backups):
    """These backups are good, and nothing else is left of any."""
    assert ws.good_backups() == list(backups)
    left = {key.split("/")[2] for key in ws.repository.keys(f"{CLUSTER}/dumps/")}
    assert left == set(backups)


def run_due(ws, job="nightly", **options):
    return ws.run("run", f"{CLUSTER}/{job}", "--due", DUE, json=True, **options)


@contextmanager
def mid_due(ws):
    """A dump for the due instant, once its rows are being copied."""
    with ws.start("run", f"{CLUSTER}/nightly", "--due", DUE, json=True) as run:
        wait_until(lambda: (copying(ws.server) and ws.repository.find("schema.pgdump")) or not run.running(),
                   60, "rows being copied")
        assert run.running(), run.err
        yield run


@contextmanager
def waiting(ws):
    """Another host's run for the due instant, once it waits."""
    with ws.start("run", f"{CLUSTER}/nightly", "--due", DUE, json=True) as run:
        wait_until(lambda: "waiting for another run" in run.err or not run.running(), 60, "the other to wait")
        assert run.running(), run.err
        yield run


# -- every due instant once ------------------------------------------------------------------------

def test_two_daemons_do_each_due_once(workspace, database):
    database("small", "create table t as select 1 as v")
    every = {"schedule": "* * * * * */2", "seconds": True}
    one = workspace(["small"], jobs={"often": {"type": "dump", "keep": {"last": 50}, **every},
                                     "tidy": {"type": "vacuum", **every}})
    two = other_host(one)
    with one.start("daemon") as first, two.start("daemon") as second:
        wait_until(lambda: len(records(one, "often")) >= 3 and len(records(one, "tidy")) >= 3, 60, "some dues")
        # Both have seen the end of one due instant: one has done it, the other has left it alone.
        wait_until(lambda: rows(one, "outcome = 'not_mine'") or rows(two, "outcome = 'not_mine'"), 30, "a due left alone")
        first.signal(signal.SIGKILL)
        first.process.wait()
        seen = len(records(one, "often"))
        wait_until(lambda: len(records(one, "often")) >= seen + 2, 30, "the other goes on alone")
        second.signal(signal.SIGTERM)
        second.wait(0, 60)
    for job in ("often", "tidy"):
        done = [r["due_us"] for ws in (one, two) for r in rows(ws, f"job = '{job}' and outcome = 'done'")]
        assert len(done) == len(set(done)), f"a due instant of {job} was done twice"
        assert set(rows_of_records(one, job)) == set(done)
        failed = [r for ws in (one, two) for r in rows(ws, f"job = '{job}' and outcome = 'failed'")]
        assert not failed, failed
    backups = {record["backup_id"] for record in records(one, "often").values()}
    assert backups == set(one.good_backups()), "a backup that no due instant asked for"
    for record in records(one, "often").values():
        manifest = one.manifest(record["backup_id"])
        assert (manifest["due_at"], manifest["fence"]) == (record["due_at"], record["fence"])
    fences = [records(one, "often")[name]["fence"] for name in sorted(records(one, "often"))]
    assert fences == sorted(set(fences)), "the fence only grows"


def rows_of_records(ws, job):
    """Due instants on record, as the journal has them."""
    return [int(datetime.datetime.strptime(name, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc).timestamp()) * SECOND
            for name in records(ws, job)]


def test_done_elsewhere(workspace, database):
    """Told by the record, and where a crash left none by the backup itself; a record that can't be read is doubt."""
    database("small", "create table t as select 1 as v")
    one = workspace(["small"])
    two = other_host(one)
    done = run_due(one).json
    left = run_due(two).json
    assert (done["outcome"], left["outcome"], left["error"]) == ("done", "not_mine", None)
    assert records(one, "nightly")["20261121T020000Z"]["backup_id"] == done["backup_id"]
    again = two.run("run", f"{CLUSTER}/nightly", "--due", DUE, "--attempt", "2")
    assert "not_mine" in again.out and done["backup_id"] in again.out
    one.repository.delete(RECORD)
    shutil.rmtree(two.state)
    two.state.mkdir()
    assert run_due(two).json["outcome"] == "not_mine"
    one.repository.write(RECORD, b"{")
    shutil.rmtree(two.state)
    two.state.mkdir()
    assert "20261121T020000Z.json" in run_due(two, expect=(1, 3)).err
    nothing_but(one, done["backup_id"])
    assert two.run("status", json=True).json["jobs"][0]["last"]["outcome"] == "failed"
    # By hand nothing is due, and nothing is left alone.
    assert one.run("run", f"{CLUSTER}/nightly", json=True).json["outcome"] == "done"
    strays = [c for c in one.run("audit", json=True, expect=None).json["controls"] if "runs/" in json.dumps(c)]
    assert not strays, strays


# -- who dies, who is cut off ----------------------------------------------------------------------

@pytest.mark.stores("file")
def test_the_other_takes_over_from_a_killed_run(workspace, database):
    one = slow_workspace(workspace, database)
    two = other_host(one)
    with mid_due(one) as run:
        fast(one)
        with waiting(two) as other:
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.wait()
            taken = other.wait(0).json
    assert taken["outcome"] == "done" and one.good_backups() == [taken["backup_id"]]
    record = records(one, "nightly")["20261121T020000Z"]
    assert (record["run_id"], record["fence"]) == (taken["run_id"], taken["fence"]) and taken["fence"] == 2


@pytest.mark.stores("file")
def test_a_run_whose_lock_is_taken_away_publishes_nothing(workspace, database, server):
    one = slow_workspace(workspace, database)
    with mid_dump(one, json=True) as run:
        # As an administrator may, or a restart of the server does to all of them.
        assert server.value("postgres", "select count(pg_terminate_backend(pid)) from pg_stat_activity "
                                        "where application_name like 'pgcairn-lock %'") == "1"
        ended = run.wait(3, 30)
    assert "lock of this run was lost" in ended.err
    assert ended.json["outcome"] == "failed" and ended.json["error"]["code"] == "connection"
    nothing_but(one)
    wait_until(lambda: not copying(server), 20, "no session left behind")


@pytest.mark.stores("file")
def test_a_run_by_hand_finds_it_busy(workspace, database):
    one = slow_workspace(workspace, database, defaults={"lock_wait": "1s"})
    with mid_dump(one) as run:
        busy = other_host(one).run("run", f"{CLUSTER}/nightly", expect=4)
        assert_error(busy, "nightly", str(run.process.pid), "runs already")


@pytest.mark.stores("file")
def test_one_repository_under_two_names(workspace, database):
    """Their locks at the server are not the same one, so neither of them may be taken for the other's."""
    one = slow_workspace(workspace, database, defaults={"lock_wait": "1s"})
    two = other_host(one)
    two.policy_file, two.policy = one.folder / "other.yaml", copy.deepcopy(one.policy)
    two.policy["repository"]["url"] = one.policy["repository"]["url"].replace("file:///", "file:///./")
    two.write()
    with mid_dump(one) as run:
        assert_error(two.run("run", f"{CLUSTER}/nightly", expect=4), "nightly", str(run.process.pid), "runs already")
        fast(one)


def ip(*words, check=True):
    return subprocess.run(["ip", *words], check=check, capture_output=True)


@pytest.fixture
def apart():
    """A network namespace of its own for one host: (prefix of its commands, the server's address, the cut)."""
    name, host, inside = f"pgcairn-{os.getpid()}", f"pgc{os.getpid() % 100000}", "far0"
    net = f"10.203.{os.getpid() % 250}"
    if os.geteuid() != 0 or not shutil.which("ip") or ip("netns", "add", name, check=False).returncode:
        pytest.skip("network namespaces need root and iproute2")
    try:
        # The server's address is not of the link, so it stays when the link goes.
        ip("addr", "add", f"{net}.1/32", "dev", "lo")
        ip("link", "add", host, "type", "veth", "peer", "name", inside, "netns", name)
        ip("addr", "add", f"{net}.3/32", "dev", host)
        ip("link", "set", host, "up")
        ip("route", "add", f"{net}.2/32", "dev", host)
        for words in (["addr", "add", f"{net}.2/32", "dev", inside], ["link", "set", inside, "up"],
                      ["route", "add", f"{net}.1/32", "dev", inside], ["route", "add", f"{net}.3/32", "dev", inside]):
            ip("-n", name, *words)
        yield ["ip", "netns", "exec", name], f"{net}.1", lambda: ip("link", "set", host, "down")
    finally:
        ip("netns", "del", name, check=False)
        ip("link", "del", host, check=False)
        ip("addr", "del", f"{net}.1/32", "dev", "lo", check=False)


@pytest.mark.stores("file")
def test_a_run_that_is_cut_off_from_the_server(apart, workspace):
    """It keeps its repository and its process, and must know by itself that it has lost its turn."""
    prefix, address, cut = apart
    server = Server("far")
    server.configure(listen_addresses=f"127.0.0.1,{address}")
    with open(server.data / "pg_hba.conf", "a", encoding="utf-8") as hba:
        hba.write("host all all 10.203.0.0/16 scram-sha-256\n")
    try:
        server.start()
        server.createdb("slow")
        server.psql("slow", ROWS)
        # So slow that it is copying still when it is cut off.
        url = f"postgresql://postgres:{PASSWORD}@{address}:{server.port}/slow"
        one = workspace(["slow"], server=server, connection=url, repository={"rate_limit": "500kB"})
        two = other_host(one)
        one.prefix = prefix
        with mid_due(one) as run:
            fast(one)
            with waiting(two) as other:
                cut()
                ended = run.wait(3, 60)
                assert "lock of this run was lost" in ended.err and "no answer" in ended.err
                assert one.good_backups() == [], "the other has not begun: the server holds the lock for us still"
                taken = other.wait(0, 90).json
        assert taken["outcome"] == "done"
        nothing_but(one, taken["backup_id"])
        assert records(one, "nightly")["20261121T020000Z"]["run_id"] == taken["run_id"]
    finally:
        server.stop()


# -- standbys and servers that are down ------------------------------------------------------------

@pytest.fixture
def pair():
    """A primary and its streaming standby."""
    primary, standby = Server("primary", {"wal_level": "replica"}), None
    try:
        primary.start()
        primary.createdb("app")
        primary.psql("app", "create table t as select 1 as v")
        standby = Server("standby")
        shutil.rmtree(standby.data)
        subprocess.run([BINDIR / "pg_basebackup", "-R", "-h", primary.socket_dir, "-p", str(primary.port), "-U", "postgres",
                        "-c", "fast", "-D", standby.data], check=True, cwd="/", **as_user(standby.user))
        with open(standby.data / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write(f"port = {standby.port}\nunix_socket_directories = '{standby.socket_dir}'\n")
        own(standby.data, standby.user)
        standby.start()
        yield primary, standby
    finally:
        for server in (standby, primary):
            if server:
                server.stop()


@pytest.mark.stores("file")
def test_a_standby_leaves_to_the_primary_what_needs_it(pair, workspace):
    primary, standby = pair
    jobs = {**JOBS, "wal": {"type": "wal", "schedule": "0 * * * *", "keep": {"within": "7d"}}}
    near = workspace(["app"], server=primary, jobs=jobs)
    far = copy.copy(near)
    far.policy_file, far.state = near.folder / "standby.yaml", near.folder / "state-of-the-standby"
    far.state.mkdir()
    far.policy = copy.deepcopy(near.policy)
    far.policy["postgres"]["connection"] = standby.url("app")
    far.write()
    for job in ("wal", "tidy"):
        left = run_due(far, job).json
        assert (left["outcome"], left["error"]) == ("not_mine", None)
        (row,) = rows(far, f"job = '{job}'")
        assert row["outcome"] == "not_mine" and "standby" in row["message"] and "primary" in row["message"]
    assert "not_mine: the server is a standby" in far.run("run", f"{CLUSTER}/tidy").out
    assert run_due(near, "tidy").json["outcome"] == "done"
    # A dump can be made of either. Their locks do not know of each other, the repository does.
    done = run_due(far).json
    assert (done["outcome"], run_due(near).json["outcome"]) == ("done", "not_mine")
    nothing_but(near, done["backup_id"])


@pytest.mark.stores("file")
def test_a_server_that_is_down(workspace):
    """What works on the repository alone goes on under the repository's lock."""
    one = workspace(["app"], connection="postgresql://postgres@127.0.0.1:1/app")
    run = run_due(one, "prune")
    assert run.json["outcome"] == "done" and "repository decides alone" in run.err
    assert run_due(other_host(one), "prune").json["outcome"] == "not_mine"
    assert run_due(one, expect=3).json["error"]["code"] == "connection"


@pytest.mark.stores("file")
def test_where_the_database_postgres_is_closed(workspace, database, server):
    """As managed servers have it: the lock is one of the database that the policy names."""
    database("small", "create table t as select 1 as v")
    server.psql("postgres", "create role plain login; grant pg_read_all_data to plain; "
                            "revoke connect on database postgres from public")
    try:
        one = workspace(["small"], connection=server.url("small", "plain"))
        assert run_due(one).json["outcome"] == "done"
        assert run_due(other_host(one)).json["outcome"] == "not_mine"
    finally:
        server.psql("postgres", "grant connect on database postgres to public; drop role plain")
