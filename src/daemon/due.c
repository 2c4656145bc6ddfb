#include "daemon/due.h"

static int64_t previous(const struct due_job *job, int64_t before_us)
{
    /* Rounded up: a due instant of this very second, but before before_us, counts. */
    int64_t seconds = (before_us + US_PER_SECOND - 1) / US_PER_SECOND;
    int64_t found = cron_previous(job->schedule, job->zone, seconds);
    return found == CRON_NEVER ? INSTANT_NONE : found * US_PER_SECOND;
}

int64_t due_next(const struct due_job *job, int64_t after_us)
{
    int64_t found = cron_next(job->schedule, job->zone, after_us / US_PER_SECOND);
    return found == CRON_NEVER ? INSTANT_NONE : found * US_PER_SECOND;
}

/* FNV-1a: stable over hosts, versions and restarts. */
static uint64_t hash(const char *text)
{
    uint64_t value = UINT64_C(14695981039346656037);
    for (; *text; text++)
        value = (value ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return value;
}

static int64_t with_jitter(const struct due_job *job, int64_t due_us)
{
    if (job->jitter_us <= 0)
        return due_us;
    int64_t delay_us = (int64_t)(hash(job->identity) % (uint64_t)job->jitter_us);
    int64_t next_us = due_next(job, due_us);
    if (next_us != INSTANT_NONE && delay_us > next_us - due_us - US_PER_SECOND)
        delay_us = next_us - due_us - US_PER_SECOND;
    return due_us + delay_us;
}

int64_t due_start(const struct due_job *job, int64_t due_us)
{
    int64_t start_us = with_jitter(job, due_us);
    if (!job->deny || job->deny->count == 0)
        return start_us;
    int64_t seconds = start_us / US_PER_SECOND;
    const struct deny_window *window = deny_at(job->deny, job->zone, seconds);
    if (!window)
        return start_us;
    if (window->skips)
        return INSTANT_NONE;
    int64_t end = deny_end(job->deny, job->zone, seconds);
    return end == CRON_NEVER ? INSTANT_NONE : end * US_PER_SECOND;
}

/* When something is to be done about it: started, or put on record as denied. */
static int64_t settle_of(const struct due_job *job, int64_t due_us)
{
    int64_t start_us = due_start(job, due_us);
    return start_us == INSTANT_NONE ? with_jitter(job, due_us) : start_us;
}

int64_t due_next_start(const struct due_job *job, int64_t accounted_us)
{
    int64_t due_us = due_next(job, accounted_us);
    return due_us == INSTANT_NONE ? INSTANT_NONE : settle_of(job, due_us);
}

/* The newest due instant that can be settled. With jitter alone only the very newest can still be
 * waiting; in a window many, and what is denied among them is settled in its turn. */
static int64_t newest_ready(const struct due_job *job, int64_t accounted_us, int64_t now_us)
{
    int64_t due_us = previous(job, now_us + 1), ready_us = due_us;
    if (due_us != INSTANT_NONE && settle_of(job, due_us) > now_us)
        ready_us = previous(job, due_us);
    if (!job->deny || job->deny->count == 0)
        return ready_us;
    for (int i = 0; i < DUE_MISSED_MAX && due_us != INSTANT_NONE && due_us > accounted_us; i++) {
        int64_t before_us = previous(job, due_us);
        if (settle_of(job, due_us) > now_us)
            ready_us = before_us;
        due_us = before_us;
    }
    return ready_us;
}

/* How many of those that passed are started, in an absence. */
static size_t starts_after_absence(const struct due_job *job, int64_t newest_us, int64_t now_us)
{
    switch (job->on_missed) {
    case MISSED_ONCE:
        return 1;
    case MISSED_ALL:
        return DUE_STARTS_MAX;
    case MISSED_SKIP:
        break;
    }
    return now_us - settle_of(job, newest_us) <= DUE_LATE_US ? 1 : 0;
}

/* They come newest first. */
static void leave(struct due_left *left, int64_t due_us)
{
    if (left->count == 0)
        left->last_us = due_us;
    left->first_us = due_us;
    left->count++;
}

static void reverse(struct due_check *check)
{
    for (size_t i = 0; i < check->count / 2; i++) {
        int64_t other_us = check->due_us[check->count - 1 - i];
        check->due_us[check->count - 1 - i] = check->due_us[i];
        check->due_us[i] = other_us;
    }
}

/* One that can be settled: is it started, or why not? */
static void settle(const struct due_job *job, int64_t due_us, int64_t now_us, bool was_absent,
                   size_t starts, struct due_check *check)
{
    int64_t start_us = due_start(job, due_us);
    bool was_deferred = start_us != INSTANT_NONE && start_us > with_jitter(job, due_us);
    bool is_one_enough = was_deferred && job->on_missed != MISSED_ALL;
    if (start_us == INSTANT_NONE)
        leave(&check->denied, due_us);
    else if (job->deadline_us > 0 && now_us - start_us > job->deadline_us)
        leave(&check->late, due_us);
    else if (is_one_enough && check->count > 0)
        leave(was_absent ? &check->missed : &check->deferred, due_us);
    else if (check->count < starts)
        check->due_us[check->count++] = due_us;
    else
        leave(&check->missed, due_us);
}

void due_check(const struct due_job *job, int64_t accounted_us, int64_t last_look_us,
               int64_t now_us, struct due_check *ret_check)
{
    struct due_check check = {.accounted_us = accounted_us};
    bool was_absent = last_look_us == INSTANT_NONE || now_us - last_look_us > DUE_LATE_US;
    int64_t due_us = newest_ready(job, accounted_us, now_us);
    check.is_catch_up = was_absent;
    if (due_us != INSTANT_NONE && due_us > accounted_us) {
        size_t starts = was_absent ? starts_after_absence(job, due_us, now_us) : DUE_STARTS_MAX;
        check.accounted_us = due_us;
        for (int64_t i = 0; i < DUE_MISSED_MAX + DUE_STARTS_MAX && due_us != INSTANT_NONE &&
                            due_us > accounted_us && check.missed.count < DUE_MISSED_MAX;
             i++, due_us = previous(job, due_us))
            settle(job, due_us, now_us, was_absent, starts, &check);
    }
    reverse(&check);
    *ret_check = check;
}

bool due_clock_stepped(int64_t real_before_us, int64_t boot_before_us, int64_t real_us,
                       int64_t boot_us)
{
    int64_t step_us = (real_us - real_before_us) - (boot_us - boot_before_us);
    return step_us >= DUE_STEP_US || step_us <= -DUE_STEP_US;
}
