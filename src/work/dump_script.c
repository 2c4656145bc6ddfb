/* restore.sh: restores the backup that it lies in with tar, zstd, psql and pg_restore alone, so
 * that nobody needs pgcairn to get their data back. */
#include <string.h>

#include "base/json.h"
#include "base/file.h"
#include "postgres/server.h"
#include "store/sha256.h"
#include "work/dump.h"
#include "work/shell.h"

enum { SCRIPT_LIMIT = 256 << 20, STATEMENTS_MAX = 100000, MARK_RANDOM = 16 };

static const char HEAD[] =
    "set -eu\n"
    "here=$(cd \"$(dirname \"$0\")\" && pwd)\n"
    "\n"
    "usage() {\n"
    "    cat <<'END'\n"
    "usage: sh restore.sh [--globals] [--no-check] [DATABASE [NEW_NAME]]\n"
    "\n"
    "Restores each database of this backup, or one of them, under its own name or a new one. The\n"
    "database must not exist yet. The server is chosen by libpq's variables: PGHOST, PGPORT, PGUSER,\n"
    "PGPASSWORD. Needs sh, GNU tar, zstd, psql and pg_restore, nothing else.\n"
    "\n"
    "  --globals    create roles first; errors of those that exist already do not matter\n"
    "  --no-check   do not compare the files with their SHA-256 first\n"
    "END\n"
    "}\n"
    "\n"
    "globals=no check=yes\n"
    "while [ $# -gt 0 ]; do\n"
    "    case $1 in\n"
    "    --globals) globals=yes ;;\n"
    "    --no-check) check=no ;;\n"
    "    -h | --help) usage; exit 0 ;;\n"
    "    -*) usage >&2; exit 2 ;;\n"
    "    *) break ;;\n"
    "    esac\n"
    "    shift\n"
    "done\n"
    "only=${1:-} new_name=${2:-}\n"
    "maintenance=${PGDATABASE:-postgres}\n"
    "work=$(mktemp -d)\n"
    "trap 'rm -rf \"$work\"' EXIT\n"
    "trap 'exit 1' INT TERM\n"
    "\n"
    "# What the rows were written with; see the session settings of pg_dump.\n"
    "PGOPTIONS='-c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=3 -c search_path='\n"
    "PGOPTIONS=\"$PGOPTIONS -c row_security=off -c xmloption=content -c statement_timeout=0\"\n"
    "PGOPTIONS=\"$PGOPTIONS -c lc_monetary=C -c array_nulls=on -c lock_timeout=0 -c default_transaction_read_only=off\"\n"
    "PGCLIENTENCODING=UTF8\n"
    "export PGOPTIONS PGCLIENTENCODING\n"
    "export PGCAIRN_TARGET\n"
    "\n"
    "# Rows arrive member by member, RELATION/NUMBER.copy; the loader of the database knows the COPY\n"
    "# statement of each relation.\n"
    "load_volumes() {\n"
    "    for volume in \"$here/$1\"/data-*.tar.zst; do\n"
    "        [ -e \"$volume\" ] || continue\n"
    "        echo \"  rows of $(basename \"$volume\")\"\n"
    "        zstd -dcq \"$volume\" >\"$work/pipe\" &\n"
    "        tar -x -f \"$work/pipe\" --to-command=\"sh '$work/load-$1.sh'\"\n"
    "        wait $!\n"
    "    done\n"
    "}\n"
    "mkfifo \"$work/pipe\"\n"
    "\n"
    "run_sql() {\n"
    "    psql -X -q -v ON_ERROR_STOP=1 -v \"target=$PGCAIRN_TARGET\" \"$@\" >\"$work/out\" || {\n"
    "        cat \"$work/out\" >&2\n"
    "        exit 1\n"
    "    }\n"
    "}\n";

static void add_checksums(struct buf *script, const json_t *manifest)
{
    size_t i;
    json_t *object;
    buf_add_text(script, "\nif [ $check = yes ]; then\n"
                         "    echo 'checking the files'\n"
                         "    (cd \"$here\" && sha256sum --quiet -c -) <<'END'\n");
    json_array_foreach(json_object_get(manifest, "objects"), i, object)
    {
        if (strcmp(json_text(object, "name"), "restore.sh") != 0)
            buf_addf(script, "%s  %s\n", json_text(object, "sha256"), json_text(object, "name"));
    }
    buf_add_text(script, "END\nfi\n");
}

/* mark: the line that ends a here-document. Names and comments may have lines of their own, and one
 * that was made to end the document would have the rest run by sh, so nobody can know it before. */
static void add_loader(struct buf *script, const json_t *database, const char *oid,
                       const char *mark)
{
    size_t i;
    json_t *table;
    buf_addf(script,
             "    cat >\"$work/load-%s.sh\" <<'%s'\n"
             "case $TAR_FILENAME in\n",
             oid, mark);
    json_array_foreach(json_object_get(database, "tables"), i, table)
    {
        _cleanup_(buf_clear) struct buf sql = BUF_INIT(1 << 20);
        buf_add_text(&sql, "COPY ");
        pg_add_qualified(&sql, json_text(table, "load_schema"), json_text(table, "load_name"));
        if (json_text(table, "columns")[0])
            buf_addf(&sql, " (%s)", json_text(table, "columns"));
        buf_add_text(&sql, " FROM stdin");
        pg_add_copy_options(&sql, json_text(database, "encoding"));
        buf_addf(script, "%lld/*) set -- ", (long long)json_number(table, "oid"));
        shell_add_quoted(script, buf_text(&sql));
        buf_add_text(script, " ;;\n");
    }
    buf_add_text(script, "*) echo \"no table for $TAR_FILENAME\" >&2; exit 1 ;;\n"
                         "esac\n"
                         "exec psql -X -q -v ON_ERROR_STOP=1 -d \"$PGCAIRN_TARGET\" -c \"$1\"\n");
    buf_addf(script, "%s\n", mark);
}

static int add_properties(struct buf *script, const json_t *database, const char *mark,
                          struct error *err)
{
    _cleanup_(strv_clear) struct strv statements = STRV_INIT(STATEMENTS_MAX);
    int rc = pg_database_property_sql(database, ":\"target\"", true, true, &statements, err);
    if (rc)
        return rc;
    buf_addf(script, "    run_sql -d \"$maintenance\" <<'%s'\n", mark);
    for (size_t i = 0; i < statements.count; i++)
        buf_addf(script, "%s;\n", statements.items[i]);
    buf_addf(script, "%s\n", mark);
    return 0;
}

/* CREATE DATABASE, in its tablespace if the target has that. */
static int add_creation(struct buf *script, const json_t *database, const char *mark,
                        struct error *err)
{
    const char *tablespace = json_text(database, "tablespace");
    buf_addf(script, "    run_sql -d \"$maintenance\" <<'%s'\n", mark);
    buf_add_text(script,
                 "SELECT coalesce((SELECT ' TABLESPACE = ' || pg_catalog.quote_ident(spcname) "
                 "FROM pg_catalog.pg_tablespace WHERE spcname = ");
    pg_add_literal(script, tablespace);
    buf_add_text(script, "), '') AS place \\gset\n");
    int rc = pg_create_database_sql(database, ":\"target\"", script, err);
    buf_addf(script, " :place;\n%s\n", mark);
    return rc;
}

/* psql reads the name of a database as a connection string when it holds '=' or begins like a URI;
 * quoted as dbname='...' it is always a name. */
static int add_database(struct buf *script, const json_t *database, const char *rights_sql,
                        const char *mark, struct error *err)
{
    char oid[24];
    snprintf(oid, sizeof(oid), "%lld", (long long)json_number(database, "oid"));
    buf_addf(script, "\nrestore_%s() {\n    target=${1:-", oid);
    buf_add_text(script, "$2}\n");
    buf_add_text(script, "    echo \"restoring database $target\"\n");
    add_loader(script, database, oid, mark);
    buf_add_text(script, "    PGCAIRN_TARGET=$target\n");
    int rc = add_creation(script, database, mark, err);
    if (rc)
        return rc;
    buf_add_text(script,
                 "    escaped=$(printf %s \"$target\" | sed \"s/[\\\\\\\\']/\\\\\\\\&/g\")\n"
                 "    PGCAIRN_TARGET=\"dbname='$escaped'\"\n");
    if (rights_sql)
        buf_addf(script, "    run_sql -d \"$PGCAIRN_TARGET\" <<'%s'\n%s;\n%s\n", mark, rights_sql,
                 mark);
    buf_addf(script,
             "    pg_restore --exit-on-error --section=pre-data -d \"$PGCAIRN_TARGET\" "
             "\"$here/%s/schema.pgdump\"\n"
             "    load_volumes %s\n"
             "    run_sql -d \"$PGCAIRN_TARGET\" -f \"$here/%s/sequences.sql\"\n"
             "    if [ -e \"$here/%s/large-objects.pgdump\" ]; then\n"
             "        pg_restore --exit-on-error -d \"$PGCAIRN_TARGET\" "
             "\"$here/%s/large-objects.pgdump\"\n"
             "    fi\n"
             "    echo '  indexes and constraints'\n"
             "    pg_restore --section=post-data -d \"$PGCAIRN_TARGET\" "
             "\"$here/%s/schema.pgdump\"\n"
             "    PGCAIRN_TARGET=$target\n",
             oid, oid, oid, oid, oid, oid);
    rc = add_properties(script, database, mark, err);
    buf_add_text(script, "    PGCAIRN_TARGET=\"dbname='$escaped'\"\n"
                         "    (run_sql -d \"$PGCAIRN_TARGET\" -c 'ANALYZE') ||\n"
                         "        echo 'ANALYZE failed: some tables have no statistics' >&2\n}\n");
    return rc;
}

static void add_calls(struct buf *script, const json_t *manifest)
{
    size_t i;
    json_t *database;
    buf_add_text(script, "\nif [ $globals = yes ]; then\n"
                         "    zstd -dcq \"$here/globals.sql.zst\" | psql -X -q -d \"$maintenance\" "
                         ">\"$work/out\"\n"
                         "fi\nfound=no\n");
    json_array_foreach(json_object_get(manifest, "databases"), i, database)
    {
        buf_add_text(script, "name=");
        shell_add_quoted(script, json_text(database, "name"));
        buf_addf(script,
                 "\nif [ -z \"$only\" ] || [ \"$only\" = \"$name\" ]; then\n"
                 "    found=yes\n    restore_%lld \"$new_name\" \"$name\"\nfi\n",
                 (long long)json_number(database, "oid"));
    }
    buf_add_text(script, "[ $found = yes ] || { echo \"this backup has no database $only\" >&2; "
                         "exit 1; }\necho done\n");
}

int dump_write_script(struct dump *dump, json_t *manifest, struct error *err)
{
    _cleanup_(buf_clear) struct buf script = BUF_INIT(SCRIPT_LIMIT);
    buf_addf(&script, "#!/bin/sh\n# Restores backup %s of cluster %s without pgcairn.\n",
             dump->making.started.id, dump->work->policy->cluster);
    buf_add_text(&script, HEAD);
    add_checksums(&script, manifest);
    size_t i;
    json_t *database;
    char mark[MARK_RANDOM + 1];
    const char *rights_sql = pg_public_schema_sql(dump->programs.major);
    int rc = file_random_name(mark, MARK_RANDOM, err);
    json_array_foreach(json_object_get(manifest, "databases"), i, database)
    {
        if (!rc)
            rc = add_database(&script, database, rights_sql, mark, err);
    }
    add_calls(&script, manifest);
    if (!rc)
        rc = buf_failed(&script, "restore.sh", err);
    char key[STORE_KEY_MAX + 1];
    dump_key(dump, "restore.sh", key);
    struct store_object object = {.size = (int64_t)script.length};
    if (!rc)
        rc = sha256_of(buf_text(&script), script.length, object.sha256, err);
    if (!rc)
        rc = store_put(dump->store, key, buf_text(&script), script.length, STORE_RETAIN, err);
    return rc ? rc : dump_add_object(dump, "restore.sh", &object, object.size, err);
}
