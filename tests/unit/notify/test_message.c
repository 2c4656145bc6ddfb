/* What is sent to each kind of target. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "notify/mail.h"
#include "notify/message.h"

static const int64_t AT_US = INT64_C(1795917600) * US_PER_SECOND;

static struct notify_event an_event(enum notify_event_kind kind)
{
    struct notify_event event = notify_event_of(kind, AT_US);
    event.cluster = "shop";
    event.job = "nightly";
    event.run_id = "20261129T020000Z-abcdef";
    event.cause = "could not read <\"a&b\">\nat all";
    event.cure = "mend it";
    event.code = "connection";
    return event;
}

static struct notify_message make(enum notify_kind kind, const char *url,
                                  const struct notify_event *event, bool is_test)
{
    struct policy_notify notify = {.kind = kind, .url = (char *)(uintptr_t)url};
    struct notify_message message = NOTIFY_MESSAGE_INIT;
    struct error err = ERROR_NONE;
    if (notify_message_make(&notify, event, is_test, &message, &err))
        fail_msg("%s", err.message);
    return message;
}

/* The address that a ping goes to; "*" stands for the UUID. */
static void test_pings(void **state)
{
    static const struct {
        const char *url;
        enum notify_event_kind kind;
        const char *code;
        bool is_test;
        const char *wanted;
    } ROWS[] = {
        {"https://hc/ping/x", NOTIFY_START, "", false, "https://hc/ping/x/start?rid=*"},
        {"https://hc/ping/x", NOTIFY_SUCCESS, "", false, "https://hc/ping/x?rid=*"},
        {"https://hc/ping/x/", NOTIFY_SUCCESS, "", false, "https://hc/ping/x/?rid=*"},
        {"https://hc/ping/x/", NOTIFY_START, "", false, "https://hc/ping/x/start?rid=*"},
        {"https://hc/ping/x?create=1", NOTIFY_START, "", false,
         "https://hc/ping/x/start?create=1&rid=*"},
        {"https://hc/ping/x#top", NOTIFY_START, "", false, "https://hc/ping/x/start?rid=*"},
        {"https://hc/ping/x", NOTIFY_RECOVERY, "", false, "https://hc/ping/x?rid=*"},
        {"https://hc/ping/x", NOTIFY_FAILURE, "connection", false, "https://hc/ping/x/3?rid=*"},
        {"https://hc/ping/x", NOTIFY_FAILURE, "busy", false, "https://hc/ping/x/4?rid=*"},
        {"https://hc/ping/x", NOTIFY_FAILURE, "", false, "https://hc/ping/x/fail?rid=*"},
        {"https://hc/ping/x", NOTIFY_FAILURE, "no such code", false,
         "https://hc/ping/x/fail?rid=*"},
        {"https://hc/ping/x", NOTIFY_MISSED, "", false, "https://hc/ping/x/fail?rid=*"},
        {"https://hc/ping/x", NOTIFY_STALE, "", false, "https://hc/ping/x/fail?rid=*"},
        {"https://hc/ping/x", NOTIFY_RETRY, "busy", false, "https://hc/ping/x/log?rid=*"},
        {"https://hc/ping/x", NOTIFY_FAILURE, "busy", true, "https://hc/ping/x/log?rid=*"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct notify_event event = an_event(ROWS[i].kind);
        event.code = ROWS[i].code;
        struct notify_message message = make(NOTIFY_PING, ROWS[i].url, &event, ROWS[i].is_test);
        const char *got = buf_text(&message.url);
        size_t length = strcspn(ROWS[i].wanted, "*");
        if (strncmp(got, ROWS[i].wanted, length) != 0 ||
            strlen(got) != length + NOTIFY_UUID_MAX - 1)
            fail_msg("row %zu: %s", i, got);
        notify_message_clear(&message);
    }
}

static void test_uuid_of_a_run(void **state)
{
    char one[NOTIFY_UUID_MAX], same[NOTIFY_UUID_MAX], other[NOTIFY_UUID_MAX];
    struct notify_event event = an_event(NOTIFY_START), end = an_event(NOTIFY_FAILURE);
    (void)state;
    assert_int_equal(notify_run_uuid(&event, one, NULL), 0);
    assert_int_equal(notify_run_uuid(&end, same, NULL), 0);
    end.job = "weekly";
    assert_int_equal(notify_run_uuid(&end, other, NULL), 0);
    assert_string_equal(one, same);
    assert_string_not_equal(one, other);
    assert_int_equal(strspn(one, "0123456789abcdef-"), NOTIFY_UUID_MAX - 1);
    assert_int_equal(one[14], '8');
    end = an_event(NOTIFY_FAILURE);
    event.due_us = end.due_us = AT_US;
    end.run_id = "20261129T021000Z-abcdef"; /* the second try */
    assert_int_equal(notify_run_uuid(&event, one, NULL), 0);
    assert_int_equal(notify_run_uuid(&end, same, NULL), 0);
    end.due_us += US_PER_HOUR;
    assert_int_equal(notify_run_uuid(&end, other, NULL), 0);
    assert_string_equal(one, same);
    assert_string_not_equal(one, other);
    assert_non_null(strchr("89ab", one[19]));
}

static void test_webhook(void **state)
{
    struct notify_event event = an_event(NOTIFY_FAILURE);
    (void)state;
    for (int is_test = 0; is_test < 2; is_test++) {
        struct notify_message message = make(NOTIFY_WEBHOOK, "https://a/b", &event, is_test);
        _cleanup_(json_release) json_t *json = NULL;
        assert_int_equal(
            json_parse_object(buf_text(&message.body), message.body.length, "it", &json, NULL), 0);
        assert_string_equal(json_text(json, "event"), "failure");
        assert_string_equal(json_text(json, "cause"), event.cause);
        assert_string_equal(json_text(json, "code"), "connection");
        assert_int_equal(json_is_true(json_object_get(json, "test")), is_test);
        assert_string_equal(buf_text(&message.url), "https://a/b");
        assert_string_equal(message.content_type, "application/json");
        notify_message_clear(&message);
    }
}

static void test_slack(void **state)
{
    struct notify_event event = an_event(NOTIFY_FAILURE);
    struct notify_message message = make(NOTIFY_SLACK, "https://a/b", &event, false);
    _cleanup_(json_release) json_t *json = NULL;
    (void)state;
    assert_int_equal(
        json_parse_object(buf_text(&message.body), message.body.length, "it", &json, NULL), 0);
    const char *text = json_text(json, "text");
    assert_non_null(strstr(text, ":x: shop/nightly failed: could not read &lt;\"a&amp;b\"&gt;\n"));
    assert_non_null(strstr(text, "what to do: mend it\n"));
    assert_null(strchr(text, '<'));
    assert_int_equal(json_object_size(json), 1);
    notify_message_clear(&message);
}

/* Never longer than its room, never cut amid a character. */
static void test_long_subject(void **state)
{
    char cause[600] = "", text[NOTIFY_SUBJECT_MAX];
    struct notify_event event = an_event(NOTIFY_FAILURE);
    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        memset(cause, 'x', shift);
        for (size_t i = shift; i + 2 < sizeof(cause); i += 2)
            memcpy(cause + i, "\xc3\xa4", 3);
        event.cause = cause;
        notify_subject(&event, true, text);
        size_t length = strlen(text);
        assert_in_range(length, NOTIFY_SUBJECT_MAX - 5, NOTIFY_SUBJECT_MAX - 1);
        assert_string_equal(text + length - 3, "...");
        assert_int_equal((unsigned char)text[length - 4], 0xa4);
    }
}

static void test_header(void **state)
{
    static const struct {
        const char *text, *wanted;
    } ROWS[] = {
        {"", "S:\r\n"},
        {"plain", "S: plain\r\n"},
        {"a\r\nBcc: x", "S: =?UTF-8?B?YQ0KQmNjOiB4?=\r\n"},
        {"=?UTF-8?B?eA==?=", "S: =?UTF-8?B?PT9VVEYtOD9CP2VBPT0/PQ==?=\r\n"},
        {"\xc3\xa4", "S: =?UTF-8?B?w6Q=?=\r\n"},
        {"one two three four five six seven eight nine ten eleven twelve thirteen fourteen",
         "S: one two three four five six seven eight nine ten eleven twelve thirteen\r\n"
         " fourteen\r\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        _cleanup_(buf_clear) struct buf out = BUF_INIT(4096);
        mail_header("S", ROWS[i].text, &out);
        if (strcmp(buf_text(&out), ROWS[i].wanted) != 0)
            fail_msg("row %zu: %s", i, buf_text(&out));
    }
}

static void test_quoted(void **state)
{
    static const struct {
        const char *text, *wanted;
    } ROWS[] = {
        {"", ""},
        {"a\nb\n", "a\r\nb\r\n"},
        {".\n..a\n", "=2E\r\n=2E.a\r\n"},
        {"a=b", "a=3Db"},
        {"blank \nx", "blank=20\r\nx"},
        {"\xc3\xa4\r\n", "=C3=A4=0D\r\n"},
        {"123456789012345678901234567890123456789012345678901234567890123456789012345.",
         "123456789012345678901234567890123456789012345678901234567890123456789012345=\r\n"
         "=2E"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        _cleanup_(buf_clear) struct buf out = BUF_INIT(4096);
        mail_quoted(ROWS[i].text, &out);
        if (strcmp(buf_text(&out), ROWS[i].wanted) != 0)
            fail_msg("row %zu: %s", i, buf_text(&out));
    }
}

static void test_mail(void **state)
{
    struct notify_event event = an_event(NOTIFY_RECOVERY);
    struct policy_notify notify = {.from = (char *)(uintptr_t) "cairn@example.com",
                                   .to = STRV_INIT(5)};
    _cleanup_(buf_clear) struct buf mail = BUF_INIT(NOTIFY_MESSAGE_MAX);
    _cleanup_(buf_clear) struct buf again = BUF_INIT(NOTIFY_MESSAGE_MAX);
    (void)state;
    assert_int_equal(strv_add(&notify.to, "a@example.com", NULL), 0);
    assert_int_equal(strv_add(&notify.to, "b@example.com", NULL), 0);
    assert_int_equal(notify_mail(&notify, &event, false, &mail, NULL), 0);
    assert_int_equal(notify_mail(&notify, &event, false, &again, NULL), 0);
    const char *text = buf_text(&mail);
    assert_string_equal(text, buf_text(&again));
    assert_non_null(strstr(text, "Date: Sun, 29 Nov 2026 02:00:00 +0000\r\n"));
    assert_non_null(strstr(text, "\r\nTo: <a@example.com>,\r\n <b@example.com>\r\n"));
    assert_non_null(strstr(text, "\r\nSubject: [pgcairn] shop/nightly works again: "));
    assert_non_null(strstr(text, "@example.com>\r\nMIME-Version: 1.0\r\n"));
    assert_non_null(strstr(text, "\r\n\r\nshop/nightly works again"));
    for (const char *c = text; *c; c++)
        if (*c == '\n' && (c == text || c[-1] != '\r'))
            fail_msg("a bare newline before: %s", c);
    strv_clear(&notify.to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pings),        cmocka_unit_test(test_uuid_of_a_run),
        cmocka_unit_test(test_webhook),      cmocka_unit_test(test_slack),
        cmocka_unit_test(test_long_subject), cmocka_unit_test(test_header),
        cmocka_unit_test(test_quoted),       cmocka_unit_test(test_mail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
