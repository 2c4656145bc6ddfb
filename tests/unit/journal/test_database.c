/* Statements that are kept prepared: used again, never by two at once, within their limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "journal/database.h"
#include "remove_tree.h"

static char folder[64];
static struct journal *journal;
static struct error err;

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/pgcairn-database-XXXXXX");
    return mkdtemp(folder) && journal_open(folder, JOURNAL_WRITE, &journal, &err) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    journal = journal_free(journal);
    remove_tree(folder);
    return 0;
}

static struct statement *ask(const char *sql, const char *kinds, int64_t a, int64_t b)
{
    struct statement *query = NULL;
    if (database_query(journal, &query, &err, sql, kinds, a, b))
        fail_msg("%s", err.message);
    return query;
}

static int64_t fetch(struct statement *query, int column)
{
    bool has_row = false;
    assert_int_equal(database_step(journal, query, &has_row, &err), 0);
    assert_true(has_row);
    return database_integer(query, column);
}

static size_t count_prepared(void)
{
    size_t count = 0;
    for (sqlite3_stmt *s = NULL; (s = sqlite3_next_stmt(journal->db, s));)
        count++;
    return count;
}

static void test_the_same_text_is_prepared_once(void **state)
{
    (void)state;
    struct statement *first = ask("SELECT ?, ?", "ii", 1, 2);
    sqlite3_stmt *handle = first->handle;
    assert_int_equal(fetch(first, 1), 2);
    statement_free(first);
    char copy[] = "SELECT ?, ?"; /* the text counts, not where it stands */
    struct statement *second = ask(copy, "i", 3, 0);
    assert_ptr_equal(second->handle, handle);
    assert_int_equal(fetch(second, 0), 3);
    assert_int_equal(database_integer(second, 1), INSTANT_NONE); /* and no value of before */
    statement_free(second);
}

static void test_one_in_use_is_left_alone(void **state)
{
    static const char SQL[] = "SELECT ?1 UNION ALL SELECT ?2";
    (void)state;
    struct statement *outer = ask(SQL, "ii", 1, 2);
    assert_int_equal(fetch(outer, 0), 1);
    struct statement *inner = ask(SQL, "ii", 7, 8);
    assert_ptr_not_equal(inner->handle, outer->handle);
    assert_int_equal(fetch(inner, 0), 7);
    statement_free(inner);
    assert_int_equal(fetch(outer, 0), 2);
    statement_free(outer);
}

static void test_the_oldest_makes_room(void **state)
{
    struct statement *held[DATABASE_STATEMENTS_MAX + 5];
    char sql[64];
    (void)state;
    for (int i = 0; i < 3 * DATABASE_STATEMENTS_MAX; i++) {
        snprintf(sql, sizeof(sql), "SELECT %d", i);
        struct statement *query = ask(sql, "", 0, 0);
        assert_int_equal(fetch(query, 0), i);
        statement_free(query);
        assert_true(count_prepared() <= DATABASE_STATEMENTS_MAX);
    }
    for (size_t i = 0; i < ARRAY_SIZE(held); i++) { /* more in use than are kept */
        snprintf(sql, sizeof(sql), "SELECT 1000 + %zu", i);
        held[i] = ask(sql, "", 0, 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(held); i++) {
        assert_int_equal(fetch(held[i], 0), 1000 + i);
        statement_free(held[i]);
    }
    assert_int_equal(count_prepared(), DATABASE_STATEMENTS_MAX);
}

static void test_a_failure_is_not_kept(void **state)
{
    static const char SQL[] = "INSERT INTO progress VALUES ('a', 'b', 1, 1, ?)";
    struct statement *query = NULL;
    (void)state;
    assert_int_not_equal(database_query(journal, &query, &err, "SELECT nothing", ""), 0);
    assert_null(query);
    assert_int_equal(database_run(journal, NULL, &err, SQL, "i", INT64_C(1)), 0);
    assert_int_not_equal(database_run(journal, NULL, &err, SQL, "i", INT64_C(2)), 0);
    assert_int_equal(database_run(journal, NULL, &err, "DELETE FROM progress", ""), 0);
    assert_int_equal(database_run(journal, NULL, &err, SQL, "i", INT64_C(3)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_same_text_is_prepared_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_in_use_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_oldest_makes_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_failure_is_not_kept, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
