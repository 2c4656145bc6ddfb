"""What the commands print: tables for people, one stable JSON document for programs."""
import re
from datetime import datetime, timezone

import pytest
from cairn import assert_error, run_pgcairn

RFC3339_UTC = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$")
ID = re.compile(r"^\d{8}T\d{6}Z-[a-z0-9]{4}$")


@pytest.fixture(scope="module")
def ws(tmp_path_factory, server, app, store):
    """A workspace whose dump and vacuum ran once."""
    from cairn import Workspace
    made = Workspace(tmp_path_factory.mktemp("commands"), server, ["app"], store=store)
    made.run("run", "demo/nightly")
    return made


def assert_shape(value, shape, where="document"):
    """shape: a dict (all its keys must be there), a list with one item (of every item), or a type."""
    if isinstance(shape, dict):
        assert isinstance(value, dict), f"{where} is {value!r}, not an object"
        for key, inner in shape.items():
            assert key in value, f"{where} lacks {key!r}: {sorted(value)}"
            assert_shape(value[key], inner, f"{where}.{key}")
    elif isinstance(shape, list):
        assert isinstance(value, list), f"{where} is {value!r}, not a list"
        for i, item in enumerate(value):
            assert_shape(item, shape[0], f"{where}[{i}]")
    elif shape == "time":
        assert isinstance(value, str) and RFC3339_UTC.match(value), f"{where} is {value!r}, not RFC 3339 in UTC"
    elif shape == "time?":
        assert value is None or RFC3339_UTC.match(value), f"{where} is {value!r}, neither null nor a time"
    elif shape is not None:
        assert isinstance(value, shape), f"{where} is {value!r}, not {shape}"


BACKUP = {"id": str, "cluster": str, "kind": str, "job": str, "state": str, "started_at": "time", "completed_at": "time?",
          "bytes_source": int, "bytes_stored": int, "databases": [str],
          "keep": {"rule": str, "reason": str, "until": None}}
SHAPES = [
    (["list"], {"backups": [BACKUP], "wal": list, "recovery_windows": list}),
    (["list", "demo", "--kind", "dump"], {"backups": [BACKUP]}),
    (["prune", "demo"], {"plan_hash": str, "bytes_freed": int,
                         "decisions": [{"id": str, "kind": str, "action": str, "rule": str, "reason": str, "bytes": int}]}),
    (["simulate", "demo", "--days", "60"],
     {"days": int, "jobs": {"nightly": {"kept": int, "oldest_s": int, "bytes": int}}, "recovery_window": None}),
    (["check", "demo"], {"result": str, "checks": [{"id": str, "status": str, "observed": None, "cure": None}]}),
    (["policy", "check"], {"policies": [{"file": str, "cluster": str, "errors": list, "warnings": list, "recovery_window_s": None}]}),
    (["schedule"], {"runs": [{"cluster": str, "job": str, "due": "time", "local": str}]}),
    (["hold", "list", "demo"], {"holds": list}),
    (["status"], {"jobs": [{"cluster": str, "job": str, "type": str, "last": None, "next": "time?", "running": None}], "alarms": list}),
]


@pytest.mark.parametrize("command, shape", SHAPES, ids=[" ".join(c) for c, _ in SHAPES])
def test_json_shapes(ws, command, shape):
    run = ws.run(*command, json=True)
    assert_shape(run.json, shape)
    assert ws.run(*command).out.strip(), "nothing for people"


def test_run_document(ws):
    run = ws.run("run", "demo/nightly", json=True)
    assert_shape(run.json, {"run_id": str, "cluster": str, "job": str, "due": None, "outcome": str, "started_at": "time",
                            "ended_at": "time", "backup_id": str, "bytes_source": int, "bytes_stored": int})
    assert run.json["outcome"] == "done" and ID.match(run.json["backup_id"])
    assert run.json["bytes_source"] > run.json["bytes_stored"] > 1000
    (entry,) = [b for b in ws.list() if b["id"] == run.json["backup_id"]]
    assert entry["state"] == "good" and entry["kind"] == "dump" and entry["databases"] == ["app"]
    assert entry["job"] == "nightly" and entry["bytes_stored"] == run.json["bytes_stored"]
    (job,) = [j for j in ws.run("status", json=True).json["jobs"] if j["job"] == "nightly"]
    assert job["last"]["run_id"] == run.json["run_id"] and job["last"]["outcome"] == "done"


def test_list_order_and_reasons(ws):
    while len(ws.list()) < 3:
        ws.dump()
    backups = ws.list()
    times = [b["started_at"] for b in backups]
    assert times in (sorted(times), sorted(times, reverse=True))
    assert all(b["keep"]["reason"] for b in backups)


def test_two_clusters_in_a_folder(server, database, workspace, tmp_path):
    """-c takes a folder; commands without a cluster speak of all."""
    database("shop", "create table t as select 1 as v")
    folder = tmp_path / "policies"
    folder.mkdir()
    for name in ("alpha", "beta"):
        ws = workspace(["shop"], name=name, cluster=name)
        (folder / f"{name}.yaml").write_text(ws.policy_file.read_text())
    env = ws.environment()
    (folder / "README.md").write_text("not a policy")
    run_pgcairn("-c", folder, "run", "alpha/nightly", env=env)
    run_pgcairn("-c", folder, "run", "beta/nightly", env=env)
    runs = run_pgcairn("-c", folder, "--json", "schedule", env=env).json["runs"]
    assert {r["cluster"] for r in runs} == {"alpha", "beta"}
    backups = run_pgcairn("-c", folder, "--json", "list", env=env).json["backups"]
    assert [b["cluster"] for b in sorted(backups, key=lambda b: b["cluster"])] == ["alpha", "beta"]
    only = run_pgcairn("-c", folder, "--json", "list", "beta", env=env).json["backups"]
    assert [b["cluster"] for b in only] == ["beta"]
    by_variable = run_pgcairn("--json", "list", env={**env, "PGCAIRN_POLICY": str(folder)}).json["backups"]
    assert len(by_variable) == 2


CRON = [
    (["0 2 * * *", "--from", "1700000000", "-n", "3"], [1700013600, 1700100000, 1700186400]),
    (["30 2 31 3 *", "--tz", "Europe/Berlin", "--from", "1711753200", "-n", "1"], [1711846800]),  # skipped by the clock: right after
    (["*/15 * * * *", "--from", "1700000000", "--prev", "-n", "2"], [1699999200, 1699998300]),
    (["0 0 29 2 * 0 2099", "--from", "1700000000"], []),
    (["* * * * * */20", "--from", "1700000000", "-n", "2"], [1700000020, 1700000040]),
]


@pytest.mark.parametrize("arguments, fires", CRON, ids=[c[0][0] for c in CRON])
def test_cron_next(arguments, fires):
    if "-n" not in arguments:
        arguments = [*arguments, "-n", "5"]
    assert run_pgcairn("--json", "cron", "next", *arguments).json["fires"] == fires


@pytest.mark.parametrize("expression, column", [("61 * * * *", 1), ("0 25 * * *", 3), ("* * * foo *", 7), ("* * *", None), ("", None)])
def test_cron_next_invalid(expression, column):
    run = run_pgcairn("cron", "next", expression, expect=2)
    assert run.out == "" and run.err
    if column:
        assert re.search(rf"\b{column}\b", run.err), run.err


def test_schedule_at(ws):
    runs = ws.run("schedule", "-n", "3", "--at", "2026-03-28T00:00:00Z", json=True).json["runs"]
    nightly = [r["due"] for r in runs if r["job"] == "nightly"]
    assert [datetime.fromisoformat(d.replace("Z", "+00:00")) for d in nightly] == [
        datetime(2026, 3, day, 2, tzinfo=timezone.utc) for day in (28, 29, 30)]


def test_policy_init_takes_a_repository(tmp_path):
    for url in ("s3://shop-backups/prod", "file:///srv/it's $x"):
        text = run_pgcairn("policy", "init", "--from", "dbname=app", "--repository", url).out
        (tmp_path / "app.yaml").write_text(text)
        out = run_pgcairn("policy", "check", tmp_path / "app.yaml", env={"DATABASE_URL": "dbname=app"}).out
        assert f"  url: {url}\n" in out
    for url in ("s3://Bad", "/srv", "file:///a\nb"):
        run = run_pgcairn("policy", "init", "--repository", url, expect=2)
        assert run.err.startswith("pgcairn: --repository: ")


def test_policy_init_is_a_valid_policy(server, app, tmp_path):
    text = run_pgcairn("policy", "init", "--from", server.url("app")).out
    for word in ("cluster:", "type: dump", "30d"):
        assert word in text
    file = tmp_path / "first.yaml"
    file.write_text(text)
    file.chmod(0o600)
    run_pgcairn("policy", "check", file, env={"DATABASE_URL": server.url("app")})


@pytest.mark.stores("file")
@pytest.mark.parametrize("url", [
    "postgresql+asyncpg://{user}@localhost:{port}/app", "postgres://{user}@127.0.0.1:{port}/app?schema=public&connection_limit=5",
])
def test_urls_as_teams_have_them(server, app, workspace, url):
    from cairn import PASSWORD
    ws = workspace(["app"], connection=url.format(user=f"postgres:{PASSWORD}", port=server.port))
    ws.run("check", "demo")
    ws.dump()


@pytest.mark.stores("file")
@pytest.mark.parametrize("arguments, word", [
    (["runn", "demo/nightly"], "run"), (["list", "--knd", "dump"], "--kind"), (["run"], "CLUSTER/JOB"),
    (["run", "demo/nightli"], "nightly"), (["run", "dmo/nightly"], "demo"), (["show", "demo"], "ID"), (["--jsno", "list"], "option"),
])
def test_usage_errors(ws, arguments, word):
    """Exit status 2, and the nearest right word."""
    run = ws.run(*arguments, expect=2)
    assert word in run.err and run.out == ""


def test_a_backup_that_is_not_there(ws):
    for command in (["show", "demo", "20200101T000000Z-aaaa"], ["restore", "dump", "demo", "20200101T000000Z-aaaa", "--into", "x"]):
        assert_error(ws.run(*command, expect=(1, 2)), "20200101T000000Z-aaaa")


def test_an_empty_repository(workspace, app):
    ws = workspace(["app"], name="empty")
    assert ws.list() == []
    assert_error(ws.run("restore", "dump", "demo", "latest", "--into", "x", expect=1), "demo")


def test_help():
    text = run_pgcairn("help").out
    for command in ("run", "restore dump", "policy check", "hold", "daemon"):
        assert command in text
    assert "--table" in run_pgcairn("help", "restore", "dump").out
    assert re.search(r"\d+\.\d+", run_pgcairn("--version").out)
