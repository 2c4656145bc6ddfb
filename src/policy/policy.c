#include "policy/policy.h"

#include <string.h>

#include "policy/features.h"

static const struct {
    const char *name;
    enum feature feature;
} JOB_TYPES[JOB_TYPE_COUNT] = {
    [JOB_WAL] = {"wal", FEATURE_WAL},
    [JOB_DUMP] = {"dump", FEATURE_DUMP},
    [JOB_SNAPSHOT] = {"snapshot", FEATURE_SNAPSHOT},
    [JOB_VACUUM] = {"vacuum", FEATURE_VACUUM},
    [JOB_PRUNE] = {"prune", FEATURE_PRUNE},
    [JOB_VERIFY] = {"verify", FEATURE_VERIFY},
    [JOB_DRILL] = {"drill", FEATURE_DRILL},
    [JOB_AUDIT] = {"audit", FEATURE_AUDIT},
};

const char *job_type_name(enum job_type type)
{
    return JOB_TYPES[type].name;
}

bool job_type_available(enum job_type type)
{
    return feature_available(JOB_TYPES[type].feature);
}

const struct policy_job *policy_find_job(const struct policy *policy, const char *name)
{
    for (size_t i = 0; i < policy->job_count; i++)
        if (strcmp(policy->jobs[i].name, name) == 0)
            return &policy->jobs[i];
    return NULL;
}

static void free_secret(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

static void job_clear(struct policy_job *job)
{
    free(job->name);
    free(job->schedule_text);
    cron_free(job->schedule);
    free(job->timezone);
    free_secret(job->connection);
    free(job->slot);
    free(job->of);
    free(job->scratch);
    for (size_t i = 0; i < job->assertion_count; i++) {
        free(job->assertions[i].sql);
        free(job->assertions[i].database);
    }
    free(job->assertions);
    strv_clear(&job->tables);
    strv_clear(&job->after);
    strv_clear(&job->groups);
    policy_hooks_clear(&job->hooks);
}

struct policy *policy_free(struct policy *policy)
{
    if (!policy)
        return NULL;
    for (size_t i = 0; i < policy->job_count; i++)
        job_clear(&policy->jobs[i]);
    free(policy->jobs);
    for (size_t i = 0; i < policy->group_count; i++)
        free(policy->groups[i].name);
    free(policy->groups);
    free(policy->file);
    free(policy->cluster);
    free(policy->timezone);
    free_secret(policy->connection);
    free(policy->password_file);
    free(policy->passfile);
    strv_clear(&policy->databases);
    free(policy->bindir);
    free(policy->repository_url);
    policy_s3_clear(&policy->s3);
    policy_audit_clear(&policy->audit);
    for (size_t i = 0; i < policy->notify_count; i++)
        policy_notify_clear(&policy->notify[i]);
    free(policy->notify);
    free(policy);
    return NULL;
}
