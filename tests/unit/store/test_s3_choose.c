/* Whose keys are used, in which order, and what is refused. */
#include "s3_case.h"

enum { SETTINGS_MAX = 6 };

struct row {
    struct store_s3_options options;
    const char *settings[SETTINGS_MAX]; /* "NAME=value" */
    const char *credentials, *config;   /* of ~/.aws */
    const char
        *result; /* the key id, "id+token", "-> origin" where a service is asked, or an error */
};

static void set_up(const struct row *row)
{
    clear_environment();
    unlink(home_path(".aws/credentials"));
    unlink(home_path(".aws/config"));
    if (row->credentials)
        write_file(".aws/credentials", 0600, row->credentials);
    if (row->config)
        write_file(".aws/config", 0600, row->config);
    for (size_t i = 0; i < SETTINGS_MAX && row->settings[i]; i++) {
        char name[128];
        const char *equals = strchr(row->settings[i], '=');
        snprintf(name, sizeof(name), "%.*s", (int)(equals - row->settings[i]), row->settings[i]);
        setenv(name, equals + 1, 1);
    }
}

static void check_result(size_t i, const struct row *row)
{
    _cleanup_(s3_credentials_freep) struct s3_credentials_source *source = NULL;
    struct s3_credentials got;
    struct error err = ERROR_NONE;
    char text[sizeof(got) + 8];
    set_up(row);
    int rc = s3_credentials_open(&row->options, &source, &err);
    if (rc) {
        snprintf(text, sizeof(text), "%s: %s", error_code_name(rc), err.message);
        assert_string_not_equal(error_cure(&err), "");
    } else if (!source->has_current) {
        snprintf(text, sizeof(text), "-> %s", s3_credentials_origin(source));
    } else {
        assert_ok(s3_credentials_get(source, &got, &case_err));
        snprintf(text, sizeof(text), "%s%s%s", got.access_key_id, *got.session_token ? "+" : "",
                 got.session_token);
    }
    if (!strstr(text, row->result) || strstr(text, "hush"))
        fail_msg("row %zu: %s", i, text);
}

#define OPTION_KEYS .access_key_id = "O", .secret_access_key = "hush"
#define ENV_KEYS "AWS_ACCESS_KEY_ID=E", "AWS_SECRET_ACCESS_KEY=hush"
#define FILE_KEYS "aws_access_key_id = F\naws_secret_access_key = hush\n"

static void test_order(void **state)
{
    (void)state;
    static const struct row ROWS[] = {
        {{OPTION_KEYS}, {ENV_KEYS}, "[default]\n" FILE_KEYS, NULL, "O"},
        {{OPTION_KEYS, .session_token = "t"}, {ENV_KEYS}, NULL, NULL, "O+t"},
        {{OPTION_KEYS}, {"AWS_SESSION_TOKEN=t"}, NULL, NULL, "O"},
        {{OPTION_KEYS}, {"AWS_PROFILE=none"}, NULL, NULL, "O"},
        {{0}, {ENV_KEYS}, "[default]\n" FILE_KEYS, NULL, "E"},
        {{0}, {ENV_KEYS, "AWS_SESSION_TOKEN=t"}, NULL, NULL, "E+t"},
        {{0}, {ENV_KEYS, "AWS_PROFILE=p"}, "[p]\n" FILE_KEYS, NULL, "E"},
        {{.profile = "p"}, {ENV_KEYS}, "[p]\n" FILE_KEYS, NULL, "F"},
        {{.profile = ""}, {ENV_KEYS}, NULL, NULL, "E"},
        {{0}, {"AWS_ACCESS_KEY_ID="}, "[default]\n" FILE_KEYS, NULL, "F"},
        {{0}, {NULL}, "[default]\n" FILE_KEYS "aws_session_token = t\n", NULL, "F+t"},
        {{0}, {NULL}, NULL, "[default]\n" FILE_KEYS, "F"},
        {{0}, {"AWS_PROFILE=p"}, NULL, "[profile p]\n" FILE_KEYS, "F"},
        {{0},
         {NULL},
         "[default]\n" FILE_KEYS,
         "[default]\naws_access_key_id = G\naws_secret_access_key = hush\naws_session_token = t\n",
         "F"},
        {{0},
         {"AWS_WEB_IDENTITY_TOKEN_FILE=/t", "AWS_ROLE_ARN=arn"},
         "[default]\n" FILE_KEYS,
         NULL,
         "F"},
        {{0},
         {"AWS_WEB_IDENTITY_TOKEN_FILE=/t", "AWS_ROLE_ARN=arn",
          "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/x"},
         NULL,
         "[default]\nregion = r\n",
         "-> STS for arn"},
        {{0}, {"AWS_ROLE_ARN=arn"}, NULL, NULL, "-> instance metadata"},
        {{0},
         {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/x"},
         NULL,
         NULL,
         "-> the container's endpoint"},
        {{0},
         {NULL},
         NULL,
         "[default]\nrole_arn = arn\nweb_identity_token_file = /t\n" FILE_KEYS,
         "-> STS for arn"},
        {{0}, {NULL}, NULL, "[default]\nregion = r\n", "-> instance metadata"},
        {{0}, {"AWS_EC2_METADATA_DISABLED=false"}, NULL, NULL, "-> instance metadata"},
        /* AWS tools prefer keys of the credentials file to the process, and need no MFA for them.
         */
        {{0}, {NULL}, "[default]\n" FILE_KEYS, "[default]\ncredential_process = x\n", "F"},
        {{0}, {NULL}, "[default]\n" FILE_KEYS "mfa_serial = m\n", NULL, "F"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++)
        check_result(i, &ROWS[i]);
}

static const struct row REFUSED[] = {
    {{.access_key_id = "O"},
     {ENV_KEYS},
     NULL,
     NULL,
     "usage: access_key_id: of the repository is set without secret_access_key:"},
    {{.secret_access_key = "hush"},
     {ENV_KEYS},
     NULL,
     NULL,
     "usage: secret_access_key: of the repository is set without access_key_id:"},
    {{0},
     {"AWS_ACCESS_KEY_ID=E"},
     "[default]\n" FILE_KEYS,
     NULL,
     "usage: AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY"},
    {{0},
     {"AWS_SECRET_ACCESS_KEY=hush"},
     NULL,
     NULL,
     "usage: AWS_SECRET_ACCESS_KEY is set without AWS_ACCESS_KEY_ID"},
    {{0},
     {"AWS_ACCESS_KEY_ID=E x", "AWS_SECRET_ACCESS_KEY=hush"},
     NULL,
     NULL,
     "authentication: the access key id of the environment can't be one"},
    {{0},
     {"AWS_ACCESS_KEY_ID=E/x", "AWS_SECRET_ACCESS_KEY=hush"},
     NULL,
     NULL,
     "authentication: the access key id of the environment can't be one"},
    {{0},
     {"AWS_ACCESS_KEY_ID=E", "AWS_SECRET_ACCESS_KEY=hush hush"},
     NULL,
     NULL,
     "authentication: the secret access key of the environment can't be one"},
    {{0},
     {ENV_KEYS, "AWS_SESSION_TOKEN=hush\r\nx: y"},
     NULL,
     NULL,
     "authentication: the session token of the environment can't be one"},
    /* Half a pair in a file, also when the other half is in the other file. */
    {{0},
     {NULL},
     "[default]\naws_access_key_id = F\n",
     "[default]\naws_secret_access_key = hush\n",
     "/.aws/credentials\" has aws_access_key_id but no aws_secret_access_key"},
    {{0},
     {NULL},
     "[default]\naws_secret_access_key = hush\n",
     NULL,
     "/.aws/credentials\" has aws_secret_access_key but no aws_access_key_id"},
    /* What another tool would do, pgcairn does not do otherwise. */
    {{0},
     {NULL},
     NULL,
     "[default]\ncredential_process = x\n" FILE_KEYS,
     "usage: profile \"default\" gets its credentials by credential_process, which"},
    {{0},
     {NULL},
     "[default]\n" FILE_KEYS,
     "[default]\nsso_session = x\n",
     "by sso_session, which pgcairn does not"},
    {{0}, {NULL}, NULL, "[default]\nsso_start_url = x\n", "by sso_start_url, which"},
    {{0}, {NULL}, NULL, "[default]\nlogin_session = x\n", "by login_session, which"},
    {{.profile = "p"},
     {NULL},
     "[default]\n" FILE_KEYS,
     "[profile p]\nrole_arn = arn\nsource_profile = default\nmfa_serial = m\n",
     "usage: profile \"p\" gets its credentials by source_profile, which"},
    {{0},
     {NULL},
     NULL,
     "[default]\nrole_arn = arn\ncredential_source = Ec2InstanceMetadata\n",
     "by credential_source, which"},
    {{0},
     {NULL},
     "[default]\n" FILE_KEYS "role_arn = arn\n",
     NULL,
     "usage: profile \"default\" has role_arn without web_identity_token_file"},
    {{0},
     {NULL},
     NULL,
     "[default]\nweb_identity_token_file = /t\n",
     "usage: profile \"default\" has web_identity_token_file without role_arn"},
    /* A profile or file that was named is meant. */
    {{.profile = "p"},
     {ENV_KEYS, "AWS_WEB_IDENTITY_TOKEN_FILE=/t", "AWS_ROLE_ARN=arn"},
     NULL,
     "[profile p]\nregion = r\n",
     "usage: profile \"p\" has neither keys nor role_arn with web_identity_token_file"},
    {{0},
     {"AWS_PROFILE=p", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/x"},
     NULL,
     "[profile p]\nregion = r\n",
     "usage: profile \"p\" has neither keys"},
    {{0}, {"AWS_PROFILE=p"}, "[default]\n" FILE_KEYS, NULL, "usage: profile \"p\" is neither in"},
    {{0},
     {"AWS_SHARED_CREDENTIALS_FILE=/nowhere/x"},
     NULL,
     NULL,
     "usage: AWS_SHARED_CREDENTIALS_FILE names \"/nowhere/x\", which is not there"},
    {{0},
     {"AWS_WEB_IDENTITY_TOKEN_FILE=/t"},
     NULL,
     NULL,
     "usage: AWS_WEB_IDENTITY_TOKEN_FILE is set without AWS_ROLE_ARN"},
    {{0},
     {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=evil.example/x"},
     NULL,
     NULL,
     "usage: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI does not begin with /"},
    {{0},
     {"AWS_EC2_METADATA_DISABLED=True"},
     NULL,
     NULL,
     "authentication: found no credentials for S3: there are no keys in the policy, in "
     "AWS_ACCESS_KEY_ID, in profile \"default\" of \""},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(REFUSED); i++)
        check_result(i, &REFUSED[i]);
}

static void test_long_token(void **state)
{
    (void)state;
    struct s3_credentials got;
    char *token = calloc(1, S3_TOKEN_MAX + 2);
    memset(token, 't', S3_TOKEN_MAX);
    struct store_s3_options options = {OPTION_KEYS, .session_token = token};
    assert_ok(get_once(&options, &got, &case_err));
    assert_string_equal(got.session_token, token);
    token[S3_TOKEN_MAX] = 't';
    assert_fails(get_once(&options, &got, &case_err), ERR_AUTH, "session token of the policy");
    free(token);
}

static void test_sts_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *config, *url, *ca_file;
    } ROWS[] = {
        {"AWS_REGION", "eu-west-1", "", "https://sts.eu-west-1.amazonaws.com", NULL},
        {"AWS_REGION", "cn-north-1", "", "https://sts.cn-north-1.amazonaws.com.cn", NULL},
        {"AWS_REGION", "", "[default]\nregion=x\n", "https://sts.x.amazonaws.com", NULL},
        {"AWS_REGION", "", "", "https://sts.amazonaws.com", NULL},
        {"AWS_ENDPOINT_URL_STS", "http://a:1", "", "http://a:1", "/own.pem"},
        {"AWS_ENDPOINT_URL", "http://a:1", "", "http://a:1", "/own.pem"},
        {"AWS_ENDPOINT_URL_S3", "http://a:1", "", "https://sts.amazonaws.com", NULL},
        {"AWS_CA_BUNDLE", "/b.pem", "", "https://sts.amazonaws.com", "/b.pem"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        _cleanup_(s3_credentials_freep) struct s3_credentials_source *source = NULL;
        struct store_s3_options options = {.ca_file = "/own.pem"};
        clear_environment();
        write_file(".aws/config", 0600, ROWS[i].config);
        setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/t", 1);
        setenv("AWS_ROLE_ARN", "arn", 1);
        setenv(ROWS[i].name, ROWS[i].value, 1);
        assert_ok(s3_credentials_open(&options, &source, &case_err));
        assert_string_equal(source->url, ROWS[i].url);
        assert_string_equal(source->ca_file ? source->ca_file : "",
                            ROWS[i].ca_file ? ROWS[i].ca_file : "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_refused, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_long_token, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_sts_addresses, make_home, remove_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
