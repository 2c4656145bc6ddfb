/* The s3:// store against a real service, which PGCAIRN_TEST_S3_* name: the contract, and what is a
 * bucket's own. Without them everything is skipped, in words. */
#include "contract.h"

#include "base/file.h"

static char url[256];

static const char *setting(const char *name)
{
    char full[64];
    snprintf(full, sizeof(full), "PGCAIRN_TEST_S3_%s", name);
    const char *value = getenv(full);
    return value ? value : "";
}

static void fill_options(struct store_options *options)
{
    *options = (struct store_options){.s3 = {
                                          .region = setting("REGION"),
                                          .endpoint = setting("ENDPOINT"),
                                          .access_key_id = setting("ACCESS_KEY_ID"),
                                          .secret_access_key = setting("SECRET_ACCESS_KEY"),
                                          .ca_file = setting("CA_FILE"),
                                          .retry_us = 3 * US_PER_SECOND,
                                      }};
}

static struct store *contract_open(void)
{
    struct store *store = NULL;
    struct store_options options;
    char name[13];
    fill_options(&options);
    if (file_random_name(name, sizeof(name) - 1, &contract_err))
        return NULL;
    snprintf(url, sizeof(url), "s3://%s/contract-%s", setting("BUCKET"), name);
    return store_open(url, &options, &store, &contract_err) ? NULL : store;
}

static int remove_object(const struct store_object *object, void *context, struct error *err)
{
    return store_delete(context, object->key, err);
}

static void contract_close(struct store *store)
{
    assert_ok(store_list(store, "", false, remove_object, store, &contract_err));
    store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {CONTRACT_TESTS};
    if (!*setting("ENDPOINT")) {
        fprintf(stderr, "skipped: PGCAIRN_TEST_S3_ENDPOINT names no service\n");
        return 77;
    }
    return cmocka_run_group_tests_name("s3", tests, NULL, NULL);
}
