/* Global options; the table of commands is in command/commands.h. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "command/command.h"

enum { POLICY_PATHS_MAX = 1000 };

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
    int i = 1;
    for (; i < argc && argv[i][0] == '-' && strcmp(argv[i], "--help") != 0; i++) {
        if (strcmp(argv[i], "--version") == 0) {
            printf("pgcairn %s\n", PGCAIRN_VERSION);
            return 0;
        }
        int rc = parse_global(globals, argc, argv, &i, err);
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
