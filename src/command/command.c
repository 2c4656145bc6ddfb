#include "command/command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/suggest.h"
#include "command/commands.h"
#include "command/complete.h"
#include "command/manual.h"

static const struct command *const COMMANDS[] = {
#define X(name) &name,
    COMMAND_LIST(X)
#undef X
        NULL,
};

enum { NAME_WORDS_MAX = 3, HELP_COLUMN = 26 };

static const char GLOBAL_HELP[] =
    "usage: pgcairn [-c FILE|DIR]... [--json] [-q|-v] COMMAND ...\n\n";

/* Parsed by main.c. */
static const struct command_option GLOBALS[] = {
    {"c", OPTION_LIST, "FILE|DIR",
     "a policy, or a folder of them; may be repeated. Without it:\n"
     "$PGCAIRN_POLICY, else /etc/pgcairn/policies"},
    {"json", OPTION_FLAG, NULL, "one JSON document on stdout, nothing else there"},
    {"q", OPTION_FLAG, NULL, "only errors"},
    {"v", OPTION_FLAG, NULL, "more about what is being done"},
    {"log-format", OPTION_TEXT, "FORMAT",
     "text, json (a line per event) or journal (systemd's, with fields).\n"
     "Without it: $PGCAIRN_LOG_FORMAT, else journal where stderr goes\n"
     "there by itself, else text"},
    {"version", OPTION_FLAG, NULL, "print the version"},
    {NULL, OPTION_FLAG, NULL, NULL},
};

static const char GLOBAL_FOOT[] =
    "\n"
    "`pgcairn help COMMAND` shows its options and examples. Exit status: 0 done, 1 failed,\n"
    "2 wrong usage or policy, 3 could not tell, 4 busy, 5 interrupted.\n";

const struct command *const *command_all(void)
{
    return COMMANDS;
}

const struct command_option *command_globals(void)
{
    return GLOBALS;
}

static size_t option_index(const struct arguments *arguments, const char *name)
{
    size_t i = 0;
    while (strcmp(arguments->options[i].name, name) != 0)
        i++;
    return i;
}

const char *argument_text(const struct arguments *arguments, const char *name)
{
    return arguments->values[option_index(arguments, name)];
}

bool argument_flag(const struct arguments *arguments, const char *name)
{
    return argument_text(arguments, name) != NULL;
}

const struct strv *argument_list(const struct arguments *arguments, const char *name)
{
    return &arguments->lists[option_index(arguments, name)];
}

static void arguments_clear(struct arguments *arguments)
{
    for (size_t i = 0; i < COMMAND_OPTIONS_MAX; i++)
        strv_clear(&arguments->lists[i]);
    strv_clear(&arguments->words);
}

/* How many leading words of argv are the command's name; 0 when it is another command. */
static int name_words(const struct command *command, int argc, char **argv)
{
    const char *name = command->name;
    int words = 0;
    while (*name) {
        size_t length = strcspn(name, " ");
        if (words >= argc || strlen(argv[words]) != length || strncmp(argv[words], name, length))
            return 0;
        name += length + (name[length] == ' ');
        words++;
    }
    return words;
}

const struct command *command_find(int argc, char **argv, int *ret_words)
{
    const struct command *found = NULL;
    for (size_t i = 0; COMMANDS[i]; i++) {
        int words = name_words(COMMANDS[i], argc, argv);
        if (words > 0 && (!found || words > *ret_words)) {
            found = COMMANDS[i];
            *ret_words = words;
        }
    }
    return found;
}

/* "there are: hold add, hold list, hold release" for a word that begins several names. */
static int hint_group(const char *word, struct error *err)
{
    struct buf text = BUF_INIT(BUF_LIMIT_DEFAULT);
    size_t length = strlen(word);
    for (size_t i = 0; COMMANDS[i]; i++)
        if (strncmp(COMMANDS[i]->name, word, length) == 0 && COMMANDS[i]->name[length] == ' ')
            buf_addf(&text, "%s%s", text.length ? ", " : "", COMMANDS[i]->name);
    error_hint(err, "there are: %s; \"pgcairn help\" lists all", buf_text(&text));
    buf_clear(&text);
    return ERR_USAGE;
}

static int unknown_command(int argc, char **argv, struct error *err)
{
    char given[256] = "";
    const char *names[ARRAY_SIZE(COMMANDS)];
    size_t count = 0;
    bool is_group = false;
    for (; COMMANDS[count]; count++) {
        names[count] = COMMANDS[count]->name;
        size_t length = strlen(argv[0]);
        is_group = is_group ||
                   (strncmp(names[count], argv[0], length) == 0 && names[count][length] == ' ');
    }
    snprintf(given, sizeof(given), "%s%s%s", argv[0], is_group && argc > 1 ? " " : "",
             is_group && argc > 1 ? argv[1] : "");
    error_set(err, ERR_USAGE, "there is no command \"%s\"", given);
    if (is_group && argc == 1)
        return hint_group(argv[0], err);
    const char *nearest = suggest_nearest(given, names, count);
    if (nearest)
        return error_hint(err, "did you mean \"pgcairn %s\"? \"pgcairn help\" lists all", nearest);
    return error_hint(err, "\"pgcairn help\" lists the commands");
}

static void print_option(const struct command_option *option)
{
    char text[64];
    const char *dashes = option->name[1] ? "--" : "-";
    snprintf(text, sizeof(text), "%s%s%s%s", dashes, option->name, option->argument ? " " : "",
             option->argument ? option->argument : "");
    const char *line = option->help;
    for (size_t length; *line; line += length + (line[length] == '\n')) {
        length = strcspn(line, "\n");
        printf("  %-*s %.*s\n", HELP_COLUMN, line == option->help ? text : "", (int)length, line);
    }
}

static void print_help(const struct command *command)
{
    printf("pgcairn %s: %s\n\nusage: pgcairn %s %s\n", command->name, command->summary,
           command->name, command->usage);
    if (command->options)
        printf("\n");
    for (const struct command_option *option = command->options; option && option->name; option++)
        print_option(option);
    if (command->examples)
        printf("\nexamples:\n%s\n", command->examples);
}

static int print_all_help(void)
{
    fputs(GLOBAL_HELP, stdout);
    for (const struct command_option *option = GLOBALS; option->name; option++)
        print_option(option);
    printf("\ncommands:\n");
    for (size_t i = 0; COMMANDS[i]; i++)
        printf("  %-*s %s\n", HELP_COLUMN, COMMANDS[i]->name, COMMANDS[i]->summary);
    fputs(GLOBAL_FOOT, stdout);
    return 0;
}

/* The word is named without its value, which may be a secret. */
static int unknown_option(const struct command *command, const char *word, struct error *err)
{
    const char *names[COMMAND_OPTIONS_MAX];
    char given[SUGGEST_LENGTH_MAX + 1];
    size_t count = 0;
    for (; command->options && command->options[count].name; count++)
        names[count] = command->options[count].name;
    snprintf(given, sizeof(given), "%.*s", (int)strcspn(word, "="), word);
    error_set(err, ERR_USAGE, "%s has no option \"%s\"", command->name, given);
    for (const struct command_option *option = GLOBALS; option->name; option++)
        if (given[0] == '-' && strcmp(given + (option->name[1] ? 2 : 1), option->name) == 0)
            return error_hint(err, "it stands before the command: pgcairn %s%s%s %s ...", given,
                              option->argument ? " " : "", option->argument ? option->argument : "",
                              command->name);
    const char *nearest = suggest_nearest(given + strspn(given, "-"), names, count);
    if (nearest)
        return error_hint(err, "did you mean \"%s%s\"?", nearest[1] ? "--" : "-", nearest);
    return error_hint(err, "\"pgcairn help %s\" lists its options", command->name);
}

/* Consumes one option at argv[*index], and its value where it has one. */
static int parse_option(const struct command *command, struct arguments *arguments, int argc,
                        char **argv, int *index, struct error *err)
{
    const char *word = argv[*index];
    const char *name = word + (word[1] == '-' ? 2 : 1);
    size_t length = strcspn(name, "=");
    const struct command_option *option = command->options;
    while (option && option->name &&
           (strlen(option->name) != length || strncmp(option->name, name, length) != 0))
        option++;
    if (!option || !option->name || (option->name[1] != '\0') != (word[1] == '-'))
        return unknown_option(command, word, err);
    size_t position = (size_t)(option - command->options);
    const char *value = name[length] == '=' ? name + length + 1 : NULL;
    if (option->kind == OPTION_FLAG) {
        if (value)
            return error_set(err, ERR_USAGE, "option \"%.*s\" takes no value",
                             (int)strcspn(word, "="), word);
        arguments->values[position] = "";
        return 0;
    }
    if (!value && *index + 1 < argc)
        value = argv[++*index];
    if (!value)
        return error_set(err, ERR_USAGE, "option \"%s\" needs a value: %s", word, option->argument);
    arguments->values[position] = value;
    return option->kind == OPTION_LIST ? strv_add(&arguments->lists[position], value, err) : 0;
}

static int parse_arguments(const struct command *command, int argc, char **argv,
                           struct arguments *arguments, struct error *err)
{
    int rc = 0;
    bool only_words = false;
    for (int i = 0; i < argc && !rc; i++) {
        if (only_words || argv[i][0] != '-' || !argv[i][1])
            rc = strv_add(&arguments->words, argv[i], err);
        else if (strcmp(argv[i], "--") == 0)
            only_words = true;
        else
            rc = parse_option(command, arguments, argc, argv, &i, err);
    }
    if (rc)
        return rc;
    int words = (int)arguments->words.count;
    if (words >= command->min_words && (command->max_words < 0 || words <= command->max_words))
        return 0;
    error_set(err, ERR_USAGE, "%s: %s", command->name,
              words < command->min_words ? "something is missing" : "too many arguments");
    return error_hint(err, "usage: pgcairn %s %s", command->name, command->usage);
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0)
            return true;
    return false;
}

/* What the builder of packages and the shells ask, which people need not know. */
static int help_for_programs(int argc, char **argv, struct error *err)
{
    int words = 0;
    if (strcmp(argv[0], "--complete") == 0)
        return complete_print(argc - 1, argv + 1, err);
    if (strcmp(argv[0], "--names") == 0) {
        for (size_t i = 0; COMMANDS[i]; i++)
            printf("%s\n", COMMANDS[i]->name);
        return 0;
    }
    if (argc == 1)
        return manual_print_all(err);
    const struct command *command = command_find(argc - 1, argv + 1, &words);
    return command ? manual_print(command, err) : unknown_command(argc - 1, argv + 1, err);
}

static bool is_for_programs(const char *word)
{
    return strcmp(word, "--complete") == 0 || strcmp(word, "--names") == 0 ||
           strcmp(word, "--man") == 0;
}

static int help(int argc, char **argv, struct error *err)
{
    int words = 0;
    if (argc == 0)
        return print_all_help();
    if (is_for_programs(argv[0]))
        return help_for_programs(argc, argv, err);
    const struct command *command = command_find(argc, argv, &words);
    if (!command)
        return unknown_command(argc, argv, err);
    print_help(command);
    return 0;
}

int command_dispatch(const struct globals *globals, int argc, char **argv, struct error *err)
{
    if (argc == 0 || strcmp(argv[0], "help") == 0)
        return help(argc > 0 ? argc - 1 : 0, argv + 1, err);
    if (strcmp(argv[0], "--help") == 0)
        return print_all_help();
    int words = 0;
    const struct command *command = command_find(argc, argv, &words);
    if (!command)
        return unknown_command(argc, argv, err);
    if (wants_help(argc, argv)) {
        print_help(command);
        return 0;
    }
    _cleanup_(arguments_clear) struct arguments arguments = {.options = command->options};
    arguments.words = STRV_INIT(COMMAND_ARGUMENTS_MAX);
    for (size_t i = 0; i < COMMAND_OPTIONS_MAX; i++)
        arguments.lists[i] = STRV_INIT(COMMAND_ARGUMENTS_MAX);
    int rc = parse_arguments(command, argc - words, argv + words, &arguments, err);
    return rc ? rc : command->run(globals, &arguments, err);
}

int command_settle(int argc, char **argv, int rc, struct error *err)
{
    bool is_fetch = false, is_standby = false;
    for (int i = 1; i < argc; i++) {
        is_fetch |= strcmp(argv[i - 1], "wal") == 0 && strcmp(argv[i], "fetch") == 0;
        is_standby |= strcmp(argv[i], "--standby") == 0;
    }
    if (rc == 0 || rc == ERR_NOT_FOUND || !is_fetch)
        return rc;
    error_keep_cure(err);
    err->code = is_standby ? ERR_FAILED : ERR_DOUBT;
    return err->code;
}

int command_print_json(json_t *document, struct error *err)
{
    if (!document)
        return error_no_memory(err);
    int rc = json_dumpf(document, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    json_decref(document);
    if (rc != 0 || fputc('\n', stdout) == EOF || fflush(stdout) != 0)
        return error_set_errno(err, errno, "could not write to stdout");
    return 0;
}

int command_verdict(int code, struct error *err)
{
    if (code)
        error_set(err, code, "%s", "");
    return code;
}
