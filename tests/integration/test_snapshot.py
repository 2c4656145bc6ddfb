"""Snapshots and what is restored of them: the same cluster, at the moment that was asked for."""
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from datetime import datetime, timedelta, timezone

import pytest
from cairn import assert_error
from compare import differences, schema_text, sequence_values, table_sums
from load import Load
from pg import clean_environment, own, wait_until
from snapshots import Beside, Cluster, now, verify

MARKS = "create table marks (n int primary key, at timestamptz not null default clock_timestamp())"


@pytest.fixture(scope="module")
def cluster(store):
    """Archives; tests take snapshots of it and leave the app's tables as they are."""
    made = Cluster(store=store)
    try:
        yield made.fill()
    finally:
        made.stop()


@pytest.fixture
def clusters(store):
    made = []

    def make(name="snap", **options):
        made.append(Cluster(name, store=store, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()


UNLOGGED = """select format('%I.%I', n.nspname, c.relname) as name from pg_class c
              join pg_namespace n on n.oid = c.relnamespace where c.relpersistence = 'u' and c.relkind = 'r'"""


def assert_same(left, right, database="app"):
    """Two servers hold the same database, but for unlogged tables, which recovery empties."""
    unlogged = {row["name"] for row in left.json(database, UNLOGGED)}
    sums = [{k: v for k, v in table_sums(s, database).items() if k not in unlogged} for s in (left, right)]
    found = differences("rows of", *sums)
    found += differences("sequence", sequence_values(left, database), sequence_values(right, database))
    assert not found, "\n".join(found[:100])
    assert table_sums(left, database), "no table: the comparison proves nothing"
    assert schema_text(left, database) == schema_text(right, database)


# -- a snapshot ------------------------------------------------------------------------------------


def test_restored_is_the_same_and_accepted(cluster):
    snapshot = cluster.snapshot()
    run = cluster.archive.run("list", "demo", "--kind", "snapshot", json_output=True)
    assert [b["state"] for b in run.json["backups"] if b["id"] == snapshot] == ["good"]
    shown = cluster.archive.run("show", "demo", snapshot)
    assert snapshot in shown.out and "0/" in shown.out
    folder = cluster.restore(snapshot, "--immediate")
    verify(cluster.server, folder)
    assert not list(folder.glob("pgcairn*")) and not list(folder.glob("**/*.pgcairn"))
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
    assert {oct(p.stat().st_mode & 0o777) for p in folder.rglob("*") if p.is_file()} == {"0o600"}
    copy = cluster.start(folder)
    assert_same(cluster.server, copy)
    assert copy.value("postgres", "select timeline_id from pg_control_checkpoint()") > "1"


@pytest.mark.stores("file")
def test_manifest_says_what_is_stored(cluster):
    snapshot = cluster.snapshot()
    manifest = cluster.manifest(snapshot)
    stored = cluster.repository.sizes(cluster.key(snapshot))
    listed = {cluster.key(snapshot, o["name"]): o["size"] for o in manifest["objects"]}
    assert listed == {k: v for k, v in stored.items() if not k.endswith(("/manifest.json", "/started.json"))}
    assert manifest["bytes_stored"] == sum(o["size"] for o in manifest["objects"])
    assert manifest["wal"]["segment_size"] == 16 << 20 and manifest["wal"]["timeline"] == 1
    assert manifest["started_at"] < manifest["stopped_at"]
    assert manifest["server"]["system_identifier"] == cluster.server.value(
        "postgres", "select system_identifier from pg_control_system()")
    assert not cluster.server.value("postgres", "select slot_name from pg_replication_slots")


def test_script_restores_without_pgcairn(cluster):
    place, folder = cluster.fetch(cluster.snapshot()), cluster.folder()
    done = cluster.script(place, folder)
    assert done.returncode == 0, done.stderr
    verify(cluster.server, folder)
    assert_same(cluster.server, cluster.start(folder))
    again = cluster.script(place, folder)
    assert again.returncode == 1 and "not empty" in again.stderr


@pytest.mark.stores("file")
def test_script_sees_a_changed_volume(cluster):
    place, folder = cluster.fetch(cluster.snapshot()), cluster.folder()
    with open(place / "base-0001.tar.zst", "r+b") as volume:
        volume.seek(1000)
        volume.write(b"\0\1\2\3")
    done = cluster.script(place, folder)
    assert done.returncode != 0 and "base-0001.tar.zst" in done.stderr + done.stdout
    assert not folder.exists()


@pytest.mark.stores("file")
def test_tablespaces_are_moved(clusters):
    cluster = clusters()
    fast = cluster.folder("fast space")
    fast.mkdir()
    own(fast, cluster.server.user)
    cluster.server.psql("postgres", f"create tablespace fast location '{fast}'")
    cluster.fill()
    cluster.server.psql("app", "create table kept tablespace fast as select generate_series(1, 10000) n")
    snapshot = cluster.snapshot()
    run = cluster.restore(snapshot, "--immediate", expect=1)
    assert_error(run, str(fast), "not empty")
    moved = cluster.folder("moved")
    run = cluster.restore(snapshot, "--immediate", "--tablespace", f"/nowhere={moved}", expect=2)
    assert_error(run, "/nowhere")
    folder = cluster.restore(snapshot, "--immediate", "--tablespace", f"{fast}={moved}")
    verify(cluster.server, folder, "-i", "tablespace_map")
    assert next(moved.iterdir()).name.startswith("PG_")
    copy = cluster.start(folder)
    assert_same(cluster.server, copy)
    place = copy.value("app", "select pg_tablespace_location(oid) from pg_tablespace where spcname = 'fast'")
    assert place == str(moved)
    # restore.sh does the same.
    script, spot = cluster.folder(), cluster.folder("spot")
    done = cluster.script(cluster.fetch(snapshot), script, f"{fast}={spot}")
    assert done.returncode == 0, done.stderr
    assert_same(cluster.server, cluster.start(script))


@pytest.mark.stores("file")
def test_standby_is_a_source(clusters):
    cluster = clusters().fill()
    cluster.snapshot()
    folder = cluster.restore("--standby")
    assert (folder / "standby.signal").exists()
    host = cluster.server.socket_dir
    standby = cluster.serve(folder, "standby", archive_mode="off",
                            primary_conninfo=f"host={host} port={cluster.server.port} user=postgres")
    standby.start()
    cluster.server.psql("app", "create table late as select 1 as a")
    standby.wait_for("select to_regclass('late') is not null", database="app")
    cluster.archive.policy["postgres"]["connection"] = standby.url()
    cluster.archive.write()
    snapshot = cluster.snapshot()
    assert cluster.manifest(snapshot)["server"]["is_standby"]
    copy = cluster.start(cluster.restore(snapshot, "--immediate"))
    assert_same(cluster.server, copy)


@pytest.mark.stores("file")
def test_under_load(clusters):
    cluster = clusters()
    cluster.server.createdb("app")
    cluster.server.program("pgbench", "-i", "-s", "2", "-q", "app")
    with Load(cluster.server, "app"):
        time.sleep(1)
        snapshot = cluster.snapshot()
    folder = cluster.restore(snapshot, "--immediate")
    verify(cluster.server, folder)
    copy = cluster.start(folder)
    sums = {copy.value("app", f"select sum({c}) from {t}") for t, c in (
        ("pgbench_accounts", "abalance"), ("pgbench_branches", "bbalance"), ("pgbench_tellers", "tbalance"))}
    assert len(sums) == 1, sums
    copy.program("pg_amcheck", "-d", "app", "--heapallindexed", "--install-missing")


@pytest.mark.stores("file")
def test_damaged_blocks_are_told(clusters):
    cluster = clusters(initdb=("--data-checksums",))
    cluster.fill()
    good = cluster.snapshot()
    file = cluster.server.data / cluster.server.value("app", 'select pg_relation_filepath(oid) from pg_class '
                                                      "where relkind = 'r' and relpages > 1 order by relpages desc limit 1")
    cluster.server.psql("postgres", "checkpoint")
    with open(file, "r+b") as damaged:
        damaged.seek(8192 + 4000)
        damaged.write(b"damage")
    run = cluster.snapshot(expect=1)
    assert run.json["outcome"] == "failed" and run.json["error"]["code"] == "corrupt"
    assert file.name in run.err, "the notices name the file"
    damaged = run.json["backup_id"]
    states = {b["id"]: b["state"] for b in cluster.archive.run("list", "demo", json_output=True).json["backups"]}
    assert states == {good: "good", damaged: "damaged"}
    # Of its own accord nothing takes it; by its id it can be had.
    plan = cluster.archive.run("restore", "snapshot", "demo", "--immediate", "--dry-run", "--target-dir",
                               cluster.folder(), json_output=True).json["plan"]
    assert plan["id"] == good
    cluster.restore(damaged, "--immediate")


def modes(folder):
    found = {p: oct(p.lstat().st_mode & 0o777) for p in (folder, *folder.rglob("*")) if not p.is_symlink()}
    return {m for p, m in found.items() if p.is_dir()}, {m for p, m in found.items() if p.is_file()}


@pytest.mark.stores("file")
def test_a_cluster_that_its_group_may_read(clusters):
    """Restored it is that again, by pgcairn and by the script, and the server accepts it."""
    cluster = clusters(initdb=("--allow-group-access",))
    cluster.server.psql("postgres", MARKS + "; insert into marks values (1)")
    snapshot = cluster.snapshot()
    assert cluster.manifest(snapshot)["folder_mode"] == "0750"
    folder, script = cluster.restore(snapshot, "--immediate"), cluster.folder()
    done = cluster.script(cluster.fetch(snapshot), script)
    assert done.returncode == 0, done.stderr
    for made in (folder, script):
        verify(cluster.server, made)
        assert modes(made) == ({"0o750"}, {"0o640"}), made
        assert cluster.start(made).value("postgres", "select n from marks") == "1"


@pytest.mark.stores("file")
def test_wal_behind_a_link(clusters):
    """A server with its WAL elsewhere archives it, and restored it has its own."""
    cluster = clusters()
    server = cluster.server
    server.halt()
    elsewhere = server.root / "elsewhere"
    shutil.move(server.data / "pg_wal", elsewhere)
    (server.data / "pg_wal").symlink_to(elsewhere)
    server.start()
    server.psql("postgres", MARKS + "; insert into marks values (1)")
    snapshot = cluster.snapshot()
    server.psql("postgres", "insert into marks values (2)")
    cluster.archive.switch()
    folder = cluster.restore(snapshot)
    verify(server, folder)
    assert (folder / "pg_wal").is_dir() and not (folder / "pg_wal").is_symlink()
    before = sorted(p.name for p in elsewhere.iterdir())
    copy = cluster.start(folder)
    assert copy.value("postgres", "select count(*) from marks") == "2"
    assert sorted(p.name for p in elsewhere.iterdir()) == before


@pytest.mark.stores("file")
@pytest.mark.parametrize("config, words", [
    ({"max_slot_wal_keep_size": "32MB"}, ["max_slot_wal_keep_size"]),
    ({"max_replication_slots": 0}, ["WAL", "max_replication_slots", "wal_keep_size"]),
], ids=["with a slot", "without"])
def test_the_server_removes_wal_too_early(clusters, config, words):
    """A snapshot so slow that the server no longer has the WAL it needs is none, and says why; the next one is."""
    cluster = clusters(max_wal_size="32MB", min_wal_size="32MB", wal_keep_size="0", **config)
    server, archive = cluster.server, cluster.archive
    server.psql("postgres", "create table ballast as select md5(n::text) from generate_series(1, 100000) n; checkpoint")
    slow = Beside(archive, "run", "demo/weekly", output=subprocess.PIPE)
    server.wait_for("select count(*) = 1 from pg_stat_progress_basebackup where phase like 'streaming%'")
    slow.process.send_signal(signal.SIGSTOP)
    for _ in range(4):
        archive.switch()
    server.psql("postgres", "checkpoint")
    slow.process.send_signal(signal.SIGCONT)
    said = slow.process.communicate(timeout=120)[0].decode()
    assert slow.process.returncode in (1, 3) and all(word in said for word in words), said
    snapshot = cluster.snapshot()
    states = {b["id"]: b["state"] for b in archive.run("list", "demo", json_output=True).json["backups"]}
    assert states.pop(snapshot) == "good" and set(states.values()) <= {"unfinished"}
    assert cluster.start(cluster.restore(snapshot, "--immediate")).value("postgres", "select count(*) from ballast")


# -- what is refused before anything is written ------------------------------------------------------


@pytest.mark.stores("file")
def test_idle_server_ends_at_once(clusters):
    """Even when nothing is archived: the snapshot does not wait for that."""
    cluster = clusters()
    cluster.server.psql("postgres", "alter system set archive_command = 'false'; select pg_reload_conf()")
    began = time.monotonic()
    cluster.snapshot()
    assert time.monotonic() - began < 60


@pytest.mark.stores("file")
@pytest.mark.parametrize("config, words", [
    ({"wal_level": "minimal", "max_wal_senders": 0}, ["max_wal_senders"]),
    ({"wal_level": "replica", "max_wal_senders": 0}, ["max_wal_senders"]),
])
def test_settings_that_forbid_it(clusters, config, words):
    cluster = clusters(archiving=False)
    cluster.server.halt()
    cluster.server.configure(**config)
    cluster.server.start()
    assert_error(cluster.snapshot(expect=3), *words)


@pytest.mark.stores("file")
def test_no_right_to_replicate(clusters):
    cluster = clusters()
    cluster.server.psql("postgres", "create role plain login")
    cluster.archive.policy["postgres"]["connection"] = cluster.server.url(user="plain")
    cluster.archive.write()
    assert_error(cluster.snapshot(expect=1), "alter role")


@pytest.mark.stores("file")
def test_missing_hba_line(clusters):
    cluster = clusters()
    hba = cluster.server.data / "pg_hba.conf"
    hba.write_text("\n".join(line for line in hba.read_text().splitlines() if "replication" not in line) + "\n")
    cluster.server.psql("postgres", "select pg_reload_conf()")
    run = cluster.snapshot(expect=3)
    assert_error(run, "local replication postgres scram-sha-256")


@pytest.mark.stores("file")
def test_without_a_free_slot(clusters):
    cluster = clusters(max_replication_slots=1)
    cluster.server.psql("postgres", "select pg_create_physical_replication_slot('taken')")
    run = cluster.archive.run("run", "demo/weekly")
    assert "slot" in run.err and "warning" in run.err


@pytest.mark.stores("file")
def test_folders_that_are_refused(cluster):
    snapshot = cluster.snapshot()
    full = cluster.folder()
    full.mkdir()
    (full / "precious").write_text("x")
    own(full, cluster.server.user)
    assert_error(cluster.restore(snapshot, folder=full, expect=1), "precious", "nothing is overwritten")
    assert [p.name for p in full.iterdir()] == ["precious"]
    assert_error(cluster.restore(snapshot, folder=cluster.server.data, expect=1), "running")
    assert_error(cluster.restore(snapshot, "--resume", expect=1), "no restore to go on with")
    linked = cluster.folder()
    linked.mkdir()
    (linked / "pg_wal").symlink_to("/nowhere")
    own(linked, cluster.server.user)
    assert_error(cluster.restore(snapshot, folder=linked, expect=1), "pg_wal")
    mount = cluster.folder()
    (mount / "lost+found").mkdir(parents=True)
    own(mount, cluster.server.user)
    cluster.restore(snapshot, "--immediate", folder=mount)
    verify(cluster.server, mount, "-i", "lost+found")


@pytest.mark.stores("file")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_gives_the_files_to_the_owner(cluster):
    snapshot = cluster.snapshot()
    folder = cluster.folder()
    words = [cluster.archive.bin / "pgcairn", "-c", cluster.archive.policy_file, "restore", "snapshot", "demo",
             snapshot, "--immediate", "--target-dir", folder]
    refused = subprocess.run(words, capture_output=True, text=True, check=False, env=clean_environment())
    assert refused.returncode == 1 and "install -d -m 700" in refused.stderr
    folder.mkdir()
    own(folder, cluster.server.user)
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=clean_environment())
    owner = folder.stat().st_uid
    assert owner != 0 and {p.lstat().st_uid for p in folder.rglob("*")} == {owner}
    verify(cluster.server, folder)
    assert_same(cluster.server, cluster.start(folder))


@pytest.mark.parametrize("name, change", [
    ("base-0001.tar.zst", lambda data: data[:len(data) // 2]),
    ("base-0001.tar.zst", lambda data: data[:len(data) // 2] + b"\0\0\0\0" + data[len(data) // 2 + 4:]),
    ("base-0001.tar.zst", lambda data: None),
    ("backup_manifest", lambda data: data.replace(b'"Size": 8192', b'"Size": 8193', 1)),
], ids=["cut", "changed", "gone", "list"])
def test_stored_damage_is_found(cluster, name, change):
    snapshot = cluster.snapshot()
    cluster.repository.rewrite(cluster.key(snapshot, name), change)
    folder = cluster.folder()
    run = cluster.restore(snapshot, "--immediate", folder=folder, expect=1)
    assert_error(run, name)
    assert not (folder / "global/pg_control").exists()
    for key in cluster.repository.keys(cluster.key(snapshot)):
        cluster.repository.delete(key)


# -- recovery to a moment ----------------------------------------------------------------------------


class Marker(threading.Thread):
    """Writes a row every few moments; knows by the server's clock when each was committed."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.ends = server, threading.Event()
        server.psql("postgres", MARKS)

    def run(self):
        with self.server.session("postgres") as session:
            number = 0
            while not self.ends.is_set():
                number += 1
                session.execute(f"insert into marks values ({number})")
                time.sleep(0.05)

    def stop(self):
        self.ends.set()
        self.join(30)


def marks_until(server, moment):
    return int(server.value("postgres", f"select count(*) from marks where at <= '{moment}'"))


@pytest.fixture(scope="module")
def history(store):
    """A cluster with a snapshot, marks before and after it, a restore point, a mistake; all archived."""
    cluster = Cluster("history", store=store)
    try:
        marker = Marker(cluster.server)
        marker.start()
        time.sleep(0.3)
        cluster.before = now(cluster.server)
        time.sleep(0.3)
        cluster.first = cluster.snapshot()
        cluster.moments = []
        for _ in range(3):
            time.sleep(0.4)
            cluster.moments.append(now(cluster.server))
            time.sleep(0.2)
            cluster.archive.switch()
        marker.stop()
        cluster.count = int(cluster.server.value("postgres", "select count(*) from marks"))
        cluster.lsn = cluster.server.value("postgres", "select pg_current_wal_insert_lsn()")
        cluster.xid = cluster.server.value(
            "postgres", "begin; insert into marks values (100001); select pg_current_xact_id(); commit")
        cluster.server.psql("postgres", "select pg_create_restore_point('before the mistake')")
        cluster.server.psql("postgres", "insert into marks values (100002); drop table marks")
        cluster.archive.switch()
        yield cluster
    finally:
        cluster.stop()


def count_marks(history, *arguments):
    copy = history.start(history.restore(*arguments))
    try:
        return int(copy.value("postgres", "select count(*) from marks"))
    finally:
        copy.stop()


@pytest.mark.stores("file")
def test_to_a_time(history):
    moment = random.choice(history.moments)
    plan = history.archive.run("restore", "snapshot", "demo", "--to", moment, "--dry-run", "--target-dir",
                               history.folder(), json_output=True).json["plan"]
    assert plan["id"] == history.first and plan["wal"]["segments"] > 0
    copy = history.start(history.restore("--to", moment))
    rows = copy.value("postgres", f"select count(*), count(*) filter (where at <= '{moment}') from marks")
    copy.stop()
    total, until = map(int, rows.split("|"))
    # The row is stamped a moment before its commit is.
    assert until - 1 <= total <= until and total > 0


@pytest.mark.stores("file")
def test_to_a_position(history):
    assert count_marks(history, "--to-lsn", history.lsn) == history.count


@pytest.mark.stores("file")
def test_to_a_transaction(history):
    assert count_marks(history, history.first, "--to-xid", history.xid) == history.count + 1


@pytest.mark.stores("file")
def test_before_a_transaction(history):
    assert count_marks(history, history.first, "--to-xid", history.xid, "--exclusive") == history.count


@pytest.mark.stores("file")
def test_to_a_restore_point(history):
    assert count_marks(history, history.first, "--to-name", "before the mistake") == history.count + 1


@pytest.mark.stores("file")
def test_to_the_end(history):
    copy = history.start(history.restore())
    assert copy.value("postgres", "select to_regclass('marks') is null") == "t"
    copy.stop()


@pytest.mark.stores("file")
def test_what_cannot_be_reached(history):
    folder = history.folder()
    run = history.restore("--to", history.before, folder=folder, expect=1)
    assert_error(run, history.first, "oldest")
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    assert_error(history.restore("--to", later.isoformat(), folder=folder, expect=2), "future")
    soon = now(history.server)
    assert_error(history.restore("--to", soon, folder=folder, expect=1), "ends before")
    assert_error(history.restore("--to-lsn", "FF/0", folder=folder, expect=1), "ends before")
    assert_error(history.restore("--timeline", "7", folder=folder, expect=1), "timeline 7")
    assert_error(history.restore("20200101T000000Z-aaaa", folder=folder, expect=1), "20200101T000000Z-aaaa")
    assert_error(history.restore("--to-lsn", "x", folder=folder, expect=2), "x")
    assert_error(history.restore("--to", history.before, "--immediate", folder=folder, expect=2), "exclude")
    assert not folder.exists()


@pytest.mark.stores("file")
def test_second_timeline_and_a_gap(clusters):
    """A recovered cluster archives its new timeline; later recovery follows it, and stops before a gap."""
    cluster = clusters("lines")
    cluster.server.psql("postgres", MARKS + "; insert into marks values (1)")
    cluster.snapshot()
    cluster.server.psql("postgres", "insert into marks values (2)")
    cluster.archive.switch()
    moment = now(cluster.server)
    cluster.server.psql("postgres", "insert into marks values (3)")
    cluster.archive.switch()
    cluster.server.halt()
    # The new primary replaces the old one.
    folder = cluster.restore("--to", moment)
    primary = cluster.serve(folder, "primary")
    primary.start()
    cluster.wait_recovered(primary)
    primary.psql("postgres", "insert into marks values (4)")
    archive = cluster.archive
    cluster.move_to(primary)
    third = archive.switch()
    primary.psql("postgres", "insert into marks values (5)")
    archive.switch()
    primary.psql("postgres", "insert into marks values (6)")
    archive.switch()
    copy = cluster.start(cluster.restore())
    assert copy.value("postgres", "select string_agg(n::text, ',' order by n) from marks") == "1,2,4,5,6"
    copy.stop()
    copy = cluster.start(cluster.restore("--timeline", "1"))
    assert copy.value("postgres", "select string_agg(n::text, ',' order by n) from marks") == "1,2,3"
    copy.stop()
    for key in archive.segments()[third]:
        cluster.repository.delete(key)
    run = cluster.restore(expect=1)
    assert_error(run, third, "--to")
    second = cluster.snapshot()
    copy = cluster.start(cluster.restore())
    assert copy.value("postgres", "select count(*) from marks") == "5"
    copy.stop()
    assert cluster.manifest(second)["wal"]["timeline"] == 2


# -- interruptions -----------------------------------------------------------------------------------


def test_killed_snapshots(cluster):
    """Whatever was killed is no backup; the next run says so and is one."""
    began = time.monotonic()
    good = {cluster.snapshot()}
    whole = time.monotonic() - began
    killed = sum(Beside(cluster.archive, "run", "demo/weekly").kill_after(random.uniform(0.1, 1) * whole)
                 for _ in range(6))
    assert killed, "every run was too fast to be killed"
    cluster.server.wait_for("select count(*) = 0 from pg_replication_slots")
    snapshot = cluster.snapshot()
    states = {b["id"]: b["state"] for b in cluster.archive.run("list", "demo", json_output=True).json["backups"]}
    assert states[snapshot] == "good" and set(states.values()) <= {"good", "unfinished"}
    assert good <= set(states)
    folder = cluster.restore(snapshot, "--immediate")
    verify(cluster.server, folder)


def test_killed_restores_go_on(cluster):
    """A killed restore does not start, is not overwritten by another, and goes on with --resume."""
    snapshot, other = cluster.snapshot(), cluster.snapshot()
    began = time.monotonic()
    cluster.restore(snapshot, "--immediate")
    whole = time.monotonic() - began
    folder = cluster.folder()
    mark, control = folder / "pgcairn-restore.json", folder / "global/pg_control"
    words = ["restore", "snapshot", "demo", snapshot, "--immediate", "--target-dir", folder]
    killed = 0
    for _ in range(12):
        resume = ["--resume"] if mark.exists() else []
        run = Beside(cluster.archive, *words, *resume)
        wait_until(lambda: mark.exists() or run.process.poll() is not None, what="the restore writes")
        if run.kill_after(random.uniform(0, 0.5) * whole):
            killed += mark.exists()
            assert not control.exists() or (folder / "recovery.signal").exists()
        elif killed:
            break
        else:
            shutil.rmtree(folder)
    if mark.exists():
        assert_error(cluster.restore(snapshot, folder=folder, expect=1), "--resume")
        assert_error(cluster.restore(other, "--resume", folder=folder, expect=1), snapshot)
        cluster.restore(snapshot, "--immediate", "--resume", folder=folder)
    elif not control.exists():
        cluster.restore(snapshot, "--immediate", folder=folder)
    assert killed, "no restore was killed while it wrote"
    verify(cluster.server, folder)
    assert_same(cluster.server, cluster.start(folder))


@pytest.mark.stores("file")
def test_a_full_disk(cluster):
    """Not enough room is seen before anything is written; one that fills up meanwhile leaves no pg_control."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts")
    snapshot = cluster.snapshot()
    size = sum(o["plain_bytes"] for o in cluster.manifest(snapshot)["objects"])
    mount = cluster.folder()
    mount.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size // 2}", "tmpfs", mount], check=False,
                          capture_output=True)
    if made.returncode:
        pytest.skip("mounts are not allowed here")
    try:
        own(mount, cluster.server.user)
        assert_error(cluster.restore(snapshot, "--immediate", folder=mount, expect=1), "MB free")
        assert not list(mount.iterdir())
        # Room at the beginning, taken by another one then.
        subprocess.run(["mount", "-o", f"remount,size={size * 2}", mount], check=True)
        filling = threading.Thread(target=lambda: subprocess.run(
            ["mount", "-o", f"remount,size={size // 3}", mount], check=False))
        words = [cluster.archive.bin / "pgcairn", "-c", cluster.archive.policy_file, "restore", "snapshot", "demo",
                 snapshot, "--immediate", "--target-dir", mount, "--jobs", "1"]
        process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
                                   env=clean_environment())
        wait_until((mount / "pgcairn-restore.json").exists, what="the restore began")
        filling.start()
        _, text = process.communicate(timeout=60)
        filling.join()
        if process.returncode == 0:
            pytest.skip("the restore was faster than the disk filled up")
        assert "No space left" in text and "--resume" in text and not (mount / "global/pg_control").exists()
        subprocess.run(["mount", "-o", f"remount,size={size * 2}", mount], check=True)
        subprocess.run([*words, "--resume"], check=True, stdout=subprocess.DEVNULL, env=clean_environment())
        verify(cluster.server, mount)
    finally:
        subprocess.run(["umount", mount], check=False)


# -- the preflight -----------------------------------------------------------------------------------


def checks(cluster, expect=0):
    run = cluster.archive.run("check", "demo", json_output=True, expect=expect)
    return {c["id"]: c for c in run.json["checks"]}


@pytest.mark.stores("file")
def test_check_tells_what_is_missing(clusters):
    cluster = clusters(max_replication_slots=1)
    found = checks(cluster)
    assert found["snapshot"]["status"] == found["snapshot slot"]["status"] == "pass"
    cluster.server.psql("postgres", "select pg_create_physical_replication_slot('taken'); create role plain login")
    assert checks(cluster)["snapshot slot"]["status"] == "warn"
    cluster.archive.policy["jobs"]["weekly"]["connection"] = cluster.server.url(user="plain")
    cluster.archive.write()
    assert "alter role" in checks(cluster, expect=1)["snapshot"]["cure"]
    cluster.server.psql("postgres", "create role rds_superuser")
    found = checks(cluster, expect=1)["snapshot"]
    assert found["status"] == "fail" and "Amazon RDS" in found["cure"] and "dumps" in found["cure"]


@pytest.mark.stores("s3")
def test_restore_command_finds_the_keys(cluster):
    """Where they are is told to the server, what they are is not; and where that helps nothing, it is said."""
    snapshot, archive = cluster.snapshot(), cluster.archive
    cluster.archive.switch()
    folder = cluster.restore(snapshot)
    settings = (folder / "postgresql.auto.conf").read_text()
    keys = archive.repository.environment()
    assert "AWS_SHARED_CREDENTIALS_FILE=" in settings and str(archive.credentials) in settings
    assert keys["AWS_SECRET_ACCESS_KEY"] not in settings and keys["AWS_ACCESS_KEY_ID"] not in settings
    assert "environment" not in archive.run("restore", "snapshot", "demo", snapshot, "--target-dir", cluster.folder()).err
    archive.credentials.unlink()
    try:
        archive.environment = lambda: {"STATE_DIRECTORY": str(archive.state), **keys}
        folder = cluster.folder()
        run = archive.run("restore", "snapshot", "demo", snapshot, "--target-dir", folder)
        assert "warning: restore_command needs the keys" in run.out + run.err and keys["AWS_SECRET_ACCESS_KEY"] not in run.out
        assert keys["AWS_SECRET_ACCESS_KEY"] not in (folder / "postgresql.auto.conf").read_text()
    finally:
        del archive.environment
        archive.write_credentials()
