/* `run`: one job, once, now, in this process. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/units.h"
#include "command/commands.h"
#include "command/opened.h"
#include "command/policy_stdin.h"
#include "command/progress.h"
#include "command/times.h"
#include "journal/run_log.h"
#include "notify/around.h"
#include "work/drill.h"
#include "work/run.h"
#include "work/vacuum_report.h"

enum { ATTEMPT_MAX = 1000, HOST_MAX = 256 };

static const struct command_option OPTIONS[] = {
    {"due", OPTION_TEXT, "TIME",
     "the due instant this run is for; it is done once only, by whichever machine: it waits for "
     "another run of the job"},
    {"attempt", OPTION_TEXT, "N", "which try for that due instant (1)"},
    {"run-id", OPTION_TEXT, "ID", "what the daemon claimed in the journal"},
    {"policy-stdin", OPTION_FLAG, NULL, "the policy's text is on stdin; -c only names its file"},
    {"accept-empty", OPTION_FLAG, NULL,
     "a database may have lost all its tables since the last dump"},
    {"snapshot-on-gap", OPTION_FLAG, NULL,
     "a wal job that finds WAL lost takes the policy's snapshot at once"},
    {"notify", OPTION_FLAG, NULL,
     "tell those of notify: how it begins and ends, for runs of a timer; the daemon does so itself"},
    {NULL, OPTION_FLAG, NULL, NULL},
};

/* `drill` is the same, and has no options. */
static bool is_run(const struct arguments *arguments)
{
    return arguments->options == OPTIONS;
}

/* What a job of the type counts while it works; NULL: bytes. */
static const char *counted_items(enum job_type type)
{
    return type == JOB_VACUUM ? "tables" : type == JOB_PRUNE ? "backups" : NULL;
}

/* What the callbacks of the run need. */
struct run_context {
    struct progress *progress;
    const struct policy *told; /* whose notify: is told; NULL: nobody is */
    char host[HOST_MAX];
};

static void show_progress(const char *phase, int64_t done, int64_t total, void *context)
{
    progress_show(((struct run_context *)context)->progress, phase, done, total);
}

static void show_notice(const char *text, void *context)
{
    progress_notice(((struct run_context *)context)->progress, text);
}

/* -- telling people ------------------------------------------------------------------------ */

/* That people can't be told is never a failure of the run. */
static void log_untold(const struct policy_notify *notify, const struct error *error, void *context)
{
    char text[ERROR_MESSAGE_MAX + 64];
    struct log_event event = LOG_EVENT(LOG_WARNING, text);
    (void)notify;
    (void)context;
    event.hint = error_cure(error);
    event.code = error_code_name(error->code);
    snprintf(text, sizeof(text), "not told: %s", error->message);
    log_event(&event);
}

static void tell_start(const struct run_context *context, const struct journal_run *run)
{
    struct notify_event event = notify_event_of_run(NOTIFY_START, run, context->host);
    if (context->told)
        notify_before(context->told, &event, log_untold, NULL);
}

/* Of a run that left its due instant to another there is nothing to tell. */
static void tell_end(const struct run_context *context, struct journal *journal,
                     const struct journal_run *run)
{
    bool is_done = run->outcome == OUTCOME_DONE;
    if (!context->told ||
        (!is_done && run->outcome != OUTCOME_FAILED && run->outcome != OUTCOME_INTERRUPTED))
        return;
    struct notify_event event =
        notify_event_of_run(is_done ? NOTIFY_SUCCESS : NOTIFY_FAILURE, run, context->host);
    notify_after(journal, context->told, &event, log_untold, NULL);
}

/* From here on what is logged is about this run, and kept in a file of its own. */
static void begin_log(const struct journal_run *run, void *context)
{
    _cleanup_(freep) char *folder = NULL;
    log_set_context(run->cluster, run->job, run->run_id, run->due_us, run->attempt);
    if (journal_folder(JOURNAL_WRITE, &folder, NULL) == 0)
        log_keep(run_log_open(folder, run->run_id), RUN_LOG_BYTES_MAX);
    char text[ERROR_MESSAGE_MAX], due[INSTANT_TEXT_MAX] = "by hand";
    if (run->due_us != INSTANT_NONE)
        instant_format(run->due_us, due);
    snprintf(text, sizeof(text), "%s/%s (%s) for %s, attempt %d, pgcairn %s", run->cluster,
             run->job, run->type, due, run->attempt, PGCAIRN_VERSION);
    log_kept(&LOG_EVENT(LOG_INFO, text));
    tell_start(context, run);
}

/* The end of the run, for those who do not read it from stdout. */
static void log_outcome(const struct journal_run *run)
{
    char text[ERROR_MESSAGE_MAX + 128];
    struct log_event event = LOG_EVENT(LOG_INFO, text);
    if (run->outcome == OUTCOME_FAILED || run->outcome == OUTCOME_INTERRUPTED)
        event.level = LOG_ERROR;
    event.outcome = journal_outcome_name(run->outcome);
    event.hint = run->hint;
    event.code = run->error_code;
    event.bytes = run->bytes_stored;
    if (run->ended_us != INSTANT_NONE && run->started_us != INSTANT_NONE)
        event.duration_us = run->ended_us - run->started_us;
    snprintf(text, sizeof(text), "%s%s%s%s%s", event.outcome, run->message[0] ? ": " : "",
             run->message, run->backup_id[0] ? ", backup " : "", run->backup_id);
    if (log_get_format() != LOG_TEXT)
        log_event(&event);
    else
        log_kept(&event);
}

/* The policy and the job that the run is of; what owns them stays with the caller. */
static int find_job(const struct globals *globals, const struct arguments *arguments,
                    struct policy_set **ret_set, struct policy **ret_policy,
                    struct run_request *request, struct error *err)
{
    const char *name = arguments->words.items[0];
    if (!is_run(arguments) || !argument_flag(arguments, "policy-stdin"))
        return opened_job(globals, name, ret_set, &request->policy, &request->job, err);
    int rc = policy_stdin_read(globals, ret_policy, err);
    if (rc)
        return rc;
    size_t length = strlen((*ret_policy)->cluster);
    request->policy = *ret_policy;
    if (strncmp(name, (*ret_policy)->cluster, length) == 0 && name[length] == '/')
        request->job = policy_find_job(*ret_policy, name + length + 1);
    return request->job ? 0 : error_set(err, ERR_USAGE, "the policy has no such job");
}

static int read_options(const struct arguments *arguments, struct run_request *request,
                        struct error *err)
{
    request->due_us = INSTANT_NONE;
    request->attempt = 1;
    if (!is_run(arguments))
        return 0;
    const char *due = argument_text(arguments, "due");
    const char *attempt = argument_text(arguments, "attempt");
    int64_t number = 1;
    int rc = 0;
    request->run_id = argument_text(arguments, "run-id");
    request->accept_empty = argument_flag(arguments, "accept-empty");
    if (due)
        rc = command_time(due, request->job->timezone, &request->due_us, err);
    if (!rc && attempt)
        rc = number_parse(attempt, "--attempt", 1, ATTEMPT_MAX, &number, err);
    request->attempt = (int)number;
    return rc;
}

static void print_report(const struct journal_run *run)
{
    char took[UNITS_TEXT_MAX], source[UNITS_TEXT_MAX], stored[UNITS_TEXT_MAX];
    printf("%s/%s: %s", run->cluster, run->job, journal_outcome_name(run->outcome));
    if (run->outcome == OUTCOME_SKIPPED || run->outcome == OUTCOME_NOT_MINE)
        printf(": %s", run->message);
    else
        printf(" in %s", duration_format(run->ended_us - run->started_us, took));
    if (run->bytes_source > 0)
        printf(", %s read", size_format(run->bytes_source, source));
    if (run->bytes_stored > 0)
        printf(", %s stored", size_format(run->bytes_stored, stored));
    if (run->backup_id[0])
        printf(", backup %s", run->backup_id);
    printf("\n");
}

/* The outcome is printed whatever it is; the work's own error comes before one of printing. A
 * maintenance has its tables to show above all when some of them failed. */
static int print_outcome(const struct globals *globals, const struct policy_job *job,
                         const struct run_report *report, int rc, struct error *err)
{
    struct error print = ERROR_NONE;
    int print_rc = 0;
    if (globals->json)
        print_rc = command_print_json(run_report_json(report), &print);
    else if (job->type == JOB_VACUUM && report->details)
        print_rc = vacuum_report_text(report->details, stdout, &print);
    else if (job->type == JOB_DRILL && report->details)
        drill_report_text(report->details, stdout);
    if (!globals->json && rc == 0)
        print_report(&report->run);
    if (!rc && print_rc)
        *err = print;
    return rc ? rc : print_rc;
}

/* -- a snapshot after lost WAL ------------------------------------------------------------- */

static int find_snapshot_job(const struct run_request *request, const struct policy_job **ret_job,
                             struct error *err)
{
    const struct policy *policy = request->policy;
    if (request->job->type != JOB_WAL)
        return error_set(err, ERR_USAGE, "--snapshot-on-gap is for jobs of type wal");
    for (size_t i = 0; i < policy->job_count; i++) {
        if (policy->jobs[i].type == JOB_SNAPSHOT) {
            *ret_job = &policy->jobs[i];
            return 0;
        }
    }
    error_set(err, ERR_USAGE, "--snapshot-on-gap: the policy of %s has no job of type snapshot",
              policy->cluster);
    return error_hint(err, "give it one: pgcairn policy init shows how it is written");
}

/* The lost WAL stays lost and the run a failed one; from the snapshot's end on recovery is possible
 * again. */
static void take_snapshot(const struct run_request *request, const struct policy_job *job,
                          struct run_report *report)
{
    _cleanup_(run_report_clear) struct run_report snapshot = {0};
    struct run_request again = {.policy = request->policy,
                                .job = job,
                                .due_us = INSTANT_NONE,
                                .attempt = 1,
                                .journal = request->journal,
                                .progress = request->progress,
                                .notice = request->notice,
                                .context = request->context};
    struct error error = ERROR_NONE;
    char text[ERROR_MESSAGE_MAX + 128];
    int rc = run_job(&again, &snapshot, &error);
    if (rc)
        snprintf(text, sizeof(text), "the snapshot after lost WAL (%s) failed: %s", job->name,
                 error.message);
    else
        snprintf(text, sizeof(text), "snapshot %s was taken: recovery is possible from its end on",
                 snapshot.run.backup_id);
    strv_add(&report->notices, text, NULL);
    show_notice(text, request->context);
    if (report->details)
        json_object_set_new(report->details, "snapshot", run_report_json(&snapshot));
}

static int command_run_job(const struct globals *globals, const struct arguments *arguments,
                           struct error *err)
{
    _cleanup_(policy_set_freep) struct policy_set *set = NULL;
    _cleanup_(policy_freep) struct policy *policy = NULL;
    _cleanup_(journal_freep) struct journal *journal = NULL;
    _cleanup_(progress_freep) struct progress *progress = NULL;
    _cleanup_(run_report_clear) struct run_report report = {0};
    struct run_context context = {.progress = NULL};
    struct run_request request = {
        .begun = begin_log, .progress = show_progress, .notice = show_notice};
    const struct policy_job *snapshot_job = NULL;
    work_catch_signals();
    int rc = find_job(globals, arguments, &set, &policy, &request, err);
    if (!rc)
        rc = read_options(arguments, &request, err);
    if (!rc && is_run(arguments) && argument_flag(arguments, "snapshot-on-gap"))
        rc = find_snapshot_job(&request, &snapshot_job, err);
    if (!rc)
        rc = progress_new(globals->quiet, counted_items(request.job->type), &progress, err);
    if (rc)
        return rc;
    journal = opened_journal("this run");
    request.journal = journal;
    request.context = &context;
    context.progress = progress;
    if (is_run(arguments) && argument_flag(arguments, "notify"))
        context.told = request.policy;
    if (gethostname(context.host, sizeof(context.host) - 1))
        snprintf(context.host, sizeof(context.host), "?");
    rc = run_job(&request, &report, err);
    if (snapshot_job && report.needs_snapshot)
        take_snapshot(&request, snapshot_job, &report);
    progress_end(progress);
    log_outcome(&report.run);
    rc = print_outcome(globals, request.job, &report, rc, err);
    tell_end(&context, journal, &report.run);
    return rc ? error_prefix(err, "%s", arguments->words.items[0]) : 0;
}

/* -- drill: the same for one type of job --------------------------------------------------- */

static int command_run_drill(const struct globals *globals, const struct arguments *arguments,
                             struct error *err)
{
    _cleanup_(policy_set_freep) struct policy_set *set = NULL;
    const struct policy *policy;
    const struct policy_job *job;
    const char *name = arguments->words.items[0];
    int rc = opened_job(globals, name, &set, &policy, &job, err);
    if (rc)
        return rc;
    if (job->type == JOB_DRILL)
        return command_run_job(globals, arguments, err);
    error_set(err, ERR_USAGE, "%s is a job of type %s, not drill", name, job_type_name(job->type));
    return error_hint(err, "give the policy one: drill: {type: drill, of: %s}", job->name);
}

const struct command COMMAND_DRILL = {
    .name = "drill",
    .usage = "CLUSTER/JOB",
    .summary = "restore a backup into a scratch server and ask whether all is there",
    .examples = "  pgcairn drill automatos/drill\n"
                "  pgcairn --json drill automatos/drill",
    .min_words = 1,
    .max_words = 1,
    .run = command_run_drill,
};

const struct command COMMAND_RUN = {
    .name = "run",
    .usage = "CLUSTER/JOB [--due TIME [--attempt N]] [--snapshot-on-gap] [--notify]",
    .summary = "run one job once now, in this process",
    .examples = "  pgcairn run automatos/nightly\n"
                "  pgcairn --json run automatos/nightly --due 2026-11-21T02:00:00Z\n"
                "  pgcairn run automatos/nightly --notify\n"
                "  pgcairn run automatos/wal --snapshot-on-gap",
    .min_words = 1,
    .max_words = 1,
    .options = OPTIONS,
    .run = command_run_job,
};
