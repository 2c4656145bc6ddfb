#include "policy/order.h"

#include <string.h>

#include "base/suggest.h"
#include "base/units.h"
#include "policy/problems.h"

enum { GROUP_NAME_MAX = 63, GROUP_LIMIT_MAX = 100 };

static const struct key DENY_KEYS[] = {
    {.name = "days",
     .type = VALUE_ANY,
     .offset = NOWHERE,
     .fallback = "every day",
     .help = "weekdays on which the window begins: mon-fri, sat,sun, or a list of such"},
    {.name = "from",
     .type = VALUE_ANY,
     .offset = NOWHERE,
     .fallback = "00:00",
     .help = "when it begins, in the job's time zone"},
    {.name = "to",
     .type = VALUE_ANY,
     .offset = NOWHERE,
     .fallback = "24:00",
     .help = "when it ends; at or before its beginning: on the next day"},
    {.name = "action",
     .type = VALUE_ANY,
     .offset = NOWHERE,
     .fallback = "defer",
     .help = "defer: what is due in it runs at its end; skip: it is not run, on record"},
};
const struct section section_deny = {"deny", DENY_KEYS, ARRAY_SIZE(DENY_KEYS), NULL};

/* -- names ------------------------------------------------------------------------------------ */

static int read_names(struct reader *reader, const struct document_node *value, const char *key,
                      struct strv *names)
{
    const struct document_entry single = {.value = (struct document_node *)(uintptr_t)value};
    const struct document_entry *entries = value->kind == NODE_LIST ? value->entries : &single;
    size_t count = value->kind == NODE_LIST ? value->count : 1;
    int rc = 0;
    if (count == 0)
        return value_error(reader, value, "\"%s\" must be a name or a list of them", key);
    for (size_t i = 0; i < count && !rc; i++) {
        const struct document_node *item = entries[i].value;
        if (item->is_broken)
            continue;
        if (item->kind != NODE_TEXT || !*item->text)
            rc = value_error(reader, item, "\"%s\" must be a name or a list of them", key);
        else if (strv_has(names, item->text))
            rc = value_error(reader, item, "\"%s\" is listed twice", item->text);
        else
            rc = strv_add(names, item->text, reader->err);
    }
    return rc;
}

int order_read_after(struct reader *reader, const struct document_node *value, void *target)
{
    struct policy_job *job = target;
    job->after_place = (struct policy_place){value->line, value->column};
    return read_names(reader, value, "after", &job->after);
}

int order_read_group(struct reader *reader, const struct document_node *value, void *target)
{
    struct policy_job *job = target;
    job->group_place = (struct policy_place){value->line, value->column};
    return read_names(reader, value, "group", &job->groups);
}

int order_read_groups(struct reader *reader, const struct document_node *value, void *target)
{
    struct policy *policy = target;
    char shown[64];
    if (value->kind != NODE_MAP || value->count == 0)
        return value_error(reader, value,
                           "\"groups\" must be a mapping of names to limits, as in: {disk: 1}");
    if (value->count > POLICY_GROUPS_MAX)
        return value_error(reader, value, "%zu groups, more than %d", value->count,
                           POLICY_GROUPS_MAX);
    policy->groups = calloc(value->count, sizeof(*policy->groups));
    if (!policy->groups)
        return error_no_memory(reader->err);
    int rc = 0;
    for (size_t i = 0; i < value->count && !rc; i++) {
        const struct document_node *name = value->entries[i].key, *item = value->entries[i].value;
        int64_t limit = 0;
        if (strspn(name->text,
                   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") !=
                strlen(name->text) ||
            !*name->text || strlen(name->text) > GROUP_NAME_MAX)
            rc = value_error(reader, name,
                             "group \"%s\" must be 1 to %d letters, digits, \"-\" or "
                             "\"_\"",
                             value_shown(name, shown), GROUP_NAME_MAX);
        else if (item->kind != NODE_TEXT ||
                 number_parse(item->text, name->text, 1, GROUP_LIMIT_MAX, &limit, NULL))
            rc = value_error(reader, item,
                             "the limit of group \"%s\" must be a whole number from 1 to %d",
                             name->text, GROUP_LIMIT_MAX);
        else {
            struct policy_group *group = &policy->groups[policy->group_count++];
            group->limit = (int)limit;
            group->name = strdup(name->text);
            rc = group->name ? 0 : error_no_memory(reader->err);
        }
    }
    return rc;
}

/* -- deny ------------------------------------------------------------------------------------- */

static int read_days(struct reader *reader, const struct document_node *value, unsigned *ret_days)
{
    const struct document_entry single = {.value = (struct document_node *)(uintptr_t)value};
    const struct document_entry *entries = value->kind == NODE_LIST ? value->entries : &single;
    size_t count = value->kind == NODE_LIST ? value->count : 1;
    unsigned all = 0, days = 0;
    char shown[64];
    for (size_t i = 0; i < count; i++) {
        const struct document_node *item = entries[i].value;
        if (item->kind != NODE_TEXT || !deny_read_days(item->text, &days))
            return value_error(reader, item,
                               "\"days\" must be weekdays as in mon-fri or [sat, sun], not \"%s\"",
                               item->kind == NODE_TEXT ? value_shown(item, shown) : "");
        all |= days;
    }
    if (count == 0)
        return value_error(reader, value, "\"days\" names no day");
    *ret_days = all;
    return 0;
}

static int read_time(struct reader *reader, const struct document_node *value, const char *key,
                     int highest, int *ret_minutes)
{
    char shown[64];
    int minutes = 0;
    if (value->kind != NODE_TEXT || !deny_read_time(value->text, &minutes) || minutes > highest)
        return value_error(reader, value, "\"%s\" must be a time from 00:00 to %s, not \"%s\"", key,
                           highest == DENY_DAY_MINUTES ? "24:00" : "23:59",
                           value->kind == NODE_TEXT ? value_shown(value, shown) : "");
    *ret_minutes = minutes;
    return 0;
}

static int read_action(struct reader *reader, const struct document_node *value, bool *ret_skips)
{
    char shown[64];
    bool is_text = value->kind == NODE_TEXT;
    if (!is_text || (strcmp(value->text, "defer") != 0 && strcmp(value->text, "skip") != 0))
        return value_error(reader, value, "\"action\" must be one of defer, skip, not \"%s\"",
                           is_text ? value_shown(value, shown) : "");
    *ret_skips = strcmp(value->text, "skip") == 0;
    return 0;
}

static int read_window(struct reader *reader, const struct document_node *item, struct deny *deny)
{
    struct deny_window *window = &deny->windows[deny->count];
    const struct document_node *value;
    if (item->kind != NODE_MAP || item->count == 0)
        return value_error(reader, item,
                           "\"deny\" must be a list of windows, as in: [{days: mon-fri, from: "
                           "\"08:00\", to: \"20:00\"}]");
    *window = (struct deny_window){.days = 0x7f, .to = DENY_DAY_MINUTES};
    deny->count++;
    int rc = section_read(reader, &section_deny, item, NULL);
    if (!rc && (value = map_value(item, "days")) && !value->is_broken)
        rc = read_days(reader, value, &window->days);
    if (!rc && (value = map_value(item, "from")) && !value->is_broken)
        rc = read_time(reader, value, "from", DENY_DAY_MINUTES - 1, &window->from);
    if (!rc && (value = map_value(item, "to")) && !value->is_broken)
        rc = read_time(reader, value, "to", DENY_DAY_MINUTES, &window->to);
    if (!rc && (value = map_value(item, "action")) && !value->is_broken)
        rc = read_action(reader, value, &window->skips);
    return rc;
}

int order_read_deny(struct reader *reader, const struct document_node *value, void *target)
{
    struct policy_job *job = target;
    const struct document_entry single = {.value = (struct document_node *)(uintptr_t)value};
    const struct document_entry *entries = value->kind == NODE_LIST ? value->entries : &single;
    size_t count = value->kind == NODE_LIST ? value->count : 1;
    if (reader->job && reader->job->type == JOB_WAL)
        return value_error(reader, value, "\"deny\" is not for a wal job: WAL never waits");
    if (count > DENY_WINDOWS_MAX)
        return value_error(reader, value, "\"deny\" has %zu windows, more than %d", count,
                           DENY_WINDOWS_MAX);
    size_t errors = reader->problems->error_count;
    job->deny.count = 0; /* in the place of those of defaults */
    int rc = 0;
    for (size_t i = 0; i < count && !rc; i++)
        if (!entries[i].value->is_broken)
            rc = read_window(reader, entries[i].value, &job->deny);
    if (!rc && reader->problems->error_count == errors && deny_is_always(&job->deny))
        rc = value_error(reader, value, "\"deny\" leaves no minute of the week: nothing would run");
    return rc;
}

/* -- when all jobs are known --------------------------------------------------------------------
 */

static struct policy_job *find_job(struct policy *policy, const char *name)
{
    for (size_t i = 0; i < policy->job_count; i++)
        if (strcmp(policy->jobs[i].name, name) == 0)
            return &policy->jobs[i];
    return NULL;
}

static int unknown_job(struct reader *reader, const struct policy_job *job, const char *name)
{
    const char *names[POLICY_JOBS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < reader->policy->job_count; i++)
        if (&reader->policy->jobs[i] != job)
            names[count++] = reader->policy->jobs[i].name;
    const char *nearest = suggest_nearest(name, names, count);
    return problems_error(reader->problems, job->after_place.line, job->after_place.column,
                          reader->err, "job \"%s\": \"after\" names no job: \"%s\"%s%s%s",
                          job->name, name, nearest ? ", did you mean \"" : "",
                          nearest ? nearest : "", nearest ? "\"?" : "");
}

static int check_names(struct reader *reader, const struct policy_job *job)
{
    int rc = 0;
    for (size_t i = 0; i < job->after.count && !rc; i++)
        if (!find_job(reader->policy, job->after.items[i]))
            rc = unknown_job(reader, job, job->after.items[i]);
    return rc;
}

static int check_groups(struct reader *reader, const struct policy_job *job)
{
    const struct policy *policy = reader->policy;
    const char *names[POLICY_GROUPS_MAX];
    for (size_t i = 0; i < policy->group_count; i++)
        names[i] = policy->groups[i].name;
    int rc = 0;
    for (size_t i = 0; i < job->groups.count && !rc; i++) {
        const char *name = job->groups.items[i];
        bool is_known = false;
        for (size_t k = 0; k < policy->group_count; k++)
            is_known |= strcmp(names[k], name) == 0;
        if (is_known)
            continue;
        const char *nearest = suggest_nearest(name, names, policy->group_count);
        rc = problems_error(reader->problems, job->group_place.line, job->group_place.column,
                            reader->err,
                            "job \"%s\": group \"%s\" is not in the policy's groups%s%s%s",
                            job->name, name, nearest ? ", did you mean \"" : ", as in: groups: {",
                            nearest ? nearest : name, nearest ? "\"?" : ": 1}");
    }
    return rc;
}

/* The scheduled job that this one comes after in the end; NULL: a circle, more than one, or none,
 * with the reason. */
static const struct policy_job *find_root(struct policy *policy, const struct policy_job *job,
                                          size_t depth, const char **why)
{
    const struct policy_job *root = NULL;
    if (depth > policy->job_count) {
        *why = "is a circle";
        return NULL;
    }
    if (job->after.count == 0) {
        if (!job->schedule)
            *why = "ends at a job that has no schedule and runs by hand only";
        return job->schedule ? job : NULL;
    }
    for (size_t i = 0; i < job->after.count; i++) {
        const struct policy_job *parent = find_job(policy, job->after.items[i]);
        const struct policy_job *found = parent ? find_root(policy, parent, depth + 1, why) : NULL;
        if (!found)
            return NULL;
        if (root && found != root) {
            *why = "leads to more than one scheduled job: they have no due instant in common";
            return NULL;
        }
        root = found;
    }
    return root;
}

/* The due instants of the root, for all who ask when the job is due. */
static int take_schedule(struct reader *reader, struct policy_job *job,
                         const struct policy_job *root)
{
    char id[160];
    snprintf(id, sizeof(id), "%s/%s", reader->policy->cluster, root->name);
    struct cron_options options = {.hash_id = id, .allow_seconds = root->seconds};
    char *text = strdup(root->schedule_text), *timezone = strdup(root->timezone);
    free(job->schedule_text);
    free(job->timezone);
    job->schedule_text = text;
    job->timezone = timezone;
    job->seconds = root->seconds;
    job->jitter_us = 0; /* it begins when the others have ended */
    job->schedule_place = job->after_place;
    if (!text || !timezone ||
        cron_parse(text, &options, &job->schedule, NULL, NULL)) /* it was parsed before */
        return error_no_memory(reader->err);
    return 0;
}

static int check_after(struct reader *reader, struct policy_job *job)
{
    const char *what = *job->schedule_text             ? "schedule"
                       : job->timezone_place.line != 0 ? "timezone"
                                                       : NULL;
    const char *why = NULL;
    if (what)
        return problems_error(reader->problems, job->after_place.line, job->after_place.column,
                              reader->err,
                              "job \"%s\" has \"after\" and \"%s\": its due instants are those of "
                              "the job before it, leave one of them out",
                              job->name, what);
    const struct policy_job *root = find_root(reader->policy, job, 0, &why);
    if (!root)
        return problems_error(reader->problems, job->after_place.line, job->after_place.column,
                              reader->err, "job \"%s\": \"after\" %s", job->name,
                              why ? why : "can't be followed");
    return 0;
}

/* In two passes: while one looks for roots, who has a schedule must be who wrote one. */
int order_check(struct reader *reader)
{
    struct policy *policy = reader->policy;
    size_t errors = reader->problems->error_count;
    int rc = 0;
    for (size_t i = 0; i < policy->job_count && !rc; i++) {
        rc = check_names(reader, &policy->jobs[i]);
        if (!rc)
            rc = check_groups(reader, &policy->jobs[i]);
    }
    if (rc || reader->problems->error_count > errors)
        return rc;
    for (size_t i = 0; i < policy->job_count && !rc; i++)
        if (policy->jobs[i].after.count > 0)
            rc = check_after(reader, &policy->jobs[i]);
    if (rc || reader->problems->error_count > 0)
        return rc;
    for (size_t i = 0; i < policy->job_count && !rc; i++) {
        const char *why = NULL;
        if (policy->jobs[i].after.count > 0)
            rc = take_schedule(reader, &policy->jobs[i],
                               find_root(policy, &policy->jobs[i], 0, &why));
    }
    return rc;
}
