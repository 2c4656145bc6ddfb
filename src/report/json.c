/* The report as JSON: the document of `audit`, by policies/audit.schema.json. */
#include "report/report.h"

#include <string.h>

#include "base/json.h"

/* "A1.2 CC7.2" as a list, each with its framework in front. */
static int add_clauses(json_t *list, const char *framework, const char *clauses)
{
    char text[80];
    while (*clauses) {
        size_t length = strcspn(clauses, " ");
        snprintf(text, sizeof(text), "%s %.*s", framework, (int)length, clauses);
        if (json_array_append_new(list, json_string(text)))
            return -1;
        clauses += length + (clauses[length] == ' ');
    }
    return 0;
}

static json_t *maps_json(const struct audit_control *control)
{
    json_t *list = json_array();
    if (add_clauses(list, "SOC2", control->soc2) || add_clauses(list, "ISO27001", control->iso)) {
        json_decref(list);
        return NULL;
    }
    return list;
}

static json_t *texts_json(const struct strv *texts)
{
    json_t *list = json_array();
    for (size_t i = 0; i < texts->count; i++) {
        json_t *text = json_string(texts->items[i]);
        json_array_append_new(list, text ? text : json_string("(not UTF-8)"));
    }
    return list;
}

static json_t *waiver_json(const struct audit_finding *finding)
{
    const struct policy_waiver *waiver = finding->waiver;
    if (!waiver)
        return json_null();
    return json_pack("{s:s, s:s, s:o, s:s}", "reason", waiver->reason, "owner", waiver->owner,
                     "expires", json_instant(waiver->expires_us), "status",
                     audit_status_name(finding->judged));
}

static json_t *finding_json(const struct audit_finding *finding)
{
    const struct audit_control *control = finding->control;
    json_t *observed = json_string(finding->observed);
    bool needs_remedy = finding->status != AUDIT_PASS && finding->status != AUDIT_SKIP;
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:o, s:s?, s:o, s:o}", "id", control->id, "group",
        control->group, "title", control->title, "severity", audit_severity_name(control->severity),
        "status", audit_status_name(finding->status), "observed",
        observed ? observed : json_string("(not UTF-8)"), "required", finding->required, "evidence",
        texts_json(&finding->evidence), "remedy", needs_remedy ? finding->remedy : NULL, "maps",
        maps_json(control), "waiver", waiver_json(finding));
}

static json_t *counts_json(const struct audit_report *report)
{
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I}", "pass", (json_int_t)report->counts[AUDIT_PASS], "fail",
        (json_int_t)report->counts[AUDIT_FAIL], "warn", (json_int_t)report->counts[AUDIT_WARN],
        "skip", (json_int_t)report->counts[AUDIT_SKIP], "unknown",
        (json_int_t)report->counts[AUDIT_UNKNOWN], "waived", (json_int_t)report->waived);
}

static json_t *evidence_json(const struct audit_report *report)
{
    const struct facts_audit *facts = report->facts;
    return json_pack("{s:I, s:s?, s:b}", "tip", (json_int_t)facts->evidence_tip, "sha256",
                     facts->evidence_sha256, "verified", facts->has_evidence);
}

static json_t *period_json(const struct audit_report *report)
{
    if (report->period.from_us == INSTANT_NONE)
        return json_null();
    return json_pack("{s:o, s:o}", "from", json_instant(report->period.from_us), "to",
                     json_instant(report->period.to_us));
}

static json_t *windows_json(const struct audit_report *report)
{
    json_t *list = json_array();
    for (size_t i = 0; i < report->continuity.window_count; i++) {
        const struct continuity_window *window = &report->continuity.windows[i];
        json_array_append_new(list, json_pack("{s:o, s:o, s:s, s:b}", "from",
                                              json_instant(window->from_us), "to",
                                              json_instant(window->to_us), "anchor",
                                              window->anchor_id, "open", window->is_open));
    }
    return list;
}

json_t *report_json(const struct audit_report *report)
{
    json_t *controls = json_array();
    for (size_t i = 0; i < report->count; i++)
        if (json_array_append_new(controls, finding_json(&report->findings[i]))) {
            json_decref(controls);
            return NULL;
        }
    return json_pack("{s:i, s:s, s:o, s:o, s:s, s:s, s:s?, s:o, s:o, s:o, s:o, s:o}", "schema",
                     REPORT_SCHEMA, "cluster", report->policy->cluster, "at",
                     json_instant(report->now_us), "period", period_json(report), "result",
                     audit_result_name(report->result), "policy_sha256", report->policy->sha256,
                     "pgcairn_version", report->facts->pgcairn_version, "counts",
                     counts_json(report), "controls", controls, "evidence", evidence_json(report),
                     "recovery_windows", windows_json(report), "notes", texts_json(&report->notes));
}
