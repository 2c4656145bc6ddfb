"""The hourly WAL job, `wal status` and the preflight: what is missing is found, and said in words."""
import json
import time

import pytest
from archive import Archive
from cairn import JOBS, assert_error
from pg import Server, wait_until

FILL = "create table if not exists t (a int, b text); insert into t select g, md5(g::text) from generate_series(1, 5000) g"
WAL_JOBS = {"wal": {"type": "wal", "schedule": "0 * * * *", "keep": {"within": "7d"}, "mode": "push", "timeout": "60s"},
            "weekly": {"type": "snapshot", "schedule": "0 3 * * sun", "keep": {"within": "90d", "last": 2}},
            "nightly": JOBS["nightly"]}


@pytest.fixture
def archive(store):
    server = Server("waljob")
    try:
        made = Archive(server, jobs=WAL_JOBS, store=store)
        server.configure(**made.settings())
        server.start()
        server.psql("postgres", FILL)
        yield made
    finally:
        server.stop()


def job(archive, **options):
    return archive.run("run", "demo/wal", json_output=True, **options)


def status(archive, expect=0):
    return archive.run("wal", "status", "demo", json_output=True, expect=expect).json


def snapshot(archive):
    archive.run("run", "demo/weekly", timeout=120)


def snapshots(archive):
    return [b for b in archive.run("list", "demo", json_output=True).json["backups"] if b["kind"] == "snapshot"]


def lose_one(archive, behind=0):
    """Removes a stored segment in the middle; returns its name."""
    names = [archive.switch() for _ in range(4) if archive.server.psql("postgres", FILL) is not None]
    (key,) = archive.segments()[names[1]]
    archive.repository.delete(key)
    return names[1]


def test_the_job_brings_what_was_written_into_the_repository(archive):
    before = archive.server.psql("postgres", "select pg_walfile_name(pg_current_wal_lsn())")
    run = job(archive).json
    assert run["outcome"] == "done" and before in archive.segments()
    details = run["details"]
    assert details["lag"] == {"segments": 0, "seconds": 0}
    (timeline,) = details["timelines"]
    assert timeline["timeline"] == 1 and timeline["last"] == before and timeline["gaps"] == []
    (mark,) = [k for k in archive.repository.keys("demo/wal/") if "/00000001/marks/" in k]
    content = json.loads(archive.repository.read(mark))
    assert content["timeline"] == 1 and content["lsn"] and content["time"].endswith("Z")
    assert [p["what"] for p in details["problems"]] == ["there is no snapshot"]


def test_with_a_snapshot_there_is_a_window(archive):
    snapshot(archive)
    time.sleep(1.1)  # times are told to the second
    archive.server.psql("postgres", FILL)
    job(archive)
    seen = status(archive)
    (window,) = seen["recovery_windows"]
    assert window["open"] and window["from"] < window["to"]
    assert seen["problems"] == [] and seen["rpo_seconds"] < 120
    text = archive.run("wal", "status", "demo").out
    assert "recovery window" in text and window["from"] in text


def test_wal_deleted_behind_our_back_is_found(archive):
    snapshot(archive)
    job(archive)
    lost = lose_one(archive)
    run = job(archive, expect=1)
    assert_error(run, lost, "is impossible until a new snapshot", "pgcairn run demo/weekly")
    assert run.json["outcome"] == "failed"
    seen = status(archive, expect=1)
    (gap,) = seen["timelines"][0]["gaps"]
    assert gap["state"] == "lost" and gap["from"] == gap["to"] == lost
    assert not seen["recovery_windows"][0]["open"]
    # A new snapshot closes the gap for what comes after it; what lies in it is lost for good.
    snapshot(archive)
    run = job(archive, expect=1)
    assert_error(run, lost, "recovery between ", "--acknowledge " + lost)
    assert [w["open"] for w in status(archive, expect=1)["recovery_windows"]] == [False, True]
    assert_error(archive.run("wal", "status", "demo", "--acknowledge", lost, expect=2), "--reason")
    archive.run("wal", "status", "demo", "--acknowledge", lost, "--reason", "a test took it")
    assert status(archive)["timelines"][0]["gaps"][0]["state"] == "acknowledged"
    job(archive)
    records = [json.loads(archive.repository.read(k)) for k in archive.repository.keys("demo/evidence/")]
    assert [r["body"]["reason"] for r in records if r["type"] == "wal_gap_acknowledged"] == ["a test took it"]


def test_a_snapshot_is_taken_on_a_gap(archive):
    snapshot(archive)
    job(archive)
    archive.run("run", "demo/wal", "--snapshot-on-gap")
    assert len(snapshots(archive)) == 1, "there was no gap"
    lost = lose_one(archive)
    run = archive.run("run", "demo/wal", "--snapshot-on-gap", json_output=True, expect=1)
    assert_error(run, lost, "is impossible")
    made = run.json["details"]["snapshot"]
    assert made["outcome"] == "done" and made["job"] == "weekly"
    assert any(made["backup_id"] in n and "recovery is possible" in n for n in run.json["notices"])
    assert len(snapshots(archive)) == 2
    # What is lost stays lost, but the present is safe: no second snapshot.
    assert_error(archive.run("run", "demo/wal", "--snapshot-on-gap", expect=1), lost, "recovery between ")
    assert len(snapshots(archive)) == 2
    assert status(archive, expect=1)["recovery_windows"][-1]["open"]
    assert_error(archive.run("run", "demo/nightly", "--snapshot-on-gap", expect=2), "for jobs of type wal")


@pytest.mark.stores("file")
def test_what_still_waits_is_not_lost(archive):
    archive.switch()
    archive.server.configure(archive_command="false")
    archive.server.psql("postgres", "select pg_reload_conf()")
    archive.server.psql("postgres", FILL + "; select pg_switch_wal()")
    archive.server.wait_for("select failed_count > 0 from pg_stat_archiver")
    seen = status(archive, expect=1)
    assert [g["state"] for g in seen["timelines"][0]["gaps"]] == ["delayed"]
    assert seen["lag"]["segments"] == 1 and seen["server"]["waiting"] >= 1
    assert any("archive_command fails" in p["what"] for p in seen["problems"])


@pytest.mark.stores("file")
@pytest.mark.parametrize("setting, words", [
    ({"archive_command": ""}, ["archive_command is empty", "pgcairn-wal push demo %p"]),
    ({"archive_command": "false"}, ["archive_command fails", "pgcairn wal push demo pg_wal/"]),
    ({"archive_mode": "off"}, ["archive_mode is off", "restart"]),
])
def test_why_nothing_is_archived(archive, setting, words):
    archive.switch()
    archive.server.configure(**setting)
    archive.server.halt()
    archive.server.start()
    archive.server.psql("postgres", FILL + "; select pg_switch_wal()")
    if setting.get("archive_command") == "false":
        archive.server.wait_for("select failed_count > 0 from pg_stat_archiver")
    assert_error(job(archive, expect=1), *words)
    problems = status(archive, expect=1)["problems"]
    assert words[0] in problems[0]["what"] and "can't be recovered" in problems[0]["consequence"]
    checks = {c["id"]: c for c in archive.run("check", json_output=True, expect=1).json["checks"]}
    assert checks["wal archiving"]["status"] == "fail" and words[0] in checks["wal archiving"]["observed"]


def test_check_sees_that_wal_goes_elsewhere(archive):
    archive.switch()
    checks = {c["id"]: c for c in archive.run("check", json_output=True, expect=None).json["checks"]}
    assert [checks[i]["status"] for i in ("wal archiving", "wal backlog", "wal stored")] == ["pass"] * 3
    archive.server.configure(archive_command="true # pgcairn")
    archive.server.psql("postgres", "select pg_reload_conf()")
    archive.server.psql("postgres", FILL + "; select pg_switch_wal()")
    wait_until(lambda: archive.server.psql("postgres", "select last_archived_wal from pg_stat_archiver")
               not in archive.segments(), 30, "something was archived elsewhere")
    checks = {c["id"]: c for c in archive.run("check", json_output=True, expect=1).json["checks"]}
    assert checks["wal stored"]["status"] == "fail"
    assert_error(job(archive, expect=1), "the repository does not hold it", "pgcairn-wal push demo %p")


@pytest.mark.stores("file")
def test_a_role_with_few_rights(archive):
    server = archive.server
    server.psql("postgres", "create role clerk login; grant pg_read_all_settings to clerk")
    archive.policy["jobs"]["wal"]["connection"] = server.url(user="clerk")
    archive.write()
    assert_error(job(archive, expect=1), "may not end a WAL segment",
                 'grant execute on function pg_catalog.pg_switch_wal() to "clerk"')
    checks = {c["id"]: c for c in archive.run("check", json_output=True, expect=1).json["checks"]}
    assert checks["wal switch"]["status"] == "fail" and checks["wal backlog"]["status"] == "warn"
    server.psql("postgres", "grant execute on function pg_catalog.pg_switch_wal() to clerk")
    job(archive)


@pytest.mark.stores("file")
def test_a_standby_ends_nothing(archive):
    copy = archive.copy()
    try:
        archive.recover(copy, standby=True)
        archive.switch()
        archive.policy["jobs"]["wal"]["connection"] = copy.url()
        archive.write()
        run = job(archive).json
        assert (run["outcome"], run["error"]) == ("not_mine", None), "its primary's job ends segments"
    finally:
        copy.stop()


def test_status_when_the_server_is_away(archive):
    archive.switch()
    archive.server.halt()
    run = archive.run("wal", "status", "demo", json_output=True, expect=3)
    assert run.json["timelines"][0]["segments"] >= 1 and run.json["server"] is None
    assert "only what is stored" in run.err
