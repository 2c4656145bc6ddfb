/*
 * Reports of an audit, each format one file of this folder: a report in, bytes out. Pure.
 *
 *     struct buf out = BUF_INIT(REPORT_BYTES_MAX);
 *     rc = report_write(REPORT_HTML, &report, &out, err);
 *
 * The formats: text for a terminal, one screen, worst first; json by policies/audit.schema.json;
 * html, one file with everything in it, to be printed or sent; junit for continuous integration;
 * csv, a row per control, for spreadsheets. A new format is a file and a row of the table in
 * report.c.
 */
#ifndef PGCAIRN_REPORT_REPORT_H
#define PGCAIRN_REPORT_REPORT_H

#include <jansson.h>

#include "audit/audit.h"
#include "base/buf.h"

enum {
    REPORT_BYTES_MAX = 64 << 20,
    REPORT_SCHEMA = 1,           /* of json; fields may be added without another number */
    REPORT_SHOWN_MAX = 2000,     /* backups drawn in the timeline of html; the newest */
    REPORT_DECISIONS_MAX = 1000, /* told in html of what will be deleted when */
};

enum report_format { REPORT_TEXT, REPORT_JSON, REPORT_HTML, REPORT_JUNIT, REPORT_CSV };

/* ERR_USAGE with the names when it is none. */
int report_format_parse(const char *name, enum report_format *ret_format, struct error *err);

int report_write(enum report_format format, const struct audit_report *report, struct buf *out,
                 struct error *err);

/* The document of the format json; NULL without memory. */
json_t *report_json(const struct audit_report *report);

/* For report_write() alone. */
int report_text(const struct audit_report *report, struct buf *out, struct error *err);
int report_html(const struct audit_report *report, struct buf *out, struct error *err);
int report_junit(const struct audit_report *report, struct buf *out, struct error *err);
int report_csv(const struct audit_report *report, struct buf *out, struct error *err);

/* Text as XML and HTML want it; bytes that XML can't hold become "?". */
void report_escape(struct buf *out, const char *text);

#endif
