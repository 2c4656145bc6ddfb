/* `guard`: a migration with a proved dump before it and a way back behind it. What it says goes to
 * stderr, for stdout is the command's; with --json it is the other way round. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/units.h"
#include "command/commands.h"
#include "command/opened.h"
#include "command/person.h"
#include "command/progress.h"
#include "work/guard.h"

enum { LINES_MAX = 16, SHELL_LIMIT = 16 << 10 };

static const struct command_option OPTIONS[] = {
    {"job", OPTION_TEXT, "JOB", "the dump job to run before (the policy's only or first one)"},
    {"database", OPTION_TEXT, "DB", "what the command migrates; the dump holds the others too"},
    {"keep", OPTION_TEXT, "DURATION", "how long the dump is held, whatever retention wants (7d)"},
    {"restore-on-failure", OPTION_FLAG, NULL, "put the database back by itself; see below"},
    {"terminate", OPTION_FLAG, NULL, "with it: end sessions that are in the way"},
    {"dry-run", OPTION_FLAG, NULL, "look at everything, run nothing"},
    {NULL, OPTION_FLAG, NULL, NULL},
};

/* What the callbacks have in their hands. */
struct telling {
    const struct globals *globals;
    const struct guard_request *request;
    struct progress *progress;
};

static void show_progress(const char *phase, int64_t done, int64_t total, void *context)
{
    progress_show(((struct telling *)context)->progress, phase, done, total);
}

static void show_notice(const char *text, void *context)
{
    progress_notice(((struct telling *)context)->progress, text);
}

/* -- the way back, in words ---------------------------------------------------------------- */

/* A word for a shell. */
static void add_shell(struct buf *line, const char *word)
{
    if (*word &&
        strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-") ==
            strlen(word)) {
        buf_addf(line, " %s", word);
        return;
    }
    buf_add_text(line, " '");
    for (; *word; word++)
        if (*word == '\'')
            buf_add_text(line, "'\\''");
        else
            buf_add(line, word, 1);
    buf_add_text(line, "'");
}

static int add_line(struct strv *lines, struct buf *line, struct error *err)
{
    int rc = buf_failed(line, "a line", err);
    if (!rc)
        rc = strv_add(lines, buf_text(line), err);
    buf_clear(line);
    return rc;
}

/* Good from any folder. */
static void add_program(struct buf *line, const struct globals *globals)
{
    const char *environment = getenv("PGCAIRN_POLICY");
    buf_add_text(line, "pgcairn");
    if (globals->policy_paths.count == 0 && environment) {
        buf_add_text(line, " -c");
        add_shell(line, environment);
    }
    for (size_t i = 0; i < globals->policy_paths.count; i++) {
        _cleanup_(freep) char *path = realpath(globals->policy_paths.items[i], NULL);
        buf_add_text(line, " -c");
        add_shell(line, path ? path : globals->policy_paths.items[i]);
    }
}

/* The exact commands, a line each, for one database. */
static int list_way_back(const struct telling *telling, const struct guard_report *report,
                         const char *database, struct strv *lines, struct error *err)
{
    const struct guard_request *request = telling->request;
    char into[GUARD_NAME_MAX + 1];
    _cleanup_(buf_clear) struct buf line = BUF_INIT(SHELL_LIMIT);
    guard_name_beside(database, "restored", report->run_id, into);
    add_program(&line, telling->globals);
    buf_addf(&line, " restore dump %s %s --database", request->policy->cluster, report->backup_id);
    add_shell(&line, database);
    buf_add_text(&line, " --into");
    add_shell(&line, into);
    int rc = add_line(lines, &line, err);
    if (!rc && !guard_add_renames(&line, database, report->run_id))
        rc = add_line(lines, &line, err);
    return rc;
}

static json_t *way_back_json(const struct telling *telling, const struct guard_report *report)
{
    json_t *list = json_array(), *entry;
    size_t i, k;
    json_array_foreach(report->databases, i, entry)
    {
        _cleanup_(strv_clear) struct strv lines = STRV_INIT(LINES_MAX);
        const char *database = json_text(entry, "database");
        if (list_way_back(telling, report, database, &lines, NULL))
            continue;
        json_t *steps = json_array();
        for (k = 0; k < lines.count; k++)
            json_array_append_new(steps, json_string(lines.items[k]));
        json_array_append_new(list, json_pack("{s:s, s:o}", "database", database, "steps", steps));
    }
    return list;
}

/* The terminal is the command's from here on. */
static void tell_start(const struct guard_report *report, void *context)
{
    const struct telling *telling = context;
    progress_end(telling->progress);
    log_line(LOG_INFO, "dump %s is proved and held; running: %s", report->backup_id,
             report->command);
}

static bool has_job(const struct policy *policy, enum job_type type)
{
    for (size_t i = 0; i < policy->job_count; i++)
        if (policy->jobs[i].type == type)
            return true;
    return false;
}

static void tell_stamp(const char *when, const json_t *stamp)
{
    if (json_is_object(stamp))
        fprintf(stderr, "  %s: %s %s\n", when, json_text(stamp, "tool"), json_text(stamp, "stamp"));
    else
        fprintf(stderr, "  %s: no migration is recorded\n", when);
}

/* Once the command has failed, before anything is put back. */
static void tell_failure(const struct guard_report *report, void *context)
{
    const struct telling *telling = context;
    const struct policy *policy = telling->request->policy;
    char dumped[INSTANT_TEXT_MAX], until[INSTANT_TEXT_MAX];
    size_t i;
    json_t *entry;
    progress_end(telling->progress);
    fprintf(stderr, "\nthe command %s: %s\n",
            report->outcome == GUARD_INTERRUPTED ? "was stopped" : "failed", report->command);
    json_array_foreach(report->databases, i, entry)
    {
        _cleanup_(strv_clear) struct strv lines = STRV_INIT(LINES_MAX);
        fprintf(stderr, "database %s\n", json_text(entry, "database"));
        tell_stamp("before", json_object_get(entry, "before"));
        tell_stamp("now   ", json_object_get(entry, "after"));
        if (list_way_back(telling, report, json_text(entry, "database"), &lines, NULL) ||
            lines.count < 2)
            continue;
        fprintf(stderr, "  to go back:\n    %s\n", lines.items[0]);
        fprintf(stderr, "  then, when nobody is connected to it, in psql -d postgres:\n    %s\n",
                lines.items[1]);
    }
    fprintf(stderr,
            "dump %s began at %s, was read again and is held until %s\n"
            "rows written since then are not in it: they stay in the database that is renamed\n",
            report->backup_id, instant_format(report->dumped_us, dumped),
            instant_format(report->held_until_us, until));
    if (has_job(policy, JOB_WAL) && has_job(policy, JOB_SNAPSHOT))
        fprintf(stderr,
                "with them, up to the command's start, beside the server: pgcairn restore snapshot "
                "%s --target-dir DIR --to '%s'\n",
                policy->cluster, instant_format(report->started_us, dumped));
    fprintf(stderr, "\n");
}

/* -- the result ---------------------------------------------------------------------------- */

static json_t *report_json(const struct telling *telling, const struct guard_report *report,
                           const struct error *error)
{
    const struct guard_request *request = telling->request;
    const struct child_status *status = &report->status;
    bool has_ended = report->ended_us != INSTANT_NONE;
    const char *outcome =
        request->dry_run && !error->code ? "planned" : guard_outcome_name(report->outcome);
    json_t *failure = error->code
                          ? json_pack("{s:s, s:s, s:s}", "code", error_code_name(error->code),
                                      "message", error->message, "hint", error_cure(error))
                          : json_null();
    bool is_failed = report->outcome == GUARD_FAILED || report->outcome == GUARD_INTERRUPTED;
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s?, s:s?, s:o, s:o, s:o, s:o, s:o, s:o, s:O?, s:b, s:s?, "
        "s:s?, s:o, s:o, s:o}",
        "run_id", report->run_id, "cluster", request->policy->cluster, "job", request->job->name,
        "command", report->command, "outcome", outcome, "backup_id",
        report->backup_id[0] ? report->backup_id : NULL, "hold_id",
        report->hold_id[0] ? report->hold_id : NULL, "held_until",
        json_instant(report->held_until_us), "dumped_at", json_instant(report->dumped_us),
        "started_at", json_instant(report->started_us), "ended_at", json_instant(report->ended_us),
        "exit_status",
        has_ended && status->exited ? json_integer(status->exit_status) : json_null(), "signal",
        has_ended && !status->exited ? json_integer(status->signal) : json_null(), "databases",
        report->databases, "restored", report->is_restored, "restored_as",
        report->restored[0] ? report->restored : NULL, "kept_as",
        report->kept_as[0] ? report->kept_as : NULL, "go_back",
        is_failed ? way_back_json(telling, report) : json_null(), "evidence",
        report->evidence ? json_integer(report->evidence) : json_null(), "error", failure);
}

static void print_plan(const struct guard_request *request, const struct guard_report *report)
{
    char keep[UNITS_TEXT_MAX];
    size_t i;
    json_t *entry;
    printf("would dump with job %s/%s, read the dump again, hold it for %s, and run: %s\n",
           request->policy->cluster, request->job->name, duration_format(request->keep_us, keep),
           report->command);
    json_array_foreach(report->databases, i, entry)
    {
        const json_t *stamp = json_object_get(entry, "before");
        printf("database %s stands at: %s %s\n", json_text(entry, "database"),
               json_is_object(stamp) ? json_text(stamp, "tool") : "no migration is recorded",
               json_is_object(stamp) ? json_text(stamp, "stamp") : "");
    }
    if (request->restore_on_failure)
        printf("if it fails, the dump would be restored beside it and the two change names\n");
}

static void tell_success(const struct guard_report *report)
{
    char until[INSTANT_TEXT_MAX];
    size_t i;
    json_t *entry;
    log_line(LOG_INFO, "the command succeeded; dump %s from before it is held until %s",
             report->backup_id, instant_format(report->held_until_us, until));
    json_array_foreach(report->databases, i, entry)
    {
        const char *before = json_text(json_object_get(entry, "before"), "stamp"),
                   *after = json_text(json_object_get(entry, "after"), "stamp");
        log_line(LOG_INFO, "database %s: %s -> %s", json_text(entry, "database"),
                 before[0] ? before : "no migration", after[0] ? after : "no migration");
    }
}

static int print(const struct telling *telling, const struct guard_report *report, int rc,
                 struct error *err)
{
    const struct globals *globals = telling->globals;
    struct error print_error = ERROR_NONE;
    int print_rc = 0;
    if (globals->json)
        print_rc =
            command_print_json(report_json(telling, report, rc ? err : &print_error), &print_error);
    else if (!rc && telling->request->dry_run)
        print_plan(telling->request, report);
    else if (!rc)
        tell_success(report);
    if (!rc && print_rc)
        *err = print_error;
    return rc ? rc : print_rc;
}

/* -- beginning ----------------------------------------------------------------------------- */

/* Without --job the policy's first dump job. */
static int find_job(const struct policy *policy, const char *name,
                    const struct policy_job **ret_job, struct error *err)
{
    for (size_t i = 0; i < policy->job_count; i++) {
        const struct policy_job *job = &policy->jobs[i];
        if (name ? strcmp(job->name, name) != 0 : job->type != JOB_DUMP)
            continue;
        if (job->type != JOB_DUMP) {
            error_set(err, ERR_USAGE, "%s/%s is a job of type %s, not dump", policy->cluster, name,
                      job_type_name(job->type));
            return error_hint(err, "name a job that makes dumps");
        }
        *ret_job = job;
        return 0;
    }
    error_set(err, ERR_USAGE, "the policy of %s has no %s%s", policy->cluster,
              name ? "job " : "job of type dump", name ? name : "");
    return error_hint(err, "give it one: jobs: {nightly: {type: dump, schedule: \"0 2 * * *\"}}");
}

static int read_options(const struct arguments *arguments, struct guard_request *request,
                        struct error *err)
{
    const char *keep = argument_text(arguments, "keep");
    request->database = argument_text(arguments, "database");
    request->restore_on_failure = argument_flag(arguments, "restore-on-failure");
    request->terminate = argument_flag(arguments, "terminate");
    request->dry_run = argument_flag(arguments, "dry-run");
    request->command = (const char *const *)(arguments->words.items + 1);
    request->keep_us = GUARD_KEEP_US;
    if (request->terminate && !request->restore_on_failure) {
        error_set(err, ERR_USAGE, "--terminate is for --restore-on-failure");
        return error_hint(err, "sessions are ended only to put a database back");
    }
    if (!keep)
        return 0;
    int rc = duration_parse(keep, &request->keep_us, err);
    if (rc)
        return error_prefix(err, "--keep");
    if (request->keep_us < US_PER_HOUR)
        return error_set(err, ERR_USAGE, "--keep must be an hour or more, as 7d");
    return 0;
}

static int run(const struct globals *globals, const struct arguments *arguments, struct error *err)
{
    _cleanup_(opened_clear) struct opened opened = {0};
    _cleanup_(progress_freep) struct progress *progress = NULL;
    _cleanup_(journal_freep) struct journal *journal = NULL;
    _cleanup_(guard_report_clear) struct guard_report report = {0};
    char holder[PERSON_MAX];
    struct guard_request request = {.holder = holder,
                                    .starting = tell_start,
                                    .failed = tell_failure,
                                    .progress = show_progress,
                                    .notice = show_notice,
                                    .output_to_stderr = globals->json};
    struct telling telling = {.globals = globals, .request = &request};
    int rc = read_options(arguments, &request, err);
    if (!rc && (rc = opened_cluster(globals, arguments->words.items[0], &opened, err)))
        error_prefix(err, "the command was not started");
    if (!rc)
        rc = find_job(opened.policy, argument_text(arguments, "job"), &request.job, err);
    if (!rc)
        rc = progress_new(globals->quiet, NULL, &progress, err);
    if (rc)
        return rc;
    person_name(holder);
    if (!request.dry_run)
        journal = opened_journal("the dump's run");
    telling.progress = progress;
    request.context = &telling;
    request.policy = opened.policy;
    request.repository = opened.repository;
    request.journal = journal;
    work_catch_signals();
    rc = guard_run(&request, &report, err);
    progress_end(progress);
    rc = print(&telling, &report, rc, err);
    return rc ? error_prefix(err, "%s", opened.policy->cluster) : 0;
}

const struct command COMMAND_GUARD = {
    .name = "guard",
    .usage = "CLUSTER [OPTIONS] -- COMMAND...",
    .summary = "dump, run a migration, say how to go back if it fails",
    .examples =
        "  pgcairn guard automatos -- alembic upgrade head\n"
        "  pgcairn guard automatos --database app -- npx drizzle-kit migrate\n"
        "  pgcairn guard automatos --restore-on-failure --terminate -- npm run migrate\n"
        "  pgcairn guard automatos --dry-run --restore-on-failure -- npx prisma migrate "
        "deploy\n"
        "\n"
        "The command starts only when the dump is stored, was read again and is held. With\n"
        "--restore-on-failure the dump is restored under another name and the two change\n"
        "names, when nobody is connected to the old one or with --terminate; the old one\n"
        "is kept as NAME_broken_xxxx. Exit status: 0 the command succeeded, 1 it failed,\n"
        "5 it was stopped; else it was not started.",
    .min_words = 2,
    .max_words = -1,
    .options = OPTIONS,
    .run = run,
};
