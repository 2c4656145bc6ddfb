/*
 * What most commands begin with: the policies, the one of the named cluster, its repository.
 *
 *     _cleanup_(opened_clear) struct opened opened = {0};
 *     rc = opened_cluster(globals, cluster, &opened, err);
 */
#ifndef PGCAIRN_COMMAND_OPENED_H
#define PGCAIRN_COMMAND_OPENED_H

#include "command/command.h"
#include "journal/journal.h"
#include "repository/repository.h"
#include "work/policy_load.h"
#include "work/zones.h"

struct opened {
    struct policy_set *set;
    const struct policy *policy; /* borrowed from the set */
    struct repository *repository;
};

/* The policies and the one of the cluster, or of "CLUSTER/JOB" with its job. Other clusters' files
 * may have errors: those are told as warnings. */
int opened_policy(const struct globals *globals, const char *cluster, struct policy_set **ret_set,
                  const struct policy **ret_policy, struct error *err);
int opened_job(const struct globals *globals, const char *cluster_and_job,
               struct policy_set **ret_set, const struct policy **ret_policy,
               const struct policy_job **ret_job, struct error *err);

int opened_cluster(const struct globals *globals, const char *cluster, struct opened *ret_opened,
                   struct error *err);
void opened_clear(struct opened *opened);

/* The journal to write to. A run without one is a run still: that `what` is not recorded is a
 * warning, and the answer NULL. */
struct journal *opened_journal(const char *what);

#endif
