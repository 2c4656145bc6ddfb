/* cluster adopt: a server that was rebuilt is the cluster from now on. */
#include <string.h>

#include "base/json.h"
#include "command/commands.h"
#include "command/opened.h"
#include "postgres/connection.h"
#include "postgres/server.h"

static int read_server(const struct policy *policy, struct pg_server *ret_server, struct error *err)
{
    _cleanup_(freep) char *conninfo = NULL;
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    int rc = policy_connection(policy, NULL, &conninfo, err);
    if (!rc)
        rc = pg_connect(conninfo, NULL, "pgcairn cluster adopt", &conn, err);
    if (!rc)
        rc = pg_read_server(conn, ret_server, err);
    if (!rc && !ret_server->system_identifier[0]) {
        error_set(err, ERR_PERMISSION, "the role may not ask the server for its system identifier");
        return error_hint(err, "grant execute on function pg_control_system() to it");
    }
    return rc;
}

static int print_result(const struct globals *globals, const char *cluster,
                        const struct pg_server *server, const char *previous, struct error *err)
{
    const char *now = server->system_identifier;
    bool changed = !previous || strcmp(previous, now) != 0;
    if (globals->json)
        return command_print_json(json_pack("{s:s, s:s, s:s?, s:b}", "cluster", cluster,
                                            "system_identifier", now, "previous", previous,
                                            "changed", changed),
                                  err);
    if (!changed)
        printf("%s is system identifier %s already\n", cluster, now);
    else if (previous)
        printf("%s is system identifier %s from now on, it was %s\n", cluster, now, previous);
    else
        printf("%s is system identifier %s from now on\n", cluster, now);
    return 0;
}

static int cluster_adopt_run(const struct globals *globals, const struct arguments *arguments,
                             struct error *err)
{
    _cleanup_(opened_clear) struct opened opened = {0};
    _cleanup_(pg_server_clear) struct pg_server server = {0};
    _cleanup_(freep) char *previous = NULL;
    const char *reason = argument_text(arguments, "reason");
    int rc = opened_cluster(globals, arguments->words.items[0], &opened, err);
    if (!rc)
        rc = read_server(opened.policy, &server, err);
    if (rc)
        return rc;
    struct repository_server identity = {server.system_identifier, server.version,
                                         server.version_num};
    rc = repository_adopt_cluster(opened.repository, &identity, reason ? reason : "",
                                  instant_now_us(), &previous, err);
    return rc ? rc : print_result(globals, opened.policy->cluster, &server, previous, err);
}

static const struct command_option ADOPT_OPTIONS[] = {
    {"reason", OPTION_TEXT, "TEXT", "why, for the evidence"},
    {0},
};

const struct command COMMAND_CLUSTER_ADOPT = {
    .name = "cluster adopt",
    .usage = "CLUSTER [--reason TEXT]",
    .summary = "admit a new system identifier (a server rebuilt by initdb or pg_upgrade)",
    .examples = "  pgcairn cluster adopt automatos --reason \"pg_upgrade to 17\"",
    .min_words = 1,
    .max_words = 1,
    .options = ADOPT_OPTIONS,
    .run = cluster_adopt_run,
};
