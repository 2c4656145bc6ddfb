/*
 * What a repository holds of one cluster, as facts: every folder of dumps/ and snapshots/ with its
 * state, and the holds. One manifest is in memory at a time; of each only the summary stays.
 *
 * States (format.md): GOOD with a readable manifest; without one RUNNING while its run holds a
 * lock, GARBAGE when a removal has begun or everything of it is older than
 * CATALOGUE_GARBAGE_AGE_US, else FRESH_REMAINS; UNKNOWN when something of it exists and can't be
 * read. Names in those folders that are no ids are not ours, and left out.
 *
 * Where the store may have object locks, locked_until_us is asked for with one more request each:
 * of the manifest, or of the newest data object of what has none.
 *
 * Verification levels are those of the evidence (proof.h).
 *
 * A listing that fails is an error and there are no facts. What can't be read by itself (a
 * manifest, a hold) is in the facts: state UNKNOWN, or `complete` false for a hold, and the
 * first reason in facts->problem.
 */
#ifndef PGCAIRN_REPOSITORY_CATALOGUE_H
#define PGCAIRN_REPOSITORY_CATALOGUE_H

#include "repository/repository.h"

#define CATALOGUE_GARBAGE_AGE_US (24 * US_PER_HOUR)

/* ret_facts needs no init; the caller clears it. */
int catalogue_read(struct repository *repository, int64_t now_us, struct facts *ret_facts,
                   struct error *err);

/* The backup of that id; or with "latest" the good one that completed last, of this kind, and only
 * without any other one in which a verification found a fault. NULL when there is none. */
const struct facts_backup *catalogue_find(const struct facts *facts, const char *id_or_latest,
                                          enum backup_kind kind);

#endif
