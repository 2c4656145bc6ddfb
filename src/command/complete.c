#include "command/complete.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "work/policy_load.h"

enum { KIND_MAX = 256 };

struct line {
    struct strv policies; /* of -c */
    char **words;         /* the command and what is behind it; the last one is being typed */
    int count;
    const char *current;
};

static void offer(const struct line *line, const char *candidate, const char *description)
{
    if (strncmp(candidate, line->current, strlen(line->current)) != 0)
        return;
    printf("%s%s%.*s\n", candidate, description ? "\t" : "",
           (int)strcspn(description ? description : "", "\n"), description ? description : "");
}

static void offer_options(const struct line *line, const struct command_option *option)
{
    char text[64];
    for (; option && option->name; option++) {
        snprintf(text, sizeof(text), "%s%s", option->name[1] ? "--" : "-", option->name);
        offer(line, text, option->help);
    }
}

/* -- what a word stands for ------------------------------------------------------------------- */

static void offer_policies(const struct line *line, bool jobs)
{
    _cleanup_(policy_set_freep) struct policy_set *set = NULL;
    char text[KIND_MAX];
    if (policy_set_load_all(&line->policies, &set, NULL))
        return;
    for (size_t i = 0; i < policy_set_count(set); i++) {
        const struct policy *policy = policy_set_get(set, i);
        if (!jobs)
            offer(line, policy->cluster, NULL);
        for (size_t k = 0; jobs && k < policy->job_count; k++) {
            snprintf(text, sizeof(text), "%s/%s", policy->cluster, policy->jobs[k].name);
            offer(line, text, NULL);
        }
    }
}

/* The lower-case words of "text|json|html", "ID|latest". */
static void offer_words(const struct line *line, const char *kind)
{
    char text[KIND_MAX];
    for (size_t length; *kind; kind += length + (kind[length] == '|')) {
        length = strcspn(kind, "|");
        snprintf(text, sizeof(text), "%.*s", (int)length, kind);
        if (islower((unsigned char)text[0]))
            offer(line, text, NULL);
    }
}

/* By the word of the usage or of the option's row. */
static void offer_kind(const struct line *line, const char *kind)
{
    static const char *const FILES[] = {"FILE", "DIR", "PATH", "DEST", "FOLDER"};
    for (size_t i = 0; i < ARRAY_SIZE(FILES); i++)
        if (strstr(kind, FILES[i])) {
            printf(":files\n");
            return;
        }
    if (strcmp(kind, "CLUSTER") == 0 || strcmp(kind, "CLUSTER/JOB") == 0)
        offer_policies(line, strchr(kind, '/') != NULL);
    else if (strchr(kind, '|'))
        offer_words(line, kind);
}

/* The n-th word of the usage that is no option: "ID|latest" is the second of
 * "CLUSTER [ID|latest] --target-dir DIR". */
static void usage_word(const char *usage, int position, char kind[KIND_MAX])
{
    static const char BLANK[] = " []";
    bool is_value = false;
    kind[0] = '\0';
    for (size_t length; *(usage += strspn(usage, BLANK)); usage += length) {
        length = strcspn(usage, BLANK);
        if (is_value || *usage == '-' || *usage == '|') {
            is_value = *usage == '-' && usage[length] == ' ';
            continue;
        }
        if (position-- > 0)
            continue;
        snprintf(kind, KIND_MAX, "%.*s", (int)length, usage);
        return;
    }
}

/* -- the line -----------------------------------------------------------------------------------
 */

static const struct command_option *find_option(const struct command_option *option,
                                                const char *word)
{
    for (; option && option->name && word[0] == '-'; option++)
        if (strcmp(word + (option->name[1] ? 2 : 1), option->name) == 0)
            return option;
    return NULL;
}

/* The next word of every name that begins with the words there are, each once. */
static void offer_commands(const struct line *line)
{
    char before[KIND_MAX] = "", last[KIND_MAX] = "", word[KIND_MAX];
    for (int i = 0; i + 1 < line->count; i++) {
        size_t length = strlen(before);
        snprintf(before + length, sizeof(before) - length, "%s ", line->words[i]);
    }
    for (const struct command *const *command = command_all(); *command; command++) {
        const char *name = (*command)->name;
        if (strncmp(name, before, strlen(before)) != 0)
            continue;
        name += strlen(before);
        size_t length = strcspn(name, " ");
        snprintf(word, sizeof(word), "%.*s", (int)length, name);
        if (strcmp(word, last) != 0)
            offer(line, word, name[length] ? NULL : (*command)->summary);
        snprintf(last, sizeof(last), "%s", word);
    }
    if (line->count == 1)
        offer(line, "help", "the options and examples of a command");
}

/* What the usage says of its value, "dump|snapshot|wal", is more than the word of the row. */
static void offer_value(const struct line *line, const struct command *command,
                        const struct command_option *option)
{
    char given[64], kind[KIND_MAX];
    snprintf(given, sizeof(given), "--%s ", option->name);
    const char *at = strstr(command->usage, given);
    if (at)
        at += strlen(given);
    snprintf(kind, sizeof(kind), "%.*s", at ? (int)strcspn(at, " ]") : 0, at ? at : "");
    offer_kind(line, strchr(kind, '|') ? kind : option->argument);
}

static void offer_arguments(const struct line *line, const struct command *command, int name_words)
{
    int position = 0;
    const struct command_option *option = NULL;
    bool only_words = false;
    char kind[KIND_MAX];
    for (int i = name_words; i + 1 < line->count; i++) {
        bool is_value = option != NULL;
        option = is_value || only_words ? NULL : find_option(command->options, line->words[i]);
        if (option && option->kind == OPTION_FLAG)
            option = NULL;
        only_words |= !is_value && strcmp(line->words[i], "--") == 0;
        position += !is_value && (only_words || line->words[i][0] != '-');
    }
    if (option)
        offer_value(line, command, option);
    else if (line->current[0] == '-' && !only_words)
        offer_options(line, command->options);
    else {
        usage_word(command->usage, position, kind);
        offer_kind(line, kind);
    }
}

/* Takes the global options off; false when the word that is typed belongs to one of them. */
static bool take_globals(struct line *line, int argc, char **argv, struct error *err)
{
    int i = 0;
    for (; i + 1 < argc && argv[i][0] == '-'; i++) {
        const struct command_option *option = find_option(command_globals(), argv[i]);
        if (!option || option->kind == OPTION_FLAG)
            continue;
        if (i + 2 == argc) {
            offer_kind(line, option->argument);
            return false;
        }
        i++;
        if (strcmp(option->name, "c") == 0 && strv_add(&line->policies, argv[i], err))
            return false;
    }
    line->words = argv + i;
    line->count = argc - i;
    return true;
}

static void offer_all(struct line *line)
{
    int name_words = 0;
    if (line->count > 1 && strcmp(line->words[0], "help") == 0) {
        line->words++;
        line->count--;
    } else if (line->count == 1 && line->current[0] == '-') {
        offer_options(line, command_globals());
        return;
    }
    const struct command *command = command_find(line->count - 1, line->words, &name_words);
    if (command)
        offer_arguments(line, command, name_words);
    else
        offer_commands(line);
}

int complete_print(int argc, char **argv, struct error *err)
{
    if (argc > 0 && strcmp(argv[0], "--") == 0) {
        argc--;
        argv++;
    }
    if (argc == 0)
        return error_set(err, ERR_USAGE, "help --complete needs the words of a command line");
    struct line line = {.policies = STRV_INIT(COMMAND_ARGUMENTS_MAX), .current = argv[argc - 1]};
    if (take_globals(&line, argc, argv, err))
        offer_all(&line);
    strv_clear(&line.policies);
    if (fflush(stdout) != 0)
        return error_set_errno(err, errno, "could not write to stdout");
    return 0;
}
