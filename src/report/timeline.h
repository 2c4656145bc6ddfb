/*
 * The picture of a report: one row per job with each backup where it began, those that are gone
 * hollow, bad ones red; below them the recovery window with its gaps. Inline SVG.
 */
#ifndef PGCAIRN_REPORT_TIMELINE_H
#define PGCAIRN_REPORT_TIMELINE_H

#include "report/report.h"

int report_timeline(const struct audit_report *report, struct buf *out, struct error *err);

#endif
