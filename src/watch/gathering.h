/*
 * What is known of a cluster only by asking its repository and its server, gathered by a process of
 * its own so that nobody waits for it: a document with samples of metrics and what the status page
 * shows. Two parts: the facts (backups, WAL, the server: asked every few minutes) and the audit
 * (all that an audit judges, each record of evidence included: asked more rarely).
 *
 *     gathering_make(policy, GATHERING_FACTS, &document, err);    in the child; prints it as JSON
 *     gathering_read(text, length, &gathering, err);              in the daemon's watcher
 *     gathering_clear(&gathering);
 *
 * What can't be read is no error but a problem in the document; its metrics are then absent, and
 * pgcairn_facts_up says so.
 */
#ifndef PGCAIRN_WATCH_GATHERING_H
#define PGCAIRN_WATCH_GATHERING_H

#include "audit/audit.h"
#include "policy/policy.h"
#include "watch/metrics.h"

enum gathering_part { GATHERING_FACTS, GATHERING_AUDIT };
#define GATHERING_PARTS (GATHERING_AUDIT + 1)

enum {
    GATHERING_BYTES_MAX = 4 << 20,    /* of a document as text */
    GATHERING_TIMELINE_MAX = 1 << 20, /* of the picture; a larger one is left out */
    GATHERING_SHOWN_MAX = 300,        /* backups of one job in the picture */
};

struct gathering {
    enum gathering_part part;
    int64_t at_us;
    json_t *document;
    struct samples samples;
};

int gathering_make(const struct policy *policy, enum gathering_part part, json_t **ret_document,
                   struct error *err);

/* ERR_CORRUPT when it is no such document. */
int gathering_read(const char *text, size_t length, struct gathering *ret_gathering,
                   struct error *err);
void gathering_clear(struct gathering *gathering);

const char *gathering_part_name(enum gathering_part part); /* "facts" */

#endif
