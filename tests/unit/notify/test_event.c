#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/json.h"
#include "notify/event.h"

static const int64_t AT_US = INT64_C(1795917600) * US_PER_SECOND;

static void what_is_written_is_read(void **state)
{
    (void)state;
    struct notify_event event = notify_event_of(NOTIFY_FAILURE, AT_US), read;
    struct error err = ERROR_NONE;
    event.cluster = "shop";
    event.job = "nightly";
    event.cause = "could not connect \"there\"\nat all";
    event.due_us = AT_US - US_PER_MINUTE;
    event.attempt = 2;
    event.bytes_stored = INT64_C(1) << 40;
    _cleanup_(json_release) json_t *json = notify_event_json(&event);
    assert_non_null(json);
    assert_int_equal(notify_event_read(json, &read, &err), 0);
    assert_int_equal(read.kind, NOTIFY_FAILURE);
    assert_string_equal(read.cluster, "shop");
    assert_string_equal(read.cause, event.cause);
    assert_string_equal(read.backup_id, "");
    assert_int_equal(read.at_us, AT_US);
    assert_int_equal(read.due_us, event.due_us);
    assert_int_equal(read.next_try_us, INSTANT_NONE);
    assert_int_equal(read.attempt, 2);
    assert_int_equal(read.bytes_stored, event.bytes_stored);
}

static void what_is_no_event_is_refused(void **state)
{
    static const char *const TEXTS[] = {
        "{}", "{\"event\":\"party\",\"at\":\"2026-11-29T00:00:00Z\"}", "{\"event\":\"failure\"}",
        "{\"event\":\"failure\",\"at\":\"soon\"}",
        "{\"event\":\"failure\",\"at\":\"2026-11-29T00:00:00Z\","
        "\"due\":\"never\"}"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(TEXTS); i++) {
        _cleanup_(json_release) json_t *json = json_loads(TEXTS[i], 0, NULL);
        struct notify_event event = notify_event_of(NOTIFY_POLICY, 7);
        struct error err = ERROR_NONE;
        if (notify_event_read(json, &event, &err) != ERR_CORRUPT)
            fail_msg("%s: taken", TEXTS[i]);
        assert_int_equal(event.at_us, 7);
    }
}

/* A server of another encoding, or a text cut amid a character. */
static void what_is_no_utf8_is_told(void **state)
{
    (void)state;
    struct notify_event event = notify_event_of(NOTIFY_FAILURE, AT_US);
    event.cluster = "shop";
    event.cause = "Verbindung abgelehnt: gew\xe4hlt \xc3";
    _cleanup_(json_release) json_t *json = notify_event_json(&event);
    assert_non_null(json);
    assert_string_equal(json_text(json, "cause"), "Verbindung abgelehnt: gew?hlt ?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_written_is_read),
                                       cmocka_unit_test(what_is_no_utf8_is_told),
                                       cmocka_unit_test(what_is_no_event_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
