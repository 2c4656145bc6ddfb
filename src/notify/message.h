/*
 * What is sent to a target: an event made into a webhook's JSON, the text of a chat, an e-mail, or
 * the address and body of a ping. Pure.
 *
 *     struct notify_message message = NOTIFY_MESSAGE_INIT;
 *     rc = notify_message_make(notify, event, is_test, &message, err);
 *     notify_message_clear(&message);
 *
 * Formats: the webhook's is that of notify/event.h; Slack's "mrkdwn" escapes & < > alone; e-mail is
 * RFC 5322, its subject RFC 2047, its body quoted-printable (RFC 2045); pings are those of
 * healthchecks.io ("Pinging API"): URL/start, URL, URL/EXIT or URL/fail, URL/log, and ?rid=UUID,
 * which joins the start of a run with its end.
 *
 * A test of a ping goes to URL/log: it must neither raise an alarm nor pass for a run.
 */
#ifndef PGCAIRN_NOTIFY_MESSAGE_H
#define PGCAIRN_NOTIFY_MESSAGE_H

#include "base/buf.h"
#include "notify/event.h"

enum {
    NOTIFY_MESSAGE_MAX = 64 << 10, /* bytes of a body */
    NOTIFY_URL_MAX = 9 << 10,
    NOTIFY_SUBJECT_MAX = 200,
    NOTIFY_UUID_MAX = 37,
};

struct notify_message {
    struct buf url; /* secret */
    struct buf body;
    char suffix[24]; /* what a ping puts behind the policy's URL: "/start" */
    const char *content_type;
};

#define NOTIFY_MESSAGE_INIT \
    ((struct notify_message){.url = BUF_INIT(NOTIFY_URL_MAX), .body = BUF_INIT(NOTIFY_MESSAGE_MAX)})

int notify_message_make(const struct policy_notify *notify, const struct notify_event *event,
                        bool is_test, struct notify_message *ret_message, struct error *err);
void notify_message_clear(struct notify_message *message);

/* "demo/nightly failed: could not ..."; one line, cut to NOTIFY_SUBJECT_MAX. */
void notify_subject(const struct notify_event *event, bool is_test, char text[NOTIFY_SUBJECT_MAX]);

/* The lines for people. */
void notify_text(const struct notify_event *event, bool is_test, struct buf *text);

/* A UUID that is the same for all tries of a due instant, or for a run by hand. ERR_FAILED when
 * OpenSSL can't. */
int notify_run_uuid(const struct notify_event *event, char uuid[NOTIFY_UUID_MAX],
                    struct error *err);

#endif
