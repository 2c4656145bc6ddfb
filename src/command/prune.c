/* `prune`: the plan with a reason for every item; with --apply it is carried out. */
#include <stdio.h>

#include "base/json.h"
#include "base/log.h"
#include "base/table.h"
#include "base/units.h"
#include "command/commands.h"
#include "command/opened.h"
#include "command/progress.h"
#include "command/times.h"
#include "work/locking.h"
#include "work/prune.h"

static const struct command_option OPTIONS[] = {
    {"at", OPTION_TEXT, "TIME", "plan as at this time, which has no effect on the repository"},
    {"apply", OPTION_FLAG, NULL, "delete what the plan says"},
    {"plan", OPTION_TEXT, "HASH", "apply this plan and no other"},
    {"force", OPTION_FLAG, NULL, "agree to a plan that needs a person; needs --plan"},
    {NULL, OPTION_FLAG, NULL, NULL},
};

static void show_progress(const char *phase, int64_t done, int64_t total, void *context)
{
    progress_show(context, phase, done, total);
}

static int check_options(const struct arguments *arguments, struct error *err)
{
    bool apply = argument_flag(arguments, "apply");
    if (apply && argument_flag(arguments, "at"))
        return error_set(err, ERR_USAGE, "--at is for looking, and can't be given with --apply");
    if (!apply && (argument_flag(arguments, "plan") || argument_flag(arguments, "force")))
        return error_set(err, ERR_USAGE, "--plan and --force are given with --apply");
    if (argument_flag(arguments, "force") && !argument_flag(arguments, "plan")) {
        error_set(err, ERR_USAGE, "--force needs --plan HASH, the plan that was looked at");
        return error_hint(err, "the hash is at the end of: pgcairn prune %s",
                          arguments->words.items[0]);
    }
    return 0;
}

static int find_now(const struct arguments *arguments, const struct policy *policy,
                    int64_t *ret_now_us, struct error *err)
{
    const char *text = argument_text(arguments, "at");
    if (!text) {
        *ret_now_us = instant_now_us();
        return 0;
    }
    int rc = command_time(text, policy->timezone, ret_now_us, err);
    if (rc)
        error_prefix(err, "--at");
    return rc;
}

/* -- showing ------------------------------------------------------------------------------------
 */

static json_t *decision_json(const struct retention_decision *decision)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:o, s:o}", "id", decision->id, "kind",
                     backup_kind_name(decision->kind), "action",
                     retention_action_name(decision->action), "rule", decision->rule, "reason",
                     decision->reason, "bytes", (json_int_t)decision->bytes, "started_at",
                     json_instant(decision->started_us), "until", json_instant(decision->until_us));
}

static json_t *wal_json(const struct retention_wal *wal)
{
    char first[WAL_NAME_MAX], last[WAL_NAME_MAX];
    struct wal_name from = wal_segment_name(wal->timeline, wal->first, wal->wal->segment_size);
    struct wal_name to = wal_segment_name(wal->timeline, wal->last, wal->wal->segment_size);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:I, s:s, s:s, s:I}", "id", wal->id,
                     "kind", "wal", "action", retention_action_name(wal->action), "rule", wal->rule,
                     "reason", wal->reason, "bytes", (json_int_t)wal->bytes, "system_identifier",
                     wal->wal->system_identifier, "timeline", (json_int_t)wal->timeline, "first",
                     wal_name_format(&from, first), "last", wal_name_format(&to, last), "segments",
                     (json_int_t)wal->segments);
}

static int print_json(const struct prune *prune, const char *cluster, int64_t now_us,
                      bool is_applied, struct error *err)
{
    const struct retention_plan *plan = &prune->plan;
    _cleanup_(json_release) json_t *decisions = json_array();
    _cleanup_(json_release) json_t *warnings = json_array();
    bool failed = !decisions || !warnings;
    for (size_t i = 0; !failed && i < plan->count; i++)
        failed = json_array_append_new(decisions, decision_json(&plan->decisions[i])) != 0;
    for (size_t i = 0; !failed && i < plan->wal_count; i++)
        failed = json_array_append_new(decisions, wal_json(&plan->wal[i])) != 0;
    for (size_t i = 0; !failed && i < plan->warnings.count; i++)
        failed = json_array_append_new(warnings, json_string(plan->warnings.items[i])) != 0;
    json_t *document =
        failed
            ? NULL
            : json_pack(
                  "{s:s, s:o, s:s, s:O, s:I, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:s?, s:s?, s:O}",
                  "cluster", cluster, "at", json_instant(now_us), "plan_hash", plan->hash,
                  "decisions", decisions, "bytes_freed",
                  (json_int_t)(is_applied ? prune->bytes_freed : plan->bytes_freed), "applied",
                  is_applied, "deleted", (json_int_t)prune->deleted, "failed",
                  (json_int_t)prune->failed, "locked", (json_int_t)prune->locked, "unfinished",
                  (json_int_t)prune->unfinished, "wal_deleted", (json_int_t)prune->wal_deleted,
                  "wal_locked", (json_int_t)prune->wal_locked, "refused", plan->refused,
                  "needs_force", plan->needs_force, "warnings", warnings);
    return document ? command_print_json(document, err) : error_no_memory(err);
}

static int print_decisions(const struct retention_plan *plan, struct error *err)
{
    _cleanup_(table_freep) struct table *table = NULL;
    int rc = table_new("ACTION|KIND|ID|JOB|>SIZE|REASON", &table, err);
    for (size_t i = 0; !rc && i < plan->count; i++) {
        const struct retention_decision *decision = &plan->decisions[i];
        const char *job = decision->backup->job;
        char size[UNITS_TEXT_MAX];
        rc = table_row(table, err, retention_action_name(decision->action),
                       backup_kind_name(decision->kind), decision->id, job ? job : "",
                       size_format(decision->bytes, size), decision->reason);
    }
    for (size_t i = 0; !rc && i < plan->wal_count; i++) {
        const struct retention_wal *wal = &plan->wal[i];
        char size[UNITS_TEXT_MAX];
        rc = table_row(table, err, retention_action_name(wal->action), "wal", wal->id, "",
                       size_format(wal->bytes, size), wal->reason);
    }
    return rc ? rc : table_print(table, stdout, err);
}

/* What was deleted, or how it can be. */
static void print_end(const struct prune *prune, const char *cluster, bool is_applied)
{
    const struct retention_plan *plan = &prune->plan;
    char size[UNITS_TEXT_MAX], wal[64] = "";
    if (prune->wal_deleted)
        snprintf(wal, sizeof(wal), " and %lld objects of WAL", (long long)prune->wal_deleted);
    if (is_applied)
        printf("deleted %zu%s, %s freed%s\n", prune->deleted, wal,
               size_format(prune->bytes_freed, size),
               prune->locked || prune->wal_locked ? "; what an object lock protects stays" : "");
    else if (plan->refused)
        printf("nothing may be deleted: %s\n", plan->refused);
    else if (plan->needs_force)
        printf("needs a person: %s\n  pgcairn prune %s --apply --plan %s --force\n",
               plan->needs_force, cluster, plan->hash);
    else if (plan->delete_count + plan->wal_delete_count)
        printf("nothing was deleted; to do so: pgcairn prune %s --apply --plan %s\n", cluster,
               plan->hash);
}

static int print_text(const struct prune *prune, const char *cluster, int64_t now_us,
                      bool is_applied, struct error *err)
{
    const struct retention_plan *plan = &prune->plan;
    char size[UNITS_TEXT_MAX], now[INSTANT_TEXT_MAX];
    for (size_t i = 0; !is_applied && i < plan->warnings.count; i++)
        log_line(LOG_WARNING, "%s", plan->warnings.items[i]);
    int rc = plan->count + plan->wal_count ? print_decisions(plan, err) : 0;
    if (rc)
        return rc;
    int64_t going = 0, all = 0;
    for (size_t i = 0; i < plan->wal_count; i++) {
        all += plan->wal[i].segments;
        going += plan->wal[i].action == RETENTION_DELETE ? plan->wal[i].segments : 0;
    }
    printf("\nat %s: %zu of %zu go", instant_format(now_us, now), plan->delete_count, plan->count);
    if (all)
        printf(", and %lld of %lld segments of WAL", (long long)going, (long long)all);
    printf(", %s freed\nplan %s\n", size_format(plan->bytes_freed, size), plan->hash);
    print_end(prune, cluster, is_applied);
    return 0;
}

static int print(const struct globals *globals, const struct prune *prune, const char *cluster,
                 int64_t now_us, bool is_applied, struct error *err)
{
    return (globals->json ? print_json : print_text)(prune, cluster, now_us, is_applied, err);
}

/* -- doing --------------------------------------------------------------------------------------
 */

static int look(const struct globals *globals, const struct work *work, int64_t now_us,
                struct error *err)
{
    _cleanup_(prune_clear) struct prune prune = {0};
    int rc = prune_look(work, now_us, &prune, err);
    if (rc)
        return error_as_unknown(err);
    rc = print(globals, &prune, work->policy->cluster, now_us, false, err);
    return rc || !prune.plan.refused ? rc : command_verdict(ERR_UNKNOWN, err);
}

/* The plan is printed also when it is not applied, or not wholly: that is when one wants to see it.
 * Without a hash there was none. */
static int apply(const struct globals *globals, struct work *work, struct prune_options *options,
                 struct error *err)
{
    _cleanup_(progress_freep) struct progress *progress = NULL;
    _cleanup_(locking_freep) struct locking *locking = NULL;
    _cleanup_(prune_clear) struct prune prune = {0};
    const struct lock_request request = {.class = LOCK_PRUNE, .run_id = ""};
    int rc = progress_new(globals->quiet, "backups", &progress, err);
    if (!rc)
        rc = locking_begin(work->repository, &request, 0, &locking, err);
    if (rc)
        return rc;
    work->lock = locking_lock(locking);
    work->progress = show_progress;
    work->context = progress;
    work_catch_signals();
    options->now_us = instant_now_us();
    rc = prune_apply(work, options, &prune, err);
    progress_end(progress);
    bool is_applied = !rc || prune.deleted || prune.failed || prune.wal_deleted || prune.wal_failed;
    struct error later = ERROR_NONE;
    int later_rc = 0;
    if (prune.plan.hash[0])
        later_rc =
            print(globals, &prune, work->policy->cluster, options->now_us, is_applied, &later);
    if (!later_rc)
        later_rc = locking_end(locking, &later);
    if (rc || !later_rc)
        return rc;
    *err = later;
    return later_rc;
}

static int run(const struct globals *globals, const struct arguments *arguments, struct error *err)
{
    _cleanup_(opened_clear) struct opened opened = {0};
    int64_t now_us = 0;
    int rc = check_options(arguments, err);
    if (!rc && opened_cluster(globals, arguments->words.items[0], &opened, err))
        return error_as_unknown(err);
    if (!rc)
        rc = find_now(arguments, opened.policy, &now_us, err);
    if (rc)
        return rc;
    struct work work = {
        .policy = opened.policy, .repository = opened.repository, .started_us = now_us};
    if (!argument_flag(arguments, "apply"))
        return look(globals, &work, now_us, err);
    struct prune_options options = {.expected_hash = argument_text(arguments, "plan"),
                                    .force = argument_flag(arguments, "force")};
    return apply(globals, &work, &options, err);
}

const struct command COMMAND_PRUNE = {
    .name = "prune",
    .usage = "CLUSTER [--at TIME] [--apply [--plan HASH] [--force]]",
    .summary = "the retention plan with a reason for every item; deletes only with --apply",
    .examples = "  pgcairn prune automatos\n"
                "  pgcairn prune automatos --apply",
    .min_words = 1,
    .max_words = 1,
    .options = OPTIONS,
    .run = run,
};
