/* The objects of a dump: rows are counted in volumes, archives of pg_dump are parsed by pg_restore,
 * the rest is read. */
#include <stdio.h>
#include <string.h>

#include "base/child.h"
#include "base/json.h"
#include "postgres/copy_text.h"
#include "postgres/programs.h"
#include "repository/catalogue.h"
#include "work/restore.h"
#include "work/verify_backup.h"

enum { TABLE_NAME_MAX = 512, NAMED_TABLES_MAX = 5 };

/* -- tables ---------------------------------------------------------------------------------- */

static int compare_tables(const void *a, const void *b)
{
    const struct verify_table *x = a, *y = b;
    if (x->database != y->database)
        return x->database < y->database ? -1 : 1;
    return x->oid < y->oid ? -1 : x->oid > y->oid;
}

static size_t count_tables(const json_t *databases)
{
    size_t count = 0, i;
    json_t *database;
    json_array_foreach(databases, i, database) count +=
        json_array_size(json_object_get(database, "tables"));
    return count;
}

int verify_dump_prepare(struct verify_backup *backup, struct error *err)
{
    const json_t *databases = json_object_get(backup->manifest, "databases");
    size_t i, j;
    json_t *database, *table;
    backup->tables = calloc(count_tables(databases) + 1, sizeof(*backup->tables));
    if (!backup->tables)
        return error_no_memory(err);
    json_array_foreach(databases, i, database)
    {
        json_array_foreach(json_object_get(database, "tables"), j, table)
        {
            backup->tables[backup->table_count++] =
                (struct verify_table){.database = (uint32_t)json_number(database, "oid"),
                                      .oid = (uint32_t)json_number(table, "oid"),
                                      .entry = table,
                                      .columns = copy_text_columns(json_text(table, "columns"))};
        }
    }
    qsort(backup->tables, backup->table_count, sizeof(*backup->tables), compare_tables);
    return 0;
}

static struct verify_table *find_table(const struct verify_backup *backup, uint32_t database,
                                       uint32_t oid)
{
    struct verify_table key = {.database = database, .oid = oid};
    return backup->table_count == 0
               ? NULL
               : bsearch(&key, backup->tables, backup->table_count, sizeof(key), compare_tables);
}

static void name_table(const struct verify_table *table, char name[TABLE_NAME_MAX])
{
    name[0] = '\0';
    if (table)
        snprintf(name, TABLE_NAME_MAX, "%s.%s", json_text(table->entry, "schema"),
                 json_text(table->entry, "name"));
}

/* -- what a fault means ---------------------------------------------------------------------- */

/* The database whose folder the object lies in; NULL for what is of the whole dump. */
static const json_t *find_database(const struct verify_backup *backup, const char *object)
{
    const json_t *databases = json_object_get(backup->manifest, "databases");
    char *rest;
    unsigned long oid = strtoul(object, &rest, 10);
    size_t i;
    json_t *database;
    json_array_foreach(databases, i, database)
    {
        if (*rest == '/' && json_number(database, "oid") == (int64_t)oid)
            return database;
    }
    return NULL;
}

static bool lies_in(const json_t *table, const char *volume)
{
    size_t i;
    json_t *name;
    json_array_foreach(json_object_get(table, "volumes"), i, name)
    {
        const char *text = json_string_value(name);
        if (text && strcmp(text, volume) == 0)
            return true;
    }
    return false;
}

static void add_tables(const json_t *database, const char *volume, struct buf *text)
{
    size_t i, count = 0;
    json_t *table;
    json_array_foreach(json_object_get(database, "tables"), i, table)
    {
        if (!lies_in(table, volume))
            continue;
        if (count++ < NAMED_TABLES_MAX)
            buf_addf(text, "%s%s.%s", count > 1 ? ", " : "", json_text(table, "schema"),
                     json_text(table, "name"));
    }
    if (count > NAMED_TABLES_MAX)
        buf_addf(text, " and %zu more", count - NAMED_TABLES_MAX);
}

/* The newest other dump of the database in which nobody found a fault. */
static const struct facts_backup *find_other(const struct verify_backup *backup,
                                             const char *database)
{
    const struct facts *facts = &backup->verifying->facts;
    const struct facts_backup *found = NULL;
    for (size_t i = 0; i < facts->backup_count; i++) {
        const struct facts_backup *other = &facts->backups[i];
        if (other == backup->item->backup || other->kind != BACKUP_DUMP ||
            other->state != BACKUP_GOOD || other->failed_us != INSTANT_NONE)
            continue;
        for (size_t n = 0; other->databases && other->databases[n]; n++)
            if (strcmp(other->databases[n], database) == 0 &&
                (!found || other->started_us > found->started_us))
                found = other;
    }
    return found;
}

static void add_other(const struct verify_backup *backup, const char *database, struct buf *text)
{
    const struct facts_backup *other = find_other(backup, database);
    char started[INSTANT_TEXT_MAX];
    if (other)
        buf_addf(text, "; the newest other dump of \"%s\" is %s of %s", database, other->id,
                 instant_format(other->started_us, started));
    else
        buf_addf(text, "; there is no other good dump of \"%s\"", database);
}

static bool ends_in(const char *name, const char *end)
{
    size_t length = strlen(name), rest = strlen(end);
    return length >= rest && strcmp(name + length - rest, end) == 0;
}

static void add_lost(const json_t *database, const char *object, struct buf *text)
{
    const char *name = json_text(database, "name");
    if (ends_in(object, ".tar.zst")) {
        buf_addf(text, "rows of database \"%s\" can't be restored from this dump: of ", name);
        add_tables(database, object, text);
    } else if (ends_in(object, "large-objects.pgdump"))
        buf_addf(text, "large objects of database \"%s\" can't be restored from this dump", name);
    else if (ends_in(object, "sequences.sql"))
        buf_addf(text, "the sequences of database \"%s\" can't be set from this dump", name);
    else
        buf_addf(text, "database \"%s\" can't be restored from this dump", name);
}

static void add_of_all(const struct verify_backup *backup, struct buf *text)
{
    char *const *databases = backup->item->backup->databases;
    buf_add_text(text, "nothing can be restored from this dump");
    for (size_t i = 0; databases && databases[i] && i < NAMED_TABLES_MAX; i++)
        add_other(backup, databases[i], text);
}

int verify_dump_consequence(const struct verify_backup *backup, const char *name,
                            char text[VERIFY_TEXT_MAX], struct error *err)
{
    _cleanup_(buf_clear) struct buf lost = BUF_INIT(BUF_LIMIT_DEFAULT);
    const json_t *database = find_database(backup, name);
    if (database) {
        add_lost(database, name, &lost);
        add_other(backup, json_text(database, "name"), &lost);
    } else if (strcmp(name, "globals.sql.zst") == 0)
        buf_add_text(&lost, "roles that are missing can't be made from this dump");
    else if (strcmp(name, "restore.sh") == 0)
        buf_add_text(&lost, "this dump can't be restored by restore.sh, but by pgcairn");
    else
        add_of_all(backup, &lost);
    int rc = buf_failed(&lost, "a consequence", err);
    snprintf(text, VERIFY_TEXT_MAX, "%s", buf_text(&lost));
    return rc;
}

/* -- rows ------------------------------------------------------------------------------------ */

/* One thread's hands on one volume. */
struct counting {
    struct verify_backup *backup;
    struct verify_object *object;
    struct volume_reader *reader;
    struct verify_table *table; /* of the member; NULL: none */
    struct copy_text text;
    int64_t plain_bytes, reported;
};

static int take_rows(void *context, const void *data, size_t length, struct error *err)
{
    struct counting *counting = context;
    counting->plain_bytes += (int64_t)length;
    return copy_text_add(&counting->text, data, length, err);
}

static int count_member(struct counting *counting, const char *name, struct error *err)
{
    char member[TAR_NAME_MAX + 1];
    snprintf(member, sizeof(member), "%s", name); /* it is borrowed until the next call */
    uint32_t database = (uint32_t)strtoul(counting->object->name, NULL, 10);
    counting->table = find_table(counting->backup, database, (uint32_t)strtoul(member, NULL, 10));
    if (!counting->table || !ends_in(member, ".copy"))
        return error_set(err, ERR_CORRUPT, "member \"%s\" is of no table of the manifest", member);
    copy_text_init(&counting->text, counting->table->columns);
    int rc = verify_read(counting->backup->verifying, counting->reader, &counting->reported,
                         take_rows, counting, err);
    if (!rc)
        rc = copy_text_end(&counting->text, err);
    if (rc == ERR_CORRUPT)
        return error_prefix(err, "member \"%s\"", member);
    if (rc)
        return rc;
    atomic_fetch_add(&counting->table->rows, counting->text.rows);
    atomic_fetch_add(&counting->table->bytes, counting->text.bytes);
    atomic_fetch_add(&counting->table->segments, 1);
    return 0;
}

static int count_members(struct counting *counting, struct error *err)
{
    for (;;) {
        const char *name;
        int64_t size;
        int rc = volume_next(counting->reader, &name, &size, err);
        if (!rc && name)
            rc = count_member(counting, name, err);
        if (rc || !name)
            return rc;
    }
}

static int check_volume(struct verify_backup *backup, struct verify_object *object,
                        struct error *err)
{
    struct store *store = backup->verifying->request->repository->store;
    struct counting counting = {.backup = backup, .object = object};
    struct error reason = ERROR_NONE;
    char table[TABLE_NAME_MAX];
    int rc = volume_read_open(store, object->key, VOLUME_TAR, &object->expected, &counting.reader,
                              &reason);
    if (!rc)
        count_members(&counting, &reason);
    name_table(reason.code ? counting.table : NULL, table);
    rc = verify_object_end(backup, object, counting.reader, counting.plain_bytes, table, &reason,
                           err);
    volume_reader_free(counting.reader);
    return rc;
}

/* -- archives of pg_dump --------------------------------------------------------------------- */

/* Why pg_restore does not take it, as a fault of the archive; but what ended pg_restore from
 * outside, as want of memory does, says nothing of the archive. */
static int blame_archive(const struct child *child, struct volume_reader *reader,
                         struct error *reason)
{
    struct error damage = ERROR_NONE;
    if (reason->code != ERR_CHILD)
        return reason->code;
    if (volume_read_finish(reader, &damage)) {
        *reason = damage;
        return reason->code;
    }
    if (child->ended_by)
        return reason->code = ERR_UNKNOWN;
    reason->code = ERR_CORRUPT;
    return error_prefix(reason, "pg_restore can't read it");
}

static int parse_archive(struct verify_backup *backup, struct volume_reader *reader,
                         struct error *reason)
{
    _cleanup_(pg_programs_clear) struct pg_programs programs = {0};
    _cleanup_(freep) char *program = NULL;
    _cleanup_(child_clear) struct child child = {0};
    int major = (int)json_number(backup->manifest, "pg_dump");
    int rc = pg_find_programs(backup->verifying->request->policy->bindir, major, &programs, reason);
    if (!rc && asprintf(&program, "%s/pg_restore", programs.folder) < 0)
        rc = error_no_memory(reason);
    const char *argv[] = {program, "--file=/dev/null", NULL};
    const struct child_spec spec = {.argv = argv, .input = CHILD_PIPE, .output = CHILD_NULL};
    if (!rc)
        rc = child_start(&spec, &child, reason);
    if (!rc)
        rc = restore_drive(&child, reader, NULL, reason);
    return rc ? blame_archive(&child, reader, reason) : 0;
}

static int check_archive(struct verify_backup *backup, struct verify_object *object,
                         struct error *err)
{
    struct store *store = backup->verifying->request->repository->store;
    _cleanup_(volume_reader_freep) struct volume_reader *reader = NULL;
    struct error reason = ERROR_NONE;
    int rc =
        volume_read_open(store, object->key, VOLUME_PLAIN, &object->expected, &reader, &reason);
    if (!rc)
        rc = parse_archive(backup, reader, &reason);
    if (reader)
        atomic_fetch_add(&backup->verifying->bytes_done, volume_read_stored(reader));
    return rc ? verify_object_fault(backup, object, -1, NULL, &reason, err) : 0;
}

int verify_dump_object(struct verify_backup *backup, struct verify_object *object,
                       struct error *err)
{
    if (ends_in(object->name, ".tar.zst"))
        return check_volume(backup, object, err);
    if (ends_in(object->name, ".pgdump"))
        return check_archive(backup, object, err);
    return verify_stream(backup, object, ends_in(object->name, ".zst") ? VOLUME_ZSTD : VOLUME_PLAIN,
                         err);
}

/* -- the counts ------------------------------------------------------------------------------ */

/* A table with rows in what is damaged can't have them all; that was told. */
static bool is_whole(const struct verify_backup *backup, const struct verify_table *table)
{
    size_t i;
    json_t *volume;
    json_array_foreach(json_object_get(table->entry, "volumes"), i, volume)
    {
        const char *name = json_string_value(volume);
        const struct verify_object *object = name ? verify_find_object(backup, name) : NULL;
        if (!object || object->has_fault)
            return false;
    }
    return true;
}

static int check_count(struct verify_backup *backup, const struct verify_table *table,
                       struct error *err)
{
    int64_t rows = atomic_load(&table->rows), bytes = atomic_load(&table->bytes);
    int64_t segments = atomic_load(&table->segments);
    int64_t told_rows = json_number(table->entry, "rows");
    int64_t told_bytes = json_number(table->entry, "bytes");
    char name[TABLE_NAME_MAX], consequence[TABLE_NAME_MAX + 80];
    if ((rows == told_rows && bytes == told_bytes &&
         segments == json_number(table->entry, "segments")) ||
        !is_whole(backup, table))
        return 0;
    name_table(table, name);
    snprintf(consequence, sizeof(consequence), "rows of %s can't be restored from this dump", name);
    const struct verify_finding finding = {.item = backup->item,
                                           .object = backup->manifest_key,
                                           .byte = -1,
                                           .table = name,
                                           .consequence = consequence};
    return verify_fault(backup->verifying, &finding, NULL, err,
                        "table %s has %lld rows of %lld bytes in its volumes, the manifest says "
                        "%lld of %lld bytes",
                        name, (long long)rows, (long long)bytes, (long long)told_rows,
                        (long long)told_bytes);
}

int verify_dump_complete(struct verify_backup *backup, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < backup->table_count && !rc && !backup->item->is_unknown; i++)
        rc = check_count(backup, &backup->tables[i], err);
    return rc;
}
