/* The report as JUnit XML: a control is a test case, FAIL a failure, UNKNOWN an error. */
#include "report/report.h"

#include <string.h>

static void add_attribute(struct buf *out, const char *name, const char *text)
{
    buf_addf(out, " %s=\"", name);
    report_escape(out, text);
    buf_add_text(out, "\"");
}

static void add_body(struct buf *out, const struct audit_finding *finding)
{
    buf_add_text(out, "required: ");
    report_escape(out, finding->required);
    buf_add_text(out, "\nremedy: ");
    report_escape(out, finding->remedy);
    for (size_t i = 0; i < finding->evidence.count; i++) {
        buf_add_text(out, "\nevidence: ");
        report_escape(out, finding->evidence.items[i]);
    }
}

static void add_case(struct buf *out, const struct audit_finding *finding)
{
    static const char *const ELEMENTS[] = {[AUDIT_SKIP] = "skipped",
                                           [AUDIT_FAIL] = "failure",
                                           [AUDIT_UNKNOWN] = "error",
                                           [AUDIT_WARN] = "system-out"};
    const char *element = ELEMENTS[finding->status];
    char name[300];
    snprintf(name, sizeof(name), "%s %s", finding->control->id, finding->control->title);
    buf_add_text(out, "    <testcase");
    add_attribute(out, "classname", finding->control->group);
    add_attribute(out, "name", name);
    if (!element) {
        buf_add_text(out, "/>\n");
        return;
    }
    buf_addf(out, ">\n      <%s", element);
    if (finding->status != AUDIT_WARN) {
        add_attribute(out, "message", finding->observed);
        buf_add_text(out, ">");
        add_body(out, finding);
    } else {
        buf_add_text(out, ">warning: ");
        report_escape(out, finding->observed);
    }
    buf_addf(out, "</%s>\n    </testcase>\n", element);
}

int report_junit(const struct audit_report *report, struct buf *out, struct error *err)
{
    (void)err;
    char at[INSTANT_TEXT_MAX];
    buf_add_text(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite");
    add_attribute(out, "name", report->policy->cluster);
    add_attribute(out, "timestamp", instant_format(report->now_us, at));
    buf_addf(out, " tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" skipped=\"%zu\">\n",
             report->count, report->counts[AUDIT_FAIL], report->counts[AUDIT_UNKNOWN],
             report->counts[AUDIT_SKIP]);
    for (size_t i = 0; i < report->count; i++)
        add_case(out, &report->findings[i]);
    buf_add_text(out, "  </testsuite>\n</testsuites>\n");
    return 0;
}
