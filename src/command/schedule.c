/* `schedule`: the next runs of every job. */
#include "base/json.h"
#include "base/log.h"
#include "base/table.h"
#include "base/units.h"
#include "command/commands.h"
#include "command/times.h"
#include "command/upcoming.h"
#include "work/policy_load.h"

enum { RUNS_DEFAULT = 3, RUNS_MAX = 1000 };

static const struct command_option OPTIONS[] = {
    {"n", OPTION_TEXT, "N", "how many runs of each job (3)"},
    {"at", OPTION_TEXT, "TIME", "those after this time; without an offset in the policy's zone"},
    {NULL, OPTION_FLAG, NULL, NULL},
};

static int print_json(const struct upcoming *upcoming, struct error *err)
{
    _cleanup_(json_release) json_t *runs = json_array();
    bool failed = !runs;
    for (size_t i = 0; !failed && i < upcoming->count; i++) {
        const struct upcoming_run *run = &upcoming->runs[i];
        json_t *item =
            json_pack("{s:s, s:s, s:o, s:s, s:s, s:o, s:s?}", "cluster", run->policy->cluster,
                      "job", run->job->name, "due", json_instant(run->due_us), "local", run->local,
                      "timezone", run->job->timezone, "start", json_instant(run->start_us), "note",
                      run->note[0] ? run->note : NULL);
        failed = json_array_append_new(runs, item) != 0;
    }
    json_t *document = failed ? NULL : json_pack("{s:O}", "runs", runs);
    return document ? command_print_json(document, err) : error_no_memory(err);
}

static int print_text(const struct upcoming *upcoming, struct error *err)
{
    _cleanup_(table_freep) struct table *table = NULL;
    int rc = table_new("CLUSTER|JOB|LOCAL|ZONE|UTC|NOTE", &table, err);
    for (size_t i = 0; !rc && i < upcoming->count; i++) {
        const struct upcoming_run *run = &upcoming->runs[i];
        char due[INSTANT_TEXT_MAX];
        rc = table_row(table, err, run->policy->cluster, run->job->name, run->local,
                       run->job->timezone, instant_format(run->due_us, due), run->note);
    }
    return rc ? rc : table_print(table, stdout, err);
}

/* Pauses are in the journal; without one there are none that are known of. */
static void mind_pauses(struct upcoming *upcoming)
{
    _cleanup_(freep) char *folder = NULL;
    _cleanup_(journal_freep) struct journal *journal = NULL;
    struct error error = ERROR_NONE;
    int rc = journal_folder(JOURNAL_READ, &folder, &error);
    if (!rc)
        rc = journal_open(folder, JOURNAL_READ, &journal, &error);
    if (!rc)
        rc = upcoming_mind_pauses(upcoming, journal, &error);
    if (rc && rc != ERR_NOT_FOUND)
        log_line(LOG_WARNING, "pauses are not shown: %s", error.message);
}

static int run(const struct globals *globals, const struct arguments *arguments, struct error *err)
{
    _cleanup_(policy_set_freep) struct policy_set *set = NULL;
    _cleanup_(upcoming_clear) struct upcoming upcoming = {0};
    const char *number = argument_text(arguments, "n");
    const char *at = argument_text(arguments, "at");
    int64_t count = RUNS_DEFAULT;
    int rc = number ? number_parse(number, "-n", 1, RUNS_MAX, &count, err) : 0;
    if (!rc)
        rc = policy_set_load(&globals->policy_paths, &set, err);
    for (size_t i = 0; !rc && i < policy_set_count(set); i++) {
        const struct policy *policy = policy_set_get(set, i);
        int64_t after_us = instant_now_us();
        if (at)
            rc = command_time(at, policy->timezone, &after_us, err);
        if (!rc)
            rc = upcoming_add(&upcoming, policy, after_us, count, err);
    }
    if (rc)
        return rc;
    upcoming_sort(&upcoming);
    mind_pauses(&upcoming);
    return globals->json ? print_json(&upcoming, err) : print_text(&upcoming, err);
}

const struct command COMMAND_SCHEDULE = {
    .name = "schedule",
    .usage = "[-n N] [--at TIME]",
    .summary = "the next runs of every job, in the job's zone and in UTC",
    .examples = "pgcairn schedule -n 1\n"
                "pgcairn schedule --at 2027-03-28T00:00\n",
    .min_words = 0,
    .max_words = 0,
    .options = OPTIONS,
    .run = run,
};
