#include <string.h>

#include "daemon/say.h"
#include "daemon/state.h"

/* The job's outcome for a due instant and whether it is the last word: no try is to follow. */
static bool is_settled(struct daemon *daemon, const char *cluster, const char *job, int64_t due_us,
                       struct journal_run *ret_run)
{
    struct error err = ERROR_NONE;
    bool found = false;
    if (journal_outcome(daemon->journal, cluster, job, due_us, &found, ret_run, &err)) {
        say_error(cluster, NULL, "what comes after a run can't be known", &err);
        return false;
    }
    return found && ret_run->outcome != OUTCOME_RUNNING;
}

/* All that the child waits for; `run` is that of the one which has just been settled. */
static void consider(struct daemon *daemon, struct roster_job *child, const struct journal_run *run)
{
    const struct strv *after = &child->job->after;
    char why[ERROR_MESSAGE_MAX];
    struct journal_run settled = *run;
    for (size_t i = 0; i < after->count; i++) {
        if (strcmp(after->items[i], run->job) != 0 &&
            !is_settled(daemon, run->cluster, after->items[i], run->due_us, &settled))
            return;
        if (strcmp(after->items[i], run->job) == 0)
            settled = *run;
        if (!journal_is_done(&settled)) {
            snprintf(
                why, sizeof(why), "after: %s %s%s for this due instant%s%.1500s", after->items[i],
                settled.outcome == OUTCOME_FAILED || settled.outcome == OUTCOME_NOT_MINE ? ""
                                                                                         : "was ",
                journal_outcome_name(settled.outcome), settled.message[0] ? ": " : "",
                settled.message);
            schedule_skip(daemon, child, run->due_us, why);
            return;
        }
    }
    schedule_begin(daemon, child, run->due_us);
}

void after_settled(struct daemon *daemon, const struct journal_run *run)
{
    char prefix[JOURNAL_NAME_MAX + 1];
    if (daemon->is_stopping || run->due_us == INSTANT_NONE)
        return; /* the next start looks back; a run by hand is followed by nothing */
    snprintf(prefix, sizeof(prefix), "%s/", run->cluster);
    for (size_t i = 0; i < daemon->roster->job_count; i++) {
        struct roster_job *child = &daemon->roster->jobs[i];
        if (child->job->after.count > 0 && strncmp(child->identity, prefix, strlen(prefix)) == 0 &&
            strv_has(&child->job->after, run->job))
            consider(daemon, child, run);
    }
}

/* -- at the start ------------------------------------------------------------------------------ */

struct looking_back {
    const struct roster_job *child;
    int64_t due_us[DUE_STARTS_MAX]; /* the newest ones */
    size_t count;
};

static int note_due(const struct journal_run *run, void *context, struct error *err)
{
    struct looking_back *back = context;
    (void)err;
    for (size_t i = 0; i < back->count; i++)
        if (back->due_us[i] == run->due_us)
            return 0;
    if (back->count == DUE_STARTS_MAX) {
        memmove(back->due_us, back->due_us + 1, (DUE_STARTS_MAX - 1) * sizeof(back->due_us[0]));
        back->count--;
    }
    back->due_us[back->count++] = run->due_us;
    return 0;
}

static bool is_too_late(const struct roster_job *child, const struct journal_run *run,
                        bool is_newest, int64_t now_us)
{
    int64_t late_us = run->ended_us == INSTANT_NONE ? 0 : now_us - run->ended_us;
    if (child->job->deadline_us > 0 && late_us > child->job->deadline_us)
        return true;
    if (child->job->on_missed == MISSED_SKIP)
        return late_us > DUE_LATE_US;
    return child->job->on_missed == MISSED_ONCE && !is_newest;
}

static void look_back(struct daemon *daemon, struct roster_job *child, int64_t now_us)
{
    struct looking_back back = {.child = child};
    struct error err = ERROR_NONE;
    const char *cluster = child->owner->policy->cluster;
    if (journal_each_due(daemon->journal, cluster, child->job->after.items[0], child->accounted_us,
                         note_due, &back, &err)) {
        say_error(child->identity, NULL, "what it comes after can't be known", &err);
        return;
    }
    for (size_t i = 0; i < back.count; i++) {
        struct journal_run run;
        if (!is_settled(daemon, cluster, child->job->after.items[0], back.due_us[i], &run))
            continue;
        if (journal_is_done(&run) && is_too_late(child, &run, i + 1 == back.count, now_us))
            schedule_skip(daemon, child, run.due_us,
                          "missed: what it comes after ended while no daemon was awake");
        else
            consider(daemon, child, &run);
    }
}

/* Those that were not begun again. */
static void tell_interrupted(struct daemon *daemon)
{
    for (size_t i = 0; i < daemon->interrupted_count; i++) {
        const struct journal_run *found = &daemon->interrupted[i];
        struct journal_run run;
        if (found->due_us != INSTANT_NONE &&
            is_settled(daemon, found->cluster, found->job, found->due_us, &run)) {
            tell_settled(daemon, &run);
            after_settled(daemon, &run);
        }
    }
    free(daemon->interrupted);
    daemon->interrupted = NULL;
    daemon->interrupted_count = 0;
}

void after_look_back(struct daemon *daemon, int64_t now_us)
{
    tell_interrupted(daemon);
    for (size_t i = 0; i < daemon->roster->job_count; i++) {
        struct roster_job *job = &daemon->roster->jobs[i];
        if (job->job->after.count > 0 && job->accounted_us != INSTANT_NONE)
            look_back(daemon, job, now_us);
    }
}
