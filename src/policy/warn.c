#include <string.h>

#include "policy/keys.h"
#include "policy/problems.h"

static bool makes_backups(const struct policy_job *job)
{
    return job->type == JOB_WAL || job->type == JOB_DUMP || job->type == JOB_SNAPSHOT;
}

/* In a policy the @words are spread by the job's name: who writes @daily expects midnight. */
static int warn_word(struct reader *reader, const struct policy_job *job)
{
    const struct policy_place *at = &job->schedule_place;
    _cleanup_(freep) char *text = NULL;
    if (!job->schedule || job->after.count > 0 ||
        job->schedule_text[strspn(job->schedule_text, " \t")] != '@')
        return 0;
    int rc = cron_to_text(job->schedule, &text, reader->err);
    return rc ? rc
              : problems_warning(reader->problems, at->line, at->column, reader->err,
                                 "schedule \"%s\" is \"%s\" for this job, drawn from its name; "
                                 "write five fields for a time of your own",
                                 job->schedule_text, text);
}

static int warn_job(struct reader *reader, const struct policy_job *job)
{
    const struct policy *policy = reader->policy;
    const struct policy_place *at = &job->schedule_place;
    int rc = 0;
    if (!job->schedule)
        rc = problems_warning(reader->problems, job->line, 1, reader->err,
                              "job \"%s\" has no schedule: it runs by hand only", job->name);
    else if (job->after.count == 0 && cron_misses_gaps(job->schedule))
        rc = problems_warning(reader->problems, at->line, at->column, reader->err,
                              "schedule \"%s\" is not run at all in a night whose clock change "
                              "skips that hour (fixed minutes are, as in \"0,30 2 * * *\")",
                              job->schedule_text);
    if (!rc)
        rc = warn_word(reader, job);
    if (!rc && makes_backups(job) && !job->keep.is_set)
        rc = problems_warning(reader->problems, job->line, 1, reader->err,
                              "job \"%s\" has no keep: none of its backups is ever deleted",
                              job->name);
    if (!rc && job->jobs > policy->max_connections)
        rc = problems_warning(reader->problems, job->line, 1, reader->err,
                              "job \"%s\": jobs: %d does not fit under max_connections: %d and is "
                              "cut",
                              job->name, job->jobs, policy->max_connections);
    return rc;
}

static int warn_prune(struct reader *reader)
{
    const struct policy *policy = reader->policy;
    for (size_t i = 0; i < policy->job_count; i++)
        if (policy->jobs[i].keep.is_set)
            return 0;
    for (size_t i = 0; i < policy->job_count; i++)
        if (policy->jobs[i].type == JOB_PRUNE)
            return problems_warning(
                reader->problems, policy->jobs[i].line, 1, reader->err,
                "job \"%s\" has nothing to prune: no job has keep:", policy->jobs[i].name);
    return 0;
}

/* Two jobs of one schedule get in each other's way: the first holds what the second needs. */
static int warn_same_minute(struct reader *reader)
{
    const struct policy *policy = reader->policy;
    _cleanup_(strv_clear) struct strv texts = STRV_INIT(POLICY_JOBS_MAX);
    int rc = 0;
    for (size_t i = 0; i < policy->job_count && !rc; i++) {
        const struct policy_job *job = &policy->jobs[i];
        char *text = NULL;
        rc = job->schedule && job->after.count == 0
                 ? cron_to_text(job->schedule, &text, reader->err)
                 : 0;
        for (size_t k = 0; k < i && text && !rc; k++) {
            if (strcmp(texts.items[k], text) != 0 ||
                strcmp(policy->jobs[k].timezone, job->timezone) != 0)
                continue;
            rc = problems_warning(
                reader->problems, job->schedule_place.line, job->schedule_place.column, reader->err,
                "jobs \"%s\" and \"%s\" start in the same minute", policy->jobs[k].name, job->name);
            break;
        }
        if (!rc)
            rc = strv_take(&texts, text ? text : strdup(""), reader->err);
        else
            free(text);
    }
    return rc;
}

int policy_warn(struct reader *reader)
{
    const struct policy *policy = reader->policy;
    int rc = 0;
    if (policy->job_count == 0)
        return problems_warning(reader->problems, 1, 1, reader->err,
                                "no jobs: nothing is ever backed up");
    for (size_t i = 0; i < policy->job_count && !rc; i++)
        rc = warn_job(reader, &policy->jobs[i]);
    if (!rc)
        rc = warn_prune(reader);
    if (!rc)
        rc = notify_warn(reader);
    return rc ? rc : warn_same_minute(reader);
}
