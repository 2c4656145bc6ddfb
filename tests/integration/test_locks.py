"""Two runs can't collide: the second exits 4 and says who holds the lock."""
import os
import signal

import pytest
from cairn import CLUSTER, assert_error
from slow_dump import mid_dump, slow_workspace

SECOND = [
    # what is run beside the dump, its exit status
    (["run", "demo/nightly"], 4),
    (["run", "demo/prune"], 4),
    (["prune", "demo", "--apply"], 4),
    (["run", "demo/tidy"], 4),
    (["prune", "demo"], 0),
    (["list"], 0),
    (["run", "demo/second"], 0),
]


@pytest.mark.parametrize("command, status", SECOND, ids=[" ".join(c) for c, _ in SECOND])
def test_beside_a_dump(workspace, database, command, status):
    ws = slow_workspace(workspace, database)
    with mid_dump(ws, json=True) as first:
        run = ws.run(*command, expect=status)
        if status == 4:
            assert_error(run, "nightly", str(first.process.pid))
            assert first.running(), "the dump had ended; the test proves nothing"
        first.wait(0)
    assert len(ws.good_backups()) == (2 if "demo/second" in command else 1)


def test_the_lock_of_a_killed_run_is_no_obstacle(workspace, database):
    ws = slow_workspace(workspace, database)
    with mid_dump(ws) as first:
        os.killpg(first.process.pid, signal.SIGKILL)
        first.process.wait()
    ws.policy["repository"].pop("rate_limit")
    ws.write()
    ws.dump()


def test_state_and_json_of_a_running_dump(workspace, database):
    ws = slow_workspace(workspace, database)
    with mid_dump(ws) as first:
        (backup,) = ws.list()
        assert backup["state"] == "running"
        (job,) = [j for j in ws.run("status", json=True).json["jobs"] if j["job"] == "nightly"]
        assert job["running"]
        first.wait(0)
    assert [b["state"] for b in ws.list()] == ["good"]
    (job,) = [j for j in ws.run("status", json=True).json["jobs"] if j["job"] == "nightly"]
    assert not job["running"] and job["last"]["outcome"] == "done" and job["cluster"] == CLUSTER


def test_the_lock_of_a_finished_run_is_gone(workspace, database):
    database("small", "create table t as select 1 as v")
    ws = workspace(["small"])
    for _ in range(2):
        ws.dump()
        ws.run("run", "demo/tidy")
        ws.run("run", "demo/prune")
