/* The shared files of the AWS tools: their form, their modes, what one profile says. */
#include "s3_case.h"

#include "store/s3_profile.h"

static void write_both(const char *credentials, const char *config)
{
    unlink(home_path(".aws/credentials"));
    unlink(home_path(".aws/config"));
    if (credentials)
        write_file(".aws/credentials", 0600, credentials);
    if (config)
        write_file(".aws/config", 0644, config);
}

static void test_values(void **state)
{
    (void)state;
    static const struct {
        const char *name, *credentials, *config, *key, *value;
    } ROWS[] = {
        {NULL, NULL, NULL, "region", NULL},
        {NULL, "", "", "region", NULL},
        {NULL, NULL, "[default]\nregion = a\n", "region", "a"},
        {NULL, NULL, "[default]\nregion=a", "region", "a"},
        {NULL, NULL, "\xEF\xBB\xBF[default]\r\n\r\n  Region =\ta \r\n", "region", "a"},
        {NULL, NULL, "# x\n; y\n  # z\n[ default ] # w\nregion = a # b\n", "region", "a"},
        {NULL, NULL, "[default]\nregion = a#b;c\n", "region", "a#b;c"},
        {NULL, NULL, "[default]\nregion = a=b\n", "region", "a=b"},
        {NULL, NULL, "[default]\nregion =\n", "region", NULL},
        {NULL, NULL, "[default]\nregion = a\nregion = b\n", "region", "b"},
        {NULL, NULL, "[default]\nx = y\n[profile q]\nregion = b\n[default]\nregion = a\n", "region",
         "a"},
        {NULL, NULL, "[default]\nregion = a\n[default]\nregion = b\n", "region", "b"},
        /* What belongs to another setting is none of the profile's. */
        {NULL, NULL, "[default]\ns3 =\n  region = b\n\n  x = y\nregion = a\n", "region", "a"},
        {NULL, NULL, "[default]\nregion = a\ns3 =\n\tregion = b\n", "region", "a"},
        {NULL, NULL, "[default]\nnote = x\n  goes on\nregion = a\n", "region", "a"},
        {NULL, NULL, "[default]\n  output = x\n  region = a\n", "region", "a"},
        {NULL, NULL, "[default]\n  s3 =\n    region = b\n  region = a\n", "region", "a"},
        /* Names of sections. */
        {NULL, NULL, "[default]\nregion = a\n[profile default]\nregion = b\n", "region", "b"},
        {NULL, NULL, "[profile default]\nregion = b\n[default]\nregion = a\n", "region", "b"},
        {"p", NULL, "[profile p]\nregion = a\n", "region", "a"},
        {"p", NULL, "[ profile\t p ]\nregion = a\n", "region", "a"},
        {"p q", NULL, "[profile \"p q\"]\nregion = a\n", "region", "a"},
        {"p q", NULL, "[profile 'p q']\nregion = a\n", "region", "a"},
        {"p", NULL, "[p]\nregion = b\n[profile p]\nregion = a\n", "region", "a"},
        {"p", NULL, "[default]\nregion = b\n[profile p]\nx = y\n", "region", NULL},
        {"p", "[p]\nregion = a\n", "[profile p]\nregion = b\n", "region", "a"},
        {"p", "[p]\nx = y\n", "[profile p]\nregion = b\n", "region", "b"},
        {"p", "[p]\n[profile p]\nregion = b\n", NULL, "region", NULL},
        {"P", "[p]\nregion = b\n[P]\nregion = a\n", NULL, "region", "a"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct s3_profile profile;
        write_both(ROWS[i].credentials, ROWS[i].config);
        assert_ok(s3_profile_read(ROWS[i].name, &profile, &case_err));
        const char *value = s3_profile_get(&profile, ROWS[i].key);
        if (!value != !ROWS[i].value || (value && strcmp(value, ROWS[i].value) != 0))
            fail_msg("row %zu: \"%s\"", i, value ? value : "(none)");
        s3_profile_clear(&profile);
    }
}

static void test_endpoints(void **state)
{
    (void)state;
    static const struct {
        const char *config, *s3, *sts;
    } ROWS[] = {
        {"[default]\n", NULL, NULL},
        {"[default]\nendpoint_url = http://a\n", "http://a", "http://a"},
        {"[default]\nservices = x\nendpoint_url = http://a\n"
         "[services x]\ns3 =\n  endpoint_url = http://b\n",
         "http://b", "http://a"},
        {"[services x]\ndynamodb =\n  endpoint_url = http://c\nS3 =\n  Endpoint_URL = http://b\n"
         "[services y]\ns3 =\n  endpoint_url = http://d\n[default]\nservices = x\n",
         "http://b", NULL},
        {"[default]\nendpoint_url = http://a\n[services x]\ns3 =\n  endpoint_url = http://b\n",
         "http://a", "http://a"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct s3_profile profile;
        write_both(NULL, ROWS[i].config);
        assert_ok(s3_profile_read(NULL, &profile, &case_err));
        const char *s3 = s3_profile_endpoint(&profile, "s3");
        const char *sts = s3_profile_endpoint(&profile, "sts");
        if (strcmp(s3 ? s3 : "", ROWS[i].s3 ? ROWS[i].s3 : "") != 0 ||
            strcmp(sts ? sts : "", ROWS[i].sts ? ROWS[i].sts : "") != 0)
            fail_msg("row %zu: %s, %s", i, s3, sts);
        s3_profile_clear(&profile);
    }
}

static void test_malformed(void **state)
{
    (void)state;
    static const struct {
        const char *config, *message;
    } ROWS[] = {
        {"[default]\n\nSECRET\n", "/.aws/config:3: no \"=\""},
        {"[default]\n= hush\n", "/.aws/config:2: no name before the \"=\""},
        {"[default\n", "/.aws/config:1: a section without \"]\""},
        {"[default] hush\n", "/.aws/config:1: text behind the \"]\" of a section"},
        {"# x\nregion = a\n", "/.aws/config:2: a setting before the first section"},
        {"[default]\nx\n", "/.aws/config:2: no \"=\""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct s3_profile profile;
        write_both(NULL, ROWS[i].config);
        assert_fails(s3_profile_read(NULL, &profile, &case_err), ERR_USAGE, ROWS[i].message);
        s3_profile_clear(&profile);
    }
}

static void test_not_text(void **state)
{
    (void)state;
    struct s3_profile profile;
    write_both(NULL, NULL);
    int fd = open(home_path(".aws/config"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "[default]\0x = y\n", 16), 16);
    assert_fails(s3_profile_read(NULL, &profile, &case_err), ERR_USAGE, "holds a NUL byte");
    s3_profile_clear(&profile);
    assert_int_equal(ftruncate(fd, S3_PROFILE_FILE_MAX + 1), 0);
    close(fd);
    assert_fails(s3_profile_read(NULL, &profile, &case_err), ERR_LIMIT,
                 "is larger than 1048576 bytes");
    s3_profile_clear(&profile);
    unlink(home_path(".aws/config"));
    assert_int_equal(mkdir(home_path(".aws/config"), 0700), 0);
    assert_fails(s3_profile_read(NULL, &profile, &case_err), ERR_IO, "Is a directory");
    s3_profile_clear(&profile);
}

static void test_modes(void **state)
{
    (void)state;
    static const char KEYS[] = "[default]\naws_access_key_id = A\naws_secret_access_key = hush\n";
    static const struct {
        const char *file, *text;
        mode_t mode;
        bool is_good;
    } ROWS[] = {
        {".aws/credentials", KEYS, 0600, true},
        {".aws/credentials", KEYS, 0400, true},
        {".aws/credentials", KEYS, 0640, false},
        {".aws/credentials", KEYS, 0604, false},
        {".aws/credentials", KEYS, 0620, false},
        {".aws/credentials", KEYS, 0644, false},
        {".aws/credentials", "# nothing\n", 0644, false}, /* it is made to hold secrets */
        {".aws/credentials", "", 0644, true},
        {".aws/config", KEYS, 0600, true},
        {".aws/config", KEYS, 0644, false},
        {".aws/config", "[profile x]\naws_session_token = hush\n", 0644, false},
        {".aws/config", "[default]\nregion = a\n", 0644, true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct s3_profile profile;
        char message[256];
        write_both(NULL, NULL);
        write_file(ROWS[i].file, ROWS[i].mode, ROWS[i].text);
        int rc = s3_profile_read(NULL, &profile, &case_err);
        if (rc != (ROWS[i].is_good ? 0 : ERR_PERMISSION))
            fail_msg("row %zu: %d %s", i, rc, case_err.message);
        s3_profile_clear(&profile);
        if (ROWS[i].is_good)
            continue;
        snprintf(message, sizeof(message),
                 "\"%s\" holds secrets and has mode %04o: others than its owner may use it",
                 home_path(ROWS[i].file), ROWS[i].mode);
        assert_string_equal(case_err.message, message);
        snprintf(message, sizeof(message), "chmod 600 %s", home_path(ROWS[i].file));
        assert_string_equal(case_err.hint, message);
    }
}

/* A link says nothing: the file behind it counts. */
static void test_link(void **state)
{
    (void)state;
    struct s3_profile profile;
    write_both(NULL, NULL);
    write_file("real", 0644, "[default]\naws_access_key_id = A\n");
    assert_int_equal(symlink(home_path("real"), home_path(".aws/credentials")), 0);
    assert_fails(s3_profile_read(NULL, &profile, &case_err), ERR_PERMISSION, "has mode 0644");
    s3_profile_clear(&profile);
}

static void test_paths(void **state)
{
    (void)state;
    struct s3_profile profile;
    write_both("[default]\nregion = a\n", NULL);
    write_file("other", 0600, "[default]\nregion = b\n");
    setenv("AWS_SHARED_CREDENTIALS_FILE", "~/other", 1);
    assert_ok(s3_profile_read(NULL, &profile, &case_err));
    assert_string_equal(s3_profile_get(&profile, "region"), "b");
    s3_profile_clear(&profile);
    unsetenv("AWS_SHARED_CREDENTIALS_FILE");
    setenv("AWS_CONFIG_FILE", "/dev/null", 1);
    assert_ok(s3_profile_read(NULL, &profile, &case_err));
    assert_string_equal(s3_profile_get(&profile, "region"), "a");
    s3_profile_clear(&profile);
}

static void test_named(void **state)
{
    (void)state;
    struct s3_profile profile;
    write_both("[a]\nregion = a\n", "[b]\nregion = b\n[profile c]\nregion = c\n");
    setenv("AWS_PROFILE", "c", 1);
    assert_ok(s3_profile_read("", &profile, &case_err));
    assert_string_equal(s3_profile_get(&profile, "region"), "c");
    s3_profile_clear(&profile);
    assert_ok(s3_profile_read("a", &profile, &case_err));
    assert_string_equal(s3_profile_get(&profile, "region"), "a");
    s3_profile_clear(&profile);
    assert_fails(s3_profile_read("b", &profile, &case_err), ERR_USAGE, "profile \"b\" is neither");
    assert_non_null(strstr(case_err.hint, "write [profile b] in place of [b]"));
    s3_profile_clear(&profile);
    write_both(NULL, NULL);
    assert_fails(s3_profile_read("d", &profile, &case_err), ERR_USAGE,
                 "/.aws/config\" (which is not there)");
    s3_profile_clear(&profile);
}

/* As root every folder may be entered, so another user looks. */
static void test_home_of_another(void **state)
{
    (void)state;
    struct s3_profile profile;
    if (geteuid() != 0)
        skip();
    write_both("[default]\nregion = a\n", NULL);
    assert_int_equal(seteuid(65534), 0);
    assert_ok(s3_profile_read(NULL, &profile, &case_err));
    assert_true(profile.credentials.is_absent);
    s3_profile_clear(&profile);
    setenv("AWS_SHARED_CREDENTIALS_FILE", home_path(".aws/credentials"), 1);
    assert_fails(s3_profile_read(NULL, &profile, &case_err), ERR_PERMISSION, "Permission denied");
    s3_profile_clear(&profile);
    assert_int_equal(seteuid(0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_values, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_endpoints, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_malformed, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_not_text, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_modes, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_link, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_paths, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_named, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_home_of_another, make_home, remove_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
