/* `status`: the last and the next run of each job, what runs now, and what is wrong. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/table.h"
#include "base/units.h"
#include "command/commands.h"
#include "command/opened.h"
#include "journal/journal.h"
#include "work/zones.h"

/* A daemon in another pid namespace can't be seen, but its heartbeat can. */
#define HEARTBEAT_FRESH_US (3 * US_PER_MINUTE)

struct status {
    struct journal *journal; /* NULL when there is none */
    json_t *running;         /* by "CLUSTER/JOB" */
    json_t *jobs, *alarms;
    struct table *table;
    int64_t now_us;
};

static void status_clear(struct status *status)
{
    journal_free(status->journal);
    json_decref(status->running);
    json_decref(status->jobs);
    json_decref(status->alarms);
    table_free(status->table);
}

/* -- what is known of a job ------------------------------------------------------------------ */

struct job_state {
    char identity[2 * JOURNAL_NAME_MAX];
    bool has_last, has_success;
    struct journal_run last; /* the one that ended last */
    struct journal_run success;
    int64_t next_us, before_last_us; /* the next due instant; the last but one that passed */
    const json_t *running;           /* NULL when it does not run */
};

static int64_t to_us(int64_t seconds)
{
    return seconds == CRON_NEVER ? INSTANT_NONE : seconds * US_PER_SECOND;
}

static void find_dues(const struct policy_job *job, const struct zone *zone, int64_t now_us,
                      struct job_state *state)
{
    int64_t now = now_us / US_PER_SECOND;
    if (!job->schedule)
        return;
    state->next_us = to_us(cron_next(job->schedule, zone, now));
    int64_t passed = cron_previous(job->schedule, zone, now + 1);
    if (passed != CRON_NEVER)
        state->before_last_us = to_us(cron_previous(job->schedule, zone, passed));
}

/* The next run, or the daemon, puts it on record; until then it is told from here. */
static void call_interrupted(struct journal_run *run)
{
    run->outcome = OUTCOME_INTERRUPTED;
    snprintf(run->message, sizeof(run->message),
             "its process (%d) is gone without a result: killed, crashed, or the machine went down",
             (int)run->process.pid);
}

/* What was refused because another ran has ended before that one, though it began later. */
static int64_t order_of(const struct journal_run *run)
{
    return run->ended_us != INSTANT_NONE ? run->ended_us : run->claimed_us;
}

static int read_job(struct status *status, const struct policy *policy,
                    const struct policy_job *job, struct job_state *state, struct error *err)
{
    static const enum journal_outcome outcomes[] = {OUTCOME_DONE,        OUTCOME_FAILED,
                                                    OUTCOME_SKIPPED,     OUTCOME_NOT_MINE,
                                                    OUTCOME_INTERRUPTED, OUTCOME_RUNNING};
    struct journal_run run;
    int rc = 0;
    snprintf(state->identity, sizeof(state->identity), "%s/%s", policy->cluster, job->name);
    state->running = json_object_get(status->running, state->identity);
    for (size_t i = 0; i < ARRAY_SIZE(outcomes) && status->journal && !rc; i++) {
        bool found = false;
        rc = journal_last(status->journal, policy->cluster, job->name, outcomes[i], &found, &run,
                          err);
        if (rc || !found)
            continue;
        if (run.outcome == OUTCOME_RUNNING && !process_gone(&run.process))
            continue;
        if (run.outcome == OUTCOME_RUNNING)
            call_interrupted(&run);
        if (run.outcome == OUTCOME_DONE) {
            state->success = run;
            state->has_success = true;
        }
        if (!state->has_last || order_of(&run) > order_of(&state->last))
            state->last = run;
        state->has_last = true;
    }
    return rc;
}

/* -- alarms ---------------------------------------------------------------------------------- */

static int add_alarm(struct status *status, const char *cluster, const char *job, const char *what,
                     const char *text, struct error *err)
{
    json_t *message = json_string(text);
    json_t *alarm = json_pack("{s:s?, s:s?, s:s, s:o}", "cluster", cluster, "job", job, "what",
                              what, "text", message ? message : json_string("(not UTF-8)"));
    return json_array_append_new(status->alarms, alarm) ? error_no_memory(err) : 0;
}

/* Nothing succeeded in the last two periods, as once it did. Of what never succeeded the failure is
 * told; since when it should have is not known. */
static bool is_stale(const struct job_state *state)
{
    return state->before_last_us != INSTANT_NONE && state->has_success &&
           state->success.claimed_us < state->before_last_us;
}

static int find_alarms(struct status *status, const struct policy *policy,
                       const struct policy_job *job, const struct job_state *state,
                       struct error *err)
{
    char text[ERROR_MESSAGE_MAX + 128], at[INSTANT_TEXT_MAX];
    const struct journal_run *last = &state->last;
    bool was_busy = strcmp(last->error_code, error_code_name(ERR_BUSY)) == 0 && state->running;
    int rc = 0;
    if (state->has_last && !was_busy &&
        (last->outcome == OUTCOME_FAILED || last->outcome == OUTCOME_INTERRUPTED)) {
        snprintf(text, sizeof(text), "the last run %s: %s",
                 last->outcome == OUTCOME_FAILED ? "failed" : "was interrupted", last->message);
        rc = add_alarm(status, policy->cluster, job->name, "failing", text, err);
    }
    if (!rc && state->has_last && last->outcome == OUTCOME_SKIPPED &&
        strncmp(last->message, "missed:", strlen("missed:")) == 0)
        rc = add_alarm(status, policy->cluster, job->name, "missed", last->message, err);
    if (!rc && is_stale(state)) {
        snprintf(text, sizeof(text), "nothing succeeded for two periods; last success: %s",
                 instant_format(state->success.claimed_us, at));
        rc = add_alarm(status, policy->cluster, job->name, "stale", text, err);
    }
    return rc;
}

static int check_daemon(struct status *status, struct error *err)
{
    struct journal_daemon daemon;
    char text[128], at[INSTANT_TEXT_MAX];
    if (!status->journal)
        return 0;
    int rc = journal_daemon(status->journal, &daemon, err);
    if (rc || daemon.process.pid == 0 || process_alive(&daemon.process) ||
        status->now_us - daemon.heartbeat_us < HEARTBEAT_FRESH_US)
        return rc;
    snprintf(text, sizeof(text), "the daemon does not run; it was last seen at %s",
             instant_format(daemon.heartbeat_us, at));
    return add_alarm(status, NULL, NULL, "daemon", text, err);
}

/* -- showing --------------------------------------------------------------------------------- */

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

static json_t *job_json(const struct policy *policy, const struct policy_job *job,
                        const struct job_state *state)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:O?}", "cluster", policy->cluster, "job",
                     job->name, "type", job_type_name(job->type), "last",
                     state->has_last ? last_json(&state->last) : json_null(), "last_success_at",
                     json_instant(state->has_success ? state->success.claimed_us : INSTANT_NONE),
                     "next", json_instant(state->next_us), "running", state->running);
}

/* "dumping app, 42%", or its phase alone while the total is not known. */
static void describe_running(const json_t *running, char *text, size_t size)
{
    const char *phase = json_string_value(json_object_get(running, "phase"));
    json_int_t done = json_integer_value(json_object_get(running, "done"));
    json_int_t total = json_integer_value(json_object_get(running, "total"));
    if (!running)
        snprintf(text, size, "-");
    else if (total > 0)
        snprintf(text, size, "%s, %d%%", phase ? phase : "",
                 (int)(100.0 * (double)done / (double)total));
    else
        snprintf(text, size, "%s", phase && *phase ? phase : "running");
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
    describe_running(state->running, now, sizeof(now));
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
        struct job_state state = {.next_us = INSTANT_NONE, .before_last_us = INSTANT_NONE};
        find_dues(job, zones_of_job(&zones, policy, job), status->now_us, &state);
        rc = read_job(status, policy, job, &state, err);
        if (!rc)
            rc = find_alarms(status, policy, job, &state, err);
        if (!rc)
            rc = add_row(status, job, &state, err);
        if (!rc && json_array_append_new(status->jobs, job_json(policy, job, &state)))
            rc = error_no_memory(err);
    }
    return rc;
}

/* -- the whole ------------------------------------------------------------------------------- */

static int note_running(const struct journal_run *run, void *context, struct error *err)
{
    char identity[2 * JOURNAL_NAME_MAX];
    snprintf(identity, sizeof(identity), "%s/%s", run->cluster, run->job);
    json_t *entry =
        json_pack("{s:s, s:o, s:o, s:s?, s:I, s:I, s:o}", "run_id", run->run_id, "due",
                  json_instant(run->due_us), "started_at", json_instant(run->started_us), "phase",
                  run->phase[0] ? run->phase : NULL, "done", (json_int_t)run->done, "total",
                  (json_int_t)run->total, "updated_at", json_instant(run->progress_us));
    return json_object_set_new(context, identity, entry) ? error_no_memory(err) : 0;
}

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
        rc = journal_each_running(status->journal, note_running, status->running, err);
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
    return rc ? rc : check_daemon(status, err);
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
    _cleanup_(status_clear) struct status status = {.running = json_object(),
                                                    .jobs = json_array(),
                                                    .alarms = json_array(),
                                                    .now_us = instant_now_us()};
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
