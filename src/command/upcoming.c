#include "command/upcoming.h"

#include <stdio.h>
#include <string.h>

#include "base/zone.h"
#include "cron/cron.h"
#include "daemon/due.h"
#include "journal/pause.h"

static void format_local(const struct zone *zone, int64_t seconds, char text[INSTANT_TEXT_MAX])
{
    char local[INSTANT_TEXT_MAX];
    int32_t offset = zone_offset_at(zone, seconds);
    int32_t minutes = (offset < 0 ? -offset : offset) / 60;
    instant_format((seconds + offset) * US_PER_SECOND, local);
    local[strcspn(local, "Z")] = '\0';
    snprintf(text, INSTANT_TEXT_MAX, "%.25s%c%02d:%02d", local, offset < 0 ? '-' : '+',
             minutes / 60 % 100, minutes % 60);
}

/* When it starts in truth, and why then. */
static void find_start(struct upcoming_run *run, const struct zone *zone)
{
    const struct policy_job *job = run->job;
    char identity[2 * JOURNAL_NAME_MAX], text[DENY_TEXT_MAX], at[INSTANT_TEXT_MAX];
    snprintf(identity, sizeof(identity), "%s/%s", run->policy->cluster, job->name);
    struct due_job due = {
        .schedule = job->schedule, .zone = zone, .jitter_us = job->jitter_us, .identity = identity};
    int64_t free_us = due_start(&due, run->due_us);
    due.deny = &job->deny;
    run->start_us = due_start(&due, run->due_us);
    if (job->after.count > 0) {
        run->start_us = run->due_us;
        snprintf(run->note, sizeof(run->note), "after %s%s", job->after.items[0],
                 job->after.count > 1 ? " and others" : "");
        return;
    }
    if (run->start_us == free_us)
        return;
    const struct deny_window *window = deny_at(&job->deny, zone, free_us / US_PER_SECOND);
    deny_text(window, text);
    if (run->start_us == INSTANT_NONE)
        snprintf(run->note, sizeof(run->note), "not run: denied %s", text);
    else
        snprintf(run->note, sizeof(run->note), "deferred to %s: denied %s",
                 instant_format(run->start_us, at), text);
}

static int add_run(struct upcoming *upcoming, const struct policy *policy,
                   const struct policy_job *job, const struct zone *zone, int64_t due,
                   struct error *err)
{
    if (upcoming->count == UPCOMING_MAX)
        return error_set(err, ERR_LIMIT, "more than %d runs to show", UPCOMING_MAX);
    if ((upcoming->count & (upcoming->count - 1)) == 0) {
        size_t size = upcoming->count ? upcoming->count * 2 : 1;
        struct upcoming_run *runs = reallocarray(upcoming->runs, size, sizeof(*runs));
        if (!runs)
            return error_no_memory(err);
        upcoming->runs = runs;
    }
    struct upcoming_run *run = &upcoming->runs[upcoming->count++];
    *run = (struct upcoming_run){.policy = policy, .job = job, .due_us = due * US_PER_SECOND};
    format_local(zone, due, run->local);
    find_start(run, zone);
    return 0;
}

static int add_job(struct upcoming *upcoming, const struct policy *policy,
                   const struct policy_job *job, int64_t after, int64_t count, struct error *err)
{
    _cleanup_(zone_freep) struct zone *zone = NULL;
    int rc = zone_load(job->timezone, &zone, err);
    for (int64_t i = 0; i < count && !rc; i++) {
        after = cron_next(job->schedule, zone, after);
        if (after == CRON_NEVER)
            break;
        rc = add_run(upcoming, policy, job, zone, after, err);
    }
    return rc;
}

int upcoming_add(struct upcoming *upcoming, const struct policy *policy, int64_t after_us,
                 int64_t count, struct error *err)
{
    int64_t after = after_us / US_PER_SECOND - (after_us % US_PER_SECOND < 0);
    int rc = 0;
    for (size_t i = 0; i < policy->job_count && !rc; i++)
        if (policy->jobs[i].schedule)
            rc = add_job(upcoming, policy, &policy->jobs[i], after, count, err);
    return rc;
}

int upcoming_mind_pauses(struct upcoming *upcoming, struct journal *journal, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < upcoming->count && !rc; i++) {
        struct upcoming_run *run = &upcoming->runs[i];
        struct journal_pause pause;
        bool is_paused = false;
        rc = journal_paused_at(journal, run->policy->cluster, run->job->name, run->due_us,
                               &is_paused, &pause, err);
        if (rc || !is_paused)
            continue;
        char text[JOURNAL_WHO_MAX + JOURNAL_REASON_MAX + 128];
        journal_pause_text(&pause, text, sizeof(text));
        snprintf(run->note, sizeof(run->note), "not run: %.480s", text);
        run->start_us = INSTANT_NONE;
    }
    return rc;
}

/* At one instant, in the order of clusters and then of the file. */
static int compare_runs(const void *a, const void *b)
{
    const struct upcoming_run *x = a, *y = b;
    if (x->due_us != y->due_us)
        return x->due_us < y->due_us ? -1 : 1;
    if (x->policy != y->policy)
        return strcmp(x->policy->cluster, y->policy->cluster);
    return x->job < y->job ? -1 : x->job > y->job;
}

void upcoming_sort(struct upcoming *upcoming)
{
    if (upcoming->count > 1)
        qsort(upcoming->runs, upcoming->count, sizeof(*upcoming->runs), compare_runs);
}

void upcoming_clear(struct upcoming *upcoming)
{
    free(upcoming->runs);
    *upcoming = (struct upcoming){0};
}
