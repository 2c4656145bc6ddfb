/*
 * A drill: a backup is restored on this machine, a scratch server started on it, and what must be
 * true of it is asked. What the files of the story share:
 *
 *     drill.c           the story: choose, restore, start, ask, stop, clean up; the evidence
 *                       (drill_run, in work.h)
 *     drill_folder.c    the folder it happens in, and what dead drills have left
 *     drill_restore.c   a snapshot, or a dump, becomes a server that answers
 *     drill_checks.c    what is asked of that server
 *     drill_report.c    what people read
 *
 * Snapshots are restored in turns to the end of the stored WAL and to a random moment of the
 * recovery windows; dumps whole, the newest one of the job. Whatever the outcome, an evidence
 * record of type "drill" says what was done and seen (repository/format.md), and the folder is gone
 * at the end; after a kill -9 the next drill removes it, and the kernel has ended the server.
 *
 * A drill never writes to the cluster or to its backups. The user may not be root, for PostgreSQL
 * may not; what root would write into the repository, others could not read. Disk: as much as the
 * cluster, looked for before anything is written.
 */
#ifndef PGCAIRN_WORK_DRILL_H
#define PGCAIRN_WORK_DRILL_H

#include <jansson.h>

#include "postgres/scratch.h"
#include "work/work.h"

enum {
    DRILL_STEPS_MAX = 2000,  /* kept in the evidence */
    DRILL_VALUE_SHOWN = 200, /* bytes of what an assertion gave */
};

enum drill_mode {
    DRILL_LATEST, /* a snapshot, replayed to the end of the stored WAL */
    DRILL_RANDOM, /* a snapshot, replayed to a random moment */
    DRILL_WHOLE,  /* a dump */
};

struct drill {
    const struct work *work;
    const struct policy_job *of;
    enum drill_mode mode;
    int64_t target_us; /* DRILL_RANDOM */
    char backup_id[40];
    char *folder;    /* of this drill alone */
    char *programs;  /* of the server's version */
    char *superuser; /* to ask as */
    json_t *manifest;
    json_t *steps;
    json_t *known;     /* ids of the backups there were */
    int64_t known_us;  /* at that time; INSTANT_NONE: not known */
    char last_wal[40]; /* the last segment that a replay to the end must come to; "" when none */
    json_t *passed,
        *turns; /* of the evidence: when which backup passed, how each job did it last */
    struct pg_scratch *server;
    int64_t restore_us, replay_us; /* how long they took */
    int64_t bytes;                 /* that were restored */
    bool tried;                    /* what it needs here is there, and the restore has begun */
    bool failed;                   /* a step has: the drill is no pass, and goes on where it can */
};

/* One step of the story, kept with its time. A failure is told and remembered; the code is
 * returned for what can't go on without it. */
typedef int (*drill_function)(struct drill *drill, struct error *err);
int drill_step(struct drill *drill, const char *name, drill_function function, struct error *err);
/* For what was looked at and has its result already: outcome "pass", "fail" or "skip". */
void drill_note(struct drill *drill, const char *name, const char *outcome, const char *format, ...)
    _printf_(4, 5);

/* drill_folder.c */
int drill_folder_make(struct drill *drill, struct error *err);
/* Stops nothing: the server has ended. */
void drill_folder_remove(struct drill *drill);
int drill_folder_check_space(const struct drill *drill, int64_t bytes, struct error *err);

/* drill_restore.c: each is a step. */
int drill_restore(struct drill *drill, struct error *err);
int drill_replay(struct drill *drill, struct error *err);

/* drill_checks.c: steps of its own; an error only when it could not go on asking. */
int drill_check_all(struct drill *drill, struct error *err);

/* drill_report.c: the details of a drill's run, which are the body of its evidence. */
void drill_report_text(const json_t *details, FILE *file);

#endif
