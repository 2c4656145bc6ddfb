#include "notify/event.h"

#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

struct notify_event notify_event_of(enum notify_event_kind kind, int64_t at_us)
{
    return (struct notify_event){.kind = kind,
                                 .cluster = "",
                                 .job = "",
                                 .type = "",
                                 .run_id = "",
                                 .outcome = "",
                                 .code = "",
                                 .cause = "",
                                 .cure = "",
                                 .backup_id = "",
                                 .host = "",
                                 .at_us = at_us,
                                 .due_us = INSTANT_NONE,
                                 .started_us = INSTANT_NONE,
                                 .ended_us = INSTANT_NONE,
                                 .next_try_us = INSTANT_NONE,
                                 .last_success_us = INSTANT_NONE};
}

/* What a server said may be of another encoding, or cut amid a character: told all the same. */
static json_t *text_json(const char *text)
{
    _cleanup_(freep) char *mended = strdup(text);
    return mended ? json_string(utf8_mend(mended)) : NULL;
}

json_t *notify_event_json(const struct notify_event *event)
{
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o,"
        " s:o}",
        "event", text_json(notify_event_kind_name(event->kind)), "at", json_instant(event->at_us),
        "cluster", text_json(event->cluster), "job", text_json(event->job), "type",
        text_json(event->type), "run_id", text_json(event->run_id), "due",
        json_instant(event->due_us), "attempt", event->attempt, "outcome",
        text_json(event->outcome), "started_at", json_instant(event->started_us), "ended_at",
        json_instant(event->ended_us), "backup_id", text_json(event->backup_id), "bytes_stored",
        (json_int_t)event->bytes_stored, "code", text_json(event->code), "cause",
        text_json(event->cause), "cure", text_json(event->cure), "next_try",
        json_instant(event->next_try_us), "last_success", json_instant(event->last_success_us),
        "host", text_json(event->host));
}

/* One that is absent or null is none. */
static int take_time(const json_t *json, const char *key, int64_t *ret_us, struct error *err)
{
    const json_t *value = json_object_get(json, key);
    if (value && !json_is_null(value))
        return json_take_instant(json, key, ret_us, err);
    *ret_us = INSTANT_NONE;
    return 0;
}

int notify_event_read(const json_t *json, struct notify_event *ret_event, struct error *err)
{
    struct notify_event event = notify_event_of(NOTIFY_EVENT_COUNT, INSTANT_NONE);
    const char *kind = json_text(json, "event");
    for (int i = 0; i < NOTIFY_EVENT_COUNT; i++)
        if (strcmp(kind, notify_event_kind_name((enum notify_event_kind)i)) == 0)
            event.kind = (enum notify_event_kind)i;
    if (event.kind == NOTIFY_EVENT_COUNT)
        return error_set(err, ERR_CORRUPT, "\"%.40s\" is no event that people are told of", kind);
    event.cluster = json_text(json, "cluster");
    event.job = json_text(json, "job");
    event.type = json_text(json, "type");
    event.run_id = json_text(json, "run_id");
    event.outcome = json_text(json, "outcome");
    event.code = json_text(json, "code");
    event.cause = json_text(json, "cause");
    event.cure = json_text(json, "cure");
    event.backup_id = json_text(json, "backup_id");
    event.host = json_text(json, "host");
    event.attempt = (int)json_integer_value(json_object_get(json, "attempt"));
    event.bytes_stored = json_integer_value(json_object_get(json, "bytes_stored"));
    int rc = json_take_instant(json, "at", &event.at_us, err);
    if (!rc)
        rc = take_time(json, "due", &event.due_us, err);
    if (!rc)
        rc = take_time(json, "started_at", &event.started_us, err);
    if (!rc)
        rc = take_time(json, "ended_at", &event.ended_us, err);
    if (!rc)
        rc = take_time(json, "next_try", &event.next_try_us, err);
    if (!rc)
        rc = take_time(json, "last_success", &event.last_success_us, err);
    if (rc)
        return rc;
    *ret_event = event;
    return 0;
}
