/* The story of a prune against a repository in a folder: what it deletes, refuses, survives. */
#include "repository/fixture.h"

#include "repository/catalogue.h"
#include "repository/evidence.h"
#include "repository/holds.h"
#include "store/store_ops.h"
#include "work/prune.h"

enum { DAYS = 4 };

static char cluster[] = "shop", zone[] = "UTC", nightly[] = "nightly", tidy[] = "prune",
            empty[] = "";

/* The work of pruning `repository` under a policy that keeps the last so many. */
struct desk {
    struct policy_job jobs[2];
    struct policy policy;
    struct work work;
    int64_t now_us;
};

static void lay_out(struct desk *desk, struct repository *repository, int last)
{
    *desk = (struct desk){.now_us = instant_now_us()};
    desk->jobs[0] = (struct policy_job){.name = nightly,
                                        .type = JOB_DUMP,
                                        .timezone = zone,
                                        .schedule_text = empty,
                                        .keep = {.is_set = true, .last = last}};
    desk->jobs[1] = (struct policy_job){
        .name = tidy, .type = JOB_PRUNE, .timezone = zone, .schedule_text = empty};
    desk->policy =
        (struct policy){.cluster = cluster, .timezone = zone, .jobs = desk->jobs, .job_count = 2};
    desk->work = (struct work){.policy = &desk->policy,
                               .job = &desk->jobs[1],
                               .repository = repository,
                               .started_us = desk->now_us};
}

static const char *id_of(int day)
{
    static char id[64];
    snprintf(id, sizeof(id), "20261121T020000Z-d%03d", day);
    return id;
}

/* Backups d0 (today) to d<count-1>, each a day older. */
static void fill(struct repository *repository, int64_t now_us, int count)
{
    for (int day = 0; day < count; day++)
        fixture_backup(repository, id_of(day), now_us - (day * 24 + 1) * US_PER_HOUR);
}

/* The days of the good backups there are, "0 1 2". */
static void assert_days(struct repository *repository, const char *expected)
{
    struct facts facts;
    char text[256] = "";
    assert_ok(catalogue_read(repository, instant_now_us(), &facts, &fixture_err));
    for (int day = 0; day < 100; day++) {
        const struct facts_backup *backup = catalogue_find(&facts, id_of(day), BACKUP_DUMP);
        size_t length = strlen(text);
        if (backup && backup->state != BACKUP_GARBAGE)
            snprintf(text + length, sizeof(text) - length, "%s%d", length ? " " : "", day);
    }
    facts_clear(&facts);
    assert_string_equal(text, expected);
}

static int apply(struct desk *desk, const char *hash, bool force, struct prune *prune)
{
    const struct prune_options options = {
        .now_us = desk->now_us, .expected_hash = hash, .force = force};
    return prune_apply(&desk->work, &options, prune, &fixture_err);
}

static void test_deletes_what_the_plan_says(void **state)
{
    struct desk desk;
    struct prune prune = {0};
    lay_out(&desk, *state, 2);
    fill(*state, desk.now_us, DAYS);
    assert_ok(prune_look(&desk.work, desk.now_us, &prune, &fixture_err));
    assert_int_equal(prune.plan.delete_count, 2);
    assert_days(*state, "0 1 2 3");
    prune_clear(&prune);
    assert_ok(apply(&desk, NULL, false, &prune));
    assert_int_equal(prune.deleted, 2);
    assert_true(prune.bytes_freed > 20);
    assert_days(*state, "0 1");
    prune_clear(&prune);
    assert_ok(apply(&desk, NULL, false, &prune));
    assert_int_equal(prune.deleted, 0);
    assert_days(*state, "0 1");
    prune_clear(&prune);
}

/* What the last one left is not forgotten by one that sees less and has nothing to delete. */
static void test_an_idle_prune_forgets_nothing(void **state)
{
    struct desk desk;
    struct prune prune = {0};
    lay_out(&desk, *state, DAYS);
    fill(*state, desk.now_us, DAYS);
    assert_ok(evidence_add(
        *state, "pruned",
        json_pack("{s:{s:i, s:i, s:i}}", "left", "dumps", 30, "snapshots", 0, "wal_segments", 0),
        NULL, &fixture_err));
    assert_ok(apply(&desk, NULL, false, &prune));
    assert_int_equal(prune.deleted, 0);
    prune_clear(&prune);
    lay_out(&desk, *state, 2);
    assert_int_equal(apply(&desk, NULL, false, &prune), ERR_FAILED);
    assert_non_null(strstr(fixture_err.message, "4 dumps are there"));
    assert_non_null(strstr(fixture_err.message, "had left 30"));
    prune_clear(&prune);
    assert_days(*state, "0 1 2 3");
}

/* The tombstones say by which rule and which plan. */
static int check_tombstone(const json_t *record, void *context, struct error *err)
{
    (void)err;
    const json_t *body = json_object_get(record, "body");
    const char *type = json_string_value(json_object_get(record, "type"));
    if (strcmp(type, "pruned") == 0) {
        assert_int_equal(json_number(json_object_get(body, "left"), "dumps"), 2);
        return 0;
    }
    assert_string_equal(type, "backup_removed");
    assert_string_equal(json_string_value(json_object_get(body, "reason")),
                        "expired: no rule of job \"nightly\" wants it: last 2");
    assert_string_equal(json_string_value(json_object_get(body, "plan_hash")),
                        ((const struct prune *)context)->plan.hash);
    return 0;
}

static int refuse_oldest(struct store *store, const char *key, struct error *err)
{
    if (strstr(key, "-d003/manifest.json"))
        return error_set(err, ERR_LOCKED, "it is locked until 2100-01-01T00:00:00Z");
    return store_file_ops.delete(store, key, err);
}

/* What only its deletion shows to be locked is no failure, and not freed. */
static void test_locked_stays(void **state)
{
    struct repository *repository = *state;
    struct store_ops ops = store_file_ops;
    struct desk desk;
    struct prune prune = {0};
    lay_out(&desk, repository, 2);
    fill(repository, desk.now_us, DAYS);
    ops.delete = refuse_oldest;
    repository->store->ops = &ops;
    assert_ok(apply(&desk, NULL, false, &prune));
    repository->store->ops = &store_file_ops;
    assert_int_equal(prune.deleted, 1);
    assert_int_equal(prune.locked, 1);
    assert_int_equal(prune.failed, 0);
    assert_int_equal(prune.plan.delete_count, 1);
    const struct retention_decision *decision = retention_find(&prune.plan, id_of(3));
    assert_int_equal(decision->action, RETENTION_KEEP);
    assert_string_equal(decision->rule, "lock");
    assert_string_equal(decision->reason, "it is locked until 2100-01-01T00:00:00Z");
    assert_days(repository, "0 1 3");
    prune_clear(&prune);
}

static void test_leaves_evidence(void **state)
{
    struct desk desk;
    struct prune prune = {0};
    struct evidence_tip tip;
    lay_out(&desk, *state, 2);
    fill(*state, desk.now_us, DAYS);
    assert_ok(apply(&desk, NULL, false, &prune));
    assert_ok(evidence_verify(*state, NULL, check_tombstone, &prune, &tip, &fixture_err));
    assert_int_equal(tip.number, 3);
    prune_clear(&prune);
}

static void test_deletes_nothing_when_something_is_unreadable(void **state)
{
    struct desk desk;
    struct prune prune = {0};
    lay_out(&desk, *state, 1);
    fill(*state, desk.now_us, DAYS);
    fixture_put(*state, "shop/dumps/20261121T020000Z-d001/manifest.json", "{");
    assert_fails(apply(&desk, NULL, false, &prune), ERR_UNKNOWN,
                 "nothing was deleted: 1 backup could not be read (20261121T020000Z-d001)");
    prune_clear(&prune);
    assert_fails(apply(&desk, NULL, true, &prune), ERR_UNKNOWN, "nothing was deleted");
    prune_clear(&prune);
    assert_days(*state, "0 1 2 3");
}

static void test_an_unreadable_hold_holds_everything(void **state)
{
    struct desk desk;
    struct prune prune = {0};
    lay_out(&desk, *state, 1);
    fill(*state, desk.now_us, DAYS);
    fixture_put(*state, "shop/holds/20261121T020000Z-hold.json", "garbled");
    assert_fails(apply(&desk, NULL, false, &prune), ERR_UNKNOWN,
                 "not every listing and hold could be read");
    assert_days(*state, "0 1 2 3");
    prune_clear(&prune);
}

static void test_a_held_one_stays(void **state)
{
    struct desk desk;
    struct prune prune = {0};
    char hold_id[ID_SIZE];
    lay_out(&desk, *state, 1);
    fill(*state, desk.now_us, DAYS);
    const struct hold_request request = {.backup_id = "20261121T020000Z-d002",
                                         .holder = "ann",
                                         .reason = "case 7",
                                         .expires_us = INSTANT_NONE};
    assert_ok(hold_add(*state, &request, hold_id, &fixture_err));
    assert_ok(apply(&desk, NULL, false, &prune));
    assert_days(*state, "0 2");
    prune_clear(&prune);
    assert_ok(hold_release(*state, hold_id, "settled", &fixture_err));
    assert_ok(apply(&desk, NULL, false, &prune));
    assert_days(*state, "0");
    prune_clear(&prune);
}

static void test_much_at_once_needs_a_person(void **state)
{
    struct desk desk;
    struct prune prune = {0};
    char hash[RETENTION_HASH_MAX], hint[ERROR_HINT_MAX];
    lay_out(&desk, *state, 2);
    fill(*state, desk.now_us, 8);
    assert_fails(apply(&desk, NULL, false, &prune), ERR_FAILED,
                 "nothing was deleted: 6 of 8 dumps would go: more than half, and more than 5");
    memcpy(hash, prune.plan.hash, sizeof(hash));
    snprintf(hint, sizeof(hint), "if that is right: pgcairn prune shop --apply --plan %s --force",
             hash);
    assert_string_equal(fixture_err.hint, hint);
    prune_clear(&prune);
    assert_fails(apply(&desk, hash, false, &prune), ERR_FAILED, "6 of 8 dumps would go");
    prune_clear(&prune);
    assert_fails(apply(&desk, NULL, true, &prune), ERR_FAILED, "6 of 8 dumps would go");
    prune_clear(&prune);
    assert_days(*state, "0 1 2 3 4 5 6 7");
    assert_ok(apply(&desk, hash, true, &prune));
    assert_int_equal(prune.deleted, 6);
    prune_clear(&prune);
    assert_days(*state, "0 1");
}

static void test_another_plan_is_not_applied(void **state)
{
    struct desk desk;
    struct prune prune = {0};
    char hash[RETENTION_HASH_MAX], message[200];
    lay_out(&desk, *state, 2);
    fill(*state, desk.now_us, DAYS);
    assert_ok(prune_look(&desk.work, desk.now_us, &prune, &fixture_err));
    memcpy(hash, prune.plan.hash, sizeof(hash));
    prune_clear(&prune);
    fixture_backup(*state, "20261121T020000Z-d050", desk.now_us);
    assert_int_equal(apply(&desk, hash, false, &prune), ERR_CONFLICT);
    snprintf(message, sizeof(message), "nothing was deleted: the plan is now %s", prune.plan.hash);
    assert_string_equal(fixture_err.message, message);
    assert_string_equal(fixture_err.hint, "look at it again: pgcairn prune shop");
    prune_clear(&prune);
    assert_days(*state, "0 1 2 3 50");
}

static void test_the_job(void **state)
{
    struct desk desk;
    struct work_result result = {0};
    lay_out(&desk, *state, 2);
    fill(*state, desk.now_us, DAYS);
    assert_ok(prune_run(&desk.work, &result, &fixture_err));
    assert_int_equal(json_integer_value(json_object_get(result.details, "deleted")), 2);
    assert_int_equal(json_integer_value(json_object_get(result.details, "kept")), 2);
    assert_int_equal(json_integer_value(json_object_get(result.details, "failed")), 0);
    assert_days(*state, "0 1");
    work_result_clear(&result);
}

/* -- a store in trouble -------------------------------------------------------------------------
 */

static struct store_ops troubled_ops;
static int changes_left;
static const char *stuck; /* keys with this in them can't be deleted */

static int troubled_commit(struct store_writer *writer, struct store_object *object,
                           struct error *err)
{
    if (changes_left-- <= 0)
        return error_set(err, ERR_IO, "killed");
    return store_file_ops.commit(writer, object, err);
}

static int troubled_delete(struct store *store, const char *key, struct error *err)
{
    if (changes_left-- <= 0)
        return error_set(err, ERR_IO, "killed");
    if (stuck && strstr(key, stuck))
        return error_set(err, ERR_PERMISSION, "could not delete \"%s\": not allowed", key);
    return store_file_ops.delete(store, key, err);
}

static void trouble(struct repository *repository, int changes, const char *key)
{
    troubled_ops = store_file_ops;
    troubled_ops.commit = troubled_commit;
    troubled_ops.delete = troubled_delete;
    changes_left = changes;
    stuck = key;
    repository->store->ops = &troubled_ops;
}

/* One that can't be deleted does not save the others, and is told. */
static void test_passes_over_what_can_not_be_deleted(void **state)
{
    struct desk desk;
    struct prune prune = {0};
    struct repository *repository = *state;
    lay_out(&desk, repository, 1);
    fill(repository, desk.now_us, DAYS);
    trouble(repository, 1000, "d002/manifest.json");
    assert_fails(apply(&desk, NULL, false, &prune), ERR_PERMISSION,
                 "1 of 3 backups were not deleted: could not delete dump 20261121T020000Z-d002");
    assert_int_equal(prune.deleted, 2);
    assert_int_equal(prune.failed, 1);
    repository->store->ops = &store_file_ops;
    assert_days(repository, "0 2");
    prune_clear(&prune);
    assert_ok(apply(&desk, NULL, false, &prune));
    assert_days(repository, "0");
    prune_clear(&prune);
}

/* Killed at any change, the next prune ends what was begun, and what is to stay is never touched.
 */
static void test_a_crash_at_every_step(void **state)
{
    struct repository *repository = *state;
    bool is_through = false;
    int steps = 0;
    for (; !is_through; steps++) {
        struct desk desk;
        struct prune prune = {0};
        lay_out(&desk, repository, 2);
        fill(repository, desk.now_us, DAYS);
        trouble(repository, steps, NULL);
        is_through = apply(&desk, NULL, false, &prune) == 0;
        prune_clear(&prune);
        repository->store->ops = &store_file_ops;
        assert_ok(apply(&desk, NULL, false, &prune));
        prune_clear(&prune);
        assert_days(repository, "0 1");
        assert_objects(repository, "shop/dumps/20261121T020000Z-d002/", "");
        assert_objects(repository, "shop/dumps/20261121T020000Z-d003/", "");
        for (int day = 0; day < 2; day++) { /* an empty repository for the next round */
            static const char *const names[] = {"manifest.json", "started.json", "restore.sh",
                                                "16384/data-0001.tar.zst"};
            for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                char key[200];
                snprintf(key, sizeof(key), "shop/dumps/20261121T020000Z-d%03d/%s", day, names[i]);
                assert_ok(store_delete(repository->store, key, &fixture_err));
            }
        }
    }
    assert_true(steps > 10);
}

/* Says that it has deleted, and has not; or takes another object with it. */
static int lie(struct store *store, const char *key, struct error *err)
{
    return strstr(key, stuck) ? 0 : store_file_ops.delete(store, key, err);
}

static int take_another(struct store *store, const char *key, struct error *err)
{
    char other[STORE_KEY_MAX + 1];
    snprintf(other, sizeof(other), "shop/dumps/%s", stuck);
    int rc = store_file_ops.delete(store, other, err);
    return rc ? rc : store_file_ops.delete(store, key, err);
}

/* After applying it lists again: what it was told is not what it believes. */
static void check_again(struct repository *repository,
                        int (*delete)(struct store *store, const char *key, struct error *err),
                        const char *what, const char *says)
{
    struct desk desk;
    struct prune prune = {0};
    lay_out(&desk, repository, 2);
    fill(repository, desk.now_us, DAYS);
    trouble(repository, 0, what);
    troubled_ops = store_file_ops;
    troubled_ops.delete = delete;
    assert_fails(apply(&desk, NULL, false, &prune), ERR_FAILED, says);
    assert_non_null(strstr(fixture_err.message, "the repository is not as planned"));
    repository->store->ops = &store_file_ops;
    prune_clear(&prune);
}

static void test_what_is_not_deleted_is_seen(void **state)
{
    check_again(*state, lie, "d002/", "20261121T020000Z-d002 is still there");
}

static void test_what_else_is_gone_is_seen(void **state)
{
    check_again(*state, take_another, "20261121T020000Z-d000/manifest.json",
                "20261121T020000Z-d000 is gone");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_deletes_what_the_plan_says),
        FIXTURE_TEST(test_an_idle_prune_forgets_nothing),
        FIXTURE_TEST(test_locked_stays),
        FIXTURE_TEST(test_leaves_evidence),
        FIXTURE_TEST(test_deletes_nothing_when_something_is_unreadable),
        FIXTURE_TEST(test_an_unreadable_hold_holds_everything),
        FIXTURE_TEST(test_a_held_one_stays),
        FIXTURE_TEST(test_much_at_once_needs_a_person),
        FIXTURE_TEST(test_another_plan_is_not_applied),
        FIXTURE_TEST(test_the_job),
        FIXTURE_TEST(test_passes_over_what_can_not_be_deleted),
        FIXTURE_TEST(test_a_crash_at_every_step),
        FIXTURE_TEST(test_what_is_not_deleted_is_seen),
        FIXTURE_TEST(test_what_else_is_gone_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
