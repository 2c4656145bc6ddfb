"""The policies that people copy: they are checked without a complaint, and what they say runs."""
import re

import pytest
from cairn import TOP, run_pgcairn
from pg import Server

FILES = sorted((TOP / "policies").glob("*.yaml"))

# What `policy check` may say of a file, and no more: by a piece of each warning.
EXPECTED_WARNINGS = {
    "consolidation.yaml": ["runs by hand only", "nothing is ever deleted", "runs by hand only", "runs by hand only"],
}


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_is_checked_without_complaint(file):
    (policy,) = run_pgcairn("--json", "policy", "check", file).json["policies"]
    assert policy["errors"] == []
    wanted = EXPECTED_WARNINGS.get(file.name, [])
    assert len(policy["warnings"]) == len(wanted), policy["warnings"]
    for warning, words in zip(policy["warnings"], wanted):
        assert words in warning["message"]
    text = file.read_text()
    assert f"`{file.name}`" in (TOP / "policies/README.md").read_text()
    assert re.match("# ", text) and max(map(len, text.splitlines())) < 140


@pytest.fixture(scope="module")
def stack():
    """A server as the sync stack has it, with a slot that holds it together."""
    server = Server("stack", config={"wal_level": "logical", "max_wal_senders": 5, "max_replication_slots": 5})
    try:
        server.start()
        for name in ("main", "zero_cvr", "zero_cdb", "ml_db"):
            server.createdb(name)
            server.psql(name, "create table t as select g as id from generate_series(1, 50) g")
        server.psql("main", "create publication p for all tables;"
                            "select pg_create_logical_replication_slot('zero', 'pgoutput')")
        yield server
    finally:
        server.stop()


@pytest.fixture
def use(stack, tmp_path):
    """Runs pgcairn with a copy of a policy whose addresses are those of the test."""
    def make(name, database):
        text = (TOP / "policies" / name).read_text().replace("file:///srv/pgcairn", f"file://{tmp_path}/repository")
        file = tmp_path / name
        file.write_text(re.sub(r"connection: \$\{[^}]*\}", f"connection: '{stack.url(database)}'", text))
        file.chmod(0o600)
        return lambda *arguments, **options: run_pgcairn("-c", file, "--json", *arguments,
                                                         env={"STATE_DIRECTORY": str(tmp_path)}, **options)
    return make


def test_minimal_runs(use, stack):
    run = use("minimal.yaml", "main")
    assert run("run", "app/nightly").json["outcome"] == "done"
    assert run("run", "app/prune").json["outcome"] == "done"


def test_sync_stack_runs(use, stack):
    run = use("sync-stack.yaml", "main")
    for job in ("nightly", "weekly", "tidy", "prune"):
        assert run("run", f"sync/{job}").json["outcome"] == "done"
    kinds = {b["kind"]: b for b in run("list").json["backups"]}
    assert kinds["dump"]["databases"] == ["main", "zero_cdb", "zero_cvr"] and "snapshot" in kinds
    assert stack.value("main", "select count(*) from pg_replication_slots") == "1", "only the stack's own slot is there"


def test_what_a_slot_is_of_is_told(use, stack):
    """Going back leaves the slot with the database that is replaced: no backup holds one."""
    run = use("sync-stack.yaml", "main")
    back = run("guard", "sync", "--database", "main", "--restore-on-failure", "--", "false", expect=1)
    assert "replication slot zero stays with the database that is replaced" in back.err
    assert back.json["restored"] and [d["database"] for d in back.json["databases"]] == ["main"]
    assert stack.value("main", "select count(*) from t, pg_publication") == "50"
    assert stack.value("postgres", "select database from pg_replication_slots") == back.json["kept_as"]


def test_consolidation_runs(use, stack):
    run = use("consolidation.yaml", "ml_db")
    backup = run("run", "consolidation/before").json["backup_id"]
    assert run("verify", "consolidation", "--level", "2").json["result"] == "pass"
    run("hold", "add", "consolidation", backup, "--expires", "7d", "--reason", "consolidation of June")
    guard = run("guard", "consolidation", "--job", "before", "--database", "ml_db", "--keep", "7d", "--", "true").json
    assert guard["outcome"] == "done" and guard["backup_id"] != backup
    assert run("run", "consolidation/after").json["outcome"] == "done"
    assert len(run("hold", "list", "consolidation").json["holds"]) == 2
