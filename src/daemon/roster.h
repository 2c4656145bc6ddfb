/*
 * The policies that the daemon works by and their scheduled jobs. A roster is built whole and
 * swapped whole; a policy in it is counted by its users, so that a run keeps its own when the
 * roster is replaced. A file that is bad at a reload keeps the policy it had.
 *
 *     roster_load(paths, old, &roster, err);     old stays valid; NULL at the start
 *     roster_free(old);
 *
 * Says (daemon/say.h) what is wrong with which file.
 */
#ifndef PGCAIRN_DAEMON_ROSTER_H
#define PGCAIRN_DAEMON_ROSTER_H

#include "base/strv.h"
#include "daemon/due.h"
#include "policy/policy.h"

enum { ROSTER_JOBS_MAX = 20000, IDENTITY_MAX = 132 };

struct roster_policy {
    int users;
    char *path;
    char *text; /* as read: handed to the runs */
    size_t length;
    struct policy *policy;
};

struct roster_job {
    struct roster_policy *owner; /* borrowed from the roster */
    const struct policy_job *job;
    struct due_job due;
    char identity[IDENTITY_MAX]; /* "CLUSTER/JOB" */
    char *schedule;              /* text and zone: what accounted_us belongs to */
    int64_t accounted_us;        /* INSTANT_NONE: not known yet, nothing is due */
    int64_t next_start_us;       /* INSTANT_NONE: never, or not known yet */
    bool is_fresh;               /* not looked at yet: what passed, passed in an absence */
};

struct roster {
    struct roster_policy **policies;
    size_t policy_count;
    size_t bad_files;                /* files whose present text is not used */
    char bad_why[ERROR_MESSAGE_MAX]; /* of the first of them: what is wrong, and where */
    struct roster_job *jobs;
    size_t job_count;
    struct zone **zones;
    size_t zone_count;
};

/* accounted_us of jobs that the old roster has with the same schedule is taken over, of others
 * INSTANT_NONE. ERR_POLICY when there is no good policy at all. */
int roster_load(const struct strv *paths, struct roster *old, struct roster **ret_roster,
                struct error *err);
struct roster *roster_free(struct roster *roster);

struct roster_job *roster_find(struct roster *roster, const char *identity);

struct roster_policy *roster_policy_use(struct roster_policy *policy);
struct roster_policy *roster_policy_leave(struct roster_policy *policy); /* takes NULL */

/* Settles a job up to a due instant and finds its next start. */
void roster_job_account(struct roster_job *job, int64_t accounted_us);

DEFINE_FREEP(struct roster *, roster_free)

#endif
