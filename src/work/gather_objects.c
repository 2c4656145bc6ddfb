/* What lies in the repository: the objects of each backup against its manifest, what belongs to
 * nothing, and writes that never ended. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "repository/catalogue.h"
#include "repository/ids.h"
#include "repository/manifest.h"
#include "work/gather.h"

struct listing {
    struct facts_audit *facts;
    enum backup_kind kind;
    size_t prefix_length; /* of what all keys begin with */
};

static int add_stray(struct facts_audit *facts, const struct store_object *object,
                     struct error *err)
{
    struct facts_stray *stray;
    facts->stray_total++;
    facts->stray_bytes += object->size;
    if (facts->stray_count >= FACTS_STRAYS_MAX)
        return 0;
    int rc = facts_audit_add(&facts->strays, &facts->stray_count, sizeof(*stray), FACTS_STRAYS_MAX,
                             "strays", &stray, err);
    if (rc)
        return rc;
    stray->bytes = object->size;
    stray->modified_us = object->modified_us;
    stray->key = strdup(object->key);
    return stray->key ? 0 : error_no_memory(err);
}

static int add_fault(struct facts_audit *facts, const char *id, const char *name, const char *what,
                     struct error *err)
{
    struct facts_fault *fault;
    facts->fault_total++;
    if (facts->fault_count >= FACTS_FAULTS_MAX)
        return 0;
    int rc = facts_audit_add(&facts->faults, &facts->fault_count, sizeof(*fault), FACTS_FAULTS_MAX,
                             "faults", &fault, err);
    if (rc)
        return rc;
    fault->id = strdup(id);
    fault->object = strdup(name);
    fault->what = strdup(what);
    return fault->id && fault->object && fault->what ? 0 : error_no_memory(err);
}

/* -- the sum of each folder ---------------------------------------------------------------- */

static int find_contents(struct listing *listing, const char *id, struct facts_contents **ret,
                         struct error *err)
{
    struct facts_audit *facts = listing->facts;
    struct facts_contents *last =
        facts->content_count ? &facts->contents[facts->content_count - 1] : NULL;
    if (!last || last->kind != listing->kind || strcmp(last->id, id) != 0) {
        int rc = facts_audit_add(&facts->contents, &facts->content_count, sizeof(*last),
                                 FACTS_BACKUPS_MAX, "backups", &last, err);
        if (rc)
            return rc;
        last->kind = listing->kind;
        last->id = strdup(id);
        if (!last->id)
            return error_no_memory(err);
    }
    *ret = last;
    return 0;
}

/* What a manifest never lists; the script of a dump is in those of today, and was not always. */
static bool is_unlisted(const char *name)
{
    return strcmp(name, "started.json") == 0 || strcmp(name, "manifest.json") == 0;
}

static int sum_object(const struct store_object *object, void *context, struct error *err)
{
    struct listing *listing = context;
    struct facts_contents *contents = NULL;
    const char *rest = object->key + listing->prefix_length, *name = strchr(rest, '/');
    char id[ID_SIZE];
    if (!name || name - rest != ID_LENGTH)
        return add_stray(listing->facts, object, err);
    memcpy(id, rest, ID_LENGTH);
    id[ID_LENGTH] = '\0';
    if (!id_parse(id, NULL))
        return add_stray(listing->facts, object, err);
    if (is_unlisted(name + 1))
        return 0;
    int rc = find_contents(listing, id, &contents, err);
    if (rc)
        return rc;
    contents->objects++;
    contents->bytes += object->size;
    return 0;
}

static int compare_contents(const void *a, const void *b)
{
    const struct facts_contents *x = a, *y = b;
    return strcmp(x->id, y->id);
}

static int sum_kind(struct repository *repository, enum backup_kind kind, struct facts_audit *facts,
                    struct error *err)
{
    char prefix[STORE_KEY_MAX + 1];
    int rc = repository_key(repository, prefix, err, "%ss/", backup_kind_name(kind));
    struct listing listing = {.facts = facts, .kind = kind, .prefix_length = strlen(prefix)};
    return rc ? rc : store_list(repository->store, prefix, false, sum_object, &listing, err);
}

/* -- a folder that is not as its manifest says --------------------------------------------- */

struct comparing {
    struct facts_audit *facts;
    const struct facts_backup *backup;
    json_t *expected; /* name to size; what was seen is taken out */
    size_t prefix_length;
};

static int compare_object(const struct store_object *object, void *context, struct error *err)
{
    struct comparing *comparing = context;
    const char *name = object->key + comparing->prefix_length;
    const json_t *size = json_object_get(comparing->expected, name);
    if (is_unlisted(name) || (!size && strcmp(name, "restore.sh") == 0))
        return 0;
    if (!size)
        return add_stray(comparing->facts, object, err);
    int64_t expected = json_integer_value(size);
    json_object_del(comparing->expected, name);
    if (expected == object->size)
        return 0;
    char what[120];
    snprintf(what, sizeof(what), "has %lld bytes and not %lld", (long long)object->size,
             (long long)expected);
    return add_fault(comparing->facts, comparing->backup->id, name, what, err);
}

static int expect_objects(const json_t *manifest, json_t *expected)
{
    size_t i;
    json_t *object;
    int failed = 0;
    json_array_foreach(json_object_get(manifest, "objects"), i, object)
    {
        failed |= json_object_set_new(expected, json_text(object, "name"),
                                      json_integer(json_number(object, "size")));
    }
    return failed;
}

static int compare_folder(struct repository *repository, const struct facts_backup *backup,
                          struct facts_audit *facts, struct error *err)
{
    _cleanup_(json_release) json_t *manifest = NULL;
    _cleanup_(json_release) json_t *expected = json_object();
    char prefix[STORE_KEY_MAX + 1];
    const char *name;
    json_t *size;
    int rc = manifest_read(repository, backup->kind, backup->id, &manifest, err);
    if (!rc)
        rc = repository_backup_key(repository, backup->kind, backup->id, NULL, prefix, err);
    if (rc)
        return rc;
    if (!expected || expect_objects(manifest, expected))
        return error_no_memory(err);
    struct comparing comparing = {facts, backup, expected, strlen(prefix)};
    rc = store_list(repository->store, prefix, false, compare_object, &comparing, err);
    json_object_foreach(expected, name, size)
    {
        if (!rc)
            rc = add_fault(facts, backup->id, name, "is missing", err);
    }
    return rc;
}

/* One that was there when the backups were listed may be deleted by now; the evidence, which is
 * read later, tells whether that was in order. */
static int compare_folders(struct repository *repository, struct facts_audit *facts,
                           struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < facts->facts.backup_count && !rc; i++) {
        struct error gone = ERROR_NONE;
        const struct facts_backup *backup = &facts->facts.backups[i];
        if (backup->state != BACKUP_GOOD && backup->state != BACKUP_DAMAGED)
            continue;
        const struct facts_contents key = {.id = backup->id}, *contents = NULL;
        if (facts->content_count)
            contents =
                bsearch(&key, facts->contents, facts->content_count, sizeof(key), compare_contents);
        if (contents && contents->bytes == backup->bytes_stored)
            continue;
        rc = compare_folder(repository, backup, facts, &gone);
        if (rc == ERR_NOT_FOUND) {
            facts_remove_backup(&facts->facts, i--);
            rc = 0;
        } else if (rc && err) {
            *err = gone;
        }
    }
    return rc;
}

/* -- the rest ------------------------------------------------------------------------------ */

static int look_at_entry(const struct store_object *object, void *context, struct error *err)
{
    static const char *const KNOWN[] = {"dumps/",    "snapshots/", "wal/",  "holds/",
                                        "evidence/", "locks/",     "runs/", "cluster.json"};
    struct listing *listing = context;
    for (size_t i = 0; i < ARRAY_SIZE(KNOWN); i++)
        if (strcmp(object->key + listing->prefix_length, KNOWN[i]) == 0)
            return 0;
    return add_stray(listing->facts, object, err);
}

/* Of wal/ the folders of systems were read already; what else is there belongs to nothing. */
static int look_at_system(const struct store_object *object, void *context, struct error *err)
{
    struct listing *listing = context;
    const char *name = object->key + listing->prefix_length;
    size_t digits = strspn(name, "0123456789");
    return digits > 0 && strcmp(name + digits, "/") == 0 ? 0
                                                         : add_stray(listing->facts, object, err);
}

/* locks/NAME/NUMBER.json; and what a preflight writes to try the store is gone in a moment. */
static int look_at_lock(const struct store_object *object, void *context, struct error *err)
{
    struct listing *listing = context;
    const char *slash = strchr(object->key + listing->prefix_length, '/');
    size_t digits = slash ? strspn(slash + 1, "0123456789") : 0;
    bool is_probe =
        !slash && object->modified_us > listing->facts->at_us - CATALOGUE_GARBAGE_AGE_US;
    if (is_probe && strncmp(object->key + listing->prefix_length, "check-", 6) == 0)
        return 0;
    return digits > 0 && strcmp(slash + 1 + digits, ".json") == 0
               ? 0
               : add_stray(listing->facts, object, err);
}

static int look_below(struct repository *repository, const char *folder, bool delimiter,
                      store_visit visit, struct facts_audit *facts, struct error *err)
{
    char prefix[STORE_KEY_MAX + 1];
    int rc = repository_key(repository, prefix, err, "%s/", folder);
    struct listing listing = {.facts = facts, .prefix_length = strlen(prefix)};
    return rc ? rc : store_list(repository->store, prefix, delimiter, visit, &listing, err);
}

/* What the listing of WAL had no use for: counted there, and the first of a system named. */
static int take_wal_strays(struct facts_audit *facts, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < facts->facts.wal_count && !rc; i++) {
        const struct facts_wal *wal = &facts->facts.wals[i];
        struct store_object first = {.size = wal->stray_bytes};
        if (!wal->stray_count)
            continue;
        snprintf(first.key, sizeof(first.key), "%s", wal->stray);
        rc = add_stray(facts, &first, err);
        facts->stray_total += wal->stray_count - 1;
    }
    return rc;
}

static int note_unfinished(const struct store_object *object, void *context, struct error *err)
{
    (void)err;
    struct facts_audit *facts = context;
    facts->unfinished_count++;
    if (facts->unfinished_oldest_us == INSTANT_NONE ||
        object->modified_us < facts->unfinished_oldest_us)
        facts->unfinished_oldest_us = object->modified_us;
    return 0;
}

int gather_objects(struct repository *repository, struct facts_audit *facts, struct error *err)
{
    char prefix[STORE_KEY_MAX + 1];
    struct error reason = ERROR_NONE;
    int rc = repository_key(repository, prefix, &reason, "%s", "");
    struct listing listing = {.facts = facts, .prefix_length = strlen(prefix)};
    if (!rc)
        rc = store_list(repository->store, prefix, true, look_at_entry, &listing, &reason);
    if (!rc)
        rc = look_below(repository, "wal", true, look_at_system, facts, &reason);
    if (!rc)
        rc = take_wal_strays(facts, &reason);
    if (!rc)
        rc = look_below(repository, "locks", false, look_at_lock, facts, &reason);
    if (!rc)
        rc = sum_kind(repository, BACKUP_DUMP, facts, &reason);
    if (!rc)
        rc = sum_kind(repository, BACKUP_SNAPSHOT, facts, &reason);
    if (!rc && facts->content_count)
        qsort(facts->contents, facts->content_count, sizeof(*facts->contents), compare_contents);
    if (!rc)
        rc = compare_folders(repository, facts, &reason);
    if (!rc)
        rc = store_list_unfinished(repository->store, facts->at_us - CATALOGUE_GARBAGE_AGE_US,
                                   note_unfinished, facts, &reason);
    facts->has_contents = rc == 0;
    return gather_problem(&reason, &facts->repository_problem, err);
}
