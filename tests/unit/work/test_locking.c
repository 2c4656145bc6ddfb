/* The lock of a run: refreshed, given back, and the run is stopped when it is lost or too late. The
 * minute between refreshes is shortened by compiling locking.c in here. */
#include "repository/fixture.h"

#include <sys/wait.h>

#include "repository/locks.h"
#include "store/store_ops.h"
#include "work/locking.h"
#include "work/work.h"

#undef LOCK_REFRESH_US
#define LOCK_REFRESH_US 50000
#undef LOCKING_GRACE_US
#define LOCKING_GRACE_US 500000
#include "work/locking.c"

static const struct lock_request REQUEST = {.job = "nightly", .class = LOCK_DUMP, .run_id = "r1"};

static int copy_holder(const struct lock_holder *holder, void *context, struct error *err)
{
    (void)err;
    *(struct lock_holder *)context = *holder;
    return 0;
}

static struct lock_holder find_holder(struct repository *repository)
{
    struct lock_holder holder = {.number = -1};
    assert_ok(lock_list(repository, copy_holder, &holder, &fixture_err));
    return holder;
}

/* What stops a run stops its process, so only the last of these tests may stop. */
static void test_refreshed_and_given_back(void **state)
{
    struct locking *locking = NULL;
    assert_ok(locking_begin(*state, &REQUEST, 0, &locking, &fixture_err));
    struct lock_holder before = find_holder(*state), after = before;
    assert_string_equal(before.job, "nightly");
    assert_string_equal(before.run_id, "r1");
    assert_ok(lock_check_held(locking_lock(locking), &fixture_err));
    for (int i = 0; i < 100 && after.refreshed_us == before.refreshed_us; i++) {
        usleep(20000);
        after = find_holder(*state);
    }
    assert_true(after.refreshed_us > before.refreshed_us);
    assert_fails(lock_acquire(*state, &REQUEST, NULL, &fixture_err), ERR_BUSY, "nightly");
    int64_t started_us = instant_monotonic_us();
    assert_ok(locking_end(locking, &fixture_err));
    assert_true(instant_monotonic_us() - started_us < US_PER_SECOND); /* its thread was woken */
    assert_int_equal(find_holder(*state).number, -1);
    assert_null(locking_lock(locking));
    assert_ok(locking_end(locking, &fixture_err));
    assert_null(locking_free(locking));
    assert_false(work_interrupted(NULL));
}

static void test_busy_and_freed(void **state)
{
    struct locking *locking = NULL, *second = NULL;
    assert_ok(locking_begin(*state, &REQUEST, 0, &locking, &fixture_err));
    assert_fails(locking_begin(*state, &REQUEST, 0, &second, &fixture_err), ERR_BUSY, "nightly");
    assert_null(second);
    assert_null(locking_free(locking)); /* gives it back as well */
    assert_null(locking_free(NULL));
    assert_ok(locking_begin(*state, &REQUEST, US_PER_HOUR, &locking, &fixture_err));
    locking_free(locking);
    assert_false(work_interrupted(NULL));
}

/* Another's record under the next number, as one leaves that takes the lock over. */
static bool take_over(struct repository *repository)
{
    struct buf record = BUF_INIT(10000);
    bool good =
        store_get(repository->store, "shop/locks/job-nightly/0000000001.json", &record, NULL) == 0;
    char *number = good ? strstr(record.data, "\"number\":1,") : NULL;
    if (number) {
        number[strlen("\"number\":")] = '2';
        good = store_put(repository->store, "shop/locks/job-nightly/0000000002.json", record.data,
                         record.length, STORE_IF_ABSENT, NULL) == 0;
    }
    buf_clear(&record);
    return good && number;
}

/* In a process of its own: 0 when the run was stopped for want of its lock. */
static int lose_lock(struct repository *repository)
{
    struct locking *locking = NULL;
    struct error err = ERROR_NONE;
    if (locking_begin(repository, &REQUEST, 0, &locking, NULL) || work_interrupted(NULL) ||
        !take_over(repository))
        return 1;
    for (int i = 0; i < 500 && !work_interrupted(&err); i++)
        usleep(10000);
    if (err.code != ERR_CONFLICT || !strstr(err.message, "of this run was taken over by"))
        return 2;
    return locking_end(locking, &err) == 0 && locking_free(locking) == NULL ? 0 : 3;
}

static void test_lost(void **state)
{
    struct repository *repository = *state;
    int status = 1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(lose_lock(repository));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    struct buf record = BUF_INIT(10000);
    assert_ok(store_get(repository->store, "shop/locks/job-nightly/0000000002.json", &record,
                        &fixture_err));
    assert_null(strstr(buf_text(&record), "released")); /* the other's was left alone */
    buf_clear(&record);
}

static void test_timeout(void **state)
{
    struct locking *locking = NULL;
    struct error err = ERROR_NONE;
    int64_t started_us = instant_monotonic_us();
    assert_ok(locking_begin(*state, &REQUEST, 2 * US_PER_SECOND, &locking, &fixture_err));
    while (!work_interrupted(&err) && instant_monotonic_us() - started_us < 10 * US_PER_SECOND)
        usleep(10000);
    assert_in_range((instant_monotonic_us() - started_us) / 100000, 20, 30);
    assert_int_equal(err.code, ERR_TIMEOUT);
    assert_string_equal(err.message, "stopped after its timeout of 2s");
    assert_ok(lock_check_held(locking_lock(locking), &fixture_err)); /* to the end of the work */
    work_stop(ERR_CONFLICT, "later");
    assert_true(work_interrupted(&err));
    assert_int_equal(err.code, ERR_TIMEOUT); /* the first reason stays */
    locking_free(locking);
}

static struct store *stopped[2];
static int64_t stopped_at_us[2];

static void note_stop(struct store *store)
{
    for (int i = 0; i < 2; i++) {
        if (stopped[i] == store)
            return;
        if (!stopped[i]) {
            stopped[i] = store;
            stopped_at_us[i] = instant_monotonic_us();
            return;
        }
    }
}

/* In the process that test_timeout stopped: the work's requests end at once, those that give the
 * lock back go on for a while. */
static void test_store_is_stopped(void **state)
{
    struct repository *repository = *state;
    struct locking *locking = NULL;
    struct store_ops ops = store_file_ops;
    ops.stop = note_stop;
    repository->store->ops = repository->keeper->store->ops = &ops;
    assert_true(work_interrupted(NULL));
    int64_t started_us = instant_monotonic_us();
    assert_ok(locking_begin(repository, &REQUEST, 0, &locking, &fixture_err));
    while (!stopped[1] && instant_monotonic_us() - started_us < 20 * US_PER_SECOND)
        usleep(10000);
    assert_ptr_equal(stopped[0], repository->store);
    assert_ptr_equal(stopped[1], repository->keeper->store);
    assert_true(stopped_at_us[0] - started_us < US_PER_SECOND);
    assert_in_range(stopped_at_us[1] - stopped_at_us[0], LOCKING_GRACE_US,
                    LOCKING_GRACE_US + US_PER_SECOND);
    assert_ok(locking_end(locking, &fixture_err));
    assert_int_equal(find_holder(repository).number, -1);
    locking_free(locking);
    repository->store->ops = repository->keeper->store->ops = &store_file_ops;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_refreshed_and_given_back),
        FIXTURE_TEST(test_busy_and_freed),
        FIXTURE_TEST(test_lost),
        FIXTURE_TEST(test_timeout),
        FIXTURE_TEST(test_store_is_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
