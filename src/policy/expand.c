#include "policy/expand.h"

#include <string.h>

#include "base/buf.h"
#include "policy/problems.h"

enum { VARIABLE_NAME_MAX = 128 };

struct expander {
    policy_getenv get_env;
    void *context;
    struct buf out;
    struct error *problem; /* what is wrong with this value */
};

static int expand_text(struct expander *expander, const char *text, size_t length, int depth);

static size_t name_length(const char *text, size_t length)
{
    size_t i = 0;
    for (; i < length; i++) {
        char c = text[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!is_letter && (i == 0 || c < '0' || c > '9'))
            break;
    }
    return i;
}

/* The length of "${...}" with the braces within; 0 when it is not closed. */
static size_t braces_length(const char *text, size_t length)
{
    int open = 0;
    for (size_t i = 1; i < length; i++) {
        if (text[i] == '{' && text[i - 1] == '$')
            open++;
        else if (text[i] == '}' && --open == 0)
            return i + 1;
    }
    return 0;
}

static int missing(struct expander *expander, const char *name, const char *message, size_t length)
{
    if (length)
        return error_set(expander->problem, ERR_POLICY, "%s: %.*s", name, (int)length, message);
    return error_set(expander->problem, ERR_POLICY, "environment variable %s is not set", name);
}

/* What stands between "${" and "}". */
static int expand_variable(struct expander *expander, const char *text, size_t length, int depth)
{
    char name[VARIABLE_NAME_MAX];
    size_t size = name_length(text, length);
    if (size == 0 || size >= sizeof(name))
        return error_set(
            expander->problem, ERR_POLICY,
            "\"${\" is not followed by the name of a variable (\"$${\" writes \"${\")");
    snprintf(name, sizeof(name), "%.*s", (int)size, text);
    const char *value = expander->get_env(name, expander->context);
    const char *rest = text + size;
    size_t rest_length = length - size;
    if (rest_length == 0) {
        if (!value)
            return missing(expander, name, "", 0);
    } else if (rest_length < 2 || rest[0] != ':' || (rest[1] != '-' && rest[1] != '?')) {
        return error_set(expander->problem, ERR_POLICY,
                         "\"${%s\" must end in \"}\", \":-default}\" or \":?message}\"", name);
    } else if (!value || !*value) {
        if (rest[1] == '?')
            return missing(expander, name, rest + 2, rest_length - 2);
        return expand_text(expander, rest + 2, rest_length - 2, depth + 1);
    }
    buf_add_text(&expander->out, value);
    return 0;
}

static int expand_text(struct expander *expander, const char *text, size_t length, int depth)
{
    if (depth > EXPAND_DEPTH_MAX)
        return error_set(expander->problem, ERR_POLICY, "\"${\" nested more than %d deep",
                         EXPAND_DEPTH_MAX);
    int rc = 0;
    for (size_t i = 0; i < length && !rc;) {
        size_t left = length - i;
        if (text[i] != '$' || left < 2 || (text[i + 1] != '$' && text[i + 1] != '{')) {
            buf_add(&expander->out, text + i, 1);
            i++;
        } else if (text[i + 1] == '$') {
            buf_add(&expander->out, "$", 1);
            i += 2;
        } else {
            size_t whole = braces_length(text + i, left);
            if (!whole)
                return error_set(expander->problem, ERR_POLICY, "\"${\" without \"}\"");
            rc = expand_variable(expander, text + i + 2, whole - 3, depth);
            i += whole;
        }
    }
    return rc;
}

static int expand_value(struct expander *expander, const char *text)
{
    size_t length = strlen(text);
    if (text[0] == '$' && length > 1 && name_length(text + 1, length - 1) == length - 1)
        return error_set(expander->problem, ERR_POLICY,
                         "\"%.64s\" is not expanded: write ${%.64s}, or $%.64s for that very text",
                         text, text + 1, text);
    int rc = expand_text(expander, text, length, 0);
    if (!rc && expander->out.failed == ERR_LIMIT)
        rc = error_set(expander->problem, ERR_POLICY, "longer than %d bytes when expanded",
                       DOCUMENT_TEXT_MAX);
    return rc;
}

static int expand_node(struct document_node *node, struct expander *expander,
                       struct policy_problems *problems, struct error *err)
{
    struct error problem = ERROR_NONE;
    expander->problem = &problem;
    buf_reset(&expander->out);
    node->is_broken = expand_value(expander, node->text) != 0;
    if (node->is_broken)
        return problems_error(problems, node->line, node->column, err, "%s", problem.message);
    if (expander->out.failed)
        return error_no_memory(err);
    if (strcmp(buf_text(&expander->out), node->text) == 0)
        return 0;
    char *text = strdup(buf_text(&expander->out));
    if (!text)
        return error_no_memory(err);
    node->source = node->text;
    node->text = text;
    return 0;
}

int expand_all(struct document *document, policy_getenv get_env, void *context,
               struct policy_problems *problems, struct error *err)
{
    struct expander expander = {.get_env = get_env, .context = context};
    buf_init(&expander.out, DOCUMENT_TEXT_MAX);
    int rc = 0;
    for (size_t i = 0; i < document->count && !rc; i++)
        if (document->nodes[i]->kind == NODE_TEXT && !document->nodes[i]->is_key)
            rc = expand_node(document->nodes[i], &expander, problems, err);
    buf_clear(&expander.out);
    return rc;
}
