/* `policy check`: every problem of the policies at its place, and what the good ones mean. */
#include <stdio.h>

#include "base/json.h"
#include "base/table.h"
#include "base/units.h"
#include "command/commands.h"
#include "command/policy_text.h"
#include "command/upcoming.h"
#include "policy/problems.h"
#include "retention/cadence.h"
#include "work/policy_load.h"
#include "work/zones.h"

enum { RUNS_SHOWN = 3, DENIED_DUES = 1000, TEXT_MAX = 1 << 20 };

/* What is known of one file. */
struct checked {
    const struct policy_file *file;
    struct policy_problems problems; /* of the file, and its contradictions */
    struct upcoming upcoming;
    int64_t loss_s;   /* the most that a failure costs; 0 when there is no cadence */
    int64_t window_s; /* retention_window_s() */
    bool has_snapshots;
};

static void checked_clear(struct checked *checked)
{
    policy_problems_clear(&checked->problems);
    upcoming_clear(&checked->upcoming);
}

static int copy_problems(struct checked *checked, const struct policy_problems *problems,
                         struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < problems->count && !rc; i++) {
        const struct policy_problem *item = &problems->items[i];
        rc = item->is_warning ? problems_warning(&checked->problems, item->line, item->column, err,
                                                 "%s", item->message)
                              : problems_error(&checked->problems, item->line, item->column, err,
                                               "%s", item->message);
    }
    return rc;
}

/* What a failure costs at worst: the time between two dumps, of that job which dumps most often; or
 * where there is a recovery window that between two runs of the wal job, which end a segment. */
static int64_t worst_loss(const struct policy *policy, const struct zones *zones, int64_t now_us,
                          bool has_window)
{
    int64_t least_s = 0;
    for (size_t i = 0; i < policy->job_count; i++) {
        const struct policy_job *job = &policy->jobs[i];
        if (job->type != JOB_DUMP && (job->type != JOB_WAL || !has_window))
            continue;
        struct cadence cadence = cadence_of(policy, &zones->view, job, now_us);
        if (cadence.longest_s > 0 && (least_s == 0 || cadence.longest_s < least_s))
            least_s = cadence.longest_s;
    }
    return least_s;
}

/* A job all of whose due instants fall into windows that skip runs as little as one without any. */
static int warn_of_denied(struct checked *checked, const struct policy *policy,
                          const struct zones *zones, int64_t now_us, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < policy->job_count && !rc; i++) {
        const struct policy_job *job = &policy->jobs[i];
        const struct zone *zone = zones_of_job(zones, policy, job);
        int64_t due = now_us / US_PER_SECOND;
        int denied = 0;
        if (!job->schedule || job->deny.count == 0 || job->after.count > 0)
            continue;
        while (denied < DENIED_DUES && (due = cron_next(job->schedule, zone, due)) != CRON_NEVER) {
            const struct deny_window *window = deny_at(&job->deny, zone, due);
            if (!window || !window->skips)
                break;
            denied++;
        }
        if (denied == DENIED_DUES || (denied > 0 && due == CRON_NEVER))
            rc = problems_warning(&checked->problems, job->line, 1, err,
                                  "job \"%s\" never runs: each of its next %d due instants is in a "
                                  "window of deny that skips",
                                  job->name, denied);
    }
    return rc;
}

static int check_policy(struct checked *checked, const struct policy *policy, int64_t now_us,
                        struct error *err)
{
    _cleanup_(zones_clear) struct zones zones = {0};
    _cleanup_(policy_problems_clear) struct policy_problems contradictions = {0};
    int rc = zones_load(policy, &zones, err);
    if (!rc)
        rc = retention_contradictions(policy, &zones.view, now_us, &contradictions, err);
    if (!rc)
        rc = copy_problems(checked, &contradictions, err);
    if (!rc)
        rc = retention_window_s(policy, &zones.view, now_us, &checked->window_s, err);
    if (!rc)
        rc = upcoming_add(&checked->upcoming, policy, now_us, RUNS_SHOWN, err);
    if (!rc)
        rc = warn_of_denied(checked, policy, &zones, now_us, err);
    if (rc)
        return rc;
    problems_sort(&checked->problems);
    for (size_t i = 0; i < policy->job_count; i++)
        checked->has_snapshots |= policy->jobs[i].type == JOB_SNAPSHOT;
    checked->loss_s = worst_loss(policy, &zones, now_us, checked->window_s > 0);
    return 0;
}

static int check_file(const struct policy_file *file, int64_t now_us, struct checked *checked,
                      struct error *err)
{
    checked->file = file;
    int rc = copy_problems(checked, &file->problems, err);
    return !rc && file->policy ? check_policy(checked, file->policy, now_us, err) : rc;
}

/* -- JSON ---------------------------------------------------------------------------------------
 */

static json_t *problems_json(const struct policy_problems *problems, bool warnings)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < problems->count; i++) {
        const struct policy_problem *item = &problems->items[i];
        if (item->is_warning != warnings)
            continue;
        json_t *problem = json_pack("{s:i, s:i, s:s}", "line", item->line, "column", item->column,
                                    "message", item->message);
        if (json_array_append_new(list, problem)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *runs_json(const struct upcoming *upcoming)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < upcoming->count; i++) {
        const struct upcoming_run *run = &upcoming->runs[i];
        json_t *item =
            json_pack("{s:s, s:o, s:s, s:o, s:s?}", "job", run->job->name, "due",
                      json_instant(run->due_us), "local", run->local, "start",
                      json_instant(run->start_us), "note", run->note[0] ? run->note : NULL);
        if (json_array_append_new(list, item)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* null: everything since the first snapshot, for nothing is ever deleted. */
static json_t *window_json(const struct checked *checked)
{
    return checked->window_s == RETENTION_WINDOW_ALL ? json_null()
                                                     : json_integer(checked->window_s);
}

/* Who is told when something goes wrong; secrets are left out. */
static json_t *told_json(const struct policy *policy)
{
    json_t *list = json_array();
    for (size_t i = 0; list && policy && i < policy->notify_count; i++)
        json_array_append_new(list, json_string(policy->notify[i].shown));
    return list;
}

/* The recovery window is that of point-in-time recovery: none without snapshots and WAL. */
static json_t *checked_json(const struct checked *checked)
{
    const struct policy *policy = checked->file->policy;
    return json_pack("{s:s, s:s?, s:o, s:o, s:o, s:o, s:o, s:o}", "file", checked->file->path,
                     "cluster", policy ? policy->cluster : NULL, "errors",
                     problems_json(&checked->problems, false), "warnings",
                     problems_json(&checked->problems, true), "recovery_window_s",
                     window_json(checked), "data_loss_s",
                     checked->loss_s ? json_integer(checked->loss_s) : json_null(), "runs",
                     runs_json(&checked->upcoming), "notify", told_json(policy));
}

static int print_json(const struct checked *checked, size_t count, bool is_good, struct error *err)
{
    _cleanup_(json_release) json_t *policies = json_array();
    bool failed = !policies;
    for (size_t i = 0; !failed && i < count; i++)
        failed = json_array_append_new(policies, checked_json(&checked[i])) != 0;
    json_t *document = failed ? NULL
                              : json_pack("{s:s, s:[], s:O}", "result", is_good ? "pass" : "fail",
                                          "checks", "policies", policies);
    return document ? command_print_json(document, err) : error_no_memory(err);
}

/* -- text ---------------------------------------------------------------------------------------
 */

static void print_problems(const struct checked *checked)
{
    for (size_t i = 0; i < checked->problems.count; i++) {
        const struct policy_problem *item = &checked->problems.items[i];
        printf("%s:%d:%d: %s%s\n", checked->file->path, item->line, item->column,
               item->is_warning ? "warning: " : "", item->message);
    }
    size_t errors = checked->problems.error_count, shown = 0;
    for (size_t i = 0; i < checked->problems.count; i++)
        shown += !checked->problems.items[i].is_warning;
    if (shown < errors)
        printf("%s: %zu more errors are not shown\n", checked->file->path, errors - shown);
}

static int print_runs(const struct upcoming *upcoming, struct error *err)
{
    _cleanup_(table_freep) struct table *table = NULL;
    int rc = table_new("JOB|NEXT RUNS, LOCAL|UTC|NOTE", &table, err);
    for (size_t i = 0; !rc && i < upcoming->count; i++) {
        const struct upcoming_run *run = &upcoming->runs[i];
        char due[INSTANT_TEXT_MAX];
        bool is_first = i == 0 || upcoming->runs[i - 1].job != run->job;
        rc = table_row(table, err, is_first ? run->job->name : "", run->local,
                       instant_format(run->due_us, due), run->note);
    }
    return rc ? rc : table_print(table, stdout, err);
}

static void print_window(const struct checked *checked)
{
    char text[UNITS_TEXT_MAX];
    if (checked->window_s == 0)
        printf("\nrecovery window: none; %s\n",
               checked->has_snapshots
                   ? "backups bring back the moment at which they were made, not any moment"
                   : "dumps bring back the moment of a dump, not any moment");
    else if (checked->window_s == RETENTION_WINDOW_ALL)
        printf("\nrecovery window: every moment since the first snapshot; nothing is deleted\n");
    else
        printf(
            "\nrecovery window: any moment of the last %s, once snapshots and WAL are that old\n",
            duration_format(checked->window_s * US_PER_SECOND, text));
    if (checked->loss_s)
        printf("worst-case data loss: %s, the longest time between two %s\n",
               duration_format(checked->loss_s * US_PER_SECOND, text),
               checked->window_s ? "ends of a WAL segment" : "dumps");
    else
        printf("worst-case data loss: everything since the last dump; no dump is scheduled\n");
}

static void print_told(const struct policy *policy)
{
    for (size_t i = 0; i < policy->notify_count; i++)
        printf("%s%s", i ? ", " : "told of trouble: ", policy->notify[i].shown);
    printf(policy->notify_count
               ? "\n"
               : "told of trouble: nobody; a run that fails is seen by who looks (notify: in the "
                 "policy)\n");
}

static int print_policy(const struct checked *checked, struct error *err)
{
    _cleanup_(buf_clear) struct buf text = BUF_INIT(TEXT_MAX);
    int rc = policy_text(checked->file->policy, &text, err);
    if (rc)
        return rc;
    printf("\n# %s in effect\n%s\n", checked->file->path, buf_text(&text));
    if (checked->upcoming.count)
        rc = print_runs(&checked->upcoming, err);
    if (!rc) {
        print_window(checked);
        print_told(checked->file->policy);
    }
    return rc;
}

/* Problems of all files come first: nobody should have to search for them. */
static int print_text(const struct checked *checked, size_t count, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < count; i++)
        print_problems(&checked[i]);
    for (size_t i = 0; i < count && !rc; i++)
        if (checked[i].file->policy)
            rc = print_policy(&checked[i], err);
    return rc;
}

/* -- the command --------------------------------------------------------------------------------
 */

static int check_set(const struct globals *globals, const struct policy_set *set, struct error *err)
{
    size_t count = policy_set_file_count(set);
    int64_t now_us = instant_now_us();
    bool is_good = true;
    int rc = 0;
    _cleanup_(freep) struct checked *checked = calloc(count + 1, sizeof(*checked));
    if (!checked)
        return error_no_memory(err);
    for (size_t i = 0; i < count && !rc; i++) {
        rc = check_file(policy_set_file(set, i), now_us, &checked[i], err);
        is_good = is_good && policy_set_file(set, i)->policy;
    }
    if (!rc)
        rc = globals->json ? print_json(checked, count, is_good, err)
                           : print_text(checked, count, err);
    for (size_t i = 0; i < count; i++)
        checked_clear(&checked[i]);
    if (rc)
        return rc;
    return is_good ? 0 : command_verdict(ERR_POLICY, err);
}

static int run(const struct globals *globals, const struct arguments *arguments, struct error *err)
{
    _cleanup_(policy_set_freep) struct policy_set *set = NULL;
    const struct strv *paths = arguments->words.count ? &arguments->words : &globals->policy_paths;
    int rc = policy_set_load_all(paths, &set, err);
    return rc ? rc : check_set(globals, set, err);
}

const struct command COMMAND_POLICY_CHECK = {
    .name = "policy check",
    .usage = "[FILE...]",
    .summary = "validate policies; print what is in effect and when jobs run",
    .examples = "pgcairn policy check\n"
                "pgcairn policy check policies/*.yaml\n",
    .min_words = 0,
    .max_words = -1,
    .options = NULL,
    .run = run,
};
