"""A dump restored is equal to what was dumped: the zoo, an application, and the ways to restore."""
import json
import os
import shutil
import subprocess

import pytest
from cairn import BINARY, assert_error, tar_members, zstd_plain
from compare import assert_equal_databases, compare_databases, table_sums
from pg import BINDIR, Server, wait_until

# The zoo's rows by hash of an enum may move to another leaf; other tables' rows can be counted.
FOREIGN = ("from_file", "Remote Table")


# What is about PostgreSQL, and of a size and shape that other tests have too, runs with one store.
one_store = pytest.mark.stores("file")


@pytest.fixture(scope="module")
def zoo_dump(tmp_path_factory, server, zoo, store):
    """One dump of the zoo that many tests read: (workspace, backup id, stderr of the run)."""
    from cairn import Workspace
    ws = Workspace(tmp_path_factory.mktemp("zoo"), server, ["zoo"], store=store)
    run = ws.run("run", "demo/nightly", json=True)
    return ws, run.json["backup_id"], run.err


@pytest.fixture(scope="module")
def app_dump(tmp_path_factory, server, app, store):
    from cairn import Workspace
    ws = Workspace(tmp_path_factory.mktemp("app"), server, ["app"], store=store)
    return ws, ws.dump()


# ---- the comparison itself ----

@pytest.mark.parametrize("change, seen", [
    ("update t set v = 'B' where id = 2", "rows of"),
    ("delete from t where id = 3", "rows of"),
    ("insert into t values (1, 'a')", "rows of"),
    ("alter table t alter column v set default 'x'", "DEFAULT"),
    ("select nextval('s')", "sequence"),
    ("select setval('s', 1, true)", "sequence"),
    ("select lo_put(4711, 0, '\\xff')", "large object"),
    ("comment on table t is 'x'", "COMMENT"),
    ("grant select on t to public", "GRANT"),
    ("alter database twin_b set work_mem = '5MB'", "database settings"),
    ("comment on database twin_b is 'x'", "database comment"),
])
def test_comparison_sees(server, database, change, seen):
    fill = """create table t (id int, v text); insert into t values (1, 'a'), (2, 'b'), (3, 'c');
              create sequence s; select lo_from_bytea(4711, '\\x00')"""
    database("twin_a", fill)
    database("twin_b", fill)
    assert compare_databases(server, "twin_a", "twin_b") == []
    server.psql("twin_b", change)
    assert seen in "\n".join(compare_databases(server, "twin_a", "twin_b"))


# ---- whole databases ----

def test_zoo_comes_back_equal(server, zoo, zoo_dump, restored):
    ws, backup, _ = zoo_dump
    ws.run("restore", "dump", "demo", backup, "--into", restored)
    assert_equal_databases(server, zoo, restored)


def test_app_comes_back_equal(server, app, app_dump, restored):
    ws, _ = app_dump
    run = ws.run("restore", "dump", "demo", "latest", "--into", restored, "--jobs", "3", json=True)
    assert isinstance(run.json, dict)
    assert_equal_databases(server, app, restored)


@one_store
def test_restored_rows_have_statistics(server, app_dump, restored):
    ws, _ = app_dump
    ws.run("restore", "dump", "demo", "latest", "--into", restored)
    missing = server.psql(restored, """select relname from pg_class where relkind = 'r' and reltuples < 0
                                       and relnamespace in ('public'::regnamespace, 'service'::regnamespace)""")
    assert missing == ""


def test_manifest_counts_every_table(server, zoo, zoo_dump):
    ws, backup, _ = zoo_dump
    manifest = ws.manifest(backup)
    (entry,) = [d for d in manifest["databases"] if d["name"] == "zoo"]
    counted = {(t["schema"], t["name"]): t["rows"] for t in entry["tables"]}
    for quoted, (rows, _) in table_sums(server, zoo).items():
        names = server.json(zoo, f"select n.nspname, c.relname, c.relkind from pg_class c join pg_namespace n "
                                 f"on n.oid = relnamespace where c.oid = $q${quoted}$q$::regclass")[0]
        key = (names["nspname"], names["relname"])
        if names["relkind"] == "r" and key != ("zoo_config", "internals"):
            expected = 2 if key == ("zoo_config", "rules") else rows
            assert counted.get(key) == expected, f"{quoted}: {counted.get(key)} rows in the manifest, {rows} in the table"
    assert not {name for _, name in counted} & {*FOREIGN, "internals", "filled"}
    assert entry["rows"] == sum(counted.values())
    assert manifest["bytes_stored"] == sum(o["size"] for o in manifest["objects"])
    assert {e["name"] for e in entry["extensions"]} >= {"hstore", "citext", "zoo_config"}
    assert entry["migration"]["stamp"]


def test_every_object_is_in_the_manifest(zoo_dump):
    ws, backup, _ = zoo_dump
    folder = ws.backup_key(backup)
    stored = {k.removeprefix(folder): size for k, size in ws.repository.sizes(folder).items()}
    listed = {o["name"]: o["size"] for o in ws.manifest(backup)["objects"]}
    for alone in ("manifest.json", "started.json"):
        stored.pop(alone)
    stored.pop("restore.sh"), listed.pop("restore.sh", None)
    assert stored == listed


@one_store
def test_files_of_a_backup_are_private(zoo_dump):
    ws, backup, _ = zoo_dump
    folder = ws.repository.path / ws.backup_key(backup)
    modes = {str(p): oct(p.stat().st_mode & 0o777) for p in folder.rglob("*") if p.is_file() and p.stat().st_mode & 0o077}
    assert not modes, "backups hold secrets and are readable by others"


@one_store
def test_foreign_tables_are_skipped_with_a_notice(zoo_dump):
    _, _, err = zoo_dump
    for name in FOREIGN:
        assert name in err


def test_volumes_are_plain_tar_zst(zoo_dump):
    ws, backup, _ = zoo_dump
    names = [name for volume in ws.volumes(backup) for name in tar_members(ws.repository.read(volume))]
    assert names and len(names) == len(set(names))
    for name in names:
        relation, member = name.split("/")
        assert relation.isdigit() and member.endswith(".copy")


def test_passwords_of_roles_are_in_globals(zoo_dump):
    ws, backup, _ = zoo_dump
    sql = zstd_plain(ws.repository.read(ws.backup_key(backup, "globals.sql.zst"))).decode()
    assert "zoo_login" in sql and "SCRAM-SHA-256" in sql
    assert ws.manifest(backup)["globals"]["role_passwords"] is True


@one_store
def test_no_role_passwords_without_the_right_to_read_them(server, database, workspace):
    """pg_authid needs a superuser; without one the dump goes on without passwords, and says so."""
    server.psql("postgres", "create role plain_reader login")
    try:
        database("owned", "create table t as select generate_series(1, 5) v", ["-O", "plain_reader"])
        server.psql("owned", "alter table t owner to plain_reader")
        ws = workspace(["owned"], connection=server.url("owned", "plain_reader"))
        run = ws.run("run", "demo/nightly", json=True)
        manifest = ws.manifest(run.json["backup_id"])
        assert manifest["globals"]["role_passwords"] is False
        assert "password" in run.err
    finally:
        server.dropdb("owned")
        server.psql("postgres", "drop role plain_reader")


def roles(server):
    return server.value("postgres", "select string_agg(rolname, ',' order by oid) from pg_roles")


@one_store
@pytest.mark.parametrize("name, fill, options", [
    ("nothing", "", ()),
    ("Mixed \"Case\" é 'x' %s", "create table t as select 1 as v", ()),
    ("latin", "create table \"tàble\" (v text); insert into \"tàble\" values ('é'), ('ÿ\\')", ("-E", "LATIN1", "--locale=C")),
    ("ascii", "create table t (v bytea); insert into t values ('\\xff00')", ("-E", "SQL_ASCII", "--locale=C")),
    ("dbname=x", "create table t as select 1 as v", ()),
    ("german", "create table t (n numeric, d date, f float8, m money); insert into t values (1.5, '2024-02-01', 0.1, 3.14);"
     "alter database german set datestyle = 'German'; alter database german set extra_float_digits = -15;"
     "alter database german set default_transaction_read_only = on; alter database german set bytea_output = escape", ()),
])
def test_databases_of_every_kind(server, database, workspace, restored, name, fill, options):
    database(name, fill, options)
    before = roles(server)
    ws = workspace([name])
    ws.dump()
    ws.run("restore", "dump", "demo", "latest", "--into", restored)
    found = compare_databases(server, name, restored)
    assert not found, "\n".join(found)
    assert roles(server) == before, "a restore made roles that were there"


@one_store
def test_all_databases_in_one_dump(server, database, workspace):
    """Without databases: all that accept connections, templates left out; restored under their names."""
    for name in ("one", "two"):
        database(name, f"create table t as select '{name}' as v")
    ws = workspace([], name="all", connection=server.url("postgres"))
    backup = ws.dump()
    names = {d["name"] for d in ws.manifest(backup)["databases"]}
    assert names == set(server.databases()) - {"template0", "template1"}
    server.dropdb("one")
    ws.run("restore", "dump", "demo", "latest", "--database", "one")
    assert server.value("one", "select v from t") == "one"
    assert_error(ws.run("restore", "dump", "demo", "latest", "--into", "x", expect=2), "--database")


@one_store
def test_a_dropped_database_comes_back(server, database, workspace):
    """The policy's connection names the very database that was lost."""
    database("lost", "create table t as select 'found' as v")
    ws = workspace(["lost"])
    ws.dump()
    server.dropdb("lost")
    ws.run("restore", "dump", "demo", "latest")
    assert server.value("lost", "select v from t") == "found"


@one_store
@pytest.mark.parametrize("patterns, expected", [
    (["one*"], {"one_a", "one_b"}),
    (["one_a", "two"], {"one_a", "two"}),
    (["?wo"], {"two"}),
])
def test_database_globs(database, workspace, patterns, expected):
    for name in ("one_a", "one_b", "two"):
        database(name, "create table t as select 1 as v")
    ws = workspace(patterns, connection=None)
    ws.policy["postgres"]["connection"] = ws.server.url("postgres")
    ws.write()
    assert {d["name"] for d in ws.manifest(ws.dump())["databases"]} == expected


@one_store
def test_one_snapshot(server, database, workspace, restored):
    """Money moves between accounts all the time; in any snapshot the sum is the same."""
    accounts = 2000
    database("bank", f"""
        create table left_side as select i as id, 100::bigint as money from generate_series(1, {accounts}) i;
        create table right_side as select i as id, 100::bigint as money, repeat(md5(i::text), 200) as ballast
        from generate_series(1, {accounts}) i;
        create table moves (id bigserial, amount int)""")
    move = r"""
        \set id random(1, 2000)
        \set amount random(1, 50)
        begin;
        update left_side set money = money - :amount where id = :id;
        update right_side set money = money + :amount where id = :id;
        insert into moves (amount) values (:amount);
        commit;
    """
    script = server.root / "move.sql"
    script.write_text(move)
    ws = workspace(["bank"])
    bench = subprocess.Popen([BINDIR / "pgbench", "-n", "-c", "2", "-T", "60", "-f", script, "bank"],
                             env=server.environment("bank"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        server.wait_for("select count(*) > 50 from moves", "bank")
        before = int(server.value("bank", "select count(*) from moves"))
        ws.dump()
        assert int(server.value("bank", "select count(*) from moves")) > before, "nothing moved during the dump"
    finally:
        bench.terminate()
        bench.wait()
    ws.run("restore", "dump", "demo", "latest", "--into", restored)
    total = "select (select sum(money) from left_side) + (select sum(money) from right_side)"
    assert int(server.value(restored, total)) == 2 * accounts * 100
    moved = "select (select {0} * 100 - sum(money) from left_side) = (select sum(amount) from moves)".format(accounts)
    assert server.value(restored, moved) == "t"
    assert server.value(restored, "select nextval('moves_id_seq') > (select max(id) from moves)") == "t"


@pytest.mark.slow
def test_big_table_is_split_and_comes_back(server, database, workspace, restored):
    """A table of about 110 MB is read by ranges of blocks; bloat makes pages and rows disagree."""
    database("wide", """
        create table big (id bigint primary key, a text, b text);
        insert into big select i, md5(i::text), repeat(md5((i * 7)::text), 6) from generate_series(1, 400000) i;
        delete from big where id between 100000 and 200000;
        update big set a = 'changed' where id % 50 = 0""")
    ws = workspace(["wide"])
    backup = ws.dump()
    members = {name for volume in ws.volumes(backup) for name in tar_members(ws.repository.read(volume))}
    assert len(members) > 10 and len(ws.volumes(backup)) == 2
    ws.run("restore", "dump", "demo", "latest", "--into", restored)
    assert_equal_databases(server, "wide", restored)


@pytest.mark.slow
@pytest.mark.stores("file")
def test_a_value_of_100_mb(server, database, workspace, restored):
    database("huge", """
        create table huge (id int, v text);
        insert into huge select 1, string_agg(md5(i::text), '') from generate_series(1, 3276800) i;
        insert into huge values (2, E'small\\n')""")
    assert int(server.value("huge", "select max(length(v)) from huge")) > 100_000_000
    ws = workspace(["huge"])
    ws.dump()
    ws.run("restore", "dump", "demo", "latest", "--into", restored)
    assert_equal_databases(server, "huge", restored)


@one_store
@pytest.mark.slow
def test_thousands_of_tables(server, database, workspace, restored):
    database("many", """
        select format('create table t%s (id int primary key, v text); insert into t%s values (%s, %L)', i, i, i, i)
        from generate_series(1, 1500) i \\gexec""")
    ws = workspace(["many"])
    ws.dump()
    ws.run("restore", "dump", "demo", "latest", "--into", restored)
    assert_equal_databases(server, "many", restored)


# ---- without pgcairn ----

def test_restore_script_needs_no_pgcairn(server, zoo, zoo_dump, restored, tmp_path):
    """The folder of the backup, copied elsewhere; a PATH with sh's tools, tar, zstd and PostgreSQL's."""
    ws, backup, _ = zoo_dump
    copy = ws.fetch_backup(backup, tmp_path / "copied elsewhere")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "tar", "zstd", "cat", "mktemp", "rm", "mkfifo", "basename", "dirname", "sed", "sha256sum"):
        (tools / name).symlink_to(shutil.which(name))
    for name in ("psql", "pg_restore"):
        (tools / name).symlink_to(BINDIR / name)
    env = {"PATH": str(tools), "HOME": str(tmp_path), "LC_ALL": "C.UTF-8", "PGHOST": str(server.socket_dir),
           "PGPORT": str(server.port), "PGUSER": "postgres"}
    assert shutil.which(BINARY.name, path=env["PATH"]) is None
    done = subprocess.run([tools / "sh", copy / "restore.sh", "zoo", restored], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_equal_databases(server, zoo, restored)


def test_restore_script_refuses_a_changed_file(server, app_dump, restored, tmp_path):
    ws, backup = app_dump
    copy = ws.fetch_backup(backup, tmp_path / "copy")
    volume = next(copy.glob("*/data-*.tar.zst"))
    data = bytearray(volume.read_bytes())
    data[len(data) // 2] ^= 1
    volume.write_bytes(data)
    done = subprocess.run(["sh", copy / "restore.sh", "app", restored], env=server.environment("postgres"),
                          capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert restored not in server.databases()


def test_export_plain(server, zoo, zoo_dump, restored):
    """Plain SQL that psql loads into an empty database."""
    ws, backup, _ = zoo_dump
    sql = ws.run("export", "demo", backup, "--database", "zoo", "--format", "plain").out
    server.createdb(restored)
    server.program("psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-o", os.devnull, "-f", "-", database=restored, input=sql.encode())
    assert_equal_databases(server, zoo, restored, database_properties=False)


# ---- some of it ----

ORDERS = "\"Orders\""
TABLE_CASES = [
    # patterns, tables that come, foreign keys that come
    (['"Models"'], {"Models"}, 0),
    (['"Models"', ORDERS], {"Models", "Orders"}, 1),
    ([ORDERS], {"Orders"}, 0),
    (["public.*alembic*"], {"alembic_version"}, 0),
    (["drizzle.*"], {"__drizzle_migrations"}, 0),
    (["service.set?ings", "service.work*"], {"settings", "workspaces", "workflows"}, 1),
    (['"CryptoPrice_2024"'], {"CryptoPrice_2024"}, 0),
]


@one_store
@pytest.mark.parametrize("patterns, tables, foreign_keys", TABLE_CASES, ids=[" ".join(c[0]) for c in TABLE_CASES])
def test_tables_by_pattern(server, app, app_dump, database, patterns, tables, foreign_keys):
    """Into a database that exists: definition, owned sequences, rows, indexes, constraints, triggers."""
    ws, _ = app_dump
    database("some", """create extension pg_trgm; create schema service; create schema drizzle;
        create type "OrderStatus" as enum ('OPEN', 'CLOSED', 'CANCELLED');
        create function service.touch_updated_at() returns trigger language plpgsql as 'begin new.updated_at := now(); return new; end'""")
    options = [word for p in patterns for word in ("--table", p)]
    ws.run("restore", "dump", "demo", "latest", "--database", "app", "--into", "some", *options)
    source, got = table_sums(server, app), table_sums(server, "some")
    assert {n.split(".")[-1].strip('"') for n in got} == tables
    for name, rows in got.items():
        assert rows == source[name], name
    assert int(server.value("some", "select count(*) from pg_constraint where contype = 'f'")) == foreign_keys
    indexes = """select coalesce(string_agg(indexdef, ';' order by indexdef), '') from pg_indexes
                 where tablename = any(string_to_array('{}', ','))""".format(",".join(sorted(tables)))
    if "CryptoPrice_2024" not in tables:
        assert server.value("some", indexes) == server.value(app, indexes)
    # The same tables again are in the way.
    assert_error(ws.run("restore", "dump", "demo", "latest", "--database", "app", "--into", "some", *options, expect=(1, 2)),
                 "already has")
    assert table_sums(server, "some") == got


@one_store
@pytest.mark.parametrize("pattern", ["models", '"models"', "nosuch.*", "service.agents_x"])
def test_a_pattern_without_match_is_an_error(server, app_dump, database, pattern):
    ws, _ = app_dump
    database("some")
    assert_error(ws.run("restore", "dump", "demo", "latest", "--into", "some", "--table", pattern, expect=(1, 2)), pattern)
    assert table_sums(server, "some") == {}


# ---- what a restore must not do ----

def test_dry_run_changes_nothing(server, app_dump, restored):
    ws, backup = app_dump
    before = (server.databases(), server.value("postgres", "select count(*) from pg_roles"))
    run = ws.run("restore", "dump", "demo", "latest", "--into", restored, "--dry-run", json=True)
    assert isinstance(run.json["plan"], dict) and backup in run.out
    assert ws.run("restore", "dump", "demo", "latest", "--into", restored, "--dry-run").out.strip()
    assert (server.databases(), server.value("postgres", "select count(*) from pg_roles")) == before


@one_store
@pytest.mark.parametrize("content", [
    "create table in_the_way (v int)", "create view in_the_way as select 1 as v",
    "create function in_the_way() returns int language sql as 'select 1'", "create schema in_the_way",
    "create type in_the_way as enum ('a')",
])
def test_a_target_that_is_not_empty_is_refused(server, app_dump, database, content):
    ws, _ = app_dump
    database("full", content)
    run = ws.run("restore", "dump", "demo", "latest", "--into", "full", expect=(1, 2))
    assert_error(run, "full")
    assert "in_the_way" in server.program("pg_dump", "-s", database="full")
    assert "Models" not in server.program("pg_dump", "-s", database="full")


@one_store
def test_existing_roles_are_not_altered(server, database, workspace):
    """Missing roles are made; those that exist stay as they are, and what differs is listed."""
    server.psql("postgres", """create role keeper login connection limit 3; create role goner nologin;
                               create role member in role keeper""")
    try:
        database("owned", "create table t as select 1 as v; alter table t owner to goner; grant select on t to keeper")
        ws = workspace(["owned"])
        ws.dump()
        server.dropdb("owned")
        server.psql("postgres", "drop role goner; alter role keeper connection limit 9 nologin")
        run = ws.run("restore", "dump", "demo", "latest")
        assert server.value("postgres", "select rolconnlimit, rolcanlogin from pg_roles where rolname = 'keeper'") == "9|f"
        assert "keeper" in run.out + run.err
        assert server.value("owned", "select pg_get_userbyid(relowner) from pg_class where relname = 't'") == "goner"
    finally:
        server.dropdb("owned")
        server.psql("postgres", "drop role if exists goner; drop role member; drop role keeper")


@one_store
def test_no_owner_no_privileges(server, zoo_dump, restored):
    ws, backup, _ = zoo_dump
    ws.run("restore", "dump", "demo", backup, "--into", restored, "--no-owner", "--no-privileges")
    schema = server.program("pg_dump", "-s", database=restored)
    assert "OWNER TO zoo_owner" not in schema and "GRANT SELECT ON TABLE" not in schema


@one_store
@pytest.mark.slow
def test_into_another_server(app_dump, server, zoo_dump):
    """--target: roles that are missing there come, and an extension that is missing is told first."""
    other = Server("other")
    try:
        (other.sharedir / "extension/zoo_config.control").unlink()
        other.start()
        ws, _ = app_dump
        ws.run("restore", "dump", "demo", "latest", "--target", other.url())
        assert table_sums(other, "app") == table_sums(server, "app")
        assert other.value("postgres", "select rolconnlimit from pg_roles where rolname = 'zoo_login'") == "7"
        ws, backup, _ = zoo_dump
        run = ws.run("restore", "dump", "demo", backup, "--target", other.url(), expect=1)
        assert_error(run, "zoo_config")
        assert "zoo" not in other.databases()
    finally:
        other.stop()


@one_store
def test_secrets_are_not_in_argv(server, app, workspace, restored):
    """Neither pgcairn nor its children show a password to those who list processes."""
    from cairn import PASSWORD
    ws = workspace(["app"], connection=server.url("app", password=PASSWORD))
    seen = set()

    def look():
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/cmdline", "rb") as file:
                        seen.add(file.read().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    pass

    for command in (["run", "demo/nightly"], ["restore", "dump", "demo", "latest", "--into", restored]):
        with ws.start(*command) as started:
            wait_until(lambda: look() or not started.running(), 120, "the end")
            started.wait()
    assert any("pg_dump" in line for line in seen), "no pg_dump was seen; the test proves nothing"
    assert not [line for line in seen if PASSWORD in line]


def test_show(zoo_dump):
    ws, backup, _ = zoo_dump
    text = ws.run("show", "demo", backup).out
    for word in (backup, "zoo", "hstore", "bulk"):
        assert word in text
    assert json.loads(ws.run("show", "demo", backup, json=True).out)
