/*
 * The section `notify:` of the policy: who is told of what.
 *
 *     notify:
 *       - webhook: ${ALERT_URL}       one target each: webhook, slack, email or ping
 *       - slack: ${SLACK_URL}
 *         on: [failure, recovery]
 *         job: [nightly, weekly]                 all jobs without it
 *       - ping: ${HEALTHCHECK_URL}
 *         job: nightly
 *       - email: {to: dba@example.com, from: pgcairn@example.com, smtp: smtps://mail.example.com,
 *                 user: pgcairn, password: ${SMTP_PASSWORD}}
 *         stale: 26h
 *
 * What is told is read by src/notify. URLs hold secrets as a rule: where one is shown, it is
 * policy_notify.shown.
 */
#ifndef PGCAIRN_POLICY_NOTIFY_H
#define PGCAIRN_POLICY_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/instant.h"
#include "base/strv.h"

enum {
    POLICY_NOTIFY_MAX = 50, /* entries */
    POLICY_NOTIFY_TO_MAX = 20,
    POLICY_NOTIFY_KEY_MAX = 32,
    POLICY_NOTIFY_SHOWN_MAX = 320,
};

/* How long the same trouble of a job stays untold after it was told. */
#define POLICY_NOTIFY_REPEAT_US (12 * US_PER_HOUR)

enum notify_kind { NOTIFY_WEBHOOK, NOTIFY_SLACK, NOTIFY_EMAIL, NOTIFY_PING, NOTIFY_KIND_COUNT };

/* X(enumerator, word in on:) */
#define NOTIFY_EVENT_LIST(X)                                                  \
    X(NOTIFY_FAILURE, "failure")   /* a run failed and is not tried again */  \
    X(NOTIFY_RECOVERY, "recovery") /* the first success after that */         \
    X(NOTIFY_MISSED, "missed")     /* a due instant was missed or skipped */  \
    X(NOTIFY_SUCCESS, "success")   /* a run ended well */                     \
    X(NOTIFY_STALE, "stale")       /* nothing succeeded for too long */       \
    X(NOTIFY_POLICY, "policy")     /* a policy file can't be read */          \
    X(NOTIFY_RETRY, "retry")       /* a run failed and will be tried again */ \
    X(NOTIFY_START, "start")       /* a run begins */

enum notify_event_kind {
#define X(name, word) name,
    NOTIFY_EVENT_LIST(X)
#undef X
        NOTIFY_EVENT_COUNT,
};

#define NOTIFY_ON(kind) (1u << (kind))

struct policy_notify {
    enum notify_kind kind;
    unsigned on;                         /* NOTIFY_ON() of what is told */
    char *url;                           /* secret; of e-mail that of the SMTP server */
    char shown[POLICY_NOTIFY_SHOWN_MAX]; /* kind and where, without secrets */
    char key[POLICY_NOTIFY_KEY_MAX];     /* "webhook-0123456789ab": of its kind and target */
    struct strv jobs;                    /* names; empty: all */
    int64_t stale_us;                    /* 0: two of the job's periods */
    int64_t repeat_us;
    char *ca_file; /* NULL: the system's */
    /* e-mail */
    struct strv to;
    char *from, *user, *password, *password_file; /* NULL where absent; the password is secret */
    int line, column;
};

const char *notify_kind_name(enum notify_kind kind);              /* "webhook" */
const char *notify_event_kind_name(enum notify_event_kind event); /* "failure" */

/* Whether the entry is told of such an event of the job; "" is no job's, as of a policy file. */
bool policy_notify_wants(const struct policy_notify *notify, enum notify_event_kind event,
                         const char *job);

/* A URL without what may be secret in it: scheme, host and port. */
void notify_url_shown(const char *url, char *text, size_t size);

/* Whether its host is this machine, by name or address. */
bool notify_url_is_local(const char *url);

/* Whether what goes there can be read on its way: no TLS, and to another machine. */
bool policy_notify_is_plain(const struct policy_notify *notify);

struct reader;
struct document_node;
struct section;

extern const struct section section_notify;

int notify_read(struct reader *reader, const struct document_node *value, void *policy);
int notify_check(struct reader *reader); /* when the jobs are known */
int notify_warn(struct reader *reader);
void policy_notify_clear(struct policy_notify *notify);

#endif
