#include "repository/holds.h"

#include <string.h>

#include "base/json.h"
#include "repository/evidence.h"
#include "repository/locks.h"

/* How long adding a hold waits for the end of a prune. */
#define HOLD_WAIT_US (5 * US_PER_SECOND)

static int hold_key(const struct repository *repository, const char *hold_id,
                    char key[STORE_KEY_MAX + 1], struct error *err)
{
    if (!id_parse(hold_id, NULL)) {
        error_set(err, ERR_USAGE, "\"%.100s\" is no id of a hold", hold_id);
        return error_hint(err, "see: pgcairn hold list %s", repository->cluster);
    }
    return repository_key(repository, key, err, "holds/%s.json", hold_id);
}

/* The kind of the backup that has a manifest under this id. */
static int find_kind(struct repository *repository, const char *id, enum backup_kind *ret_kind,
                     struct error *err)
{
    static const enum backup_kind KINDS[] = {BACKUP_DUMP, BACKUP_SNAPSHOT};
    for (size_t i = 0; i < ARRAY_SIZE(KINDS); i++) {
        char key[STORE_KEY_MAX + 1];
        struct store_object object;
        int rc = repository_backup_key(repository, KINDS[i], id, "manifest.json", key, err);
        if (!rc)
            rc = store_stat(repository->store, key, &object, err);
        if (!rc)
            *ret_kind = KINDS[i];
        if (rc != ERR_NOT_FOUND)
            return rc;
    }
    error_set(err, ERR_NOT_FOUND, "cluster \"%s\" has no backup %s", repository->cluster, id);
    error_hint(err, "see: pgcairn list %s", repository->cluster);
    return ERR_NOT_FOUND;
}

static int check_text(const char *what, const char *text, struct error *err)
{
    _cleanup_(json_release) json_t *string = json_string(text); /* NULL when it is not UTF-8 */
    if (!text[0])
        return error_set(err, ERR_USAGE, "a hold needs a %s", what);
    if (strlen(text) > HOLD_TEXT_MAX || !string)
        return error_set(err, ERR_USAGE, "the %s is longer than %d bytes, or not UTF-8", what,
                         HOLD_TEXT_MAX);
    return 0;
}

/* With the prune shut out: the backup exists, the hold is stored, the evidence says so. */
static int add_locked(struct repository *repository, const struct hold_request *request,
                      const char *hold_id, int64_t now_us, struct error *err)
{
    enum backup_kind kind = BACKUP_DUMP;
    char key[STORE_KEY_MAX + 1];
    int rc = find_kind(repository, request->backup_id, &kind, err);
    if (!rc)
        rc = hold_key(repository, hold_id, key, err);
    if (rc)
        return rc;
    json_t *hold =
        json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "format", REPOSITORY_FORMAT,
                  "hold_id", hold_id, "id", request->backup_id, "kind", backup_kind_name(kind),
                  "holder", request->holder, "reason", request->reason, "created_at",
                  json_instant(now_us), "expires_at", json_instant(request->expires_us));
    _cleanup_(json_release) json_t *body = json_incref(hold);
    rc = repository_write_json(repository, key, hold, STORE_IF_ABSENT, err);
    return rc ? rc : evidence_add(repository, "hold_added", TAKE(body), NULL, err);
}

int hold_add(struct repository *repository, const struct hold_request *request,
             char ret_hold_id[ID_SIZE], struct error *err)
{
    int64_t now_us = instant_now_us();
    enum backup_kind kind;
    char hold_id[ID_SIZE];
    _cleanup_(lock_freep) struct lock *lock = NULL;
    struct lock_request lock_request = {
        .class = LOCK_RESTORE, .run_id = "", .wait_us = HOLD_WAIT_US};
    int rc = check_text("reason", request->reason, err);
    if (!rc)
        rc = check_text("holder", request->holder, err);
    if (!rc && request->expires_us != INSTANT_NONE && request->expires_us <= now_us)
        rc = error_set(err, ERR_USAGE, "the hold would have expired already");
    if (!rc)
        rc = id_make(now_us, hold_id, err);
    if (!rc) /* before the first write: a wrong URL must not become a repository */
        rc = find_kind(repository, request->backup_id, &kind, err);
    if (!rc)
        rc = lock_acquire(repository, &lock_request, &lock, err);
    if (!rc)
        rc = add_locked(repository, request, hold_id, now_us, err);
    if (!rc)
        memcpy(ret_hold_id, hold_id, ID_SIZE);
    return rc;
}

static int take_copy(const json_t *object, const char *key, char **ret_copy, struct error *err)
{
    const char *text;
    int rc = json_take_text(object, key, &text, err);
    if (rc)
        return rc;
    *ret_copy = strdup(text);
    return *ret_copy ? 0 : error_no_memory(err);
}

static int parse_hold(const json_t *object, struct facts_hold *hold, struct error *err)
{
    int64_t format;
    int rc = json_take_integer(object, "format", &format, err);
    if (!rc && format > REPOSITORY_FORMAT)
        rc = error_set(err, ERR_CORRUPT, "its format is newer than this version knows");
    if (!rc)
        rc = take_copy(object, "hold_id", &hold->hold_id, err);
    if (!rc)
        rc = take_copy(object, "id", &hold->backup_id, err);
    if (!rc)
        rc = take_copy(object, "holder", &hold->holder, err);
    if (!rc)
        rc = take_copy(object, "reason", &hold->reason, err);
    if (!rc)
        rc = json_take_instant(object, "created_at", &hold->created_us, err);
    if (!rc && !json_is_null(json_object_get(object, "expires_at")))
        rc = json_take_instant(object, "expires_at", &hold->expires_us, err);
    return rc;
}

static void clear_hold(struct facts_hold *hold)
{
    free(hold->hold_id);
    free(hold->backup_id);
    free(hold->holder);
    free(hold->reason);
}

static int read_hold(const struct repository *repository, const char *key,
                     struct facts_hold *ret_hold, struct error *err)
{
    _cleanup_(json_release) json_t *object = NULL;
    struct facts_hold hold = {.created_us = INSTANT_NONE, .expires_us = INSTANT_NONE};
    int rc = repository_read_json(repository, key, REPOSITORY_DOCUMENT_MAX, &object, err);
    if (!rc) {
        rc = parse_hold(object, &hold, err);
        if (rc)
            error_prefix(err, "%s", key);
    }
    if (rc)
        clear_hold(&hold);
    else
        *ret_hold = hold;
    return rc;
}

struct gathering {
    struct repository *repository;
    struct facts *facts;
};

/* What can't be read stands as a hold on everything: `complete` becomes false. */
static int gather_hold(const struct store_object *object, void *context, struct error *err)
{
    const struct gathering *gathering = context;
    struct facts *facts = gathering->facts;
    struct facts_hold hold, *entry;
    struct error reason = ERROR_NONE;
    int rc = read_hold(gathering->repository, object->key, &hold, &reason);
    if (rc == ERR_NOT_FOUND) /* released meanwhile */
        return 0;
    if (rc) {
        facts->complete = false;
        if (!facts->problem && !(facts->problem = strdup(reason.message)))
            return error_no_memory(err);
        return 0;
    }
    rc = facts_add_hold(facts, &entry, err);
    if (rc)
        clear_hold(&hold);
    else
        *entry = hold;
    return rc;
}

int hold_read_all(struct repository *repository, struct facts *facts, struct error *err)
{
    struct gathering gathering = {repository, facts};
    char prefix[STORE_KEY_MAX + 1];
    int rc = repository_key(repository, prefix, err, "holds/");
    return rc ? rc : store_list(repository->store, prefix, false, gather_hold, &gathering, err);
}

int hold_release(struct repository *repository, const char *hold_id, const char *reason,
                 struct error *err)
{
    _cleanup_(json_release) json_t *hold = NULL;
    char key[STORE_KEY_MAX + 1];
    int rc = check_text("reason to release it", reason, err);
    if (!rc)
        rc = hold_key(repository, hold_id, key, err);
    if (rc)
        return rc;
    rc = repository_read_json(repository, key, REPOSITORY_DOCUMENT_MAX, &hold, err);
    if (rc == ERR_NOT_FOUND) {
        error_set(err, rc, "cluster \"%s\" has no hold %s", repository->cluster, hold_id);
        error_hint(err, "see: pgcairn hold list %s", repository->cluster);
    }
    if (rc)
        return rc;
    if (json_object_set_new(hold, "release_reason", json_string(reason)) != 0)
        return error_no_memory(err);
    rc = evidence_add(repository, "hold_released", TAKE(hold), NULL, err);
    return rc ? rc : store_delete(repository->store, key, err);
}

int hold_check_free(struct repository *repository, const char *backup_id, int64_t now_us,
                    struct error *err)
{
    struct facts facts = {.complete = true};
    int rc = hold_read_all(repository, &facts, err);
    if (!rc && !facts.complete)
        rc = error_set(err, ERR_UNKNOWN, "a hold can't be read: %s", facts.problem);
    for (size_t i = 0; !rc && i < facts.hold_count; i++) {
        const struct facts_hold *hold = &facts.holds[i];
        if (strcmp(hold->backup_id, backup_id) == 0 &&
            (hold->expires_us == INSTANT_NONE || hold->expires_us > now_us))
            rc = error_set(err, ERR_CONFLICT, "%s is held by %s (%s): %s", backup_id, hold->holder,
                           hold->hold_id, hold->reason);
    }
    facts_clear(&facts);
    return rc;
}
