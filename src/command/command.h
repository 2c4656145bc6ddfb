/*
 * What a command is: one file of this folder and one row in command.c. A command takes the parsed
 * global options and its own arguments, calls down, and prints a table for people or, with --json,
 * one JSON document on stdout. Only commands (and the daemon) print or log.
 *
 * A command function returns 0 or a negative error code with err filled; main() prints the error
 * and turns the code into the exit status of DESIGN section 2. A command whose verdict decides the
 * exit status prints its result and returns an error with an empty message, which is not printed.
 *
 * Options are rows of a table: the parser, `pgcairn help COMMAND`, its man page and shell
 * completion read the same rows. Parsing: long options only, "--name VALUE" or "--name=VALUE"; "--"
 * ends options.
 */
#ifndef PGCAIRN_COMMAND_COMMAND_H
#define PGCAIRN_COMMAND_COMMAND_H

#include <jansson.h>

#include "base/error.h"
#include "base/strv.h"

struct globals {
    struct strv policy_paths; /* of -c, else $PGCAIRN_POLICY, else /etc/pgcairn/policies */
    bool json;
    bool quiet;
    bool verbose;
};

enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_LIST };

struct command_option {
    const char *name; /* "dry-run", given as --dry-run; one letter is given as -n */
    enum option_kind kind;
    const char *argument; /* "N" in help; NULL for a flag */
    const char *help;
};

enum { COMMAND_OPTIONS_MAX = 24, COMMAND_ARGUMENTS_MAX = 10000 };

/* The arguments of one call, parsed by the command's option rows. */
struct arguments {
    const struct command_option *options;
    const char *values[COMMAND_OPTIONS_MAX]; /* last value of a text option; "" for a given flag */
    struct strv lists[COMMAND_OPTIONS_MAX];  /* values of a list option */
    struct strv words;                       /* what is no option, or stands behind "--" */
};

/* By option name; the option must be in the command's table. NULL or false when not given. */
const char *argument_text(const struct arguments *arguments, const char *name);
bool argument_flag(const struct arguments *arguments, const char *name);
const struct strv *argument_list(const struct arguments *arguments, const char *name);

typedef int (*command_function)(const struct globals *globals, const struct arguments *arguments,
                                struct error *err);

struct command {
    const char *name;                     /* "policy check" */
    const char *usage;                    /* "[FILE...]" */
    const char *summary;                  /* one line */
    const char *examples;                 /* lines, each a full call; NULL when none */
    int min_words, max_words;             /* number of words behind the name; -1 = any */
    const struct command_option *options; /* ends with a row whose name is NULL; NULL when none */
    command_function run;
};

/* Every command, in the order of help; ends with NULL. */
const struct command *const *command_all(void);
/* The options that stand before the command; ends like those of a command. */
const struct command_option *command_globals(void);

/* The command whose name argv begins with, the longest one; NULL when there is none. */
const struct command *command_find(int argc, char **argv, int *ret_words);

/* Finds the command, parses its arguments, runs it. Prints help for `help` and --help. */
int command_dispatch(const struct globals *globals, int argc, char **argv, struct error *err);

/* What the caller of the program must see of an error, whoever found it: of "wal fetch" everything
 * but a file's certain absence is ERR_DOUBT (for a standby, which asks again, ERR_FAILED), also
 * when the arguments or the policy are wrong. */
int command_settle(int argc, char **argv, int rc, struct error *err);

/* Prints a document on stdout, keys in the order they were set, and releases it. ERR_IO when stdout
 * can't take it. */
int command_print_json(json_t *document, struct error *err);

/* A verdict: exit status of `code` without a message, the result being printed already. */
int command_verdict(int code, struct error *err);

#endif
