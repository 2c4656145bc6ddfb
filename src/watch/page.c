#include "watch/page.h"

#include <pthread.h>
#include <string.h>

#include "base/json.h"
#include "base/units.h"
#include "report/report.h"
#include "report/timeline.h"
#include "watch/job_state.h"
#include "watch/untold.h"
#include "work/zones.h"

static const char STYLE[] =
    ":root{color-scheme:light dark;--ground:#fff;--card:#f6f8fa;--line:#d9dfe7;--text:#5b6675;"
    "--ink:#1c2430;--ok:#1a7f37;--bad:#b3261e;--warn:#8a5a00;--busy:#1f5fc4;--window:#2f6fdb;"
    "--gone:#9aa5b1}"
    "@media(prefers-color-scheme:dark){:root{--ground:#12161c;--card:#1b2129;--line:#323b47;"
    "--text:#a3afbd;--ink:#e8edf3;--ok:#4cc26a;--bad:#ff7b72;--warn:#e3b341;--busy:#79b0ff;"
    "--window:#5b93f5;--gone:#6b7683}}"
    "*{box-sizing:border-box}body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);"
    "background:var(--ground);margin:0 auto;max-width:1100px;padding:1.2em 1em 3em}"
    "h1{font-size:1.4em;margin:0}h2{font-size:1.2em;margin:2em 0 .6em;padding-top:.8em;"
    "border-top:1px solid var(--line)}h3{font-size:1em;margin:1.4em 0 .4em}"
    "a{color:var(--busy)}.m{color:var(--text);font-size:.87em}"
    ".head{display:flex;flex-wrap:wrap;gap:.3em .8em;align-items:baseline}"
    ".b{font-weight:600;white-space:nowrap}.ok{color:var(--ok)}.bad{color:var(--bad)}"
    ".warn{color:var(--warn)}.busy{color:var(--busy)}.none{color:var(--text)}"
    ".alarms{list-style:none;margin:1em 0;padding:0}.alarms li{border-left:4px solid var(--bad);"
    "background:var(--card);padding:.5em .8em;margin:.4em 0;overflow-wrap:anywhere}"
    ".alarms li.warn{border-color:var(--warn);color:var(--ink)}"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:.6em}"
    ".tile{background:var(--card);border-radius:6px;padding:.6em .8em}"
    ".tile b{display:block;font-size:1.15em}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;"
    "padding:.4em .6em;border-bottom:1px solid var(--line)}th{font-size:.82em;font-weight:600;"
    "color:var(--text)}td.n,th.n{text-align:right;white-space:nowrap}"
    "td{overflow-wrap:anywhere}progress{width:100%;max-width:220px;height:.7em;"
    "accent-color:var(--busy)}details{margin:.6em 0}summary{cursor:pointer}"
    "td.c{white-space:nowrap}.counts span{margin-right:.8em}nav{margin:.4em 0}nav a{margin-right:.8em}"
    "@media(max-width:700px){body{padding:.8em .8em 3em}.tiles{grid-template-columns:1fr 1fr}"
    "thead{display:none}table,tbody{display:block}"
    "tr{display:grid;grid-template-columns:1fr 1fr;gap:.1em 1em;background:var(--card);"
    "border-radius:6px;margin:.5em 0;padding:.5em .8em}td,td.n{border:0;padding:.1em 0;"
    "text-align:left;white-space:normal}td:empty{display:none}td::before{content:attr(data-l);"
    "color:var(--text);font-size:.8em;font-weight:400;margin-right:.5em}"
    "td.w{grid-column:1/-1}td.k::before,td.w::before{content:none}}";

struct page {
    const struct board_view *view;
    struct buf *out;
    int64_t now_us;
    struct journal *journal; /* NULL: it can't be read */
    char journal_problem[ERROR_MESSAGE_MAX];
    struct job_runs running;
    size_t alarms;
};

static char whole_style[sizeof(STYLE) + 2048];

static void make_style(void)
{
    snprintf(whole_style, sizeof(whole_style), "%s%s", STYLE, report_timeline_style);
}

const char *page_style(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_style);
    return whole_style;
}

/* -- pieces ---------------------------------------------------------------------------------- */

static void add(struct page *page, const char *markup)
{
    buf_add_text(page->out, markup);
}

static void add_escaped(struct page *page, const char *text)
{
    report_escape(page->out, text);
}

/* "3h 20m ago" or "in 5m", the moment itself for those who point at it. */
static void add_moment(struct page *page, int64_t at_us)
{
    char at[INSTANT_TEXT_MAX], span[UNITS_TEXT_MAX];
    if (at_us == INSTANT_NONE) {
        add(page, "<span class=none>never</span>");
        return;
    }
    bool is_past = at_us <= page->now_us;
    int64_t us = is_past ? page->now_us - at_us : at_us - page->now_us;
    us -= us % US_PER_SECOND;
    instant_format(at_us, at);
    duration_format(us, span);
    buf_addf(page->out, "<time datetime=\"%s\" title=\"%s\">%s%s%s</time>", at, at,
             is_past ? "" : "in ", span, is_past ? " ago" : "");
}

static void add_span(struct page *page, int64_t us)
{
    char text[UNITS_TEXT_MAX];
    if (us >= US_PER_SECOND)
        us -= us % US_PER_SECOND;
    add(page, us == INSTANT_NONE ? "-" : duration_format(us, text));
}

static void add_bytes(struct page *page, int64_t bytes)
{
    char text[UNITS_TEXT_MAX];
    add(page, bytes > 0 ? size_format(bytes, text) : "-");
}

static const char *class_of_outcome(enum journal_outcome outcome)
{
    return outcome == OUTCOME_DONE                                       ? "ok"
           : outcome == OUTCOME_RUNNING                                  ? "busy"
           : outcome == OUTCOME_FAILED || outcome == OUTCOME_INTERRUPTED ? "bad"
           : outcome == OUTCOME_SKIPPED                                  ? "warn"
                                                                         : "none";
}

/* A sample of what was gathered, by a part of its labels ("" for any). */
static bool find_sample(const struct board_cluster *cluster, enum gathering_part part,
                        enum metric_id id, const char *labels, double *ret_value)
{
    const struct board_part *known = &cluster->parts[part];
    for (size_t i = 0; known->has_gathering && i < known->gathering.samples.count; i++) {
        const struct sample *sample = &known->gathering.samples.items[i];
        if (sample->id == id && strstr(sample->labels, labels)) {
            *ret_value = sample->value;
            return true;
        }
    }
    return false;
}

/* -- alarms ---------------------------------------------------------------------------------- */

static void begin_alarm(struct page *page, const char *class)
{
    buf_addf(page->out, "<li%s%s%s>", *class ? " class=\"" : "", class, *class ? "\"" : "");
    page->alarms++;
}

static int add_alarm(const struct job_alarm *alarm, void *context, struct error *err)
{
    struct page *page = context;
    (void)err;
    bool is_milder = strcmp(alarm->what, "missed") == 0 || strcmp(alarm->what, "paused") == 0;
    begin_alarm(page, is_milder ? "warn" : "");
    if (alarm->cluster) {
        add(page, "<b>");
        add_escaped(page, alarm->cluster);
        if (alarm->job) {
            add(page, "/");
            add_escaped(page, alarm->job);
        }
        add(page, "</b> ");
    }
    add_escaped(page, alarm->text);
    add(page, "</li>\n");
    return 0;
}

static void add_problem(struct page *page, const char *class, const char *cluster, const char *what,
                        const char *text)
{
    begin_alarm(page, class);
    add(page, "<b>");
    add_escaped(page, cluster);
    buf_addf(page->out, "</b> %s: ", what);
    add_escaped(page, text);
    add(page, "</li>\n");
}

/* What could not be gathered, and what keeps WAL from coming. */
static void add_cluster_alarms(struct page *page, const struct board_cluster *cluster)
{
    const char *name = cluster->policy->cluster, *key;
    const struct board_part *facts = &cluster->parts[GATHERING_FACTS];
    json_t *problem;
    for (int part = 0; part < GATHERING_PARTS; part++)
        if (cluster->parts[part].failure[0])
            add_problem(page, "warn", name, "could not be looked at", cluster->parts[part].failure);
    json_t *problems =
        facts->has_gathering ? json_object_get(facts->gathering.document, "problems") : NULL;
    json_object_foreach(problems, key, problem)
    {
        if (json_is_string(problem))
            add_problem(page, "warn", name, key, json_string_value(problem));
    }
}

static void add_audit_alarm(struct page *page, const struct board_cluster *cluster)
{
    double fails = 0;
    char text[64];
    find_sample(cluster, GATHERING_AUDIT, METRIC_AUDIT_CONTROLS, "status=\"FAIL\"", &fails);
    snprintf(text, sizeof(text), "%.0f control%s failed", fails, fails > 1 ? "s" : "");
    if (fails > 0)
        add_problem(page, "", cluster->policy->cluster, "audit", text);
}

static int add_job_alarms(struct page *page, const struct policy *policy, struct error *err)
{
    _cleanup_(zones_clear) struct zones zones = {0};
    int rc = zones_load(policy, &zones, err);
    for (size_t i = 0; i < policy->job_count && !rc; i++) {
        struct job_state state;
        rc = job_state_read(page->journal, &page->running, policy, &policy->jobs[i],
                            zones_of_job(&zones, policy, &policy->jobs[i]), page->now_us, &state,
                            err);
        if (!rc)
            rc = job_state_alarms(&state, add_alarm, page, err);
    }
    return rc;
}

static int add_alarms(struct page *page, struct error *err)
{
    int rc = 0;
    add(page, "<ul class=alarms>\n");
    if (!page->journal)
        add_problem(page, "", "journal", "can't be read", page->journal_problem);
    if (page->view->numbers.journal_fails)
        add_problem(page, "", "journal", "can't be written", "see the daemon's log");
    if (page->view->numbers.bad_files > 0)
        add_problem(page, "warn", "policies", "a file has errors",
                    "what was loaded before stays in force; pgcairn policy check shows them");
    for (size_t i = 0; i < page->view->count && !rc; i++) {
        rc = add_job_alarms(page, page->view->policies[i], err);
        if (!rc)
            rc = untold_alarm(page->journal, page->view->policies[i], page->now_us, add_alarm, page,
                              err);
        add_cluster_alarms(page, &page->view->clusters[i]);
        add_audit_alarm(page, &page->view->clusters[i]);
    }
    add(page, "</ul>\n");
    if (page->alarms == 0)
        add(page, "<p class=\"b ok\">No alarms.</p>\n");
    return rc;
}

/* -- what runs now --------------------------------------------------------------------------- */

static void add_progress(struct page *page, const struct journal_run *run)
{
    char done[UNITS_TEXT_MAX], total[UNITS_TEXT_MAX];
    bool counts_items =
        strcmp(run->type, "vacuum") == 0 || strcmp(run->type, "prune") == 0; /* not bytes */
    if (run->total <= 0)
        return;
    buf_addf(page->out, "<progress value=\"%lld\" max=\"%lld\"></progress><div class=m>",
             (long long)(run->done < run->total ? run->done : run->total), (long long)run->total);
    if (counts_items)
        buf_addf(page->out, "%lld of %lld</div>", (long long)run->done, (long long)run->total);
    else
        buf_addf(page->out, "%s of about %s</div>", size_format(run->done, done),
                 size_format(run->total, total));
}

static void add_run(struct page *page, const struct journal_run *run)
{
    add(page, "<tr><td class=\"b k\">");
    add_escaped(page, run->cluster);
    add(page, "/");
    add_escaped(page, run->job);
    add(page, "<td data-l=\"since\">");
    if (run->started_us != INSTANT_NONE)
        add_moment(page, run->started_us);
    else
        add(page, "<span class=none>waits</span>");
    buf_addf(page->out, "<td data-l=\"attempt\">%d<td data-l=\"does\">", run->attempt);
    add_escaped(page, run->phase[0] ? run->phase : "-");
    add(page, "<td class=w>");
    add_progress(page, run);
    add(page, "</tr>\n");
}

static void add_running(struct page *page)
{
    if (page->running.count == 0)
        return;
    add(page, "<h2>Runs now</h2>\n<table><thead><tr><th>Job<th>Since<th>Attempt<th>Does"
              "<th>Progress</tr></thead><tbody>\n");
    for (size_t i = 0; i < page->running.count; i++)
        add_run(page, &page->running.items[i]);
    add(page, "</tbody></table>\n");
}

/* -- a cluster: what counts ------------------------------------------------------------------ */

static void add_tile(struct page *page, const char *what, const char *class, const char *text,
                     const char *more)
{
    buf_addf(page->out, "<div class=tile><span class=m>%s</span><b class=\"%s\">", what, class);
    add_escaped(page, text);
    buf_addf(page->out, "</b><span class=m>%s</span></div>\n", more);
}

/* "2026-11-21 02:00 UTC" */
static char *format_minute(int64_t at_us, char text[INSTANT_TEXT_MAX])
{
    instant_format(at_us, text);
    text[10] = ' ';
    memcpy(text + 16, " UTC", sizeof(" UTC"));
    return text;
}

static bool has_job(const struct board_cluster *cluster, enum job_type type)
{
    for (size_t i = 0; i < cluster->policy->job_count; i++)
        if (cluster->policy->jobs[i].type == type)
            return true;
    return false;
}

static void add_age_tile(struct page *page, const struct board_cluster *cluster, enum metric_id id,
                         const char *labels, const char *what, bool is_wanted)
{
    char text[UNITS_TEXT_MAX], age[UNITS_TEXT_MAX + 8] = "none", at[INSTANT_TEXT_MAX] = "";
    double value;
    if (find_sample(cluster, GATHERING_FACTS, id, labels, &value)) {
        int64_t us = page->now_us - (int64_t)(value * (double)US_PER_SECOND);
        duration_format(us - us % US_PER_SECOND, text);
        snprintf(age, sizeof(age), "%s ago", text);
        format_minute((int64_t)value * US_PER_SECOND, at);
    }
    if (*at || is_wanted)
        add_tile(page, what, *at ? "" : "none", age, at);
}

static void add_window_tile(struct page *page, const struct board_cluster *cluster)
{
    char text[UNITS_TEXT_MAX], from[INSTANT_TEXT_MAX], more[INSTANT_TEXT_MAX + 16] = "";
    double seconds = 0, begin = 0;
    if (!find_sample(cluster, GATHERING_FACTS, METRIC_WINDOW, "", &seconds))
        return;
    bool is_open = find_sample(cluster, GATHERING_FACTS, METRIC_WINDOW_FROM, "", &begin);
    if (is_open)
        snprintf(more, sizeof(more), "since %s",
                 format_minute((int64_t)begin * US_PER_SECOND, from));
    duration_format((int64_t)seconds * US_PER_SECOND, text);
    add_tile(page, "Recovery window", is_open ? "ok" : "bad",
             !is_open      ? "none"
             : seconds < 1 ? "just begun"
                           : text,
             more);
}

static void add_lag_tile(struct page *page, const struct board_cluster *cluster)
{
    char text[UNITS_TEXT_MAX], more[80];
    double seconds, segments = 0, lost = 0;
    if (!find_sample(cluster, GATHERING_FACTS, METRIC_WAL_LAG_SECONDS, "", &seconds))
        return;
    find_sample(cluster, GATHERING_FACTS, METRIC_WAL_LAG_SEGMENTS, "", &segments);
    find_sample(cluster, GATHERING_FACTS, METRIC_WAL_GAPS, "state=\"lost\"", &lost);
    snprintf(more, sizeof(more), "%.0f segments, %.0f gaps lost", segments, lost);
    duration_format((int64_t)seconds * US_PER_SECOND, text);
    add_tile(page, "WAL behind",
             lost > 0       ? "bad"
             : segments > 0 ? "warn"
                            : "ok",
             segments > 0 ? text : "nothing", more);
}

static void add_audit_tile(struct page *page, const struct board_cluster *cluster)
{
    double ok, fails = 0, unknown = 0;
    char text[80];
    if (!find_sample(cluster, GATHERING_AUDIT, METRIC_AUDIT_OK, "", &ok))
        return;
    find_sample(cluster, GATHERING_AUDIT, METRIC_AUDIT_CONTROLS, "status=\"FAIL\"", &fails);
    find_sample(cluster, GATHERING_AUDIT, METRIC_AUDIT_CONTROLS, "status=\"UNKNOWN\"", &unknown);
    snprintf(text, sizeof(text), "%.0f failed, %.0f unknown", fails, unknown);
    add_tile(page, "Audit",
             fails > 0 ? "bad"
             : ok > 0  ? "ok"
                       : "warn",
             fails > 0 ? "FAIL"
             : ok > 0  ? "PASS"
                       : "UNKNOWN",
             text);
}

static void add_stored_tile(struct page *page, const struct board_cluster *cluster)
{
    static const char *const KINDS[] = {"dump", "snapshot", "wal"};
    char text[UNITS_TEXT_MAX], one[UNITS_TEXT_MAX], more[256] = "", label[32];
    double total = 0, bytes;
    for (size_t i = 0; i < ARRAY_SIZE(KINDS); i++) {
        snprintf(label, sizeof(label), "kind=\"%s\"", KINDS[i]);
        if (!find_sample(cluster, GATHERING_FACTS, METRIC_STORED_BYTES, label, &bytes))
            return;
        total += bytes;
        if (bytes > 0)
            snprintf(more + strlen(more), sizeof(more) - strlen(more), "%s%s %s", *more ? ", " : "",
                     KINDS[i], size_format((int64_t)bytes, one));
    }
    add_tile(page, "Stored", "", size_format((int64_t)total, text), more);
}

static void add_connections_tile(struct page *page, const struct board_cluster *cluster)
{
    double used, most;
    char text[64];
    if (!find_sample(cluster, GATHERING_FACTS, METRIC_CONNECTIONS, "", &used) ||
        !find_sample(cluster, GATHERING_FACTS, METRIC_CONNECTIONS_MAX, "", &most))
        return;
    snprintf(text, sizeof(text), "%.0f of %.0f", used, most);
    add_tile(page, "Connections", used > 0.8 * most ? "warn" : "", text, "");
}

static void add_tiles(struct page *page, const struct board_cluster *cluster)
{
    add(page, "<div class=tiles>\n");
    add_window_tile(page, cluster);
    add_lag_tile(page, cluster);
    add_age_tile(page, cluster, METRIC_NEWEST_BACKUP, "kind=\"dump\"", "Newest dump",
                 has_job(cluster, JOB_DUMP));
    add_age_tile(page, cluster, METRIC_NEWEST_BACKUP, "kind=\"snapshot\"", "Newest snapshot",
                 has_job(cluster, JOB_SNAPSHOT));
    add_age_tile(page, cluster, METRIC_DRILLED, "", "Last drill passed",
                 has_job(cluster, JOB_DRILL));
    add_audit_tile(page, cluster);
    add_stored_tile(page, cluster);
    add_connections_tile(page, cluster);
    add(page, "</div>\n");
}

/* -- a cluster: its jobs --------------------------------------------------------------------- */

static void add_job(struct page *page, const struct job_state *state)
{
    const struct journal_run *last = &state->last;
    bool has_run = state->has_last && last->started_us != INSTANT_NONE;
    bool has_begun = state->running && state->running->started_us != INSTANT_NONE;
    add(page, "<tr><td class=\"b k\">");
    add_escaped(page, state->job->name);
    buf_addf(page->out, "<td class=\"m k\">%s<td data-l=\"last\">",
             job_type_name(state->job->type));
    if (has_begun)
        add(page, "<span class=\"b busy\">runs</span> ");
    else if (state->has_last)
        buf_addf(page->out, "<span class=\"b %s\">%s</span> ", class_of_outcome(last->outcome),
                 journal_outcome_name(last->outcome));
    else
        add(page, "<span class=none>never</span>");
    add(page, "<td data-l=\"when\">");
    if (state->has_last)
        add_moment(page, has_run ? last->started_us : last->claimed_us);
    add(page, "<td class=n data-l=\"took\">");
    add_span(page, has_run && last->ended_us != INSTANT_NONE ? last->ended_us - last->started_us
                                                             : INSTANT_NONE);
    add(page, "<td class=n data-l=\"stored\">");
    add_bytes(page, state->has_last ? last->bytes_stored : 0);
    add(page, "<td data-l=\"last success\">");
    add_moment(page, state->has_success ? state->success.ended_us : INSTANT_NONE);
    add(page, "<td data-l=\"next\">");
    if (state->is_paused)
        add(page, "<span class=\"b warn\">paused</span>");
    else if (state->next_us == INSTANT_NONE)
        add(page, "<span class=none>not scheduled</span>");
    else
        add_moment(page, state->next_us);
    add(page, "</tr>\n");
}

static int add_jobs(struct page *page, const struct policy *policy, struct error *err)
{
    _cleanup_(zones_clear) struct zones zones = {0};
    int rc = zones_load(policy, &zones, err);
    add(page, "<h3>Jobs</h3>\n<table><thead><tr><th>Job<th>Type<th>Last<th>When<th class=n>Took"
              "<th class=n>Stored<th>Last success<th>Next</tr></thead><tbody>\n");
    for (size_t i = 0; i < policy->job_count && !rc; i++) {
        struct job_state state;
        rc = job_state_read(page->journal, &page->running, policy, &policy->jobs[i],
                            zones_of_job(&zones, policy, &policy->jobs[i]), page->now_us, &state,
                            err);
        if (!rc)
            add_job(page, &state);
    }
    add(page, "</tbody></table>\n");
    return rc;
}

/* -- a cluster: its audit -------------------------------------------------------------------- */

static const char *class_of_status(const char *status)
{
    return strcmp(status, "FAIL") == 0   ? "bad"
           : strcmp(status, "PASS") == 0 ? "ok"
           : strcmp(status, "SKIP") == 0 ? "none"
                                         : "warn";
}

static void add_control(struct page *page, const json_t *control)
{
    const char *status = json_text(control, "status");
    buf_addf(page->out, "<tr><td class=\"b k %s\">", class_of_status(status));
    add_escaped(page, status);
    add(page, "<td class=\"c k\">");
    add_escaped(page, json_text(control, "id"));
    add(page, " <span class=m>");
    add_escaped(page, json_text(control, "severity"));
    add(page, "</span><td class=w><b>");
    add_escaped(page, json_text(control, "title"));
    add(page, "</b><div>");
    add_escaped(page, json_text(control, "observed"));
    add(page, "</div><div class=m>");
    add_escaped(page, json_text(control, "remedy"));
    add(page, "</div></tr>\n");
}

static size_t add_controls(struct page *page, const json_t *open, bool only_warnings)
{
    size_t i, count = 0;
    const json_t *control;
    json_array_foreach(open, i, control)
    {
        bool is_warning = strcmp(json_text(control, "status"), "WARN") == 0;
        if (is_warning != only_warnings)
            continue;
        if (count++ == 0)
            add(page, "<table><tbody>\n");
        add_control(page, control);
    }
    if (count > 0)
        add(page, "</tbody></table>\n");
    return count;
}

static void add_audit(struct page *page, const struct board_cluster *cluster)
{
    const struct board_part *part = &cluster->parts[GATHERING_AUDIT];
    const json_t *audit =
        part->has_gathering ? json_object_get(part->gathering.document, "audit") : NULL;
    const json_t *counts = json_object_get(audit, "counts");
    add(page, "<h3>Audit</h3>\n");
    if (!audit) {
        add(page, "<p class=none>Not gathered yet.</p>\n");
        return;
    }
    add(page, "<p class=counts>");
    for (int i = AUDIT_STATUS_COUNT - 1; i >= 0; i--) {
        const char *status = audit_status_name((enum audit_status)i);
        if (json_number(counts, status) > 0)
            buf_addf(page->out, "<span class=\"b %s\">%lld %s</span>", class_of_status(status),
                     (long long)json_number(counts, status), status);
    }
    add(page, "<span class=m>judged ");
    add_moment(page, part->gathering.at_us);
    add(page, "</span></p>\n");
    const json_t *open = json_object_get(audit, "open");
    add_controls(page, open, false);
    add(page, "<details><summary>Warnings</summary>\n");
    if (add_controls(page, open, true) == 0)
        add(page, "<p class=none>none</p>\n");
    add(page, "</details>\n");
}

/* -- the whole ------------------------------------------------------------------------------- */

static void add_timeline(struct page *page, const struct board_cluster *cluster, size_t index)
{
    const struct board_part *part = &cluster->parts[GATHERING_FACTS];
    const char *picture =
        part->has_gathering ? json_text(part->gathering.document, "timeline") : "";
    add(page, "<h3>Recovery points</h3>\n");
    if (!part->has_gathering)
        add(page, "<p class=none>Not gathered yet.</p>\n");
    else if (index >= PAGE_TIMELINES_MAX || !*picture) {
        add(page, "<p class=none>Too much to be drawn here: pgcairn audit ");
        add_escaped(page, cluster->policy->cluster);
        add(page, " --format html</p>\n");
    } else {
        add(page, picture);
    }
    if (!part->has_gathering)
        return;
    add(page, "<div class=m>looked at ");
    add_moment(page, part->gathering.at_us);
    add(page, "</div>\n");
}

static int add_cluster(struct page *page, size_t index, struct error *err)
{
    const struct board_cluster *cluster = &page->view->clusters[index];
    buf_addf(page->out, "<section id=\"c%zu\"><h2>", index);
    add_escaped(page, cluster->policy->cluster);
    add(page, "</h2>\n");
    add_tiles(page, cluster);
    add_timeline(page, cluster, index);
    int rc = add_jobs(page, cluster->policy, err);
    add_audit(page, cluster);
    add(page, "</section>\n");
    return rc;
}

static void add_head(struct page *page)
{
    char at[INSTANT_TEXT_MAX];
    const struct board_view *view = page->view;
    instant_format(page->now_us, at);
    buf_addf(page->out,
             "<!doctype html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport "
             "content=\"width=device-width,initial-scale=1\"><meta http-equiv=refresh "
             "content=\"%d\"><title>pgcairn</title><style>%s</style></head><body>\n"
             "<div class=head><h1>pgcairn</h1><span class=m>%s, version %s</span></div>\n",
             PAGE_REFRESH_S, page_style(), at, PGCAIRN_VERSION);
    for (size_t i = 0; i < view->count && view->count > 1; i++) {
        buf_addf(page->out, "%s<a href=\"#c%zu\">", i ? " " : "<nav>", i);
        add_escaped(page, view->policies[i]->cluster);
        add(page, "</a>");
    }
    if (view->count > 1)
        add(page, "</nav>\n");
}

static void open_journal(struct page *page)
{
    struct error err = ERROR_NONE;
    int rc = journal_open(page->view->journal_folder, JOURNAL_READ, &page->journal, &err);
    if (!rc)
        rc = job_runs_read(page->journal, &page->running, &err);
    if (!rc)
        return;
    snprintf(page->journal_problem, sizeof(page->journal_problem), "%s", err.message);
    page->journal = journal_free(page->journal);
}

int page_write(const struct board_view *view, int64_t now_us, struct buf *out, struct error *err)
{
    struct page page = {.view = view, .out = out, .now_us = now_us};
    open_journal(&page);
    add_head(&page);
    int rc = add_alarms(&page, err);
    add_running(&page);
    for (size_t i = 0; i < view->count && !rc; i++)
        rc = add_cluster(&page, i, err);
    add(&page, "</body></html>\n");
    job_runs_clear(&page.running);
    journal_free(page.journal);
    return rc ? rc : buf_failed(out, "the status page", err);
}
