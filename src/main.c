/* Global options; the table of commands is in command/commands.h. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "command/command.h"

enum { POLICY_PATHS_MAX = 1000 };

static const char LOG_FORMAT[] = "--log-format";

static int parse_log_format(int argc, char **argv, int *index, struct error *err)
{
    enum log_format format = LOG_TEXT;
    const char *value = argv[*index] + strlen(LOG_FORMAT);
    if (*value == '\0' && *index + 1 < argc)
        value = argv[++*index];
    else if (*value == '=')
        value++;
    else
        return error_set(err, ERR_USAGE, "option \"%s\" needs a value: text, json or journal",
                         LOG_FORMAT);
    int rc = log_format_parse(value, &format, err);
    if (!rc)
        log_set_format(format);
    return rc;
}

/* Unless told: by the environment, else the journal's own where stderr goes there anyway. */
static int choose_log_format(struct error *err)
{
    enum log_format format = log_is_journal_stream() ? LOG_JOURNAL : LOG_TEXT;
    const char *name = getenv("PGCAIRN_LOG_FORMAT");
    int rc = name && *name ? log_format_parse(name, &format, err) : 0;
    if (rc)
        return error_prefix(err, "$PGCAIRN_LOG_FORMAT");
    log_set_format(format);
    return 0;
}

/* Consumes one global option at argv[*index]; ERR_USAGE when it is none. */
static int parse_global(struct globals *globals, int argc, char **argv, int *index,
                        struct error *err)
{
    const char *word = argv[*index];
    if (strcmp(word, "--json") == 0)
        globals->json = true;
    else if (strcmp(word, "-q") == 0)
        globals->quiet = true;
    else if (strcmp(word, "-v") == 0)
        globals->verbose = true;
    else if (strncmp(word, LOG_FORMAT, strlen(LOG_FORMAT)) == 0)
        return parse_log_format(argc, argv, index, err);
    else if (strcmp(word, "-c") == 0 && *index + 1 < argc)
        return strv_add(&globals->policy_paths, argv[++*index], err);
    else if (strcmp(word, "-c") == 0)
        return error_set(err, ERR_USAGE, "option \"-c\" needs a policy file or folder");
    else {
        error_set(err, ERR_USAGE, "unknown option \"%s\"", word);
        return error_hint(err, "\"pgcairn help\" lists the options");
    }
    return 0;
}

static int run(struct globals *globals, int argc, char **argv, struct error *err)
{
    int i = 1, rc = choose_log_format(err);
    if (rc)
        return rc;
    for (; i < argc && argv[i][0] == '-' && strcmp(argv[i], "--help") != 0; i++) {
        if (strcmp(argv[i], "--version") == 0) {
            printf("pgcairn %s\n", PGCAIRN_VERSION);
            return 0;
        }
        rc = parse_global(globals, argc, argv, &i, err);
        if (rc)
            return rc;
    }
    log_set_level(globals->quiet ? LOG_ERROR : globals->verbose ? LOG_DEBUG : LOG_INFO);
    return command_dispatch(globals, argc - i, argv + i, err);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a closed pipe or socket is an error where it is written */
    struct globals globals = {.policy_paths = STRV_INIT(POLICY_PATHS_MAX)};
    struct error err = ERROR_NONE;
    int rc = run(&globals, argc, argv, &err);
    strv_clear(&globals.policy_paths);
    rc = command_settle(argc, argv, rc, &err);
    if (rc && err.message[0])
        log_error(NULL, &err);
    return error_exit_status(rc);
}
