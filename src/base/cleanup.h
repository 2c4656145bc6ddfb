/*
 * Owning locals: a variable marked _cleanup_(f) is released by f when it leaves scope, on every
 * path. Take ownership out with TAKE().
 *
 *     _cleanup_(freep) char *text = NULL;
 *     ...
 *     *ret_text = TAKE(text);
 */
#ifndef PGCAIRN_BASE_CLEANUP_H
#define PGCAIRN_BASE_CLEANUP_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _warn_unused_ __attribute__((warn_unused_result))

/* The value of a pointer variable, which becomes NULL: ownership moves to whoever takes the value.
 */
#define TAKE(p)                     \
    ({                              \
        __typeof__(p) _taken = (p); \
        (p) = NULL;                 \
        _taken;                     \
    })

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static inline void freep(void *p)
{
    free(*(void **)p);
}

static inline void closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void fclosep(FILE **file)
{
    if (*file)
        fclose(*file);
}

static inline void closedirp(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

/* Defines FREEp() for pointers of a type that FREE(pointer) releases: _cleanup_(FREEp). */
#define DEFINE_FREEP(pointer_type, free_function)        \
    static inline void free_function##p(pointer_type *p) \
    {                                                    \
        if (*p)                                          \
            free_function(*p);                           \
    }

#endif
