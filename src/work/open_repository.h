/*
 * The repository of a policy, opened as the policy says: the one place where the section
 * repository.s3 becomes options of a store.
 *
 *     rc = work_open_repository(policy, job, &repository, err);
 *     ...
 *     repository_free(repository);
 *
 * job is the one that will write backups, whose keep: rules say for how long they are locked where
 * the policy has object_lock:; NULL for everything else, which locks nothing. Errors: those of
 * repository_open() and zones_load().
 */
#ifndef PGCAIRN_WORK_OPEN_REPOSITORY_H
#define PGCAIRN_WORK_OPEN_REPOSITORY_H

#include "policy/policy.h"
#include "repository/repository.h"

int work_open_repository(const struct policy *policy, const struct policy_job *job,
                         struct repository **ret_repository, struct error *err);

#endif
