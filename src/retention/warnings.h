/*
 * What an operator should know beside the decisions, private to retention: backups that no rule
 * reaches, databases in which age stands still, holds that expired or hold nothing.
 */
#ifndef PGCAIRN_RETENTION_WARNINGS_H
#define PGCAIRN_RETENTION_WARNINGS_H

#include "retention/items.h"

/* Adds to plan->warnings; the decisions must be there. */
int warnings_add(const struct facts *facts, const struct items *items, const struct policy *policy,
                 int64_t now_us, struct retention_plan *plan, struct error *err);

#endif
