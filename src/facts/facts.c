#include "facts/facts.h"

#include <string.h>

static void clear_backup(struct facts_backup *backup)
{
    free(backup->id);
    free(backup->job);
    for (size_t i = 0; backup->databases && backup->databases[i]; i++)
        free(backup->databases[i]);
    free(backup->databases);
}

static void clear_hold(struct facts_hold *hold)
{
    free(hold->hold_id);
    free(hold->backup_id);
    free(hold->holder);
    free(hold->reason);
}

void facts_clear(struct facts *facts)
{
    for (size_t i = 0; i < facts->backup_count; i++)
        clear_backup(&facts->backups[i]);
    for (size_t i = 0; i < facts->hold_count; i++)
        clear_hold(&facts->holds[i]);
    for (size_t i = 0; i < facts->wal_count; i++)
        facts_wal_clear(&facts->wals[i]);
    free(facts->wals);
    free(facts->backups);
    free(facts->holds);
    free(facts->cluster);
    free(facts->problem);
    *facts = (struct facts){0};
}

/* Room for one more element of `size` bytes in a growing array. */
static int grow(void **array, size_t count, size_t *allocated, size_t size, size_t limit,
                const char *what, struct error *err)
{
    if (count >= limit)
        return error_set(err, ERR_LIMIT, "more than %zu %s in one repository", limit, what);
    if (count < *allocated)
        return 0;
    size_t wanted = *allocated ? *allocated * 2 : 32;
    void *grown = reallocarray(*array, wanted, size);
    if (!grown)
        return error_no_memory(err);
    *array = grown;
    *allocated = wanted;
    return 0;
}

int facts_add_backup(struct facts *facts, struct facts_backup **ret_backup, struct error *err)
{
    void *array = facts->backups;
    int rc = grow(&array, facts->backup_count, &facts->backup_allocated,
                  sizeof(struct facts_backup), FACTS_BACKUPS_MAX, "backups", err);
    if (rc)
        return rc;
    facts->backups = array;
    struct facts_backup *backup = &facts->backups[facts->backup_count++];
    *backup = (struct facts_backup){
        .state = BACKUP_UNKNOWN,
        .started_us = INSTANT_NONE,
        .completed_us = INSTANT_NONE,
        .newest_us = INSTANT_NONE,
        .verified_us = INSTANT_NONE,
        .failed_us = INSTANT_NONE,
        .locked_until_us = INSTANT_NONE,
        .drilled_us = INSTANT_NONE,
    };
    *ret_backup = backup;
    return 0;
}

int facts_add_hold(struct facts *facts, struct facts_hold **ret_hold, struct error *err)
{
    void *array = facts->holds;
    int rc = grow(&array, facts->hold_count, &facts->hold_allocated, sizeof(struct facts_hold),
                  FACTS_HOLDS_MAX, "holds", err);
    if (rc)
        return rc;
    facts->holds = array;
    struct facts_hold *hold = &facts->holds[facts->hold_count++];
    *hold = (struct facts_hold){.created_us = INSTANT_NONE, .expires_us = INSTANT_NONE};
    *ret_hold = hold;
    return 0;
}

int facts_take_wal(struct facts *facts, struct facts_wal *wal, struct error *err)
{
    void *array = facts->wals;
    int rc = grow(&array, facts->wal_count, &facts->wal_allocated, sizeof(*wal), FACTS_SYSTEMS_MAX,
                  "system identifiers", err);
    facts->wals = array;
    if (rc)
        facts_wal_clear(wal);
    else
        facts->wals[facts->wal_count++] = *wal;
    *wal = (struct facts_wal){0};
    return rc;
}

void facts_remove_backup(struct facts *facts, size_t index)
{
    clear_backup(&facts->backups[index]);
    facts->backups[index] = facts->backups[--facts->backup_count];
}

const char *backup_kind_name(enum backup_kind kind)
{
    return kind == BACKUP_DUMP ? "dump" : "snapshot";
}

const char *backup_state_name(enum backup_state state)
{
    switch (state) {
    case BACKUP_GOOD:
        return "good";
    case BACKUP_DAMAGED:
        return "damaged";
    case BACKUP_RUNNING:
        return "running";
    case BACKUP_GARBAGE:
        return "garbage";
    case BACKUP_FRESH_REMAINS:
        return "unfinished";
    case BACKUP_UNKNOWN:
        break;
    }
    return "unknown";
}
