/* Why nothing is archived, in words; and which files still wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/instant.h"
#include "postgres/archiver.h"

static char MINIMAL[] = "minimal", REPLICA[] = "replica", OFF[] = "off", ON[] = "on",
            NOTHING[] = "", OURS[] = "pgcairn-wal push shop %p", COPY[] = "cp %p /mnt/%f",
            LIBRARY[] = "other", SEGMENT[] = "000000010000000000000007";

static void test_problems(void **state)
{
    (void)state;
    const struct pg_archiver good = {.wal_level = REPLICA,
                                     .archive_mode = ON,
                                     .command = OURS,
                                     .library = NOTHING,
                                     .last_failed = SEGMENT,
                                     .last_failed_us = INSTANT_NONE,
                                     .last_archived_us = INSTANT_NONE,
                                     .now_us = 10 * US_PER_MINUTE};
    struct pg_archiver rows[] = {good, good, good, good, good, good, good, good, good, good};
    static const struct {
        const char *what, *cure; /* NULL: no problem */
        bool is_certain;
    } EXPECTED[] = {
        {NULL, NULL, false},
        {"wal_level is minimal", "set wal_level = replica", true},
        {"archive_mode is off", "'pgcairn-wal push shop %p'; and restart", true},
        {"archive_command is empty", "pg_reload_conf()", true},
        {NULL, NULL, false}, /* a library archives */
        {"does not call pgcairn: cp %p", "pgcairn-wal push shop %p", false},
        {"archive_command fails: 3 times in all, last for 000000010000000000000007 8m ago",
         "pgcairn wal push shop pg_wal/000000010000000000000007", false},
        {NULL, NULL, false}, /* it failed, and works again */
        {NULL, NULL, false}, /* a standby archives nothing by itself */
        {NULL, NULL, false}, /* the command may not be seen */
    };
    rows[1].wal_level = MINIMAL;
    rows[2].archive_mode = OFF;
    rows[3].command = NOTHING;
    rows[4].command = NOTHING;
    rows[4].library = LIBRARY;
    rows[5].command = COPY;
    rows[6].failed_count = rows[7].failed_count = 3;
    rows[6].last_failed_us = rows[7].last_failed_us = 2 * US_PER_MINUTE;
    rows[6].last_archived_us = US_PER_MINUTE;
    rows[7].last_archived_us = 3 * US_PER_MINUTE;
    rows[8].is_standby = true;
    rows[8].archive_mode = OFF;
    rows[9].command = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct pg_archiver_problem problem;
        pg_archiver_find_problem(&rows[i], "shop", &problem);
        bool right = EXPECTED[i].what ? strstr(problem.what, EXPECTED[i].what) &&
                                            strstr(problem.cure, EXPECTED[i].cure)
                                      : problem.what[0] == '\0';
        if (!right || problem.is_certain != EXPECTED[i].is_certain)
            fail_msg("row %zu: \"%s\" \"%s\"", i, problem.what, problem.cure);
    }
}

static void test_what_waits(void **state)
{
    (void)state;
    struct wal_name names[3];
    assert_true(wal_name_parse("00000002.history", &names[0]));
    assert_true(wal_name_parse("000000010000000000000003", &names[1]));
    assert_true(wal_name_parse("000000010000000000000007", &names[2]));
    struct pg_archiver archiver = {.ready = names, .ready_listed = 3, .ready_count = 3};
    static const struct {
        const char *name;
        bool waits, waits_if_more;
    } ROWS[] = {
        {"00000002.history", true, true},           {"000000010000000000000003", true, true},
        {"000000010000000000000005", false, false}, {"000000010000000000000007", true, true},
        {"000000010000000000000008", false, true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct wal_name name;
        assert_true(wal_name_parse(ROWS[i].name, &name));
        archiver.ready_count = 3;
        bool waits = pg_archiver_waits(&archiver, &name);
        archiver.ready_count = 4; /* one was not listed */
        if (waits != ROWS[i].waits || pg_archiver_waits(&archiver, &name) != ROWS[i].waits_if_more)
            fail_msg("%s", ROWS[i].name);
    }
    struct pg_archiver empty = {.ready_count = 0};
    assert_false(pg_archiver_waits(&empty, &names[1]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_problems),
        cmocka_unit_test(test_what_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
