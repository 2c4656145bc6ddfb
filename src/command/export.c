/* export: a dump as plain SQL on stdout. */
#include <string.h>

#include "command/commands.h"
#include "command/opened.h"
#include "work/export.h"
#include "work/locking.h"

static int export_run(const struct globals *globals, const struct arguments *arguments,
                      struct error *err)
{
    const char *format = argument_text(arguments, "format");
    struct strv no_tables = STRV_INIT(1);
    _cleanup_(opened_clear) struct opened opened = {0};
    _cleanup_(locking_freep) struct locking *locking = NULL;
    struct lock_request wanted = {.class = LOCK_RESTORE, .run_id = ""};
    if (format && strcmp(format, "plain") != 0)
        return error_set(err, ERR_USAGE, "--format is plain, not \"%s\"", format);
    if (globals->json)
        return error_set(err, ERR_USAGE,
                         "export writes SQL on stdout: it can't be used with --json");
    int rc = opened_cluster(globals, arguments->words.items[0], &opened, err);
    if (!rc)
        rc = locking_begin(opened.repository, &wanted, 0, &locking, err);
    if (rc)
        return rc;
    work_catch_signals();
    struct restore_request request = {.policy = opened.policy,
                                      .repository = opened.repository,
                                      .backup = arguments->words.items[1],
                                      .database = argument_text(arguments, "database"),
                                      .tables = &no_tables};
    return export_plain(&request, STDOUT_FILENO, err);
}

static const struct command_option EXPORT_OPTIONS[] = {
    {"database", OPTION_TEXT, "DB", "which database of the backup, when it has several"},
    {"format", OPTION_TEXT, "plain", "plain SQL, the only format"},
    {0},
};

const struct command COMMAND_EXPORT = {
    .name = "export",
    .usage = "CLUSTER ID|latest [--database DB] [--format plain]",
    .summary = "a dump as plain SQL on stdout, for psql or any other tool",
    .examples = "  pgcairn export automatos latest | psql -X -d empty_database",
    .min_words = 2,
    .max_words = 2,
    .options = EXPORT_OPTIONS,
    .run = export_run,
};
