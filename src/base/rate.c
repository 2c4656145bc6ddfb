#include "base/rate.h"

#include <unistd.h>

#include "base/instant.h"

enum { BURST_US = 100000, SLEEP_MAX_US = 200000 };

void rate_take(struct rate *rate, int64_t bytes)
{
    if (rate->bytes_per_second <= 0 || atomic_load(&rate->stopped))
        return;
    pthread_mutex_lock(&rate->mutex);
    int64_t now_us = instant_monotonic_us();
    if (rate->next_us < now_us - BURST_US)
        rate->next_us = now_us - BURST_US;
    double cost_us = (double)bytes * (double)US_PER_SECOND / (double)rate->bytes_per_second;
    rate->next_us += (int64_t)cost_us;
    int64_t until_us = rate->next_us;
    pthread_mutex_unlock(&rate->mutex);
    for (int64_t left_us = until_us - now_us; left_us > 0 && !atomic_load(&rate->stopped);
         left_us = until_us - instant_monotonic_us())
        usleep((useconds_t)(left_us > SLEEP_MAX_US ? SLEEP_MAX_US : left_us));
}

void rate_stop(struct rate *rate)
{
    atomic_store(&rate->stopped, true);
}
