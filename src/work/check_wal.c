/* The preflight of WAL archiving: would what the server writes reach the repository, pushed by its
 * archive_command or received through a slot? Asked only of a policy that has a job of type wal. */
#include <string.h>

#include "base/units.h"
#include "postgres/archiver.h"
#include "postgres/server.h"
#include "repository/wal.h"
#include "work/checking.h"
#include "work/open_repository.h"
#include "work/policy_load.h"
#include "work/wal_receive.h"

enum { WAITING_MAX = 100 }; /* files; more are told as a backlog */

static const struct policy_job *find_job(const struct policy *policy)
{
    for (size_t i = 0; i < policy->job_count; i++)
        if (policy->jobs[i].type == JOB_WAL)
            return &policy->jobs[i];
    return NULL;
}

static void check_settings(struct checking *checking, const struct pg_archiver *archiver)
{
    struct pg_archiver_problem problem;
    pg_archiver_find_problem(archiver, checking->policy->cluster, &problem);
    if (archiver->is_standby)
        check_note(checking, "wal archiving", "pass", NULL,
                   "the server is a standby: its primary archives");
    else if (problem.what[0])
        check_note(checking, "wal archiving", "fail", problem.cure, "%s", problem.what);
    else
        check_note(checking, "wal archiving", "pass", NULL,
                   "archive_mode %s, %lld files archived, segments of %lld bytes",
                   archiver->archive_mode, (long long)archiver->archived_count,
                   (long long)archiver->segment_size);
}

static void check_backlog(struct checking *checking, const struct pg_archiver *archiver)
{
    char cure[256];
    if (!archiver->knows_ready) {
        snprintf(cure, sizeof(cure), "grant pg_monitor to \"%s\"", archiver->role);
        check_note(checking, "wal backlog", "warn", cure,
                   "role \"%s\" may not see which files wait: what is late can't be told from what "
                   "is lost",
                   archiver->role);
    } else
        check_note(checking, "wal backlog", archiver->ready_count > WAITING_MAX ? "warn" : "pass",
                   archiver->ready_count > WAITING_MAX
                       ? "see the server's log; pg_wal grows until they are archived"
                       : NULL,
                   "%lld files wait to be archived", (long long)archiver->ready_count);
}

/* What the server says to have archived must be here: else it is archived elsewhere. */
static void check_stored(struct checking *checking, const struct policy_job *job,
                         const struct pg_archiver *archiver, const char *system)
{
    struct error error = ERROR_NONE;
    _cleanup_(repository_freep) struct repository *repository = NULL;
    struct wal_name name;
    struct wal_object object;
    if (!wal_name_parse(archiver->last_archived, &name) || !system[0])
        return;
    int rc = work_open_repository(checking->policy, job, &repository, &error);
    if (!rc)
        rc = wal_object_find(repository, system, &name, &object, &error);
    if (rc == ERR_NOT_FOUND)
        check_note(checking, "wal stored", "fail",
                   "have archive_command call pgcairn-wal push with this policy's cluster and file",
                   "the server has archived %s, but the repository does not hold it",
                   archiver->last_archived);
    else if (rc)
        check_note_error(checking, "wal stored", NULL, &error);
    else
        check_note(checking, "wal stored", "pass", NULL,
                   "%s, which was archived last, is in the repository", archiver->last_archived);
}

/* -- received through a slot --------------------------------------------------------------- */

static void check_slot(struct checking *checking, const struct pg_slot *slot, bool is_there)
{
    struct pg_archiver_problem problem;
    char held[UNITS_TEXT_MAX];
    pg_slot_find_problem(slot, is_there, checking->policy->cluster, &problem);
    if (problem.what[0])
        check_note(checking, "wal receiving", problem.is_certain ? "fail" : "warn", problem.cure,
                   "%s", problem.what);
    else
        check_note(checking, "wal receiving", "pass", NULL,
                   "replication slot \"%s\" is received from, and holds %s", slot->name,
                   size_format(slot->held_bytes, held));
    if (slot->keep_limit_mb < 0)
        check_note(checking, "wal slot limit", "warn",
                   "set max_slot_wal_keep_size to what pg_wal has room for: over it the slot is "
                   "given up, which costs a new snapshot and not the server",
                   "max_slot_wal_keep_size is not set: while nothing is received or stored, WAL "
                   "fills the server's disk");
    else
        check_note(checking, "wal slot limit", "pass", NULL, "max_slot_wal_keep_size is %lld MB",
                   (long long)slot->keep_limit_mb);
}

/* The line of pg_hba.conf, the right, the settings: a connection tells them all. */
static void check_replication(struct checking *checking, const char *conninfo)
{
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    struct error error = ERROR_NONE;
    if (pg_connect_replication(conninfo, "pgcairn check", &conn, &error))
        check_note_error(checking, "wal replication", NULL, &error);
    else
        check_note(checking, "wal replication", "pass", NULL,
                   "a replication connection is allowed");
}

static void check_receiving(struct checking *checking, const struct policy_job *job, PGconn *conn,
                            const char *conninfo)
{
    struct wal_receive receive = {.policy = checking->policy, .job = job};
    struct error error = ERROR_NONE;
    struct pg_slot slot;
    char name[PG_SLOT_NAME_MAX];
    int rc = pg_read_slot(conn, wal_receive_slot(&receive, name), &slot, &error);
    if (rc && rc != ERR_NOT_FOUND)
        check_note_error(checking, "wal receiving", NULL, &error);
    else
        check_slot(checking, &slot, rc == 0);
    check_replication(checking, conninfo);
}

static void check_switch(struct checking *checking, const struct pg_archiver *archiver)
{
    char cure[256];
    if (archiver->can_switch || archiver->is_standby)
        return;
    snprintf(cure, sizeof(cure), "grant execute on function pg_catalog.pg_switch_wal() to \"%s\"",
             archiver->role);
    check_note(checking, "wal switch", "fail", cure, "role \"%s\" may not end a WAL segment",
               archiver->role);
}

void check_wal(struct checking *checking)
{
    struct error error = ERROR_NONE;
    _cleanup_(freep) char *conninfo = NULL;
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    _cleanup_(pg_archiver_clear) struct pg_archiver archiver = {0};
    _cleanup_(pg_server_clear) struct pg_server server = {0};
    const struct policy_job *job = find_job(checking->policy);
    if (!job)
        return;
    int rc = policy_connection(checking->policy, job, &conninfo, &error);
    if (!rc)
        rc = pg_connect(conninfo, NULL, "pgcairn check", &conn, &error);
    if (!rc)
        rc = pg_read_archiver(conn, &archiver, &error);
    if (!rc)
        rc = pg_read_server(conn, &server, &error);
    if (rc) {
        check_note_error(checking, "wal archiving", NULL, &error);
        return;
    }
    check_switch(checking, &archiver);
    if (job->mode == WAL_MODE_RECEIVE) {
        check_receiving(checking, job, conn, conninfo);
        return;
    }
    check_settings(checking, &archiver);
    check_backlog(checking, &archiver);
    check_stored(checking, job, &archiver, server.system_identifier);
}
