#include "command/opened.h"

#include "base/log.h"
#include "work/open_repository.h"

static const struct policy_problem *first_error(const struct policy_file *file)
{
    for (size_t i = 0; i < file->problems.count; i++)
        if (!file->problems.items[i].is_warning)
            return &file->problems.items[i];
    return NULL;
}

/* One bad policy must not stand in the way of another cluster's restore or run: it is told, and an
 * error only when what was looked for was not found (rc), because the bad file may be its own. */
static int look_at_bad_files(const struct globals *globals, const struct policy_set *set, int rc,
                             struct error *err)
{
    for (size_t i = 0; i < policy_set_file_count(set); i++) {
        const struct policy_file *file = policy_set_file(set, i);
        const struct policy_problem *problem = first_error(file);
        if (!problem)
            continue;
        if (rc) {
            _cleanup_(policy_set_freep) struct policy_set *mended = NULL;
            int strict_rc = policy_set_load(&globals->policy_paths, &mended, err);
            return strict_rc ? strict_rc : rc;
        }
        log_line(LOG_WARNING, "%s is left out, it has errors: line %d: %s", file->path,
                 problem->line, problem->message);
    }
    return rc;
}

int opened_policy(const struct globals *globals, const char *cluster, struct policy_set **ret_set,
                  const struct policy **ret_policy, struct error *err)
{
    _cleanup_(policy_set_freep) struct policy_set *set = NULL;
    int rc = policy_set_load_all(&globals->policy_paths, &set, err);
    if (rc)
        return rc;
    rc = policy_set_find(set, cluster, ret_policy, err);
    rc = look_at_bad_files(globals, set, rc, err);
    if (!rc)
        *ret_set = TAKE(set);
    return rc;
}

int opened_job(const struct globals *globals, const char *cluster_and_job,
               struct policy_set **ret_set, const struct policy **ret_policy,
               const struct policy_job **ret_job, struct error *err)
{
    _cleanup_(policy_set_freep) struct policy_set *set = NULL;
    int rc = policy_set_load_all(&globals->policy_paths, &set, err);
    if (rc)
        return rc;
    rc = policy_set_find_job(set, cluster_and_job, ret_policy, ret_job, err);
    rc = look_at_bad_files(globals, set, rc, err);
    if (!rc)
        *ret_set = TAKE(set);
    return rc;
}

int opened_cluster(const struct globals *globals, const char *cluster, struct opened *ret_opened,
                   struct error *err)
{
    struct opened opened = {0};
    int rc = opened_policy(globals, cluster, &opened.set, &opened.policy, err);
    if (!rc)
        rc = work_open_repository(opened.policy, NULL, &opened.repository, err);
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

struct journal *opened_journal(const char *what)
{
    _cleanup_(freep) char *folder = NULL;
    struct journal *journal = NULL;
    struct error error = ERROR_NONE;
    int rc = journal_folder(JOURNAL_WRITE, &folder, &error);
    if (!rc)
        rc = journal_open(folder, JOURNAL_WRITE, &journal, &error);
    if (rc) {
        log_line(LOG_WARNING, "%s is not recorded: %s", what, error.message);
        return NULL;
    }
    if (journal_notice(journal))
        log_line(LOG_WARNING, "%s", journal_notice(journal));
    return journal;
}
