/*
 * The words of a decision, private to retention: why an item stays or goes, as a sentence for
 * people. Nothing here depends on the clock, so a reason does not change while a decision stands.
 */
#ifndef PGCAIRN_RETENTION_REASONS_H
#define PGCAIRN_RETENTION_REASONS_H

#include "base/buf.h"
#include "retention/window.h"

/* The strongest wish of an item, WISH_COUNT when there is none. */
enum wish strongest_wish(const struct item *item);

/* Why the item stays, or, without a wish, why it goes. The caller frees. */
int reason_write(const struct item *item, const struct policy *policy,
                 const struct wal_window *window, char **ret_reason, struct error *err);

/* The text that was built, which the caller frees, or the error of building it. Clears the buffer
 * either way. */
int text_take(struct buf *text, char **ret_text, struct error *err);

#endif
