/* Lists of strings: owned, bounded, always ended by NULL. */
#include "case.h"

#include "base/strv.h"

static void test_growth_and_limit(void **state)
{
    (void)state;
    enum { LIMIT = 100 };
    struct strv list = STRV_INIT(LIMIT);
    assert_false(strv_has(&list, ""));
    strv_sort(&list);
    for (int i = 0; i < LIMIT; i++) {
        assert_ok(strv_addf(&list, &case_err, "item %03d", i * 37 % LIMIT));
        assert_int_equal(list.count, i + 1);
        assert_null(list.items[i + 1]);
    }
    assert_fails(strv_add(&list, "x", &case_err), ERR_LIMIT, "more than 100 items in a list");
    assert_fails(strv_addf(&list, &case_err, "%d", 1), ERR_LIMIT, "more than 100 items");
    assert_fails(strv_take(&list, strdup("x"), &case_err), ERR_LIMIT, "more than 100 items");
    assert_int_equal(list.count, LIMIT);
    assert_null(list.items[LIMIT]);
    assert_true(strv_has(&list, "item 099"));
    assert_false(strv_has(&list, "item 09"));
    strv_sort(&list);
    for (int i = 0; i < LIMIT; i++) {
        char item[16];
        snprintf(item, sizeof(item), "item %03d", i);
        assert_string_equal(list.items[i], item);
    }
    strv_clear(&list);
    assert_null(list.items);
    assert_int_equal(list.limit, LIMIT);
    assert_ok(strv_add(&list, "usable again", &case_err));
    strv_clear(&list);
}

static void test_ownership(void **state)
{
    (void)state;
    struct strv list = STRV_INIT(3), none = STRV_INIT(0);
    char text[] = "abc", *given = strdup("given");
    assert_ok(strv_add(&list, text, &case_err));
    text[0] = 'x';
    assert_string_equal(list.items[0], "abc"); /* a copy */
    assert_ok(strv_take(&list, given, &case_err));
    assert_ptr_equal(list.items[1], given); /* the very one */
    assert_fails(strv_take(&list, NULL, &case_err), ERR_MEMORY, "out of memory");
    assert_int_equal(list.count, 2);
    assert_fails(strv_add(&none, "", &case_err), ERR_LIMIT, "more than 0 items");
    assert_null(none.items);
    strv_clear(&list);
    strv_clear(&none);
}

/* By bytes, not by a locale: what is sorted here is hashed and compared elsewhere. */
static void test_order(void **state)
{
    (void)state;
    static const char *const WORDS[] = {"b", "\303\244", "B", "", "a", "a-", "a.", "aa", "_"};
    static const char *const SORTED[] = {"", "B", "_", "a", "a-", "a.", "aa", "b", "\303\244"};
    struct strv list = STRV_INIT(100);
    for (size_t i = 0; i < ARRAY_SIZE(WORDS); i++)
        assert_ok(strv_add(&list, WORDS[i], &case_err));
    strv_sort(&list);
    for (size_t i = 0; i < ARRAY_SIZE(SORTED); i++)
        assert_string_equal(list.items[i], SORTED[i]);
    strv_clear(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_growth_and_limit),
        cmocka_unit_test(test_ownership),
        cmocka_unit_test(test_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
