"""The audit end to end: a cluster in good health, then one thing after another broken; the job, formats, a period,
saved facts, altered evidence."""
import csv
import io
import copy
import json
import re
import os
import shutil
import subprocess
import xml.dom.minidom
from pathlib import Path

import pytest
from archive import Archive
from cairn import JOBS, TOP, assert_error
from pg import Server, as_user, clean_environment, end_process, own, wait_until

FILL = "create table if not exists t (a int, b text); insert into t select g, md5(g::text) from generate_series(1, 5000) g"
AUDIT_JOBS = {"wal": {"type": "wal", "schedule": "0 * * * *", "keep": {"within": "7d"}, "timeout": "60s"},
              "weekly": {"type": "snapshot", "schedule": "0 3 * * sun", "keep": {"within": "90d", "last": 2}},
              "nightly": JOBS["nightly"], "prune": JOBS["prune"],
              "audit": {"type": "audit", "schedule": "0 7 * * *"}}
# A cluster that is a minute old was neither proved nor drilled, and somebody knows.
WAIVED = [{"id": control, "reason": "young", "owner": "ann", "expires": "2099-01-01"} for control in ("INT-3", "RST-1")]


@pytest.fixture(scope="module")
def archive(store):
    """A cluster in good health. A test that breaks something mends it."""
    server = Server("audit")
    try:
        made = Archive(server, jobs=AUDIT_JOBS, store=store)
        made.policy["audit"] = {"waivers": WAIVED}
        made.write()
        server.configure(**made.settings())
        server.start()
        server.psql("postgres", FILL)
        for job in ("weekly", "nightly", "wal", "weekly", "nightly", "prune"):
            made.run("run", f"demo/{job}")
        yield made
    finally:
        server.stop()


def audit(archive, *options, expect=None):
    return archive.run("audit", "demo", *options, json_output=True, expect=expect).json


def finding(report, control):
    (found,) = [c for c in report["controls"] if c["id"] == control]
    return found


def bad(report):
    return {c["id"]: c["observed"] for c in report["controls"] if c["status"] in ("FAIL", "UNKNOWN")}


class Broken:
    """Objects of the repository that are put back at the end, as the server's user finds them."""

    def __init__(self, archive):
        self.archive, self.repository, self.kept = archive, archive.repository, {}

    def write(self, key, data):
        self.repository.write(key, data)
        if self.repository.kind == "file":
            for part in (key.rsplit("/", n)[0] for n in range(key.count("/"))):
                own(self.repository.path / part, self.archive.user)

    def __enter__(self):
        return self

    def delete(self, key):
        self.kept[key] = self.repository.read(key)
        self.repository.delete(key)

    def rewrite(self, key, change):
        self.kept[key] = self.repository.read(key)
        self.repository.delete(key)
        changed = change(self.kept[key])
        assert changed != self.kept[key], f"{key} was not changed"
        self.write(key, changed)

    def add(self, key, data):
        self.kept[key] = None
        self.write(key, data)

    def __exit__(self, *_):
        for key, data in self.kept.items():
            if data is None:
                self.repository.delete(key)
            else:
                self.write(key, data)


def keys(archive, kind, name):
    """The keys of that name in all backups of a kind, oldest backup first."""
    return sorted(k for k in archive.repository.keys(f"demo/{kind}/") if k.endswith("/" + name))


def test_a_healthy_cluster_passes(archive):
    report = audit(archive, expect=0)
    assert bad(report) == {} and report["result"] == "pass"
    assert report["counts"]["waived"] == 2 and finding(report, "RST-1")["waiver"]["owner"] == "ann"
    assert finding(report, "RST-1")["waiver"]["status"] == "FAIL"
    assert finding(report, "WAL-1")["status"] == "PASS" and finding(report, "INT-1")["status"] == "PASS"
    assert finding(report, "INT-1")["observed"] == "all objects of 4 backups"
    assert finding(report, "COV-1")["observed"].startswith("postgres: in the newest dump")
    (window,) = report["recovery_windows"]
    assert window["open"]
    text = archive.run("audit", "demo").out
    assert text.startswith("PASS  demo  as of ") and len(text.splitlines()) < 45


def test_a_lost_snapshot_is_found(archive):
    """Both snapshots are gone behind everybody's back: nothing leads anywhere, and their WAL is useless."""
    with Broken(archive) as broken:
        for key in archive.repository.keys("demo/snapshots/"):
            broken.delete(key)
        report = audit(archive, expect=1)
    found = bad(report)
    assert "no moment can be recovered" in found["WAL-3"] and "snapshots: 0 good" in found["COV-3"]
    assert report["result"] == "fail"


def test_a_lost_volume_is_named(archive):
    key = keys(archive, "snapshots", "base-0001.tar.zst")[0]
    with Broken(archive) as broken:
        broken.delete(key)
        found = finding(audit(archive, expect=1), "INT-1")
    assert found["status"] == "FAIL" and "base-0001.tar.zst is missing" in found["observed"]
    assert any(key.endswith(e) for e in found["evidence"])


def test_a_shortened_object_is_named(archive):
    (key, *_) = [k for k in archive.repository.keys("demo/dumps/") if k.endswith("schema.pgdump")]
    with Broken(archive) as broken:
        broken.rewrite(key, lambda data: data[:-1])
        found = finding(audit(archive, expect=1), "INT-1")
    assert "schema.pgdump has " in found["observed"]


def test_objects_of_nobody_are_found(archive):
    stray = keys(archive, "dumps", "manifest.json")[0].replace("manifest.json", "notes.txt")
    with Broken(archive) as broken:
        broken.add(stray, b"x" * 10)
        broken.add("demo/old/dump.sql", b"y" * 20)
        found = finding(audit(archive, expect=1), "RET-6")
    assert found["status"] == "FAIL" and "2 foreign objects" in found["observed"]
    assert stray in found["evidence"] and any("demo/old" in e for e in found["evidence"])
    segment = min(key for (key,) in archive.segments().values())
    system, timeline = segment.rsplit("/", 3)[0], segment.rsplit("/", 2)[0]
    strays = [f"{system}/notes.txt", f"{segment}.tmp", f"{timeline}/marks/notes.txt", f"{timeline}/gaps/notes.txt",
              "demo/wal/notes.txt", "demo/locks/notes.txt", "demo/locks/verify-1/notes.txt"]
    with Broken(archive) as broken:
        for key in strays:
            broken.add(key, b"z" * 30)
        found = finding(audit(archive, expect=1), "RET-6")
    assert "7 foreign objects of 210 B" in found["observed"], found
    assert found["evidence"][:4] == ["demo/wal/notes.txt", min(strays[:4]), *strays[5:]]


def test_lost_wal_is_found(archive):
    names = [archive.switch() for _ in range(3) if archive.server.psql("postgres", FILL) is not None]
    (key,) = archive.segments()[names[1]]
    with Broken(archive) as broken:
        broken.delete(key)
        # Before WAL that came a moment ago a hole may still be filled, so look a day ahead.
        found = bad(audit(archive, "--at", "1d"))
    assert names[1] in found["WAL-1"]


def test_a_stopped_job_is_found(archive):
    """Two days later nothing has come."""
    found = bad(audit(archive, "--at", "2d", expect=1))
    assert "nightly: newest good from 2d" in found["FRQ-1"] and "nightly: " in found["FRQ-2"]
    assert "what is stored leads to 2d" in found["WAL-2"]


def test_a_new_database_is_found(archive):
    snapshots = archive.repository.keys("demo/snapshots/")
    archive.server.createdb("shop")
    try:
        assert snapshots and "shop: chosen by the policy, and in no newest good dump" in bad(audit(archive))["COV-1"]
    finally:
        archive.server.dropdb("shop")


@pytest.mark.stores("s3")
def test_a_public_bucket_is_found(archive):
    assert finding(audit(archive), "ACC-6")["status"] == "PASS"
    bucket = archive.repository.bucket
    statement = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:ListBucket"],
                 "Resource": [f"arn:aws:s3:::{bucket.name}", f"arn:aws:s3:::{bucket.name}/*"]}
    bucket.request("PUT", query={"policy": ""}, body=json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode())
    try:
        found = bad(audit(archive, expect=1))["ACC-6"]
    finally:
        bucket.request("DELETE", query={"policy": ""})
    assert "anybody can list" in found and "pgcairn.json" in found


def test_an_unreadable_repository_is_unknown(archive):
    archive.hide()
    try:
        report = audit(archive, expect=3)
    finally:
        archive.show()
    assert report["result"] == "unknown" and report["counts"]["fail"] == 0
    assert finding(report, "INT-1")["status"] == "UNKNOWN" and finding(report, "ACC-1")["status"] == "PASS"


def test_a_silent_server_is_unknown(archive):
    policy, connection = archive.policy, archive.policy["postgres"]["connection"]
    policy["postgres"]["connection"] = "postgresql://nobody@127.0.0.1:1/postgres"
    archive.write()
    try:
        report = audit(archive, expect=3)
    finally:
        policy["postgres"]["connection"] = connection
        archive.write()
    assert finding(report, "MNT-1")["status"] == "UNKNOWN" and finding(report, "INT-1")["status"] == "PASS"


# -- saved facts, periods, formats ------------------------------------------------------------------

def test_saved_facts_give_the_same_verdicts_without_anything(archive):
    """Offline: neither the repository nor the server is there any more."""
    facts = archive.root / "facts.json"
    live = audit(archive, "--save-facts", facts)
    archive.hide()
    connection = archive.policy["postgres"]["connection"]
    archive.policy["postgres"]["connection"] = "postgresql://nobody@127.0.0.1:1/postgres"
    archive.write()
    try:
        saved = audit(archive, "--facts", facts)
    finally:
        archive.policy["postgres"]["connection"] = connection
        archive.write()
        archive.show()
    for report in (live, saved):
        del report["policy_sha256"]
    # The connection stands in the policy, so its hash has changed, which is noted.
    assert "gathered under another policy" in saved.pop("notes")[0] and live.pop("notes") == []
    changed = [c["id"] for c, d in zip(live["controls"], saved["controls"]) if c != d]
    assert changed in ([], ["SCH-3"])
    assert archive.run("audit", "demo", "--facts", facts, json_output=True, expect=None).json["result"] == live["result"]
    assert os.stat(facts).st_mode & 0o077 == 0
    assert archive.server.url().split("@")[0].split(":")[-1] not in facts.read_text()


def test_what_are_no_facts(archive):
    for name, text in (("none.json", "no facts"), ("poor.json", '{"facts_format": 1}')):
        (archive.root / name).write_text(text, encoding="utf-8")
        assert_error(archive.run("audit", "demo", "--facts", archive.root / name, expect=1), "--save-facts")


def test_facts_of_another_cluster_are_refused(archive):
    facts = archive.root / "other.json"
    audit(archive, "--save-facts", facts)
    text = facts.read_text()
    facts.write_text(text.replace('"cluster":"demo"', '"cluster":"shop"'))
    assert_error(archive.run("audit", "demo", "--facts", facts, expect=2), "facts of shop")
    facts.write_text(text[:100])
    assert_error(archive.run("audit", "demo", "--facts", facts, expect=1), "not valid JSON")


def test_a_period_needs_the_repository_alone(archive):
    policy, connection = archive.policy, archive.policy["postgres"]["connection"]
    policy["postgres"]["connection"] = "postgresql://nobody@127.0.0.1:1/postgres"
    archive.write()
    try:
        report = audit(archive, "--from", "2026-01-01", "--to", "2099-01-01")
    finally:
        policy["postgres"]["connection"] = connection
        archive.write()
    assert report["period"]["from"] == "2026-01-01T00:00:00Z"
    assert finding(report, "FRQ-2")["status"] == "PASS" and finding(report, "MNT-1")["status"] == "SKIP"
    assert finding(report, "INT-5")["status"] == "PASS"


@pytest.mark.stores("file")
def test_all_clusters_of_a_folder(archive):
    """Text for people shows one after the other; a document is of one cluster."""
    folder = archive.root / "policies"
    folder.mkdir()
    for cluster in ("demo", "other"):
        (folder / f"{cluster}.yaml").write_text(json.dumps({**archive.policy, "cluster": cluster}))
    for path in (folder, *folder.iterdir()):
        os.chmod(path, 0o700)
        own(path, archive.user)
    kept, archive.policy_file = archive.policy_file, folder
    try:
        # Nothing was ever stored of the other one, which is worse than anything of the first.
        run = archive.run("audit", expect=1)
        assert "PASS  demo  as of" in run.out and "FAIL  other  as of" in run.out
        assert_error(archive.run("audit", "--format", "csv", expect=2), "there are 2 clusters: say which")
        assert archive.run("audit", "demo", json_output=True).json["cluster"] == "demo"
        found = bad(archive.run("audit", "other", json_output=True, expect=1).json)
    finally:
        archive.policy_file = kept
    assert "nightly: no good backup at all" in found["FRQ-1"] and "no WAL is stored" in found["WAL-1"]


@pytest.mark.parametrize("options, words", [
    (["--format", "pdf"], ("--format is text, json",)), (["--from", "2026-01-01"], ("--from and --to go together",)),
    (["--from", "2026-02-01", "--to", "2026-01-01"], ("--to is not after --from",)),
    (["--tip", "7"], ("--tip is the number",)), (["--facts", "x", "--at", "1d"], ("excludes --at",)),
])
@pytest.mark.stores("file")
def test_wrong_options(archive, options, words):
    assert_error(archive.run("audit", "demo", *options, expect=2), *words)


def test_formats(archive):
    junit = xml.dom.minidom.parseString(archive.run("audit", "demo", "--format", "junit").out)
    suite = junit.getElementsByTagName("testsuite")[0]
    assert suite.getAttribute("failures") == "0" and len(junit.getElementsByTagName("testcase")) == int(suite.getAttribute("tests"))
    rows = list(csv.DictReader(io.StringIO(archive.run("audit", "demo", "--format", "csv").out)))
    assert {r["status"] for r in rows} <= {"PASS", "WARN", "SKIP"} and len(rows) == int(suite.getAttribute("tests"))
    schema = json.loads((TOP / "policies/audit.schema.json").read_text())
    report = audit(archive)
    assert check_schema(schema, schema, report, "report") == []


def check_schema(top, schema, value, path):
    """The part of JSON Schema that ours uses; [] when the value is as the schema says."""
    schema = top["$defs"][schema["$ref"].split("/")[-1]] if "$ref" in schema else schema
    types = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "null": type(None)}
    wanted = schema.get("type", list(types))
    wanted = wanted if isinstance(wanted, list) else [wanted]
    if not any(isinstance(value, types[t]) and not (t == "integer" and isinstance(value, bool)) for t in wanted):
        return [f"{path} is no {wanted}: {value!r}"]
    found = [f"{path}: {value!r} is not one of {schema['enum']}"] if "enum" in schema and value not in schema["enum"] else []
    if isinstance(value, dict) and "properties" in schema:
        found += [f"{path}.{key} is missing" for key in schema.get("required", []) if key not in value]
        found += [f"{path}.{key} is not in the schema" for key in value if key not in schema["properties"]]
        for key, inner in schema["properties"].items():
            found += check_schema(top, inner, value[key], f"{path}.{key}") if key in value else []
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            found += check_schema(top, schema["items"], item, f"{path}[{i}]")
    return found


def test_html_in_a_browser(archive, store):
    """It shows without a network and without errors; the picture stays under build/."""
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("chromium is not installed: apt-get install chromium")
    page = archive.root / "audit.html"
    page.write_text(archive.run("audit", "demo", "--format", "html").out)
    folder = Path(os.environ.get("PGCAIRN_BUILD", TOP / "build/dev")) / "test-results"
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / f"audit-{store.kind}.png"
    picture.unlink(missing_ok=True)
    profile = archive.root / "chromium"
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
               "--proxy-server=127.0.0.1:1", "--hide-scrollbars", "--window-size=1100,1600"]
    subprocess.run([*command, f"--screenshot={picture}", page.as_uri()], check=True, timeout=120, capture_output=True)
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 20000
    done = subprocess.run([*command, "--dump-dom", page.as_uri()], check=True, timeout=120, capture_output=True, text=True)
    assert "<svg" in done.stdout and "recovery window" in done.stdout and "INT-5" in done.stdout
    assert not any(word in page.read_text() for word in ("<script", " src=", "href=", "url(", "@import"))


@pytest.mark.slow
def test_with_proofs_and_drills(store):
    """What only a verification and a drill can show; then a bit is flipped, and a backup vanishes."""
    jobs = {**AUDIT_JOBS, "verify": {"type": "verify", "schedule": "0 8 * * *", "level": 2},
            "drill": {"type": "drill", "schedule": "0 10 * * sun", "of": "weekly", "rto": "4h"}}
    server = Server("proved")
    try:
        made = Archive(server, jobs=jobs, store=store)
        if made.run("policy", "check", expect=None).rc:
            pytest.skip("this version runs no jobs of type verify and drill")
        server.configure(**made.settings())
        server.start()
        server.psql("postgres", FILL)
        for name in ("weekly", "nightly", "wal", "weekly", "nightly", "wal", "verify", "drill", "drill", "prune"):
            made.run("run", f"demo/{name}")
        report = audit(made, expect=0)
        assert {i: finding(report, i)["status"] for i in ("INT-3", "INT-7", "RST-1", "RST-2", "RST-3")} == dict.fromkeys(
            ("INT-3", "INT-7", "RST-1", "RST-2", "RST-3"), "PASS")
        assert finding(report, "RST-2")["required"] == "at most 4h"
        key = next(k for k in made.repository.keys("demo/dumps/") if k.endswith("schema.pgdump"))
        folder, broken = key.split("/")[2], Broken(made)
        broken.rewrite(key, lambda data: data[:50] + bytes([data[50] ^ 1]) + data[51:])
        made.run("run", "demo/verify", expect=1)
        assert "dumps: the last proof" in bad(audit(made, expect=1))["INT-3"]
        for key in made.repository.keys(f"demo/dumps/{folder}/"):
            made.repository.delete(key)
        # What was made a moment ago may be newer than the listing, so look an hour ahead.
        found = bad(audit(made, "--at", "1h", expect=1))
        assert f"nightly: {folder} is not there, and nobody deleted it on record" in found["INT-7"]
    finally:
        server.stop()


# -- the job, and its evidence; these come last, for they add to the chain ---------------------------

def records(archive):
    return [json.loads(archive.repository.read(k)) for k in sorted(archive.repository.keys("demo/evidence/"))]


def test_the_job_leaves_evidence(archive):
    run = archive.run("run", "demo/audit", json_output=True).json
    assert run["outcome"] == "done" and run["details"]["result"] == "pass"
    record = records(archive)[-1]
    assert record["type"] == "audit" and record["body"] == run["details"] and record["body"]["job"] == "audit"
    assert record["body"]["run_id"] == run["run_id"] and record["body"]["counts"]["fail"] == 0
    assert sorted(record["body"]["waived"]) == ["INT-3", "RST-1"] and len(record["body"]["policy_sha256"]) == 64


def test_a_job_that_finds_something_fails(archive):
    with Broken(archive) as broken:
        broken.add("demo/old.sql", b"x")
        run = archive.run("run", "demo/audit", json_output=True, expect=1).json
    assert run["outcome"] == "failed" and "RET-6" in run["error"]["message"]
    assert "pgcairn audit demo" in run["error"]["hint"] and any("RET-6" in n for n in run["notices"])
    assert records(archive)[-1]["body"]["failed"] == ["RET-6"]


def test_a_changed_policy_is_on_record(archive):
    archive.policy["audit"]["copies"] = 1
    archive.write()
    archive.run("run", "demo/audit")
    found = finding(audit(archive), "SCH-3")
    assert found["status"] == "WARN" and "changed by" in found["observed"]


@pytest.mark.stores("file")
def test_the_daemon_runs_them(archive):
    """Audits, verifications and drills, on their schedules; and an audit that runs under a daemon sees it live."""
    jobs = archive.policy["jobs"]
    kept = copy.deepcopy(jobs)
    often = {"schedule": "* * * * * */3", "seconds": True}
    jobs.update(audit={"type": "audit", **often}, proof={"type": "verify", "level": 1, **often},
                drill={"type": "drill", "of": "weekly", **often})
    archive.write()
    before = archive.repository.keys("demo/evidence/")

    def recorded():
        new = [json.loads(archive.repository.read(k)) for k in archive.repository.keys("demo/evidence/") if k not in before]
        return {(r["type"], r["body"].get("job"), r["body"].get("result")) for r in new}

    daemon = subprocess.Popen([archive.bin / "pgcairn", "-c", archive.policy_file, "daemon"], cwd=archive.server.data,
                              env=clean_environment(**archive.environment()), stderr=subprocess.DEVNULL,
                              **as_user(archive.user))
    try:
        wait_until(lambda: {r[:2] for r in recorded()} >= {("audit", "audit"), ("verified", "proof"), ("drill", "drill")},
                   90, "an audit, a verification and a drill on record")
        found = finding(audit(archive), "SCH-1")
    finally:
        end_process(daemon)
        archive.policy["jobs"] = kept
        archive.write()
    assert found["status"] == "PASS" and {("verified", "proof", "pass"), ("drill", "drill", "pass")} <= recorded()


def chain(archive, *options, expect=0):
    return archive.run("audit", "demo", "--verify-evidence", *options, json_output=True, expect=expect).json


def test_the_chain_is_proved(archive):
    tip = chain(archive)
    assert tip["result"] == "pass" and tip["records"] == len(records(archive)) >= 3 and tip["fault"] is None
    assert chain(archive, "--tip", f"{tip['records']}:{tip['sha256']}")["result"] == "pass"
    assert archive.run("audit", "demo", "--verify-evidence").out.endswith(f"tip   {tip['records']}:{tip['sha256']}\n")


def evidence(number):
    return f"demo/evidence/{number:010}.json"


def alter(data):
    """Another time, whatever the record is about."""
    return re.sub(rb'"at":"20\d\d', b'"at":"2000', data, count=1)


def break_altered(broken, last):
    broken.rewrite(evidence(last - 1), alter)
    return f"record {last}: it does not fit the record before it"


def break_missing(broken, last):
    broken.delete(evidence(last - 1))
    return f"record {last - 1} is missing"


def break_inserted(broken, last):
    """A record that says what somebody wants, before the newest, which moves up by one."""
    newest = broken.repository.read(evidence(last))
    broken.rewrite(evidence(last), alter)
    broken.add(evidence(last + 1), newest)
    return f"record {last + 1}: it says it is record {last}"


def break_appended(broken, last):
    made = json.loads(broken.repository.read(evidence(last)))
    broken.add(evidence(last + 1), json.dumps({**made, "number": last + 1}).encode())
    return f"record {last + 1}: it does not fit"


@pytest.mark.parametrize("change", [break_altered, break_missing, break_inserted, break_appended])
def test_altered_evidence_is_found(archive, change):
    with Broken(archive) as broken:
        words = change(broken, len(records(archive)))
        fault = chain(archive, expect=1)
        report = audit(archive, expect=1)
    assert fault["result"] == "fail" and words in fault["fault"]
    assert words in bad(report)["INT-5"]
    # What the records would tell is not believed then.
    assert finding(report, "RET-1")["status"] == "UNKNOWN"


def test_removed_newest_records_are_seen_against_a_tip(archive):
    tip = chain(archive)
    known = f"{tip['records']}:{tip['sha256']}"
    with Broken(archive) as broken:
        broken.delete(evidence(tip["records"]))
        assert chain(archive)["result"] == "pass"
        fault = chain(archive, "--tip", known, expect=1)
        report = audit(archive, "--tip", known, expect=1)
    assert "was known" in fault["fault"] and "was known" in bad(report)["INT-5"]
