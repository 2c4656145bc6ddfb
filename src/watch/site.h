/*
 * The pages that the daemon shows (http.h), made from the board:
 *
 *     /healthz   200 while the daemon's loop lives, else 503; open
 *     /readyz    200 while there are policies and the journal can be read and written; open
 *     /metrics   Prometheus text
 *     /          the status page
 *
 * Open pages tell nothing but that; the others ask for the token, if there is one.
 */
#ifndef PGCAIRN_WATCH_SITE_H
#define PGCAIRN_WATCH_SITE_H

#include "watch/board.h"
#include "watch/http.h"

#define SITE_FRESH_US US_PER_SECOND /* metrics and page are made at most once in that time */

extern const struct http_page site_pages[];

/* For the tests: the samples of the view at a moment. */
int site_samples(const struct board_view *view, int64_t now_us, struct samples *samples,
                 struct error *err);

#endif
