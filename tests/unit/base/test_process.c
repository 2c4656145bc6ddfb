/* Who is that process: the living, the dead, zombies, and numbers used again. */
#include "case.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/process.h"

/* A child that tells who it is and lives until it is killed. */
static pid_t start_child(const char *name, struct process_identity *ret_identity)
{
    int pair[2];
    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct process_identity self;
        prctl(PR_SET_NAME, name);
        process_self(&self);
        if (write(pair[1], &self, sizeof(self)) == sizeof(self))
            pause();
        _exit(1);
    }
    assert_int_equal(read(pair[0], ret_identity, sizeof(*ret_identity)), sizeof(*ret_identity));
    close(pair[0]);
    close(pair[1]);
    return pid;
}

static void test_self(void **state)
{
    (void)state;
    struct process_identity self, again;
    process_self(&self);
    process_self(&again);
    assert_int_equal(self.pid, getpid());
    assert_true(self.start_ticks > 0);
    assert_int_equal(self.start_ticks, again.start_ticks);
    assert_string_equal(self.place, again.place);
    assert_non_null(strstr(self.place, "/pid:["));
    assert_int_equal(strcspn(self.place, "/"), 36); /* the boot's UUID */
    assert_true(process_alive(&self));
}

/* Names that look like fields of /proc/PID/stat do not shift them. */
static void test_life_and_death(void **state)
{
    (void)state;
    static const char *const NAMES[] = {"plain", ") Z 1 1 1", "(((", "a) R (b", ""};
    for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++) {
        struct process_identity identity;
        pid_t pid = start_child(NAMES[i], &identity);
        assert_int_equal(identity.pid, pid);
        bool alive = process_alive(&identity);
        kill(pid, SIGKILL);
        siginfo_t info;
        assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
        bool zombie_alive = process_alive(&identity);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        if (!alive || zombie_alive || process_alive(&identity))
            fail_msg("%s: alive %d, as a zombie %d", NAMES[i], alive, zombie_alive);
    }
}

static void test_others(void **state)
{
    (void)state;
    struct process_identity self, other;
    process_self(&self);
    other = self;
    other.start_ticks++; /* the number was used again */
    assert_false(process_alive(&other));
    other = self;
    other.start_ticks = 0; /* not known: the number has to do */
    assert_true(process_alive(&other));
    other = self;
    other.place[0] = other.place[0] == 'x' ? 'y' : 'x'; /* another boot */
    assert_false(process_alive(&other));
    other = self;
    other.place[0] = '\0';
    assert_false(process_alive(&other));
    other = self;
    other.pid = 0;
    assert_false(process_alive(&other));
    other.pid = -1;
    assert_false(process_alive(&other));
    other.pid = 0x7ffffff0; /* above any kernel's pid_max */
    assert_false(process_alive(&other));
    other.start_ticks = 0;
    assert_false(process_alive(&other));
}

/* Gone for certain, alive, or out of sight: three answers. */
static void test_gone(void **state)
{
    (void)state;
    struct process_identity self, other;
    process_self(&self);
    assert_false(process_gone(&self));
    other = self;
    other.start_ticks++;
    assert_true(process_gone(&other));
    other = self;
    other.pid = 0x7ffffff0;
    assert_true(process_gone(&other));
    other = self;
    other.place[0] = other.place[0] == 'x' ? 'y' : 'x'; /* another boot */
    assert_true(process_gone(&other));
    other = self;
    other.place[strlen(other.place) - 2] ^= 1; /* another pid namespace of this boot */
    assert_false(process_gone(&other));
    assert_false(process_alive(&other));
    other = self;
    other.place[0] = '\0';
    assert_false(process_gone(&other));
    other = self;
    other.pid = 0;
    assert_false(process_gone(&other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_self),
        cmocka_unit_test(test_life_and_death),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
