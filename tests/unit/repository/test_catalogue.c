/* The catalogue: the state of every backup, and the holds. */
#include "fixture.h"

#include "repository/catalogue.h"
#include "repository/evidence.h"
#include "repository/holds.h"
#include "repository/locks.h"

static const char GOOD[] = "20261121T020000Z-good";
static const char OTHER[] = "20261122T020000Z-othr";

static const struct facts_backup *only(const struct facts *facts)
{
    assert_int_equal(facts->backup_count, 1);
    return &facts->backups[0];
}

static void assert_state(struct repository *repository, int64_t now_us, enum backup_state state)
{
    struct facts facts;
    assert_ok(catalogue_read(repository, now_us, &facts, &fixture_err));
    assert_string_equal(backup_state_name(only(&facts)->state), backup_state_name(state));
    facts_clear(&facts);
}

static void test_empty(void **state)
{
    struct facts facts;
    assert_ok(catalogue_read(*state, instant_now_us(), &facts, &fixture_err));
    assert_int_equal(facts.backup_count, 0);
    assert_int_equal(facts.hold_count, 0);
    assert_true(facts.complete);
    assert_string_equal(facts.cluster, "shop");
    facts_clear(&facts);
}

static void test_good(void **state)
{
    struct repository *repository = *state;
    struct facts facts;
    int64_t now_us = instant_now_us();
    fixture_backup(repository, GOOD, now_us - US_PER_DAY);
    fixture_backup(repository, OTHER, now_us);
    fixture_put(repository, "shop/dumps/notes.txt", "not ours");
    fixture_put(repository, "shop/dumps/20261121T020000Z-good.old/manifest.json", "{}");
    assert_ok(catalogue_read(repository, now_us, &facts, &fixture_err));
    assert_int_equal(facts.backup_count, 2);
    assert_true(facts.complete);
    assert_null(facts.problem);
    const struct facts_backup *backup = catalogue_find(&facts, GOOD, BACKUP_DUMP);
    assert_non_null(backup);
    assert_int_equal(backup->state, BACKUP_GOOD);
    assert_string_equal(backup->job, "nightly");
    assert_string_equal(backup->databases[0], "app");
    assert_int_equal(backup->bytes_stored, 300);
    assert_string_equal(catalogue_find(&facts, "latest", BACKUP_DUMP)->id, OTHER);
    assert_null(catalogue_find(&facts, "latest", BACKUP_SNAPSHOT));
    assert_null(catalogue_find(&facts, GOOD, BACKUP_SNAPSHOT));
    assert_null(catalogue_find(&facts, "20261121T020000Z-none", BACKUP_DUMP));
    facts_clear(&facts);
}

/* A manifest that is damaged in any way is unknown, never absent and never good. */
static void test_damaged_manifest(void **state)
{
    struct repository *repository = *state;
    static const char *const TEXTS[] = {
        "",
        "{\"format\":1,\"kind\":\"dump\"",
        "[]",
        "{\"format\":1,\"kind\":\"dump\",\"id\":\"20261121T020000Z-good\",\"cluster\":\"shop\"}",
        "{\"format\":1,\"kind\":\"dump\",\"id\":\"20261121T020000Z-xxxx\",\"cluster\":\"shop\"}",
        "{\"format\":1,\"kind\":\"dump\",\"id\":\"20261121T020000Z-good\",\"cluster\":\"other\"}",
        "{\"format\":9,\"kind\":\"dump\",\"id\":\"20261121T020000Z-good\",\"cluster\":\"shop\"}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(TEXTS); i++) {
        struct facts facts;
        fixture_put(repository, "shop/dumps/20261121T020000Z-good/manifest.json", TEXTS[i]);
        assert_ok(
            catalogue_read(repository, instant_now_us() + 100 * US_PER_DAY, &facts, &fixture_err));
        assert_int_equal(only(&facts)->state, BACKUP_UNKNOWN);
        assert_string_equal(facts.backups[0].id, GOOD);
        assert_string_equal(facts.backups[0].job, "");
        assert_non_null(facts.problem);
        assert_non_null(strstr(facts.problem, "manifest.json"));
        facts_clear(&facts);
    }
}

static void test_remains(void **state)
{
    struct repository *repository = *state;
    static const char DATA[] = "shop/dumps/20261121T020000Z-good/16384/data-0001.tar.zst";
    static const char STARTED[] = "shop/dumps/20261121T020000Z-good/started.json";
    int64_t now_us = instant_now_us();
    fixture_begin(repository, GOOD, now_us);
    fixture_put(repository, DATA, "12345");
    assert_state(repository, now_us, BACKUP_FRESH_REMAINS);
    assert_state(repository, now_us + 23 * US_PER_HOUR, BACKUP_FRESH_REMAINS);
    assert_state(repository, now_us + 25 * US_PER_HOUR, BACKUP_GARBAGE);
    /* Old objects but a fresh heartbeat; an old heartbeat but a fresh object; a fresh write. */
    fixture_set_time(DATA, now_us - 2 * US_PER_DAY);
    fixture_set_time(STARTED, now_us - 2 * US_PER_DAY);
    assert_state(repository, now_us, BACKUP_FRESH_REMAINS);
    assert_ok(store_delete(repository->store, STARTED, &fixture_err));
    fixture_begin(repository, GOOD, now_us - 2 * US_PER_DAY);
    fixture_set_time(STARTED, now_us - 2 * US_PER_DAY);
    assert_state(repository, now_us, BACKUP_GARBAGE);
    fixture_put(repository, DATA, "12345");
    assert_state(repository, now_us, BACKUP_FRESH_REMAINS);
    fixture_set_time(DATA, now_us - 2 * US_PER_DAY);
    struct store_writer *writer;
    assert_ok(store_create(repository->store, "shop/dumps/20261121T020000Z-good/restore.sh", 0,
                           &writer, &fixture_err));
    assert_state(repository, now_us, BACKUP_FRESH_REMAINS);
    store_writer_free(writer);
    assert_state(repository, now_us, BACKUP_GARBAGE);

    struct facts facts;
    assert_ok(catalogue_read(repository, now_us, &facts, &fixture_err));
    assert_string_equal(only(&facts)->job, "nightly");
    assert_true(only(&facts)->bytes_stored > 5);
    assert_int_equal(only(&facts)->completed_us, INSTANT_NONE);
    facts_clear(&facts);
    fixture_put(repository, STARTED, "{}");
    assert_state(repository, now_us, BACKUP_UNKNOWN);
}

/* As long as its run holds a lock it is running, however old everything looks. */
static void test_running(void **state)
{
    struct repository *repository = *state;
    int64_t later_us = instant_now_us() + 100 * US_PER_DAY;
    struct lock_request request = {.job = "nightly", .class = LOCK_DUMP, .run_id = "run-1"};
    struct lock *lock = NULL;
    fixture_begin(repository, GOOD, instant_now_us());
    assert_state(repository, later_us, BACKUP_GARBAGE);
    assert_ok(lock_acquire(repository, &request, &lock, &fixture_err));
    assert_state(repository, later_us, BACKUP_RUNNING);
    lock_free(lock);
    assert_state(repository, later_us, BACKUP_GARBAGE);
    request.run_id = "run-2"; /* another run of that job leaves the remains what they are */
    assert_ok(lock_acquire(repository, &request, &lock, &fixture_err));
    assert_state(repository, later_us, BACKUP_GARBAGE);
    /* Without started.json nobody knows whose they are. */
    assert_ok(store_delete(repository->store, "shop/dumps/20261121T020000Z-good/started.json",
                           &fixture_err));
    fixture_put(repository, "shop/dumps/20261121T020000Z-good/restore.sh", "x");
    assert_state(repository, later_us, BACKUP_RUNNING);
    lock_free(lock);
    assert_state(repository, later_us, BACKUP_GARBAGE);
    fixture_put(repository, "shop/locks/job-nightly/0000000099.json", "{}");
    assert_state(repository, later_us, BACKUP_UNKNOWN);
}

static void test_holds(void **state)
{
    struct repository *repository = *state;
    int64_t now_us = instant_now_us();
    char first[ID_SIZE], second[ID_SIZE];
    struct facts facts;
    fixture_backup(repository, GOOD, now_us);
    struct hold_request request = {
        .backup_id = GOOD, .holder = "ada", .reason = "audit", .expires_us = INSTANT_NONE};
    assert_ok(hold_check_free(repository, GOOD, now_us, &fixture_err));
    assert_ok(hold_add(repository, &request, first, &fixture_err));
    request.expires_us = now_us + US_PER_DAY;
    request.reason = "until \"tomorrow\"";
    assert_ok(hold_add(repository, &request, second, &fixture_err));
    assert_ok(catalogue_read(repository, now_us, &facts, &fixture_err));
    assert_int_equal(facts.hold_count, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct facts_hold *hold = &facts.holds[i];
        bool is_first = strcmp(hold->hold_id, first) == 0;
        assert_string_equal(hold->backup_id, GOOD);
        assert_string_equal(hold->holder, "ada");
        assert_string_equal(hold->reason, is_first ? "audit" : "until \"tomorrow\"");
        assert_true(hold->expires_us == INSTANT_NONE ? is_first : !is_first);
    }
    facts_clear(&facts);
    assert_fails(hold_check_free(repository, GOOD, now_us, &fixture_err), ERR_CONFLICT,
                 "20261121T020000Z-good is held by ada (");
    assert_ok(hold_check_free(repository, OTHER, now_us, &fixture_err));
    assert_ok(hold_release(repository, first, "audit is over", &fixture_err));
    assert_fails(hold_release(repository, first, "again", &fixture_err), ERR_NOT_FOUND,
                 "cluster \"shop\" has no hold ");
    assert_fails(hold_check_free(repository, GOOD, now_us, &fixture_err), ERR_CONFLICT, "until");
    assert_ok(hold_check_free(repository, GOOD, now_us + 2 * US_PER_DAY, &fixture_err));
    struct evidence_tip tip;
    assert_ok(evidence_verify(repository, NULL, NULL, NULL, &tip, &fixture_err));
    assert_int_equal(tip.number, 3);
}

static void test_holds_refused(void **state)
{
    struct repository *repository = *state;
    char id[ID_SIZE];
    struct hold_request request = {
        .backup_id = GOOD, .holder = "ada", .reason = "audit", .expires_us = INSTANT_NONE};
    assert_fails(hold_add(repository, &request, id, &fixture_err), ERR_NOT_FOUND,
                 "cluster \"shop\" has no backup 20261121T020000Z-good");
    assert_objects(repository, "shop/", ""); /* not even a lock was left */
    fixture_backup(repository, GOOD, instant_now_us());
    request.reason = "";
    assert_fails(hold_add(repository, &request, id, &fixture_err), ERR_USAGE,
                 "a hold needs a reason");
    request.reason = "\xff";
    assert_fails(hold_add(repository, &request, id, &fixture_err), ERR_USAGE, "not UTF-8");
    request.reason = "audit";
    request.expires_us = instant_now_us() - 1;
    assert_fails(hold_add(repository, &request, id, &fixture_err), ERR_USAGE,
                 "would have expired already");
    request.expires_us = INSTANT_NONE;
    request.backup_id = "latest";
    assert_fails(hold_add(repository, &request, id, &fixture_err), ERR_USAGE, "no id of a backup");
    assert_fails(hold_release(repository, "../x", "r", &fixture_err), ERR_USAGE, "no id of a hold");
}

/* A hold that can't be read stands on everything. */
static void test_unreadable_hold(void **state)
{
    struct repository *repository = *state;
    struct facts facts;
    fixture_put(repository, "shop/holds/20261121T020000Z-hold.json", "{\"format\":1}");
    assert_ok(catalogue_read(repository, instant_now_us(), &facts, &fixture_err));
    assert_false(facts.complete);
    assert_string_equal(facts.problem, "shop/holds/20261121T020000Z-hold.json: \"hold_id\" is "
                                       "missing or not a string");
    facts_clear(&facts);
    assert_fails(hold_check_free(repository, GOOD, instant_now_us(), &fixture_err), ERR_UNKNOWN,
                 "a hold can't be read");
}

/* A listing that fails gives no facts at all. */
static void test_unreadable_folder(void **state)
{
    struct repository *repository = *state;
    struct facts facts;
    fixture_backup(repository, GOOD, instant_now_us());
    assert_int_equal(symlink("/tmp", fixture_path("shop/snapshots")), 0);
    assert_fails(catalogue_read(repository, instant_now_us(), &facts, &fixture_err), ERR_UNKNOWN,
                 "is a symbolic link");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_empty),
        FIXTURE_TEST(test_good),
        FIXTURE_TEST(test_damaged_manifest),
        FIXTURE_TEST(test_remains),
        FIXTURE_TEST(test_running),
        FIXTURE_TEST(test_holds),
        FIXTURE_TEST(test_holds_refused),
        FIXTURE_TEST(test_unreadable_hold),
        FIXTURE_TEST(test_unreadable_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
