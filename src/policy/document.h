/*
 * YAML as a small tree with the place of every node, by libyaml's events (YAML 1.1, but every
 * scalar is text: what it means is decided by the key it stands under).
 *
 *     struct document *document = NULL;
 *     if ((rc = document_load(text, length, problems, &document, err))) ...
 *     for (size_t i = 0; i < document->root->count; i++) ... document->root->entries[i].key, .value
 *     document_free(document);
 *
 * Refused, as errors among the problems: bytes that are not UTF-8, syntax errors, a second
 * document, tags, keys that are no plain text or have an anchor, merge keys, more nodes or depth
 * than the limits below. A key given twice is reported and its first value kept. Aliases are
 * allowed: the tree then shares a node, and each use counts against the limit of nodes as if it had
 * been written out, so nested aliases can't grow; an alias within its own anchor is refused.
 */
#ifndef PGCAIRN_POLICY_DOCUMENT_H
#define PGCAIRN_POLICY_DOCUMENT_H

#include <stddef.h>

#include "base/error.h"

enum {
    DOCUMENT_DEPTH_MAX = 12,    /* a policy needs 6 */
    DOCUMENT_NODES_MAX = 20000, /* aliases written out */
    DOCUMENT_TEXT_MAX = 65536,  /* bytes of one scalar */
};

struct policy_problems;

enum document_kind { NODE_NULL, NODE_TEXT, NODE_LIST, NODE_MAP };

struct document_node;

struct document_entry {
    struct document_node *key; /* text; NULL for the items of a list */
    struct document_node *value;
};

struct document_node {
    enum document_kind kind;
    bool is_key;
    bool is_broken;   /* its ${} could not be expanded: reported, not to be looked at */
    int line, column; /* 1-based, columns count characters */
    int quote;        /* columns between its place and its text: 0, 1, or -1 in a block */
    char *text;       /* NODE_TEXT: the value, expanded by expand_all() */
    char *source;     /* as written, where expansion changed the text; else NULL */
    struct document_entry *entries; /* NODE_LIST and NODE_MAP */
    size_t count;
    size_t weight; /* nodes in here, aliases written out */
};

struct document {
    struct document_node *root;   /* NULL when the text holds nothing but comments */
    struct document_node **nodes; /* every node once */
    size_t count;
};

/* 0 and *ret_document, also when keys were given twice; ERR_POLICY when it is no tree, with the
 * reason among the problems; ERR_MEMORY. */
int document_load(const char *text, size_t length, struct policy_problems *problems,
                  struct document **ret_document, struct error *err);
struct document *document_free(struct document *document);

DEFINE_FREEP(struct document *, document_free)

#endif
