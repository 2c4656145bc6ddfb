/* wal push: one WAL file into the repository, as archive_command wants it. */
#include "base/log.h"
#include "base/state.h"
#include "base/units.h"
#include "command/commands.h"
#include "command/opened.h"
#include "spool/marks.h"
#include "work/wal_push.h"
#include "work/work.h"

static void show_notice(const char *text, void *context)
{
    (void)context;
    log_line(LOG_WARNING, "%s", text);
}

static int read_timeout(const struct arguments *arguments, int64_t *ret_us, struct error *err)
{
    const char *text = argument_text(arguments, "timeout");
    *ret_us = WAL_PUSH_TIMEOUT_US;
    int rc = text ? duration_parse(text, ret_us, err) : 0;
    return rc ? error_prefix(err, "--timeout"), rc : 0;
}

static int wal_push_run(const struct globals *globals, const struct arguments *arguments,
                        struct error *err)
{
    _cleanup_(policy_set_freep) struct policy_set *set = NULL;
    _cleanup_(freep) char *state = NULL;
    char naming[MARKS_PATH_MAX];
    struct wal_push push = {.path = arguments->words.items[1], .notice = show_notice};
    struct wal_push_report report;
    struct error reason = ERROR_NONE;
    work_catch_signals();
    int rc = read_timeout(arguments, &push.timeout_us, err);
    if (!rc)
        rc = opened_policy(globals, arguments->words.items[0], &set, &push.policy, err);
    if (rc)
        return rc;
    rc = state_folder(&state, &reason);
    if (!rc)
        rc =
            marks_naming(globals->policy_paths.items, globals->policy_paths.count, naming, &reason);
    if (rc)
        log_line(LOG_WARNING, "nothing is stored ahead: %s", reason.message);
    push.naming = rc ? NULL : naming;
    push.state = rc ? NULL : state;
    rc = wal_push(&push, &report, err);
    if (!rc)
        log_line(LOG_DEBUG, "%s is stored%s, %zu more ahead", push.path,
                 report.was_marked || report.was_there ? " already" : "", report.ahead);
    return rc;
}

static const struct command_option PUSH_OPTIONS[] = {
    {"timeout", OPTION_TEXT, "DURATION", "fail when the file is not stored by then (5m)"},
    {0},
};

const struct command COMMAND_WAL_PUSH = {
    .name = "wal push",
    .usage = "CLUSTER PATH [--timeout DURATION]",
    .summary = "store a WAL file, and those that wait behind it: for archive_command",
    .examples = "  pgcairn wal push automatos pg_wal/000000010000000000000003",
    .min_words = 2,
    .max_words = 2,
    .options = PUSH_OPTIONS,
    .run = wal_push_run,
};
