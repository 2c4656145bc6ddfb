"""WAL and snapshots of a real server as they grow old: what a prune keeps, deletes, and what can be recovered then."""
import json
from datetime import datetime, timedelta

import pytest
from archive import Archive, hex_name
from cairn import assert_error
from pg import Server, own

FILL = "create table if not exists t (a int, b text); insert into t select g, md5(g::text) from generate_series(1, 5000) g"
JOBS = {"wal": {"type": "wal", "schedule": "0 * * * *", "keep": {"within": "2h"}, "mode": "push", "timeout": "60s"},
        "weekly": {"type": "snapshot", "schedule": "0 * * * *", "keep": {"last": 1}},
        "prune": {"type": "prune", "schedule": "15 5 * * *"}}


@pytest.fixture
def archive(store):
    server = Server("walretention")
    try:
        made = Archive(server, jobs=JOBS, store=store)
        server.configure(**made.settings())
        server.start()
        server.psql("postgres", FILL)
        yield made
    finally:
        server.stop()


def earlier(text, hours):
    moved = datetime.fromisoformat(text.replace("Z", "+00:00")) - timedelta(hours=hours)
    return moved.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def manifest_key(snapshot):
    return f"demo/snapshots/{snapshot}/manifest.json"


def age(archive, snapshot, hours):
    """Makes a snapshot one that was taken so many hours ago."""
    def change(data):
        manifest = json.loads(data)
        for key in ("started_at", "completed_at", "stopped_at"):
            manifest[key] = earlier(manifest[key], hours)
        return json.dumps(manifest).encode()
    archive.repository.rewrite(manifest_key(snapshot), change)


def take(archive, hours=0):
    """A snapshot of that age with some WAL behind it; its id and its first segment."""
    made = archive.run("run", "demo/weekly", json_output=True).json["backup_id"]
    start = json.loads(archive.repository.read(manifest_key(made)))["wal"]["start_lsn"]
    if hours:
        age(archive, made, hours)
    for _ in range(3):
        archive.server.psql("postgres", FILL)
        archive.switch()
    return made, hex_name(1, int(start.split("/")[1], 16) >> 24)


def stored(archive):
    return sorted(name for name in archive.segments() if len(name) == 24)


def lose(archive, name):
    (key,) = archive.segments()[name]
    archive.repository.delete(key)


def decisions(archive, *options, **more):
    return archive.run("prune", "demo", *options, json_output=True, **more).json


def test_a_window_moves_on(archive):
    archive.switch()
    oldest, _ = take(archive, hours=9)
    anchor, first_needed = take(archive, hours=5)
    newest, _ = take(archive)
    archive.run("run", "demo/wal")
    before = stored(archive)
    assert before[0] < first_needed

    plan = decisions(archive)
    wal = [d for d in plan["decisions"] if d["kind"] == "wal"]
    assert [(d["action"], d["rule"]) for d in wal] == [("delete", "expired"), ("keep", "window")]
    assert wal[0]["id"] == f"{before[0]}-{before[before.index(first_needed) - 1]}" and anchor in wal[0]["reason"]
    assert wal[1]["first"] == first_needed and wal[1]["last"] == before[-1]
    kept = {d["id"]: (d["action"], d["rule"]) for d in plan["decisions"] if d["kind"] == "snapshot"}
    assert kept == {oldest: ("delete", "expired"), anchor: ("keep", "anchor"), newest: ("keep", "last")}
    assert "segments of WAL" in archive.run("prune", "demo").out and stored(archive) == before

    archive.switch()  # more WAL makes it no other plan
    applied = decisions(archive, "--apply", "--plan", plan["plan_hash"])
    assert applied["deleted"] == 1 and applied["wal_deleted"] >= before.index(first_needed)
    assert stored(archive)[0] == first_needed
    assert [d for d in decisions(archive)["decisions"] if d["action"] == "delete"] == []
    records = [json.loads(archive.repository.read(k)) for k in archive.repository.keys("demo/evidence/")]
    assert [r["type"] for r in records][-3:] == ["wal_removed", "backup_removed", "pruned"]
    (pruned,) = records[-3]["body"]["ranges"]
    assert (pruned["first"], pruned["last"]) == (wal[0]["first"], wal[0]["last"])

    # What was pruned is not missed, by the job and by all that show it.
    archive.run("run", "demo/wal")
    listed = archive.run("list", "demo", json_output=True).json
    assert [t["first"] for t in listed["wal"]] == [first_needed] and listed["wal"][0]["gaps"] == []
    (window,) = listed["recovery_windows"]
    assert window["anchor"] == anchor and window["open"]
    text = archive.run("list", "demo", "--kind", "wal").out
    assert first_needed in text and "recovery window" in text and "snapshot" not in text.splitlines()[0]
    shown = archive.run("show", "demo", anchor).out
    assert "WAL         timeline 1, " in shown
    simulated = archive.run("simulate", "demo", "--days", "3", json_output=True).json
    assert simulated["recovery_window"]["min_s"] >= 2 * 3600 and "wal" in simulated["jobs"]


def test_a_standalone_snapshot_keeps_what_it_holds(archive):
    oldest, its_first = take(archive, hours=9)
    archive.run("hold", "add", "demo", oldest, "--reason", "a test")
    anchor, first_needed = take(archive, hours=5)
    archive.run("run", "demo/wal")
    archive.run("prune", "demo", "--apply")
    left = stored(archive)
    assert its_first in left and first_needed in left
    between = [n for n in left if its_first < n < first_needed]
    assert len(between) <= 1  # the one in which the held snapshot ends, where it is another
    archive.run("run", "demo/wal")  # the hole is a pruned one
    seen = archive.run("wal", "status", "demo", json_output=True).json
    assert {g["state"] for g in seen["timelines"][0]["gaps"]} == {"expired"}
    assert [w["anchor"] for w in seen["recovery_windows"]] == [oldest, anchor]


def test_wal_lost_inside_the_window_is_no_pruned_wal(archive):
    take(archive, hours=9)
    _, first_needed = take(archive, hours=5)
    archive.run("run", "demo/wal")
    archive.run("prune", "demo", "--apply")
    lose(archive, first_needed)
    assert_error(archive.run("run", "demo/wal", expect=1), "WAL is lost", first_needed)


def test_without_its_wal_json_nothing_is_deleted(archive):
    take(archive, hours=9)
    take(archive, hours=5)
    archive.run("run", "demo/wal")
    before = stored(archive)
    (key,) = archive.repository.find("wal.json", "demo/wal/")
    archive.repository.delete(key)
    assert_error(archive.run("prune", "demo", "--apply", expect=3), "wal.json")
    assert_error(archive.run("run", "demo/prune", expect=(1, 3)), "wal.json")
    assert stored(archive) == before


def test_two_clusters_on_one_prefix(archive):
    """Of the same name but for one letter, and of one server: neither touches the other's."""
    other = Archive(archive.server, cluster="demo-b", repository=archive.repository, jobs=JOBS, name="other")
    take(archive, hours=9)
    _, first_needed = take(archive, hours=5)
    archive.run("run", "demo/wal")
    for name in sorted(p.name for p in (archive.server.data / "pg_wal").iterdir() if len(p.name) == 24)[:1]:
        other.run("wal", "push", "demo-b", f"pg_wal/{name}")
    theirs = {key: archive.repository.read(key) for key in archive.repository.keys("demo-b/")}
    archive.run("prune", "demo", "--apply")
    assert stored(archive)[0] == first_needed
    assert {key: archive.repository.read(key) for key in archive.repository.keys("demo-b/")} == theirs
    plan = other.run("prune", "demo-b", json_output=True).json
    assert [d["rule"] for d in plan["decisions"]] == ["no-anchor"] and plan["warnings"]


def test_what_is_left_recovers(archive):
    """A moment just behind the anchor, to which the newest snapshot does not lead."""
    take(archive, hours=9)
    anchor, _ = take(archive, hours=5)
    rows = archive.server.value("postgres", "select count(*) from t")
    moment = archive.server.value("postgres", "select clock_timestamp()")
    archive.server.psql("postgres", "delete from t")
    take(archive)
    archive.run("run", "demo/wal")
    assert decisions(archive, "--apply")["wal_deleted"] > 0
    folder = archive.server.root / "restored" / "data"
    folder.parent.mkdir()
    own(folder.parent, archive.server.user)
    run = archive.run("restore", "snapshot", "demo", "--to", moment, "--target-dir", folder)
    assert anchor in run.out + run.err
    copy = Server("restored", data=folder)
    try:
        copy.configure(archive_mode="off")
        copy.start()
        copy.wait_for("select not pg_is_in_recovery()", seconds=60, what="the end of recovery")
        assert copy.value("postgres", "select count(*) from t") == rows
    finally:
        copy.stop()
