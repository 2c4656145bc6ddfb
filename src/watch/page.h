/*
 * The status page: one HTML document that needs no script, loads nothing, fits a phone and the
 * dark, and makes itself anew every half minute. All that comes from elsewhere (names, messages) is
 * escaped; the picture of the timeline is made and escaped by report/timeline.h.
 */
#ifndef PGCAIRN_WATCH_PAGE_H
#define PGCAIRN_WATCH_PAGE_H

#include "watch/board.h"

enum {
    PAGE_BYTES_MAX = 64 << 20,
    PAGE_TIMELINES_MAX = 40, /* of further clusters the picture is left out */
    PAGE_REFRESH_S = 30,
};

int page_write(const struct board_view *view, int64_t now_us, struct buf *out, struct error *err);

/* The page's one style sheet, whose hash its Content-Security-Policy allows. */
const char *page_style(void);

#endif
