/* Windows less windows: which moments can't be recovered any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "retention/continuity.h"

enum { WINDOWS_MAX = 8 };

static const struct {
    const char *before, *after, *lost; /* "from-to from-to" */
} ROWS[] = {
    {"", "", ""},
    {"", "1-9", ""},
    {"1-9", "1-9", ""},
    {"1-9", "", "1-9"},
    {"1-9", "4-9", "1-4"},
    {"1-9", "1-4", "4-9"},
    {"1-9", "3-4 6-7", "1-3 4-6 7-9"},
    {"1-4 6-9", "2-8", "1-2 8-9"},
    {"1-4 6-9", "6-9", "1-4"},
    {"3-5", "1-2 7-8", "3-5"},
    {"3-3", "", "3-3"}, /* a single moment */
    {"1-2 4-5", "0-9", ""},
};

static size_t parse(const char *text, struct continuity_window windows[WINDOWS_MAX])
{
    size_t count = 0;
    while (*text) {
        char *rest;
        windows[count] = (struct continuity_window){.from_us = strtoll(text, &rest, 10)};
        windows[count++].to_us = strtoll(rest + 1, &rest, 10);
        text = rest + (*rest == ' ');
    }
    return count;
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct continuity_window windows[2][WINDOWS_MAX];
        struct continuity before = {.windows = windows[0]}, after = {.windows = windows[1]};
        struct continuity_span *spans;
        size_t count;
        char text[200] = "";
        before.window_count = parse(ROWS[i].before, windows[0]);
        after.window_count = parse(ROWS[i].after, windows[1]);
        assert_int_equal(continuity_find_lost(&before, &after, &spans, &count, NULL), 0);
        for (size_t s = 0; s < count; s++) {
            size_t used = strlen(text);
            snprintf(text + used, sizeof(text) - used, "%s%lld-%lld", s ? " " : "",
                     (long long)spans[s].from_us, (long long)spans[s].to_us);
        }
        if (strcmp(text, ROWS[i].lost) != 0)
            fail_msg("row %zu: \"%s\"", i, text);
        free(spans);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
