/*
 * The daemon's parts, shared by its files and by nothing else:
 *
 *     daemon.c      start, the loop, signals, reload, the end
 *     schedule.c    which due instants are due, claims, overlap, what is known at the start
 *     supervise.c   starting tasks, their ends, retries
 *     after.c       jobs that come after others
 *     receivers.c   the receivers of WAL, kept running
 *     tell.c        what people are told: the outbox, and who delivers it
 *     watching.c    the status page and the metrics, and who gathers for them
 *     turn.c        one look at everything, reload, stop: what daemon.c does in its loop
 *
 * One thread. Everything hangs on struct daemon.
 */
#ifndef PGCAIRN_DAEMON_STATE_H
#define PGCAIRN_DAEMON_STATE_H

#include "daemon/daemon.h"
#include "daemon/roster.h"
#include "daemon/task.h"
#include "daemon/world.h"
#include "journal/journal.h"
#include "journal/pause.h"

struct daemon {
    const struct daemon_options *options;
    char *folder;       /* of the journal */
    struct world world; /* clocks and children; the real ones but in tests */
    int lock_fd, epoll_fd, timer_fd, set_fd, signal_fd;
    struct roster *roster;
    struct journal *journal;
    bool journal_is_new; /* nothing is known of the past: ask the repository */
    struct task **tasks; /* in the order in which they came */
    size_t task_count;
    struct receiver *receivers; /* one per cluster with mode: receive */
    size_t receiver_count;
    struct watching *watching;       /* NULL: nobody looks */
    bool journal_fails;              /* the last heartbeat could not be written */
    int journal_code;                /* why it can't be written, as was said; 0: it can */
    struct journal_run *interrupted; /* found at the start; until the first look has been */
    size_t interrupted_count;
    struct telling *telling; /* NULL: nobody was told yet */
    int64_t started_us;
    int64_t looked_us, looked_boot_us; /* the last look, INSTANT_NONE before the first */
    int64_t heartbeat_boot_us;
    int64_t watchdog_us; /* how often systemd is told; 0: not at all */
    bool is_stopping, is_ended;
    int64_t drain_until_boot_us;
    char status[256]; /* the last one told */
};

int64_t daemon_now_us(const struct daemon *daemon);
int64_t daemon_boot_us(const struct daemon *daemon);

/* What became of a write to the journal, rc as err->code: a cause that lasts is said once, and when
 * it is over. Runs are begun all the same. subject, run_id and what as in say_error(). */
void daemon_journal_wrote(struct daemon *daemon, const char *subject, const char *run_id,
                          const char *what, int rc, struct error *err);

/* turn.c; they need options, world, roster and journal */
/* Before the first look: runs of an earlier daemon that were interrupted, or live. */
int turn_recover(struct daemon *daemon, struct error *err);
void turn_begin(struct daemon *daemon);
void turn_take(struct daemon *daemon);                        /* one look */
int64_t turn_sleep_us(const struct daemon *daemon);           /* to the next, at most a minute */
void turn_swap(struct daemon *daemon, struct roster *roster); /* takes the roster */
void turn_stop(struct daemon *daemon);                        /* a second time: at once */

/* schedule.c */
void schedule_learn(struct daemon *daemon); /* up to where each new job is accounted for */
void schedule_look(struct daemon *daemon, int64_t now_us);
void schedule_clock_stepped(struct daemon *daemon, int64_t now_us);
void schedule_journal_lost(struct daemon *daemon); /* a new one was opened */
void schedule_take_lookup(struct daemon *daemon, struct task *lookup, bool is_good);
/* A due instant that is not run, on record; and one whose time has come. What comes after the job
 * is told. */
void schedule_skip(struct daemon *daemon, struct roster_job *job, int64_t due_us, const char *why);
void schedule_begin(struct daemon *daemon, struct roster_job *job, int64_t due_us);
int64_t schedule_next_us(const struct daemon *daemon); /* INT64_MAX: nothing is to come */

/* supervise.c */
int supervise_add(struct daemon *daemon, struct task *task, struct error *err); /* takes task */
void supervise_start(struct daemon *daemon); /* those whose turn it is */
void supervise_check(struct daemon *daemon); /* ends, and signals that are due */
void supervise_stop(struct daemon *daemon, int64_t grace_us);
void supervise_drop_waiting(struct daemon *daemon);
int64_t supervise_next_boot_us(const struct daemon *daemon); /* INT64_MAX: nothing to wait for */
size_t supervise_running(const struct daemon *daemon);       /* children */
const struct task *supervise_find(const struct daemon *daemon, const char *identity);
/* Forgets retries of the job that wait: a newer due instant takes their place. */
void supervise_supersede(struct daemon *daemon, const char *identity);

/* after.c: the jobs that come after others. A run, with its due instant and outcome, that is not
 * tried again; and, at the first look, what ended before. */
void after_settled(struct daemon *daemon, const struct journal_run *run);
void after_look_back(struct daemon *daemon, int64_t now_us);

/* receivers.c */
void receivers_look(struct daemon *daemon); /* ends, changed policies, starts */
void receivers_stop(struct daemon *daemon); /* tells them to finish */
size_t receivers_running(const struct daemon *daemon);
int64_t receivers_next_boot_us(const struct daemon *daemon); /* INT64_MAX: nothing to wait for */
void receivers_clear(struct daemon *daemon);

/* tell.c. A run, with names, due instant and outcome, that is not tried again; one that will be;
 * one that begins; files of policies that can't be used. */
void tell_settled(struct daemon *daemon, const struct journal_run *run);
void tell_unseen(struct daemon *daemon); /* what ended while there was no daemon */
void tell_retry(struct daemon *daemon, const struct journal_run *run, int64_t delay_us);
void tell_started(struct daemon *daemon, const struct task *task);
void tell_bad_policy(struct daemon *daemon, const char *why);
void tell_look(struct daemon *daemon); /* what is stale, and whether somebody must deliver */
int64_t tell_next_boot_us(const struct daemon *daemon); /* INT64_MAX: nothing to wait for */
void tell_close(struct daemon *daemon);

/* watching.c; all but the first do nothing when nobody looks */
int watching_open(struct daemon *daemon, struct error *err);
void watching_close(struct daemon *daemon);
void watching_look(struct daemon *daemon); /* who gathers, and what the loop knows */
void watching_reloaded(struct daemon *daemon, bool was_good);
void watching_run_ended(struct daemon *daemon, const char *cluster, enum job_type type);
void watching_works(struct daemon *daemon);                        /* the loop begins a look */
void watching_expect(struct daemon *daemon, int64_t wake_boot_us); /* and goes to sleep till then */
int64_t watching_next_boot_us(const struct daemon *daemon); /* INT64_MAX: nothing to wait for */

#endif
