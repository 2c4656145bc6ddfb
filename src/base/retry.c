#include "base/retry.h"

#include <string.h>
#include <sys/random.h>

enum { DOUBLINGS_MAX = 10 };

/* Where the system has no random bytes yet, the clock's last digits keep clients apart. */
static uint64_t random_number(void)
{
    uint64_t number;
    if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != (ssize_t)sizeof(number))
        number = (uint64_t)instant_now_us() * UINT64_C(2862933555777941757);
    return number;
}

int64_t retry_next(struct retry *retry, const struct error *reason)
{
    int64_t now_us = instant_monotonic_us();
    if (retry->failures++ == 0) {
        retry->first = *reason;
        retry->started_us = now_us;
    }
    if (retry->streak++ == 0)
        retry->since_us = now_us;
    int64_t left_us = retry->since_us + retry->budget_us - now_us;
    if (left_us <= 0)
        return -1;
    int doublings = retry->streak - 1 < DOUBLINGS_MAX ? retry->streak - 1 : DOUBLINGS_MAX;
    int64_t bound_us = RETRY_FIRST_US << doublings;
    if (bound_us > RETRY_BOUND_US)
        bound_us = RETRY_BOUND_US;
    if (bound_us > left_us)
        bound_us = left_us;
    return (int64_t)(random_number() % (uint64_t)(bound_us + 1));
}

void retry_progress(struct retry *retry)
{
    retry->streak = 0;
}

int retry_give_up(const struct retry *retry, struct error *err)
{
    if (!err || retry->failures == 0)
        return err ? err->code : retry->first.code;
    if (retry->failures == 1)
        return err->code;
    struct error last = *err;
    double seconds = (double)(instant_monotonic_us() - retry->started_us) / (double)US_PER_SECOND;
    *err = retry->first;
    bool same = strcmp(last.message, retry->first.message) == 0;
    error_set(err, retry->first.code, "%.1400s (tried %d times in %.1f s%s%.500s)",
              retry->first.message, retry->failures, seconds,
              same ? "" : "; at last: ", same ? "" : last.message);
    const char *hint = retry->first.hint[0] ? retry->first.hint : last.hint;
    if (hint[0])
        error_hint(err, "%s", hint);
    return err->code;
}
