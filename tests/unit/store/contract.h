/*
 * What every kind of store must do, as one table of tests. A kind's test program includes this,
 * provides contract_open() (a fresh, empty store) and contract_close(), and runs contract_tests().
 * The S3 store is proved by the same rows.
 */
#ifndef PGCAIRN_TESTS_STORE_CONTRACT_H
#define PGCAIRN_TESTS_STORE_CONTRACT_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/sha256.h"
#include "store/store_ops.h"

static struct store *contract_open(void);
static void contract_close(struct store *store);

#define assert_ok(expression)                                                          \
    do {                                                                               \
        struct error *_err = &contract_err;                                            \
        *_err = ERROR_NONE;                                                            \
        int _rc = (expression);                                                        \
        if (_rc)                                                                       \
            fail_msg("%s: %s (%s)", #expression, _err->message, error_code_name(_rc)); \
    } while (0)

static _Thread_local struct error contract_err;

static void put_text(struct store *store, const char *key, const char *text)
{
    assert_ok(store_put(store, key, text, strlen(text), 0, &contract_err));
}

static void assert_content(struct store *store, const char *key, const char *expected)
{
    struct buf buf = BUF_INIT(1 << 20);
    assert_ok(store_get(store, key, &buf, &contract_err));
    assert_string_equal(buf_text(&buf), expected);
    buf_clear(&buf);
}

/* The keys seen by a listing, one per line. */
static int gather(const struct store_object *object, void *context, struct error *err)
{
    (void)err;
    assert_int_equal(buf_addf(context, "%s\n", object->key), 0);
    return 0;
}

static void assert_listing(struct store *store, const char *prefix, bool delimiter,
                           const char *expected)
{
    struct buf keys = BUF_INIT(1 << 20);
    assert_ok(store_list(store, prefix, delimiter, gather, &keys, &contract_err));
    assert_string_equal(buf_text(&keys), expected);
    buf_clear(&keys);
}

static void contract_put_get(void **state)
{
    struct store *store = *state;
    put_text(store, "c/a.json", "first");
    assert_content(store, "c/a.json", "first");
    put_text(store, "c/a.json", "second");
    assert_content(store, "c/a.json", "second");
    put_text(store, "empty", "");
    assert_content(store, "empty", "");
    struct store_object object;
    assert_ok(store_stat(store, "c/a.json", &object, &contract_err));
    assert_int_equal(object.size, 6);
    assert_string_equal(object.key, "c/a.json");
    assert_true(llabs(object.modified_us - instant_now_us()) < 10 * US_PER_MINUTE);
}

static void contract_absent(void **state)
{
    struct store *store = *state;
    put_text(store, "c/a", "x");
    static const char *const KEYS[] = {"b", "c", "c/b", "c/a/d", "no/such/folder"};
    for (size_t i = 0; i < ARRAY_SIZE(KEYS); i++) {
        struct buf buf = BUF_INIT(100);
        struct store_object object;
        assert_int_equal(store_get(store, KEYS[i], &buf, &contract_err), ERR_NOT_FOUND);
        assert_int_equal(store_stat(store, KEYS[i], &object, &contract_err), ERR_NOT_FOUND);
        assert_ok(store_delete(store, KEYS[i], &contract_err));
        buf_clear(&buf);
    }
    assert_content(store, "c/a", "x");
}

static void contract_if_absent(void **state)
{
    struct store *store = *state;
    assert_ok(store_put(store, "c/lock", "one", 3, STORE_IF_ABSENT, &contract_err));
    assert_int_equal(store_put(store, "c/lock", "two", 3, STORE_IF_ABSENT, &contract_err),
                     ERR_EXISTS);
    assert_non_null(strstr(contract_err.message, "exists already"));
    assert_content(store, "c/lock", "one");
    assert_listing(store, "", false, "c/lock\n");
}

/* A large object in uneven pieces: size and SHA-256 of the commit are those of the bytes. */
static void contract_stream(void **state)
{
    struct store *store = *state;
    enum { SIZE = 5000000, PIECE = 77777 };
    char *data = malloc(SIZE);
    assert_non_null(data);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (char)(i * 2654435761U >> 13);
    struct store_writer *writer = NULL;
    struct store_object object;
    assert_ok(store_create(store, "c/big", 0, &writer, &contract_err));
    for (size_t at = 0; at < SIZE; at += PIECE)
        assert_ok(
            store_write(writer, data + at, at + PIECE > SIZE ? SIZE - at : PIECE, &contract_err));
    assert_listing(store, "", false, ""); /* nothing before the commit */
    assert_ok(store_commit(writer, &object, &contract_err));
    assert_int_equal(store_commit(writer, NULL, &contract_err), ERR_FAILED);
    store_writer_free(writer);
    char sha256[SHA256_HEX + 1];
    assert_ok(sha256_of(data, SIZE, sha256, &contract_err));
    assert_string_equal(object.sha256, sha256);
    assert_int_equal(object.size, SIZE);
    assert_string_equal(object.key, "c/big");

    struct buf buf = BUF_INIT(SIZE);
    assert_ok(store_get(store, "c/big", &buf, &contract_err)); /* the limit is just met */
    assert_int_equal(buf.length, SIZE);
    assert_memory_equal(buf.data, data, SIZE);
    buf_clear(&buf);
    buf = BUF_INIT(SIZE - 1);
    assert_int_equal(store_get(store, "c/big", &buf, &contract_err), ERR_LIMIT);
    buf_clear(&buf);
    free(data);
}

static void contract_known_sha256(void **state)
{
    struct store *store = *state;
    struct store_writer *writer = NULL;
    struct store_object object;
    assert_ok(store_create(store, "abc", 0, &writer, &contract_err));
    assert_ok(store_write(writer, "abc", 3, &contract_err));
    assert_ok(store_commit(writer, &object, &contract_err));
    store_writer_free(writer);
    assert_string_equal(object.sha256, /* FIPS 180-2, appendix B.1 */
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void contract_abandoned(void **state)
{
    struct store *store = *state;
    put_text(store, "c/kept", "old");
    struct store_writer *writer = NULL;
    assert_ok(store_create(store, "c/kept", 0, &writer, &contract_err));
    assert_ok(store_write(writer, "new", 3, &contract_err));
    store_writer_free(writer);
    assert_content(store, "c/kept", "old");
    assert_ok(store_create(store, "c/gone", 0, &writer, &contract_err));
    store_writer_free(writer);
    assert_listing(store, "", false, "c/kept\n");
    struct buf keys = BUF_INIT(1000);
    assert_ok(store_list_unfinished(store, INT64_MAX, gather, &keys, &contract_err));
    assert_string_equal(buf_text(&keys), "");
    buf_clear(&keys);
}

/* More than any kind of store keeps to itself before it begins to write. */
enum { UNDER_WAY_BYTES = 20 << 20 };

static void write_much(struct store_writer *writer)
{
    enum { PIECE = 1 << 20 };
    char *piece = calloc(1, PIECE);
    assert_non_null(piece);
    for (int i = 0; i < UNDER_WAY_BYTES / PIECE; i++)
        assert_ok(store_write(writer, piece, PIECE, &contract_err));
    free(piece);
}

/* A write that is under way is found by its key and age, and can be removed. */
static void contract_unfinished(void **state)
{
    struct store *store = *state;
    struct store_writer *writer = NULL;
    struct buf keys = BUF_INIT(1000);
    assert_ok(store_create(store, "c/dumps/i/data-0001.tar.zst", 0, &writer, &contract_err));
    write_much(writer);
    assert_ok(
        store_list_unfinished(store, instant_now_us() - US_PER_HOUR, gather, &keys, &contract_err));
    assert_string_equal(buf_text(&keys), "");
    assert_ok(store_list_unfinished(store, INT64_MAX, gather, &keys, &contract_err));
    assert_string_equal(buf_text(&keys), "c/dumps/i/data-0001.tar.zst\n");
    buf_reset(&keys);
    assert_ok(store_remove_unfinished(store, "c/dumps/i/other", INT64_MAX, &contract_err));
    assert_ok(store_list_unfinished(store, INT64_MAX, gather, &keys, &contract_err));
    assert_string_equal(buf_text(&keys), "c/dumps/i/data-0001.tar.zst\n");
    buf_reset(&keys);
    assert_ok(
        store_remove_unfinished(store, "c/dumps/i/data-0001.tar.zst", INT64_MAX, &contract_err));
    assert_ok(store_list_unfinished(store, INT64_MAX, gather, &keys, &contract_err));
    assert_string_equal(buf_text(&keys), "");
    assert_int_not_equal(store_commit(writer, NULL, &contract_err), 0);
    assert_listing(store, "", false, "");
    store_writer_free(writer);
    buf_clear(&keys);
}

static void contract_ranges(void **state)
{
    struct store *store = *state;
    put_text(store, "digits", "0123456789");
    static const struct {
        int64_t offset, length;
        const char *expected;
    } ROWS[] = {
        {0, STORE_READ_TO_END, "0123456789"},
        {0, 3, "012"},
        {4, 2, "45"},
        {9, STORE_READ_TO_END, "9"},
        {8, 100, "89"},
        {10, STORE_READ_TO_END, ""},
        {50, 5, ""},
        {3, 0, ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct store_reader *reader = NULL;
        char text[20] = "";
        size_t used = 0, n = 1;
        assert_ok(store_read_open(store, "digits", ROWS[i].offset, ROWS[i].length, &reader,
                                  &contract_err));
        while (n > 0) {
            assert_ok(store_read(reader, text + used, 4, &n, &contract_err));
            used += n;
        }
        store_reader_free(reader);
        assert_string_equal(text, ROWS[i].expected);
    }
    struct store_reader *reader = NULL;
    assert_int_equal(store_read_open(store, "digits", -1, 1, &reader, &contract_err), ERR_USAGE);
    assert_int_equal(store_read_open(store, "digits", 0, -2, &reader, &contract_err), ERR_USAGE);
}

static void contract_order(void **state)
{
    struct store *store = *state;
    static const char *const KEYS[] = {"a/z", "a0", "a-b",   "a.b",  "B",
                                       "a=",  "a_", "a/y/1", "b/c/d"};
    for (size_t i = 0; i < ARRAY_SIZE(KEYS); i++)
        put_text(store, KEYS[i], "x");
    assert_listing(store, "", false, "B\na-b\na.b\na/y/1\na/z\na0\na=\na_\nb/c/d\n");
    assert_listing(store, "", true, "B\na-b\na.b\na/\na0\na=\na_\nb/\n");
    assert_listing(store, "a", false, "a-b\na.b\na/y/1\na/z\na0\na=\na_\n");
    assert_listing(store, "a/", false, "a/y/1\na/z\n");
    assert_listing(store, "a/", true, "a/y/\na/z\n");
    assert_listing(store, "a/y", true, "a/y/\n");
    assert_listing(store, "b", true, "b/\n");
    assert_listing(store, "b/c/d", false, "b/c/d\n");
    assert_listing(store, "b/c/d/", false, "");
    assert_listing(store, "nothing/", false, "");
}

static int stop_at_second(const struct store_object *object, void *context, struct error *err)
{
    (void)object;
    int *count = context;
    return ++*count == 2 ? error_set(err, ERR_INTERRUPTED, "enough") : 0;
}

static void contract_stop(void **state)
{
    struct store *store = *state;
    put_text(store, "a/1", "");
    put_text(store, "a/2", "");
    put_text(store, "a/3", "");
    int count = 0;
    assert_int_equal(store_list(store, "", false, stop_at_second, &count, &contract_err),
                     ERR_INTERRUPTED);
    assert_int_equal(count, 2);
}

static void contract_delete(void **state)
{
    struct store *store = *state;
    put_text(store, "a/b/1", "x");
    put_text(store, "a/c", "x");
    assert_ok(store_delete(store, "a/b/1", &contract_err));
    assert_ok(store_delete(store, "a/b/1", &contract_err));
    assert_listing(store, "", false, "a/c\n");
    assert_listing(store, "a/", true, "a/c\n"); /* no empty folder is left to see */
    assert_ok(store_delete(store, "a/c", &contract_err));
    assert_listing(store, "", true, "");
    put_text(store, "a", "a folder's name is free again");
}

static void contract_keys(void **state)
{
    struct store *store = *state;
    char long_key[STORE_KEY_MAX + 2];
    memset(long_key, 'k', sizeof(long_key));
    long_key[STORE_KEY_MAX] = '\0';
    put_text(store, long_key, "longest");
    assert_content(store, long_key, "longest");
    long_key[STORE_KEY_MAX] = 'k';
    long_key[STORE_KEY_MAX + 1] = '\0';
    const char *const bad[] = {"",       "/a",       "a/",      "a//b",  ".",   "..",
                               "a/../b", "../a",     "a/.",     ".tmp",  "a b", "a~b",
                               "a\nb",   "\303\244", ".hidden", long_key};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct store_writer *writer = NULL;
        struct store_object object;
        assert_int_equal(store_create(store, bad[i], 0, &writer, &contract_err), ERR_USAGE);
        assert_int_equal(store_stat(store, bad[i], &object, &contract_err), ERR_USAGE);
        assert_int_equal(store_delete(store, bad[i], &contract_err), ERR_USAGE);
    }
    const char *const prefixes[] = {"/", "..", "a/../", ".tmp/", "a//"};
    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
        assert_int_equal(store_list(store, prefixes[i], false, gather, NULL, &contract_err),
                         ERR_USAGE);
}

enum { RACERS = 2, RACES = 200 };

struct racer {
    struct store *store;
    pthread_barrier_t *barrier;
    int wins, losses;
};

static void *race(void *argument)
{
    struct racer *racer = argument;
    for (int i = 0; i < RACES; i++) {
        char key[32];
        snprintf(key, sizeof(key), "race/%04d", i);
        pthread_barrier_wait(racer->barrier);
        int rc = store_put(racer->store, key, "me", 2, STORE_IF_ABSENT, NULL);
        racer->wins += rc == 0;
        racer->losses += rc == ERR_EXISTS;
    }
    return NULL;
}

static void contract_race(void **state)
{
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, RACERS);
    pthread_t threads[RACERS];
    struct racer racers[RACERS];
    for (int i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){*state, &barrier, 0, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&barrier);
    assert_int_equal(racers[0].wins + racers[1].wins, RACES);
    assert_int_equal(racers[0].losses + racers[1].losses, RACES);
}

/* Writes and deletes in folders that come and go, from several threads at once. */
static void *write_and_delete(void *argument)
{
    struct racer *racer = argument;
    for (int i = 0; i < RACES; i++) {
        char key[64];
        snprintf(key, sizeof(key), "x/y/%d", racer->wins);
        if (store_put(racer->store, key, "data", 4, 0, NULL) ||
            store_delete(racer->store, key, NULL))
            racer->losses++;
    }
    return NULL;
}

static void contract_threads(void **state)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    struct racer racers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        racers[i] = (struct racer){.store = *state, .wins = i};
        assert_int_equal(pthread_create(&threads[i], NULL, write_and_delete, &racers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(racers[i].losses, 0);
    }
    assert_listing(*state, "", false, "");
}

static int contract_setup(void **state)
{
    *state = contract_open();
    return *state ? 0 : -1;
}

static int contract_teardown(void **state)
{
    contract_close(*state);
    return 0;
}

#define CONTRACT_TEST(function) \
    cmocka_unit_test_setup_teardown(function, contract_setup, contract_teardown)

/* clang-format off */
#define CONTRACT_TESTS                    \
    CONTRACT_TEST(contract_put_get),      \
    CONTRACT_TEST(contract_absent),       \
    CONTRACT_TEST(contract_if_absent),    \
    CONTRACT_TEST(contract_stream),       \
    CONTRACT_TEST(contract_known_sha256), \
    CONTRACT_TEST(contract_abandoned),    \
    CONTRACT_TEST(contract_unfinished),   \
    CONTRACT_TEST(contract_ranges),       \
    CONTRACT_TEST(contract_order),        \
    CONTRACT_TEST(contract_stop),         \
    CONTRACT_TEST(contract_delete),       \
    CONTRACT_TEST(contract_keys),         \
    CONTRACT_TEST(contract_race),         \
    CONTRACT_TEST(contract_threads)
/* clang-format on */

#endif
