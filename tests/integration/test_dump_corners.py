"""Corners of dump and restore: odd names, odd rights, odd servers; each case was once lost or refused."""
import os
import shutil
import subprocess

import pytest
from cairn import assert_error
from compare import assert_equal_databases, compare_databases, table_sums
from pg import BINDIR, Server, quote_identifier, wait_until


# Corners of PostgreSQL, not of stores: keys hold ids and never a name.
pytestmark = pytest.mark.stores("file")


def dropped_roles(server, *names):
    for name in names:
        server.psql("postgres", f"drop role if exists {quote_identifier(name)}")


# ---- names, and what belongs to the database ----

T = "create table t as select 1 as v"
KINDS = [
    ("owner has lost a right", "odd", T, "revoke temporary on database odd from postgres; revoke connect on database odd from public"),
    ("granted by another", "odd", T, "grant connect on database odd to corner_a with grant option; set role corner_a;"
     "grant connect on database odd to corner_b; reset role"),
    ("odd settings", "odd", T, "alter database odd set search_path = ''; alter database odd set \"my.var\" = 'a=b, \"c\" \\ '';';"
     "alter database odd set temp_tablespaces = ''; alter database odd set datestyle = 'sql, dmy';"
     "alter role corner_a in database odd set search_path = \"$user\", \"A \"\"b\"\", c\", \"x,y\"; alter database odd set application_name = E'two\\nlines'"),
    ("limit", "odd", T, "alter database odd connection limit 0"),
    ("newline", "a\nb", T, ""),
    ("tab", "a\tb", T, ""),
    ("equals", "a=b", T, ""),
    ("uri", "postgres://x", T, ""),
    ("backslash", "back\\slash", T, ""),
    ("percent", "%s%n", T, ""),
    ("blank", " ", T, ""),
    ("quote", "it's \"quoted\"", T, ""),
    ("owner role", "odd", T, "alter database odd owner to \"Corner ö = \"\"q\"\"\"; grant create on database odd to \"Corner ö = \"\"q\"\"\""),
    ("case", "odd", 'create table a (v int); create table "A" (v int); insert into a values (1); insert into "A" values (2);', ""),
    ("inherit", "odd", "create table p (a int); create table c (b int) inherits (p); alter table c alter a set default 5; insert into p values(1); insert into c values(2,3);", ""),
    ("views", "odd", "create table t as select 1 as v; create materialized view z as select * from t; create materialized view y as select * from z; create materialized view a as select v from y;", ""),
    ("foreign partition", "odd", "create extension file_fdw; create server f foreign data wrapper file_fdw;"
     "create table p (v int) partition by range (v); create table p1 partition of p for values from (0) to (10);"
     "create foreign table p2 partition of p for values from (10) to (20) server f options (filename '/nonexistent'); insert into p values (1),(2)", ""),
    ("table with oddity", "odd", "create table \"a\nb\tc=%s\\\" (\"x\ny\" int generated always as identity, \"d,e\" serial); insert into \"a\nb\tc=%s\\\" (\"d,e\") values (default), (8)", ""),
    ("config", "odd", "create extension zoo_config; insert into zoo_config.settings (name, value) values ('a', '1')", ""),
    ("wide", "odd", "create table w (" + ",".join(f"c{i} int" for i in range(1600)) + "); insert into w (c0) values (1)", ""),
]


@pytest.fixture(scope="module")
def corner_roles(server):
    server.psql("postgres", 'create role corner_a; create role corner_b; create role "Corner ö = ""q"""')
    yield
    dropped_roles(server, "corner_a", "corner_b", "Corner ö = \"q\"")


@pytest.mark.parametrize("name, fill, properties", [k[1:] for k in KINDS], ids=[k[0] for k in KINDS])
def test_comes_back_equal(server, database, workspace, restored, corner_roles, name, fill, properties):
    database(name, fill)
    server.psql("postgres", properties)
    ws = workspace([name.replace("\\", "\\\\")], connection=server.url("postgres"))
    backup = ws.dump()
    ws.run("restore", "dump", "demo", "latest", "--into", restored)
    found = compare_databases(server, name, restored)
    assert not found, "\n".join(found)
    server.dropdb(restored)
    script(server, ws, backup, name, restored)
    found = compare_databases(server, name, restored)
    assert not found, "restore.sh:\n" + "\n".join(found)


def script(server, ws, backup, name, into, check=True, **env):
    folder = ws.repository.path / ws.backup_key(backup)
    done = subprocess.run(["dash", folder / "restore.sh", name, into], capture_output=True, text=True, check=False,
                          env={**server.environment("postgres"), **env})
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("name, fill, options", [
    ("eucjp", "set client_encoding = utf8; create table \"表\" (\"列\" text, id serial); insert into \"表\" values ('日本語'), ('表')", ("-E", "EUC_JP", "--locale=C")),
    ("latin", "create table \"tàble\" (\"é\" text, \"ù\" serial); insert into \"tàble\" values ('é'), ('ÿ\\')", ("-E", "LATIN1", "--locale=C")),
    ("ascii", "create table \"tàble\" (\"é\" text, \"ù\" serial); insert into \"tàble\" values ('é'), ('ÿ\\'), (encode(E'\\\\xff','escape'))", ("-E", "SQL_ASCII", "--locale=C")),
    ("icu", "create table t as select 'x' v", ("--locale-provider=icu", "--icu-locale=de-u-co-phonebk", "--locale=C")),
])
def test_encodings(server, database, workspace, restored, corner_roles, name, fill, options):
    database(name, fill, options)
    server.psql("postgres", f"alter database {name} owner to \"Corner ö = \"\"q\"\"\"; comment on database {name} is 'é'; grant create on database {name} to \"Corner ö = \"\"q\"\"\"")
    ws = workspace([name])
    backup = ws.dump()
    ws.run("restore", "dump", "demo", "latest", "--into", restored)
    found = compare_databases(server, name, restored)
    assert not found, "\n".join(found)
    server.dropdb(restored)
    ws.run("restore", "dump", "demo", "latest", "--into", restored, "--table", "*")
    assert table_sums(server, name) == table_sums(server, restored)
    server.dropdb(restored)
    script(server, ws, backup, name, restored)
    found = compare_databases(server, name, restored)
    assert not found, "restore.sh:\n" + "\n".join(found)
    server.dropdb(restored)
    server.createdb(restored, "-E", "UTF8" if name == "icu" else {"eucjp": "EUC_JP", "latin": "LATIN1", "ascii": "SQL_ASCII"}[name], "--locale=C")
    from cairn import binary_command
    from pg import clean_environment
    sql = subprocess.run(binary_command(ws.arguments(["export", "demo", backup, "--database", name, "--format", "plain"])), capture_output=True, check=True, env=clean_environment(**ws.environment())).stdout
    server.program("psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-o", os.devnull, "-f", "-", database=restored, input=sql)
    found = compare_databases(server, name, restored, database_properties=False)
    assert not found, "export:\n" + "\n".join(found)


def test_names_are_not_run_by_sh(server, database, workspace, restored, tmp_path):
    """A line within a name or a comment must not end a here-document of restore.sh."""
    for mark in ("PGCAIRN_END", "END"):
        server.psql(database(f"sly{mark}"), f'create table "a\n{mark}\n>{tmp_path}/run\nx" as select 1 as v')
        server.psql("postgres", f"comment on database \"sly{mark}\" is E'\\n{mark}\\ntouch {tmp_path}/run\\n'")
        ws = workspace([f"sly{mark}"], name=f"ws{mark}")
        script(server, ws, ws.dump(), f"sly{mark}", restored)
        found = compare_databases(server, f"sly{mark}", restored)
        assert not found, "\n".join(found)
        server.dropdb(restored)
    assert not (tmp_path / "run").exists()


def test_a_database_half_dropped_is_passed_over(server, database, workspace):
    database("invalid")
    database("valid", T)
    server.psql("postgres", "update pg_database set datconnlimit = -2 where datname = 'invalid'")
    ws = workspace([], connection=server.url("postgres"))
    assert "valid" in {d["name"] for d in ws.manifest(ws.dump())["databases"]}


def test_tablespace_of_the_database(server, database, workspace, restored):
    folder = server.root / "a tablespace"
    folder.mkdir()
    from pg import own
    own(folder, server.user)
    where = "select spcname from pg_tablespace t join pg_database d on d.dattablespace = t.oid where datname = '{}'"
    server.psql("postgres", f"create tablespace \"Fast 1\" location '{folder}'")
    try:
        database("placed", T, ["-D", "Fast 1"])
        ws = workspace(["placed"])
        backup = ws.dump()
        ws.run("restore", "dump", "demo", "latest", "--into", restored)
        assert server.value("postgres", where.format(restored)) == "Fast 1"
        server.dropdb(restored)
        script(server, ws, backup, "placed", restored)
        assert server.value("postgres", where.format(restored)) == "Fast 1"
        server.dropdb(restored)
        server.dropdb("placed")
        server.psql("postgres", "drop tablespace \"Fast 1\"")
        run = ws.run("restore", "dump", "demo", "latest", "--into", restored)
        assert "Fast 1" in run.err and server.value(restored, "select v from t") == "1"
        server.dropdb(restored)
        script(server, ws, backup, "placed", restored)
    finally:
        server.dropdb(restored)
        server.dropdb("placed")
        server.psql("postgres", "drop tablespace if exists \"Fast 1\"")


def test_a_service_names_another_database(server, database, workspace, restored, tmp_path):
    """pg_dump reads the service again, and its dbname must not stand above the one to dump."""
    database("first", "create table t as select 'first' as v")
    database("second", "create table t as select 'second' as v")
    services = tmp_path / "services"
    services.write_text(f"[cairn]\nhost={server.socket_dir}\nport={server.port}\nuser=postgres\ndbname=first\n")
    ws = workspace(["second"], connection="service=cairn")
    env = {"PGSERVICEFILE": str(services)}
    ws.run("run", "demo/nightly", env=env)
    ws.run("restore", "dump", "demo", "latest", "--into", restored, env=env)
    assert server.value(restored, "select v from t") == "second"


def test_the_database_postgres_is_closed(server, workspace, tmp_path):
    other = Server("closed").start()
    try:
        other.psql("postgres", "create role reader login; revoke connect on database postgres, template1 from public;"
                               "grant pg_read_all_data to reader")
        other.createdb("it's = open", "-O", "reader")
        other.psql("it's = open", T)
        ws = workspace(["it's = open"], connection=f"host={other.socket_dir} port={other.port} user=reader dbname='it\\'s = open'")
        ws.dump()
    finally:
        other.stop()


def test_secrets_of_failed_statements(server, database, workspace, restored):
    """pg_restore quotes the statement that failed; a user mapping's holds a password."""
    server.psql("postgres", "create role mapped; ")
    try:
        database("mapping", "create extension postgres_fdw; create server s foreign data wrapper postgres_fdw;"
                 "create user mapping for mapped server s options (user 'u', password 'fdw-secret')")
        ws = workspace(["mapping"])
        ws.dump()
        server.dropdb("mapping")
        server.psql("postgres", "drop role mapped")
        run = ws.run("restore", "dump", "demo", "latest", "--globals", "none", "--into", restored, expect=1)
        assert "fdw-secret" not in run.err and "mapped" in run.err
        assert restored not in server.databases()
        assert not [n for n in server.databases() if n.startswith("pgcairn_restore")]
    finally:
        server.dropdb("mapping")
        server.psql("postgres", "drop role if exists mapped")


ROLES = r"""
create role "Corner R" login;
comment on role "Corner R" is E'two\nlines; -- IN DATABASE x';
alter role "Corner R" set application_name = E'a WITH b\nc''d';
create role "corner WITH x" nologin;
grant "corner WITH x" to "Corner R" with admin option;
"""


def test_roles_come_back_as_they_were(server, database, workspace, restored):
    names = ("Corner R", "corner WITH x")
    facts = """select rolname, rolconfig, shobj_description(oid, 'pg_authid'),
               (select array_agg(m.roleid::regrole::text || admin_option order by 1) from pg_auth_members m where member = r.oid)
               from pg_roles r where rolname in ('Corner R', 'corner WITH x') order by 1"""
    server.psql("postgres", ROLES)
    try:
        database("roles", T + '; alter table t owner to "Corner R"')
        before = server.value("postgres", facts)
        ws = workspace(["roles"])
        ws.dump()
        run = ws.run("restore", "dump", "demo", "latest", "--into", restored)
        assert "differ" not in run.out and "left as it is" not in run.err, str(run)
        server.dropdb(restored)
        server.dropdb("roles")
        dropped_roles(server, *names)
        run = ws.run("restore", "dump", "demo", "latest")
        assert server.value("postgres", facts) == before
        assert run.out.count("Corner R") == 1
    finally:
        server.dropdb("roles")
        server.dropdb(restored)
        dropped_roles(server, *names)


BY_TABLE = [
    # what there is, patterns, what is asked of the result, its answer
    ("hash leaf", "create type e as enum ('a','b','c'); create table h (m e) partition by hash (m);"
     "create table h0 partition of h for values with (modulus 1, remainder 0); insert into h values ('a'),('b')",
     ["h0"], "select count(*) from h0", "2"),
    ("hash below range", "create table r (a int, m text) partition by range (a); create table r1 partition of r for values from (0) to (9) partition by hash (m);"
     "create table r10 partition of r1 for values with (modulus 1, remainder 0); insert into r values (1, 'x')",
     ["r1"], "select count(*) from r1", "1"),
    ("serial in a schema with a blank", 'create schema "my schema"; create table "my schema"."my t" (id serial, v int); insert into "my schema"."my t" (v) values (1),(2)',
     ['"my schema".*'], "select nextval('\"my schema\".\"my t_id_seq\"')", "3"),
    ("owner with a blank", 'create table t (id serial, v int); insert into t (v) values (1),(2); alter table t owner to "Zoo Reader"',
     ["t"], "select nextval('t_id_seq')", "3"),
    ("type of an owner with a blank", 'create type mood as enum (\'x\'); alter type mood owner to "Zoo Reader"; create table t (m mood); insert into t values (\'x\')',
     ["t"], "select m from t", "x"),
    ("identity", "create table t (id int generated always as identity (start 7), v int); insert into t (v) values (1)",
     ["t"], "select nextval('t_id_seq')", "8"),
    ("domain and array of composite", "create type c as (a int); create domain d as int check (value > 0); create table t (a c[], b d); insert into t values (array[row(1)::c], 4)",
     ["t"], "select b from t", "4"),
    ("child alone", "create table p (a int); create table c (b int) inherits (p); insert into c values (1, 2)",
     ["p", "c"], "select a + b from only c", "3"),
    ("case", 'create table a (v int); create table "A" (v int); insert into "A" values (2)', ['"A"'], 'select v from "A"', "2"),
    ("shared sequence", "create sequence s; create table t (id int default nextval('s'), v int); insert into t (v) values (1),(2)", ["t"], "select nextval('s')", "3"),
    ("semicolon", 'create table "x;\ny" (id serial, v int); insert into "x;\ny" (v) values (1),(2)', ["x*"], "select count(*) from pg_sequences where last_value = 2", "1"),
    ("what indexes need", """create function f(int,int) returns int language sql immutable as 'select $1-$2'; create operator class oc for type int using btree as
      operator 1 <, operator 2 <=, operator 3 =, operator 4 >=, operator 5 >, function 1 f(int,int); create text search configuration my (copy = pg_catalog.simple);
      create table t (v int, x text); create index on t (v oc); create index on t using gin (to_tsvector('public.my', x)); insert into t values (1,'a')""",
     ["t"], "select count(*) from pg_indexes where tablename = 't'", "2"),
    ("partitions of an owner with a blank", 'create table "p q" (v int) partition by range (v); create table "p 1" partition of "p q" for values from (0) to (9); insert into "p q" values (1);'
     'alter table "p q" owner to "Zoo Reader"; alter table "p 1" owner to "Zoo Reader"', ['"p q"'], 'select count(*) from "p q"', "1"),

]


@pytest.mark.parametrize("fill, patterns, question, answer", [c[1:] for c in BY_TABLE], ids=[c[0] for c in BY_TABLE])
@pytest.mark.parametrize("into", ["new", "existing"])
def test_by_table(server, database, workspace, restored, fill, patterns, question, answer, into):
    database("part", fill)
    ws = workspace(["part"])
    ws.dump()
    if into == "existing":
        server.createdb(restored)
    ws.run("restore", "dump", "demo", "latest", "--into", restored, *[w for p in patterns for w in ("--table", p)])
    assert server.value(restored, question) == answer


def test_by_table_does_not_look_into_template1(server, database, workspace, restored):
    """A new database comes from template0: what template1 has is not there."""
    server.psql("template1", "create type in_template as enum ('x')")
    try:
        database("part", "create type in_template as enum ('x'); create table t (m in_template); insert into t values ('x')")
        ws = workspace(["part"])
        ws.dump()
        ws.run("restore", "dump", "demo", "latest", "--into", restored, "--table", "t")
        assert server.value(restored, "select m from t") == "x"
    finally:
        server.psql("template1", "drop type in_template")


def test_a_plain_reader_gives_way_too(server, database, workspace):
    """Who may not see what others wait for must find the waiter all the same; and starting again
    neither counts bytes twice nor lifts the rate limit."""
    from slow_dump import ROWS, mid_dump, slow_workspace
    server.psql("postgres", "create role plain login; grant pg_read_all_data to plain")
    try:
        ws = slow_workspace(workspace, database, defaults={"lock_wait": "1s"}, connection=server.url("slow", "plain"))
        with mid_dump(ws, json=True) as run, server.session("slow") as session:
            session.send("alter table small add column extra int default 5")
            wait_until(lambda: server.value("slow", "select count(*) from pg_attribute where attname = 'extra'") == "1", 6, "the dump to give way")
            ended = run.wait(0, 120)
        manifest = ws.manifest(ended.json["backup_id"])
        assert manifest["bytes_stored"] == sum(o["size"] for o in manifest["objects"])
        assert manifest["bytes_source"] == manifest["databases"][0]["bytes"]
        assert len(ROWS) and any(t["columns"].count("extra") for t in manifest["databases"][0]["tables"])
    finally:
        server.dropdb("slow")
        dropped_roles(server, "plain")


def test_a_sequence_dropped_in_mid_dump(server, database, workspace, restored):
    from slow_dump import mid_dump, slow_workspace
    ws = slow_workspace(workspace, database)
    server.psql("slow", "create sequence passing")
    with mid_dump(ws) as run:
        server.psql("slow", "drop sequence passing")
        run.wait(0, 120)
    ws.run("restore", "dump", "demo", "latest", "--into", restored)
    assert_equal_databases(server, "slow", restored)


def test_a_child_without_its_parent_is_refused(server, database, workspace, restored):
    database("part", "create table p (a int); create table c (b int) inherits (p); insert into c values (1, 2)")
    ws = workspace(["part"])
    ws.dump()
    run = ws.run("restore", "dump", "demo", "latest", "--into", restored, "--table", "c", expect=2)
    assert_error(run, "public.c", "public.p")
    assert restored not in server.databases()


def test_what_pg_dump_leaves_out_is_told(server, database, workspace):
    server.psql("postgres", "create role plain login; grant pg_read_all_data to plain")
    try:
        database("sub", T + "; create subscription s connection 'dbname=x password=fdw-secret' publication p with (connect=false)")
        ws = workspace(["sub"], connection=server.url("sub", "plain"))
        assert "subscriptions not dumped" in ws.run("run", "demo/nightly").err
    finally:
        server.psql("sub", "alter subscription s set (slot_name=none); drop subscription s")
        server.dropdb("sub")
        dropped_roles(server, "plain")


def test_restored_as_a_role(server, database, workspace, restored):
    database("plain", "create schema s; create table s.t as select 1 as v; create sequence q")
    server.psql("postgres", "create role as_this")
    try:
        ws = workspace(["plain"])
        ws.dump()
        ws.run("restore", "dump", "demo", "latest", "--into", restored, "--role", "as_this", "--no-owner")
        assert server.value(restored, "select string_agg(distinct relowner::regrole::text, ',') from pg_class where oid >= 16384") == "as_this"
    finally:
        server.dropdb(restored)
        dropped_roles(server, "as_this")


def test_template0_of_another_provider(server, database, workspace, restored):
    """A libc database restored where initdb was told to use ICU stays a libc one."""
    database("libc", T)
    server.psql("postgres", "update pg_database set datlocprovider = 'i', daticulocale = 'und' where datname = 'template0'")
    try:
        ws = workspace(["libc"])
        backup = ws.dump()
        ws.run("restore", "dump", "demo", "latest", "--into", restored)
        assert compare_databases(server, "libc", restored) == []
        server.dropdb(restored)
        script(server, ws, backup, "libc", restored)
        assert compare_databases(server, "libc", restored) == []
    finally:
        server.psql("postgres", "update pg_database set datlocprovider = 'c', daticulocale = null where datname = 'template0'")


@pytest.mark.skipif(not (shutil.which("localedef") and os.path.exists("/usr/share/i18n/locales/de_DE")), reason="no sources of locales")
def test_money_of_another_locale(workspace, monkeypatch):
    """What one locale writes as 1.234,56 another reads as something else."""
    import pg
    before = pg.clean_environment
    other = Server("money")
    subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", other.root / "de_DE.utf8"], check=False)
    shutil.copytree("/usr/lib/locale/C.utf8", other.root / "C.utf8")
    monkeypatch.setattr(pg, "clean_environment", lambda **extra: before(LOCPATH=str(other.root), **extra))
    try:
        other.start()
        other.createdb("german")
        other.psql("postgres", "alter database german set lc_monetary = 'de_DE.utf8'")
        other.psql("german", "create table t as select 1234.56::numeric::money as v, (-0.5)::numeric::money as w")
        ws = workspace(["german"], server=other)
        backup = ws.dump()
        ws.run("restore", "dump", "demo", "latest", "--into", "again")
        assert compare_databases(other, "german", "again") == []
        other.dropdb("again")
        script(other, ws, backup, "german", "again")
        assert compare_databases(other, "german", "again") == []
        assert ws.manifest(backup)["databases"][0]["lc_monetary"] == "de_DE.utf8"
    finally:
        other.stop()


@pytest.mark.slow
def test_a_standby_is_dumped(workspace):
    """It has no rows of unlogged tables, and no unlogged sequences at all."""
    from pg import as_user, own
    primary, standby = Server("primary", {"wal_level": "replica"}), Server("standby")
    try:
        primary.start()
        primary.createdb("app")
        primary.psql("app", T + "; create sequence q; select nextval('q'); create unlogged sequence u; create unlogged table w as select 1 as v")
        shutil.rmtree(standby.data)
        subprocess.run([BINDIR / "pg_basebackup", "-R", "-h", primary.socket_dir, "-p", str(primary.port), "-U", "postgres",
                        "-c", "fast", "-D", standby.data], check=True, cwd="/", **as_user(standby.user))
        with open(standby.data / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write(f"port = {standby.port}\nunix_socket_directories = '{standby.socket_dir}'\n")
        own(standby.data, standby.user)
        standby.start()
        ws = workspace(["app"], server=standby)
        assert "public.w" in ws.run("run", "demo/nightly").err
        ws.run("restore", "dump", "demo", "latest", "--into", "again", "--target", primary.url())
        assert primary.value("again", "select nextval('q'), (select v from t), (select count(*) from w)") == "2|1|0"
    finally:
        standby.stop()
        primary.stop()
