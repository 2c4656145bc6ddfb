/* Whose children are whose: orphans are reaped and no child of ours; descendants in other groups
 * are found, and nobody else. */
#include "case.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/child.h"
#include "base/family.h"
#include "base/process.h"
#include "base/units.h"

enum { PATIENCE = 1000, STEP_US = 10000 };

/* Starts a shell that says the id of a process it made. */
static pid_t start(struct child *child, const char *script)
{
    char line[32] = "";
    int64_t pid = 0;
    const char *const argv[] = {"sh", "-c", script, NULL};
    struct child_spec spec = {.argv = argv, .output = CHILD_PIPE, .inherit_stderr = true};
    assert_int_equal(child_start(&spec, child, &case_err), 0);
    ssize_t n = read(child->output_fd, line, sizeof(line) - 1);
    assert_true(n > 1);
    line[n - 1] = '\0';
    assert_int_equal(number_parse(line, "process", 1, INT32_MAX, &pid, &case_err), 0);
    return (pid_t)pid;
}

static bool lives(pid_t pid)
{
    struct process_stat stat;
    return process_read_stat(pid, &stat) && stat.state != 'Z' && stat.state != 'X';
}

static void await_end(pid_t pid)
{
    for (int i = 0; i < PATIENCE && lives(pid); i++)
        usleep(STEP_US);
    assert_false(lives(pid));
}

static const char OWN_SESSION[] = "setsid sleep 600 & echo $!; wait";

static void test_a_killed_child_takes_all_with_it(void **state)
{
    struct child child;
    struct child_status status;
    (void)state;
    pid_t pid = start(&child, OWN_SESSION);
    for (int i = 0; i < PATIENCE && getpgid(pid) != pid; i++)
        usleep(STEP_US);
    assert_int_equal(getpgid(pid), pid); /* out of the reach of a signal to the child's group */
    child_signal(&child, SIGKILL);
    assert_int_equal(child_wait(&child, -1, &status, &case_err), 0);
    assert_int_equal(status.signal, SIGKILL);
    await_end(pid);
}

static void test_what_is_cleared_leaves_nothing(void **state)
{
    struct child child;
    (void)state;
    pid_t pid = start(&child, OWN_SESSION);
    child_clear(&child);
    await_end(pid);
    pid = start(&child, "sh -c 'setsid sleep 600 & echo $!; exec sleep 600' & wait");
    child_clear(&child);
    await_end(pid);
}

static void test_another_start_is_another_process(void **state)
{
    struct child child;
    struct process_stat stat;
    struct family family = {.count = 0}, wrong;
    (void)state;
    pid_t pid = start(&child, OWN_SESSION);
    family_gather(child.pid, &family);
    assert_int_equal(family.count, 1);
    assert_int_equal(family.members[0].pid, pid);
    family_gather(child.pid, &family); /* once each */
    assert_int_equal(family.count, 1);
    wrong = family;
    wrong.members[0].start_ticks++;
    assert_int_equal(family_signal(&wrong, SIGKILL), 0);
    assert_true(process_read_stat(pid, &stat) && stat.parent == child.pid);
    assert_int_equal(family_signal(&family, 0), 1);
    assert_true(lives(pid));
    child_clear(&child);
    assert_int_equal(family_signal(&family, SIGKILL), 0);
    family = (struct family){.count = 0};
    family_gather(INT32_MAX, &family);
    assert_int_equal(family.count, 0);
}

static void await_zombie(pid_t pid)
{
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

static void test_orphans_are_reaped_and_children_are_not(void **state)
{
    struct child parent, own;
    struct child_status status;
    (void)state;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    pid_t orphan = start(&parent, "setsid sleep 0.2 & echo $!");
    assert_int_equal(child_wait(&parent, -1, &status, &case_err), 0);
    await_zombie(orphan); /* it came to us: to another's child one can't wait */
    start(&own, "echo 1; exit 7");
    await_zombie(own.pid);
    size_t reaped = family_reap_orphans();
    assert_int_equal(child_wait(&own, -1, &status, &case_err), 0);
    assert_true(status.exited && status.exit_status == 7);
    assert_int_equal(reaped + family_reap_orphans(), 1);
    assert_int_equal(waitpid(orphan, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    assert_int_equal(family_reap_orphans(), 0);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_killed_child_takes_all_with_it),
        cmocka_unit_test(test_what_is_cleared_leaves_nothing),
        cmocka_unit_test(test_another_start_is_another_process),
        cmocka_unit_test(test_orphans_are_reaped_and_children_are_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
