#include "work/databases.h"

#include <fnmatch.h>
#include <string.h>

static bool is_chosen(const struct policy *policy, const char *name)
{
    for (size_t i = 0; i < policy->databases.count; i++)
        if (fnmatch(policy->databases.items[i], name, 0) == 0)
            return true;
    return policy->databases.count == 0;
}

static int check_globs(const struct policy *policy, const PGresult *result, struct error *err)
{
    for (size_t i = 0; i < policy->databases.count; i++) {
        const char *glob = policy->databases.items[i];
        bool matches = false;
        for (int row = 0; row < PQntuples(result); row++)
            matches = matches || fnmatch(glob, pg_text(result, row, 0), 0) == 0;
        if (matches)
            continue;
        error_set(err, ERR_NOT_FOUND, "database \"%s\" does not exist", glob);
        return error_hint(err, "check databases: in %s:%d", policy->file, policy->databases_line);
    }
    return 0;
}

int work_list_databases(const struct policy *policy, PGconn *conn,
                        struct work_databases *ret_databases, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = pg_query(conn, &result, err,
                      "select datname, oid from pg_catalog.pg_database "
                      "where datallowconn and not datistemplate and datconnlimit <> -2 "
                      "order by datname",
                      NULL);
    if (!rc)
        rc = check_globs(policy, result, err);
    if (rc)
        return rc;
    _cleanup_(work_databases_clear) struct work_databases databases = {
        .items = calloc((size_t)PQntuples(result) + 1, sizeof(*databases.items))};
    if (!databases.items)
        return error_no_memory(err);
    for (int row = 0; row < PQntuples(result); row++) {
        if (!is_chosen(policy, pg_text(result, row, 0)))
            continue;
        char *name = strdup(pg_text(result, row, 0));
        if (!name)
            return error_no_memory(err);
        databases.items[databases.count++] =
            (struct work_database){.name = name, .oid = (uint32_t)pg_integer(result, row, 1)};
    }
    if (databases.count == 0)
        return error_set(err, ERR_FAILED, "the server has no database that accepts connections");
    *ret_databases = databases;
    databases = (struct work_databases){0};
    return 0;
}

void work_databases_clear(struct work_databases *databases)
{
    for (size_t i = 0; i < databases->count; i++)
        free(databases->items[i].name);
    free(databases->items);
    *databases = (struct work_databases){0};
}
