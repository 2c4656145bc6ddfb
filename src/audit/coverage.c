/* COV: is everything in a backup? */
#include <fnmatch.h>
#include <string.h>

#include "audit/judging.h"

static bool matches(const struct strv *globs, const char *name)
{
    for (size_t i = 0; i < globs->count; i++)
        if (fnmatch(globs->items[i], name, 0) == 0)
            return true;
    return false;
}

static bool holds(char *const *databases, const char *name)
{
    for (size_t i = 0; databases && databases[i]; i++)
        if (strcmp(databases[i], name) == 0)
            return true;
    return false;
}

/* The newest good snapshot of any job holds the whole server. */
static const struct audit_backup *newest_snapshot(const struct audit_judging *judging)
{
    const struct audit_backup *found = NULL;
    const struct policy_job *job = NULL;
    while ((job = audit_next_job(judging->policy, JOB_SNAPSHOT, job))) {
        const struct audit_backup *newest = audit_newest_good(judging, job);
        if (newest && (!found || newest->started_us > found->started_us))
            found = newest;
    }
    return found;
}

static bool is_dumped(const struct audit_judging *judging, const char *database)
{
    const struct policy_job *job = NULL;
    while ((job = audit_next_job(judging->policy, JOB_DUMP, job))) {
        const struct audit_backup *newest = audit_newest_good(judging, job);
        if (newest && holds(newest->databases, database))
            return true;
    }
    return false;
}

static void judge_database(struct audit_judging *judging, const struct facts_database *database,
                           const struct audit_backup *snapshot, bool has_dumps)
{
    const struct policy *policy = judging->policy;
    const char *name = database->name;
    bool is_wanted = policy->databases.count == 0 || matches(&policy->databases, name);
    if (!database->accepts_connections || database->is_template)
        return;
    if (has_dumps && is_dumped(judging, name))
        audit_say(judging, AUDIT_PASS, "%s: in the newest dump", name);
    else if (has_dumps && is_wanted && !matches(&policy->audit.excluded_databases, name))
        audit_say(judging, AUDIT_FAIL, "%s: chosen by the policy, and in no newest good dump",
                  name);
    else if (snapshot)
        audit_say(judging, AUDIT_PASS, "%s: in the newest snapshot", name);
    else if (matches(&policy->audit.excluded_databases, name))
        audit_say(judging, AUDIT_PASS, "%s: left out by name", name);
    else if (strcmp(name, "postgres") == 0)
        audit_say(judging, AUDIT_WARN, "%s: in no backup, and not left out by name", name);
    else
        audit_say(judging, AUDIT_FAIL, "%s: in no backup, and not left out by name", name);
}

AUDIT_CONTROL(audit_databases_covered)
{
    (void)err;
    const struct facts_server *server = &judging->facts->server;
    bool has_dumps = audit_next_job(judging->policy, JOB_DUMP, NULL);
    audit_require(judging, judging->policy->databases_line,
                  "every database that accepts connections in a backup");
    if (audit_lacks_repository(judging) || audit_lacks_server(judging))
        return 0;
    const struct audit_backup *snapshot = newest_snapshot(judging);
    for (size_t i = 0; i < server->database_count; i++)
        judge_database(judging, &server->databases[i], snapshot, has_dumps);
    if (snapshot)
        audit_point(judging, "%s/snapshots/%s/manifest.json", judging->policy->cluster,
                    snapshot->id);
    return 0;
}

AUDIT_CONTROL(audit_globals_paired)
{
    (void)err;
    const struct facts_audit *facts = judging->facts;
    if (audit_lacks_repository(judging))
        return 0;
    for (size_t i = 0; i < facts->manifest_count; i++) {
        const struct facts_manifest *manifest = &facts->manifests[i];
        audit_point(judging, "%s/dumps/%s/manifest.json", judging->policy->cluster, manifest->id);
        if (!manifest->has_globals)
            audit_say(judging, AUDIT_FAIL, "%s: %s has no roles", manifest->job, manifest->id);
        else if (!manifest->has_role_passwords)
            audit_say(judging, AUDIT_WARN, "%s: roles of %s are without passwords", manifest->job,
                      manifest->id);
        else
            audit_say(judging, AUDIT_PASS, "%s: %s has roles with passwords", manifest->job,
                      manifest->id);
    }
    if (facts->manifest_count == 0)
        audit_say(judging, AUDIT_SKIP, "there is no dump");
    return 0;
}

/* -- copies -------------------------------------------------------------------------------- */

/* At most as many as are wanted are counted, the newest first, for there may be many more. */
static size_t count_good(const struct audit_judging *judging, enum job_type type,
                         const char *database, size_t wanted)
{
    const struct policy_job *job = NULL;
    size_t found = 0, count;
    while ((job = audit_next_job(judging->policy, type, job))) {
        const struct audit_backup *history = audit_history_of(judging, job->name, &count);
        for (size_t i = count; i > 0 && found < wanted; i--)
            found += history[i - 1].is_good && history[i - 1].backup &&
                     (!database || holds(history[i - 1].databases, database));
    }
    return found;
}

static void judge_copies(struct audit_judging *judging, enum job_type type, const char *database)
{
    size_t wanted = (size_t)judging->policy->audit.copies;
    size_t count = count_good(judging, type, database, wanted);
    audit_say(judging,
              count == 0       ? AUDIT_FAIL
              : count < wanted ? AUDIT_WARN
                               : AUDIT_PASS,
              "%ss%s%s: %zu good%s", job_type_name(type), database ? " of " : "",
              database ? database : "", count, count < wanted ? "" : " or more");
}

AUDIT_CONTROL(audit_copies)
{
    (void)err;
    const struct policy *policy = judging->policy;
    const struct policy_job *job = NULL;
    audit_require(judging, 0, "at least %d good backups of each database and kind",
                  policy->audit.copies);
    if (audit_lacks_repository(judging))
        return 0;
    if (audit_next_job(policy, JOB_SNAPSHOT, NULL))
        judge_copies(judging, JOB_SNAPSHOT, NULL);
    bool has_newest = false;
    while ((job = audit_next_job(policy, JOB_DUMP, job))) {
        const struct audit_backup *newest = audit_newest_good(judging, job);
        for (size_t i = 0; newest && newest->databases && newest->databases[i]; i++)
            judge_copies(judging, JOB_DUMP, newest->databases[i]);
        has_newest |= newest != NULL;
    }
    if (audit_next_job(policy, JOB_DUMP, NULL) && !has_newest)
        audit_say(judging, AUDIT_FAIL, "dumps: none good");
    return 0;
}

/* -- the place ----------------------------------------------------------------------------- */

/* How far apart they are, and whether a second place has them, no fact tells. */
AUDIT_CONTROL(audit_location)
{
    (void)err;
    const char *url = judging->policy->repository_url;
    if (!audit_is_store_local(judging))
        audit_say(judging, AUDIT_PASS, "%s is not of this machine", url);
    else if (audit_lacks_server(judging))
        return 0;
    else if (judging->facts->server.is_local)
        audit_say(judging, AUDIT_WARN,
                  "the server and %s are both of this machine: what happens to it takes both, "
                  "unless that is mounted from elsewhere",
                  url);
    else
        audit_say(judging, AUDIT_PASS, "%s is of this machine, and the server is not", url);
    return 0;
}
