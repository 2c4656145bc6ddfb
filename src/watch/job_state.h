/*
 * How a job is: its last run, its last success, what runs now, when it is due next, and what is
 * wrong with it. `status`, the metrics and the status page all tell this, from here.
 *
 *     job_runs_read(journal, &running, err);                 once: what runs now, of all jobs
 *     for each job:
 *         job_state_read(journal, &running, policy, job, zone, now_us, &state, err);
 *         job_state_alarms(&state, visit, context, err);
 *     daemon_alarm(journal, now_us, visit, context, err);
 *     job_runs_clear(&running);
 *
 * journal may be NULL: nothing has run here. A state borrows policy, job and running.
 */
#ifndef PGCAIRN_WATCH_JOB_STATE_H
#define PGCAIRN_WATCH_JOB_STATE_H

#include "base/zone.h"
#include "journal/journal.h"
#include "journal/pause.h"
#include "policy/policy.h"

/* A daemon in another pid namespace can't be seen, but its heartbeat can. */
#define HEARTBEAT_FRESH_US (3 * US_PER_MINUTE)

/* Runs without an outcome whose process lives, those that wait for their turn included. */
struct job_runs {
    struct journal_run *items; /* oldest claim first */
    size_t count;
};

struct job_state {
    const struct policy *policy;
    const struct policy_job *job;
    char identity[2 * JOURNAL_NAME_MAX]; /* "CLUSTER/JOB" */
    bool has_last, has_success;
    struct journal_run last; /* the one that ended last */
    struct journal_run success;
    const struct journal_run *running; /* NULL when it does not run */
    bool is_paused;
    struct journal_pause pause; /* when it is */
    int64_t next_us;            /* the next due instant */
    int64_t before_last_us;     /* the last but one that passed */
    int64_t period_us;          /* the longest of the spans between the last ones and the
                                   next; INSTANT_NONE: not known */
};

struct job_alarm {
    const char *cluster, *job; /* NULL where it is of no cluster or no job */
    const char *what;          /* "failing", "missed", "stale", "paused", "untold", "daemon" */
    const char *text;
};

typedef int (*job_alarm_visitor)(const struct job_alarm *alarm, void *context, struct error *err);

int job_runs_read(struct journal *journal, struct job_runs *ret_runs, struct error *err);
void job_runs_clear(struct job_runs *runs);

int job_state_read(struct journal *journal, const struct job_runs *running,
                   const struct policy *policy, const struct policy_job *job,
                   const struct zone *zone, int64_t now_us, struct job_state *ret_state,
                   struct error *err);

/* Each alarm of a job; ends with what the visitor returns. */
int job_state_alarms(const struct job_state *state, job_alarm_visitor visit, void *context,
                     struct error *err);

/* A daemon that was here and is gone. */
int daemon_alarm(struct journal *journal, int64_t now_us, job_alarm_visitor visit, void *context,
                 struct error *err);

/* "dumping app, 42%", or its phase alone while the total is not known; "-" when nothing runs. */
void job_state_describe(const struct journal_run *running, char *text, size_t size);

#endif
