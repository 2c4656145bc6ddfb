/* The report for a terminal: what is wrong in full, what is right in a line, worst first. */
#include "report/report.h"

#include <string.h>

enum { LINE = 100, INDENT = 17 };

/* Text broken at blanks, each line but the first indented. */
static void add_wrapped(struct buf *out, const char *text, int column)
{
    int at = column;
    while (*text) {
        int length = (int)strcspn(text, " \n");
        if (at > INDENT && at + 1 + length > LINE) {
            buf_addf(out, "\n%*s", INDENT, "");
            at = INDENT;
        } else if (at > INDENT) {
            buf_add_text(out, " ");
            at++;
        }
        buf_add(out, text, (size_t)length);
        at += length;
        text += length + (text[length] != '\0');
    }
    buf_add_text(out, "\n");
}

static void add_labelled(struct buf *out, const char *label, const char *text)
{
    buf_addf(out, "%*s%s", INDENT, "", label);
    add_wrapped(out, text, INDENT + (int)strlen(label));
}

static void add_finding(struct buf *out, const struct audit_finding *finding)
{
    const struct audit_control *control = finding->control;
    char ends[INSTANT_TEXT_MAX];
    buf_addf(out, "%-8s %-7s ", audit_status_name(finding->status), control->id);
    add_wrapped(out, control->title, INDENT);
    if (strcmp(finding->observed, "") != 0)
        add_labelled(out, "observed:", finding->observed);
    if (finding->waiver)
        buf_addf(out, "%*swaived (was %s) by %s until %s: %s\n", INDENT, "",
                 audit_status_name(finding->judged), finding->waiver->owner,
                 instant_format(finding->waiver->expires_us, ends), finding->waiver->reason);
    if (finding->status == AUDIT_FAIL || finding->status == AUDIT_UNKNOWN) {
        if (strcmp(finding->required, control->title) != 0)
            add_labelled(out, "required:", finding->required);
        add_labelled(out, "remedy:", finding->remedy);
    }
}

static void add_ids(struct buf *out, const struct audit_report *report, enum audit_status status)
{
    int at = INDENT;
    bool first = true;
    if (report->counts[status] == 0)
        return;
    buf_addf(out, "%-17s", audit_status_name(status));
    for (size_t i = 0; i < report->count; i++) {
        const char *id = report->findings[i].control->id;
        if (report->findings[i].status != status)
            continue;
        if (at + 1 + (int)strlen(id) > LINE) {
            buf_addf(out, "\n%*s", INDENT, "");
            at = INDENT;
            first = true;
        }
        buf_addf(out, "%s%s", first ? "" : " ", id);
        at += (int)strlen(id) + !first;
        first = false;
    }
    buf_add_text(out, "\n");
}

static void add_head(struct buf *out, const struct audit_report *report)
{
    char at[INSTANT_TEXT_MAX], from[INSTANT_TEXT_MAX], to[INSTANT_TEXT_MAX];
    buf_addf(out, "%s  %s  ", audit_status_name(report->result), report->policy->cluster);
    if (report->period.from_us == INSTANT_NONE)
        buf_addf(out, "as of %s", instant_format(report->now_us, at));
    else
        buf_addf(out, "from %s to %s", instant_format(report->period.from_us, from),
                 instant_format(report->period.to_us, to));
    buf_addf(out,
             ": %zu failed, %zu unknown, %zu warnings (%zu waived), %zu passed, %zu skipped\n\n",
             report->counts[AUDIT_FAIL], report->counts[AUDIT_UNKNOWN], report->counts[AUDIT_WARN],
             report->waived, report->counts[AUDIT_PASS], report->counts[AUDIT_SKIP]);
}

static void add_foot(struct buf *out, const struct audit_report *report)
{
    const struct facts_audit *facts = report->facts;
    for (size_t i = 0; i < report->notes.count; i++)
        buf_addf(out, "note             %s\n", report->notes.items[i]);
    if (facts->evidence_sha256 && facts->evidence_tip)
        buf_addf(out, "evidence         --tip %lld:%s\n", (long long)facts->evidence_tip,
                 facts->evidence_sha256);
}

int report_text(const struct audit_report *report, struct buf *out, struct error *err)
{
    (void)err;
    const struct audit_finding *ordered[AUDIT_CONTROLS_MAX];
    bool any = false;
    add_head(out, report);
    audit_order(report, ordered);
    for (size_t i = 0; i < report->count; i++)
        if (ordered[i]->status > AUDIT_PASS) {
            add_finding(out, ordered[i]);
            any = true;
        }
    if (any)
        buf_add_text(out, "\n");
    add_ids(out, report, AUDIT_PASS);
    add_ids(out, report, AUDIT_SKIP);
    add_foot(out, report);
    return 0;
}
