/* Progress where stderr is no terminal: a line per phase, and not more; a bar on a terminal. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "command/progress.h"

static char seen[20000];

static const char *counted; /* of the progress that capture() makes */

/* What work() writes on stderr, which is `fd` (taken) meanwhile; read from `from` afterwards. */
static void capture(int fd, int from, bool quiet, void (*work)(struct progress *progress))
{
    struct progress *progress = NULL;
    fflush(stderr);
    int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    dup2(fd, STDERR_FILENO);
    int rc = progress_new(quiet, counted, &progress, NULL);
    if (!rc)
        work(progress);
    progress_free(progress);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    size_t used = 0;
    for (ssize_t n; (n = read(from, seen + used, sizeof(seen) - 1 - used)) > 0;)
        used += (size_t)n;
    seen[used] = '\0';
    assert_int_equal(rc, 0);
}

static void capture_lines(bool quiet, void (*work)(struct progress *progress))
{
    int pair[2];
    assert_int_equal(pipe2(pair, O_CLOEXEC | O_NONBLOCK), 0);
    capture(pair[1], pair[0], quiet, work);
    close(pair[0]);
    close(pair[1]);
}

static void many_tables(struct progress *progress)
{
    progress_show(progress, "vacuuming app.a", 1, 40);
    progress_show(progress, "vacuuming app.b", 2, 40);
    progress_end(progress);
}

static void two_phases(struct progress *progress)
{
    progress_show(progress, "dumping app", 0, 0);
    for (int i = 0; i < 100; i++)
        progress_show(progress, "dumping app", i * 1000000, 100000000);
    progress_notice(progress, "foreign table x skipped");
    progress_show(progress, "dumping web", 5, 10);
    progress_end(progress);
}

static void test_lines(void **state)
{
    (void)state;
    capture_lines(false, two_phases);
    assert_string_equal(seen, "pgcairn: dumping app\n"
                              "pgcairn: foreign table x skipped\n"
                              "pgcairn: dumping web\n");
}

/* Counted work has a phase for each item: one line tells of many. */
static void test_items(void **state)
{
    (void)state;
    int pair[2];
    counted = "tables";
    assert_int_equal(pipe2(pair, O_CLOEXEC | O_NONBLOCK), 0);
    capture(pair[1], pair[0], false, many_tables);
    counted = NULL;
    close(pair[0]);
    close(pair[1]);
    assert_string_equal(seen, "pgcairn: vacuuming app.a: 1 of 40 tables\n");
}

static void test_quiet(void **state)
{
    (void)state;
    capture_lines(true, two_phases);
    assert_string_equal(seen,
                        "pgcairn: foreign table x skipped\n"); /* log level is another matter */
}

/* Numbers at the ends of their ranges: no line is wrong, none crashes. */
static void odd_numbers(struct progress *progress)
{
    static const int64_t NUMBERS[] = {0, 1, 10, 999999, INT64_MAX / 31, INT64_MAX, -1};
    char phase[40];
    for (size_t i = 0; i < ARRAY_SIZE(NUMBERS); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(NUMBERS); j++) {
            snprintf(phase, sizeof(phase), "phase %zu", 10 * i + j);
            progress_show(progress, phase, NUMBERS[i], NUMBERS[j]);
        }
    }
    static const int64_t PAIRS[][2] = {
        {1, INT64_MAX}, {-1, 1}, {INT64_MIN, INT64_MAX}, {50, 100}, {INT64_MAX, INT64_MAX}};
    for (size_t i = 0; i < ARRAY_SIZE(PAIRS); i++) {
        usleep(220000); /* a bar is drawn again after a fifth of a second */
        progress_show(progress, phase, PAIRS[i][0], PAIRS[i][1]);
    }
    progress_end(progress);
}

static void test_bar(void **state)
{
    (void)state;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (master < 0 || grantpt(master) || unlockpt(master))
        skip();
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal < 0)
        skip();
    capture(terminal, master, false, odd_numbers);
    close(terminal);
    close(master);
    assert_non_null(strstr(seen, "phase 0 ..."));
    assert_non_null(strstr(seen, "[---------------"));
    assert_non_null(strstr(seen, "[###############---------------] 50 B of about 100 B, "));
    assert_non_null(strstr(seen, "[##############################] 9.2 EB of about 9.2 EB, "));
    assert_null(strstr(seen, "-106751991d"));
    size_t length = strlen(seen);
    assert_string_equal(seen + length - 4, "\r\033[K"); /* the bar is gone at the end */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_items),
        cmocka_unit_test(test_quiet),
        cmocka_unit_test(test_bar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
