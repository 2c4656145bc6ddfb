"""Bad luck in the middle of a restore: under its own name a database is whole or absent."""
import os
import signal
from contextlib import contextmanager

import pytest
from cairn import assert_error
from compare import assert_equal_databases
from pg import wait_until

# Rows that take their time where a restore loads them, and nowhere else.
ROWS = """
    create function slow(int) returns boolean language plpgsql as $$ begin
        if current_database() like 'pgcairn_restore_%' then perform pg_sleep(0.05); end if; return true; end $$;
    create table rows (i int primary key check (slow(i)), v text);
    insert into rows select i, 'row ' || i from generate_series(1, 120) i;
"""
SCRATCH = "select datname from pg_database where datname like 'pgcairn_restore_%'"


@pytest.fixture
def dumped(workspace, database):
    database("source", ROWS)
    ws = workspace(["source"])
    ws.dump()
    return ws


def loading(server):
    return [r["pid"] for r in server.json("postgres", """
        select pid from pg_stat_activity where datname like 'pgcairn_restore_%' and query like 'COPY %'
        and state = 'active'""")]


@contextmanager
def mid_restore(ws, server, restored):
    with ws.start("restore", "dump", "demo", "latest", "--into", restored) as run:
        wait_until(lambda: loading(server), 60, "rows being loaded")
        yield run


def assert_nothing_there(server, restored):
    assert restored not in server.databases()
    assert server.psql("postgres", SCRATCH) == "", "an unfinished restore was left behind"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted(dumped, server, restored, number):
    with mid_restore(dumped, server, restored) as run:
        run.signal(number)
        run.wait(5, 60)
    assert_nothing_there(server, restored)


def test_connection_killed(dumped, server, restored):
    with mid_restore(dumped, server, restored) as run:
        server.psql("postgres", f"select pg_terminate_backend({loading(server)[0]})")
        assert_error(run.wait((1, 3), 60), "connection")
    assert_nothing_there(server, restored)


def test_kill_9_then_next_restore(dumped, server, restored):
    """What a killed restore has left is told by the next one, which is not hindered by it."""
    with mid_restore(dumped, server, restored) as run:
        os.killpg(run.process.pid, signal.SIGKILL)
        run.process.wait()
    assert restored not in server.databases()
    left = server.psql("postgres", SCRATCH)
    wait_until(lambda: not loading(server), 60, "the server to notice")
    again = dumped.run("restore", "dump", "demo", "latest", "--into", restored)
    assert left and left in again.err
    assert_equal_databases(server, "source", restored)
    server.dropdb(left)


def test_prune_waits_for_a_restore(dumped, server, restored):
    """What a restore reads is not deleted under it: the prune is busy and says with whom."""
    with mid_restore(dumped, server, restored) as run:
        busy = dumped.run("prune", "demo", "--apply", expect=4)
        assert_error(busy, "restore")
        run.wait(0, 60)
    assert_equal_databases(server, "source", restored)


@pytest.mark.stores("file")
def test_the_name_is_taken_meanwhile(dumped, server, restored):
    """Somebody makes a database of that name while the restore works: theirs is not touched."""
    with mid_restore(dumped, server, restored) as run:
        server.createdb(restored)
        ended = run.wait(1, 60)
    assert server.psql(restored, "select count(*) from pg_class where oid >= 16384") == "0"
    left = server.psql("postgres", SCRATCH)
    assert_error(ended, restored, left)
    assert_equal_databases(server, "source", left)
    server.dropdb(left)


@pytest.mark.stores("file")
def test_interrupted_in_a_long_statement(workspace, database, server):
    """A statement that lasts is cancelled, not waited for."""
    database("source", ROWS)
    ws = workspace(["source"], defaults={"lock_wait": "10m"})
    with server.session("source") as session:
        session.execute("begin")
        session.execute("lock table rows in access exclusive mode")
        with ws.start("run", "demo/nightly") as run:
            server.wait_for("select count(*) > 0 from pg_locks where not granted", what="the dump to wait for the lock")
            run.signal(signal.SIGTERM)
            run.wait(5, 10)
    assert ws.good_backups() == []
