/* Receiving WAL: prepared once, then session after session until it shall finish. */
#include "work/wal_receive.h"

#include <stdarg.h>
#include <string.h>

#include "base/retry.h"
#include "work/policy_load.h"
#include "work/wal_receiving.h"
#include "work/work.h"

#define STEP_US (US_PER_SECOND / 5)
#define TRY_FOR_US (365 * US_PER_DAY)
#define NOTICE_US US_PER_MINUTE
/* How long a slot may be in use by a session of ours that the server has not seen end. */
#define BUSY_FIRST_US (10 * US_PER_SECOND)
#define BUSY_US (2 * US_PER_MINUTE)

void receiving_notice(const struct receiving *receiving, const char *format, ...)
{
    char text[ERROR_MESSAGE_MAX];
    va_list args;
    if (!receiving->receive->notice)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    receiving->receive->notice(text, receiving->receive->context);
}

/* A store that does not answer must not hold up the end either. */
void receiving_drain(struct receiving *receiving)
{
    int64_t now_us = instant_monotonic_us();
    if (!receiving->uploads)
        return;
    if (!receiving->finish_us)
        receiving->finish_us = now_us + WAL_RECEIVE_FINISH_US;
    if (!wal_uploads_drain(receiving->uploads, receiving->finish_us - now_us))
        work_stop(ERR_INTERRUPTED, "not all that was received could be stored");
}

static void receiving_clear(struct receiving *receiving)
{
    receiving_disconnect(receiving);
    if (receiving->repository && receiving->uploads)
        repository_stop(receiving->repository); /* what is in flight had its time */
    wal_uploads_free(receiving->uploads);
    if (receiving->is_prepared)
        wal_assembly_clear(&receiving->assembly);
    locking_free(receiving->locking);
    repository_free(receiving->repository);
    closep(&receiving->spool_lock);
    wal_history_clear(&receiving->history);
    free(receiving->conninfo);
}

/* -- where to go on ------------------------------------------------------------------------ */

static int refuse_history(const struct receiving *receiving, struct error *err)
{
    error_set(err, ERR_FAILED,
              "the server is on timeline %u, which does not descend from timeline %u that was "
              "received",
              receiving->system.timeline, receiving->assembly.timeline);
    return error_hint(err, "was it restored, or is it the old primary? Start the receiver again to "
                           "go on with this server all the same");
}

/* All before the segment that is being received is stored or waits in the spool; unless the server
 * has gone on from an earlier position, as after the promotion of a standby that lagged. */
static int go_on(struct receiving *receiving, struct error *err)
{
    const struct wal_assembly *assembly = &receiving->assembly;
    struct wal_resume *resume = &receiving->resume;
    if (assembly->timeline == 0) /* the first session never began */
        return 0;
    resume->lsn = wal_assembly_start(assembly);
    if (!wal_resume_follows(&receiving->history, assembly->timeline, resume->lsn,
                            assembly->segment_size, &resume->lsn) &&
        resume->lsn == 0)
        return refuse_history(receiving, err);
    resume->timeline = wal_history_timeline_at(&receiving->history, resume->lsn);
    return 0;
}

/* A standby catches up by itself; nothing is acknowledged meanwhile. */
static int check_ahead(const struct receiving *receiving, struct error *err)
{
    char here[WAL_LSN_TEXT_MAX], there[WAL_LSN_TEXT_MAX];
    if (receiving->resume.lsn <= receiving->system.lsn)
        return 0;
    error_set(err, ERR_CONNECTION, "WAL is stored up to %s, but the server is only at %s",
              wal_lsn_format(receiving->resume.lsn, here),
              wal_lsn_format(receiving->system.lsn, there));
    return error_hint(err, "a standby catches up by itself; a server that was restored to an "
                           "earlier moment needs a cluster of its own");
}

/* The server has removed WAL that is not stored. With a second place to begin it goes on there. */
static int lose(struct receiving *receiving, struct error *err)
{
    struct wal_resume *resume = &receiving->resume;
    char from[WAL_LSN_TEXT_MAX], until[WAL_LSN_TEXT_MAX];
    const char *cluster = receiving->receive->policy->cluster;
    uint64_t lsn = wal_assembly_start(&receiving->assembly);
    wal_lsn_format(lsn, from);
    if (resume->has_second && lsn < resume->second_lsn) {
        receiving_notice(receiving,
                         "WAL from %s to %s is lost: the server removed it before it was received. "
                         "Recovery across it is impossible: take a snapshot",
                         from, wal_lsn_format(resume->second_lsn, until));
        *resume =
            (struct wal_resume){.timeline = resume->second_timeline, .lsn = resume->second_lsn};
        receiving->assembly.timeline = 0; /* it goes on there, not where this session began */
        return error_set(err, ERR_CONNECTION, "begins anew behind lost WAL");
    }
    char why[ERROR_MESSAGE_MAX / 2];
    snprintf(why, sizeof(why), "%.*s", (int)sizeof(why) - 1, err->message);
    error_set(err, ERR_FAILED,
              "WAL from %s on is lost, recovery across it is impossible: the server removed it "
              "before it was received (%s)",
              from, why);
    return error_hint(err,
                      "pgcairn wal receive %s --drop-slot, then --create-slot, receive again, and "
                      "take a snapshot; raise max_slot_wal_keep_size",
                      cluster);
}

/* -- sessions ------------------------------------------------------------------------------ */

static int run_session(struct receiving *receiving, struct error *err)
{
    struct error reason = ERROR_NONE;
    bool is_first = !receiving->is_prepared;
    receiving->is_heard = false;
    int rc = receiving_connect(receiving, &reason);
    if (!rc)
        rc = is_first ? receiving_prepare(receiving, &reason) : go_on(receiving, &reason);
    if (!rc)
        rc = check_ahead(receiving, &reason);
    if (!rc) {
        char lsn[WAL_LSN_TEXT_MAX];
        receiving_notice(receiving, "receives timeline %u from %s on through slot \"%s\"",
                         receiving->resume.timeline, wal_lsn_format(receiving->resume.lsn, lsn),
                         receiving->slot_name);
        rc = receiving_stream(receiving, &reason);
    }
    if (rc == ERR_CONFLICT && !work_interrupted(NULL))
        rc = lose(receiving, &reason);
    receiving_disconnect(receiving);
    if (rc && err)
        *err = reason;
    return rc;
}

static bool wait_step_by_step(struct receiving *receiving, int64_t wait_us)
{
    int64_t until_us = instant_monotonic_us() + wait_us;
    while (!work_shall_finish() && !work_interrupted(NULL) &&
           !wal_uploads_check(receiving->uploads, NULL)) {
        int64_t left_us = until_us - instant_monotonic_us();
        if (left_us <= 0)
            return true;
        usleep((useconds_t)(left_us < STEP_US ? left_us : STEP_US));
    }
    return false;
}

struct trying {
    struct retry retry;
    int64_t noticed_us, busy_since_us; /* monotonic; 0: not */
    bool has_streamed;
};

/* Whether it may pass by itself. The first session tells at once what is wrong. */
static bool may_pass(struct trying *trying, const struct receiving *receiving, int rc)
{
    int64_t now_us = instant_monotonic_us();
    if (rc != ERR_BUSY)
        trying->busy_since_us = 0;
    if (rc == ERR_BUSY) {
        if (!trying->busy_since_us)
            trying->busy_since_us = now_us;
        return receiving->is_prepared &&
               now_us - trying->busy_since_us < (trying->has_streamed ? BUSY_US : BUSY_FIRST_US);
    }
    return receiving->is_prepared && (trying->has_streamed || receiving->assembly.timeline == 0) &&
           (rc == ERR_CONNECTION || rc == ERR_NO_SPACE);
}

static void note_retry(struct trying *trying, const struct receiving *receiving,
                       const struct error *error)
{
    int64_t now_us = instant_monotonic_us();
    if (trying->noticed_us && now_us - trying->noticed_us < NOTICE_US)
        return;
    trying->noticed_us = now_us;
    receiving_notice(receiving, "tries again: %s", error->message);
}

static int run_sessions(struct receiving *receiving, struct error *err)
{
    struct trying trying = {.retry = RETRY_INIT(TRY_FOR_US)};
    for (;;) {
        struct error error = ERROR_NONE;
        int rc = run_session(receiving, &error);
        if (receiving->is_heard) {
            trying.has_streamed = true;
            trying.noticed_us = 0;
            retry_progress(&trying.retry);
        }
        bool again = rc && !work_interrupted(NULL) && may_pass(&trying, receiving, rc);
        if (!again && rc)
            *err = error;
        if (!again)
            return rc;
        note_retry(&trying, receiving, &error);
        if (!wait_step_by_step(receiving, retry_next(&trying.retry, &error)))
            return work_interrupted(err) ? err->code : wal_uploads_check(receiving->uploads, err);
    }
}

int wal_receive(const struct wal_receive *receive, struct error *err)
{
    _cleanup_(receiving_clear) struct receiving receiving = {
        .receive = receive,
        .spool_lock = -1,
        .rate = RATE_INIT(receive->policy->rate_limit),
        .assembly = {.fd = -1},
        .reported_us = instant_monotonic_us()};
    wal_receive_slot(receive, receiving.slot_name);
    int rc = policy_connection(receive->policy, receive->job, &receiving.conninfo, err);
    if (!rc)
        rc = run_sessions(&receiving, err);
    if (!rc)
        receiving_drain(&receiving);
    return rc;
}
