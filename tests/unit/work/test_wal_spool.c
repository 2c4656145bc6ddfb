/* The spool of segments fetched ahead: what is damaged, cut or of another recovery is not served.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/file.h"
#include "store/sha256.h"
#include "work/wal_spool.h"
#include "remove_tree.h"

static char root[64], folder[AHEAD_PATH_MAX], destination[128];
static char URL[] = "file:///srv/x", CLUSTER[] = "shop";
static struct policy policy;
static const char NAME[] = "000000010000000000000003", CONTENT[] = "a segment's bytes";

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof(root), "/tmp/pgcairn-ahead-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    policy = (struct policy){.cluster = CLUSTER, .repository_url = URL};
    snprintf(destination, sizeof(destination), "%s/RECOVERYXLOG", root);
    return wal_spool_open(&policy, root, "42", root, folder, NULL);
}

static int teardown(void **state)
{
    (void)state;
    return remove_tree(root);
}

static struct wal_name segment(const char *text)
{
    struct wal_name name;
    assert_true(wal_name_parse(text, &name));
    return name;
}

/* An entry whose hash is that of CONTENT, whatever it holds. */
static void put_entry(const char *name, const char *suffix, const char *content)
{
    char path[AHEAD_PATH_MAX + 100], hash[SHA256_HEX + 1];
    assert_int_equal(sha256_of(CONTENT, strlen(CONTENT), hash, NULL), 0);
    snprintf(path, sizeof(path), "%s/%s-%.16s%s", folder, name, hash, suffix);
    assert_int_equal(file_replace(path, content, strlen(content), 0600, NULL), 0);
}

static int count(const struct ahead_entry *entry, void *context)
{
    (void)entry;
    ++*(int *)context;
    return 0;
}

static int count_entries(void)
{
    int entries = 0;
    ahead_each(folder, count, &entries);
    return entries;
}

static void assert_delivered(bool delivered)
{
    struct buf buf = BUF_INIT(1000);
    int rc = file_read(destination, &buf, NULL);
    assert_int_equal(rc, delivered ? 0 : ERR_NOT_FOUND);
    if (delivered)
        assert_string_equal(buf_text(&buf), CONTENT);
    buf_clear(&buf);
}

static void test_taken_once(void **state)
{
    (void)state;
    struct wal_name name = segment(NAME), other = segment("000000010000000000000004");
    put_entry(NAME, "", CONTENT);
    assert_false(wal_spool_take(folder, &other, destination));
    assert_delivered(false);
    assert_true(wal_spool_take(folder, &name, destination));
    assert_delivered(true);
    assert_int_equal(count_entries(), 0);
    assert_false(wal_spool_take(folder, &name, destination));
}

static void test_damaged_ones_are_thrown_away(void **state)
{
    (void)state;
    static const char *const ROWS[] = {"", "a segment's byte", "a segment's bytes.",
                                       "A segment's bytes"};
    struct wal_name name = segment(NAME);
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        put_entry(NAME, "", ROWS[i]);
        if (wal_spool_take(folder, &name, destination))
            fail_msg("\"%s\" was served", ROWS[i]);
        assert_delivered(false);
        assert_int_equal(count_entries(), 0);
    }
}

static void test_a_part_is_waited_for_and_not_served(void **state)
{
    (void)state;
    struct wal_name name = segment(NAME);
    put_entry(NAME, ".part", CONTENT);
    int64_t begun_us = instant_monotonic_us();
    assert_false(wal_spool_take(folder, &name, destination));
    assert_true(instant_monotonic_us() - begun_us > US_PER_SECOND);
    assert_delivered(false);
}

static void test_nothing_is_shared(void **state)
{
    (void)state;
    char other[AHEAD_PATH_MAX], data[128], elsewhere[] = "file:///srv/y";
    snprintf(data, sizeof(data), "%s/data", root);
    assert_int_equal(mkdir(data, 0700), 0);
    assert_int_equal(wal_spool_open(&policy, root, "42", root, other, NULL), 0);
    assert_string_equal(other, folder);
    assert_int_equal(wal_spool_open(&policy, root, "43", root, other, NULL), 0);
    assert_string_not_equal(other, folder);
    assert_int_equal(wal_spool_open(&policy, root, "42", data, other, NULL), 0);
    assert_string_not_equal(other, folder);
    policy.repository_url = elsewhere;
    assert_int_equal(wal_spool_open(&policy, root, "42", root, other, NULL), 0);
    assert_string_not_equal(other, folder);
    assert_int_equal(wal_spool_open(&policy, root, "42", "/nowhere", other, NULL), ERR_NOT_FOUND);
}

static void test_one_helper(void **state)
{
    (void)state;
    struct wal_name name = segment(NAME), at;
    int64_t age_us;
    assert_false(ahead_read_at(folder, &at, &age_us));
    ahead_write_at(folder, &name);
    assert_true(ahead_read_at(folder, &at, &age_us));
    assert_int_equal(wal_name_compare(&at, &name), 0);
    assert_true(age_us < US_PER_MINUTE);
    int lock = ahead_lock(folder);
    assert_true(lock >= 0);
    assert_int_equal(ahead_lock(folder), -1);
    close(lock);
    lock = ahead_lock(folder);
    assert_true(lock >= 0);
    close(lock);
    put_entry(NAME, "", CONTENT);
    put_entry(NAME, ".part", CONTENT);
    ahead_remove_all(folder);
    assert_int_equal(access(folder, F_OK), -1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_taken_once),
        TEST(test_damaged_ones_are_thrown_away),
        TEST(test_a_part_is_waited_for_and_not_served),
        TEST(test_nothing_is_shared),
        TEST(test_one_helper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
