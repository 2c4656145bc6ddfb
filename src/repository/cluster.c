/* cluster.json: which servers a cluster is. */
#include <string.h>

#include "base/json.h"
#include "repository/evidence.h"
#include "repository/repository.h"

enum {
    ADMIT_ATTEMPTS = 3, /* when another run makes cluster.json at the same moment */
    SERVERS_MAX = 1000, /* versions noted of one system */
};
#define SEEN_AGAIN_US US_PER_HOUR /* how fresh last_seen is kept */

static bool is_system_identifier(const char *text)
{
    size_t length = strlen(text);
    return length > 0 && length <= REPOSITORY_SYSTEM_IDENTIFIER_MAX &&
           strspn(text, "0123456789") == length;
}

static json_t *pack_server(const struct repository_server *server, int64_t now_us)
{
    return json_pack("{s:s, s:i, s:o, s:o}", "version", server->version, "version_num",
                     server->version_num, "first_seen", json_instant(now_us), "last_seen",
                     json_instant(now_us));
}

static json_t *pack_system(const struct repository_server *server, int64_t now_us,
                           int64_t adopted_us)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:[o]}", "system_identifier", server->system_identifier,
                     "first_seen", json_instant(now_us), "last_seen", json_instant(now_us),
                     "adopted_at", json_instant(adopted_us), "servers",
                     pack_server(server, now_us));
}

static json_t *pack_cluster(const struct repository *repository,
                            const struct repository_server *server, int64_t now_us)
{
    return json_pack("{s:i, s:s, s:s, s:[o]}", "format", REPOSITORY_FORMAT, "cluster",
                     repository->cluster, "system_identifier", server->system_identifier, "systems",
                     pack_system(server, now_us, INSTANT_NONE));
}

/* The entry of `array` whose `key` is the text; NULL when there is none. */
static json_t *find_entry(const json_t *array, const char *key, const char *text)
{
    size_t i;
    json_t *entry;
    json_array_foreach(array, i, entry)
    {
        const char *value = json_string_value(json_object_get(entry, key));
        if (value && strcmp(value, text) == 0)
            return entry;
    }
    return NULL;
}

static int read_cluster(const struct repository *repository, const char *key, json_t **ret_cluster,
                        const char **ret_current, struct error *err)
{
    _cleanup_(json_release) json_t *cluster = NULL;
    const char *current;
    int64_t format;
    int rc = repository_read_json(repository, key, REPOSITORY_DOCUMENT_MAX, &cluster, err);
    if (rc)
        return rc;
    rc = json_take_integer(cluster, "format", &format, err);
    if (!rc && format > REPOSITORY_FORMAT)
        rc = error_set(err, ERR_FAILED, "format %lld is newer than this version knows",
                       (long long)format);
    if (!rc)
        rc = json_take_text(cluster, "system_identifier", &current, err);
    if (!rc && !find_entry(json_object_get(cluster, "systems"), "system_identifier", current))
        rc = error_set(err, ERR_CORRUPT, "\"systems\" does not hold the current one");
    if (rc)
        return error_prefix(err, "%s", key), rc;
    *ret_current = current;
    *ret_cluster = TAKE(cluster);
    return 0;
}

/* Notes in a system's entry that it was seen; *ret_changed when that is worth a write. */
static int note_seen(json_t *system, const struct repository_server *server, int64_t now_us,
                     bool *ret_changed, struct error *err)
{
    json_t *servers = json_object_get(system, "servers");
    json_t *entry = find_entry(servers, "version", server->version);
    int64_t last_us;
    if (entry && json_take_instant(entry, "last_seen", &last_us, NULL) == 0 &&
        now_us - last_us < SEEN_AGAIN_US) {
        *ret_changed = false;
        return 0;
    }
    int failed = json_object_set_new(system, "last_seen", json_instant(now_us));
    if (entry)
        failed |= json_object_set_new(entry, "last_seen", json_instant(now_us));
    else if (json_array_size(servers) < SERVERS_MAX)
        failed |= json_array_append_new(servers, pack_server(server, now_us));
    if (failed)
        return error_no_memory(err);
    *ret_changed = true;
    return 0;
}

static int refuse_foreign(const struct repository *repository,
                          const struct repository_server *server, const char *current,
                          struct error *err)
{
    error_set(err, ERR_FAILED,
              "the server has system identifier %s, but the backups of cluster \"%s\" are of %s",
              server->system_identifier, repository->cluster, current);
    error_hint(err,
               "is the connection right? If the server was rebuilt (initdb, pg_upgrade), run: "
               "pgcairn cluster adopt %s",
               repository->cluster);
    return ERR_FAILED;
}

static int admit(struct repository *repository, const char *key,
                 const struct repository_server *server, int64_t now_us, struct error *err)
{
    _cleanup_(json_release) json_t *cluster = NULL;
    const char *current;
    int rc = read_cluster(repository, key, &cluster, &current, err);
    if (rc == ERR_NOT_FOUND)
        return repository_write_json(repository, key, pack_cluster(repository, server, now_us),
                                     STORE_IF_ABSENT, err);
    if (rc)
        return rc;
    if (strcmp(current, server->system_identifier) != 0)
        return refuse_foreign(repository, server, current, err);
    json_t *system = find_entry(json_object_get(cluster, "systems"), "system_identifier", current);
    bool changed;
    rc = note_seen(system, server, now_us, &changed, err);
    if (rc || !changed)
        return rc;
    return repository_write_json(repository, key, TAKE(cluster), 0, err);
}

int repository_admit_cluster(struct repository *repository, const struct repository_server *server,
                             int64_t now_us, struct error *err)
{
    char key[STORE_KEY_MAX + 1];
    if (!is_system_identifier(server->system_identifier))
        return error_set(err, ERR_USAGE, "\"%.50s\" is no system identifier",
                         server->system_identifier);
    int rc = repository_prepare(repository, err);
    if (!rc)
        rc = repository_key(repository, key, err, "cluster.json");
    if (rc)
        return rc;
    rc = ERR_EXISTS;
    for (int i = 0; i < ADMIT_ATTEMPTS && rc == ERR_EXISTS; i++)
        rc = admit(repository, key, server, now_us, err);
    return rc;
}

int repository_read_system(const struct repository *repository,
                           char system_identifier[REPOSITORY_SYSTEM_IDENTIFIER_MAX + 1],
                           struct error *err)
{
    _cleanup_(json_release) json_t *cluster = NULL;
    char key[STORE_KEY_MAX + 1];
    const char *current;
    int rc = repository_key(repository, key, err, "cluster.json");
    if (!rc)
        rc = read_cluster(repository, key, &cluster, &current, err);
    if (!rc && !is_system_identifier(current))
        rc = error_set(err, ERR_CORRUPT, "%s: \"%.50s\" is no system identifier", key, current);
    if (!rc)
        snprintf(system_identifier, REPOSITORY_SYSTEM_IDENTIFIER_MAX + 1, "%s", current);
    return rc;
}

int repository_check_cluster(const struct repository *repository, const char *system_identifier,
                             struct error *err)
{
    _cleanup_(json_release) json_t *cluster = NULL;
    struct repository_server server = {.system_identifier = system_identifier};
    char key[STORE_KEY_MAX + 1];
    const char *current;
    int rc = repository_key(repository, key, err, "cluster.json");
    if (!rc)
        rc = read_cluster(repository, key, &cluster, &current, err);
    if (rc)
        return rc;
    return strcmp(current, system_identifier) == 0
               ? 0
               : refuse_foreign(repository, &server, current, err);
}

/* Puts the server's system into the document, new or known, and makes it the current one. */
static int make_current(json_t *cluster, const struct repository_server *server, int64_t now_us,
                        struct error *err)
{
    json_t *systems = json_object_get(cluster, "systems");
    json_t *system = find_entry(systems, "system_identifier", server->system_identifier);
    bool changed;
    int rc = system ? note_seen(system, server, now_us, &changed, err) : 0;
    if (rc)
        return rc;
    if (!system && json_array_size(systems) >= REPOSITORY_SYSTEMS_MAX)
        return error_set(err, ERR_LIMIT, "the cluster has been rebuilt %d times",
                         REPOSITORY_SYSTEMS_MAX);
    int failed = system ? json_object_set_new(system, "adopted_at", json_instant(now_us))
                        : json_array_append_new(systems, pack_system(server, now_us, now_us));
    failed |=
        json_object_set_new(cluster, "system_identifier", json_string(server->system_identifier));
    return failed ? error_no_memory(err) : 0;
}

int repository_adopt_cluster(struct repository *repository, const struct repository_server *server,
                             const char *reason, int64_t now_us, char **ret_previous,
                             struct error *err)
{
    _cleanup_(json_release) json_t *cluster = NULL;
    char key[STORE_KEY_MAX + 1];
    const char *current;
    int rc = repository_key(repository, key, err, "cluster.json");
    if (!rc)
        rc = read_cluster(repository, key, &cluster, &current, err);
    if (rc == ERR_NOT_FOUND) {
        rc = repository_admit_cluster(repository, server, now_us, err);
        if (!rc)
            *ret_previous = NULL;
        return rc;
    }
    if (rc)
        return rc;
    if (!is_system_identifier(server->system_identifier))
        return error_set(err, ERR_USAGE, "\"%.50s\" is no system identifier",
                         server->system_identifier);
    _cleanup_(freep) char *previous = strdup(current);
    if (!previous)
        return error_no_memory(err);
    if (strcmp(previous, server->system_identifier) != 0) {
        rc = evidence_add(repository, "cluster_adopted",
                          json_pack("{s:s, s:s, s:s, s:s}", "from", previous, "to",
                                    server->system_identifier, "version", server->version, "reason",
                                    reason),
                          NULL, err);
        if (!rc)
            rc = make_current(cluster, server, now_us, err);
        if (!rc)
            rc = repository_write_json(repository, key, TAKE(cluster), 0, err);
    }
    if (!rc)
        *ret_previous = TAKE(previous);
    return rc;
}
