/* The preflight of drills: could this user start a server here, and is there room for one? */
#include <string.h>
#include <sys/statvfs.h>

#include "base/state.h"
#include "base/units.h"
#include "postgres/programs.h"
#include "postgres/scratch.h"
#include "work/checking.h"

enum { PATH_LIMIT = 4096 };

static const struct policy_job *next_drill(const struct policy *policy,
                                           const struct policy_job *after)
{
    for (size_t i = after ? (size_t)(after - policy->jobs) + 1 : 0; i < policy->job_count; i++)
        if (policy->jobs[i].type == JOB_DRILL)
            return &policy->jobs[i];
    return NULL;
}

static void check_user(struct checking *checking)
{
    struct error error = ERROR_NONE;
    if (pg_scratch_check_user(&error))
        check_note_error(checking, "drill user", NULL, &error);
}

/* A snapshot needs its own major version, a dump that or a newer one. */
static void check_programs(struct checking *checking, bool exact)
{
    _cleanup_(pg_programs_clear) struct pg_programs programs = {0};
    struct error error = ERROR_NONE;
    if (!checking->conn)
        return;
    if (pg_find_server_programs(checking->policy->bindir, PQserverVersion(checking->conn) / 10000,
                                exact, &programs, &error))
        check_note_error(checking, "drill programs", NULL, &error);
    else
        check_note(checking, "drill programs", "pass", NULL, "scratch servers start from \"%s\"",
                   programs.folder);
}

/* The folder need not exist yet: the first parent that does tells. */
static int64_t find_free(const struct policy_job *job, char path[PATH_LIMIT])
{
    _cleanup_(freep) char *state = NULL;
    struct statvfs disk;
    if (!job->scratch && state_folder(&state, NULL))
        return -1;
    snprintf(path, PATH_LIMIT, "%s", job->scratch ? job->scratch : state);
    while (statvfs(path, &disk) != 0) {
        char *slash = strrchr(path, '/');
        if (!slash || slash == path)
            return -1;
        *slash = '\0';
    }
    return (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
}

static void check_space(struct checking *checking, const struct policy_job *job)
{
    char path[PATH_LIMIT], needed[UNITS_TEXT_MAX], there[UNITS_TEXT_MAX];
    int64_t bytes = 0, available = find_free(job, path);
    if (!checking->conn || available < 0 ||
        pg_query_integer(checking->conn, &bytes, NULL,
                         "select sum(pg_catalog.pg_database_size(oid))::bigint"
                         " from pg_catalog.pg_database"))
        return;
    size_format(bytes, needed);
    size_format(available, there);
    if (available < bytes)
        check_note(
            checking, "drill space", "fail", "free space there, or name another disk with scratch:",
            "%s: the cluster has %s, and \"%s\" has %s free", job->name, needed, path, there);
    else
        check_note(checking, "drill space", "pass", NULL,
                   "%s: %s free in \"%s\" for a cluster of %s", job->name, there, path, needed);
}

void check_drill(struct checking *checking)
{
    const struct policy *policy = checking->policy;
    const struct policy_job *job = next_drill(policy, NULL);
    if (job)
        check_user(checking);
    for (; job; job = next_drill(policy, job)) {
        const struct policy_job *of = policy_find_job(policy, job->of);
        check_programs(checking, of && of->type == JOB_SNAPSHOT);
        check_space(checking, job);
    }
}
