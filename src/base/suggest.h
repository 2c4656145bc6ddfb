/*
 * "Did you mean": the known name nearest to one that somebody mistyped. Pure.
 *
 * Distance is the number of letters inserted, left out, replaced or swapped with their neighbour;
 * case does not count, and '-' and '_' are the same. A name is near when at most a third of the
 * longer word differs; a word of three letters or more is also near the only name it begins.
 */
#ifndef PGCAIRN_BASE_SUGGEST_H
#define PGCAIRN_BASE_SUGGEST_H

#include <stddef.h>

enum { SUGGEST_LENGTH_MAX = 63 }; /* longer words are never near anything */

/* The nearest of the names, the first of equals; NULL when none is near. */
const char *suggest_nearest(const char *word, const char *const *names, size_t count);

#endif
