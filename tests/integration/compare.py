"""Are two databases of one server equal: in schema, in every row, and in what belongs to them?

assert_equal_databases(server, "app", "restored") compares
  - pg_dump --schema-only of both, without the lines that name a version or a random key;
  - every table: the number of rows and an order-independent checksum of their text;
  - every sequence, every large object;
  - the database: encoding, locale, owner, rights, settings, comment.
Partitions below a hash-partitioned table count through their topmost root, because the leaf that a
row belongs to follows from OIDs that a restore gives anew.
"""
import difflib

from pg import quote_literal

TABLES = r"""
with recursive
    tree as (
        select c.oid as root, c.oid, c.relkind, p.partstrat
        from pg_catalog.pg_class c left join pg_catalog.pg_partitioned_table p on p.partrelid = c.oid
        where c.relkind = 'p' and not c.relispartition
        union all
        select t.root, c.oid, c.relkind, p.partstrat
        from tree t
        join pg_catalog.pg_inherits i on i.inhparent = t.oid
        join pg_catalog.pg_class c on c.oid = i.inhrelid
        left join pg_catalog.pg_partitioned_table p on p.partrelid = c.oid),
    hashed as (select distinct root from tree where partstrat = 'h')
select n.nspname as schema, c.relname as name,
       pg_catalog.format('%I.%I', n.nspname, c.relname) as quoted,
       c.relkind = 'p' as whole
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg\_t%'
  and (c.oid in (select root from hashed)
       or (c.relkind in ('r', 'm') and c.relispopulated
           and c.oid not in (select t.oid from tree t join hashed h using (root))))
order by 1, 2
"""

SEQUENCES = r"""
select pg_catalog.format('%I.%I', n.nspname, c.relname) as quoted
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'S' order by 1
"""

LARGE_OBJECTS = """
select m.oid::text, pg_catalog.md5(pg_catalog.lo_get(m.oid)) as md5,
       pg_catalog.pg_get_userbyid(m.lomowner) as owner,
       (select pg_catalog.array_agg(a::text order by a::text) from pg_catalog.unnest(m.lomacl) a) as acl,
       pg_catalog.obj_description(m.oid, 'pg_largeobject') as comment
from pg_catalog.pg_largeobject_metadata m order by m.oid
"""

DATABASE = """
select pg_catalog.pg_encoding_to_char(d.encoding) as encoding, d.datcollate, d.datctype,
       d.datconnlimit, d.datallowconn, d.datistemplate,
       (select pg_catalog.jsonb_object_agg(key, value)
        from pg_catalog.jsonb_each(pg_catalog.to_jsonb(d))
        where key in ('datlocprovider', 'daticulocale', 'datlocale', 'daticurules')) as locale,
       pg_catalog.pg_get_userbyid(d.datdba) as owner,
       (select pg_catalog.array_agg(a::text order by a::text) from pg_catalog.unnest(d.datacl) a) as acl,
       (select pg_catalog.array_agg(coalesce(r.rolname, '') || ' ' || x order by r.rolname, x)
        from pg_catalog.pg_db_role_setting s
        left join pg_catalog.pg_roles r on r.oid = s.setrole, pg_catalog.unnest(s.setconfig) x
        where s.setdatabase = d.oid) as settings,
       pg_catalog.shobj_description(d.oid, 'pg_database') as comment
from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()
"""

BATCH = 200  # queries of one UNION ALL


def schema_text(server, database, *options):
    """pg_dump's SQL without the lines that differ from run to run or by version."""
    text = server.program("pg_dump", "--schema-only", *options, database=database)
    return [line for line in text.splitlines()
            if not line.startswith(("\\restrict", "\\unrestrict", "-- Dumped "))]


def union(server, database, queries):
    rows = []
    for start in range(0, len(queries), BATCH):
        rows += server.json(database, " union all ".join(queries[start:start + BATCH]))
    return rows


def table_sums(server, database):
    """{quoted name: [rows, checksum]} of every table that holds rows of its own."""
    queries = [
        f"select {quote_literal(t['quoted'])} as name, pg_catalog.count(*) as rows, "
        "coalesce(pg_catalog.sum(pg_catalog.hashtextextended(pgcairn_row::text, 0)), 0)::text as sum "
        f"from {'' if t['whole'] else 'only '}{t['quoted']} as pgcairn_row"
        for t in server.json(database, TABLES)]
    return {r["name"]: [r["rows"], r["sum"]] for r in union(server, database, queries)}


def sequence_values(server, database):
    queries = [f"select {quote_literal(s['quoted'])} as name, last_value::text, is_called from {s['quoted']}"
               for s in server.json(database, SEQUENCES)]
    return {r["name"]: [r["last_value"], r["is_called"]] for r in union(server, database, queries)}


def large_objects(server, database):
    return {r["oid"]: r for r in server.json(database, LARGE_OBJECTS)}


def differences(title, left, right):
    """One line per key whose values differ."""
    return [f"{title} {key}: {left.get(key, 'absent')} became {right.get(key, 'absent')}"
            for key in sorted({*left, *right}) if left.get(key) != right.get(key)]


def compare_databases(server, left, right, database_properties=True, dump_options=()):
    """Lines that say what differs; empty when the databases are equal."""
    found = list(difflib.unified_diff(schema_text(server, left, *dump_options),
                                      schema_text(server, right, *dump_options),
                                      left, right, lineterm="", n=1))
    found += differences("rows of", table_sums(server, left), table_sums(server, right))
    found += differences("sequence", sequence_values(server, left), sequence_values(server, right))
    found += differences("large object", large_objects(server, left), large_objects(server, right))
    if database_properties:
        found += differences("database", server.json(left, DATABASE)[0], server.json(right, DATABASE)[0])
    return found


def assert_equal_databases(server, left, right, **options):
    found = compare_databases(server, left, right, **options)
    assert not found, f"{left} and {right} differ:\n" + "\n".join(found[:200])
    assert table_sums(server, left), f"{left} holds no table: the comparison proves nothing"


