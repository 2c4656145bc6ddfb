/*
 * A look at a cluster's WAL: what the server says, what the repository holds, and what that means
 * for recovery. The hourly job, `wal status` and the preflight read it.
 *
 *     wal_look_init(&look, policy, repository);
 *     wal_look_server(&look, conn, err);      may be left out: then the end is what is stored
 *     wal_look_archive(&look, err);           lists all WAL, judges, gathers problems
 *     document = wal_look_json(&look);
 *     wal_look_clear(&look);
 */
#ifndef PGCAIRN_WORK_WAL_LOOK_H
#define PGCAIRN_WORK_WAL_LOOK_H

#include <jansson.h>

#include "base/strv.h"
#include "policy/policy.h"
#include "postgres/archiver.h"
#include "postgres/slot.h"
#include "repository/wal.h"
#include "retention/continuity.h"

enum { WAL_LOOK_UPLOADS_MAX = 10000, WAL_LOOK_SYSTEM = REPOSITORY_SYSTEM_IDENTIFIER_MAX + 1 };

#define WAL_LOOK_UPLOAD_US (15 * US_PER_MINUTE) /* a write that is older than that has died */

struct wal_look {
    const struct policy *policy;
    struct repository *repository; /* borrowed */
    char system[WAL_LOOK_SYSTEM];  /* "" while not known */
    bool has_server;
    struct pg_archiver server;
    bool receives; /* mode: receive */
    bool has_slot; /* the server has it */
    struct pg_slot slot;
    bool has_wal; /* something is stored of that system */
    struct facts_wal facts;
    struct strv uploads; /* names of files being written */
    struct wal_anchor *anchors;
    size_t anchor_count;
    struct facts backups; /* what the anchors' ids belong to */
    struct continuity continuity;
    json_t *problems; /* a list of {"what","consequence","cure"} */
    bool has_fault;   /* one of them is a loss, not a delay or a warning */
};

int wal_look_init(struct wal_look *look, const struct policy *policy, struct repository *repository,
                  struct error *err);
void wal_look_clear(struct wal_look *look);

/* May be called again, for what changes. */
int wal_look_server(struct wal_look *look, PGconn *conn, struct error *err);
int wal_look_archive(struct wal_look *look, struct error *err);

/* What keeps WAL from coming, in either mode; what[0] is '\0' when nothing does. */
void wal_look_problem(const struct wal_look *look, struct pg_archiver_problem *ret_problem);

/* The document of `wal status`; NULL without memory. */
json_t *wal_look_json(const struct wal_look *look);

/* Whether WAL is lost behind the newest snapshot, so that the present can't be recovered. */
bool wal_look_needs_snapshot(const struct wal_look *look);

/* What a gap means, in words: "recovery between ... and ... is impossible". */
void wal_look_consequence(const struct continuity_gap *gap, char *text, size_t size);

/* How to be able to recover again: the command that takes a snapshot. */
void wal_look_cure(const struct policy *policy, char *text, size_t size);

#endif
