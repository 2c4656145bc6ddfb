/* What a verification found: faults and doubts as they come, the document, the evidence. */
#include <stdarg.h>
#include <string.h>

#include "base/json.h"
#include "postgres/diagnosis.h"
#include "work/verify.h"

void verify_report_clear(struct verify_report *report)
{
    json_decref(report->faults);
    json_decref(report->unknowns);
    json_decref(report->lost);
    json_decref(report->left);
    *report = (struct verify_report){0};
}

/* -- findings -------------------------------------------------------------------------------- */

static const char *finding_id(const struct verify_finding *finding)
{
    if (finding->item && finding->item->backup)
        return finding->item->backup->id;
    return finding->id ? finding->id : "";
}

static int add_fault(struct verifying *verifying, const struct verify_finding *finding,
                     const char *what, json_t **ret_fault, struct error *err)
{
    struct verify_report *report = verifying->report;
    json_t *fault = json_pack(
        "{s:s, s:s, s:o, s:o, s:o, s:o}", "id", finding_id(finding), "object", finding->object,
        "what", pg_text_to_json(what), "consequence",
        pg_text_to_json(finding->consequence ? finding->consequence : ""), "byte",
        finding->byte >= 0 ? json_integer((json_int_t)finding->byte) : json_null(), "table",
        finding->table && finding->table[0] ? pg_text_to_json(finding->table) : json_null());
    if (!fault)
        return error_no_memory(err);
    pthread_mutex_lock(&verifying->mutex);
    if (finding->item)
        finding->item->has_fault = true;
    bool fits = report->fault_count++ < VERIFY_FAULTS_MAX;
    int rc = fits && json_array_append(report->faults, fault) ? error_no_memory(err) : 0;
    pthread_mutex_unlock(&verifying->mutex);
    json_decref(fault);
    if (!rc && ret_fault)
        *ret_fault = fits ? fault : NULL;
    return rc;
}

int verify_fault(struct verifying *verifying, const struct verify_finding *finding,
                 json_t **ret_fault, struct error *err, const char *format, ...)
{
    char what[VERIFY_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    return add_fault(verifying, finding, what, ret_fault, err);
}

static int add_unknown(struct verifying *verifying, const struct verify_finding *finding,
                       const struct error *reason, struct error *err)
{
    struct verify_report *report = verifying->report;
    pthread_mutex_lock(&verifying->mutex);
    if (finding->item)
        finding->item->is_unknown = true;
    int rc = 0;
    if (json_array_size(report->unknowns) < VERIFY_FAULTS_MAX &&
        json_array_append_new(report->unknowns,
                              json_pack("{s:s, s:s, s:o, s:s}", "id", finding_id(finding), "object",
                                        finding->object, "what", pg_text_to_json(reason->message),
                                        "cure", error_cure(reason))))
        rc = error_no_memory(err);
    pthread_mutex_unlock(&verifying->mutex);
    return rc;
}

/* Nothing else could be read either. */
static bool ends_everything(int code)
{
    return code == ERR_MEMORY || code == ERR_INTERRUPTED || code == ERR_CONNECTION ||
           code == ERR_AUTH || code == ERR_CONFLICT;
}

int verify_note(struct verifying *verifying, const struct verify_finding *finding,
                const struct error *reason, json_t **ret_fault, struct error *err)
{
    if (reason->code == ERR_CORRUPT)
        return add_fault(verifying, finding, reason->message, ret_fault, err);
    if (reason->code == ERR_NOT_FOUND)
        return add_fault(verifying, finding, "it is not there", ret_fault, err);
    if (!ends_everything(reason->code))
        return add_unknown(verifying, finding, reason, err);
    if (err)
        *err = *reason;
    return reason->code;
}

/* -- the verdict ----------------------------------------------------------------------------- */

enum verify_result verify_result(const struct verify_report *report)
{
    if (report->fault_count > 0)
        return VERIFY_FAIL;
    return json_array_size(report->unknowns) > 0 ? VERIFY_UNKNOWN : VERIFY_PASS;
}

const char *verify_result_name(enum verify_result result)
{
    static const char *const NAMES[] = {
        [VERIFY_PASS] = "pass", [VERIFY_FAIL] = "fail", [VERIFY_UNKNOWN] = "unknown"};
    return NAMES[result];
}

int verify_report_error(const struct verify_report *report, struct error *err)
{
    enum verify_result result = verify_result(report);
    const json_t *first =
        json_array_get(result == VERIFY_FAIL ? report->faults : report->unknowns, 0);
    if (result == VERIFY_PASS)
        return 0;
    if (result == VERIFY_UNKNOWN) {
        error_set(err, ERR_UNKNOWN, "not everything could be read: %s: %s",
                  json_text(first, "object"), json_text(first, "what"));
        return error_hint(err, "%s", json_text(first, "cure"));
    }
    error_set(err, ERR_CORRUPT, "%lld fault%s; the first: %s: %s", (long long)report->fault_count,
              report->fault_count == 1 ? "" : "s", json_text(first, "object"),
              json_text(first, "what"));
    return error_hint(err,
                      "%s%swhat has no fault still counts (pgcairn list); make a new backup, "
                      "and find out what changed the stored file",
                      json_text(first, "consequence"),
                      json_text(first, "consequence")[0] ? ". Then: " : "");
}

json_t *verify_report_json(const struct verify_report *report, const char *cluster)
{
    return json_pack("{s:s, s:s, s:i, s:{s:I, s:I}, s:O, s:I, s:O, s:O, s:I, s:I, s:O, s:I}",
                     "cluster", cluster, "result", verify_result_name(verify_result(report)),
                     "level", report->level, "checked", "objects", (json_int_t)report->objects,
                     "bytes", (json_int_t)report->bytes, "faults", report->faults, "fault_count",
                     (json_int_t)report->fault_count, "lost", report->lost, "unknown",
                     report->unknowns, "proved", (json_int_t)report->proved, "remaining",
                     (json_int_t)report->remaining, "left", report->left, "overrun_s",
                     (json_int_t)(report->overrun_us / US_PER_SECOND));
}

/* -- evidence -------------------------------------------------------------------------------- */

static json_t *head_of(const json_t *list, size_t most)
{
    json_t *head = json_array();
    for (size_t i = 0; i < most && i < json_array_size(list); i++)
        json_array_append(head, json_array_get(list, i));
    return head;
}

int verify_record(struct verifying *verifying, bool is_partial, struct error *err)
{
    const struct verify_request *request = verifying->request;
    const struct verify_report *report = verifying->report;
    json_t *run = json_pack(
        "{s:s, s:s, s:i, s:s?, s:o, s:I, s:s, s:b, s:{s:I, s:I}, s:I, s:I, s:I, s:o, s:o, s:O, s:O}",
        "run_id", request->run_id, "job", request->job, "level", request->level, "backup",
        request->backup, "started_at", json_instant(verifying->now_us), "budget_s",
        (json_int_t)(request->budget_us / US_PER_SECOND), "result",
        verify_result_name(verify_result(report)), "partial", is_partial, "checked", "objects",
        (json_int_t)report->objects, "bytes", (json_int_t)report->bytes, "proved",
        (json_int_t)report->proved, "remaining", (json_int_t)report->remaining, "fault_count",
        (json_int_t)report->fault_count, "faults", head_of(report->faults, VERIFY_RECORDED_MAX),
        "unknown", head_of(report->unknowns, VERIFY_RECORDED_MAX), "lost", report->lost, "left",
        report->left);
    verifying->recorded_us = instant_monotonic_us();
    return proof_write(request->repository, &verifying->proof, run, err);
}
