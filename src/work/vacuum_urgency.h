/*
 * How urgently a table needs VACUUM or ANALYZE, and in what order tables are worked on. Pure.
 *
 * Each measure of a table is divided by the value at which autovacuum would act (PostgreSQL manual,
 * "Automatic Vacuuming"; the same quotient by which autovacuum of PostgreSQL 19 orders its work):
 * the greatest is the score, 1.0 being autovacuum's own mark. Maintenance runs in a quiet hour so
 * that autovacuum need not run in a busy one; so a table is due from URGENCY_DUE on.
 *
 * Tables are worked on by class, the most pressing first; within a class databases stay together,
 * and the higher score comes first, the smaller table of equals.
 */
#ifndef PGCAIRN_WORK_VACUUM_URGENCY_H
#define PGCAIRN_WORK_VACUUM_URGENCY_H

#include "base/instant.h"
#include "postgres/maintenance.h"

#define URGENCY_DUE 0.25 /* of autovacuum's threshold of rows */
#define URGENCY_DUE_FREEZE                                                \
    0.75 /* of autovacuum_freeze_max_age: where VACUUM reads whole tables \
          */
/* ANALYZE of a partitioned table goes on to its partitions (before 18), and one run analyses both:
 * later by less than this they are of one go. */
#define URGENCY_ONE_GO_US US_PER_HOUR
#define URGENCY_FORCED 0.75 /* of vacuum_failsafe_age: nothing may come before */

enum urgency_class {
    URGENCY_WRAPAROUND, /* the server is on its way to refuse writes */
    URGENCY_FREEZE,     /* autovacuum will soon have to freeze it */
    URGENCY_UNKNOWN,    /* rows, and no statistics: after a restore or an upgrade */
    URGENCY_DEAD,       /* dead rows */
    URGENCY_VISIBILITY, /* inserted rows: index-only scans and freezing wait for the map */
    URGENCY_STALE,      /* statistics of a changed table, or of a parent whose partitions changed */
    URGENCY_CHOSEN,     /* nothing of these, but the policy names it */
    URGENCY_NONE,
    URGENCY_CLASS_COUNT,
};

struct urgency {
    enum urgency_class class;
    double score;
    bool vacuum, analyze; /* what to do; neither for URGENCY_NONE */
    char reason[128];     /* "1200 dead rows, autovacuum's mark is 250" */
};

/* analyze: the job wants statistics too. chosen: the policy names the table. */
struct urgency urgency_of(const struct pg_candidate *table, bool analyze, bool chosen);
const char *urgency_class_name(enum urgency_class class); /* "dead-rows" */

#endif
