#include "policy/hooks.h"

#include <stdlib.h>
#include <string.h>

#include "policy/keys.h"

#define IN_HOOKS(field) offsetof(struct policy_hooks, field)

static const char *const PHASES[HOOK_PHASE_COUNT] = {"before", "after", "failure"};

const char *hook_phase_name(enum hook_phase phase)
{
    return PHASES[phase];
}

int64_t policy_hooks_longest_us(const struct policy_hooks *hooks)
{
    size_t count = 0;
    for (size_t i = 0; i < HOOK_PHASE_COUNT; i++)
        count += hooks->phases[i].count;
    return (int64_t)count * hooks->timeout_us;
}

/* -- reading ------------------------------------------------------------------------------- */

static int read_program(struct reader *reader, const struct document_node *value, const char *name,
                        struct policy_hook_list *list)
{
    int rc = 0;
    if (value->count > HOOK_WORDS_MAX)
        return value_error(reader, value, "\"%s\" has a program of %zu words, more than %d", name,
                           value->count, HOOK_WORDS_MAX);
    struct strv *program = &list->programs[list->count++];
    *program = STRV_INIT(HOOK_WORDS_MAX);
    for (size_t i = 0; i < value->count && !rc; i++) {
        const struct document_node *word = value->entries[i].value;
        if (word->is_broken)
            continue;
        if (word->kind != NODE_TEXT || (i == 0 && !*word->text))
            return value_error(reader, word, "\"%s\": a program is a list of words", name);
        rc = strv_add(program, word->text, reader->err);
    }
    return rc;
}

/* A text would have to be split, and everyone would expect a shell to do it. */
static int refuse_text(struct reader *reader, const struct document_node *value, const char *name)
{
    return value_error(
        reader, value,
        "\"%s\" must be a list of words, as in [/usr/bin/touch, /run/mark]: no shell "
        "splits a text; for one write [sh, -c, \"...\"]",
        name);
}

static int read_phase(struct reader *reader, const struct document_node *value,
                      struct policy_hooks *hooks, enum hook_phase phase)
{
    const char *name = PHASES[phase];
    struct policy_hook_list *list = &hooks->phases[phase];
    list->is_set = true;
    if (value->kind == NODE_TEXT)
        return refuse_text(reader, value, name);
    if (value->kind != NODE_LIST)
        return value_error(reader, value, "\"%s\" must be a list of programs, each a list of words",
                           name);
    bool is_one = value->count > 0 && value->entries[0].value->kind == NODE_TEXT;
    size_t count = is_one ? 1 : value->count;
    if (count > HOOKS_MAX)
        return value_error(reader, value, "\"%s\" has %zu programs, more than %d", name, count,
                           HOOKS_MAX);
    list->programs = calloc(count + 1, sizeof(struct strv));
    if (!list->programs)
        return error_no_memory(reader->err);
    if (is_one)
        return read_program(reader, value, name, list);
    int rc = 0;
    for (size_t i = 0; i < count && !rc; i++) {
        const struct document_node *item = value->entries[i].value;
        if (item->kind == NODE_TEXT)
            rc = refuse_text(reader, item, name);
        else if (item->kind != NODE_LIST || item->count == 0)
            rc = value_error(reader, item, "\"%s\": a program is a list of words", name);
        else
            rc = read_program(reader, item, name, list);
    }
    return rc;
}

static int read_before(struct reader *reader, const struct document_node *value, void *target)
{
    return read_phase(reader, value, target, HOOK_BEFORE);
}

static int read_after(struct reader *reader, const struct document_node *value, void *target)
{
    return read_phase(reader, value, target, HOOK_AFTER);
}

static int read_failure(struct reader *reader, const struct document_node *value, void *target)
{
    return read_phase(reader, value, target, HOOK_FAILURE);
}

static const struct key HOOKS_KEYS[] = {
    {.name = "before",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .read = read_before,
     .takes = "programs, each a list of words",
     .help = "programs before the work: exit status 0 goes on, 77 skips the run, any other fails "
             "it"},
    {.name = "after",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .read = read_after,
     .takes = "programs, each a list of words",
     .help = "programs at the end, however it ended; one that fails is a warning"},
    {.name = "failure",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .read = read_failure,
     .takes = "programs, each a list of words",
     .help = "programs when the run failed, before those of after"},
    {.name = "timeout",
     .type = VALUE_DURATION,
     .offset = IN_HOOKS(timeout_us),
     .low = US_PER_SECOND,
     .high = US_PER_DAY,
     .fallback = "5m",
     .help = "the longest that one of them may take"},
};
const struct section section_hooks = {"hooks", HOOKS_KEYS, ARRAY_SIZE(HOOKS_KEYS), NULL};

int hooks_read(struct reader *reader, const struct document_node *value, void *target)
{
    struct policy_job *job = target;
    struct policy_hooks looked_at = {.timeout_us = 0};
    size_t errors = reader->problems->error_count;
    if (value->kind != NODE_MAP)
        return value_error(reader, value,
                           "\"hooks\" must be a mapping of before, after, failure, timeout");
    if (reader->job)
        return section_read(reader, &section_hooks, value, &job->hooks);
    int rc = section_read(reader, &section_hooks, value, &looked_at);
    policy_hooks_clear(&looked_at);
    if (!rc && reader->problems->error_count == errors)
        reader->default_hooks = value;
    return rc;
}

static void take_list(struct policy_hook_list *from, struct policy_hook_list *to)
{
    *to = *from;
    *from = (struct policy_hook_list){.count = 0};
}

/* Read again for each job, so that each owns what it has. */
int hooks_inherit(struct reader *reader, struct policy_hooks *hooks)
{
    struct policy_hooks inherited = {.timeout_us = 0};
    int rc = reader->default_hooks
                 ? section_read(reader, &section_hooks, reader->default_hooks, &inherited)
                 : 0;
    for (size_t i = 0; i < HOOK_PHASE_COUNT && !rc; i++)
        if (!hooks->phases[i].is_set)
            take_list(&inherited.phases[i], &hooks->phases[i]);
    if (!rc && !hooks->timeout_us)
        hooks->timeout_us = inherited.timeout_us ? inherited.timeout_us : HOOK_TIMEOUT_US;
    policy_hooks_clear(&inherited);
    return rc;
}

void policy_hooks_clear(struct policy_hooks *hooks)
{
    for (size_t i = 0; i < HOOK_PHASE_COUNT; i++) {
        struct policy_hook_list *list = &hooks->phases[i];
        for (size_t k = 0; k < list->count; k++)
            strv_clear(&list->programs[k]);
        free(list->programs);
        *list = (struct policy_hook_list){.count = 0};
    }
}
