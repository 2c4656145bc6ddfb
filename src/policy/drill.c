#include "policy/drill.h"

#include <string.h>

#include "base/suggest.h"
#include "policy/problems.h"

int drill_read_of(struct reader *reader, const struct document_node *value, void *target)
{
    struct policy_job *job = target;
    job->of_line = value->line;
    return value_copy(reader, value, "of", &job->of);
}

static int read_assertion(struct reader *reader, const struct document_node *item,
                          struct policy_job *job)
{
    struct policy_assertion *assertion = &job->assertions[job->assertion_count];
    if (item->kind != NODE_MAP)
        return value_error(reader, item,
                           "\"assertions\" must be a list of mappings, as in: "
                           "[{sql: select count(*) > 0 from orders}]");
    assertion->line = item->line;
    job->assertion_count++;
    int rc = section_read(reader, &section_assertion, item, assertion);
    if (!rc && !map_value(item, "sql"))
        rc = value_error(reader, item, "an assertion has no \"sql\"");
    return rc;
}

int drill_read_assertions(struct reader *reader, const struct document_node *value, void *target)
{
    struct policy_job *job = target;
    if (value->kind != NODE_LIST)
        return value_error(reader, value, "\"assertions\" must be a list");
    if (value->count > POLICY_LIST_MAX)
        return value_error(reader, value, "\"assertions\" has %zu entries, more than %d",
                           value->count, POLICY_LIST_MAX);
    job->assertions = calloc(value->count + 1, sizeof(*job->assertions));
    if (!job->assertions)
        return error_no_memory(reader->err);
    int rc = 0;
    for (size_t i = 0; i < value->count && !rc; i++)
        if (!value->entries[i].value->is_broken)
            rc = read_assertion(reader, value->entries[i].value, job);
    return rc;
}

static bool is_restorable(const struct policy_job *job)
{
    return job->type == JOB_DUMP || job->type == JOB_SNAPSHOT;
}

static int unknown_job(struct reader *reader, const struct policy_job *drill)
{
    const struct policy *policy = reader->policy;
    const char *names[POLICY_JOBS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < policy->job_count; i++)
        if (is_restorable(&policy->jobs[i]))
            names[count++] = policy->jobs[i].name;
    const char *nearest = suggest_nearest(drill->of, names, count);
    return problems_error(reader->problems, drill->of_line, 1, reader->err,
                          "job \"%s\": \"of\" names no job of type dump or snapshot: \"%s\"%s%s%s",
                          drill->name, drill->of, nearest ? ", did you mean \"" : "",
                          nearest ? nearest : "", nearest ? "\"?" : "");
}

int drill_check(struct reader *reader)
{
    const struct policy *policy = reader->policy;
    int rc = 0;
    for (size_t i = 0; i < policy->job_count && !rc; i++) {
        const struct policy_job *job = &policy->jobs[i];
        if (job->type != JOB_DRILL)
            continue;
        const struct policy_job *of = job->of ? policy_find_job(policy, job->of) : NULL;
        if (!job->of)
            rc = problems_error(reader->problems, job->line, 1, reader->err,
                                "job \"%s\" of type drill has no \"of\": which job's backups shall "
                                "be restored?",
                                job->name);
        else if (!of || !is_restorable(of))
            rc = unknown_job(reader, job);
    }
    return rc;
}
