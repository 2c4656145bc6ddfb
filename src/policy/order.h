/*
 * What a job waits for: other jobs (after), groups with a limit, times at which it may not begin.
 *
 * A job with `after` has no schedule of its own: its due instants are those of the one scheduled
 * job at the root of what it comes after, whose expression and zone it gets as a copy.
 * order_check() does that when all jobs are read.
 */
#ifndef PGCAIRN_POLICY_ORDER_H
#define PGCAIRN_POLICY_ORDER_H

#include "policy/keys.h"

extern const struct section section_deny;

int order_read_after(struct reader *reader, const struct document_node *value, void *job);
int order_read_group(struct reader *reader, const struct document_node *value, void *job);
int order_read_deny(struct reader *reader, const struct document_node *value, void *job);
int order_read_groups(struct reader *reader, const struct document_node *value, void *policy);
int order_check(struct reader *reader);

#endif
