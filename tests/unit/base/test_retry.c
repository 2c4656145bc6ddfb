/* The budget, the waits and the memory of a retry. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/retry.h"

static struct error made(int code, const char *message, const char *hint)
{
    struct error err = ERROR_NONE;
    error_set(&err, code, "%s", message);
    if (*hint)
        error_hint(&err, "%s", hint);
    return err;
}

static void test_waits_grow_within_bounds(void **state)
{
    (void)state;
    struct error reason = made(ERR_CONNECTION, "down", "");
    struct retry retry = RETRY_INIT(INT64_C(1000) * US_PER_SECOND);
    int64_t greatest = 0;
    for (int i = 0; i < 200; i++) {
        int64_t bound_us = i < 6 ? RETRY_FIRST_US << i : RETRY_BOUND_US;
        int64_t wait_us = retry_next(&retry, &reason);
        assert_true(wait_us >= 0 && wait_us <= bound_us && wait_us <= RETRY_BOUND_US);
        greatest = wait_us > greatest ? wait_us : greatest;
    }
    assert_true(greatest > RETRY_BOUND_US / 2); /* it is random, but not that random */
}

static void test_budget(void **state)
{
    (void)state;
    struct error reason = made(ERR_CONNECTION, "down", "");
    struct retry retry = RETRY_INIT(20000);
    assert_true(retry_next(&retry, &reason) >= 0);
    assert_true(retry_next(&retry, &reason) <= 20000);
    usleep(25000);
    assert_int_equal(retry_next(&retry, &reason), -1);
    retry_progress(&retry);
    assert_true(retry_next(&retry, &reason) >= 0);
    struct retry none = RETRY_INIT(0);
    assert_int_equal(retry_next(&none, &reason), -1);
}

static void test_first_error_is_told(void **state)
{
    (void)state;
    struct retry retry = RETRY_INIT(US_PER_SECOND);
    struct error first = made(ERR_CONNECTION, "no route", "check the network");
    struct error last = made(ERR_FAILED, "reset", "another hint");
    retry_next(&retry, &first);
    retry_next(&retry, &last);
    retry_next(&retry, &last);
    assert_int_equal(retry_give_up(&retry, &last), ERR_CONNECTION);
    assert_int_equal(last.code, ERR_CONNECTION);
    assert_non_null(strstr(last.message, "no route (tried 3 times in 0.0 s; at last: reset)"));
    assert_string_equal(last.hint, "check the network");
}

static void test_same_error_is_told_once(void **state)
{
    (void)state;
    struct retry retry = RETRY_INIT(US_PER_SECOND);
    struct error reason = made(ERR_CONNECTION, "no route", "");
    struct error last = made(ERR_CONNECTION, "no route", "look here");
    retry_next(&retry, &reason);
    assert_int_equal(retry_give_up(&retry, &reason), ERR_CONNECTION); /* a single one as it is */
    assert_string_equal(reason.message, "no route");
    retry_next(&retry, &last);
    retry_give_up(&retry, &last);
    assert_string_equal(last.message, "no route (tried 2 times in 0.0 s)");
    assert_string_equal(last.hint, "look here");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_grow_within_bounds),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_first_error_is_told),
        cmocka_unit_test(test_same_error_is_told_once),
    };
    return cmocka_run_group_tests_name("retry", tests, NULL, NULL);
}
