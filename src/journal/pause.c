#include "journal/pause.h"

#include <string.h>

#include "journal/database.h"

int journal_pause(struct journal *journal, const struct journal_pause *pause, struct error *err)
{
    int changed = 0;
    int rc = database_begin(journal, err);
    if (rc)
        return rc;
    rc = database_run(journal, &changed, err,
                      "UPDATE pauses SET who = ?, reason = ?, until_us = ? WHERE cluster = ?"
                      " AND job = ? AND (until_us IS NULL OR until_us > ?)",
                      "ttitti", pause->who, pause->reason, pause->until_us, pause->cluster,
                      pause->job, pause->from_us);
    if (!rc && changed == 0)
        rc = database_run(journal, NULL, err,
                          "INSERT OR REPLACE INTO pauses VALUES (?, ?, ?, ?, ?, ?, NULL)", "ttitti",
                          pause->cluster, pause->job, pause->from_us, pause->who, pause->reason,
                          pause->until_us);
    if (!rc)
        rc = database_run(journal, NULL, err,
                          "DELETE FROM pauses WHERE cluster = ?1 AND job = ?2 AND from_us <="
                          " (SELECT from_us FROM pauses WHERE cluster = ?1 AND job = ?2"
                          " ORDER BY from_us DESC LIMIT 1 OFFSET ?3)",
                          "tti", pause->cluster, pause->job, (int64_t)JOURNAL_PAUSES_MAX);
    return database_end(journal, rc, err);
}

int journal_resume(struct journal *journal, const char *cluster, const char *job, const char *who,
                   int64_t now_us, bool *ret_was_paused, struct error *err)
{
    int changed = 0;
    int rc = database_run(journal, &changed, err,
                          "UPDATE pauses SET until_us = ?3, resumed_by = ?4 WHERE cluster = ?1"
                          " AND job = ?2 AND (until_us IS NULL OR until_us > ?3)",
                          "ttit", cluster, job, now_us, who);
    if (!rc)
        *ret_was_paused = changed > 0;
    return rc;
}

int journal_paused_at(struct journal *journal, const char *cluster, const char *job, int64_t at_us,
                      bool *ret_is_paused, struct journal_pause *ret_pause, struct error *err)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    bool has_row = false;
    if (journal->version < DATABASE_VERSION_PAUSES) {
        *ret_is_paused = false;
        return 0;
    }
    int rc =
        database_query(journal, &query, err,
                       "SELECT from_us, who, reason, until_us FROM pauses WHERE cluster = ?1"
                       " AND job = ?2 AND from_us <= ?3 AND (until_us IS NULL OR until_us > ?3)"
                       " ORDER BY from_us DESC LIMIT 1",
                       "tti", cluster, job, at_us);
    if (!rc)
        rc = database_step(journal, query, &has_row, err);
    if (rc)
        return rc;
    if (has_row) {
        struct journal_pause pause = {.from_us = database_integer(query, 0),
                                      .until_us = database_integer(query, 3)};
        snprintf(pause.cluster, sizeof(pause.cluster), "%s", cluster);
        snprintf(pause.job, sizeof(pause.job), "%s", job);
        database_text(query, 1, pause.who, sizeof(pause.who));
        database_text(query, 2, pause.reason, sizeof(pause.reason));
        *ret_pause = pause;
    }
    *ret_is_paused = has_row;
    return 0;
}

void journal_pause_text(const struct journal_pause *pause, char *text, size_t size)
{
    char from[INSTANT_TEXT_MAX], until[INSTANT_TEXT_MAX];
    instant_format(pause->until_us, until);
    snprintf(text, size, "paused by %s since %s%s%s%s%s", pause->who,
             instant_format(pause->from_us, from), *until ? " until " : "", until,
             pause->reason[0] ? ": " : "", pause->reason);
}
