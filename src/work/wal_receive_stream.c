/* One session of receiving: what comes becomes files, the server is told what is safe, and when a
 * timeline ends the next one is received. */
#include <string.h>

#include "work/wal_receiving.h"
#include "work/work.h"

enum {
    HURRIED_MAX = 5, /* questions within HURRIED_US: the server wants to shut down */
};

#define WAIT_US (US_PER_SECOND / 5)
#define SILENCE_US (60 * US_PER_SECOND) /* without a sign of life: the connection is dead */
#define HURRIED_US US_PER_SECOND
#define END_US (2 * US_PER_SECOND)

/* -- what the server is told --------------------------------------------------------------- */

uint64_t receiving_safe_lsn(const struct receiving *receiving)
{
    struct wal_assembled first;
    uint64_t lsn = wal_assembly_start(&receiving->assembly);
    if (receiving->receive->acknowledge == ACKNOWLEDGE_STORED &&
        wal_uploads_first(receiving->uploads, &first) && first.lsn < lsn)
        lsn = first.lsn;
    return lsn;
}

/* A slot follows backwards too, and is lost when it comes to stand where the server is about to
 * remove WAL. So it is only ever moved forward. */
static uint64_t position_to_tell(const struct receiving *receiving)
{
    uint64_t lsn = receiving_safe_lsn(receiving);
    return lsn >= receiving->slot.restart_lsn && lsn >= receiving->acknowledged_lsn ? lsn : 0;
}

static int tell(struct receiving *receiving, bool wants_reply, struct error *err)
{
    uint64_t lsn = position_to_tell(receiving);
    struct wal_message_status status = {.written_lsn = lsn,
                                        .flushed_lsn = lsn,
                                        .applied_lsn = lsn,
                                        .now_us = instant_now_us(),
                                        .wants_reply = wants_reply};
    int rc = wal_stream_status(&receiving->stream, &status, err);
    receiving->told_us = instant_monotonic_us();
    if (!rc && lsn)
        receiving->acknowledged_lsn = lsn;
    return rc;
}

/* When it is time, or there is something new to tell. A server that has nothing to send is asked
 * for a sign of life. */
static int tell_in_time(struct receiving *receiving, struct error *err)
{
    int64_t now_us = instant_monotonic_us(), silent_us = now_us - receiving->heard_us;
    if (receiving->is_held_up)
        receiving->heard_us = now_us;
    if (silent_us > SILENCE_US && !receiving->is_held_up)
        return error_set(err, ERR_CONNECTION, "the server gave no sign of life for %lld seconds",
                         (long long)(silent_us / US_PER_SECOND));
    bool is_new = position_to_tell(receiving) > receiving->acknowledged_lsn;
    if (!is_new && now_us - receiving->told_us < receiving->tell_every_us)
        return 0;
    return tell(receiving, !receiving->is_heard || silent_us > receiving->tell_every_us, err);
}

/* A server that shuts down waits until all it sent is acknowledged, and asks as soon as it is
 * answered. What it wrote last is no whole segment, so it would wait for ever: it is left alone,
 * and its slot keeps that until it is back. */
static bool wants_to_shut_down(struct receiving *receiving)
{
    int64_t now_us = instant_monotonic_us();
    if (now_us - receiving->hurried_us > HURRIED_US) {
        receiving->hurried_us = now_us;
        receiving->hurried = 0;
    }
    return ++receiving->hurried > HURRIED_MAX;
}

static int take_keepalive(struct receiving *receiving, const struct wal_message *message,
                          struct error *err)
{
    if (!message->wants_reply)
        return 0;
    if (message->end_lsn <= receiving->assembly.lsn && wants_to_shut_down(receiving))
        return error_set(err, ERR_CONNECTION, "the server shuts down");
    return tell(receiving, false, err);
}

/* -- what people are told ------------------------------------------------------------------ */

static int64_t lag_us(const struct receiving *receiving)
{
    struct wal_assembled first;
    int64_t since_us = INT64_MAX;
    if (receiving->assembly.fd >= 0)
        since_us = receiving->assembly.received_us;
    if (receiving->receive->acknowledge == ACKNOWLEDGE_STORED &&
        wal_uploads_first(receiving->uploads, &first) && first.received_us < since_us)
        since_us = first.received_us;
    return since_us == INT64_MAX ? 0 : instant_monotonic_us() - since_us;
}

static void report(struct receiving *receiving)
{
    const struct wal_receive *receive = receiving->receive;
    int64_t now_us = instant_monotonic_us();
    if (!receive->report || now_us - receiving->reported_us < WAL_RECEIVE_REPORT_US)
        return;
    receiving->reported_us = now_us;
    uint64_t safe = receiving_safe_lsn(receiving);
    struct wal_receive_report report = {
        .timeline = receiving->assembly.timeline,
        .received_lsn = receiving->assembly.lsn,
        .safe_lsn = safe,
        .server_lsn = receiving->server_lsn,
        .lag_bytes = receiving->server_lsn > safe ? (int64_t)(receiving->server_lsn - safe) : 0,
        .lag_us = lag_us(receiving),
        .waiting = wal_uploads_count(receiving->uploads),
        .stored = wal_uploads_stored(receiving->uploads),
        .is_held_up = receiving->is_held_up};
    receive->report(&report, receive->context);
}

/* -- timelines ----------------------------------------------------------------------------- */

static int store_history(struct receiving *receiving, uint32_t timeline, struct error *err)
{
    _cleanup_(buf_clear) struct buf text = BUF_INIT(WAL_HISTORY_BYTES_MAX);
    int rc = wal_stream_history(receiving->conn, timeline, &text, err);
    return rc ? rc
              : wal_assembly_history(&receiving->assembly, timeline, buf_text(&text), text.length,
                                     err);
}

/* Recovery follows a change of the timeline by the histories; a server need not have those of its
 * ancestors any more, and its own holds all they say. */
static int store_histories(struct receiving *receiving, struct error *err)
{
    const struct wal_history *history = &receiving->history;
    int rc = 0;
    if (receiving->histories_of == history->timeline)
        return 0;
    for (size_t i = 0; i <= history->count && !rc; i++) {
        struct error reason = ERROR_NONE;
        bool is_own = i == history->count;
        uint32_t timeline = is_own ? history->timeline : history->ancestors[i].timeline;
        if (timeline == 1)
            continue;
        rc = store_history(receiving, timeline, &reason);
        if (rc && !is_own && PQstatus(receiving->conn) == CONNECTION_OK) {
            receiving_notice(receiving, "the server has no history of timeline %u any more: %s",
                             timeline, reason.message);
            rc = 0;
        } else if (rc && err)
            *err = reason;
    }
    if (!rc)
        receiving->histories_of = history->timeline;
    return rc;
}

static int change_timeline(struct receiving *receiving, const struct wal_stream_event *event,
                           struct error *err)
{
    struct wal_assembly *assembly = &receiving->assembly;
    char ended[WAL_LSN_TEXT_MAX], came[WAL_LSN_TEXT_MAX];
    if (event->next_timeline == 0)
        return error_set(err, ERR_CONNECTION, "the server has ended the stream");
    if (event->next_lsn != assembly->lsn)
        return error_set(err, ERR_FAILED, "timeline %u was left at %s, but came only up to %s",
                         assembly->timeline, wal_lsn_format(event->next_lsn, ended),
                         wal_lsn_format(assembly->lsn, came));
    receiving_notice(receiving, "timeline %u ends at %s, %u goes on", assembly->timeline,
                     wal_lsn_format(event->next_lsn, ended), event->next_timeline);
    int rc = wal_assembly_end_timeline(assembly, err);
    if (!rc)
        rc = store_history(receiving, event->next_timeline, err);
    uint64_t number = wal_segment_at(event->next_lsn, assembly->segment_size);
    return rc ? rc
              : wal_assembly_begin(assembly, event->next_timeline,
                                   wal_segment_start(number, assembly->segment_size), err);
}

/* -- the stream ---------------------------------------------------------------------------- */

static int take_message(struct receiving *receiving, const struct wal_message *message,
                        struct error *err)
{
    receiving->heard_us = instant_monotonic_us();
    receiving->is_heard = true;
    if (message->end_lsn > receiving->server_lsn)
        receiving->server_lsn = message->end_lsn;
    if (message->kind == WAL_MESSAGE_KEEPALIVE)
        return take_keepalive(receiving, message, err);
    receiving->hurried = 0;
    return wal_assembly_add(&receiving->assembly, message->lsn, message->data, message->length,
                            err);
}

static int check(struct receiving *receiving, struct error *err)
{
    if (work_interrupted(err))
        return ERR_INTERRUPTED;
    int rc = wal_uploads_check(receiving->uploads, err);
    return rc ? rc : tell_in_time(receiving, err);
}

/* What is whole is stored, as far as that is possible within the bound, and told. */
static int finish(struct receiving *receiving)
{
    receiving_drain(receiving);
    if (tell(receiving, false, NULL) == 0)
        wal_stream_end(&receiving->stream, END_US);
    return 0;
}

/* One timeline; *ret_ended is false when all shall finish. */
static int stream_timeline(struct receiving *receiving, bool *ret_ended, struct error *err)
{
    struct wal_stream_event event;
    for (;;) {
        if (work_shall_finish())
            return finish(receiving);
        int rc = check(receiving, err);
        if (rc)
            return rc;
        report(receiving);
        receiving->is_held_up = wal_uploads_count(receiving->uploads) >= receiving->files_max;
        if (receiving->is_held_up) {
            wal_uploads_await(receiving->uploads, WAIT_US);
            continue;
        }
        rc = wal_stream_next(&receiving->stream, WAIT_US, &event, err);
        if (!rc && event.kind == WAL_STREAM_MESSAGE)
            rc = take_message(receiving, &event.message, err);
        if (!rc && event.kind == WAL_STREAM_ENDED) {
            *ret_ended = true;
            return change_timeline(receiving, &event, err);
        }
        if (rc)
            return rc;
    }
}

int receiving_stream(struct receiving *receiving, struct error *err)
{
    struct wal_assembly *assembly = &receiving->assembly;
    receiving->acknowledged_lsn = 0;
    receiving->server_lsn = receiving->system.lsn;
    int rc = wal_assembly_begin(assembly, receiving->resume.timeline, receiving->resume.lsn, err);
    if (!rc)
        rc = store_histories(receiving, err);
    for (bool has_ended = true; has_ended && !rc;) {
        has_ended = false;
        receiving->heard_us = instant_monotonic_us();
        receiving->told_us = INT64_MIN / 2;
        rc = wal_stream_start(&receiving->stream, receiving->conn, receiving->slot_name,
                              assembly->timeline, assembly->lsn, err);
        if (rc == ERR_NOT_FOUND)
            receiving_hint_slot(receiving->receive, err);
        if (!rc)
            rc = stream_timeline(receiving, &has_ended, err);
        wal_stream_clear(&receiving->stream);
    }
    return rc;
}
