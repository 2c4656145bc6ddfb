#include "work/guard.h"

#include <signal.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "policy/connection.h"
#include "postgres/migrations.h"
#include "repository/evidence.h"
#include "repository/holds.h"
#include "work/locking.h"
#include "work/policy_load.h"
#include "work/run.h"
#include "work/verify.h"

static const char APPLICATION[] = "pgcairn guard";

void guard_notice(const struct guarding *guarding, const char *format, ...)
{
    char text[ERROR_MESSAGE_MAX];
    va_list args;
    if (!guarding->request->notice)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    guarding->request->notice(text, guarding->request->context);
}

static void guarding_clear(struct guarding *guarding)
{
    PQfinish(guarding->conn);
    if (guarding->conninfo)
        explicit_bzero(guarding->conninfo, strlen(guarding->conninfo));
    free(guarding->conninfo);
    work_databases_clear(&guarding->databases);
}

void guard_report_clear(struct guard_report *report)
{
    json_decref(report->databases);
    report->databases = NULL;
}

const char *guard_outcome_name(enum guard_outcome outcome)
{
    static const char *const NAMES[] = {[GUARD_NOT_STARTED] = "not_started",
                                        [GUARD_DONE] = "done",
                                        [GUARD_FAILED] = "failed",
                                        [GUARD_INTERRUPTED] = "interrupted"};
    return NAMES[outcome];
}

/* Options whose next word is a secret, by how they end: --password, --db-password, --auth-token. */
static bool hides_next(const char *word)
{
    static const char *const SECRETS[] = {"password", "passwd", "passphrase", "pass",  "pwd",
                                          "secret",   "token",  "api-key",    "apikey"};
    size_t length = strlen(word);
    for (size_t i = 0; *word == '-' && i < ARRAY_SIZE(SECRETS); i++) {
        size_t end = strlen(SECRETS[i]);
        if (length > end && strcasecmp(word + length - end, SECRETS[i]) == 0)
            return true;
    }
    return false;
}

/* The command as it may be shown and recorded: words of migration tools hold connection strings. A
 * word that is no UTF-8, or cut amid a character, could not be recorded. */
static int describe_command(struct guarding *guarding, struct error *err)
{
    char *text = guarding->report->command;
    size_t used = 0;
    const char *before = "";
    for (const char *const *word = guarding->request->command; *word && used < GUARD_COMMAND_MAX;
         before = *word++) {
        _cleanup_(freep) char *shown = NULL;
        int rc = connection_redact(hides_next(before) ? "***" : *word, &shown, err);
        if (rc)
            return rc;
        used +=
            (size_t)snprintf(text + used, GUARD_COMMAND_MAX - used, "%s%s", used ? " " : "", shown);
    }
    utf8_mend(text);
    return 0;
}

/* What a shell would take, and we do not. Its value may be a secret. */
static int check_command(const char *program, struct error *err)
{
    size_t length = strcspn(program, "=/");
    if (program[length] != '=')
        return child_check_program(program, err);
    error_set(err, ERR_USAGE, "\"%.*s=\" sets a variable and is no program", (int)length, program);
    return error_hint(err,
                      "set it before pgcairn, whose environment the command has: %.*s=... pgcairn "
                      "guard ...",
                      (int)length, program);
}

/* -- which databases, and where they stand ------------------------------------------------- */

/* Only the one that was named stays; the dump holds the others too. */
static int keep_named(struct guarding *guarding, struct error *err)
{
    struct work_databases *databases = &guarding->databases;
    const char *name = guarding->request->database;
    for (size_t i = 0; i < databases->count; i++) {
        struct work_database found = databases->items[i];
        if (strcmp(found.name, name) != 0)
            continue;
        databases->items[i] = databases->items[0];
        databases->items[0] = found;
        while (databases->count > 1)
            free(databases->items[--databases->count].name);
        return 0;
    }
    error_set(err, ERR_NOT_FOUND, "database \"%s\" is none that job %s dumps", name,
              guarding->request->job->name);
    return error_hint(err, "check databases: in %s:%d", guarding->request->policy->file,
                      guarding->request->policy->databases_line);
}

static int read_stamp(struct guarding *guarding, const char *name, json_t **ret_stamp,
                      struct error *err)
{
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    int rc = pg_connect(guarding->conninfo, name, APPLICATION, &conn, err);
    if (!rc)
        rc = pg_execute(conn, err, "begin read only");
    return rc ? rc : pg_read_migration(conn, ret_stamp, err);
}

static int read_stamps_before(struct guarding *guarding, struct error *err)
{
    json_t *list = guarding->report->databases = json_array();
    int rc = list ? 0 : error_no_memory(err);
    for (size_t i = 0; i < guarding->databases.count && !rc; i++) {
        const char *name = guarding->databases.items[i].name;
        json_t *stamp = NULL;
        rc = read_stamp(guarding, name, &stamp, err);
        if (!rc && json_array_append_new(list, json_pack("{s:s, s:o, s:n}", "database", name,
                                                         "before", stamp, "after")))
            rc = error_no_memory(err);
    }
    return rc;
}

/* A database that can't be read after the command is no more than a notice: the command has done
 * what it did. */
static void read_stamps_after(struct guarding *guarding)
{
    size_t i;
    json_t *entry;
    json_array_foreach(guarding->report->databases, i, entry)
    {
        json_t *stamp = NULL;
        struct error error = ERROR_NONE;
        if (read_stamp(guarding, json_text(entry, "database"), &stamp, &error))
            guard_notice(guarding,
                         "the stamp of database \"%s\" after the command is not known: %s",
                         json_text(entry, "database"), error.message);
        else
            json_object_set_new(entry, "after", stamp);
    }
}

/* Two at once would each dump the other's halves, and put them back. Ends with our session. */
static int take_locks(struct guarding *guarding, struct error *err)
{
    for (size_t i = 0; i < guarding->databases.count; i++) {
        _cleanup_(pg_result_freep) PGresult *result = NULL;
        const char *name = guarding->databases.items[i].name;
        int rc = pg_query(guarding->conn, &result, err,
                          "select pg_catalog.pg_try_advisory_lock(pg_catalog.hashtext('pgcairn "
                          "guard'), pg_catalog.hashtext($1))",
                          name, NULL);
        if (rc)
            return rc;
        if (pg_boolean(result, 0, 0))
            continue;
        error_set(err, ERR_BUSY, "another guard is at work on database \"%s\"", name);
        return error_hint(err, "wait for its command to end: two migrations at once have no way "
                               "back");
    }
    return 0;
}

/* A session that lives has its locks still, and gets them once more. */
int guard_exclude_others(struct guarding *guarding, struct error *err)
{
    struct error lost = ERROR_NONE;
    int rc = take_locks(guarding, &lost);
    if (rc == ERR_CONNECTION) {
        PQfinish(guarding->conn);
        guarding->conn = NULL;
        rc = pg_connect_maintenance(guarding->conninfo, APPLICATION, &guarding->conn, &lost);
        if (!rc)
            rc = take_locks(guarding, &lost);
    }
    if (rc && err)
        *err = lost;
    return rc;
}

static int look(struct guarding *guarding, struct error *err)
{
    const struct guard_request *request = guarding->request;
    int rc = check_command(request->command[0], err);
    if (!rc)
        rc = policy_connection(request->policy, request->job, &guarding->conninfo, err);
    if (!rc)
        rc = pg_connect_maintenance(guarding->conninfo, APPLICATION, &guarding->conn, err);
    if (!rc)
        rc = pg_refuse_pooler(guarding->conn, err);
    if (!rc)
        rc = work_list_databases(request->policy, guarding->conn, &guarding->databases, err);
    if (!rc && request->database)
        rc = keep_named(guarding, err);
    if (!rc && !request->dry_run)
        rc = guard_exclude_others(guarding, err);
    if (!rc)
        rc = read_stamps_before(guarding, err);
    if (!rc && request->restore_on_failure)
        rc = guard_check_return(guarding, err);
    return rc;
}

/* -- the dump: made, held, proved ---------------------------------------------------------- */

static int make_dump(struct guarding *guarding, struct error *err)
{
    const struct guard_request *request = guarding->request;
    _cleanup_(run_report_clear) struct run_report report = {0};
    const struct run_request run = {.policy = request->policy,
                                    .job = request->job,
                                    .due_us = INSTANT_NONE,
                                    .attempt = 1,
                                    .journal = request->journal,
                                    .progress = request->progress,
                                    .notice = request->notice,
                                    .context = request->context};
    int rc = run_job(&run, &report, err);
    if (rc)
        return rc;
    if (!id_parse(report.run.backup_id, NULL))
        return error_set(err, ERR_FAILED, "job %s made no dump", request->job->name);
    snprintf(guarding->report->backup_id, ID_SIZE, "%.21s", report.run.backup_id);
    guarding->report->dumped_us = report.run.started_us;
    return 0;
}

static int hold_dump(struct guarding *guarding, struct error *err)
{
    struct guard_report *report = guarding->report;
    char reason[HOLD_TEXT_MAX];
    snprintf(reason, sizeof(reason), "the way back from: %s", report->command);
    report->held_until_us = instant_now_us() + guarding->request->keep_us;
    const struct hold_request hold = {.backup_id = report->backup_id,
                                      .holder = guarding->request->holder,
                                      .reason = reason,
                                      .expires_us = report->held_until_us};
    return hold_add(guarding->request->repository, &hold, report->hold_id, err);
}

static int prove_dump(struct guarding *guarding, struct error *err)
{
    const struct guard_request *request = guarding->request;
    _cleanup_(locking_freep) struct locking *locking = NULL;
    _cleanup_(verify_report_clear) struct verify_report report = {0};
    const struct lock_request wanted = {.class = LOCK_VERIFY,
                                        .run_id = guarding->report->run_id,
                                        .wait_us = request->job->lock_wait_us};
    int rc = locking_begin(request->repository, &wanted, 0, &locking, err);
    if (rc)
        return rc;
    const struct verify_request verification = {.policy = request->policy,
                                                .repository = request->repository,
                                                .lock = locking_lock(locking),
                                                .backup = guarding->report->backup_id,
                                                .level = GUARD_VERIFY_LEVEL,
                                                .jobs = VERIFY_JOBS_DEFAULT,
                                                .run_id = guarding->report->run_id,
                                                .job = "",
                                                .progress = request->progress,
                                                .notice = request->notice,
                                                .context = request->context};
    rc = verify(&verification, &report, err);
    if (!rc && (verify_result(&report) != VERIFY_PASS || report.proved == 0))
        rc = verify_report_error(&report, err);
    struct error release = ERROR_NONE;
    if (locking_end(locking, &release))
        guard_notice(guarding, "the lock was not given back: %s", release.message);
    return rc;
}

/* A dump of no use need not be kept; what is unknown is. */
static void release_hold(struct guarding *guarding, const struct error *reason)
{
    char text[HOLD_TEXT_MAX];
    snprintf(text, sizeof(text), "the command was not started: %.1500s", reason->message);
    utf8_mend(text);
    if (!hold_release(guarding->request->repository, guarding->report->hold_id, text, NULL))
        guarding->report->hold_id[0] = '\0';
}

static int prepare(struct guarding *guarding, struct error *err)
{
    int rc = make_dump(guarding, err);
    if (!rc)
        rc = hold_dump(guarding, err);
    if (rc)
        return rc;
    rc = prove_dump(guarding, err);
    if (!rc && work_interrupted(err))
        rc = ERR_INTERRUPTED;
    if (rc)
        release_hold(guarding, err);
    return rc;
}

/* -- after the command --------------------------------------------------------------------- */

static json_t *evidence_body(const struct guarding *guarding)
{
    const struct guard_report *report = guarding->report;
    const struct child_status *status = &report->status;
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:O, s:b, s:s?}", "run_id",
        report->run_id, "job", guarding->request->job->name, "backup", report->backup_id, "hold_id",
        report->hold_id, "command", report->command, "outcome", guard_outcome_name(report->outcome),
        "started_at", json_instant(report->started_us), "ended_at", json_instant(report->ended_us),
        "exit_status", status->exited ? json_integer(status->exit_status) : json_null(), "signal",
        status->exited ? json_null() : json_integer(status->signal), "databases", report->databases,
        "restored", report->is_restored, "kept_as", report->kept_as[0] ? report->kept_as : NULL);
}

/* The command is over: that its record is missing is told, and changes nothing of its outcome. */
static void record(struct guarding *guarding)
{
    struct error error = ERROR_NONE;
    struct evidence_tip tip = {0};
    json_t *body = evidence_body(guarding);
    int rc = body ? evidence_add(guarding->request->repository, "guard", body, &tip, &error)
                  : error_no_memory(&error);
    if (rc)
        guard_notice(guarding, "warning: the evidence has no record of this: %s", error.message);
    else
        guarding->report->evidence = tip.number;
}

static int judge(struct guarding *guarding, struct error *err)
{
    struct guard_report *report = guarding->report;
    const struct child_status *status = &report->status;
    const char *program = guarding->request->command[0];
    if (status->exited && status->exit_status == 0) {
        report->outcome = GUARD_DONE;
        return 0;
    }
    bool is_stopped = report->signal ||
                      (!status->exited && (status->signal == SIGINT || status->signal == SIGTERM));
    report->outcome = is_stopped ? GUARD_INTERRUPTED : GUARD_FAILED;
    int code = is_stopped ? ERR_INTERRUPTED : ERR_CHILD;
    if (status->exited)
        error_set(err, code, "%s %s (exit status %d)", program,
                  is_stopped ? "was stopped" : "failed", status->exit_status);
    else
        error_set(err, code, "%s was ended by signal %d", program, status->signal);
    error_hint(err, "the dump from before it is %s", report->backup_id);
    return code;
}

/* What went wrong on the way back is told with the command's own failure, whose code stays. */
static void go_back(struct guarding *guarding, struct error *err)
{
    struct error failure = *err, reason = ERROR_NONE;
    const struct guard_report *report = guarding->report;
    if (guard_return(guarding, &reason)) {
        error_set(err, failure.code, "%.600s; %.1200s", failure.message, reason.message);
        error_hint(err, "%s", error_cure(&reason));
        return;
    }
    error_hint(err,
               "database \"%s\" is as it was when it was dumped; what the command left is \"%s\"",
               guarding->databases.items[0].name, report->kept_as);
}

static int run_guarded(struct guarding *guarding, struct error *err)
{
    const struct guard_request *request = guarding->request;
    if (request->starting)
        request->starting(guarding->report, request->context);
    int rc = guard_command(guarding, err);
    if (guarding->report->started_us == INSTANT_NONE) {
        release_hold(guarding, err);
        return rc;
    }
    if (!rc)
        rc = judge(guarding, err);
    else
        guarding->report->outcome = GUARD_FAILED;
    read_stamps_after(guarding);
    if (rc && request->failed)
        request->failed(guarding->report, request->context);
    record(guarding);
    if (rc && request->restore_on_failure) {
        go_back(guarding, err);
        if (guarding->report->is_restored)
            record(guarding);
    }
    return rc;
}

int guard_run(const struct guard_request *request, struct guard_report *ret_report,
              struct error *err)
{
    struct guarding guarding = {.request = request, .report = ret_report};
    *ret_report = (struct guard_report){.started_us = INSTANT_NONE,
                                        .ended_us = INSTANT_NONE,
                                        .dumped_us = INSTANT_NONE,
                                        .held_until_us = INSTANT_NONE};
    int rc = id_make(instant_now_us(), ret_report->run_id, err);
    if (!rc)
        rc = describe_command(&guarding, err);
    if (!rc)
        rc = look(&guarding, err);
    if (!rc && !request->dry_run)
        rc = prepare(&guarding, err);
    if (rc)
        error_prefix(err, "the command was not started");
    else if (!request->dry_run)
        rc = run_guarded(&guarding, err);
    guarding_clear(&guarding);
    return rc;
}
