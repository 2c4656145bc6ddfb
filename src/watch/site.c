#include "watch/site.h"

#include <string.h>

#include "base/units.h"
#include "watch/collect.h"
#include "watch/page.h"

enum { STATUS_OK = 200, STATUS_UNAVAILABLE = 503, LINE_MAX_BYTES = 4096 };

/* -- is it well ------------------------------------------------------------------------------ */

static int answer_health(void *context, struct http_reply *reply, struct error *err)
{
    char late[UNITS_TEXT_MAX];
    int64_t late_us = board_late_us(context);
    (void)err;
    if (late_us == 0) {
        buf_add_text(&reply->body, "ok\n");
        return 0;
    }
    reply->status = STATUS_UNAVAILABLE;
    buf_addf(&reply->body, "the daemon hangs: nothing since %s\n", duration_format(late_us, late));
    return 0;
}

static const char *find_unready(struct board *board, const struct board_view *view)
{
    _cleanup_(journal_freep) struct journal *journal = NULL;
    struct journal_daemon daemon;
    if (board_late_us(board) > 0)
        return "the daemon hangs";
    if (view->numbers.is_stopping)
        return "the daemon is being stopped";
    if (view->count == 0)
        return "no policy is in force";
    if (view->numbers.journal_fails)
        return "the journal can't be written";
    if (journal_open(view->journal_folder, JOURNAL_READ, &journal, NULL) ||
        journal_daemon(journal, &daemon, NULL))
        return "the journal can't be read";
    return NULL;
}

static int answer_ready(void *context, struct http_reply *reply, struct error *err)
{
    const struct board_view *view = NULL;
    int rc = board_view(context, &view, err);
    const char *why = rc ? "the policies can't be read" : find_unready(context, view);
    reply->status = why ? STATUS_UNAVAILABLE : STATUS_OK;
    buf_addf(&reply->body, "%s\n", why ? why : "ready");
    return 0;
}

/* -- metrics --------------------------------------------------------------------------------- */

static void add_numbers(const struct board_numbers *numbers, struct samples *samples)
{
    samples_add(samples, METRIC_DAEMON_RUNNING, (double)numbers->running);
    samples_add(samples, METRIC_DAEMON_WAITING, (double)numbers->waiting);
    samples_add(samples, METRIC_POLICIES, (double)numbers->policies);
    samples_add(samples, METRIC_POLICY_FILES_BAD, (double)numbers->bad_files);
    samples_add(samples, METRIC_RELOAD_FAILURES, (double)numbers->reload_failures);
}

/* A gathering that came to nothing leaves what was known, with its age. */
static void add_failed_ups(const char *cluster, enum gathering_part part, struct samples *samples)
{
    static const char *const SOURCES[] = {"repository", "server", "wal"};
    if (part == GATHERING_AUDIT)
        samples_add(samples, METRIC_FACTS_UP, 0, cluster, "audit");
    for (size_t i = 0; i < ARRAY_SIZE(SOURCES) && part == GATHERING_FACTS; i++)
        samples_add(samples, METRIC_FACTS_UP, 0, cluster, SOURCES[i]);
}

static void add_samples(const struct samples *from, bool leaves_ups, struct samples *into)
{
    for (size_t i = 0; i < from->count; i++)
        if (!leaves_ups || from->items[i].id != METRIC_FACTS_UP)
            samples_copy(into, &from->items[i]);
}

static void add_times(const char *cluster, const char *source, int64_t at_us, int64_t now_us,
                      struct samples *samples)
{
    if (at_us == INSTANT_NONE)
        return;
    samples_add_us(samples, METRIC_FACTS_TIMESTAMP, at_us, cluster, source);
    samples_add_us(samples, METRIC_FACTS_AGE, now_us > at_us ? now_us - at_us : 0, cluster, source);
}

static void add_part(const struct board_cluster *cluster, enum gathering_part part, int64_t now_us,
                     struct samples *samples)
{
    const struct board_part *known = &cluster->parts[part];
    const char *name = cluster->policy->cluster, *part_name = gathering_part_name(part);
    bool has_failed = known->failure[0] != '\0';
    samples_add(samples, METRIC_FACTS_FAILURES, (double)known->failures, name, part_name);
    if (has_failed)
        add_failed_ups(name, part, samples);
    if (!known->has_gathering)
        return;
    if (part == GATHERING_AUDIT) {
        add_times(name, "audit", known->gathering.at_us, now_us, samples);
    } else {
        add_times(name, "repository", known->repository_us, now_us, samples);
        add_times(name, "server", known->server_us, now_us, samples);
    }
    add_samples(&known->gathering.samples, has_failed, samples);
}

/* A journal that can't be read takes its own metrics with it, and no others. */
static void add_journal(const struct board_view *view, int64_t now_us, struct samples *samples)
{
    _cleanup_(journal_freep) struct journal *journal = NULL;
    struct samples own = SAMPLES_INIT;
    int rc = journal_open(view->journal_folder, JOURNAL_READ, &journal, NULL);
    if (!rc)
        rc = collect_daemon(journal, &own, NULL);
    if (!rc)
        rc = collect_jobs(journal, view->policies, view->count, now_us, &own, NULL);
    samples_add(samples, METRIC_JOURNAL_UP, !rc && !view->numbers.journal_fails);
    if (rc)
        samples_clear(&own);
    else
        samples_take(samples, &own);
}

int site_samples(const struct board_view *view, int64_t now_us, struct samples *samples,
                 struct error *err)
{
    add_numbers(&view->numbers, samples);
    add_journal(view, now_us, samples);
    for (size_t i = 0; i < view->count; i++)
        for (int part = 0; part < GATHERING_PARTS; part++)
            add_part(&view->clusters[i], (enum gathering_part)part, now_us, samples);
    return samples_failed(samples, err);
}

static int answer_metrics(void *context, struct http_reply *reply, struct error *err)
{
    const struct board_view *view = NULL;
    _cleanup_(samples_clear) struct samples samples = SAMPLES_INIT;
    int rc = board_view(context, &view, err);
    if (!rc)
        rc = site_samples(view, instant_now_us(), &samples, err);
    reply->type = "text/plain; version=0.0.4; charset=utf-8";
    return rc ? rc : metrics_write(&samples, &reply->body, err);
}

/* -- the status page ------------------------------------------------------------------------- */

static int answer_page(void *context, struct http_reply *reply, struct error *err)
{
    const struct board_view *view = NULL;
    int rc = board_view(context, &view, err);
    if (rc)
        return rc;
    reply->type = "text/html; charset=utf-8";
    reply->style = page_style();
    return page_write(view, instant_now_us(), &reply->body, err);
}

const struct http_page site_pages[] = {
    {.path = "/healthz", .is_open = true, .bytes_max = LINE_MAX_BYTES, .answer = answer_health},
    {.path = "/readyz", .is_open = true, .bytes_max = LINE_MAX_BYTES, .answer = answer_ready},
    {.path = "/metrics",
     .fresh_us = SITE_FRESH_US,
     .bytes_max = METRICS_BYTES_MAX,
     .answer = answer_metrics},
    {.path = "/", .fresh_us = SITE_FRESH_US, .bytes_max = PAGE_BYTES_MAX, .answer = answer_page},
    {0},
};
