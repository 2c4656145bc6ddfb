#include "repository/repository.h"

#include <stdarg.h>
#include <string.h>

#include "base/json.h"
#include "repository/ids.h"

static const char FORMAT_KEY[] = "pgcairn.json";

struct repository *repository_free(struct repository *repository)
{
    if (repository) {
        repository_free(repository->keeper);
        store_free(repository->store);
    }
    free(repository);
    return NULL;
}

void repository_stop(struct repository *repository)
{
    store_stop(repository->store);
}

bool repository_may_lock(struct repository *repository)
{
    if (atomic_load(&repository->locks) == LOCKS_NOT_ASKED) {
        struct store_traits traits;
        bool is_possible = true; /* what is not known may be */
        if (store_read_traits(repository->store, &traits, NULL) == 0) {
            is_possible = traits.object_lock || traits.lock_problem[0];
            store_traits_clear(&traits);
        }
        atomic_store(&repository->locks, is_possible ? LOCKS_POSSIBLE : LOCKS_IMPOSSIBLE);
    }
    return atomic_load(&repository->locks) == LOCKS_POSSIBLE;
}

static int check_format(struct repository *repository, const json_t *document, struct error *err)
{
    int64_t format;
    int rc = json_take_integer(document, "format", &format, err);
    if (rc)
        return error_prefix(err, "%s/%s", store_url(repository->store), FORMAT_KEY), rc;
    if (format <= REPOSITORY_FORMAT)
        return 0;
    error_set(err, ERR_FAILED, "%s has format %lld, this version knows up to %d",
              store_url(repository->store), (long long)format, REPOSITORY_FORMAT);
    error_hint(err, "use the pgcairn that wrote it, or a newer one");
    return ERR_FAILED;
}

/* ERR_NOT_FOUND when the repository has never been written to. */
static int read_format(struct repository *repository, struct error *err)
{
    _cleanup_(json_release) json_t *document = NULL;
    int rc = repository_read_json(repository, FORMAT_KEY, REPOSITORY_DOCUMENT_MAX, &document, err);
    return rc ? rc : check_format(repository, document, err);
}

/* Without a request to the store. */
static int open_handle(const char *url, const struct store_options *options, const char *cluster,
                       struct repository **ret_repository, struct error *err)
{
    _cleanup_(repository_freep) struct repository *repository = calloc(1, sizeof(*repository));
    if (!repository)
        return error_no_memory(err);
    memcpy(repository->cluster, cluster, strlen(cluster) + 1);
    if (options && options->s3.object_lock != STORE_LOCK_OFF)
        atomic_store(&repository->locks, LOCKS_POSSIBLE);
    int rc = store_open(url, options, &repository->store, err);
    if (!rc)
        *ret_repository = TAKE(repository);
    return rc;
}

int repository_open(const char *url, const struct store_options *options, const char *cluster,
                    struct repository **ret_repository, struct error *err)
{
    _cleanup_(repository_freep) struct repository *repository = NULL;
    if (strlen(cluster) > REPOSITORY_CLUSTER_MAX || store_key_check(cluster, NULL) ||
        strchr(cluster, '/'))
        return error_set(err, ERR_USAGE, "\"%s\" can't be the name of a cluster", cluster);
    int rc = open_handle(url, options, cluster, &repository, err);
    if (!rc)
        rc = open_handle(url, options, cluster, &repository->keeper, err);
    if (rc)
        return rc;
    struct error reason = ERROR_NONE;
    rc = read_format(repository, &reason);
    if (rc && rc != ERR_NOT_FOUND) {
        if (err)
            *err = reason;
        return rc;
    }
    repository->is_new = rc == ERR_NOT_FOUND;
    *ret_repository = TAKE(repository);
    return 0;
}

int repository_prepare(struct repository *repository, struct error *err)
{
    int rc = read_format(repository, err);
    if (rc != ERR_NOT_FOUND)
        return rc;
    json_t *document =
        json_pack("{s:i, s:o, s:s}", "format", REPOSITORY_FORMAT, "created_at",
                  json_instant(instant_now_us()), "created_by", "pgcairn " PGCAIRN_VERSION);
    rc = repository_write_json(repository, FORMAT_KEY, document, STORE_IF_ABSENT, err);
    return rc == ERR_EXISTS ? read_format(repository, err) : rc;
}

int repository_key(const struct repository *repository, char key[STORE_KEY_MAX + 1],
                   struct error *err, const char *format, ...)
{
    char text[STORE_KEY_MAX + 1];
    int used = snprintf(text, sizeof(text), "%s/", repository->cluster);
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text + used, sizeof(text) - (size_t)used, format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= sizeof(text) - (size_t)used)
        return error_set(err, ERR_USAGE, "\"%s...\" is too long for a stored object", text);
    memcpy(key, text, sizeof(text));
    return 0;
}

int repository_backup_key(const struct repository *repository, enum backup_kind kind,
                          const char *id, const char *name, char key[STORE_KEY_MAX + 1],
                          struct error *err)
{
    if (!id_parse(id, NULL)) {
        error_set(err, ERR_USAGE, "\"%.100s\" is no id of a backup", id);
        return error_hint(err, "see: pgcairn list %s", repository->cluster);
    }
    return repository_key(repository, key, err, "%s/%s/%s",
                          kind == BACKUP_DUMP ? "dumps" : "snapshots", id, name ? name : "");
}

int repository_read_json(const struct repository *repository, const char *key, size_t limit,
                         json_t **ret_object, struct error *err)
{
    struct buf buf = BUF_INIT(limit);
    int rc = store_get(repository->store, key, &buf, err);
    if (rc == ERR_LIMIT) /* nobody writes such a thing: it is not what was stored */
        rc = error_set(err, ERR_CORRUPT, "\"%s\" is larger than %zu bytes", key, limit);
    if (!rc)
        rc = json_parse_object(buf_text(&buf), buf.length, key, ret_object, err);
    buf_clear(&buf);
    return rc;
}

int repository_write_json(const struct repository *repository, const char *key, json_t *object,
                          unsigned flags, struct error *err)
{
    _cleanup_(json_release) json_t *owned = object;
    _cleanup_(freep) char *text = NULL;
    if (!owned)
        return error_no_memory(err);
    int rc = json_to_text(owned, &text, err);
    return rc ? rc : store_put(repository->store, key, text, strlen(text), flags, err);
}
