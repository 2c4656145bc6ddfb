/*
 * Holds: named, reasoned stops on deleting a backup, with evidence of who set and who released
 * them. Adding takes a lock that excludes a prune, so a backup that is being deleted can't be held.
 */
#ifndef PGCAIRN_REPOSITORY_HOLDS_H
#define PGCAIRN_REPOSITORY_HOLDS_H

#include "repository/ids.h"
#include "repository/repository.h"

enum { HOLD_TEXT_MAX = 2000 }; /* bytes of a holder or a reason */

struct hold_request {
    const char *backup_id;
    const char *holder;
    const char *reason;
    int64_t expires_us; /* INSTANT_NONE: never */
};

/* ERR_NOT_FOUND when there is no such backup, ERR_BUSY while a prune runs. */
int hold_add(struct repository *repository, const struct hold_request *request,
             char ret_hold_id[ID_SIZE], struct error *err);

/* Fills facts->holds, expired ones too. A hold that can't be read leaves facts->complete false. */
int hold_read_all(struct repository *repository, struct facts *facts, struct error *err);

int hold_release(struct repository *repository, const char *hold_id, const char *reason,
                 struct error *err);

/* ERR_CONFLICT when a hold stands on the backup at now_us, ERR_UNKNOWN when one can't be read. */
int hold_check_free(struct repository *repository, const char *backup_id, int64_t now_us,
                    struct error *err);

#endif
