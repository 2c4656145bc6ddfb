#include <stdio.h>
#include <string.h>

#include "base/suggest.h"
#include "policy/keys.h"
#include "policy/problems.h"

enum { JOB_NAME_MAX = 63, LEVEL_DEFAULT = 2 /* of a verify job */ };

static bool is_name(const char *text)
{
    size_t length =
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    return length > 0 && length <= JOB_NAME_MAX && !text[length];
}

static void list_types(char text[128])
{
    size_t used = 0;
    for (int type = 0; type < JOB_TYPE_COUNT; type++)
        if (job_type_available((enum job_type)type))
            used += (size_t)snprintf(text + used, 128 - used, "%s%s", used ? ", " : "",
                                     job_type_name((enum job_type)type));
}

static int unknown_type(struct reader *reader, const struct document_node *value)
{
    const char *names[JOB_TYPE_COUNT];
    char shown[64], available[128];
    for (int type = 0; type < JOB_TYPE_COUNT; type++)
        names[type] = job_type_name((enum job_type)type);
    const char *nearest = suggest_nearest(value->text, names, JOB_TYPE_COUNT);
    list_types(available);
    value_shown(value, shown);
    if (nearest)
        return value_error(reader, value, "unknown job type \"%s\": did you mean \"%s\"?", shown,
                           nearest);
    return value_error(reader, value, "unknown job type \"%s\" (available: %s)", shown, available);
}

/* Sets reader->job when the type is known; without it keys are read but not held against a type. */
static int read_type(struct reader *reader, const struct document_node *name,
                     const struct document_node *map, struct policy_job *job)
{
    const struct document_node *value = map_value(map, "type");
    char available[128];
    list_types(available);
    if (!value || value->kind != NODE_TEXT)
        return value_error(reader, value ? value : name, "job \"%s\" has no type: (available: %s)",
                           job->name, available);
    if (value->is_broken)
        return 0;
    int type = 0;
    while (type < JOB_TYPE_COUNT && strcmp(job_type_name((enum job_type)type), value->text) != 0)
        type++;
    if (type == JOB_TYPE_COUNT)
        return unknown_type(reader, value);
    job->type = (enum job_type)type;
    reader->job = job;
    if (job_type_available(job->type))
        return 0;
    reader->job_unavailable = true;
    return value_error(reader, value,
                       "job type \"%s\" is not available in this version (available: %s)",
                       job_type_name(job->type), available);
}

/* cron knows the column within the text; in a block or behind ${} it would mislead. */
static int schedule_fault(struct reader *reader, const struct document_node *value, int column,
                          const struct error *fault)
{
    char shown[64];
    int at = value->column;
    if (value->source)
        return value_error(reader, value, "schedule \"%s\" is no cron expression when expanded",
                           value_shown(value, shown));
    if (value->quote >= 0 && column > 0)
        at += value->quote + column - 1;
    return problems_error(reader->problems, value->line, at, reader->err,
                          "schedule \"%s\": %s%s%s%s", value_shown(value, shown), fault->message,
                          fault->hint[0] ? " (" : "", fault->hint, fault->hint[0] ? ")" : "");
}

static int read_schedule(struct reader *reader, const struct document_node *value,
                         struct policy_job *job)
{
    char id[160], shown[64];
    struct error fault = ERROR_NONE;
    int column = 0;
    if (!value || value->is_broken)
        return 0;
    job->schedule_place = (struct policy_place){value->line, value->column};
    int rc = value_copy(reader, value, "schedule", &job->schedule_text);
    if (rc || !*job->schedule_text)
        return rc;
    snprintf(id, sizeof(id), "%s/%s", reader->policy->cluster, job->name);
    struct cron_options options = {.hash_id = id, .allow_seconds = job->seconds};
    rc = cron_parse(value->text, &options, &job->schedule, &column, &fault);
    if (rc == ERR_MEMORY)
        return error_no_memory(reader->err);
    if (rc)
        return schedule_fault(reader, value, column, &fault);
    if (!cron_can_fire(job->schedule))
        return value_error(reader, value, "schedule \"%s\" never fires: no such date exists",
                           value_shown(value, shown));
    return 0;
}

static int read_timezone(struct reader *reader, const struct document_node *value,
                         struct policy_job *job)
{
    job->timezone = strdup(reader->policy->timezone);
    if (!job->timezone)
        return error_no_memory(reader->err);
    if (!value || value->is_broken)
        return 0;
    return value_timezone(reader, value, &job->timezone, &job->timezone_place);
}

static int read_job(struct reader *reader, const struct document_node *name,
                    const struct document_node *map, struct policy_job *job)
{
    if (map->kind != NODE_MAP)
        return value_error(reader, map, "job \"%s\" must be a mapping of keys", job->name);
    reader->job = NULL;
    reader->job_unavailable = false;
    int rc = read_type(reader, name, map, job);
    if (!rc && !job->jobs)
        job->jobs = job->type == JOB_DUMP || job->type == JOB_VERIFY ? 2 : 1;
    if (!rc)
        job->level = LEVEL_DEFAULT;
    if (!rc)
        rc = section_read(reader, &section_job, map, job);
    if (!rc)
        rc = hooks_inherit(reader, &job->hooks);
    if (!rc)
        rc = read_timezone(reader, map_value(map, "timezone"), job);
    if (!rc)
        rc = read_schedule(reader, map_value(map, "schedule"), job);
    if (reader->job && job->type == JOB_WAL)
        job->deny.count = 0; /* of defaults: WAL never waits */
    reader->job = NULL;
    reader->job_unavailable = false;
    return rc;
}

static int add_job(struct reader *reader, const struct document_entry *entry,
                   const struct policy_job *defaults)
{
    struct policy *policy = reader->policy;
    const struct document_node *name = entry->key;
    char shown[64];
    if (!is_name(name->text))
        return value_error(reader, name,
                           "job name \"%s\" must be 1 to %d letters, digits, \"-\" or \"_\"",
                           value_shown(name, shown), JOB_NAME_MAX);
    struct policy_job *job = &policy->jobs[policy->job_count];
    *job = *defaults;
    job->line = name->line;
    job->tables = STRV_INIT(POLICY_LIST_MAX);
    job->after = STRV_INIT(POLICY_JOBS_MAX);
    job->groups = STRV_INIT(POLICY_GROUPS_MAX);
    job->name = strdup(name->text);
    job->schedule_text = strdup("");
    policy->job_count++;
    if (!job->name || !job->schedule_text)
        return error_no_memory(reader->err);
    return read_job(reader, name, entry->value, job);
}

int read_jobs(struct reader *reader, const struct document_node *key,
              const struct document_node *value, const struct policy_job *defaults)
{
    if (value->kind != NODE_MAP)
        return value_error(reader, value, "\"jobs\" must be a mapping of job names");
    if (value->count > POLICY_JOBS_MAX)
        return value_error(reader, key, "%zu jobs, more than %d", value->count, POLICY_JOBS_MAX);
    reader->policy->jobs = calloc(value->count + 1, sizeof(struct policy_job));
    if (!reader->policy->jobs)
        return error_no_memory(reader->err);
    int rc = 0;
    for (size_t i = 0; i < value->count && !rc; i++)
        rc = add_job(reader, &value->entries[i], defaults);
    return rc;
}
