"""Drills: a backup is restored beside the server it came from, started, asked, and cleaned away."""
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from archive import Archive
from cairn import JOBS, assert_error
from pg import SHAREDIR, Server, as_user, clean_environment, own, wait_until

FILL = """create table if not exists "Models" (id int primary key, name text);
          insert into "Models" select coalesce((select max(id) from "Models"), 0) + g, md5(g::text) from generate_series(1, 3000) g"""
STAMP = "create table alembic_version (version_num text); insert into alembic_version values ('ae1027a6acf')"
SQL = 'select count(*) >= 3000 from "Models"'


def drill(of, *assertions, **more):
    return {"type": "drill", "of": of, "assertions": [{"sql": sql} for sql in assertions], **more}


DRILL_JOBS = {"wal": {"type": "wal", "schedule": "0 * * * *", "keep": {"within": "7d"}, "mode": "push", "timeout": "60s"},
              "weekly": {"type": "snapshot", "schedule": "0 3 * * sun", "keep": {"within": "90d", "last": 2}},
              "nightly": JOBS["nightly"],
              "physical": drill("weekly", SQL, "select sum(a) = 3 from far", rto="10m"),
              "logical": drill("nightly", SQL),
              "doubting": drill("nightly", 'select count(*) < 0 from "Models"', "select 1 from nowhere", "select 1 where false"),
              "unloaded": drill("weekly", "select current_setting('session_preload_libraries') = ''"),
              "hurried": drill("nightly", rto="1s")}


@pytest.fixture(scope="module")
def archive(store):
    server = Server("drill")
    try:
        made = Archive(server, jobs=DRILL_JOBS, store=store)
        server.configure(**made.settings())
        server.start()
        server.psql("postgres", FILL)
        server.psql("postgres", STAMP)
        space = server.root / "space"
        space.mkdir()
        own(space, server.user)
        server.psql("postgres", f"create tablespace elsewhere location '{space}'")
        server.psql("postgres", "create table far (a int) tablespace elsewhere; insert into far values (1), (2)")
        made.run("run", "demo/nightly")
        made.run("run", "demo/weekly")
        server.psql("postgres", FILL)
        time.sleep(1.1)  # times are told to the second
        made.run("run", "demo/wal")
        yield made
    finally:
        server.stop()


def run(archive, job, expect=0, **options):
    return archive.run("drill", f"demo/{job}", json_output=True, expect=expect, timeout=300, **options)


def steps(details, name):
    return [s for s in details["steps"] if s["step"] == name]


def records(archive):
    found = [json.loads(archive.repository.read(k)) for k in archive.repository.keys("demo/evidence/")]
    return [r["body"] for r in found if r["type"] == "drill"]


def left_over(archive):
    folder = archive.state / "drill"
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def newest(archive, kind):
    return max(b["id"] for b in archive.run("list", "demo", json_output=True).json["backups"] if b["kind"] == kind)


def test_a_snapshot_comes_back_to_life_and_then_a_random_moment(archive):
    first = run(archive, "physical").json["details"]
    assert (first["mode"], first["result"], first["backup_id"]) == ("latest", "pass", newest(archive, "snapshot"))
    assert [s["outcome"] for s in steps(first, "assertion")] == ["pass", "pass"]
    assert steps(first, "amcheck")[0]["outcome"] == "pass"
    assert "ae1027a6acf of alembic" in steps(first, "migration")[0]["what"]
    assert steps(first, "rto")[0]["outcome"] == "pass" and first["restore_seconds"] > 0 and first["replay_seconds"] > 0
    (window,) = archive.run("wal", "status", "demo", json_output=True).json["recovery_windows"]
    second = run(archive, "physical").json["details"]
    assert (second["mode"], second["result"]) == ("random", "pass")
    assert window["from"] <= second["target_time"] <= window["to"]
    assert run(archive, "physical").json["details"]["mode"] == "latest", "in turns"
    assert [r["mode"] for r in records(archive) if r["job"] == "physical"][-3:] == ["latest", "random", "latest"]
    assert records(archive)[-1]["passed"].keys() == {first["backup_id"]}
    (kept,) = [b for b in archive.run("list", "demo", json_output=True).json["backups"] if b["id"] == first["backup_id"]]
    assert "drill" in json.dumps(kept["decision"] if "decision" in kept else kept), kept
    assert left_over(archive) == []


def test_a_dump_comes_back_to_life(archive):
    done = run(archive, "logical")
    details = done.json["details"]
    assert (details["mode"], details["result"], details["backup_id"]) == ("whole", "pass", newest(archive, "dump"))
    assert steps(details, "migration")[0]["outcome"] == "pass" and steps(details, "amcheck")[0]["outcome"] == "pass"
    assert records(archive)[-1]["backup_id"] == details["backup_id"] and left_over(archive) == []
    text = archive.run("drill", "demo/logical", timeout=300).out
    assert re.search(r"pass +assertion: select count", text) and re.search(r"restored in [0-9.]+s, .*: pass\n", text)


def test_an_assertion_that_fails(archive):
    failed = run(archive, "doubting", expect=1)
    assert_error(failed, "was restored, but", 'gave "f", not true')
    outcomes = [s["what"] for s in steps(failed.json["details"], "assertion") if s["outcome"] == "fail"]
    assert len(outcomes) == 3 and "nowhere" in outcomes[1] and "gave 0 rows" in outcomes[2]
    assert records(archive)[-1]["result"] == "fail" and left_over(archive) == []


def test_a_restore_that_takes_too_long(archive):
    failed = run(archive, "hurried", expect=None)
    (rto,) = steps(failed.json["details"], "rto")
    assert (failed.rc == 0) == (rto["outcome"] == "pass") == (records(archive)[-1]["result"] == "pass")
    assert rto["what"].endswith("of 1s")


def start(archive, job):
    return subprocess.Popen([str(archive.bin / "pgcairn"), "-c", str(archive.policy_file), "drill", f"demo/{job}"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                            env=clean_environment(**archive.environment()), **as_user(archive.user))


def test_drills_and_a_backup_at_the_same_time(archive):
    with start(archive, "logical") as one, start(archive, "physical") as other:
        archive.run("run", "demo/nightly")
        said = [p.communicate(timeout=300)[1].decode() for p in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0), said
    assert left_over(archive) == []


def test_an_interrupt_cleans_up(archive):
    before = len(records(archive))
    with start(archive, "logical") as process:
        folder = wait_for_server(archive)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=120)[1].decode()
    assert process.returncode == 5, said
    assert not folder.exists() and len(records(archive)) == before


def test_the_scratch_server_is_closed_to_the_world(archive):
    """It archives nothing and has no TCP port, though the cluster's own settings say both."""
    before = set(archive.segments())
    with start(archive, "physical") as process:
        arguments = (wait_for_server(archive) / "data/postmaster.opts").read_text(encoding="utf-8")
        said = process.communicate(timeout=300)[1].decode()
    assert process.returncode == 0, said
    assert '"listen_addresses="' in arguments and '"archive_mode=off"' in arguments
    assert '"max_worker_processes=0"' in arguments, "a library may want to work by itself"
    assert set(archive.segments()) == before, "a scratch server archived"


@pytest.mark.stores("file")
def test_no_environment_leads_a_drill_to_another_server(archive, monkeypatch):
    """PGHOSTADDR would: the dump would be restored into the server it came from."""
    there = archive.server.databases()
    monkeypatch.setattr(archive, "environment", lambda: {**type(archive).environment(archive), "PGHOSTADDR": "127.0.0.1", "PGREQUIREPEER": "nobody"})
    assert run(archive, "logical").json["details"]["result"] == "pass"
    assert archive.server.databases() == there


def wait_for_server(archive):
    found = []

    def look():
        found[:] = [p.parents[1] for p in archive.state.glob("drill/*/data/postmaster.opts") if p.exists()]
        return found
    wait_until(look, 120, "the scratch server's start")
    return found[0]


def test_after_kill_9_nothing_stays(archive):
    with start(archive, "logical") as process:
        folder = wait_for_server(archive)
        pid = int((folder / "data/postmaster.pid").read_text(encoding="utf-8").split("\n", maxsplit=1)[0])
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert left_over(archive) == [folder.name]
    wait_until(lambda: not os.path.exists(f"/proc/{pid}") or "Z" in open(f"/proc/{pid}/stat", encoding="utf-8").read().split()[2],
               60, "the end of the scratch server")
    (archive.state / "drill/somebody-elses").mkdir()
    stuck = make_stuck(archive, folder)
    done = run(archive, "logical")
    assert any("interrupted drill" in n for n in done.json["notices"])
    assert left_over(archive) == sorted(["somebody-elses", *(s.name for s in stuck)]), "what is not a drill's stays"
    assert all((s / "drill.json").exists() for s in stuck), "the note goes last: without it nothing would remove the rest"
    (archive.state / "drill/somebody-elses").rmdir()
    for path in stuck:
        shutil.rmtree(path)


def make_stuck(archive, dead):
    """Folders of dead drills that can't be removed: in each another folder is not the user's."""
    made = []
    for number in range(40 if os.geteuid() == 0 else 0):
        made.append(archive.state / f"drill/20200101T0000{number:02}Z-stuck")
        (made[-1] / f"other{number}/full").mkdir(parents=True)
        shutil.copy(dead / "drill.json", made[-1])
        for path in (made[-1], made[-1] / "drill.json"):
            os.chown(path, *Path(dead).stat()[4:6])
    return made


@pytest.mark.stores("file")
def test_a_drill_without_room_for_a_socket_is_told_at_once(archive):
    passed = records(archive)[-1]["passed"]
    job = archive.policy["jobs"]["logical"]
    try:
        job["scratch"] = str(archive.state / ("long" * 30))
        archive.write()
        failed = run(archive, "logical", expect=2)
        assert_error(failed, "socket's folder", "scratch:")
        assert (failed.json["details"]["result"], failed.json["details"]["restore_seconds"]) == ("unknown", 0)
        assert records(archive)[-1]["passed"] == passed
    finally:
        del job["scratch"]
        archive.write()


@pytest.mark.stores("file")
def test_a_drill_without_room_writes_nothing(archive):
    """The disk is looked at before the first byte; what the backup is worth nobody knows then."""
    folder, job = archive.root / "small", archive.policy["jobs"]["physical"]
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "pgcairn-test", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("A DISK WITHOUT ROOM NOT TESTED: mounting a small file system needs root")
    try:
        own(folder, archive.user)
        job["scratch"] = str(folder)
        archive.write()
        used = shutil.disk_usage(folder).used
        failed = run(archive, "physical", expect=1)
        assert_error(failed, str(folder), "MB free")
        assert (failed.json["details"]["result"], failed.json["error"]["code"]) == ("unknown", "no_space")
        assert list(folder.rglob("*.*")) == [] and shutil.disk_usage(folder).used <= used + (64 << 10)
    finally:
        job.pop("scratch", None)
        archive.write()
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.stores("file")
def test_a_drill_that_can_not_list_the_backups_forgets_nothing(archive):
    run(archive, "logical")
    passed = records(archive)[-1]["passed"]
    dumps = archive.repository.path / "demo/dumps"
    mode = dumps.stat().st_mode
    os.chmod(dumps, 0)
    try:
        run(archive, "logical", expect=None)
        seen = records(archive)[-1]
    finally:
        os.chmod(dumps, mode)
    assert (seen["result"], seen["passed"]) == ("unknown", passed) and passed


@pytest.mark.parametrize("job, kind, pattern, damage, words", [
    ("logical", "dump", "/data-0001.tar.zst", "truncate", ["data-0001.tar.zst"]),
    ("logical", "dump", "/schema.pgdump", "flip", ["schema.pgdump"]),
    ("logical", "dump", "/data-0001.tar.zst", "delete", ["data-0001.tar.zst"]),
    ("physical", "snapshot", "/base-0001.tar.zst", "truncate", ["base-0001.tar.zst"]),
    ("physical", "snapshot", "/base-0001.tar.zst", "flip", ["base-0001.tar.zst"]),
    ("physical", "snapshot", "/backup_manifest", "delete", ["backup_manifest"]),
])
def test_a_broken_backup_fails_for_the_right_reason(archive, job, kind, pattern, damage, words):
    backup = newest(archive, kind)
    (key,) = [k for k in archive.repository.keys(f"demo/{kind}s/{backup}/") if k.endswith(pattern)]
    whole = archive.repository.read(key)
    try:
        archive.repository.delete(key)
        if damage == "truncate":
            archive.repository.write(key, whole[:len(whole) // 2])
        elif damage == "flip":
            middle = len(whole) // 2
            archive.repository.write(key, whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1:])
        failed = run(archive, job, expect=1)
        assert_error(failed, *words)
        assert records(archive)[-1]["result"] == "fail" and left_over(archive) == []
    finally:
        if damage != "delete":
            archive.repository.delete(key)
        archive.repository.write(key, whole)


@pytest.mark.stores("file")
def test_pg_cron_runs_nothing(store):
    """It would run the cluster's jobs, which may reach anybody. In a restored cluster it is not loaded; where a
    dump makes its extension anew it gets no process."""
    if not list(SHAREDIR.glob("extension/pg_cron.control")):
        pytest.skip("pg_cron is not installed (postgresql-N-cron)")
    nothing = "select count(*) = 0 from ran"
    jobs = {**DRILL_JOBS, "physical": drill("weekly", nothing), "logical": drill("nightly", nothing, "select count(*) = 1 from cron.job")}
    server = Server("drillcron")
    try:
        made = Archive(server, jobs=jobs, store=store, connection=server.url("jobs"))
        server.configure(**made.settings(), shared_preload_libraries="pg_cron,pg_stat_statements",
                         **{"cron.database_name": "jobs", "cron.use_background_workers": "on"})
        server.start()
        server.createdb("jobs")
        server.psql("jobs", "create extension pg_cron; create table ran (at timestamptz)")
        made.policy["postgres"]["databases"] = ["jobs"]
        made.write()
        server.psql("jobs", "select cron.schedule('x', '0 0 1 1 *', 'insert into ran values (now())')")
        made.run("run", "demo/weekly")
        made.run("run", "demo/nightly")
        details = run(made, "physical").json["details"]
        assert [s["what"].split()[0] for s in steps(details, "library")] == ["pg_cron"]
        assert any("pg_cron" in s["what"] for s in steps(details, "extension"))
        details = run(made, "logical").json["details"]
        assert steps(details, "library") == [] and details["result"] == "pass"
        # The dump comes back under the one name that pg_cron allows.
        scheduled = server.psql("jobs", "select jobname, schedule, command from cron.job")
        server.psql("postgres", "drop database jobs with (force)")
        made.policy["postgres"]["connection"] = server.url("postgres")
        made.write()
        assert "under its own name" in made.run("restore", "dump", "demo", "latest", "--database", "jobs").err
        assert scheduled and server.psql("jobs", "select jobname, schedule, command from cron.job") == scheduled
    finally:
        server.stop()


@pytest.mark.stores("file")
def test_what_a_policy_may_not_say(archive):
    def check(job):
        text = json.dumps({**archive.policy, "jobs": {**DRILL_JOBS, "bad": job}})
        file = archive.root / "bad.yaml"
        file.write_text(text)
        os.chmod(file, 0o600)
        done = subprocess.run([str(archive.bin / "pgcairn"), "-c", str(file), "policy", "check"], capture_output=True,
                              check=False, env=clean_environment(**archive.environment()))
        assert done.returncode == 2
        return done.stdout.decode() + done.stderr.decode()
    assert 'has no "of"' in check({"type": "drill"})
    assert 'did you mean "weekly"' in check(drill("weekley"))
    assert "no job of type dump or snapshot" in check(drill("wal"))
    assert 'an assertion has no "sql"' in check({"type": "drill", "of": "weekly", "assertions": [{"database": "x"}]})
    assert_error(archive.run("drill", "demo/nightly", expect=2), "not drill")


@pytest.mark.stores("file")
def test_the_preflight(archive):
    found = {c["id"]: c for c in archive.run("check", json_output=True).json["checks"] if c["id"].startswith("drill")}
    assert {c["status"] for c in found.values()} == {"pass"} and set(found) == {"drill programs", "drill space"}


@pytest.mark.stores("file")
def test_what_the_database_would_run_by_itself(archive):
    """An event trigger of the application's when amcheck makes its extension, a library in each session. An
    extension of another version than this machine's is no fault of the backup's."""
    archive.server.psql("postgres", "alter database postgres set session_preload_libraries = 'auto_explain'")
    archive.server.psql("postgres", """create function leave() returns event_trigger language plpgsql as $$ begin raise exception 'fired'; end $$;
        create event trigger leaving on ddl_command_end when tag in ('CREATE EXTENSION') execute function leave();
        alter event trigger leaving enable always""")
    try:
        archive.run("run", "demo/nightly")
        archive.server.psql("postgres", "update pg_extension set extversion = '0.9' where extname = 'plpgsql'")
        archive.run("run", "demo/weekly")
    finally:
        archive.server.psql("postgres", "update pg_extension set extversion = '1.0' where extname = 'plpgsql'")
        archive.server.psql("postgres", "drop event trigger leaving; drop function leave()")
        archive.server.psql("postgres", "alter database postgres reset session_preload_libraries")
    for job in ("logical", "unloaded"):
        details = run(archive, job).json["details"]
        assert job == "logical" or [s["outcome"] for s in steps(details, "extension") if "0.9" in s["what"]] == ["skip"]
        assert steps(details, "amcheck")[0]["outcome"] in ("pass", "skip"), details


def damage_plain(archive, name):
    """As if the server had written the segment so: it is whole in the repository, and no WAL."""
    (key,) = archive.segments()[name]
    whole = archive.repository.read(key)
    plain = archive.plain(name)
    bad = plain[:8192] + bytes(len(plain) - 8192)
    digest = hashlib.sha256(bad).hexdigest()[:16]
    archive.repository.delete(key)
    fresh = re.sub(r"-[0-9a-f]{16}\.zst$", f"-{digest}.zst", key)
    archive.repository.write(fresh, subprocess.run(["zstd", "-q", "-c"], input=bad, capture_output=True, check=True).stdout)
    return key, whole, fresh


@pytest.mark.stores("file")
def test_wal_that_ends_too_early_is_no_pass(archive):
    """PostgreSQL takes what it can't read for the end of WAL and starts."""
    archive.run("run", "demo/weekly")
    names = []
    for _ in range(4):
        archive.server.psql("postgres", FILL)
        names.append(archive.switch())
    archive.run("run", "demo/wal")
    key, whole, fresh = damage_plain(archive, names[1])
    try:
        assert_error(drill_to_the_end(archive, 1), "replay ended at", names[-1])
        assert records(archive)[-1]["result"] == "fail"
    finally:
        archive.repository.delete(fresh)
        archive.repository.write(key, whole)


def drill_to_the_end(archive, status):
    """A random moment may lie before the WAL that this is about."""
    done = run(archive, "physical", expect=None)
    if done.json["details"]["mode"] == "random":
        done = run(archive, "physical", expect=None)
    assert done.rc == status, done
    return done


@pytest.mark.stores("file")
def test_wal_that_is_not_read_is_unknown_and_what_is_no_good_a_fault(archive):
    archive.run("run", "demo/weekly")
    names = []
    for _ in range(2):
        archive.server.psql("postgres", FILL)
        names.append(archive.switch())
    archive.run("run", "demo/wal")
    name = names[0]
    (key,) = archive.segments()[name]
    whole, path = archive.repository.read(key), archive.repository.path / key
    try:
        os.chmod(path, 0)
        unread = drill_to_the_end(archive, 3)
        assert_error(unread, "replay ended", name)
        assert records(archive)[-1]["result"] == "unknown" and left_over(archive) == []
        archive.repository.delete(key)
        assert_error(drill_to_the_end(archive, 1), "is not in the repository", name)
        assert records(archive)[-1]["result"] == "fail"
        archive.repository.write(key, whole[:-40] + bytes(40))
        assert_error(drill_to_the_end(archive, 1), "replay ended", name)
        assert records(archive)[-1]["result"] == "fail" and left_over(archive) == []
    finally:
        if path.exists():
            archive.repository.delete(key)
        archive.repository.write(key, whole)


def test_the_help_tells_of_no_options_of_run(archive):
    told = archive.run("help", "drill").out
    assert "CLUSTER/JOB" in told and "--" not in told.replace("--json", "")
    assert_error(archive.run("drill", "demo/logical", "--snapshot-on-gap", expect=2), "--snapshot-on-gap")


@pytest.mark.stores("file")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
def test_root_is_refused(archive):
    before = records(archive)
    done = subprocess.run([str(archive.bin / "pgcairn"), "-c", str(archive.policy_file), "drill", "demo/logical"],
                          capture_output=True, check=False, env=clean_environment(**archive.environment()))
    assert done.returncode == 1 and b"refuses to run as root" in done.stderr and b"as the user postgres" in done.stderr
    assert records(archive) == before, "root writes no evidence, which others could not read"
