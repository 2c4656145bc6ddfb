/*
 * What most commands begin with: the policies, the one of the named cluster, its repository.
 *
 *     _cleanup_(opened_clear) struct opened opened = {0};
 *     rc = opened_cluster(globals, cluster, &opened, err);
 */
#ifndef PGCAIRN_COMMAND_OPENED_H
#define PGCAIRN_COMMAND_OPENED_H

#include "command/command.h"
#include "repository/repository.h"
#include "work/policy_load.h"
#include "work/zones.h"

struct opened {
    struct policy_set *set;
    const struct policy *policy; /* borrowed from the set */
    struct repository *repository;
};

int opened_cluster(const struct globals *globals, const char *cluster, struct opened *ret_opened,
                   struct error *err);
void opened_clear(struct opened *opened);

#endif
