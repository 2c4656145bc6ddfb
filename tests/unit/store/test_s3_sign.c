/* Signatures against the examples that AWS publishes: the S3 API reference's header-based
 * authentication, and the test suite of Signature Version 4. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/instant.h"
#include "store/s3_sign.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define S3_HOST                                  \
    {                                            \
        "host", "examplebucket.s3.amazonaws.com" \
    }
#define S3_TIME                          \
    {                                    \
        "x-amz-date", "20130524T000000Z" \
    }
#define SUITE                            \
    {"host", "example.amazonaws.com"},   \
    {                                    \
        "x-amz-date", "20150830T123600Z" \
    }

struct row {
    const char *method, *path, *query;
    struct s3_header headers[8];
    const char *payload;
    const char *service;
    const char *signature;
};

/* clang-format off */
static const struct row ROWS[] = {
    {"GET", "/test.txt", "",
     {S3_HOST, {"range", "bytes=0-9"}, {"x-amz-content-sha256", EMPTY}, S3_TIME},
     EMPTY, "s3", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
    {"PUT", "/test%24file.text", "",
     {S3_TIME, {"date", "Fri, 24 May 2013 00:00:00 GMT"}, S3_HOST,
      {"x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"},
      {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
     "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072", "s3",
     "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
    {"GET", "/", "lifecycle=", {S3_HOST, {"x-amz-content-sha256", EMPTY}, S3_TIME},
     EMPTY, "s3", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
    {"GET", "/", "max-keys=2&prefix=J", {S3_HOST, {"x-amz-content-sha256", EMPTY}, S3_TIME},
     EMPTY, "s3", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
    {"GET", "/", "", {SUITE}, EMPTY, "service",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
    {"GET", "/", "Param1=value1&Param2=value2", {SUITE}, EMPTY, "service",
     "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
    {"POST", "/", "", {SUITE}, EMPTY, "service",
     "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
};
/* clang-format on */

static void test_published(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        const struct row *row = &ROWS[i];
        bool is_s3 = strcmp(row->service, "s3") == 0;
        size_t count = 0;
        while (count < ARRAY_SIZE(row->headers) && row->headers[count].name)
            count++;
        struct s3_signing signing = {
            .method = row->method,
            .path = row->path,
            .query = row->query,
            .headers = row->headers,
            .header_count = count,
            .payload_sha256 = row->payload,
            .access_key_id = is_s3 ? "AKIAIOSFODNN7EXAMPLE" : "AKIDEXAMPLE",
            .secret_access_key = is_s3 ? "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
                                       : "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            .region = "us-east-1",
            .service = row->service,
            .time_us = (is_s3 ? INT64_C(1369353600) : INT64_C(1440938160)) * US_PER_SECOND,
        };
        char authorization[S3_AUTHORIZATION_MAX], expected[200];
        assert_int_equal(s3_sign(&signing, authorization, NULL), 0);
        snprintf(expected, sizeof(expected), "Signature=%s", row->signature);
        if (!strstr(authorization, expected))
            fail_msg("row %zu: %s, expected %s", i, authorization, expected);
    }
}

static void test_encode(void **state)
{
    (void)state;
    static const struct {
        const char *text, *path, *query;
    } TEXTS[] = {
        {"", "", ""},
        {"a/b-c_d.e~f", "a/b-c_d.e~f", "a%2Fb-c_d.e~f"},
        {"k=v+w x", "k%3Dv%2Bw%20x", "k%3Dv%2Bw%20x"},
        {"\xc3\xa9:@&%", "%C3%A9%3A%40%26%25", "%C3%A9%3A%40%26%25"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(TEXTS); i++) {
        struct buf path = BUF_INIT(100), query = BUF_INIT(100);
        s3_encode(&path, TEXTS[i].text, true);
        s3_encode(&query, TEXTS[i].text, false);
        assert_string_equal(buf_text(&path), TEXTS[i].path);
        assert_string_equal(buf_text(&query), TEXTS[i].query);
        buf_clear(&path);
        buf_clear(&query);
    }
}

static void test_limits(void **state)
{
    (void)state;
    static const struct s3_header HEADERS[S3_SIGNED_HEADERS_MAX + 1] = {{"host", "h"}};
    char authorization[S3_AUTHORIZATION_MAX], lots[1000];
    memset(lots, 'x', sizeof(lots) - 1);
    lots[sizeof(lots) - 1] = '\0';
    struct s3_signing signing = {"GET", "/",  "",   HEADERS, S3_SIGNED_HEADERS_MAX + 1, EMPTY, "id",
                                 "s",   "us", "s3", 0};
    assert_int_equal(s3_sign(&signing, authorization, NULL), ERR_LIMIT);
    signing.header_count = 1;
    assert_int_equal(s3_sign(&signing, authorization, NULL), 0);
    signing.secret_access_key = lots;
    assert_int_equal(s3_sign(&signing, authorization, NULL), ERR_LIMIT);
    signing.secret_access_key = "s";
    signing.access_key_id = lots;
    assert_int_equal(s3_sign(&signing, authorization, NULL), ERR_LIMIT);
    signing.access_key_id = "id";
    signing.region = lots;
    assert_int_equal(s3_sign(&signing, authorization, NULL), ERR_LIMIT);
}

static void test_date(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *date;
    } DATES[] = {
        {0, "19700101T000000Z"},
        {INT64_C(1369353600999999), "20130524T000000Z"},
        {-1, "19691231T235959Z"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(DATES); i++) {
        char date[S3_DATE_MAX];
        s3_date(DATES[i].us, date);
        assert_string_equal(date, DATES[i].date);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published),
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_date),
    };
    return cmocka_run_group_tests_name("s3_sign", tests, NULL, NULL);
}
