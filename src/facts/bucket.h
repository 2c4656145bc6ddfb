/*
 * What is known of the bucket that a repository lies in: its settings, and what a probe with the
 * policy's own key could do. Plain structs, filled by work/check_repository.c from the store, read
 * by retention/bucket.h. Owned by who fills them; texts are borrowed. A part that could not be read
 * says why in its problem, which is "" otherwise.
 */
#ifndef PGCAIRN_FACTS_BUCKET_H
#define PGCAIRN_FACTS_BUCKET_H

#include <stdbool.h>
#include <stddef.h>

/* One rule of the lifecycle; days of 0 mean that it does not. */
struct facts_rule {
    const char *id;
    const char *prefix; /* of keys in the bucket */
    bool is_enabled;
    bool is_filtered;          /* applies only to some objects below prefix: by tag or size */
    int expire_days;           /* current versions are deleted */
    int noncurrent_days;       /* replaced or deleted versions are removed */
    int abort_days;            /* unfinished uploads are aborted */
    int transition_days;       /* moved to another storage class; -1 = at once */
    const char *storage_class; /* to which */
};

struct facts_bucket {
    const char *prefix; /* of this repository's keys in the bucket, no slash at its end; "" */
    bool is_versioned;  /* now, or was once: versions may be there */
    bool allows_locks;
    bool locks_by_default; /* what nobody asked to lock too */
    int default_lock_days;
    bool creates_may_race;                     /* "only if absent" is not one step of the store */
    bool can_delete;                           /* the probe's object, with its versions */
    bool is_listed_publicly, is_read_publicly; /* by who has no key */
    struct facts_rule *rules;
    size_t rule_count;
    const char *versioning_problem, *lock_problem, *rules_problem;
    const char *public_problem; /* NULL where nobody asked */
};

#endif
