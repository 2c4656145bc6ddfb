/*
 * What a database's tables need of VACUUM and ANALYZE, read from the catalogues and the statistics
 * of PostgreSQL 13 to 18, with the thresholds that autovacuum would apply (manual, "Automatic
 * Vacuuming", storage parameters included), and what a table looks like before and after.
 *
 *     pg_maintenance_session(conn, err);           once per connection
 *     pg_list_candidates(conn, &tables, err);      no lock is taken: a locked table can't hang it
 *     pg_measure_table(conn, oid, &measure, err);  takes ACCESS SHARE, within lock_timeout
 *     pg_candidates_clear(&tables);
 *
 * Ages are in transaction ids, times in microseconds since 1970 or INSTANT_NONE. Counters are those
 * of the cumulative statistics: estimates, and since 15 exact at once after a VACUUM; before, the
 * collector is up to half a second late, so pg_measure_until() waits for it.
 */
#ifndef PGCAIRN_POSTGRES_MAINTENANCE_H
#define PGCAIRN_POSTGRES_MAINTENANCE_H

#include <stdint.h>

#include "postgres/connection.h"

enum { PG_CANDIDATES_MAX = 2000000 };

enum pg_relation_kind { PG_TABLE, PG_MATERIALIZED_VIEW, PG_PARTITIONED_TABLE };

struct pg_candidate {
    uint32_t oid;
    uint32_t tree;   /* the topmost partitioned ancestor, or itself; 0 outside of such trees */
    uint32_t parent; /* of a partition; else 0 */
    char *schema, *name, *owner;
    enum pg_relation_kind kind;
    bool is_system;      /* in pg_catalog or information_schema */
    bool is_shared;      /* seen from every database of the server */
    bool is_parent;      /* has partitions or inheriting tables */
    bool can_vacuum;     /* by right of ownership, of the database, or of MAINTAIN (17+) */
    bool can_analyze;    /* false for pg_statistic, which ANALYZE passes over in silence */
    bool has_statistics; /* the planner knows something of it (of its tree, for a parent) */
    bool ever_vacuumed;  /* since the statistics began */
    int64_t rows;        /* estimate; of the whole tree for a partitioned table */
    int64_t pages, visible_pages;
    int64_t xid_age, mxid_age; /* the greater of the table's and its TOAST table's; 0: none */
    int64_t dead_rows, inserted_rows, changed_rows; /* changed in the tree for a parent */
    int64_t toast_dead_rows, toast_rows;
    int64_t analyzed_us, children_analyzed_us; /* the newest, by hand or by autovacuum */
    /* Effective settings, storage parameters before the server's. */
    double vacuum_threshold, vacuum_scale, vacuum_max_threshold;
    double insert_threshold, insert_scale; /* threshold below 0: off */
    double analyze_threshold, analyze_scale;
    double freeze_max_age, mxid_freeze_max_age, failsafe_age, mxid_failsafe_age;
};

struct pg_candidates {
    struct pg_candidate *items; /* ordered by OID */
    size_t count;
};

struct pg_measure {
    int64_t bytes; /* with indexes and TOAST */
    int64_t rows, dead_rows;
    int64_t pages, visible_pages;
    int64_t xid_age, mxid_age;
    int64_t vacuum_count, analyze_count; /* by hand, since the statistics began */
    bool autovacuum_works;               /* on the table or its TOAST table, as far as we may see */
};

/* Text in UTF-8 where the database's encoding can be converted, so that names fit into JSON. */
int pg_maintenance_session(PGconn *conn, struct error *err);

/* Ordinary tables, materialized views and partitioned tables, without temporary ones and without
 * system catalogues that the role may not vacuum. */
int pg_list_candidates(PGconn *conn, struct pg_candidates *ret_candidates, struct error *err);
void pg_candidate_clear(struct pg_candidate *candidate);
void pg_candidates_clear(struct pg_candidates *candidates);

/* ERR_NOT_FOUND when the table is gone. */
int pg_measure_table(PGconn *conn, uint32_t oid, struct pg_measure *ret_measure, struct error *err);

/* Measures until the counters say that a VACUUM or an ANALYZE ended since `before`, for at most a
 * second and a half; the last look is the result. */
int pg_measure_until(PGconn *conn, uint32_t oid, const struct pg_measure *before, bool vacuumed,
                     bool analyzed, struct pg_measure *ret_measure, struct error *err);

#endif
