/*
 * The picture of a report: one row per job with each backup where it began, those that are gone
 * hollow, bad ones red; below them the recovery window with its gaps. Inline SVG with a legend, for
 * the HTML of an audit and for the status page. Its colours are the custom properties --ok, --bad,
 * --window, --gone, --line, --text and --ground, which a page may set (for the dark, say).
 */
#ifndef PGCAIRN_REPORT_TIMELINE_H
#define PGCAIRN_REPORT_TIMELINE_H

#include "report/report.h"

/* What the picture needs of the page's style sheet. */
extern const char report_timeline_style[];

/* Of each job the newest `shown_max` backups are drawn. */
void report_timeline(const struct audit_report *report, size_t shown_max, struct buf *out);

#endif
