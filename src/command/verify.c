/* `verify`: what is stored is read again and proved intact and complete. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/units.h"
#include "command/commands.h"
#include "command/opened.h"
#include "command/progress.h"
#include "postgres/diagnosis.h"
#include "repository/ids.h"
#include "work/locking.h"
#include "work/verify.h"

enum { FAULTS_PRINTED_MAX = 50 };

static const struct command_option OPTIONS[] = {
    {"level", OPTION_TEXT, "1..3",
     "1: all objects are there; 2: every byte of the backups is read (default); 3: and of the WAL"},
    {"budget", OPTION_TEXT, "DURATION",
     "begin nothing that would end later, but for the first; the next run goes on there"},
    {"jobs", OPTION_TEXT, "N", "objects read at once (2)"},
    {NULL, OPTION_FLAG, NULL, NULL},
};

static void show_progress(const char *phase, int64_t done, int64_t total, void *context)
{
    progress_show(context, phase, done, total);
}

static void show_notice(const char *text, void *context)
{
    progress_notice(context, text);
}

static int read_options(const struct arguments *arguments, struct verify_request *request,
                        struct error *err)
{
    const char *level = argument_text(arguments, "level");
    const char *budget = argument_text(arguments, "budget");
    const char *jobs = argument_text(arguments, "jobs");
    int64_t level_number = VERIFY_LEVEL_DEFAULT, job_number = VERIFY_JOBS_DEFAULT;
    int rc = 0;
    if (level)
        rc = number_parse(level, "--level", 1, VERIFY_LEVEL_MAX, &level_number, err);
    if (!rc && jobs)
        rc = number_parse(jobs, "--jobs", 1, VERIFY_JOBS_MAX, &job_number, err);
    if (!rc && budget && (rc = duration_parse(budget, &request->budget_us, err)))
        error_prefix(err, "--budget");
    if (!rc && budget && request->budget_us <= 0)
        rc = error_set(err, ERR_USAGE, "--budget must be more than 0");
    request->level = (int)level_number;
    request->jobs = (int)job_number;
    request->backup = arguments->words.count > 1 ? arguments->words.items[1] : NULL;
    if (!rc && request->backup && !id_parse(request->backup, NULL)) {
        error_set(err, ERR_USAGE, "\"%s\" is no id of a backup", request->backup);
        rc = error_hint(err, "\"pgcairn list %s\" shows them", arguments->words.items[0]);
    }
    return rc;
}

/* -- showing --------------------------------------------------------------------------------- */

static void print_faults(const struct verify_report *report)
{
    size_t i;
    json_t *fault;
    json_array_foreach(report->faults, i, fault)
    {
        if (i == FAULTS_PRINTED_MAX)
            break;
        const char *table = json_text(fault, "table"),
                   *consequence = json_text(fault, "consequence");
        const json_t *byte = json_object_get(fault, "byte");
        printf("FAULT  %s\n", json_text(fault, "object"));
        printf("       %s", json_text(fault, "what"));
        if (json_is_integer(byte))
            printf(" (up to byte %lld)", (long long)json_integer_value(byte));
        printf("%s%s\n", table[0] ? ", in table " : "", table);
        if (consequence[0])
            printf("       %s\n", consequence);
    }
    if (report->fault_count > FAULTS_PRINTED_MAX)
        printf("... and %lld more faults; --json shows up to %d\n",
               (long long)report->fault_count - FAULTS_PRINTED_MAX, VERIFY_FAULTS_MAX);
    json_array_foreach(report->unknowns, i, fault)
    {
        printf("UNKNOWN  %s\n         %s\n", json_text(fault, "object"), json_text(fault, "what"));
    }
}

static void print_text(const struct verify_report *report, const char *cluster)
{
    char bytes[UNITS_TEXT_MAX];
    print_faults(report);
    printf("%s: %s at level %d: %lld objects, %s read, %zu items proved", cluster,
           verify_result_name(verify_result(report)), report->level, (long long)report->objects,
           size_format(report->bytes, bytes), report->proved);
    if (report->fault_count)
        printf(", %lld fault%s", (long long)report->fault_count,
               report->fault_count == 1 ? "" : "s");
    if (report->remaining)
        printf(", %zu not reached", report->remaining);
    printf("\n");
}

static int print(const struct globals *globals, const struct verify_report *report,
                 const char *cluster, struct error *err)
{
    if (globals->json)
        return command_print_json(verify_report_json(report, cluster), err);
    print_text(report, cluster);
    return 0;
}

static int print_verdict(const struct globals *globals, const struct verify_report *report,
                         const char *cluster, struct error *err)
{
    enum verify_result result = verify_result(report);
    int rc = print(globals, report, cluster, err);
    if (rc || result == VERIFY_PASS)
        return rc;
    return command_verdict(result == VERIFY_FAIL ? ERR_FAILED : ERR_UNKNOWN, err);
}

/* -- doing ----------------------------------------------------------------------------------- */

/* The lock keeps a prune from deleting what is being read. */
static int begin(const struct opened *opened, struct verify_request *request,
                 struct locking **ret_locking, struct error *err)
{
    const struct lock_request wanted = {.class = LOCK_VERIFY, .run_id = request->run_id};
    int rc = locking_begin(opened->repository, &wanted, 0, ret_locking, err);
    if (!rc)
        request->lock = locking_lock(*ret_locking);
    return rc;
}

/* A repository that can't be read can't be told to be well or not. What is not in it is an answer.
 */
static int as_told(const struct globals *globals, const char *cluster, struct verify_report *report,
                   struct error *err)
{
    bool is_answer = err->code == ERR_NOT_FOUND || err->code == ERR_BUSY ||
                     err->code == ERR_USAGE || err->code == ERR_POLICY;
    int rc = is_answer ? err->code : error_as_unknown(err);
    if (error_exit_status(rc) != error_exit_status(ERR_UNKNOWN) || !globals->json)
        return rc;
    if (!report->unknowns)
        *report = (struct verify_report){.faults = json_array(),
                                         .unknowns = json_array(),
                                         .lost = json_array(),
                                         .left = json_array()};
    json_array_append_new(report->unknowns, json_pack("{s:s, s:s, s:o}", "id", "", "object", "",
                                                      "what", pg_text_to_json(err->message)));
    struct error print = ERROR_NONE;
    command_print_json(verify_report_json(report, cluster), &print);
    return rc;
}

static int run(const struct globals *globals, const struct arguments *arguments, struct error *err)
{
    _cleanup_(opened_clear) struct opened opened = {0};
    _cleanup_(progress_freep) struct progress *progress = NULL;
    _cleanup_(locking_freep) struct locking *locking = NULL;
    _cleanup_(verify_report_clear) struct verify_report report = {0};
    char run_id[ID_SIZE];
    struct verify_request request = {
        .run_id = run_id, .job = "", .progress = show_progress, .notice = show_notice};
    int rc = read_options(arguments, &request, err);
    if (!rc)
        rc = id_make(instant_now_us(), run_id, err);
    if (!rc)
        rc = progress_new(globals->quiet, NULL, &progress, err);
    if (rc)
        return rc;
    const char *cluster = arguments->words.items[0];
    if (opened_cluster(globals, cluster, &opened, err))
        return as_told(globals, cluster, &report, err);
    request.policy = opened.policy;
    request.repository = opened.repository;
    request.context = progress;
    work_catch_signals();
    if (begin(&opened, &request, &locking, err))
        return as_told(globals, cluster, &report, err);
    rc = verify(&request, &report, err);
    progress_end(progress);
    if (rc && report.fault_count > 0) { /* what was found before the end is worth to be known */
        struct error ignored = ERROR_NONE;
        print(globals, &report, cluster, &ignored);
        return rc;
    }
    if (rc)
        return as_told(globals, cluster, &report, err);
    rc = print_verdict(globals, &report, cluster, err);
    struct error release = ERROR_NONE;
    if (locking_end(locking, &release))
        log_line(LOG_WARNING, "the lock was not given back: %s", release.message);
    return rc;
}

const struct command COMMAND_VERIFY = {
    .name = "verify",
    .usage = "CLUSTER [ID] [--level 1..3] [--budget DURATION] [--jobs N]",
    .summary = "re-read what is stored and prove it intact and complete, WAL gaps included",
    .examples = "  pgcairn verify automatos\n"
                "  pgcairn verify automatos 20261121T020000Z-x7q2\n"
                "  pgcairn --json verify automatos --level 3 --budget 1h",
    .min_words = 1,
    .max_words = 2,
    .options = OPTIONS,
    .run = run,
};
