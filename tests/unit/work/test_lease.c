/* Whose turn it is, as far as no server is asked: the key of the lock, and what is on record of a
 * due instant. */
#include "repository/fixture.h"

#include "work/lease.h"

static const int64_t DUE_US = INT64_C(1795226400) * US_PER_SECOND; /* 2026-11-21T02:00:00Z */

static int64_t key_of(const char *url, const char *cluster, const char *job)
{
    int64_t key = 0;
    assert_ok(lease_key(url, cluster, job, &key, &fixture_err));
    return key;
}

static void test_key(void **state)
{
    (void)state;
    static const char *const ROWS[][3] = {
        {"s3://b/p", "a", "nightly"}, {"s3://b/p", "a", "weekly"},    {"s3://b/p", "b", "nightly"},
        {"s3://b/q", "a", "nightly"}, {"s3://b/p a", "a", "nightly"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        int64_t key = key_of(ROWS[i][0], ROWS[i][1], ROWS[i][2]);
        assert_int_equal(key, key_of(ROWS[i][0], ROWS[i][1], ROWS[i][2]));
        for (size_t k = 0; k < i; k++)
            assert_int_not_equal(key, key_of(ROWS[k][0], ROWS[k][1], ROWS[k][2]));
    }
    /* Machines with different versions of pgcairn must agree on it. */
    assert_int_equal(key_of("s3://b/p", "a", "nightly"), INT64_C(0x7089d75e11f3f45c));
}

static struct run_record record_of(const char *run_id, int64_t due_us)
{
    struct run_record record = {.due_us = due_us,
                                .started_us = due_us + US_PER_SECOND,
                                .ended_us = due_us + US_PER_MINUTE,
                                .fence = 7};
    snprintf(record.job, sizeof(record.job), "nightly");
    snprintf(record.run_id, sizeof(record.run_id), "%s", run_id);
    return record;
}

static bool is_done(struct repository *repository, enum job_type type, int64_t due_us,
                    struct run_record *ret_record)
{
    char name[] = "nightly";
    struct policy_job job = {.name = name, .type = type};
    bool found = false;
    assert_ok(lease_find_done(repository, &job, due_us, ret_record, &found, &fixture_err));
    return found;
}

static void test_the_first_is_on_record(void **state)
{
    struct run_record first = record_of("r1", DUE_US), second = record_of("r2", DUE_US), found;
    bool is_first = false;
    assert_false(is_done(*state, JOB_VACUUM, DUE_US, &found));
    assert_ok(lease_note_done(*state, &first, &is_first, &fixture_err));
    assert_true(is_first);
    assert_ok(lease_note_done(*state, &second, &is_first, &fixture_err));
    assert_false(is_first);
    assert_string_equal(second.run_id, "r1");
    assert_true(is_done(*state, JOB_VACUUM, DUE_US, &found));
    assert_string_equal(found.run_id, "r1");
    assert_int_equal(found.due_us, DUE_US);
    assert_int_equal(found.fence, 7);
    assert_string_equal(found.backup_id, "");
    assert_false(is_done(*state, JOB_VACUUM, DUE_US + US_PER_SECOND, &found));
}

static void write_text(struct repository *repository, const char *key, const char *text)
{
    assert_ok(store_put(repository->store, key, text, strlen(text), 0, &fixture_err));
}

static void test_a_record_that_cannot_be_read_is_doubt(void **state)
{
    char name[] = "nightly";
    struct policy_job job = {.name = name, .type = JOB_WAL};
    struct run_record found;
    bool is_there = false;
    write_text(*state, "shop/runs/nightly/20261121T020000Z.json", "{\"job\":\"nightly\"}");
    assert_fails(lease_find_done(*state, &job, DUE_US, &found, &is_there, &fixture_err),
                 ERR_CORRUPT, "20261121T020000Z.json");
    assert_non_null(strstr(fixture_err.hint, "delete that object"));
    write_text(*state, "shop/runs/nightly/20261121T020000Z.json", "{");
    assert_fails(lease_find_done(*state, &job, DUE_US, &found, &is_there, &fixture_err),
                 ERR_CORRUPT, "20261121T020000Z.json");
    assert_non_null(strstr(fixture_err.hint, "delete that object"));
}

static void make_backup(struct repository *repository, int64_t due_us, const char *job,
                        bool with_manifest)
{
    struct started started = {
        .kind = BACKUP_DUMP, .due_us = due_us, .started_us = due_us + US_PER_SECOND};
    char key[STORE_KEY_MAX + 1];
    snprintf(started.job, sizeof(started.job), "%s", job);
    snprintf(started.run_id, sizeof(started.run_id), "r-%s", job);
    assert_ok(id_make(started.started_us, started.id, &fixture_err));
    assert_ok(backup_begin(repository, &started, &fixture_err));
    assert_ok(backup_heartbeat(repository, &started, started.started_us, &fixture_err));
    assert_ok(repository_backup_key(repository, BACKUP_DUMP, started.id, "manifest.json", key,
                                    &fixture_err));
    if (with_manifest)
        write_text(repository, key, "{}");
}

static void test_a_backup_is_on_record_by_itself(void **state)
{
    struct run_record found;
    make_backup(*state, DUE_US, "weekly", true);
    make_backup(*state, DUE_US, "nightly", false);
    make_backup(*state, DUE_US + US_PER_DAY, "nightly", true);
    assert_false(is_done(*state, JOB_DUMP, DUE_US, &found));
    make_backup(*state, DUE_US, "nightly", true);
    assert_true(is_done(*state, JOB_DUMP, DUE_US, &found));
    assert_string_equal(found.run_id, "r-nightly");
    assert_int_equal(found.backup_id[0], '2');
    assert_false(is_done(*state, JOB_SNAPSHOT, DUE_US, &found));
}

static int count(int64_t due_us, void *context, struct error *err)
{
    (void)due_us, (void)err;
    ++*(int *)context;
    return 0;
}

static void test_old_records_go(void **state)
{
    int left = 0;
    int64_t now_us = DUE_US + RUN_RECORDS_KEEP_US;
    for (int i = -150; i < 3; i++) {
        struct run_record record = record_of("r", DUE_US + i * US_PER_HOUR);
        assert_ok(run_record_add(*state, &record, &fixture_err));
    }
    for (int i = 0; i < 3; i++)
        assert_ok(run_records_trim(*state, "nightly", now_us, &fixture_err));
    assert_ok(run_records_each(*state, "nightly", count, &left, &fixture_err));
    assert_int_equal(left, 3);
}

static void test_words(void **state)
{
    (void)state;
    struct run_record record = record_of("r1", DUE_US);
    char text[ERROR_MESSAGE_MAX];
    snprintf(record.host, sizeof(record.host), "a-host-that-is-not-this");
    snprintf(record.backup_id, sizeof(record.backup_id), "b1");
    lease_describe_done(&record, text, sizeof(text));
    assert_string_equal(text, "done elsewhere: run r1 on a-host-that-is-not-this, backup b1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key),
        FIXTURE_TEST(test_the_first_is_on_record),
        FIXTURE_TEST(test_a_record_that_cannot_be_read_is_doubt),
        FIXTURE_TEST(test_a_backup_is_on_record_by_itself),
        FIXTURE_TEST(test_old_records_go),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
