"""A migration under guard: the dump before it, the command, the way back; with nothing lost."""
import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading

import pytest
from cairn import BINARY, assert_error
from compare import assert_equal_databases
from pg import BINDIR, PASSWORD, clean_environment, wait_until

one_store = pytest.mark.stores("file")

BEFORE = """create table alembic_version (version_num varchar(32) primary key);
            insert into alembic_version values ('0001');
            create table orders (id int primary key generated always as identity, what text not null);
            insert into orders (what) select 'order ' || n from generate_series(1, 500) n;
            create table "Order Items" (id int, tag text);
            insert into "Order Items" values (1, E'tab\\there'), (2, null)"""

GOOD = """alter table orders add column paid boolean not null default false;
          update alembic_version set version_num = '0002'"""

# Each statement commits: what stands before the fault stays.
HALF = """alter table orders rename column what to description;
          delete from orders where id > 100;
          update alembic_version set version_num = '0002';
          alter table no_such_table add column x int"""


@pytest.fixture
def shop(server, database):
    """A database, and its twin that nobody touches. What guard keeps of it is dropped too."""
    database("shop", BEFORE)
    database("shop_twin", BEFORE)
    yield "shop"
    for name in server.databases():
        if name.startswith(("shop_broken_", "shop_restored_", "pgcairn_restore_")):
            server.dropdb(name)


@pytest.fixture
def psql(server, tmp_path):
    """The words of a migration command that runs this SQL."""
    def make(sql, name="migration.sql"):
        file = tmp_path / name
        file.write_text(sql)
        return [f"{BINDIR}/psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", server.url("shop"), "-f", str(file)]
    return make


def evidence(ws):
    """The newest record of a guard."""
    records = [json.loads(ws.repository.read(k)) for k in ws.repository.keys("demo/evidence/")]
    return [r["body"] for r in records if r["type"] == "guard"][-1]


def kept(server):
    return [d for d in server.databases() if d.startswith(("shop_broken_", "shop_restored_", "pgcairn_restore_"))]


def test_success(workspace, shop, psql, server):
    ws = workspace([shop])
    run = ws.run("guard", "demo", "--keep", "3d", "--", *psql(GOOD), json=True)
    report = run.json
    assert (report["outcome"], report["exit_status"], report["error"]) == ("done", 0, None)
    stamps = report["databases"][0]
    assert (stamps["before"]["stamp"], stamps["after"]["stamp"]) == ("0001", "0002")
    assert server.value(shop, "select count(*) from orders where not paid") == "500"
    # The dump is proved, and no prune takes it while the hold stands.
    found = next(b for b in ws.list() if b["id"] == report["backup_id"])
    assert found["state"] == "good" and found["verified"]["level"] == 2
    holds = ws.run("hold", "list", "demo", json=True).json["holds"]
    assert [(h["hold_id"], h["id"]) for h in holds] == [(report["hold_id"], report["backup_id"])]
    assert "psql" in holds[0]["reason"]
    record = evidence(ws)
    assert (record["outcome"], record["backup"], record["databases"]) == ("done", report["backup_id"], report["databases"])
    ws.run("audit", "demo", "--verify-evidence", expect=None)
    assert kept(server) == []


def test_failure_says_how_to_go_back(workspace, shop, psql, server):
    ws = workspace([shop])
    run = ws.run("guard", "demo", "--", *psql(HALF), expect=1)
    assert run.out == ""
    assert_error(run, "psql failed (exit status 3)")
    assert "0001" in run.err and "0002" in run.err and "rows written since" in run.err
    assert server.value(shop, "select count(*) from orders") == "100", "half applied, and left so"
    # Its own words, as they stand, bring the database back.
    restore = next(line for line in run.err.splitlines() if "restore dump" in line).strip()
    renames = next(line for line in run.err.splitlines() if line.strip().startswith("begin; alter database")).strip()
    folder = os.path.dirname(BINARY)
    subprocess.run(["sh", "-c", restore], check=True, cwd=ws.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   env=clean_environment(**ws.environment(), PATH=f"{folder}:{os.environ['PATH']}"))
    server.psql("postgres", renames)
    assert_equal_databases(server, "shop_twin", shop)
    assert evidence(ws)["outcome"] == "failed" and evidence(ws)["exit_status"] == 3


def test_restore_on_failure(workspace, shop, psql, server):
    ws = workspace([shop])
    run = ws.run("guard", "demo", "--restore-on-failure", "--", *psql(HALF), json=True, expect=1)
    report = run.json
    assert (report["outcome"], report["restored"], report["exit_status"]) == ("failed", True, 3)
    assert_equal_databases(server, "shop_twin", shop)
    assert kept(server) == [report["kept_as"]]
    assert server.value(report["kept_as"], "select count(*) from orders") == "100", "what it left is kept"
    assert evidence(ws)["restored"] is True and evidence(ws)["kept_as"] == report["kept_as"]


@one_store
def test_clients_are_not_cut_off_unasked(workspace, shop, psql, server):
    ws = workspace([shop])
    with server.session(shop) as client:
        client.execute("select 1")
        run = ws.run("guard", "demo", "--restore-on-failure", "--", *psql(HALF), json=True, expect=1)
        report = run.json
        assert not report["restored"] and "in use" in report["error"]["message"]
        assert report["restored_as"] in report["error"]["hint"]
        assert client.execute("select count(*) from orders") is not None
        assert server.value(shop, "select count(*) from orders") == "100"
        assert_equal_databases(server, "shop_twin", report["restored_as"])
    server.dropdb(report["restored_as"])


@one_store
def test_terminate(workspace, shop, psql, server):
    ws = workspace([shop])
    with server.session(shop) as client:
        client.execute("select 1")
        report = ws.run("guard", "demo", "--restore-on-failure", "--terminate", "--", *psql(HALF), json=True,
                        expect=1).json
        assert report["restored"]
    assert_equal_databases(server, "shop_twin", shop)


@one_store
def test_dropped_database_comes_back(workspace, shop, server):
    ws = workspace([shop])
    command = [f"{BINDIR}/psql", "-X", "-d", server.url("postgres"), "-c", "drop database shop", "-c", "select 1/0",
               "-v", "ON_ERROR_STOP=1"]
    assert ws.run("guard", "demo", "--restore-on-failure", "--", *command, json=True, expect=1).json["restored"]
    assert_equal_databases(server, "shop_twin", shop)


@one_store
def test_another_database_under_the_name_is_left(workspace, shop, server):
    ws = workspace([shop])
    command = [f"{BINDIR}/psql", "-X", "-d", server.url("postgres"), "-c", "drop database shop",
               "-c", "create database shop", "-c", "select 1/0", "-v", "ON_ERROR_STOP=1"]
    report = ws.run("guard", "demo", "--restore-on-failure", "--", *command, json=True, expect=1).json
    assert not report["restored"] and "another one than before" in report["error"]["message"]
    assert_equal_databases(server, "shop_twin", report["restored_as"])


NAMES = ['Shop "of\' all', "s" * 46 + "\u00e9" + "t" * 15]  # what a name of 63 bytes may have in it


@one_store
@pytest.mark.parametrize("name", NAMES)
def test_names_that_need_care(workspace, database, server, name):
    """The words that tell how to go back are right for every name a database may have."""
    database(name, "create table t as select 1 as v")
    ws = workspace([name], connection=server.url("postgres"))
    try:
        run = ws.run("guard", "demo", "--database", name, "--", "false", json=True, expect=1)
        restore, renames = run.json["go_back"][0]["steps"]
        folder = os.path.dirname(BINARY)
        subprocess.run(["sh", "-c", restore], check=True, cwd=ws.folder, stdout=subprocess.DEVNULL,
                       env=clean_environment(**ws.environment(), PATH=f"{folder}:{os.environ['PATH']}"))
        server.psql("postgres", renames)
        assert server.value(name, "select v from t") == "1"
        assert any(other[:5] == name[:5] and "_broken_" in other for other in server.databases())
    finally:
        for other in server.databases():
            if other != name and other[:5] == name[:5]:
                server.dropdb(other)


@one_store
def test_another_guard_came_meanwhile(workspace, shop, psql, server, tmp_path):
    """The session that keeps others out is gone when the command has failed, and another has begun."""
    ws = workspace([shop])
    wait = f"touch {tmp_path}/begun; while [ -e {tmp_path}/begun ]; do sleep 0.05; done; exit 1"
    with server.session("postgres") as other:
        with ws.start("guard", "demo", "--restore-on-failure", "--terminate", "--", "sh", "-c", wait, json=True) as guard:
            wait_until((tmp_path / "begun").exists, what="the command runs")
            other.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = "
                          "'pgcairn guard'")
            other.execute("select pg_advisory_lock(hashtext('pgcairn guard'), hashtext('shop'))")
            (tmp_path / "begun").unlink()
            report = guard.wait(expect=1).json
    assert not report["restored"] and "another guard" in report["error"]["message"]
    assert kept(server) == []
    # With nobody there it begins a session anew, and goes back.
    end = ["psql", "-X", "-d", server.url("postgres"), "-c",
           "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgcairn guard'"]
    command = f"{shlex.join(str(w) for w in [BINDIR / end[0], *end[1:]])}; exit 1"
    assert ws.run("guard", "demo", "--restore-on-failure", "--", "sh", "-c", command, json=True, expect=1).json["restored"]


class Proxy:
    """Of the server, over TCP. It loses the reply to the change of names, and the connection."""

    def __init__(self, server):
        self.port = server.port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.lost = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def url(self, database):
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.listener.getsockname()[1]}/{database}"

    def accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            server, doomed = socket.create_connection(("127.0.0.1", self.port)), threading.Event()
            threading.Thread(target=self.pump, args=(client, server, doomed, True), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, doomed, False), daemon=True).start()

    def pump(self, source, sink, doomed, is_request):
        try:
            while data := source.recv(1 << 16):
                if is_request and b"_broken_" in data and b"alter database" in data:
                    doomed.set()
                if doomed.is_set() and not is_request:
                    self.lost.set()
                    break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


@one_store
def test_the_reply_is_lost(workspace, shop, psql, server):
    """The names have changed and nobody was told: the server is asked again."""
    proxy = Proxy(server)
    ws = workspace([shop], connection=proxy.url(shop))
    try:
        report = ws.run("guard", "demo", "--restore-on-failure", "--", *psql(HALF), json=True, expect=1).json
    finally:
        proxy.listener.close()
    assert proxy.lost.is_set() and report["restored"], report
    assert_equal_databases(server, "shop_twin", shop)
    assert kept(server) == [report["kept_as"]] and evidence(ws)["restored"] is True


# ---- what keeps the command from being started ----

def test_no_dump_no_command(workspace, shop, tmp_path):
    ws = workspace([shop])
    ran = tmp_path / "ran"
    ws.repository.hide()
    try:
        run = ws.run("guard", "demo", "--", "touch", ran, json=True, expect=(1, 3))
    finally:
        ws.repository.show()
    assert_error(run, "the command was not started")
    ws.policy["postgres"]["bindir"] = str(tmp_path)  # no pg_dump there: the dump itself fails
    ws.write()
    run = ws.run("guard", "demo", "--", "touch", ran, json=True, expect=1)
    assert run.json["outcome"] == "not_started" and run.json["backup_id"] is None
    assert_error(run, "the command was not started", "pg_dump")
    assert not ran.exists()


@one_store
@pytest.mark.parametrize("options, rc, words", [
    (["--database", "nowhere"], 1, ["nowhere", "none that job nightly dumps"]),
    (["--job", "tidy"], 2, ["tidy", "type vacuum"]),
    (["--job", "absent"], 2, ["no job absent"]),
    (["--keep", "5 days"], 2, ["--keep"]),
    (["--keep", "1s"], 2, ["--keep"]),
    (["--terminate"], 2, ["--restore-on-failure"]),
    (["--restore-on-failure"], 2, ["2 databases"]),
])
def test_refused(workspace, shop, tmp_path, options, rc, words):
    ws = workspace([shop, "shop_twin"])
    ran = tmp_path / "ran"
    assert_error(ws.run("guard", "demo", *options, "--", "touch", ran, expect=rc), *words)
    assert not ran.exists() and ws.repository.keys("demo/dumps/") == []


@one_store
def test_mistyped_command_costs_no_dump(workspace, shop):
    ws = workspace([shop])
    assert_error(ws.run("guard", "demo", "--", "no-such-migration-tool", expect=1), "no-such-migration-tool", "not started", "install it")
    run = ws.run("guard", "demo", "--", "PGPASSWORD=hunter2", "psql", expect=2)
    assert_error(run, "sets a variable", "not started")
    assert "hunter2" not in run.err
    assert ws.repository.keys("demo/dumps/") == []


@one_store
def test_role_that_could_not_put_it_back(workspace, shop, server, tmp_path):
    server.psql("postgres", "create role guard_reader login superuser nocreatedb; alter role guard_reader nosuperuser;"
                            "grant pg_read_all_data to guard_reader")
    try:
        ws = workspace([shop], connection=server.url(shop, user="guard_reader"))
        run = ws.run("guard", "demo", "--restore-on-failure", "--", "touch", tmp_path / "ran", expect=1)
        assert_error(run, "guard_reader", "could not put database", "createdb")
    finally:
        server.psql("postgres", "drop role guard_reader")


@one_store
def test_dry_run(workspace, shop, tmp_path):
    ws = workspace([shop])
    run = ws.run("guard", "demo", "--restore-on-failure", "--dry-run", "--", "touch", tmp_path / "ran")
    assert "would dump" in run.out and "0001" in run.out
    assert not (tmp_path / "ran").exists() and ws.repository.keys("demo/dumps/") == []
    assert ws.run("guard", "demo", "--dry-run", "--", "true", json=True).json["outcome"] == "planned"


# ---- streams, secrets, signals ----

@one_store
def test_streams_and_environment(workspace, shop):
    ws = workspace([shop])
    script = "cat; echo $PGCAIRN_BACKUP_ID; echo to-stderr >&2"
    run = ws.run("guard", "demo", "--", "sh", "-c", script, stdin=b"from stdin\n")
    assert run.out.splitlines() == ["from stdin", ws.list()[0]["id"]] and "to-stderr" in run.err
    run = ws.run("guard", "demo", "--", "sh", "-c", script, stdin=b"from stdin\n", json=True)
    assert run.json["outcome"] == "done" and "from stdin" in run.err


@one_store
def test_secrets_of_the_command_are_hidden(workspace, shop):
    ws = workspace([shop])
    run = ws.run("guard", "demo", "--", "sh", "-c", "exit 7", "postgresql://a:hunter2@h/x", "password=hunter2",
                 "--db-password", "hunter2", "--token", "hunter2", 'export PGPASSWORD="my hunter2"', "\u00e9" * 1500, expect=1)
    assert "hunter2" not in run.err and "--db-password ***" in run.err
    assert evidence(ws)["outcome"] == "failed", "a command of any length is recorded"
    for key in ws.repository.keys("demo/evidence/") + ws.repository.keys("demo/holds/"):
        assert b"hunter2" not in ws.repository.read(key)


@one_store
@pytest.mark.parametrize("back", [False, True])
def test_interrupted(workspace, shop, server, tmp_path, back):
    ws = workspace([shop])
    script = tmp_path / "migrate.py"
    script.write_text(f"""import signal, subprocess, sys, time
def stop(*_):
    open({str(tmp_path / 'told')!r}, 'w').close()
    sys.exit(9)
signal.signal(signal.SIGINT, stop)
subprocess.run([{f'{BINDIR}/psql'!r}, '-X', '-d', {server.url(shop)!r}, '-c', 'delete from orders'], check=True)
open({str(tmp_path / 'begun')!r}, 'w').close()
time.sleep(60)
""")
    script.chmod(script.stat().st_mode | stat.S_IROTH)
    with ws.start("guard", "demo", *(["--restore-on-failure"] if back else []), "--", sys.executable, script,
                  json=True) as guard:
        wait_until((tmp_path / "begun").exists, what="the migration runs")
        guard.signal(signal.SIGINT)
        run = guard.wait(expect=5)
    assert (tmp_path / "told").exists(), "the signal was passed on, and its end awaited"
    assert (run.json["outcome"], run.json["exit_status"], run.json["restored"]) == ("interrupted", 9, back)
    assert evidence(ws)["outcome"] == "interrupted"
    if back:
        assert_equal_databases(server, "shop_twin", shop)
    else:
        assert server.value(shop, "select count(*) from orders") == "0"


@one_store
def test_one_at_a_time(workspace, shop, tmp_path):
    ws = workspace([shop])
    wait = f"touch {tmp_path}/begun; while [ -e {tmp_path}/begun ]; do sleep 0.05; done"
    with ws.start("guard", "demo", "--", "sh", "-c", wait) as first:
        wait_until((tmp_path / "begun").exists, what="the first runs")
        assert_error(ws.run("guard", "demo", "--", "touch", tmp_path / "ran", expect=4), "another guard", "not started")
        assert ws.run("guard", "demo", "--dry-run", "--", "true").rc == 0
        (tmp_path / "begun").unlink()
        first.wait()
    assert not (tmp_path / "ran").exists()


@one_store
def test_stopped_before_the_command(workspace, shop, server, tmp_path):
    """A signal while the dump waits for a lock: the command does not start."""
    ws = workspace([shop])
    with server.session(shop) as other:
        other.execute("begin; lock table orders in access exclusive mode")
        with ws.start("guard", "demo", "--", "touch", tmp_path / "ran", json=True) as guard:
            server.wait_for("select exists (select from pg_locks where not granted)", what="the dump waits")
            guard.signal(signal.SIGTERM)
            assert guard.wait(expect=5).json["outcome"] == "not_started"
    assert not (tmp_path / "ran").exists()
