#include "policy/document.h"

#include <string.h>
#include <yaml.h>

#include "policy/braces.h"
#include "policy/problems.h"

enum { ANCHORS_MAX = 200 };

struct anchor {
    char *name;
    struct document_node *node;
    bool is_open; /* still being read: an alias to it would be a circle */
};

struct loader {
    yaml_parser_t parser;
    const char *text;
    size_t length;
    struct document *document;
    struct anchor anchors[ANCHORS_MAX];
    size_t anchor_count;
    size_t weight; /* nodes so far, aliases written out */
    struct policy_problems *problems;
    struct error *err;
};

static int read_node(struct loader *loader, const yaml_event_t *event, int depth,
                     struct document_node **ret_node);

static void eventp(yaml_event_t *event)
{
    yaml_event_delete(event);
}

/* Reports at a place and gives up: nothing can be read behind such an error. */
static int refuse(struct loader *loader, int line, int column, const char *message)
{
    int rc = problems_error(loader->problems, line, column, loader->err, "%s", message);
    return rc ? rc : error_set(loader->err, ERR_POLICY, "%s", message);
}

static int refuse_event(struct loader *loader, const yaml_event_t *event, const char *message)
{
    return refuse(loader, (int)event->start_mark.line + 1, (int)event->start_mark.column + 1,
                  message);
}

/* Line and column of a byte, for errors of libyaml's reader, which knows only the offset. */
static void place_of(const struct loader *loader, size_t offset, int *ret_line, int *ret_column)
{
    int line = 1, column = 1;
    for (size_t i = 0; i < offset && i < loader->length; i++) {
        if (loader->text[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)loader->text[i] & 0xc0) != 0x80) {
            column++;
        }
    }
    *ret_line = line;
    *ret_column = column;
}

static bool has_tab_at(const struct loader *loader, size_t line, size_t column)
{
    const char *cursor = loader->text, *end = cursor + loader->length;
    for (; line > 0 && cursor; line--) {
        cursor = memchr(cursor, '\n', (size_t)(end - cursor));
        cursor = cursor ? cursor + 1 : NULL;
    }
    return cursor && (size_t)(end - cursor) > column && cursor[column] == '\t';
}

static int syntax_error(struct loader *loader)
{
    const yaml_parser_t *parser = &loader->parser;
    const yaml_mark_t *mark = &parser->problem_mark;
    if (parser->error == YAML_MEMORY_ERROR)
        return error_no_memory(loader->err);
    if (parser->error == YAML_READER_ERROR) {
        int line, column;
        place_of(loader, parser->problem_offset, &line, &column);
        bool is_control = parser->problem && strstr(parser->problem, "control");
        return refuse(loader, line, column,
                      is_control ? "a control character is not allowed" : "not valid UTF-8");
    }
    int line = (int)mark->line + 1, column = (int)mark->column + 1;
    if (has_tab_at(loader, mark->line, mark->column))
        return refuse(loader, line, column, "a tab can't indent YAML: use spaces");
    char message[256];
    snprintf(message, sizeof(message), "not valid YAML: %s%s%s",
             parser->problem ? parser->problem : "unknown problem", parser->context ? " " : "",
             parser->context ? parser->context : "");
    return refuse(loader, line, column, message);
}

static int next_event(struct loader *loader, yaml_event_t *event)
{
    if (yaml_parser_parse(&loader->parser, event))
        return 0;
    memset(event, 0, sizeof(*event));
    return syntax_error(loader);
}

static struct document_node *node_free(struct document_node *node)
{
    free(node->text);
    free(node->source);
    free(node->entries);
    free(node);
    return NULL;
}

static int add_weight(struct loader *loader, const yaml_event_t *event, size_t weight)
{
    loader->weight += weight;
    if (loader->weight <= DOCUMENT_NODES_MAX)
        return 0;
    char message[80];
    snprintf(message, sizeof(message), "more than %d values, with aliases written out",
             DOCUMENT_NODES_MAX);
    return refuse_event(loader, event, message);
}

static int new_node(struct loader *loader, const yaml_event_t *event, enum document_kind kind,
                    struct document_node **ret_node)
{
    struct document *document = loader->document;
    int rc = add_weight(loader, event, 1);
    if (rc)
        return rc;
    if ((document->count & (document->count - 1)) == 0) {
        size_t size = document->count ? document->count * 2 : 1;
        struct document_node **nodes = reallocarray(document->nodes, size, sizeof(*nodes));
        if (!nodes)
            return error_no_memory(loader->err);
        document->nodes = nodes;
    }
    struct document_node *node = calloc(1, sizeof(*node));
    if (!node)
        return error_no_memory(loader->err);
    node->kind = kind;
    node->weight = 1;
    node->line = (int)event->start_mark.line + 1;
    node->column = (int)event->start_mark.column + 1;
    document->nodes[document->count++] = node;
    *ret_node = node;
    return 0;
}

static int add_entry(struct loader *loader, struct document_node *node, struct document_node *key,
                     struct document_node *value)
{
    if ((node->count & (node->count - 1)) == 0) {
        size_t size = node->count ? node->count * 2 : 1;
        struct document_entry *entries = reallocarray(node->entries, size, sizeof(*entries));
        if (!entries)
            return error_no_memory(loader->err);
        node->entries = entries;
    }
    node->entries[node->count++] = (struct document_entry){key, value};
    node->weight += value->weight + (key ? 1 : 0);
    return 0;
}

static int add_anchor(struct loader *loader, const yaml_event_t *event, const yaml_char_t *name,
                      struct document_node *node)
{
    if (!name)
        return 0;
    if (loader->anchor_count == ANCHORS_MAX)
        return refuse_event(loader, event, "too many anchors");
    struct anchor *anchor = &loader->anchors[loader->anchor_count];
    anchor->name = strdup((const char *)name);
    if (!anchor->name)
        return error_no_memory(loader->err);
    anchor->node = node;
    anchor->is_open = true;
    loader->anchor_count++;
    return 0;
}

static void close_anchor(struct loader *loader, const struct document_node *node)
{
    for (size_t i = 0; i < loader->anchor_count; i++)
        if (loader->anchors[i].node == node)
            loader->anchors[i].is_open = false;
}

/* The last anchor of a name counts, as YAML has it. */
static int read_alias(struct loader *loader, const yaml_event_t *event,
                      struct document_node **ret_node)
{
    const char *name = (const char *)event->data.alias.anchor;
    for (size_t i = loader->anchor_count; i > 0; i--) {
        const struct anchor *anchor = &loader->anchors[i - 1];
        if (strcmp(anchor->name, name) != 0)
            continue;
        if (anchor->is_open)
            return refuse_event(loader, event, "an alias can't stand within its own anchor");
        int rc = add_weight(loader, event, anchor->node->weight);
        if (!rc)
            *ret_node = anchor->node;
        return rc;
    }
    return refuse_event(loader, event, "an alias without an anchor before it");
}

static bool is_null(const yaml_event_t *event)
{
    static const char *const WORDS[] = {"", "~", "null", "Null", "NULL"};
    if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(WORDS); i++)
        if (strcmp((const char *)event->data.scalar.value, WORDS[i]) == 0)
            return true;
    return false;
}

static int quote_width(yaml_scalar_style_t style)
{
    if (style == YAML_PLAIN_SCALAR_STYLE)
        return 0;
    return style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE ? -1 : 1;
}

static int read_scalar(struct loader *loader, const yaml_event_t *event,
                       struct document_node **ret_node)
{
    const char *value = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;
    if (event->data.scalar.tag)
        return refuse_event(loader, event, "tags (\"!\") are not allowed");
    if (length > DOCUMENT_TEXT_MAX)
        return refuse_event(loader, event, "a value of more than 65536 bytes");
    if (memchr(value, '\0', length))
        return refuse_event(loader, event, "a NUL character is not allowed");
    struct document_node *node;
    int rc = new_node(loader, event, is_null(event) ? NODE_NULL : NODE_TEXT, &node);
    if (!rc && !(node->text = strdup(value)))
        rc = error_no_memory(loader->err);
    if (!rc)
        braces_show(node->text);
    if (!rc)
        node->quote = quote_width(event->data.scalar.style);
    if (!rc)
        rc = add_anchor(loader, event, event->data.scalar.anchor, node);
    if (rc)
        return rc;
    close_anchor(loader, node);
    *ret_node = node;
    return 0;
}

static int read_list(struct loader *loader, const yaml_event_t *start, int depth,
                     struct document_node **ret_node)
{
    struct document_node *node;
    if (start->data.sequence_start.tag)
        return refuse_event(loader, start, "tags (\"!\") are not allowed");
    int rc = new_node(loader, start, NODE_LIST, &node);
    if (!rc)
        rc = add_anchor(loader, start, start->data.sequence_start.anchor, node);
    while (!rc) {
        _cleanup_(eventp) yaml_event_t event = {0};
        struct document_node *item = NULL;
        if ((rc = next_event(loader, &event)) || event.type == YAML_SEQUENCE_END_EVENT)
            break;
        rc = read_node(loader, &event, depth + 1, &item);
        if (!rc)
            rc = add_entry(loader, node, NULL, item);
    }
    if (rc)
        return rc;
    close_anchor(loader, node);
    *ret_node = node;
    return 0;
}

/* Adds key and value unless the key was there before, which is reported. */
static int add_pair(struct loader *loader, struct document_node *map, struct document_node *key,
                    struct document_node *value)
{
    for (size_t i = 0; i < map->count; i++)
        if (strcmp(map->entries[i].key->text, key->text) == 0)
            return problems_error(loader->problems, key->line, key->column, loader->err,
                                  "key \"%s\" is given twice (first in line %d)", key->text,
                                  map->entries[i].key->line);
    return add_entry(loader, map, key, value);
}

static int read_key(struct loader *loader, const yaml_event_t *event,
                    struct document_node **ret_key)
{
    if (event->type != YAML_SCALAR_EVENT)
        return refuse_event(loader, event, "a key must be plain text");
    if (strcmp((const char *)event->data.scalar.value, "<<") == 0)
        return refuse_event(loader, event,
                            "merge keys (\"<<\") are not allowed: use defaults: instead");
    if (event->data.scalar.anchor)
        return refuse_event(loader, event, "a key can't have an anchor");
    int rc = read_scalar(loader, event, ret_key);
    if (!rc)
        (*ret_key)->is_key = true;
    return rc;
}

static int read_map(struct loader *loader, const yaml_event_t *start, int depth,
                    struct document_node **ret_node)
{
    struct document_node *node;
    if (start->data.mapping_start.tag)
        return refuse_event(loader, start, "tags (\"!\") are not allowed");
    int rc = new_node(loader, start, NODE_MAP, &node);
    if (!rc)
        rc = add_anchor(loader, start, start->data.mapping_start.anchor, node);
    while (!rc) {
        _cleanup_(eventp) yaml_event_t key_event = {0};
        _cleanup_(eventp) yaml_event_t value_event = {0};
        struct document_node *key = NULL, *value = NULL;
        if ((rc = next_event(loader, &key_event)) || key_event.type == YAML_MAPPING_END_EVENT)
            break;
        rc = read_key(loader, &key_event, &key);
        if (!rc)
            rc = next_event(loader, &value_event);
        if (!rc)
            rc = read_node(loader, &value_event, depth + 1, &value);
        if (!rc)
            rc = add_pair(loader, node, key, value);
    }
    if (rc)
        return rc;
    close_anchor(loader, node);
    *ret_node = node;
    return 0;
}

static int read_node(struct loader *loader, const yaml_event_t *event, int depth,
                     struct document_node **ret_node)
{
    if (depth > DOCUMENT_DEPTH_MAX)
        return refuse_event(loader, event, "nested more than 12 deep");
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return read_alias(loader, event, ret_node);
    case YAML_SCALAR_EVENT:
        return read_scalar(loader, event, ret_node);
    case YAML_SEQUENCE_START_EVENT:
        return read_list(loader, event, depth, ret_node);
    default:
        return read_map(loader, event, depth, ret_node);
    }
}

/* The stream: its start, at most one document, its end. */
static int read_stream(struct loader *loader)
{
    int rc = 0, documents = 0;
    for (bool is_end = false; !rc && !is_end;) {
        _cleanup_(eventp) yaml_event_t event = {0};
        if ((rc = next_event(loader, &event)))
            break;
        if (event.type == YAML_STREAM_END_EVENT)
            is_end = true;
        else if (event.type == YAML_DOCUMENT_START_EVENT && ++documents > 1)
            rc = refuse_event(loader, &event, "a second document: one file holds one policy");
        else if (event.type != YAML_STREAM_START_EVENT && event.type != YAML_DOCUMENT_START_EVENT &&
                 event.type != YAML_DOCUMENT_END_EVENT)
            rc = read_node(loader, &event, 1, &loader->document->root);
    }
    return rc;
}

/* loader->text is what libyaml reads. */
static int load(struct loader *loader)
{
    if (!yaml_parser_initialize(&loader->parser))
        return error_no_memory(loader->err);
    yaml_parser_set_encoding(&loader->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&loader->parser, (const unsigned char *)loader->text,
                                 loader->length);
    int rc = read_stream(loader);
    yaml_parser_delete(&loader->parser);
    for (size_t i = 0; i < loader->anchor_count; i++)
        free(loader->anchors[i].name);
    return rc;
}

int document_load(const char *text, size_t length, struct policy_problems *problems,
                  struct document **ret_document, struct error *err)
{
    _cleanup_(document_freep) struct document *document = calloc(1, sizeof(*document));
    _cleanup_(buf_clear) struct buf hidden = BUF_INIT(4 * (length + 1));
    if (!document)
        return error_no_memory(err);
    struct error fault = ERROR_NONE;
    int rc = braces_hide(text, length, &hidden, &fault);
    struct loader loader = {.text = buf_text(&hidden),
                            .length = hidden.length,
                            .document = document,
                            .problems = problems,
                            .err = err};
    if (rc == ERR_MEMORY)
        return error_no_memory(err);
    rc = rc ? refuse(&loader, 1, 1, fault.message) : load(&loader);
    if (rc)
        return rc;
    *ret_document = TAKE(document);
    return 0;
}

struct document *document_free(struct document *document)
{
    if (!document)
        return NULL;
    for (size_t i = 0; i < document->count; i++)
        node_free(document->nodes[i]);
    free(document->nodes);
    free(document);
    return NULL;
}
