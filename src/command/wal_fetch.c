/* wal fetch: one WAL file out of the repository, as restore_command wants it; and wal ahead, which
 * it starts. Their exit status is command_settle()'s. */
#include <errno.h>
#include <fcntl.h>

#include "base/log.h"
#include "base/state.h"
#include "command/commands.h"
#include "command/opened.h"
#include "work/wal_ahead.h"
#include "work/wal_fetch.h"
#include "work/work.h"

static int wal_fetch_run(const struct globals *globals, const struct arguments *arguments,
                         struct error *err)
{
    _cleanup_(policy_set_freep) struct policy_set *set = NULL;
    _cleanup_(freep) char *state = NULL;
    struct wal_fetch fetch = {.name = arguments->words.items[1],
                              .destination = arguments->words.items[2],
                              .policy_paths = &globals->policy_paths,
                              .is_standby = argument_flag(arguments, "standby")};
    struct error reason = ERROR_NONE;
    work_catch_signals();
    int rc = opened_policy(globals, arguments->words.items[0], &set, &fetch.policy, err);
    if (rc) /* that a policy is not found is no absence of WAL */
        return rc == ERR_NOT_FOUND ? ERR_POLICY : rc;
    if (!argument_flag(arguments, "alone") && state_folder(&state, &reason))
        log_line(LOG_DEBUG, "nothing is fetched ahead: %s", reason.message);
    fetch.state = state;
    fetch.cause = getenv(WAL_FETCH_CAUSE);
    rc = wal_fetch(&fetch, err);
    if (rc != ERR_NOT_FOUND)
        return rc;
    /* Every recovery ends so, and a standby asks every few seconds: it is no error to be told. */
    log_line(LOG_DEBUG, "%s", err->message);
    return command_verdict(rc, err);
}

static const struct command_option FETCH_OPTIONS[] = {
    {"standby", OPTION_FLAG, NULL, "for a standby, which asks again: exit 1 on doubt too"},
    {"alone", OPTION_FLAG, NULL, "this file only: nothing is fetched ahead"},
    {0},
};

const struct command COMMAND_WAL_FETCH = {
    .name = "wal fetch",
    .usage = "CLUSTER NAME DEST [--standby] [--alone]",
    .summary = "put a stored WAL file at a place: for restore_command",
    .examples = "  pgcairn wal fetch automatos 000000010000000000000003 pg_wal/RECOVERYXLOG",
    .min_words = 3,
    .max_words = 3,
    .options = FETCH_OPTIONS,
    .run = wal_fetch_run,
};

/* The server's log is not ours to hold open: nobody reads what this says. */
static void leave_stderr(void)
{
    _cleanup_(closep) int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (fd >= 0)
        dup2(fd, STDERR_FILENO);
}

static int wal_ahead_command(const struct globals *globals, const struct arguments *arguments,
                             struct error *err)
{
    _cleanup_(policy_set_freep) struct policy_set *set = NULL;
    _cleanup_(freep) char *file = NULL;
    const struct policy *policy;
    const struct strv *paths = &globals->policy_paths;
    char naming[MARKS_PATH_MAX];
    leave_stderr();
    work_catch_signals();
    int rc = opened_policy(globals, arguments->words.items[0], &set, &policy, err);
    if (rc)
        return rc;
    struct marks_origin origin = {.system = arguments->words.items[2]};
    file = realpath(policy->file, NULL);
    if (file && !ahead_naming(paths->items, paths->count, arguments->words.items[3], naming, NULL))
        origin = (struct marks_origin){origin.system, naming, file};
    if (chdir("/") != 0) /* a data directory that we stand in could not be unmounted */
        return error_set_errno(err, errno, "could not change to \"/\"");
    return wal_ahead_run(policy, arguments->words.items[1], &origin, err);
}

const struct command COMMAND_WAL_AHEAD = {
    .name = "wal ahead",
    .usage = "CLUSTER FOLDER SYSTEM DATA",
    .summary = "fetch segments ahead of a recovery: what wal fetch starts, and ends by itself",
    .min_words = 4,
    .max_words = 4,
    .run = wal_ahead_command,
};
