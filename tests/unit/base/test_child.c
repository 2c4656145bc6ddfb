/* Child processes: what they get, what they leave, and that nothing of them stays. */
#include "case.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/child.h"
#include "base/units.h"

#define SHELL(script) \
    ((const char *const[]){"sh", "-c", (script), "zero", "one", "two words", NULL})

static int run_shell(const char *script, struct buf *output)
{
    struct child_spec spec = {.argv = SHELL(script)};
    return child_run(&spec, output, &case_err);
}

static const struct {
    const char *script, *output;
    int rc;
    const char *message; /* a piece of it */
} RUNS[] = {
    {"printf 'a b'; printf '\\nc' ", "a b\nc", 0, ""},
    {"", "", 0, ""},
    {"echo \"$1|$2|$#\"", "one|two words|2\n", 0, ""}, /* no shell split the words */
    {"echo noise >&2; echo out", "out\n", 0, ""},
    {"cat", "", 0, ""}, /* stdin is empty */
    {"exit 3", "", ERR_CHILD, "sh failed (exit status 3): "},
    {"echo some; echo broken >&2; exit 1", "some\n", ERR_CHILD,
     "sh failed (exit status 1): broken"},
    {"printf 'one\\ntwo\\n\\n' >&2; exit 2", "", ERR_CHILD, "(exit status 2): one two"},
    {"kill -9 $$", "", ERR_CHILD, "sh was ended by signal 9: "},
    {"echo why >&2; kill -TERM $$", "", ERR_CHILD, "sh was ended by signal 15: why"},
};

static void test_runs(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(RUNS); i++) {
        struct buf output = BUF_INIT(1000);
        case_err = ERROR_NONE;
        int rc = run_shell(RUNS[i].script, &output);
        if (rc != RUNS[i].rc || strcmp(buf_text(&output), RUNS[i].output) != 0 ||
            !strstr(case_err.message, RUNS[i].message))
            fail_msg("%s: \"%s\", %s", RUNS[i].script, buf_text(&output), case_err.message);
        buf_clear(&output);
    }
    assert_ok(run_shell("echo nobody listens", NULL));
}

static void test_not_found(void **state)
{
    (void)state;
    static const struct {
        const char *program;
        int rc;
        const char *message;
    } ROWS[] = {
        {"no-such-program", ERR_NOT_FOUND, "program \"no-such-program\" is not on the PATH"},
        {"/no/such/program", ERR_NOT_FOUND, "could not run \"/no/such/program\": No such file"},
        {"/etc/passwd", ERR_PERMISSION, "could not run \"/etc/passwd\": Permission denied"},
        {"/", ERR_PERMISSION, "could not run \"/\": Permission denied"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct child_spec spec = {.argv = (const char *const[]){ROWS[i].program, NULL}};
        struct error err = ERROR_NONE;
        struct child child;
        int rc = child_start(&spec, &child, &err);
        if (rc != ROWS[i].rc || !strstr(err.message, ROWS[i].message))
            fail_msg("%s: %s", ROWS[i].program, err.message);
        assert_int_equal(child.pid, 0);
        child_clear(&child);
    }
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie */
    assert_int_equal(errno, ECHILD);
}

/* A folder on the PATH that has the program's name is passed by. */
static void test_path_search(void **state)
{
    (void)state;
    char path[300];
    const char *old = getenv("PATH");
    _cleanup_(freep) char *saved = old ? strdup(old) : NULL;
    assert_non_null(saved);
    assert_int_equal(mkdir(case_path("true"), 0755), 0);
    snprintf(path, sizeof(path), "%s:/usr/bin:/bin", case_folder);
    setenv("PATH", path, 1);
    struct child_spec spec = {.argv = (const char *const[]){"true", NULL}};
    int rc = child_run(&spec, NULL, &case_err);
    setenv("PATH", saved, 1);
    assert_ok(rc);
}

static void test_environment(void **state)
{
    (void)state;
    setenv("CASE_KEPT", "kept", 1);
    setenv("CASE_CHANGED", "old", 1);
    setenv("CASE_GONE", "gone", 1);
    setenv("CASE_GONE_NOT", "other name", 1);
    static const char *const ENV[] = {"CASE_CHANGED=new=er", "CASE_GONE", "CASE_ADDED=", NULL};
    struct child_spec spec = {
        .argv = SHELL("echo \"$CASE_KEPT|$CASE_CHANGED|${CASE_GONE-unset}|$CASE_GONE_NOT|"
                      "${CASE_ADDED-unset}\"; env | grep -c ^CASE_CHANGED"),
        .env = ENV};
    struct buf output = BUF_INIT(1000);
    assert_ok(child_run(&spec, &output, &case_err));
    assert_string_equal(buf_text(&output), "kept|new=er|unset|other name|\n1\n");
    assert_string_equal(getenv("CASE_GONE"), "gone"); /* ours is as it was */
    buf_clear(&output);
}

/* Much on both streams at once: nobody waits for the other, stderr keeps its newest bytes. */
static void test_much_output(void **state)
{
    (void)state;
    struct child_spec spec = {
        .argv = SHELL("i=0; while [ $i -lt 3000 ]; do i=$((i+1)); "
                      "echo 'out 0123456789012345678901234567890123456789'; "
                      "echo \"err $i 0123456789012345678901234567890123456789\" >&2; done; exit 1"),
        .output = CHILD_PIPE};
    struct buf output = BUF_INIT(1 << 20);
    assert_fails(child_run(&spec, &output, &case_err), ERR_CHILD, "err 3000 0123");
    assert_int_equal(output.length, 3000 * 45);
    assert_true(strlen(case_err.message) < ERROR_MESSAGE_MAX - 1); /* with room for a prefix */
    buf_clear(&output);

    struct child child;
    struct child_status status;
    spec.output = CHILD_NULL;
    assert_ok(child_start(&spec, &child, &case_err));
    assert_ok(child_wait(&child, -1, &status, &case_err));
    assert_true(status.exited);
    assert_int_equal(status.exit_status, 1);
    assert_int_equal(child.stderr_length, CHILD_STDERR_MAX);
    assert_int_equal(strlen(child.stderr_text), CHILD_STDERR_MAX);
    assert_string_equal(child.stderr_text + CHILD_STDERR_MAX - 10, "123456789\n");
    assert_null(strstr(child.stderr_text, "err 1 "));
}

static void test_output_limit(void **state)
{
    (void)state;
    struct buf output = BUF_INIT(10);
    int64_t started_us = instant_monotonic_us();
    assert_ok(run_shell("printf 0123456789", &output));
    assert_string_equal(buf_text(&output), "0123456789");
    buf_reset(&output);
    assert_fails(run_shell("yes", &output), ERR_LIMIT, "sh is larger than 10 bytes");
    assert_true(case_seconds_since(started_us) < 4); /* and "yes" is not waited for */
    buf_clear(&output);
}

static void test_input(void **state)
{
    (void)state;
    struct child_spec spec = {
        .argv = SHELL("tr a-z A-Z"), .input = CHILD_PIPE, .output = CHILD_PIPE};
    struct child child;
    struct child_status status;
    char text[20] = "";
    assert_ok(child_start(&spec, &child, &case_err));
    assert_int_equal(write(child.input_fd, "abc", 3), 3);
    close(child.input_fd);
    child.input_fd = -1;
    assert_int_equal(read(child.output_fd, text, sizeof(text) - 1), 3);
    assert_string_equal(text, "ABC");
    assert_ok(child_wait(&child, 5 * US_PER_SECOND, &status, &case_err));
    assert_true(status.exited && status.exit_status == 0);
    assert_int_equal(child.pid, 0);
    assert_int_equal(child.output_fd, -1);
    child_clear(&child); /* does nothing now */
}

static void test_piped_stderr(void **state)
{
    (void)state;
    struct child_spec spec = {.argv = SHELL("echo note >&2"), .pipe_stderr = true};
    struct child child;
    struct child_status status;
    char text[20] = "";
    assert_ok(child_start(&spec, &child, &case_err));
    assert_int_equal(read(child.stderr_fd, text, sizeof(text) - 1), 5);
    assert_string_equal(text, "note\n");
    assert_ok(child_wait(&child, -1, &status, &case_err));
    assert_int_equal(child.stderr_length, 0);
    assert_int_equal(child.stderr_fd, -1);
}

static void test_timeout_and_poll(void **state)
{
    (void)state;
    struct child_spec spec = {.argv = SHELL("sleep 60")};
    struct child child;
    struct child_status status = {.signal = 77};
    bool ended = true;
    int64_t started_us = instant_monotonic_us();
    assert_ok(child_start(&spec, &child, &case_err));
    assert_fails(child_wait(&child, 50000, &status, &case_err), ERR_TIMEOUT, "did not end in time");
    assert_int_equal(status.signal, 77); /* untouched */
    assert_ok(child_poll(&child, &ended, &status, &case_err));
    assert_false(ended);
    assert_int_equal(kill(child.pid, 0), 0);
    child_signal(&child, SIGINT);
    assert_ok(child_wait(&child, 5 * US_PER_SECOND, &status, &case_err));
    assert_false(status.exited);
    assert_int_equal(status.signal, SIGINT);
    assert_true(case_seconds_since(started_us) < 5);
}

static bool is_gone(pid_t pid)
{
    for (int i = 0; i < 200; i++) {
        char path[64], line[256] = "";
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        _cleanup_(fclosep) FILE *file = fopen(path, "re");
        if (!file || !fgets(line, sizeof(line), file) || strstr(line, ") Z "))
            return true;
        usleep(10000);
    }
    return false;
}

/* Started with a grandchild in the background, whose pid it tells. */
static pid_t start_family(struct child *child, const char *script)
{
    struct child_spec spec = {.argv = SHELL(script), .output = CHILD_PIPE};
    char text[20] = "";
    assert_ok(child_start(&spec, child, &case_err));
    assert_true(read(child->output_fd, text, sizeof(text) - 1) > 0);
    int64_t pid;
    text[strcspn(text, "\n")] = '\0';
    assert_ok(number_parse(text, "pid", 2, INT32_MAX, &pid, &case_err));
    return (pid_t)pid;
}

static void test_group_is_ended(void **state)
{
    (void)state;
    static const char *const SCRIPTS[] = {
        "sleep 60 & echo $!; wait",
        "sleep 60 & echo $!; exec >&-; exit 0", /* the child goes before its grandchild */
    };
    for (size_t i = 0; i < ARRAY_SIZE(SCRIPTS); i++) {
        struct child child;
        int64_t started_us = instant_monotonic_us();
        pid_t grandchild = start_family(&child, SCRIPTS[i]);
        assert_int_not_equal(getpgid(grandchild), getpgrp());
        child_clear(&child);
        if (!is_gone(grandchild))
            fail_msg("%s: %d still runs", SCRIPTS[i], (int)grandchild);
        assert_int_equal(child.pid, 0);
        assert_true(case_seconds_since(started_us) < 4);
    }
}

/* Who ignores SIGTERM is killed after the grace. */
/* Of our group: what a terminal sends to it reaches the child, and our signals go to it alone. */
static void test_in_our_group(void **state)
{
    (void)state;
    struct child_spec spec = {.argv = SHELL("exec sleep 60"), .in_our_group = true};
    struct child child;
    struct child_status status;
    assert_ok(child_check_program("sh", &case_err));
    assert_int_equal(child_check_program("no-such-program", &case_err), ERR_NOT_FOUND);
    assert_ok(child_start(&spec, &child, &case_err));
    assert_int_equal(getpgid(child.pid), getpgrp());
    child_signal(&child, SIGTERM);
    assert_ok(child_wait(&child, -1, &status, &case_err));
    assert_false(status.exited);
    assert_int_equal(status.signal, SIGTERM);
}

static void test_stubborn(void **state)
{
    (void)state;
    struct child child;
    int64_t started_us = instant_monotonic_us();
    pid_t grandchild =
        start_family(&child, "trap '' TERM; sleep 60 & echo $!; while :; do wait; done");
    child_clear(&child);
    assert_true(is_gone(grandchild));
    assert_in_range((int)(case_seconds_since(started_us) * 10), 49, 80);
}

/* A grandchild that left the group and holds our pipe does not hold us up. */
static void test_escaped_grandchild(void **state)
{
    (void)state;
    struct child child;
    struct child_status status;
    int64_t started_us = instant_monotonic_us();
    pid_t grandchild = start_family(&child, "setsid sh -c 'echo $$; exec sleep 20 >/dev/null' & "
                                            "sleep 0.3; echo x >&2");
    assert_ok(child_wait(&child, -1, &status, &case_err));
    assert_true(status.exited);
    assert_string_equal(child.stderr_text, "x\n");
    double seconds = case_seconds_since(started_us);
    assert_int_equal(kill(grandchild, SIGKILL), 0); /* it lived */
    assert_true(seconds < 5);
}

/* It dies with the thread that started it, unless it shall not. */
static void test_dies_with_us(void **state)
{
    (void)state;
    for (int outlives = 0; outlives < 2; outlives++) {
        int pair[2];
        pid_t grandchild = 0;
        assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
        pid_t pid = fork();
        if (pid == 0) {
            struct child_spec spec = {.argv = SHELL("exec sleep 20"), .outlives_us = outlives};
            struct child child;
            if (child_start(&spec, &child, NULL) == 0 &&
                write(pair[1], &child.pid, sizeof(child.pid)) > 0)
                raise(SIGKILL);
            _exit(1);
        }
        assert_int_equal(read(pair[0], &grandchild, sizeof(grandchild)), sizeof(grandchild));
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        close(pair[0]);
        close(pair[1]);
        if (outlives) {
            usleep(100000);
            assert_int_equal(kill(grandchild, 0), 0);
            kill(grandchild, SIGKILL);
        }
        assert_true(is_gone(grandchild));
    }
}

/* Only the three standard descriptors get through, and signals are as a program expects them. */
static void test_clean_start(void **state)
{
    (void)state;
    struct buf output = BUF_INIT(10000);
    int fds[20];
    sigset_t all, old;
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        fds[i] = fcntl(STDIN_FILENO, F_DUPFD, 3); /* without close-on-exec, as some libraries do */
    void (*handler)(int) = signal(SIGPIPE, SIG_IGN);
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    struct child_spec fd_spec = {.argv = (const char *const[]){"ls", "/proc/self/fd", NULL}};
    struct child_spec signal_spec = {
        .argv = (const char *const[]){"grep", "-E", "Sig(Blk|Ign)", "/proc/self/status", NULL}};
    int rc = child_run(&fd_spec, &output, &case_err);
    rc = rc ? rc : child_run(&signal_spec, &output, &case_err);
    sigprocmask(SIG_SETMASK, &old, NULL);
    signal(SIGPIPE, handler);
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        close(fds[i]);
    assert_ok(rc);
    assert_string_equal(buf_text(&output), "0\n1\n2\n3\n" /* 3 is the folder that ls reads */
                                           "SigBlk:\t0000000000000000\n"
                                           "SigIgn:\t0000000000000000\n");
    buf_clear(&output);
}

/* Nothing of ours stays open after many children, good and bad. */
static size_t count_descriptors(void)
{
    _cleanup_(closedirp) DIR *dir = opendir("/proc/self/fd");
    size_t count = 0;
    while (dir && readdir(dir))
        count++;
    return count;
}

static void test_no_descriptor_is_left(void **state)
{
    (void)state;
    size_t before = count_descriptors();
    for (int i = 0; i < 10; i++) {
        struct buf output = BUF_INIT(5);
        run_shell(i % 2 ? "exit 1" : "echo too long a line", &output);
        buf_clear(&output);
        struct child_spec bad = {.argv = (const char *const[]){"/no/such", NULL},
                                 .input = CHILD_PIPE,
                                 .output = CHILD_PIPE};
        struct child child;
        assert_int_not_equal(child_start(&bad, &child, NULL), 0);
        struct child_spec good = {
            .argv = SHELL("cat"), .input = CHILD_PIPE, .output = CHILD_PIPE, .pipe_stderr = true};
        assert_ok(child_start(&good, &child, &case_err));
        child_clear(&child);
    }
    assert_int_equal(count_descriptors(), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

/* A process without standard streams (a daemon that closed them) still has working children. */
static void test_closed_streams(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        int closed[4];
    } ROWS[] = {{"all", {0, 1, 2, -1}},
                {"stdin", {0, -1}},
                {"stdout", {1, -1}},
                {"stderr", {2, -1}},
                {"out and err", {1, 2, -1}}};
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        pid_t pid = fork();
        if (pid == 0) {
            struct buf output = BUF_INIT(1000);
            for (int j = 0; ROWS[i].closed[j] >= 0; j++)
                close(ROWS[i].closed[j]);
            int rc = run_shell("cat; echo out; echo err >&2; exit 4", &output);
            bool good = rc == ERR_CHILD && strcmp(buf_text(&output), "out\n") == 0 &&
                        strcmp(case_err.message, "sh failed (exit status 4): err") == 0;
            _exit(good ? 0 : 1);
        }
        int status = 1;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            fail_msg("%s closed: status %d", ROWS[i].what, status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_not_found),
        cmocka_unit_test(test_path_search),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_much_output),
        cmocka_unit_test(test_output_limit),
        cmocka_unit_test(test_input),
        cmocka_unit_test(test_piped_stderr),
        cmocka_unit_test(test_timeout_and_poll),
        cmocka_unit_test(test_group_is_ended),
        cmocka_unit_test(test_in_our_group),
        cmocka_unit_test(test_stubborn),
        cmocka_unit_test(test_escaped_grandchild),
        cmocka_unit_test(test_dies_with_us),
        cmocka_unit_test(test_clean_start),
        cmocka_unit_test(test_no_descriptor_is_left),
        cmocka_unit_test(test_closed_streams),
    };
    return cmocka_run_group_tests(tests, case_make_folder, case_remove_folder);
}
