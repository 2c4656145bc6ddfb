/* A stream of WAL becomes files: whole, under their names, however it is cut into messages. */
#include "repository/fixture.h"

#include <inttypes.h>

#include "work/wal_assemble.h"

#define SYSTEM "7580000000000000001"

enum { SIZE = 1 << 20 };

static char content[3 * SIZE];

struct seen {
    char names[10][WAL_NAME_MAX];
    uint64_t lsns[10];
    size_t count;
    int fail;
};

static int note(const struct wal_assembled *file, void *context, struct error *err)
{
    struct seen *seen = context;
    assert_true(seen->count < 10);
    seen->lsns[seen->count] = file->lsn;
    wal_name_format(&file->name, seen->names[seen->count++]);
    return seen->fail ? error_set(err, seen->fail, "as told") : 0;
}

static void put(char *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (char)(value >> (8 * i));
}

/* Segments from `lsn` on, each with its first page. */
static void make_content(uint64_t lsn, uint32_t timeline, uint64_t system)
{
    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = (char)(i * 37 + i / 999);
    for (size_t at = 0; at < sizeof(content); at += SIZE) {
        put(content + at, 0xD110, 2);
        put(content + at + 2, 2, 2);
        put(content + at + 4, timeline, 4);
        put(content + at + 8, lsn + at, 8);
        put(content + at + 24, system, 8);
        put(content + at + 32, SIZE, 4);
    }
}

static int setup(void **state)
{
    (void)state;
    snprintf(fixture_root, sizeof(fixture_root), "/tmp/pgcairn-assemble-XXXXXX");
    return mkdtemp(fixture_root) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return remove_tree(fixture_root);
}

static void assert_file(const char *name, const char *expected, size_t given)
{
    static char bytes[SIZE + 1];
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", fixture_root, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, bytes, sizeof(bytes)), SIZE);
    assert_memory_equal(bytes, expected, given);
    for (size_t i = given; i < SIZE; i++)
        assert_int_equal(bytes[i], 0);
    close(fd);
}

static bool exists(const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", fixture_root, name);
    return access(path, F_OK) == 0;
}

static void test_however_it_is_cut(void **state)
{
    static const size_t PIECES[] = {100, 8192, 131072, SIZE - 1, SIZE, SIZE + 1, 3 * SIZE};
    (void)state;
    make_content(5 * SIZE, 1, strtoull(SYSTEM, NULL, 10));
    for (size_t i = 0; i < ARRAY_SIZE(PIECES); i++) {
        struct seen seen = {.count = 0};
        struct wal_assembly assembly;
        wal_assembly_init(&assembly, fixture_root, SYSTEM, SIZE, note, &seen);
        assert_ok(wal_assembly_begin(&assembly, 1, 5 * SIZE, &fixture_err));
        assert_true(wal_assembly_start(&assembly) == 5 * SIZE);
        for (size_t at = 0; at < 3 * SIZE - 10; at += PIECES[i]) {
            size_t left = 3 * SIZE - 10 - at;
            assert_ok(wal_assembly_add(&assembly, 5 * SIZE + at, content + at,
                                       left < PIECES[i] ? left : PIECES[i], &fixture_err));
        }
        assert_int_equal(seen.count, 2);
        assert_string_equal(seen.names[0], "000000010000000000000005");
        assert_string_equal(seen.names[1], "000000010000000000000006");
        assert_true(seen.lsns[1] == 6 * SIZE);
        assert_true(wal_assembly_start(&assembly) == 7 * SIZE);
        assert_file(seen.names[0], content, SIZE);
        assert_file(seen.names[1], content + SIZE, SIZE);
        assert_true(exists("000000010000000000000007.part"));
        assert_false(exists("000000010000000000000007"));
        wal_assembly_clear(&assembly);
        assert_false(exists("000000010000000000000007.part"));
    }
}

static void test_what_does_not_follow_is_refused(void **state)
{
    struct seen seen = {.count = 0};
    struct wal_assembly assembly;
    (void)state;
    make_content(0, 1, strtoull(SYSTEM, NULL, 10));
    wal_assembly_init(&assembly, fixture_root, SYSTEM, SIZE, note, &seen);
    assert_fails(wal_assembly_begin(&assembly, 1, 5, &fixture_err), ERR_FAILED,
                 "start of a segment");
    assert_ok(wal_assembly_begin(&assembly, 1, 0, &fixture_err));
    assert_ok(wal_assembly_add(&assembly, 0, content, 1000, &fixture_err));
    assert_fails(wal_assembly_add(&assembly, 1001, content, 10, &fixture_err), ERR_FAILED,
                 "from 0/3E9 on, where 0/3E8 comes next");
    assert_fails(wal_assembly_add(&assembly, 0, content, 10, &fixture_err), ERR_FAILED,
                 "comes next");
    /* Begun anew, the part is written from its start. */
    assert_ok(wal_assembly_begin(&assembly, 1, 0, &fixture_err));
    assert_ok(wal_assembly_add(&assembly, 0, content, SIZE, &fixture_err));
    assert_file("000000010000000000000000", content, SIZE);
    seen.fail = ERR_LIMIT;
    assert_fails(wal_assembly_add(&assembly, SIZE, content + SIZE, SIZE, &fixture_err), ERR_LIMIT,
                 "as told");
    wal_assembly_clear(&assembly);
}

static void test_what_is_of_another_server_gets_no_name(void **state)
{
    static const struct {
        uint64_t lsn, system;
        uint32_t timeline;
        const char *words;
        int code;
    } ROWS[] = {
        {SIZE, 99, 1, "system identifier 99", ERR_FAILED},
        {2 * SIZE, 7580000000000000001, 1, "WAL position 0/200000", ERR_CORRUPT},
        {SIZE, 7580000000000000001, 2, "timeline 2", ERR_CORRUPT},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct seen seen = {.count = 0};
        struct wal_assembly assembly;
        make_content(ROWS[i].lsn, ROWS[i].timeline, ROWS[i].system);
        wal_assembly_init(&assembly, fixture_root, SYSTEM, SIZE, note, &seen);
        assert_ok(wal_assembly_begin(&assembly, 1, SIZE, &fixture_err));
        assert_fails(wal_assembly_add(&assembly, SIZE, content, SIZE, &fixture_err), ROWS[i].code,
                     ROWS[i].words);
        assert_int_equal(seen.count, 0);
        assert_false(exists("000000010000000000000001"));
        wal_assembly_clear(&assembly);
    }
}

static void test_the_end_of_a_timeline(void **state)
{
    static const char HISTORY[] = "1\t0/1803E8\tno recovery target specified\n";
    struct seen seen = {.count = 0};
    struct wal_assembly assembly;
    (void)state;
    make_content(SIZE, 1, strtoull(SYSTEM, NULL, 10));
    wal_assembly_init(&assembly, fixture_root, SYSTEM, SIZE, note, &seen);
    assert_ok(wal_assembly_begin(&assembly, 1, SIZE, &fixture_err));
    assert_ok(wal_assembly_end_timeline(&assembly, &fixture_err)); /* nothing has come */
    assert_int_equal(seen.count, 0);
    assert_ok(wal_assembly_add(&assembly, SIZE, content, 50000, &fixture_err));
    assert_ok(wal_assembly_end_timeline(&assembly, &fixture_err));
    assert_ok(wal_assembly_history(&assembly, 2, HISTORY, strlen(HISTORY), &fixture_err));
    assert_int_equal(seen.count, 2);
    assert_string_equal(seen.names[0], "000000010000000000000001.partial");
    assert_string_equal(seen.names[1], "00000002.history");
    assert_true(seen.lsns[0] == SIZE && seen.lsns[1] == SIZE);
    assert_file(seen.names[0], content, 50000);
    wal_assembly_clear(&assembly);
}

static void touch(const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", fixture_root, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void test_leftovers(void **state)
{
    static const char *const FILES[] = {"000000020000000000000003",
                                        "000000010000000000000003",
                                        "000000010000000000000002",
                                        "000000010000000000000004.part",
                                        "000000010000000000000003.partial",
                                        "00000002.history",
                                        "lock",
                                        "rubbish"};
    struct seen seen = {.count = 0};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(FILES); i++)
        touch(FILES[i]);
    assert_ok(wal_assembly_leftovers(fixture_root, SIZE, note, &seen, &fixture_err));
    assert_int_equal(seen.count, 5);
    assert_string_equal(seen.names[0], "00000002.history");
    assert_string_equal(seen.names[1], "000000010000000000000002");
    assert_string_equal(seen.names[4], "000000020000000000000003");
    assert_true(seen.lsns[0] == UINT64_MAX && seen.lsns[1] == 2 * SIZE);
    assert_false(exists("000000010000000000000004.part"));
    assert_true(exists("lock"));
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_however_it_is_cut),
        TEST(test_what_does_not_follow_is_refused),
        TEST(test_what_is_of_another_server_gets_no_name),
        TEST(test_the_end_of_a_timeline),
        TEST(test_leftovers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
