/*
 * The journal: which due instants were claimed, which runs there were and how they ended, what runs
 * now and how far it is. One SQLite file, `journal.db` (its tables: README.md beside this file). It
 * can be deleted at any time: the repository alone says what exists.
 *
 * Calling sequence of a scheduled run:
 *
 *     daemon   journal_claim()     durable before the job starts; a due instant is claimed once
 *     run      journal_begin()     the row now names the process that runs
 *              journal_progress()  as often as one likes, written once a second
 *              journal_finish()    the outcome; older rows of the job beyond a bound go
 *     daemon   journal_recover()   at start: what was claimed and has no outcome, and whose process
 *                                  is gone, was interrupted
 *
 * A run by hand claims with due INSTANT_NONE, which never collides.
 *
 * A file that is missing is made; one that is corrupt is moved aside to `journal.db.corrupt` and
 * replaced by an empty one, and journal_notice() says so. Several processes may use one journal at
 * the same time (WAL mode, busy timeout); a struct journal belongs to one thread at a time.
 */
#ifndef PGCAIRN_JOURNAL_JOURNAL_H
#define PGCAIRN_JOURNAL_JOURNAL_H

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/instant.h"
#include "base/process.h"

enum {
    JOURNAL_RUNS_PER_JOB_MAX = 500, /* rows kept per job, and the newest success beyond them */
    JOURNAL_BUSY_TIMEOUT_MS = 10000,
    JOURNAL_RUN_ID_MAX = 40,
    JOURNAL_NAME_MAX = 64,
    JOURNAL_PHASE_MAX = 128,
    JOURNAL_CODE_MAX = 32,
    JOURNAL_LIST_MAX = 10000, /* runs handed to one visitor */
};

enum journal_mode {
    JOURNAL_READ,
    JOURNAL_WRITE,
    JOURNAL_CHECK, /* to write, and every page is looked at first: for the daemon's start */
};

enum journal_outcome {
    OUTCOME_RUNNING, /* no outcome yet */
    OUTCOME_DONE,
    OUTCOME_FAILED,
    OUTCOME_SKIPPED,
    OUTCOME_NOT_MINE, /* somebody else has done it, or must */
    OUTCOME_INTERRUPTED,
    OUTCOME_COUNT,
};

struct journal_run {
    char run_id[JOURNAL_RUN_ID_MAX]; /* 20261121T020000Z-x7q2k9 */
    char cluster[JOURNAL_NAME_MAX];
    char job[JOURNAL_NAME_MAX];
    char type[JOURNAL_CODE_MAX];
    int64_t due_us; /* INSTANT_NONE for a run by hand */
    int attempt;    /* 1 for the first */
    int64_t claimed_us;
    int64_t started_us; /* INSTANT_NONE until begun */
    int64_t ended_us;   /* INSTANT_NONE while running */
    enum journal_outcome outcome;
    struct process_identity process; /* who claimed it, then who runs it */
    char backup_id[JOURNAL_RUN_ID_MAX];
    int64_t bytes_source, bytes_stored;
    char error_code[JOURNAL_CODE_MAX];
    char message[ERROR_MESSAGE_MAX];
    char hint[ERROR_HINT_MAX];
    char phase[JOURNAL_PHASE_MAX]; /* progress, "" when none was told */
    int64_t done, total, progress_us;
};

/* What the daemon leaves about itself. */
struct journal_daemon {
    struct process_identity process;
    int64_t started_us;
    int64_t heartbeat_us;
};

struct journal;

/*
 * The folder of the journal: $STATE_DIRECTORY (systemd), else /var/lib/pgcairn where it is ours to
 * write (to read, in JOURNAL_READ), else for an ordinary user $XDG_STATE_HOME/pgcairn or
 * ~/.local/state/pgcairn. ERR_PERMISSION with a hint when there is none. The caller frees.
 */
int journal_folder(enum journal_mode mode, char **ret_folder, struct error *err);

/* Opens, and unless JOURNAL_READ makes, the journal in the folder. In JOURNAL_READ a missing one is
 * ERR_NOT_FOUND. A journal of a newer pgcairn is ERR_FAILED. */
int journal_open(const char *folder, enum journal_mode mode, struct journal **ret_journal,
                 struct error *err);
struct journal *journal_free(struct journal *journal);

/* What had to be done to the file at open, for the log; NULL when nothing. */
const char *journal_notice(const struct journal *journal);

/* Whether the file under its path is no longer the one that was opened (deleted, moved aside by
 * another process): open it again. */
bool journal_lost(const struct journal *journal);

/*
 * Claims run->due_us of run's cluster, job, type and attempt, for the calling process, durably.
 * *ret_claimed is false when that due was claimed before (for attempt N: with N or more, or with
 * outcome done). Fills run->run_id and run->claimed_us when claimed; else *run is the earlier row.
 */
int journal_claim(struct journal *journal, struct journal_run *run, bool *ret_claimed,
                  struct error *err);

/* The calling process runs it now. ERR_CONFLICT when the row has an outcome, ERR_NOT_FOUND when
 * there is none. */
int journal_begin(struct journal *journal, const char *run_id, struct error *err);

/* Rate-limited to one write a second, but a new phase is written at once. Never fails a run. */
void journal_progress(struct journal *journal, const char *run_id, const char *phase, int64_t done,
                      int64_t total);

/* Records outcome, ended_us, backup_id, bytes and error of *run under run->run_id. A row that has
 * an outcome keeps it. */
int journal_finish(struct journal *journal, const struct journal_run *run, struct error *err);

/* By id; ERR_NOT_FOUND. */
int journal_find(struct journal *journal, const char *run_id, struct journal_run *ret_run,
                 struct error *err);

/* The newest run of a job with this outcome, or with any (OUTCOME_COUNT), by time of claim. */
int journal_last(struct journal *journal, const char *cluster, const char *job,
                 enum journal_outcome outcome, bool *ret_found, struct journal_run *ret_run,
                 struct error *err);

/* What came of a job's due instant: the attempt that was done, or else the newest. */
int journal_outcome(struct journal *journal, const char *cluster, const char *job, int64_t due_us,
                    bool *ret_found, struct journal_run *ret_run, struct error *err);

/* Who is asked for the time and for processes, in the place of the system; tests have their own.
 * NULL: the system again. Borrowed. */
struct journal_outside {
    int64_t (*now_us)(void *context);
    void (*self)(struct process_identity *ret_self, void *context);
    bool (*is_alive)(const struct process_identity *process, void *context);
    /* length letters and a NUL, of which ids are made */
    void (*random_name)(char *name, size_t length, void *context);
    void *context;
};
void journal_ask(struct journal *journal, const struct journal_outside *outside);

/* Visits what has no outcome and whose process lives, oldest first, until the visitor says not 0
 * (handed on). */
typedef int (*journal_visitor)(const struct journal_run *run, void *context, struct error *err);
int journal_each_running(struct journal *journal, journal_visitor visit, void *context,
                         struct error *err);

/* Visits every run of a cluster, oldest claim first, until the visitor says not 0 (handed on). */
int journal_each(struct journal *journal, const char *cluster, journal_visitor visit, void *context,
                 struct error *err);

/* The same for the runs of a job for due instants after this one, in their order. */
int journal_each_due(struct journal *journal, const char *cluster, const char *job,
                     int64_t after_us, journal_visitor visit, void *context, struct error *err);

/* Gives every run without an outcome whose process is gone the outcome interrupted; then visits
 * them (visit may be NULL). Those of one job only when cluster and job are given. */
int journal_recover(struct journal *journal, const char *cluster, const char *job,
                    journal_visitor visit, void *context, struct error *err);

/*
 * Up to which due instant a job is accounted for: everything up to it was claimed, skipped or
 * missed on record. It belongs to a schedule text (zone included): with another one, or none on
 * record, *ret_due_us is INSTANT_NONE.
 */
int journal_accounted(struct journal *journal, const char *cluster, const char *job,
                      const char *schedule, int64_t *ret_due_us, struct error *err);
int journal_account(struct journal *journal, const char *cluster, const char *job,
                    const char *schedule, int64_t due_us, struct error *err);

/* How often something happened to a job since the journal was begun, of runs that are gone too. */
struct journal_total {
    char cluster[JOURNAL_NAME_MAX], job[JOURNAL_NAME_MAX];
    char what[JOURNAL_CODE_MAX]; /* an outcome's name, "missed", "retried", "bytes_stored" */
    int64_t count;
};

/* Ordered by cluster and job; none of a journal that an older version wrote and that is only read.
 */
typedef int (*journal_total_visitor)(const struct journal_total *total, void *context,
                                     struct error *err);
int journal_each_total(struct journal *journal, journal_total_visitor visit, void *context,
                       struct error *err);

/* After the clock was set back: what was claimed for later than `now_us` shall be due again. */
int journal_forget_after(struct journal *journal, int64_t now_us, struct error *err);

/* The calling process is the daemon, alive now; and what the last one wrote (pid 0: none). */
int journal_heartbeat(struct journal *journal, int64_t started_us, struct error *err);
int journal_daemon(struct journal *journal, struct journal_daemon *ret_daemon, struct error *err);

/* What the message of an outcome not_mine begins with when another has done the work; else it says
 * why the work is not for this machine. */
#define JOURNAL_DONE_BY_ANOTHER "done "

/* Whether the work was done: by this run, or by another that this one left it to. */
bool journal_is_done(const struct journal_run *run);

const char *journal_outcome_name(enum journal_outcome outcome); /* "done"; "running" */

DEFINE_FREEP(struct journal *, journal_free)

#endif
