/* What there is to prove: backups, and logs of WAL by spans that were proved at one time. */
#include <string.h>
#include <sys/random.h>

#include "base/json.h"
#include "repository/wal_keys.h"
#include "work/verify.h"

enum { ITEMS_MAX = 2000000 };

static int add_item(struct verifying *verifying, const struct verify_item *item, struct error *err)
{
    if (verifying->item_count == verifying->item_allocated) {
        size_t more = verifying->item_allocated ? 2 * verifying->item_allocated : 64;
        if (more > ITEMS_MAX)
            return error_set(err, ERR_LIMIT, "more than %d items to verify", ITEMS_MAX / 2);
        struct verify_item *items = reallocarray(verifying->items, more, sizeof(*items));
        if (!items)
            return error_no_memory(err);
        verifying->items = items;
        verifying->item_allocated = more;
    }
    struct verify_item *added = &verifying->items[verifying->item_count++];
    *added = *item;
    if (getrandom(&added->lot, sizeof(added->lot), GRND_NONBLOCK) != (ssize_t)sizeof(added->lot))
        added->lot = (uint32_t)instant_monotonic_us() * 2654435761U;
    return 0;
}

/* -- backups --------------------------------------------------------------------------------- */

/* Not what is being made or was left behind: nothing is promised of it. */
static bool is_backup(const struct facts_backup *backup)
{
    return backup->state == BACKUP_GOOD || backup->state == BACKUP_DAMAGED ||
           backup->state == BACKUP_UNKNOWN;
}

static int add_backup(struct verifying *verifying, const struct facts_backup *backup,
                      struct error *err)
{
    const struct proof_backup *known = proof_find(&verifying->proof, backup->id);
    struct verify_item item = {.backup = backup,
                               .level = verifying->request->level,
                               .bytes = backup->bytes_stored,
                               .proved_us = INSTANT_NONE,
                               .looked_us = INSTANT_NONE};
    if (known && known->failed_level > item.level)
        item.level = known->failed_level;
    if (known && !known->failed_level && known->level >= item.level)
        item.proved_us = item.looked_us = known->at_us;
    if (known && known->failed_level)
        item.looked_us = known->failed_us; /* or what is broken would always come first */
    return add_item(verifying, &item, err);
}

static int choose_backups(struct verifying *verifying, struct error *err)
{
    const char *wanted = verifying->request->backup;
    int rc = 0;
    for (size_t i = 0; i < verifying->facts.backup_count && !rc; i++) {
        const struct facts_backup *backup = &verifying->facts.backups[i];
        if (is_backup(backup) && (!wanted || strcmp(backup->id, wanted) == 0))
            rc = add_backup(verifying, backup, err);
    }
    if (!rc && wanted && verifying->item_count == 0 && !proof_find(&verifying->proof, wanted)) {
        error_set(err, ERR_NOT_FOUND, "cluster \"%s\" has no backup %s",
                  verifying->request->policy->cluster, wanted);
        return error_hint(err, "\"pgcairn list %s\" shows what there is",
                          verifying->request->policy->cluster);
    }
    return rc;
}

/* -- WAL ------------------------------------------------------------------------------------- */

/* Objects of WAL as they are listed, in ascending order, gathered into items. */
struct gathering {
    struct verifying *verifying;
    const struct facts_wal *wal;
    struct verify_item item;
    bool has_item;
    struct span_use *uses; /* of the spans */
    size_t proved_count;   /* of them, in front; behind are those with a fault */
};

/* What is stored of a span. */
struct span_use {
    struct wal_name first, last;
    bool is_any;
};

static int compare_spans(const void *a, const void *b)
{
    const struct proof_span *x = a, *y = b;
    if (x->has_fault != y->has_fault)
        return x->has_fault ? 1 : -1;
    int order = strcmp(x->system, y->system);
    return order ? order : wal_name_compare(&x->first, &y->first);
}

static bool lies_before(const struct proof_span *span, const char *system,
                        const struct wal_name *name)
{
    int order = strcmp(span->system, system);
    return order ? order < 0 : wal_name_compare(&span->first, name) <= 0;
}

static bool holds(const struct proof_span *span, const char *system, const struct wal_name *name)
{
    return strcmp(span->system, system) == 0 && span->first.timeline == name->timeline &&
           wal_name_compare(&span->first, name) <= 0 && wal_name_compare(name, &span->last) <= 0;
}

/* The span in which a segment was proved; NULL when it was not. */
static const struct proof_span *find_span(const struct proof *proof, size_t count,
                                          const char *system, const struct wal_name *name)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (lies_before(&proof->spans[middle], system, name))
            low = middle + 1;
        else
            high = middle;
    }
    const struct proof_span *span = low > 0 ? &proof->spans[low - 1] : NULL;
    return span && holds(span, system, name) ? span : NULL;
}

static void use(struct gathering *gathering, const struct proof_span *span,
                const struct wal_name *segment)
{
    struct span_use *use = &gathering->uses[span - gathering->verifying->proof.spans];
    if (!use->is_any)
        use->first = *segment;
    use->last = *segment;
    use->is_any = true;
}

static void use_faulty(struct gathering *gathering, const struct wal_name *segment)
{
    const struct proof *proof = &gathering->verifying->proof;
    for (size_t i = gathering->proved_count; i < proof->span_count; i++)
        if (holds(&proof->spans[i], gathering->wal->system_identifier, segment))
            use(gathering, &proof->spans[i], segment);
}

static int end_item(struct gathering *gathering, struct error *err)
{
    bool has_item = gathering->has_item;
    gathering->has_item = false;
    return has_item ? add_item(gathering->verifying, &gathering->item, err) : 0;
}

static bool belongs(const struct verify_item *item, const struct wal_name *segment,
                    int64_t proved_us)
{
    return item->first.timeline == segment->timeline && item->first.log == segment->log &&
           item->proved_us == proved_us;
}

static int gather(const struct store_object *object, void *context, struct error *err)
{
    struct gathering *gathering = context;
    struct proof *proof = &gathering->verifying->proof;
    struct verify_item *item = &gathering->item;
    char hash[WAL_HASH + 1];
    struct wal_name name;
    if (!wal_parse_file(wal_last_component(object->key), &name, hash) || name.kind == WAL_HISTORY ||
        !wal_name_fits(&name, gathering->wal->segment_size))
        return 0;
    struct wal_name segment = {WAL_SEGMENT, name.timeline, name.log, name.segment, 0};
    const struct proof_span *span =
        find_span(proof, gathering->proved_count, gathering->wal->system_identifier, &segment);
    if (span)
        use(gathering, span, &segment);
    use_faulty(gathering, &segment);
    int64_t proved_us = span ? span->at_us : INSTANT_NONE;
    int rc = 0;
    if (!gathering->has_item || !belongs(item, &segment, proved_us)) {
        rc = end_item(gathering, err);
        *item = (struct verify_item){.wal = gathering->wal,
                                     .first = segment,
                                     .level = gathering->verifying->request->level,
                                     .proved_us = proved_us,
                                     .looked_us = proved_us};
        gathering->has_item = true;
    }
    item->last = segment;
    item->bytes += object->size;
    return rc;
}

/* What is not stored any more can't be read again; of spans with a fault the rest stays known. */
static void forget_unused(struct proof *proof, const struct span_use *uses)
{
    size_t kept = 0;
    for (size_t i = 0; i < proof->span_count; i++) {
        struct proof_span *span = &proof->spans[i];
        if (!uses[i].is_any)
            continue;
        if (span->has_fault) {
            span->first = uses[i].first;
            span->last = uses[i].last;
        }
        proof->spans[kept++] = *span;
    }
    proof->span_count = kept;
}

static size_t order_spans(struct proof *proof)
{
    size_t proved = 0;
    if (proof->span_count)
        qsort(proof->spans, proof->span_count, sizeof(*proof->spans), compare_spans);
    while (proved < proof->span_count && !proof->spans[proved].has_fault)
        proved++;
    return proved;
}

static int choose_wal(struct verifying *verifying, struct error *err)
{
    struct proof *proof = &verifying->proof;
    _cleanup_(freep) struct span_use *uses = calloc(proof->span_count + 1, sizeof(*uses));
    size_t proved_count = order_spans(proof);
    int rc = uses ? 0 : error_no_memory(err);
    for (size_t i = 0; i < verifying->facts.wal_count && !rc; i++) {
        struct gathering gathering = {.verifying = verifying,
                                      .wal = &verifying->facts.wals[i],
                                      .uses = uses,
                                      .proved_count = proved_count};
        char prefix[STORE_KEY_MAX + 1];
        rc = wal_key(verifying->request->repository, prefix, err, gathering.wal->system_identifier,
                     "%s", "");
        if (!rc)
            rc = store_list(verifying->request->repository->store, prefix, false, gather,
                            &gathering, err);
        if (!rc)
            rc = end_item(&gathering, err);
    }
    if (!rc)
        forget_unused(proof, uses);
    return rc;
}

/* -- the order ------------------------------------------------------------------------------- */

/* Never looked at, then by the day of the look, then by lot. */
static int compare_items(const void *a, const void *b)
{
    const struct verify_item *x = a, *y = b;
    int64_t x_day = x->looked_us == INSTANT_NONE ? INSTANT_NONE : x->looked_us / US_PER_DAY;
    int64_t y_day = y->looked_us == INSTANT_NONE ? INSTANT_NONE : y->looked_us / US_PER_DAY;
    if (x_day != y_day)
        return x_day < y_day ? -1 : 1;
    return x->lot < y->lot ? -1 : x->lot > y->lot;
}

int verify_choose(struct verifying *verifying, struct error *err)
{
    int rc = choose_backups(verifying, err);
    if (!rc && !verifying->request->backup && verifying->request->level >= VERIFY_LEVEL_MAX)
        rc = choose_wal(verifying, err);
    if (rc)
        return rc;
    if (verifying->item_count)
        qsort(verifying->items, verifying->item_count, sizeof(*verifying->items), compare_items);
    for (size_t i = 0; i < verifying->item_count; i++)
        if (verifying->items[i].level > 1)
            verifying->bytes_total += verifying->items[i].bytes;
    return 0;
}
