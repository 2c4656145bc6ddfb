/* The story of a verification on made-up dumps: order, budget, proofs, what can't be read. */
#include "repository/fixture.h"

#include "repository/evidence.h"
#include "repository/ids.h"
#include "store/sha256.h"
#include "work/verify.h"

enum { BACKUPS = 5 };

static char ids[BACKUPS][ID_SIZE];
static char cluster[] = "shop", url[] = "file:///nowhere", bindir[] = "auto";
static const struct policy POLICY = {.cluster = cluster, .repository_url = url, .bindir = bindir};

static void put_object(struct repository *repository, int number, const char *name,
                       const char *text)
{
    char key[STORE_KEY_MAX + 1];
    assert_ok(repository_backup_key(repository, BACKUP_DUMP, ids[number], name, key, &fixture_err));
    assert_int_equal(store_delete(repository->store, key, &fixture_err), 0);
    fixture_put(repository, key, text);
}

/* A dump of one object. */
static void make(struct repository *repository, int number)
{
    char hex[SHA256_HEX + 1];
    memcpy(ids[number], "20261121T020000Z-x7q2", ID_SIZE);
    ids[number][14] = (char)('0' + number);
    json_t *manifest = fixture_manifest(ids[number], (1000 + number) * US_PER_SECOND);
    fixture_begin(repository, ids[number], (1000 + number) * US_PER_SECOND);
    put_object(repository, number, "restore.sh", "12345");
    assert_ok(sha256_of("12345", 5, hex, &fixture_err));
    json_object_set_new(manifest, "objects",
                        json_pack("[{s:s, s:i, s:s, s:i}]", "name", "restore.sh", "size", 5,
                                  "sha256", hex, "plain_bytes", 5));
    assert_ok(manifest_write(repository, BACKUP_DUMP, ids[number], manifest, &fixture_err));
    json_decref(manifest);
}

static int setup(void **state)
{
    if (fixture_setup(state))
        return -1;
    for (int i = 0; i < BACKUPS; i++)
        make(*state, i);
    return 0;
}

static int notices;

static void count_notice(const char *text, void *context)
{
    (void)context;
    notices += strstr(text, "were not looked at") != NULL;
}

static struct verify_report run(struct repository *repository, int level, int64_t budget_us)
{
    struct verify_report report;
    const struct verify_request request = {.policy = &POLICY,
                                           .repository = repository,
                                           .level = level,
                                           .budget_us = budget_us,
                                           .jobs = 2,
                                           .run_id = "",
                                           .job = "",
                                           .notice = count_notice};
    assert_ok(verify(&request, &report, &fixture_err));
    return report;
}

static int count_proved(struct repository *repository, int level)
{
    struct proof proof = {0};
    int count = 0;
    assert_ok(proof_read(repository, &proof, &fixture_err));
    for (size_t i = 0; i < proof.backup_count; i++)
        count += proof.backups[i].level >= level;
    proof_clear(&proof);
    return count;
}

/* A budget that is over at once: one item a run, and each time another one. */
static void test_budget(void **state)
{
    notices = 0;
    for (int i = 1; i <= BACKUPS; i++) {
        struct verify_report report = run(*state, 2, 1);
        assert_int_equal(verify_result(&report), VERIFY_PASS);
        assert_int_equal(report.proved, 1);
        assert_int_equal(report.remaining, BACKUPS - 1);
        verify_report_clear(&report);
        assert_int_equal(count_proved(*state, 2), i);
        assert_int_equal(notices, i);
    }
    struct verify_report report = run(*state, 2, 0);
    assert_int_equal(report.proved, BACKUPS);
    assert_int_equal(report.bytes, 5 * BACKUPS);
    verify_report_clear(&report);
}

static void assert_fault(struct verify_report *report, int number, const char *object,
                         const char *what)
{
    const json_t *fault = json_array_get(report->faults, 0);
    assert_int_equal(report->fault_count, 1);
    assert_int_equal(verify_result(report), VERIFY_FAIL);
    assert_string_equal(json_text(fault, "id"), ids[number]);
    assert_non_null(strstr(json_text(fault, "object"), object));
    if (!strstr(json_text(fault, "what"), what))
        fail_msg("\"%s\"", json_text(fault, "what"));
    assert_int_equal(verify_report_error(report, &fixture_err), ERR_CORRUPT);
    verify_report_clear(report);
}

static void test_faults(void **state)
{
    struct repository *repository = *state;
    char key[STORE_KEY_MAX + 1];
    struct verify_report report;
    put_object(repository, 1, "restore.sh", "1234");
    report = run(repository, 1, 0);
    assert_fault(&report, 1, "restore.sh", "it has 4 bytes, 5 were stored");
    put_object(repository, 1, "restore.sh", "12346");
    report = run(repository, 1, 0); /* its size is right now, and a size was what failed */
    assert_int_equal(verify_result(&report), VERIFY_PASS);
    verify_report_clear(&report);
    report = run(repository, 2, 0);
    assert_fault(&report, 1, "restore.sh", "is not what was stored");
    report = run(repository, 1, 0); /* as deep as it was found */
    assert_fault(&report, 1, "restore.sh", "is not what was stored");
    put_object(repository, 1, "restore.sh", "12345");

    /* The manifest was known, so that another one, or none, shows. */
    report = run(repository, 2, 0);
    assert_int_equal(verify_result(&report), VERIFY_PASS);
    verify_report_clear(&report);
    json_t *manifest = fixture_manifest(ids[2], 1002 * US_PER_SECOND);
    json_object_set_new(manifest, "objects", json_array());
    char *text = json_dumps(manifest, 0);
    put_object(repository, 2, "manifest.json", text);
    free(text);
    json_decref(manifest);
    report = run(repository, 1, 0);
    assert_fault(&report, 2, "manifest.json", "it is not the one that was written");
    assert_ok(
        repository_backup_key(repository, BACKUP_DUMP, ids[2], "manifest.json", key, &fixture_err));
    assert_ok(store_delete(repository->store, key, &fixture_err));
    report = run(repository, 1, 0);
    assert_fault(&report, 2, "manifest.json", "nothing tells that the dump was removed");
}

/* Once it was removed in order, nothing is missed. */
static void test_what_was_removed(void **state)
{
    struct repository *repository = *state;
    char folder[600];
    struct verify_report report = run(repository, 1, 0);
    verify_report_clear(&report);
    assert_ok(evidence_add(repository, "backup_removed",
                           json_pack("{s:s, s:s}", "id", ids[0], "kind", "dump"), NULL,
                           &fixture_err));
    snprintf(folder, sizeof(folder), "%s/r/shop/dumps/%s", fixture_root, ids[0]);
    assert_int_equal(remove_tree(folder), 0);
    report = run(repository, 1, 0);
    assert_int_equal(verify_result(&report), VERIFY_PASS);
    assert_int_equal(report.proved, BACKUPS - 1);
    verify_report_clear(&report);
    /* One that vanishes whole is told once: then nothing of it is left to be told of. */
    snprintf(folder, sizeof(folder), "%s/r/shop/dumps/%s", fixture_root, ids[1]);
    assert_int_equal(remove_tree(folder), 0);
    report = run(repository, 1, 0);
    assert_fault(&report, 1, "manifest.json", "it is not there");
    report = run(repository, 1, 0);
    assert_int_equal(verify_result(&report), VERIFY_PASS);
    verify_report_clear(&report);
}

/* A folder in place of a file can't be read: that is no fault of the backup. */
static void test_what_can_not_be_read(void **state)
{
    struct repository *repository = *state;
    struct verify_report report = run(repository, 2, 0);
    verify_report_clear(&report);
    if (geteuid() == 0)
        return; /* root reads everything */
    char key[STORE_KEY_MAX + 1];
    assert_ok(
        repository_backup_key(repository, BACKUP_DUMP, ids[3], "restore.sh", key, &fixture_err));
    assert_int_equal(chmod(fixture_path(key), 0), 0);
    report = run(repository, 2, 0);
    assert_int_equal(verify_result(&report), VERIFY_UNKNOWN);
    assert_int_equal(report.proved, BACKUPS - 1);
    assert_int_equal(verify_report_error(&report, &fixture_err), ERR_UNKNOWN);
    verify_report_clear(&report);
    assert_int_equal(count_proved(repository, 2), BACKUPS);
    assert_int_equal(chmod(fixture_path(key), 0600), 0);
}

/* What was proved before the end came is in the evidence. The last test: a process that shall end
 * begins nothing more. */
static void test_an_early_end(void **state)
{
    struct repository *repository = *state;
    struct verify_report report;
    const struct verify_request request = {.policy = &POLICY,
                                           .repository = repository,
                                           .level = 2,
                                           .jobs = 1,
                                           .run_id = "",
                                           .job = ""};
    json_t *record = NULL;
    int64_t number = 0;
    work_stop(ERR_TIMEOUT, "it took too long");
    assert_fails(verify(&request, &report, &fixture_err), ERR_TIMEOUT, "it took too long");
    verify_report_clear(&report);
    assert_ok(evidence_find_newest(repository, "verified", &number, &record, &fixture_err));
    assert_true(json_is_true(json_object_get(json_object_get(record, "body"), "partial")));
    json_decref(record);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_budget),           TEST(test_faults),
        TEST(test_what_was_removed), TEST(test_what_can_not_be_read),
        TEST(test_an_early_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
