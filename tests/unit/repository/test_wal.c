/* WAL as objects: keys, look-ups, refusals, what is read back, facts. */
#include <sys/mman.h>

#include "fixture.h"

#include "repository/evidence.h"
#include "repository/wal.h"
#include "store/sha256.h"

#define SYSTEM "7580000000000000001"
#define WAL "shop/wal/" SYSTEM "/"

enum { SIZE = 1 << 20 };

static char content[SIZE];

static struct wal_name name_of(const char *text)
{
    struct wal_name name;
    assert_true(wal_name_parse(text, &name));
    return name;
}

/* A file of `size` bytes that depend on the seed. */
static int file_of(int seed, int64_t size)
{
    int fd = memfd_create("wal", MFD_CLOEXEC);
    for (int64_t i = 0; i < size; i++)
        content[i] = (char)(i * 31 + i / 1000 * seed + seed);
    assert_int_equal(write(fd, content, (size_t)size), size);
    return fd;
}

static int put(struct repository *repository, const char *name, int seed, int64_t size,
               bool in_memory, struct wal_object *ret_object, bool *ret_was_there,
               struct error *err)
{
    static char memory[SIZE];
    struct wal_put request = {.system = SYSTEM,
                              .name = name_of(name),
                              .fd = file_of(seed, size),
                              .size = size,
                              .path = "pg_wal/file",
                              .memory = in_memory ? memory : NULL,
                              .memory_size = sizeof(memory),
                              .options = {.level = 1}};
    int rc = wal_object_put(repository, &request, ret_object, ret_was_there, err);
    close(request.fd);
    return rc;
}

static void put_ok(struct repository *repository, const char *name, int seed)
{
    struct wal_object object;
    bool was_there;
    assert_ok(put(repository, name, seed, SIZE, true, &object, &was_there, &fixture_err));
    assert_false(was_there);
}

static void test_where_things_lie(void **state)
{
    struct repository *repository = *state;
    static const struct {
        const char *name, *prefix;
        int64_t size;
    } ROWS[] = {
        {"0000000100000002000000FE", "00000001/00000002/0000000100000002000000FE-", SIZE},
        {"000000010000000000000003.partial", "00000001/00000000/000000010000000000000003.partial-",
         SIZE},
        {"000000010000000000000003.00000028.backup",
         "00000001/00000000/000000010000000000000003.00000028.backup-", 300},
        {"00000002.history", "00000002/00000002.history-", 40},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct wal_object object, found;
        char expected[STORE_KEY_MAX + 1], hash[SHA256_HEX + 1];
        bool was_there = true;
        assert_ok(put(repository, ROWS[i].name, (int)i, ROWS[i].size, i % 2, &object, &was_there,
                      &fixture_err));
        assert_false(was_there);
        assert_ok(sha256_of(content, (size_t)ROWS[i].size, hash, &fixture_err));
        snprintf(expected, sizeof(expected), WAL "%s%.16s.zst", ROWS[i].prefix, hash);
        assert_string_equal(object.key, expected);
        struct wal_name name = name_of(ROWS[i].name);
        assert_ok(wal_object_find(repository, SYSTEM, &name, &found, &fixture_err));
        assert_string_equal(found.key, expected);
        assert_int_equal(found.size, object.size);
    }
}

static void test_read_back(void **state)
{
    struct repository *repository = *state;
    for (int in_memory = 0; in_memory < 2; in_memory++) {
        static const char *const NAMES[] = {"000000010000000000000001", "000000010000000000000002"};
        static char back[SIZE];
        struct wal_object object;
        bool was_there;
        int fd = memfd_create("back", MFD_CLOEXEC);
        assert_ok(put(repository, NAMES[in_memory], 5, SIZE, in_memory, &object, &was_there,
                      &fixture_err));
        assert_true(object.size > 0 && object.size < SIZE);
        assert_ok(wal_object_get(repository, &object, SIZE, fd, &fixture_err));
        assert_int_equal(pread(fd, back, SIZE, 0), SIZE);
        assert_memory_equal(back, content, SIZE);
        assert_fails(wal_object_get(repository, &object, SIZE - 1, fd, &fixture_err), ERR_CORRUPT,
                     "too long");
        assert_fails(wal_object_get(repository, &object, 2 * SIZE, fd, &fixture_err), ERR_CORRUPT,
                     "too short");
        close(fd);
    }
}

static void test_never_overwritten(void **state)
{
    struct repository *repository = *state;
    static const char NAME[] = "000000010000000000000001";
    struct wal_object object, again;
    bool was_there;
    put_ok(repository, NAME, 1);
    assert_ok(put(repository, NAME, 1, SIZE, false, &object, &was_there, &fixture_err));
    assert_true(was_there);
    assert_fails(put(repository, NAME, 2, SIZE, true, &again, &was_there, &fixture_err), ERR_EXISTS,
                 "000000010000000000000001 is stored with other content");
    struct wal_name name = name_of(NAME);
    assert_ok(wal_object_find(repository, SYSTEM, &name, &again, &fixture_err));
    assert_string_equal(again.key, object.key);
}

static void copy_key(struct repository *repository, const char *from, const char *to)
{
    struct buf buf = BUF_INIT(2 * SIZE);
    assert_ok(store_get(repository->store, from, &buf, &fixture_err));
    assert_ok(store_put(repository->store, to, buf_text(&buf), buf.length, 0, &fixture_err));
    buf_clear(&buf);
}

static void test_two_contents_are_a_fault(void **state)
{
    struct repository *repository = *state;
    struct wal_name name = name_of("000000010000000000000001");
    struct wal_object object;
    bool was_there;
    char other[STORE_KEY_MAX + 1];
    put_ok(repository, "000000010000000000000001", 1);
    assert_ok(wal_object_find(repository, SYSTEM, &name, &object, &fixture_err));
    assert_ok(wal_object_key(repository, SYSTEM, &name, "0123456789abcdef", other, &fixture_err));
    copy_key(repository, object.key, other);
    assert_fails(wal_object_find(repository, SYSTEM, &name, &object, &fixture_err), ERR_CORRUPT,
                 "2 different contents are stored as 000000010000000000000001");
    assert_fails(put(repository, "000000010000000000000001", 1, SIZE, true, &object, &was_there,
                     &fixture_err),
                 ERR_CORRUPT, "2 different contents");
    struct facts_wal facts;
    assert_ok(wal_info_agree(repository, SYSTEM, SIZE, &fixture_err));
    assert_ok(wal_facts_read(repository, SYSTEM, &facts, &fixture_err));
    assert_int_equal(facts.fault_count, 1);
    facts_wal_clear(&facts);
}

/* The name alone must not vouch for the bytes. */
static void test_damage_is_seen(void **state)
{
    struct repository *repository = *state;
    struct wal_name name = name_of("000000010000000000000002");
    struct wal_object one, object;
    bool was_there;
    int fd = memfd_create("back", MFD_CLOEXEC);
    assert_ok(
        put(repository, "000000010000000000000001", 1, SIZE, true, &one, &was_there, &fixture_err));
    assert_ok(
        wal_object_key(repository, SYSTEM, &name, "0123456789abcdef", object.key, &fixture_err));
    copy_key(repository, one.key, object.key);
    assert_ok(wal_object_find(repository, SYSTEM, &name, &object, &fixture_err));
    assert_fails(wal_object_get(repository, &object, SIZE, fd, &fixture_err), ERR_CORRUPT,
                 "another SHA-256");
    assert_int_equal(truncate(fixture_path(one.key), one.size - 3), 0);
    assert_fails(wal_object_get(repository, &one, SIZE, fd, &fixture_err), ERR_CORRUPT, "damaged");
    assert_int_equal(truncate(fixture_path(one.key), 0), 0);
    assert_fails(
        put(repository, "000000010000000000000001", 1, SIZE, true, &one, &was_there, &fixture_err),
        ERR_CORRUPT, "has no bytes");
    close(fd);
}

static void test_a_file_that_is_too_short(void **state)
{
    struct repository *repository = *state;
    struct wal_object object;
    bool was_there;
    struct wal_put request = {.system = SYSTEM,
                              .name = name_of("000000010000000000000001"),
                              .fd = file_of(1, SIZE / 2),
                              .size = SIZE,
                              .path = "pg_wal/file",
                              .options = {.level = 1}};
    assert_fails(wal_object_put(repository, &request, &object, &was_there, &fixture_err),
                 ERR_CORRUPT, "became shorter");
    assert_objects(repository, "shop/wal/", "");
    close(request.fd);
}

static void test_what_is_later(void **state)
{
    struct repository *repository = *state;
    static const struct {
        const char *name;
        bool later;
    } ROWS[] = {
        {"00000001000000000000000A", true},  {"00000001000000000000000B", true},
        {"00000001000000000000000C", false}, {"000000010000000100000000", false},
        {"000000020000000000000003", true},  {"000000020000000100000005", false},
        {"000000020000000000000FFF", true},  {"000000030000000000000001", false},
        {"00000002.history", true},          {"00000003.history", false},
    };
    put_ok(repository, "00000001000000000000000A", 1);
    put_ok(repository, "00000001000000000000000C", 2);
    put_ok(repository, "000000020000000100000005", 3);
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct wal_name name = name_of(ROWS[i].name);
        bool later = !ROWS[i].later;
        assert_ok(wal_later_exists(repository, SYSTEM, &name, &later, &fixture_err));
        if (later != ROWS[i].later)
            fail_msg("%s: %d", ROWS[i].name, later);
    }
}

static void test_segment_size_is_one(void **state)
{
    struct repository *repository = *state;
    int64_t size = 0;
    assert_fails(wal_info_read(repository, SYSTEM, &size, &fixture_err), ERR_NOT_FOUND,
                 "no WAL of system");
    assert_ok(wal_info_agree(repository, SYSTEM, SIZE, &fixture_err));
    assert_ok(wal_info_agree(repository, SYSTEM, SIZE, &fixture_err));
    assert_ok(wal_info_read(repository, SYSTEM, &size, &fixture_err));
    assert_int_equal(size, SIZE);
    assert_fails(wal_info_agree(repository, SYSTEM, 2 * SIZE, &fixture_err), ERR_FAILED,
                 "2097152 bytes");
    assert_fails(wal_info_agree(repository, "../1", SIZE, &fixture_err), ERR_USAGE,
                 "no system identifier");
    struct strv systems;
    assert_ok(wal_info_agree(repository, "42", SIZE, &fixture_err));
    assert_ok(wal_systems(repository, &systems, &fixture_err));
    assert_int_equal(systems.count, 2);
    assert_string_equal(systems.items[0], "42");
    strv_clear(&systems);
}

static void put_history(struct repository *repository, const char *name, const char *text)
{
    struct wal_object object;
    bool was_there;
    struct wal_put request = {.system = SYSTEM,
                              .name = name_of(name),
                              .fd = memfd_create("history", MFD_CLOEXEC),
                              .size = (int64_t)strlen(text),
                              .path = "history",
                              .options = {.level = 1}};
    assert_int_equal(write(request.fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_ok(wal_object_put(repository, &request, &object, &was_there, &fixture_err));
    close(request.fd);
}

static void test_facts(void **state)
{
    struct repository *repository = *state;
    static const char *const SEGMENTS[] = {"000000010000000000000FFE", "000000010000000000000FFF",
                                           "000000010000000100000000", "000000010000000100000004",
                                           "000000020000000100000002"};
    struct facts_wal facts;
    assert_fails(wal_facts_read(repository, SYSTEM, &facts, &fixture_err), ERR_NOT_FOUND,
                 "no WAL of system");
    assert_ok(wal_info_agree(repository, SYSTEM, SIZE, &fixture_err));
    for (size_t i = 0; i < ARRAY_SIZE(SEGMENTS); i++)
        put_ok(repository, SEGMENTS[i], (int)i);
    put_history(repository, "00000002.history", "1\t1/200060\tno recovery target specified\n");
    put_history(repository, "00000003.history", "garbage\n");
    assert_ok(wal_mark_write(repository, SYSTEM, 1, US_PER_DAY, 0x100000028, &fixture_err));
    assert_ok(wal_mark_write(repository, SYSTEM, 1, US_PER_DAY, 0x100000028, &fixture_err));
    struct wal_name first = name_of("000000010000000100000001"),
                    last = name_of("000000010000000100000003");
    assert_ok(wal_acknowledge(repository, SYSTEM, &first, &last, "disk lost", 0, &fixture_err));
    fixture_put(repository, WAL "00000001/00000001/notes.txt", "a stranger");
    fixture_put(repository, WAL "00000001/marks/yesterday.json", "a stranger");
    assert_ok(wal_facts_read(repository, SYSTEM, &facts, &fixture_err));
    assert_int_equal(facts.timeline_count, 3);
    const struct facts_wal_timeline *one = facts_wal_timeline(&facts, 1),
                                    *two = facts_wal_timeline(&facts, 2),
                                    *three = facts_wal_timeline(&facts, 3);
    assert_int_equal(one->range_count, 2);
    assert_true(one->ranges[0].first == 0xFFE && one->ranges[0].last == 0x1000);
    assert_true(one->ranges[1].first == 0x1004 && one->ranges[1].last == 0x1004);
    assert_int_equal(one->mark_count, 1);
    assert_true(one->marks[0].time_us == US_PER_DAY && one->marks[0].lsn == 0x100000028);
    assert_int_equal(one->acknowledged_count, 1);
    assert_true(one->acknowledged[0].first == 0x1001 && one->acknowledged[0].last == 0x1003);
    assert_true(two->has_history && two->history.count == 1);
    assert_true(two->history.ancestors[0].end_lsn == 0x100200060);
    assert_false(three->has_history);
    assert_int_equal(facts.fault_count, 1);
    assert_int_equal(facts.faults[0].timeline, 3);
    facts_wal_clear(&facts);
    assert_ok(evidence_verify(repository, NULL, NULL, NULL, NULL, &fixture_err));
}

static void test_histories(void **state)
{
    struct repository *repository = *state;
    struct wal_history history;
    put_history(repository, "00000002.history", "1\t0/200060\tx\n");
    assert_ok(wal_history_read(repository, SYSTEM, 2, &history, &fixture_err));
    assert_int_equal(history.count, 1);
    wal_history_clear(&history);
    assert_ok(wal_history_read(repository, SYSTEM, 1, &history, &fixture_err));
    assert_int_equal(history.count, 0);
    assert_fails(wal_history_read(repository, SYSTEM, 3, &history, &fixture_err), ERR_NOT_FOUND,
                 "00000003.history");
}

static int count_segment(const struct wal_object *object, void *context, struct error *err)
{
    (void)err;
    assert_int_equal(object->name.kind, WAL_SEGMENT);
    ++*(int *)context;
    return 0;
}

static void test_list_of_a_log(void **state)
{
    struct repository *repository = *state;
    int count = 0;
    put_ok(repository, "000000010000000000000001", 1);
    put_ok(repository, "000000010000000000000002", 2);
    put_ok(repository, "000000010000000000000003.partial", 3);
    put_ok(repository, "000000010000000100000000", 4);
    assert_ok(wal_object_list(repository, SYSTEM, 1, 0, count_segment, &count, &fixture_err));
    assert_int_equal(count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_where_things_lie),
        FIXTURE_TEST(test_read_back),
        FIXTURE_TEST(test_never_overwritten),
        FIXTURE_TEST(test_two_contents_are_a_fault),
        FIXTURE_TEST(test_damage_is_seen),
        FIXTURE_TEST(test_a_file_that_is_too_short),
        FIXTURE_TEST(test_what_is_later),
        FIXTURE_TEST(test_segment_size_is_one),
        FIXTURE_TEST(test_facts),
        FIXTURE_TEST(test_histories),
        FIXTURE_TEST(test_list_of_a_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
