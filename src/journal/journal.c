#include "journal/journal.h"

#include <string.h>

#include "base/file.h"
#include "base/strv.h"
#include "journal/database.h"

enum { PROGRESS_EVERY_US = 1000000, RUN_ID_RANDOM = 6, VERSION_WITH_TOTALS = 2 };

#define RUN_COLUMNS                                                                        \
    "r.run_id, r.cluster, r.job, r.type, r.due_us, r.attempt, r.claimed_us, r.started_us," \
    " r.ended_us, r.outcome, r.pid, r.pid_start, r.place, r.backup_id, r.bytes_source,"    \
    " r.bytes_stored, r.error_code, r.message, r.hint, p.phase, p.done, p.total, p.updated_us"
#define RUN_TABLES "runs r LEFT JOIN progress p ON p.run_id = r.run_id"

static const char *const OUTCOME_NAMES[] = {"running", "done",     "failed",
                                            "skipped", "not_mine", "interrupted"};

bool journal_is_done(const struct journal_run *run)
{
    static const char BY_ANOTHER[] = JOURNAL_DONE_BY_ANOTHER;
    return run->outcome == OUTCOME_DONE ||
           (run->outcome == OUTCOME_NOT_MINE &&
            strncmp(run->message, BY_ANOTHER, sizeof(BY_ANOTHER) - 1) == 0);
}

const char *journal_outcome_name(enum journal_outcome outcome)
{
    return OUTCOME_NAMES[outcome];
}

static enum journal_outcome outcome_from_name(const char *name)
{
    for (int i = 0; i < OUTCOME_COUNT; i++)
        if (strcmp(name, OUTCOME_NAMES[i]) == 0)
            return (enum journal_outcome)i;
    return OUTCOME_RUNNING;
}

void journal_ask(struct journal *journal, const struct journal_outside *outside)
{
    journal->outside = outside;
}

static int64_t time_us(const struct journal *journal)
{
    return journal->outside ? journal->outside->now_us(journal->outside->context)
                            : instant_now_us();
}

static void find_self(const struct journal *journal, struct process_identity *ret_self)
{
    if (journal->outside)
        journal->outside->self(ret_self, journal->outside->context);
    else
        process_self(ret_self);
}

static bool is_alive(const struct journal *journal, const struct process_identity *process)
{
    return journal->outside ? journal->outside->is_alive(process, journal->outside->context)
                            : process_alive(process);
}

static int64_t or_zero(int64_t number)
{
    return number == INSTANT_NONE ? 0 : number;
}

static void fill_run(struct statement *query, struct journal_run *run)
{
    char outcome[JOURNAL_CODE_MAX];
    *run = (struct journal_run){.attempt = (int)database_integer(query, 5)};
    database_text(query, 0, run->run_id, sizeof(run->run_id));
    database_text(query, 1, run->cluster, sizeof(run->cluster));
    database_text(query, 2, run->job, sizeof(run->job));
    database_text(query, 3, run->type, sizeof(run->type));
    run->due_us = database_integer(query, 4);
    run->claimed_us = database_integer(query, 6);
    run->started_us = database_integer(query, 7);
    run->ended_us = database_integer(query, 8);
    database_text(query, 9, outcome, sizeof(outcome));
    run->outcome = outcome_from_name(outcome);
    run->process.pid = (pid_t)database_integer(query, 10);
    run->process.start_ticks = database_integer(query, 11);
    database_text(query, 12, run->process.place, sizeof(run->process.place));
    database_text(query, 13, run->backup_id, sizeof(run->backup_id));
    run->bytes_source = or_zero(database_integer(query, 14));
    run->bytes_stored = or_zero(database_integer(query, 15));
    database_text(query, 16, run->error_code, sizeof(run->error_code));
    database_text(query, 17, run->message, sizeof(run->message));
    database_text(query, 18, run->hint, sizeof(run->hint));
    database_text(query, 19, run->phase, sizeof(run->phase));
    run->done = or_zero(database_integer(query, 20));
    run->total = or_zero(database_integer(query, 21));
    run->progress_us = database_integer(query, 22);
}

/* Reads at most one run and ends the statement. */
static int fetch_run(struct journal *journal, struct statement *query, bool *ret_found,
                     struct journal_run *ret_run, struct error *err)
{
    bool has_row = false;
    int rc = database_step(journal, query, &has_row, err);
    if (rc)
        return rc;
    if (has_row)
        fill_run(query, ret_run);
    *ret_found = has_row;
    return 0;
}

static int find_earlier_claim(struct journal *journal, const struct journal_run *run,
                              bool *ret_found, struct journal_run *ret_run, struct error *err)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    int rc = database_query(journal, &query, err,
                            "SELECT " RUN_COLUMNS " FROM " RUN_TABLES
                            " WHERE r.cluster = ? AND r.job = ? AND r.due_us = ?"
                            " AND (r.attempt >= ? OR r.outcome = 'done')"
                            " ORDER BY r.outcome = 'done' DESC, r.attempt DESC LIMIT 1",
                            "ttii", run->cluster, run->job, run->due_us, (int64_t)run->attempt);
    return rc ? rc : fetch_run(journal, query, ret_found, ret_run, err);
}

static int make_run_id(const struct journal *journal, int64_t now_us,
                       char run_id[JOURNAL_RUN_ID_MAX], struct error *err)
{
    char random[RUN_ID_RANDOM + 1];
    struct civil at;
    int rc = 0;
    if (journal->outside)
        journal->outside->random_name(random, RUN_ID_RANDOM, journal->outside->context);
    else
        rc = file_random_name(random, RUN_ID_RANDOM, err);
    if (rc)
        return rc;
    civil_from_seconds(now_us / US_PER_SECOND, &at);
    snprintf(run_id, JOURNAL_RUN_ID_MAX, "%04d%02d%02dT%02d%02d%02dZ-%s", (int)at.year, at.month,
             at.day, at.hour, at.minute, at.second, random);
    return 0;
}

static int insert_claim(struct journal *journal, const struct journal_run *run, struct error *err)
{
    return database_run(journal, NULL, err,
                        "INSERT INTO runs (run_id, cluster, job, type, due_us, attempt, claimed_us,"
                        " pid, pid_start, place) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        "ttttiiiiit", run->run_id, run->cluster, run->job, run->type, run->due_us,
                        (int64_t)run->attempt, run->claimed_us, (int64_t)run->process.pid,
                        run->process.start_ticks, run->process.place);
}

int journal_claim(struct journal *journal, struct journal_run *run, bool *ret_claimed,
                  struct error *err)
{
    struct journal_run mine = *run, earlier;
    bool found = false;
    mine.claimed_us = time_us(journal);
    find_self(journal, &mine.process);
    int rc = make_run_id(journal, mine.claimed_us, mine.run_id, err);
    if (!rc)
        rc = database_begin(journal, err);
    if (rc)
        return rc;
    if (mine.due_us != INSTANT_NONE)
        rc = find_earlier_claim(journal, &mine, &found, &earlier, err);
    if (!rc && !found)
        rc = insert_claim(journal, &mine, err);
    rc = database_end(journal, rc, err);
    if (rc)
        return rc;
    *run = found ? earlier : mine;
    *ret_claimed = !found;
    return 0;
}

int journal_begin(struct journal *journal, const char *run_id, struct error *err)
{
    struct process_identity self;
    struct journal_run run;
    int changed = 0;
    find_self(journal, &self);
    int rc = database_run(journal, &changed, err,
                          "UPDATE runs SET started_us = ?, pid = ?, pid_start = ?, place = ?"
                          " WHERE run_id = ? AND outcome IS NULL",
                          "iiitt", time_us(journal), (int64_t)self.pid, self.start_ticks,
                          self.place, run_id);
    if (rc || changed == 1)
        return rc;
    rc = journal_find(journal, run_id, &run, err);
    if (rc)
        return rc;
    return error_set(err, ERR_CONFLICT, "run %s has ended already (%s)", run_id,
                     journal_outcome_name(run.outcome));
}

void journal_progress(struct journal *journal, const char *run_id, const char *phase, int64_t done,
                      int64_t total)
{
    int64_t now_us = instant_monotonic_us();
    bool same_phase = strncmp(phase, journal->progress_phase, JOURNAL_PHASE_MAX - 1) == 0;
    if (same_phase && now_us - journal->progress_us < PROGRESS_EVERY_US)
        return;
    journal->progress_us = now_us;
    snprintf(journal->progress_phase, JOURNAL_PHASE_MAX, "%s", phase);
    /* Not durable, for it is worth nothing after a crash; an error here is no reason to stop. */
    database_set_durable(journal, false, NULL);
    database_run(journal, NULL, NULL, "INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?, ?)",
                 "ttiii", run_id, journal->progress_phase, done, total, time_us(journal));
    database_set_durable(journal, true, NULL);
}

static int store_outcome(struct journal *journal, const struct journal_run *run, struct error *err)
{
    return database_run(journal, NULL, err,
                        "UPDATE runs SET outcome = ?, ended_us = ?, backup_id = ?,"
                        " bytes_source = ?, bytes_stored = ?, error_code = ?, message = ?, hint = ?"
                        " WHERE run_id = ? AND outcome IS NULL",
                        "titiitttt", journal_outcome_name(run->outcome), run->ended_us,
                        run->backup_id, run->bytes_source, run->bytes_stored, run->error_code,
                        run->message, run->hint, run->run_id);
}

/* The newest rows stay, and the newest success however many failures or skips came after it. */
static int drop_old_runs(struct journal *journal, const struct journal_run *run, struct error *err)
{
    return database_run(journal, NULL, err,
                        "DELETE FROM runs WHERE cluster = ?1 AND job = ?2 AND outcome IS NOT NULL"
                        " AND claimed_us < (SELECT claimed_us FROM runs WHERE cluster = ?1 AND"
                        " job = ?2 ORDER BY claimed_us DESC LIMIT 1 OFFSET ?3)"
                        " AND run_id IS NOT (SELECT run_id FROM runs WHERE cluster = ?1 AND"
                        " job = ?2 AND outcome = 'done' ORDER BY claimed_us DESC LIMIT 1)",
                        "tti", run->cluster, run->job, (int64_t)JOURNAL_RUNS_PER_JOB_MAX - 1);
}

int journal_finish(struct journal *journal, const struct journal_run *run, struct error *err)
{
    int rc = database_begin(journal, err);
    if (rc)
        return rc;
    rc = store_outcome(journal, run, err);
    if (!rc)
        rc = database_run(journal, NULL, err, "DELETE FROM progress WHERE run_id = ?", "t",
                          run->run_id);
    if (!rc)
        rc = drop_old_runs(journal, run, err);
    return database_end(journal, rc, err);
}

int journal_find(struct journal *journal, const char *run_id, struct journal_run *ret_run,
                 struct error *err)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    bool found = false;
    int rc = database_query(journal, &query, err,
                            "SELECT " RUN_COLUMNS " FROM " RUN_TABLES " WHERE r.run_id = ?", "t",
                            run_id);
    if (!rc)
        rc = fetch_run(journal, query, &found, ret_run, err);
    if (!rc && !found)
        rc = error_set(err, ERR_NOT_FOUND, "the journal has no run %s", run_id);
    return rc;
}

int journal_last(struct journal *journal, const char *cluster, const char *job,
                 enum journal_outcome outcome, bool *ret_found, struct journal_run *ret_run,
                 struct error *err)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    const char *name = outcome == OUTCOME_COUNT ? NULL : journal_outcome_name(outcome);
    int rc = database_query(
        journal, &query, err,
        "SELECT " RUN_COLUMNS " FROM " RUN_TABLES " WHERE r.cluster = ? AND r.job = ?"
        " AND coalesce(r.outcome, 'running') = coalesce(?, r.outcome, 'running')"
        " ORDER BY r.claimed_us DESC LIMIT 1",
        "ttt", cluster, job, name);
    return rc ? rc : fetch_run(journal, query, ret_found, ret_run, err);
}

int journal_outcome(struct journal *journal, const char *cluster, const char *job, int64_t due_us,
                    bool *ret_found, struct journal_run *ret_run, struct error *err)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    int rc = database_query(journal, &query, err,
                            "SELECT " RUN_COLUMNS " FROM " RUN_TABLES
                            " WHERE r.cluster = ? AND r.job = ? AND r.due_us = ?"
                            " ORDER BY coalesce(r.outcome, '') = 'done' DESC, r.attempt DESC"
                            " LIMIT 1",
                            "tti", cluster, job, due_us);
    return rc ? rc : fetch_run(journal, query, ret_found, ret_run, err);
}

static int visit_all(struct journal *journal, struct statement *query, journal_visitor visit,
                     void *context, struct error *err)
{
    bool has_row = true;
    int rc = 0;
    while (!rc && !(rc = database_step(journal, query, &has_row, err)) && has_row) {
        struct journal_run run;
        fill_run(query, &run);
        rc = visit(&run, context, err);
    }
    return rc;
}

int journal_each(struct journal *journal, const char *cluster, journal_visitor visit, void *context,
                 struct error *err)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    int rc = database_query(journal, &query, err,
                            "SELECT " RUN_COLUMNS " FROM " RUN_TABLES
                            " WHERE r.cluster = ? ORDER BY r.claimed_us",
                            "t", cluster);
    return rc ? rc : visit_all(journal, query, visit, context, err);
}

int journal_each_due(struct journal *journal, const char *cluster, const char *job,
                     int64_t after_us, journal_visitor visit, void *context, struct error *err)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    int rc = database_query(journal, &query, err,
                            "SELECT " RUN_COLUMNS " FROM " RUN_TABLES
                            " WHERE r.cluster = ? AND r.job = ? AND r.due_us > ?"
                            " ORDER BY r.due_us, r.attempt",
                            "tti", cluster, job, after_us);
    return rc ? rc : visit_all(journal, query, visit, context, err);
}

static int list_open_runs(struct journal *journal, const char *cluster, const char *job,
                          struct strv *ids, struct error *err)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    bool has_row = true;
    int rc = database_query(journal, &query, err,
                            "SELECT run_id FROM runs WHERE outcome IS NULL"
                            " AND cluster = coalesce(?, cluster) AND job = coalesce(?, job)"
                            " ORDER BY claimed_us",
                            "tt", cluster, job);
    while (!rc && !(rc = database_step(journal, query, &has_row, err)) && has_row) {
        char run_id[JOURNAL_RUN_ID_MAX];
        database_text(query, 0, run_id, sizeof(run_id));
        rc = strv_add(ids, run_id, err);
    }
    return rc;
}

int journal_each_running(struct journal *journal, journal_visitor visit, void *context,
                         struct error *err)
{
    _cleanup_(strv_clear) struct strv ids = STRV_INIT(JOURNAL_LIST_MAX);
    int rc = list_open_runs(journal, NULL, NULL, &ids, err);
    for (size_t i = 0; i < ids.count && !rc; i++) {
        struct journal_run run;
        rc = journal_find(journal, ids.items[i], &run, err);
        if (!rc && run.outcome == OUTCOME_RUNNING && is_alive(journal, &run.process))
            rc = visit(&run, context, err);
    }
    return rc;
}

static int mark_interrupted(struct journal *journal, struct journal_run *run, struct error *err)
{
    run->outcome = OUTCOME_INTERRUPTED;
    run->ended_us = time_us(journal);
    snprintf(run->error_code, sizeof(run->error_code), "%s", error_code_name(ERR_INTERRUPTED));
    snprintf(run->message, sizeof(run->message),
             "its process (%d) ended without a result: killed, crashed, or the machine went down",
             (int)run->process.pid);
    return journal_finish(journal, run, err);
}

int journal_recover(struct journal *journal, const char *cluster, const char *job,
                    journal_visitor visit, void *context, struct error *err)
{
    _cleanup_(strv_clear) struct strv ids = STRV_INIT(JOURNAL_LIST_MAX);
    int rc = list_open_runs(journal, cluster, job, &ids, err);
    for (size_t i = 0; i < ids.count && !rc; i++) {
        struct journal_run run;
        rc = journal_find(journal, ids.items[i], &run, err);
        if (rc || run.outcome != OUTCOME_RUNNING || is_alive(journal, &run.process))
            continue;
        rc = mark_interrupted(journal, &run, err);
        if (!rc && visit)
            rc = visit(&run, context, err);
    }
    return rc;
}

int journal_accounted(struct journal *journal, const char *cluster, const char *job,
                      const char *schedule, int64_t *ret_due_us, struct error *err)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    bool has_row = false;
    int rc = database_query(journal, &query, err,
                            "SELECT accounted_us FROM jobs WHERE cluster = ? AND job = ?"
                            " AND schedule = ?",
                            "ttt", cluster, job, schedule);
    if (!rc)
        rc = database_step(journal, query, &has_row, err);
    if (!rc)
        *ret_due_us = has_row ? database_integer(query, 0) : INSTANT_NONE;
    return rc;
}

int journal_account(struct journal *journal, const char *cluster, const char *job,
                    const char *schedule, int64_t due_us, struct error *err)
{
    return database_run(journal, NULL, err, "INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?)",
                        "ttti", cluster, job, schedule, due_us);
}

int journal_each_total(struct journal *journal, journal_total_visitor visit, void *context,
                       struct error *err)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    bool has_row = true;
    if (journal->version < VERSION_WITH_TOTALS)
        return 0;
    int rc = database_query(journal, &query, err,
                            "SELECT cluster, job, what, count FROM totals"
                            " ORDER BY cluster, job, what",
                            "");
    while (!rc && !(rc = database_step(journal, query, &has_row, err)) && has_row) {
        struct journal_total total = {.count = database_integer(query, 3)};
        database_text(query, 0, total.cluster, sizeof(total.cluster));
        database_text(query, 1, total.job, sizeof(total.job));
        database_text(query, 2, total.what, sizeof(total.what));
        rc = visit(&total, context, err);
    }
    return rc;
}

int journal_forget_after(struct journal *journal, int64_t now_us, struct error *err)
{
    int rc = database_begin(journal, err);
    if (rc)
        return rc;
    rc = database_run(journal, NULL, err, "UPDATE runs SET due_us = NULL WHERE due_us > ?", "i",
                      now_us);
    if (!rc)
        rc = database_run(journal, NULL, err,
                          "UPDATE jobs SET accounted_us = ?1 WHERE accounted_us > ?1", "i", now_us);
    return database_end(journal, rc, err);
}

int journal_heartbeat(struct journal *journal, int64_t started_us, struct error *err)
{
    struct process_identity self;
    find_self(journal, &self);
    int rc = database_set_durable(journal, false, err);
    if (!rc)
        rc = database_run(
            journal, NULL, err, "INSERT OR REPLACE INTO daemon VALUES (1, ?, ?, ?, ?, ?)", "iitii",
            (int64_t)self.pid, self.start_ticks, self.place, started_us, time_us(journal));
    database_set_durable(journal, true, NULL);
    return rc;
}

int journal_daemon(struct journal *journal, struct journal_daemon *ret_daemon, struct error *err)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    bool has_row = false;
    int rc =
        database_query(journal, &query, err,
                       "SELECT pid, pid_start, place, started_us, heartbeat_us FROM daemon", "");
    if (!rc)
        rc = database_step(journal, query, &has_row, err);
    if (rc)
        return rc;
    struct journal_daemon found = {.started_us = INSTANT_NONE, .heartbeat_us = INSTANT_NONE};
    if (has_row) {
        found.process.pid = (pid_t)database_integer(query, 0);
        found.process.start_ticks = database_integer(query, 1);
        database_text(query, 2, found.process.place, sizeof(found.process.place));
        found.started_us = database_integer(query, 3);
        found.heartbeat_us = database_integer(query, 4);
    }
    *ret_daemon = found;
    return 0;
}
