/*
 * The hourly WAL job: end the segment, so that what was written reaches the repository however
 * quiet the server is; wait until it is there; look whether WAL is whole from the oldest snapshot
 * to now; leave a mark of the moment. It fails when something is lost, and says what that means.
 */
#include <string.h>

#include "base/json.h"
#include "base/units.h"
#include "postgres/server.h"
#include "work/policy_load.h"
#include "work/wal_look.h"
#include "work/work.h"

enum { STEP_US = 500000, STEPS_PER_LOOK = 4 };

#define WAIT_US (10 * US_PER_MINUTE)    /* for the segment to be stored, at most */
#define FAILING_US (30 * US_PER_SECOND) /* so long may archive_command fail before we give up */

struct wal_job {
    const struct work *work;
    PGconn *conn;
    struct wal_look look;
    int64_t mark_us; /* the moment, and up to where WAL was written then */
    uint64_t mark_lsn;
    bool switched;
    bool has_target;
    struct wal_name target; /* the last segment that is finished */
};

static void wal_job_clear(struct wal_job *job)
{
    wal_look_clear(&job->look);
    PQfinish(job->conn);
}

static int connect_server(struct wal_job *job, struct error *err)
{
    _cleanup_(freep) char *conninfo = NULL;
    char application[WORK_RUN_ID_MAX + 16];
    snprintf(application, sizeof(application), "pgcairn %s", job->work->run_id);
    int rc = policy_connection(job->work->policy, job->work->job, &conninfo, err);
    if (!rc)
        rc = pg_connect(conninfo, NULL, application, &job->conn, err);
    return rc;
}

static int admit(struct wal_job *job, struct error *err)
{
    struct pg_server server;
    int rc = pg_read_server(job->conn, &server, err);
    if (rc)
        return rc;
    struct repository_server identity = {server.system_identifier, server.version,
                                         server.version_num};
    rc = server.system_identifier[0]
             ? repository_admit_cluster(job->work->repository, &identity, instant_now_us(), err)
             : 0;
    pg_server_clear(&server);
    return rc;
}

/* On a standby nothing is ended, and its primary archives. */
static int end_segment(struct wal_job *job, struct error *err)
{
    const struct pg_archiver *server = &job->look.server;
    struct pg_archiver_problem problem;
    uint64_t end = 0;
    job->mark_us = server->now_us;
    job->mark_lsn = server->lsn;
    if (server->is_standby)
        return 0;
    wal_look_problem(&job->look, &problem);
    if (problem.is_certain) { /* ending segments would fill the disk for nothing */
        error_set(err, ERR_FAILED, "%s", problem.what);
        return error_hint(err, "%s", problem.cure);
    }
    int rc = pg_switch_segment(job->conn, server, &end, &job->switched, err);
    if (rc)
        return rc;
    job->has_target = end > 0;
    if (job->has_target)
        job->target = wal_segment_name(
            server->timeline, wal_segment_before(end, server->segment_size), server->segment_size);
    return 0;
}

/* -- waiting ------------------------------------------------------------------------------- */

/* Why it makes no sense to wait on: archive_command fails again and again, nobody receives. */
static int check_archiver(struct wal_job *job, int64_t failing_since_us, struct error *err)
{
    struct pg_archiver_problem problem;
    wal_look_problem(&job->look, &problem);
    if (!problem.what[0] || instant_monotonic_us() - failing_since_us < FAILING_US)
        return 0;
    error_set(err, ERR_FAILED, "%s", problem.what);
    return error_hint(err, "%s", problem.cure);
}

static bool is_failing(const struct wal_job *job)
{
    const struct pg_archiver *server = &job->look.server;
    if (job->look.receives)
        return !job->look.slot.is_active;
    return server->last_failed_us > server->last_archived_us;
}

static int late(const struct wal_job *job, int64_t waited_us, struct error *err)
{
    char name[WAL_NAME_MAX], waited[UNITS_TEXT_MAX];
    if (job->look.receives) {
        error_set(err, ERR_TIMEOUT, "segment %s was not received and stored within %s",
                  wal_name_format(&job->target, name), duration_format(waited_us, waited));
        return error_hint(err, "the log of pgcairn wal receive says what it waits for");
    }
    error_set(err, ERR_TIMEOUT, "segment %s was not stored within %s; %lld files wait",
              wal_name_format(&job->target, name), duration_format(waited_us, waited),
              (long long)job->look.server.ready_count);
    return error_hint(err,
                      "see the server's log and pg_stat_archiver; if only it is slow, give the "
                      "server time, or look at the network and at compression: level");
}

static int look_for_target(const struct wal_job *job, bool *ret_stored, struct error *err)
{
    struct error reason = ERROR_NONE;
    struct wal_object object;
    int rc =
        wal_object_find(job->work->repository, job->look.system, &job->target, &object, &reason);
    *ret_stored = rc == 0;
    if (rc == 0 || rc == ERR_NOT_FOUND)
        return 0;
    *err = reason;
    return rc;
}

/* The server has done with the segment, and yet it is not here: it was archived elsewhere. */
static int check_archived_elsewhere(const struct wal_job *job, struct error *err)
{
    const struct pg_archiver *server = &job->look.server;
    struct wal_name name;
    char target[WAL_NAME_MAX];
    bool stored = false;
    if (!wal_name_parse(server->last_archived, &name) || name.kind != WAL_SEGMENT ||
        wal_name_compare(&name, &job->target) < 0)
        return 0;
    int rc = look_for_target(job, &stored, err);
    if (rc || stored)
        return rc;
    error_set(err, ERR_FAILED, "the server has archived %s, but the repository does not hold it",
              wal_name_format(&job->target, target));
    return error_hint(err,
                      "have archive_command call: pgcairn-wal push %s %%p, with this policy; then "
                      "take a snapshot",
                      job->work->policy->cluster);
}

static int look_at_archiver(struct wal_job *job, int64_t *good_us, struct error *err)
{
    int rc = wal_look_server(&job->look, job->conn, err);
    if (!rc)
        rc = check_archived_elsewhere(job, err);
    if (!rc && !is_failing(job))
        *good_us = instant_monotonic_us();
    return rc ? rc : check_archiver(job, *good_us, err);
}

static int wait_stored(struct wal_job *job, struct error *err)
{
    int64_t begun_us = instant_monotonic_us(), good_us = begun_us;
    int64_t most_us = job->work->job->timeout_us < WAIT_US ? job->work->job->timeout_us : WAIT_US;
    bool stored = !job->has_target;
    int rc = 0;
    work_progress(job->work, "waiting for the segment", 0, 0);
    for (int step = 1; !stored && !rc; step++) {
        rc = look_for_target(job, &stored, err);
        if (rc || stored)
            break;
        if (work_interrupted(err))
            return ERR_INTERRUPTED;
        if (instant_monotonic_us() - begun_us > most_us)
            return late(job, instant_monotonic_us() - begun_us, err);
        usleep(STEP_US);
        if (step % STEPS_PER_LOOK == 0)
            rc = look_at_archiver(job, &good_us, err);
    }
    return rc;
}

/* -- the verdict --------------------------------------------------------------------------- */

static const char *text_of(const json_t *problem, const char *key)
{
    return json_string_value(json_object_get(problem, key));
}

/* What is only under way is given a little time: segments are stored in any order. */
static int look_until_settled(struct wal_job *job, struct error *err)
{
    int64_t begun_us = instant_monotonic_us();
    int rc;
    do {
        if (work_interrupted(err))
            return ERR_INTERRUPTED;
        rc = wal_look_server(&job->look, job->conn, err);
        if (!rc)
            rc = wal_look_archive(&job->look, err);
        if (rc || job->look.has_fault || job->look.continuity.pending_gaps == 0)
            return rc;
        usleep(STEP_US);
    } while (instant_monotonic_us() - begun_us < FAILING_US);
    return 0;
}

static int verdict(struct wal_job *job, struct error *err)
{
    size_t i;
    const json_t *problem;
    if (!job->look.has_fault) {
        json_array_foreach(job->look.problems, i, problem)
        {
            work_notice(job->work, "warning: %s: %s", text_of(problem, "what"),
                        text_of(problem, "consequence"));
        }
        return 0;
    }
    problem = json_array_get(job->look.problems, 0);
    size_t more = json_array_size(job->look.problems) - 1;
    error_set(err, ERR_FAILED, "%s: %s", text_of(problem, "what"), text_of(problem, "consequence"));
    if (more)
        work_notice(job->work, "%zu more: pgcairn wal status %s", more, job->work->policy->cluster);
    return error_hint(err, "%s", text_of(problem, "cure"));
}

static int leave_mark(struct wal_job *job, struct error *err)
{
    const struct pg_archiver *server = &job->look.server;
    if (server->is_standby || !job->has_target)
        return 0;
    return wal_mark_write(job->work->repository, job->look.system, server->timeline, job->mark_us,
                          job->mark_lsn, err);
}

int wal_run(const struct work *work, struct work_result *result, struct error *err)
{
    _cleanup_(wal_job_clear) struct wal_job job = {.work = work};
    int rc = wal_look_init(&job.look, work->policy, work->repository, err);
    if (!rc)
        rc = connect_server(&job, err);
    if (!rc)
        rc = admit(&job, err);
    if (!rc)
        rc = wal_look_server(&job.look, job.conn, err);
    if (!rc)
        rc = end_segment(&job, err);
    if (!rc)
        rc = wait_stored(&job, err);
    if (!rc)
        rc = leave_mark(&job, err);
    struct error looking = ERROR_NONE;
    int look_rc = job.look.has_server ? look_until_settled(&job, &looking) : 0;
    if (!look_rc && job.look.has_server) {
        result->details = wal_look_json(&job.look);
        result->needs_snapshot = wal_look_needs_snapshot(&job.look);
    }
    if (rc)
        return rc;
    if (look_rc) {
        *err = looking;
        return look_rc;
    }
    return verdict(&job, err);
}
