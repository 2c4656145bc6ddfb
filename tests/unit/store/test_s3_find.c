/* Region and endpoint: who has the first word, and what is none. */
#include "s3_case.h"

enum { SETTINGS_MAX = 4 };

struct row {
    struct store_s3_options options;
    const char *settings[SETTINGS_MAX]; /* "NAME=value" */
    const char *config;
    const char *result; /* or the error */
};

static void set_up(const struct row *row)
{
    clear_environment();
    write_file(".aws/config", 0644, row->config ? row->config : "");
    for (size_t i = 0; i < SETTINGS_MAX && row->settings[i]; i++) {
        char name[128];
        const char *equals = strchr(row->settings[i], '=');
        snprintf(name, sizeof(name), "%.*s", (int)(equals - row->settings[i]), row->settings[i]);
        setenv(name, equals + 1, 1);
    }
}

static void check(size_t i, const struct row *row, int rc, const char *value, const char *before)
{
    const char *text = rc ? case_err.message : value;
    if (strcmp(text, row->result) != 0)
        fail_msg("row %zu: \"%s\"", i, text);
    if (!rc)
        return;
    assert_int_equal(rc, ERR_USAGE);
    assert_string_not_equal(error_cure(&case_err), "");
    assert_string_equal(value, before);
}

static void test_region(void **state)
{
    (void)state;
    static const struct row ROWS[] = {
        {{0}, {NULL}, NULL, ""},
        {{.region = "o"}, {"AWS_REGION=r"}, "[default]\nregion = c\n", "o"},
        {{.region = ""}, {"AWS_REGION=r", "AWS_DEFAULT_REGION=d"}, NULL, "r"},
        {{0}, {"AWS_REGION=", "AWS_DEFAULT_REGION=d"}, "[default]\nregion = c\n", "d"},
        {{0}, {NULL}, "[default]\nregion = c\n[profile p]\nregion = p\n", "c"},
        {{.profile = "p"}, {NULL}, "[default]\nregion = c\n[profile p]\nregion = p\n", "p"},
        {{0}, {"AWS_PROFILE=p"}, "[default]\nregion = c\n[profile p]\nregion = p\n", "p"},
        {{.region = "a b"},
         {NULL},
         NULL,
         "the region in the policy is none: letters, digits and '-', at most 63"},
        {{0},
         {"AWS_REGION=a/b"},
         NULL,
         "the region in AWS_REGION is none: letters, digits and '-', at most 63"},
        {{0},
         {NULL},
         "[default]\nregion = x.y\n",
         "the region in the profile is none: letters, digits and '-', at most 63"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        char region[S3_REGION_MAX + 1] = "before";
        case_err = ERROR_NONE;
        set_up(&ROWS[i]);
        check(i, &ROWS[i], s3_find_region(&ROWS[i].options, region, &case_err), region, "before");
    }
}

static void test_endpoint(void **state)
{
    (void)state;
#define PROFILE "[default]\nendpoint_url = http://p\n"
    static const struct row ROWS[] = {
        {{0}, {NULL}, NULL, ""},
        {{.endpoint = "https://o"}, {"AWS_ENDPOINT_URL_S3=http://s"}, PROFILE, "https://o"},
        {{.endpoint = "https://o"},
         {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true"},
         NULL,
         "https://o"},
        {{.endpoint = ""},
         {"AWS_ENDPOINT_URL_S3=http://s", "AWS_ENDPOINT_URL=http://a"},
         PROFILE,
         "http://s"},
        {{0}, {"AWS_ENDPOINT_URL=HTTP://a:9000"}, PROFILE, "HTTP://a:9000"},
        {{0}, {"AWS_ENDPOINT_URL_STS=http://s"}, NULL, ""},
        {{0}, {NULL}, PROFILE, "http://p"},
        {{0}, {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=True"}, PROFILE, ""},
        {{0},
         {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true", "AWS_ENDPOINT_URL=http://a"},
         PROFILE,
         ""},
        {{0},
         {"AWS_ENDPOINT_URL=http://a"},
         PROFILE "ignore_configured_endpoint_urls = true\n",
         ""},
        {{.endpoint = "minio:9000"},
         {NULL},
         NULL,
         "the endpoint in the policy is no URL of at most 1023 characters"},
        {{0},
         {"AWS_ENDPOINT_URL=http://a b"},
         NULL,
         "the endpoint in AWS_ENDPOINT_URL is no URL of at most 1023 characters"},
        {{0},
         {NULL},
         "[default]\nendpoint_url = ftp://x\n",
         "the endpoint in the profile is no URL of at most 1023 characters"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        char endpoint[S3_ENDPOINT_MAX + 1] = "";
        case_err = ERROR_NONE;
        set_up(&ROWS[i]);
        check(i, &ROWS[i], s3_find_endpoint(&ROWS[i].options, endpoint, &case_err), endpoint, "");
    }
}

/* A file that can't be trusted or a profile that is not there is told here as well: with the wrong
 * endpoint, backups would go elsewhere. */
static void test_failures(void **state)
{
    (void)state;
    char region[S3_REGION_MAX + 1], endpoint[S3_ENDPOINT_MAX + 1];
    struct store_s3_options options = {.profile = "p"};
    assert_fails(s3_find_region(&options, region, &case_err), ERR_USAGE,
                 "profile \"p\" is neither");
    assert_fails(s3_find_endpoint(&options, endpoint, &case_err), ERR_USAGE, "profile \"p\"");
    write_file(".aws/config", 0644, "[default]\naws_secret_access_key = hush\n");
    assert_fails(s3_find_region(NULL, region, &case_err), ERR_PERMISSION, "has mode 0644");
    assert_fails(s3_find_endpoint(NULL, endpoint, &case_err), ERR_PERMISSION, "has mode 0644");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_region, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_endpoint, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_failures, make_home, remove_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
