/* `simulate`: what a policy keeps in its steady state, by the real planner. */
#include <stdio.h>

#include "base/json.h"
#include "base/log.h"
#include "base/table.h"
#include "base/units.h"
#include "command/commands.h"
#include "command/opened.h"
#include "repository/catalogue.h"
#include "repository/wal.h"
#include "work/zones.h"

enum { DAYS_DEFAULT = 30, NUMBER_TEXT_MAX = 24 };

static const struct command_option OPTIONS[] = {
    {"days", OPTION_TEXT, "N", "how many days to report (30)"},
    {NULL, OPTION_FLAG, NULL, NULL},
};

/* -- sizes --------------------------------------------------------------------------------------
 */

/* The mean size of the good backups that each job has now; 0 where it has none. */
static void average(const struct policy *policy, const struct facts *facts, int64_t *averages)
{
    for (size_t i = 0; i < policy->job_count; i++) {
        int64_t bytes = 0, count = 0;
        for (size_t n = 0; n < facts->backup_count; n++) {
            const struct facts_backup *backup = &facts->backups[n];
            if (backup->state == BACKUP_GOOD &&
                policy_find_job(policy, backup->job) == &policy->jobs[i]) {
                bytes += backup->bytes_stored;
                count++;
            }
        }
        averages[i] = count ? bytes / count : 0;
    }
}

/* How much WAL is stored a day: of the timeline that grew last, over all that is there of it. */
static void measure_wal(const struct facts *facts, struct retention_wal_rate *rate)
{
    int64_t newest_us = INSTANT_NONE;
    for (size_t i = 0; i < facts->wal_count; i++)
        for (size_t t = 0; t < facts->wals[i].timeline_count; t++) {
            const struct facts_wal_timeline *timeline = &facts->wals[i].timelines[t];
            const struct facts_wal_range *ranges = timeline->ranges;
            size_t count = timeline->range_count;
            if (count == 0 || ranges[count - 1].last_stored_us <= newest_us)
                continue;
            newest_us = ranges[count - 1].last_stored_us;
            int64_t segments = 0, bytes = 0, span_us = newest_us - ranges[0].first_stored_us;
            for (size_t r = 0; r < count; r++) {
                segments += (int64_t)(ranges[r].last - ranges[r].first + 1);
                bytes += ranges[r].bytes;
            }
            double days = (double)span_us / (double)US_PER_DAY;
            *rate = (struct retention_wal_rate){0};
            if (span_us >= US_PER_HOUR) /* less tells nothing */
                *rate = (struct retention_wal_rate){(int64_t)((double)bytes / days),
                                                    (int64_t)((double)segments / days)};
        }
}

/* Sizes are an extra: without a readable repository there are none, and a warning. */
static void find_averages(const struct opened *opened, int64_t now_us, int64_t *averages,
                          struct retention_wal_rate *rate)
{
    _cleanup_(facts_clear) struct facts facts = {0};
    struct error err = ERROR_NONE;
    int rc = catalogue_read(opened->repository, now_us, &facts, &err);
    if (!rc)
        rc = wal_facts_read_all(opened->repository, &facts, &err);
    if (rc)
        log_line(LOG_WARNING, "no sizes, for the repository can't be read: %s", err.message);
    else
        average(opened->policy, &facts, averages);
    if (!rc)
        measure_wal(&facts, rate);
}

/* -- showing ------------------------------------------------------------------------------------
 */

static json_t *job_json(const struct retention_simulated_job *job)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "kept", (json_int_t)job->kept, "oldest_s",
                     (json_int_t)job->oldest_s, "bytes", (json_int_t)job->bytes, "kept_peak",
                     (json_int_t)job->kept_peak, "bytes_peak", (json_int_t)job->bytes_peak);
}

static json_t *day_json(const struct retention_simulated_day *day)
{
    return json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "at", json_instant(day->end_us), "made",
                     (json_int_t)day->made, "deleted", (json_int_t)day->deleted, "kept",
                     (json_int_t)day->kept, "bytes", (json_int_t)day->bytes, "window_s",
                     (json_int_t)day->window_s, "recovery_window_s", (json_int_t)day->recovery_s);
}

static int print_json(const char *cluster, const struct retention_simulation *simulation,
                      struct error *err)
{
    _cleanup_(json_release) json_t *jobs = json_object();
    _cleanup_(json_release) json_t *days = json_array();
    bool failed = !jobs || !days;
    for (size_t i = 0; !failed && i < simulation->job_count; i++)
        failed = json_object_set_new(jobs, simulation->jobs[i].job->name,
                                     job_json(&simulation->jobs[i])) != 0;
    for (size_t i = 0; !failed && i < simulation->day_count; i++)
        failed = json_array_append_new(days, day_json(&simulation->days[i])) != 0;
    json_t *document =
        failed ? NULL
               : json_pack("{s:s, s:I, s:O, s:{s:I, s:I}, s:b, s:O}", "cluster", cluster, "days",
                           (json_int_t)simulation->day_count, "jobs", jobs, "recovery_window",
                           "min_s", (json_int_t)simulation->window_min_s, "max_s",
                           (json_int_t)simulation->window_max_s, "settled", simulation->settled,
                           "by_day", days);
    return document ? command_print_json(document, err) : error_no_memory(err);
}

static const char *number(size_t value, char text[NUMBER_TEXT_MAX])
{
    snprintf(text, NUMBER_TEXT_MAX, "%zu", value);
    return text;
}

static int print_jobs(const struct retention_simulation *simulation, struct error *err)
{
    _cleanup_(table_freep) struct table *table = NULL;
    int rc = table_new("JOB|>KEPT|>OLDEST|>SIZE|>AT MOST|>SIZE", &table, err);
    for (size_t i = 0; !rc && i < simulation->job_count; i++) {
        const struct retention_simulated_job *job = &simulation->jobs[i];
        char kept[NUMBER_TEXT_MAX], peak[NUMBER_TEXT_MAX], oldest[UNITS_TEXT_MAX],
            size[UNITS_TEXT_MAX], peak_size[UNITS_TEXT_MAX];
        rc = table_row(table, err, job->job->name, number(job->kept, kept),
                       duration_format(job->oldest_s * US_PER_SECOND, oldest),
                       size_format(job->bytes, size), number(job->kept_peak, peak),
                       size_format(job->bytes_peak, peak_size));
    }
    return rc ? rc : table_print(table, stdout, err);
}

static int print_days(const struct retention_simulation *simulation, struct error *err)
{
    _cleanup_(table_freep) struct table *table = NULL;
    bool has_recovery = simulation->has_recovery;
    int rc = table_new(has_recovery
                           ? "DAY TO|>MADE|>DELETED|>KEPT|>SIZE|>REACHES BACK|>ANY MOMENT OF LAST"
                           : "DAY TO|>MADE|>DELETED|>KEPT|>SIZE|>REACHES BACK",
                       &table, err);
    for (size_t i = 0; !rc && i < simulation->day_count; i++) {
        const struct retention_simulated_day *day = &simulation->days[i];
        char end[INSTANT_TEXT_MAX], made[NUMBER_TEXT_MAX], deleted[NUMBER_TEXT_MAX],
            kept[NUMBER_TEXT_MAX], size[UNITS_TEXT_MAX], window[UNITS_TEXT_MAX],
            recovery[UNITS_TEXT_MAX];
        rc = table_row(
            table, err, instant_format(day->end_us, end), number(day->made, made),
            number(day->deleted, deleted), number(day->kept, kept), size_format(day->bytes, size),
            duration_format(day->window_s * US_PER_SECOND, window),
            has_recovery ? duration_format(day->recovery_s * US_PER_SECOND, recovery) : NULL);
    }
    return rc ? rc : table_print(table, stdout, err);
}

static int print_text(const struct retention_simulation *simulation, struct error *err)
{
    char least[UNITS_TEXT_MAX], most[UNITS_TEXT_MAX];
    int rc = print_jobs(simulation, err);
    if (rc)
        return rc;
    printf("\n");
    if ((rc = print_days(simulation, err)))
        return rc;
    printf("\n%s at least %s, at most %s\n",
           simulation->has_recovery ? "recovery to any moment reaches back" : "backups reach back",
           duration_format(simulation->window_min_s * US_PER_SECOND, least),
           duration_format(simulation->window_max_s * US_PER_SECOND, most));
    return 0;
}

/* -- the command --------------------------------------------------------------------------------
 */

static int warn(const struct policy *policy, const struct retention_zones *zones, int64_t now_us,
                struct error *err)
{
    _cleanup_(policy_problems_clear) struct policy_problems warnings = {0};
    int rc = retention_contradictions(policy, zones, now_us, &warnings, err);
    for (size_t i = 0; !rc && i < warnings.count; i++)
        log_line(LOG_WARNING, "%s:%d:%d: %s", policy->file, warnings.items[i].line,
                 warnings.items[i].column, warnings.items[i].message);
    return rc;
}

static int simulate(const struct globals *globals, const struct opened *opened, int64_t days,
                    struct error *err)
{
    const struct policy *policy = opened->policy;
    int64_t now_us = instant_now_us();
    _cleanup_(zones_clear) struct zones zones = {0};
    _cleanup_(retention_simulation_clear) struct retention_simulation simulation = {0};
    _cleanup_(freep) int64_t *averages = calloc(policy->job_count + 1, sizeof(*averages));
    if (!averages)
        return error_no_memory(err);
    int rc = zones_load(policy, &zones, err);
    if (!rc)
        rc = warn(policy, &zones.view, now_us, err);
    if (rc)
        return rc;
    struct retention_wal_rate rate = {0};
    find_averages(opened, now_us, averages, &rate);
    rc = retention_simulate(policy, &zones.view, averages, &rate, now_us, days, &simulation, err);
    if (rc)
        return rc;
    if (!simulation.settled)
        log_line(LOG_WARNING,
                 "some rule reaches further back than is simulated: more will be kept");
    return globals->json ? print_json(policy->cluster, &simulation, err)
                         : print_text(&simulation, err);
}

static int run(const struct globals *globals, const struct arguments *arguments, struct error *err)
{
    _cleanup_(opened_clear) struct opened opened = {0};
    const char *text = argument_text(arguments, "days");
    int64_t days = DAYS_DEFAULT;
    int rc = text ? number_parse(text, "--days", 1, RETENTION_DAYS_MAX, &days, err) : 0;
    if (!rc && opened_cluster(globals, arguments->words.items[0], &opened, err))
        return error_as_unknown(err);
    return rc ? rc : simulate(globals, &opened, days, err);
}

const struct command COMMAND_SIMULATE = {
    .name = "simulate",
    .usage = "CLUSTER [--days N]",
    .summary = "what the policy will keep in steady state: count, size, how far back",
    .examples = "  pgcairn simulate automatos --days 90",
    .min_words = 1,
    .max_words = 1,
    .options = OPTIONS,
    .run = run,
};
