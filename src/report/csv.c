/* The report as a table: RFC 4180, with a head. */
#include "report/report.h"

#include <string.h>

/* A cell that a spreadsheet would take for a formula gets an apostrophe in front; it looks past
 * blanks and line ends. */
static void add_cell(struct buf *out, const char *text, bool is_last)
{
    buf_add_text(out, "\"");
    const char *seen = text + strspn(text, " \t\r\n");
    if (*seen && strchr("=+-@", *seen))
        buf_add_text(out, "'");
    for (; *text; text++)
        buf_add_text(out, *text == '"' ? "\"\"" : (char[]){*text, '\0'});
    buf_add_text(out, is_last ? "\"\r\n" : "\",");
}

static int add_points(struct buf *out, const struct strv *evidence, struct error *err)
{
    struct buf text = BUF_INIT(BUF_LIMIT_DEFAULT);
    for (size_t i = 0; i < evidence->count; i++)
        buf_addf(&text, "%s%s", i ? "; " : "", evidence->items[i]);
    int rc = buf_failed(&text, "the evidence of a control", err);
    if (!rc)
        add_cell(out, buf_text(&text), true);
    buf_clear(&text);
    return rc;
}

int report_csv(const struct audit_report *report, struct buf *out, struct error *err)
{
    int rc = 0;
    char at[INSTANT_TEXT_MAX], waived[300];
    instant_format(report->now_us, at);
    buf_add_text(out, "cluster,at,id,group,severity,status,title,observed,required,remedy,soc2,"
                      "iso27001,waiver,evidence\r\n");
    for (size_t i = 0; i < report->count && !rc; i++) {
        const struct audit_finding *finding = &report->findings[i];
        const struct audit_control *control = finding->control;
        waived[0] = '\0';
        if (finding->waiver)
            snprintf(waived, sizeof(waived), "%s (%.100s): %.150s",
                     audit_status_name(finding->judged), finding->waiver->owner,
                     finding->waiver->reason);
        const char *const cells[] = {report->policy->cluster,
                                     at,
                                     control->id,
                                     control->group,
                                     audit_severity_name(control->severity),
                                     audit_status_name(finding->status),
                                     control->title,
                                     finding->observed,
                                     finding->required,
                                     finding->remedy,
                                     control->soc2,
                                     control->iso,
                                     waived};
        for (size_t j = 0; j < ARRAY_SIZE(cells); j++)
            add_cell(out, cells[j], false);
        rc = add_points(out, &finding->evidence, err);
    }
    return rc;
}
