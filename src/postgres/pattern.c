#include "postgres/pattern.h"

#include <regex.h>
#include <string.h>

#include "base/buf.h"

struct part {
    regex_t regex;
    bool is_set;
};

struct pattern {
    char *text;
    struct part schema; /* not set: every schema but the system's */
    struct part name;
    bool names_system; /* the schema's part begins as a system schema does */
};

/* What is gathered of one part while it is read: the expression, and the name that it begins with
 * up to the first wild character. */
struct reader {
    struct buf expression, prefix;
    bool prefix_ended;
    bool is_empty;
};

enum { EXPRESSION_LIMIT = 64 << 10 };

static const char SPECIAL[] = "\\^$.[]|()*+?{}";

static void reader_clear(struct reader *reader)
{
    buf_clear(&reader->expression);
    buf_clear(&reader->prefix);
}

static void reader_start(struct reader *reader)
{
    reader_clear(reader);
    *reader = (struct reader){.expression = BUF_INIT(EXPRESSION_LIMIT),
                              .prefix = BUF_INIT(EXPRESSION_LIMIT),
                              .is_empty = true};
    buf_add_text(&reader->expression, "^(");
}

static void add_literal(struct reader *reader, char c)
{
    reader->is_empty = false;
    if (strchr(SPECIAL, c))
        buf_add(&reader->expression, "\\", 1);
    buf_add(&reader->expression, &c, 1);
    if (!reader->prefix_ended)
        buf_add(&reader->prefix, &c, 1);
}

/* One character of UTF-8 where the locale has no multibyte characters: a byte that continues none,
 * and those that continue it. */
static const char *any_character(void)
{
    return MB_CUR_MAX > 1 ? "." : "([^\x80-\xbf][\x80-\xbf]*)";
}

static void add_unquoted(struct reader *reader, char c)
{
    if (c >= 'A' && c <= 'Z')
        add_literal(reader, (char)(c - 'A' + 'a'));
    else if (c == '$' || !strchr(SPECIAL, c))
        add_literal(reader, c);
    else {
        reader->prefix_ended = true;
        reader->is_empty = false;
        if (c == '*')
            buf_add_text(&reader->expression, ".*");
        else if (c == '?')
            buf_add_text(&reader->expression, any_character());
        else
            buf_add(&reader->expression, &c, 1);
    }
}

static int compile(struct reader *reader, const char *text, struct part *part, struct error *err)
{
    if (reader->is_empty) {
        error_set(err, ERR_USAGE, "the table pattern %s has an empty part", text);
        return error_hint(err, "write SCHEMA.NAME or NAME; * is any name");
    }
    buf_add_text(&reader->expression, ")$");
    int rc = buf_failed(&reader->expression, "the table pattern", err);
    if (rc)
        return rc;
    int status = regcomp(&part->regex, buf_text(&reader->expression), REG_EXTENDED | REG_NOSUB);
    if (status) {
        char reason[128];
        regerror(status, &part->regex, reason, sizeof(reason));
        error_set(err, ERR_USAGE, "the table pattern %s is no regular expression: %s", text,
                  reason);
        return error_hint(err, "signs that stand for themselves go in double quotes");
    }
    part->is_set = true;
    return 0;
}

static bool begins_as_system(const char *prefix)
{
    return strncmp(prefix, "pg_", 3) == 0 || strncmp(prefix, "information_schema", 18) == 0;
}

static bool is_system(const char *schema)
{
    return strncmp(schema, "pg_", 3) == 0 || strcmp(schema, "information_schema") == 0;
}

/* The dot: what was read so far is the schema. */
static int end_schema(struct reader *reader, struct pattern *pattern, struct error *err)
{
    if (pattern->schema.is_set) {
        error_set(err, ERR_USAGE, "the table pattern %s has too many dots", pattern->text);
        return error_hint(err, "a dot separates schema from name; one that is part of a name goes "
                               "in double quotes");
    }
    pattern->names_system = begins_as_system(buf_text(&reader->prefix));
    int rc = compile(reader, pattern->text, &pattern->schema, err);
    reader_start(reader);
    return rc;
}

static int read_pattern(struct reader *reader, struct pattern *pattern, struct error *err)
{
    bool quoted = false;
    int rc = 0;
    for (const char *c = pattern->text; *c && !rc; c++) {
        if (*c == '"' && quoted && c[1] == '"')
            add_literal(reader, *++c);
        else if (*c == '"')
            quoted = !quoted;
        else if (quoted)
            add_literal(reader, *c);
        else if (*c == '.')
            rc = end_schema(reader, pattern, err);
        else
            add_unquoted(reader, *c);
    }
    if (!rc && quoted) {
        error_set(err, ERR_USAGE, "the table pattern %s has an unclosed quote", pattern->text);
        rc = error_hint(err, "in a shell, double quotes need single ones around them");
    }
    return rc ? rc : compile(reader, pattern->text, &pattern->name, err);
}

int pattern_parse(const char *text, struct pattern **ret_pattern, struct error *err)
{
    if (strlen(text) > PATTERN_BYTES_MAX)
        return error_set(err, ERR_USAGE, "a table pattern is longer than %d bytes",
                         PATTERN_BYTES_MAX);
    _cleanup_(pattern_freep) struct pattern *pattern = calloc(1, sizeof(*pattern));
    if (!pattern || !(pattern->text = strdup(text)))
        return error_no_memory(err);
    _cleanup_(reader_clear) struct reader reader = {0};
    reader_start(&reader);
    int rc = read_pattern(&reader, pattern, err);
    if (!rc)
        *ret_pattern = TAKE(pattern);
    return rc;
}

struct pattern *pattern_free(struct pattern *pattern)
{
    if (!pattern)
        return NULL;
    if (pattern->schema.is_set)
        regfree(&pattern->schema.regex);
    if (pattern->name.is_set)
        regfree(&pattern->name.regex);
    free(pattern->text);
    free(pattern);
    return NULL;
}

static bool part_matches(const struct part *part, const char *text)
{
    return !part->is_set || regexec(&part->regex, text, 0, NULL, 0) == 0;
}

bool pattern_matches(const struct pattern *pattern, const char *schema, const char *name)
{
    if (is_system(schema) && !pattern->names_system)
        return false;
    return part_matches(&pattern->schema, schema) && part_matches(&pattern->name, name);
}

const char *pattern_text(const struct pattern *pattern)
{
    return pattern->text;
}
