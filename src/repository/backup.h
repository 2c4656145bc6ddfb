/*
 * A backup that is being made: started.json, its heartbeat, and the manifest that ends it.
 *
 *     struct started started = {...};           the caller fills it; strings are copied nowhere
 *     backup_begin(repository, &started, err);  before the first data object
 *     backup_heartbeat(repository, &started, now_us, err);   at least hourly, from any one thread
 *     manifest_write(...)                       last; see manifest.h
 */
#ifndef PGCAIRN_REPOSITORY_BACKUP_H
#define PGCAIRN_REPOSITORY_BACKUP_H

#include "repository/ids.h"
#include "repository/repository.h"

enum { BACKUP_NAME_MAX = 255 };

#define BACKUP_HEARTBEAT_US US_PER_HOUR

struct started {
    char id[ID_SIZE];
    enum backup_kind kind;
    char job[BACKUP_NAME_MAX + 1];
    char run_id[BACKUP_NAME_MAX + 1];
    char host[BACKUP_NAME_MAX + 1]; /* filled by backup_begin */
    int64_t pid;                    /* filled by backup_begin */
    int64_t due_us;                 /* INSTANT_NONE (or 0) for a run by hand */
    int64_t started_us;
    int64_t heartbeat_us; /* filled by backup_begin: started_us */
    int64_t removed_by;   /* number of the evidence of its removal; 0 while it is not removed */
};

/* ERR_EXISTS when the id is taken: make another one. */
int backup_begin(struct repository *repository, struct started *started, struct error *err);
int backup_heartbeat(struct repository *repository, struct started *started, int64_t now_us,
                     struct error *err);

/* Reading, marking as removed: for catalogue.c and remove.c. */
int started_read(struct repository *repository, enum backup_kind kind, const char *id,
                 struct started *ret_started, struct error *err);
int started_write(struct repository *repository, const struct started *started, unsigned flags,
                  struct error *err);

#endif
