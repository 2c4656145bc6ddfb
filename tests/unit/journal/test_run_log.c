/* The logs of runs: bounded each and in all, and no reason for anything to fail. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "journal/run_log.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/pgcairn-runlog-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static size_t each_file(bool removes)
{
    char path[512];
    size_t count = 0;
    snprintf(path, sizeof(path), "%s/runs", folder);
    _cleanup_(closedirp) DIR *runs = opendir(path);
    for (struct dirent *entry = runs ? readdir(runs) : NULL; entry; entry = readdir(runs)) {
        if (entry->d_name[0] == '.')
            continue;
        count++;
        if (removes)
            unlinkat(dirfd(runs), entry->d_name, 0);
    }
    return count;
}

static int remove_folder(void **state)
{
    char path[128];
    (void)state;
    each_file(true);
    snprintf(path, sizeof(path), "%s/runs", folder);
    rmdir(path);
    return rmdir(folder);
}

static const char RUN[] = "20261121T020000Z-x7q2k9";

static void test_keeps_lines(void **state)
{
    (void)state;
    struct buf text = BUF_INIT(2 * RUN_LOG_BYTES_MAX);
    struct error err = ERROR_NONE;
    assert_int_equal(run_log_read(folder, RUN, &text, &err), ERR_NOT_FOUND);
    int fd = run_log_open(folder, RUN);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "one\n", 4), 4);
    run_log_append(folder, RUN, "two\n", 4);
    assert_int_equal(write(fd, "three\n", 6), 6);
    assert_int_equal(run_log_read(folder, RUN, &text, &err), 0);
    assert_string_equal(buf_text(&text), "one\ntwo\nthree\n");
    buf_clear(&text);
    close(fd);
}

static void test_one_is_bounded(void **state)
{
    (void)state;
    struct buf text = BUF_INIT(2 * RUN_LOG_BYTES_MAX);
    char line[4096];
    memset(line, 'x', sizeof(line));
    for (int i = 0; i < 100; i++)
        run_log_append(folder, RUN, line, sizeof(line));
    assert_int_equal(run_log_read(folder, RUN, &text, NULL), 0);
    assert_true(text.length <= RUN_LOG_BYTES_MAX + RUN_LOG_EXTRA_BYTES);
    assert_true(text.length > RUN_LOG_BYTES_MAX);
    buf_clear(&text);
}

static void test_all_are_bounded(void **state)
{
    (void)state;
    char run_id[64], path[128];
    for (int i = 0; i < RUN_LOGS_MAX + 20; i++) {
        snprintf(run_id, sizeof(run_id), "20261121T02%04dZ-aaaaaa", i);
        run_log_append(folder, run_id, "x\n", 2);
    }
    snprintf(path, sizeof(path), "%s/runs/notes.txt", folder);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    close(run_log_open(folder, RUN));
    assert_int_equal(each_file(false), RUN_LOGS_MAX + 1); /* and what is not ours */
    struct buf text = BUF_INIT(4096);
    assert_int_equal(run_log_read(folder, "20261121T020020Z-aaaaaa", &text, NULL), ERR_NOT_FOUND);
    assert_int_equal(run_log_read(folder, "20261121T021019Z-aaaaaa", &text, NULL), 0);
    run_log_prune(folder, instant_now_us() + RUN_LOGS_AGE_US + US_PER_DAY);
    assert_int_equal(each_file(false), 1);
    buf_clear(&text);
}

static void test_no_path_leaves_the_folder(void **state)
{
    (void)state;
    static const char *const NAMES[] = {"../journal", "", "2/../../x", "x7q2", "20261121 ", "."};
    struct buf text = BUF_INIT(4096);
    for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++) {
        struct error err = ERROR_NONE;
        assert_int_equal(run_log_open(folder, NAMES[i]), -1);
        assert_int_equal(run_log_read(folder, NAMES[i], &text, &err), ERR_USAGE);
    }
    buf_clear(&text);
}

static void test_fails_nothing(void **state)
{
    (void)state;
    assert_int_equal(run_log_open("/proc/nowhere", RUN), -1);
    run_log_append("/proc/nowhere", RUN, "x\n", 2);
    run_log_prune("/proc/nowhere", 0);
}

#define ROW(function) cmocka_unit_test_setup_teardown(function, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_keeps_lines),     ROW(test_one_is_bounded),
        ROW(test_all_are_bounded), ROW(test_no_path_leaves_the_folder),
        ROW(test_fails_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
