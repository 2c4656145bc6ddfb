#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/suggest.h"
#include "base/units.h"
#include "policy/connection.h"
#include "policy/keys.h"
#include "policy/problems.h"

const struct document_node *map_key(const struct document_node *map, const char *name)
{
    for (size_t i = 0; map->kind == NODE_MAP && i < map->count; i++)
        if (strcmp(map->entries[i].key->text, name) == 0)
            return map->entries[i].key;
    return NULL;
}

const struct document_node *map_value(const struct document_node *map, const char *name)
{
    for (size_t i = 0; map->kind == NODE_MAP && i < map->count; i++)
        if (strcmp(map->entries[i].key->text, name) == 0)
            return map->entries[i].value;
    return NULL;
}

/* What came out of a variable is never shown, only the ${} that asked for it. */
const char *value_shown(const struct document_node *value, char text[64])
{
    _cleanup_(freep) char *redacted = NULL;
    const char *source = value->source ? value->source : value->text;
    if (connection_redact(source, &redacted, NULL))
        source = "***";
    else
        source = redacted;
    size_t length = strlen(source);
    if (length < 60) {
        memcpy(text, source, length + 1);
        return text;
    }
    length = 56;
    while (length > 0 && ((unsigned char)source[length] & 0xc0) == 0x80)
        length--; /* not within a character */
    snprintf(text, 64, "%.*s...", (int)length, source);
    return text;
}

int value_error(struct reader *reader, const struct document_node *value, const char *format, ...)
{
    _cleanup_(freep) char *message = NULL;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&message, format, args);
    va_end(args);
    if (length < 0) {
        message = NULL;
        return error_no_memory(reader->err);
    }
    return problems_error(reader->problems, value->line, value->column, reader->err, "%s", message);
}

/* "X must be WHAT, not Y" */
static int must_be(struct reader *reader, const struct document_node *value, const char *name,
                   const char *what)
{
    char shown[64];
    static const char *const KINDS[] = {"nothing", NULL, "a list", "a mapping of keys"};
    if (KINDS[value->kind])
        return value_error(reader, value, "\"%s\" must be %s, not %s", name, what,
                           KINDS[value->kind]);
    return value_error(reader, value, "\"%s\" must be %s, not \"%s\"", name, what,
                       value_shown(value, shown));
}

int value_copy(struct reader *reader, const struct document_node *value, const char *name,
               char **ret_text)
{
    if (value->kind != NODE_TEXT || !*value->text)
        return must_be(reader, value, name, "text that is not empty");
    char *text = strdup(value->text);
    if (!text)
        return error_no_memory(reader->err);
    free(*ret_text);
    *ret_text = text;
    return 0;
}

static int read_text(struct reader *reader, const struct key *key,
                     const struct document_node *value, char **ret_text)
{
    if (value->kind != NODE_TEXT)
        return must_be(reader, value, key->name, "text");
    if (key->type == VALUE_PATH && value->text[0] != '/')
        return must_be(reader, value, key->name, "an absolute path");
    if (!ret_text)
        return 0;
    char *text = strdup(value->text);
    if (!text)
        return error_no_memory(reader->err);
    free(*ret_text);
    *ret_text = text;
    return 0;
}

static int read_texts(struct reader *reader, const struct key *key,
                      const struct document_node *value, struct strv *ret_texts)
{
    const struct document_entry single = {.value = (struct document_node *)(uintptr_t)value};
    bool is_list = value->kind == NODE_LIST;
    const struct document_entry *entries = is_list ? value->entries : &single;
    size_t count = is_list ? value->count : 1;
    int rc = 0;
    if (count == 0 || value->kind == NODE_MAP || value->kind == NODE_NULL)
        return value_error(
            reader, value,
            "\"%s\" must be a list of texts with at least one (leave it out for all)", key->name);
    if (count > POLICY_LIST_MAX)
        return value_error(reader, value, "\"%s\" has %zu entries, more than %d", key->name, count,
                           POLICY_LIST_MAX);
    for (size_t i = 0; i < count && !rc; i++) {
        const struct document_node *item = entries[i].value;
        if (item->is_broken)
            continue;
        if (item->kind != NODE_TEXT || !*item->text)
            rc = must_be(reader, item, key->name, "a list of texts that are not empty");
        else if (ret_texts && strv_has(ret_texts, item->text))
            rc = value_error(reader, item, "\"%s\" is listed twice", item->text);
        else if (ret_texts)
            rc = strv_add(ret_texts, item->text, reader->err);
    }
    return rc;
}

static int out_of_range(struct reader *reader, const struct key *key,
                        const struct document_node *value)
{
    char low[UNITS_TEXT_MAX], high[UNITS_TEXT_MAX], what[128];
    if (key->type == VALUE_DURATION)
        snprintf(what, sizeof(what), "a duration from %s to %s (90s, 15m, 6h, 7d, 5w)",
                 key->low ? duration_format(key->low, low) : "0s",
                 duration_format(key->high, high));
    else if (key->type == VALUE_SIZE)
        snprintf(what, sizeof(what), "0 or a size from %s to %s (500kB, 50MB, 1GiB)",
                 size_format(key->low, low), size_format(key->high, high));
    else
        snprintf(what, sizeof(what), "a whole number from %lld to %lld", (long long)key->low,
                 (long long)key->high);
    return must_be(reader, value, key->name, what);
}

static int read_number(struct reader *reader, const struct key *key,
                       const struct document_node *value, void *target)
{
    int64_t number = 0;
    bool is_bad = value->kind != NODE_TEXT;
    if (!is_bad && key->type == VALUE_DURATION)
        is_bad = duration_parse(value->text, &number, NULL) != 0;
    else if (!is_bad && key->type == VALUE_SIZE)
        is_bad = size_parse(value->text, &number, NULL) != 0;
    else if (!is_bad)
        is_bad = number_parse(value->text, key->name, 0, INT32_MAX, &number, NULL) != 0;
    bool is_no_limit = key->type == VALUE_SIZE && number == 0;
    if (is_bad || (!is_no_limit && (number < key->low || number > key->high)))
        return out_of_range(reader, key, value);
    if (target && key->type == VALUE_INTEGER)
        *(int *)target = (int)number;
    else if (target)
        *(int64_t *)target = number;
    return 0;
}

static int read_switch(struct reader *reader, const struct key *key,
                       const struct document_node *value, bool *ret_switch)
{
    static const struct {
        const char *word;
        bool value;
    } WORDS[] = {{"true", true},   {"yes", true}, {"on", true},
                 {"false", false}, {"no", false}, {"off", false}};
    for (size_t i = 0; value->kind == NODE_TEXT && i < ARRAY_SIZE(WORDS); i++)
        if (strcmp(WORDS[i].word, value->text) == 0) {
            if (ret_switch)
                *ret_switch = WORDS[i].value;
            return 0;
        }
    return must_be(reader, value, key->name, "true or false");
}

static int read_word(struct reader *reader, const struct key *key,
                     const struct document_node *value, unsigned *ret_index)
{
    char all[200] = "", what[300];
    size_t count = 0, used = 0;
    for (; key->words[count]; count++) {
        if (value->kind == NODE_TEXT && strcmp(key->words[count], value->text) == 0) {
            if (ret_index)
                *ret_index = (unsigned)count;
            return 0;
        }
        used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s", count ? ", " : "",
                                 *key->words[count] ? key->words[count] : "\"\"");
    }
    snprintf(what, sizeof(what), "one of %s", all);
    return must_be(reader, value, key->name, what);
}

static int read_words(struct reader *reader, const struct key *key,
                      const struct document_node *value, unsigned *ret_bits)
{
    const struct document_entry single = {.value = (struct document_node *)(uintptr_t)value};
    bool is_list = value->kind == NODE_LIST;
    const struct document_entry *entries = is_list ? value->entries : &single;
    size_t count = is_list ? value->count : 1;
    unsigned bits = 0;
    int rc = 0;
    if (count == 0)
        return value_error(reader, value, "\"%s\" is an empty list", key->name);
    for (size_t i = 0; i < count && !rc; i++) {
        unsigned index = 0;
        if (entries[i].value->is_broken)
            continue;
        rc = read_word(reader, key, entries[i].value, &index);
        bits |= 1u << index;
    }
    if (ret_bits)
        *ret_bits = bits;
    return rc;
}

static int read_value(struct reader *reader, const struct key *key,
                      const struct document_node *value, void *target)
{
    void *place = key->offset == NOWHERE ? NULL : (char *)target + key->offset;
    switch (key->type) {
    case VALUE_TEXT:
    case VALUE_PATH:
        return read_text(reader, key, value, place);
    case VALUE_TEXTS:
        return read_texts(reader, key, value, place);
    case VALUE_INTEGER:
    case VALUE_DURATION:
    case VALUE_SIZE:
        return read_number(reader, key, value, place);
    case VALUE_SWITCH:
        return read_switch(reader, key, value, place);
    case VALUE_WORD:
        return read_word(reader, key, value, place);
    case VALUE_WORDS:
        return read_words(reader, key, value, place);
    case VALUE_SECTION:
        if (value->kind != NODE_MAP)
            return must_be(reader, value, key->name, "a mapping of keys");
        return section_read(reader, key->section, value, place);
    case VALUE_OWN:
        return key->read(reader, value, target);
    case VALUE_ANY:
        break;
    }
    return 0;
}

static const struct key *find_key(const struct section *section, const char *name)
{
    for (size_t i = 0; i < section->count; i++)
        if (strcmp(section->keys[i].name, name) == 0)
            return &section->keys[i];
    return section->also ? find_key(section->also, name) : NULL;
}

/* The section within `in` that has the key; sections are nested three deep at most. */
static const struct section *search_sections(const struct section *in, const struct section *from,
                                             const char *name)
{
    if (in != from && in != from->also && find_key(in, name))
        return in;
    for (size_t i = 0; i < in->count; i++) {
        const struct section *inner = in->keys[i].section;
        const struct section *found = inner ? search_sections(inner, from, name) : NULL;
        if (found)
            return found;
    }
    return NULL;
}

/* Where else the name is a key: the section one should have written it in. */
static const char *other_section(const struct section *from, const char *name)
{
    bool is_of_repository = strncmp(from->name, "repository", strlen("repository")) == 0;
    const struct section *near = is_of_repository ? &section_policy : &section_job;
    const struct section *far = is_of_repository ? &section_job : &section_policy;
    const struct section *found = search_sections(near, from, name);
    if (!found)
        found = search_sections(far, from, name);
    if (found == &section_job)
        return "a job";
    return found == &section_policy ? "the top of the file" : found ? found->name : NULL;
}

static int unknown_key(struct reader *reader, const struct section *section,
                       const struct document_node *key)
{
    enum { KEYS_MAX = 60 };
    const char *names[KEYS_MAX];
    size_t count = 0;
    char shown[64];
    for (const struct section *part = section; part; part = part->also)
        for (size_t i = 0; i < part->count && count < KEYS_MAX; i++)
            names[count++] = part->keys[i].name;
    const char *nearest = suggest_nearest(key->text, names, count);
    const char *elsewhere = other_section(section, key->text);
    value_shown(key, shown);
    if (elsewhere)
        return value_error(reader, key, "unknown key \"%s\"%s%s: it belongs in %s", shown,
                           *section->name ? " in " : "", section->name, elsewhere);
    if (nearest)
        return value_error(reader, key, "unknown key \"%s\"%s%s: did you mean \"%s\"?", shown,
                           *section->name ? " in " : "", section->name, nearest);
    return value_error(reader, key, "unknown key \"%s\"%s%s", shown, *section->name ? " in " : "",
                       section->name);
}

/* Keys that have no meaning for a job's type are mistakes: somebody expects something of them. */
static int wrong_type(struct reader *reader, const struct key *key,
                      const struct document_node *node)
{
    char types[128] = "";
    size_t used = 0;
    for (int type = 0; type < JOB_TYPE_COUNT; type++)
        if (key->job_types & FOR(type))
            used += (size_t)snprintf(types + used, sizeof(types) - used, "%s%s", used ? ", " : "",
                                     job_type_name((enum job_type)type));
    return value_error(reader, node, "\"%s\" has no meaning for a %s job (it is for: %s)",
                       key->name, job_type_name(reader->job->type), types);
}

static int read_entry(struct reader *reader, const struct section *section,
                      const struct document_entry *entry, void *target)
{
    const struct key *key = find_key(section, entry->key->text);
    if (!key)
        return unknown_key(reader, section, entry->key);
    if (key->job_types && reader->job && section == &section_job &&
        !(key->job_types & FOR(reader->job->type)))
        return wrong_type(reader, key, entry->key);
    int rc = 0;
    if (!feature_available(key->feature) && !reader->job_unavailable)
        rc = value_error(reader, entry->key, "\"%s\" is not available in this version", key->name);
    if (rc || entry->value->is_broken)
        return rc;
    return read_value(reader, key, entry->value, target);
}

int section_read(struct reader *reader, const struct section *section,
                 const struct document_node *map, void *target)
{
    int rc = 0;
    for (size_t i = 0; i < map->count && !rc; i++)
        rc = read_entry(reader, section, &map->entries[i], target);
    return rc;
}
