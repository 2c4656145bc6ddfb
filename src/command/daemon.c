/* `daemon`: every job of every policy on schedule, in the foreground. */
#include "daemon/daemon.h"

#include "base/units.h"
#include "command/commands.h"

static const struct command_option OPTIONS[] = {
    {"max-running", OPTION_TEXT, "N", "how many runs at a time, those of wal jobs left aside (16)"},
    {"drain", OPTION_TEXT, "DURATION", "how long runs may go on after SIGTERM (30s)"},
    {"listen", OPTION_TEXT, "ADDRESS:PORT",
     "show status page, /metrics, /healthz and /readyz there ($PGCAIRN_LISTEN)"},
    {"token-file", OPTION_TEXT, "FILE",
     "who wants page or metrics must know the token in it ($PGCAIRN_TOKEN_FILE)"},
    {"gather-every", OPTION_TEXT, "DURATION",
     "how often repository and server are asked for the metrics (5m)"},
    {NULL, OPTION_FLAG, NULL, NULL},
};

static const char *text_or_environment(const struct arguments *arguments, const char *option,
                                       const char *variable)
{
    const char *text = argument_text(arguments, option);
    if (!text)
        text = getenv(variable);
    return text && *text ? text : NULL;
}

static int command_daemon(const struct globals *globals, const struct arguments *arguments,
                          struct error *err)
{
    struct daemon_options options = {
        .policy_paths = &globals->policy_paths,
        .drain_us = DAEMON_DRAIN_US,
        .gather_us = DAEMON_GATHER_US,
        .listen = text_or_environment(arguments, "listen", "PGCAIRN_LISTEN"),
        .token_file = text_or_environment(arguments, "token-file", "PGCAIRN_TOKEN_FILE")};
    const char *drain = argument_text(arguments, "drain");
    const char *gather = argument_text(arguments, "gather-every");
    int rc = drain ? duration_parse(drain, &options.drain_us, err) : 0;
    if (rc)
        return error_prefix(err, "--drain");
    const char *most = argument_text(arguments, "max-running");
    int64_t max_running = 0;
    rc = most ? number_parse(most, "--max-running", 1, DAEMON_RUNNING_MOST, &max_running, err) : 0;
    if (rc)
        return rc;
    options.max_running = (int)max_running;
    rc = gather ? duration_parse(gather, &options.gather_us, err) : 0;
    if (rc)
        return error_prefix(err, "--gather-every");
    if (options.gather_us < DAEMON_GATHER_LEAST_US)
        return error_set(err, ERR_USAGE, "--gather-every: %s is less than %d s", gather,
                         (int)(DAEMON_GATHER_LEAST_US / US_PER_SECOND));
    if (argument_text(arguments, "token-file") && !options.listen)
        return error_set(err, ERR_USAGE, "--token-file without --listen protects nothing");
    return daemon_run(&options, err);
}

const struct command COMMAND_DAEMON = {
    .name = "daemon",
    .usage = "[--drain DURATION] [--max-running N] [--listen ADDRESS:PORT [--token-file FILE]]",
    .summary = "run every job of every policy on schedule, in the foreground",
    .examples = "  pgcairn -c /etc/pgcairn/policies daemon\n"
                "  pgcairn daemon --listen 127.0.0.1:9543 --token-file /etc/pgcairn/token",
    .min_words = 0,
    .max_words = 0,
    .options = OPTIONS,
    .run = command_daemon,
};
