/* What an answer means, and what of it may be shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "notify/deliver.h"

static void test_statuses(void **state)
{
    static const struct {
        long status;
        bool is_retryable;
    } ROWS[] = {
        {301, false}, {308, false}, {400, false}, {401, true},  {403, true},
        {404, true},  {408, true},  {410, false}, {413, false}, {422, false},
        {425, true},  {429, true},  {500, true},  {502, true},  {503, true},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++)
        if (notify_http_is_retryable(ROWS[i].status) != ROWS[i].is_retryable)
            fail_msg("%ld", ROWS[i].status);
}

static void test_secrets(void **state)
{
    static const struct {
        const char *text, *url;
        bool reveals;
    } ROWS[] = {
        {"no_service", "https://hooks.example.com/T0123/B0123/geheimnis", false},
        {"not /T0123/B0123/geheimnis", "https://hooks.example.com/T0123/B0123/geheimnis", true},
        {"geheimnis", "https://hooks.example.com/T0123/B0123/geheimnis", true},
        {"a B0123 b", "https://hooks.example.com/T0123/B0123/geheimnis", true},
        {"hooks.example.com", "https://hooks.example.com/T0123/B0123/geheimnis", false},
        {"tokenvalue", "https://host/a?token=tokenvalue", true},
        {"tokenvalue", "https://host?k=tokenvalue", true},
        {"tokenvalue", "https://host#tokenvalue", true},
        {"password!", "https://user:password!@host/", true},
        {"the user", "https://user:password!@host/", true},
        {"host", "https://u:p@host/", false},
        {"anything", "https://host/a%2Fb", true}, /* who knows how it comes back */
        {"bad", "https://host/b", false},
        {"", "https://host/something", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++)
        if (notify_reveals(ROWS[i].text, ROWS[i].url) != ROWS[i].reveals)
            fail_msg("row %zu: %s of %s", i, ROWS[i].text, ROWS[i].url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
