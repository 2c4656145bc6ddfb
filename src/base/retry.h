/*
 * The one way to try again: a budget of time, exponential backoff with full jitter (the wait is
 * random between nothing and a bound that doubles), and a memory of what went wrong first, for that
 * is the cause and what came later is often only its echo.
 *
 *     struct retry retry = RETRY_INIT(budget_us);
 *     while ((rc = attempt(err))) {
 *         if (!worth_it || (wait_us = retry_next(&retry, err)) < 0)
 *             return retry_give_up(&retry, err);
 *         ... wait that long, if nobody wants to stop ...
 *     }
 *
 * One thread at a time.
 */
#ifndef PGCAIRN_BASE_RETRY_H
#define PGCAIRN_BASE_RETRY_H

#include <stdint.h>

#include "base/error.h"
#include "base/instant.h"

#define RETRY_FIRST_US (100 * US_PER_SECOND / 1000) /* bound of the first wait */
#define RETRY_BOUND_US (5 * US_PER_SECOND)          /* it never grows beyond */

struct retry {
    int64_t budget_us;  /* from the first failure, or the last progress, to the last attempt */
    int64_t since_us;   /* monotonic; 0 before the first failure */
    int64_t started_us; /* monotonic; of the first failure, whatever came after */
    int failures;       /* in all */
    int streak;         /* since the last progress */
    struct error first;
};

#define RETRY_INIT(budget) ((struct retry){.budget_us = (budget)})

/* Notes a failed attempt. How long to wait before the next one, or -1 when the budget is spent. */
int64_t retry_next(struct retry *retry, const struct error *reason);

/* Something was achieved: the budget and the waits begin anew, the first error stays. */
void retry_progress(struct retry *retry);

/* Makes the first error the one in err, with the number of attempts and, when it is another, the
 * last one. Counts the last attempt itself. Returns the code. */
int retry_give_up(const struct retry *retry, struct error *err);

#endif
