/* The report as one HTML file: nothing is loaded from elsewhere, nothing runs, it prints well. */
#include "report/report.h"

#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "report/timeline.h"

static const char STYLE[] =
    "body{font:14px/1.45 system-ui,sans-serif;color:#1c2430;margin:2em auto;max-width:1080px;"
    "padding:0 1em}h1{font-size:24px;margin:0}h2{font-size:17px;margin:1.8em 0 .5em}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;"
    "padding:.35em .6em;border-bottom:1px solid #d9dfe7}th{font-size:12px;color:#5b6675}"
    "td.n{text-align:right;white-space:nowrap}.s{font-weight:700;white-space:nowrap}"
    ".FAIL{color:#b3261e}.UNKNOWN{color:#8a3ffc}.WARN{color:#9a6700}.PASS{color:#1a7f37}"
    ".SKIP{color:#6b7683}.sum{display:flex;gap:1.2em;margin:.8em 0;flex-wrap:wrap}.sum b{"
    "font-size:20px;margin-right:.25em}ul{margin:.2em 0;padding-left:1.1em}.m{color:#5b6675;"
    "font-size:12px}code{font:12px ui-monospace,monospace;overflow-wrap:anywhere}"
    "@media print{body{margin:0;max-width:none}tr{break-inside:avoid}h2{break-after:avoid}}";

/* -- the controls -------------------------------------------------------------------------- */

static void add_evidence(struct buf *out, const struct audit_finding *finding)
{
    if (finding->evidence.count == 0)
        return;
    buf_add_text(out, "<ul>");
    for (size_t i = 0; i < finding->evidence.count; i++) {
        buf_add_text(out, "<li><code>");
        report_escape(out, finding->evidence.items[i]);
        buf_add_text(out, "</code></li>");
    }
    buf_add_text(out, "</ul>");
}

static void add_waiver(struct buf *out, const struct audit_finding *finding)
{
    char ends[INSTANT_TEXT_MAX];
    if (!finding->waiver)
        return;
    buf_addf(out, "<div>waived (was %s) by ", audit_status_name(finding->judged));
    report_escape(out, finding->waiver->owner);
    buf_addf(out, " until %s: ", instant_format(finding->waiver->expires_us, ends));
    report_escape(out, finding->waiver->reason);
    buf_add_text(out, "</div>");
}

static void add_finding(struct buf *out, const struct audit_finding *finding)
{
    const struct audit_control *control = finding->control;
    const char *status = audit_status_name(finding->status);
    buf_addf(out, "<tr><td class=\"s %s\">%s</td><td>%s<div class=m>%s</div></td><td>", status,
             status, control->id, audit_severity_name(control->severity));
    buf_add_text(out, "<b>");
    report_escape(out, control->title);
    buf_add_text(out, "</b><div>");
    report_escape(out, finding->observed);
    buf_add_text(out, "</div>");
    add_waiver(out, finding);
    if (finding->status > AUDIT_PASS) {
        buf_add_text(out, "<div class=m>required: ");
        report_escape(out, finding->required);
        buf_add_text(out, "<br>remedy: ");
        report_escape(out, finding->remedy);
        buf_add_text(out, "</div>");
    }
    add_evidence(out, finding);
    buf_addf(out, "</td><td class=m>SOC 2 %s<br>ISO 27001 %s</td></tr>\n",
             *control->soc2 ? control->soc2 : "-", *control->iso ? control->iso : "-");
}

static void add_controls(struct buf *out, const struct audit_report *report)
{
    const struct audit_finding *ordered[AUDIT_CONTROLS_MAX];
    audit_order(report, ordered);
    buf_add_text(out, "<h2>Controls</h2>\n<table><thead><tr><th>Status<th>Control<th>Finding"
                      "<th>Clauses</tr></thead><tbody>\n");
    for (size_t i = 0; i < report->count; i++)
        add_finding(out, ordered[i]);
    buf_add_text(out, "</tbody></table>\n");
}

/* -- what will be deleted when ------------------------------------------------------------- */

static int compare_ends(const void *a, const void *b)
{
    const struct retention_decision *x = *(const struct retention_decision *const *)a;
    const struct retention_decision *y = *(const struct retention_decision *const *)b;
    int64_t x_us = x->action == RETENTION_DELETE ? INT64_MIN + 1 : x->until_us;
    int64_t y_us = y->action == RETENTION_DELETE ? INT64_MIN + 1 : y->until_us;
    x_us = x_us == INSTANT_NONE ? INT64_MAX : x_us;
    y_us = y_us == INSTANT_NONE ? INT64_MAX : y_us;
    if (x_us != y_us)
        return x_us < y_us ? -1 : 1;
    return strcmp(x->id, y->id);
}

static void add_decision(struct buf *out, const struct retention_decision *decision)
{
    char until[INSTANT_TEXT_MAX], bytes[UNITS_TEXT_MAX];
    const char *when = decision->action == RETENTION_DELETE ? "at the next prune"
                       : decision->until_us == INSTANT_NONE
                           ? "not before a newer one takes its place"
                           : instant_format(decision->until_us, until);
    buf_addf(out, "<tr><td>%s%s<td>%s<td><code>",
             decision->action == RETENTION_KEEP && decision->until_us != INSTANT_NONE
                 ? "not before "
                 : "",
             when, backup_kind_name(decision->kind));
    report_escape(out, decision->id);
    buf_addf(out, "</code><td class=n>%s<td>", size_format(decision->bytes, bytes));
    report_escape(out, decision->reason);
    buf_add_text(out, "</tr>\n");
}

static int add_deletions(struct buf *out, const struct audit_report *report, struct error *err)
{
    const struct retention_plan *plan = &report->plan;
    _cleanup_(freep) const struct retention_decision **ordered =
        calloc(plan->count + 1, sizeof(*ordered));
    if (!ordered)
        return error_no_memory(err);
    for (size_t i = 0; i < plan->count; i++)
        ordered[i] = &plan->decisions[i];
    qsort(ordered, plan->count, sizeof(*ordered), compare_ends);
    buf_add_text(out, "<h2>What will be deleted, and when</h2>\n<table><thead><tr><th>When<th>Kind"
                      "<th>Backup<th>Stored<th>Because</tr></thead><tbody>\n");
    for (size_t i = 0; i < plan->count && i < REPORT_DECISIONS_MAX; i++)
        add_decision(out, ordered[i]);
    buf_add_text(out, "</tbody></table>\n");
    if (plan->count > REPORT_DECISIONS_MAX)
        buf_addf(out, "<p class=m>and %zu more, which stay longer</p>\n",
                 plan->count - REPORT_DECISIONS_MAX);
    return 0;
}

/* -- the page ------------------------------------------------------------------------------ */

static void add_head(struct buf *out, const struct audit_report *report)
{
    char at[INSTANT_TEXT_MAX], from[INSTANT_TEXT_MAX], to[INSTANT_TEXT_MAX];
    const char *result = audit_status_name(report->result);
    buf_add_text(out, "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
                      "<meta name=viewport content=\"width=device-width\"><title>Audit of ");
    report_escape(out, report->policy->cluster);
    buf_addf(out, "</title><style>%s%s</style></head><body>\n<h1><span class=%s>%s</span> ", STYLE,
             report_timeline_style, result, result);
    report_escape(out, report->policy->cluster);
    buf_add_text(out, "</h1>\n<div class=m>");
    if (report->period.from_us == INSTANT_NONE)
        buf_addf(out, "as of %s", instant_format(report->now_us, at));
    else
        buf_addf(out, "from %s to %s, from the repository's evidence alone",
                 instant_format(report->period.from_us, from),
                 instant_format(report->period.to_us, to));
    buf_add_text(out, ", policy ");
    report_escape(out, report->policy->file);
    buf_addf(out, " (SHA-256 <code>%s</code>)</div>\n<div class=sum>", report->policy->sha256);
    for (int status = AUDIT_STATUS_COUNT - 1; status >= 0; status--)
        buf_addf(out, "<span class=%s><b>%zu</b>%s</span>",
                 audit_status_name((enum audit_status)status), report->counts[status],
                 audit_status_name((enum audit_status)status));
    buf_addf(out, "<span><b>%zu</b>waived</span></div>\n", report->waived);
}

static void add_foot(struct buf *out, const struct audit_report *report)
{
    const struct facts_audit *facts = report->facts;
    if (report->notes.count)
        buf_add_text(out, "<h2>Notes</h2><ul>");
    for (size_t i = 0; i < report->notes.count; i++) {
        buf_add_text(out, "<li>");
        report_escape(out, report->notes.items[i]);
        buf_add_text(out, "</li>");
    }
    if (report->notes.count)
        buf_add_text(out, "</ul>\n");
    if (facts->evidence_sha256) {
        buf_addf(out, "<p class=m>Evidence up to record %lld, SHA-256 <code>",
                 (long long)facts->evidence_tip);
        report_escape(out, facts->evidence_sha256);
        buf_add_text(out, "</code>. That the newest records were removed is seen only against such "
                          "a hash kept elsewhere.</p>\n");
    }
    buf_add_text(out, "<p class=m>pgcairn ");
    report_escape(out, facts->pgcairn_version ? facts->pgcairn_version : "");
    buf_add_text(out, "</p>\n</body></html>\n");
}

int report_html(const struct audit_report *report, struct buf *out, struct error *err)
{
    add_head(out, report);
    buf_add_text(out, "<h2>Backups and recovery window</h2>\n");
    report_timeline(report, REPORT_SHOWN_MAX, out);
    add_controls(out, report);
    int rc = add_deletions(out, report, err);
    add_foot(out, report);
    return rc;
}
