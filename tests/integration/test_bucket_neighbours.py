"""A bucket with others in it: where below its prefix a repository lies, what is beside it, who else uses it."""
import pytest
from cairn import assert_error
from repositories import S3Repository

pytestmark = pytest.mark.stores("s3")

SMALL = "create table t as select 1 as v"
PREFIXES = [
    # what the policy says behind the bucket, what keys begin with
    ("/", ""), ("/one", "one/"), ("/one/", "one/"), ("/one/two=2/three.3", "one/two=2/three.3/"),
]


def move(ws, bucket, prefix):
    """Gives a workspace, of whose repository nothing is written yet, another place."""
    ws.repository = S3Repository(ws.repository.service, bucket, prefix)
    ws.policy["repository"].update(ws.repository.policy())
    ws.write()
    return ws


@pytest.fixture
def own_bucket(store):
    """A bucket of the test's own, empty before and after it."""
    bucket = store.service.bucket(f"{store.bucket.name}-neighbours")
    bucket.empty()
    yield bucket
    bucket.empty()


@pytest.mark.parametrize("path, start", PREFIXES, ids=[p[0] for p in PREFIXES])
def test_prefixes(workspace, database, own_bucket, restored, path, start):
    """All of it lies below the prefix, and what lies beside it is neither seen nor touched."""
    database("small", SMALL)
    ws = workspace(["small"])
    ws.policy["repository"]["url"] = f"s3://{own_bucket.name}{path}"
    ws.write()
    beside = {"oneself": b"a", "one-more/pgcairn.json": b"no document of ours", "other/demo/dumps/x/manifest.json": b"b"}
    for key, data in beside.items():
        own_bucket.put(key, data)
    backup = ws.dump()
    made = [k for k in own_bucket.keys() if k not in beside]
    assert made and all(k.startswith((f"{start}demo/", f"{start}pgcairn.json")) for k in made), made
    ws.run("restore", "dump", "demo", backup, "--into", restored)
    ws.run("prune", "demo", "--apply")
    assert ws.good_backups() == [backup]
    assert {k: own_bucket.get(k) for k in beside} == beside


def test_two_clusters_in_one_bucket(workspace, database, own_bucket):
    """Neither lists, counts, locks or deletes what is the other's, their names alike as they are."""
    database("small", SMALL)
    jobs = {"nightly": {"type": "dump", "schedule": "0 2 * * *", "keep": {"last": 1}, "jobs": 1}}
    first, second = (move(workspace(["small"], name=name, cluster=name, jobs=jobs), own_bucket, "prod/eu")
                     for name in ("shop", "shop-2"))

    def dump(ws):
        return ws.run("run", f"{ws.policy['cluster']}/nightly", json=True).json["backup_id"]

    theirs = [dump(second) for _ in range(2)]
    ours = [dump(first) for _ in range(2)]
    assert set(first.good_backups()) == set(ours) and set(second.good_backups()) == set(theirs)
    assert_error(first.run("show", "shop", theirs[0], expect=(1, 2)), theirs[0])
    first.run("hold", "add", "shop", ours[0], "--reason", "ours alone")
    assert second.run("hold", "list", "shop-2", json=True).json["holds"] == []
    before = own_bucket.keys("prod/eu/shop/")
    second.run("prune", "shop-2", "--apply")
    assert second.good_backups() == theirs[1:]
    assert own_bucket.keys("prod/eu/shop/") == before
    first.run("prune", "shop", "--apply")
    assert set(first.good_backups()) == set(ours), "a hold keeps the older one"


def test_a_foreign_server_is_refused_in_a_bucket_too(workspace, database, own_bucket):
    """cluster.json is read from the bucket: another system identifier there stops a dump."""
    database("small", SMALL)
    ws = move(workspace(["small"]), own_bucket, "prod")
    ws.dump()
    identifier = ws.server.value("postgres", "select system_identifier from pg_control_system()")
    ws.repository.rewrite("demo/cluster.json", lambda data: data.replace(identifier.encode(), b"7000000000000000001"))
    before = ws.repository.keys("demo/dumps/")
    assert_error(ws.run("run", "demo/nightly", expect=1), "cluster adopt")
    assert ws.repository.keys("demo/dumps/") == before


def test_object_lock_that_the_bucket_has_not(workspace, database, own_bucket):
    """The preflight says so, and no dump pretends to be locked."""
    database("small", SMALL)
    ws = move(workspace(["small"]), own_bucket, "prod")
    ws.policy["repository"]["s3"]["object_lock"] = "governance"
    ws.write()
    run = ws.run("check", "demo", json=True, expect=1)
    (found,) = [c for c in run.json["checks"] if c["id"] == "bucket object lock"]
    assert found["status"] == "fail" and "governance" in found["observed"] and "object lock" in found["cure"]
    assert_error(ws.run("run", "demo/nightly", expect=1), "InvalidRequest", "take object_lock: out of the policy")
    assert ws.good_backups() == []
