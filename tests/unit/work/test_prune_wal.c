/* A prune of WAL and snapshots in a folder: what goes, in which order, and what survives. */
#include "repository/fixture.h"

#include "repository/catalogue.h"
#include "repository/evidence.h"
#include "repository/wal.h"
#include "store/store_ops.h"
#include "work/prune.h"

#define SYSTEM "7580000000000000001"
#define WAL "shop/wal/" SYSTEM "/"

enum { SIZE = 16 << 20, JOBS = 3 };

static char cluster[] = "shop", zone[] = "UTC", weekly[] = "weekly", tidy[] = "prune",
            archive[] = "wal", empty[] = "";

struct desk {
    struct policy_job jobs[JOBS];
    struct policy policy;
    struct work work;
    int64_t now_us;
};

/* Keeps WAL for three days and one snapshot. */
static void lay_out(struct desk *desk, struct repository *repository)
{
    *desk = (struct desk){.now_us = instant_now_us()};
    desk->jobs[0] = (struct policy_job){
        .name = weekly, .type = JOB_SNAPSHOT, .keep = {.is_set = true, .last = 1}};
    desk->jobs[1] = (struct policy_job){.name = tidy, .type = JOB_PRUNE};
    desk->jobs[2] = (struct policy_job){
        .name = archive, .type = JOB_WAL, .keep = {.is_set = true, .within_us = 3 * US_PER_DAY}};
    for (int i = 0; i < JOBS; i++) {
        desk->jobs[i].timezone = zone;
        desk->jobs[i].schedule_text = empty;
    }
    desk->policy = (struct policy){
        .cluster = cluster, .timezone = zone, .jobs = desk->jobs, .job_count = JOBS};
    desk->work = (struct work){.policy = &desk->policy,
                               .job = &desk->jobs[1],
                               .repository = repository,
                               .started_us = desk->now_us};
}

/* A snapshot that began so many days ago in that segment. */
static void add_snapshot(struct repository *repository, const char *id, int days, int segment)
{
    int64_t started_us = instant_now_us() - days * US_PER_DAY;
    char start[32], stop[32];
    struct started started = {
        .kind = BACKUP_SNAPSHOT, .job = "weekly", .run_id = "run-1", .started_us = started_us};
    snprintf(start, sizeof(start), "0/%X", segment * SIZE + 40);
    snprintf(stop, sizeof(stop), "0/%X", segment * SIZE + 400);
    json_t *manifest = json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:{s:s, s:i, s:s}, s:{s:i, s:s, s:i, s:s, "
        "s:i}, s:b, s:i, s:i, s:[], s:[]}",
        "format", 1, "kind", "snapshot", "id", id, "cluster", "shop", "job", "weekly", "run_id",
        "run-1", "started_at", json_instant(started_us), "completed_at",
        json_instant(started_us + US_PER_MINUTE), "stopped_at",
        json_instant(started_us + US_PER_MINUTE), "server", "version", "15.4", "version_num",
        150004, "system_identifier", SYSTEM, "wal", "timeline", 1, "start_lsn", start,
        "stop_timeline", 1, "stop_lsn", stop, "segment_size", SIZE, "checksums_failed", 0,
        "bytes_source", 1000, "bytes_stored", 300, "objects", "tablespaces");
    memcpy(started.id, id, ID_SIZE);
    assert_ok(backup_begin(repository, &started, &fixture_err));
    assert_ok(manifest_write(repository, BACKUP_SNAPSHOT, id, manifest, &fixture_err));
    json_decref(manifest);
}

static const char *wal_key_of(const char *name)
{
    static char key[200];
    snprintf(key, sizeof(key), WAL "00000001/00000000/%s-0123456789abcdef.zst", name);
    return key;
}

static void add_segments(struct repository *repository, int first, int last)
{
    char name[32];
    for (int i = first; i <= last; i++) {
        snprintf(name, sizeof(name), "0000000100000000%08X", i);
        fixture_put(repository, wal_key_of(name), "12345");
    }
}

static const char old_id[] = "20261101T020000Z-old0", anchor_id[] = "20261108T020000Z-anch",
                  new_id[] = "20261121T020000Z-new0";

/* Segments 1 to 12; snapshots in 3, 6 and 10, of which that in 6 is the anchor. */
static void fill(struct repository *repository)
{
    fixture_put(repository, WAL "wal.json",
                "{\"format\":1,\"system_identifier\":\"" SYSTEM "\",\"segment_size\":16777216,"
                "\"created_at\":\"2026-11-01T00:00:00Z\"}");
    add_segments(repository, 1, 12);
    add_snapshot(repository, old_id, 9, 3);
    add_snapshot(repository, anchor_id, 5, 6);
    add_snapshot(repository, new_id, 1, 10);
}

static int apply(struct desk *desk, struct prune *prune)
{
    const struct prune_options options = {.now_us = desk->now_us};
    return prune_apply(&desk->work, &options, prune, &fixture_err);
}

/* "1-5 8" of what is stored. */
static void assert_segments(struct repository *repository, const char *expected)
{
    struct facts_wal facts;
    char text[256] = "";
    assert_ok(wal_facts_read(repository, SYSTEM, &facts, &fixture_err));
    const struct facts_wal_timeline *timeline = facts_wal_timeline(&facts, 1);
    for (size_t i = 0; i < timeline->range_count; i++) {
        size_t length = strlen(text);
        snprintf(text + length, sizeof(text) - length, "%s%llu-%llu", length ? " " : "",
                 (unsigned long long)timeline->ranges[i].first,
                 (unsigned long long)timeline->ranges[i].last);
    }
    facts_wal_clear(&facts);
    assert_string_equal(text, expected);
}

static void assert_snapshots(struct repository *repository, const char *expected)
{
    static const char *const ids[] = {old_id, anchor_id, new_id};
    struct facts facts;
    char text[64] = "";
    assert_ok(catalogue_read(repository, instant_now_us(), &facts, &fixture_err));
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
        if (catalogue_find(&facts, ids[i], BACKUP_SNAPSHOT))
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s",
                     ids[i] + strlen("20261101T020000Z-"));
    facts_clear(&facts);
    assert_string_equal(text, expected);
}

static int check_record(const json_t *record, void *context, struct error *err)
{
    (void)err;
    int *seen = context;
    const char *type = json_string_value(json_object_get(record, "type"));
    if (strcmp(type, "pruned") == 0)
        return 0;
    assert_string_equal(type, *seen == 0 ? "wal_removed" : "backup_removed");
    if ((*seen)++ > 0)
        return 0;
    const json_t *ranges = json_object_get(json_object_get(record, "body"), "ranges");
    const json_t *range = json_array_get(ranges, 0);
    assert_int_equal(json_array_size(ranges), 1);
    assert_string_equal(json_string_value(json_object_get(range, "first")),
                        "000000010000000000000001");
    assert_string_equal(json_string_value(json_object_get(range, "last")),
                        "000000010000000000000005");
    assert_int_equal(json_integer_value(json_object_get(range, "segments")), 5);
    assert_string_equal(json_string_value(json_object_get(range, "system_identifier")), SYSTEM);
    assert_string_equal(json_string_value(json_object_get(range, "reason")),
                        "not needed: recovery to any moment of the last 3d begins with snapshot "
                        "20261108T020000Z-anch");
    return 0;
}

static void test_deletes_up_to_the_anchor(void **state)
{
    struct desk desk;
    struct prune prune = {0};
    struct evidence_tip tip;
    int seen = 0;
    lay_out(&desk, *state);
    fill(*state);
    assert_ok(apply(&desk, &prune));
    assert_int_equal(prune.wal_deleted, 5);
    assert_int_equal(prune.deleted, 1);
    assert_true(prune.bytes_freed > 25);
    prune_clear(&prune);
    assert_segments(*state, "6-12");
    assert_snapshots(*state, "anchnew0");
    assert_ok(evidence_verify(*state, NULL, check_record, &seen, &tip, &fixture_err));
    assert_int_equal(tip.number, 3);
    assert_objects(*state, WAL "00000001/pruned/",
                   WAL "00000001/pruned/000000010000000000000000-000000010000000000000005.json\n");
    assert_ok(apply(&desk, &prune));
    assert_int_equal(prune.wal_deleted, 0);
    prune_clear(&prune);
    assert_segments(*state, "6-12");
}

/* Marks, labels and acknowledged gaps go with the segments that they are about; what is not known
 * by its name stays, and so does every history. */
static void test_small_objects(void **state)
{
    struct desk desk;
    struct prune prune = {0};
    static const char *const gone[] = {
        WAL "00000001/marks/20261110T020000Z-0000000005000028.json",
        WAL "00000001/gaps/000000010000000000000002-000000010000000000000002.json",
        WAL "00000001/pruned/000000010000000000000000-000000010000000000000001.json",
        WAL "00000001/00000000/000000010000000000000003.00000028.backup-0123456789abcdef.zst",
        WAL "00000001/00000000/000000010000000000000004.partial-0123456789abcdef.zst",
    };
    static const char kept[] =
        WAL "00000001/00000000/000000010000000000000004.zst\n" WAL
            "00000001/00000000/000000010000000000000006.00000028.backup-0123456789abcdef.zst\n" WAL
            "00000001/00000000/00000001000000000000000C.partial-0123456789abcdef.zst\n" WAL
            "00000001/gaps/000000010000000000000007-000000010000000000000007.json\n" WAL
            "00000001/marks/20261120T020000Z-0000000007000028.json\n" WAL
            "00000001/marks/readme\n" WAL "00000002/00000002.history-0123456789abcdef.zst\n";
    lay_out(&desk, *state);
    fill(*state);
    for (size_t i = 0; i < ARRAY_SIZE(gone); i++)
        fixture_put(*state, gone[i], "{}");
    char *names = strdup(kept), *rest = NULL;
    for (char *key = strtok_r(names, "\n", &rest); key; key = strtok_r(NULL, "\n", &rest))
        fixture_put(*state, key, "{}");
    free(names);
    assert_ok(apply(&desk, &prune));
    prune_clear(&prune);
    struct repository *repository = *state;
    struct store_object object;
    for (size_t i = 0; i < ARRAY_SIZE(gone); i++)
        assert_int_equal(store_stat(repository->store, gone[i], &object, &fixture_err),
                         ERR_NOT_FOUND);
    names = strdup(kept);
    rest = NULL;
    for (char *key = strtok_r(names, "\n", &rest); key; key = strtok_r(NULL, "\n", &rest))
        assert_ok(store_stat(repository->store, key, &object, &fixture_err));
    free(names);
}

/* What another cluster keeps beside it is not touched, though it has the same server's name. */
static void test_two_clusters_on_one_prefix(void **state)
{
    struct desk desk;
    struct prune prune = {0};
    static const char *const others[] = {
        "shop2/wal/" SYSTEM "/00000001/00000000/000000010000000000000001-0123456789abcdef.zst",
        "sho/wal/" SYSTEM "/00000001/00000000/000000010000000000000001-0123456789abcdef.zst",
        "shop2/snapshots/20261101T020000Z-old0/manifest.json",
    };
    struct repository *repository = *state;
    struct store_object object;
    lay_out(&desk, repository);
    fill(repository);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        fixture_put(repository, others[i], "12345");
    assert_ok(apply(&desk, &prune));
    prune_clear(&prune);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        assert_ok(store_stat(repository->store, others[i], &object, &fixture_err));
}

static void test_what_can_not_be_told_stops_all(void **state)
{
    struct desk desk;
    struct prune prune = {0};
    struct repository *repository = *state;
    lay_out(&desk, repository);
    fill(repository);
    assert_ok(store_delete(repository->store, WAL "wal.json", &fixture_err));
    assert_fails(apply(&desk, &prune), ERR_UNKNOWN, "has no wal.json");
    prune_clear(&prune);
    assert_snapshots(repository, "old0anchnew0");
    fixture_put(repository, WAL "wal.json", "{");
    assert_int_equal(apply(&desk, &prune), ERR_CORRUPT);
    prune_clear(&prune);
    assert_snapshots(repository, "old0anchnew0");
}

/* -- a store in trouble -------------------------------------------------------------------------
 */

static struct store_ops troubled_ops;
static int changes_left;
static int refusal; /* the code for a segment that can't be deleted; 0: none */

static int troubled_commit(struct store_writer *writer, struct store_object *object,
                           struct error *err)
{
    if (changes_left-- <= 0)
        return error_set(err, ERR_CONNECTION, "killed");
    return store_file_ops.commit(writer, object, err);
}

static int troubled_delete(struct store *store, const char *key, struct error *err)
{
    if (changes_left-- <= 0)
        return error_set(err, ERR_CONNECTION, "killed");
    if (refusal && strstr(key, "000000010000000000000003-"))
        return error_set(err, refusal, "could not delete \"%s\"", key);
    return store_file_ops.delete(store, key, err);
}

static void trouble(struct repository *repository, int changes, int code)
{
    troubled_ops = store_file_ops;
    troubled_ops.commit = troubled_commit;
    troubled_ops.delete = troubled_delete;
    changes_left = changes;
    refusal = code;
    repository->store->ops = &troubled_ops;
}

/* A snapshot outlives the WAL that could not be deleted. */
static void test_what_can_not_be_deleted(void **state)
{
    struct desk desk;
    struct prune prune = {0};
    struct repository *repository = *state;
    lay_out(&desk, repository);
    fill(repository);
    trouble(repository, 1000, ERR_PERMISSION);
    assert_fails(apply(&desk, &prune), ERR_PERMISSION,
                 "1 of 1 backups were not deleted: could not delete all WAL from "
                 "000000010000000000000001 to 000000010000000000000005");
    assert_true(prune.wal_failed);
    assert_snapshots(repository, "old0anchnew0");
    prune_clear(&prune);
    trouble(repository, 1000, ERR_LOCKED);
    assert_ok(apply(&desk, &prune));
    assert_int_equal(prune.wal_locked, 1);
    prune_clear(&prune);
    assert_segments(repository, "3-3 6-12");
    assert_snapshots(repository, "old0anchnew0");
    repository->store->ops = &store_file_ops;
    assert_ok(apply(&desk, &prune));
    prune_clear(&prune);
    assert_segments(repository, "6-12");
    assert_snapshots(repository, "anchnew0");
}

/* Killed at any change, what is needed is there, what is left is whole, and the next prune ends
 * what was begun. */
static void test_a_crash_at_every_step(void **state)
{
    struct repository *repository = *state;
    bool is_through = false;
    int steps = 0;
    for (; !is_through; steps++) {
        struct desk desk;
        struct prune prune = {0};
        struct facts_wal facts;
        lay_out(&desk, repository);
        fill(repository);
        trouble(repository, steps, 0);
        is_through = apply(&desk, &prune) == 0;
        prune_clear(&prune);
        repository->store->ops = &store_file_ops;
        assert_ok(wal_facts_read(repository, SYSTEM, &facts, &fixture_err));
        assert_int_equal(facts.timelines[0].range_count, 1);
        assert_int_equal(facts.timelines[0].ranges[0].last, 12);
        facts_wal_clear(&facts);
        assert_ok(apply(&desk, &prune));
        prune_clear(&prune);
        assert_segments(repository, "6-12");
        assert_snapshots(repository, "anchnew0");
        for (int i = 1; i < 3; i++) { /* an empty repository for the next round */
            char key[200];
            static const char *const names[] = {"manifest.json", "started.json"};
            for (int n = 0; n < 2; n++) {
                snprintf(key, sizeof(key), "shop/snapshots/%s/%s", i == 1 ? anchor_id : new_id,
                         names[n]);
                assert_ok(store_delete(repository->store, key, &fixture_err));
            }
        }
    }
    assert_true(steps > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_deletes_up_to_the_anchor),
        FIXTURE_TEST(test_small_objects),
        FIXTURE_TEST(test_two_clusters_on_one_prefix),
        FIXTURE_TEST(test_what_can_not_be_told_stops_all),
        FIXTURE_TEST(test_what_can_not_be_deleted),
        FIXTURE_TEST(test_a_crash_at_every_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
