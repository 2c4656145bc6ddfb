#include "watch/job_state.h"

#include <string.h>

#include "cron/cron.h"

/* -- what runs now --------------------------------------------------------------------------- */

static int add_run(const struct journal_run *run, void *context, struct error *err)
{
    struct job_runs *runs = context;
    if ((runs->count & (runs->count - 1)) == 0) { /* room doubles at each power of two */
        size_t room = runs->count ? 2 * runs->count : 1;
        struct journal_run *more = realloc(runs->items, room * sizeof(*more));
        if (!more)
            return error_no_memory(err);
        runs->items = more;
    }
    runs->items[runs->count++] = *run;
    return 0;
}

int job_runs_read(struct journal *journal, struct job_runs *ret_runs, struct error *err)
{
    struct job_runs runs = {0};
    int rc = journal ? journal_each_running(journal, add_run, &runs, err) : 0;
    if (rc)
        job_runs_clear(&runs);
    else
        *ret_runs = runs;
    return rc;
}

void job_runs_clear(struct job_runs *runs)
{
    free(runs->items);
    *runs = (struct job_runs){0};
}

/* One that has begun before one that waits. */
static const struct journal_run *find_running(const struct job_runs *runs, const char *cluster,
                                              const char *job)
{
    const struct journal_run *found = NULL;
    for (size_t i = 0; i < runs->count; i++) {
        const struct journal_run *run = &runs->items[i];
        if (strcmp(run->cluster, cluster) == 0 && strcmp(run->job, job) == 0 &&
            (!found || (found->started_us == INSTANT_NONE && run->started_us != INSTANT_NONE)))
            found = run;
    }
    return found;
}

/* -- what is known of a job ------------------------------------------------------------------ */

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
    int64_t next = cron_next(job->schedule, zone, now);
    int64_t passed = cron_previous(job->schedule, zone, now + 1);
    int64_t before = passed == CRON_NEVER ? CRON_NEVER : cron_previous(job->schedule, zone, passed);
    state->next_us = to_us(next);
    state->before_last_us = to_us(before);
    if (next != CRON_NEVER && passed != CRON_NEVER)
        state->period_us = (next - passed) * US_PER_SECOND;
    if (before != CRON_NEVER && (passed - before) * US_PER_SECOND > state->period_us)
        state->period_us = (passed - before) * US_PER_SECOND;
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

static void take_run(struct job_state *state, struct journal_run *run)
{
    if (run->outcome == OUTCOME_RUNNING && !process_gone(&run->process))
        return;
    if (run->outcome == OUTCOME_RUNNING)
        call_interrupted(run);
    if (journal_is_done(run) &&
        (!state->has_success || order_of(run) > order_of(&state->success))) {
        state->success = *run;
        state->has_success = true;
    }
    if (!state->has_last || order_of(run) > order_of(&state->last))
        state->last = *run;
    state->has_last = true;
}

int job_state_read(struct journal *journal, const struct job_runs *running,
                   const struct policy *policy, const struct policy_job *job,
                   const struct zone *zone, int64_t now_us, struct job_state *ret_state,
                   struct error *err)
{
    static const enum journal_outcome outcomes[] = {OUTCOME_DONE,        OUTCOME_FAILED,
                                                    OUTCOME_SKIPPED,     OUTCOME_NOT_MINE,
                                                    OUTCOME_INTERRUPTED, OUTCOME_RUNNING};
    struct job_state *state = ret_state;
    *state = (struct job_state){.policy = policy,
                                .job = job,
                                .next_us = INSTANT_NONE,
                                .before_last_us = INSTANT_NONE,
                                .period_us = INSTANT_NONE};
    snprintf(state->identity, sizeof(state->identity), "%s/%s", policy->cluster, job->name);
    find_dues(job, zone, now_us, state);
    state->running = find_running(running, policy->cluster, job->name);
    for (size_t i = 0; i < ARRAY_SIZE(outcomes) && journal; i++) {
        struct journal_run run;
        bool found = false;
        int rc = journal_last(journal, policy->cluster, job->name, outcomes[i], &found, &run, err);
        if (rc)
            return rc;
        if (found)
            take_run(state, &run);
    }
    return journal ? journal_paused_at(journal, policy->cluster, job->name, now_us,
                                       &state->is_paused, &state->pause, err)
                   : 0;
}

/* -- alarms ---------------------------------------------------------------------------------- */

/* Nothing succeeded in the last two periods, as once it did. Of what never succeeded the failure is
 * told; since when it should have is not known. What is left to the primary succeeds elsewhere. */
static bool is_stale(const struct job_state *state)
{
    return !(state->has_last && state->last.outcome == OUTCOME_NOT_MINE) &&
           state->before_last_us != INSTANT_NONE && state->has_success &&
           state->success.claimed_us < state->before_last_us;
}

/* The last run did not do its work; a second one that found the first still running is no alarm. */
static bool is_failing(const struct job_state *state)
{
    const struct journal_run *last = &state->last;
    bool was_busy = strcmp(last->error_code, error_code_name(ERR_BUSY)) == 0 && state->running;
    return state->has_last && !was_busy &&
           (last->outcome == OUTCOME_FAILED || last->outcome == OUTCOME_INTERRUPTED);
}

int job_state_alarms(const struct job_state *state, job_alarm_visitor visit, void *context,
                     struct error *err)
{
    char text[ERROR_MESSAGE_MAX + 128], at[INSTANT_TEXT_MAX];
    const struct journal_run *last = &state->last;
    struct job_alarm alarm = {
        .cluster = state->policy->cluster, .job = state->job->name, .text = text};
    int rc = 0;
    if (is_failing(state)) {
        alarm.what = "failing";
        snprintf(text, sizeof(text), "the last run %s: %s",
                 last->outcome == OUTCOME_FAILED ? "failed" : "was interrupted", last->message);
        rc = visit(&alarm, context, err);
    }
    if (!rc && state->has_last && last->outcome == OUTCOME_SKIPPED &&
        strncmp(last->message, "missed:", strlen("missed:")) == 0) {
        alarm.what = "missed";
        snprintf(text, sizeof(text), "%s", last->message);
        rc = visit(&alarm, context, err);
    }
    if (!rc && state->is_paused) {
        alarm.what = "paused";
        journal_pause_text(&state->pause, text, sizeof(text));
        rc = visit(&alarm, context, err);
    }
    if (!rc && is_stale(state)) {
        alarm.what = "stale";
        snprintf(text, sizeof(text), "nothing succeeded for two periods; last success: %s",
                 instant_format(state->success.claimed_us, at));
        rc = visit(&alarm, context, err);
    }
    return rc;
}

int daemon_alarm(struct journal *journal, int64_t now_us, job_alarm_visitor visit, void *context,
                 struct error *err)
{
    struct journal_daemon daemon;
    char text[128], at[INSTANT_TEXT_MAX];
    if (!journal)
        return 0;
    int rc = journal_daemon(journal, &daemon, err);
    if (rc || daemon.process.pid == 0 || process_alive(&daemon.process) ||
        now_us - daemon.heartbeat_us < HEARTBEAT_FRESH_US)
        return rc;
    snprintf(text, sizeof(text), "the daemon does not run; it was last seen at %s",
             instant_format(daemon.heartbeat_us, at));
    struct job_alarm alarm = {.what = "daemon", .text = text};
    return visit(&alarm, context, err);
}

/* -- words ----------------------------------------------------------------------------------- */

void job_state_describe(const struct journal_run *running, char *text, size_t size)
{
    if (!running)
        snprintf(text, size, "-");
    else if (running->total > 0)
        snprintf(text, size, "%s, %d%%", running->phase,
                 (int)(100.0 * (double)running->done / (double)running->total));
    else
        snprintf(text, size, "%s", running->phase[0] ? running->phase : "running");
}
