#include "report/report.h"

#include <string.h>

static int write_json(const struct audit_report *report, struct buf *out, struct error *err)
{
    json_t *document = report_json(report);
    char *text = document ? json_dumps(document, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
    json_decref(document);
    if (!text)
        return error_no_memory(err);
    buf_add_text(out, text);
    buf_add_text(out, "\n");
    free(text);
    return 0;
}

static const struct {
    const char *name;
    int (*write)(const struct audit_report *report, struct buf *out, struct error *err);
} FORMATS[] = {
    [REPORT_TEXT] = {"text", report_text}, [REPORT_JSON] = {"json", write_json},
    [REPORT_HTML] = {"html", report_html}, [REPORT_JUNIT] = {"junit", report_junit},
    [REPORT_CSV] = {"csv", report_csv},
};

int report_format_parse(const char *name, enum report_format *ret_format, struct error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(FORMATS); i++)
        if (strcmp(FORMATS[i].name, name) == 0) {
            *ret_format = (enum report_format)i;
            return 0;
        }
    return error_set(err, ERR_USAGE, "--format is text, json, html, junit or csv, not \"%.50s\"",
                     name);
}

int report_write(enum report_format format, const struct audit_report *report, struct buf *out,
                 struct error *err)
{
    int rc = FORMATS[format].write(report, out, err);
    return rc ? rc : buf_failed(out, "the report", err);
}

void report_escape(struct buf *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<':
            buf_add_text(out, "&lt;");
            break;
        case '>':
            buf_add_text(out, "&gt;");
            break;
        case '&':
            buf_add_text(out, "&amp;");
            break;
        case '"':
            buf_add_text(out, "&quot;");
            break;
        default:
            buf_add(out, (unsigned char)*text < ' ' && *text != '\n' && *text != '\t' ? "?" : text,
                    1);
        }
    }
}
