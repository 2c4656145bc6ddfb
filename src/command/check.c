/* check: preflight of a policy, each finding with its cure. */
#include <string.h>

#include "base/json.h"
#include "base/table.h"
#include "command/commands.h"
#include "command/opened.h"
#include "work/check.h"

static int count_status(const json_t *checks, const char *status)
{
    int count = 0;
    size_t i;
    json_t *check;
    json_array_foreach(checks, i, check)
    {
        count += strcmp(json_string_value(json_object_get(check, "status")), status) == 0;
    }
    return count;
}

static const char *result_of(const json_t *checks)
{
    if (count_status(checks, "fail"))
        return "fail";
    return count_status(checks, "unknown") ? "unknown" : "pass";
}

static int print_text(const json_t *checks, struct error *err)
{
    _cleanup_(table_freep) struct table *table = NULL;
    int rc = table_new("STATUS|CLUSTER|CHECK|OBSERVED", &table, err);
    size_t i;
    json_t *check;
    json_array_foreach(checks, i, check)
    {
        const char *cure = json_string_value(json_object_get(check, "cure"));
        if (!rc)
            rc = table_row(table, err, json_string_value(json_object_get(check, "status")),
                           json_string_value(json_object_get(check, "cluster")),
                           json_string_value(json_object_get(check, "id")),
                           json_string_value(json_object_get(check, "observed")));
        if (!rc && cure)
            rc = table_row(table, err, "", "", "  cure:", cure);
    }
    return rc ? rc : table_print(table, stdout, err);
}

static int check_all(const struct policy_set *set, const struct policy *chosen, json_t *all,
                     struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < policy_set_count(set) && !rc; i++) {
        _cleanup_(json_release) json_t *checks = NULL;
        if (chosen && policy_set_get(set, i) != chosen)
            continue;
        rc = check_policy(policy_set_get(set, i), &checks, err);
        if (!rc && json_array_extend(all, checks))
            rc = error_no_memory(err);
    }
    return rc;
}

static int check_run(const struct globals *globals, const struct arguments *arguments,
                     struct error *err)
{
    _cleanup_(policy_set_freep) struct policy_set *set = NULL;
    _cleanup_(json_release) json_t *checks = json_array();
    const struct policy *chosen = NULL;
    int rc = arguments->words.count
                 ? opened_policy(globals, arguments->words.items[0], &set, &chosen, err)
                 : policy_set_load(&globals->policy_paths, &set, err);
    if (!rc)
        rc = check_all(set, chosen, checks, err);
    if (rc)
        return rc;
    const char *result = result_of(checks);
    if (globals->json)
        rc = command_print_json(json_pack("{s:s, s:O}", "result", result, "checks", checks), err);
    else
        rc = print_text(checks, err);
    if (rc)
        return rc;
    return command_verdict(strcmp(result, "fail") == 0      ? ERR_FAILED
                           : strcmp(result, "unknown") == 0 ? ERR_UNKNOWN
                                                            : 0,
                           err);
}

const struct command COMMAND_CHECK = {
    .name = "check",
    .usage = "[CLUSTER]",
    .summary = "preflight: connection, rights, programs, clocks, repository, each with its cure",
    .examples = "  pgcairn check\n  pgcairn --json check automatos",
    .min_words = 0,
    .max_words = 1,
    .run = check_run,
};
