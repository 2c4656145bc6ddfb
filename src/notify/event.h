/*
 * What people are told of: one thing that happened, as a struct and as JSON. The JSON is what the
 * journal's outbox keeps and what a webhook gets; fields may be added, never renamed:
 *
 *     {"event":"failure","at","cluster","job","type","run_id","due","attempt","outcome",
 *      "started_at","ended_at","backup_id","bytes_stored","code","cause","cure","next_try",
 *      "last_success","host"}
 *
 * Texts that are not known are "", times null. Pure: the time comes with the event.
 */
#ifndef PGCAIRN_NOTIFY_EVENT_H
#define PGCAIRN_NOTIFY_EVENT_H

#include <jansson.h>
#include <stdint.h>

#include "base/error.h"
#include "base/instant.h"
#include "policy/notify.h"

struct notify_event {
    enum notify_event_kind kind;
    /* borrowed; "" where there is none */
    const char *cluster, *job, *type, *run_id, *outcome, *code, *cause, *cure, *backup_id,
        *host; /* code: of an error, "connection" */
    /* INSTANT_NONE where there is none */
    int64_t at_us, due_us, started_us, ended_us, next_try_us, last_success_us;
    int attempt; /* 0: none */
    int64_t bytes_stored;
};

/* An event with nothing but its kind and time. */
struct notify_event notify_event_of(enum notify_event_kind kind, int64_t at_us);

json_t *notify_event_json(const struct notify_event *event); /* NULL: out of memory */

/* Texts of *ret_event are those of the JSON value. ERR_CORRUPT when it is no event. */
int notify_event_read(const json_t *json, struct notify_event *ret_event, struct error *err);

#endif
