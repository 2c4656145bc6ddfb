/* `status`: the last and the next run of each job, what runs now, and what is wrong. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/table.h"
#include "base/units.h"
#include "command/commands.h"
#include "command/opened.h"
#include "watch/job_state.h"
#include "watch/untold.h"
#include "work/zones.h"

struct status {
    struct journal *journal; /* NULL when there is none */
    struct job_runs running;
    json_t *jobs, *alarms;
    struct table *table;
    int64_t now_us;
};

static void status_clear(struct status *status)
{
    journal_free(status->journal);
    job_runs_clear(&status->running);
    json_decref(status->jobs);
    json_decref(status->alarms);
    table_free(status->table);
}

/* -- showing ---------------------------------------------------------------------------------- */

static int add_alarm(const struct job_alarm *alarm, void *context, struct error *err)
{
    struct status *status = context;
    json_t *message = json_string(alarm->text);
    json_t *entry =
        json_pack("{s:s?, s:s?, s:s, s:o}", "cluster", alarm->cluster, "job", alarm->job, "what",
                  alarm->what, "text", message ? message : json_string("(not UTF-8)"));
    return json_array_append_new(status->alarms, entry) ? error_no_memory(err) : 0;
}

static json_t *last_json(const struct journal_run *run)
{
    json_t *message = run->message[0] ? json_string(run->message) : NULL;
    return json_pack(
        "{s:s, s:o, s:i, s:s, s:o, s:o, s:I, s:s?, s:o}", "run_id", run->run_id, "due",
        json_instant(run->due_us), "attempt", run->attempt, "outcome",
        journal_outcome_name(run->outcome), "started_at", json_instant(run->started_us), "ended_at",
        json_instant(run->ended_us), "bytes", (json_int_t)run->bytes_stored, "backup_id",
        run->backup_id[0] ? run->backup_id : NULL, "message", message ? message : json_null());
}

static json_t *running_json(const struct journal_run *run)
{
    if (!run)
        return json_null();
    return json_pack("{s:s, s:o, s:o, s:s?, s:I, s:I, s:o}", "run_id", run->run_id, "due",
                     json_instant(run->due_us), "started_at", json_instant(run->started_us),
                     "phase", run->phase[0] ? run->phase : NULL, "done", (json_int_t)run->done,
                     "total", (json_int_t)run->total, "updated_at", json_instant(run->progress_us));
}

static json_t *pause_json(const struct job_state *state)
{
    const struct journal_pause *pause = &state->pause;
    if (!state->is_paused)
        return json_null();
    return json_pack("{s:s, s:s, s:o, s:o}", "who", pause->who, "reason", pause->reason, "from",
                     json_instant(pause->from_us), "until", json_instant(pause->until_us));
}

static json_t *job_json(const struct policy *policy, const struct policy_job *job,
                        const struct job_state *state)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "cluster", policy->cluster, "job",
                     job->name, "type", job_type_name(job->type), "last",
                     state->has_last ? last_json(&state->last) : json_null(), "last_success_at",
                     json_instant(state->has_success ? state->success.claimed_us : INSTANT_NONE),
                     "next", json_instant(state->next_us), "running", running_json(state->running),
                     "paused", pause_json(state));
}

static int add_row(struct status *status, const struct policy_job *job,
                   const struct job_state *state, struct error *err)
{
    char when[INSTANT_TEXT_MAX] = "-", next[INSTANT_TEXT_MAX] = "-", now[256];
    char took[UNITS_TEXT_MAX] = "-", bytes[UNITS_TEXT_MAX] = "-";
    const struct journal_run *last = &state->last;
    if (state->has_last)
        instant_format(last->started_us != INSTANT_NONE ? last->started_us : last->claimed_us,
                       when);
    if (state->has_last && last->started_us != INSTANT_NONE && last->ended_us != INSTANT_NONE)
        duration_format(last->ended_us - last->started_us, took);
    if (state->has_last && last->bytes_stored > 0)
        size_format(last->bytes_stored, bytes);
    if (state->next_us != INSTANT_NONE)
        instant_format(state->next_us, next);
    job_state_describe(state->running, now, sizeof(now));
    if (!state->running && state->is_paused)
        snprintf(now, sizeof(now), "paused");
    return table_row(status->table, err, state->identity, job_type_name(job->type),
                     state->has_last ? journal_outcome_name(last->outcome) : "never", when, took,
                     bytes, next, now);
}

static int add_policy(struct status *status, const struct policy *policy, struct error *err)
{
    _cleanup_(zones_clear) struct zones zones = {0};
    int rc = zones_load(policy, &zones, err);
    for (size_t i = 0; i < policy->job_count && !rc; i++) {
        const struct policy_job *job = &policy->jobs[i];
        struct job_state state;
        rc = job_state_read(status->journal, &status->running, policy, job,
                            zones_of_job(&zones, policy, job), status->now_us, &state, err);
        if (!rc)
            rc = job_state_alarms(&state, add_alarm, status, err);
        if (!rc)
            rc = add_row(status, job, &state, err);
        if (!rc && json_array_append_new(status->jobs, job_json(policy, job, &state)))
            rc = error_no_memory(err);
    }
    return rc ? rc : untold_alarm(status->journal, policy, status->now_us, add_alarm, status, err);
}

/* -- the whole ------------------------------------------------------------------------------- */

/* Without a journal nothing has run here: that is an answer, not an error, but one to be told, for
 * the daemon's may be in another folder. One that can't be read is no answer. */
static int open_journal(struct status *status, struct error *err)
{
    _cleanup_(freep) char *folder = NULL;
    int rc = journal_folder(JOURNAL_READ, &folder, err);
    if (!rc)
        rc = journal_open(folder, JOURNAL_READ, &status->journal, err);
    if (rc == ERR_NOT_FOUND) {
        error_clear(err);
        log_line(LOG_WARNING,
                 "no journal in %s: if runs are recorded elsewhere, set "
                 "STATE_DIRECTORY to that folder",
                 folder);
        return 0;
    }
    if (!rc)
        rc = job_runs_read(status->journal, &status->running, err);
    return rc ? error_as_unknown(err) : 0;
}

static int gather(struct status *status, const struct policy_set *set, const struct policy *chosen,
                  struct error *err)
{
    int rc = open_journal(status, err);
    if (!rc && chosen)
        rc = add_policy(status, chosen, err);
    for (size_t i = 0; i < policy_set_count(set) && !chosen && !rc; i++)
        rc = add_policy(status, policy_set_get(set, i), err);
    return rc ? rc : daemon_alarm(status->journal, status->now_us, add_alarm, status, err);
}

static void print_alarms(const struct status *status)
{
    size_t i;
    const json_t *alarm;
    json_array_foreach(status->alarms, i, alarm)
    {
        const char *cluster = json_string_value(json_object_get(alarm, "cluster"));
        const char *job = json_string_value(json_object_get(alarm, "job"));
        printf("%sALARM %s%s%s%s%s\n", i == 0 ? "\n" : "", cluster ? cluster : "", job ? "/" : "",
               job ? job : "", cluster ? ": " : "",
               json_string_value(json_object_get(alarm, "text")));
    }
}

static int command_status(const struct globals *globals, const struct arguments *arguments,
                          struct error *err)
{
    _cleanup_(policy_set_freep) struct policy_set *set = NULL;
    _cleanup_(status_clear) struct status status = {
        .jobs = json_array(), .alarms = json_array(), .now_us = instant_now_us()};
    const struct policy *chosen = NULL;
    int rc = arguments->words.count
                 ? opened_policy(globals, arguments->words.items[0], &set, &chosen, err)
                 : policy_set_load(&globals->policy_paths, &set, err);
    if (!rc)
        rc = table_new("JOB|TYPE|LAST|STARTED|>TOOK|>STORED|NEXT|NOW", &status.table, err);
    if (!rc)
        rc = gather(&status, set, chosen, err);
    if (rc)
        return rc;
    if (globals->json)
        return command_print_json(
            json_pack("{s:O, s:O}", "jobs", status.jobs, "alarms", status.alarms), err);
    rc = table_print(status.table, stdout, err);
    if (!rc)
        print_alarms(&status);
    return rc;
}

const struct command COMMAND_STATUS = {
    .name = "status",
    .usage = "[CLUSTER]",
    .summary = "last and next run of each job, what runs now, alarms",
    .examples = "  pgcairn status\n  pgcairn --json status automatos",
    .min_words = 0,
    .max_words = 1,
    .options = NULL,
    .run = command_status,
};
