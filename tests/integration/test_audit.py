"""The audit end to end: a healthy cluster, then one thing after another broken; formats, periods, saved facts."""
import json

import pytest
from archive import Archive
from cairn import JOBS
from pg import Server

FILL = "create table if not exists t (a int, b text); insert into t select g, md5(g::text) from generate_series(1, 5000) g"
AUDIT_JOBS = {"wal": {"type": "wal", "schedule": "0 * * * *", "keep": {"within": "7d"}, "timeout": "60s"},
              "weekly": {"type": "snapshot", "schedule": "0 3 * * sun", "keep": {"within": "90d", "last": 2}},
              "nightly": JOBS["nightly"], "prune": JOBS["prune"],
              "audit": {"type": "audit", "schedule": "0 7 * * *"}}
# What a young cluster without proofs, drills and a daemon can't pass, by somebody who knows.
WAIVED = [{"id": id, "reason": "young", "owner": "ann", "expires": "2099-01-01"}
          for id in ("INT-3", "RST-1", "SCH-4", "FRQ-1", "FRQ-2")]


@pytest.fixture(scope="module")
def archive(store):
    """A cluster in good health; a test that breaks something mends it."""
    server = Server("audit")
    try:
        made = Archive(server, jobs=AUDIT_JOBS, store=store)
        made.policy["audit"] = {"waivers": WAIVED}
        made.write()
        server.configure(**made.settings())
        server.start()
        server.psql("postgres", FILL)
        for job in ("weekly", "nightly", "wal", "weekly", "nightly"):
            made.run("run", f"demo/{job}")
        yield made
    finally:
        server.stop()


def audit(archive, *options, expect=None):
    return archive.run("audit", "demo", *options, json_output=True, expect=expect).json


def status_of(report):
    return {c["id"]: c["status"] for c in report["controls"]}


def test_a_healthy_cluster_passes(archive):
    report = audit(archive)
    bad = {c["id"]: c["observed"] for c in report["controls"] if c["status"] in ("FAIL", "UNKNOWN")}
    assert bad == {}
