#include "work/audit.h"

#include "base/json.h"
#include "repository/evidence.h"
#include "work/work.h"
#include "work/zones.h"

void audit_init(struct audit *audit)
{
    *audit = (struct audit){.report = {.count = 0}};
    facts_audit_init(&audit->facts);
}

void audit_clear(struct audit *audit)
{
    audit_report_clear(&audit->report);
    facts_audit_clear(&audit->facts);
}

int audit_judge_saved(const struct policy *policy, const struct audit_period *period,
                      struct audit *audit, struct error *err)
{
    _cleanup_(zones_clear) struct zones zones = {0};
    int rc = zones_load(policy, &zones, err);
    return rc ? rc : audit_judge(&audit->facts, policy, &zones.view, period, &audit->report, err);
}

int audit_make(const struct gather *gather, const struct audit_period *period, struct audit *audit,
               struct error *err)
{
    int rc = gather_facts(gather, &audit->facts, err);
    return rc ? rc : audit_judge_saved(gather->policy, period, audit, err);
}

/* -- the job ------------------------------------------------------------------------------- */

static json_t *ids_of(const struct audit_report *report, enum audit_status status, bool waived)
{
    json_t *list = json_array();
    for (size_t i = 0; i < report->count; i++) {
        const struct audit_finding *finding = &report->findings[i];
        if (waived ? finding->waiver != NULL : finding->status == status)
            json_array_append_new(list, json_string(finding->control->id));
    }
    return list;
}

json_t *audit_evidence(const struct audit_report *report, const char *job, const char *run_id)
{
    const size_t *counts = report->counts;
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:{s:I, s:I, s:I, s:I, s:I}, s:o, s:o, s:o, s:o}", "job", job,
        "run_id", run_id, "policy_sha256", report->policy->sha256, "pgcairn_version",
        PGCAIRN_VERSION, "result", audit_result_name(report->result), "counts", "pass",
        (json_int_t)counts[AUDIT_PASS], "fail", (json_int_t)counts[AUDIT_FAIL], "warn",
        (json_int_t)counts[AUDIT_WARN], "skip", (json_int_t)counts[AUDIT_SKIP], "unknown",
        (json_int_t)counts[AUDIT_UNKNOWN], "failed", ids_of(report, AUDIT_FAIL, false), "unknown",
        ids_of(report, AUDIT_UNKNOWN, false), "warned", ids_of(report, AUDIT_WARN, false), "waived",
        ids_of(report, AUDIT_WARN, true));
}

static void say_findings(const struct work *work, const struct audit_report *report)
{
    const struct audit_finding *ordered[AUDIT_CONTROLS_MAX];
    audit_order(report, ordered);
    for (size_t i = 0; i < report->count; i++)
        if (ordered[i]->status > AUDIT_PASS)
            work_notice(work, "%s %s: %s: %s", audit_status_name(ordered[i]->status),
                        ordered[i]->control->id, ordered[i]->control->title, ordered[i]->observed);
}

static int find_verdict(const struct work *work, const struct audit_report *report,
                        struct error *err)
{
    const struct audit_finding *ordered[AUDIT_CONTROLS_MAX];
    if (report->result == AUDIT_PASS)
        return 0;
    audit_order(report, ordered);
    error_set(err, report->result == AUDIT_FAIL ? ERR_FAILED : ERR_UNKNOWN,
              "%zu control%s failed and %zu could not be told, first of all %s: %.500s",
              report->counts[AUDIT_FAIL], report->counts[AUDIT_FAIL] == 1 ? "" : "s",
              report->counts[AUDIT_UNKNOWN], ordered[0]->control->id, ordered[0]->observed);
    return error_hint(err, "the whole report: pgcairn audit %s", work->policy->cluster);
}

/* The record is written whatever the verdict: that there was an audit is what an auditor asks. */
int audit_run(const struct work *work, struct work_result *result, struct error *err)
{
    struct audit audit;
    const struct audit_period period = {INSTANT_NONE, INSTANT_NONE};
    const struct gather gather = {.policy = work->policy,
                                  .now_us = instant_now_us(),
                                  .asks_server = true,
                                  .asks_journal = true,
                                  .repository = work->repository};
    audit_init(&audit);
    work_progress(work, "gathering facts", 0, 0);
    int rc = audit_make(&gather, &period, &audit, err);
    json_t *body = rc ? NULL : audit_evidence(&audit.report, work->job->name, work->run_id);
    if (!rc) {
        result->details = json_deep_copy(body);
        say_findings(work, &audit.report);
        rc = evidence_add(work->repository, "audit", body, NULL, err);
    }
    if (!rc)
        rc = find_verdict(work, &audit.report, err);
    audit_clear(&audit);
    return rc;
}
