/* The rights on schema public that the statements of a dump count from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "postgres/server.h"

/* What pg_dump before 15 wrote counts from the old rights, and so may a backup that does not tell.
 */
static void test_rights_on_schema_public(void **state)
{
    (void)state;
    static const struct {
        int pg_dump_major;
        bool revokes;
    } ROWS[] = {{0, false}, {13, false}, {14, false}, {15, true}, {18, true}};
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        const char *sql = pg_public_schema_sql(ROWS[i].pg_dump_major);
        if ((sql != NULL) != ROWS[i].revokes)
            fail_msg("pg_dump %d: \"%s\"", ROWS[i].pg_dump_major, sql ? sql : "");
        if (sql)
            assert_non_null(strstr(sql, "REVOKE CREATE ON SCHEMA public FROM PUBLIC"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rights_on_schema_public),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
