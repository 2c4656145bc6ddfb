#include "repository/manifest.h"

#include <string.h>

#include "base/json.h"
#include "base/strv.h"
#include "wal/name.h"

static const char MANIFEST[] = "manifest.json";

static int check_arrays(const json_t *manifest, enum backup_kind kind, struct error *err)
{
    if (!json_is_array(json_object_get(manifest, "objects")))
        return error_set(err, ERR_CORRUPT, "\"objects\" is missing or no list");
    if (kind == BACKUP_SNAPSHOT && !json_is_array(json_object_get(manifest, "tablespaces")))
        return error_set(err, ERR_CORRUPT, "\"tablespaces\" is missing or no list");
    if (kind == BACKUP_DUMP && !json_is_array(json_object_get(manifest, "databases")))
        return error_set(err, ERR_CORRUPT, "\"databases\" is missing or no list");
    return 0;
}

/* That it is a manifest of this very backup, of a format that is known. */
static int check_identity(const struct repository *repository, enum backup_kind kind,
                          const char *id, const json_t *manifest, struct error *err)
{
    const char *kind_text, *id_text, *cluster;
    int64_t format;
    int rc = json_take_integer(manifest, "format", &format, err);
    if (!rc && format > MANIFEST_FORMAT) {
        error_set(err, ERR_FAILED, "its format is %lld, this version knows up to %d",
                  (long long)format, MANIFEST_FORMAT);
        return ERR_FAILED;
    }
    if (!rc)
        rc = json_take_text(manifest, "kind", &kind_text, err);
    if (!rc)
        rc = json_take_text(manifest, "id", &id_text, err);
    if (!rc)
        rc = json_take_text(manifest, "cluster", &cluster, err);
    if (rc)
        return rc;
    if (strcmp(kind_text, backup_kind_name(kind)) != 0 || strcmp(id_text, id) != 0 ||
        strcmp(cluster, repository->cluster) != 0)
        return error_set(err, ERR_CORRUPT, "it is of %s %s of cluster \"%s\"", kind_text, id_text,
                         cluster);
    return 0;
}

static void clear_summary(struct facts_backup *summary)
{
    free(summary->id);
    free(summary->job);
    for (size_t i = 0; summary->databases && summary->databases[i]; i++)
        free(summary->databases[i]);
    free(summary->databases);
}

/* Everything a reader of the catalogue relies on. */
static int check_manifest(const struct repository *repository, enum backup_kind kind,
                          const char *id, const json_t *manifest, struct error *err)
{
    struct facts_backup summary = {0};
    int rc = check_identity(repository, kind, id, manifest, err);
    if (!rc)
        rc = check_arrays(manifest, kind, err);
    if (!rc)
        rc = manifest_summary(manifest, &summary, err);
    if (rc)
        error_prefix(err, "%s of %s", MANIFEST, id);
    else
        clear_summary(&summary);
    return rc;
}

struct stored_check {
    size_t prefix_length;
    json_t *missing; /* name: size, of what the listing has not shown yet */
};

static int cross_off(const struct store_object *object, void *context, struct error *err)
{
    struct stored_check *check = context;
    const char *name = object->key + check->prefix_length;
    const json_t *size = json_object_get(check->missing, name);
    (void)err;
    if (size && json_integer_value(size) == object->size)
        json_object_del(check->missing, name);
    return 0;
}

static int refuse_missing(json_t *missing, const char *prefix, struct error *err)
{
    void *first = json_object_iter(missing);
    if (!first)
        return 0;
    error_set(err, ERR_CONFLICT,
              "\"%s%s\" was stored by this run with %lld bytes and is not there any more", prefix,
              json_object_iter_key(first),
              (long long)json_integer_value(json_object_iter_value(first)));
    return error_hint(err, "find out what deletes or changes objects of the repository; the next "
                           "run makes a whole backup again");
}

int manifest_check_stored(struct repository *repository, enum backup_kind kind, const char *id,
                          const json_t *manifest, struct error *err)
{
    char prefix[STORE_KEY_MAX + 1];
    _cleanup_(json_release) json_t *missing = json_object();
    size_t i;
    json_t *object;
    int rc = missing ? 0 : error_no_memory(err);
    if (!rc)
        rc = repository_backup_key(repository, kind, id, NULL, prefix, err);
    json_array_foreach(json_object_get(manifest, "objects"), i, object)
    {
        const char *name;
        if (!rc)
            rc = json_take_text(object, "name", &name, err);
        if (!rc && json_object_set(missing, name, json_object_get(object, "size")))
            rc = error_no_memory(err);
    }
    struct stored_check check = {.missing = missing};
    if (!rc) {
        check.prefix_length = strlen(prefix);
        rc = store_list(repository->store, prefix, false, cross_off, &check, err);
    }
    return rc ? rc : refuse_missing(missing, prefix, err);
}

int manifest_write(struct repository *repository, enum backup_kind kind, const char *id,
                   const json_t *manifest, struct error *err)
{
    char key[STORE_KEY_MAX + 1];
    _cleanup_(freep) char *text = NULL;
    int rc = repository_backup_key(repository, kind, id, MANIFEST, key, err);
    if (!rc)
        rc = check_manifest(repository, kind, id, manifest, err);
    if (!rc)
        rc = json_to_text(manifest, &text, err);
    if (rc)
        return rc;
    size_t length = strlen(text);
    if (length > MANIFEST_BYTES_MAX)
        return error_set(err, ERR_LIMIT, "the manifest has %zu bytes, at most %d are allowed",
                         length, MANIFEST_BYTES_MAX);
    return store_put(repository->store, key, text, length, STORE_IF_ABSENT | STORE_RETAIN, err);
}

int manifest_hash(const json_t *manifest, char sha256[SHA256_HEX + 1], struct error *err)
{
    _cleanup_(freep) char *text = NULL;
    int rc = json_to_text(manifest, &text, err);
    return rc ? rc : sha256_of(text, strlen(text), sha256, err);
}

int manifest_read_hashed(struct repository *repository, enum backup_kind kind, const char *id,
                         json_t **ret_manifest, char ret_sha256[SHA256_HEX + 1], struct error *err)
{
    _cleanup_(json_release) json_t *manifest = NULL;
    _cleanup_(buf_clear) struct buf text = BUF_INIT(MANIFEST_BYTES_MAX);
    char key[STORE_KEY_MAX + 1];
    int rc = repository_backup_key(repository, kind, id, MANIFEST, key, err);
    if (!rc)
        rc = store_get(repository->store, key, &text, err);
    if (rc == ERR_LIMIT) /* nobody writes such a thing: it is not what was stored */
        rc = error_set(err, ERR_CORRUPT, "\"%s\" is larger than %d bytes", key, MANIFEST_BYTES_MAX);
    if (!rc)
        rc = sha256_of(buf_text(&text), text.length, ret_sha256, err);
    if (!rc)
        rc = json_parse_object(buf_text(&text), text.length, key, &manifest, err);
    if (!rc)
        rc = check_manifest(repository, kind, id, manifest, err);
    if (!rc)
        *ret_manifest = TAKE(manifest);
    return rc;
}

int manifest_read(struct repository *repository, enum backup_kind kind, const char *id,
                  json_t **ret_manifest, struct error *err)
{
    char sha256[SHA256_HEX + 1];
    return manifest_read_hashed(repository, kind, id, ret_manifest, sha256, err);
}

static int take_copy(const json_t *object, const char *key, char **ret_copy, struct error *err)
{
    const char *text;
    int rc = json_take_text(object, key, &text, err);
    if (rc)
        return rc;
    char *copy = strdup(text);
    if (!copy)
        return error_no_memory(err);
    *ret_copy = copy;
    return 0;
}

static int take_databases(const json_t *manifest, char ***ret_databases, struct error *err)
{
    struct strv names = STRV_INIT(MANIFEST_DATABASES_MAX);
    size_t i;
    json_t *database;
    int rc = 0;
    json_array_foreach(json_object_get(manifest, "databases"), i, database)
    {
        const char *name;
        rc = json_take_text(database, "name", &name, err);
        if (!rc)
            rc = strv_add(&names, name, err);
        if (rc)
            break;
    }
    if (rc) {
        strv_clear(&names);
        return rc;
    }
    strv_sort(&names);
    *ret_databases = names.items; /* NULL for none, else NULL-terminated; ownership moves */
    return 0;
}

static int take_server_major(const json_t *manifest, int *ret_major, struct error *err)
{
    int64_t version_num;
    int rc =
        json_take_integer(json_object_get(manifest, "server"), "version_num", &version_num, err);
    if (!rc && (version_num < 0 || version_num > 99999999))
        rc = error_set(err, ERR_CORRUPT, "\"version_num\" is %lld", (long long)version_num);
    if (!rc)
        *ret_major = (int)(version_num / 10000);
    return rc;
}

static int take_lsn(const json_t *object, const char *key, uint64_t *ret_lsn, struct error *err)
{
    const char *text;
    int rc = json_take_text(object, key, &text, err);
    return rc ? rc : wal_lsn_parse(text, ret_lsn, err) ? ERR_CORRUPT : 0;
}

static int take_timeline(const json_t *object, const char *key, uint32_t *ret_timeline,
                         struct error *err)
{
    int64_t number;
    int rc = json_take_integer(object, key, &number, err);
    if (!rc && (number < 1 || number > UINT32_MAX))
        rc = error_set(err, ERR_CORRUPT, "\"%s\" is %lld", key, (long long)number);
    if (!rc)
        *ret_timeline = (uint32_t)number;
    return rc;
}

static int take_position(const json_t *manifest, struct facts_position *position, struct error *err)
{
    const json_t *wal = json_object_get(manifest, "wal");
    const char *system;
    int rc = json_take_text(json_object_get(manifest, "server"), "system_identifier", &system, err);
    if (!rc && strlen(system) > FACTS_SYSTEM_MAX)
        rc = error_set(err, ERR_CORRUPT, "\"system_identifier\" is no number of 64 bits");
    if (!rc)
        rc = take_timeline(wal, "timeline", &position->timeline, err);
    if (!rc)
        rc = take_timeline(wal, "stop_timeline", &position->stop_timeline, err);
    if (!rc)
        rc = take_lsn(wal, "start_lsn", &position->start_lsn, err);
    if (!rc)
        rc = take_lsn(wal, "stop_lsn", &position->stop_lsn, err);
    if (!rc)
        rc = json_take_integer(wal, "segment_size", &position->segment_size, err);
    if (!rc && !wal_segment_size_valid(position->segment_size))
        rc = error_set(err, ERR_CORRUPT, "\"segment_size\" is %lld",
                       (long long)position->segment_size);
    if (!rc)
        rc = json_take_instant(manifest, "stopped_at", &position->stopped_us, err);
    if (!rc)
        snprintf(position->system_identifier, sizeof(position->system_identifier), "%s", system);
    return rc;
}

static int64_t count_rows(const json_t *manifest)
{
    size_t i, t;
    json_t *database, *table;
    int64_t rows = 0;
    json_array_foreach(json_object_get(manifest, "databases"), i, database)
    {
        json_array_foreach(json_object_get(database, "tables"), t, table)
        {
            rows += json_number(table, "rows");
        }
    }
    return rows;
}

int manifest_summary(const json_t *manifest, struct facts_backup *backup, struct error *err)
{
    struct facts_backup summary = *backup;
    const char *kind;
    summary.id = summary.job = NULL;
    summary.databases = NULL;
    int rc = take_copy(manifest, "id", &summary.id, err);
    if (!rc)
        rc = take_copy(manifest, "job", &summary.job, err);
    if (!rc)
        rc = json_take_text(manifest, "kind", &kind, err);
    if (!rc)
        summary.kind = strcmp(kind, "snapshot") == 0 ? BACKUP_SNAPSHOT : BACKUP_DUMP;
    if (!rc)
        rc = json_take_instant(manifest, "started_at", &summary.started_us, err);
    if (!rc)
        rc = json_take_instant(manifest, "completed_at", &summary.completed_us, err);
    if (!rc)
        rc = json_take_integer(manifest, "bytes_source", &summary.bytes_source, err);
    if (!rc)
        rc = json_take_integer(manifest, "bytes_stored", &summary.bytes_stored, err);
    if (!rc)
        rc = take_server_major(manifest, &summary.server_major, err);
    if (!rc && summary.kind == BACKUP_DUMP)
        rc = take_databases(manifest, &summary.databases, err);
    if (!rc && summary.kind == BACKUP_SNAPSHOT)
        rc = take_position(manifest, &summary.position, err);
    if (rc) {
        clear_summary(&summary);
        return rc;
    }
    summary.rows = count_rows(manifest);
    clear_summary(backup);
    *backup = summary;
    return 0;
}

static const json_t *find_named(const json_t *manifest, const char *list, const char *name)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(manifest, list), i, entry)
    {
        const char *value = json_string_value(json_object_get(entry, "name"));
        if (value && strcmp(value, name) == 0)
            return entry;
    }
    return NULL;
}

const json_t *manifest_object(const json_t *manifest, const char *name)
{
    return find_named(manifest, "objects", name);
}

const json_t *manifest_database(const json_t *manifest, const char *name)
{
    return find_named(manifest, "databases", name);
}

bool manifest_has_extension(const json_t *database, const char *name)
{
    return find_named(database, "extensions", name) != NULL;
}
