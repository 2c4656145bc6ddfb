/* What verifications proved, through the evidence and back. */
#include "fixture.h"

#include <pthread.h>

#include "repository/catalogue.h"
#include "repository/evidence.h"
#include "repository/ids.h"
#include "repository/proof.h"

static void make_id(int number, char id[ID_SIZE])
{
    char text[64];
    snprintf(text, sizeof(text), "20261121T02%02d%02dZ-%04d", number / 60 % 60, number % 60,
             number);
    memcpy(id, text, ID_SIZE);
    id[ID_SIZE - 1] = '\0';
}

static struct proof_backup *add(struct proof *proof, int number, int level)
{
    char id[ID_SIZE];
    struct proof_backup *backup;
    make_id(number, id);
    assert_ok(proof_add(proof, BACKUP_DUMP, id, &backup, &fixture_err));
    backup->level = level;
    backup->at_us = number * US_PER_SECOND;
    return backup;
}

static void test_there_and_back(void **state)
{
    struct repository *repository = *state;
    struct proof proof = {0}, read = {0};
    assert_ok(proof_read(repository, &read, &fixture_err));
    assert_int_equal(read.number, 0);
    add(&proof, 7, 2);
    struct proof_backup *failed = add(&proof, 3, 0);
    failed->failed_level = 2;
    failed->failed_us = 99 * US_PER_SECOND;
    snprintf(failed->manifest_sha256, sizeof(failed->manifest_sha256), "%064d", 5);
    struct proof_span span = {.system = "42", .at_us = 8 * US_PER_SECOND};
    assert_true(wal_name_parse("000000020000000A00000003", &span.first));
    assert_true(wal_name_parse("000000020000000A000000FF", &span.last));
    assert_ok(proof_add_span(&proof, &span, &fixture_err));
    assert_ok(proof_write(repository, &proof, json_pack("{s:s}", "result", "fail"), &fixture_err));
    assert_ok(evidence_add(repository, "other", json_object(), NULL, &fixture_err));

    assert_ok(proof_read(repository, &read, &fixture_err));
    assert_int_equal(read.number, 1);
    assert_int_equal(read.backup_count, 2);
    char id[ID_SIZE];
    make_id(3, id);
    const struct proof_backup *found = proof_find(&read, id);
    assert_true(found && found->failed_level == 2 && found->failed_us == 99 * US_PER_SECOND);
    assert_string_equal(found->manifest_sha256, failed->manifest_sha256);
    make_id(7, id);
    found = proof_find(&read, id);
    assert_true(found && found->level == 2 && found->at_us == 7 * US_PER_SECOND &&
                found->failed_level == 0);
    assert_int_equal(read.span_count, 1);
    assert_int_equal(wal_name_compare(&read.spans[0].last, &span.last), 0);
    proof_clear(&read);
    proof_clear(&proof);
}

/* More than one record holds: it takes several, and only all of them count. */
static void test_many(void **state)
{
    enum { MANY = 2 * PROOF_RECORD_MAX + 10 };
    struct repository *repository = *state;
    struct proof proof = {0}, read = {0};
    char id[ID_SIZE];
    for (int i = 0; i < MANY; i++)
        add(&proof, i, 1);
    assert_ok(proof_write(repository, &proof, json_object(), &fixture_err));
    assert_int_equal(proof.number, 3);
    assert_ok(proof_read(repository, &read, &fixture_err));
    assert_int_equal(read.backup_count, MANY);
    add(&read, 4000, 3);
    assert_ok(proof_write(repository, &read, json_object(), &fixture_err));
    assert_int_equal(read.number, 6);
    proof_clear(&read);

    /* one that was removed does not come back from older records */
    make_id(17, id);
    assert_ok(evidence_add(repository, "backup_removed",
                           json_pack("{s:s, s:s}", "id", id, "kind", "dump"), NULL, &fixture_err));
    assert_ok(proof_read_all(repository, &read, &fixture_err));
    assert_null(proof_find(&read, id));
    assert_ok(proof_write(repository, &read, json_object(), &fixture_err));
    proof_clear(&read);
    assert_ok(proof_read_all(repository, &read, &fixture_err));
    assert_int_equal(read.backup_count, MANY - 1);
    assert_null(proof_find(&read, id));
    make_id(4000, id);
    assert_int_equal(proof_find(&read, id)->level, 3);
    make_id(4001, id);
    assert_int_equal(proof_find(&read, id)->level, 1);
    proof_clear(&read);
    proof_clear(&proof);
}

/* A write that was cut off leaves the first of several records, which does not count. */
static void test_remains_of_a_write(void **state)
{
    struct repository *repository = *state;
    struct proof proof = {0}, read = {0};
    add(&proof, 1, 2);
    add(&proof, 2, 2);
    assert_ok(proof_write(repository, &proof, json_object(), &fixture_err));
    assert_ok(evidence_add(repository, "verified",
                           json_pack("{s:{s:b, s:b, s:i, s:[]}}", "proofs", "complete", 1, "more",
                                     1, "before", 1, "backups"),
                           NULL, &fixture_err));
    assert_ok(proof_read_all(repository, &read, &fixture_err));
    assert_int_equal(read.backup_count, 2);
    assert_int_equal(read.number, 1);
    proof_clear(&read);
    proof_clear(&proof);
}

/* Two that ran at the same time: what each found, and what was made meanwhile, stays known. */
static void test_two_at_once(void **state)
{
    struct repository *repository = *state;
    struct proof start = {0}, one = {0}, two = {0}, read = {0};
    char id[ID_SIZE], made[ID_SIZE];
    struct proof_span span = {.system = "42", .at_us = 8 * US_PER_SECOND, .has_fault = true};
    assert_true(wal_name_parse("000000010000000000000003", &span.first));
    assert_true(wal_name_parse("000000010000000000000009", &span.last));
    for (int i = 1; i <= 4; i++)
        add(&start, i, 1);
    assert_ok(proof_write(repository, &start, json_object(), &fixture_err));
    assert_ok(proof_read_all(repository, &one, &fixture_err));
    assert_ok(proof_read_all(repository, &two, &fixture_err));
    proof_looked(add(&one, 1, 0), 2, false, 50 * US_PER_SECOND);
    proof_looked(add(&one, 2, 0), 2, true, 51 * US_PER_SECOND);
    assert_ok(proof_looked_span(&one, &span, &fixture_err));
    proof_looked(add(&two, 2, 1), 1, true, 52 * US_PER_SECOND);
    proof_looked(add(&two, 3, 1), 2, true, 53 * US_PER_SECOND);
    make_id(9, made);
    assert_ok(evidence_add(
        repository, "backup_made",
        json_pack("{s:s, s:s, s:s}", "id", made, "kind", "dump", "manifest_sha256", "abc"), NULL,
        &fixture_err));
    assert_ok(proof_write(repository, &one, json_object(), &fixture_err));
    assert_ok(proof_write(repository, &two, json_object(), &fixture_err));

    assert_ok(proof_read_all(repository, &read, &fixture_err));
    make_id(1, id);
    assert_int_equal(proof_find(&read, id)->failed_level, 2);
    make_id(2, id);
    assert_int_equal(proof_find(&read, id)->level, 2);
    make_id(3, id);
    assert_int_equal(proof_find(&read, id)->level, 2);
    make_id(4, id);
    assert_int_equal(proof_find(&read, id)->level, 1);
    assert_string_equal(proof_find(&read, made)->manifest_sha256, "abc");
    assert_true(read.span_count == 1 && read.spans[0].has_fault);

    /* the segments are read again, and right now */
    span.has_fault = false;
    span.at_us = 60 * US_PER_SECOND;
    assert_ok(proof_looked_span(&read, &span, &fixture_err));
    assert_true(read.span_count == 1 && !read.spans[0].has_fault);
    proof_clear(&start);
    proof_clear(&one);
    proof_clear(&two);
    proof_clear(&read);
}

static void test_events_since(void **state)
{
    struct repository *repository = *state;
    struct proof proof = {0};
    char id[ID_SIZE], gone[ID_SIZE];
    make_id(1, gone);
    make_id(2, id);
    add(&proof, 1, 2);
    assert_ok(proof_write(repository, &proof, json_object(), &fixture_err));
    proof_clear(&proof);
    assert_ok(evidence_add(repository, "backup_removed",
                           json_pack("{s:s, s:s}", "id", gone, "kind", "dump"), NULL,
                           &fixture_err));
    assert_ok(evidence_add(
        repository, "backup_made",
        json_pack("{s:s, s:s, s:s}", "id", id, "kind", "snapshot", "manifest_sha256", "abc"), NULL,
        &fixture_err));
    assert_ok(proof_read_all(repository, &proof, &fixture_err));
    assert_null(proof_find(&proof, gone));
    const struct proof_backup *made = proof_find(&proof, id);
    assert_true(made && made->kind == BACKUP_SNAPSHOT && made->level == 0);
    assert_string_equal(made->manifest_sha256, "abc");
    proof_clear(&proof);
}

/* A record that somebody took away between others may have told of a backup. */
static void test_a_missing_event(void **state)
{
    struct repository *repository = *state;
    struct proof proof = {0};
    for (int i = 0; i < 3; i++)
        assert_ok(evidence_add(repository, "other", json_object(), NULL, &fixture_err));
    assert_ok(store_delete(repository->store, "shop/evidence/0000000002.json", &fixture_err));
    repository->evidence_number = 3;
    assert_fails(proof_read_all(repository, &proof, &fixture_err), ERR_UNKNOWN,
                 "evidence record 2 is missing");
}

/* Without a proof that can be read the facts are not whole, so that nothing is deleted. */
static void test_facts(void **state)
{
    struct repository *repository = *state;
    struct facts facts;
    struct proof proof = {0};
    char id[ID_SIZE];
    make_id(5, id);
    fixture_backup(repository, id, 1000 * US_PER_SECOND);
    add(&proof, 5, 2)->failed_level = 2;
    assert_ok(proof_write(repository, &proof, json_object(), &fixture_err));
    assert_ok(catalogue_read(repository, 2000 * US_PER_SECOND, &facts, &fixture_err));
    assert_true(facts.complete && facts.backups[0].verified_level == 2);
    facts_clear(&facts);
    fixture_put(repository, "shop/evidence/0000000001.json",
                "{\"type\":\"verified\",\"newest\":{}}");
    assert_ok(catalogue_read(repository, 2000 * US_PER_SECOND, &facts, &fixture_err));
    assert_false(facts.complete);
    assert_non_null(strstr(facts.problem, "evidence record 1: it has no list of backups"));
    facts_clear(&facts);
    proof_clear(&proof);
}

/* Records from before each told of the newest ones, and one that is damaged in between. */
static void test_the_newest_of_a_type(void **state)
{
    struct repository *repository = *state;
    json_t *record = NULL;
    int64_t number = -1;
    assert_ok(evidence_find_newest(repository, "verified", &number, &record, &fixture_err));
    assert_true(number == 0 && !record);
    fixture_put(repository, "shop/evidence/0000000001.json", "{\"type\":\"verified\"}");
    fixture_put(repository, "shop/evidence/0000000002.json", "{\"type\":\"other\"}");
    assert_ok(evidence_find_newest(repository, "verified", &number, &record, &fixture_err));
    assert_int_equal(number, 1);
    json_decref(record);
    fixture_put(repository, "shop/evidence/0000000003.json", "{\"type\":");
    assert_int_equal(evidence_find_newest(repository, "verified", &number, &record, &fixture_err),
                     ERR_CORRUPT);
    assert_ok(evidence_add(repository, "more", json_object(), NULL, &fixture_err));
    assert_ok(evidence_find_newest(repository, "verified", &number, &record, &fixture_err));
    assert_int_equal(number, 1);
    json_decref(record);
}

enum { RACERS = 2, RACES = 15 };

struct racer {
    char url[128];
    int number;
    int rc;
    struct error err;
};

static void *race(void *argument)
{
    struct racer *racer = argument;
    struct repository *repository = NULL;
    racer->rc = repository_open(racer->url, NULL, "shop", &repository, &racer->err);
    for (int i = 0; i < RACES && !racer->rc; i++) {
        struct proof proof = {0};
        racer->rc = proof_read_all(repository, &proof, &racer->err);
        if (!racer->rc) {
            proof_looked(add(&proof, racer->number * 100 + i, 0), 2, i % 2, 7 * US_PER_SECOND);
            racer->rc = proof_write(repository, &proof, json_object(), &racer->err);
        }
        proof_clear(&proof);
    }
    repository_free(repository);
    return NULL;
}

/* Whoever writes when, what any of them found is in the newest record. */
static void test_a_race(void **state)
{
    struct proof read = {0};
    struct racer racers[RACERS] = {0};
    pthread_t threads[RACERS];
    for (int i = 0; i < RACERS; i++) {
        snprintf(racers[i].url, sizeof(racers[i].url), "file://%s/r", fixture_root);
        racers[i].number = i + 1;
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < RACERS; i++)
        assert_string_equal(racers[i].rc ? racers[i].err.message : "", "");
    assert_ok(proof_read(*state, &read, &fixture_err));
    assert_int_equal(read.backup_count, RACERS * RACES);
    for (size_t i = 0; i < read.backup_count; i++)
        assert_true((read.backups[i].failed_level == 2) != (read.backups[i].level == 2));
    proof_clear(&read);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_there_and_back),       FIXTURE_TEST(test_many),
        FIXTURE_TEST(test_events_since),         FIXTURE_TEST(test_facts),
        FIXTURE_TEST(test_the_newest_of_a_type), FIXTURE_TEST(test_remains_of_a_write),
        FIXTURE_TEST(test_two_at_once),          FIXTURE_TEST(test_a_race),
        FIXTURE_TEST(test_a_missing_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
