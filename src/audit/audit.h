/*
 * The controls: does what is promised exist, is it whole, does it come back, and who could harm it?
 * Pure functions of (facts, policy, now): the same facts give the same verdicts, today and in a
 * year, here and on an auditor's machine.
 *
 *     struct audit_report report;
 *     rc = audit_judge(&facts, policy, &zones, &period, &report, err);
 *     for each report.findings[i] ...
 *     audit_report_clear(&report);
 *
 * Every control has one finding. UNKNOWN is what could not be told, and is never PASS. A control
 * that has no meaning for this policy or this audit is SKIP and says why.
 *
 * With a period only what the repository's evidence tells of it is judged: which backups there
 * were, present and since deleted, proofs, drills and deletions; what is true of this moment alone
 * is SKIP. Times are in the facts: facts->at_us is now.
 *
 * A report borrows from facts and policy, which must outlive it. Thread-safe. Errors: ERR_MEMORY
 * and ERR_LIMIT; bad facts are never an error but a finding.
 */
#ifndef PGCAIRN_AUDIT_AUDIT_H
#define PGCAIRN_AUDIT_AUDIT_H

#include "base/strv.h"
#include "facts/audit.h"
#include "policy/policy.h"
#include "retention/continuity.h"
#include "retention/retention.h"

enum {
    AUDIT_CONTROLS_MAX = 64,
    AUDIT_LINES_MAX = 8,     /* told of one finding; more are counted */
    AUDIT_EVIDENCE_MAX = 50, /* keys and ids of one finding; more are counted */
    AUDIT_DUES_MAX = 200000, /* due instants of one job in a period */
};

/* The present state looks this far back for missed runs. */
#define AUDIT_LOOKBACK_US (30 * US_PER_DAY)
/* A run that was due is missed when nothing came of it for so long. */
#define AUDIT_GRACE_US US_PER_HOUR

/* The worst last. */
enum audit_status { AUDIT_SKIP, AUDIT_PASS, AUDIT_WARN, AUDIT_UNKNOWN, AUDIT_FAIL };
#define AUDIT_STATUS_COUNT (AUDIT_FAIL + 1)

enum audit_severity { AUDIT_LOW, AUDIT_MEDIUM, AUDIT_HIGH, AUDIT_CRITICAL };

struct audit_judging;

/* A row of the table in controls.c. */
struct audit_control {
    const char *id;
    const char *group;
    enum audit_severity severity;
    bool is_of_period;  /* the evidence alone tells it for a time that is past */
    const char *title;  /* what holds when it passes */
    const char *soc2;   /* clauses that it answers, blanks between; "" when none */
    const char *iso;    /* of ISO/IEC 27001:2022, annex A */
    const char *remedy; /* CLUSTER stands for the name of the cluster */
    int (*judge)(struct audit_judging *judging, struct error *err);
};

extern const struct audit_control audit_controls[];
extern const size_t audit_control_count;

struct audit_finding {
    const struct audit_control *control;
    enum audit_status status;
    enum audit_status judged; /* without the waiver */
    char *observed, *required;
    char *remedy;                       /* the control's, with the name of the cluster */
    struct strv evidence;               /* keys of objects, ids of runs, numbers of records */
    const struct policy_waiver *waiver; /* that is in force and changed the status; NULL */
};

/* From and to of an audit of a period; INSTANT_NONE: the state at facts->at_us. */
struct audit_period {
    int64_t from_us, to_us;
};

/* One backup that there was in the period, for the timeline. */
struct audit_backup {
    const char *id, *job;
    enum backup_kind kind;
    int64_t started_us, completed_us;
    int64_t due_us;     /* the instant that it was made for, as its evidence tells; else none */
    int64_t removed_us; /* INSTANT_NONE: it is there, or should be */
    bool is_good;
    char **databases;                  /* borrowed; NULL for a snapshot */
    const struct facts_backup *backup; /* NULL: it is not there */
};

struct audit_report {
    const struct facts_audit *facts;
    const struct policy *policy;
    struct audit_period period;
    int64_t now_us;
    struct audit_finding findings[AUDIT_CONTROLS_MAX]; /* in the order of the table */
    size_t count;
    size_t counts[AUDIT_STATUS_COUNT];
    size_t waived;
    enum audit_status result; /* FAIL, UNKNOWN or PASS */
    struct strv notes;        /* what an auditor should know, no control's verdict */
    /* What the verdicts were made of, for those who show it. */
    struct audit_backup *history; /* by job, then start */
    size_t history_count;
    struct retention_plan plan;
    bool has_continuity;
    struct continuity continuity;
    struct wal_anchor *anchors;
};

int audit_judge(const struct facts_audit *facts, const struct policy *policy,
                const struct retention_zones *zones, const struct audit_period *period,
                struct audit_report *ret_report, struct error *err);
void audit_report_clear(struct audit_report *report);

/* Findings from the worst to the best: status, then severity, then the table's order. */
void audit_order(const struct audit_report *report, const struct audit_finding **ret_findings);

const char *audit_status_name(enum audit_status status);       /* "FAIL" */
const char *audit_severity_name(enum audit_severity severity); /* "critical" */
const char *audit_result_name(enum audit_status result);       /* "fail", "unknown", "pass" */

#endif
