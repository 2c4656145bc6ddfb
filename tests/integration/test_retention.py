"""prune, hold, simulate against a real repository."""
import copy
import json
import re

import pytest
from cairn import JOBS, assert_error


@pytest.fixture
def kept(workspace, database):
    """Four dumps, of which the rules want two."""
    database("small", "create table t as select 1 as v")
    jobs = copy.deepcopy(JOBS)
    jobs["nightly"]["keep"] = {"last": 2}
    ws = workspace(["small"], jobs=jobs)
    ws.ids = [ws.dump() for _ in range(4)]
    return ws


def actions(ws, *options):
    return {d["id"]: d["action"] for d in ws.run("prune", "demo", *options, json=True).json["decisions"]}


def test_plan_deletes_nothing(kept):
    before = kept.repository.keys()
    assert [actions(kept)[i] for i in kept.ids] == ["delete", "delete", "keep", "keep"]
    assert [p for p in before if p not in kept.repository.keys()] == []


def test_every_decision_has_a_reason(kept):
    for decision in kept.run("prune", "demo", json=True).json["decisions"]:
        assert decision["rule"] and decision["reason"], decision
    text = kept.run("prune", "demo").out
    assert all(i in text for i in kept.ids)


@pytest.mark.parametrize("how", ["command", "job"])
def test_prune_applies(kept, how):
    if how == "command":
        freed = kept.run("prune", "demo", "--apply", json=True).json["bytes_freed"]
        assert freed > 0
    else:
        kept.run("run", "demo/prune")
    assert kept.good_backups() == [i for i in kept.good_backups() if i in kept.ids[2:]] and len(kept.good_backups()) == 2
    left = {k.split("/")[2] for k in kept.repository.keys("demo/dumps/")}
    assert left == set(kept.ids[2:])
    evidence = [json.loads(kept.repository.read(k)) for k in kept.repository.keys("demo/evidence/")]
    assert {e["body"]["id"] for e in evidence if e["type"] == "backup_removed"} == set(kept.ids[:2])
    for backup in kept.ids[2:]:
        kept.run("restore", "dump", "demo", backup, "--into", "pruned_and_back")
        kept.server.dropdb("pruned_and_back")


def test_the_plan_that_was_shown_is_the_plan_that_is_applied(kept):
    shown = kept.run("prune", "demo", json=True).json["plan_hash"]
    kept.dump()
    assert_error(kept.run("prune", "demo", "--apply", "--plan", shown, expect=1), "plan")
    assert len(kept.good_backups()) == 5
    shown = kept.run("prune", "demo", json=True).json["plan_hash"]
    kept.run("prune", "demo", "--apply", "--plan", shown)
    assert len(kept.good_backups()) == 2


def test_two_prunes_at_once(kept):
    """One applies, the other is busy or finds nothing left; nobody deletes more than the plan says."""
    runs = [kept.start("prune", "demo", "--apply") for _ in range(2)]
    with runs[0] as one, runs[1] as other:
        statuses = sorted(run.process.wait(60) for run in (one, other))
        assert statuses in ([0, 0], [0, 4]), (one.err, other.err)
    assert set(kept.good_backups()) == set(kept.ids[2:])
    assert {k.split("/")[2] for k in kept.repository.keys("demo/dumps/")} == set(kept.ids[2:])
    removed = [json.loads(kept.repository.read(k)) for k in kept.repository.keys("demo/evidence/")]
    assert sorted(r["body"]["id"] for r in removed if r["type"] == "backup_removed") == sorted(kept.ids[:2])


def test_holds(kept):
    oldest = kept.ids[0]
    kept.run("hold", "add", "demo", oldest, "--reason", "the auditors look at it")
    (hold,) = kept.run("hold", "list", "demo", json=True).json["holds"]
    assert hold["id"] == oldest and hold["reason"] == "the auditors look at it" and hold["holder"]
    assert actions(kept)[oldest] == "keep"
    kept.run("prune", "demo", "--apply")
    assert set(kept.good_backups()) == {oldest, *kept.ids[2:]}
    kept.run("hold", "release", "demo", hold["hold_id"], "--reason", "they are done")
    assert kept.run("hold", "list", "demo", json=True).json["holds"] == []
    kept.run("prune", "demo", "--apply")
    assert set(kept.good_backups()) == set(kept.ids[2:])


def test_a_hold_on_nothing_is_an_error(kept):
    assert_error(kept.run("hold", "add", "demo", "20200101T000000Z-aaaa", "--reason", "x", expect=(1, 2)), "20200101T000000Z-aaaa")


def test_age_is_counted_from_the_newest_good_backup(workspace, database):
    """With backups failing for a year, nothing good is lost."""
    database("small", "create table t as select 1 as v")
    ws = workspace(["small"])  # within 30d, last 3
    ids = [ws.dump() for _ in range(5)]
    assert set(actions(ws, "--at", "2099-01-01T00:00:00Z").values()) == {"keep"}
    assert set(actions(ws)) >= set(ids)


def test_many_at_once_need_a_person(workspace, database):
    database("small", "create table t as select 1 as v")
    jobs = copy.deepcopy(JOBS)
    jobs["nightly"]["keep"] = {"last": 1}
    ws = workspace(["small"], jobs=jobs)
    for _ in range(8):
        ws.dump()
    run = ws.run("run", "demo/prune", expect=1)
    line = re.search(r"prune demo --apply --plan (\S+) --force", run.err)
    assert line, f"the line to run is not told:\n{run}"
    assert len(ws.good_backups()) == 8
    ws.run("prune", "demo", "--apply", "--plan", line.group(1), "--force")
    assert len(ws.good_backups()) == 1


@pytest.mark.parametrize("damage", ["garbage manifest", "unreadable hold"])
def test_unknown_means_keep(kept, damage):
    if damage == "garbage manifest":
        kept.repository.write(kept.backup_key(kept.ids[0], "manifest.json"), b"{ not json")
        (state,) = [b["state"] for b in kept.list() if b["id"] == kept.ids[0]]
        assert state == "unknown"
    else:
        kept.repository.write("demo/holds/20260101T000000Z-hold.json", b"{ not json")
    before = kept.repository.keys("demo/dumps/")
    for command in (["prune", "demo", "--apply"], ["run", "demo/prune"]):
        kept.run(*command, expect=(1, 3))
    assert kept.repository.keys("demo/dumps/") == before


def test_simulate(kept):
    jobs = kept.run("simulate", "demo", "--days", "30", json=True).json["jobs"]
    assert jobs["nightly"]["kept"] == 2
