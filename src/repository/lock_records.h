/* Records of locks, for locks.c: reading, writing, and who among their holders lives. */
#ifndef PGCAIRN_REPOSITORY_LOCK_RECORDS_H
#define PGCAIRN_REPOSITORY_LOCK_RECORDS_H

#include "repository/locks.h"

enum lock_state { LOCK_STATE_ACQUIRING, LOCK_STATE_HELD, LOCK_STATE_RELEASED };

struct lock_record {
    struct lock_holder holder;
    enum lock_state state;
    int64_t modified_us; /* by the store; 0 for one's own */
};

/* A record of the calling process; name, number and times are left to be filled. */
void lock_record_of_self(struct lock_record *record, const struct lock_request *request);

/* Not released, and its process lives or may live. */
bool lock_record_is_live(const struct lock_record *record);

/* The record of the highest number; *ret_found is false when the lock was never taken. */
int lock_read_highest(struct repository *repository, const char *name,
                      struct lock_record *ret_record, bool *ret_found, struct error *err);

int lock_write_record(struct repository *repository, const struct lock_record *record,
                      unsigned flags, struct error *err);

/* Tidies up behind a new holder. What can't be deleted now is deleted by the next one. */
void lock_delete_lower(struct repository *repository, const struct lock_record *record);

#endif
