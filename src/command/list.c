/* list: what the repository holds, with state, sizes, verification and why it is kept. */
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/table.h"
#include "base/units.h"
#include "command/commands.h"
#include "command/list_wal.h"
#include "command/opened.h"
#include "repository/catalogue.h"
#include "repository/wal.h"
#include "retention/retention.h"
#include "work/open_repository.h"

enum { PROOF_TEXT_MAX = 32 };

static json_t *keep_of(const struct retention_decision *decision)
{
    if (!decision)
        return json_null();
    return json_pack("{s:s, s:s, s:o}", "rule", decision->rule, "reason", decision->reason, "until",
                     json_instant(decision->until_us));
}

static json_t *databases_of(const struct facts_backup *backup)
{
    json_t *list = json_array();
    for (size_t i = 0; backup->databases && backup->databases[i]; i++)
        json_array_append_new(list, json_string(backup->databases[i]));
    return list;
}

static json_t *verified_of(const struct facts_backup *backup)
{
    return json_pack("{s:i, s:o, s:o}", "level", backup->verified_level, "at",
                     json_instant(backup->verified_us), "failed_at",
                     json_instant(backup->failed_us));
}

static json_t *backup_json(const struct facts *facts, const struct facts_backup *backup,
                           const struct retention_decision *decision)
{
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:I, s:o, s:o, s:o}", "id", backup->id, "cluster",
        facts->cluster, "kind", backup_kind_name(backup->kind), "job",
        backup->job ? backup->job : "", "state", backup_state_name(backup->state), "started_at",
        json_instant(backup->started_us), "completed_at", json_instant(backup->completed_us),
        "bytes_source", (json_int_t)backup->bytes_source, "bytes_stored",
        (json_int_t)backup->bytes_stored, "databases", databases_of(backup), "verified",
        verified_of(backup), "keep", keep_of(decision));
}

/* "level 2 of 2026-11-28" */
static void describe_proof(const struct facts_backup *backup, char text[PROOF_TEXT_MAX])
{
    char at[INSTANT_TEXT_MAX];
    bool has_failed = backup->failed_us != INSTANT_NONE;
    instant_format(has_failed ? backup->failed_us : backup->verified_us, at);
    if (has_failed)
        snprintf(text, PROOF_TEXT_MAX, "FAILED %.10s", at);
    else if (backup->verified_level > 0)
        snprintf(text, PROOF_TEXT_MAX, "level %d of %.10s", backup->verified_level, at);
    else
        snprintf(text, PROOF_TEXT_MAX, "never");
}

static int row(struct table *table, const struct facts *facts, const struct facts_backup *backup,
               const struct retention_decision *decision, struct error *err)
{
    char started[INSTANT_TEXT_MAX], source[UNITS_TEXT_MAX], stored[UNITS_TEXT_MAX];
    char until[INSTANT_TEXT_MAX], keep[512], proof[PROOF_TEXT_MAX];
    instant_format(backup->started_us, started);
    size_format(backup->bytes_source, source);
    size_format(backup->bytes_stored, stored);
    describe_proof(backup, proof);
    bool dated = decision && decision->until_us != INSTANT_NONE;
    snprintf(keep, sizeof(keep), "%s%s%s%s",
             decision && decision->action == RETENTION_DELETE ? "goes at the next prune: " : "",
             decision ? decision->reason : "", dated ? ", until " : "",
             dated ? instant_format(decision->until_us, until) : "");
    return table_row(table, err, facts->cluster, backup->id, backup_kind_name(backup->kind),
                     backup->job ? backup->job : "", backup_state_name(backup->state), started,
                     source, stored, proof, keep);
}

/* What is listed, of all clusters: a table or a JSON list of backups, and the WAL. */
struct listing {
    const char *kind; /* NULL: everything */
    struct table *table;
    json_t *backups; /* NULL: for people */
    size_t rows;
    struct wal_listing wal;
};

static void listing_clear(struct listing *listing)
{
    table_free(listing->table);
    json_decref(listing->backups);
    wal_listing_clear(&listing->wal);
}

static bool is_wanted(const struct listing *listing, const char *kind)
{
    return !listing->kind || strcmp(listing->kind, kind) == 0;
}

static int add_backups(struct listing *listing, const struct facts *facts,
                       const struct retention_plan *plan, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < plan->count && !rc; i++) {
        const struct retention_decision *decision = &plan->decisions[i];
        if (!is_wanted(listing, backup_kind_name(decision->kind)))
            continue;
        listing->rows++;
        if (listing->backups)
            rc = json_array_append_new(listing->backups,
                                       backup_json(facts, decision->backup, decision))
                     ? error_no_memory(err)
                     : 0;
        else
            rc = row(listing->table, facts, decision->backup, decision, err);
    }
    return rc;
}

/* Dumps alone can be judged without a look at WAL, of which there may be a million objects. */
static int add_cluster(const struct policy *policy, struct listing *listing, struct error *err)
{
    _cleanup_(repository_freep) struct repository *repository = NULL;
    _cleanup_(facts_clear) struct facts facts = {0};
    _cleanup_(zones_clear) struct zones zones = {0};
    _cleanup_(retention_plan_clear) struct retention_plan plan = {0};
    int64_t now_us = instant_now_us();
    int rc = work_open_repository(policy, NULL, &repository, err);
    if (!rc)
        rc = catalogue_read(repository, now_us, &facts, err);
    if (!rc && (is_wanted(listing, "snapshot") || is_wanted(listing, "wal")))
        rc = wal_facts_read_all(repository, &facts, err);
    if (!rc)
        rc = zones_load(policy, &zones, err);
    if (!rc)
        rc = retention_plan_make(&facts, policy, &zones.view, now_us, &plan, err);
    if (!rc)
        rc = add_backups(listing, &facts, &plan, err);
    if (!rc && is_wanted(listing, "wal"))
        rc = wal_listing_add(&listing->wal, &facts, &plan, now_us, err);
    return rc;
}

/* A cluster whose repository can't be read is told and does not hide the others. Returns the code
 * of the first such error. */
static int add_clusters(const struct policy_set *set, const struct policy *chosen,
                        struct listing *listing)
{
    int verdict = 0;
    for (size_t i = 0; i < policy_set_count(set); i++) {
        const struct policy *policy = policy_set_get(set, i);
        struct error error = ERROR_NONE;
        if ((chosen && policy != chosen) || add_cluster(policy, listing, &error) == 0)
            continue;
        int rc = error_as_unknown(&error);
        log_error(policy->cluster, &error);
        if (!verdict)
            verdict = rc;
    }
    return verdict;
}

static int listing_init(struct listing *listing, bool is_json, const char *kind, struct error *err)
{
    listing->kind = kind;
    int rc = wal_listing_init(&listing->wal, is_json, err);
    if (is_json) {
        listing->backups = json_array();
        return rc || listing->backups ? rc : error_no_memory(err);
    }
    return rc ? rc
              : table_new("CLUSTER|ID|KIND|JOB|STATE|STARTED|>SOURCE|>STORED|VERIFIED|KEPT BECAUSE",
                          &listing->table, err);
}

static int listing_print(const struct listing *listing, struct error *err)
{
    if (listing->backups)
        return command_print_json(json_pack("{s:O, s:O, s:O}", "backups", listing->backups, "wal",
                                            listing->wal.timelines, "recovery_windows",
                                            listing->wal.windows),
                                  err);
    bool has_wal = listing->wal.rows > 0;
    bool has_backups = listing->rows > 0 || !has_wal;
    int rc = has_backups ? table_print(listing->table, stdout, err) : 0;
    if (!rc && has_backups && has_wal)
        printf("\n");
    return rc ? rc : wal_listing_print(&listing->wal, err);
}

static int check_kind(const char *kind, struct error *err)
{
    if (!kind || strcmp(kind, "dump") == 0 || strcmp(kind, "snapshot") == 0 ||
        strcmp(kind, "wal") == 0)
        return 0;
    return error_set(err, ERR_USAGE, "--kind is dump, snapshot or wal, not \"%s\"", kind);
}

static int list_run(const struct globals *globals, const struct arguments *arguments,
                    struct error *err)
{
    const char *kind = argument_text(arguments, "kind");
    const char *only = arguments->words.count ? arguments->words.items[0] : NULL;
    _cleanup_(policy_set_freep) struct policy_set *set = NULL;
    _cleanup_(listing_clear) struct listing listing = {.kind = NULL};
    const struct policy *chosen = NULL;
    int rc = check_kind(kind, err);
    if (!rc && only)
        rc = opened_policy(globals, only, &set, &chosen, err);
    else if (!rc)
        rc = policy_set_load(&globals->policy_paths, &set, err);
    if (!rc)
        rc = listing_init(&listing, globals->json, kind, err);
    if (rc)
        return rc;
    int verdict = add_clusters(set, chosen, &listing);
    if (verdict && (chosen || policy_set_count(set) == 1))
        return command_verdict(verdict, err);
    rc = listing_print(&listing, err);
    return rc ? rc : command_verdict(verdict, err);
}

static const struct command_option LIST_OPTIONS[] = {
    {"kind", OPTION_TEXT, "KIND", "only dumps, snapshots or wal"},
    {0},
};

const struct command COMMAND_LIST_BACKUPS = {
    .name = "list",
    .usage = "[CLUSTER] [--kind dump|snapshot|wal]",
    .summary = "what the repository holds, in what state, and why it is kept",
    .examples = "  pgcairn list\n  pgcairn list automatos --kind wal\n"
                "  pgcairn --json list automatos --kind dump",
    .min_words = 0,
    .max_words = 1,
    .options = LIST_OPTIONS,
    .run = list_run,
};
