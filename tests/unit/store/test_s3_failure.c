/* What replies mean: done, again, learnt, final; and the words for people. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "store/s3_failure.h"

#define BODY(code, rest) "<Error><Code>" code "</Code><Message>in words</Message>" rest "</Error>"

static const struct s3_store STORE = {.bucket = "automatos-backups"};

struct row {
    const char *method;
    long status;
    const char *body;
    bool may_hold_error;
    enum s3_verdict verdict;
    int code;
    const char *message; /* the beginning */
};

static const struct row ROWS[] = {
    {"PUT", 200, "", false, S3_DONE, 0, ""},
    {"POST", 200, "<CompleteMultipartUploadResult/>", true, S3_DONE, 0, ""},
    {"POST", 200, BODY("InternalError", ""), true, S3_AGAIN, ERR_CONNECTION, "InternalError: in"},
    {"POST", 200, BODY("Whatever", ""), true, S3_FINAL, ERR_FAILED, "Whatever: in words"},
    {"PUT", 403, BODY("AccessDenied", ""), false, S3_FINAL, ERR_PERMISSION,
     "AccessDenied: the key may not s3:PutObject on automatos-backups/prod/a"},
    {"PUT", 403, BODY("SignatureDoesNotMatch", ""), false, S3_FINAL, ERR_AUTH, "SignatureDoesNot"},
    {"PUT", 403, BODY("InvalidAccessKeyId", ""), false, S3_FINAL, ERR_AUTH, "InvalidAccessKeyId"},
    {"PUT", 400, BODY("ExpiredToken", ""), false, S3_NEW_IDENTITY, ERR_AUTH, "ExpiredToken"},
    {"PUT", 403, BODY("RequestTimeTooSkewed", ""), false, S3_NEW_CLOCK, ERR_AUTH,
     "RequestTimeTooSkewed: the clock here is"},
    {"PUT", 400, BODY("AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"), false,
     S3_NEW_REGION, ERR_AUTH, "AuthorizationHeaderMalformed"},
    {"GET", 301, BODY("PermanentRedirect", ""), false, S3_NEW_REGION, ERR_AUTH, "PermanentRedir"},
    {"GET", 404, BODY("NoSuchKey", ""), false, S3_FINAL, ERR_NOT_FOUND, "NoSuchKey: in words"},
    {"GET", 404, BODY("NoSuchBucket", ""), false, S3_FINAL, ERR_UNKNOWN, "NoSuchBucket: in words"},
    {"GET", 404, "<html>not here</html>", false, S3_FINAL, ERR_UNKNOWN, "the service answers HTTP"},
    {"HEAD", 404, "", false, S3_FINAL, ERR_NOT_FOUND, "the service answers HTTP 404"},
    {"PUT", 412, BODY("PreconditionFailed", ""), false, S3_FINAL, ERR_EXISTS, "PreconditionFailed"},
    {"PUT", 409, BODY("ConditionalRequestConflict", ""), false, S3_AGAIN, ERR_CONNECTION, "Cond"},
    {"PUT", 400, BODY("BadDigest", ""), false, S3_AGAIN, ERR_CORRUPT, "BadDigest: in words"},
    {"PUT", 400, BODY("InvalidArgument", ""), false, S3_FINAL, ERR_FAILED, "InvalidArgument: in"},
    {"PUT", 408, "", false, S3_AGAIN, ERR_CONNECTION, "the service answers HTTP 408"},
    {"PUT", 429, "", false, S3_AGAIN, ERR_CONNECTION, "the service answers HTTP 429"},
    {"PUT", 503, BODY("SlowDown", ""), false, S3_AGAIN, ERR_CONNECTION, "SlowDown: in words"},
    {"PUT", 500, "", false, S3_AGAIN, ERR_CONNECTION, "the service answers HTTP 500"},
    {"PUT", 501, BODY("NotImplemented", ""), false, S3_FINAL, ERR_FAILED, "NotImplemented"},
    {"PUT", 507, "", false, S3_FINAL, ERR_NO_SPACE, "the service answers HTTP 507"},
    {"PUT", 403, BODY("QuotaExceeded", ""), false, S3_FINAL, ERR_NO_SPACE, "QuotaExceeded"},
};

static enum s3_verdict judge(const struct row *row, struct s3_range *range, struct s3_reply *reply,
                             struct error *err)
{
    struct s3_request request = {
        .method = row->method,
        .action = "s3:PutObject",
        .key = "prod/a",
        .may_hold_error = row->may_hold_error,
        .range = range,
    };
    reply->status = row->status;
    reply->date_us = instant_now_us() - 2 * US_PER_HOUR;
    buf_add_text(&reply->body, row->body);
    return s3_judge(&STORE, &request, reply, err);
}

static void test_replies(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        const struct row *row = &ROWS[i];
        struct s3_reply reply = S3_REPLY_INIT;
        struct error err = ERROR_NONE;
        enum s3_verdict verdict = judge(row, NULL, &reply, &err);
        if (verdict != row->verdict || err.code != row->code ||
            strncmp(err.message, row->message, strlen(row->message)) != 0)
            fail_msg("row %zu: verdict %d, %s: %s", i, verdict, error_code_name(err.code),
                     err.message);
        assert_true(!err.code || *error_cure(&err));
        s3_reply_clear(&reply);
    }
}

static void test_region_and_skew_are_told(void **state)
{
    (void)state;
    struct s3_reply reply = S3_REPLY_INIT;
    struct error err = ERROR_NONE;
    struct row row = {
        "PUT", 400, BODY("AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"), false, 0,
        0,     ""};
    judge(&row, NULL, &reply, &err);
    assert_string_equal(reply.region, "eu-west-1");
    assert_string_equal(err.hint,
                        "the bucket is in region eu-west-1: set region: eu-west-1 in the policy");
    s3_reply_clear(&reply);
    row = (struct row){"PUT", 403, BODY("RequestTimeTooSkewed", ""), false, 0, 0, ""};
    judge(&row, NULL, &reply, &err);
    assert_true(strstr(err.message, "7200 s ahead of the service's") ||
                strstr(err.message, "7199 s ahead of the service's"));
    s3_reply_clear(&reply);
}

/* "InvalidRequest" means anything; with a lock asked for it means the bucket keeps none. */
static void test_a_lock_that_is_refused(void **state)
{
    (void)state;
    for (int is_lock_asked = 0; is_lock_asked < 2; is_lock_asked++) {
        struct s3_reply reply = S3_REPLY_INIT;
        struct error err = ERROR_NONE;
        struct s3_request request = {.method = "PUT", .action = "s3:PutObject", .key = "prod/a"};
        if (is_lock_asked)
            request.headers[request.header_count++] =
                (struct s3_header){"x-amz-object-lock-mode", "GOVERNANCE"};
        reply.status = 400;
        buf_add_text(&reply.body, BODY("InvalidRequest", ""));
        assert_int_equal(s3_judge(&STORE, &request, &reply, &err), S3_FINAL);
        assert_int_equal(err.code, ERR_FAILED);
        assert_int_equal(strstr(err.hint, "object_lock:") != NULL, is_lock_asked);
        s3_reply_clear(&reply);
    }
}

/* A range is whole when it reaches its end or the object's. */
static void test_ranges(void **state)
{
    (void)state;
    static const struct {
        long status;
        int64_t offset, total;
        size_t length, got;
        enum s3_verdict verdict;
    } RANGES[] = {
        {206, 0, 100, 10, 10, S3_DONE},  {206, 0, 100, 10, 9, S3_AGAIN},
        {206, 95, 100, 10, 5, S3_DONE},  {206, 95, 100, 10, 4, S3_AGAIN},
        {206, 0, -1, 10, 10, S3_AGAIN},  {416, 100, 100, 10, 0, S3_DONE},
        {416, 500, 100, 10, 0, S3_DONE},
    };
    for (size_t i = 0; i < ARRAY_SIZE(RANGES); i++) {
        struct s3_reply reply = S3_REPLY_INIT;
        struct error err = ERROR_NONE;
        struct s3_range range = {.offset = RANGES[i].offset,
                                 .length = RANGES[i].length,
                                 .got = RANGES[i].got,
                                 .total = -1};
        struct row row = {"GET", RANGES[i].status, "", false, 0, 0, ""};
        reply.range_total = RANGES[i].total;
        if (judge(&row, &range, &reply, &err) != RANGES[i].verdict)
            fail_msg("row %zu: %s", i, err.message);
        if (RANGES[i].verdict == S3_DONE)
            assert_int_equal(range.total, RANGES[i].total);
        s3_reply_clear(&reply);
    }
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *action, *key, *expected;
    } NAMES[] = {
        {"s3:PutObject", "a/b", "could not write \"s3://automatos-backups/a/b\": why"},
        {"s3:ListBucket", NULL, "could not list \"s3://automatos-backups\": why"},
        {"s3:Other", NULL, "could not s3:Other \"s3://automatos-backups\": why"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++) {
        struct error err = ERROR_NONE;
        struct s3_request request = {.action = NAMES[i].action, .key = NAMES[i].key};
        error_set(&err, ERR_FAILED, "why");
        s3_name_request(&STORE, &request, &err);
        assert_string_equal(err.message, NAMES[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_region_and_skew_are_told),
        cmocka_unit_test(test_a_lock_that_is_refused),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests_name("s3_failure", tests, NULL, NULL);
}
