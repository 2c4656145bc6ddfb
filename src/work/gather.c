#include "work/gather.h"

#include <string.h>

#include "base/json.h"
#include "repository/catalogue.h"
#include "repository/manifest.h"
#include "repository/wal.h"
#include "work/bucket_rules.h"
#include "work/open_repository.h"
#include "work/work.h"

int gather_problem(const struct error *error, char **ret_problem, struct error *err)
{
    bool ends_all = error->code == ERR_MEMORY || error->code == ERR_LIMIT ||
                    error->code == ERR_INTERRUPTED || error->code == ERR_TIMEOUT;
    if (!error->code)
        return 0;
    if (ends_all) {
        if (err)
            *err = *error;
        return error->code;
    }
    if (*ret_problem)
        return 0;
    *ret_problem = strdup(error->message);
    return *ret_problem ? 0 : error_no_memory(err);
}

static int copy_text(const char *text, char **ret_copy, struct error *err)
{
    *ret_copy = strdup(text);
    return *ret_copy ? 0 : error_no_memory(err);
}

/* -- what cluster.json and the newest manifests tell ---------------------------------------- */

static int read_cluster(struct repository *repository, struct facts_audit *facts, struct error *err)
{
    char key[STORE_KEY_MAX + 1];
    struct error reason = ERROR_NONE;
    _cleanup_(json_release) json_t *object = NULL;
    int rc = repository_key(repository, key, &reason, "cluster.json");
    if (!rc)
        rc = repository_read_json(repository, key, REPOSITORY_DOCUMENT_MAX, &object, &reason);
    if (rc == ERR_NOT_FOUND)
        return 0; /* no server was ever admitted */
    if (rc)
        return gather_problem(&reason, &facts->repository_problem, err);
    size_t i;
    json_t *system;
    json_array_foreach(json_object_get(object, "systems"), i, system)
    {
        int64_t seen_us;
        if (json_take_instant(system, "first_seen", &seen_us, NULL) == 0 &&
            (facts->since_us == INSTANT_NONE || seen_us < facts->since_us))
            facts->since_us = seen_us;
    }
    return copy_text(json_text(object, "system_identifier"), &facts->system_identifier, err);
}

static const struct facts_backup *newest_dump(const struct facts *facts, const char *job)
{
    const struct facts_backup *found = NULL;
    for (size_t i = 0; i < facts->backup_count; i++) {
        const struct facts_backup *backup = &facts->backups[i];
        if (backup->kind == BACKUP_DUMP && backup->state == BACKUP_GOOD && backup->job &&
            strcmp(backup->job, job) == 0 && (!found || backup->started_us > found->started_us))
            found = backup;
    }
    return found;
}

static int describe_manifest(const struct facts_backup *backup, const json_t *manifest,
                             struct facts_audit *facts, struct error *err)
{
    struct facts_manifest *entry;
    const json_t *globals = json_object_get(manifest, "globals");
    size_t i;
    json_t *database;
    int rc = facts_audit_add(&facts->manifests, &facts->manifest_count, sizeof(*entry),
                             FACTS_ROWS_MAX, "manifests", &entry, err);
    if (rc)
        return rc;
    const char *object = json_text(globals, "object");
    entry->has_globals = *object && manifest_object(manifest, object);
    entry->has_role_passwords = json_is_true(json_object_get(globals, "role_passwords"));
    json_array_foreach(json_object_get(manifest, "databases"), i, database)
    {
        entry->rows += json_number(database, "rows");
        entry->tables += (int64_t)json_array_size(json_object_get(database, "tables"));
    }
    rc = copy_text(backup->id, &entry->id, err);
    return rc ? rc : copy_text(backup->job, &entry->job, err);
}

static int read_manifests(const struct policy *policy, struct repository *repository,
                          struct facts_audit *facts, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < policy->job_count && !rc; i++) {
        struct error reason = ERROR_NONE;
        _cleanup_(json_release) json_t *manifest = NULL;
        const struct facts_backup *newest = policy->jobs[i].type == JOB_DUMP
                                                ? newest_dump(&facts->facts, policy->jobs[i].name)
                                                : NULL;
        if (!newest)
            continue;
        rc = manifest_read(repository, BACKUP_DUMP, newest->id, &manifest, &reason)
                 ? gather_problem(&reason, &facts->repository_problem, err)
                 : describe_manifest(newest, manifest, facts, err);
    }
    return rc;
}

/* -- the bucket ---------------------------------------------------------------------------- */

static char *own(const char *text, int *failed)
{
    char *copy = strdup(text);
    *failed |= !copy;
    return copy;
}

static int copy_rules(const struct store_traits *traits, struct facts_bucket *bucket,
                      struct error *err)
{
    int failed = 0;
    bucket->rules = calloc(traits->rule_count + 1, sizeof(*bucket->rules));
    if (!bucket->rules)
        return error_no_memory(err);
    for (size_t i = 0; i < traits->rule_count; i++) {
        struct facts_rule rule = bucket_rule(&traits->rules[i]);
        rule.id = own(rule.id, &failed);
        rule.prefix = own(rule.prefix, &failed);
        rule.storage_class = own(rule.storage_class, &failed);
        bucket->rules[i] = rule;
        bucket->rule_count++;
    }
    return failed ? error_no_memory(err) : 0;
}

static bool has_deleted(const struct facts_audit *facts)
{
    for (size_t i = 0; i < facts->record_count; i++)
        if (strcmp(facts->records[i].type, "backup_removed") == 0)
            return true;
    return false;
}

/* An audit tries nothing: that versions can be deleted is taken from deletions on record. */
static int read_bucket(const struct policy *policy, struct repository *repository,
                       struct facts_audit *facts, struct error *err)
{
    struct error reason = ERROR_NONE;
    struct store_traits traits;
    int failed = 0;
    if (strncmp(policy->repository_url, "s3://", 5) != 0)
        return 0;
    if (store_read_traits(repository->store, &traits, &reason))
        return gather_problem(&reason, &facts->bucket_problem, err);
    const char *slash = strchr(policy->repository_url + strlen("s3://"), '/');
    facts->store_clock_offset_us = traits.clock_offset_us;
    facts->has_bucket = true;
    facts->bucket = (struct facts_bucket){
        .prefix = own(slash ? slash + 1 : "", &failed),
        .is_versioned = traits.versioning != STORE_VERSIONING_OFF,
        .allows_locks = traits.object_lock,
        .locks_by_default = traits.default_lock != STORE_LOCK_OFF,
        .default_lock_days = traits.default_lock_days,
        .creates_may_race = traits.creates_may_race,
        .can_delete = has_deleted(facts),
        .is_listed_publicly = traits.is_listed_publicly,
        .is_read_publicly = traits.is_read_publicly,
        .versioning_problem = own(traits.versioning_problem, &failed),
        .lock_problem = own(traits.lock_problem, &failed),
        .rules_problem = own(traits.rules_problem, &failed),
        .public_problem = own(traits.public_problem, &failed),
    };
    int rc = copy_rules(&traits, &facts->bucket, err);
    store_traits_clear(&traits);
    return rc || !failed ? rc : error_no_memory(err);
}

/* -- the story ----------------------------------------------------------------------------- */

static int read_repository(const struct gather *gather, struct repository *repository,
                           struct facts_audit *facts, struct error *err)
{
    struct error reason = ERROR_NONE;
    int rc = catalogue_read(repository, gather->now_us, &facts->facts, &reason);
    if (!rc)
        rc = wal_facts_read_all(repository, &facts->facts, &reason);
    if (rc)
        return gather_problem(&reason, &facts->repository_problem, err);
    rc = read_cluster(repository, facts, err);
    if (rc || gather->is_brief)
        return rc;
    rc = gather_objects(repository, facts, err);
    if (!rc) /* behind the objects: it tells who deleted what was not there any more */
        rc = gather_evidence(repository, gather->known, facts, err);
    if (!rc)
        rc = read_manifests(gather->policy, repository, facts, err);
    return rc ? rc : read_bucket(gather->policy, repository, facts, err);
}

static int open_and_read(const struct gather *gather, struct facts_audit *facts, struct error *err)
{
    _cleanup_(repository_freep) struct repository *own_repository = NULL;
    struct error reason = ERROR_NONE;
    if (!gather->repository && work_open_repository(gather->policy, NULL, &own_repository, &reason))
        return gather_problem(&reason, &facts->repository_problem, err);
    return read_repository(gather, gather->repository ? gather->repository : own_repository, facts,
                           err);
}

int gather_facts(const struct gather *gather, struct facts_audit *ret_facts, struct error *err)
{
    const struct policy *policy = gather->policy;
    struct facts_audit facts;
    facts_audit_init(&facts);
    facts.at_us = gather->now_us;
    int rc = copy_text(PGCAIRN_VERSION, &facts.pgcairn_version, err);
    if (!rc)
        rc = copy_text(policy->sha256, &facts.policy_sha256, err);
    if (!rc)
        rc = copy_text(policy->repository_url, &facts.repository_url, err);
    if (!rc)
        rc = open_and_read(gather, &facts, err);
    if (!rc && !facts.facts.cluster)
        rc = copy_text(policy->cluster, &facts.facts.cluster, err);
    if (!rc && gather->asks_server)
        rc = gather_server(policy, gather->is_brief, &facts, err);
    if (!rc && gather->asks_journal)
        rc = gather_journal(policy, &facts, err);
    if (!rc)
        rc = gather_files(policy, &facts, err);
    if (!rc && work_interrupted(err))
        rc = ERR_INTERRUPTED;
    if (rc)
        facts_audit_clear(&facts);
    else
        *ret_facts = facts;
    return rc;
}
