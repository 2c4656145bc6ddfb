/*
 * Fails the n-th allocation of a call in turn. A program named test_memory.c is linked with
 * --wrap for the allocating functions below, so that calls from our own code come here first;
 * shared libraries keep theirs.
 *
 *     for (long n = 1; memory_fails_at(n, for_ever), call(), memory_was_short(); n++) ...
 *
 * memory_was_short() ends the failing and tells whether the n-th allocation was reached. With
 * for_ever all later ones fail as well.
 */
#ifndef PGCAIRN_TESTS_FAILING_MEMORY_H
#define PGCAIRN_TESTS_FAILING_MEMORY_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

static long memory_left; /* the n-th from here fails; 0: none does */
static bool memory_for_ever, memory_short;

static inline void memory_fails_at(long n, bool for_ever)
{
    memory_left = n;
    memory_for_ever = for_ever;
    memory_short = false;
}

static inline bool memory_was_short(void)
{
    memory_left = 0;
    memory_for_ever = false;
    return memory_short;
}

static inline bool memory_refuses(void)
{
    if (memory_short && memory_for_ever)
        return true;
    if (memory_left == 0 || --memory_left > 0)
        return false;
    memory_short = true;
    return true;
}

/* NAME(...) of our code is __wrap_NAME, the library's is __real_NAME. */
#define MEMORY_WRAP(type, name, parameters, arguments)            \
    type __real_##name parameters;                                \
    type __wrap_##name parameters;                                \
    type __wrap_##name parameters                                 \
    {                                                             \
        return memory_refuses() ? NULL : __real_##name arguments; \
    }

MEMORY_WRAP(void *, malloc, (size_t size), (size))
MEMORY_WRAP(void *, calloc, (size_t count, size_t size), (count, size))
MEMORY_WRAP(void *, realloc, (void *old, size_t size), (old, size))
MEMORY_WRAP(void *, reallocarray, (void *old, size_t count, size_t size), (old, count, size))
MEMORY_WRAP(char *, strdup, (const char *text), (text))
MEMORY_WRAP(char *, strndup, (const char *text, size_t length), (text, length))

int __real_vasprintf(char **ret_text, const char *format, va_list args);
int __wrap_vasprintf(char **ret_text, const char *format, va_list args);
int __wrap_vasprintf(char **ret_text, const char *format, va_list args)
{
    return memory_refuses() ? -1 : __real_vasprintf(ret_text, format, args);
}

int __wrap_asprintf(char **ret_text, const char *format, ...);
int __wrap_asprintf(char **ret_text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = __wrap_vasprintf(ret_text, format, args);
    va_end(args);
    return length;
}

#endif
