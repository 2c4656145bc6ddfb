/*
 * YAML as a small tree with the place of every node, by libyaml's events (YAML 1.1, but every
 * scalar is text: what it means is decided by the key it stands under).
 *
 *     struct yaml *yaml = NULL;
 *     if ((rc = yaml_load(text, length, problems, &yaml, err))) ...
 *     for (size_t i = 0; i < yaml->root->count; i++) ... yaml->root->entries[i].key, .value
 *     yaml_free(yaml);
 *
 * Refused, as errors among the problems: bytes that are not UTF-8, syntax errors, a second
 * document, tags, keys that are no plain text or have an anchor, merge keys, more nodes or depth
 * than the limits below. A key given twice is reported and its first value kept. Aliases are
 * allowed: the tree then shares a node, and each use counts against the limit of nodes as if it had
 * been written out, so nested aliases can't grow; an alias within its own anchor is refused.
 */
#ifndef PGCAIRN_POLICY_YAML_H
#define PGCAIRN_POLICY_YAML_H

#include <stddef.h>

#include "base/error.h"

enum {
    YAML_DEPTH_MAX = 12,    /* a policy needs 6 */
    YAML_NODES_MAX = 20000, /* aliases written out */
    YAML_TEXT_MAX = 65536,  /* bytes of one scalar */
};

struct policy_problems;

enum yaml_kind { YAML_NULL, YAML_TEXT, YAML_LIST, YAML_MAP };

struct yaml_node;

struct yaml_entry {
    struct yaml_node *key; /* text; NULL for the items of a list */
    struct yaml_node *value;
};

struct yaml_node {
    enum yaml_kind kind;
    bool is_key;
    bool is_broken;             /* its ${} could not be expanded: reported, not to be looked at */
    int line, column;           /* 1-based, columns count characters */
    int quote;                  /* columns between its place and its text: 0, 1, or -1 in a block */
    char *text;                 /* YAML_TEXT: the value, expanded by expand_all() */
    char *source;               /* as written, where expansion changed the text; else NULL */
    struct yaml_entry *entries; /* YAML_LIST and YAML_MAP */
    size_t count;
    size_t weight; /* nodes in here, aliases written out */
};

struct yaml {
    struct yaml_node *root;   /* NULL when the text holds nothing but comments */
    struct yaml_node **nodes; /* every node once */
    size_t count;
};

/* 0 and *ret_yaml, also when keys were given twice; ERR_POLICY when it is no tree, with the reason
 * among the problems; ERR_MEMORY. */
int yaml_load(const char *text, size_t length, struct policy_problems *problems,
              struct yaml **ret_yaml, struct error *err);
struct yaml *yaml_free(struct yaml *yaml);

DEFINE_FREEP(struct yaml *, yaml_free)

#endif
