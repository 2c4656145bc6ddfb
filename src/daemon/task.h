/*
 * A task: one run that waits for its turn or runs as a child process, `pgcairn run`, in a process
 * group of its own; or a run that an earlier daemon left running, which is only watched; or a
 * look-up, `pgcairn list`, whose output is kept; or a receiver of WAL, `pgcairn wal receive`, which
 * ends with the daemon; or a gatherer, `pgcairn metrics --gather PART`, which is a look-up that
 * takes its policy on stdin and ends with the daemon too.
 *
 *     task_new_run(...)  WAITING  --task_start()-->  RUNNING  --task_reap()-->  gone
 *
 * What a run writes on stderr is passed on line by line, up to TASK_LOG_BYTES_MAX. Times are of
 * CLOCK_BOOTTIME, so that setting the clock neither kills a run nor keeps one waiting.
 */
#ifndef PGCAIRN_DAEMON_TASK_H
#define PGCAIRN_DAEMON_TASK_H

#include "base/child.h"
#include "daemon/roster.h"
#include "journal/journal.h"

enum {
    TASK_LOG_BYTES_MAX = 256 << 10, /* of one run's stderr */
    TASK_LINE_MAX = 4 << 10,
    TASK_OUTPUT_MAX = 4 << 20, /* of a look-up */
};

/* A run stops itself at its timeout; one that does not is told so after the first, and ended after
 * the second. */
#define TASK_TERM_AFTER_US (30 * US_PER_SECOND)
#define TASK_KILL_AFTER_US (60 * US_PER_SECOND)
#define TASK_GATHER_US (10 * US_PER_MINUTE)
#define TASK_NOTIFY_US (10 * US_PER_MINUTE) /* many targets, each of which may hang */

enum task_state { TASK_WAITING, TASK_RUNNING, TASK_ADOPTED };

#define TASK_GROUP_ALL "/all" /* every run of the daemon; its limit is the daemon's */

/* Of those that are of a group only `limit` run at a time. */
struct task_group {
    char name[IDENTITY_MAX];
    uint32_t mark; /* of the name: other marks, other names */
    int limit;
};

struct task {
    enum task_state state;
    bool is_lookup, is_receiver, is_notifier;
    const char *gathers;          /* of a gatherer: which part, static; else NULL */
    struct roster_policy *policy; /* used; NULL when adopted */
    char cluster[JOURNAL_NAME_MAX], job[JOURNAL_NAME_MAX];
    char identity[IDENTITY_MAX];
    enum job_type type;
    enum missed_rule on_missed;
    int retries;
    int64_t timeout_us;
    int64_t hooks_us;                /* what the programs around it may take besides */
    char run_id[JOURNAL_RUN_ID_MAX]; /* "" when the journal could not take it */
    int64_t due_us;
    int attempt;
    struct task_group *groups;
    size_t group_count;
    struct deny deny;      /* when it may not begin */
    struct zone *zone;     /* of deny; NULL without */
    int64_t ready_us;      /* by the clock of the wall: since when it waits for its turn */
    int64_t deadline_us;   /* how long it may wait so; 0: for ever */
    bool is_held;          /* told already that it waits for the end of a window */
    int64_t not_before_us; /* of CLOCK_BOOTTIME, while waiting */
    struct process_identity process;           /* adopted */
    struct child child;                        /* running */
    int64_t started_us, terminate_us, kill_us; /* of CLOCK_BOOTTIME; INT64_MAX: not */
    char line[TASK_LINE_MAX];                  /* of stderr, not yet whole */
    size_t line_length, logged;
    char last_line[ERROR_MESSAGE_MAX]; /* of stderr: why, when nothing else tells */
    struct buf output;                 /* of a look-up */
};

int64_t boot_now_us(void); /* CLOCK_BOOTTIME */

/* A run of the job for a due instant; a look-up for the job's cluster. */
int task_new_run(const struct roster_job *job, int64_t due_us, int attempt, struct task **ret_task,
                 struct error *err);
int task_new_lookup(struct roster_policy *policy, struct task **ret_task, struct error *err);
int task_new_receiver(struct roster_policy *policy, struct task **ret_task, struct error *err);
int task_new_gatherer(struct roster_policy *policy, const char *part, struct task **ret_task,
                      struct error *err);
int task_new_notifier(struct roster_policy *policy, struct task **ret_task, struct error *err);
int task_new_adopted(const struct journal_run *run, struct task **ret_task, struct error *err);

/* The same run once more, as the next attempt. */
int task_new_retry(const struct task *failed, struct task **ret_task, struct error *err);

/* Makes the task one of the groups of its type, and of the job (NULL: unknown). */
int task_join(struct task *task, const struct roster_job *job, struct error *err);

/* Frees; the child of a running one goes on. */
struct task *task_free(struct task *task);

/* Starts the child and adds its pipes to the epoll set with the task as the data. */
int task_start(struct task *task, int epoll, struct error *err);

/* Takes what the pipes hold, without blocking. */
void task_read(struct task *task, int epoll);

/* Whether the child has ended; then its pipes are read to the end and it is reaped. */
bool task_reap(struct task *task, int epoll, struct child_status *ret_status);

/* SIGTERM to the group now, SIGKILL after grace_us. */
void task_stop(struct task *task, int64_t grace_us);

/* Sends the signals whose time has come; returns when the next one is to be sent (INT64_MAX:
 * none). */
int64_t task_enforce(struct task *task, int64_t boot_us);

#endif
