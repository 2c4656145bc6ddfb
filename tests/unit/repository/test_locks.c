/* Locks: who excludes whom, races, holders that die, holders elsewhere. */
#include "fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "repository/locks.h"

static struct lock_request request_of(const char *job, enum lock_class class)
{
    return (struct lock_request){.job = job, .class = class, .run_id = "run-7"};
}

static struct lock *acquire(struct repository *repository, const char *job, enum lock_class class)
{
    struct lock_request request = request_of(job, class);
    struct lock *lock = NULL;
    assert_ok(lock_acquire(repository, &request, &lock, &fixture_err));
    return lock;
}

static int try_acquire(struct repository *repository, const char *job, enum lock_class class)
{
    struct lock_request request = request_of(job, class);
    struct lock *lock = NULL;
    fixture_err = ERROR_NONE;
    int rc = lock_acquire(repository, &request, &lock, &fixture_err);
    lock_free(lock);
    return rc;
}

static int count_holders(const struct lock_holder *holder, void *context, struct error *err)
{
    (void)err;
    assert_true(holder->process.pid > 0);
    ++*(int *)context;
    return 0;
}

static int holders(struct repository *repository)
{
    int count = 0;
    assert_ok(lock_list(repository, count_holders, &count, &fixture_err));
    return count;
}

static void test_same_job(void **state)
{
    struct repository *repository = *state;
    struct lock *lock = acquire(repository, "nightly", LOCK_DUMP);
    assert_int_equal(try_acquire(repository, "nightly", LOCK_DUMP), ERR_BUSY);
    assert_int_equal(strncmp(fixture_err.message, "job \"nightly\" (dump, run run-7, pid ", 36), 0);
    assert_non_null(strstr(fixture_err.message, ") runs already"));
    assert_true(fixture_err.hint[0] != '\0');
    assert_int_equal(holders(repository), 1);
    assert_ok(lock_check_held(lock, &fixture_err));
    assert_ok(lock_refresh(lock, &fixture_err));
    assert_ok(lock_release(lock, &fixture_err));
    assert_ok(lock_release(lock, &fixture_err));
    assert_ok(lock_refresh(lock, &fixture_err)); /* does nothing any more */
    assert_int_equal(holders(repository), 0);
    assert_int_equal(try_acquire(repository, "nightly", LOCK_DUMP), 0);
    lock_free(lock);
    assert_objects(repository, "shop/locks/", "shop/locks/job-nightly/0000000002.json\n");
}

static void test_classes(void **state)
{
    struct repository *repository = *state;
    static const struct {
        enum lock_class held, wanted;
        int rc;
    } ROWS[] = {
        {LOCK_DUMP, LOCK_DUMP, 0},          {LOCK_DUMP, LOCK_SNAPSHOT, 0},
        {LOCK_DUMP, LOCK_RESTORE, 0},       {LOCK_DUMP, LOCK_VERIFY, 0},
        {LOCK_DUMP, LOCK_OTHER, 0},         {LOCK_DUMP, LOCK_VACUUM, ERR_BUSY},
        {LOCK_DUMP, LOCK_PRUNE, ERR_BUSY},  {LOCK_SNAPSHOT, LOCK_PRUNE, ERR_BUSY},
        {LOCK_SNAPSHOT, LOCK_VACUUM, 0},    {LOCK_RESTORE, LOCK_PRUNE, ERR_BUSY},
        {LOCK_RESTORE, LOCK_RESTORE, 0},    {LOCK_VERIFY, LOCK_PRUNE, ERR_BUSY},
        {LOCK_PRUNE, LOCK_PRUNE, ERR_BUSY}, {LOCK_PRUNE, LOCK_VACUUM, 0},
        {LOCK_PRUNE, LOCK_OTHER, 0},        {LOCK_VACUUM, LOCK_VACUUM, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        for (int swapped = 0; swapped < 2; swapped++) {
            enum lock_class held = swapped ? ROWS[i].wanted : ROWS[i].held;
            enum lock_class wanted = swapped ? ROWS[i].held : ROWS[i].wanted;
            struct lock *lock = acquire(repository, "a", held);
            int rc = try_acquire(repository, "b", wanted);
            if (rc != ROWS[i].rc)
                fail_msg("%s beside %s: %d", lock_class_name(wanted), lock_class_name(held), rc);
            if (rc)
                assert_non_null(strstr(fixture_err.message, " can't run beside job \"a\" ("));
            lock_free(lock);
            assert_int_equal(holders(repository), 0);
        }
    }
}

/* What is no job takes the first free of a bounded set of names. */
static void test_slots(void **state)
{
    struct repository *repository = *state;
    struct lock *first = acquire(repository, NULL, LOCK_RESTORE);
    struct lock *second = acquire(repository, NULL, LOCK_RESTORE);
    lock_free(first);
    struct lock *third = acquire(repository, NULL, LOCK_RESTORE);
    assert_int_equal(try_acquire(repository, "prune", LOCK_PRUNE), ERR_BUSY);
    assert_non_null(strstr(fixture_err.message, "can't run beside restore-"));
    assert_objects(repository, "shop/locks/restore",
                   "shop/locks/restore-1/0000000002.json\nshop/locks/restore-2/0000000001.json\n");
    lock_free(second);
    lock_free(third);
}

/* Another process takes the lock and is killed: free at once, without waiting. */
static void test_killed_holder(void **state)
{
    struct repository *repository = *state;
    int ready[2];
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct lock_request request = request_of("nightly", LOCK_DUMP);
        struct lock *lock;
        char ok = lock_acquire(repository, &request, &lock, NULL) == 0;
        if (write(ready[1], &ok, 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    char ok = 0;
    assert_int_equal(read(ready[0], &ok, 1), 1);
    assert_true(ok);
    assert_int_equal(try_acquire(repository, "nightly", LOCK_DUMP), ERR_BUSY);
    assert_int_equal(try_acquire(repository, "prune", LOCK_PRUNE), ERR_BUSY);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(holders(repository), 0);
    assert_int_equal(try_acquire(repository, "prune", LOCK_PRUNE), 0);
    assert_int_equal(try_acquire(repository, "nightly", LOCK_DUMP), 0);
    close(ready[0]);
    close(ready[1]);
}

/* A record as another machine would have left it. */
static void put_foreign(struct repository *repository, const char *host, const char *machine,
                        const char *place, int64_t refreshed_us)
{
    json_t *record = json_pack(
        "{s:i, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:s, s:s, s:o, s:o}", "format", 1,
        "number", 5, "name", "job-nightly", "class", "dump", "state", "held", "host", host,
        "machine", machine, "place", place, "pid", 1, "start_ticks", 77, "job", "nightly", "run_id",
        "run-9", "acquired_at", json_instant(refreshed_us - US_PER_HOUR), "refreshed_at",
        json_instant(refreshed_us));
    assert_ok(repository_write_json(repository, "shop/locks/job-nightly/0000000005.json", record, 0,
                                    &fixture_err));
}

static void test_foreign_holder(void **state)
{
    struct repository *repository = *state;
    static const char KEY[] = "shop/locks/job-nightly/0000000005.json";
    int64_t now_us = instant_now_us();
    put_foreign(repository, "elsewhere", "0123", "other-boot/pid:[1]", now_us - US_PER_MINUTE);
    assert_int_equal(try_acquire(repository, "nightly", LOCK_DUMP), ERR_BUSY);
    assert_non_null(strstr(fixture_err.message, "run run-9, pid 1 on elsewhere, since "));
    /* Its own clock may be behind: the store's time counts too. */
    put_foreign(repository, "elsewhere", "0123", "other-boot/pid:[1]", now_us - US_PER_HOUR);
    assert_int_equal(try_acquire(repository, "nightly", LOCK_DUMP), ERR_BUSY);
    fixture_set_time(KEY, now_us - 9 * US_PER_MINUTE);
    assert_int_equal(try_acquire(repository, "nightly", LOCK_DUMP), ERR_BUSY);
    fixture_set_time(KEY, now_us - 11 * US_PER_MINUTE);
    assert_int_equal(try_acquire(repository, "nightly", LOCK_DUMP), 0);
    assert_objects(repository, "shop/locks/", "shop/locks/job-nightly/0000000006.json\n");
}

/* The same machine, booted since: free at once. Another machine of the same name: not. */
static void test_reboot(void **state)
{
    struct repository *repository = *state;
    char host[256] = "";
    gethostname(host, sizeof(host) - 1);
    put_foreign(repository, host, "0123456789abcdef0123456789abcdef", "other-boot/pid:[1]",
                instant_now_us());
    assert_int_equal(try_acquire(repository, "nightly", LOCK_DUMP), ERR_BUSY);
    FILE *file = fopen("/etc/machine-id", "re");
    char text[33] = "";
    if (!file || fread(text, 1, 32, file) != 32) {
        print_message("this machine has no machine-id: a reboot can't be told\n");
    } else {
        put_foreign(repository, host, text, "other-boot/pid:[1]", instant_now_us());
        assert_int_equal(try_acquire(repository, "nightly", LOCK_DUMP), 0);
    }
    if (file)
        fclose(file);
}

/* The lock was taken over while we were asleep: every further step is refused. */
static void test_lost(void **state)
{
    struct repository *repository = *state;
    struct lock *lock = acquire(repository, "nightly", LOCK_DUMP);
    put_foreign(repository, "elsewhere", "0123", "other-boot/pid:[1]", instant_now_us());
    assert_fails(lock_check_held(lock, &fixture_err), ERR_CONFLICT,
                 "the lock \"job-nightly\" of this run was taken over by job \"nightly\" (dump, "
                 "run run-9, pid 1 on elsewhere");
    assert_int_equal(lock_refresh(lock, &fixture_err), ERR_CONFLICT);
    assert_ok(lock_release(lock, &fixture_err));
    lock_free(lock);
    assert_int_equal(holders(repository), 1); /* the other's lock is untouched */
}

/* A person deleted the record: another may begin with the first number, which is no higher. */
static void test_record_gone(void **state)
{
    struct repository *repository = *state;
    lock_free(acquire(repository, "nightly", LOCK_DUMP));
    struct lock *lock = acquire(repository, "nightly", LOCK_DUMP);
    assert_ok(lock_check_held(lock, &fixture_err));
    assert_ok(
        store_delete(repository->store, "shop/locks/job-nightly/0000000002.json", &fixture_err));
    assert_fails(lock_check_held(lock, &fixture_err), ERR_CONFLICT,
                 "the record of the lock \"job-nightly\" of this run is gone");
    assert_true(fixture_err.hint[0] != '\0');
    struct lock *other = acquire(repository, "nightly", LOCK_DUMP);
    assert_int_equal(lock_number(other), 1);
    assert_int_equal(lock_refresh(lock, &fixture_err), ERR_CONFLICT);
    assert_ok(lock_release(lock, &fixture_err));
    assert_ok(lock_check_held(other, &fixture_err)); /* untouched */
    lock_free(lock);
    lock_free(other);
}

static void test_unreadable(void **state)
{
    struct repository *repository = *state;
    int count = 0;
    fixture_put(repository, "shop/locks/job-nightly/0000000001.json", "{\"format\":1}");
    assert_int_equal(try_acquire(repository, "nightly", LOCK_DUMP), ERR_CORRUPT);
    assert_non_null(strstr(fixture_err.hint, "delete that object"));
    assert_fails(lock_list(repository, count_holders, &count, &fixture_err), ERR_UNKNOWN,
                 "shop/locks/job-nightly/0000000001.json: \"class\" is missing");
    assert_int_equal(try_acquire(repository, "prune", LOCK_PRUNE), ERR_UNKNOWN);
}

static void *release_later(void *lock)
{
    usleep(300000);
    lock_free(lock);
    return NULL;
}

static void test_wait(void **state)
{
    struct repository *repository = *state;
    struct lock *lock = acquire(repository, "nightly", LOCK_DUMP), *second = NULL;
    struct lock_request request = request_of("nightly", LOCK_DUMP);
    pthread_t thread;
    request.wait_us = 20 * US_PER_SECOND;
    assert_int_equal(pthread_create(&thread, NULL, release_later, lock), 0);
    assert_ok(lock_acquire(repository, &request, &second, &fixture_err));
    pthread_join(thread, NULL);
    lock_free(second);
}

enum { ROUNDS = 30 };

struct racer {
    struct repository *repository;
    const char *job;
    enum lock_class class;
    pthread_barrier_t *barrier;
    bool won[ROUNDS];
    int failures;
};

/* Both begin at once; who wins keeps the lock until both are done. */
static void *race(void *argument)
{
    struct racer *racer = argument;
    for (int i = 0; i < ROUNDS; i++) {
        struct lock_request request = request_of(racer->job, racer->class);
        struct lock *lock = NULL;
        pthread_barrier_wait(racer->barrier);
        int rc = lock_acquire(racer->repository, &request, &lock, NULL);
        racer->won[i] = rc == 0;
        racer->failures += rc != 0 && rc != ERR_BUSY;
        pthread_barrier_wait(racer->barrier);
        lock_free(lock);
    }
    return NULL;
}

static void run_race(struct repository *repository, const char *job_a, enum lock_class class_a,
                     const char *job_b, enum lock_class class_b)
{
    pthread_barrier_t barrier;
    pthread_t threads[2];
    struct racer racers[2] = {{.job = job_a, .class = class_a}, {.job = job_b, .class = class_b}};
    pthread_barrier_init(&barrier, NULL, 2);
    for (int i = 0; i < 2; i++) {
        racers[i].repository = repository;
        racers[i].barrier = &barrier;
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(racers[i].failures, 0);
    }
    pthread_barrier_destroy(&barrier);
    for (int i = 0; i < ROUNDS; i++)
        if (racers[0].won[i] == racers[1].won[i])
            fail_msg("round %d: %s", i, racers[0].won[i] ? "both hold it" : "nobody holds it");
}

/* Who has the server's lock now takes over from whom it was taken away, and from nobody else. */
static void test_taken_over(void **state)
{
    struct repository *repository = *state;
    struct lock_request request = request_of("nightly", LOCK_DUMP);
    struct lock *before = NULL, *after = NULL;
    request.under = "17/5";
    assert_ok(lock_acquire(repository, &request, &before, &fixture_err));
    request.under = "18/5"; /* the server was restarted since */
    assert_fails(lock_acquire(repository, &request, &after, &fixture_err), ERR_BUSY,
                 "runs already");
    request.under = NULL;
    assert_fails(lock_acquire(repository, &request, &after, &fixture_err), ERR_BUSY,
                 "runs already");
    request.under = "17/5";
    assert_ok(lock_acquire(repository, &request, &after, &fixture_err));
    assert_int_equal(lock_number(after), lock_number(before) + 1);
    assert_fails(lock_check_held(before, &fixture_err), ERR_CONFLICT, "taken over");
    assert_ok(lock_check_held(after, &fixture_err));
    assert_ok(lock_release(before, &fixture_err)); /* which takes nothing from the other */
    assert_ok(lock_check_held(after, &fixture_err));
    assert_int_equal(holders(repository), 1);
    lock_free(before);
    lock_free(after);
}

static bool stop_at_once(struct error *err)
{
    error_set(err, ERR_INTERRUPTED, "stopped by a signal");
    return true;
}

/* For the end of a run of the same job one waits longer, unless something says stop. */
static void test_wait_for_the_same_job(void **state)
{
    struct repository *repository = *state;
    struct lock_request request = request_of("nightly", LOCK_DUMP);
    struct lock *lock = acquire(repository, "nightly", LOCK_DUMP), *other = NULL;
    request.wait_own_us = US_PER_SECOND;
    int64_t started_us = instant_monotonic_us();
    assert_fails(lock_acquire(repository, &request, &other, &fixture_err), ERR_BUSY, "nightly");
    assert_true(instant_monotonic_us() - started_us >= US_PER_SECOND);
    request.wait_own_us = US_PER_HOUR;
    request.stop = stop_at_once;
    assert_fails(lock_acquire(repository, &request, &other, &fixture_err), ERR_INTERRUPTED,
                 "signal");
    lock_free(lock);
    lock = acquire(repository, "prune", LOCK_PRUNE);
    request.stop = NULL;
    assert_fails(lock_acquire(repository, &request, &other, &fixture_err), ERR_BUSY,
                 "can't run beside");
    lock_free(lock);
}

static void test_race_same_name(void **state)
{
    run_race(*state, "nightly", LOCK_DUMP, "nightly", LOCK_DUMP);
}

static void test_race_of_classes(void **state)
{
    run_race(*state, "prune", LOCK_PRUNE, "nightly", LOCK_DUMP);
    run_race(*state, "tidy", LOCK_VACUUM, "nightly", LOCK_DUMP);
    run_race(*state, "prune-a", LOCK_PRUNE, "prune-b", LOCK_PRUNE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_same_job),       FIXTURE_TEST(test_classes),
        FIXTURE_TEST(test_slots),          FIXTURE_TEST(test_killed_holder),
        FIXTURE_TEST(test_foreign_holder), FIXTURE_TEST(test_reboot),
        FIXTURE_TEST(test_lost),           FIXTURE_TEST(test_record_gone),
        FIXTURE_TEST(test_unreadable),     FIXTURE_TEST(test_wait),
        FIXTURE_TEST(test_taken_over),     FIXTURE_TEST(test_wait_for_the_same_job),
        FIXTURE_TEST(test_race_same_name), FIXTURE_TEST(test_race_of_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
