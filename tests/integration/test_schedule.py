"""What the daemon's jobs wait for: other jobs, pauses; and that reloads lose nothing."""
import os
import signal
import subprocess
import sys
import time

import pytest
from pg import BINDIR, wait_until
from test_daemon import EVERY_2_S, SECOND, begun, daemon_workspace, rows, stop

pytestmark = pytest.mark.stores("file")


def test_one_job_after_another_and_a_pause(workspace, database):
    """The child has its parent's due instant; a paused parent is the recorded cause of its skips."""
    ws = daemon_workspace(workspace, database)
    ws.policy["jobs"]["check"] = {"type": "verify", "after": "often", "level": 1}
    ws.write()
    with ws.start("daemon") as daemon:
        wait_until(lambda: rows(ws, "job = 'check' and outcome = 'done'"), 60, "the job that comes after")
        done = {r["due_us"]: r["ended_us"] for r in rows(ws, "job = 'often' and outcome = 'done'")}
        for row in rows(ws, "job = 'check' and started_us is not null"):
            assert done[row["due_us"]] <= row["started_us"]
        assert "did you mean" in ws.run("pause", "demo/oftn", expect=2).err
        paused = ws.run("pause", "demo/often", "--reason", "a migration", json=True).json
        assert (paused["reason"], paused["until"]) == ("a migration", None)
        wait_until(lambda: rows(ws, "job = 'check' and message like 'after: often was skipped%paused by%a migration'"),
                   30, "the skip of what comes after a paused job")
        status = ws.run("status", json=True).json
        assert ("often", "paused") in [(a["job"], a["what"]) for a in status["alarms"]]
        (often,) = [j for j in status["jobs"] if j["job"] == "often"]
        assert often["paused"]["reason"] == "a migration"
        ws.run("resume", "demo/often")
        resumed = time.time_ns() // 1000
        wait_until(lambda: rows(ws, f"job = 'often' and outcome = 'done' and due_us > {resumed}"), 30, "a run after it")
        stop(daemon)
    skipped = rows(ws, "job = 'often' and message like 'paused by%'")
    assert skipped and all(r["started_us"] is None and r["outcome"] == "skipped" for r in skipped)


def test_a_child_is_found_after_a_restart(workspace, database):
    """Killed between the end of the parent and the start of the child: the next daemon begins it."""
    ws = daemon_workspace(workspace, database)
    ws.policy["jobs"]["check"] = {"type": "verify", "after": "often", "level": 1,
                                  "deny": [{"from": "00:00", "to": "12:00"}, {"from": "12:00", "to": "23:59"}]}
    ws.write()
    if time.gmtime()[3:5] >= (23, 57):
        pytest.skip("in the one minute that is allowed")
    with ws.start("daemon") as daemon:
        wait_until(lambda: "waits until" in daemon.err, 60, "a run that a window holds")
        os.kill(daemon.process.pid, signal.SIGKILL)
        daemon.process.wait()
    held = rows(ws, "job = 'check' and outcome is null")
    assert held and not rows(ws, "job = 'check' and started_us is not null")
    ws.policy["jobs"]["check"].pop("deny")
    ws.policy["jobs"]["often"]["schedule"] = "0 0 1 1 *"
    ws.policy["jobs"]["often"].pop("seconds")
    ws.write()
    with ws.start("daemon") as daemon:
        begun(ws, daemon)
        stop(daemon)
    (last,) = rows(ws, f"job = 'check' and run_id = '{held[-1]['run_id']}'")
    assert last["outcome"] == "interrupted"


def test_a_storm_of_reloads_loses_nothing(workspace, database):
    """Hundreds of SIGHUPs over policies that change, break and vanish: each due instant once, nothing leaks."""
    ws = daemon_workspace(workspace, database, EVERY_2_S)
    good = ws.policy_file.read_text()

    def descriptors():
        return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))

    with ws.start("daemon") as daemon:
        wait_until(ws.good_backups, 60, "a dump")
        before = None
        for number in range(300):
            if number % 4 == 1:
                ws.policy_file.write_text("cluster: [")
            elif number % 4 == 2:
                ws.policy_file.unlink()
            else:
                ws.policy_file.write_text(good.replace('"retries": 0', f'"retries": {number % 3}'))
            os.chmod(ws.policy_file, 0o600) if ws.policy_file.exists() else None
            daemon.signal(signal.SIGHUP)
            time.sleep(0.02)
            if number == 50:
                before = descriptors()
        ws.policy_file.write_text(good)
        daemon.signal(signal.SIGHUP)
        count = len(rows(ws, "outcome = 'done'"))
        wait_until(lambda: len(rows(ws, "outcome = 'done'")) > count, 30, "a dump after the storm")
        assert descriptors() <= before + 6
        stop(daemon)
    dues = sorted(r["due_us"] for r in rows(ws, "job = 'often' and attempt = 1"))
    assert dues == list(range(dues[0], dues[-1] + 1, 2 * SECOND)), "a due instant is missing or there twice"


def with_pg_dump(ws, script):
    """The programs of the server's version, but for a pg_dump that runs `script` first."""
    folder = ws.folder / "programs"
    folder.mkdir()
    for name in os.listdir(BINDIR):
        (folder / name).symlink_to(BINDIR / name)
    (folder / "pg_dump").unlink()
    (folder / "pg_dump").write_text(f'''#!/bin/sh
if [ "$1" != --version ]; then
{script}
fi
exec {BINDIR}/pg_dump "$@"
''')
    (folder / "pg_dump").chmod(0o755)
    ws.policy["postgres"]["bindir"] = str(folder)
    ws.write()


def children(pid):
    """{process id: state} of the children of a process."""
    found = {}
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{int(name)}/stat", encoding="utf-8", errors="replace") as stat:
                state, parent = stat.read().rpartition(")")[2].split()[:2]
        except (ValueError, OSError):
            continue
        if int(parent) == pid:
            found[int(name)] = state
    return found


def ended(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc")
SUBREAPER = (sys.executable, "-c", "import ctypes, os, sys\n"
             "assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0\nos.execvp(sys.argv[1], sys.argv[1:])")


@pytest.mark.parametrize("how", ["process 1", "subreaper"])
def test_orphans_are_reaped(workspace, database, how):
    """What a run leaves behind comes to the daemon of a container, and is no zombie there; no run is lost to it."""
    if how == "process 1" and subprocess.run([*UNSHARE, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("no pid namespace may be made here")
    ws = daemon_workspace(workspace, database)
    with_pg_dump(ws, f"setsid sh -c 'sleep 0.2; echo >>{ws.folder}/ended' >/dev/null 2>&1 &")
    ws.prefix = UNSHARE if how == "process 1" else SUBREAPER
    with ws.start("daemon") as daemon:
        begun(ws, daemon)
        pid = daemon.process.pid if how == "subreaper" else next(iter(children(daemon.process.pid)))
        wait_until(lambda: (ws.folder / "ended").exists() and len((ws.folder / "ended").read_text()) >= 2, 60, "orphans")
        wait_until(lambda: "Z" not in children(pid).values(), 5, "no zombie")
        os.kill(pid, signal.SIGTERM)
        daemon.wait(0, 60)
    assert {r["outcome"] for r in rows(ws, "started_us is not null")} == {"done"}


def test_a_timeout_reaches_who_left_the_group(workspace, database):
    ws = daemon_workspace(workspace, database, timeout="2s")
    with_pg_dump(ws, f"setsid sleep 600 >/dev/null 2>&1 & echo $! >>{ws.folder}/left; sleep 600")
    with ws.start("daemon", "--drain", "0s") as daemon:
        wait_until(lambda: rows(ws, "error_code = 'timeout'"), 60, "the timeout")
        first = int((ws.folder / "left").read_text().split()[0])
        wait_until(lambda: ended(first), 10, "the end of what pg_dump had started")
        stop(daemon)
    for left in (ws.folder / "left").read_text().split():
        wait_until(lambda pid=left: ended(pid), 10, "nothing left behind")
