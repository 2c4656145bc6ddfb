/* `reference`: the policy's keys and the commands, printed from the tables that the program itself
 * reads them by. docs/policy.md and docs/commands.md are what it prints; a test holds them to it.
 */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/units.h"
#include "command/commands.h"
#include "policy/keys.h"

enum { SECTIONS_MAX = 64, TEXT_LIMIT = 1 << 20, TAKES_MAX = 400 };

static const char POLICY_HEAD[] =
    "# The policy file\n"
    "\n"
    "<!-- Printed by `pgcairn reference policy`, from the tables that the program reads policies by. "
    "-->\n"
    "\n"
    "One YAML file for one PostgreSQL server. `pgcairn policy check` tells every mistake with its "
    "line and\n"
    "column, and what is in effect; [policies/](../policies/README.md) has whole files to copy.\n"
    "\n"
    "- Durations are a whole number and a unit: `90s 15m 6h 7d 5w`. Sizes: `500kB 50MB 1GiB`.\n"
    "- `${VAR}`, `${VAR:-default}` and `${VAR:?message}` are filled in from the environment, value "
    "by value,\n"
    "  after the YAML was read; `$$` is one dollar sign.\n"
    "- An unknown key, a wrong type, a value out of range and a schedule that never fires are "
    "errors.\n"
    "- A file that holds a password must not be readable by others (mode 0600).\n";

static const char COMMANDS_HEAD[] =
    "# Commands\n"
    "\n"
    "<!-- Printed by `pgcairn reference commands`, from the tables that the program reads its "
    "arguments by. -->\n"
    "\n"
    "Results go to stdout, logs and progress to stderr. Exit status: 0 done, 1 failed, 2 wrong usage "
    "or\n"
    "policy, 3 could not tell, 4 busy, 5 interrupted; of what PostgreSQL calls by itself it differs: "
    "`wal push`\n"
    "and `wal fetch` are in [operations.md](operations.md#exit-statuses).\n"
    "\n"
    "    pgcairn [OPTIONS] COMMAND ...\n";

/* What a section needs said beyond its rows. */
static const struct {
    const char *section, *text;
} INTRODUCTIONS[] = {
    {"keep",
     "A backup is kept when any of the rules wants it; it goes only when none does. The newest good "
     "backup of each database and kind, what a hold stands on and what recovery needs stay whatever "
     "the rules say. Days, weeks and months are those of the policy's zone; only those count that "
     "have a good backup."},
    {"defaults", "Each of these may stand in a job too, and counts there."},
};

static const struct topic {
    const char *word;
    bool is_policy;
} TOPICS[] = {{"policy", true}, {"commands", false}};

/* -- the policy ---------------------------------------------------------------------------- */

/* The sections in the order in which they are met. */
struct sections {
    const struct section *items[SECTIONS_MAX];
    size_t count;
};

static void add_section(struct sections *sections, const struct section *section)
{
    for (size_t i = 0; i < sections->count; i++)
        if (sections->items[i] == section)
            return;
    if (sections->count == SECTIONS_MAX)
        return;
    sections->items[sections->count++] = section;
    for (size_t i = 0; i < section->count; i++) {
        const struct key *key = &section->keys[i];
        if (key->section && feature_available(key->feature))
            add_section(sections, key->section);
        if (section == &section_policy && key->section == &section_defaults)
            add_section(sections, &section_job);
    }
}

static const char *section_title(const struct section *section)
{
    if (section == &section_policy)
        return "The file";
    return section == &section_job ? "jobs" : section->name;
}

static void add_words(const struct key *key, char text[TAKES_MAX])
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; key->words[i] && used < TAKES_MAX; i++)
        used += (size_t)snprintf(text + used, TAKES_MAX - used, "%s%s", i ? ", " : "",
                                 *key->words[i] ? key->words[i] : "\"\"");
}

/* What may stand behind the key, in words. */
static void describe_values(const struct key *key, char text[TAKES_MAX])
{
    char low[UNITS_TEXT_MAX], high[UNITS_TEXT_MAX];
    const char *what = key->takes;
    if (!what && key->type == VALUE_INTEGER) {
        snprintf(text, TAKES_MAX, "%lld to %lld", (long long)key->low, (long long)key->high);
        return;
    }
    if (!what && key->type == VALUE_DURATION) {
        snprintf(text, TAKES_MAX, "%s to %s", key->low ? duration_format(key->low, low) : "0s",
                 duration_format(key->high, high));
        return;
    }
    if (!what && key->type == VALUE_SIZE) {
        snprintf(text, TAKES_MAX, "0, or %s to %s", size_format(key->low, low),
                 size_format(key->high, high));
        return;
    }
    if (!what && key->words) {
        add_words(key, text);
        return;
    }
    if (!what)
        what = key->section                ? "a mapping"
               : key->type == VALUE_SWITCH ? "true, false"
               : key->type == VALUE_PATH   ? "an absolute path"
               : key->type == VALUE_TEXTS  ? "a text, or a list of them"
                                           : "text";
    snprintf(text, TAKES_MAX, "%s", what);
}

static void describe_types(const struct key *key, char text[TAKES_MAX])
{
    size_t used = 0;
    text[0] = '\0';
    for (int type = 0; type < JOB_TYPE_COUNT && used < TAKES_MAX; type++)
        if (key->job_types & FOR(type))
            used += (size_t)snprintf(text + used, TAKES_MAX - used, "%s%s", used ? ", " : "",
                                     job_type_name((enum job_type)type));
}

static void add_key_row(struct buf *out, const struct key *key, bool has_types)
{
    char takes[TAKES_MAX], types[TAKES_MAX];
    describe_values(key, takes);
    describe_types(key, types);
    buf_addf(out, "| `%s` | ", key->name);
    if (has_types)
        buf_addf(out, "%s | ", types[0] ? types : "all");
    buf_addf(out, "%s | %s | %s |\n", takes, key->fallback ? key->fallback : "",
             key->help ? key->help : "");
}

static void add_section_text(struct buf *out, const struct section *section)
{
    bool has_types = section == &section_job;
    buf_addf(out, "\n## %s\n\n", section_title(section));
    for (size_t i = 0; i < ARRAY_SIZE(INTRODUCTIONS); i++)
        if (strcmp(INTRODUCTIONS[i].section, section->name) == 0)
            buf_addf(out, "%s\n\n", INTRODUCTIONS[i].text);
    if (section->also)
        buf_addf(out, "Keys of [%s](#%s) may stand here too.\n\n", section->also->name,
                 section->also->name);
    buf_addf(out, "| key | %stakes | without it | what it is |\n|---|---|---|---|%s\n",
             has_types ? "of | " : "", has_types ? "---|" : "");
    for (size_t i = 0; i < section->count; i++)
        if (feature_available(section->keys[i].feature))
            add_key_row(out, &section->keys[i], has_types);
}

static json_t *key_json(const struct key *key)
{
    char takes[TAKES_MAX];
    json_t *types = json_array();
    describe_values(key, takes);
    for (int type = 0; type < JOB_TYPE_COUNT; type++)
        if (key->job_types & FOR(type))
            json_array_append_new(types, json_string(job_type_name((enum job_type)type)));
    return json_pack("{s:s, s:s, s:s?, s:s, s:o}", "name", key->name, "takes", takes, "fallback",
                     key->fallback, "help", key->help ? key->help : "", "job_types", types);
}

static json_t *policy_json(const struct sections *sections)
{
    json_t *list = json_array();
    for (size_t i = 0; i < sections->count; i++) {
        const struct section *section = sections->items[i];
        json_t *keys = json_array();
        for (size_t k = 0; k < section->count; k++)
            if (feature_available(section->keys[k].feature))
                json_array_append_new(keys, key_json(&section->keys[k]));
        json_array_append_new(list,
                              json_pack("{s:s, s:o}", "name",
                                        section == &section_policy ? "" : section_title(section),
                                        "keys", keys));
    }
    return json_pack("{s:o}", "sections", list);
}

/* -- the commands -------------------------------------------------------------------------- */

/* An angle bracket or a bar in a cell would be taken for markup. */
static void add_cell(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            buf_add_text(out, "\\");
        if (*text == '<')
            buf_add_text(out, "&lt;");
        else if (*text == '\n') /* where help breaks a line */
            buf_add_text(out, " ");
        else
            buf_add(out, text, 1);
    }
}

static void add_block(struct buf *out, const char *text)
{
    buf_add_text(out, "\n");
    while (*text) {
        size_t length = strcspn(text, "\n");
        size_t blanks = strspn(text, " ");
        if (blanks > length)
            blanks = length;
        if (length > blanks)
            buf_addf(out, "    %.*s\n", (int)(length - blanks), text + blanks);
        else
            buf_add_text(out, "\n");
        text += length + (text[length] == '\n');
    }
}

static void add_options(struct buf *out, const struct command_option *option)
{
    if (option && option->name)
        buf_add_text(out, "\n| option | |\n|---|---|\n");
    for (; option && option->name; option++) {
        buf_addf(out, "| `%s%s%s", option->name[1] ? "--" : "-", option->name,
                 option->argument ? " " : "");
        add_cell(out, option->argument ? option->argument : "");
        buf_add_text(out, "` | ");
        add_cell(out, option->help);
        buf_add_text(out, " |\n");
    }
}

static void add_command_text(struct buf *out, const struct command *command)
{
    buf_addf(out, "\n## %s\n\n", command->name);
    buf_addf(out, "%c%s.\n\n    pgcairn %s%s%s\n", command->summary[0] & ~0x20,
             command->summary + 1, command->name, *command->usage ? " " : "", command->usage);
    add_options(out, command->options);
    if (command->examples)
        add_block(out, command->examples);
}

static json_t *options_json(const struct command_option *option)
{
    json_t *options = json_array();
    for (; option && option->name; option++)
        json_array_append_new(options,
                              json_pack("{s:s, s:s?, s:b, s:s}", "name", option->name, "argument",
                                        option->argument, "repeats", option->kind == OPTION_LIST,
                                        "help", option->help));
    return options;
}

static json_t *commands_json(void)
{
    json_t *list = json_array();
    for (const struct command *const *row = command_all(); *row; row++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s?, s:o}", "name", (*row)->name,
                                              "usage", (*row)->usage, "summary", (*row)->summary,
                                              "examples", (*row)->examples, "options",
                                              options_json((*row)->options)));
    return json_pack("{s:o, s:o}", "options", options_json(command_globals()), "commands", list);
}

/* ------------------------------------------------------------------------------------------ */

static int print_policy(const struct globals *globals, struct error *err)
{
    struct sections sections = {.count = 0};
    _cleanup_(buf_clear) struct buf out = BUF_INIT(TEXT_LIMIT);
    add_section(&sections, &section_policy);
    if (globals->json)
        return command_print_json(policy_json(&sections), err);
    buf_add_text(&out, POLICY_HEAD);
    for (size_t i = 0; i < sections.count; i++)
        add_section_text(&out, sections.items[i]);
    int rc = buf_failed(&out, "the reference", err);
    if (!rc)
        fputs(buf_text(&out), stdout);
    return rc;
}

static int print_commands(const struct globals *globals, struct error *err)
{
    _cleanup_(buf_clear) struct buf out = BUF_INIT(TEXT_LIMIT);
    if (globals->json)
        return command_print_json(commands_json(), err);
    buf_add_text(&out, COMMANDS_HEAD);
    add_options(&out, command_globals());
    for (const struct command *const *row = command_all(); *row; row++)
        add_command_text(&out, *row);
    int rc = buf_failed(&out, "the reference", err);
    if (!rc)
        fputs(buf_text(&out), stdout);
    return rc;
}

static int run(const struct globals *globals, const struct arguments *arguments, struct error *err)
{
    const char *topic = arguments->words.items[0];
    for (size_t i = 0; i < ARRAY_SIZE(TOPICS); i++)
        if (strcmp(topic, TOPICS[i].word) == 0)
            return TOPICS[i].is_policy ? print_policy(globals, err) : print_commands(globals, err);
    error_set(err, ERR_USAGE, "there is no reference of \"%s\"", topic);
    return error_hint(err, "there are: policy, commands");
}

const struct command COMMAND_REFERENCE = {
    .name = "reference",
    .usage = "policy|commands",
    .summary = "print every key of the policy, or every command, as Markdown or JSON",
    .examples = "  pgcairn reference policy\n"
                "  pgcairn --json reference commands",
    .min_words = 1,
    .max_words = 1,
    .run = run,
};
