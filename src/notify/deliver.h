/*
 * Sends messages to their targets with libcurl, all at once, each within a time: one that hangs
 * does not hold up the others.
 *
 *     struct notify_delivery deliveries[] = {{.notify = ..., .event = ...}};
 *     rc = notify_deliver(deliveries, count, NOTIFY_TIMEOUT_US, err);
 *     deliveries[i].rc, .error, .is_retryable                     of each
 *
 * HTTP: POST; any 2xx is accepted, a redirect is not followed (the body is not for strangers), of
 * the reply NOTIFY_REPLY_MAX bytes are read. SMTP: TLS is a must but on this machine. Certificates
 * are checked against ca_file or the system's; a proxy is what libcurl reads from the environment
 * (https_proxy, no_proxy). Of a mail's recipients one that is refused keeps it from none of the
 * others. No error holds a URL's path or a password: the reply's own words are left out when they
 * repeat one.
 *
 * ERR_CONNECTION, ERR_TIMEOUT, ERR_AUTH, ERR_FAILED of a target; what the receiver refuses for good
 * (HTTP 400, 410, 413, 422, a redirect, SMTP 5xx) is not retryable.
 */
#ifndef PGCAIRN_NOTIFY_DELIVER_H
#define PGCAIRN_NOTIFY_DELIVER_H

#include "notify/message.h"

enum {
    NOTIFY_REPLY_MAX = 16 << 10,
    NOTIFY_WORDS_MAX = 160, /* of a reply that an error repeats */
    NOTIFY_PASSWORD_MAX = 4096,
};

#define NOTIFY_TIMEOUT_US (15 * US_PER_SECOND)
#define NOTIFY_CONNECT_US (10 * US_PER_SECOND)

struct notify_delivery {
    const struct policy_notify *notify;
    const struct notify_event *event;
    bool is_test;
    /* the result */
    int rc;
    bool is_retryable;
    int64_t took_us;
    struct error error;
};

/* Only what concerns no target is an error of its own. */
int notify_deliver(struct notify_delivery *deliveries, size_t count, int64_t timeout_us,
                   struct error *err);

/* Whether the text repeats what of the URL is secret: a piece of what stands before "@" or behind
 * the host. For the tests. */
bool notify_reveals(const char *text, const char *url);

/* What a status of HTTP means. For the tests. */
bool notify_http_is_retryable(long status);

#endif
