/* `daemon`: every job of every policy on schedule, in the foreground. */
#include "daemon/daemon.h"

#include "base/units.h"
#include "command/commands.h"

static const struct command_option OPTIONS[] = {
    {"drain", OPTION_TEXT, "DURATION", "how long runs may go on after SIGTERM (30s)"},
    {NULL, OPTION_FLAG, NULL, NULL},
};

static int command_daemon(const struct globals *globals, const struct arguments *arguments,
                          struct error *err)
{
    struct daemon_options options = {.policy_paths = &globals->policy_paths,
                                     .drain_us = DAEMON_DRAIN_US};
    const char *drain = argument_text(arguments, "drain");
    int rc = drain ? duration_parse(drain, &options.drain_us, err) : 0;
    if (rc)
        return error_prefix(err, "--drain");
    return daemon_run(&options, err);
}

const struct command COMMAND_DAEMON = {
    .name = "daemon",
    .usage = "[--drain DURATION]",
    .summary = "run every job of every policy on schedule, in the foreground",
    .examples = "  pgcairn -c /etc/pgcairn/policies daemon",
    .min_words = 0,
    .max_words = 0,
    .options = OPTIONS,
    .run = command_daemon,
};
