"""The daemon: fires on schedule, survives its children, its policy and its journal."""
import shutil
import signal
import sqlite3
import time

import pytest
from pg import wait_until

EVERY_2_S = "* * * * * */2"


def daemon_workspace(workspace, database, schedule=EVERY_2_S, **job):
    database("small", "create table t as select 1 as v")
    jobs = {"often": {"type": "dump", "schedule": schedule, "seconds": True, "keep": {"last": 50}, **job},
            "yearly": {"type": "prune", "schedule": "0 0 1 1 *"}}
    return workspace(["small"], jobs=jobs)


def dues(ws):
    return [j["last"]["due"] for j in ws.run("status", json=True).json["jobs"] if j["job"] == "often" and j["last"]]


def test_fires_on_schedule_and_drains(workspace, database):
    ws = daemon_workspace(workspace, database)
    with ws.start("daemon") as daemon:
        wait_until(lambda: len(ws.good_backups()) >= 3, 60, "three dumps")
        daemon.signal(signal.SIGTERM)
        daemon.wait((0, 5), 60)
    states = {b["state"] for b in ws.list()}
    assert states == {"good"}, "a drained daemon leaves no half-made backup"
    started = [b["started_at"] for b in ws.list()]
    assert len(started) == len(set(b["id"] for b in ws.list()))
    count = len(ws.good_backups())
    time.sleep(3)
    assert len(ws.good_backups()) == count, "something still runs"


def test_each_due_instant_runs_once(workspace, database):
    """The journal holds one run per due instant, even with two daemons on one policy."""
    ws = daemon_workspace(workspace, database)
    with ws.start("daemon"), ws.start("daemon"):
        wait_until(lambda: len(ws.good_backups()) >= 3, 60, "three dumps")
    seconds = [b["started_at"][:19] for b in ws.list()]
    even = [int(s[-2:]) // 2 for s in seconds]
    assert len(even) == len(set(zip((s[:17] for s in seconds), even))), seconds


def test_a_failing_job_does_not_end_the_daemon(workspace, database, server):
    ws = daemon_workspace(workspace, database)
    with ws.start("daemon") as daemon:
        wait_until(ws.good_backups, 60, "a dump")
        server.psql("postgres", "alter database small allow_connections false")
        def failed():
            (job,) = [j for j in ws.run("status", json=True).json["jobs"] if j["job"] == "often"]
            return job["last"]["outcome"] == "failed"
        wait_until(failed, 60, "a failed run")
        server.psql("postgres", "alter database small allow_connections true")
        before = len(ws.good_backups())
        wait_until(lambda: len(ws.good_backups()) > before, 60, "a dump after the failure")
        assert daemon.running()


def test_a_killed_run_does_not_end_the_daemon(workspace, database, server):
    ws = daemon_workspace(workspace, database)
    with ws.start("daemon") as daemon:
        wait_until(ws.good_backups, 60, "a dump")
        server.psql("postgres", "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'small'")
        before = len(ws.good_backups())
        wait_until(lambda: len(ws.good_backups()) > before + 1, 60, "more dumps")
        assert daemon.running()


def test_sighup_takes_a_new_policy_and_refuses_a_bad_one(workspace, database):
    ws = daemon_workspace(workspace, database, schedule="* * * * * */30")
    good = ws.policy_file.read_text()
    with ws.start("daemon") as daemon:
        wait_until(lambda: daemon.err.strip(), 20, "the daemon's first words")
        ws.policy_file.write_text(good.replace('"cluster"', '"clutser"'))
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: "clutser" in daemon.err, 20, "the complaint about the bad policy")
        assert daemon.running()
        ws.policy_file.write_text(good.replace("*/30", "*/2"))
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: len(ws.good_backups()) >= 2, 60, "dumps by the new policy")


def test_a_missed_run_is_made_up_once(workspace, database):
    """Down for a while: one run for all that passed, not one for each."""
    ws = daemon_workspace(workspace, database, schedule="* * * * * */2", on_missed="once")
    with ws.start("daemon") as daemon:
        wait_until(ws.good_backups, 60, "a dump")
        daemon.signal(signal.SIGTERM)
        daemon.wait((0, 5), 60)
    ws.policy["jobs"]["often"]["schedule"] = "0 * * * * 0"  # from now on hourly: none falls into the test
    count = len(ws.good_backups())
    age_journal(ws, hours=5)
    ws.write()
    with ws.start("daemon") as daemon:
        wait_until(lambda: len(ws.good_backups()) > count, 60, "the missed run")
        time.sleep(2)
        assert len(ws.good_backups()) == count + 1


def age_journal(ws, hours):
    """Moves every instant in the journal into the past, as if the daemon had been down since."""
    shift = int(hours * 3600 * 1e6)
    (file,) = ws.state.rglob("*.sqlite*") if list(ws.state.rglob("*.sqlite")) else ws.state.rglob("*.db")
    with sqlite3.connect(file) as journal:
        for (table,) in journal.execute("select name from sqlite_master where type = 'table'").fetchall():
            for column in journal.execute(f"pragma table_info({table})").fetchall():
                if column[1].endswith("_us"):
                    journal.execute(f"update {table} set {column[1]} = {column[1]} - {shift} where {column[1]} > {shift}")


@pytest.mark.parametrize("what", ["lost", "garbage"])
def test_the_journal_can_be_lost(workspace, database, what):
    """The repository alone rebuilds what is known; nothing is deleted that would not be with it."""
    ws = daemon_workspace(workspace, database)
    backup = ws.dump("often")
    shutil.rmtree(ws.state)
    ws.state.mkdir()
    if what == "garbage":
        ws.run("list")
        for name in ("journal.sqlite", "journal.db", "pgcairn.sqlite", "journal"):
            (ws.state / name).write_text("this is no database")
    assert ws.good_backups() == [backup]
    second = ws.dump("often")
    assert sorted(ws.good_backups()) == sorted([backup, second])
    ws.run("restore", "dump", "demo", "latest", "--into", "from_the_repository")
    ws.server.dropdb("from_the_repository")


def test_a_timeout_ends_the_whole_run(workspace, database):
    from slow_dump import copying, slow_workspace
    ws = slow_workspace(workspace, database, rate="200kB")
    ws.policy["jobs"] = {"often": {"type": "dump", "schedule": "* * * * * */2", "seconds": True, "timeout": "3s", "keep": {"last": 5}}}
    ws.write()
    with ws.start("daemon") as daemon:
        def timed_out():
            (job,) = ws.run("status", json=True).json["jobs"]
            return job["last"] and job["last"]["outcome"] in ("failed", "interrupted")
        wait_until(timed_out, 60, "the timeout")
        daemon.signal(signal.SIGTERM)
        daemon.wait((0, 5), 60)
    wait_until(lambda: not copying(ws.server), 10, "no session left behind")
    assert ws.good_backups() == []


def test_an_idle_daemon_is_quiet(workspace, database):
    ws = daemon_workspace(workspace, database, schedule="0 0 1 1 * 0")
    with ws.start("daemon") as daemon:
        time.sleep(2)
        before = [float(x) for x in open(f"/proc/{daemon.process.pid}/stat").read().rsplit(")", 1)[1].split()[11:13]]
        time.sleep(3)
        after = [float(x) for x in open(f"/proc/{daemon.process.pid}/stat").read().rsplit(")", 1)[1].split()[11:13]]
        assert sum(after) - sum(before) <= 2, "an idle daemon uses the processor"
        assert dues(ws) == []
