/*
 * Patterns that choose tables, as psql's \d and pg_dump's --table write them (PostgreSQL manual,
 * "psql", section "Patterns"), matched here and not on the server: a restore has to match the
 * tables of a manifest.
 *
 *     pattern_parse("audit.*", &pattern, err);
 *     if (pattern_matches(pattern, "audit", "Log")) ...
 *
 * Letters outside double quotes fold to lower case, as in SQL; inside quotes everything stands for
 * itself and "" is a quote: "Models", audit."Log*". Outside quotes * is any run of characters, ? is
 * any one character, a dot separates schema from name, $ stands for itself, and the other signs of
 * regular expressions (POSIX extended) work: log_[0-9]+, a|b.
 *
 * Differences from psql: without a schema a name matches in every schema but the system's (psql and
 * pg_dump look along search_path, which is empty in our sessions); system schemas (pg_..., and
 * information_schema) match only where the pattern spells the beginning of their name; an unclosed
 * quote, an empty part and more than one dot are errors. Names are text in UTF-8.
 *
 * Pure. A parsed pattern is immutable, so threads may share it.
 */
#ifndef PGCAIRN_POSTGRES_PATTERN_H
#define PGCAIRN_POSTGRES_PATTERN_H

#include <stddef.h>

#include "base/error.h"

enum { PATTERN_BYTES_MAX = 1000 };

struct pattern;

/* ERR_USAGE with the reason for a text that is no pattern. */
int pattern_parse(const char *text, struct pattern **ret_pattern, struct error *err);
struct pattern *pattern_free(struct pattern *pattern);

bool pattern_matches(const struct pattern *pattern, const char *schema, const char *name);
const char *pattern_text(const struct pattern *pattern); /* as it was written */

DEFINE_FREEP(struct pattern *, pattern_free)

#endif
