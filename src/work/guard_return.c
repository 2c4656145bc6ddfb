/* Going back: the dump is restored beside the database that the command left, and the two change
 * names. Nothing is dropped. */
#include <string.h>

#include "base/json.h"
#include "postgres/swap.h"
#include "work/guard.h"
#include "work/locking.h"
#include "work/restore.h"

void guard_name_beside(const char *name, const char *what, const char *run_id,
                       char beside[GUARD_NAME_MAX + 1])
{
    size_t length = strnlen(name, GUARD_NAME_MAX - GUARD_SUFFIX_MAX + 1);
    if (length > GUARD_NAME_MAX - GUARD_SUFFIX_MAX) /* cut, but not amid a character of UTF-8 */
        for (length--; length > 0 && ((unsigned char)name[length] & 0xC0) == 0x80;)
            length--;
    snprintf(beside, GUARD_NAME_MAX + 1, "%.*s_%s_%.4s", (int)length, name, what,
             strrchr(run_id, '-') + 1);
}

static void add_rename(struct buf *sql, const char *from, const char *to)
{
    buf_add_text(sql, " alter database ");
    pg_add_identifier(sql, from);
    buf_add_text(sql, " rename to ");
    pg_add_identifier(sql, to);
    buf_add_text(sql, ";");
}

int guard_add_renames(struct buf *sql, const char *name, const char *run_id)
{
    char restored[GUARD_NAME_MAX + 1], kept_as[GUARD_NAME_MAX + 1];
    guard_name_beside(name, "restored", run_id, restored);
    guard_name_beside(name, "broken", run_id, kept_as);
    buf_add_text(sql, "begin;");
    add_rename(sql, name, kept_as);
    add_rename(sql, restored, name);
    return buf_add_text(sql, " commit;");
}

static const char *watched_name(const struct guarding *guarding)
{
    return guarding->databases.items[0].name;
}

static int check_rights(struct guarding *guarding, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    const char *name = watched_name(guarding);
    int rc = pg_query(guarding->conn, &result, err,
                      "select r.rolsuper or (r.rolcreatedb and pg_catalog.pg_has_role(r.oid, "
                      "d.datdba, 'usage')), r.rolname from pg_catalog.pg_database d, "
                      "pg_catalog.pg_roles r where d.datname = $1 and r.rolname = current_user",
                      name, NULL);
    if (rc || (PQntuples(result) > 0 && pg_boolean(result, 0, 0)))
        return rc;
    error_set(err, ERR_PERMISSION, "role \"%s\" could not put database \"%s\" back",
              PQntuples(result) > 0 ? pg_text(result, 0, 1) : "?", name);
    return error_hint(err, "it must be a superuser, or own the database and have CREATEDB");
}

/* What can't bear another name, or is bound to what will bear one. */
static int check_contents(struct guarding *guarding, struct error *err)
{
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    const char *name = watched_name(guarding);
    int64_t count = 0;
    int rc = pg_connect(guarding->conninfo, name, "pgcairn guard", &conn, err);
    if (!rc)
        rc = pg_query_integer(conn, &count, err,
                              "select count(*) from pg_catalog.pg_extension where extname = "
                              "'pg_cron'");
    if (!rc && count > 0) {
        error_set(err, ERR_FAILED,
                  "database \"%s\" has pg_cron, which can be in no database of another name", name);
        return error_hint(err, "leave out --restore-on-failure: what to do is told then");
    }
    if (!rc)
        rc = pg_query(conn, &result, err,
                      "select 'replication slot ' || slot_name from "
                      "pg_catalog.pg_replication_slots where database = $1 union all "
                      "select 'subscription ' || subname from pg_catalog.pg_subscription s join "
                      "pg_catalog.pg_database d on d.oid = s.subdbid where d.datname = $1",
                      name, NULL);
    for (int row = 0; row < (rc ? 0 : PQntuples(result)); row++)
        guard_notice(
            guarding,
            "%s stays with the database that is replaced: after going back, set it up anew",
            pg_text(result, row, 0));
    return rc;
}

int guard_check_return(struct guarding *guarding, struct error *err)
{
    if (guarding->databases.count != 1) {
        error_set(err, ERR_USAGE, "--restore-on-failure: the policy has %zu databases",
                  guarding->databases.count);
        return error_hint(err, "say which one the command migrates with --database");
    }
    const char *name = watched_name(guarding);
    if (strcmp(name, PQdb(guarding->conn)) == 0) {
        error_set(err, ERR_USAGE, "database \"%s\" can't be put back by itself", name);
        return error_hint(err, "leave out --restore-on-failure: what to do is told then");
    }
    if (strlen(name) + GUARD_SUFFIX_MAX > GUARD_NAME_MAX)
        return error_set(err, ERR_USAGE,
                         "the name of database \"%s\" is too long: another one could not stand "
                         "beside it",
                         name);
    int rc = check_rights(guarding, err);
    return rc ? rc : check_contents(guarding, err);
}

static int restore_beside(struct guarding *guarding, const char *into, struct error *err)
{
    const struct guard_request *request = guarding->request;
    _cleanup_(locking_freep) struct locking *locking = NULL;
    _cleanup_(json_release) json_t *report = NULL;
    struct strv tables = STRV_INIT(1);
    const struct lock_request wanted = {.class = LOCK_RESTORE,
                                        .run_id = guarding->report->run_id,
                                        .wait_us = request->job->lock_wait_us};
    const struct restore_request restore = {.policy = request->policy,
                                            .repository = request->repository,
                                            .backup = guarding->report->backup_id,
                                            .database = watched_name(guarding),
                                            .into = into,
                                            .tables = &tables,
                                            .create_roles = true,
                                            .jobs = RESTORE_JOBS_DEFAULT,
                                            .progress = request->progress,
                                            .notice = request->notice,
                                            .context = request->context};
    int rc = locking_begin(request->repository, &wanted, 0, &locking, err);
    if (!rc)
        rc = restore_dump(&restore, &report, err);
    struct error release = ERROR_NONE;
    if (locking && locking_end(locking, &release))
        guard_notice(guarding, "the lock was not given back: %s", release.message);
    return rc;
}

/* It was restored and is not in place: how a person puts it there. */
static int tell_renames(const struct guarding *guarding, const char *restored, struct error *err)
{
    _cleanup_(buf_clear) struct buf sql = BUF_INIT(ERROR_HINT_MAX);
    const char *name = watched_name(guarding);
    if (!guard_add_renames(&sql, name, guarding->report->run_id))
        error_hint(err,
                   "\"%s\" is as it was dumped; when nobody is connected to \"%s\": %s (or "
                   "--terminate next time)",
                   restored, name, buf_text(&sql));
    return error_prefix(err, "going back");
}

int guard_return(struct guarding *guarding, struct error *err)
{
    struct guard_report *report = guarding->report;
    const char *name = watched_name(guarding);
    char restored[GUARD_NAME_MAX + 1], kept_as[GUARD_NAME_MAX + 1];
    guard_name_beside(name, "restored", report->run_id, restored);
    guard_name_beside(name, "broken", report->run_id, kept_as);
    const struct pg_swap swap = {.name = name,
                                 .replacement = restored,
                                 .keep_as = kept_as,
                                 .oid = guarding->databases.items[0].oid,
                                 .terminate = guarding->request->terminate};
    int rc = guard_exclude_others(guarding, err);
    if (!rc)
        rc = restore_beside(guarding, restored, err);
    if (rc)
        return error_prefix(err, "going back");
    snprintf(report->restored, sizeof(report->restored), "%s", restored);
    rc = guard_exclude_others(guarding, err);
    if (!rc)
        rc = pg_swap_databases(guarding->conninfo, &swap, err);
    if (rc == ERR_UNKNOWN)
        return error_prefix(err, "going back");
    if (rc)
        return tell_renames(guarding, restored, err);
    report->is_restored = true;
    report->restored[0] = '\0';
    snprintf(report->kept_as, sizeof(report->kept_as), "%s", kept_as);
    return 0;
}
