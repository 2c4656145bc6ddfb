/* show: one backup's manifest for people, or as it is with --json. */
#include <string.h>

#include "base/json.h"
#include "base/table.h"
#include "base/units.h"
#include "command/commands.h"
#include "command/opened.h"
#include "repository/catalogue.h"
#include "repository/manifest.h"

static void print_database_head(const json_t *database)
{
    const json_t *migration = json_object_get(database, "migration");
    size_t i;
    json_t *item;
    char bytes[UNITS_TEXT_MAX];
    printf("\ndatabase %s: %lld rows, %s, %s, owner %s\n", json_text(database, "name"),
           (long long)json_number(database, "rows"),
           size_format(json_number(database, "bytes"), bytes), json_text(database, "encoding"),
           json_text(database, "owner"));
    if (json_is_object(migration))
        printf("  migration   %s %s %s\n", json_text(migration, "tool"),
               json_text(migration, "stamp"), json_text(migration, "applied_at"));
    json_array_foreach(json_object_get(database, "extensions"), i, item)
    {
        printf("  extension   %s %s\n", json_text(item, "name"), json_text(item, "version"));
    }
    json_array_foreach(json_object_get(database, "notices"), i, item)
    {
        printf("  notice      %s\n", json_string_value(item));
    }
}

static int print_tables(const json_t *database, struct error *err)
{
    _cleanup_(table_freep) struct table *table = NULL;
    int rc = table_new("  SCHEMA|TABLE|>ROWS|>BYTES|>VOLUMES", &table, err);
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(database, "tables"), i, entry)
    {
        char schema[512], rows[32], bytes[UNITS_TEXT_MAX], volumes[32];
        snprintf(schema, sizeof(schema), "  %s", json_text(entry, "schema"));
        snprintf(rows, sizeof(rows), "%lld", (long long)json_number(entry, "rows"));
        snprintf(volumes, sizeof(volumes), "%zu",
                 json_array_size(json_object_get(entry, "volumes")));
        size_format(json_number(entry, "bytes"), bytes);
        if (!rc)
            rc = table_row(table, err, schema, json_text(entry, "name"), rows, bytes, volumes);
    }
    return rc ? rc : table_print(table, stdout, err);
}

static void print_snapshot(const json_t *manifest)
{
    const json_t *wal = json_object_get(manifest, "wal");
    size_t i;
    json_t *item;
    printf("  ended       %s by the server's clock%s\n", json_text(manifest, "stopped_at"),
           json_is_true(json_object_get(json_object_get(manifest, "server"), "is_standby"))
               ? ", a standby"
               : "");
    printf("  WAL         timeline %lld, %s to %s\n", (long long)json_number(wal, "timeline"),
           json_text(wal, "start_lsn"), json_text(wal, "stop_lsn"));
    if (json_is_true(json_object_get(manifest, "checksums_failed")))
        printf("  damaged     the server had blocks with wrong checksums\n");
    json_array_foreach(json_object_get(manifest, "tablespaces"), i, item)
    {
        if (json_number(item, "oid"))
            printf("  tablespace  %s\n", json_text(item, "location"));
    }
    json_array_foreach(json_object_get(manifest, "notices"), i, item)
    {
        printf("  notice      %s\n", json_string_value(item));
    }
}

static void print_proof(const struct facts_backup *backup)
{
    char at[INSTANT_TEXT_MAX];
    if (backup->failed_us != INSTANT_NONE)
        printf("  verified    a FAULT was found %s: pgcairn verify CLUSTER %s\n",
               instant_format(backup->failed_us, at), backup->id);
    else if (backup->verified_level > 0)
        printf("  verified    to level %d, %s\n", backup->verified_level,
               instant_format(backup->verified_us, at));
    else
        printf("  verified    never\n");
}

static int print_manifest(const json_t *manifest, const struct facts_backup *backup,
                          struct error *err)
{
    const json_t *server = json_object_get(manifest, "server");
    char source[UNITS_TEXT_MAX], stored[UNITS_TEXT_MAX];
    printf("%s %s of cluster %s, job %s\n", json_text(manifest, "kind"), json_text(manifest, "id"),
           json_text(manifest, "cluster"), json_text(manifest, "job"));
    printf("  started     %s\n  completed   %s\n", json_text(manifest, "started_at"),
           json_text(manifest, "completed_at"));
    printf("  server      PostgreSQL %s, system identifier %s\n", json_text(server, "version"),
           json_text(server, "system_identifier"));
    bool is_snapshot = strcmp(json_text(manifest, "kind"), "snapshot") == 0;
    printf("  size        %s%s in %s stored, %zu objects\n",
           size_format(json_number(manifest, "bytes_source"), source),
           is_snapshot ? "" : " of rows",
           size_format(json_number(manifest, "bytes_stored"), stored),
           json_array_size(json_object_get(manifest, "objects")));
    print_proof(backup);
    if (is_snapshot)
        print_snapshot(manifest);
    int rc = 0;
    size_t i;
    json_t *database;
    json_array_foreach(json_object_get(manifest, "databases"), i, database)
    {
        print_database_head(database);
        if (!rc)
            rc = print_tables(database, err);
    }
    return rc;
}

/* By its id whatever it is; "latest" is the latest dump, or snapshot with --kind. */
static int find_backup(const struct arguments *arguments, const struct facts *facts,
                       const struct facts_backup **ret_backup, struct error *err)
{
    const char *id = arguments->words.items[1], *kind = argument_text(arguments, "kind");
    bool snapshots = kind && strcmp(kind, "snapshot") == 0;
    if (kind && !snapshots && strcmp(kind, "dump") != 0)
        return error_set(err, ERR_USAGE, "--kind is dump or snapshot, not \"%s\"", kind);
    *ret_backup = catalogue_find(facts, id, snapshots ? BACKUP_SNAPSHOT : BACKUP_DUMP);
    if (!*ret_backup && !kind && strcmp(id, "latest") != 0)
        *ret_backup = catalogue_find(facts, id, BACKUP_SNAPSHOT);
    if (*ret_backup)
        return 0;
    error_set(err, ERR_NOT_FOUND, "cluster \"%s\" has no %s %s", facts->cluster,
              kind ? kind : "backup", id);
    return error_hint(err, "\"pgcairn list %s\" shows the ids", facts->cluster);
}

static int show_run(const struct globals *globals, const struct arguments *arguments,
                    struct error *err)
{
    _cleanup_(opened_clear) struct opened opened = {0};
    _cleanup_(facts_clear) struct facts facts = {0};
    _cleanup_(json_release) json_t *manifest = NULL;
    const struct facts_backup *backup;
    int rc = opened_cluster(globals, arguments->words.items[0], &opened, err);
    if (!rc)
        rc = catalogue_read(opened.repository, instant_now_us(), &facts, err);
    if (rc)
        return error_as_unknown(err);
    rc = find_backup(arguments, &facts, &backup, err);
    if (rc)
        return rc;
    if (backup->state != BACKUP_GOOD && backup->state != BACKUP_DAMAGED &&
        backup->state != BACKUP_UNKNOWN)
        return error_set(err, ERR_FAILED, "backup %s is %s: it has no manifest to show", backup->id,
                         backup_state_name(backup->state));
    rc = manifest_read(opened.repository, backup->kind, backup->id, &manifest, err);
    if (rc)
        return error_as_unknown(err);
    return globals->json ? command_print_json(json_incref(manifest), err)
                         : print_manifest(manifest, backup, err);
}

static const struct command_option SHOW_OPTIONS[] = {
    {"kind", OPTION_TEXT, "KIND", "of \"latest\": dump (default) or snapshot"},
    {0},
};

const struct command COMMAND_SHOW = {
    .name = "show",
    .usage = "CLUSTER ID|latest [--kind dump|snapshot]",
    .summary =
        "one backup: databases, tables, rows, extensions, migration stamp; or a snapshot's WAL",
    .examples = "  pgcairn show automatos latest",
    .min_words = 2,
    .max_words = 2,
    .options = SHOW_OPTIONS,
    .run = show_run,
};
