/* What the tests of this folder share: calls that must work, calls that must fail, a folder. */
#ifndef PGCAIRN_TESTS_BASE_CASE_H
#define PGCAIRN_TESTS_BASE_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/instant.h"
#include "remove_tree.h"

static __attribute__((unused)) struct error case_err;

#define assert_ok(expression)                                                             \
    do {                                                                                  \
        case_err = ERROR_NONE;                                                            \
        int _rc = (expression);                                                           \
        if (_rc)                                                                          \
            fail_msg("%s: %s (%s)", #expression, case_err.message, error_code_name(_rc)); \
    } while (0)

/* The code, and a piece of the text. */
#define assert_fails(expression, expected_code, text)                                     \
    do {                                                                                  \
        case_err = ERROR_NONE;                                                            \
        int _rc = (expression);                                                           \
        if (_rc != (expected_code) || !strstr(case_err.message, (text)))                  \
            fail_msg("%s: %s (%s)", #expression, case_err.message, error_code_name(_rc)); \
    } while (0)

static char case_folder[64];

static inline int case_make_folder(void **state)
{
    (void)state;
    snprintf(case_folder, sizeof(case_folder), "/tmp/pgcairn-base-XXXXXX");
    return mkdtemp(case_folder) ? 0 : -1;
}

static inline int case_remove_folder(void **state)
{
    (void)state;
    return remove_tree(case_folder);
}

static inline const char *case_path(const char *name)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/%s", case_folder, name);
    return path;
}

static inline double case_seconds_since(int64_t started_us)
{
    return (double)(instant_monotonic_us() - started_us) / (double)US_PER_SECOND;
}

#endif
