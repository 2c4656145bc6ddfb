/*
 * Which due instants of a job were done, and by whom: one object each, created only if absent, so
 * that several machines with one policy agree (format.md, "runs"). Looking one up is one request.
 *
 *     run_record_find(repository, "nightly", due_us, &record, &found, err);      before the work
 *     run_record_add(repository, &record, err);           after it; ERR_EXISTS: another was first
 *     run_records_trim(repository, "nightly", now_us, err);      then, and as often as one likes
 *
 * Only what is done is recorded. A record that can't be read is ERR_CORRUPT or that of the store:
 * whether the instant was done is not known then.
 */
#ifndef PGCAIRN_REPOSITORY_RUNS_H
#define PGCAIRN_REPOSITORY_RUNS_H

#include "repository/repository.h"

enum {
    RUN_RECORD_TEXT_MAX = 255,
    RUN_RECORDS_TRIM_MAX = 100, /* deleted by one run */
};

/* An audit looks back a year. */
#define RUN_RECORDS_KEEP_US (400 * US_PER_DAY)

struct run_record {
    char job[RUN_RECORD_TEXT_MAX + 1];
    char run_id[RUN_RECORD_TEXT_MAX + 1];
    char host[RUN_RECORD_TEXT_MAX + 1];
    char backup_id[RUN_RECORD_TEXT_MAX + 1]; /* "" when the job makes none */
    int64_t due_us, started_us, ended_us;
    int64_t fence; /* the number of the lock under which it was done (locks.h) */
};

int run_record_find(struct repository *repository, const char *job, int64_t due_us,
                    struct run_record *ret_record, bool *ret_found, struct error *err);
int run_record_add(struct repository *repository, const struct run_record *record,
                   struct error *err);

/* What a crash before run_record_add() left: the backup of this job, with its manifest, that says
 * in its started.json for which due instant it is. Only those that began about then or later are
 * looked at. The fence is not known. */
int run_find_backup(struct repository *repository, enum backup_kind kind, const char *job,
                    int64_t due_us, struct run_record *ret_record, bool *ret_found,
                    struct error *err);

/* Deletes records of due instants that are too long ago, the oldest first. */
int run_records_trim(struct repository *repository, const char *job, int64_t now_us,
                     struct error *err);

/* Visits the due instants on record of a job, oldest first; a non-zero return is handed on. */
typedef int (*run_record_visit)(int64_t due_us, void *context, struct error *err);
int run_records_each(struct repository *repository, const char *job, run_record_visit visit,
                     void *context, struct error *err);

#endif
