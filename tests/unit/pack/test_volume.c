/* Volumes: what goes in comes out, GNU tar and zstd can read it, and no damage goes unseen. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/child.h"
#include "base/file.h"
#include "pack/volume.h"
#include "remove_tree.h"

#define KEY "c/data-0001.tar.zst"

static char root[64];
static struct error test_err;

#define assert_ok(expression)                                                             \
    do {                                                                                  \
        test_err = ERROR_NONE;                                                            \
        int _rc = (expression);                                                           \
        if (_rc)                                                                          \
            fail_msg("%s: %s (%s)", #expression, test_err.message, error_code_name(_rc)); \
    } while (0)

static const struct volume_options OPTIONS = {.level = 1,
                                              .time_us = INT64_C(1795226400) * US_PER_SECOND};

static int setup(void **state)
{
    struct store *store = NULL;
    char url[128];
    snprintf(root, sizeof(root), "/tmp/pgcairn-pack-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    snprintf(url, sizeof(url), "file://%s/r", root);
    *state = store_open(url, NULL, &store, &test_err) ? NULL : store;
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    store_free(*state);
    return remove_tree(root);
}

static const char *stored_path(void)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/r/%s", root, KEY);
    return path;
}

static uint64_t next_random(uint64_t *random)
{
    *random = *random * 6364136223846793005U + 1442695040888963407U;
    return *random >> 33;
}

/* Content that tells its member and place; half compressible. */
static char *make_content(size_t size, uint64_t seed)
{
    char *data = malloc(size + 1);
    assert_non_null(data);
    for (size_t i = 0; i < size; i++)
        data[i] = (char)(i / 64 % 2 ? next_random(&seed) : i + seed);
    return data;
}

struct member {
    const char *name;
    size_t size;
};

static const struct member MEMBERS[] = {
    {"16385/000001.copy", 0},
    {"16385/000002.copy", 1},
    {"16385/000003.copy", 511},
    {"16385/000004.copy", 512},
    {"16385/000005.copy", 513},
    {"16385/000006.copy", 5000000},
    {"16385/000007.copy", (8 << 20) + 7},
    {"PG_VERSION", 3},
    {"pg_wal/000000010000000000000001", 65536},
    {"with space and 'quotes'", 10},
    {"a/name/of/more/than/a/hundred/characters/a/name/of/more/than/a/hundred/characters/"
     "a/name/of/more/than/a/hundred/characters/x",
     100},
    {"one-segment-of-more-than-a-hundred-characters-one-segment-of-more-than-a-hundred-characters-"
     "one-segment-of-more-than-a-hundred-characters",
     1},
    {"the/last", 0},
};

static struct store_object write_members(struct store *store, const struct member *members,
                                         size_t count, const struct volume_options *options)
{
    struct volume *volume = NULL;
    struct store_object object;
    int64_t plain = 0;
    assert_ok(volume_create(store, KEY, VOLUME_TAR, options, &volume, &test_err));
    for (size_t i = 0; i < count; i++) {
        _cleanup_(freep) char *data = make_content(members[i].size, i);
        if (i % 2) {
            assert_ok(volume_begin(volume, members[i].name, (int64_t)members[i].size, &test_err));
            for (size_t at = 0; at < members[i].size;) {
                size_t piece = members[i].size - at < 77777 ? members[i].size - at : 77777;
                assert_ok(volume_data(volume, data + at, piece, &test_err));
                at += piece;
            }
        } else {
            assert_ok(volume_add(volume, members[i].name, data, members[i].size, &test_err));
        }
        plain += (int64_t)members[i].size;
        assert_int_equal(volume_plain(volume), plain);
    }
    assert_ok(volume_commit(volume, &object, &test_err));
    assert_int_equal(volume_stored(volume), object.size);
    volume_free(volume);
    return object;
}

/* Reads the member that was just reached to its end. */
static void assert_member(struct volume_reader *reader, size_t size, uint64_t seed)
{
    _cleanup_(freep) char *expected = make_content(size, seed);
    size_t at = 0, length = 0;
    const void *data;
    do {
        assert_ok(volume_read(reader, &data, &length, &test_err));
        assert_true(length <= size - at);
        if (length)
            assert_memory_equal(data, expected + at, length);
        at += length;
    } while (length > 0);
    assert_int_equal(at, size);
}

static void assert_members(struct store *store, const struct store_object *object,
                           const struct member *members, size_t count)
{
    struct volume_reader *reader = NULL;
    const char *name;
    int64_t size;
    assert_ok(volume_read_open(store, KEY, VOLUME_TAR, object, &reader, &test_err));
    for (size_t i = 0; i < count; i++) {
        assert_ok(volume_next(reader, &name, &size, &test_err));
        assert_string_equal(name, members[i].name);
        assert_int_equal(size, members[i].size);
        assert_member(reader, members[i].size, i);
    }
    assert_ok(volume_next(reader, &name, &size, &test_err));
    assert_null(name);
    assert_ok(volume_read_finish(reader, &test_err));
    assert_int_equal(volume_read_stored(reader), object->size);
    volume_reader_free(reader);
}

static void test_round_trip(void **state)
{
    for (int threads = 0; threads <= 2; threads += 2) {
        struct volume_options options = OPTIONS;
        options.threads = threads;
        struct store_object object = write_members(*state, MEMBERS, ARRAY_SIZE(MEMBERS), &options);
        assert_members(*state, &object, MEMBERS, ARRAY_SIZE(MEMBERS));
    }
}

/* Members that are passed over, and a volume without any. */
static void test_skipping(void **state)
{
    struct volume_reader *reader = NULL;
    struct store_object object = write_members(*state, MEMBERS, ARRAY_SIZE(MEMBERS), &OPTIONS);
    const char *name;
    int64_t size;
    assert_ok(volume_read_open(*state, KEY, VOLUME_TAR, &object, &reader, &test_err));
    do
        assert_ok(volume_next(reader, &name, &size, &test_err));
    while (strcmp(name, "pg_wal/000000010000000000000001") != 0);
    assert_member(reader, (size_t)size, 8);
    assert_ok(volume_read_finish(reader, &test_err)); /* reads the rest by itself */
    volume_reader_free(reader);

    object = write_members(*state, MEMBERS, 0, &OPTIONS);
    assert_members(*state, &object, MEMBERS, 0);
}

static void test_many_members(void **state)
{
    enum { COUNT = 3000 };
    static char names[COUNT][24];
    static struct member members[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof(names[i]), "%zu/%06zu.copy", 16384 + i / 10, i % 10 + 1);
        members[i] = (struct member){names[i], i % 97};
    }
    struct store_object object = write_members(*state, members, COUNT, &OPTIONS);
    assert_members(*state, &object, members, COUNT);
}

/* No lock-in: the tools that restore.sh uses read every byte of it. */
static void test_other_programs(void **state)
{
    struct child_spec list = {
        .argv = (const char *const[]){"bash", "-ec", "set -o pipefail; zstd -dc \"$1\" | tar -tf -",
                                      "sh", stored_path(), NULL}};
    struct child_spec extract = {
        .argv = (const char *const[]){"sh", "-ec",
                                      "zstd -tq \"$1\"; zstd -dc \"$1\" | tar -C \"$2\" -xf -",
                                      "sh", stored_path(), root, NULL}};
    struct buf output = BUF_INIT(100000), expected = BUF_INIT(100000);
    write_members(*state, MEMBERS, ARRAY_SIZE(MEMBERS), &OPTIONS);
    assert_ok(child_run(&list, &output, &test_err));
    for (size_t i = 0; i < ARRAY_SIZE(MEMBERS); i++)
        buf_addf(&expected, "%s\n", MEMBERS[i].name);
    assert_string_equal(buf_text(&output), buf_text(&expected));
    assert_ok(child_run(&extract, NULL, &test_err));
    for (size_t i = 0; i < ARRAY_SIZE(MEMBERS); i++) {
        struct buf found = BUF_INIT(16 << 20);
        struct stat st;
        char path[512];
        _cleanup_(freep) char *data = make_content(MEMBERS[i].size, i);
        snprintf(path, sizeof(path), "%s/%s", root, MEMBERS[i].name);
        assert_ok(file_read(path, &found, &test_err));
        assert_int_equal(found.length, MEMBERS[i].size);
        assert_memory_equal(buf_text(&found), data, MEMBERS[i].size);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(st.st_mtime, OPTIONS.time_us / US_PER_SECOND);
        buf_clear(&found);
    }
    buf_clear(&output);
    buf_clear(&expected);
}

static void test_streams(void **state)
{
    static const size_t SIZES[] = {0, 1, 1000, 300000, (8 << 20) + 1};
    for (size_t i = 0; i < 2 * ARRAY_SIZE(SIZES); i++) {
        enum volume_kind kind = i % 2 ? VOLUME_ZSTD : VOLUME_PLAIN;
        size_t size = SIZES[i / 2];
        struct volume *volume = NULL;
        struct volume_reader *reader = NULL;
        struct store_object object;
        const char *name;
        int64_t told;
        _cleanup_(freep) char *data = make_content(size, 9);
        assert_ok(volume_create(*state, KEY, kind, &OPTIONS, &volume, &test_err));
        assert_ok(volume_data(volume, data, size / 3, &test_err));
        assert_ok(volume_data(volume, data + size / 3, size - size / 3, &test_err));
        assert_int_equal(volume_plain(volume), size);
        assert_ok(volume_commit(volume, &object, &test_err));
        volume_free(volume);
        if (kind == VOLUME_PLAIN)
            assert_int_equal(object.size, size);
        assert_ok(volume_read_open(*state, KEY, kind, &object, &reader, &test_err));
        assert_ok(volume_next(reader, &name, &told, &test_err));
        assert_string_equal(name, "data");
        assert_int_equal(told, -1);
        assert_member(reader, size, 9);
        assert_ok(volume_next(reader, &name, &told, &test_err));
        assert_null(name);
        assert_ok(volume_read_finish(reader, &test_err));
        volume_reader_free(reader);
    }
}

static int count_object(const struct store_object *object, void *context, struct error *err)
{
    (void)object;
    (void)err;
    ++*(int *)context;
    return 0;
}

static void assert_store_is_empty(struct store *store)
{
    int count = 0;
    assert_ok(store_list(store, "", false, count_object, &count, &test_err));
    assert_ok(store_list_unfinished(store, INT64_MAX, count_object, &count, &test_err));
    assert_int_equal(count, 0);
}

static void test_abandoned(void **state)
{
    static const enum volume_kind KINDS[] = {VOLUME_TAR, VOLUME_ZSTD, VOLUME_PLAIN};
    _cleanup_(freep) char *data = make_content(3000000, 1);
    for (size_t i = 0; i < 2 * ARRAY_SIZE(KINDS); i++) {
        struct volume *volume = NULL;
        assert_ok(volume_create(*state, KEY, KINDS[i / 2], &OPTIONS, &volume, &test_err));
        if (i % 2 && KINDS[i / 2] == VOLUME_TAR)
            assert_ok(volume_begin(volume, "m", 3000001, &test_err));
        if (i % 2)
            assert_ok(volume_data(volume, data, 3000000, &test_err));
        volume_free(volume);
        assert_store_is_empty(*state);
    }
    assert_null(volume_free(NULL));
    assert_null(volume_reader_free(NULL));
}

/* A member gets just the bytes that were told: too few would be filled up with zeros. */
static void test_member_sizes(void **state)
{
    static const struct {
        size_t told, given;
    } ROWS[] = {{10, 9}, {10, 0}, {10, 11}, {0, 1}, {1000000, 999999}, {1000000, 1000001}};
    _cleanup_(freep) char *data = make_content(1000001, 1);
    for (size_t i = 0; i < 2 * ARRAY_SIZE(ROWS); i++) {
        struct volume *volume = NULL;
        struct store_object object;
        struct error err = ERROR_NONE;
        size_t given = ROWS[i / 2].given;
        assert_ok(volume_create(*state, KEY, VOLUME_TAR, &OPTIONS, &volume, &test_err));
        assert_ok(volume_begin(volume, "m", (int64_t)ROWS[i / 2].told, &test_err));
        int rc = volume_data(volume, data, given, &err);
        if (!rc && i % 2) /* seen by the next member, or by the commit */
            rc = volume_begin(volume, "n", 0, &err);
        if (!rc)
            rc = volume_commit(volume, &object, &err);
        if (rc != ERR_FAILED || !strstr(err.message, "\"m\""))
            fail_msg("%zu bytes of %zu: %s", given, ROWS[i / 2].told, err.message);
        volume_free(volume);
        assert_store_is_empty(*state);
    }
}

/* Reads all of it, as a restore does; the first error. */
static int read_all(struct store *store, enum volume_kind kind, const struct store_object *object,
                    struct error *err)
{
    _cleanup_(volume_reader_freep) struct volume_reader *reader = NULL;
    const char *name = NULL;
    const void *data;
    size_t length;
    int64_t size;
    int rc = volume_read_open(store, KEY, kind, object, &reader, err);
    while (!rc && !(rc = volume_next(reader, &name, &size, err)) && name)
        do
            rc = volume_read(reader, &data, &length, err);
        while (!rc && length > 0);
    return rc ? rc : volume_read_finish(reader, err);
}

static void store_bytes(const void *data, size_t length)
{
    int fd = open(stored_path(), O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_ok(file_write_all(fd, "volume", data, length, &test_err));
    close(fd);
}

static void expect_damage(struct store *store, enum volume_kind kind,
                          const struct store_object *object, const char *what, size_t at)
{
    struct error err = ERROR_NONE;
    int rc = read_all(store, kind, object, &err);
    if (rc != ERR_CORRUPT || !strstr(err.message, KEY))
        fail_msg("%s at %zu of %lld: %s \"%s\"", what, at, (long long)object->size,
                 error_code_name(rc), err.message);
}

/* One volume with each kind of damage at these places; whole again at the end. */
static void damage_at(struct store *store, enum volume_kind kind, const struct store_object *object,
                      size_t count, bool everywhere)
{
    struct buf whole = BUF_INIT(16 << 20);
    uint64_t random = 7;
    assert_ok(file_read(stored_path(), &whole, &test_err));
    assert_int_equal(whole.length, object->size);
    for (size_t i = 0; i < count; i++) {
        size_t at = everywhere ? i : next_random(&random) % whole.length;
        char old = whole.data[at];
        whole.data[at] = (char)(old ^ (1 << i % 8));
        store_bytes(whole.data, whole.length);
        expect_damage(store, kind, object, "a bit flipped", at);
        whole.data[at] = old;
        store_bytes(whole.data, at);
        expect_damage(store, kind, object, "cut", at);
    }
    store_bytes(whole.data, whole.length);
    assert_ok(read_all(store, kind, object, &test_err));
    buf_clear(&whole);
}

static struct store_object write_stream(struct store *store, enum volume_kind kind, size_t size)
{
    struct volume *volume = NULL;
    struct store_object object;
    _cleanup_(freep) char *data = make_content(size, 5);
    assert_ok(volume_create(store, KEY, kind, &OPTIONS, &volume, &test_err));
    assert_ok(volume_data(volume, data, size, &test_err));
    assert_ok(volume_commit(volume, &object, &test_err));
    volume_free(volume);
    return object;
}

static void test_damage_everywhere(void **state)
{
    static const struct member SMALL[] = {{"1/000001.copy", 100}, {"1/000002.copy", 30}};
    struct store_object object = write_members(*state, SMALL, 2, &OPTIONS);
    damage_at(*state, VOLUME_TAR, &object, (size_t)object.size, true);
    object = write_stream(*state, VOLUME_ZSTD, 200);
    damage_at(*state, VOLUME_ZSTD, &object, (size_t)object.size, true);
    object = write_stream(*state, VOLUME_PLAIN, 50);
    damage_at(*state, VOLUME_PLAIN, &object, (size_t)object.size, true);
}

static void test_damage_at_random(void **state)
{
    static const struct member LARGE[] = {{"1/000001.copy", 900000}, {"1/000002.copy", 300000}};
    struct store_object object = write_members(*state, LARGE, 2, &OPTIONS);
    assert_true(object.size > 500000); /* several of the reader's blocks */
    damage_at(*state, VOLUME_TAR, &object, 200, false);
}

/* Appended: zeros, text, and the volume once more, which every tool would read without a word. */
static void test_appended(void **state)
{
    static const struct member SMALL[] = {{"1/000001.copy", 100}};
    static const enum volume_kind KINDS[] = {VOLUME_TAR, VOLUME_ZSTD, VOLUME_PLAIN};
    for (size_t i = 0; i < ARRAY_SIZE(KINDS); i++) {
        struct store_object object = KINDS[i] == VOLUME_TAR
                                         ? write_members(*state, SMALL, 1, &OPTIONS)
                                         : write_stream(*state, KINDS[i], 100);
        struct buf whole = BUF_INIT(1 << 20), twice = BUF_INIT(1 << 20);
        assert_ok(file_read(stored_path(), &whole, &test_err));
        const struct {
            const char *what, *data;
            size_t length;
        } rows[] = {{"a zero", "\0", 1},
                    {"zeros", (const char[2048]){0}, 2048},
                    {"text", "hello", 5},
                    {"itself", whole.data, whole.length}};
        for (size_t j = 0; j < ARRAY_SIZE(rows); j++) {
            buf_reset(&twice);
            assert_int_equal(buf_add(&twice, whole.data, whole.length), 0);
            assert_int_equal(buf_add(&twice, rows[j].data, rows[j].length), 0);
            store_bytes(twice.data, twice.length);
            expect_damage(*state, KINDS[i], &object, rows[j].what, whole.length);
        }
        buf_clear(&whole);
        buf_clear(&twice);
    }
}

static void test_missing(void **state)
{
    struct store_object object = write_stream(*state, VOLUME_ZSTD, 10);
    struct error err = ERROR_NONE;
    assert_int_equal(unlink(stored_path()), 0);
    assert_int_equal(read_all(*state, VOLUME_ZSTD, &object, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, KEY));
}

/* Another good volume in its place is not what the manifest promised. */
static void test_exchanged(void **state)
{
    static const struct member SMALL[] = {{"1/000001.copy", 100}, {"1/000001.copy", 101}};
    struct store_object object = write_members(*state, SMALL, 1, &OPTIONS);
    write_members(*state, SMALL + 1, 1, &OPTIONS);
    expect_damage(*state, VOLUME_TAR, &object, "exchanged", 0);
    assert_ok(read_all(*state, VOLUME_TAR, NULL, &test_err)); /* good in itself */
}

/* A tar of other things than files is refused. */
static void test_foreign_members(void **state)
{
    struct child_spec spec = {
        .argv = (const char *const[]){"sh", "-ec",
                                      "cd \"$1\"; ln -s x link; tar -cf - link | zstd -qfo \"$2\"",
                                      "sh", root, stored_path(), NULL}};
    struct error err = ERROR_NONE;
    write_members(*state, MEMBERS, 1, &OPTIONS);
    assert_ok(child_run(&spec, NULL, &test_err));
    assert_int_equal(read_all(*state, VOLUME_TAR, NULL, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.message, "has a member that is no file"));
}

/* The limit counts stored bytes. */
static void test_rate(void **state)
{
    struct rate rate = RATE_INIT(1000000);
    struct volume_options options = OPTIONS;
    struct volume *volume = NULL;
    _cleanup_(freep) char *data = make_content(400000, 3);
    int64_t started_us = instant_monotonic_us();
    options.rate = &rate;
    assert_ok(volume_create(*state, KEY, VOLUME_PLAIN, &options, &volume, &test_err));
    assert_ok(volume_data(volume, data, 400000, &test_err));
    assert_ok(volume_commit(volume, NULL, &test_err));
    volume_free(volume);
    assert_true(instant_monotonic_us() - started_us >= 290000); /* a tenth may burst */
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_round_trip),       TEST(test_skipping),
        TEST(test_many_members),     TEST(test_other_programs),
        TEST(test_streams),          TEST(test_abandoned),
        TEST(test_member_sizes),     TEST(test_damage_everywhere),
        TEST(test_damage_at_random), TEST(test_appended),
        TEST(test_missing),          TEST(test_exchanged),
        TEST(test_foreign_members),  TEST(test_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
