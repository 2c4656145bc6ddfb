#include "command/opened.h"

#include "base/log.h"

static const struct policy_problem *first_error(const struct policy_file *file)
{
    for (size_t i = 0; i < file->problems.count; i++)
        if (!file->problems.items[i].is_warning)
            return &file->problems.items[i];
    return NULL;
}

/* One bad policy must not stand in the way of another cluster's restore: it is told, and an error
 * only when the cluster was not found, because the bad file may be its own. */
static int find_beside_bad_files(const struct globals *globals, const char *cluster,
                                 struct opened *opened, struct error *err)
{
    int rc = policy_set_find(opened->set, cluster, &opened->policy, err);
    for (size_t i = 0; i < policy_set_file_count(opened->set); i++) {
        const struct policy_file *file = policy_set_file(opened->set, i);
        const struct policy_problem *problem = first_error(file);
        if (!problem)
            continue;
        if (rc) {
            struct policy_set *ignored = NULL;
            return policy_set_load(&globals->policy_paths, &ignored, err);
        }
        log_line(LOG_WARNING, "%s is left out, it has errors: line %d: %s", file->path,
                 problem->line, problem->message);
    }
    return rc;
}

int opened_cluster(const struct globals *globals, const char *cluster, struct opened *ret_opened,
                   struct error *err)
{
    struct opened opened = {0};
    int rc = policy_set_load_all(&globals->policy_paths, &opened.set, err);
    if (!rc)
        rc = find_beside_bad_files(globals, cluster, &opened, err);
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
