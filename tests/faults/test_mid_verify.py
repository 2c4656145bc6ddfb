"""A store that fails while it is verified: unknown, with what was proved kept and what was not reached named."""
import json

import pytest
from s3_proxy import Proxy, answer, plain

pytestmark = pytest.mark.stores("s3")


@pytest.fixture
def ws(workspace, database):
    database("small", "create table t as select g as v from generate_series(1, 1000) g")
    made = workspace(["small"])
    made.policy["repository"]["s3"]["retry_for"] = "1s"
    made.write()
    made.dumps = [made.dump() for _ in range(3)]
    return made


def volume_of(target):
    name = target.split("?")[0]
    return name if name.endswith("data-0001.tar.zst") else None


class Illness:
    """It breaks out when a second volume is asked for: of volumes, or of everything."""

    def __init__(self, of_all):
        self.served, self.is_ill, self.of_all = None, False, of_all

    def __call__(self, exchange):
        name = volume_of(exchange.target)
        self.served = self.served or name
        self.is_ill |= name not in (None, self.served)
        is_hit = self.is_ill and (self.of_all or name)
        return (answer(503, "SlowDown") if is_hit else plain)(exchange)


def proofs(ws):
    record = json.loads(ws.repository.read(max(ws.repository.keys("demo/evidence/"))))
    return record["type"], {p["id"]: p["level"] for p in record["body"].get("proofs", {"backups": []})["backups"]}


@pytest.mark.parametrize("of_all", (False, True), ids=("volumes", "everything"))
def test_a_store_that_fails_halfway(ws, s3, of_all):
    if not s3.is_ours:
        pytest.skip("the proxy speaks plain HTTP to a service of ours")
    endpoint = ws.policy["repository"]["s3"]["endpoint"]
    illness = Illness(of_all)
    with Proxy(*s3.address) as proxy:
        for kind in ("get", "put", "head", "list"):
            proxy.add(kind, illness)
        ws.policy["repository"]["s3"]["endpoint"] = proxy.endpoint
        ws.write()
        run = ws.run("verify", "demo", "--jobs", "1", json=True, expect=3)
    told = run.json
    assert told["result"] == "unknown" and told["faults"] == [] and "SlowDown" in told["unknown"][0]["what"]
    (proved,) = set(ws.dumps) - set(told["left"])
    assert proved in illness.served and told["proved"] == 1 and told["remaining"] == 2
    kept = {proved: 2, **{other: 0 for other in told["left"]}}
    kind, levels = proofs(ws)
    if of_all:
        assert kind == "backup_made" and "not in the evidence" in run.err
    else:
        assert kind == "verified" and levels == kept

    # The next run begins with what was not reached, and the one after it has nothing new to do.
    ws.policy["repository"]["s3"]["endpoint"] = endpoint
    ws.write()
    again = ws.run("verify", "demo", json=True).json
    assert again["result"] == "pass" and again["proved"] == 3 and again["left"] == []
    assert proofs(ws) == ("verified", {dump: 2 for dump in ws.dumps})
