/* The chain of evidence: order, conflict of writers, and what tampering shows. */
#include "fixture.h"

#include <pthread.h>
#include <sys/wait.h>

#include "repository/evidence.h"

static json_t *body(int n)
{
    return json_pack("{s:i}", "n", n);
}

static void assert_same_tip(const struct evidence_tip *a, const struct evidence_tip *b)
{
    assert_int_equal(a->number, b->number);
    assert_string_equal(a->sha256, b->sha256);
}

static void add_records(struct repository *repository, int count)
{
    for (int i = 1; i <= count; i++) {
        struct evidence_tip tip, read;
        assert_ok(evidence_add(repository, "test", body(i), &tip, &fixture_err));
        assert_int_equal(tip.number, i);
        assert_ok(evidence_read_tip(repository, &read, &fixture_err));
        assert_same_tip(&read, &tip);
    }
}

static int sum(const json_t *record, void *context, struct error *err)
{
    (void)err;
    int64_t *total = context;
    *total += json_integer_value(json_object_get(json_object_get(record, "body"), "n"));
    return 0;
}

static void test_chain(void **state)
{
    struct repository *repository = *state;
    struct evidence_tip tip;
    int64_t total = 0;
    assert_ok(evidence_verify(repository, NULL, sum, &total, &tip, &fixture_err));
    assert_int_equal(tip.number, 0);
    add_records(repository, 21);
    assert_ok(evidence_verify(repository, NULL, sum, &total, &tip, &fixture_err));
    assert_int_equal(tip.number, 21);
    assert_int_equal(total, 21 * 22 / 2);
    repository->evidence_number = 0; /* as a new process would find it */
    struct evidence_tip found;
    assert_ok(evidence_read_tip(repository, &found, &fixture_err));
    assert_same_tip(&found, &tip);
    assert_ok(evidence_verify(repository, &tip, NULL, NULL, NULL, &fixture_err));
}

/* Longer than what is read at once, with a hole before, at and behind the ends of what is. */
static void test_long_chain(void **state)
{
    static const int HOLES[] = {1, 63, 64, 65, 129, 149};
    struct repository *repository = *state;
    struct evidence_tip tip;
    int64_t total = 0;
    add_records(repository, 150);
    assert_ok(evidence_verify(repository, NULL, sum, &total, &tip, &fixture_err));
    assert_int_equal(tip.number, 150);
    assert_int_equal(total, 150 * 151 / 2);
    for (size_t i = 0; i < ARRAY_SIZE(HOLES); i++) {
        char key[64], wanted[64];
        struct buf kept = BUF_INIT(10000);
        snprintf(key, sizeof(key), "shop/evidence/%010d.json", HOLES[i]);
        snprintf(wanted, sizeof(wanted), "evidence record %d is missing", HOLES[i]);
        assert_ok(store_get(repository->store, key, &kept, &fixture_err));
        assert_ok(store_delete(repository->store, key, &fixture_err));
        assert_fails(evidence_verify(repository, NULL, NULL, NULL, NULL, &fixture_err), ERR_CORRUPT,
                     wanted);
        fixture_put(repository, key, buf_text(&kept));
        buf_clear(&kept);
    }
    assert_ok(evidence_verify(repository, &tip, NULL, NULL, NULL, &fixture_err));
}

static void test_tampering(void **state)
{
    struct repository *repository = *state;
    struct evidence_tip tip;
    add_records(repository, 5);
    assert_ok(evidence_read_tip(repository, &tip, &fixture_err));
    struct buf third = BUF_INIT(10000);
    assert_ok(store_get(repository->store, "shop/evidence/0000000003.json", &third, &fixture_err));

    char *changed = strdup(buf_text(&third));
    assert_non_null(changed);
    *strstr(changed, "\"n\":3") = ' '; /* one byte: no JSON any more */
    fixture_put(repository, "shop/evidence/0000000003.json", changed);
    assert_int_equal(evidence_verify(repository, NULL, NULL, NULL, NULL, &fixture_err),
                     ERR_CORRUPT);
    free(changed);
    char *other = strdup(buf_text(&third));
    assert_non_null(other);
    strstr(other, "\"n\":3")[4] = '4';
    fixture_put(repository, "shop/evidence/0000000003.json", other);
    assert_fails(evidence_verify(repository, NULL, NULL, NULL, NULL, &fixture_err), ERR_CORRUPT,
                 "evidence record 4: it does not fit the record before it");
    free(other);

    assert_ok(store_delete(repository->store, "shop/evidence/0000000003.json", &fixture_err));
    assert_fails(evidence_verify(repository, NULL, NULL, NULL, NULL, &fixture_err), ERR_CORRUPT,
                 "evidence record 3 is missing");
    fixture_put(repository, "shop/evidence/0000000003.json", buf_text(&third));
    assert_ok(evidence_verify(repository, NULL, NULL, NULL, NULL, &fixture_err));

    /* The newest records gone: seen only against a tip kept elsewhere. */
    assert_ok(store_delete(repository->store, "shop/evidence/0000000005.json", &fixture_err));
    assert_ok(evidence_verify(repository, NULL, NULL, NULL, NULL, &fixture_err));
    assert_fails(evidence_verify(repository, &tip, NULL, NULL, NULL, &fixture_err), ERR_CORRUPT,
                 "the evidence ends at record 4, but record 5 was known");
    assert_ok(evidence_add(repository, "test", body(9), NULL, &fixture_err));
    assert_fails(evidence_verify(repository, &tip, NULL, NULL, NULL, &fixture_err), ERR_CORRUPT,
                 "evidence record 5 is not the one known before");
    buf_clear(&third);
}

/* Processes that add at once: every record is there, once, and the chain has no fork. */
static void test_conflict(void **state)
{
    enum { WRITERS = 4, RECORDS = 25 };
    struct repository *repository = *state;
    pid_t pids[WRITERS];
    for (int w = 0; w < WRITERS; w++) {
        pids[w] = fork();
        assert_true(pids[w] >= 0);
        if (pids[w] != 0)
            continue;
        for (int i = 0; i < RECORDS; i++)
            if (evidence_add(repository, "test", body(1), NULL, NULL))
                _exit(1);
        _exit(0);
    }
    for (int w = 0; w < WRITERS; w++) {
        int status;
        assert_int_equal(waitpid(pids[w], &status, 0), pids[w]);
        assert_int_equal(status, 0);
    }
    struct evidence_tip tip;
    int64_t total = 0;
    assert_ok(evidence_verify(repository, NULL, sum, &total, &tip, &fixture_err));
    assert_int_equal(tip.number, WRITERS * RECORDS);
    assert_int_equal(total, WRITERS * RECORDS);
}

enum { ADDERS = 3, ADDED = 20 };

struct adder {
    struct repository *repository;
    int rc;
};

/* One more than the newest record says. */
static int make_sum(void *context, json_t **ret_body, struct error *err)
{
    struct adder *adder = context;
    _cleanup_(json_release) json_t *newest = NULL;
    int64_t number;
    int rc = evidence_find_newest(adder->repository, "sum", &number, &newest, err);
    if (!rc)
        *ret_body = json_pack("{s:I}", "sum",
                              (json_int_t)json_number(json_object_get(newest, "body"), "sum") + 1);
    return rc;
}

static void *add_sums(void *argument)
{
    struct adder *adder = argument;
    for (int i = 0; i < ADDED && !adder->rc; i++)
        adder->rc = evidence_add_made(adder->repository, "sum", make_sum, adder, NULL, NULL);
    return NULL;
}

/* What a record gathers from those before it loses none that comes at the same instant. */
static void test_gathered_by_several(void **state)
{
    struct adder adders[ADDERS] = {0}, reader = {.repository = *state};
    pthread_t threads[ADDERS];
    json_t *body = NULL;
    char url[128];
    snprintf(url, sizeof(url), "file://%s/r", fixture_root);
    for (int i = 0; i < ADDERS; i++) {
        assert_ok(repository_open(url, NULL, "shop", &adders[i].repository, &fixture_err));
        assert_int_equal(pthread_create(&threads[i], NULL, add_sums, &adders[i]), 0);
    }
    for (int i = 0; i < ADDERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(adders[i].rc, 0);
        repository_free(adders[i].repository);
    }
    assert_ok(make_sum(&reader, &body, &fixture_err));
    assert_int_equal(json_number(body, "sum"), ADDERS * ADDED + 1);
    json_decref(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_chain),
        FIXTURE_TEST(test_long_chain),
        FIXTURE_TEST(test_tampering),
        FIXTURE_TEST(test_conflict),
        FIXTURE_TEST(test_gathered_by_several),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
