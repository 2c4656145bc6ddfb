/* The container's endpoint: which hosts may be asked, what is sent, what is believed. */
#include "s3_case.h"

static const char GOOD[] =
    "{\"RoleArn\":\"arn\",\"AccessKeyId\":\"C\",\"SecretAccessKey\":\"hush\",\"Token\":\"hush/t==\","
    "\"Expiration\":\"2199-01-02T03:04:05Z\"}";

static void test_hosts(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        bool is_good;
    } ROWS[] = {
        {"http://127.0.0.1/x", true},
        {"http://127.9.9.9:80/x", true},
        {"http://localhost/x", true},
        {"http://LOCALHOST:1234/x?y", true},
        {"http://[::1]/x", true},
        {"http://[0:0:0:0:0:0:0:1]/x", true},
        {"http://169.254.170.2/x", true},
        {"http://169.254.170.23/v1/credentials", true},
        {"http://[fd00:ec2::23]/v1/credentials", true},
        {"https://example.org/x", true},
        {"http://example.org/x", false},
        {"http://169.254.169.254/x", false},
        {"http://169.254.170.24/x", false},
        {"http://128.0.0.1/x", false},
        {"http://127.0.0.1.example.org/x", false},
        {"http://127.0.0.1@example.org/x", false},
        {"http://localhost.example.org/x", false},
        {"http://[fd00:ec2::24]/x", false},
        {"http://[::2]/x", false},
        {"ftp://127.0.0.1/x", false},
        {"file:///etc/passwd", false},
        {"/x", false},
        {"", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        int rc = s3_container_check(ROWS[i].url, &case_err);
        if (rc != (ROWS[i].is_good ? 0 : ERR_USAGE))
            fail_msg("%s: %d", ROWS[i].url, rc);
    }
    assert_string_not_equal(case_err.hint, "");
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.org/x", 1);
    struct s3_credentials_source *source = NULL;
    assert_fails(s3_credentials_open(NULL, &source, &case_err), ERR_USAGE,
                 "AWS_CONTAINER_CREDENTIALS_FULL_URI may not be http to \"example.org\"");
    assert_null(source);
}

static void test_relative(void **state)
{
    (void)state;
    _cleanup_(s3_credentials_freep) struct s3_credentials_source *source = NULL;
    setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/1", 1);
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.org/x", 1);
    assert_ok(s3_credentials_open(NULL, &source, &case_err));
    assert_string_equal(source->url, "http://169.254.170.2/v2/credentials/1");
}

static void test_good(void **state)
{
    (void)state;
    static const struct service_row ROWS[] = {
        {.status = "200 OK", .body = GOOD},
        {.status = "200 OK", .body = GOOD},
        {.status = "200 OK", .body = GOOD},
        {.status = "200 OK", .body = "{\"AccessKeyId\":\"C\",\"SecretAccessKey\":\"hush\"}"},
    };
    struct s3_credentials got;
    service_start(ROWS, ARRAY_SIZE(ROWS));
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", service_url("/creds?a=b"), 1);
    setenv("http_proxy", "http://127.0.0.1:1", 1); /* local services are asked without it */
    assert_ok(get_once(NULL, &got, &case_err));
    assert_string_equal(got.access_key_id, "C");
    assert_string_equal(got.secret_access_key, "hush");
    assert_string_equal(got.session_token, "hush/t==");
    char end[INSTANT_TEXT_MAX];
    assert_string_equal(instant_format(got.expires_us, end), "2199-01-02T03:04:05Z");

    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic abc", 1);
    assert_ok(get_once(NULL, &got, &case_err));
    write_file("token", 0600, "from a file\n");
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", home_path("token"), 1);
    assert_ok(get_once(NULL, &got, &case_err));
    assert_ok(get_once(NULL, &got, &case_err));
    assert_string_equal(got.session_token, "");
    assert_true(got.expires_us == INSTANT_NONE);
    service_stop();
    assert_int_equal(service_count, 4);
    assert_ptr_equal(strstr(service_asked[0], "GET /creds?a=b HTTP/1.1\r\n"), service_asked[0]);
    assert_null(strstr(service_asked[0], "Authorization"));
    assert_non_null(strstr(service_asked[1], "\r\nAuthorization: Basic abc\r\n"));
    assert_non_null(strstr(service_asked[2], "\r\nAuthorization: from a file\r\n"));
}

static void test_bad_replies(void **state)
{
    (void)state;
    static const struct {
        struct service_row row;
        int code;
        const char *message;
        bool is_retried;
    } ROWS[] = {
        {{.status = "200 OK", .body = ""},
         ERR_CONNECTION,
         "answered no credentials: it is no JSON object",
         false},
        {{.status = "200 OK", .body = "<html>hush</html>"},
         ERR_CONNECTION,
         "it is no JSON object",
         false},
        {{.status = "200 OK", .body = "[]"}, ERR_CONNECTION, "it is no JSON object", false},
        {{.status = "200 OK", .body = "{\"AccessKeyId\":\"C\",\"SecretAccessKey\":\"hush"},
         ERR_CONNECTION,
         "no JSON",
         false},
        {{.status = "200 OK", .body = "{\"AccessKeyId\":\"C\"}"},
         ERR_CONNECTION,
         "AccessKeyId or SecretAccessKey is missing",
         false},
        {{.status = "200 OK", .body = "{\"AccessKeyId\":5,\"SecretAccessKey\":\"hush\"}"},
         ERR_CONNECTION,
         "AccessKeyId or SecretAccessKey is missing",
         false},
        {{.status = "200 OK",
          .body = "{\"AccessKeyId\":\"C\",\"SecretAccessKey\":\"hush\",\"Expiration\":\"soon\"}"},
         ERR_CONNECTION,
         "their Expiration is no time",
         false},
        {{.status = "200 OK",
          .body =
              "{\"AccessKeyId\":\"C\",\"SecretAccessKey\":\"hush\",\"Expiration\":\"2001-01-01T00:00:00Z\"}"},
         ERR_CONNECTION,
         "the container's endpoint gave credentials that ended at 2001-01-01T00:00:00Z; it is 20",
         false},
        {{.status = "200 OK",
          .body = "{\"AccessKeyId\":\"C\\r\\nx: y\",\"SecretAccessKey\":\"hush\"}"},
         ERR_AUTH,
         "the access key id of the container's endpoint can't be one",
         false},
        {{.status = "200 OK",
          .body = "{\"Code\":\"AssumeRoleUnauthorizedAccess\",\"Message\":\"no trust\"}"},
         ERR_AUTH,
         "the container's endpoint gives no credentials: AssumeRoleUnauthorizedAccess: no trust",
         false},
        {{.status = "401 Unauthorized", .body = "hush"},
         ERR_AUTH,
         "answered HTTP status 401",
         false},
        /* Nobody follows where the token should not go. */
        {{.status = "302 Found\r\nLocation: http://127.0.0.1:1/", .body = ""},
         ERR_AUTH,
         "HTTP status 302",
         false},
        {{.status = "503 Slow Down", .body = ""}, ERR_CONNECTION, "answered HTTP status 503", true},
        {{.status = "429 Too Many Requests", .body = ""},
         ERR_CONNECTION,
         "answered HTTP status 429",
         true},
        {{.status = "200 OK", .body = "{\"AccessKeyId\":", .cut = 100},
         ERR_CONNECTION,
         "could not ask",
         true},
        {{.status = NULL}, ERR_CONNECTION, "could not ask the container's endpoint", true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct service_row rows[SERVICE_ROWS_MAX];
        for (size_t j = 0; j < SERVICE_ROWS_MAX; j++)
            rows[j] = ROWS[i].row;
        struct s3_credentials got;
        service_start(rows, ARRAY_SIZE(rows));
        setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", service_url("/"), 1);
        assert_fails(get_once(NULL, &got, &case_err), ROWS[i].code, ROWS[i].message);
        service_stop();
        if ((service_count > 1) != ROWS[i].is_retried)
            fail_msg("row %zu: %d requests", i, service_count);
    }
}

static void test_recovery(void **state)
{
    (void)state;
    static const struct service_row ROWS[] = {
        {.status = NULL}, {.status = "500 Oh", .body = ""}, {.status = "200 OK", .body = GOOD}};
    struct s3_credentials got;
    service_start(ROWS, ARRAY_SIZE(ROWS));
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", service_url("/"), 1);
    assert_ok(get_once(NULL, &got, &case_err));
    service_stop();
    assert_fails(get_once(NULL, &got, &case_err), ERR_CONNECTION, "Failed to connect");
}

static void test_too_large(void **state)
{
    (void)state;
    char *body = calloc(1, 70000);
    memset(body, ' ', 69999);
    struct service_row row = {.status = "200 OK", .body = body};
    struct s3_credentials got;
    service_start(&row, 1);
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", service_url("/"), 1);
    assert_fails(get_once(NULL, &got, &case_err), ERR_LIMIT, "is larger than 65536 bytes");
    service_stop();
    free(body);
}

static void test_tokens(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        mode_t mode;
        int code;
        const char *message;
    } ROWS[] = {
        {NULL, 0, ERR_AUTH, "/token\" is not there"},
        {"", 0600, ERR_AUTH, "/token\" holds no token"},
        {" \n", 0600, ERR_AUTH, "/token\" holds no token"},
        {"hush\r\nX: y", 0600, ERR_AUTH, "/token\" holds no token"},
        {"hush", 0644, ERR_PERMISSION, "/token\" holds secrets and has mode 0644"},
        {"hush", 0640, ERR_PERMISSION, "/token\" holds secrets and has mode 0640"},
    };
    struct s3_credentials got;
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/", 1);
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", home_path("token"), 1);
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        if (ROWS[i].text)
            write_file("token", ROWS[i].mode, ROWS[i].text);
        assert_fails(get_once(NULL, &got, &case_err), ROWS[i].code, ROWS[i].message);
    }
    unsetenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "hush\r\nX: y", 1);
    assert_fails(get_once(NULL, &got, &case_err), ERR_USAGE, "is more than one line");
}

static void *stop_soon(void *context)
{
    while (service_count == 0)
        usleep(1000);
    s3_credentials_stop(context);
    return NULL;
}

static void test_stop(void **state)
{
    (void)state;
    static const struct service_row ROW = {.status = "200 OK", .body = GOOD, .delay_ms = 60000};
    struct s3_credentials got;
    pthread_t thread;
    _cleanup_(s3_credentials_freep) struct s3_credentials_source *source = NULL;
    service_start(&ROW, 1);
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", service_url("/"), 1);
    assert_ok(s3_credentials_open(NULL, &source, &case_err));
    assert_int_equal(pthread_create(&thread, NULL, stop_soon, source), 0);
    int64_t start_us = instant_monotonic_us();
    assert_fails(s3_credentials_get(source, &got, &case_err), ERR_INTERRUPTED, "stopped while");
    assert_true(instant_monotonic_us() - start_us < 4 * US_PER_SECOND);
    pthread_join(thread, NULL);
    service_stop();
}

static int end_case(void **state)
{
    service_stop();
    return remove_home(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_hosts, make_home, end_case),
        cmocka_unit_test_setup_teardown(test_relative, make_home, end_case),
        cmocka_unit_test_setup_teardown(test_good, make_home, end_case),
        cmocka_unit_test_setup_teardown(test_bad_replies, make_home, end_case),
        cmocka_unit_test_setup_teardown(test_recovery, make_home, end_case),
        cmocka_unit_test_setup_teardown(test_too_large, make_home, end_case),
        cmocka_unit_test_setup_teardown(test_tokens, make_home, end_case),
        cmocka_unit_test_setup_teardown(test_stop, make_home, end_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
