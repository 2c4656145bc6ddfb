/* Instance metadata: version 2 alone, and not for long where there is none. */
#include "s3_case.h"

#define GOOD                                                             \
    "{\"Code\":\"Success\",\"Type\":\"AWS-HMAC\",\"AccessKeyId\":\"I\"," \
    "\"SecretAccessKey\":\"hush\",\"Token\":\"t\",\"Expiration\":\"2199-01-02T03:04:05Z\"}"
#define SESSION                            \
    {                                      \
        .status = "200 OK", .body = "s1==" \
    }

static void test_good(void **state)
{
    (void)state;
    static const struct service_row ROWS[] = {SESSION,
                                              {.status = "200 OK", .body = "role_+=,.@-1\n"},
                                              {.status = "200 OK", .body = GOOD}};
    struct s3_credentials got;
    service_start(ROWS, ARRAY_SIZE(ROWS));
    setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service_url("/"), 1);
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    assert_ok(get_once(NULL, &got, &case_err));
    service_stop();
    assert_string_equal(got.access_key_id, "I");
    assert_string_equal(got.session_token, "t");
    assert_int_equal(service_count, 3);
    static const char *const REQUESTS[] = {
        "PUT /latest/api/token HTTP/1.1\r\n",
        "GET /latest/meta-data/iam/security-credentials/ HTTP/1.1\r\n",
        "GET /latest/meta-data/iam/security-credentials/role_+=,.@-1 HTTP/1.1\r\n"};
    for (size_t i = 0; i < ARRAY_SIZE(REQUESTS); i++) {
        assert_ptr_equal(strstr(service_asked[i], REQUESTS[i]), service_asked[i]);
        assert_non_null(strstr(service_asked[i], i == 0
                                                     ? "\r\nX-aws-ec2-metadata-token-ttl-seconds: "
                                                     : "\r\nX-aws-ec2-metadata-token: s1==\r\n"));
    }
}

enum { ROWS_MAX = 4 };

static void test_bad_replies(void **state)
{
    (void)state;
    static const struct {
        struct service_row rows[ROWS_MAX];
        int code;
        const char *message;
        int requests; /* negative: at least so many, as it is tried again */
    } ROWS[] = {
        /* No version 2: nobody asks version 1. */
        {{{.status = "404 Not Found", .body = ""}},
         ERR_AUTH,
         "no AWS_CONTAINER_CREDENTIALS_FULL_URI, and instance metadata is off (HTTP status 404 for "
         "a session)",
         1},
        {{{.status = "403 Forbidden", .body = ""}},
         ERR_AUTH,
         "found no credentials for S3: there are no keys in",
         1},
        {{{.status = "405 Method Not Allowed", .body = ""}},
         ERR_AUTH,
         "found no credentials for S3",
         1},
        {{{.status = NULL}, {.status = NULL}}, ERR_AUTH, "and could not ask instance metadata", -2},
        {{{.status = "400 Bad Request", .body = ""}},
         ERR_AUTH,
         "HTTP status 400 to the request for a session",
         1},
        {{{.status = "200 OK", .body = ""}}, ERR_CONNECTION, "answered no session token", 1},
        {{{.status = "200 OK", .body = "hush\r\nx: y"}},
         ERR_CONNECTION,
         "answered no session token",
         1},
        {{SESSION, {.status = "404 Not Found", .body = ""}},
         ERR_AUTH,
         "and the instance has no IAM role",
         2},
        {{SESSION, {.status = "401 Unauthorized", .body = ""}},
         ERR_AUTH,
         "401 to the request for its role",
         2},
        {{SESSION, {.status = "200 OK", .body = ""}}, ERR_CONNECTION, "no name of a role", 2},
        {{SESSION, {.status = "200 OK", .body = "../x"}}, ERR_CONNECTION, "no name of a role", 2},
        {{SESSION, {.status = "200 OK", .body = "<html>"}}, ERR_CONNECTION, "no name of a role", 2},
        {{SESSION, {.status = "200 OK", .body = "r"}, {.status = "404 Not Found", .body = ""}},
         ERR_AUTH,
         "404 to the request for cred",
         3},
        {{SESSION, {.status = "200 OK", .body = "r"}, {.status = "200 OK", .body = "hush"}},
         ERR_CONNECTION,
         "it is no JSON object",
         3},
        {{SESSION,
          {.status = "200 OK", .body = "r"},
          {.status = "503 Busy", .body = ""},
          {.status = "503 Busy", .body = ""}},
         ERR_CONNECTION,
         "instance metadata answered HTTP status 503 to a request for credentials (tried",
         -4},
        {{SESSION,
          {.status = "200 OK", .body = "r"},
          {.status = "200 OK", .body = "{\"Code\":\"Failed\"}"}},
         ERR_AUTH,
         "instance metadata gives no credentials: Failed",
         3},
        {{SESSION,
          {.status = "200 OK", .body = "r"},
          {.status = "200 OK", .body = "{", .cut = 9},
          {.status = NULL}},
         ERR_CONNECTION,
         "could not ask instance metadata",
         -4},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct s3_credentials got;
        service_start(ROWS[i].rows, ROWS_MAX);
        setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service_url(""), 1);
        assert_fails(get_once(NULL, &got, &case_err), ROWS[i].code, ROWS[i].message);
        service_stop();
        int wanted = ROWS[i].requests;
        if (wanted < 0 ? service_count < -wanted : service_count != wanted)
            fail_msg("row %zu: %d requests", i, service_count);
    }
}

static void test_not_there(void **state)
{
    (void)state;
    struct s3_credentials got;
    service_start(NULL, 0);
    setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service_url(""), 1);
    service_stop(); /* the port is closed now */
    assert_fails(get_once(NULL, &got, &case_err), ERR_AUTH, "Failed to connect");
    assert_non_null(strstr(case_err.message, home_path(".aws/credentials")));
    assert_string_equal(case_err.hint, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write "
                                       "them to a profile of ~/.aws/credentials (mode 600)");
}

/* A laptop in a network that swallows the question waits a few seconds, not minutes. */
static void test_slow(void **state)
{
    (void)state;
    static const struct service_row ROWS[] = {{.status = "200 OK", .body = "s", .delay_ms = 10000},
                                              {.status = "200 OK", .body = "s", .delay_ms = 10000}};
    struct s3_credentials got;
    service_start(ROWS, ARRAY_SIZE(ROWS));
    setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service_url(""), 1);
    int64_t start_us = instant_monotonic_us();
    assert_fails(get_once(NULL, &got, &case_err), ERR_AUTH, "timed out after 2");
    assert_true(instant_monotonic_us() - start_us < 8 * US_PER_SECOND);
    service_stop();
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *mode, *url;
    } ROWS[] = {{"", "http://169.254.169.254"},
                {"IPv4", "http://169.254.169.254"},
                {"ipv6", "http://[fd00:ec2::254]"}};
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        _cleanup_(s3_credentials_freep) struct s3_credentials_source *source = NULL;
        setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", ROWS[i].mode, 1);
        assert_ok(s3_credentials_open(NULL, &source, &case_err));
        assert_string_equal(source->url, ROWS[i].url);
    }
}

static int end_case(void **state)
{
    service_stop();
    return remove_home(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good, make_home, end_case),
        cmocka_unit_test_setup_teardown(test_bad_replies, make_home, end_case),
        cmocka_unit_test_setup_teardown(test_not_there, make_home, end_case),
        cmocka_unit_test_setup_teardown(test_slow, make_home, end_case),
        cmocka_unit_test_setup_teardown(test_addresses, make_home, end_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
