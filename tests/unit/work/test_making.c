/* What is taken away of a backup that failed, and in which order. */
#include "repository/fixture.h"

#include "store/store_ops.h"
#include "work/making.h"

static void begin(struct work *work, struct making *making)
{
    const struct repository_server unknown = {.system_identifier = ""};
    char key[STORE_KEY_MAX + 1];
    assert_ok(making_begin(work, BACKUP_DUMP, &unknown, making, &fixture_err));
    making_key(making, "app/data.pgdump", key);
    fixture_put(work->repository, key, "rows");
}

static struct work work_of(struct repository *repository)
{
    static char name[] = "nightly";
    static const struct policy_job JOB = {.name = name, .type = JOB_DUMP};
    return (struct work){.repository = repository,
                         .job = &JOB,
                         .run_id = "r1",
                         .claimed_due_us = INSTANT_NONE,
                         .started_us = instant_now_us()};
}

static void test_nothing_stays(void **state)
{
    struct work work = work_of(*state);
    struct making making;
    char key[STORE_KEY_MAX + 1];
    begin(&work, &making);
    making_discard(&making);
    assert_objects(*state, "shop/dumps/", "");
    begin(&work, &making);
    making_key(&making, "manifest.json", key);
    fixture_put(*state, key, "{}"); /* stored, and its reply was lost */
    making_discard(&making);
    assert_objects(*state, "shop/dumps/", "");
}

static int refuse_manifest(struct store *store, const char *key, struct error *err)
{
    if (strstr(key, "/manifest.json"))
        return error_set(err, ERR_LOCKED, "locked");
    return store_file_ops.delete(store, key, err);
}

/* A manifest that can't be taken away must not stand over data that is gone. */
static void test_the_manifest_goes_first(void **state)
{
    struct repository *repository = *state;
    struct store *store = (repository->keeper ? repository->keeper : repository)->store;
    struct store_ops ops = store_file_ops;
    struct work work = work_of(repository);
    struct making making;
    struct store_object object;
    char key[STORE_KEY_MAX + 1];
    begin(&work, &making);
    making_key(&making, "manifest.json", key);
    fixture_put(repository, key, "{}");
    ops.delete = refuse_manifest;
    store->ops = &ops;
    making_discard(&making);
    store->ops = &store_file_ops;
    making_key(&making, "app/data.pgdump", key);
    assert_ok(store_stat(repository->store, key, &object, &fixture_err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_nothing_stays),
        FIXTURE_TEST(test_the_manifest_goes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
