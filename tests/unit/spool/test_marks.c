/* Marks are good for the very file, server and policy they were made of, and for nothing else. */
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
#include "spool/marks.h"
#include "spool/server.h"
#include "remove_tree.h"

static char root[64], folder[MARKS_PATH_MAX], wal[128], policy[128];
static struct marks_origin origin;

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    return path;
}

static void write_file(const char *path, const char *text)
{
    assert_int_equal(file_replace(path, text, strlen(text), 0600, NULL), 0);
}

static int setup(void **state)
{
    (void)state;
    struct mark marks[2];
    snprintf(root, sizeof(root), "/tmp/pgcairn-spool-XXXXXX");
    if (!mkdtemp(root))
        return -1;
    snprintf(wal, sizeof(wal), "%s/000000010000000000000002", root);
    snprintf(policy, sizeof(policy), "%s/policy.yaml", root);
    write_file(policy, "cluster: shop\n");
    write_file(wal, "wal");
    origin = (struct marks_origin){"42", "-c policy.yaml ", policy};
    assert_int_equal(marks_folder(root, "shop", folder, NULL), 0);
    assert_int_equal(marks_file(policy, &marks[0], NULL), 0);
    assert_int_equal(marks_file(wal, &marks[1], NULL), 0);
    snprintf(marks[0].hash, sizeof(marks[0].hash), "0123456789abcdef");
    snprintf(marks[1].hash, sizeof(marks[1].hash), "0123456789abcdef");
    assert_int_equal(marks_write(folder, &origin, marks, 2, NULL), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return remove_tree(root);
}

static bool hold(void)
{
    struct mark mark;
    assert_int_equal(marks_file(wal, &mark, NULL), 0);
    return marks_hold(folder, &origin, &mark);
}

static void test_the_same_file(void **state)
{
    (void)state;
    assert_true(hold());
    assert_true(hold());
}

static void test_each_field_counts(void **state)
{
    (void)state;
    struct mark good;
    assert_int_equal(marks_file(wal, &good, NULL), 0);
    struct mark rows[] = {good, good, good, good, good, good};
    rows[0].device++;
    rows[1].inode++;
    rows[2].size++;
    rows[3].modified_ns++;
    rows[4].changed_ns++;
    rows[5].name[23] = '3';
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (marks_hold(folder, &origin, &rows[i]) || marks_same_file(&rows[i], &good))
            fail_msg("row %zu was taken for the file", i);
    }
    assert_true(marks_same_file(&good, &good));
}

static void test_a_rewritten_file(void **state)
{
    (void)state;
    write_file(wal, "WAL");
    assert_false(hold());
}

/* Recycled: the inode is the same, the bytes are not. */
static void test_a_file_written_in_place(void **state)
{
    (void)state;
    int fd = open(wal, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "W", 1, 0), 1);
    close(fd);
    assert_false(hold());
}

static void test_another_server(void **state)
{
    (void)state;
    origin.system = "43";
    assert_false(hold());
}

static void test_another_policy(void **state)
{
    (void)state;
    origin.naming = "-c other.yaml ";
    assert_false(hold());
    origin.naming = "-c policy.yaml ";
    assert_true(hold());
    write_file(policy, "cluster: shop # and another repository\n");
    assert_false(hold());
    assert_int_equal(remove(policy), 0);
    assert_false(hold());
}

static void test_damaged_marks(void **state)
{
    (void)state;
    char path[MARKS_PATH_MAX + 16];
    struct stat st;
    snprintf(path, sizeof(path), "%s/marks", folder);
    assert_int_equal(stat(path, &st), 0);
    for (off_t length = st.st_size - 1; length >= 0; length--) {
        assert_int_equal(truncate(path, length), 0);
        if (hold())
            fail_msg("marks cut to %ld bytes were believed", (long)length);
    }
    assert_int_equal(remove(path), 0);
    assert_false(hold());
}

static void test_what_is_no_file(void **state)
{
    (void)state;
    struct mark mark;
    struct error error = ERROR_NONE;
    assert_int_equal(marks_file(root, &mark, &error), ERR_USAGE);
    assert_int_equal(marks_file(path_of("absent"), &mark, &error), ERR_NOT_FOUND);
    assert_int_equal(marks_folder(root, "../x", folder, &error), ERR_USAGE);
}

static void test_data_folders(void **state)
{
    (void)state;
    static const char *const ROWS[][2] = {
        {"pg_wal/1", "."},   {"1", ".."},         {"/data/pg_wal/1", "/data"}, {"/pg_wal/1", "/"},
        {"a/pg_wal/1", "a"}, {"./pg_wal/1", "."}, {"/a/b//pg_wal//1", "/a/b"},
    };
    char data[SERVER_PATH_MAX];
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        assert_int_equal(server_data_folder(ROWS[i][0], data, NULL), 0);
        if (strcmp(data, ROWS[i][1]) != 0)
            fail_msg("%s is in \"%s\"", ROWS[i][0], data);
    }
}

static void test_which_server(void **state)
{
    (void)state;
    static const uint64_t IDENTIFIER = UINT64_C(7713272256719545371);
    char path[256], system[SERVER_SYSTEM_SIZE];
    struct error error = ERROR_NONE;
    assert_int_equal(server_read_system(root, system, &error), ERR_NOT_FOUND);
    assert_int_equal(server_read_major(root), 0);
    assert_int_equal(mkdir(path_of("global"), 0700), 0);
    snprintf(path, sizeof(path), "%s", path_of("global/pg_control"));
    assert_int_equal(file_replace(path, &IDENTIFIER, 8, 0600, NULL), 0);
    write_file(path_of("PG_VERSION"), "15\n");
    assert_int_equal(server_read_system(root, system, &error), 0);
    assert_string_equal(system, "7713272256719545371");
    assert_int_equal(server_read_major(root), 15);
    assert_int_equal(file_replace(path, &IDENTIFIER, 7, 0600, NULL), 0);
    assert_int_equal(server_read_system(root, system, &error), ERR_CORRUPT);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_same_file),    TEST(test_each_field_counts),
        TEST(test_a_rewritten_file), TEST(test_a_file_written_in_place),
        TEST(test_another_server),   TEST(test_another_policy),
        TEST(test_damaged_marks),    TEST(test_what_is_no_file),
        TEST(test_data_folders),     TEST(test_which_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
