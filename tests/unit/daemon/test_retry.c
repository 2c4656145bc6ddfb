/* Waits before another attempt: they grow, end somewhere, and differ between runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/retry.h"

static void test_waits(void **state)
{
    (void)state;
    static const struct {
        int attempt;
        int64_t longest_us;
    } rows[] = {
        {1, 10 * US_PER_SECOND},  {2, 20 * US_PER_SECOND}, {3, 40 * US_PER_SECOND},
        {6, 320 * US_PER_SECOND}, {7, 10 * US_PER_MINUTE}, {1000, 10 * US_PER_MINUTE},
    };
    static const char *const ids[] = {"", "20261121T020000Z-aaaaaa", "20261121T020000Z-aaaaab"};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t k = 0; k < 3; k++) {
            int64_t wait_us = retry_delay_us(rows[i].attempt, ids[k]);
            if (wait_us < rows[i].longest_us / 2 || wait_us >= rows[i].longest_us)
                fail_msg("attempt %d of \"%s\"", rows[i].attempt, ids[k]);
            assert_int_equal(wait_us, retry_delay_us(rows[i].attempt, ids[k]));
        }
        assert_int_not_equal(retry_delay_us(rows[i].attempt, ids[1]),
                             retry_delay_us(rows[i].attempt, ids[2]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_waits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
