/* What a vacuum run did and what it found, as JSON; vacuum_report.h describes it. */
#include "base/json.h"
#include "postgres/diagnosis.h"
#include "work/vacuum.h"

enum { DIAGNOSIS_LOCK_WAIT_MS = 5000 };

static const char *const OUTCOMES[VACUUM_OUTCOME_COUNT] = {
    [VACUUM_PENDING] = "left",  [VACUUM_RUNNING] = "left", [VACUUM_DONE] = "done",
    [VACUUM_FAILED] = "failed", [VACUUM_LEFT] = "left",    [VACUUM_SKIPPED] = "skipped",
};

static json_t *measure_json(const struct pg_measure *measure)
{
    json_t *visible = measure->pages > 0
                          ? json_integer(measure->visible_pages * 100 / measure->pages)
                          : json_null();
    return json_pack("{s:I, s:I, s:I, s:o, s:I, s:I}", "bytes", (json_int_t)measure->bytes, "rows",
                     (json_int_t)measure->rows, "dead_rows", (json_int_t)measure->dead_rows,
                     "all_visible_percent", visible, "xid_age", (json_int_t)measure->xid_age,
                     "mxid_age", (json_int_t)measure->mxid_age);
}

static const char *work_name(const struct urgency *urgency)
{
    return urgency->vacuum && urgency->analyze ? "vacuum analyze"
           : urgency->vacuum                   ? "vacuum"
                                               : "analyze";
}

static json_t *item_json(const struct vacuum *vacuum, const struct vacuum_item *item)
{
    json_t *json = json_pack(
        "{s:o, s:o, s:o, s:s, s:f, s:s, s:s, s:s, s:o, s:f}", "database",
        pg_text_to_json(vacuum->databases[item->database].name), "schema",
        pg_text_to_json(item->table.schema), "table", pg_text_to_json(item->table.name), "class",
        urgency_class_name(item->urgency.class), "score", item->urgency.score, "reason",
        item->urgency.reason, "work", work_name(&item->urgency), "outcome", OUTCOMES[item->outcome],
        "note", item->note ? pg_text_to_json(item->note) : json_null(), "duration_s",
        (double)item->duration_us / 1e6);
    if (json && item->is_measured &&
        (json_object_set_new(json, "before", measure_json(&item->before)) ||
         json_object_set_new(json, "after", measure_json(&item->after)))) {
        json_decref(json);
        return NULL;
    }
    return json;
}

static json_t *items_json(const struct vacuum *vacuum)
{
    json_t *array = json_array();
    size_t done = 0;
    int failed = array ? 0 : -1;
    for (size_t i = 0; i < vacuum->item_count && !failed; i++) {
        bool is_done = vacuum->items[i].outcome == VACUUM_DONE;
        if (!is_done || done < VACUUM_REPORT_TABLES)
            failed = json_array_append_new(array, item_json(vacuum, &vacuum->items[i]));
        done += is_done;
    }
    if (failed) {
        json_decref(array);
        return NULL;
    }
    return array;
}

static json_t *totals_json(const struct vacuum *vacuum)
{
    json_int_t counts[VACUUM_OUTCOME_COUNT] = {0}, tables = 0;
    struct pg_measure before = {0}, after = {0};
    for (size_t i = 0; i < vacuum->database_count; i++)
        tables += (json_int_t)vacuum->databases[i].table_count;
    for (size_t i = 0; i < vacuum->item_count; i++) {
        const struct vacuum_item *item = &vacuum->items[i];
        counts[item->outcome]++;
        if (!item->is_measured)
            continue;
        before.dead_rows += item->before.dead_rows;
        before.bytes += item->before.bytes;
        after.dead_rows += item->after.dead_rows;
        after.bytes += item->after.bytes;
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "databases",
                     (json_int_t)vacuum->database_count, "tables", tables, "done",
                     counts[VACUUM_DONE], "failed", counts[VACUUM_FAILED], "left",
                     counts[VACUUM_LEFT], "skipped", counts[VACUUM_SKIPPED], "dead_rows_before",
                     (json_int_t)before.dead_rows, "dead_rows_after", (json_int_t)after.dead_rows,
                     "bytes_before", (json_int_t)before.bytes, "bytes_after",
                     (json_int_t)after.bytes);
}

static json_t *unmatched_json(const struct vacuum *vacuum)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < vacuum->unmatched.count; i++)
        json_array_append_new(array, pg_text_to_json(vacuum->unmatched.items[i]));
    return array;
}

static int note(json_t *unknown, const char *subject, const struct error *failure,
                struct error *err)
{
    struct buf text = BUF_INIT(BUF_LIMIT_DEFAULT);
    buf_addf(&text, "could not tell anything of %s: %s", subject, failure->message);
    int rc = buf_failed(&text, "a message", err);
    if (!rc && json_array_append_new(unknown, pg_text_to_json(buf_text(&text))))
        rc = error_no_memory(err);
    buf_clear(&text);
    return rc;
}

static int diagnose_database(struct vacuum *vacuum, const struct vacuum_database *database,
                             json_t *report, json_t *unknown, struct error *err)
{
    if (json_object_set_new(report, "name", pg_text_to_json(database->name)))
        return error_no_memory(err);
    if (database->failure)
        return json_object_set_new(report, "error", pg_text_to_json(database->failure->message))
                   ? error_no_memory(err)
                   : 0;
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    struct error failure = ERROR_NONE;
    int rc = vacuum_connect(vacuum, database->name, &conn, &failure);
    if (!rc)
        rc = pg_execute(conn, &failure, "set lock_timeout = %d; set statement_timeout = %d",
                        DIAGNOSIS_LOCK_WAIT_MS, 6 * DIAGNOSIS_LOCK_WAIT_MS);
    if (!rc)
        rc = pg_diagnose_database(conn, report, unknown, &failure);
    return rc ? note(unknown, database->name, &failure, err) : 0;
}

static int diagnose_databases(struct vacuum *vacuum, json_t *array, json_t *unknown,
                              struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < vacuum->database_count && !rc && !work_interrupted(NULL); i++) {
        json_t *report = json_object();
        if (json_array_append_new(array, report))
            return error_no_memory(err);
        work_progress(vacuum->work, "looking for obstacles", (int64_t)i,
                      (int64_t)vacuum->database_count);
        rc = diagnose_database(vacuum, &vacuum->databases[i], report, unknown, err);
    }
    return rc;
}

static int diagnose_server(struct vacuum *vacuum, json_t *report, json_t *unknown,
                           struct error *err)
{
    struct error failure = ERROR_NONE;
    int rc = vacuum->watcher ? 0 : vacuum_connect(vacuum, NULL, &vacuum->watcher, &failure);
    if (!rc)
        rc = pg_diagnose_server(vacuum->watcher, vacuum->application, report, unknown, &failure);
    return rc ? note(unknown, "the server", &failure, err) : 0;
}

int vacuum_details(struct vacuum *vacuum, json_t **ret_details, struct error *err)
{
    _cleanup_(json_release) json_t *details = json_pack(
        "{s:o, s:o, s:o, s:{}, s:[], s:[]}", "totals", totals_json(vacuum), "tables",
        items_json(vacuum), "unmatched", unmatched_json(vacuum), "server", "databases", "unknown");
    if (!details)
        return error_no_memory(err);
    json_t *unknown = json_object_get(details, "unknown");
    int rc = diagnose_server(vacuum, json_object_get(details, "server"), unknown, err);
    if (!rc)
        rc = diagnose_databases(vacuum, json_object_get(details, "databases"), unknown, err);
    if (!rc)
        *ret_details = TAKE(details);
    return rc;
}
