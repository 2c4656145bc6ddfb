#include "daemon/roster.h"

#include <string.h>

#include "base/file.h"
#include "daemon/say.h"
#include "work/policy_load.h"

struct roster_policy *roster_policy_use(struct roster_policy *policy)
{
    policy->users++;
    return policy;
}

struct roster_policy *roster_policy_leave(struct roster_policy *policy)
{
    if (policy && --policy->users == 0) {
        policy_free(policy->policy);
        free(policy->path);
        free(policy->text);
        free(policy);
    }
    return NULL;
}

struct roster *roster_free(struct roster *roster)
{
    if (!roster)
        return NULL;
    for (size_t i = 0; i < roster->job_count; i++)
        free(roster->jobs[i].schedule);
    for (size_t i = 0; i < roster->policy_count; i++)
        roster_policy_leave(roster->policies[i]);
    for (size_t i = 0; i < roster->zone_count; i++)
        zone_free(roster->zones[i]);
    free(roster->jobs);
    free(roster->policies);
    free(roster->zones);
    free(roster);
    return NULL;
}

static void roster_policy_leavep(struct roster_policy **policy)
{
    roster_policy_leave(*policy);
}

static const char *get_environment(const char *name, void *context)
{
    (void)context;
    return getenv(name);
}

/* Read again and parsed by ourselves, so that the text handed to runs and the policy the schedule
 * is made of are the same for certain. */
static int read_policy(const char *path, struct roster_policy **ret_policy, struct error *err)
{
    _cleanup_(roster_policy_leavep) struct roster_policy *read = calloc(1, sizeof(*read));
    _cleanup_(buf_clear) struct buf text = BUF_INIT(POLICY_BYTES_MAX);
    struct policy_problems problems = {0};
    if (!read)
        return error_no_memory(err);
    read->users = 1;
    int rc = file_read(path, &text, err);
    if (!rc)
        rc = policy_parse(path, buf_text(&text), text.length, get_environment, NULL, &read->policy,
                          &problems, err);
    policy_problems_clear(&problems);
    if (rc)
        return rc;
    read->path = strdup(path);
    read->length = text.length;
    read->text = buf_steal(&text);
    if (!read->path || !read->text)
        return error_no_memory(err);
    *ret_policy = TAKE(read);
    return 0;
}

static void say_problems(const struct policy_file *file)
{
    for (size_t i = 0; i < file->problems.count; i++) {
        const struct policy_problem *problem = &file->problems.items[i];
        say(problem->is_warning ? LOG_WARNING : LOG_ERROR, NULL, NULL, "%s:%d:%d: %s", file->path,
            problem->line, problem->column, problem->message);
    }
}

static struct roster_policy *find_old(const struct roster *old, const char *path)
{
    for (size_t i = 0; old && i < old->policy_count; i++)
        if (strcmp(old->policies[i]->path, path) == 0)
            return old->policies[i];
    return NULL;
}

static bool has_cluster(const struct roster *roster, const char *cluster)
{
    for (size_t i = 0; i < roster->policy_count; i++)
        if (strcmp(roster->policies[i]->policy->cluster, cluster) == 0)
            return true;
    return false;
}

static void note_bad(struct roster *roster, const struct policy_file *file, const struct error *err)
{
    const struct policy_problem *first = NULL;
    for (size_t i = 0; i < file->problems.count && !first; i++)
        if (!file->problems.items[i].is_warning)
            first = &file->problems.items[i];
    if (roster->bad_files++ > 0) /* the first stands for all */
        return;
    if (first)
        snprintf(roster->bad_why, sizeof(roster->bad_why), "%.500s:%d:%d: %.1000s", file->path,
                 first->line, first->column, first->message);
    else
        snprintf(roster->bad_why, sizeof(roster->bad_why), "%.500s: %.1000s", file->path,
                 err->message);
}

/* The policy of one file, or the one it had, or none. */
static struct roster_policy *choose_policy(const struct policy_file *file, const struct roster *old,
                                           struct roster *roster)
{
    struct roster_policy *policy = NULL, *kept = find_old(old, file->path);
    struct error err = ERROR_NONE;
    say_problems(file);
    if (file->policy) {
        if (!read_policy(file->path, &policy, &err))
            return policy;
        say_error(NULL, NULL, file->path, &err);
    }
    note_bad(roster, file, &err);
    if (!kept) {
        say(LOG_ERROR, NULL, NULL, "%s: not used, none of its jobs will run", file->path);
        return NULL;
    }
    say(LOG_WARNING, NULL, NULL, "%s: the policy loaded before stays in force", file->path);
    return roster_policy_use(kept);
}

static int choose_policies(const struct policy_set *set, const struct roster *old,
                           struct roster *roster, struct error *err)
{
    roster->policies = calloc(policy_set_file_count(set) + 1, sizeof(*roster->policies));
    if (!roster->policies)
        return error_no_memory(err);
    for (size_t i = 0; i < policy_set_file_count(set); i++) {
        struct roster_policy *policy = choose_policy(policy_set_file(set, i), old, roster);
        if (policy && has_cluster(roster, policy->policy->cluster)) {
            say(LOG_ERROR, NULL, NULL, "%s: not used, cluster \"%s\" is another file's",
                policy->path, policy->policy->cluster);
            policy = roster_policy_leave(policy);
        }
        if (policy)
            roster->policies[roster->policy_count++] = policy;
    }
    return roster->policy_count > 0 ? 0 : error_set(err, ERR_POLICY, "there is no good policy");
}

/* Zones are shared by the jobs that name them. */
static int find_zone(struct roster *roster, const char *name, const struct zone **ret_zone,
                     struct error *err)
{
    for (size_t i = 0; i < roster->zone_count; i++) {
        if (strcmp(zone_name(roster->zones[i]), name) == 0) {
            *ret_zone = roster->zones[i];
            return 0;
        }
    }
    int rc = zone_load(name, &roster->zones[roster->zone_count], err);
    if (!rc)
        *ret_zone = roster->zones[roster->zone_count++];
    return rc;
}

static int add_job(struct roster *roster, struct roster_policy *owner, const struct policy_job *job,
                   struct error *err)
{
    struct roster_job *added = &roster->jobs[roster->job_count];
    *added = (struct roster_job){.owner = owner,
                                 .job = job,
                                 .accounted_us = INSTANT_NONE,
                                 .next_start_us = INSTANT_NONE,
                                 .is_fresh = true};
    snprintf(added->identity, sizeof(added->identity), "%s/%s", owner->policy->cluster, job->name);
    added->due = (struct due_job){.schedule = job->schedule,
                                  .on_missed = job->on_missed,
                                  .jitter_us = job->jitter_us,
                                  .deadline_us = job->deadline_us,
                                  .deny = &job->deny,
                                  .identity = added->identity};
    int rc = find_zone(roster, job->timezone, &added->due.zone, err);
    if (rc)
        return error_prefix(err, "%s", added->identity);
    if (asprintf(&added->schedule, "%s%s %s", job->after.count ? "after " : "", job->schedule_text,
                 job->timezone) < 0)
        return error_no_memory(err);
    roster->job_count++;
    return 0;
}

static int add_jobs(struct roster *roster, struct error *err)
{
    size_t most = 0;
    for (size_t i = 0; i < roster->policy_count; i++)
        most += roster->policies[i]->policy->job_count;
    if (most > ROSTER_JOBS_MAX)
        return error_set(err, ERR_LIMIT, "%zu jobs are more than the %d of one daemon", most,
                         ROSTER_JOBS_MAX);
    roster->jobs = calloc(most + 1, sizeof(*roster->jobs));
    roster->zones = calloc(most + 1, sizeof(struct zone *));
    if (!roster->jobs || !roster->zones)
        return error_no_memory(err);
    int rc = 0;
    for (size_t i = 0; i < roster->policy_count && !rc; i++) {
        struct roster_policy *owner = roster->policies[i];
        for (size_t k = 0; k < owner->policy->job_count && !rc; k++) {
            const struct policy_job *job = &owner->policy->jobs[k];
            if (job->schedule && job_type_available(job->type))
                rc = add_job(roster, owner, job, err);
        }
    }
    return rc;
}

static void take_over(struct roster *roster, struct roster *old)
{
    for (size_t i = 0; i < roster->job_count; i++) {
        struct roster_job *before = roster_find(old, roster->jobs[i].identity);
        if (before && before->accounted_us != INSTANT_NONE &&
            strcmp(before->schedule, roster->jobs[i].schedule) == 0) {
            roster->jobs[i].is_fresh = before->is_fresh;
            roster_job_account(&roster->jobs[i], before->accounted_us);
        }
    }
}

int roster_load(const struct strv *paths, struct roster *old, struct roster **ret_roster,
                struct error *err)
{
    _cleanup_(policy_set_freep) struct policy_set *set = NULL;
    _cleanup_(roster_freep) struct roster *roster = calloc(1, sizeof(*roster));
    if (!roster)
        return error_no_memory(err);
    int rc = policy_set_load_all(paths, &set, err);
    if (!rc)
        rc = choose_policies(set, old, roster, err);
    if (!rc)
        rc = add_jobs(roster, err);
    if (rc)
        return rc;
    if (old)
        take_over(roster, old);
    *ret_roster = TAKE(roster);
    return 0;
}

struct roster_job *roster_find(struct roster *roster, const char *identity)
{
    for (size_t i = 0; i < roster->job_count; i++)
        if (strcmp(roster->jobs[i].identity, identity) == 0)
            return &roster->jobs[i];
    return NULL;
}

void roster_job_account(struct roster_job *job, int64_t accounted_us)
{
    job->accounted_us = accounted_us;
    /* What comes after others is started by their ends. */
    job->next_start_us =
        job->job->after.count > 0 ? INSTANT_NONE : due_next_start(&job->due, accounted_us);
}
