/*
 * The outbox: what people are to be told, one row per event and target, durable until it is
 * delivered or given up. Rows that were delivered or given up stay for a while: they tell when a
 * target was told last, and what could not be told.
 *
 *     daemon    outbox_add()                       the event has happened
 *     notifier  outbox_take_due()                  the oldest row of each target whose time has
 * come outbox_delivered(), outbox_failed()
 *
 * Of one target a row waits for those before it, so that "well again" never comes before "failed".
 * Tries and when is next: outbox_failed() counts them; the wait between doubles, and a row is given
 * up after OUTBOX_TRIES_MAX tries or at the age of OUTBOX_AGE_US.
 *
 * Beside it: troubles, one row for what is wrong with a job now and since when.
 */
#ifndef PGCAIRN_JOURNAL_OUTBOX_H
#define PGCAIRN_JOURNAL_OUTBOX_H

#include "journal/journal.h"

enum {
    OUTBOX_TRIES_MAX = 30,
    OUTBOX_PENDING_MAX = 1000, /* of one target; what comes then is lost, and counted as failed */
    OUTBOX_KEPT_MAX = 300, /* settled rows of one target, beside the last of each job and kind */
    OUTBOX_TARGET_MAX = 40,
    OUTBOX_WORD_MAX = 16,
    OUTBOX_ERROR_MAX = 512,
    OUTBOX_DUE_MAX = 50, /* rows taken at a time */
};

#define OUTBOX_AGE_US (48 * US_PER_HOUR)
#define OUTBOX_WAIT_US (15 * US_PER_SECOND) /* after the first failed try; doubles */
#define OUTBOX_WAIT_MAX_US US_PER_HOUR

struct outbox_notice {
    int64_t id;
    char cluster[JOURNAL_NAME_MAX], job[JOURNAL_NAME_MAX]; /* job "": of none */
    char target[OUTBOX_TARGET_MAX];                        /* policy_notify.key */
    char kind[OUTBOX_WORD_MAX];                            /* of the event: "failure" */
    int64_t created_us, next_us;
    int attempts; /* tries that failed */
    bool is_given_up;
    char last_error[OUTBOX_ERROR_MAX];
    char *event; /* JSON (notify/event.h); owned */
};

struct outbox_counts {
    int64_t pending, failed;           /* failed: given up, of those still on record */
    int64_t oldest_pending_us;         /* INSTANT_NONE: none */
    int64_t last_failed_us;            /* when the newest that was given up was created */
    char last_error[OUTBOX_ERROR_MAX]; /* of the newest try that failed and was not made good */
};

/* What is put down between them is on record whole, or, with an rc or after a crash, not at all.
 * end returns rc, or why it could not be written. */
int outbox_begin(struct journal *journal, struct error *err);
int outbox_end(struct journal *journal, int rc, struct error *err);

/* Adds one that is due at once. */
int outbox_add(struct journal *journal, const char *cluster, const char *job, const char *target,
               const char *kind, const char *event_json, int64_t now_us, struct error *err);

/* The oldest pending row of each target of the cluster, if it is due; at most OUTBOX_DUE_MAX.
 * The caller clears each and frees the list. */
int outbox_take_due(struct journal *journal, const char *cluster, int64_t now_us,
                    struct outbox_notice **ret_notices, size_t *ret_count, struct error *err);
void outbox_notice_clear(struct outbox_notice *notice);

int outbox_delivered(struct journal *journal, int64_t id, int64_t now_us, struct error *err);

/* A try failed. It is tried again later if is_retryable and nothing is used up; *ret_next_us is
 * then when, else INSTANT_NONE: given up. */
int outbox_failed(struct journal *journal, const struct outbox_notice *notice, bool is_retryable,
                  const char *message, int64_t now_us, int64_t *ret_next_us, struct error *err);

/* When the next row of the cluster is due; INT64_MAX: none is pending. */
int outbox_next_us(struct journal *journal, const char *cluster, int64_t now_us,
                   int64_t *ret_next_us, struct error *err);

/* When such an event of the job was last put down for the target, INSTANT_NONE: never; and how many
 * since from_us. */
int outbox_last(struct journal *journal, const char *cluster, const char *job, const char *target,
                const char *kind, int64_t *ret_last_us, struct error *err);
int outbox_count_since(struct journal *journal, const char *cluster, const char *job,
                       const char *target, const char *kind, int64_t from_us, int64_t *ret_count,
                       struct error *err);

/* Of each target the message whose turn it is, and then the last that was settled if that was
 * given up: what shows whether the target can be told now. The events themselves are left out. */
typedef void (*outbox_visitor)(const struct outbox_notice *notice, void *context);
int outbox_each_end(struct journal *journal, const char *cluster, outbox_visitor visit,
                    void *context, struct error *err);

/* NULL: of all clusters. */
int outbox_counts(struct journal *journal, const char *cluster, struct outbox_counts *ret_counts,
                  struct error *err);

/* Opens the trouble, or leaves an open one as it is; since when it is open. */
int trouble_open(struct journal *journal, const char *cluster, const char *job, const char *kind,
                 int64_t now_us, int64_t *ret_since_us, struct error *err);
/* Closes it; whether it was open. */
int trouble_close(struct journal *journal, const char *cluster, const char *job, const char *kind,
                  bool *ret_was_open, struct error *err);

#endif
