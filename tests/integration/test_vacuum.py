"""The vacuum job: does what is needed, proves it, and fails when it could not."""
import copy
import json
import signal
import time

import pytest
from cairn import JOBS, assert_error
from pg import wait_until

# A vacuum stores nothing.
pytestmark = pytest.mark.stores("file")

# PostgreSQL 14 and older send statistics after half a second, and show what is as old as that.
FLUSH_STATISTICS = """do $$ begin
    if current_setting('server_version_num')::int >= 150000 then perform pg_stat_force_next_flush();
    else perform pg_sleep(0.6); end if;
end $$;""" * 2

BLOAT = """
    create table "Dead Rows" as select i as id, repeat('x', 100) as v from generate_series(1, 20000) i;
    delete from "Dead Rows" where id % 2 = 0;
    create table never_analyzed as select i as v from generate_series(1, 5000) i;
    create table parts (k int, v int) partition by list (k);
    create table parts_1 partition of parts for values in (1);
    insert into parts select 1, i from generate_series(1, 3000) i;
    create table quiet as select 1 as v;
""" + FLUSH_STATISTICS


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
        server.psql("bloated", "delete from held where v % 2 = 0;" + FLUSH_STATISTICS)
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


# ---- the report ----

def items(run, outcome=None):
    """{table: its entry in the report}"""
    return {t["table"]: t for t in run.json["details"]["tables"]
            if t["schema"] != "pg_catalog" and outcome in (None, t["outcome"])}


def test_the_report_proves_the_effect(database, workspace):
    database("bloated", BLOAT)
    ws = workspace(["bloated"], jobs=vacuum_policy())
    done = items(ws.run("run", "demo/tidy", json=True))
    dead = done["Dead Rows"]
    assert (dead["outcome"], dead["work"]) == ("done", "vacuum analyze")
    assert dead["before"]["dead_rows"] == 10000 and dead["after"]["dead_rows"] == 0
    assert dead["after"]["all_visible_percent"] == 100 > (dead["before"]["all_visible_percent"] or 0)
    assert dead["after"]["bytes"] > 0 and dead["duration_s"] > 0
    assert done["parts"]["work"] == "analyze" and done["parts"]["reason"]


def test_the_report_for_people(database, workspace):
    database("bloated", BLOAT)
    out = workspace(["bloated"], jobs=vacuum_policy()).run("run", "demo/tidy").out
    line = next(line for line in out.splitlines() if "public.Dead Rows" in line)
    assert "10000 -> 0" in line and "vacuum analyze" in line and "done" in line
    assert "largest tables in bloated:" in out and "databases, oldest first:" in out


def test_statistics_are_only_made_when_asked_for(server, database, workspace):
    database("bloated", BLOAT)
    workspace(["bloated"], jobs=vacuum_policy(analyze=False)).run("run", "demo/tidy")
    done = vacuumed(server, "bloated")
    assert done["Dead Rows"] == (True, False)
    assert done["never_analyzed"] == (True, False) and done["parts"] == (False, False)


def test_findings(server, database, workspace):
    database("bloated", """
        create table numbered (id serial, v int);
        select setval('numbered_id_seq', 2000000000);
        insert into numbered (v) values (1), (1);
        create table unattended (v int) with (autovacuum_enabled = off);
    """)
    with pytest.raises(AssertionError, match="could not create unique index"):
        server.psql("bloated", "create unique index concurrently half_made on numbered (v)")
    details = workspace(["bloated"], jobs=vacuum_policy()).run("run", "demo/tidy", json=True).json["details"]
    found = details["databases"][0]
    assert found["name"] == "bloated"
    assert found["invalid_indexes"][0]["index"] == "half_made"
    assert "drop index concurrently public.half_made" in found["invalid_indexes"][0]["command"]
    assert [(s["sequence"], s["percent"]) for s in found["sequences"]] == [("numbered_id_seq", 93)]
    assert [t["table"] for t in found["autovacuum_disabled"]] == ["unattended"]
    assert details["server"]["settings"][0]["name"] == "autovacuum"
    assert details["server"]["connections"][0]["limit"] == 50
    ages = {d["name"]: d for d in details["server"]["databases"]}
    assert ages["bloated"]["bytes"] > 1e6 and ages["bloated"]["xid_age"] > 0
    assert details["unknown"] == []


def test_an_old_table_is_frozen_before_all_others(server, database, workspace):
    database("aged", """
        create table old (v int) with (autovacuum_freeze_max_age = 100000);
        insert into old values (1);
        create table young as select i as v from generate_series(1, 1000) i;
        do $$ begin for i in 1..80000 loop perform txid_current(); commit; end loop; end $$;
    """)
    run = workspace(["aged"], jobs=vacuum_policy(jobs=1)).run("run", "demo/tidy", json=True)
    assert run.json["details"]["tables"][0]["table"] == "old"
    old = items(run)["old"]
    assert (old["class"], old["outcome"]) == ("freeze", "done")
    assert old["before"]["xid_age"] > 80000 and old["after"]["xid_age"] < 1000
    assert items(run)["young"]["class"] == "no-statistics"


# ---- which tables ----

CHOICE = """
    create schema audit;
    create table "Models" (v int); create table models (v int);
    create table audit."Log" (v int); create table audit.trail (v int); create table "audit.log" (v int);
    create table events (k int) partition by range (k);
    create table events_low partition of events for values from (0) to (10) partition by range (k);
    create table events_lowest partition of events_low for values from (0) to (5);
"""


@pytest.mark.parametrize("patterns, chosen", [
    (["\"Models\""], {"Models"}),
    (["Models"], {"models"}),
    (["audit.*"], {"Log", "trail"}),
    (["audit.*", "\"Models\""], {"Log", "trail", "Models"}),
    (["\"audit.log\""], {"audit.log"}),
    (["*.*o*g"], {"Log", "audit.log"}),
    (["events"], {"events", "events_low", "events_lowest"}),
    (["events_low"], {"events_low", "events_lowest"}),
])
def test_chosen_tables_are_done_without_need(server, database, workspace, patterns, chosen):
    database("choice", CHOICE)
    ws = workspace(["choice"], jobs=vacuum_policy(tables=patterns))
    assert set(items(ws.run("run", "demo/tidy", json=True), "done")) == chosen
    assert {name for name, counts in vacuumed(server, "choice").items() if any(counts)} == chosen


def test_what_matches_is_done_beside_what_does_not(server, database, workspace):
    database("choice", CHOICE)
    ws = workspace(["choice"], jobs=vacuum_policy(tables=["models", "MODELLS", "audit.x*"]))
    run = ws.run("run", "demo/tidy", json=True, expect=1)
    assert vacuumed(server, "choice")["models"] == (True, True)
    assert run.json["details"]["unmatched"] == ["MODELLS", "audit.x*"]
    assert run.json["error"]["code"] == "not_found"
    assert_error(run, "MODELLS", "audit.x*", "double quotes")


def test_a_wrong_pattern_fails(database, workspace):
    database("choice", CHOICE)
    ws = workspace(["choice"], jobs=vacuum_policy(tables=["a.b.c"]))
    assert_error(ws.run("run", "demo/tidy", expect=(1, 2)), "a.b.c", "too many dots")


# ---- privileges ----

def test_the_owner_of_the_database_may(server, database, workspace):
    server.psql("postgres", "create role landlord login")
    try:
        database("bloated", BLOAT, ["-O", "landlord"])
        ws = workspace(["bloated"], jobs=vacuum_policy(), connection=server.url("bloated", "landlord"))
        ws.run("run", "demo/tidy")
        assert vacuumed(server, "bloated")["Dead Rows"] == (True, True)
    finally:
        server.dropdb("bloated")
        server.psql("postgres", "drop role landlord")


def test_a_closed_database_fails_and_the_others_are_done(server, database, workspace):
    server.psql("postgres", "create role landlord login")
    try:
        database("closed", "revoke connect on database closed from public")
        database("open", BLOAT, ["-O", "landlord"])
        ws = workspace(["closed", "open"], jobs=vacuum_policy(), connection=server.url("open", "landlord"))
        run = ws.run("run", "demo/tidy", json=True, expect=(1, 3))
        assert_error(run, "\"closed\"", "permission denied")
        assert vacuumed(server, "open")["Dead Rows"] == (True, True)
        assert "permission denied" in run.json["details"]["databases"][0]["error"]
    finally:
        server.dropdb("closed")
        server.dropdb("open")
        server.psql("postgres", "drop role landlord")


def test_a_refusal_names_the_owner_and_the_cure(server, database, workspace):
    server.psql("postgres", "create role gardener login")
    try:
        database("choice", CHOICE)
        ws = workspace(["choice"], jobs=vacuum_policy(tables=["\"Models\""]),
                       connection=server.url("choice", "gardener"))
        run = ws.run("run", "demo/tidy", json=True, expect=1)
        assert run.json["error"]["code"] == "permission"
        assert_error(run, "public.Models", "role \"gardener\" may not vacuum it, its owner is \"postgres\"", "maintain")
    finally:
        server.dropdb("choice")
        server.psql("postgres", "drop role gardener")


# ---- others on the server ----

# ANALYZE evaluates the expressions of indexes: each row takes its time once the setting is on.
SLOW = """
    create function lazy(v int) returns int immutable language plpgsql as $$
    begin
        if current_setting('test.lazy', true) = 'on' then perform pg_sleep(0.02); end if;
        return v;
    end $$;
    create table slow (v int);
    create index on slow (public.lazy(v));
    insert into slow select generate_series(1, 400);
    create table fast as select i as v from generate_series(1, 1000) i;
    delete from fast where v % 2 = 0;
"""


def lazy(server, state):
    server.psql("postgres", f"alter database lazy set test.lazy = '{state}'")


def is_vacuuming(server, table):
    return lambda: server.value("lazy", "select count(*) > 0 from pg_stat_activity where "
                                f"application_name ~ '^pgcairn-vacuum' and query ~ '^vacuum.*{table}'") == "t"


def test_the_locking_session_is_named(server, database, workspace):
    database("bloated", BLOAT)
    ws = workspace(["bloated"], jobs=vacuum_policy(lock_wait="1s", tables=["\"Dead Rows\"", "quiet"]))
    with server.session("bloated") as session:
        session.execute("set application_name = 'migration'")
        session.execute("begin")
        session.execute("lock table \"Dead Rows\" in share mode")
        pid = session.backend_pid()
        run = ws.run("run", "demo/tidy", json=True, expect=1, timeout=60)
        session.execute("rollback")
    assert_error(run, "public.Dead Rows", f"locked by pid {pid}", "migration", "idle in transaction", "lock_wait")
    assert run.json["error"]["code"] == "conflict"
    assert set(items(run, "done")) == {"quiet"}


def test_it_gives_way_to_a_session_that_waits(server, database, workspace):
    database("lazy", SLOW)
    lazy(server, "on")
    ws = workspace(["lazy"], jobs=vacuum_policy(lock_wait="1s", tables=["slow"]))
    with ws.start("run", "demo/tidy", json=True) as run:
        wait_until(is_vacuuming(server, "slow"))
        lazy(server, "off")
        begun = time.monotonic()
        server.psql("lazy", "set test.lazy = off; alter table slow add column w int")
        waited = time.monotonic() - begun
        done = items(run.wait())
    assert waited < 5, "ANALYZE takes 8 s: it did not give way"
    assert done["slow"]["outcome"] == "done", "it was not tried again"


@pytest.mark.parametrize("application", ["pg_dump", "pgcairn 20261121T020000Z-x7q2"])
def test_it_waits_for_the_end_of_a_dump(server, database, workspace, application):
    database("bloated", BLOAT)
    ws = workspace(["bloated"], jobs=vacuum_policy())
    with server.session("bloated") as session:
        session.execute(f"set application_name = '{application}'")
        session.execute("begin isolation level repeatable read")
        session.execute("select 1 from quiet")
        with ws.start("run", "demo/tidy", json=True) as run:
            wait_until(lambda: "is being dumped" in run.err)
            assert application in run.err
            time.sleep(1)
            assert not any(any(counts) for counts in vacuumed(server, "bloated").values())
            session.execute("commit")
            done = items(run.wait())
    assert done["Dead Rows"]["after"]["dead_rows"] == 0


def test_a_dump_that_does_not_end_within_the_budget(server, database, workspace):
    database("bloated", BLOAT)
    ws = workspace(["bloated"], jobs=vacuum_policy(budget="2s"))
    with server.session("bloated") as session:
        session.execute("set application_name = 'pg_dump'")
        session.execute("begin isolation level repeatable read")
        session.execute("select 1 from quiet")
        run = ws.run("run", "demo/tidy", json=True, expect=1, timeout=30)
        session.execute("commit")
    assert_error(run, "budget of 2s was spent before any table was done", "a dump of the database was running")
    assert set(items(run)) == set(items(run, "left"))


def test_a_prepared_transaction_is_named_with_its_cure(server, database, workspace):
    database("bloated", BLOAT + "begin; create table elsewhere (v int); prepare transaction 'half way';")
    try:
        server.psql("bloated", "delete from \"Dead Rows\";" + FLUSH_STATISTICS)
        run = workspace(["bloated"], jobs=vacuum_policy()).run("run", "demo/tidy", json=True)
    finally:
        server.psql("bloated", "rollback prepared 'half way'")
    blockers = run.json["details"]["server"]["blockers"]
    assert [b["command"] for b in blockers if b["holder"] == "half way"] == ["rollback prepared 'half way'"]
    assert "dead rows can't be removed yet: prepared transaction half way" in run.err


# ---- time ----

def test_what_the_budget_leaves_is_told_and_is_done_next_time(server, database, workspace):
    database("lazy", SLOW)
    lazy(server, "on")
    ws = workspace(["lazy"], jobs=vacuum_policy(budget="3s", jobs=1, tables=["slow", "fast"]))
    begun = time.monotonic()
    run = ws.run("run", "demo/tidy", json=True)
    assert time.monotonic() - begun < 7, "ANALYZE takes 8 s: the budget did not stop it"
    outcomes = {name: t["outcome"] for name, t in items(run).items()}
    assert "left" in outcomes.values() and outcomes["slow"] == "left"
    assert "budget of 3s is spent" in run.err and "public.slow" in run.err
    lazy(server, "off")
    assert items(ws.run("run", "demo/tidy", json=True))["slow"]["outcome"] == "done"


def test_a_budget_in_which_nothing_was_done_is_a_failure(server, database, workspace):
    database("lazy", SLOW)
    lazy(server, "on")
    ws = workspace(["lazy"], jobs=vacuum_policy(budget="1s", tables=["slow"]))
    run = ws.run("run", "demo/tidy", json=True, expect=1, timeout=30)
    assert run.json["error"]["code"] == "timeout"
    assert_error(run, "budget of 1s was spent before any table was done")


def test_it_stops_at_once_when_told_to(server, database, workspace):
    database("lazy", SLOW)
    lazy(server, "on")
    ws = workspace(["lazy"], jobs=vacuum_policy(tables=["slow"]))
    with ws.start("run", "demo/tidy", json=True) as run:
        wait_until(is_vacuuming(server, "slow"))
        begun = time.monotonic()
        run.signal(signal.SIGTERM)
        assert run.wait(expect=5).json["outcome"] == "interrupted"
        assert time.monotonic() - begun < 5
    assert not is_vacuuming(server, "slow")()


# ---- several databases ----

def test_catalogues_that_databases_share_are_done_once(server, database, workspace):
    server.psql("postgres", "".join(f"create role crowd{i};" for i in range(100)))
    try:
        server.psql("postgres", "".join(f"drop role crowd{i};" for i in range(100))
                    + FLUSH_STATISTICS)
        database("left_hand", BLOAT)
        database("right_hand", BLOAT)
        ws = workspace(["left_hand", "right_*"], jobs=vacuum_policy())
        tables = ws.run("run", "demo/tidy", json=True).json["details"]["tables"]
    finally:
        server.psql("postgres", "".join(f"drop role if exists crowd{i};" for i in range(100)))
    assert [t["database"] for t in tables if t["table"] == "pg_authid"] == ["left_hand"]
    assert {t["database"] for t in tables if t["table"] == "Dead Rows"} == {"left_hand", "right_hand"}


def test_a_database_without_match_fails(server, workspace):
    ws = workspace(["nowhere_*"], jobs=vacuum_policy(), connection=server.url("postgres"))
    assert_error(ws.run("run", "demo/tidy", expect=1), "\"nowhere_*\" does not exist", "check databases: in")
