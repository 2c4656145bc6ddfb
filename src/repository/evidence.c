#include "repository/evidence.h"

#include <pthread.h>
#include <pwd.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"

enum {
    EVIDENCE_NUMBER_MAX = 999999999,
    PASSWD_BYTES = 4096,
    EVIDENCE_BATCH = 64,  /* records in memory at once */
    EVIDENCE_READERS = 7, /* threads beside the one that asks */
};

static const char NO_RECORD[] = "0000000000000000000000000000000000000000000000000000000000000000";

static int record_key(const struct repository *repository, int64_t number,
                      char key[STORE_KEY_MAX + 1], struct error *err)
{
    return repository_key(repository, key, err, "evidence/%010lld.json", (long long)number);
}

static int exists(const struct repository *repository, int64_t number, bool *ret_exists,
                  struct error *err)
{
    char key[STORE_KEY_MAX + 1];
    struct store_object object;
    struct error reason = ERROR_NONE;
    int rc = record_key(repository, number, key, err);
    if (rc)
        return rc;
    rc = store_stat(repository->store, key, &object, &reason);
    if (rc && rc != ERR_NOT_FOUND) {
        if (err)
            *err = reason;
        return rc;
    }
    *ret_exists = rc == 0;
    return 0;
}

/* The highest number of an unbroken run of records that begins where one is known: first steps that
 * double until one is absent, then halving. */
static int find_tip(struct repository *repository, int64_t *ret_number, struct error *err)
{
    int64_t low = repository->evidence_number, high = low, step = 1;
    bool found = low == 0;
    int rc = found ? 0 : exists(repository, low, &found, err);
    if (rc)
        return rc;
    if (!found)
        low = 0;
    for (found = true; found;) {
        high = low + step;
        step *= 2;
        rc = exists(repository, high, &found, err);
        if (rc)
            return rc;
        if (found)
            low = high;
    }
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        rc = exists(repository, middle, &found, err);
        if (rc)
            return rc;
        if (found)
            low = middle;
        else
            high = middle;
    }
    repository->evidence_number = low;
    *ret_number = low;
    return 0;
}

/* Reads one record and its hash. */
static int read_record(const struct repository *repository, int64_t number, json_t **ret_record,
                       char sha256[SHA256_HEX + 1], struct error *err)
{
    struct buf buf = BUF_INIT(REPOSITORY_DOCUMENT_MAX);
    char key[STORE_KEY_MAX + 1];
    int rc = record_key(repository, number, key, err);
    if (!rc)
        rc = store_get(repository->store, key, &buf, err);
    if (!rc)
        rc = sha256_of(buf_text(&buf), buf.length, sha256, err);
    if (!rc && ret_record)
        rc = json_parse_object(buf_text(&buf), buf.length, key, ret_record, err);
    buf_clear(&buf);
    return rc;
}

int evidence_read(const struct repository *repository, int64_t number, json_t **ret_record,
                  struct error *err)
{
    char sha256[SHA256_HEX + 1];
    return read_record(repository, number, ret_record, sha256, err);
}

/* Adds which record is the newest of each type up to this one, as far as the map does not know. The
 * record tells those before it; one of an older version does not, and then they are looked for. One
 * that can't be read is passed over where it shall not keep others from being added. */
static int gather_newest(const struct repository *repository, int64_t number, bool pass_over,
                         json_t *newest, struct error *err)
{
    for (; number > 0; number--) {
        _cleanup_(json_release) json_t *record = NULL;
        int rc = evidence_read(repository, number, &record, err);
        if (rc == ERR_CORRUPT && pass_over)
            continue;
        if (rc)
            return rc;
        json_t *before = json_object_get(record, "newest");
        const char *type = json_text(record, "type");
        if (!json_object_get(newest, type))
            json_object_set_new(newest, type, json_integer((json_int_t)number));
        if (json_is_object(before))
            return json_object_update_missing(newest, before) ? error_no_memory(err) : 0;
    }
    return 0;
}

int evidence_read_newest(struct repository *repository, json_t **ret_newest, struct error *err)
{
    _cleanup_(json_release) json_t *newest = json_object();
    int64_t tip = 0;
    int rc = newest ? find_tip(repository, &tip, err) : error_no_memory(err);
    if (!rc)
        rc = gather_newest(repository, tip, false, newest, err);
    if (!rc)
        *ret_newest = json_incref(newest);
    return rc;
}

int evidence_read_listed(const struct repository *repository, const json_t *newest,
                         const char *type, int64_t *ret_number, json_t **ret_record,
                         struct error *err)
{
    int64_t number = json_number(newest, type);
    json_t *record = NULL;
    int rc = number > 0 ? evidence_read(repository, number, &record, err) : 0;
    if (rc)
        return rc;
    *ret_number = number;
    *ret_record = record;
    return 0;
}

int evidence_find_newest(struct repository *repository, const char *type, int64_t *ret_number,
                         json_t **ret_record, struct error *err)
{
    _cleanup_(json_release) json_t *newest = NULL;
    int rc = evidence_read_newest(repository, &newest, err);
    return rc ? rc : evidence_read_listed(repository, newest, type, ret_number, ret_record, err);
}

int evidence_read_tip(struct repository *repository, struct evidence_tip *ret_tip,
                      struct error *err)
{
    struct evidence_tip tip;
    int rc = find_tip(repository, &tip.number, err);
    if (rc)
        return rc;
    memcpy(tip.sha256, NO_RECORD, sizeof(tip.sha256));
    if (tip.number > 0)
        rc = read_record(repository, tip.number, NULL, tip.sha256, err);
    if (!rc)
        *ret_tip = tip;
    return rc;
}

/* Who does it: the user's name where there is one, else the number. */
static json_t *pack_by(void)
{
    char host[256] = "", storage[PASSWD_BYTES], number[24];
    struct passwd entry, *found = NULL;
    gethostname(host, sizeof(host) - 1);
    snprintf(number, sizeof(number), "%lld", (long long)getuid());
    if (getpwuid_r(getuid(), &entry, storage, sizeof(storage), &found) != 0)
        found = NULL;
    return json_pack("{s:s, s:s, s:I}", "user", found ? found->pw_name : number, "host", host,
                     "pid", (json_int_t)getpid());
}

/* Writes the record behind `previous`; ERR_EXISTS when somebody was first. */
static int write_record(struct repository *repository, const char *type, json_t *body,
                        const struct evidence_tip *previous, struct evidence_tip *ret_tip,
                        struct error *err)
{
    struct evidence_tip tip = {.number = previous->number + 1};
    char key[STORE_KEY_MAX + 1];
    _cleanup_(freep) char *text = NULL;
    _cleanup_(json_release) json_t *newest = json_object();
    int rc = newest ? gather_newest(repository, previous->number, true, newest, err)
                    : error_no_memory(err);
    if (rc)
        return rc;
    _cleanup_(json_release) json_t *record =
        json_pack("{s:I, s:s, s:s, s:o, s:o, s:O, s:O}", "number", (json_int_t)tip.number,
                  "previous", previous->sha256, "type", type, "at", json_instant(instant_now_us()),
                  "by", pack_by(), "newest", newest, "body", body);
    if (!record)
        return error_no_memory(err);
    if (tip.number > EVIDENCE_NUMBER_MAX)
        return error_set(err, ERR_LIMIT, "more than %d records of evidence", EVIDENCE_NUMBER_MAX);
    rc = json_to_text(record, &text, err);
    if (!rc)
        rc = sha256_of(text, strlen(text), tip.sha256, err);
    if (!rc)
        rc = record_key(repository, tip.number, key, err);
    if (!rc)
        rc = store_put(repository->store, key, text, strlen(text), STORE_IF_ABSENT, err);
    if (!rc && ret_tip)
        *ret_tip = tip;
    return rc;
}

int evidence_add_made(struct repository *repository, const char *type, evidence_make make,
                      void *context, struct evidence_tip *ret_tip, struct error *err)
{
    for (int i = 0; i < EVIDENCE_ATTEMPTS; i++) {
        _cleanup_(json_release) json_t *body = NULL;
        struct evidence_tip previous;
        int rc = evidence_read_tip(repository, &previous, err);
        if (!rc)
            rc = make(context, &body, err);
        if (!rc && !body)
            rc = error_no_memory(err);
        if (!rc)
            rc = write_record(repository, type, body, &previous, ret_tip, err);
        if (rc != ERR_EXISTS)
            return rc;
    }
    return error_set(err, ERR_CONFLICT,
                     "could not add to the evidence of %s: others were first "
                     "%d times",
                     repository->cluster, EVIDENCE_ATTEMPTS);
}

static int give_again(void *context, json_t **ret_body, struct error *err)
{
    (void)err;
    *ret_body = json_incref(context);
    return 0;
}

int evidence_add(struct repository *repository, const char *type, json_t *body,
                 struct evidence_tip *ret_tip, struct error *err)
{
    _cleanup_(json_release) json_t *owned = body;
    return evidence_add_made(repository, type, give_again, owned, ret_tip, err);
}

/* Records of a batch are read by several threads, for a bucket answers one after the other slowly;
 * they are looked at in order afterwards. */
struct batch_record {
    int64_t number;
    char other[STORE_KEY_MAX + 1]; /* what is listed in its place; "" when it is there */
    json_t *record;
    char sha256[SHA256_HEX + 1];
    int rc;
    struct error error;
};

struct batch {
    const struct repository *repository;
    struct batch_record *records;
    size_t count;
    atomic_size_t next;
};

struct chain {
    struct repository *repository;
    const struct evidence_tip *known;
    bool known_seen;
    evidence_visit visit;
    void *context;
    struct evidence_tip tip;
    struct batch batch;
};

static int check_record(const struct chain *chain, const json_t *record, int64_t number,
                        struct error *err)
{
    const char *previous, *text;
    int64_t written, at_us;
    int rc = json_take_integer(record, "number", &written, err);
    if (!rc)
        rc = json_take_text(record, "previous", &previous, err);
    if (!rc)
        rc = json_take_text(record, "type", &text, err);
    if (!rc)
        rc = json_take_instant(record, "at", &at_us, err);
    if (!rc && !json_is_object(json_object_get(record, "body")))
        rc = error_set(err, ERR_CORRUPT, "\"body\" is missing or no object");
    if (!rc && written != number)
        rc = error_set(err, ERR_CORRUPT, "it says it is record %lld", (long long)written);
    if (!rc && strcmp(previous, chain->tip.sha256) != 0)
        rc = error_set(err, ERR_CORRUPT, "it does not fit the record before it");
    if (rc)
        error_prefix(err, "evidence record %lld", (long long)number);
    return rc;
}

/* -- reading ahead ------------------------------------------------------------------------- */

static void *read_batch(void *context)
{
    struct batch *batch = context;
    for (size_t i; (i = atomic_fetch_add(&batch->next, 1)) < batch->count;) {
        struct batch_record *record = &batch->records[i];
        if (!record->other[0])
            record->rc = read_record(batch->repository, record->number, &record->record,
                                     record->sha256, &record->error);
    }
    return NULL;
}

/* Threads that can't be had are no fault: this one reads what they would have. */
static void read_all(struct batch *batch)
{
    pthread_t threads[EVIDENCE_READERS];
    size_t started = 0;
    atomic_store(&batch->next, 0);
    while (started < EVIDENCE_READERS && started + 1 < batch->count &&
           pthread_create(&threads[started], NULL, read_batch, batch) == 0)
        started++;
    read_batch(batch);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}

static int verify_record(struct chain *chain, const struct batch_record *read, struct error *err)
{
    if (read->other[0])
        return error_set(err, ERR_CORRUPT, "evidence record %lld is missing, %s comes instead",
                         (long long)read->number, read->other);
    if (read->rc) {
        if (err)
            *err = read->error;
        return read->rc;
    }
    int rc = check_record(chain, read->record, read->number, err);
    if (!rc && chain->known && chain->known->number == read->number) {
        chain->known_seen = true;
        if (strcmp(chain->known->sha256, read->sha256) != 0)
            rc = error_set(err, ERR_CORRUPT, "evidence record %lld is not the one known before",
                           (long long)read->number);
    }
    if (!rc && chain->visit)
        rc = chain->visit(read->record, chain->context, err);
    if (rc)
        return rc;
    chain->tip.number = read->number;
    memcpy(chain->tip.sha256, read->sha256, sizeof(read->sha256));
    return 0;
}

static int verify_batch(struct chain *chain, struct error *err)
{
    struct batch *batch = &chain->batch;
    int rc = 0;
    read_all(batch);
    for (size_t i = 0; i < batch->count; i++) {
        if (!rc)
            rc = verify_record(chain, &batch->records[i], err);
        json_decref(batch->records[i].record);
        batch->records[i].record = NULL;
    }
    batch->count = 0;
    return rc;
}

static int collect(const struct store_object *object, void *context, struct error *err)
{
    struct chain *chain = context;
    struct batch_record *record = &chain->batch.records[chain->batch.count++];
    char key[STORE_KEY_MAX + 1];
    *record = (struct batch_record){.number = chain->tip.number + (int64_t)chain->batch.count};
    int rc = record_key(chain->repository, record->number, key, err);
    if (rc)
        return rc;
    if (strcmp(object->key, key) != 0)
        memcpy(record->other, object->key, sizeof(record->other));
    return chain->batch.count == EVIDENCE_BATCH ? verify_batch(chain, err) : 0;
}

int evidence_verify(struct repository *repository, const struct evidence_tip *known,
                    evidence_visit visit, void *context, struct evidence_tip *ret_tip,
                    struct error *err)
{
    char prefix[STORE_KEY_MAX + 1];
    struct chain chain = {
        .repository = repository,
        .known = known && known->number > 0 ? known : NULL,
        .visit = visit,
        .context = context,
    };
    memcpy(chain.tip.sha256, NO_RECORD, sizeof(chain.tip.sha256));
    chain.batch.repository = repository;
    chain.batch.records = calloc(EVIDENCE_BATCH, sizeof(*chain.batch.records));
    if (!chain.batch.records)
        return error_no_memory(err);
    int rc = repository_key(repository, prefix, err, "evidence/");
    if (!rc)
        rc = store_list(repository->store, prefix, false, collect, &chain, err);
    if (!rc)
        rc = verify_batch(&chain, err);
    free(chain.batch.records);
    if (rc)
        return rc;
    if (chain.known && !chain.known_seen)
        return error_set(err, ERR_CORRUPT,
                         "the evidence ends at record %lld, but record %lld was known",
                         (long long)chain.tip.number, (long long)chain.known->number);
    if (ret_tip)
        *ret_tip = chain.tip;
    return 0;
}
