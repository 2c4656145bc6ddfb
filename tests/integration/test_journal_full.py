"""A full disk under the journal: runs are begun all the same, once each, it is said once; and all is well with room."""
import os
import subprocess

import pytest
from pg import wait_until
from test_daemon import begun, daemon_workspace, rows, stop

pytestmark = pytest.mark.stores("file")

SIZE = "2m"


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own, of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("a disk of its own can be mounted by root alone")
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", str(folder)]
    mounted = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder):
    """To the last byte."""
    with open(folder / "ballast", "wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(4096))
        except OSError:
            pass
    return folder / "ballast"


def test_runs_without_a_journal(workspace, database, small_disk):
    ws = daemon_workspace(workspace, database)
    ws.state = small_disk / "state"
    ws.state.mkdir()
    with ws.start("daemon", env={"STATE_DIRECTORY": str(ws.state)}) as daemon:
        begun(ws, daemon)
        wait_until(lambda: rows(ws, "outcome = 'done'"), 60, "a dump")
        ballast = fill(small_disk)
        wait_until(lambda: "without a claim" in daemon.err, 60, "a claim that fails")
        before = len(ws.good_backups())
        wait_until(lambda: len(ws.good_backups()) >= before + 2, 60, "dumps without a journal")
        wait_until(lambda: "done in" in daemon.err.splitlines()[-1], 60, "the end of a run")
        ballast.unlink()
        count = len(rows(ws, "outcome = 'done'"))
        wait_until(lambda: len(rows(ws, "outcome = 'done'")) >= count + 1, 60, "a run on record again")
        stop(daemon)
    lines = daemon.err.splitlines()
    own = [line for line in lines if " error " in line]
    assert len(own) == 1 and "disk is full" in own[0], own
    assert daemon.err.count("make room on its disk") == 1
    assert daemon.err.count("the journal is written again") == 1
    started = [line.split("started for ")[1].split(",")[0] for line in lines if "started for " in line]
    assert len(started) == len(set(started)) == len(ws.good_backups()), "a due instant was run twice or not at all"
    assert {r["outcome"] for r in rows(ws)} <= {"done", "skipped"}
