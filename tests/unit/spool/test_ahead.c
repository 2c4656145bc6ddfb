/* A segment fetched ahead is taken without a proof while its mark fits, and is left alone if not.
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
#include "base/instant.h"
#include "spool/ahead.h"
#include "remove_tree.h"

static const char ENTRY[] = "000000010000000000000003-0123456789abcdef", CONTENT[] = "a segment";
static char root[64], folder[256], destination[128], policy[128], entry_path[512];
static char naming[MARKS_PATH_MAX];
static struct marks_origin origin;
static struct wal_name name;
static int lock;

static void put(const char *path, const char *content)
{
    assert_int_equal(file_replace(path, content, strlen(content), 0600, NULL), 0);
}

static void mark_entry(void)
{
    struct mark mark;
    assert_int_equal(marks_file(entry_path, &mark, NULL), 0);
    snprintf(mark.hash, sizeof(mark.hash), "0123456789abcdef");
    assert_int_equal(ahead_mark(folder, &origin, &mark, 1, NULL), 0);
}

/* A helper lives, and has fetched, proved and marked one segment. */
static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof(root), "/tmp/pgcairn-taking-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    snprintf(folder, sizeof(folder), "%s/wal/shop/ahead/0011223344556677", root);
    snprintf(destination, sizeof(destination), "%s/RECOVERYXLOG", root);
    snprintf(policy, sizeof(policy), "%s/policy.yaml", root);
    snprintf(entry_path, sizeof(entry_path), "%s/%s", folder, ENTRY);
    char *paths[] = {policy};
    assert_int_equal(file_make_folders(folder, 0700, NULL), 0);
    assert_int_equal(ahead_naming(paths, 1, root, naming, NULL), 0);
    assert_true(wal_name_parse("000000010000000000000003", &name));
    origin = (struct marks_origin){"42", naming, policy};
    put(policy, "cluster: shop\n");
    put(entry_path, CONTENT);
    mark_entry();
    lock = ahead_lock(folder);
    return lock < 0;
}

static int teardown(void **state)
{
    (void)state;
    if (lock >= 0)
        close(lock);
    return remove_tree(root);
}

static bool take(void)
{
    return ahead_take(root, "shop", &origin, &name, destination);
}

static void test_taken_once(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(1000);
    struct wal_name at;
    int64_t age_us;
    assert_true(take());
    assert_int_equal(file_read(destination, &buf, NULL), 0);
    assert_string_equal(buf_text(&buf), CONTENT);
    assert_int_equal(access(entry_path, F_OK), -1);
    assert_true(ahead_read_at(folder, &at, &age_us)); /* the helper sees that it was asked for */
    assert_int_equal(wal_name_compare(&at, &name), 0);
    assert_false(take());
    buf_clear(&buf);
}

static void change_content(void)
{
    int fd = open(entry_path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "b", 1, 0), 1);
    close(fd);
}

static void change_file(void)
{
    put(entry_path, CONTENT);
}

static void change_policy(void)
{
    put(policy, "cluster: shop # elsewhere\n");
}

static void change_system(void)
{
    origin.system = "43";
}

static void change_data(void)
{
    char *paths[] = {policy};
    assert_int_equal(ahead_naming(paths, 1, "/tmp", naming, NULL), 0);
}

static void change_marks(void)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/marks", folder);
    assert_int_equal(truncate(path, 40), 0);
}

static void end_helper(void)
{
    close(lock);
    lock = -1;
}

static void test_left_alone(void **state)
{
    static const struct {
        const char *name;
        void (*change)(void);
    } rows[] = {
        {"content", change_content}, {"file", change_file}, {"policy", change_policy},
        {"system", change_system},   {"data", change_data}, {"marks", change_marks},
        {"no helper", end_helper},
    };
    teardown(state);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(setup(state), 0);
        rows[i].change();
        if (take() || access(destination, F_OK) == 0 || access(entry_path, F_OK) != 0)
            fail_msg("%s changed, and it was taken", rows[i].name);
        teardown(state);
    }
    assert_int_equal(setup(state), 0);
}

static void test_a_part_is_waited_for(void **state)
{
    (void)state;
    char part[600];
    snprintf(part, sizeof(part), "%s.part", entry_path);
    assert_int_equal(rename(entry_path, part), 0);
    int64_t begun_us = instant_monotonic_us();
    assert_false(take());
    assert_true(instant_monotonic_us() - begun_us > US_PER_SECOND);
    assert_int_equal(access(part, F_OK), 0);
}

static void test_nothing_is_left(void **state)
{
    (void)state;
    ahead_remove_all(folder);
    assert_int_equal(access(folder, F_OK), -1);
}

static void test_naming(void **state)
{
    (void)state;
    char other[MARKS_PATH_MAX], long_path[MARKS_PATH_MAX], *paths[] = {long_path};
    struct error err = ERROR_NONE;
    memset(long_path, 'x', sizeof(long_path) - 8);
    long_path[sizeof(long_path) - 8] = '\0';
    assert_int_equal(ahead_naming(paths, 1, root, other, &err), ERR_LIMIT);
    assert_int_equal(ahead_naming(paths, 0, "/nowhere", other, &err), ERR_NOT_FOUND);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_taken_once),      TEST(test_left_alone), TEST(test_a_part_is_waited_for),
        TEST(test_nothing_is_left), TEST(test_naming),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
