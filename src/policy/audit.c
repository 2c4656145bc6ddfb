#include "policy/audit.h"

#include <stdlib.h>
#include <string.h>

#include "policy/keys.h"

#define IN_AUDIT(field) offsetof(struct policy_audit, field)
#define IN_WAIVER(field) offsetof(struct policy_waiver, field)

static int read_expires(struct reader *reader, const struct document_node *value, void *target)
{
    struct policy_waiver *waiver = target;
    char shown[64];
    bool has_offset;
    if (!waiver)
        return 0;
    if (value->kind != NODE_TEXT ||
        instant_parse(value->text, &waiver->expires_us, &has_offset, NULL))
        return value_error(reader, value,
                           "\"expires\" must be a day (2027-01-31) or a time in UTC, not \"%s\"",
                           value->kind == NODE_TEXT ? value_shown(value, shown) : "");
    return 0;
}

static const struct key WAIVER_KEYS[] = {
    {.name = "id",
     .type = VALUE_TEXT,
     .offset = IN_WAIVER(id),
     .help = "control that is waived, as RST-1"},
    {.name = "reason", .type = VALUE_TEXT, .offset = IN_WAIVER(reason), .help = "why"},
    {.name = "owner", .type = VALUE_TEXT, .offset = IN_WAIVER(owner), .help = "who answers for it"},
    {.name = "expires",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .read = read_expires,
     .takes = "2027-01-31, or a time in UTC",
     .help = "until when: a date, or a time in UTC"},
};
static const struct section SECTION_WAIVER = {"waivers", WAIVER_KEYS, ARRAY_SIZE(WAIVER_KEYS),
                                              NULL};

static int read_waiver(struct reader *reader, const struct document_node *value,
                       struct policy_waiver *waiver)
{
    if (value->kind != NODE_MAP)
        return value_error(reader, value,
                           "a waiver is a mapping of keys: id, reason, owner, expires");
    waiver->line = value->line;
    waiver->expires_us = INSTANT_NONE;
    int rc = section_read(reader, &SECTION_WAIVER, value, waiver);
    for (size_t i = 0; i < ARRAY_SIZE(WAIVER_KEYS) && !rc; i++) {
        const struct document_node *given = map_value(value, WAIVER_KEYS[i].name);
        if (!given || (given->kind == NODE_TEXT && !*given->text && !given->is_broken))
            rc = value_error(reader, given ? given : value, "a waiver needs \"%s\"",
                             WAIVER_KEYS[i].name);
    }
    return rc;
}

static int read_waivers(struct reader *reader, const struct document_node *value, void *target)
{
    struct policy_audit *audit = target;
    if (value->kind != NODE_LIST)
        return value_error(reader, value, "\"waivers\" must be a list");
    if (value->count > POLICY_WAIVERS_MAX)
        return value_error(reader, value, "\"waivers\" has %zu entries, more than %d", value->count,
                           POLICY_WAIVERS_MAX);
    audit->waivers = calloc(value->count + 1, sizeof(*audit->waivers));
    if (!audit->waivers)
        return error_no_memory(reader->err);
    int rc = 0;
    for (size_t i = 0; i < value->count && !rc; i++)
        rc = read_waiver(reader, value->entries[i].value, &audit->waivers[audit->waiver_count++]);
    return rc;
}

static const struct key AUDIT_KEYS[] = {
    {.name = "excluded_databases",
     .type = VALUE_TEXTS,
     .offset = IN_AUDIT(excluded_databases),
     .help = "names or globs of databases that are left out of backups on purpose"},
    {.name = "verified_within",
     .type = VALUE_DURATION,
     .offset = IN_AUDIT(verified_within_us),
     .low = US_PER_HOUR,
     .high = 3660 * US_PER_DAY,
     .fallback = "35d",
     .help = "how old the proof of a backup may be"},
    {.name = "drilled_within",
     .type = VALUE_DURATION,
     .offset = IN_AUDIT(drilled_within_us),
     .low = US_PER_HOUR,
     .high = 3660 * US_PER_DAY,
     .fallback = "92d",
     .help = "how old the last drill may be"},
    {.name = "wal_lag",
     .type = VALUE_DURATION,
     .offset = IN_AUDIT(wal_lag_us),
     .low = US_PER_SECOND,
     .high = 30 * US_PER_DAY,
     .fallback = "1h",
     .help = "how far the archive may be behind the server"},
    {.name = "keep_at_most",
     .type = VALUE_DURATION,
     .offset = IN_AUDIT(keep_at_most_us),
     .low = US_PER_DAY,
     .high = 36525 * US_PER_DAY,
     .fallback = "none",
     .help = "nothing may be older, as for the sake of privacy"},
    {.name = "success_rate",
     .type = VALUE_INTEGER,
     .offset = IN_AUDIT(success_rate),
     .low = 1,
     .high = 100,
     .fallback = "95",
     .help = "percent of the runs of a job that must end well"},
    {.name = "copies",
     .type = VALUE_INTEGER,
     .offset = IN_AUDIT(copies),
     .low = 1,
     .high = 10000,
     .fallback = "2",
     .help = "good backups that each database must have at least"},
    {.name = "waivers",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .section = &SECTION_WAIVER,
     .read = read_waivers,
     .takes = "a list of mappings",
     .help = "controls that are known to fail, with reason, owner and an end"},
};
const struct section section_audit = {"audit", AUDIT_KEYS, ARRAY_SIZE(AUDIT_KEYS), NULL};

void policy_audit_init(struct policy_audit *audit)
{
    *audit = (struct policy_audit){.excluded_databases = STRV_INIT(POLICY_LIST_MAX),
                                   .verified_within_us = POLICY_AUDIT_VERIFIED_US,
                                   .drilled_within_us = POLICY_AUDIT_DRILLED_US,
                                   .wal_lag_us = POLICY_AUDIT_WAL_LAG_US,
                                   .success_rate = POLICY_AUDIT_SUCCESS_RATE,
                                   .copies = POLICY_AUDIT_COPIES};
}

void policy_audit_clear(struct policy_audit *audit)
{
    for (size_t i = 0; i < audit->waiver_count; i++) {
        free(audit->waivers[i].id);
        free(audit->waivers[i].reason);
        free(audit->waivers[i].owner);
    }
    free(audit->waivers);
    strv_clear(&audit->excluded_databases);
}
