/* The preflight of snapshots: would the server let itself be copied? Asked only of a policy that
 * has a job of type snapshot. */
#include <string.h>

#include "postgres/replication.h"
#include "work/checking.h"
#include "work/policy_load.h"

static const struct policy_job *find_job(const struct policy *policy)
{
    for (size_t i = 0; i < policy->job_count; i++)
        if (policy->jobs[i].type == JOB_SNAPSHOT)
            return &policy->jobs[i];
    return NULL;
}

/* Roles by which services that manage servers are known; none of them lets its customers copy one.
 */
static const char FIND_SERVICE[] =
    "select case rolname when 'rds_superuser' then 'Amazon RDS'"
    " when 'cloudsqlsuperuser' then 'Google Cloud SQL' when 'alloydbsuperuser' then 'AlloyDB'"
    " when 'azure_pg_admin' then 'Azure Database' when 'neon_superuser' then 'Neon'"
    " else 'Supabase' end from pg_catalog.pg_roles where rolname in ('rds_superuser',"
    " 'cloudsqlsuperuser', 'alloydbsuperuser', 'azure_pg_admin', 'neon_superuser',"
    " 'supabase_admin') order by rolname limit 1";

/* A refusal by a service has another cure than one by a server of one's own. */
static void note_refusal(struct checking *checking, PGconn *conn, const struct error *refusal)
{
    char cure[512];
    _cleanup_(freep) char *service = NULL;
    if (refusal->code == ERR_MEMORY || !conn ||
        pg_query_text(conn, &service, NULL, FIND_SERVICE) != 0 || !service) {
        check_note_error(checking, "snapshot", NULL, refusal);
        return;
    }
    snprintf(
        cure, sizeof(cure),
        "%s does not let its servers be copied: leave out jobs of type snapshot and wal; dumps "
        "and vacuum work, and points in time are the service's to restore",
        service);
    check_note_error(checking, "snapshot", cure, refusal);
}

static void check_slots(struct checking *checking, PGconn *conn)
{
    struct error error = ERROR_NONE;
    int64_t left = 0;
    int rc = pg_query_integer(conn, &left, &error,
                              "select pg_catalog.current_setting('max_replication_slots')::bigint"
                              " - (select count(*) from pg_catalog.pg_replication_slots)");
    if (rc)
        check_note_error(checking, "snapshot slot", NULL, &error);
    else if (left < 1)
        check_note(checking, "snapshot slot", "warn",
                   "raise max_replication_slots, or drop a slot that nobody uses",
                   "no replication slot is free: a snapshot fails when the server removes WAL that "
                   "it needs");
    else
        check_note(checking, "snapshot slot", "pass", NULL, "%lld replication slots are free",
                   (long long)left);
}

static void check_level(struct checking *checking, PGconn *conn)
{
    struct error error = ERROR_NONE;
    _cleanup_(freep) char *level = NULL;
    if (pg_query_text(conn, &level, &error, "select pg_catalog.current_setting('wal_level')"))
        check_note_error(checking, "snapshot wal_level", NULL, &error);
    else if (level && strcmp(level, "minimal") == 0)
        check_note(checking, "snapshot wal_level", "fail",
                   "set wal_level = replica (it needs a restart)",
                   "wal_level is minimal: the server can't be copied while it runs");
}

void check_snapshot(struct checking *checking)
{
    const struct policy_job *job = find_job(checking->policy);
    _cleanup_(freep) char *conninfo = NULL;
    _cleanup_(pg_conn_freep) PGconn *conn = NULL, *replication = NULL;
    struct error error = ERROR_NONE;
    struct pg_system system;
    if (!job)
        return;
    int rc = policy_connection(checking->policy, job, &conninfo, &error);
    if (!rc)
        rc = pg_connect(conninfo, NULL, "pgcairn check", &conn, &error);
    if (!rc)
        rc = pg_connect_replication(conninfo, "pgcairn check", &replication, &error);
    if (!rc)
        rc = pg_identify_system(replication, &system, &error);
    if (rc) {
        note_refusal(checking, conn, &error);
        return;
    }
    check_note(checking, "snapshot", "pass", NULL,
               "the server can be copied: system identifier %s, timeline %u", system.identifier,
               system.timeline);
    check_level(checking, conn);
    check_slots(checking, conn);
}
