#include "policy/problems.h"

#include <stdarg.h>
#include <stdio.h>

#include "policy/policy.h"

/* A message may quote what stands in the file; a terminal must not obey it. */
static void flatten(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

_printf_(6, 0) static int add(struct policy_problems *problems, bool is_warning, int line,
                              int column, struct error *err, const char *format, va_list args)
{
    if (problems->count >= POLICY_PROBLEMS_MAX) {
        problems->error_count += !is_warning;
        return 0;
    }
    _cleanup_(freep) char *message = NULL;
    if (vasprintf(&message, format, args) < 0) {
        message = NULL;
        return error_no_memory(err);
    }
    flatten(message);
    struct policy_problem *items =
        reallocarray(problems->items, problems->count + 1, sizeof(*items));
    if (!items)
        return error_no_memory(err);
    problems->items = items;
    items[problems->count++] = (struct policy_problem){
        .line = line, .column = column, .is_warning = is_warning, .message = TAKE(message)};
    problems->error_count += !is_warning;
    return 0;
}

int problems_error(struct policy_problems *problems, int line, int column, struct error *err,
                   const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int rc = add(problems, false, line, column, err, format, args);
    va_end(args);
    return rc;
}

int problems_warning(struct policy_problems *problems, int line, int column, struct error *err,
                     const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int rc = add(problems, true, line, column, err, format, args);
    va_end(args);
    return rc;
}

static bool comes_after(const struct policy_problem *a, const struct policy_problem *b)
{
    return a->line != b->line ? a->line > b->line : a->column > b->column;
}

/* Insertion sort: stable, and there are few and mostly in order. */
void problems_sort(struct policy_problems *problems)
{
    for (size_t i = 1; i < problems->count; i++) {
        struct policy_problem item = problems->items[i];
        size_t to = i;
        for (; to > 0 && comes_after(&problems->items[to - 1], &item); to--)
            problems->items[to] = problems->items[to - 1];
        problems->items[to] = item;
    }
}

void policy_problems_clear(struct policy_problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        free(problems->items[i].message);
    free(problems->items);
    *problems = (struct policy_problems){0};
}
