"""Verification: what is whole passes, and each kind of damage to each kind of object is found and named."""
import copy
import json
import time

import pytest
from archive import Archive
from cairn import tar_members, zstd_plain
from pg import Server, own, wait_until

JOBS = {"wal": {"type": "wal", "schedule": "0 * * * *", "keep": {"within": "7d"}, "mode": "push", "timeout": "60s"},
        "nightly": {"type": "dump", "schedule": "0 2 * * *", "keep": {"within": "30d", "last": 3}, "jobs": 1},
        "weekly": {"type": "snapshot", "schedule": "0 3 * * sun", "keep": {"within": "90d"}},
        "prune": {"type": "prune", "schedule": "15 5 * * *"},
        "proof": {"type": "verify", "schedule": "0 4 * * *", "level": 3, "budget": "1h"}}
FILL = """create table people (id serial primary key, name text, note text);
          create table empty (a int); create table nothing ();
          insert into nothing select from generate_series(1, 7);
          insert into people (name, note) select md5(g::text), E'a\\tb\\nc\\\\' || g from generate_series(1, 20000) g;
          select lo_from_bytea(0, 'a large object');"""
MORE = "insert into people (name) select md5(g::text) from generate_series(1, 2000) g"


class Proven(Archive):
    """An archive with two dumps, two snapshots, WAL of two timelines, and a way back from any damage."""

    def make(self):
        self.server.createdb("app")
        self.server.psql("app", FILL)
        self.dumps = [self.job("nightly")]
        self.snapshots = [self.job("weekly")]
        self.server.psql("app", MORE)
        self.switch()
        self.change_timeline()
        self.server.psql("app", MORE)
        self.dumps.append(self.job("nightly"))
        self.snapshots.append(self.job("weekly"))
        for _ in range(3):
            self.server.psql("app", MORE)
            self.switch()
        self.run("run", "demo/wal")
        self.baseline = {key: self.repository.read(key) for key in self.repository.keys()}
        return self

    def job(self, name):
        return self.run("run", f"demo/{name}", json_output=True).json["backup_id"]

    def change_timeline(self):
        server = self.server
        server.halt()
        server.configure(restore_command="false")
        marker = server.data / "recovery.signal"
        marker.touch()
        own(marker, self.user)
        server.start()
        server.wait_for("select not pg_is_in_recovery()", seconds=60, what="the new timeline")
        wait_until(lambda: "00000002.history" in self.segments(), 60, "its history was archived")

    def mend(self):
        """The repository as it was; what runs of this test wrote is gone."""
        sizes = self.repository.sizes()
        for key in sizes:
            if key not in self.baseline:
                self.repository.delete(key)
        for key, data in self.baseline.items():
            if key not in sizes or "/evidence/" in key or "/locks/" in key or key in self.touched:
                self.repository.delete(key) if key in sizes else None
                self.repository.write(key, data)
        self.touched = set()

    touched = set()

    def change(self, key, data):
        self.touched.add(key)
        self.repository.delete(key)
        if data is not None:
            self.repository.write(key, data)

    def verify(self, *arguments, expect=0):
        return self.run("verify", "demo", *arguments, expect=expect, json_output=True).json

    def key(self, backup, name):
        kind = "dumps" if backup in self.dumps else "snapshots"
        (key,) = [k for k in self.baseline if k.startswith(f"demo/{kind}/{backup}/") and k.endswith(name)]
        return key

    def wal(self, name):
        (key,) = [k for k in self.baseline if f"/{name}-" in k]
        return key

    def segments_of(self, timeline):
        return sorted(k for k in self.baseline if f"/{timeline:08X}/" in k and "/wal/" in k and len(k.split("/")[-1]) == 45)


@pytest.fixture(scope="module")
def made(store):
    server = Server("verify")
    try:
        archive = Proven(server, jobs=JOBS, store=store)
        archive.policy["postgres"]["databases"] = ["app"]
        archive.write()
        server.configure(**archive.settings())
        server.start()
        yield archive.make()
    finally:
        server.stop()


@pytest.fixture
def archive(made):
    yield made
    made.mend()
    made.policy["jobs"] = copy.deepcopy(JOBS)
    made.write()


def records(archive):
    keys = archive.repository.keys("demo/evidence/")
    return [json.loads(archive.repository.read(k)) for k in sorted(keys)]


def newest_record(archive):
    return json.loads(archive.repository.read(max(archive.repository.keys("demo/evidence/"))))


def listed(archive, backup):
    found = archive.run("list", "demo", json_output=True).json["backups"]
    return next(b for b in found if b["id"] == backup)


# -- what is whole

@pytest.mark.parametrize("level", (1, 2, 3))
def test_what_is_whole_passes(archive, level):
    proof = archive.verify("--level", level)
    assert proof["result"] == "pass" and proof["level"] == level and proof["faults"] == [] and proof["unknown"] == []
    assert proof["remaining"] == 0 and proof["checked"]["objects"] > 20
    sizes = sum(len(d) for k, d in archive.baseline.items() if "/dumps/" in k or "/snapshots/" in k)
    assert (proof["checked"]["bytes"] > 0.9 * sizes) == (level > 1)
    record = records(archive)[-1]
    assert record["type"] == "verified" and record["body"]["result"] == "pass" and record["body"]["level"] == level
    proofs = {p["id"]: p["level"] for p in record["body"]["proofs"]["backups"]}
    assert proofs == {b: level for b in archive.dumps + archive.snapshots}
    assert bool(record["body"]["proofs"]["wal"]) == (level == 3)
    for backup in proofs:
        assert listed(archive, backup)["verified"]["level"] == level
    assert f"level {level} of 20" in archive.run("list", "demo").out
    assert f"to level {level}, 20" in archive.run("show", "demo", archive.dumps[0]).out
    shown = archive.run("verify", "demo", "--level", level).out
    assert f"demo: pass at level {level}" in shown


# -- what is not

def flip(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1:]


def smash(data):
    """So that it can't be unpacked any more; a flipped bit often can, and only the hash tells."""
    middle = len(data) // 2
    return data[:middle] + bytes(64 << 10) + data[middle + (64 << 10):]


def cut(data):
    return data[:-1] if len(data) < 200 else data[:len(data) // 2]


DUMP = ("data-0001.tar.zst", "schema.pgdump", "large-objects.pgdump", "sequences.sql", "globals.sql.zst", "restore.sh",
        "manifest.json")
SNAPSHOT = ("base-0001.tar.zst", "backup_manifest", "restore.sh", "manifest.json")
OBJECTS = [*(("dump", n) for n in DUMP), *(("snapshot", n) for n in SNAPSHOT)]


def pick(archive, kind, name):
    """A backup, the key of one of its objects, and that of the same object in an older backup."""
    backups = archive.dumps if kind == "dump" else archive.snapshots
    return backups[1], archive.key(backups[1], name), archive.key(backups[0], name)


def assert_found(archive, backup, keys, level):
    """One fault at least for each key, and none for others; so says the evidence too."""
    proof = archive.verify(backup, "--level", level, expect=1)
    assert proof["result"] == "fail" and proof["fault_count"] == len(proof["faults"]) > 0
    found = {f["object"] for f in proof["faults"]}
    assert found == set(keys), json.dumps(proof["faults"], indent=1)
    assert all(f["consequence"] for f in proof["faults"]) and {f["id"] for f in proof["faults"]} == {backup}
    record = newest_record(archive)["body"]
    assert record["result"] == "fail" and {f["object"] for f in record["faults"]} == found
    assert [p["id"] for p in record["proofs"]["backups"] if "failed_at" in p] == [backup]


@pytest.mark.parametrize("kind, name", OBJECTS)
def test_a_deleted_object(archive, kind, name):
    backup, key, _ = pick(archive, kind, name)
    archive.change(key, None)
    proof = archive.verify("--level", 1, expect=1)
    assert [f["object"] for f in proof["faults"]] == [key] and "not" in proof["faults"][0]["what"]
    assert proof["faults"][0]["id"] == backup and proof["faults"][0]["consequence"]
    assert [f["object"] for f in archive.verify(backup, "--level", 2, expect=1)["faults"]] == [key]


@pytest.mark.parametrize("kind, name", OBJECTS)
def test_a_truncated_object(archive, kind, name):
    backup, key, _ = pick(archive, kind, name)
    archive.change(key, cut(archive.baseline[key]))
    assert_found(archive, backup, [key], 1)


@pytest.mark.parametrize("kind, name", OBJECTS)
def test_a_flipped_bit(archive, kind, name):
    backup, key, _ = pick(archive, kind, name)
    archive.change(key, flip(archive.baseline[key]))
    assert_found(archive, backup, [key], 1 if name == "manifest.json" else 2)


@pytest.mark.parametrize("kind, name", OBJECTS)
def test_an_older_version(archive, kind, name):
    backup, key, older = pick(archive, kind, name)
    if archive.baseline[key] == archive.baseline[older]:
        pytest.skip("both backups have the same one")
    archive.change(key, archive.baseline[older])
    assert_found(archive, backup, [key], 2)


@pytest.mark.parametrize("kind, one, two", [
    ("dump", "data-0001.tar.zst", "schema.pgdump"), ("dump", "large-objects.pgdump", "sequences.sql"),
    ("dump", "globals.sql.zst", "restore.sh"), ("snapshot", "base-0001.tar.zst", "backup_manifest"),
    ("snapshot", "restore.sh", "base-0001.tar.zst")])
def test_two_that_were_swapped(archive, kind, one, two):
    backup, first, _ = pick(archive, kind, one)
    _, second, _ = pick(archive, kind, two)
    archive.change(first, archive.baseline[second])
    archive.change(second, archive.baseline[first])
    assert_found(archive, backup, [first, second], 2)


def test_faults_name_table_byte_and_what_is_lost(archive):
    backup, key, _ = pick(archive, "dump", "data-0001.tar.zst")
    archive.change(key, smash(archive.baseline[key]))
    (fault,) = archive.verify(backup, expect=1)["faults"]
    assert fault["table"] == "public.people" and 0 < fault["byte"] <= len(archive.baseline[key])
    assert "public.people" in fault["consequence"] and archive.dumps[0] in fault["consequence"]
    text = archive.run("verify", "demo", backup, expect=1).out
    assert key in text and "in table public.people" in text and "demo: fail at level 2" in text
    archive.mend()
    backup, key, _ = pick(archive, "snapshot", "base-0001.tar.zst")
    archive.change(key, smash(archive.baseline[key]))
    proof = archive.verify(expect=1)
    (fault,) = proof["faults"]
    assert "recovery can't begin with this snapshot" in fault["consequence"]


def repack(archive, key, members):
    """A volume with these members, and a manifest that knows its size and hash: nothing but its rows is wrong."""
    import hashlib
    import io
    import subprocess
    import tarfile
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    volume = subprocess.run(["zstd", "-q"], input=out.getvalue(), stdout=subprocess.PIPE, check=True).stdout
    folder = key.split("/data-")[0].rsplit("/", 1)[0]
    manifest = json.loads(archive.baseline[f"{folder}/manifest.json"])
    entry = next(o for o in manifest["objects"] if key.endswith("/" + o["name"]))
    entry.update(size=len(volume), sha256=hashlib.sha256(volume).hexdigest(), plain_bytes=sum(map(len, members.values())))
    text = json.dumps(manifest).encode()
    archive.change(key, volume)
    archive.change(f"{folder}/manifest.json", text)
    for name in archive.repository.keys("demo/evidence/"):  # nothing tells what the manifest was
        archive.touched.add(name)
        archive.repository.delete(name)
    return manifest


ROWS = {"a row less": (lambda d: d[d.index(b"\n") + 1:], "rows of"),
        "no last newline": (lambda d: d[:-1], "ends without a newline"),
        "a column less": (lambda d: d.replace(b"\t", b"", 1), "has 2 columns instead of 3"),
        "a zero byte": (lambda d: d.replace(b"\t", b"\t\0", 1), "byte of zero"),
        "an end mark": (lambda d: b"\\.\n" + d, "has 1 columns instead of 3")}


@pytest.mark.parametrize("what", ROWS)
def test_rows_that_do_not_fit(archive, what):
    change, words = ROWS[what]
    backup, key, _ = pick(archive, "dump", "data-0001.tar.zst")
    members = tar_members(archive.baseline[key])
    volumes = [k for k in archive.baseline if f"/{backup}/" in k and k.endswith(".tar.zst")]
    name = next(n for n in members if len(members[n]) > 1000)
    members[name] = change(members[name])
    repack(archive, key, members)
    assert volumes
    proof = archive.verify(backup, expect=1)
    assert words in proof["faults"][0]["what"] and proof["faults"][0]["table"] == "public.people", proof


def test_pages_of_wal_in_a_snapshot(archive):
    """Nothing but the pages themselves tells: the server lists no WAL, and the volume has the hash it should have."""
    backup, key, _ = pick(archive, "snapshot", "base-0001.tar.zst")
    members = tar_members(archive.baseline[key])
    name = max(n for n in members if n.startswith("pg_wal/0") and len(members[n]) == 16 << 20)
    members[name] = zstd_plain(archive.baseline[archive.segments_of(2)[0]])
    assert members[name][:24] != tar_members(archive.baseline[key])[name][:24]
    repack(archive, key, members)
    assert archive.verify(backup, "--level", 2)["result"] == "pass"
    (fault,) = archive.verify(backup, "--level", 3, expect=1)["faults"]
    assert fault["object"] == key and name in fault["what"] and "its first page" in fault["what"], fault


# -- WAL

def damaged_segment(archive, keys, level, expect=1):
    proof = archive.verify("--level", level, expect=expect)
    found = {f["object"] for f in proof["faults"]}
    assert found == set(keys), json.dumps(proof["faults"], indent=1)
    assert all(f["consequence"] for f in proof["faults"])
    return proof


def test_a_deleted_segment(archive):
    key = archive.segments_of(2)[1]
    archive.change(key, None)
    proof = damaged_segment(archive, [key.rsplit("-", 1)[0] + "-"], 1)
    assert proof["lost"] and "recovery" in proof["faults"][0]["consequence"]
    assert proof["faults"][0]["id"] == key.split("/")[-1][:24]


def test_the_newest_segment_deleted(archive):
    key = archive.segments_of(2)[-1]
    archive.change(key, None)
    damaged_segment(archive, [key.rsplit("-", 1)[0] + "-"], 1)


def test_a_deleted_history(archive):
    key = archive.wal("00000002.history")
    archive.change(key, None)
    damaged_segment(archive, [key.rsplit("-", 1)[0] + "-"], 1)


@pytest.mark.parametrize("damage", (flip, cut))
def test_a_damaged_history(archive, damage):
    key = archive.wal("00000002.history")
    archive.change(key, damage(archive.baseline[key]))
    damaged_segment(archive, [key.rsplit("-", 1)[0] + "-"], 1)


@pytest.mark.parametrize("damage", (flip, cut, lambda d: b""), ids=("flip", "cut", "empty"))
def test_a_damaged_segment(archive, damage):
    key = archive.segments_of(2)[1]
    archive.change(key, damage(archive.baseline[key]))
    if damage(b"x" * 100):
        assert archive.verify("--level", 2)["result"] == "pass"
        proof = damaged_segment(archive, [key], 3)
        assert proof["lost"] and "impossible" in proof["faults"][0]["consequence"]
        archive.change(key, archive.baseline[key])
        assert archive.verify("--level", 3)["lost"] == []
    else:
        archive.verify("--level", 1, expect=1)


def test_two_segments_swapped(archive):
    one, two = archive.segments_of(2)[1:3]
    archive.change(one, archive.baseline[two])
    archive.change(two, archive.baseline[one])
    damaged_segment(archive, [one, two], 3)


def test_segments_under_names_of_others(archive):
    """The hash in the key fits, the name does not: seen by the address of its pages."""
    one, two = archive.segments_of(2)[1:3]
    stranger = one.rsplit("-", 1)[0] + "-" + two.rsplit("-", 1)[1]
    archive.change(one, None)
    archive.repository.write(stranger, archive.baseline[two])
    proof = damaged_segment(archive, [stranger], 3)
    assert "position" in proof["faults"][0]["what"]


def test_a_segment_with_a_page_of_another(archive):
    import hashlib
    import subprocess
    full = [k for k in archive.segments_of(2) if any(zstd_plain(archive.baseline[k])[8192:16384])]
    one, two = full[:2]
    plain, other = zstd_plain(archive.baseline[one]), zstd_plain(archive.baseline[two])
    mixed = plain[:8192] + other[8192:16384] + plain[16384:]
    data = subprocess.run(["zstd", "-q"], input=mixed, stdout=subprocess.PIPE, check=True).stdout
    stranger = one.rsplit("-", 1)[0] + f"-{hashlib.sha256(mixed).hexdigest()[:16]}.zst"
    archive.change(one, None)
    archive.repository.write(stranger, data)
    proof = damaged_segment(archive, [stranger], 3)
    assert "byte 8192" in proof["faults"][0]["what"] and "position" in proof["faults"][0]["what"]


# -- what can't be told

def test_a_store_that_is_down(archive):
    archive.hide()
    try:
        proof = archive.verify(expect=3)
    finally:
        archive.show()
    assert proof["result"] == "unknown" and proof["unknown"] and proof["faults"] == []


def test_nothing_to_verify(archive):
    assert archive.run("verify", "demo", "20200101T000000Z-aaaa", expect=1).err.count("hint:") == 1
    archive.run("verify", "demo", "no-id", expect=2)
    archive.run("verify", "demo", "--level", "4", expect=2)


# -- budget, order, evidence

def test_a_budget_and_what_comes_next(archive):
    """Each run gets further, and none repeats what another has proved while something is left."""
    known = set()
    for _ in range(len(archive.dumps + archive.snapshots)):
        proof = archive.verify("--budget", "1s", "--level", 2)
        assert len(proof["left"]) == proof["remaining"]
        assert proof["result"] == "pass" and proof["proved"] + proof["remaining"] == 4 and proof["proved"] > 0
        proved = {p["id"] for p in records(archive)[-1]["body"]["proofs"]["backups"] if p["level"] == 2}
        assert proved >= known and (len(proved) == len(known) + proof["proved"] or len(proved) == 4)
        known = proved
    assert known == set(archive.dumps + archive.snapshots)


def test_the_job_and_its_evidence(archive):
    done = archive.run("run", "demo/proof", json_output=True).json
    assert done["outcome"] == "done" and done["details"]["result"] == "pass" and done["details"]["level"] == 3
    record = records(archive)[-1]
    assert record["body"]["job"] == "proof" and record["body"]["run_id"] == done["run_id"]
    key = archive.key(archive.dumps[1], "schema.pgdump")
    archive.change(key, flip(archive.baseline[key]))
    failed = archive.run("run", "demo/proof", json_output=True, expect=1).json
    assert failed["outcome"] == "failed" and key in failed["error"]["message"] and failed["error"]["hint"]


def test_a_fault_is_remembered_until_it_is_mended(archive):
    backup, key, _ = pick(archive, "dump", "schema.pgdump")
    archive.verify("--level", 2)
    archive.change(key, flip(archive.baseline[key]))
    archive.verify(backup, "--level", 2, expect=1)
    assert listed(archive, backup)["verified"]["failed_at"] and "FAILED 20" in archive.run("list", "demo").out
    # A look that is less deep does not see it, and is therefore as deep as the one that did.
    assert [f["object"] for f in archive.verify("--level", 1, expect=1)["faults"]] == [key]
    assert "a FAULT was found 20" in archive.run("show", "demo", backup).out
    latest = archive.run("restore", "dump", "demo", "latest", "--into", "other", "--dry-run", json_output=True).json
    assert archive.dumps[0] in json.dumps(latest) and backup not in json.dumps(latest)
    named = archive.run("restore", "dump", "demo", backup, "--into", "other", "--dry-run", expect=None)
    assert "found a fault in dump" in named.err
    archive.change(key, archive.baseline[key])
    assert archive.verify("--level", 1)["result"] == "pass"
    verified = listed(archive, backup)["verified"]
    assert verified["failed_at"] is None and verified["level"] == 2


def test_retention_works_from_proofs(archive):
    archive.policy["jobs"]["nightly"]["keep"] = {"last": 1}
    archive.write()
    older, newer = archive.dumps

    def decided():
        plan = archive.run("prune", "demo", json_output=True).json["decisions"]
        return {d["id"]: (d["action"], d["rule"]) for d in plan if d["kind"] == "dump"}

    assert decided() == {older: ("delete", "expired"), newer: ("keep", "last")}
    key = archive.key(newer, "schema.pgdump")
    archive.change(key, flip(archive.baseline[key]))
    archive.verify(newer, expect=1)
    assert decided() == {older: ("keep", "last"), newer: ("keep", "grace")}
    assert "found a fault" in archive.run("prune", "demo").out
    archive.change(key, archive.baseline[key])
    archive.verify(newer)
    assert decided() == {older: ("delete", "expired"), newer: ("keep", "last")}
    archive.policy["jobs"]["prune"]["require_verified"] = 2
    archive.write()
    archive.mend()
    assert decided() == {older: ("keep", "grace"), newer: ("keep", "grace")}
    archive.verify(older, "--level", 2)
    assert decided() == {older: ("keep", "last"), newer: ("keep", "grace")}
    archive.verify(newer, "--level", 2)
    assert decided() == {older: ("delete", "expired"), newer: ("keep", "last")}
