#include "journal/outbox.h"

#include <stdlib.h>
#include <string.h>

#include "journal/database.h"

#define COLUMNS_NO_EVENT                                                    \
    "id, cluster, job, target, kind, created_us, next_us, attempts, error," \
    " state = 'failed'"
#define COLUMNS COLUMNS_NO_EVENT ", event"

/* No row waits as long: the clock was set back since, and the row would keep all behind it. */
#define WAIT_FAR_US (2 * OUTBOX_WAIT_MAX_US)

/* -- putting down --------------------------------------------------------------------------- */

static int count_rows(struct journal *journal, const char *cluster, const char *target,
                      int64_t *ret_count, struct error *err)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    bool has_row = false;
    int rc = database_query(journal, &query, err,
                            "SELECT count(*) FROM notices WHERE cluster = ? AND target = ?"
                            " AND state = 'pending'",
                            "tt", cluster, target);
    if (!rc)
        rc = database_step(journal, query, &has_row, err);
    if (!rc)
        *ret_count = database_integer(query, 0);
    return rc;
}

/* The oldest of those that are settled go, but for the last of each kind of each job, which tells
 * what its target knows; and at last what nobody delivers any more: those of
 * clusters and targets that are gone. */
static int drop_old(struct journal *journal, const char *cluster, const char *target,
                    int64_t now_us, struct error *err)
{
    int rc = database_run(journal, NULL, err,
                          "DELETE FROM notices WHERE cluster = ?1 AND target = ?2"
                          " AND state <> 'pending' AND id <= (SELECT id FROM notices"
                          " WHERE cluster = ?1 AND target = ?2 AND state <> 'pending'"
                          " ORDER BY id DESC LIMIT 1 OFFSET ?3) AND id NOT IN (SELECT max(id)"
                          " FROM notices WHERE cluster = ?1 AND target = ?2 GROUP BY job, kind)",
                          "tti", cluster, target, (int64_t)OUTBOX_KEPT_MAX);
    return rc ? rc
              : database_run(journal, NULL, err,
                             "DELETE FROM notices WHERE state = 'pending' AND created_us < ?", "i",
                             now_us - 4 * OUTBOX_AGE_US);
}

int outbox_begin(struct journal *journal, struct error *err)
{
    return database_begin(journal, err);
}

int outbox_end(struct journal *journal, int rc, struct error *err)
{
    return database_end(journal, rc, err);
}

int outbox_add(struct journal *journal, const char *cluster, const char *job, const char *target,
               const char *kind, const char *event_json, int64_t now_us, struct error *err)
{
    int64_t pending = 0;
    bool is_alone = sqlite3_get_autocommit(journal->db) != 0;
    int rc = is_alone ? database_begin(journal, err) : 0;
    if (rc)
        return rc;
    rc = count_rows(journal, cluster, target, &pending, err);
    bool is_full = pending >= OUTBOX_PENDING_MAX;
    if (!rc)
        rc = database_run(journal, NULL, err,
                          "INSERT INTO notices (cluster, job, target, kind, created_us, next_us,"
                          " attempts, state, error, event) VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?)",
                          "ttttiittt", cluster, job, target, kind, now_us, now_us,
                          is_full ? "failed" : "pending",
                          is_full ? "too many wait for this target already" : "", event_json);
    if (!rc)
        rc = drop_old(journal, cluster, target, now_us, err);
    return is_alone ? database_end(journal, rc, err) : rc;
}

/* -- delivering ----------------------------------------------------------------------------- */

void outbox_notice_clear(struct outbox_notice *notice)
{
    free(notice->event);
    notice->event = NULL;
}

static void fill_but_event(struct statement *query, struct outbox_notice *notice)
{
    *notice = (struct outbox_notice){.id = database_integer(query, 0),
                                     .created_us = database_integer(query, 5),
                                     .next_us = database_integer(query, 6),
                                     .attempts = (int)database_integer(query, 7),
                                     .is_given_up = database_integer(query, 9) == 1};
    database_text(query, 1, notice->cluster, sizeof(notice->cluster));
    database_text(query, 2, notice->job, sizeof(notice->job));
    database_text(query, 3, notice->target, sizeof(notice->target));
    database_text(query, 4, notice->kind, sizeof(notice->kind));
    database_text(query, 8, notice->last_error, sizeof(notice->last_error));
}

static int fill(struct statement *query, struct outbox_notice *notice, struct error *err)
{
    const unsigned char *event = sqlite3_column_text(query->handle, 10);
    fill_but_event(query, notice);
    notice->event = strdup(event ? (const char *)event : "");
    return notice->event ? 0 : error_no_memory(err);
}

int outbox_take_due(struct journal *journal, const char *cluster, int64_t now_us,
                    struct outbox_notice **ret_notices, size_t *ret_count, struct error *err)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    struct outbox_notice *notices = calloc(OUTBOX_DUE_MAX, sizeof(*notices));
    size_t count = 0;
    bool has_row = false;
    if (!notices)
        return error_no_memory(err);
    int rc = database_query(journal, &query, err,
                            "SELECT " COLUMNS " FROM notices WHERE id IN (SELECT min(id)"
                            " FROM notices WHERE cluster = ? AND state = 'pending'"
                            " GROUP BY target) AND (next_us <= ? OR next_us > ?)"
                            " ORDER BY id LIMIT ?",
                            "tiii", cluster, now_us, now_us + WAIT_FAR_US, (int64_t)OUTBOX_DUE_MAX);
    while (!rc && !(rc = database_step(journal, query, &has_row, err)) && has_row)
        rc = fill(query, &notices[count++], err);
    if (rc) {
        for (size_t i = 0; i < count; i++)
            outbox_notice_clear(&notices[i]);
        free(notices);
        return rc;
    }
    *ret_notices = notices;
    *ret_count = count;
    return 0;
}

int outbox_delivered(struct journal *journal, int64_t id, int64_t now_us, struct error *err)
{
    return database_run(journal, NULL, err,
                        "UPDATE notices SET state = 'delivered', next_us = ?, error = ''"
                        " WHERE id = ?",
                        "ii", now_us, id);
}

int outbox_failed(struct journal *journal, const struct outbox_notice *notice, bool is_retryable,
                  const char *message, int64_t now_us, int64_t *ret_next_us, struct error *err)
{
    int64_t wait_us = OUTBOX_WAIT_US;
    for (int i = 0; i < notice->attempts && wait_us < OUTBOX_WAIT_MAX_US; i++)
        wait_us *= 2;
    if (wait_us > OUTBOX_WAIT_MAX_US)
        wait_us = OUTBOX_WAIT_MAX_US;
    bool is_over = !is_retryable || notice->attempts + 1 >= OUTBOX_TRIES_MAX ||
                   now_us - notice->created_us >= OUTBOX_AGE_US;
    int rc = database_run(journal, NULL, err,
                          "UPDATE notices SET state = ?, next_us = ?, attempts = ?, error = ?"
                          " WHERE id = ?",
                          "tiiti", is_over ? "failed" : "pending", now_us + wait_us,
                          (int64_t)notice->attempts + 1, message, notice->id);
    if (!rc)
        *ret_next_us = is_over ? INSTANT_NONE : now_us + wait_us;
    return rc;
}

/* -- asking --------------------------------------------------------------------------------- */

/* Reads one number. */
static int fetch(struct journal *journal, struct statement *query, int64_t *ret_number,
                 struct error *err)
{
    bool has_row = false;
    int rc = database_step(journal, query, &has_row, err);
    if (!rc)
        *ret_number = has_row ? database_integer(query, 0) : INSTANT_NONE;
    return rc;
}

int outbox_next_us(struct journal *journal, const char *cluster, int64_t now_us,
                   int64_t *ret_next_us, struct error *err)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    int64_t next_us = INSTANT_NONE;
    int rc = database_query(journal, &query, err,
                            "SELECT min(iif(next_us > ?, ?, next_us)) FROM notices WHERE id IN"
                            " (SELECT min(id) FROM notices WHERE cluster = ?"
                            " AND state = 'pending' GROUP BY target)",
                            "iit", now_us + WAIT_FAR_US, now_us, cluster);
    if (!rc)
        rc = fetch(journal, query, &next_us, err);
    if (!rc)
        *ret_next_us = next_us == INSTANT_NONE ? INT64_MAX : next_us;
    return rc;
}

int outbox_last(struct journal *journal, const char *cluster, const char *job, const char *target,
                const char *kind, int64_t *ret_last_us, struct error *err)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    int rc = database_query(journal, &query, err,
                            "SELECT max(created_us) FROM notices WHERE cluster = ? AND job = ?"
                            " AND target = ? AND kind = ?",
                            "tttt", cluster, job, target, kind);
    return rc ? rc : fetch(journal, query, ret_last_us, err);
}

int outbox_count_since(struct journal *journal, const char *cluster, const char *job,
                       const char *target, const char *kind, int64_t from_us, int64_t *ret_count,
                       struct error *err)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    int rc = database_query(journal, &query, err,
                            "SELECT count(*) FROM notices WHERE cluster = ? AND job = ?"
                            " AND target = ? AND kind = ? AND created_us >= ?",
                            "tttti", cluster, job, target, kind, from_us);
    return rc ? rc : fetch(journal, query, ret_count, err);
}

int outbox_each_end(struct journal *journal, const char *cluster, outbox_visitor visit,
                    void *context, struct error *err)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    bool has_row = false;
    if (journal->version < DATABASE_VERSION_OUTBOX)
        return 0;
    int rc = database_query(journal, &query, err,
                            "SELECT " COLUMNS_NO_EVENT " FROM notices WHERE id IN (SELECT min(id)"
                            " FROM notices WHERE cluster = ?1 AND state = 'pending'"
                            " GROUP BY target) OR (state = 'failed' AND id IN (SELECT max(id)"
                            " FROM notices WHERE cluster = ?1 AND state <> 'pending'"
                            " GROUP BY target)) ORDER BY id DESC",
                            "t", cluster);
    while (!rc && !(rc = database_step(journal, query, &has_row, err)) && has_row) {
        struct outbox_notice notice;
        fill_but_event(query, &notice);
        visit(&notice, context);
    }
    return rc;
}

int outbox_counts(struct journal *journal, const char *cluster, struct outbox_counts *ret_counts,
                  struct error *err)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    struct outbox_counts counts = {.oldest_pending_us = INSTANT_NONE,
                                   .last_failed_us = INSTANT_NONE};
    bool has_row = false;
    if (journal->version < DATABASE_VERSION_OUTBOX) {
        *ret_counts = counts;
        return 0;
    }
    int rc = database_query(
        journal, &query, err,
        "SELECT count(*) FILTER (WHERE state = 'pending'), count(*) FILTER (WHERE state ="
        " 'failed'), min(created_us) FILTER (WHERE state = 'pending'), max(created_us) FILTER"
        " (WHERE state = 'failed'), (SELECT error FROM notices WHERE error <> ''"
        " AND (?1 IS NULL OR cluster = ?1) ORDER BY next_us DESC LIMIT 1)"
        " FROM notices WHERE ?1 IS NULL OR cluster = ?1",
        "t", cluster);
    if (!rc)
        rc = database_step(journal, query, &has_row, err);
    if (rc)
        return rc;
    counts.pending = database_integer(query, 0);
    counts.failed = database_integer(query, 1);
    counts.oldest_pending_us = database_integer(query, 2);
    counts.last_failed_us = database_integer(query, 3);
    database_text(query, 4, counts.last_error, sizeof(counts.last_error));
    *ret_counts = counts;
    return 0;
}

/* -- troubles ------------------------------------------------------------------------------- */

int trouble_open(struct journal *journal, const char *cluster, const char *job, const char *kind,
                 int64_t now_us, int64_t *ret_since_us, struct error *err)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    int rc = database_run(journal, NULL, err, "INSERT OR IGNORE INTO troubles VALUES (?, ?, ?, ?)",
                          "ttti", cluster, job, kind, now_us);
    if (!rc)
        rc = database_query(journal, &query, err,
                            "SELECT since_us FROM troubles WHERE cluster = ? AND job = ?"
                            " AND kind = ?",
                            "ttt", cluster, job, kind);
    return rc ? rc : fetch(journal, query, ret_since_us, err);
}

int trouble_close(struct journal *journal, const char *cluster, const char *job, const char *kind,
                  bool *ret_was_open, struct error *err)
{
    int changed = 0;
    int rc = database_run(journal, &changed, err,
                          "DELETE FROM troubles WHERE cluster = ? AND job = ? AND kind = ?", "ttt",
                          cluster, job, kind);
    if (!rc)
        *ret_was_open = changed > 0;
    return rc;
}
