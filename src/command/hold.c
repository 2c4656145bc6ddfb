/* hold add, list, release: named, reasoned stops on deleting a backup. */
#include <string.h>

#include "base/json.h"
#include "base/table.h"
#include "command/commands.h"
#include "command/opened.h"
#include "command/person.h"
#include "command/times.h"
#include "repository/holds.h"

static json_t *pack_hold(const struct facts_hold *hold)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "hold_id", hold->hold_id, "id",
                     hold->backup_id, "holder", hold->holder, "reason", hold->reason, "created_at",
                     json_instant(hold->created_us), "expires_at", json_instant(hold->expires_us));
}

static int print_added(const struct globals *globals, struct repository *repository,
                       const char *hold_id, struct error *err)
{
    _cleanup_(facts_clear) struct facts facts = {.complete = true};
    int rc = hold_read_all(repository, &facts, err);
    for (size_t i = 0; !rc && i < facts.hold_count; i++) {
        const struct facts_hold *hold = &facts.holds[i];
        char until[INSTANT_TEXT_MAX];
        if (strcmp(hold->hold_id, hold_id) != 0)
            continue;
        if (globals->json)
            return command_print_json(pack_hold(hold), err);
        instant_format(hold->expires_us, until);
        printf("%s is held by %s until %s; hold %s\n", hold->backup_id, hold->holder,
               until[0] ? until : "it is released", hold_id);
    }
    return rc;
}

static int hold_add_run(const struct globals *globals, const struct arguments *arguments,
                        struct error *err)
{
    _cleanup_(opened_clear) struct opened opened = {0};
    char holder[PERSON_MAX], hold_id[ID_SIZE];
    const char *reason = argument_text(arguments, "reason");
    const char *given = argument_text(arguments, "holder");
    const char *expires = argument_text(arguments, "expires");
    if (!reason) {
        error_set(err, ERR_USAGE, "hold add needs a reason");
        return error_hint(err, "say why, for those who wonder later: --reason \"audit 2026\"");
    }
    person_name(holder);
    int rc = opened_cluster(globals, arguments->words.items[0], &opened, err);
    struct hold_request request = {
        .backup_id = arguments->words.items[1],
        .holder = given ? given : holder,
        .reason = reason,
        .expires_us = INSTANT_NONE,
    };
    if (!rc && expires)
        rc = command_time_or_duration(expires, opened.policy->timezone, instant_now_us(),
                                      &request.expires_us, err);
    if (!rc)
        rc = hold_add(opened.repository, &request, hold_id, err);
    return rc ? rc : print_added(globals, opened.repository, hold_id, err);
}

static int print_holds_json(const struct facts *facts, struct error *err)
{
    _cleanup_(json_release) json_t *holds = json_array();
    for (size_t i = 0; i < facts->hold_count; i++)
        if (json_array_append_new(holds, pack_hold(&facts->holds[i])) != 0)
            return error_no_memory(err);
    return command_print_json(json_pack("{s:O}", "holds", holds), err);
}

static int print_holds(const struct facts *facts, int64_t now_us, struct error *err)
{
    _cleanup_(table_freep) struct table *table = NULL;
    int rc = table_new("HOLD|BACKUP|HOLDER|SINCE|UNTIL|REASON", &table, err);
    for (size_t i = 0; !rc && i < facts->hold_count; i++) {
        const struct facts_hold *hold = &facts->holds[i];
        char since[INSTANT_TEXT_MAX], until[INSTANT_TEXT_MAX], ends[64];
        instant_format(hold->created_us, since);
        instant_format(hold->expires_us, until);
        bool over = hold->expires_us != INSTANT_NONE && hold->expires_us <= now_us;
        snprintf(ends, sizeof(ends), "%s%s", until[0] ? until : "released",
                 over ? " (expired)" : "");
        rc = table_row(table, err, hold->hold_id, hold->backup_id, hold->holder, since, ends,
                       hold->reason);
    }
    return rc ? rc : table_print(table, stdout, err);
}

static int hold_list_run(const struct globals *globals, const struct arguments *arguments,
                         struct error *err)
{
    _cleanup_(opened_clear) struct opened opened = {0};
    _cleanup_(facts_clear) struct facts facts = {.complete = true};
    int rc = opened_cluster(globals, arguments->words.items[0], &opened, err);
    if (!rc)
        rc = hold_read_all(opened.repository, &facts, err);
    if (rc)
        rc = error_as_unknown(err);
    else
        rc = globals->json ? print_holds_json(&facts, err)
                           : print_holds(&facts, instant_now_us(), err);
    if (!rc && !facts.complete) {
        error_set(err, ERR_UNKNOWN, "a hold can't be read: %s", facts.problem);
        return error_hint(err, "until it can, nothing of cluster \"%s\" is pruned",
                          opened.policy->cluster);
    }
    return rc;
}

static int hold_release_run(const struct globals *globals, const struct arguments *arguments,
                            struct error *err)
{
    _cleanup_(opened_clear) struct opened opened = {0};
    const char *hold_id = arguments->words.items[1];
    const char *reason = argument_text(arguments, "reason");
    if (!reason) {
        error_set(err, ERR_USAGE, "hold release needs a reason");
        return error_hint(err, "say why, for those who wonder later: --reason \"audit is over\"");
    }
    int rc = opened_cluster(globals, arguments->words.items[0], &opened, err);
    if (!rc)
        rc = hold_release(opened.repository, hold_id, reason, err);
    if (rc)
        return rc;
    if (globals->json)
        return command_print_json(json_pack("{s:s, s:s}", "hold_id", hold_id, "reason", reason),
                                  err);
    printf("hold %s is released\n", hold_id);
    return 0;
}

static const struct command_option ADD_OPTIONS[] = {
    {"reason", OPTION_TEXT, "TEXT", "why it must stay (required)"},
    {"holder", OPTION_TEXT, "NAME", "who wants it; the user who runs this when not given"},
    {"expires", OPTION_TEXT, "TIME|DURATION", "when the hold ends by itself; never when not given"},
    {0},
};

static const struct command_option RELEASE_OPTIONS[] = {
    {"reason", OPTION_TEXT, "TEXT", "why it may go now (required)"},
    {0},
};

const struct command COMMAND_HOLD_ADD = {
    .name = "hold add",
    .usage = "CLUSTER ID --reason TEXT [--holder NAME] [--expires TIME|DURATION]",
    .summary = "stop the deletion of a backup",
    .examples = "  pgcairn hold add automatos 20261121T020000Z-x7q2 --reason \"audit 2026\" "
                "--expires 365d",
    .min_words = 2,
    .max_words = 2,
    .options = ADD_OPTIONS,
    .run = hold_add_run,
};

const struct command COMMAND_HOLD_LIST = {
    .name = "hold list",
    .usage = "CLUSTER",
    .summary = "the holds of a cluster, expired ones too",
    .examples = "  pgcairn hold list automatos",
    .min_words = 1,
    .max_words = 1,
    .run = hold_list_run,
};

const struct command COMMAND_HOLD_RELEASE = {
    .name = "hold release",
    .usage = "CLUSTER HOLD_ID --reason TEXT",
    .summary = "end a hold; the evidence of it stays",
    .examples = "  pgcairn hold release automatos 20261122T091500Z-k3m9 --reason \"audit is over\"",
    .min_words = 2,
    .max_words = 2,
    .options = RELEASE_OPTIONS,
    .run = hold_release_run,
};
