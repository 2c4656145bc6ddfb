/* restore dump: the command for 3 a.m. */
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/units.h"
#include "command/commands.h"
#include "command/opened.h"
#include "command/progress.h"
#include "policy/connection.h"
#include "work/locking.h"
#include "work/restore.h"

enum { JOBS_MAX = 64 };

static void tell(const char *text, void *progress)
{
    progress_notice(progress, text);
}

static void show_progress(const char *phase, int64_t done, int64_t total, void *progress)
{
    progress_show(progress, phase, done, total);
}

static int take_globals(const struct arguments *arguments, struct restore_request *request,
                        struct error *err)
{
    const char *globals = argument_text(arguments, "globals");
    request->create_roles = !globals || strcmp(globals, "missing") == 0;
    if (globals && !request->create_roles && strcmp(globals, "none") != 0)
        return error_set(err, ERR_USAGE, "--globals is none or missing, not \"%s\"", globals);
    return 0;
}

static int take_jobs(const struct arguments *arguments, struct restore_request *request,
                     struct error *err)
{
    int64_t jobs = RESTORE_JOBS_DEFAULT;
    const char *text = argument_text(arguments, "jobs");
    int rc = text ? number_parse(text, "--jobs", 1, JOBS_MAX, &jobs, err) : 0;
    request->jobs = (int)jobs;
    return rc;
}

static int fill_request(const struct arguments *arguments, struct restore_request *request,
                        struct error *err)
{
    request->backup = arguments->words.items[1];
    request->database = argument_text(arguments, "database");
    request->into = argument_text(arguments, "into");
    request->tables = argument_list(arguments, "table");
    request->no_owner = argument_flag(arguments, "no-owner");
    request->no_privileges = argument_flag(arguments, "no-privileges");
    request->no_tablespaces = argument_flag(arguments, "no-tablespaces");
    request->role = argument_text(arguments, "role");
    request->no_analyze = argument_flag(arguments, "no-analyze");
    request->no_counts = argument_flag(arguments, "no-counts");
    request->dry_run = argument_flag(arguments, "dry-run");
    int rc = take_globals(arguments, request, err);
    return rc ? rc : take_jobs(arguments, request, err);
}

static void print_names(const char *label, const json_t *names)
{
    size_t i;
    json_t *name;
    json_array_foreach(names, i, name)
    {
        printf("%s%s", i ? ", " : label, json_string_value(name));
    }
    if (json_array_size(names))
        printf("\n");
}

static void print_report(const json_t *report, bool dry_run)
{
    size_t i;
    json_t *database;
    const json_t *roles = json_object_get(report, "roles");
    printf("backup %s\n", json_text(report, "id"));
    print_names(dry_run ? "would create roles: " : "created roles: ",
                json_object_get(roles, "create"));
    print_names("roles the target lacks: ", json_object_get(roles, "missing"));
    print_names("roles that differ and are left as they are: ",
                json_object_get(roles, "different"));
    json_array_foreach(json_object_get(report, "databases"), i, database)
    {
        char bytes[UNITS_TEXT_MAX];
        size_format(json_integer_value(json_object_get(database, "bytes_stored")), bytes);
        printf("%s database %s into %s%s: %lld tables, %s", dry_run ? "would restore" : "restored",
               json_string_value(json_object_get(database, "database")),
               json_string_value(json_object_get(database, "into")),
               json_is_true(json_object_get(database, "creates_database")) ? " (new)" : "",
               (long long)json_integer_value(json_object_get(database, "table_count")), bytes);
        if (!dry_run)
            printf(", %lld rows", (long long)json_integer_value(json_object_get(database, "rows")));
        printf("\n");
        print_names("  tables: ", json_object_get(database, "tables"));
    }
}

/* A connection string given on the command line may be one of an ORM's, as in a policy. */
static int take_target(const char *target, char **ret_conninfo, struct error *err)
{
    _cleanup_(strv_clear) struct strv notices = STRV_INIT(100);
    int rc = connection_normalise(target, ret_conninfo, &notices, err);
    for (size_t i = 0; i < notices.count && !rc; i++)
        log_line(LOG_WARNING, "--target: %s", notices.items[i]);
    return rc;
}

static int restore_locked(const struct globals *globals, struct restore_request *request,
                          struct error *err)
{
    _cleanup_(json_release) json_t *report = NULL;
    _cleanup_(locking_freep) struct locking *locking = NULL;
    _cleanup_(progress_freep) struct progress *progress = NULL;
    struct lock_request wanted = {.class = LOCK_RESTORE, .run_id = ""};
    int rc = progress_new(globals->quiet, NULL, &progress, err);
    if (!rc)
        rc = locking_begin(request->repository, &wanted, 0, &locking, err);
    if (rc)
        return rc;
    request->progress = show_progress;
    request->notice = tell;
    request->context = progress;
    work_catch_signals();
    rc = restore_dump(request, &report, err);
    progress_end(progress);
    if (rc)
        return rc;
    if (globals->json)
        return command_print_json(
            json_pack("{s:O}", request->dry_run ? "plan" : "restored", report), err);
    print_report(report, request->dry_run);
    return 0;
}

static int restore_run(const struct globals *globals, const struct arguments *arguments,
                       struct error *err)
{
    _cleanup_(opened_clear) struct opened opened = {0};
    _cleanup_(freep) char *target = NULL;
    struct restore_request request = {0};
    int rc = fill_request(arguments, &request, err);
    if (!rc && argument_text(arguments, "target"))
        rc = take_target(argument_text(arguments, "target"), &target, err);
    if (!rc)
        rc = opened_cluster(globals, arguments->words.items[0], &opened, err);
    if (rc)
        return rc;
    request.policy = opened.policy;
    request.repository = opened.repository;
    request.target = target;
    rc = restore_locked(globals, &request, err);
    return rc ? error_prefix(err, "%s", opened.policy->cluster) : 0;
}

static const struct command_option RESTORE_OPTIONS[] = {
    {"database", OPTION_TEXT, "DB", "one database of the backup; all without it"},
    {"into", OPTION_TEXT, "NAME", "restore under another name"},
    {"target", OPTION_TEXT, "URL", "another server than the policy's"},
    {"table", OPTION_LIST, "PATTERN",
     "only these tables, as psql patterns: '\"Models\"', 'audit.*'"},
    {"no-owner", OPTION_FLAG, NULL, "everything belongs to the role that restores"},
    {"no-privileges", OPTION_FLAG, NULL, "leave out GRANT and REVOKE"},
    {"no-tablespaces", OPTION_FLAG, NULL, "everything goes into the default tablespace"},
    {"role", OPTION_TEXT, "R", "restore as this role (SET ROLE)"},
    {"globals", OPTION_TEXT, "none|missing", "create roles that are missing (default), or none"},
    {"jobs", OPTION_TEXT, "N", "connections that load and index at once (default 4)"},
    {"dry-run", OPTION_FLAG, NULL, "check everything, change nothing"},
    {"no-analyze", OPTION_FLAG, NULL, "leave ANALYZE for later"},
    {"no-counts", OPTION_FLAG, NULL, "do not count the rows again at the end"},
    {0},
};

const struct command COMMAND_RESTORE_DUMP = {
    .name = "restore dump",
    .usage = "CLUSTER ID|latest [OPTIONS]",
    .summary = "restore a logical dump, whole or by table",
    .examples = "  pgcairn restore dump automatos latest --into automatos_restored\n"
                "  pgcairn restore dump automatos latest --table '\"Models\"' --into scratch\n"
                "  pgcairn restore dump automatos 20261121T020000Z-x7q2 --dry-run",
    .min_words = 2,
    .max_words = 2,
    .options = RESTORE_OPTIONS,
    .run = restore_run,
};
