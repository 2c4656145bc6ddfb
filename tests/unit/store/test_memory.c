/* Every allocation of the search for credentials fails once: ERR_MEMORY, nothing lost. */
#include "s3_case.h"

#include "failing_memory.h"

static int find_in_profile(struct error *err)
{
    struct s3_credentials got;
    struct store_s3_options options = {.profile = "p"};
    return get_once(&options, &got, err);
}

static int find_endpoint(struct error *err)
{
    char endpoint[S3_ENDPOINT_MAX + 1];
    return s3_find_endpoint(NULL, endpoint, err);
}

static int open_web_identity(struct error *err)
{
    struct store_s3_options options = {.profile = "w"};
    _cleanup_(s3_credentials_freep) struct s3_credentials_source *source = NULL;
    return s3_credentials_open(&options, &source, err);
}

/* The answer is garbage, which is told as such when the memory was enough. */
static int ask_service(struct error *err)
{
    struct s3_credentials got;
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", service_url("/"), 1);
    int rc = get_once(NULL, &got, err);
    unsetenv("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    return rc == ERR_CONNECTION ? 0 : rc;
}

static int ask_instance(struct error *err)
{
    struct s3_credentials got;
    setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service_url(""), 1);
    int rc = get_once(NULL, &got, err);
    return rc == ERR_CONNECTION ? 0 : rc;
}

static const struct {
    const char *name;
    int (*call)(struct error *err);
} CALLS[] = {
    {"profile", find_in_profile}, {"endpoint", find_endpoint}, {"web identity", open_web_identity},
    {"container", ask_service},   {"instance", ask_instance},
};

static void test_failing_allocations(void **state)
{
    (void)state;
    struct service_row rows[SERVICE_ROWS_MAX];
    for (size_t i = 0; i < SERVICE_ROWS_MAX; i++)
        rows[i] = (struct service_row){.status = "200 OK", .body = "<>"};
    write_file(".aws/credentials", 0600,
               "[p]\naws_access_key_id = A\naws_secret_access_key = hush\n"
               "[w]\nrole_arn = arn\nweb_identity_token_file = /t\n");
    for (size_t i = 0; i < ARRAY_SIZE(CALLS); i++) {
        for (long n = 1, is_short = 1; is_short; n++) {
            struct error err = ERROR_NONE;
            service_start(rows, SERVICE_ROWS_MAX);
            memory_fails_at(n, true);
            int rc = CALLS[i].call(&err);
            is_short = memory_was_short();
            service_stop();
            if (rc != (is_short ? ERR_MEMORY : 0))
                fail_msg("%s, allocation %ld: %d %s", CALLS[i].name, n, rc, err.message);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_failing_allocations, make_home, remove_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
