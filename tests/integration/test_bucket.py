"""What a repository in a bucket meets and a folder never does: keys that are refused, certificates,
versions, locks, rules, storage classes, uploads that never ended."""
import copy
import os
import signal
import time

import pytest
from cairn import JOBS, assert_error
from compare import assert_equal_databases
from pg import free_port, wait_until
from repositories import S3Repository, S3Store
from s3 import Service
from slow_dump import copying

pytestmark = pytest.mark.stores("s3")

SMALL = "create table t as select 1 as v"
# 30 MB that zstd can't make smaller: volumes of several parts.
LARGE = """
    create table big (id int primary key, b bytea);
    alter table big alter b set storage external;
    insert into big select i, (select decode(string_agg(md5((i * 10000 + k)::text), ''), 'hex') from generate_series(1, 2048) k)
    from generate_series(1, 1000) i;
"""


@pytest.fixture
def small(workspace, database):
    database("small", SMALL)
    return workspace(["small"])


def change(ws, **s3):
    ws.policy["repository"]["s3"].update(s3)
    ws.write()


def in_bucket(ws, bucket):
    """Moves the workspace's repository, nothing of which is written yet, into another bucket."""
    ws.repository = S3Repository(ws.repository.service, bucket, ws.repository.prefix)
    ws.policy["repository"].update(ws.repository.policy())
    ws.write()
    return ws


@pytest.fixture
def fresh_bucket(store):
    """Makes buckets that are emptied after the test: fresh_bucket("name", object_lock=True)."""
    made = []

    def make(name, **options):
        bucket = store.service.bucket(f"{store.bucket.name}-{name}", **options)
        made.append(bucket)
        return bucket

    yield make
    for bucket in made:
        bucket.empty()


# ---- refused at the door: could not tell, one line, a cure ----

def no_such_key(ws):
    return {"AWS_ACCESS_KEY_ID": "nobody-has-this-key"}, ("InvalidAccessKeyId", "access_key_id")


def wrong_secret(ws):
    return {"AWS_SECRET_ACCESS_KEY": "a-secret-that-is-none"}, ("SignatureDoesNotMatch", "secret_access_key")


def no_key_at_all(ws):
    return {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, ("credentials",)


def server_down(ws):
    change(ws, endpoint=f"http://127.0.0.1:{free_port()}", retry_for="1s")
    return {}, ("Failed to connect", "check the network, the endpoint")


def no_such_host(ws):
    change(ws, endpoint="http://no-such-host.invalid", retry_for="1s")
    return {}, ("no-such-host.invalid", "endpoint")


def no_such_bucket(ws):
    ws.policy["repository"]["url"] = "s3://pgcairn-has-no-such-bucket/prod"
    ws.write()
    return {}, ("pgcairn-has-no-such-bucket", "NoSuchBucket", "create the bucket first")


REFUSALS = [no_such_key, wrong_secret, no_key_at_all, server_down, no_such_host, no_such_bucket]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_refused_at_the_door(small, refusal):
    env, words = refusal(small)
    assert_error(small.run("list", env=env, expect=3), *words)
    run = small.run("run", "demo/nightly", env=env, expect=3)
    assert_error(run, *words)
    assert len([line for line in run.err.splitlines() if line.startswith("pgcairn: ")]) == 1, str(run)
    assert small.run("check", "demo", env=env, json=True, expect=(1, 3)).json["result"] != "pass"
    assert small.repository.keys() == []


def test_the_tries_are_counted_and_the_first_cause_is_told(small):
    server_down(small)
    assert_error(small.run("list", expect=3), "tried", "times in")


# ---- ways to the bucket ----

def test_a_bucket_by_its_host_name(small):
    if not small.repository.service.is_ours:
        pytest.skip("whether the other service has host names for its buckets is not known")
    change(small, addressing="virtual")
    backup = small.dump()
    assert small.repository.keys(small.backup_key(backup))


def test_another_region_than_the_bucket_has(small):
    """AWS names the right one, Ceph does not care: either way the dump is made."""
    change(small, region="eu-central-1")
    small.dump()


def test_keys_of_the_policy(small):
    service = small.repository.service
    change(small, access_key_id="${S3_KEY}", secret_access_key="${S3_SECRET}")
    backup = small.dump(env={"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "",
                             "S3_KEY": service.access_key_id, "S3_SECRET": service.secret})
    assert small.repository.keys(small.backup_key(backup))


def test_keys_of_a_profile(small):
    service, folder = small.repository.service, small.folder / ".aws"
    folder.mkdir()
    file = folder / "credentials"
    file.write_text(f"[backup]\naws_access_key_id = {service.access_key_id}\naws_secret_access_key = {service.secret}\n")
    env = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    change(small, profile="backup")
    file.chmod(0o644)
    assert_error(small.run("run", "demo/nightly", env=env, expect=(1, 2, 3)), str(file), "chmod 600")
    file.chmod(0o600)
    small.run("run", "demo/nightly", env=env)


@pytest.fixture(scope="module")
def tls():
    service = Service.start(tls=True)
    yield service
    service.stop()


def test_a_certificate_that_is_not_trusted(workspace, database, tls):
    database("small", SMALL)
    ws = workspace(["small"])
    ws.repository = S3Store(tls).repository(ws.folder)
    ws.policy["repository"].update(ws.repository.policy())
    change(ws, ca_file="")
    assert_error(ws.run("run", "demo/nightly", expect=3), "certificate", "ca_file")
    assert ws.repository.keys() == []
    change(ws, ca_file=str(tls.ca_file))
    ws.run("restore", "dump", "demo", ws.dump(), "--into", "over_tls")
    ws.server.dropdb("over_tls")


# ---- what objects are given ----

def headers_of_all(ws, backup):
    return [ws.repository.bucket.head(f"{ws.repository.prefix}/{key}")
            for key in ws.repository.keys(ws.backup_key(backup))]


def test_storage_class(small):
    if not small.repository.service.is_ours:
        pytest.skip("the storage classes of the other service are not known")
    change(small, storage_class="STANDARD_IA")
    backup = small.dump()
    assert {h["x-amz-storage-class"] for h in headers_of_all(small, backup)} == {"STANDARD_IA"}
    small.run("restore", "dump", "demo", backup, "--dry-run", "--into", "x")


@pytest.mark.slow
def test_encrypted_with_a_key_of_the_service(workspace, database, server, restored):
    """ETags are no MD5s then; parts and small objects are confirmed without them."""
    database("large", LARGE)
    ws = workspace(["large"])
    if not ws.repository.service.is_ours:
        pytest.skip("the keys of the other service are not known")
    change(ws, sse="aws:kms", kms_key_id="testkey-1")
    backup = ws.dump()
    assert {h["x-amz-server-side-encryption"] for h in headers_of_all(ws, backup)} == {"aws:kms"}
    ws.run("restore", "dump", "demo", backup, "--into", restored)
    assert_equal_databases(server, "large", restored)


def test_tags(small):
    change(small, tags=["team=data", "tier=backup copy"])
    backup = small.dump()
    key = f"{small.repository.prefix}/{small.backup_key(backup, 'manifest.json')}"
    tags = small.repository.bucket.request("GET", key, {"tagging": ""}).xml
    assert {t.findtext("Key"): t.findtext("Value") for t in tags.iter("Tag")} == {"team": "data", "tier": "backup copy"}


# ---- versions and locks ----

def keep_one(workspace, database):
    database("small", SMALL)
    jobs = copy.deepcopy(JOBS)
    jobs["nightly"]["keep"] = {"last": 1}
    return workspace(["small"], jobs=jobs)


def versions(ws, backup):
    return ws.repository.bucket.versions(f"{ws.repository.prefix}/{ws.backup_key(backup)}")


def test_prune_deletes_all_versions(workspace, database, fresh_bucket):
    bucket = fresh_bucket("versions")
    bucket.set_versioning()
    ws = in_bucket(keep_one(workspace, database), bucket)
    old, new = ws.dump(), ws.dump()
    ws.repository.write(ws.backup_key(old, "restore.sh"), b"a second version")
    run = ws.run("prune", "demo", "--apply", json=True)
    assert run.json["bytes_freed"] > 0
    assert versions(ws, old) == []
    assert ws.good_backups() == [new] and versions(ws, new)


def end_locks(ws, backup):
    """Has them end now, as who may bypass them can, and waits for it."""
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))
    body = f"<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>".encode()
    for key, version, _ in versions(ws, backup):
        ws.repository.bucket.request("PUT", key, {"retention": "", "versionId": version}, body=body,
                                     headers={"x-amz-bypass-governance-retention": "true"})
    time.sleep(4)


def test_a_locked_backup_is_kept_by_the_plan(workspace, database, fresh_bucket):
    """The lock lasts as long as the rules wanted the backup when it was made."""
    bucket = fresh_bucket("locks", object_lock=True)
    ws = in_bucket(keep_one(workspace, database), bucket)
    change(ws, object_lock="governance")
    ws.policy["jobs"]["nightly"]["keep"] = {"within": "7d", "last": 1}
    ws.write()
    old, new = ws.dump(), ws.dump()
    for key in ws.repository.keys(ws.backup_key(old)):
        if not key.endswith("started.json"):
            mode, until = bucket.retention(f"{ws.repository.prefix}/{key}")
            assert mode == "GOVERNANCE" and until, key
    ws.policy["jobs"]["nightly"]["keep"] = {"last": 1}  # the rules let it go, the lock does not
    ws.write()
    before = versions(ws, old)
    run = ws.run("prune", "demo", "--apply", json=True)
    (decision,) = [d for d in run.json["decisions"] if d["id"] == old]
    assert decision["action"] == "keep" and "locked in the store until" in decision["reason"], decision
    assert (run.json["deleted"], run.json["failed"], run.json["bytes_freed"]) == (0, 0, 0)
    assert versions(ws, old) == before and set(ws.good_backups()) == {old, new}
    end_locks(ws, old)
    assert ws.run("prune", "demo", "--apply", json=True).json["deleted"] == 1
    assert versions(ws, old) == [] and ws.good_backups() == [new]


@pytest.mark.parametrize("how", ["command", "job"])
def test_a_lock_that_is_found_at_the_deletion(workspace, database, fresh_bucket, how):
    """Somebody else has locked one object: nothing of the backup goes, and nothing has failed."""
    bucket = fresh_bucket("locks", object_lock=True)
    ws = in_bucket(keep_one(workspace, database), bucket)
    old, new = ws.dump(), ws.dump()
    bucket.request("PUT", f"{ws.repository.prefix}/{ws.volumes(old)[0]}", {"retention": ""}, body=(
        b"<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2099-01-02T00:00:00Z</RetainUntilDate></Retention>"))
    before = versions(ws, old)
    if how == "command":
        run = ws.run("prune", "demo", "--apply", json=True).json
        (decision,) = [d for d in run["decisions"] if d["id"] == old]
        assert decision["action"] == "keep" and "locked until 2099-01-02" in decision["reason"], decision
    else:
        run = ws.run("run", "demo/prune", json=True).json["details"]
    assert (run["deleted"], run["failed"], run["locked"], run["bytes_freed"]) == (0, 0, 1, 0)
    assert versions(ws, old) == before and set(ws.good_backups()) == {old, new}
    end_locks(ws, old)
    assert ws.run("prune", "demo", "--apply", json=True).json["deleted"] == 1
    assert versions(ws, old) == [] and ws.good_backups() == [new]


# ---- what check finds out about a bucket ----

def checks(ws, expect=(0, 1)):
    return {c["id"]: c for c in ws.run("check", "demo", json=True, expect=expect).json["checks"]}


def test_check_tries_every_right(small):
    found = checks(small, 0)
    for right in ("write", "create", "read", "list", "delete", "unfinished writes"):
        assert found[f"repository {right}"]["status"] == "pass", found
    assert small.repository.keys() == [], "the probe was left behind"


RULES = [
    # a rule of the bucket, where it applies within the repository, what contradicts the policy of 30 days
    ("expires too early", "<Expiration><Days>7</Days></Expiration>", "demo/dumps/", "7 days"),
    ("expires by age alone", "<Expiration><Days>400</Days></Expiration>", "demo/dumps/", "400 days"),
    ("expires evidence", "<Expiration><Days>400</Days></Expiration>", "", "400 days"),
    ("elsewhere", "<Expiration><Days>1</Days></Expiration>", None, None),
    ("aborts uploads", "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>", "", None),
]


@pytest.mark.parametrize("rule, below, contradiction", [r[1:] for r in RULES], ids=[r[0] for r in RULES])
def test_check_reads_the_rules_of_the_bucket(workspace, database, fresh_bucket, rule, below, contradiction):
    database("small", SMALL)
    bucket = fresh_bucket("rules")
    ws = in_bucket(workspace(["small"]), bucket)
    prefix = "elsewhere" if below is None else f"{ws.repository.prefix}/{below}"
    bucket.set_lifecycle(f"<ID>tidy-up</ID><Filter><Prefix>{prefix}</Prefix></Filter><Status>Enabled</Status>{rule}")
    found = [c for c in checks(ws).values() if c["id"] == "bucket lifecycle"]
    assert found, "nothing is said of lifecycle rules"
    bad = [c for c in found if c["status"] in ("fail", "warn")]
    assert bool(bad) == bool(contradiction), found
    if contradiction:
        assert "tidy-up" in bad[0]["observed"] and contradiction in bad[0]["observed"] and bad[0]["cure"]


# ---- uploads that never ended ----

@pytest.fixture
def uploading(workspace, database):
    """A dump of several parts that takes some ten seconds."""
    database("slow", LARGE)
    return workspace(["slow"], repository={"rate_limit": "3MB"})


def mid_upload(ws, env=None):
    """Starts a dump and returns once parts are being sent."""
    run = ws.start("run", "demo/nightly", env=env)
    try:
        def begun():
            assert run.running(), f"the dump ended before its middle:\n{run.err}"
            return copying(ws.server) and ws.repository.uploads()
        wait_until(begun, 60, "an upload")
    except BaseException:
        run.__exit__()
        raise
    return run


def no_limit(ws):
    ws.policy["repository"].pop("rate_limit")
    ws.write()


def test_killed_in_mid_upload(uploading, server, restored):
    """The upload of a killed run is left alone while it is young, is no obstacle, and is found."""
    ws = uploading
    with mid_upload(ws) as run:
        os.killpg(run.process.pid, signal.SIGKILL)
        run.process.wait()
    (left,) = ws.list()
    assert left["state"] != "good" and ws.good_backups() == []
    wait_until(lambda: not copying(server), 60, "the server to notice")
    no_limit(ws)
    run = ws.run("run", "demo/nightly", json=True)
    assert left["id"] in run.err or "interrupted" in run.err, str(run)
    ws.run("restore", "dump", "demo", "latest", "--into", restored)
    assert_equal_databases(server, "slow", restored)
    stray = ws.repository.uploads()
    assert stray and all(left["id"] in key for key in stray)
    ws.run("run", "demo/prune")
    assert ws.repository.uploads() == stray, "what may belong to a live run was aborted"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_in_mid_upload(uploading, number):
    with mid_upload(uploading) as run:
        run.signal(number)
        run.wait(5, 30)
    assert uploading.repository.uploads() == []
    assert uploading.good_backups() == [] and not uploading.repository.find("manifest.json")


def test_the_service_killed_in_mid_upload(uploading, server, restored):
    """It comes back, and the dump goes on where it was."""
    service = uploading.repository.service
    if not service.is_ours:
        pytest.skip("the other service is not ours to kill")
    with mid_upload(uploading) as run:
        service.script("kill-gateway")
        try:
            wait_until(lambda: not run.running(), 2, "nothing")
        except AssertionError:
            pass  # it tries again, as it should
        finally:
            service.script("start-gateway")
        run.wait(0, 120)
    uploading.run("restore", "dump", "demo", "latest", "--into", restored)
    assert_equal_databases(server, "slow", restored)
    assert uploading.repository.uploads() == []


def test_the_service_gone_for_good(uploading):
    service = uploading.repository.service
    if not service.is_ours:
        pytest.skip("the other service is not ours to kill")
    change(uploading, retry_for="2s")
    with mid_upload(uploading) as run:
        service.script("kill-gateway")
        try:
            ended = run.wait(3, 90)
        finally:
            service.script("start-gateway")
    assert_error(ended, "tried", "times in")
    assert uploading.good_backups() == [] and not uploading.repository.find("manifest.json")
