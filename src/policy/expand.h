/*
 * ${VAR} in values. The values of the tree are expanded one by one after the YAML was read, so what
 * a variable holds can never become keys, lists or comments. Keys are not expanded.
 *
 *     ${VAR}             the variable; an error when it is not set
 *     ${VAR:-default}    default when it is not set or empty; may hold ${...} itself
 *     ${VAR:?message}    an error with this message when it is not set or empty
 *     $$                 one dollar sign
 *
 * A dollar sign before anything else stands for itself, but a value that is wholly "$NAME" is an
 * error: it was meant as ${NAME}. Quotes make no difference.
 */
#ifndef PGCAIRN_POLICY_EXPAND_H
#define PGCAIRN_POLICY_EXPAND_H

#include "policy/policy.h"
#include "policy/document.h"

enum { EXPAND_DEPTH_MAX = 8 };

/* Expands every value of the tree; problems are reported at the values. ERR_MEMORY only. */
int expand_all(struct document *document, policy_getenv get_env, void *context,
               struct policy_problems *problems, struct error *err);

#endif
