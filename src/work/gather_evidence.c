/* The evidence: the whole chain is read and proved, and of each record what verdicts need is kept.
 * Records of kinds that do not concern an audit are read too, for the chain goes through them. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "work/gather.h"
#include "work/work.h"

struct reading {
    struct facts_audit *facts;
};

/* The first of these keys that the body has, as a text; "" when it has none. */
static int copy_first(const json_t *body, const char *const *keys, char **ret_text,
                      struct error *err)
{
    const char *text = "";
    for (; *keys && !*text; keys++)
        text = json_text(body, *keys);
    *ret_text = strdup(text);
    return *ret_text ? 0 : error_no_memory(err);
}

static int copy_databases(const json_t *body, char ***ret_databases, struct error *err)
{
    const json_t *list = json_object_get(body, "databases");
    size_t i, count = 0;
    json_t *name;
    if (json_array_size(list) == 0)
        return 0;
    char **databases = calloc(json_array_size(list) + 1, sizeof(*databases));
    *ret_databases = databases;
    if (!databases)
        return error_no_memory(err);
    json_array_foreach(list, i, name)
    {
        if (!json_is_string(name))
            continue;
        databases[count] = strdup(json_string_value(name));
        if (!databases[count++])
            return error_no_memory(err);
    }
    return 0;
}

static int replace_text(char **place, const char *text, struct error *err)
{
    char *copy = strdup(text);
    if (!copy)
        return error_no_memory(err);
    free(*place);
    *place = copy;
    return 0;
}

static struct facts_record *last_entry(const struct reading *reading)
{
    return &reading->facts->records[reading->facts->record_count - 1];
}

static int64_t number_or(const json_t *body, const char *key, int64_t absent)
{
    const json_t *number = json_object_get(body, key);
    return json_is_number(number) ? (int64_t)json_number_value(number) : absent;
}

static int64_t instant_or_none(const json_t *body, const char *key)
{
    int64_t us;
    return json_take_instant(body, key, &us, NULL) ? INSTANT_NONE : us;
}

static int fill_texts(const json_t *body, const json_t *item, struct facts_record *entry,
                      struct error *err)
{
    const struct {
        char **target;
        const char *keys[4];
    } texts[] = {
        {&entry->id, {"id", "backup_id"}},
        {&entry->kind, {"kind"}},
        {&entry->job, {"job"}},
        {&entry->state, {"state"}},
        {&entry->result, {"result", "outcome"}},
        {&entry->reason, {"reason", "error"}},
        {&entry->policy_sha256, {"policy_sha256"}},
        {&entry->target, {"mode", "target"}},
    };
    int rc = 0;
    for (size_t i = 0; i < ARRAY_SIZE(texts) && !rc; i++) {
        rc = copy_first(item, texts[i].keys, texts[i].target, err);
        if (!rc && item != body && !**texts[i].target) {
            free(*texts[i].target);
            rc = copy_first(body, texts[i].keys, texts[i].target, err);
        }
    }
    return rc;
}

/* One entry for the record, or for one item of it; what the item does not say the record does. */
static int add_entry(struct reading *reading, const json_t *record, const json_t *body,
                     const json_t *item, struct error *err)
{
    struct facts_audit *facts = reading->facts;
    struct facts_record *entry;
    int rc = facts_audit_add(&facts->records, &facts->record_count, sizeof(*entry),
                             FACTS_RECORDS_MAX, "records of evidence", &entry, err);
    if (rc)
        return rc;
    entry->number = json_number(record, "number");
    entry->at_us = instant_or_none(record, "at");
    entry->started_us = instant_or_none(item, "started_at");
    entry->completed_us = instant_or_none(item, "completed_at");
    entry->due_us = instant_or_none(item, "due_at");
    entry->level = (int)number_or(item, "level", number_or(body, "level", 0));
    entry->rto_s = number_or(item, "rto_seconds", number_or(item, "rto_s", -1));
    entry->duration_s = number_or(item, "duration_s", -1);
    if (entry->duration_s < 0 && json_is_number(json_object_get(item, "restore_seconds")))
        entry->duration_s =
            number_or(item, "restore_seconds", 0) + number_or(item, "replay_seconds", 0);
    entry->type = strdup(json_text(record, "type"));
    if (!entry->type)
        return error_no_memory(err);
    rc = fill_texts(body, item, entry, err);
    return rc ? rc : copy_databases(item, &entry->databases, err);
}

static int add_faulty(struct reading *reading, const json_t *record, const json_t *item,
                      struct error *err)
{
    const json_t *body = json_object_get(record, "body");
    int rc = add_entry(reading, record, body, item, err);
    return rc ? rc : replace_text(&last_entry(reading)->result, "fail", err);
}

static int add_faulty_wal(struct reading *reading, const json_t *record, const json_t *span,
                          struct error *err)
{
    int rc = add_faulty(reading, record, span, err);
    if (!rc)
        rc = replace_text(&last_entry(reading)->kind, FACTS_RECORD_WAL, err);
    return rc ? rc : replace_text(&last_entry(reading)->id, json_text(span, "first"), err);
}

/* A verification tells in its record, or in several, what is proved of all backups and WAL up to
 * it. Of that only what has a fault is taken, and once the run itself; the levels are the
 * catalogue's. */
static int add_verification(struct reading *reading, const json_t *record, const json_t *body,
                            struct error *err)
{
    const json_t *proofs = json_object_get(body, "proofs");
    size_t i;
    json_t *item;
    int rc = 0;
    if (json_is_true(json_object_get(proofs, "complete"))) {
        rc = add_entry(reading, record, body, body, err);
        if (!rc)
            rc = replace_text(&last_entry(reading)->kind, FACTS_RECORD_RUN, err);
    }
    json_array_foreach(json_object_get(proofs, "backups"), i, item)
    {
        if (!rc && *json_text(item, "failed_at"))
            rc = add_faulty(reading, record, item, err);
    }
    json_array_foreach(json_object_get(proofs, "wal"), i, item)
    {
        if (!rc && json_is_true(json_object_get(item, "has_fault")))
            rc = add_faulty_wal(reading, record, item, err);
    }
    return rc;
}

static int visit(const json_t *record, void *context, struct error *err)
{
    struct reading *reading = context;
    const json_t *body = json_object_get(record, "body"), *items = json_object_get(body, "items");
    size_t i, objects = 0;
    json_t *item;
    int rc = 0;
    if (work_interrupted(err))
        return ERR_INTERRUPTED;
    if (json_is_object(json_object_get(body, "proofs")))
        return add_verification(reading, record, body, err);
    json_array_foreach(items, i, item)
    {
        if (!json_is_object(item))
            continue;
        objects++;
        if (!rc)
            rc = add_entry(reading, record, body, item, err);
    }
    return rc || objects ? rc : add_entry(reading, record, body, body, err);
}

int gather_evidence(struct repository *repository, const struct evidence_tip *known,
                    struct facts_audit *facts, struct error *err)
{
    struct reading reading = {.facts = facts};
    struct error reason = ERROR_NONE;
    struct evidence_tip tip = {0};
    int rc = evidence_verify(repository, known, visit, &reading, &tip, &reason);
    facts->has_evidence = rc == 0;
    facts->evidence_is_broken = rc == ERR_CORRUPT;
    if (rc)
        return gather_problem(&reason, &facts->evidence_problem, err);
    facts->evidence_tip = tip.number;
    facts->evidence_sha256 = strdup(tip.sha256);
    return facts->evidence_sha256 ? 0 : error_no_memory(err);
}
