/*
 * A verification: what is stored is read again and proved intact and complete. What the files of
 * the story share, and its face.
 *
 *     verify.c            the story: gather, choose, prove item by item, tell
 *     verify_choose.c     what there is to prove, the oldest proof first
 *     verify_backup.c     a backup: its manifest, its listing, its objects
 *     verify_dump.c       rows and archives of a dump
 *     verify_snapshot.c   files of a snapshot against the server's backup_manifest
 *     verify_wal.c        WAL: its continuity, and its segments page by page
 *     verify_losses.c     which moments can't be recovered any more
 *     verify_report.c     faults, the document, the record in the evidence
 *
 * Levels: 1, every object is listed with its size, manifests are the ones that were written, WAL
 * has no hole. 2, every byte of the backups is read and hashed, volumes are unpacked, rows counted,
 * archives parsed by pg_restore, files compared with the server's list. 3, so is all WAL, and the
 * pages of that which snapshots carry are looked at.
 *
 * Items are backups and logs of WAL. One that was never looked at comes first, then the oldest
 * look; what was looked at on one day comes in random order. With a budget no item is begun that
 * would not end within it, by the speed of those before, but the first one: that is ended, so that
 * each run gets further, and the report tells how long it took beyond. An item in which a fault was
 * found before is read again as deep as that went.
 *
 * A fault is what a reader would stumble over: ERR_CORRUPT and what is not there. Everything else
 * that keeps something from being read makes it unknown. A store that fails on the way ends the
 * run, which is unknown then and names what was not looked at. What was proved is written into the
 * evidence at the end, and now and then before.
 *
 * Memory: a manifest, and a reader and 2 MB for each of the jobs.
 */
#ifndef PGCAIRN_WORK_VERIFY_H
#define PGCAIRN_WORK_VERIFY_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "pack/volume.h"
#include "repository/proof.h"
#include "repository/wal.h"
#include "work/crew.h"
#include "work/work.h"

enum {
    VERIFY_LEVEL_DEFAULT = 2,
    VERIFY_LEVEL_MAX = 3,
    VERIFY_JOBS_DEFAULT = 2,
    VERIFY_JOBS_MAX = 64,
    VERIFY_FAULTS_MAX = 1000,  /* told; more are counted */
    VERIFY_RECORDED_MAX = 100, /* of those in the evidence */
    VERIFY_LOG_MAX = 20000,    /* objects of one log of WAL */
    VERIFY_TEXT_MAX = 1024,    /* of a fault's texts */
    VERIFY_LEFT_MAX = 100,     /* names of items that were not looked at; they are counted */
    VERIFY_PHASE_MAX = 80,
};

#define VERIFY_RECORD_US (10 * US_PER_MINUTE) /* how often what was proved is written down */

struct verify_request {
    const struct policy *policy;
    struct repository *repository;
    struct lock *lock;  /* held by the caller; NULL in tests */
    const char *backup; /* an id; NULL: everything */
    int level;
    int64_t budget_us; /* 0: none */
    int jobs;
    const char *run_id, *job; /* for the evidence; "" */
    work_progress_function progress;
    work_notice_function notice;
    void *context;
};

enum verify_result { VERIFY_PASS, VERIFY_FAIL, VERIFY_UNKNOWN };

struct verify_report {
    int level;
    int64_t objects, bytes;   /* looked at; stored bytes read */
    json_t *faults;           /* [{"id","object","what","consequence","byte","table"}] */
    int64_t fault_count;      /* more than the list has, over VERIFY_FAULTS_MAX */
    json_t *unknowns;         /* [{"id","object","what"}] */
    json_t *lost;             /* [{"from","to"}]: moments that can't be recovered any more */
    size_t proved, remaining; /* items; remaining: not looked at to their end */
    json_t *left;             /* ["ID" or "SEGMENT to SEGMENT"], of the remaining */
    int64_t overrun_us;       /* beyond the budget */
};

/* Clear the report always. Errors are those that kept it from looking at anything, and
 * ERR_INTERRUPTED; a fault or doubt is no error but in the report. */
int verify(const struct verify_request *request, struct verify_report *ret_report,
           struct error *err);
void verify_report_clear(struct verify_report *report);

enum verify_result verify_result(const struct verify_report *report);
const char *verify_result_name(enum verify_result result); /* "pass" */
json_t *verify_report_json(const struct verify_report *report, const char *cluster);
/* The error of a report that has not passed: ERR_CORRUPT or ERR_UNKNOWN with the first reason. */
int verify_report_error(const struct verify_report *report, struct error *err);

/* ---- shared by the files of the story ---- */

struct verify_item {
    const struct facts_backup *backup; /* NULL: WAL */
    const struct facts_wal *wal;
    struct wal_name first, last; /* segments of one log */
    int level;                   /* to prove it to */
    int64_t bytes;               /* stored */
    int64_t proved_us;           /* INSTANT_NONE: never */
    int64_t looked_us;           /* likewise, with or without a fault */
    uint32_t lot;                /* random, for the order */
    bool has_fault, is_unknown;
};

/* A segment that is of no use, and the fault that tells of it. */
struct verify_broken_segment {
    struct facts_wal *wal;
    struct wal_name name;
    int64_t before_us, stored_us; /* when the one before it was stored, and it itself */
    json_t *fault;                /* borrowed from the report; NULL when that was full */
};

struct verifying {
    const struct verify_request *request;
    struct verify_report *report;
    struct facts facts;
    struct proof proof;
    struct verify_item *items;
    size_t item_count, item_allocated;
    struct verify_broken_segment *broken;
    size_t broken_count, broken_allocated;
    pthread_mutex_t mutex; /* of the report, the items' flags and what is broken */
    struct crew *crew;     /* while there is one */
    atomic_llong bytes_done;
    int64_t bytes_total;
    int64_t now_us, begun_us, recorded_us; /* the last two on the monotonic clock */
    char phase[VERIFY_PHASE_MAX];
};

/* What is wrong, in one place. byte: of the stored object, -1 when it can't be told. */
struct verify_finding {
    struct verify_item *item; /* NULL: none */
    const char *id;           /* of a backup, or of WAL; for item NULL */
    const char *object;       /* a key */
    int64_t byte;
    const char *table, *consequence; /* "" where there is none */
};

/* verify_choose.c */
int verify_choose(struct verifying *verifying, struct error *err);

/* verify_backup.c, verify_wal.c: prove one item. An error ends everything. */
int verify_backup(struct verifying *verifying, struct verify_item *item, struct error *err);
int verify_wal_log(struct verifying *verifying, struct verify_item *item, struct error *err);
/* All WAL by what the listing says; and backups that were made and are gone. */
int verify_wal_continuity(struct verifying *verifying, struct error *err);
int verify_vanished(struct verifying *verifying, struct error *err);

/* verify_losses.c */
/* What can't be recovered without one snapshot, for a fault's consequence. */
int verify_snapshot_loss(const struct verifying *verifying, const struct facts_backup *snapshot,
                         char text[VERIFY_TEXT_MAX], struct error *err);
/* At the end: the losses of all faults together, and the consequences of broken segments. */
int verify_losses(struct verifying *verifying, struct error *err);

/* verify_report.c */
/* A fault, with the item marked. *ret_fault (may be NULL) is borrowed. */
int verify_fault(struct verifying *verifying, const struct verify_finding *finding,
                 json_t **ret_fault, struct error *err, const char *format, ...) _printf_(5, 6);
/* What a failed look means: a fault, a doubt (0 in both cases), or the end of everything. */
int verify_note(struct verifying *verifying, const struct verify_finding *finding,
                const struct error *reason, json_t **ret_fault, struct error *err);
/* Into the evidence. */
int verify_record(struct verifying *verifying, bool is_partial, struct error *err);

/* verify.c */
/* Calls check for 0 .. count-1 from several threads; the first error ends it. */
typedef int (*verify_check)(void *context, size_t index, struct error *err);
int verify_each(struct verifying *verifying, size_t count, verify_check check, void *context,
                struct error *err);
/* Reads a stream or member to its end, each piece given to take (may be NULL). */
typedef int (*verify_take)(void *context, const void *data, size_t length, struct error *err);
int verify_read(struct verifying *verifying, struct volume_reader *reader, int64_t *reported,
                verify_take take, void *context, struct error *err);
void verify_notice(const struct verifying *verifying, const char *format, ...) _printf_(2, 3);

#endif
