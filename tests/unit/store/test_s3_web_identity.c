/* STS: what is asked, what is believed, and the token that is read anew each time. */
#include "s3_case.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#define REPLY(credentials)                                                                           \
    "<?xml version=\"1.0\"?>\n<AssumeRoleWithWebIdentityResponse "                                   \
    "xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleWithWebIdentityResult>"          \
    "<Audience>a</Audience><AssumedRoleUser><Arn>x</Arn></AssumedRoleUser><Credentials>" credentials \
    "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
#define KEYS                                                                     \
    "<AccessKeyId>W</AccessKeyId>\n<SecretAccessKey>hu&#115;h</SecretAccessKey>" \
    "<SessionToken>a/b+c==</SessionToken>"
#define GOOD REPLY(KEYS "<Expiration>2199-01-02T03:04:05Z</Expiration>")
#define REFUSAL(code)                                                                               \
    "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>" \
    "<Code>" code "</Code><Message>why</Message></Error><RequestId>r</RequestId></ErrorResponse>"

static void set_role(void)
{
    write_file("token", 0600, "e.y-J/+=\n");
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", home_path("token"), 1);
    setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/x", 1);
    setenv("AWS_ENDPOINT_URL_STS", service_url("/"), 1);
}

static void test_good(void **state)
{
    (void)state;
    static const struct service_row ROWS[] = {{.status = "200 OK", .body = GOOD},
                                              {.status = "200 OK", .body = GOOD}};
    struct s3_credentials got;
    service_start(ROWS, ARRAY_SIZE(ROWS));
    set_role();
    _cleanup_(s3_credentials_freep) struct s3_credentials_source *source = NULL;
    assert_ok(s3_credentials_open(NULL, &source, &case_err));
    assert_ok(s3_credentials_get(source, &got, &case_err));
    assert_string_equal(got.access_key_id, "W");
    assert_string_equal(got.secret_access_key, "hush");
    assert_string_equal(got.session_token, "a/b+c==");
    char end[INSTANT_TEXT_MAX];
    assert_string_equal(instant_format(got.expires_us, end), "2199-01-02T03:04:05Z");
    write_file("token", 0600, "second");
    s3_credentials_reject(source, &got);
    assert_ok(s3_credentials_get(source, &got, &case_err));
    service_stop();
    assert_int_equal(service_count, 2);
    assert_ptr_equal(strstr(service_asked[0], "POST / HTTP/1.1\r\n"), service_asked[0]);
    assert_non_null(
        strstr(service_asked[0], "\r\nContent-Type: application/x-www-form-urlencoded\r\n"));
    assert_string_equal(strstr(service_asked[0], "\r\n\r\n") + 4,
                        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15"
                        "&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fx&RoleSessionName=pgcairn"
                        "&WebIdentityToken=e.y-J%2F%2B%3D");
    assert_non_null(strstr(service_asked[1], "&WebIdentityToken=second"));
}

/* From a profile, with a name of the session and a proxy in the environment, which STS may need. */
static void test_profile(void **state)
{
    (void)state;
    static const struct service_row ROW = {.status = "200 OK", .body = GOOD};
    char config[512];
    struct s3_credentials got;
    struct store_s3_options options = {.profile = "p", .region = "eu-west-1"};
    write_file("token", 0600, "t");
    snprintf(config, sizeof(config),
             "[profile p]\nrole_arn = arn\nweb_identity_token_file = %s\nrole_session_name = n\n",
             home_path("token"));
    write_file(".aws/config", 0644, config);
    service_start(&ROW, 1);
    setenv("AWS_ENDPOINT_URL_STS", "http://sts.example", 1);
    setenv("http_proxy", service_url(""), 1);
    assert_ok(get_once(&options, &got, &case_err));
    service_stop();
    assert_ptr_equal(strstr(service_asked[0], "POST http://sts.example/ HTTP/1.1\r\n"),
                     service_asked[0]);
    assert_non_null(strstr(service_asked[0], "&RoleArn=arn&RoleSessionName=n&WebIdentityToken=t"));
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
        {{.status = "400 Bad Request", .body = REFUSAL("InvalidIdentityToken")},
         ERR_AUTH,
         "STS gives no credentials for arn:aws:iam::1:role/x: InvalidIdentityToken: why (HTTP "
         "status 400)",
         false},
        {{.status = "403 Forbidden", .body = REFUSAL("AccessDenied")},
         ERR_AUTH,
         "AccessDenied: why",
         false},
        {{.status = "400 Bad Request", .body = REFUSAL("IDPCommunicationError")},
         ERR_CONNECTION,
         "IDPComm",
         false},
        {{.status = "400 Bad Request", .body = "hush"},
         ERR_AUTH,
         "no code:  (HTTP status 400)",
         false},
        {{.status = "503 Busy", .body = REFUSAL("ServiceUnavailable")},
         ERR_CONNECTION,
         "STS answered HTTP status 503",
         true},
        {{.status = "200 OK", .body = REFUSAL("x")},
         ERR_CONNECTION,
         "SessionToken is missing",
         false},
        {{.status = "200 OK", .body = ""}, ERR_CONNECTION, "it is no whole XML", false},
        {{.status = "200 OK", .body = "{\"hush\":1}"}, ERR_CONNECTION, "it is no whole XML", false},
        {{.status = "200 OK", .body = "<a><Credentials>" KEYS},
         ERR_CONNECTION,
         "it is no whole XML",
         false},
        {{.status = "200 OK", .body = REPLY(KEYS)},
         ERR_CONNECTION,
         "their Expiration is no time",
         false},
        {{.status = "200 OK", .body = REPLY("<AccessKeyId>W</AccessKeyId>")},
         ERR_CONNECTION,
         "is missing",
         false},
        {{.status = "200 OK", .body = REPLY(KEYS "<Expiration>2001-01-01T00:00:00Z</Expiration>")},
         ERR_CONNECTION,
         "STS for arn:aws:iam::1:role/x gave credentials that ended at 2001-01-01T00:00:00Z",
         false},
        /* Keys elsewhere in the document are none. */
        {{.status = "200 OK", .body = "<a><b>" KEYS "</b></a>"},
         ERR_CONNECTION,
         "is missing",
         false},
        /* Bombs. */
        {{.status = "200 OK", .body = "<!DOCTYPE a [<!ENTITY b \"hush\">]><a>&b;</a>"},
         ERR_CONNECTION,
         "it ",
         false},
        {{.status = "200 OK", .body = "<a><b></a>"}, ERR_CONNECTION, "it ", false},
        {{.status = "200 OK", .body = GOOD, .cut = 7},
         ERR_CONNECTION,
         "could not ask STS for credentials",
         true},
        {{.status = NULL}, ERR_CONNECTION, "could not ask STS for credentials", true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct service_row rows[SERVICE_ROWS_MAX];
        for (size_t j = 0; j < SERVICE_ROWS_MAX; j++)
            rows[j] = ROWS[i].row;
        struct s3_credentials got;
        service_start(rows, ARRAY_SIZE(rows));
        set_role();
        assert_fails(get_once(NULL, &got, &case_err), ROWS[i].code, ROWS[i].message);
        service_stop();
        if ((service_count > 1) != ROWS[i].is_retried)
            fail_msg("row %zu: %d requests", i, service_count);
    }
}

static void test_long_fields(void **state)
{
    (void)state;
    char *body = malloc(40000), *token = malloc(20001);
    struct s3_credentials got;
    memset(token, 't', 20000);
    for (size_t length = S3_TOKEN_MAX; length <= S3_TOKEN_MAX + 1; length++) {
        struct service_row row = {.status = "200 OK", .body = body};
        token[length] = '\0';
        snprintf(
            body, 40000,
            REPLY("<AccessKeyId>W</AccessKeyId><SecretAccessKey>hush</SecretAccessKey>"
                  "<SessionToken>%s</SessionToken><Expiration>2199-01-01T00:00:00Z</Expiration>"),
            token);
        token[length] = 't';
        service_start(&row, 1);
        set_role();
        if (length > S3_TOKEN_MAX)
            assert_fails(get_once(NULL, &got, &case_err), ERR_CONNECTION,
                         "is larger than 16384 bytes");
        else
            assert_ok(get_once(NULL, &got, &case_err));
        service_stop();
    }
    free(body);
    free(token);
}

static void test_token_files(void **state)
{
    (void)state;
    struct s3_credentials got;
    service_start(NULL, 0);
    set_role();
    service_stop();
    unlink(home_path("token"));
    assert_fails(get_once(NULL, &got, &case_err), ERR_AUTH, "/token\" is not there");
    write_file("token", 0644, "hush");
    assert_fails(get_once(NULL, &got, &case_err), ERR_PERMISSION, "has mode 0644");
    char *text = calloc(1, S3_WEB_TOKEN_MAX + 2);
    memset(text, 't', S3_WEB_TOKEN_MAX + 1);
    write_file("token", 0600, text);
    free(text);
    assert_fails(get_once(NULL, &got, &case_err), ERR_LIMIT, "is larger than 20000 bytes");
    write_file("token", 0600, "t");
    assert_fails(get_once(NULL, &got, &case_err), ERR_CONNECTION, "could not ask STS");
}

/* In a mount namespace of its own: 0 when the token of a read-only mount is read, 77 when mounting
 * is not allowed here. */
static int read_from_mount(unsigned long flags)
{
    const char *folder = home_path("mnt");
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mkdir(folder, 0700) || mount("none", folder, "tmpfs", 0, NULL))
        return 77;
    write_file("mnt/token", 0644, "t");
    if (flags && mount("none", folder, NULL, MS_REMOUNT | flags, NULL))
        return 77;
    struct buf token;
    int rc = s3_token_read(home_path("mnt/token"), 100, &token, &case_err);
    return rc == 0 ? 0 : rc == ERR_PERMISSION ? 1 : 2;
}

/* Kubernetes projects tokens with mode 0644 on a read-only mount: nobody there could change that.
 */
static void test_read_only_mount(void **state)
{
    (void)state;
    static const struct {
        unsigned long flags;
        int result;
    } ROWS[] = {{MS_RDONLY, 0}, {0, 1}};
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        int status;
        pid_t child = fork();
        if (child == 0)
            _exit(read_from_mount(ROWS[i].flags));
        assert_int_equal(waitpid(child, &status, 0), child);
        rmdir(home_path("mnt"));
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
            skip();
        assert_int_equal(WEXITSTATUS(status), ROWS[i].result);
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
        cmocka_unit_test_setup_teardown(test_profile, make_home, end_case),
        cmocka_unit_test_setup_teardown(test_bad_replies, make_home, end_case),
        cmocka_unit_test_setup_teardown(test_long_fields, make_home, end_case),
        cmocka_unit_test_setup_teardown(test_token_files, make_home, end_case),
        cmocka_unit_test_setup_teardown(test_read_only_mount, make_home, end_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
