/* Whether a vacuum run succeeded, and what people are told of it. */
#include "base/units.h"
#include "work/vacuum.h"

struct failures {
    struct buf text;
    size_t count;
    int code; /* that of all of them, or ERR_FAILED */
    char hint[ERROR_HINT_MAX];
};

static void add_failure(struct failures *failures, int code, const char *hint)
{
    if (failures->count == 0) {
        failures->code = code;
        snprintf(failures->hint, sizeof(failures->hint), "%s", hint);
    } else if (failures->code != code)
        failures->code = ERR_FAILED;
    failures->count++;
}

/* Where the next failure is written; NULL when enough are named. */
static struct buf *next_text(struct failures *failures)
{
    if (failures->count >= VACUUM_NAMED_FAILURES)
        return NULL;
    if (failures->count > 0)
        buf_add_text(&failures->text, "; ");
    return &failures->text;
}

static const char *hint_of(int code)
{
    switch (code) {
    case ERR_PERMISSION:
        return "give the job a connection: of the owner, or grant maintain on the table "
               "(PostgreSQL 17 and newer), or list in tables: what is to be vacuumed";
    case ERR_CONFLICT:
        return "choose a quieter hour, end the session that is in the way, or raise lock_wait:";
    default:
        return "the report of the run (--json) lists every table";
    }
}

static void add_databases(struct failures *failures, const struct vacuum *vacuum)
{
    for (size_t i = 0; i < vacuum->database_count; i++) {
        const struct error *failure = vacuum->databases[i].failure;
        if (!failure)
            continue;
        struct buf *text = next_text(failures);
        if (text)
            buf_addf(text, "database \"%s\": %s", vacuum->databases[i].name, failure->message);
        add_failure(failures, failure->code, failure->hint);
    }
}

static void add_unmatched(struct failures *failures, const struct vacuum *vacuum)
{
    for (size_t i = 0; i < vacuum->unmatched.count; i++) {
        struct buf *text = next_text(failures);
        if (text)
            buf_addf(text, "no table matches %s of tables: (%s:%d)", vacuum->unmatched.items[i],
                     vacuum->work->policy->file, vacuum->work->job->line);
        add_failure(failures, ERR_NOT_FOUND,
                    "names with capital letters need double quotes inside the YAML quotes: "
                    "'\"Models\"'; a schema stands before a dot: audit.*");
    }
}

static void add_tables(struct failures *failures, const struct vacuum *vacuum)
{
    for (size_t i = 0; i < vacuum->item_count; i++) {
        const struct vacuum_item *item = &vacuum->items[i];
        if (item->outcome != VACUUM_FAILED)
            continue;
        struct buf *text = next_text(failures);
        if (text)
            buf_addf(text, "%s: %s.%s: %s", vacuum->databases[item->database].name,
                     item->table.schema, item->table.name, item->note ? item->note : "failed");
        add_failure(failures, item->code, hint_of(item->code));
    }
}

static int report_failures(struct failures *failures, size_t done, struct error *err)
{
    if (failures->count > VACUUM_NAMED_FAILURES)
        buf_addf(&failures->text, "; and %zu more", failures->count - VACUUM_NAMED_FAILURES);
    error_set(err, failures->code, "%zu tables done, %zu failed: %s", done, failures->count,
              buf_text(&failures->text));
    return error_hint(err, "%s", failures->hint);
}

/* What is left for the next run is no failure, unless nothing else was done or it can't wait. */
static int judge_left(const struct vacuum *vacuum, size_t done, size_t left, struct error *err)
{
    const struct vacuum_item *first = NULL;
    for (size_t i = 0; i < vacuum->item_count && !first; i++)
        if (vacuum->items[i].outcome == VACUUM_LEFT)
            first = &vacuum->items[i];
    if (!first)
        return 0;
    char budget[UNITS_TEXT_MAX];
    duration_format(vacuum->work->job->budget_us, budget);
    const char *database = vacuum->databases[first->database].name;
    if (done > 0 && first->urgency.class != URGENCY_WRAPAROUND) {
        work_notice(vacuum->work,
                    "the budget of %s is spent: %zu tables are left for the next run, first of "
                    "them %s: %s.%s (%s)",
                    budget, left, database, first->table.schema, first->table.name,
                    first->urgency.reason);
        return 0;
    }
    error_set(err, ERR_TIMEOUT, "the budget of %s was spent %s: %s: %s.%s: %s", budget,
              done > 0 ? "before the most urgent table was done" : "before any table was done",
              database, first->table.schema, first->table.name,
              first->note ? first->note : first->urgency.reason);
    return error_hint(err, "raise budget:, or choose an hour in which no dump runs");
}

static void tell_nothing_to_do(const struct vacuum *vacuum)
{
    size_t tables = 0;
    for (size_t i = 0; i < vacuum->database_count; i++)
        tables += vacuum->databases[i].table_count;
    work_notice(vacuum->work, "nothing to do: none of %zu tables needs %s", tables,
                vacuum->work->job->analyze ? "VACUUM or ANALYZE" : "VACUUM");
}

int vacuum_verdict(struct vacuum *vacuum, struct error *err)
{
    size_t counts[VACUUM_OUTCOME_COUNT] = {0};
    for (size_t i = 0; i < vacuum->item_count; i++)
        counts[vacuum->items[i].outcome]++;
    struct failures failures = {.text = BUF_INIT(BUF_LIMIT_DEFAULT)};
    add_databases(&failures, vacuum);
    add_unmatched(&failures, vacuum);
    add_tables(&failures, vacuum);
    int rc = 0;
    struct error reason = ERROR_NONE;
    if (work_interrupted(&reason)) {
        rc = reason.code;
        if (err)
            *err = reason;
    } else if (failures.count > 0)
        rc = report_failures(&failures, counts[VACUUM_DONE], err);
    else if (vacuum->item_count == 0)
        tell_nothing_to_do(vacuum);
    else
        rc = judge_left(vacuum, counts[VACUUM_DONE], counts[VACUUM_LEFT], err);
    buf_clear(&failures.text);
    return rc;
}
