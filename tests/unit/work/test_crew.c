/* Crews: the first error wins, guards are cancelled once, nobody is left behind. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/instant.h"
#include "work/crew.h"

enum { WAIT_US = 10000000, STEP_US = 1000 };

struct worker {
    struct crew *crew;
    int number;
    int guard;
    atomic_int cancelled;
    atomic_bool guarded, done;
    struct worker *waits_for; /* fails after that one has */
};

static struct crew *new_crew(void)
{
    struct crew *crew = NULL;
    assert_int_equal(crew_new(&crew, NULL), 0);
    return crew;
}

static bool await(atomic_bool *flag)
{
    for (int i = 0; i < WAIT_US / STEP_US && !atomic_load(flag); i++)
        usleep(STEP_US);
    return atomic_load(flag);
}

static void cancel(void *argument)
{
    struct worker *worker = argument;
    atomic_fetch_add(&worker->cancelled, 1);
}

/* Sits in a long call until it is cancelled, then fails as such a call does. */
static int sit(void *argument, struct error *err)
{
    struct worker *worker = argument;
    worker->guard = crew_guard(worker->crew, cancel, worker);
    if (worker->guard < 0)
        return 0;
    atomic_store(&worker->guarded, true);
    for (int i = 0; i < WAIT_US / STEP_US && !atomic_load(&worker->cancelled); i++)
        usleep(STEP_US);
    crew_unguard(worker->crew, worker->guard);
    return error_set(err, ERR_SQL, "worker %d was cancelled", worker->number);
}

static int fail_now(void *argument, struct error *err)
{
    struct worker *worker = argument;
    if (worker->waits_for)
        await(&worker->waits_for->guarded);
    error_set(err, ERR_IO, "worker %d failed", worker->number);
    return error_hint(err, "hint of %d", worker->number);
}

static int succeed(void *argument, struct error *err)
{
    (void)err;
    atomic_store(&((struct worker *)argument)->done, true);
    return 0;
}

static void test_success(void **state)
{
    (void)state;
    struct crew *crew = new_crew();
    struct worker workers[5] = {0};
    assert_true(crew_ended(crew, 0));
    for (size_t i = 0; i < ARRAY_SIZE(workers); i++)
        assert_int_equal(crew_start(crew, succeed, &workers[i], NULL), 0);
    assert_true(crew_ended(crew, WAIT_US));
    struct error err = ERROR_NONE;
    assert_int_equal(crew_join(crew, &err), 0);
    assert_int_equal(err.code, 0);
    assert_false(crew_stopped(crew));
    for (size_t i = 0; i < ARRAY_SIZE(workers); i++)
        assert_true(atomic_load(&workers[i].done));
    assert_int_equal(crew_start(crew, succeed, &workers[0], NULL), 0); /* once more after a join */
    assert_int_equal(crew_join(crew, NULL), 0);
    assert_null(crew_free(crew));
    assert_null(crew_free(NULL));
}

/* Many sit in long calls when one fails: each is cancelled just once, its error is the crew's. */
static void test_first_error_wins(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    struct crew *crew = new_crew();
    struct worker workers[COUNT + 1] = {0};
    struct error err = ERROR_NONE;
    for (int i = 0; i <= COUNT; i++) {
        workers[i].crew = crew;
        workers[i].number = i;
    }
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(crew_start(crew, sit, &workers[i], NULL), 0);
    for (int i = 0; i < COUNT; i++)
        assert_true(await(&workers[i].guarded));
    assert_false(crew_stopped(crew));
    assert_false(crew_ended(crew, 10000));
    assert_int_equal(crew_start(crew, fail_now, &workers[COUNT], NULL), 0);
    assert_int_equal(crew_join(crew, &err), ERR_IO);
    assert_string_equal(err.message, "worker 20 failed");
    assert_string_equal(err.hint, "hint of 20");
    assert_true(crew_stopped(crew));
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(atomic_load(&workers[i].cancelled), 1);
    crew_fail(crew, &(struct error){.code = ERR_BUSY, .message = "too late"});
    assert_int_equal(crew_join(crew, &err), ERR_IO);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(atomic_load(&workers[i].cancelled), 1);
    crew_free(crew);
}

static void test_given_up_from_outside(void **state)
{
    (void)state;
    struct crew *crew = new_crew();
    struct worker worker = {.crew = crew};
    struct error err = ERROR_NONE;
    assert_int_equal(crew_start(crew, sit, &worker, NULL), 0);
    assert_true(await(&worker.guarded));
    crew_fail(crew, &(struct error){.code = ERR_INTERRUPTED, .message = "stopped by a signal"});
    assert_int_equal(crew_join(crew, &err), ERR_INTERRUPTED);
    assert_string_equal(err.message, "stopped by a signal");
    assert_int_equal(atomic_load(&worker.cancelled), 1);
    crew_free(crew);
}

/* After the stop nothing begins; what was unguarded before is not cancelled. */
static void test_no_guard_after_stop(void **state)
{
    (void)state;
    struct crew *crew = new_crew();
    struct worker early = {.crew = crew}, late = {.crew = crew}, held = {.crew = crew};
    int guard = crew_guard(crew, cancel, &early), other = crew_guard(crew, cancel, &held);
    assert_true(guard >= 0 && other >= 0 && guard != other);
    crew_unguard(crew, guard);
    crew_fail(crew, &(struct error){.code = ERR_IO, .message = "x"});
    assert_int_equal(crew_guard(crew, cancel, &late), -1);
    crew_unguard(crew, -1);
    crew_unguard(crew, other);
    assert_int_equal(atomic_load(&early.cancelled), 0);
    assert_int_equal(atomic_load(&late.cancelled), 0);
    assert_int_equal(atomic_load(&held.cancelled), 1);
    crew_free(crew);
    assert_int_equal(atomic_load(&held.cancelled), 1);
}

static void test_free_stops(void **state)
{
    (void)state;
    struct crew *crew = new_crew();
    struct worker workers[3] = {{.crew = crew}, {.crew = crew}, {.crew = crew}};
    for (size_t i = 0; i < ARRAY_SIZE(workers); i++)
        assert_int_equal(crew_start(crew, sit, &workers[i], NULL), 0);
    assert_true(await(&workers[0].guarded));
    int64_t started_us = instant_monotonic_us();
    crew_free(crew); /* also with some that have not reached their guard */
    assert_true(instant_monotonic_us() - started_us < 5 * US_PER_SECOND);
    for (size_t i = 0; i < ARRAY_SIZE(workers); i++)
        assert_int_equal(atomic_load(&workers[i].cancelled), atomic_load(&workers[i].guarded));
}

static int fail_silently(void *argument, struct error *err)
{
    (void)argument;
    (void)err;
    return ERR_SQL;
}

/* A failure that was not worded is a failure all the same. */
static void test_error_without_text(void **state)
{
    (void)state;
    struct crew *crew = new_crew();
    struct error err = ERROR_NONE;
    assert_int_equal(crew_start(crew, fail_silently, NULL, NULL), 0);
    assert_int_equal(crew_join(crew, &err), ERR_SQL);
    assert_int_equal(err.code, ERR_SQL);
    crew_free(crew);
}

static void test_limits(void **state)
{
    (void)state;
    struct crew *crew = new_crew();
    static struct worker workers[CREW_THREADS_MAX + 1];
    struct error err = ERROR_NONE;
    for (int i = 0; i < CREW_GUARDS_MAX; i++)
        assert_int_equal(crew_guard(crew, cancel, &workers[0]), i);
    assert_int_equal(crew_guard(crew, cancel, &workers[0]), -1);
    crew_unguard(crew, 77);
    assert_int_equal(crew_guard(crew, cancel, &workers[0]), 77);
    for (size_t i = 0; i < CREW_THREADS_MAX; i++)
        assert_int_equal(crew_start(crew, succeed, &workers[i], &err), 0);
    assert_int_equal(crew_start(crew, succeed, &workers[CREW_THREADS_MAX], &err), ERR_LIMIT);
    assert_string_equal(err.message, "more than 128 threads");
    assert_int_equal(crew_join(crew, NULL), 0);
    for (size_t i = 0; i < CREW_THREADS_MAX; i++)
        assert_true(atomic_load(&workers[i].done));
    crew_free(crew);
}

/* Guards that come and go while the crew is stopped: none is cancelled after its unguard. */
static atomic_bool in_call[8];
static atomic_int late_cancels;

static void cancel_checked(void *argument)
{
    if (!atomic_load((atomic_bool *)argument))
        atomic_fetch_add(&late_cancels, 1);
}

static int come_and_go(void *argument, struct error *err)
{
    struct worker *worker = argument;
    atomic_bool *mine = &in_call[worker->number];
    (void)err;
    for (int guard = 0; guard >= 0;) {
        atomic_store(mine, true);
        guard = crew_guard(worker->crew, cancel_checked, mine);
        crew_unguard(worker->crew, guard);
        atomic_store(mine, false);
    }
    return 0;
}

static void test_guard_race(void **state)
{
    (void)state;
    for (int round = 0; round < 30; round++) {
        struct crew *crew = new_crew();
        struct worker workers[ARRAY_SIZE(in_call)] = {0};
        for (int i = 0; i < (int)ARRAY_SIZE(workers); i++) {
            workers[i] = (struct worker){.crew = crew, .number = i};
            assert_int_equal(crew_start(crew, come_and_go, &workers[i], NULL), 0);
        }
        usleep(2000);
        crew_fail(crew, &(struct error){.code = ERR_IO, .message = "x"});
        assert_int_equal(crew_join(crew, NULL), ERR_IO);
        crew_free(crew);
    }
    assert_int_equal(atomic_load(&late_cancels), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_success),
        cmocka_unit_test(test_first_error_wins),
        cmocka_unit_test(test_given_up_from_outside),
        cmocka_unit_test(test_no_guard_after_stop),
        cmocka_unit_test(test_free_stops),
        cmocka_unit_test(test_error_without_text),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_guard_race),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
