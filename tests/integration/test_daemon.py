"""The daemon: fires on schedule, survives its runs, its policy and its journal."""
import os
import signal
import socket
import sqlite3
import time

import pytest
from pg import wait_until
from slow_dump import copying, slow_workspace

# The daemon's own work is the same whatever the store; the tests of what it reads there say so.
pytestmark = pytest.mark.stores("file")

EVERY_2_S = "* * * * * */2"
SECOND = 1_000_000


def job(schedule=EVERY_2_S, **more):
    return {"type": "dump", "schedule": schedule, "keep": {"last": 50},
            **({"seconds": True} if len(schedule.split()) > 5 else {}), **more}


def daemon_workspace(workspace, database, schedule=EVERY_2_S, **more):
    database("small", "create table t as select 1 as v")
    return workspace(["small"], jobs={"often": job(schedule, **more),
                                      "yearly": {"type": "prune", "schedule": "0 0 1 1 *"}})


def rows(ws, where="1 = 1"):
    """Runs in the journal, as dictionaries, oldest first; none while there is no journal yet."""
    try:
        with sqlite3.connect(f"file:{ws.state}/journal.db?mode=ro", uri=True) as journal:
            journal.row_factory = sqlite3.Row
            return [dict(r) for r in journal.execute(f"select * from runs where {where} order by claimed_us")]
    except sqlite3.DatabaseError:
        return []


def age_journal(ws, hours):
    """Moves what is accounted for into the past, as if the daemon had been down since."""
    with sqlite3.connect(ws.state / "journal.db") as journal:
        journal.execute("update jobs set accounted_us = accounted_us - ?", (hours * 3600 * SECOND,))


def hourly():
    """An hourly schedule that does not fire during the next half hour."""
    return f"{(time.gmtime().tm_min + 30) % 60} * * * *"


def begun(ws, daemon):
    wait_until(lambda: "scheduled jobs" in daemon.err or not daemon.running(), 20, "the daemon's start")
    assert daemon.running(), daemon.err


def stop(daemon, expect=0):
    daemon.signal(signal.SIGTERM)
    return daemon.wait(expect, 60)


@pytest.mark.stores("file", "s3")
def test_fires_on_schedule_and_drains(workspace, database):
    ws = daemon_workspace(workspace, database)
    with ws.start("daemon") as daemon:
        wait_until(lambda: len(ws.good_backups()) >= 3, 60, "three dumps")
        stop(daemon)
    assert {b["state"] for b in ws.list()} == {"good"}, "a drained daemon leaves no half-made backup"
    dues = [r["due_us"] for r in rows(ws, "outcome = 'done'")]
    assert len(dues) == len(set(dues)) == len(ws.good_backups())
    assert all(due % (2 * SECOND) == 0 for due in dues)
    time.sleep(3)
    assert len(ws.good_backups()) == len(dues), "something still runs"


def test_one_daemon_per_journal(workspace, database):
    ws = daemon_workspace(workspace, database, hourly())
    with ws.start("daemon") as daemon:
        begun(ws, daemon)
        second = ws.run("daemon", expect=4)
        assert str(daemon.process.pid) in second.err and "hint" in second.err
        stop(daemon)


def test_a_due_instant_is_not_run_again(workspace, database):
    ws = daemon_workspace(workspace, database)
    first = ws.run("run", "demo/often", "--due", "2026-11-21T02:00:00Z", json=True).json
    again = ws.run("run", "demo/often", "--due", "2026-11-21T02:00:00Z", json=True).json
    assert (first["outcome"], again["outcome"]) == ("done", "skipped")
    assert ws.good_backups() == [first["backup_id"]]


def test_a_failing_job_does_not_end_the_daemon(workspace, database, server):
    ws = daemon_workspace(workspace, database)
    with ws.start("daemon") as daemon:
        wait_until(ws.good_backups, 60, "a dump")
        server.psql("postgres", "alter database small allow_connections false")
        wait_until(lambda: rows(ws, "outcome = 'failed'"), 60, "a failed run")
        alarms = ws.run("status", json=True).json["alarms"]
        server.psql("postgres", "alter database small allow_connections true")
        before = len(ws.good_backups())
        wait_until(lambda: len(ws.good_backups()) > before, 60, "a dump after the failure")
        assert daemon.running()
        assert ("often", "failing") in [(a["job"], a["what"]) for a in alarms]


def test_retries_what_may_pass(workspace, database, server):
    """A server that is down for a while: the same due instant, a second attempt."""
    ws = daemon_workspace(workspace, database, hourly(), retries=1)
    with ws.start("daemon") as daemon:
        begun(ws, daemon)
        stop(daemon)
    age_journal(ws, 2)
    server.halt()
    try:
        with ws.start("daemon") as daemon:
            wait_until(lambda: "attempt 2 of 2" in daemon.err, 60, "the plan to try again")
            server.start()
            wait_until(ws.good_backups, 60, "the second attempt")
            stop(daemon)
    finally:
        if not server.process:
            server.start()
    ran = rows(ws, "started_us is not null")
    assert [(r["attempt"], r["outcome"]) for r in ran] == [(1, "failed"), (2, "done")]
    assert ran[0]["due_us"] == ran[1]["due_us"] and ran[0]["error_code"] == "connection"


def test_a_killed_run_is_found_by_the_next(workspace, database):
    ws = slow_workspace(workspace, database)
    with ws.start("run", "demo/nightly") as run:
        wait_until(lambda: copying(ws.server), 60, "rows being copied")
        os.kill(run.process.pid, signal.SIGKILL)
        run.process.wait()
    (killed,) = rows(ws)
    assert killed["outcome"] is None
    ws.policy["repository"].pop("rate_limit")
    ws.write()
    after = ws.run("run", "demo/nightly")
    assert f"run {killed['run_id']}" in after.err and "interrupted" in after.err
    assert [r["outcome"] for r in rows(ws)] == ["interrupted", "done"]


def slow_daemon(workspace, database, schedule, **more):
    """A dump of some eight seconds, by the daemon."""
    ws = slow_workspace(workspace, database)
    ws.policy["jobs"] = {"often": job(schedule, jobs=2, **more)}
    ws.write()
    return ws


def test_a_killed_run_does_not_end_the_daemon(workspace, database):
    ws = slow_daemon(workspace, database, "* * * * * */30", on_missed="skip")
    with ws.start("daemon") as daemon:
        wait_until(lambda: copying(ws.server), 60, "rows being copied")
        (run,) = rows(ws)
        os.kill(run["pid"], signal.SIGKILL)
        wait_until(lambda: rows(ws, "outcome = 'interrupted'"), 20, "the daemon to notice")
        assert daemon.running() and "signal 9" in daemon.err
        wait_until(lambda: not copying(ws.server), 20, "no session left behind")


@pytest.mark.stores("file", "s3")
def test_sigterm_in_mid_run_and_the_rest_later(workspace, database):
    """A run that does not end in time is stopped in order, and made up at the next start."""
    ws = slow_daemon(workspace, database, hourly())
    with ws.start("daemon") as daemon:
        begun(ws, daemon)
        stop(daemon)
    age_journal(ws, 2)
    with ws.start("daemon", "--drain", "1s") as daemon:
        wait_until(lambda: copying(ws.server), 60, "rows being copied")
        stop(daemon)
    (stopped,) = rows(ws, "started_us is not null")
    assert stopped["outcome"] == "interrupted"
    assert ws.good_backups() == [] and not copying(ws.server)
    ws.policy["repository"].pop("rate_limit")
    ws.write()
    with ws.start("daemon") as daemon:
        wait_until(ws.good_backups, 60, "the run to be made up")
        stop(daemon)
    again = rows(ws, "outcome = 'done'")[0]
    assert (again["due_us"], again["attempt"]) == (stopped["due_us"], 2)


def test_overlap_is_skipped_on_record(workspace, database):
    ws = slow_daemon(workspace, database, EVERY_2_S)
    with ws.start("daemon", "--drain", "0s") as daemon:
        wait_until(lambda: rows(ws, "outcome = 'skipped'"), 60, "a skip")
        assert len(rows(ws, "outcome is null")) == 1
        stop(daemon)
    skipped = rows(ws, "outcome = 'skipped'")[0]
    assert skipped["message"].startswith(f"overlap: run {rows(ws)[0]['run_id']}")


def test_one_heavy_job_at_a_time(workspace, database):
    """A vacuum that is due with a dump waits for its end, instead of failing at its lock."""
    ws = slow_daemon(workspace, database, "* * * * * */20")
    ws.policy["jobs"]["tidy"] = {"type": "vacuum", "schedule": "* * * * * */20", "seconds": True}
    ws.write()
    with ws.start("daemon") as daemon:
        wait_until(lambda: rows(ws, "job = 'tidy' and outcome is not null"), 90, "the vacuum")
        stop(daemon)
    dump, tidy = rows(ws, "job = 'often'")[0], rows(ws, "job = 'tidy'")[0]
    assert (dump["outcome"], tidy["outcome"]) == ("done", "done")
    assert tidy["started_us"] >= dump["ended_us"] or dump["started_us"] >= tidy["ended_us"]


def test_sighup_refuses_a_bad_policy_and_keeps_the_old(workspace, database):
    ws = daemon_workspace(workspace, database)
    good = ws.policy_file.read_text()
    with ws.start("daemon") as daemon:
        wait_until(ws.good_backups, 60, "a dump")
        ws.policy_file.write_text(good.replace('"cluster"', '"clutser"'))
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: "clutser" in daemon.err, 20, "the complaint about the bad policy")
        # Seen without the policy, which nobody but the daemon can read any more.
        done = len(rows(ws, "outcome = 'done'"))
        wait_until(lambda: len(rows(ws, "outcome = 'done'")) >= done + 2, 60, "dumps by the old policy")
        assert "stays in force" in daemon.err
        ws.policy_file.write_text(good.replace('"often"', '"renamed"'))
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: rows(ws, "job = 'renamed' and outcome = 'done'"), 60, "dumps by the new policy")
        stop(daemon)


@pytest.mark.parametrize("rule, runs, missed", [("once", 1, "4 due"), ("all", 5, None), ("skip", 0, "5 due")])
def test_what_was_missed(workspace, database, rule, runs, missed):
    """Five due instants passed while no daemon was there."""
    ws = daemon_workspace(workspace, database, hourly(), on_missed=rule)
    with ws.start("daemon") as daemon:
        begun(ws, daemon)
        stop(daemon)
    assert rows(ws) == []
    age_journal(ws, 5)
    with ws.start("daemon") as daemon:
        wait_until(lambda: len(ws.good_backups()) >= runs, 60, "what is made up")
        time.sleep(2)
        stop(daemon)
    assert len(ws.good_backups()) == runs
    skips = rows(ws, "outcome = 'skipped'")
    assert [missed in s["message"] for s in skips] == ([True] if missed else [])
    done = [r["due_us"] for r in rows(ws, "outcome = 'done'")]
    assert done == sorted(done) and all(due < time.time() * SECOND for due in done)


def test_the_journal_deleted_under_the_daemon(workspace, database):
    ws = daemon_workspace(workspace, database)
    with ws.start("daemon") as daemon:
        wait_until(ws.good_backups, 60, "a dump")
        for file in ws.state.glob("journal.db*"):
            file.unlink()
        wait_until(lambda: "a new one is begun" in daemon.err, 90, "the daemon to notice")
        wait_until(lambda: rows(ws, "outcome = 'done'"), 60, "a run in the new journal")
        stop(daemon)


@pytest.mark.stores("file", "s3")
@pytest.mark.parametrize("how", ["lost", "garbage"])
def test_the_repository_says_what_was_last(workspace, database, how):
    """Without a journal a missed run is known by the newest backup, and none is run in a burst."""
    ws = daemon_workspace(workspace, database, "* * * * * */5")
    backup = ws.dump("often")
    time.sleep(6)  # a due instant passes
    for file in ws.state.glob("journal.db*"):
        file.unlink()
    if how == "garbage":
        (ws.state / "journal.db").write_bytes(b"this is no database" * 1000)
    before = time.time() * SECOND
    with ws.start("daemon") as daemon:
        wait_until(lambda: rows(ws, "outcome = 'done'"), 60, "the missed run")
        stop(daemon)
    first = rows(ws, "outcome = 'done'")[0]
    assert before - 7 * SECOND < first["due_us"] < time.time() * SECOND
    assert backup in ws.good_backups()
    assert ("moved aside" in daemon.err) == (how == "garbage")


def test_a_timeout_ends_the_whole_run(workspace, database):
    ws = slow_daemon(workspace, database, EVERY_2_S, timeout="3s")
    with ws.start("daemon", "--drain", "0s") as daemon:
        wait_until(lambda: rows(ws, "error_code = 'timeout'"), 60, "the timeout")
        stop(daemon)
    wait_until(lambda: not copying(ws.server), 10, "no session left behind")
    assert ws.good_backups() == []
    assert "timeout of 3s" in rows(ws, "error_code = 'timeout'")[0]["message"]


def test_what_systemd_is_told(workspace, database, tmp_path):
    ws = daemon_workspace(workspace, database, hourly())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(20)
        with ws.start("daemon", env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}) as daemon:
            def hear(word):
                text = ""
                while word not in text:
                    text = told.recv(4096).decode()
                return text
            hear("READY=1")
            hear("STATUS=2 jobs, 0 running, next at")
            hear("WATCHDOG=1")
            hear("WATCHDOG=1")
            daemon.signal(signal.SIGHUP)
            assert "MONOTONIC_USEC=" in hear("RELOADING=1")
            hear("READY=1")
            daemon.signal(signal.SIGTERM)
            hear("STOPPING=1")
            daemon.wait(0, 60)


def test_an_idle_daemon_is_quiet(workspace, database):
    ws = daemon_workspace(workspace, database, hourly())

    def switches(pid):
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            return sum(int(line.split()[1]) for line in status if "ctxt_switches" in line)

    with ws.start("daemon") as daemon:
        begun(ws, daemon)
        time.sleep(1)
        before = switches(daemon.process.pid)
        time.sleep(5)
        assert switches(daemon.process.pid) - before <= 3, "an idle daemon wakes up"
        assert rows(ws) == []
        stop(daemon)


def test_status_tells_of_a_daemon_that_is_gone(workspace, database):
    ws = daemon_workspace(workspace, database, hourly())
    with ws.start("daemon") as daemon:
        begun(ws, daemon)
        daemon.signal(signal.SIGKILL)
        daemon.process.wait()
    assert ws.run("status", json=True).json["alarms"] == [], "it may just be starting again"
    with sqlite3.connect(ws.state / "journal.db") as journal:
        journal.execute("update daemon set heartbeat_us = heartbeat_us - ?", (600 * SECOND,))
    (alarm,) = ws.run("status", json=True).json["alarms"]
    assert alarm["what"] == "daemon"
