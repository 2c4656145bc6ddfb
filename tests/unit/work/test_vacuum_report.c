/* The report for people: what stands where, and that gaps in the details are no harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/json.h"
#include "work/vacuum_report.h"

static char *report_of(const char *document)
{
    _cleanup_(json_release) json_t *details = NULL;
    struct error err = ERROR_NONE;
    if (json_parse_object(document, strlen(document), "the details", &details, &err))
        fail_msg("%s", err.message);
    char *text = NULL;
    size_t length = 0;
    FILE *file = open_memstream(&text, &length);
    assert_non_null(file);
    if (vacuum_report_text(details, file, &err))
        fail_msg("%s", err.message);
    fclose(file);
    return text;
}

static void test_nothing_done(void **state)
{
    (void)state;
    _cleanup_(freep) char *text = report_of("{\"totals\":{\"databases\":2,\"tables\":70,\"done\":0,"
                                            "\"failed\":0,\"left\":0,\"skipped\":0}}");
    assert_string_equal(text, "70 tables in 2 databases: 0 done, 0 failed, 0 left for the next "
                              "run, 0 skipped\n");
}

static void test_tables(void **state)
{
    (void)state;
    _cleanup_(freep) char *text = report_of(
        "{\"totals\":{\"databases\":1,\"tables\":2,\"done\":1,\"failed\":1,\"left\":0,"
        "\"skipped\":0,\"dead_rows_before\":9,\"dead_rows_after\":0,\"bytes_before\":2000,"
        "\"bytes_after\":1000},"
        "\"tables\":[{\"database\":\"app\",\"schema\":\"public\",\"table\":\"Models\","
        "\"reason\":\"r\",\"work\":\"vacuum\",\"outcome\":\"done\",\"note\":null,"
        "\"before\":{\"bytes\":2000,\"dead_rows\":9,\"all_visible_percent\":null,\"xid_age\":7},"
        "\"after\":{\"bytes\":1000,\"dead_rows\":0,\"all_visible_percent\":100,\"xid_age\":7}},"
        "{\"database\":\"app\",\"schema\":\"public\",\"table\":\"t\",\"reason\":\"r\","
        "\"work\":\"analyze\",\"outcome\":\"failed\",\"note\":\"locked\"}]}");
    assert_string_equal(
        text,
        "DATABASE  TABLE          WORK     OUTCOME  WHY  DEAD ROWS  VISIBLE %  XID AGE            "
        "  SIZE  NOTE\n"
        "app       public.Models  vacuum   done     r       9 -> 0   ? -> 100        7  2.0 kB -> "
        "1.0 kB  \n"
        "app       public.t       analyze  failed   r                                            "
        "         locked\n"
        "2 tables in 1 databases: 1 done, 1 failed, 0 left for the next run, 0 skipped\n"
        "dead rows 9 -> 0, size 2.0 kB -> 1.0 kB\n");
}

static void test_findings(void **state)
{
    (void)state;
    _cleanup_(freep) char *text = report_of(
        "{\"unmatched\":[\"nix\"],\"server\":{\"idle_in_transaction\":[],\"blockers\":[{"
        "\"kind\":\"session\",\"holder\":\"7\",\"state\":null,\"xid_age\":3,"
        "\"command\":\"select pg_terminate_backend(7)\"}]},"
        "\"databases\":[{\"name\":\"app\",\"largest_tables\":[{\"table\":\"t\",\"bytes\":8192}]}],"
        "\"unknown\":[\"could not tell x\"]}");
    assert_non_null(strstr(text, "no table matches nix\n"));
    assert_non_null(strstr(text, "who holds back the removal of dead rows, oldest first:\n"
                                 "  kind session, holder 7, xid_age 3\n"
                                 "    select pg_terminate_backend(7)\n"));
    assert_null(strstr(text, "idle in a transaction"));
    assert_non_null(strstr(text, "largest tables in app:\n  table t, bytes 8.2 kB\n"));
    assert_non_null(strstr(text, "could not tell x\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_done),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_findings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
