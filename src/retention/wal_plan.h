/*
 * From what is needed of the WAL to decisions, private to retention: every stored range is kept or
 * goes, with its reason; the words of warnings and of the guard.
 */
#ifndef PGCAIRN_RETENTION_WAL_PLAN_H
#define PGCAIRN_RETENTION_WAL_PLAN_H

#include "base/buf.h"
#include "retention/window.h"

/* Fills plan->wal, and adds to what the plan deletes and frees. */
int wal_decide(const struct facts *facts, const struct wal_window *window,
               struct retention_plan *plan, struct error *err);

/* Adds why a person must agree to what the plan deletes of the WAL, if so. What lies between the
 * starts of two snapshots counts as one item. */
void wal_guard(const struct facts *facts, const struct items *items, int64_t now_us,
               const struct retention_plan *plan, struct buf *text);

int wal_warn(const struct wal_window *window, const struct policy *policy,
             struct retention_plan *plan, struct error *err);

#endif
