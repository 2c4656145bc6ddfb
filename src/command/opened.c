#include "command/opened.h"

int opened_cluster(const struct globals *globals, const char *cluster, struct opened *ret_opened,
                   struct error *err)
{
    struct opened opened = {0};
    int rc = policy_set_load(&globals->policy_paths, &opened.set, err);
    if (!rc)
        rc = policy_set_find(opened.set, cluster, &opened.policy, err);
    if (!rc)
        rc = repository_open(opened.policy->repository_url, opened.policy->cluster,
                             &opened.repository, err);
    if (rc)
        opened_clear(&opened);
    else
        *ret_opened = opened;
    return rc;
}

void opened_clear(struct opened *opened)
{
    repository_free(opened->repository);
    policy_set_free(opened->set);
    *opened = (struct opened){0};
}
