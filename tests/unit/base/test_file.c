/* Whole files: limits to the byte, replacement that a kill can't halve, folders. */
#include "case.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/file.h"

static void write_file(const char *name, const char *data, size_t length)
{
    assert_ok(file_replace(case_path(name), data, length, 0600, &case_err));
}

/* A file of `size` bytes into a buffer with `limit`, which holds `before` bytes already. */
static void test_read_limits(void **state)
{
    (void)state;
    static const struct {
        size_t size, limit, before;
        int rc;
    } ROWS[] = {
        {0, 0, 0, 0},
        {0, 5, 5, 0},
        {1, 0, 0, ERR_LIMIT},
        {5, 5, 0, 0},
        {5, 6, 1, 0},
        {5, 5, 1, ERR_LIMIT},
        {6, 5, 0, ERR_LIMIT},
        {65535, 65535, 0, 0},
        {65536, 65536, 0, 0},
        {65537, 65536, 0, ERR_LIMIT},
        {65537, 65537, 0, 0},
        {131072, 131072, 0, 0},
        {131073, 131072, 0, ERR_LIMIT},
        {200000, 200001, 0, 0},
        {200000, 200000, 0, 0},
        {200000, 199999, 0, ERR_LIMIT},
        {200000, 1 << 20, 7, 0},
    };
    static char bytes[200000];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)('a' + i % 23);
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        write_file("f", bytes, ROWS[i].size);
        struct buf buf = BUF_INIT(ROWS[i].limit);
        struct error err = ERROR_NONE;
        assert_int_equal(buf_add(&buf, "1234567", ROWS[i].before), 0);
        int rc = file_read(case_path("f"), &buf, &err);
        if (rc != ROWS[i].rc || (rc && !strstr(err.message, "/f is larger than ")))
            fail_msg("%zu bytes behind %zu, limit %zu: %s", ROWS[i].size, ROWS[i].before,
                     ROWS[i].limit, err.message);
        if (!rc) {
            assert_int_equal(buf.length, ROWS[i].before + ROWS[i].size);
            assert_memory_equal(buf_text(&buf) + ROWS[i].before, bytes, ROWS[i].size);
            assert_int_equal(buf_text(&buf)[buf.length], '\0');
        }
        buf_clear(&buf);
    }
}

static void test_read_failures(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(100);
    assert_fails(file_read(case_path("absent"), &buf, &case_err), ERR_NOT_FOUND,
                 "/absent\": No such file or directory");
    assert_fails(file_read(case_folder, &buf, &case_err), ERR_IO, "Is a directory");
    assert_string_equal(buf_text(&buf), "");
    buf_clear(&buf);
}

static void assert_file(const char *name, const char *expected)
{
    struct buf buf = BUF_INIT(1000);
    assert_ok(file_read(case_path(name), &buf, &case_err));
    assert_string_equal(buf_text(&buf), expected);
    buf_clear(&buf);
}

static void test_replace(void **state)
{
    (void)state;
    struct stat st;
    mode_t old_mask = umask(0077);
    assert_ok(file_replace(case_path("r"), "first", 5, 0644, &case_err));
    umask(old_mask);
    assert_int_equal(stat(case_path("r"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644); /* whatever the mask says */
    assert_ok(file_replace(case_path("r"), "2nd", 3, 0600, &case_err));
    assert_file("r", "2nd");
    assert_int_equal(stat(case_path("r"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_ok(file_replace(case_path("r"), "", 0, 0600, &case_err));
    assert_file("r", "");
}

static size_t count_entries(const char *folder)
{
    _cleanup_(closedirp) DIR *dir = opendir(folder);
    assert_non_null(dir);
    size_t count = 0;
    while (readdir(dir))
        count++;
    return count - 2; /* . and .. */
}

/* What can't be replaced leaves nothing beside it. */
static void test_replace_failures(void **state)
{
    (void)state;
    assert_fails(file_replace(case_path("no/r"), "x", 1, 0600, &case_err), ERR_NOT_FOUND,
                 "could not create \"");
    assert_int_equal(mkdir(case_path("full"), 0700), 0);
    assert_int_equal(mkdir(case_path("full/sub"), 0700), 0);
    assert_fails(file_replace(case_path("full/sub"), "x", 1, 0600, &case_err), ERR_IO,
                 "could not rename \"");
    assert_int_equal(count_entries(case_path("full")), 1);
}

enum { KILLS = 60, CONTENT = 300000 };

static _Noreturn void replace_for_ever(const char *path)
{
    static char content[CONTENT];
    for (char c = 'a';; c = c == 'z' ? 'a' : (char)(c + 1)) {
        memset(content, c, sizeof(content));
        if (file_replace(path, content, sizeof(content), 0600, NULL))
            _exit(1);
    }
}

/* Killed at any moment, the file holds one whole content. */
static void test_replace_is_atomic(void **state)
{
    (void)state;
    int changes = 0;
    char path[512], last = 0;
    snprintf(path, sizeof(path), "%s", case_path("atomic"));
    write_file("atomic", "start", 5);
    for (int i = 0; i < KILLS; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            replace_for_ever(path);
        usleep((useconds_t)(3000 + i * 577 % 20000));
        kill(pid, SIGKILL);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        struct buf buf = BUF_INIT(CONTENT);
        assert_ok(file_read(path, &buf, &case_err));
        if (strcmp(buf_text(&buf), "start") != 0) {
            assert_int_equal(buf.length, CONTENT);
            assert_int_equal(strspn(buf.data, (char[]){buf.data[0], '\0'}), CONTENT);
            changes += buf.data[0] != last;
            last = buf.data[0];
        }
        buf_clear(&buf);
    }
    assert_true(changes > 0); /* some were killed after a replacement */
}

static void test_folders(void **state)
{
    (void)state;
    static const struct {
        const char *name, *made;
    } ROWS[] = {{"x", "x"},      {"x/y/z", "x/y/z"},  {"x/y/z", "x/y/z"}, {"x//q///r", "x/q/r"},
                {"t/u/", "t/u"}, {"x/./dot", "x/dot"}};
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct stat st;
        assert_ok(file_make_folders(case_path(ROWS[i].name), 0700, &case_err));
        if (stat(case_path(ROWS[i].made), &st) != 0 || !S_ISDIR(st.st_mode))
            fail_msg("%s was not made", ROWS[i].name);
        assert_int_equal(st.st_mode & 07777, 0700);
    }
    write_file("file", "x", 1);
    assert_fails(file_make_folders(case_path("file"), 0700, &case_err), ERR_IO,
                 "/file\": Not a directory");
    assert_fails(file_make_folders(case_path("file/a/b"), 0700, &case_err), ERR_IO,
                 "/file/a\": Not a directory");
    assert_fails(file_make_folders("", 0700, &case_err), ERR_NOT_FOUND, "\"\"");
    assert_ok(file_make_folders("/", 0700, &case_err));
    assert_ok(file_make_folders(".", 0700, &case_err));
    assert_ok(file_sync_folder(case_folder, &case_err));
    assert_fails(file_sync_folder(case_path("file"), &case_err), ERR_IO, "Not a directory");
}

static void test_write_all(void **state)
{
    (void)state;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_fails(file_write_all(fd, "the disk", "x", 1, &case_err), ERR_NO_SPACE,
                 "could not write \"the disk\": No space left on device");
    assert_ok(file_write_all(fd, "the disk", "x", 0, &case_err));
    close(fd);
    assert_fails(file_write_all(-1, "x", "x", 1, &case_err), ERR_IO, "Bad file descriptor");
}

static void test_random_names(void **state)
{
    (void)state;
    int seen[256] = {0};
    char name[101], other[101];
    for (int i = 0; i < 200; i++) {
        memset(name, '#', sizeof(name));
        assert_ok(file_random_name(name, 100, &case_err));
        assert_int_equal(strlen(name), 100);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789"), 100);
        for (int j = 0; j < 100; j++)
            seen[(unsigned char)name[j]]++;
        assert_ok(file_random_name(other, 100, &case_err));
        assert_string_not_equal(name, other);
    }
    for (const char *c = "abcdefghijklmnopqrstuvwxyz0123456789"; *c; c++) /* 556 each expected */
        assert_in_range(seen[(unsigned char)*c], 400, 720);
    assert_ok(file_random_name(name, 0, &case_err));
    assert_string_equal(name, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_limits),       cmocka_unit_test(test_read_failures),
        cmocka_unit_test(test_replace),           cmocka_unit_test(test_replace_failures),
        cmocka_unit_test(test_replace_is_atomic), cmocka_unit_test(test_folders),
        cmocka_unit_test(test_write_all),         cmocka_unit_test(test_random_names),
    };
    return cmocka_run_group_tests(tests, case_make_folder, case_remove_folder);
}
