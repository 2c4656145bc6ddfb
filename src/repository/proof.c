#include "repository/proof.h"

#include <string.h>

#include "base/json.h"
#include "repository/evidence.h"

static const char TYPE[] = "verified";

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

int proof_read(struct repository *repository, struct proof *ret_proof, struct error *err)
{
    _cleanup_(proof_clear) struct proof proof = {0};
    _cleanup_(json_release) json_t *record = NULL;
    int rc = evidence_find_newest(repository, TYPE, &proof.number, &record, err);
    for (int64_t number = proof.number; !rc && record;) {
        const json_t *proofs = json_object_get(json_object_get(record, "body"), "proofs");
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
    if (rc)
        return rc;
    backup->is_changed = true;
    snprintf(backup->manifest_sha256, sizeof(backup->manifest_sha256), "%s",
             json_text(body, "manifest_sha256"));
    return 0;
}

int proof_read_all(struct repository *repository, struct proof *ret_proof, struct error *err)
{
    _cleanup_(proof_clear) struct proof proof = {0};
    struct evidence_tip tip;
    int rc = proof_read(repository, &proof, err);
    if (!rc)
        rc = evidence_read_tip(repository, &tip, err);
    for (int64_t number = proof.number + 1; !rc && number <= tip.number; number++) {
        _cleanup_(json_release) json_t *record = NULL;
        rc = evidence_read(repository, number, &record, err);
        if (!rc)
            rc = take_event(&proof, record, err);
    }
    if (rc)
        return rc;
    *ret_proof = proof;
    proof = (struct proof){0};
    return 0;
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
    return json_pack("{s:s, s:s, s:s, s:o}", "system_identifier", span->system, "first",
                     wal_name_format(&span->first, first), "last",
                     wal_name_format(&span->last, last), "at", json_instant(span->at_us));
}

/* Fills the lists from *next on, of all entries or of those that have changed, and moves it on. */
static int fill(const struct proof *proof, bool only_changed, size_t *next, json_t *backups,
                json_t *spans, struct error *err)
{
    size_t all = proof->backup_count + proof->span_count, taken = 0;
    for (; *next < all && taken < PROOF_RECORD_MAX; ++*next) {
        bool is_backup = *next < proof->backup_count;
        const struct proof_backup *backup = is_backup ? &proof->backups[*next] : NULL;
        const struct proof_span *span =
            is_backup ? NULL : &proof->spans[*next - proof->backup_count];
        if (only_changed && !(is_backup ? backup->is_changed : span->is_changed))
            continue;
        if (json_array_append_new(is_backup ? backups : spans,
                                  is_backup ? pack_backup(backup) : pack_span(span)))
            return error_no_memory(err);
        taken++;
    }
    return 0;
}

int proof_write(struct repository *repository, struct proof *proof, json_t *run, struct error *err)
{
    _cleanup_(json_release) json_t *body = run;
    size_t all = proof->backup_count + proof->span_count, next = 0;
    bool is_complete = all <= PROOF_RECORD_MAX;
    int rc = body ? 0 : error_no_memory(err);
    do {
        json_t *backups = json_array(), *spans = json_array();
        struct evidence_tip tip;
        if (!rc && backups && spans)
            rc = fill(proof, !is_complete, &next, backups, spans, err);
        if (!rc && json_object_set_new(body, "proofs",
                                       json_pack("{s:b, s:I, s:O, s:O}", "complete", is_complete,
                                                 "before", (json_int_t)proof->number, "backups",
                                                 backups, "wal", spans)))
            rc = error_no_memory(err);
        json_decref(backups);
        json_decref(spans);
        if (!rc)
            rc = evidence_add(repository, TYPE, json_incref(body), &tip, err);
        if (!rc)
            proof->number = tip.number;
    } while (!rc && next < all);
    return rc;
}
