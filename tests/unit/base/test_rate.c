/* The limit on bytes per second: kept by many threads together, and given up at once. */
#include "case.h"

#include <pthread.h>

#include "base/rate.h"

static void test_none(void **state)
{
    (void)state;
    struct rate rate = RATE_INIT(0);
    int64_t started_us = instant_monotonic_us();
    for (int i = 0; i < 1000; i++)
        rate_take(&rate, 1 << 30);
    assert_true(case_seconds_since(started_us) < 1);
}

/* A tenth of a second's worth goes at once, the rest at the rate, in pieces or in one. */
static void test_speed(void **state)
{
    (void)state;
    static const struct {
        int64_t bytes;
        int pieces;
    } ROWS[] = {{600000, 1}, {60000, 10}, {600, 1000}};
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct rate rate = RATE_INIT(1000000);
        int64_t started_us = instant_monotonic_us();
        rate_take(&rate, 100000);
        assert_true(case_seconds_since(started_us) < 0.09);
        for (int j = 0; j < ROWS[i].pieces; j++)
            rate_take(&rate, ROWS[i].bytes);
        double seconds = case_seconds_since(started_us);
        if (seconds < 0.59 || seconds > 1.6)
            fail_msg("%d pieces: %f s", ROWS[i].pieces, seconds);
    }
}

/* What was not used does not pile up. */
static void test_no_credit(void **state)
{
    (void)state;
    struct rate rate = RATE_INIT(1000000);
    rate_take(&rate, 1);
    usleep(400000);
    int64_t started_us = instant_monotonic_us();
    rate_take(&rate, 500000);
    assert_true(case_seconds_since(started_us) > 0.39);
}

static void *take_some(void *argument)
{
    for (int i = 0; i < 10; i++)
        rate_take(argument, 20000);
    return NULL;
}

static void test_shared(void **state)
{
    (void)state;
    struct rate rate = RATE_INIT(1000000);
    pthread_t threads[4];
    int64_t started_us = instant_monotonic_us();
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_some, &rate), 0);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    assert_true(case_seconds_since(started_us) > 0.69); /* 800000 bytes in all */
}

static void *take_for_ever(void *argument)
{
    rate_take(argument, INT64_C(1) << 40);
    return NULL;
}

static void test_stop(void **state)
{
    (void)state;
    struct rate rate = RATE_INIT(1000);
    pthread_t threads[3];
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_for_ever, &rate), 0);
    usleep(50000);
    int64_t started_us = instant_monotonic_us();
    rate_stop(&rate);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    rate_take(&rate, INT64_C(1) << 40); /* passes from now on */
    assert_true(case_seconds_since(started_us) < 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none),      cmocka_unit_test(test_speed),
        cmocka_unit_test(test_no_credit), cmocka_unit_test(test_shared),
        cmocka_unit_test(test_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
