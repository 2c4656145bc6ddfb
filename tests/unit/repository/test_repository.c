/* Ids, the format document, which server is the cluster, manifests. */
#include "fixture.h"

#include "repository/evidence.h"

static const int64_t NOW = INT64_C(1795226400) * US_PER_SECOND; /* 2026-11-21T02:00:00Z */

static void test_ids(void **state)
{
    (void)state;
    char id[ID_SIZE], other[ID_SIZE];
    int64_t started_us = 0;
    assert_ok(id_make(NOW + 999999, id, &fixture_err));
    assert_int_equal(strncmp(id, "20261121T020000Z-", 17), 0);
    assert_true(id_parse(id, &started_us));
    assert_int_equal(started_us, NOW);
    assert_ok(id_make(NOW, other, &fixture_err));
    assert_string_not_equal(id, other);
    static const char *const BAD[] = {
        "",
        "20261121T020000Z",
        "20261121T020000Z-x7q",
        "20261121T020000Z-x7q22",
        "20261121T020000Z-X7Q2",
        "20261121T020000Z/x7q2",
        "20261131T020000Z-x7q2",
        "20261321T020000Z-x7q2",
        "20261121T240000Z-x7q2",
        "20261121T026000Z-x7q2",
        "2026-121T020000Z-x7q2",
        "20261121 020000Z-x7q2",
        "../../etc/passwd-x7q2",
    };
    for (size_t i = 0; i < ARRAY_SIZE(BAD); i++)
        if (id_parse(BAD[i], NULL))
            fail_msg("\"%s\" passes for an id", BAD[i]);
    assert_fails(id_make(INT64_C(300000000000) * US_PER_SECOND, id, &fixture_err), ERR_FAILED,
                 "no id can be made");
}

static void test_format(void **state)
{
    struct repository *repository = *state, *other = NULL;
    const char *url = store_url(repository->store);
    struct buf buf = BUF_INIT(1000);
    assert_ok(store_get(repository->store, "pgcairn.json", &buf, &fixture_err));
    assert_int_equal(strncmp(buf_text(&buf), "{\"format\":1,\"created_at\":\"", 26), 0);
    buf_clear(&buf);
    assert_ok(repository_prepare(repository, &fixture_err));
    fixture_put(repository, "pgcairn.json", "{\"format\":2,\"created_at\":\"later\"}");
    assert_fails(repository_open(url, NULL, "shop", &other, &fixture_err), ERR_FAILED,
                 "has format 2, this version knows up to 1");
    assert_fails(repository_prepare(repository, &fixture_err), ERR_FAILED, "has format 2");
    fixture_put(repository, "pgcairn.json", "{\"form");
    assert_fails(repository_open(url, NULL, "shop", &other, &fixture_err), ERR_CORRUPT,
                 "pgcairn.json is not valid JSON");
    static const char *const NAMES[] = {"", "a/b", "..", "a b"};
    for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++)
        assert_fails(repository_open(url, NULL, NAMES[i], &other, &fixture_err), ERR_USAGE,
                     "can't be the name of a cluster");
}

static void test_admit(void **state)
{
    struct repository *repository = *state;
    const struct repository_server old = {"7000000000000000001", "15.4", 150004};
    const struct repository_server updated = {"7000000000000000001", "15.14", 150014};
    const struct repository_server foreign = {"7000000000000000002", "16.1", 160001};
    const struct repository_server none = {"abc", "16.1", 160001};
    char *previous = NULL;
    assert_ok(repository_admit_cluster(repository, &old, NOW, &fixture_err));
    assert_ok(repository_admit_cluster(repository, &old, NOW, &fixture_err));
    assert_ok(repository_admit_cluster(repository, &updated, NOW + US_PER_DAY, &fixture_err));
    assert_fails(repository_admit_cluster(repository, &foreign, NOW, &fixture_err), ERR_FAILED,
                 "the server has system identifier 7000000000000000002, but the backups of cluster "
                 "\"shop\" are of 7000000000000000001");
    assert_non_null(strstr(fixture_err.hint, "pgcairn cluster adopt shop"));
    assert_fails(repository_admit_cluster(repository, &none, NOW, &fixture_err), ERR_USAGE,
                 "is no system identifier");

    assert_ok(repository_adopt_cluster(repository, &foreign, "pg_upgrade", NOW + 2 * US_PER_DAY,
                                       &previous, &fixture_err));
    assert_string_equal(previous, "7000000000000000001");
    free(previous);
    assert_ok(repository_admit_cluster(repository, &foreign, NOW + 2 * US_PER_DAY, &fixture_err));
    assert_fails(repository_admit_cluster(repository, &old, NOW, &fixture_err), ERR_FAILED,
                 "are of 7000000000000000002");
    struct evidence_tip tip;
    assert_ok(evidence_verify(repository, NULL, NULL, NULL, &tip, &fixture_err));
    assert_int_equal(tip.number, 1);

    struct buf buf = BUF_INIT(10000);
    assert_ok(store_get(repository->store, "shop/cluster.json", &buf, &fixture_err));
    assert_string_equal(
        buf_text(&buf),
        "{\"format\":1,\"cluster\":\"shop\",\"system_identifier\":\"7000000000000000002\","
        "\"systems\":[{\"system_identifier\":\"7000000000000000001\","
        "\"first_seen\":\"2026-11-21T02:00:00Z\",\"last_seen\":\"2026-11-22T02:00:00Z\","
        "\"adopted_at\":null,\"servers\":[{\"version\":\"15.4\",\"version_num\":150004,"
        "\"first_seen\":\"2026-11-21T02:00:00Z\",\"last_seen\":\"2026-11-21T02:00:00Z\"},"
        "{\"version\":\"15.14\",\"version_num\":150014,\"first_seen\":\"2026-11-22T02:00:00Z\","
        "\"last_seen\":\"2026-11-22T02:00:00Z\"}]},"
        "{\"system_identifier\":\"7000000000000000002\",\"first_seen\":\"2026-11-23T02:00:00Z\","
        "\"last_seen\":\"2026-11-23T02:00:00Z\",\"adopted_at\":\"2026-11-23T02:00:00Z\","
        "\"servers\":[{\"version\":\"16.1\",\"version_num\":160001,"
        "\"first_seen\":\"2026-11-23T02:00:00Z\",\"last_seen\":\"2026-11-23T02:00:00Z\"}]}]}");
    buf_clear(&buf);
    fixture_put(repository, "shop/cluster.json", "{\"format\":1}");
    assert_fails(repository_admit_cluster(repository, &old, NOW, &fixture_err), ERR_CORRUPT,
                 "shop/cluster.json: \"system_identifier\" is missing");
}

static void test_adopt_first(void **state)
{
    const struct repository_server server = {"1", "15.4", 150004};
    char *previous = NULL;
    assert_ok(repository_adopt_cluster(*state, &server, "first", NOW, &previous, &fixture_err));
    assert_null(previous);
    assert_ok(repository_admit_cluster(*state, &server, NOW, &fixture_err));
}

static void test_manifest(void **state)
{
    struct repository *repository = *state;
    const char *id = "20261121T020000Z-x7q2";
    json_t *manifest = fixture_manifest(id, NOW), *read = NULL;
    assert_fails(manifest_read(repository, BACKUP_DUMP, id, &read, &fixture_err), ERR_NOT_FOUND,
                 "");
    assert_ok(manifest_write(repository, BACKUP_DUMP, id, manifest, &fixture_err));
    assert_fails(manifest_write(repository, BACKUP_DUMP, id, manifest, &fixture_err), ERR_EXISTS,
                 "");
    assert_ok(manifest_read(repository, BACKUP_DUMP, id, &read, &fixture_err));
    assert_true(json_equal(manifest, read));
    assert_non_null(manifest_database(read, "web"));
    assert_null(manifest_database(read, "none"));
    assert_int_equal(
        json_integer_value(json_object_get(manifest_object(read, "restore.sh"), "size")), 300);
    struct facts_backup backup = {0};
    assert_ok(manifest_summary(read, &backup, &fixture_err));
    assert_string_equal(backup.id, id);
    assert_string_equal(backup.job, "nightly");
    assert_int_equal(backup.started_us, NOW);
    assert_int_equal(backup.completed_us, NOW + US_PER_MINUTE);
    assert_int_equal(backup.bytes_source, 1000);
    assert_int_equal(backup.bytes_stored, 300);
    assert_int_equal(backup.server_major, 15);
    assert_string_equal(backup.databases[0], "app");
    assert_string_equal(backup.databases[1], "web");
    assert_null(backup.databases[2]);
    free(backup.id);
    free(backup.job);
    free(backup.databases[0]);
    free(backup.databases[1]);
    free(backup.databases);
    json_decref(read);
    json_decref(manifest);
}

/* What was stored and is gone, or of another size, before the manifest is written. */
static void test_manifest_check_stored(void **state)
{
    struct repository *repository = *state;
    const char *id = "20261121T020000Z-x7q2", *key = "shop/dumps/20261121T020000Z-x7q2/restore.sh";
    char content[300] = {0};
    json_t *manifest = fixture_manifest(id, NOW);
    assert_fails(manifest_check_stored(repository, BACKUP_DUMP, id, manifest, &fixture_err),
                 ERR_CONFLICT, "restore.sh\" was stored by this run with 300 bytes");
    assert_ok(store_put(repository->store, key, content, 299, 0, &fixture_err));
    assert_fails(manifest_check_stored(repository, BACKUP_DUMP, id, manifest, &fixture_err),
                 ERR_CONFLICT, "restore.sh");
    assert_ok(store_put(repository->store, key, content, sizeof(content), 0, &fixture_err));
    assert_ok(manifest_check_stored(repository, BACKUP_DUMP, id, manifest, &fixture_err));
    json_decref(manifest);
}

/* Nothing that a reader would call damaged is ever written. */
static void test_manifest_refused(void **state)
{
    struct repository *repository = *state;
    const char *id = "20261121T020000Z-x7q2";
    static const char *const KEYS[] = {"format",       "kind",    "id",           "cluster",
                                       "job",          "server",  "started_at",   "completed_at",
                                       "bytes_source", "objects", "bytes_stored", "databases"};
    for (size_t i = 0; i < ARRAY_SIZE(KEYS); i++) {
        json_t *manifest = fixture_manifest(id, NOW);
        json_object_set_new(manifest, KEYS[i], json_true());
        assert_fails(manifest_write(repository, BACKUP_DUMP, id, manifest, &fixture_err),
                     ERR_CORRUPT, "manifest.json of 20261121T020000Z-x7q2: ");
        json_object_del(manifest, KEYS[i]);
        assert_fails(manifest_write(repository, BACKUP_DUMP, id, manifest, &fixture_err),
                     ERR_CORRUPT, "");
        json_decref(manifest);
    }
    json_t *manifest = fixture_manifest(id, NOW);
    assert_fails(
        manifest_write(repository, BACKUP_DUMP, "20261121T020000Z-aaaa", manifest, &fixture_err),
        ERR_CORRUPT, "it is of dump 20261121T020000Z-x7q2");
    json_object_set_new(manifest, "format", json_integer(2));
    assert_fails(manifest_write(repository, BACKUP_DUMP, id, manifest, &fixture_err), ERR_FAILED,
                 "its format is 2");
    json_decref(manifest);
}

static void test_started(void **state)
{
    struct repository *repository = *state;
    const char *id = "20261121T020000Z-x7q2";
    struct started started;
    fixture_begin(repository, id, NOW);
    assert_ok(started_read(repository, BACKUP_DUMP, id, &started, &fixture_err));
    assert_string_equal(started.job, "nightly");
    assert_string_equal(started.run_id, "run-1");
    assert_int_equal(started.pid, getpid());
    assert_int_equal(started.heartbeat_us, NOW);
    assert_int_equal(started.removed_by, 0);
    assert_fails(backup_begin(repository, &started, &fixture_err), ERR_EXISTS, "exists already");
    assert_ok(backup_heartbeat(repository, &started, NOW + US_PER_HOUR, &fixture_err));
    assert_ok(started_read(repository, BACKUP_DUMP, id, &started, &fixture_err));
    assert_int_equal(started.heartbeat_us, NOW + US_PER_HOUR);
    assert_int_equal(started.started_us, NOW);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids),
        FIXTURE_TEST(test_format),
        FIXTURE_TEST(test_admit),
        FIXTURE_TEST(test_adopt_first),
        FIXTURE_TEST(test_manifest),
        FIXTURE_TEST(test_manifest_check_stored),
        FIXTURE_TEST(test_manifest_refused),
        FIXTURE_TEST(test_started),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
