/*
 * A limit on bytes per second, shared by threads: rate_take() sleeps until the bytes may go. The
 * bucket holds one tenth of a second's worth, so a burst is short. 0 is no limit. rate_stop() wakes
 * the sleepers and lets everything pass: the work is being given up.
 */
#ifndef PGCAIRN_BASE_RATE_H
#define PGCAIRN_BASE_RATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

struct rate {
    pthread_mutex_t mutex;
    int64_t bytes_per_second; /* 0 = none */
    int64_t next_us;          /* monotonic: when the bytes promised so far will have gone */
    atomic_bool stopped;
};

#define RATE_INIT(limit) \
    ((struct rate){.mutex = PTHREAD_MUTEX_INITIALIZER, .bytes_per_second = (limit)})

void rate_take(struct rate *rate, int64_t bytes);
void rate_stop(struct rate *rate);

#endif
