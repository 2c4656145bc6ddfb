#include "repository/catalogue.h"

#include <string.h>

#include "base/json.h"
#include "base/strv.h"
#include "repository/backup.h"
#include "repository/evidence.h"
#include "repository/holds.h"
#include "repository/locks.h"
#include "repository/look.h"
#include "repository/manifest.h"
#include "repository/proof.h"

struct reading {
    struct look look;
    struct facts *facts;
    enum backup_kind kind;
    size_t prefix_length; /* of CLUSTER/dumps/ */
};

static int visit_backup(const struct store_object *object, void *context, struct error *err)
{
    struct reading *reading = context;
    struct facts *facts = reading->facts;
    char id[ID_SIZE];
    const char *name = object->key + reading->prefix_length;
    if (strlen(name) != ID_LENGTH + 1 || name[ID_LENGTH] != '/')
        return 0;
    memcpy(id, name, ID_LENGTH);
    id[ID_LENGTH] = '\0';
    if (!id_parse(id, NULL))
        return 0;
    struct facts_backup *backup;
    bool found;
    int rc = facts_add_backup(facts, &backup, err);
    if (!rc)
        rc = look_at_backup(&reading->look, reading->kind, id, backup, &found, err);
    if (rc)
        return rc;
    if (!found) { /* removed since it was listed */
        free(backup->id);
        free(backup->job);
        facts->backup_count--;
    }
    if (reading->look.problem[0] && !facts->problem &&
        !(facts->problem = strdup(reading->look.problem)))
        return error_no_memory(err);
    return 0;
}

static int read_kind(struct repository *repository, struct reading *reading, enum backup_kind kind,
                     struct error *err)
{
    char prefix[STORE_KEY_MAX + 1];
    int rc =
        repository_key(repository, prefix, err, "%s/", kind == BACKUP_DUMP ? "dumps" : "snapshots");
    reading->kind = kind;
    reading->prefix_length = strlen(prefix);
    return rc ? rc : store_list(repository->store, prefix, true, visit_backup, reading, err);
}

/* Evidence that is damaged leaves the facts incomplete, so that nothing is deleted; one that could
 * not be asked for is an error. */
static int mind_evidence(struct facts *facts, const struct error *reason, struct error *err)
{
    if (reason->code != ERR_CORRUPT) {
        if (reason->code && err)
            *err = *reason;
        return reason->code;
    }
    facts->complete = false;
    if (!facts->problem && !(facts->problem = strdup(reason->message)))
        return error_no_memory(err);
    return 0;
}

static int read_proof(struct repository *repository, const json_t *newest, struct facts *facts,
                      struct error *err)
{
    _cleanup_(proof_clear) struct proof proof = {0};
    int rc = proof_read_listed(repository, newest, &proof, err);
    if (!rc)
        proof_apply(&proof, facts);
    return rc;
}

/* Which backups have passed a drill, by the newest record of one. */
static int read_drills(struct repository *repository, const json_t *newest, struct facts *facts,
                       struct error *err)
{
    _cleanup_(json_release) json_t *record = NULL;
    int64_t number;
    int rc = evidence_read_listed(repository, newest, "drill", &number, &record, err);
    const json_t *passed = json_object_get(json_object_get(record, "body"), "passed");
    for (size_t i = 0; !rc && i < facts->backup_count; i++)
        if (json_object_get(passed, facts->backups[i].id))
            rc =
                json_take_instant(passed, facts->backups[i].id, &facts->backups[i].drilled_us, err);
    return rc;
}

/* Without a proof that can be read nothing tells which backups have a fault. */
static int read_evidence(struct repository *repository, struct facts *facts, struct error *err)
{
    _cleanup_(json_release) json_t *newest = NULL;
    struct error reason = ERROR_NONE;
    int rc = evidence_read_newest(repository, &newest, &reason);
    if (rc)
        return mind_evidence(facts, &reason, err);
    read_proof(repository, newest, facts, &reason);
    rc = mind_evidence(facts, &reason, err);
    if (rc)
        return rc;
    reason = ERROR_NONE;
    read_drills(repository, newest, facts, &reason);
    return mind_evidence(facts, &reason, err);
}

int catalogue_read(struct repository *repository, int64_t now_us, struct facts *ret_facts,
                   struct error *err)
{
    struct facts facts = {.complete = true, .cluster = strdup(repository->cluster)};
    struct reading reading = {.facts = &facts};
    if (!facts.cluster)
        return error_no_memory(err);
    int rc = look_init(&reading.look, repository, now_us, err);
    if (!rc)
        rc = read_kind(repository, &reading, BACKUP_DUMP, err);
    if (!rc)
        rc = read_kind(repository, &reading, BACKUP_SNAPSHOT, err);
    if (!rc)
        rc = hold_read_all(repository, &facts, err);
    if (!rc && facts.backup_count)
        rc = read_evidence(repository, &facts, err);
    look_clear(&reading.look);
    if (rc)
        facts_clear(&facts);
    else
        *ret_facts = facts;
    return rc;
}

const struct facts_backup *catalogue_find(const struct facts *facts, const char *id_or_latest,
                                          enum backup_kind kind)
{
    const struct facts_backup *found = NULL, *faulty = NULL;
    bool latest = strcmp(id_or_latest, "latest") == 0;
    for (size_t i = 0; i < facts->backup_count; i++) {
        const struct facts_backup *backup = &facts->backups[i];
        if (backup->kind != kind)
            continue;
        if (!latest && strcmp(backup->id, id_or_latest) == 0)
            return backup;
        const struct facts_backup **place = backup->failed_us == INSTANT_NONE ? &found : &faulty;
        if (latest && backup->state == BACKUP_GOOD &&
            (!*place || backup->completed_us > (*place)->completed_us))
            *place = backup;
    }
    return found ? found : faulty;
}
