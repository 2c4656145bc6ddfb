/*
 * A migration under guard: a dump that was checked and is held, then the command, and the way back
 * when it fails. What the files of the story share, and its face.
 *
 *     guard.c           the story: stamps, dump, hold, verification, command, evidence (guard_run)
 *     guard_command.c   the command: our streams, our terminal, signals passed on
 *     guard_return.c    going back: restored beside it, names swapped, nothing dropped
 *
 * The command is not started unless the dump is stored, was read again and proved (level 2) and is
 * held. Whatever keeps guard itself from doing that is its error, and the report says
 * "not_started".
 *
 * With restore_on_failure the database is restored under another name, and the two change names in
 * one transaction once nobody is connected to the old one (or with `terminate` its sessions are
 * ended); the old one is kept as NAME_broken_xxxx. What would keep that from working is looked for
 * before the dump. Rows that others wrote since the dump are in the kept one only.
 *
 * One guard at a time works on a database, by an advisory lock of its session: ERR_BUSY.
 *
 * Memory: that of a dump, then that of a restore. One call in a process: it handles signals.
 */
#ifndef PGCAIRN_WORK_GUARD_H
#define PGCAIRN_WORK_GUARD_H

#include <jansson.h>

#include "base/buf.h"
#include "base/child.h"
#include "journal/journal.h"
#include "postgres/connection.h"
#include "repository/ids.h"
#include "work/databases.h"
#include "work/work.h"

enum {
    GUARD_WORDS_MAX = 1000,   /* of the command */
    GUARD_COMMAND_MAX = 1500, /* bytes of the command as it is shown and recorded */
    GUARD_NAME_MAX = 63,      /* of a database, in bytes */
    GUARD_VERIFY_LEVEL = 2,   /* of the dump, before the command may start */
    GUARD_SUFFIX_MAX = 16,    /* "_restored_x7q2" */
};

#define GUARD_KEEP_US (7 * US_PER_DAY) /* how long the dump is held when nothing is said */

struct guard_report;

struct guard_request {
    const struct policy *policy;
    const struct policy_job *job; /* of type dump */
    struct repository *repository;
    struct journal *journal;    /* of the dump's run; NULL: nothing is recorded */
    const char *const *command; /* ends with NULL */
    const char *database;       /* whose stamps are read and which is put back; NULL: all */
    const char *holder;         /* of the hold */
    int64_t keep_us;            /* how long it stands */
    bool restore_on_failure;
    bool terminate;        /* sessions that are in the way of going back */
    bool output_to_stderr; /* of the command */
    bool dry_run;          /* look at everything, do nothing */
    /* Called when the command is about to start; and once it has failed, before anything is put
     * back. May be NULL. */
    void (*starting)(const struct guard_report *report, void *context);
    void (*failed)(const struct guard_report *report, void *context);
    work_progress_function progress;
    work_notice_function notice;
    void *context;
};

enum guard_outcome { GUARD_NOT_STARTED, GUARD_DONE, GUARD_FAILED, GUARD_INTERRUPTED };

struct guard_report {
    enum guard_outcome outcome;
    char run_id[ID_SIZE];
    char backup_id[ID_SIZE], hold_id[ID_SIZE]; /* "" while there is none */
    char command[GUARD_COMMAND_MAX];           /* passwords hidden */
    int64_t dumped_us;                         /* the dump began */
    int64_t held_until_us;
    int64_t started_us, ended_us;      /* of the command; INSTANT_NONE */
    struct child_status status;        /* of the command, once it has ended */
    int signal;                        /* that came while it ran; 0: none */
    json_t *databases;                 /* [{"database","before","after"}]: stamps, or null */
    bool is_restored;                  /* the database is as it was dumped */
    char restored[GUARD_NAME_MAX + 1]; /* restored and not in place: its name; else "" */
    char kept_as[GUARD_NAME_MAX + 1];  /* what the command left, when it was swapped; else "" */
    int64_t evidence;                  /* number of the record; 0: none */
};

/* Fills the report always; clear it. 0 when the command succeeded (or with dry_run nothing stands
 * in the way); ERR_CHILD when it failed, ERR_INTERRUPTED when it was stopped, whatever came of
 * going back; every other code means that it was not started. */
int guard_run(const struct guard_request *request, struct guard_report *ret_report,
              struct error *err);
void guard_report_clear(struct guard_report *report);

/* The name of the run's database beside that one: NAME_what_xxxx, short enough for a server. */
void guard_name_beside(const char *name, const char *what, const char *run_id,
                       char beside[GUARD_NAME_MAX + 1]);
/* Appends how the two change names, for psql, in one line. */
int guard_add_renames(struct buf *sql, const char *name, const char *run_id);

const char *guard_outcome_name(enum guard_outcome outcome); /* "not_started" */

/* ---- shared by the files of the story ---- */

struct guarding {
    const struct guard_request *request;
    struct guard_report *report;
    char *conninfo;                  /* secret */
    PGconn *conn;                    /* to the maintenance database */
    struct work_databases databases; /* the watched ones */
};

/* guard_command.c: runs it to its end; sets the report's status, times and signal. */
int guard_command(struct guarding *guarding, struct error *err);

/* guard.c: ERR_BUSY while another guard is at work on one of them. Ends with our session; when that
 * has ended meanwhile a new one begins. */
int guard_exclude_others(struct guarding *guarding, struct error *err);

/* guard_return.c */
/* ERR_* with the cure when the one watched database can't be put back. */
int guard_check_return(struct guarding *guarding, struct error *err);
int guard_return(struct guarding *guarding, struct error *err);

void guard_notice(const struct guarding *guarding, const char *format, ...) _printf_(2, 3);

#endif
