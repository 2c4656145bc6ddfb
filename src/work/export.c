#include "work/export.h"

#include <string.h>

#include "base/child.h"
#include "base/file.h"
#include "base/json.h"
#include "postgres/server.h"
#include "repository/manifest.h"

enum { SQL_LIMIT = 1 << 20 };

struct exporting {
    struct restore *restore;
    struct restore_database *database;
    int fd;
    uint32_t open_oid; /* of the table whose COPY is open; 0 when none is */
};

static int put(struct exporting *out, const void *data, size_t length, struct error *err)
{
    return file_write_all(out->fd, "standard output", data, length, err);
}

static int put_text(struct exporting *out, const char *text, struct error *err)
{
    return put(out, text, strlen(text), err);
}

/* pg_restore writes straight to our output; input may be an object piped through it. */
static int run_pg_restore(struct exporting *out, const char *section, struct volume_reader *input,
                          struct error *err)
{
    _cleanup_(freep) char *program = NULL;
    _cleanup_(child_clear) struct child child;
    struct child_status status;
    if (asprintf(&program, "%s/pg_restore", out->restore->programs.folder) < 0)
        return error_no_memory(err);
    const char *argv[] = {program, "--file=-", section, input ? NULL : out->database->schema_path,
                          NULL};
    struct child_spec spec = {
        .argv = argv, .input = input ? CHILD_PIPE : CHILD_NULL, .output = CHILD_INHERIT};
    int rc = child_start(&spec, &child, err);
    if (!rc && input) {
        rc = restore_copy_object(input, child.input_fd, "pg_restore", err);
        close(child.input_fd);
        child.input_fd = -1;
    }
    if (!rc)
        rc = child_wait(&child, -1, &status, err);
    if (!rc && (!status.exited || status.exit_status != 0))
        rc = child_error(&child, "pg_restore", &status, err);
    return rc;
}

static int close_copy(struct exporting *out, struct error *err)
{
    if (!out->open_oid)
        return 0;
    out->open_oid = 0;
    return put_text(out, "\\.\n\n", err);
}

static int open_copy(struct exporting *out, uint32_t oid, struct error *err)
{
    const struct restore_table *table = restore_find_table(out->database, oid);
    if (!table)
        return error_set(err, ERR_CORRUPT,
                         "a volume has rows of table %u, which the manifest does "
                         "not know",
                         oid);
    _cleanup_(buf_clear) struct buf sql = BUF_INIT(SQL_LIMIT);
    restore_add_copy(out->database, table, &sql);
    buf_add_text(&sql, ";\n");
    int rc = buf_failed(&sql, "a COPY statement", err);
    if (!rc)
        rc = put(out, buf_text(&sql), sql.length, err);
    if (!rc)
        out->open_oid = oid;
    return rc;
}

static int export_member(struct exporting *out, struct volume_reader *reader, const char *name,
                         struct error *err)
{
    uint32_t oid = (uint32_t)strtoul(name, NULL, 10);
    int rc = 0;
    if (oid != out->open_oid) {
        rc = close_copy(out, err);
        if (!rc)
            rc = open_copy(out, oid, err);
    }
    while (!rc) {
        const void *data;
        size_t length;
        rc = volume_read(reader, &data, &length, err);
        if (rc || length == 0)
            break;
        rc = put(out, data, length, err);
    }
    return rc;
}

static int export_volume(struct exporting *out, const char *name, struct error *err)
{
    _cleanup_(volume_reader_freep) struct volume_reader *reader = NULL;
    int rc = restore_open_object(out->restore, name, VOLUME_TAR, &reader, err);
    while (!rc) {
        const char *member;
        int64_t size;
        rc = volume_next(reader, &member, &size, err);
        if (rc || !member)
            break;
        rc = export_member(out, reader, member, err);
    }
    if (!rc)
        rc = close_copy(out, err);
    return rc ? rc : volume_read_finish(reader, err);
}

static int export_object(struct exporting *out, const char *name, struct error *err)
{
    _cleanup_(volume_reader_freep) struct volume_reader *reader = NULL;
    int rc = restore_open_object(out->restore, name, VOLUME_PLAIN, &reader, err);
    return rc ? rc : restore_copy_object(reader, out->fd, "standard output", err);
}

static int export_large_objects(struct exporting *out, struct error *err)
{
    const char *name = json_text(out->database->entry, "large_objects");
    if (!name[0])
        return 0;
    _cleanup_(volume_reader_freep) struct volume_reader *reader = NULL;
    int rc = restore_open_object(out->restore, name, VOLUME_PLAIN, &reader, err);
    return rc ? rc : run_pg_restore(out, "--section=data", reader, err);
}

/* Only the dump of an old server can be meant for one. */
static int export_rights(struct exporting *out, struct error *err)
{
    const json_t *manifest = out->restore->manifest;
    const char *sql = pg_public_schema_sql((int)json_number(manifest, "pg_dump"));
    if (!sql || json_number(json_object_get(manifest, "server"), "version_num") >= 150000)
        return 0;
    int rc = put_text(out, sql, err);
    return rc ? rc : put_text(out, ";\n\n", err);
}

static int export_database(struct exporting *out, struct error *err)
{
    struct restore_database *database = out->database;
    int rc = restore_fetch_schema(database, err);
    if (!rc)
        rc = restore_choose_rows(database, NULL, 0, true, err);
    if (!rc)
        rc = export_rights(out, err);
    if (!rc)
        rc = run_pg_restore(out, "--section=pre-data", NULL, err);
    if (!rc)
        rc = put_text(out,
                      "SET client_encoding = 'UTF8';\nSET xmloption = content;\n"
                      "SET lc_monetary = 'C';\nSET array_nulls = on;\n\n",
                      err);
    for (size_t i = 0; i < database->volume_count && !rc; i++)
        rc = export_volume(out, json_text(database->volumes[i].object, "name"), err);
    if (!rc)
        rc = export_object(out, json_text(database->entry, "sequences"), err);
    if (!rc)
        rc = export_large_objects(out, err);
    return rc ? rc : run_pg_restore(out, "--section=post-data", NULL, err);
}

static int export_chosen(struct restore *restore, int fd, struct error *err)
{
    _cleanup_(json_release) json_t *entries = NULL;
    struct restore_database database = {0};
    int rc = restore_choose_entries(restore, &entries, err);
    if (!rc && json_array_size(entries) != 1) {
        error_set(err, ERR_USAGE, "backup %s has %zu databases", restore->id,
                  json_array_size(entries));
        rc = error_hint(err, "say which one with --database");
    }
    if (!rc)
        rc = restore_init_database(restore, json_array_get(entries, 0), &database, err);
    const json_t *server = json_object_get(restore->manifest, "server");
    int major = (int)(json_number(server, "version_num") / 10000);
    if (!rc)
        rc = pg_find_programs(restore->request->policy->bindir, major, &restore->programs, err);
    struct exporting out = {.restore = restore, .database = &database, .fd = fd};
    if (!rc)
        rc = export_database(&out, err);
    restore_database_clear(&database);
    return rc;
}

int export_plain(const struct restore_request *request, int fd, struct error *err)
{
    _cleanup_(restore_clear) struct restore restore = {.request = request,
                                                       .store = request->repository->store};
    int rc = restore_find_manifest(&restore, err);
    return rc ? rc : export_chosen(&restore, fd, err);
}
