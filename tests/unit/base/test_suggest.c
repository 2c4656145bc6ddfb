#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/suggest.h"

static const char *const NAMES[] = {"schedule",  "type",      "keep",    "timezone", "jobs",
                                    "on_missed", "lock_wait", "dry-run", "after",    "of"};

static const struct {
    const char *word, *nearest;
} CASES[] = {
    {"shedule", "schedule"},
    {"scheduel", "schedule"},
    {"SCHEDULE", "schedule"},
    {"tpye", "type"},
    {"kepe", "keep"},
    {"job", "jobs"},
    {"on-missed", "on_missed"},
    {"dry_run", "dry-run"},
    {"time", "timezone"},
    {"tim", "timezone"},
    {"ti", NULL},
    {"wholly_else", NULL},
    {"", NULL},
    {"x", NULL},
    {"offer", NULL},
    {"lock", "lock_wait"},
    {"keeps", "keep"},
    {"retention", NULL},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        const char *got = suggest_nearest(CASES[i].word, NAMES, ARRAY_SIZE(NAMES));
        const char *want = CASES[i].nearest;
        if ((got == NULL) != (want == NULL) || (got && strcmp(got, want) != 0))
            fail_msg("\"%s\": got %s, want %s", CASES[i].word, got ? got : "nothing",
                     want ? want : "nothing");
    }
}

/* The longest words that are looked at must fit the rows; one more letter must not. */
static void test_long_words(void **state)
{
    (void)state;
    char word[SUGGEST_LENGTH_MAX + 2], name[SUGGEST_LENGTH_MAX + 2];
    memset(word, 'a', sizeof(word));
    memset(name, 'a', sizeof(name));
    word[SUGGEST_LENGTH_MAX] = name[SUGGEST_LENGTH_MAX] = '\0';
    name[7] = 'b';
    const char *names[] = {name};
    assert_ptr_equal(suggest_nearest(word, names, 1), name);
    word[SUGGEST_LENGTH_MAX] = 'a';
    word[SUGGEST_LENGTH_MAX + 1] = '\0';
    assert_null(suggest_nearest(word, names, 1));
    assert_null(suggest_nearest("a", names, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_long_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
