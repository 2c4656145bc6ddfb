/* The s3:// store against a real service, which PGCAIRN_TEST_S3_* name: the contract, and what is a
 * bucket's own. Without them only what needs no service runs, and the rest is skipped, in words. */
#include "contract.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include "base/file.h"
#include "remove_tree.h"

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

/* -- ranges of more than one piece ---------------------------------------------------------------
 */

enum { PIECE = 8 << 20, LARGE = 2 * PIECE + 12345 };

static char byte_at(int64_t offset)
{
    return (char)((uint64_t)offset * UINT64_C(2862933555777941757) >> 40);
}

static void write_pattern(struct store *store, const char *key)
{
    struct store_writer *writer = NULL;
    char *data = malloc(LARGE);
    assert_non_null(data);
    for (int64_t i = 0; i < LARGE; i++)
        data[i] = byte_at(i);
    assert_ok(store_create(store, key, 0, &writer, &contract_err));
    assert_ok(store_write(writer, data, LARGE, &contract_err));
    assert_ok(store_commit(writer, NULL, &contract_err));
    store_writer_free(writer);
    free(data);
}

static void assert_range(struct store *store, const char *key, int64_t offset, int64_t length)
{
    enum { STEP = 1000003 };
    struct store_reader *reader = NULL;
    char *data = malloc(STEP);
    int64_t at = offset, end = length < 0 || length > LARGE - offset ? LARGE : offset + length;
    size_t n = 1;
    assert_non_null(data);
    assert_ok(store_read_open(store, key, offset, length, &reader, &contract_err));
    while (n > 0) {
        assert_ok(store_read(reader, data, STEP, &n, &contract_err));
        for (size_t i = 0; i < n; i++, at++)
            if (data[i] != byte_at(at))
                fail_msg("range %lld+%lld: byte %lld is another", (long long)offset,
                         (long long)length, (long long)at);
    }
    store_reader_free(reader);
    if (at != (end > offset ? end : offset))
        fail_msg("range %lld+%lld ends at %lld", (long long)offset, (long long)length,
                 (long long)at);
    free(data);
}

static void test_ranges_of_pieces(void **state)
{
    static const int64_t ROWS[][2] = {
        {0, -1},        {0, PIECE},          {0, PIECE + 1},  {PIECE - 1, 2},   {PIECE, PIECE},
        {1, 2 * PIECE}, {2 * PIECE - 1, -1}, {2 * PIECE, -1}, {LARGE - 1, 100}, {LARGE, -1},
        {5, LARGE - 6}, {PIECE + 7, 0},      {3, INT64_MAX},
    };
    write_pattern(*state, "c/pieces");
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++)
        assert_range(*state, "c/pieces", ROWS[i][0], ROWS[i][1]);
}

/* A reader that is not read to its end gives back what it asked for ahead. */
static void test_abandoned_reader(void **state)
{
    struct store_reader *reader = NULL;
    char byte;
    size_t n;
    write_pattern(*state, "c/pieces");
    assert_ok(store_read_open(*state, "c/pieces", 0, STORE_READ_TO_END, &reader, &contract_err));
    assert_ok(store_read(reader, &byte, 1, &n, &contract_err));
    assert_int_equal(n, 1);
    store_reader_free(reader);
}

/* -- listings, against the file store ------------------------------------------------------------
 */

enum { KEYS = 2000, MANY = 1600 /* more than one batch */ };

static uint32_t next_number(uint32_t *number)
{
    return *number = *number * 1664525U + 1013904223U, *number >> 16;
}

/* Names that sort around '/': '-' and '.' before it, '0' and '=' behind it. */
static void random_key(uint32_t *number, char key[STORE_KEY_MAX + 1])
{
    static const char *const NAMES[] = {"a", "a-", "a.b", "a0", "a=", "ab", "b", "z"};
    int depth = (int)(next_number(number) % 5);
    size_t used = 0;
    for (int i = 0; i < depth; i++)
        used += (size_t)snprintf(key + used, STORE_KEY_MAX - used, "%s/",
                                 NAMES[next_number(number) % ARRAY_SIZE(NAMES)]);
    bool is_crowded = next_number(number) % 2 == 0;
    if (is_crowded) /* one folder that is more than a page by itself */
        used = (size_t)snprintf(key, STORE_KEY_MAX, "b/crowd/");
    snprintf(key + used, STORE_KEY_MAX - used, "%s%u",
             NAMES[next_number(number) % ARRAY_SIZE(NAMES)], next_number(number) % 3000);
}

static void assert_same_listing(struct store *store, struct store *files, const char *prefix,
                                bool delimiter)
{
    struct buf expected = BUF_INIT(4 << 20), seen = BUF_INIT(4 << 20);
    assert_ok(store_list(files, prefix, delimiter, gather, &expected, &contract_err));
    assert_ok(store_list(store, prefix, delimiter, gather, &seen, &contract_err));
    if (strcmp(buf_text(&expected), buf_text(&seen)) != 0)
        fail_msg("the listings of \"%s\" differ", prefix);
    buf_clear(&expected);
    buf_clear(&seen);
}

static size_t put_random_keys(struct store *store, struct store *files, char **keys)
{
    uint32_t number = 7;
    size_t count = 0;
    for (int i = 0; i < KEYS; i++) {
        char key[STORE_KEY_MAX + 1];
        random_key(&number, key);
        if (store_put(files, key, "", 0, STORE_IF_ABSENT, &contract_err))
            continue; /* it was there, or is the folder of others */
        assert_ok(store_put(store, key, "", 0, 0, &contract_err));
        keys[count++] = strdup(key);
    }
    return count;
}

static int refuse_nothing(const char *key, const struct error *reason, void *context,
                          struct error *err)
{
    (void)context;
    (void)err;
    fail_msg("%s was not deleted: %s", key, reason->message);
    return 0;
}

static void test_same_order_as_files(void **state)
{
    static const char *const PREFIXES[] = {"",  "a",  "a/",       "a-", "a./",
                                           "b", "b/", "b/crowd/", "z/a"};
    char folder[] = "/tmp/pgcairn-test-XXXXXX", where[64];
    struct store *files = NULL;
    char **keys = calloc(KEYS, sizeof(keys[0]));
    assert_non_null(keys);
    assert_non_null(mkdtemp(folder));
    snprintf(where, sizeof(where), "file://%s/r", folder);
    assert_ok(store_open(where, NULL, &files, &contract_err));
    size_t count = put_random_keys(*state, files, keys);
    assert_true(count > MANY);
    for (size_t i = 0; i < 2 * ARRAY_SIZE(PREFIXES); i++)
        assert_same_listing(*state, files, PREFIXES[i / 2], i % 2);
    assert_ok(store_delete_many(*state, keys, MANY, refuse_nothing, NULL, &contract_err));
    assert_ok(store_delete_many(files, keys, MANY, refuse_nothing, NULL, &contract_err));
    assert_same_listing(*state, files, "", false);
    assert_ok(
        store_delete_many(*state, keys + MANY, count - MANY, refuse_nothing, NULL, &contract_err));
    assert_ok(
        store_delete_many(files, keys + MANY, count - MANY, refuse_nothing, NULL, &contract_err));
    assert_same_listing(*state, files, "", false);
    for (size_t i = 0; i < count; i++)
        free(keys[i]);
    free(keys);
    store_free(files);
    assert_int_equal(remove_tree(folder), 0);
}

/* -- stop ----------------------------------------------------------------------------------------
 */

static void *stop_soon(void *context)
{
    usleep(200000);
    store_stop(context);
    return NULL;
}

/* Somebody listens, and never says a word. */
static void test_stop(void **state)
{
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    char endpoint[64];
    snprintf(endpoint, sizeof(endpoint), "http://127.0.0.1:%d", ntohs(address.sin_port));
    struct store_options options = {.s3 = {
                                        .region = "us-east-1",
                                        .endpoint = endpoint,
                                        .access_key_id = "key",
                                        .secret_access_key = "secret",
                                    }};
    struct store *store = NULL;
    struct store_object object;
    pthread_t thread;
    assert_ok(store_open("s3://bucket/prefix", &options, &store, &contract_err));
    assert_int_equal(pthread_create(&thread, NULL, stop_soon, store), 0);
    int64_t began_us = instant_monotonic_us();
    assert_int_equal(store_stat(store, "k", &object, &contract_err), ERR_INTERRUPTED);
    assert_int_equal(store_put(store, "k", "x", 1, 0, &contract_err), ERR_INTERRUPTED);
    assert_true(instant_monotonic_us() - began_us < 2 * US_PER_SECOND);
    pthread_join(thread, NULL);
    store_free(store);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest alone[] = {cmocka_unit_test(test_stop)};
    const struct CMUnitTest tests[] = {
        CONTRACT_TESTS,
        CONTRACT_TEST(test_ranges_of_pieces),
        CONTRACT_TEST(test_abandoned_reader),
        CONTRACT_TEST(test_same_order_as_files),
    };
    int failed = cmocka_run_group_tests_name("s3, without a service", alone, NULL, NULL);
    if (!failed && !*setting("ENDPOINT")) {
        fprintf(stderr, "skipped: PGCAIRN_TEST_S3_ENDPOINT names no service\n");
        return 77;
    }
    return failed ? failed : cmocka_run_group_tests_name("s3", tests, NULL, NULL);
}
