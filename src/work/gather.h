/*
 * All that an audit judges, gathered: the one place that looks. What can't be read is no error but
 * a problem in the facts, so that the audit says UNKNOWN of what hangs on it and judges the rest.
 *
 *     struct gather gather = {.policy = policy, .now_us = now_us, .asks_server = true};
 *     rc = gather_facts(&gather, &facts, err);
 *     facts_audit_clear(&facts);
 *
 * Nothing is written anywhere. Lists the repository once, but for WAL which it lists a second time;
 * reads one manifest per backup, and each record of evidence. Errors: ERR_MEMORY, ERR_LIMIT,
 * ERR_INTERRUPTED.
 *
 * Files: gather.c the story and the repository; gather_objects.c what lies in it;
 * gather_evidence.c records; gather_server.c the server; gather_machine.c journal and files.
 */
#ifndef PGCAIRN_WORK_GATHER_H
#define PGCAIRN_WORK_GATHER_H

#include "facts/audit.h"
#include "policy/policy.h"
#include "repository/evidence.h"

struct gather {
    const struct policy *policy;
    int64_t now_us;
    bool is_brief; /* only backups, WAL and the server as a whole: no evidence, no look into each
                      folder and each database; for what is asked every few minutes */
    bool asks_server, asks_journal;   /* false: an audit of a period, from the evidence alone */
    struct repository *repository;    /* NULL: it is opened here */
    const struct evidence_tip *known; /* a tip of the evidence kept elsewhere; NULL: none */
};

int gather_facts(const struct gather *gather, struct facts_audit *ret_facts, struct error *err);

/* The parts, for gather.c alone. A problem is kept in the facts; only errors as above return. */
int gather_objects(struct repository *repository, struct facts_audit *facts, struct error *err);
int gather_evidence(struct repository *repository, const struct evidence_tip *known,
                    struct facts_audit *facts, struct error *err);
int gather_server(const struct policy *policy, bool is_brief, struct facts_audit *facts,
                  struct error *err);
int gather_journal(const struct policy *policy, struct facts_audit *facts, struct error *err);
int gather_files(const struct policy *policy, struct facts_audit *facts, struct error *err);

/* Keeps what went wrong as *ret_problem and returns 0, but for errors that end everything. */
int gather_problem(const struct error *error, char **ret_problem, struct error *err);

#endif
