/*
 * The report of a vacuum run for people, from the details that the run left:
 *
 *     {"totals":    {"databases", "tables", "done", "failed", "left", "skipped",
 *                    "dead_rows_before", "dead_rows_after", "bytes_before", "bytes_after"},
 *      "tables":    [{"database", "schema", "table", "class", "score", "reason", "work", "outcome",
 *                     "note", "duration_s", "before": MEASURE, "after": MEASURE}],
 *      "unmatched": ["pattern", ...],
 *      "server":    {"databases", "connections", "settings", "blockers", "idle_in_transaction",
 *                    "slots"},
 *      "databases": [{"name", "error", "largest_tables", "invalid_indexes", "sequences",
 *                     "autovacuum_disabled", "slow_statements"}],
 *      "unknown":   ["could not tell ...", ...]}
 *
 * MEASURE is {"bytes", "rows", "dead_rows", "all_visible_percent" (null while the pages were never
 * counted), "xid_age", "mxid_age"}; class
 * and outcome are words (work/vacuum_urgency.h; "done", "failed", "left", "skipped"), work is
 * "vacuum", "analyze" or "vacuum analyze". The rows of server and databases are those of
 * postgres/diagnosis.h. Not more than VACUUM_REPORT_TABLES done tables are listed, the most urgent
 * ones; all that were not done are.
 */
#ifndef PGCAIRN_WORK_VACUUM_REPORT_H
#define PGCAIRN_WORK_VACUUM_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "base/error.h"

/* Prints tables and findings; what is not in the details is not printed. */
int vacuum_report_text(const json_t *details, FILE *file, struct error *err);

#endif
