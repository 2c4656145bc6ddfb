"""Bad luck in the middle of a dump: killed, cut off, out of space, overtaken by other sessions."""
import os
import signal
import subprocess

import pytest
from cairn import assert_error
from compare import assert_equal_databases
from pg import wait_until
from repositories import FileStore
from slow_dump import ROWS, copying, mid_dump, slow_workspace


# What other sessions do meanwhile, and what the file system does, say nothing new of another store.
one_store = pytest.mark.stores("file")


def no_limit(ws):
    ws.policy["repository"].pop("rate_limit", None)
    ws.write()


def assert_not_whole(ws):
    """The unfinished dump is not offered as a backup by anything."""
    assert ws.good_backups() == []
    assert not ws.repository.find("manifest.json")
    assert_error(ws.run("restore", "dump", "demo", "latest", "--into", "never_made", expect=(1, 3)))
    assert "never_made" not in ws.server.databases()


def assert_next_run_is_whole(ws, restored, name="slow"):
    no_limit(ws)
    run = ws.run("run", "demo/nightly", json=True)
    assert ws.good_backups() == [run.json["backup_id"]]
    ws.run("restore", "dump", "demo", "latest", "--into", restored)
    assert_equal_databases(ws.server, name, restored)
    return run


def test_connection_killed(workspace, database, server, restored):
    ws = slow_workspace(workspace, database)
    with mid_dump(ws) as run:
        server.psql("postgres", f"select pg_terminate_backend({copying(server)[0]})")
        ended = run.wait((1, 3), 60)
    assert_error(ended, "connection")
    assert_not_whole(ws)
    wait_until(lambda: not copying(server), 10, "no session left behind")
    assert_next_run_is_whole(ws, restored)


@one_store
@pytest.mark.slow
def test_server_stopped(workspace):
    """Immediate shutdown of the server, as a crash is seen from outside."""
    from pg import Server
    other = Server("crash")
    try:
        other.start()
        other.createdb("slow")
        other.psql("slow", ROWS)
        ws = workspace(["slow"], server=other, repository={"rate_limit": "1MB"})
        with mid_dump(ws) as run:
            other.process.send_signal(signal.SIGQUIT)
            ended = run.wait((1, 3), 60)
        assert_error(ended)
        assert ws.good_backups() == [] and not ws.repository.find("manifest.json")
    finally:
        other.stop()


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 5), (signal.SIGINT, 5)])
def test_interrupted(workspace, database, server, restored, number, status):
    ws = slow_workspace(workspace, database)
    with mid_dump(ws) as run:
        run.signal(number)
        run.wait(status, 60)
    assert_not_whole(ws)
    wait_until(lambda: not copying(server), 10, "no session left behind")
    (job,) = [j for j in ws.run("status", json=True).json["jobs"] if j["job"] == "nightly"]
    assert job["last"]["outcome"] == "interrupted"
    assert_next_run_is_whole(ws, restored)


def test_kill_9_then_next_run(workspace, database, server, restored):
    """The next run starts clean and says what happened to the last."""
    ws = slow_workspace(workspace, database)
    with mid_dump(ws) as run:
        os.killpg(run.process.pid, signal.SIGKILL)
        run.process.wait()
    assert_not_whole(ws)
    (left,) = ws.list()
    assert left["state"] != "good"
    wait_until(lambda: not copying(server), 60, "the server to notice")
    run = assert_next_run_is_whole(ws, restored)
    assert left["id"] in run.err or "interrupted" in run.err, f"nothing is said of the killed run:\n{run}"
    # Remains that are this young are left alone.
    ws.run("run", "demo/prune")
    assert ws.repository.keys(ws.backup_key(left["id"]))


@one_store
def test_remains_of_a_killed_run_are_removed_when_old(workspace, database):
    ws = slow_workspace(workspace, database)
    with mid_dump(ws) as run:
        os.killpg(run.process.pid, signal.SIGKILL)
        run.process.wait()
    (left,) = ws.list()
    no_limit(ws)
    good = ws.dump()
    for path in [*ws.repository.path.rglob("*")]:
        if left["id"] in str(path) and path.is_file():
            if path.name == "started.json":
                path.chmod(0o600)
                text = path.read_text()
                day = left["started_at"][:10]
                path.write_text(text.replace(day, "2020-01-01"))
            os.utime(path, (1577836800, 1577836800))
    (old,) = [b for b in ws.list() if b["id"] == left["id"]]
    assert old["state"] == "garbage"
    ws.run("run", "demo/prune")
    assert [b["id"] for b in ws.list()] == [good]
    assert not [k for k in ws.repository.keys() if left["id"] in k]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 6 MB of its own."""
    if os.geteuid() != 0:
        pytest.skip("DISK FULL NOT TESTED: mounting a small file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "pgcairn-test", folder], capture_output=True,
                             text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"DISK FULL NOT TESTED: mount: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@one_store
def test_disk_full(workspace, database, server, small_disk, restored):
    ws = slow_workspace(workspace, database, rate="100MB")
    ws.repository = FileStore().repository(small_disk)
    ws.policy["repository"].update(ws.repository.policy())
    ws.write()
    assert_error(ws.run("run", "demo/nightly", expect=1), "no space left")
    assert_not_whole(ws)
    subprocess.run(["mount", "-o", "remount,size=100m", small_disk], check=True)
    assert_next_run_is_whole(ws, restored)


def test_repository_removed_meanwhile(workspace, database, server, restored):
    """It may be made once more, or fail; what it may not do is to miss what was removed."""
    ws = slow_workspace(workspace, database)
    with mid_dump(ws) as run:
        ws.repository.clear()
        ended = run.wait((0, 1, 3), 120)
    if ended.rc == 0:
        ws.run("restore", "dump", "demo", "latest", "--into", restored)
        assert_equal_databases(server, "slow", restored)
    else:
        assert_error(ended)
        assert not ws.repository.find("manifest.json")


OVERTAKEN = [
    # name, what another session does while the dump waits for its lock, what the dump may end with
    ("drop", "drop table small"),
    ("add column", "alter table small add column extra int default 5"),
    ("drop column", "alter table small drop column v"),
    ("rename", "alter table small rename to renamed"),
    ("move", "create schema elsewhere; alter table small set schema elsewhere"),
    ("truncate", "truncate small"),
    ("replace", "drop table small; create table small as select 'new' as v"),
]


@one_store
@pytest.mark.parametrize("name, change", OVERTAKEN, ids=[c[0] for c in OVERTAKEN])
def test_altered_between_plan_and_lock(workspace, database, server, restored, name, change):
    """The dump has listed the tables and waits for a lock; what it then reads is another database."""
    ws = slow_workspace(workspace, database, rate="100MB", defaults={"lock_wait": "30s"})
    with server.session("slow") as session:
        session.execute("begin")
        session.execute("lock table small in access exclusive mode")
        with ws.start("run", "demo/nightly") as run:
            server.wait_for("select count(*) > 0 from pg_locks where not granted and mode = 'AccessShareLock'", what="the dump to wait")
            session.execute(change)
            session.execute("commit")
            run.wait(0, 60)
    ws.run("restore", "dump", "demo", "latest", "--into", restored)
    assert_equal_databases(server, "slow", restored)


@one_store
def test_a_lock_that_is_not_given_in_time(workspace, database, server):
    ws = slow_workspace(workspace, database, rate="100MB", defaults={"lock_wait": "1s"})
    with server.session("slow") as session:
        session.execute("begin")
        session.execute("lock table small in access exclusive mode")
        run = ws.run("run", "demo/nightly", expect=1, timeout=120)
        session.execute("rollback")
    assert_error(run, "small", "lock")
    assert_not_whole(ws)


QUEUED = [
    ("truncate", "truncate small"),
    ("alter", "alter table small add column extra int default 5"),
    ("drop", "drop table small"),
]


@one_store
@pytest.mark.parametrize("name, change", QUEUED, ids=[c[0] for c in QUEUED])
def test_queued_mid_dump_and_patient(workspace, database, server, restored, name, change):
    """The other session waits until the last row is read: the dump is of before the change."""
    before = database("before", ROWS)
    ws = slow_workspace(workspace, database, defaults={"lock_wait": "5m"})
    with mid_dump(ws) as run, server.session("slow") as session:
        session.send(change)
        server.wait_for("select count(*) > 0 from pg_locks where not granted", what="the change to queue")
        run.wait(0, 120)
    ws.run("restore", "dump", "demo", "latest", "--into", restored)
    assert_equal_databases(server, before, restored)


@one_store
@pytest.mark.parametrize("name, change", QUEUED, ids=[c[0] for c in QUEUED])
def test_queued_mid_dump_and_impatient(workspace, database, server, restored, name, change):
    """A waiter behind our locks is let through after lock_wait; the dump starts again and is of after."""
    ws = slow_workspace(workspace, database, defaults={"lock_wait": "1s"})
    with mid_dump(ws) as run, server.session("slow") as session:
        session.send(change)
        server.wait_for("select count(*) > 0 from pg_locks where not granted", what="the change to queue")
        wait_until(lambda: not server.json("slow", "select 1 from pg_locks where not granted"), 15, "the dump to give way")
        assert session.execute("select 'through'") == "through"
        run.wait(0, 120)
    ws.run("restore", "dump", "demo", "latest", "--into", restored)
    assert_equal_databases(server, "slow", restored)
