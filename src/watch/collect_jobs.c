#include "watch/collect.h"

#include <string.h>

#include "base/json.h"
#include "journal/outbox.h"
#include "watch/untold.h"
#include "work/zones.h"

struct alarm_counts {
    const char *kinds[8];
    int counts[8];
};

static int count_alarm(const struct job_alarm *alarm, void *context, struct error *err)
{
    struct alarm_counts *counts = context;
    (void)err;
    for (size_t i = 0; counts->kinds[i]; i++)
        counts->counts[i] += strcmp(counts->kinds[i], alarm->what) == 0;
    return 0;
}

/* -- one job --------------------------------------------------------------------------------- */

static bool is_ok(enum journal_outcome outcome)
{
    return outcome == OUTCOME_DONE || outcome == OUTCOME_NOT_MINE;
}

static void collect_last(const struct job_state *state, struct samples *samples)
{
    const char *cluster = state->policy->cluster, *job = state->job->name;
    const struct journal_run *last = &state->last, *success = &state->success;
    if (state->has_last) {
        samples_add_us(samples, METRIC_JOB_LAST_END, last->ended_us, cluster, job);
        samples_add(samples, METRIC_JOB_LAST_OK, is_ok(last->outcome), cluster, job);
        samples_add(samples, METRIC_JOB_LAST_OUTCOME, 1, cluster, job,
                    journal_outcome_name(last->outcome));
    }
    if (!state->has_success)
        return;
    samples_add_us(samples, METRIC_JOB_LAST_SUCCESS, success->ended_us, cluster, job);
    if (success->started_us != INSTANT_NONE && success->ended_us != INSTANT_NONE)
        samples_add_us(samples, METRIC_JOB_LAST_DURATION, success->ended_us - success->started_us,
                       cluster, job);
    samples_add(samples, METRIC_JOB_LAST_SOURCE, (double)success->bytes_source, cluster, job);
    samples_add(samples, METRIC_JOB_LAST_STORED, (double)success->bytes_stored, cluster, job);
}

static void collect_running(const struct job_state *state, struct samples *samples)
{
    const char *cluster = state->policy->cluster, *job = state->job->name;
    const struct journal_run *run = state->running;
    bool has_begun = run && run->started_us != INSTANT_NONE;
    samples_add(samples, METRIC_JOB_RUNNING, has_begun, cluster, job);
    if (!has_begun)
        return;
    samples_add_us(samples, METRIC_JOB_RUNNING_SINCE, run->started_us, cluster, job);
    if (run->total > 0)
        samples_add(samples, METRIC_JOB_PROGRESS,
                    run->done < run->total ? (double)run->done / (double)run->total : 1, cluster,
                    job);
}

/* Counters begin at zero, so that the first failure is an increase too. */
static double total_of(const json_t *totals, const struct job_state *state, const char *what)
{
    char key[3 * JOURNAL_NAME_MAX];
    snprintf(key, sizeof(key), "%s %s", state->identity, what);
    return (double)json_number(totals, key);
}

static void collect_totals(const struct job_state *state, const json_t *totals,
                           struct samples *samples)
{
    const char *cluster = state->policy->cluster, *job = state->job->name;
    for (int outcome = OUTCOME_DONE; outcome < OUTCOME_COUNT; outcome++) {
        const char *name = journal_outcome_name((enum journal_outcome)outcome);
        samples_add(samples, METRIC_JOB_RUNS, total_of(totals, state, name), cluster, job, name);
    }
    samples_add(samples, METRIC_JOB_MISSED, total_of(totals, state, "missed"), cluster, job);
    samples_add(samples, METRIC_JOB_RETRIES, total_of(totals, state, "retried"), cluster, job);
    samples_add(samples, METRIC_JOB_STORED, total_of(totals, state, "bytes_stored"), cluster, job);
}

static void collect_job(const struct job_state *state, const json_t *totals,
                        struct samples *samples)
{
    const char *cluster = state->policy->cluster;
    const struct policy_job *job = state->job;
    samples_add(samples, METRIC_JOB_INFO, 1, cluster, job->name, job_type_name(job->type),
                job->schedule_text ? job->schedule_text : "");
    collect_last(state, samples);
    samples_add(samples, METRIC_JOB_PAUSED, state->is_paused, cluster, job->name);
    samples_add_us(samples, METRIC_JOB_NEXT, state->next_us, cluster, job->name);
    samples_add_us(samples, METRIC_JOB_PERIOD, state->period_us, cluster, job->name);
    collect_running(state, samples);
    collect_totals(state, totals, samples);
}

/* What is read once for all jobs. */
struct known {
    struct journal *journal;
    struct job_runs running;
    json_t *totals; /* "CLUSTER/JOB WHAT": count */
    struct alarm_counts alarms;
    int64_t now_us;
};

static void known_clear(struct known *known)
{
    job_runs_clear(&known->running);
    json_decref(known->totals);
}

static int collect_notices(struct journal *journal, const char *cluster, struct samples *samples,
                           struct error *err)
{
    struct outbox_counts counts;
    int rc = outbox_counts(journal, cluster, &counts, err);
    if (rc)
        return rc;
    samples_add(samples, METRIC_NOTICES_PENDING, (double)counts.pending, cluster);
    samples_add(samples, METRIC_NOTICES_FAILED, (double)counts.failed, cluster);
    return 0;
}

static int collect_policy(struct known *known, const struct policy *policy, struct samples *samples,
                          struct error *err)
{
    _cleanup_(zones_clear) struct zones zones = {0};
    int rc = zones_load(policy, &zones, err);
    if (!rc && known->journal)
        rc = collect_notices(known->journal, policy->cluster, samples, err);
    for (size_t i = 0; i < policy->job_count && !rc; i++) {
        const struct policy_job *job = &policy->jobs[i];
        struct job_state state;
        rc = job_state_read(known->journal, &known->running, policy, job,
                            zones_of_job(&zones, policy, job), known->now_us, &state, err);
        if (!rc)
            rc = job_state_alarms(&state, count_alarm, &known->alarms, err);
        if (!rc)
            collect_job(&state, known->totals, samples);
    }
    if (!rc)
        rc = untold_alarm(known->journal, policy, known->now_us, count_alarm, &known->alarms, err);
    return rc;
}

/* -- all of them ----------------------------------------------------------------------------- */

static int take_total(const struct journal_total *total, void *context, struct error *err)
{
    char key[3 * JOURNAL_NAME_MAX];
    snprintf(key, sizeof(key), "%s/%s %s", total->cluster, total->job, total->what);
    return json_object_set_new(context, key, json_integer(total->count)) ? error_no_memory(err) : 0;
}

int collect_jobs(struct journal *journal, const struct policy *const *policies, size_t count,
                 int64_t now_us, struct samples *samples, struct error *err)
{
    _cleanup_(known_clear) struct known known = {
        .journal = journal,
        .totals = json_object(),
        .alarms = {.kinds = {"failing", "missed", "stale", "paused", "untold", "daemon"}},
        .now_us = now_us};
    int rc = job_runs_read(journal, &known.running, err);
    if (!rc && journal)
        rc = journal_each_total(journal, take_total, known.totals, err);
    for (size_t i = 0; i < count && !rc; i++)
        rc = collect_policy(&known, policies[i], samples, err);
    if (!rc)
        rc = daemon_alarm(journal, now_us, count_alarm, &known.alarms, err);
    for (size_t i = 0; known.alarms.kinds[i] && !rc; i++)
        samples_add(samples, METRIC_ALARMS, known.alarms.counts[i], known.alarms.kinds[i]);
    return rc ? rc : samples_failed(samples, err);
}

int collect_daemon(struct journal *journal, struct samples *samples, struct error *err)
{
    struct journal_daemon daemon;
    samples_add(samples, METRIC_BUILD_INFO, 1, PGCAIRN_VERSION);
    int rc = journal ? journal_daemon(journal, &daemon, err) : 0;
    if (rc || !journal || daemon.process.pid == 0)
        return rc;
    samples_add_us(samples, METRIC_DAEMON_HEARTBEAT, daemon.heartbeat_us);
    samples_add_us(samples, METRIC_DAEMON_STARTED, daemon.started_us);
    return 0;
}
