#include "repository/proof.h"

#include <string.h>

#include "base/json.h"
#include "repository/evidence.h"

static const char TYPE[] = "verified";

/* Others write their proofs at the same time; each time theirs are taken in. */
enum { WRITE_ATTEMPTS = 20 };

void proof_clear(struct proof *proof)
{
    free(proof->backups);
    free(proof->spans);
    *proof = (struct proof){0};
}

static int grow(void *array, size_t count, size_t *allocated, size_t size, size_t limit,
                const char *what, struct error *err)
{
    if (count >= limit)
        return error_set(err, ERR_LIMIT, "proofs of more than %zu %s", limit, what);
    if (count < *allocated)
        return 0;
    size_t wanted = *allocated ? *allocated * 2 : 64;
    void *grown = reallocarray(*(void **)array, wanted, size);
    if (!grown)
        return error_no_memory(err);
    *(void **)array = grown;
    *allocated = wanted;
    return 0;
}

/* The place of the id in the order of ids, or where it would be. */
static size_t find_place(const struct proof *proof, const char *id)
{
    size_t low = 0, high = proof->backup_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(proof->backups[middle].id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct proof_backup *proof_find(const struct proof *proof, const char *id)
{
    size_t place = find_place(proof, id);
    bool found = place < proof->backup_count && strcmp(proof->backups[place].id, id) == 0;
    return found ? &proof->backups[place] : NULL;
}

int proof_add(struct proof *proof, enum backup_kind kind, const char *id,
              struct proof_backup **ret_backup, struct error *err)
{
    struct proof_backup *found = proof_find(proof, id);
    if (!found) {
        int rc = grow(&proof->backups, proof->backup_count, &proof->backup_allocated,
                      sizeof(*proof->backups), PROOF_BACKUPS_MAX, "backups", err);
        if (rc)
            return rc;
        size_t place = find_place(proof, id);
        found = &proof->backups[place];
        memmove(found + 1, found, (proof->backup_count - place) * sizeof(*found));
        *found =
            (struct proof_backup){.kind = kind, .at_us = INSTANT_NONE, .failed_us = INSTANT_NONE};
        snprintf(found->id, sizeof(found->id), "%s", id);
        proof->backup_count++;
    }
    *ret_backup = found;
    return 0;
}

void proof_forget(struct proof *proof, const char *id)
{
    struct proof_backup *found = proof_find(proof, id);
    if (!found)
        return;
    size_t behind = proof->backup_count - (size_t)(found - proof->backups) - 1;
    memmove(found, found + 1, behind * sizeof(*found));
    proof->backup_count--;
}

int proof_add_span(struct proof *proof, const struct proof_span *span, struct error *err)
{
    int rc = grow(&proof->spans, proof->span_count, &proof->span_allocated, sizeof(*proof->spans),
                  PROOF_SPANS_MAX, "spans of WAL", err);
    if (!rc)
        proof->spans[proof->span_count++] = *span;
    return rc;
}

void proof_looked(struct proof_backup *backup, int level, bool is_well, int64_t now_us)
{
    if (!is_well) {
        backup->failed_level = level;
        backup->failed_us = now_us;
        backup->level = 0;
        backup->at_us = INSTANT_NONE;
        return;
    }
    if (level >= backup->failed_level)
        backup->failed_level = 0;
    if (level >= backup->level) {
        backup->level = level;
        backup->at_us = now_us;
    }
}

static bool is_within(const struct proof_span *span, const struct proof_span *outer)
{
    return strcmp(span->system, outer->system) == 0 &&
           span->first.timeline == outer->first.timeline &&
           wal_name_compare(&span->first, &outer->first) >= 0 &&
           wal_name_compare(&span->last, &outer->last) <= 0;
}

int proof_looked_span(struct proof *proof, const struct proof_span *span, struct error *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < proof->span_count; i++)
        if (!is_within(&proof->spans[i], span))
            proof->spans[kept++] = proof->spans[i];
    proof->span_count = kept;
    return proof_add_span(proof, span, err);
}

void proof_apply(const struct proof *proof, struct facts *facts)
{
    for (size_t i = 0; i < facts->backup_count; i++) {
        struct facts_backup *backup = &facts->backups[i];
        const struct proof_backup *known = proof_find(proof, backup->id);
        if (!known)
            continue;
        backup->verified_level = known->level;
        backup->verified_us = known->at_us;
        backup->failed_us = known->failed_level ? known->failed_us : INSTANT_NONE;
    }
}

/* -- reading -------------------------------------------------------------------------------- */

static int take_id(const json_t *entry, enum backup_kind *ret_kind, const char **ret_id,
                   struct error *err)
{
    const char *kind;
    int rc = json_take_text(entry, "id", ret_id, err);
    if (!rc)
        rc = json_take_text(entry, "kind", &kind, err);
    if (!rc && !id_parse(*ret_id, NULL))
        rc = error_set(err, ERR_CORRUPT, "\"%.50s\" is no id", *ret_id);
    if (!rc)
        *ret_kind = strcmp(kind, "snapshot") == 0 ? BACKUP_SNAPSHOT : BACKUP_DUMP;
    return rc;
}

/* Null is none. */
static int take_instant(const json_t *entry, const char *key, int64_t *ret_us, struct error *err)
{
    const json_t *value = json_object_get(entry, key);
    return !value || json_is_null(value) ? 0 : json_take_instant(entry, key, ret_us, err);
}

/* A newer record has told of it already when it is there. */
static int take_backup(struct proof *proof, const json_t *entry, struct error *err)
{
    struct proof_backup *backup;
    enum backup_kind kind;
    const char *id;
    int rc = take_id(entry, &kind, &id, err);
    if (rc || proof_find(proof, id))
        return rc;
    rc = proof_add(proof, kind, id, &backup, err);
    if (rc)
        return rc;
    backup->level = (int)json_number(entry, "level");
    backup->failed_level = (int)json_number(entry, "failed_level");
    snprintf(backup->manifest_sha256, sizeof(backup->manifest_sha256), "%s",
             json_text(entry, "manifest_sha256"));
    rc = take_instant(entry, "at", &backup->at_us, err);
    return rc ? rc : take_instant(entry, "failed_at", &backup->failed_us, err);
}

static int take_span(struct proof *proof, const json_t *entry, struct error *err)
{
    struct proof_span span = {.at_us = INSTANT_NONE};
    const char *system, *first, *last;
    int rc = json_take_text(entry, "system_identifier", &system, err);
    if (!rc)
        rc = json_take_text(entry, "first", &first, err);
    if (!rc)
        rc = json_take_text(entry, "last", &last, err);
    if (!rc)
        rc = json_take_instant(entry, "at", &span.at_us, err);
    if (rc)
        return rc;
    if (strlen(system) >= sizeof(span.system) || !wal_name_parse(first, &span.first) ||
        !wal_name_parse(last, &span.last) || span.first.timeline != span.last.timeline)
        return error_set(err, ERR_CORRUPT, "\"%.50s\" to \"%.50s\" is no span of WAL", first, last);
    snprintf(span.system, sizeof(span.system), "%s", system);
    span.has_fault = json_is_true(json_object_get(entry, "has_fault"));
    return proof_add_span(proof, &span, err);
}

static int take_record(struct proof *proof, const json_t *proofs, struct error *err)
{
    size_t i;
    json_t *entry;
    int rc = json_is_array(json_object_get(proofs, "backups"))
                 ? 0
                 : error_set(err, ERR_CORRUPT, "it has no list of backups");
    json_array_foreach(json_object_get(proofs, "backups"), i, entry)
    {
        if (!rc)
            rc = take_backup(proof, entry, err);
    }
    json_array_foreach(json_object_get(proofs, "wal"), i, entry)
    {
        if (!rc)
            rc = take_span(proof, entry, err);
    }
    return rc;
}

static const json_t *proofs_of(const json_t *record)
{
    return json_object_get(json_object_get(record, "body"), "proofs");
}

/* Of records that tell one proof together all but the last say that more follows. Without the last
 * they are what is left of a write that was cut off, and what was known before counts. */
static int pass_over_remains(struct repository *repository, int64_t *number, json_t **record,
                             struct error *err)
{
    int rc = 0;
    while (!rc && *record && json_is_true(json_object_get(proofs_of(*record), "more"))) {
        *number = json_number(json_object_get(*record, "newest"), TYPE);
        json_decref(*record);
        *record = NULL;
        if (*number > 0)
            rc = evidence_read(repository, *number, record, err);
    }
    return rc;
}

/* The proof that ends with a record, the reference to which is taken. */
static int read_proof(struct repository *repository, int64_t number, json_t *last,
                      struct proof *ret_proof, struct error *err)
{
    _cleanup_(proof_clear) struct proof proof = {.number = number, .upto = number};
    _cleanup_(json_release) json_t *record = last;
    const json_t *upto = json_object_get(proofs_of(record), "upto");
    int rc = 0;
    if (json_is_integer(upto))
        proof.upto = json_integer_value(upto);
    while (!rc && record) {
        const json_t *proofs = proofs_of(record);
        rc = take_record(&proof, proofs, err);
        if (rc)
            return error_prefix(err, "evidence record %lld", (long long)number);
        bool is_complete = json_is_true(json_object_get(proofs, "complete"));
        number = is_complete ? 0 : json_number(proofs, "before");
        json_decref(record);
        record = NULL;
        if (number > 0)
            rc = evidence_read(repository, number, &record, err);
    }
    if (rc)
        return rc;
    *ret_proof = proof;
    proof = (struct proof){0};
    return 0;
}

int proof_read(struct repository *repository, struct proof *ret_proof, struct error *err)
{
    _cleanup_(json_release) json_t *newest = NULL;
    int rc = evidence_read_newest(repository, &newest, err);
    return rc ? rc : proof_read_listed(repository, newest, ret_proof, err);
}

int proof_read_listed(struct repository *repository, const json_t *newest, struct proof *ret_proof,
                      struct error *err)
{
    json_t *record = NULL;
    int64_t number = 0;
    int rc = evidence_read_listed(repository, newest, TYPE, &number, &record, err);
    if (!rc)
        rc = pass_over_remains(repository, &number, &record, err);
    return rc ? rc : read_proof(repository, number, record, ret_proof, err);
}

/* What happened to backups behind the newest verification. */
static int take_event(struct proof *proof, const json_t *record, struct error *err)
{
    const char *type = json_text(record, "type");
    const json_t *body = json_object_get(record, "body");
    struct proof_backup *backup;
    enum backup_kind kind;
    const char *id;
    bool is_made = strcmp(type, "backup_made") == 0;
    if (!is_made && strcmp(type, "backup_removed") != 0 && strcmp(type, "garbage_removed") != 0)
        return 0;
    int rc = take_id(body, &kind, &id, err);
    if (rc)
        return error_prefix(err, "evidence record %lld", (long long)json_number(record, "number"));
    if (!is_made) {
        proof_forget(proof, id);
        return 0;
    }
    rc = proof_add(proof, kind, id, &backup, err);
    if (!rc)
        snprintf(backup->manifest_sha256, sizeof(backup->manifest_sha256), "%s",
                 json_text(body, "manifest_sha256"));
    return rc;
}

/* All that was made and removed behind proof->upto. */
static int take_events(struct repository *repository, struct proof *proof, struct error *err)
{
    struct evidence_tip tip;
    int rc = evidence_read_tip(repository, &tip, err);
    for (int64_t number = proof->upto + 1; !rc && number <= tip.number; number++) {
        _cleanup_(json_release) json_t *record = NULL;
        rc = evidence_read(repository, number, &record, err);
        if (!rc)
            rc = take_event(proof, record, err);
        if (rc == ERR_NOT_FOUND) { /* others are behind it: somebody has removed it */
            error_set(err, ERR_UNKNOWN,
                      "evidence record %lld is missing: what was made and removed "
                      "can't be told",
                      (long long)number);
            rc = error_hint(err, "see pgcairn audit %s --verify-evidence", repository->cluster);
        }
    }
    if (!rc)
        proof->upto = tip.number;
    return rc;
}

int proof_read_all(struct repository *repository, struct proof *ret_proof, struct error *err)
{
    _cleanup_(proof_clear) struct proof proof = {0};
    int rc = proof_read(repository, &proof, err);
    if (!rc)
        rc = take_events(repository, &proof, err);
    if (rc)
        return rc;
    *ret_proof = proof;
    proof = (struct proof){0};
    return 0;
}

/* -- what others found meanwhile ------------------------------------------------------------ */

/* Of two accounts of one backup: the later fault, unless a look as deep found none after it; else
 * the deeper proof, and of two as deep the later one. */
static void join_backups(struct proof_backup *backup, const struct proof_backup *other,
                         bool *ret_changed)
{
    const struct proof_backup *failed =
        other->failed_level && (!backup->failed_level || other->failed_us > backup->failed_us)
            ? other
            : backup;
    bool is_deeper = other->level > backup->level ||
                     (other->level == backup->level && other->at_us > backup->at_us);
    const struct proof_backup *passed = is_deeper ? other : backup;
    struct proof_backup joined = *passed;
    joined.failed_level = failed->failed_level;
    joined.failed_us = failed->failed_us;
    if (!joined.manifest_sha256[0])
        memcpy(joined.manifest_sha256, is_deeper ? backup->manifest_sha256 : other->manifest_sha256,
               sizeof(joined.manifest_sha256));
    bool is_after = joined.level && joined.at_us > joined.failed_us;
    if (joined.failed_level && is_after && joined.level >= joined.failed_level)
        joined.failed_level = 0;
    if (joined.failed_level && !is_after) {
        joined.level = 0;
        joined.at_us = INSTANT_NONE;
    }
    *ret_changed |= joined.level != backup->level || joined.at_us != backup->at_us ||
                    joined.failed_level != backup->failed_level ||
                    joined.failed_us != backup->failed_us ||
                    strcmp(joined.manifest_sha256, backup->manifest_sha256) != 0;
    *backup = joined;
}

/* Whether a later look covers the span, or the same one stands in front of it. */
static bool is_superseded(const struct proof *proof, size_t index)
{
    const struct proof_span *span = &proof->spans[index];
    for (size_t i = 0; i < proof->span_count; i++) {
        const struct proof_span *other = &proof->spans[i];
        if (i != index && is_within(span, other) &&
            (other->at_us > span->at_us || (other->at_us == span->at_us && i < index)))
            return true;
    }
    return false;
}

static int join_spans(struct proof *proof, const struct proof *other, bool *ret_changed,
                      struct error *err)
{
    size_t own = proof->span_count, kept = 0;
    int rc = 0;
    for (size_t i = 0; i < other->span_count && !rc; i++)
        rc = proof_add_span(proof, &other->spans[i], err);
    _cleanup_(freep) bool *is_old = calloc(proof->span_count + 1, sizeof(*is_old));
    if (!rc && !is_old)
        rc = error_no_memory(err);
    for (size_t i = 0; i < proof->span_count && !rc; i++) {
        is_old[i] = is_superseded(proof, i);
        *ret_changed |= is_old[i] == (i < own);
    }
    for (size_t i = 0; i < proof->span_count && !rc; i++)
        if (!is_old[i])
            proof->spans[kept++] = proof->spans[i];
    if (!rc)
        proof->span_count = kept;
    return rc;
}

/* Sets *ret_changed when the other knew something more. */
static int join(struct proof *proof, const struct proof *other, bool *ret_changed,
                struct error *err)
{
    size_t count = proof->backup_count;
    int rc = 0;
    for (size_t i = 0; i < other->backup_count && !rc; i++) {
        struct proof_backup *backup;
        rc = proof_add(proof, other->backups[i].kind, other->backups[i].id, &backup, err);
        if (!rc)
            join_backups(backup, &other->backups[i], ret_changed);
    }
    *ret_changed |= proof->backup_count > count;
    return rc ? rc : join_spans(proof, other, ret_changed, err);
}

/* Takes in a proof that another verification has written; the reference to its last record is
 * taken. What was removed since either was read is found by the events behind. */
static int merge(struct repository *repository, struct proof *proof, int64_t number, json_t *record,
                 bool *ret_changed, struct error *err)
{
    _cleanup_(proof_clear) struct proof theirs = {0};
    int rc = read_proof(repository, number, record, &theirs, err);
    if (!rc)
        rc = join(proof, &theirs, ret_changed, err);
    if (!rc && theirs.upto < proof->upto)
        proof->upto = theirs.upto;
    if (!rc && theirs.number > proof->number)
        proof->number = theirs.number;
    return rc;
}

/* *ret_seen: up to which record all proofs are merged. */
static int refresh(struct repository *repository, struct proof *proof, int64_t *ret_seen,
                   struct error *err)
{
    json_t *record = NULL;
    int64_t number = 0;
    bool is_changed = false;
    int rc = take_events(repository, proof, err);
    int64_t upto = proof->upto;
    if (!rc)
        rc = evidence_find_newest(repository, TYPE, &number, &record, err);
    if (!rc)
        rc = pass_over_remains(repository, &number, &record, err);
    *ret_seen = number > upto ? number : upto;
    if (rc || number <= proof->number) {
        json_decref(record);
        return rc;
    }
    rc = merge(repository, proof, number, record, &is_changed, err);
    if (!rc && proof->upto < upto)
        rc = take_events(repository, proof, err);
    return rc;
}

/* -- writing -------------------------------------------------------------------------------- */

static json_t *pack_backup(const struct proof_backup *backup)
{
    json_t *entry =
        json_pack("{s:s, s:s, s:i, s:o, s:s}", "id", backup->id, "kind",
                  backup_kind_name(backup->kind), "level", backup->level, "at",
                  json_instant(backup->at_us), "manifest_sha256", backup->manifest_sha256);
    if (entry && backup->failed_level) {
        json_object_set_new(entry, "failed_level", json_integer(backup->failed_level));
        json_object_set_new(entry, "failed_at", json_instant(backup->failed_us));
    }
    return entry;
}

static json_t *pack_span(const struct proof_span *span)
{
    char first[WAL_NAME_MAX], last[WAL_NAME_MAX];
    json_t *entry = json_pack("{s:s, s:s, s:s, s:o}", "system_identifier", span->system, "first",
                              wal_name_format(&span->first, first), "last",
                              wal_name_format(&span->last, last), "at", json_instant(span->at_us));
    if (entry && span->has_fault)
        json_object_set_new(entry, "has_fault", json_true());
    return entry;
}

/* Fills the lists from *next on, and moves it on. */
static int fill(const struct proof *proof, size_t *next, json_t *backups, json_t *spans,
                struct error *err)
{
    size_t all = proof->backup_count + proof->span_count;
    for (size_t taken = 0; *next < all && taken < PROOF_RECORD_MAX; ++*next, taken++) {
        bool is_backup = *next < proof->backup_count;
        json_t *entry = is_backup ? pack_backup(&proof->backups[*next])
                                  : pack_span(&proof->spans[*next - proof->backup_count]);
        if (json_array_append_new(is_backup ? backups : spans, entry))
            return error_no_memory(err);
    }
    return 0;
}

/* One record of those that tell the proof together. */
static int write_part(struct repository *repository, struct proof *proof, json_t *body,
                      size_t *next, struct evidence_tip *ret_tip, struct error *err)
{
    _cleanup_(json_release) json_t *backups = json_array();
    _cleanup_(json_release) json_t *spans = json_array();
    bool is_first = *next == 0;
    if (!backups || !spans)
        return error_no_memory(err);
    int rc = fill(proof, next, backups, spans, err);
    bool has_more = *next < proof->backup_count + proof->span_count;
    if (!rc &&
        json_object_set_new(body, "proofs",
                            json_pack("{s:b, s:b, s:I, s:I, s:O, s:O}", "complete", is_first,
                                      "more", has_more, "before", (json_int_t)proof->number, "upto",
                                      (json_int_t)proof->upto, "backups", backups, "wal", spans)))
        rc = error_no_memory(err);
    if (!rc)
        rc = evidence_add(repository, TYPE, json_incref(body), ret_tip, err);
    if (!rc)
        proof->number = ret_tip->number;
    return rc;
}

/* The newest proof that somebody else finished between two of our records; 0: none. */
static int find_rival(struct repository *repository, int64_t behind, int64_t before,
                      int64_t *ret_rival, struct error *err)
{
    int rc = 0;
    for (int64_t number = behind + 1; number < before && !rc; number++) {
        _cleanup_(json_release) json_t *record = NULL;
        rc = evidence_read(repository, number, &record, err);
        if (!rc && strcmp(json_text(record, "type"), TYPE) == 0 &&
            !json_is_true(json_object_get(proofs_of(record), "more")))
            *ret_rival = number;
    }
    return rc;
}

/* *ret_is_lacking: somebody else's proof came between and is not in ours. */
static int write_parts(struct repository *repository, struct proof *proof, json_t *body,
                       int64_t behind, bool *ret_is_lacking, struct error *err)
{
    size_t all = proof->backup_count + proof->span_count, next = 0;
    int64_t rival = 0;
    json_t *record = NULL;
    int rc;
    do {
        struct evidence_tip tip;
        rc = write_part(repository, proof, body, &next, &tip, err);
        if (!rc)
            rc = find_rival(repository, behind, tip.number, &rival, err);
        behind = tip.number;
    } while (!rc && next < all);
    if (!rc && rival)
        rc = evidence_read(repository, rival, &record, err);
    return rc || !rival ? rc : merge(repository, proof, rival, record, ret_is_lacking, err);
}

int proof_write(struct repository *repository, struct proof *proof, json_t *run, struct error *err)
{
    _cleanup_(json_release) json_t *body = run;
    bool is_lacking = true;
    int rc = body ? 0 : error_no_memory(err);
    for (int i = 0; i < WRITE_ATTEMPTS && is_lacking && !rc; i++) {
        int64_t seen = 0;
        rc = refresh(repository, proof, &seen, err);
        is_lacking = false;
        if (!rc)
            rc = write_parts(repository, proof, body, seen, &is_lacking, err);
    }
    if (!rc && is_lacking)
        rc = error_set(err, ERR_CONFLICT, "other verifications wrote theirs %d times in between",
                       WRITE_ATTEMPTS);
    return rc;
}
