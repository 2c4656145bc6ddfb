/* An event as an e-mail: RFC 5322, lines end in CRLF, no line is longer than 76 bytes but those of
 * addresses. Pure: its Date is the event's time, and its Message-ID the same whenever it is sent
 * again, so that a mailbox shows what came twice once. */
#ifndef PGCAIRN_NOTIFY_MAIL_H
#define PGCAIRN_NOTIFY_MAIL_H

#include "base/buf.h"
#include "notify/event.h"

int notify_mail(const struct policy_notify *notify, const struct notify_event *event, bool is_test,
                struct buf *mail, struct error *err);

/* The pieces, for their tests: a header's text as RFC 2047 has it when it needs that, and a text in
 * quoted-printable. */
void mail_header(const char *name, const char *text, struct buf *out);
void mail_quoted(const char *text, struct buf *out);

#endif
