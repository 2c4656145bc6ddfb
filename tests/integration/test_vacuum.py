"""The vacuum job: does what is needed, proves it, and fails when it could not."""
import copy
import json

import pytest
from cairn import JOBS, assert_error

BLOAT = """
    create table "Dead Rows" as select i as id, repeat('x', 100) as v from generate_series(1, 20000) i;
    delete from "Dead Rows" where id % 2 = 0;
    create table never_analyzed as select i as v from generate_series(1, 5000) i;
    create table parts (k int, v int) partition by list (k);
    create table parts_1 partition of parts for values in (1);
    insert into parts select 1, i from generate_series(1, 3000) i;
    create table quiet as select 1 as v;
    select pg_stat_force_next_flush();
"""


def vacuum_policy(**changes):
    jobs = copy.deepcopy(JOBS)
    jobs["tidy"].update(changes)
    return jobs


def vacuumed(server, database):
    """Tables that were vacuumed or analysed by hand: autovacuum is off here."""
    return {r["relname"]: (r["vacuum_count"] > 0, r["analyze_count"] > 0) for r in server.json(
        database, "select relname, vacuum_count, analyze_count from pg_stat_user_tables")}


def test_vacuum_does_what_is_needed(server, database, workspace):
    database("bloated", BLOAT)
    ws = workspace(["bloated"], jobs=vacuum_policy())
    run = ws.run("run", "demo/tidy", json=True)
    assert run.json["outcome"] == "done"
    done = vacuumed(server, "bloated")
    assert done["Dead Rows"] == (True, True)
    assert done["never_analyzed"][1]
    assert server.value("bloated", "select reltuples from pg_class where relname = 'parts'") == "3000"
    assert server.value("bloated", "select count(*) > 0 from pg_stats where tablename = 'parts'") == "t"
    assert server.value("bloated", "select n_dead_tup from pg_stat_user_tables where relname = 'Dead Rows'") == "0"
    assert "Dead Rows" in run.out, "no report of what was done"


def test_explicit_tables_are_patterns(server, database, workspace):
    database("bloated", BLOAT)
    ws = workspace(["bloated"], jobs=vacuum_policy(tables=["\"Dead Rows\"", "quiet"]))
    ws.run("run", "demo/tidy")
    assert {name for name, counts in vacuumed(server, "bloated").items() if any(counts)} == {"Dead Rows", "quiet"}


def test_a_pattern_without_match_fails(server, database, workspace):
    database("bloated", BLOAT)
    ws = workspace(["bloated"], jobs=vacuum_policy(tables=["dead_rows"]))
    assert_error(ws.run("run", "demo/tidy", expect=(1, 2)), "dead_rows")


def test_missing_privilege_fails_and_names_the_table(server, database, workspace):
    """VACUUM of somebody else's table is a WARNING and exit status 0 elsewhere."""
    server.psql("postgres", "create role gardener login")
    try:
        database("bloated", BLOAT)
        server.psql("bloated", "alter table \"never_analyzed\" owner to gardener; grant select on all tables in schema public to gardener")
        ws = workspace(["bloated"], jobs=vacuum_policy(), connection=server.url("bloated", "gardener"))
        run = ws.run("run", "demo/tidy", expect=1)
        assert_error(run, "Dead Rows")
        assert vacuumed(server, "bloated")["never_analyzed"][1], "what could be done was not done"
        assert not any(vacuumed(server, "bloated")["Dead Rows"])
        failed = ws.run("run", "demo/tidy", json=True, expect=1).json
        assert failed["outcome"] == "failed" and failed["error"]["message"]
    finally:
        server.dropdb("bloated")
        server.psql("postgres", "drop role gardener")


def test_a_locked_table_does_not_hang_the_run(server, database, workspace):
    database("bloated", BLOAT)
    ws = workspace(["bloated"], jobs=vacuum_policy(lock_wait="1s"))
    with server.session("bloated") as session:
        session.execute("begin")
        session.execute("lock table \"Dead Rows\" in access exclusive mode")
        run = ws.run("run", "demo/tidy", expect=(0, 1), timeout=60)
        session.execute("rollback")
    assert "Dead Rows" in run.out + run.err
    assert vacuumed(server, "bloated")["never_analyzed"][1]


def test_who_keeps_dead_rows_alive_is_named(server, database, workspace):
    database("bloated", "create table held as select i as v from generate_series(1, 20000) i")
    ws = workspace(["bloated"], jobs=vacuum_policy())
    with server.session("bloated") as session:
        session.execute("begin isolation level repeatable read")
        pid = session.backend_pid()
        session.execute("select count(*) from held")
        server.psql("bloated", "delete from held where v % 2 = 0; select pg_stat_force_next_flush()")
        run = ws.run("run", "demo/tidy", json=True, expect=(0, 1))
        session.execute("rollback")
    assert str(pid) in json.dumps(run.json) + run.err


@pytest.mark.parametrize("budget", ["1s", "2h"])
def test_budget(server, database, workspace, budget):
    database("bloated", BLOAT)
    ws = workspace(["bloated"], jobs=vacuum_policy(budget=budget))
    assert ws.run("run", "demo/tidy", json=True).json["outcome"] == "done"


def test_nothing_to_do_is_done(server, database, workspace):
    database("bloated", BLOAT)
    ws = workspace(["bloated"], jobs=vacuum_policy())
    ws.run("run", "demo/tidy")
    before = vacuumed(server, "bloated")
    assert ws.run("run", "demo/tidy", json=True).json["outcome"] == "done"
    assert vacuumed(server, "bloated") == before
