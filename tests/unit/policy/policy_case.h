/* What the tests of policy share: texts parsed with a small environment, problems as lines. */
#ifndef TEST_POLICY_CASE_H
#define TEST_POLICY_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "policy/policy.h"

static const char *const CASE_ENVIRONMENT[][2] = {
    {"DATABASE_URL", "postgresql://app:hunter2@db.example.com:5432/app"},
    {"CASE_EMPTY", ""},
    {"CASE_NAME", "app"},
    {"CASE_INJECT", "x\njobs: {evil: {type: dump}}"},
    {"CASE_DOLLAR", "a$b${CASE_NAME}"},
    {"ALERT_URL", "https://example.com/alert"},
    {"HEALTHCHECK_URL", "https://example.com/ping"},
};

static inline const char *case_getenv(const char *name, void *context)
{
    (void)context;
    for (size_t i = 0; i < sizeof(CASE_ENVIRONMENT) / sizeof(CASE_ENVIRONMENT[0]); i++)
        if (strcmp(CASE_ENVIRONMENT[i][0], name) == 0)
            return CASE_ENVIRONMENT[i][1];
    return NULL;
}

/* Parses; NULL when there are errors. lines gets "LINE:COLUMN: [warning: ]message\n" for each. */
static inline struct policy *case_parse_bytes(const char *text, size_t length, struct buf *lines)
{
    struct policy *policy = NULL;
    struct policy_problems problems;
    struct error err = ERROR_NONE;
    int rc = policy_parse("p.yaml", text, length, case_getenv, NULL, &policy, &problems, &err);
    buf_init(lines, 1 << 20);
    for (size_t i = 0; i < problems.count; i++)
        buf_addf(lines, "%d:%d: %s%s\n", problems.items[i].line, problems.items[i].column,
                 problems.items[i].is_warning ? "warning: " : "", problems.items[i].message);
    assert_int_equal(rc == 0, policy != NULL);
    assert_int_equal(rc == 0, problems.error_count == 0);
    assert_true(rc == 0 || rc == ERR_POLICY);
    policy_problems_clear(&problems);
    return policy;
}

static inline struct policy *case_parse(const char *text, struct buf *lines)
{
    return case_parse_bytes(text, strlen(text), lines);
}

/* Fails unless the text gives exactly these lines. */
static inline void case_expect(const char *text, const char *want)
{
    struct buf lines;
    policy_free(case_parse(text, &lines));
    if (strcmp(buf_text(&lines), want) != 0)
        fail_msg("got:\n%s\nwant:\n%s\n%s", buf_text(&lines), want, text);
    buf_clear(&lines);
}

#define CASE_HEAD                               \
    "cluster: app\n"                            \
    "postgres: {connection: ${DATABASE_URL}}\n" \
    "repository: {url: file:///srv/pgcairn}\n"

#endif
