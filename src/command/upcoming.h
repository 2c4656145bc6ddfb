/*
 * The next runs of jobs, for `schedule` and `policy check`.
 *
 *     struct upcoming upcoming = {0};
 *     upcoming_add(&upcoming, policy, after_us, 3, err);       of every job with a schedule
 *     upcoming_sort(&upcoming);                                by time
 *     upcoming_clear(&upcoming);
 */
#ifndef PGCAIRN_COMMAND_UPCOMING_H
#define PGCAIRN_COMMAND_UPCOMING_H

#include <stdint.h>

#include "base/instant.h"
#include "journal/journal.h"
#include "policy/policy.h"

enum { UPCOMING_MAX = 100000, UPCOMING_NOTE_MAX = 512 };

struct upcoming_run {
    const struct policy *policy; /* borrowed, as is the job */
    const struct policy_job *job;
    int64_t due_us;
    int64_t start_us;             /* not before then: jitter and deny counted in; INSTANT_NONE: not
                                     at all */
    char local[INSTANT_TEXT_MAX]; /* RFC 3339 with the offset of the job's zone */
    char note[UPCOMING_NOTE_MAX]; /* why it is not simply at its due instant; "" when it is */
};

struct upcoming {
    struct upcoming_run *runs;
    size_t count;
};

/* Up to `count` runs of each job strictly after the instant. ERR_LIMIT over UPCOMING_MAX. */
int upcoming_add(struct upcoming *upcoming, const struct policy *policy, int64_t after_us,
                 int64_t count, struct error *err);
/* Notes what is within a pause. */
int upcoming_mind_pauses(struct upcoming *upcoming, struct journal *journal, struct error *err);
void upcoming_sort(struct upcoming *upcoming);
void upcoming_clear(struct upcoming *upcoming);

#endif
