#include "notify/message.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/units.h"
#include "base/utf8.h"
#include "notify/mail.h"

/* What happened to the job, and how a chat marks it. */
static const struct {
    const char *happened, *mark;
} WORDS[NOTIFY_EVENT_COUNT] = {
    [NOTIFY_FAILURE] = {"failed", ":x:"},
    [NOTIFY_RECOVERY] = {"works again", ":white_check_mark:"},
    [NOTIFY_MISSED] = {"was missed", ":warning:"},
    [NOTIFY_SUCCESS] = {"succeeded", ":white_check_mark:"},
    [NOTIFY_STALE] = {"has not succeeded for too long", ":warning:"},
    [NOTIFY_POLICY] = {"has a policy that can't be read", ":warning:"},
    [NOTIFY_RETRY] = {"failed and will be tried again", ":warning:"},
    [NOTIFY_START] = {"begins", ":arrow_forward:"},
};

void notify_message_clear(struct notify_message *message)
{
    if (message->url.data)
        explicit_bzero(message->url.data, message->url.length);
    buf_clear(&message->url);
    buf_clear(&message->body);
}

/* -- texts --------------------------------------------------------------------------------- */

void notify_subject(const struct notify_event *event, bool is_test, char text[NOTIFY_SUBJECT_MAX])
{
    const char *job = event->job;
    int length = snprintf(
        text, NOTIFY_SUBJECT_MAX, "%s%s%s%s %s%s%.*s", is_test ? "Test, nothing happened: " : "",
        event->cluster, *job ? "/" : "", job, WORDS[event->kind].happened,
        *event->cause ? ": " : "", (int)strcspn(event->cause, "\r\n"), event->cause);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    /* Not amid a character. */
    char *end = text + NOTIFY_SUBJECT_MAX - 4;
    while (length >= NOTIFY_SUBJECT_MAX && ((unsigned char)*end & 0xc0) == 0x80)
        end--;
    if (length >= NOTIFY_SUBJECT_MAX)
        snprintf(end, 4, "...");
    utf8_mend(text);
}

static void add_line(struct buf *text, const char *label, const char *value)
{
    if (*value)
        buf_addf(text, "%s: %s\n", label, value);
}

static void add_time(struct buf *text, const char *label, int64_t instant_us)
{
    char value[INSTANT_TEXT_MAX];
    add_line(text, label, instant_us == INSTANT_NONE ? "" : instant_format(instant_us, value));
}

static void add_run(const struct notify_event *event, struct buf *text)
{
    char value[UNITS_TEXT_MAX];
    add_line(text, "job type", event->type);
    add_time(text, "due", event->due_us);
    if (event->attempt > 1)
        buf_addf(text, "attempt: %d\n", event->attempt);
    add_time(text, "started", event->started_us);
    add_time(text, "ended", event->ended_us);
    if (event->started_us != INSTANT_NONE && event->ended_us >= event->started_us)
        add_line(text, "took", duration_format(event->ended_us - event->started_us, value));
    add_line(text, "backup", event->backup_id);
    if (event->bytes_stored > 0)
        add_line(text, "stored", size_format(event->bytes_stored, value));
    add_time(text, "next try", event->next_try_us);
    add_time(text, "last success", event->last_success_us);
}

void notify_text(const struct notify_event *event, bool is_test, struct buf *text)
{
    if (is_test)
        buf_add_text(text, "This is a test of the notifications: nothing happened.\n");
    add_line(text, "what", event->cause);
    add_line(text, "what to do", event->cure);
    add_run(event, text);
    if (*event->run_id)
        buf_addf(text, "log: pgcairn log %s\n", event->run_id);
    add_line(text, "host", event->host);
    add_time(text, "time", event->at_us);
    if (text->data)
        utf8_mend(text->data);
}

/* -- bodies -------------------------------------------------------------------------------- */

static int add_json(json_t *json, struct buf *body, struct error *err)
{
    _cleanup_(json_release) json_t *document = json;
    _cleanup_(freep) char *text = NULL;
    if (!document)
        return error_set(err, ERR_FAILED, "the event can't be written as JSON");
    int rc = json_to_text(document, &text, err);
    if (!rc)
        buf_add_text(body, text);
    return rc;
}

static int make_webhook(const struct notify_event *event, bool is_test,
                        struct notify_message *message, struct error *err)
{
    json_t *json = notify_event_json(event);
    message->content_type = "application/json";
    if (json && is_test)
        json_object_set_new(json, "test", json_true());
    return add_json(json, &message->body, err);
}

static void escape(const char *text, struct buf *out)
{
    for (const char *c = text; *c; c++)
        if (*c == '&')
            buf_add_text(out, "&amp;");
        else if (*c == '<')
            buf_add_text(out, "&lt;");
        else if (*c == '>')
            buf_add_text(out, "&gt;");
        else
            buf_add(out, c, 1);
}

static int make_slack(const struct notify_event *event, bool is_test,
                      struct notify_message *message, struct error *err)
{
    _cleanup_(buf_clear) struct buf plain = BUF_INIT(NOTIFY_MESSAGE_MAX);
    _cleanup_(buf_clear) struct buf text = BUF_INIT(NOTIFY_MESSAGE_MAX);
    char subject[NOTIFY_SUBJECT_MAX];
    message->content_type = "application/json";
    notify_subject(event, is_test, subject);
    notify_text(event, is_test, &plain);
    buf_addf(&text, "%s ", is_test ? ":speech_balloon:" : WORDS[event->kind].mark);
    escape(subject, &text);
    buf_add_text(&text, "\n");
    escape(buf_text(&plain), &text);
    int rc = buf_failed(&plain, "the message", err);
    if (!rc)
        rc = buf_failed(&text, "the message", err);
    if (rc)
        return rc;
    return add_json(json_pack("{s:s}", "text", buf_text(&text)), &message->body, err);
}

/* -- pings --------------------------------------------------------------------------------- */

int notify_run_uuid(const struct notify_event *event, char uuid[NOTIFY_UUID_MAX], struct error *err)
{
    enum { VERSION = 6, VARIANT = 8 };
    unsigned char digest[EVP_MAX_MD_SIZE];
    char name[512], due[INSTANT_TEXT_MAX];
    int length = snprintf(
        name, sizeof(name), "pgcairn %.120s/%.120s %.120s", event->cluster, event->job,
        event->due_us == INSTANT_NONE ? event->run_id : instant_format(event->due_us, due));
    if (!EVP_Digest(name, (size_t)length, digest, NULL, EVP_sha256(), NULL))
        return error_set(err, ERR_FAILED, "OpenSSL can't compute SHA-256");
    digest[VERSION] = (unsigned char)((digest[VERSION] & 0x0f) | 0x80); /* RFC 9562: own rules */
    digest[VARIANT] = (unsigned char)((digest[VARIANT] & 0x3f) | 0x80);
    char *c = uuid;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *c++ = '-';
        snprintf(c, 3, "%02x", digest[i]);
        c += 2;
    }
    return 0;
}

static void make_suffix(const struct notify_event *event, bool is_test, char *suffix, size_t size)
{
    int status = error_exit_status(error_code_from_name(event->code));
    if (is_test || event->kind == NOTIFY_RETRY)
        snprintf(suffix, size, "/log");
    else if (event->kind == NOTIFY_START)
        snprintf(suffix, size, "/start");
    else if (event->kind == NOTIFY_SUCCESS || event->kind == NOTIFY_RECOVERY)
        snprintf(suffix, size, "%s", "");
    else if (event->kind == NOTIFY_FAILURE && status > 0)
        snprintf(suffix, size, "/%d", status);
    else
        snprintf(suffix, size, "/fail");
}

static int make_ping(const struct policy_notify *notify, const struct notify_event *event,
                     bool is_test, struct notify_message *message, struct error *err)
{
    char subject[NOTIFY_SUBJECT_MAX], uuid[NOTIFY_UUID_MAX] = "";
    message->content_type = "text/plain; charset=utf-8";
    make_suffix(event, is_test, message->suffix, sizeof(message->suffix));
    bool has_run = *event->run_id || event->due_us != INSTANT_NONE;
    int rc = has_run ? notify_run_uuid(event, uuid, err) : 0;
    if (rc)
        return rc;
    /* Before the policy's own "?query", and never "//". */
    size_t length = strcspn(notify->url, "?#");
    const char *query = notify->url + length;
    int query_length = (int)strcspn(query, "#");
    while (*message->suffix && length > 0 && notify->url[length - 1] == '/')
        length--;
    buf_addf(&message->url, "%.*s%s%.*s", (int)length, notify->url, message->suffix, query_length,
             query);
    if (*uuid)
        buf_addf(&message->url, "%srid=%s", query_length > 0 ? "&" : "?", uuid);
    notify_subject(event, is_test, subject);
    buf_addf(&message->body, "%s\n", subject);
    notify_text(event, is_test, &message->body);
    return 0;
}

int notify_message_make(const struct policy_notify *notify, const struct notify_event *event,
                        bool is_test, struct notify_message *ret_message, struct error *err)
{
    struct notify_message message = NOTIFY_MESSAGE_INIT;
    int rc = 0;
    switch (notify->kind) {
    case NOTIFY_WEBHOOK:
        rc = make_webhook(event, is_test, &message, err);
        break;
    case NOTIFY_SLACK:
        rc = make_slack(event, is_test, &message, err);
        break;
    case NOTIFY_EMAIL:
        message.content_type = "message/rfc822";
        rc = notify_mail(notify, event, is_test, &message.body, err);
        break;
    case NOTIFY_PING:
    case NOTIFY_KIND_COUNT:
        rc = make_ping(notify, event, is_test, &message, err);
        break;
    }
    if (!rc && notify->kind != NOTIFY_PING)
        buf_add_text(&message.url, notify->url);
    if (!rc)
        rc = buf_failed(&message.body, "the message", err);
    if (!rc)
        rc = buf_failed(&message.url, "the URL", err);
    if (rc) {
        notify_message_clear(&message);
        return rc;
    }
    *ret_message = message;
    return 0;
}
