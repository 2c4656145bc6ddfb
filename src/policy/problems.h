/*
 * The problems of one policy file as they are found: errors and warnings with line and column, to
 * be sorted once at the end. Over POLICY_PROBLEMS_MAX they are counted and no longer kept.
 */
#ifndef PGCAIRN_POLICY_PROBLEMS_H
#define PGCAIRN_POLICY_PROBLEMS_H

#include "base/error.h"

struct policy_problems;

/* ERR_MEMORY only. A message is one line: control characters in it become "?". */
int problems_error(struct policy_problems *problems, int line, int column, struct error *err,
                   const char *format, ...) _printf_(5, 6);
int problems_warning(struct policy_problems *problems, int line, int column, struct error *err,
                     const char *format, ...) _printf_(5, 6);

/* By line, then column; those of one place stay in the order they were found. */
void problems_sort(struct policy_problems *problems);

#endif
