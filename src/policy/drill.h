/*
 * What the jobs of type drill say: which backups are restored, and what must be true of them then.
 * Problems go to reader->problems; only ERR_MEMORY is returned.
 */
#ifndef PGCAIRN_POLICY_DRILL_H
#define PGCAIRN_POLICY_DRILL_H

#include "policy/keys.h"

/* Readers of values; target is the struct policy_job. */
int drill_read_of(struct reader *reader, const struct document_node *value, void *target);
int drill_read_assertions(struct reader *reader, const struct document_node *value, void *target);

/* Once all jobs are read: each drill restores what another job makes. */
int drill_check(struct reader *reader);

#endif
