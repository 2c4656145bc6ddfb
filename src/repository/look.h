/*
 * A look at one backup: which state it is in. For catalogue.c and remove.c; the rules are in
 * catalogue.h.
 */
#ifndef PGCAIRN_REPOSITORY_LOOK_H
#define PGCAIRN_REPOSITORY_LOOK_H

#include "base/strv.h"
#include "repository/repository.h"

enum { LOOK_RUNS_MAX = 100000 };

struct look {
    struct repository *repository;
    int64_t now_us;
    struct strv runs;                /* run ids of those that hold a lock now */
    bool backup_is_made;             /* a dump or snapshot holds a lock, whatever its run id */
    bool may_be_protected;           /* objects may be under an object lock: worth a request each */
    bool locks_unreadable;           /* so whatever has no manifest may be running */
    char problem[ERROR_MESSAGE_MAX]; /* of the last look; "" when all could be read */
};

/* Reads the locks, once for many looks. */
int look_init(struct look *look, struct repository *repository, int64_t now_us, struct error *err);
void look_clear(struct look *look);

/* Fills *backup (zeroed as by facts_add_backup). *ret_found is false when nothing of it is left. */
int look_at_backup(struct look *look, enum backup_kind kind, const char *id,
                   struct facts_backup *backup, bool *ret_found, struct error *err);

#endif
