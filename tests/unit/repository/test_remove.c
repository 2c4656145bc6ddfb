/* Removal: order of effects, crashes between any two of them, refusals. */
#include "fixture.h"

#include "repository/catalogue.h"
#include "repository/evidence.h"
#include "repository/holds.h"
#include "repository/remove.h"
#include "store/store_ops.h"

static const char ID[] = "20261121T020000Z-good";

/* A store that fails for ever after so many changes, as a process that was killed there. */
static struct store_ops failing_ops;
static int changes_left;

static int failing_commit(struct store_writer *writer, struct store_object *object,
                          struct error *err)
{
    if (changes_left-- <= 0)
        return error_set(err, ERR_INTERRUPTED, "killed");
    return store_file_ops.commit(writer, object, err);
}

static int failing_delete(struct store *store, const char *key, struct error *err)
{
    if (changes_left-- <= 0)
        return error_set(err, ERR_INTERRUPTED, "killed");
    return store_file_ops.delete(store, key, err);
}

static void fail_after(struct repository *repository, int changes)
{
    failing_ops = store_file_ops;
    failing_ops.commit = failing_commit;
    failing_ops.delete = failing_delete;
    changes_left = changes;
    repository->store->ops = &failing_ops;
}

static void heal(struct repository *repository)
{
    repository->store->ops = &store_file_ops;
}

static int remove_first(struct repository *repository, int64_t now_us, int64_t *ret_bytes)
{
    struct facts facts;
    assert_ok(catalogue_read(repository, now_us, &facts, &fixture_err));
    assert_int_equal(facts.backup_count, 1);
    int rc = backup_remove(repository, NULL, &facts.backups[0], "older than 30d", "hash-1", now_us,
                           ret_bytes, &fixture_err);
    facts_clear(&facts);
    return rc;
}

static int find_tombstone(const json_t *record, void *context, struct error *err)
{
    (void)err;
    const json_t *body = json_object_get(record, "body");
    assert_string_equal(json_string_value(json_object_get(body, "id")), ID);
    assert_string_equal(json_string_value(json_object_get(body, "reason")), "older than 30d");
    assert_string_equal(json_string_value(json_object_get(body, "plan_hash")), "hash-1");
    snprintf(context, 64, "%s", json_string_value(json_object_get(record, "type")));
    return 0;
}

static void test_remove(void **state)
{
    struct repository *repository = *state;
    int64_t bytes = 0;
    char type[64] = "";
    fixture_backup(repository, ID, instant_now_us());
    assert_int_equal(remove_first(repository, instant_now_us(), &bytes), 0);
    assert_true(bytes > 10);
    assert_objects(repository, "shop/", "shop/evidence/0000000001.json\n");
    assert_ok(evidence_verify(repository, NULL, find_tombstone, type, NULL, &fixture_err));
    assert_string_equal(type, "backup_removed");
}

/* Killed before each change in turn: the backup is either whole and good, or garbage that may go at
 * once; and the next removal ends it. */
static void test_crashes(void **state)
{
    struct repository *repository = *state;
    int64_t now_us = instant_now_us(), bytes = 0;
    bool seen_good = false, seen_garbage = false;
    int rc = ERR_INTERRUPTED;
    for (int changes = 0; rc; changes++) {
        struct facts facts;
        assert_true(changes < 20);
        fixture_backup(repository, ID, now_us);
        fail_after(repository, changes);
        rc = remove_first(repository, now_us, &bytes);
        heal(repository);
        if (!rc)
            break;
        assert_int_equal(rc, ERR_INTERRUPTED);
        assert_ok(catalogue_read(repository, now_us, &facts, &fixture_err));
        assert_int_equal(facts.backup_count, 1);
        enum backup_state now = facts.backups[0].state;
        assert_true(now == BACKUP_GOOD || now == BACKUP_GARBAGE);
        if (now == BACKUP_GOOD)
            assert_objects(repository, "shop/dumps/20261121T020000Z-good/1",
                           "shop/dumps/20261121T020000Z-good/16384/data-0001.tar.zst\n");
        seen_good |= now == BACKUP_GOOD;
        seen_garbage |= now == BACKUP_GARBAGE;
        assert_false(now == BACKUP_GOOD && seen_garbage); /* never back */
        facts_clear(&facts);
        assert_int_equal(remove_first(repository, now_us, &bytes), 0);
        assert_objects(repository, "shop/dumps/", "");
    }
    assert_true(seen_good && seen_garbage);
    assert_ok(evidence_verify(repository, NULL, NULL, NULL, NULL, &fixture_err));
}

static void test_garbage(void **state)
{
    struct repository *repository = *state;
    int64_t later_us = instant_now_us() + 2 * US_PER_DAY, bytes = 0;
    char type[64] = "";
    fixture_put(repository, "shop/dumps/20261121T020000Z-good/16384/data-0001.tar.zst", "12345");
    assert_fails(remove_first(repository, instant_now_us(), &bytes), ERR_CONFLICT,
                 "is unfinished and can't be removed");
    assert_int_equal(remove_first(repository, later_us, &bytes), 0);
    assert_true(bytes > 5); /* the started.json that said so is counted too */
    assert_objects(repository, "shop/dumps/", "");
    assert_ok(evidence_verify(repository, NULL, find_tombstone, type, NULL, &fixture_err));
    assert_string_equal(type, "garbage_removed");
}

/* What has changed since the facts were read is seen. */
static void test_refused(void **state)
{
    struct repository *repository = *state;
    int64_t now_us = instant_now_us(), later_us = now_us + 2 * US_PER_DAY, bytes;
    struct facts facts;
    char hold_id[ID_SIZE];
    struct hold_request hold = {
        .backup_id = ID, .holder = "ada", .reason = "audit", .expires_us = INSTANT_NONE};
    fixture_begin(repository, ID, now_us);
    assert_ok(catalogue_read(repository, later_us, &facts, &fixture_err));
    struct facts_backup *backup = &facts.backups[0];
    assert_int_equal(backup->state, BACKUP_GARBAGE);

    struct lock *lock = NULL;
    struct lock_request request = {.job = "nightly", .class = LOCK_DUMP, .run_id = "run-1"};
    assert_ok(lock_acquire(repository, &request, &lock, &fixture_err));
    assert_fails(backup_remove(repository, NULL, backup, "r", "", later_us, &bytes, &fixture_err),
                 ERR_BUSY, "is being made now");
    lock_free(lock);
    assert_fails(backup_remove(repository, NULL, backup, "r", "", now_us, &bytes, &fixture_err),
                 ERR_CONFLICT, "too young");
    json_t *manifest = fixture_manifest(ID, now_us);
    assert_ok(manifest_write(repository, BACKUP_DUMP, ID, manifest, &fixture_err));
    json_decref(manifest);
    assert_fails(backup_remove(repository, NULL, backup, "r", "", later_us, &bytes, &fixture_err),
                 ERR_CONFLICT, "was garbage and is a good backup now");
    backup->state = BACKUP_GOOD;
    assert_ok(hold_add(repository, &hold, hold_id, &fixture_err));
    assert_fails(backup_remove(repository, NULL, backup, "r", "", later_us, &bytes, &fixture_err),
                 ERR_CONFLICT, "is held by ada");
    assert_ok(hold_release(repository, hold_id, "done", &fixture_err));
    fixture_put(repository, "shop/dumps/20261121T020000Z-good/manifest.json", "{}");
    assert_fails(backup_remove(repository, NULL, backup, "r", "", later_us, &bytes, &fixture_err),
                 ERR_UNKNOWN, "is kept, it can't be read");
    assert_objects(repository, "shop/dumps/",
                   "shop/dumps/20261121T020000Z-good/manifest.json\n"
                   "shop/dumps/20261121T020000Z-good/started.json\n");
    facts_clear(&facts);
}

/* A prune that lost its lock deletes nothing. */
static void test_lost_lock(void **state)
{
    struct repository *repository = *state;
    struct lock *lock = NULL;
    struct facts facts;
    int64_t now_us = instant_now_us(), bytes;
    struct lock_request request = {.job = "prune", .class = LOCK_PRUNE, .run_id = "run-5"};
    struct buf record = BUF_INIT(10000);
    fixture_backup(repository, ID, now_us);
    assert_ok(lock_acquire(repository, &request, &lock, &fixture_err));
    assert_ok(store_get(repository->store, "shop/locks/job-prune/0000000001.json", &record,
                        &fixture_err));
    fixture_put(repository, "shop/locks/job-prune/0000000002.json", buf_text(&record));
    assert_ok(catalogue_read(repository, now_us, &facts, &fixture_err));
    assert_fails(
        backup_remove(repository, lock, &facts.backups[0], "r", "", now_us, &bytes, &fixture_err),
        ERR_CONFLICT, "was taken over");
    assert_objects(repository, "shop/evidence/", "");
    facts_clear(&facts);
    buf_clear(&record);
    lock_free(lock);
}

/* Thousands of objects are deleted in batches. */
static void test_many_objects(void **state)
{
    enum { OBJECTS = 2500 };
    struct repository *repository = *state;
    int64_t bytes = 0;
    fixture_backup(repository, ID, instant_now_us());
    for (int i = 0; i < OBJECTS; i++) {
        char key[STORE_KEY_MAX];
        snprintf(key, sizeof(key), "shop/dumps/20261121T020000Z-good/16384/%04d", i);
        int fd = open(fixture_path(key), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        close(fd);
    }
    assert_int_equal(remove_first(repository, instant_now_us(), &bytes), 0);
    assert_objects(repository, "shop/dumps/", "");
}

static void test_unfinished(void **state)
{
    struct repository *repository = *state;
    struct store_writer *ours, *other;
    int64_t count = -1, bytes = -1, now_us = instant_now_us();
    assert_ok(store_create(repository->store, "shop/dumps/x/1", 0, &ours, &fixture_err));
    assert_ok(store_create(repository->store, "shop2/dumps/x/1", 0, &other, &fixture_err));
    assert_ok(repository_remove_unfinished(repository, now_us - US_PER_DAY, &count, &bytes,
                                           &fixture_err));
    assert_int_equal(count, 0);
    assert_ok(repository_remove_unfinished(repository, now_us + US_PER_DAY, &count, &bytes,
                                           &fixture_err));
    assert_int_equal(count, 1);
    assert_int_equal(bytes, 0);
    assert_int_not_equal(store_commit(ours, NULL, &fixture_err), 0);
    assert_ok(store_commit(other, NULL, &fixture_err)); /* another cluster's is left alone */
    store_writer_free(ours);
    store_writer_free(other);
}

/* -- object locks -------------------------------------------------------------------------------
 */

#define LOCKED_UNTIL_US (INT64_C(4102444800) * US_PER_SECOND) /* 2100-01-01 */

/* A bucket in which some objects are locked, or may not be deleted. */
static struct {
    const char *locked, *told; /* part of the keys that are; of those whose lock a look-up tells */
    const char *forbidden;
    bool has_locks, is_unreadable;
    int stats;
} bucket;

static int bucket_stat(struct store *store, const char *key, struct store_object *object,
                       struct error *err)
{
    int rc = store_file_ops.stat(store, key, object, err);
    bucket.stats += !strstr(key, "/evidence/");
    if (!rc && bucket.told && strstr(key, bucket.told))
        object->locked_until_us = LOCKED_UNTIL_US;
    return rc;
}

static int bucket_delete(struct store *store, const char *key, struct error *err)
{
    if (bucket.locked && strstr(key, bucket.locked))
        return error_set(err, ERR_LOCKED, "\"%s\" is locked until 2100-01-01T00:00:00Z", key);
    if (bucket.forbidden && strstr(key, bucket.forbidden))
        return error_set(err, ERR_PERMISSION, "AccessDenied: \"%s\"", key);
    return store_file_ops.delete(store, key, err);
}

static int bucket_read_traits(struct store *store, struct store_traits *traits, struct error *err)
{
    (void)store;
    (void)err;
    traits->object_lock = bucket.has_locks;
    if (bucket.is_unreadable)
        snprintf(traits->lock_problem, sizeof(traits->lock_problem), "AccessDenied");
    return 0;
}

static void use_bucket(struct repository *repository)
{
    static struct store_ops ops;
    ops = store_file_ops;
    ops.stat = bucket_stat;
    ops.delete = bucket_delete;
    ops.read_traits = bucket_read_traits;
    repository->store->ops = &ops;
    repository->locks = LOCKS_NOT_ASKED;
    bucket.stats = 0;
}

static void test_locks_are_facts(void **state)
{
    static const struct {
        bool has_locks, is_unreadable;
        const char *told;
        int stats;
        int64_t until_us;
    } ROWS[] = {
        {false, false, "manifest.json", 0, INSTANT_NONE},
        {true, false, "manifest.json", 1, LOCKED_UNTIL_US},
        {true, false, "data-0001", 1, INSTANT_NONE},
        {false, true, "manifest.json", 1, LOCKED_UNTIL_US},
    };
    struct repository *repository = *state;
    fixture_backup(repository, ID, instant_now_us());
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct facts facts;
        bucket.has_locks = ROWS[i].has_locks;
        bucket.is_unreadable = ROWS[i].is_unreadable;
        bucket.told = ROWS[i].told;
        use_bucket(repository);
        assert_ok(catalogue_read(repository, instant_now_us(), &facts, &fixture_err));
        assert_int_equal(facts.backups[0].state, BACKUP_GOOD);
        if (facts.backups[0].locked_until_us != ROWS[i].until_us || bucket.stats != ROWS[i].stats)
            fail_msg("row %zu: %d look-ups, locked until %lld", i, bucket.stats,
                     (long long)facts.backups[0].locked_until_us);
        facts_clear(&facts);
    }
}

/* Garbage has no manifest: its newest data object speaks for it. */
static void test_locked_garbage(void **state)
{
    struct repository *repository = *state;
    struct facts facts;
    fixture_begin(repository, ID, instant_now_us());
    fixture_put(repository, "shop/dumps/20261121T020000Z-good/16384/data-0001.tar.zst", "12345");
    bucket.has_locks = true;
    bucket.told = "data-0001";
    use_bucket(repository);
    assert_ok(catalogue_read(repository, instant_now_us() + 2 * US_PER_DAY, &facts, &fixture_err));
    assert_int_equal(facts.backups[0].state, BACKUP_GARBAGE);
    assert_int_equal(facts.backups[0].locked_until_us, LOCKED_UNTIL_US);
    facts_clear(&facts);
}

/* Whatever of it is locked: nothing is written or deleted. */
static void test_locked_is_left_whole(void **state)
{
    static const char *const TOLD[] = {"manifest.json", "data-0001"};
    struct repository *repository = *state;
    int64_t bytes = -1, now_us = instant_now_us();
    fixture_backup(repository, ID, now_us);
    bucket.has_locks = true;
    for (size_t i = 0; i < ARRAY_SIZE(TOLD); i++) {
        bucket.told = TOLD[i];
        use_bucket(repository);
        assert_int_equal(remove_first(repository, now_us, &bytes), ERR_LOCKED);
        assert_string_equal(fixture_err.message,
                            "20261121T020000Z-good is locked until 2100-01-01T00:00:00Z");
        assert_objects(repository, "shop/evidence/", "");
        assert_objects(repository, "shop/dumps/",
                       "shop/dumps/20261121T020000Z-good/16384/data-0001.tar.zst\n"
                       "shop/dumps/20261121T020000Z-good/manifest.json\n"
                       "shop/dumps/20261121T020000Z-good/restore.sh\n"
                       "shop/dumps/20261121T020000Z-good/started.json\n");
    }
    assert_int_equal(bytes, -1);
    bucket.told = NULL;
    use_bucket(repository);
    assert_int_equal(remove_first(repository, now_us, &bytes), 0);
    assert_objects(repository, "shop/dumps/", "");
}

static int count_record(const json_t *record, void *context, struct error *err)
{
    (void)record;
    (void)err;
    ++*(int *)context;
    return 0;
}

/* What only the deletion tells: the rest goes, and the next run ends it under the same tombstone.
 */
static void expect_remains(struct repository *repository, int code, const char *message,
                           const char *remains)
{
    int64_t bytes = -1, now_us = instant_now_us();
    int records = 0;
    fixture_backup(repository, ID, now_us);
    use_bucket(repository);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(remove_first(repository, now_us, &bytes), code);
        assert_string_equal(fixture_err.message, message);
        assert_objects(repository, "shop/dumps/", remains);
    }
    assert_int_equal(bytes, -1);
    bucket.locked = bucket.forbidden = NULL;
    assert_int_equal(remove_first(repository, now_us, &bytes), 0);
    assert_objects(repository, "shop/dumps/", "");
    assert_ok(evidence_verify(repository, NULL, count_record, &records, NULL, &fixture_err));
    assert_int_equal(records, 1);
}

static void test_some_are_locked(void **state)
{
    bucket.has_locks = false;
    bucket.told = NULL;
    bucket.locked = "data-0001";
    expect_remains(*state, ERR_LOCKED,
                   "1 object of 20261121T020000Z-good stays: "
                   "\"shop/dumps/20261121T020000Z-good/16384/data-0001.tar.zst\" is locked until "
                   "2100-01-01T00:00:00Z",
                   "shop/dumps/20261121T020000Z-good/16384/data-0001.tar.zst\n"
                   "shop/dumps/20261121T020000Z-good/started.json\n");
}

/* A failure weighs more than a lock. */
static void test_some_are_forbidden(void **state)
{
    bucket.has_locks = false;
    bucket.told = NULL;
    bucket.locked = "data-0001";
    bucket.forbidden = "restore.sh";
    expect_remains(*state, ERR_PERMISSION,
                   "1 object of 20261121T020000Z-good could not be deleted: AccessDenied: "
                   "\"shop/dumps/20261121T020000Z-good/restore.sh\"",
                   "shop/dumps/20261121T020000Z-good/16384/data-0001.tar.zst\n"
                   "shop/dumps/20261121T020000Z-good/restore.sh\n"
                   "shop/dumps/20261121T020000Z-good/started.json\n");
}

/* The manifest itself is locked, and only its deletion tells: the backup stays whole. */
static void test_manifest_is_locked(void **state)
{
    struct repository *repository = *state;
    struct facts facts;
    int64_t bytes, now_us = instant_now_us();
    fixture_backup(repository, ID, now_us);
    bucket.has_locks = false;
    bucket.locked = "manifest.json";
    use_bucket(repository);
    assert_int_equal(remove_first(repository, now_us, &bytes), ERR_LOCKED);
    assert_ok(catalogue_read(repository, now_us, &facts, &fixture_err));
    assert_int_equal(facts.backups[0].state, BACKUP_GOOD);
    facts_clear(&facts);
    assert_objects(repository, "shop/dumps/20261121T020000Z-good/1",
                   "shop/dumps/20261121T020000Z-good/16384/data-0001.tar.zst\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_remove),
        FIXTURE_TEST(test_crashes),
        FIXTURE_TEST(test_garbage),
        FIXTURE_TEST(test_refused),
        FIXTURE_TEST(test_lost_lock),
        FIXTURE_TEST(test_many_objects),
        FIXTURE_TEST(test_unfinished),
        FIXTURE_TEST(test_locks_are_facts),
        FIXTURE_TEST(test_locked_garbage),
        FIXTURE_TEST(test_locked_is_left_whole),
        FIXTURE_TEST(test_some_are_locked),
        FIXTURE_TEST(test_some_are_forbidden),
        FIXTURE_TEST(test_manifest_is_locked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
