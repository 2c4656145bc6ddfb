/* Keeping and renewing: a provider of the test's own, and a clock that is set by hand. */
#include "s3_case.h"

static int64_t now_us;
static atomic_int fetches;
static int fetch_result;
static int64_t lifetime_us;    /* of what is fetched next; INSTANT_NONE: for ever */
static atomic_bool is_blocked; /* a fetch waits as long as it is true */

static int64_t clock_of_test(void)
{
    return now_us;
}

static int fetch_of_test(const struct s3_credentials_source *source,
                         struct s3_credentials *ret_credentials, struct error *err)
{
    char id[16];
    int n = atomic_fetch_add(&fetches, 1) + 1;
    while (atomic_load(&is_blocked))
        usleep(1000);
    if (fetch_result)
        return error_set(err, fetch_result, "try %d of %s failed", n, source->origin);
    snprintf(id, sizeof(id), "K%d", n);
    return s3_credentials_set(id, "hush", "t",
                              lifetime_us == INSTANT_NONE ? INSTANT_NONE : now_us + lifetime_us,
                              source->origin, ret_credentials, err);
}

static const struct s3_provider provider_of_test = {.name = "test", .fetch = fetch_of_test};

static struct s3_credentials_source *open_source(void)
{
    struct s3_credentials_source *source = NULL;
    struct store_s3_options options = {.access_key_id = "x", .secret_access_key = "hush"};
    assert_ok(s3_credentials_open(&options, &source, &case_err));
    source->provider = &provider_of_test;
    source->now_us = clock_of_test;
    source->has_current = false;
    now_us = 1000 * US_PER_DAY;
    lifetime_us = US_PER_HOUR;
    fetch_result = 0;
    atomic_store(&fetches, 0);
    atomic_store(&is_blocked, false);
    return source;
}

static const char *get_id(struct s3_credentials_source *source)
{
    static struct s3_credentials got;
    assert_ok(s3_credentials_get(source, &got, &case_err));
    return got.access_key_id;
}

static void test_renewal(void **state)
{
    (void)state;
    _cleanup_(s3_credentials_freep) struct s3_credentials_source *source = open_source();
    assert_string_equal(get_id(source), "K1");
    now_us += US_PER_HOUR - S3_RENEW_AHEAD_US;
    assert_string_equal(get_id(source), "K1");
    now_us++;
    assert_string_equal(get_id(source), "K2");
    assert_string_equal(get_id(source), "K2");
    now_us += 2 * US_PER_HOUR; /* nobody asked for long */
    assert_string_equal(get_id(source), "K3");
    lifetime_us = INSTANT_NONE;
    now_us += US_PER_HOUR;
    assert_string_equal(get_id(source), "K4");
    now_us += 10000 * US_PER_DAY;
    assert_string_equal(get_id(source), "K4");
}

/* What can't be renewed serves to its end, and is asked for only now and then. */
static void test_failing_renewal(void **state)
{
    (void)state;
    struct s3_credentials got;
    _cleanup_(s3_credentials_freep) struct s3_credentials_source *source = open_source();
    assert_string_equal(get_id(source), "K1");
    fetch_result = ERR_CONNECTION;
    now_us += US_PER_HOUR - S3_RENEW_AHEAD_US + 1;
    assert_string_equal(get_id(source), "K1");
    assert_string_equal(get_id(source), "K1");
    assert_int_equal(atomic_load(&fetches), 2);
    now_us += S3_RENEW_PAUSE_US;
    assert_string_equal(get_id(source), "K1");
    assert_int_equal(atomic_load(&fetches), 3);
    now_us += S3_RENEW_AHEAD_US;
    assert_fails(s3_credentials_get(source, &got, &case_err), ERR_CONNECTION,
                 "try 4 of the policy failed");
    assert_int_equal(s3_credentials_get(source, &got, NULL), ERR_CONNECTION);
    fetch_result = 0;
    assert_string_equal(get_id(source), "K6");
}

/* A service that goes on giving the same until shortly before their end. */
static void test_short_lives(void **state)
{
    (void)state;
    _cleanup_(s3_credentials_freep) struct s3_credentials_source *source = open_source();
    lifetime_us = US_PER_MINUTE;
    assert_string_equal(get_id(source), "K1");
    assert_string_equal(get_id(source), "K1");
    now_us += S3_RENEW_PAUSE_US;
    assert_string_equal(get_id(source), "K2");
}

static void test_ended_ones(void **state)
{
    (void)state;
    struct s3_credentials got;
    _cleanup_(s3_credentials_freep) struct s3_credentials_source *source = open_source();
    lifetime_us = 0;
    assert_fails(s3_credentials_get(source, &got, &case_err), ERR_CONNECTION,
                 "the policy gave credentials that ended at 1972-09-27T00:00:00Z; it is "
                 "1972-09-27T00:00:00Z here");
    lifetime_us = US_PER_HOUR;
    assert_string_equal(get_id(source), "K2");
    lifetime_us = -1;
    now_us += US_PER_HOUR - 1; /* the old ones live */
    assert_string_equal(get_id(source), "K2");
}

static void test_rejected(void **state)
{
    (void)state;
    struct s3_credentials first, got;
    _cleanup_(s3_credentials_freep) struct s3_credentials_source *source = open_source();
    assert_ok(s3_credentials_get(source, &first, &case_err));
    s3_credentials_reject(source, &first);
    fetch_result = ERR_AUTH;
    assert_fails(s3_credentials_get(source, &got, &case_err), ERR_AUTH, "try 2");
    fetch_result = 0;
    assert_string_equal(get_id(source), "K3");
    s3_credentials_reject(source, &first); /* late: they are replaced already */
    assert_string_equal(get_id(source), "K3");
}

/* Keys that can't change stay what they are; those of a file are read again. */
static void test_rejected_keys(void **state)
{
    (void)state;
    struct s3_credentials got;
    _cleanup_(s3_credentials_freep) struct s3_credentials_source *fixed = NULL;
    _cleanup_(s3_credentials_freep) struct s3_credentials_source *profile = NULL;
    struct store_s3_options options = {.access_key_id = "x", .secret_access_key = "hush"};
    struct store_s3_options named = {.profile = "p"};
    assert_ok(s3_credentials_open(&options, &fixed, &case_err));
    assert_ok(s3_credentials_get(fixed, &got, &case_err));
    s3_credentials_reject(fixed, &got);
    assert_string_equal(get_id(fixed), "x");

    write_file(".aws/credentials", 0600,
               "[p]\naws_access_key_id = A\naws_secret_access_key = hush\n");
    assert_ok(s3_credentials_open(&named, &profile, &case_err));
    assert_ok(s3_credentials_get(profile, &got, &case_err));
    assert_string_equal(got.access_key_id, "A");
    write_file(".aws/credentials", 0600,
               "[p]\naws_access_key_id = B\naws_secret_access_key = hush\n");
    assert_string_equal(get_id(profile), "A");
    s3_credentials_reject(profile, &got);
    assert_string_equal(get_id(profile), "B");
    write_file(".aws/credentials", 0600, "[p]\n");
    assert_ok(s3_credentials_get(profile, &got, &case_err));
    s3_credentials_reject(profile, &got);
    assert_fails(s3_credentials_get(profile, &got, &case_err), ERR_AUTH,
                 "profile \"p\" has no keys any more");
}

static void *get_in_thread(void *context)
{
    struct s3_credentials got;
    struct error err = ERROR_NONE;
    int rc = s3_credentials_get(context, &got, &err);
    return (void *)(intptr_t)(rc ? rc : got.access_key_id[1] - '0');
}

enum { THREADS = 6 };

/* All threads that get nothing while one fetches: its result is theirs, whatever it is. */
static void run_threads(struct s3_credentials_source *source, intptr_t expected)
{
    pthread_t threads[THREADS];
    atomic_store(&is_blocked, true);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, get_in_thread, source), 0);
    usleep(50000); /* so that most of them wait; right in any case */
    atomic_store(&is_blocked, false);
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_int_equal((intptr_t)result, expected);
    }
}

static void test_threads(void **state)
{
    (void)state;
    _cleanup_(s3_credentials_freep) struct s3_credentials_source *source = open_source();
    run_threads(source, 1);
    assert_int_equal(atomic_load(&fetches), 1);
    now_us += 2 * US_PER_HOUR;
    fetch_result = ERR_AUTH;
    run_threads(source, ERR_AUTH);
    assert_in_range(atomic_load(&fetches), 2, THREADS); /* not every one by itself */
}

/* While one thread renews ahead of time, the others go on with what they have. */
static void test_threads_live(void **state)
{
    (void)state;
    pthread_t thread;
    void *result;
    _cleanup_(s3_credentials_freep) struct s3_credentials_source *source = open_source();
    assert_string_equal(get_id(source), "K1");
    now_us += US_PER_HOUR - US_PER_MINUTE;
    atomic_store(&is_blocked, true);
    assert_int_equal(pthread_create(&thread, NULL, get_in_thread, source), 0);
    while (atomic_load(&fetches) < 2)
        usleep(1000);
    assert_string_equal(get_id(source), "K1");
    atomic_store(&is_blocked, false);
    pthread_join(thread, &result);
    assert_int_equal((intptr_t)result, 2);
}

static void test_stopped(void **state)
{
    (void)state;
    struct s3_credentials got;
    _cleanup_(s3_credentials_freep) struct s3_credentials_source *source = open_source();
    assert_string_equal(get_id(source), "K1");
    s3_credentials_stop(source);
    assert_string_equal(get_id(source), "K1"); /* clean-up may need them */
    now_us += US_PER_HOUR;
    assert_fails(s3_credentials_get(source, &got, &case_err), ERR_INTERRUPTED, "stopped");
    assert_int_equal(atomic_load(&fetches), 1);
}

static void test_clearing(void **state)
{
    (void)state;
    struct s3_credentials got;
    _cleanup_(s3_credentials_freep) struct s3_credentials_source *source = open_source();
    assert_ok(s3_credentials_get(source, &got, &case_err));
    s3_credentials_clear(&got);
    for (const char *c = (const char *)&got; c < (const char *)&got.expires_us; c++)
        assert_int_equal(*c, 0);
    assert_null(s3_credentials_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_renewal, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_failing_renewal, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_short_lives, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_ended_ones, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_rejected, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_rejected_keys, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_threads, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_threads_live, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_stopped, make_home, remove_home),
        cmocka_unit_test_setup_teardown(test_clearing, make_home, remove_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
