#include "work/wal_look.h"

#include <string.h>

#include "base/json.h"
#include "base/units.h"
#include "postgres/diagnosis.h"
#include "postgres/server.h"
#include "repository/catalogue.h"
#include "repository/wal_keys.h"
#include "work/wal_json.h"
#include "work/wal_receive.h"

enum { TEXT_MAX = 1024 };

static const struct policy_job *find_job(const struct policy *policy)
{
    for (size_t i = 0; i < policy->job_count; i++)
        if (policy->jobs[i].type == JOB_WAL)
            return &policy->jobs[i];
    return NULL;
}

int wal_look_init(struct wal_look *look, const struct policy *policy, struct repository *repository,
                  struct error *err)
{
    *look = (struct wal_look){.policy = policy,
                              .repository = repository,
                              .uploads = STRV_INIT(WAL_LOOK_UPLOADS_MAX),
                              .problems = json_array()};
    const struct policy_job *job = find_job(policy);
    look->receives = job && job->mode == WAL_MODE_RECEIVE;
    return look->problems ? 0 : error_no_memory(err);
}

static void forget_archive(struct wal_look *look)
{
    continuity_clear(&look->continuity);
    facts_wal_clear(&look->facts);
    facts_clear(&look->backups);
    strv_clear(&look->uploads);
    free(look->anchors);
    look->anchors = NULL;
    look->anchor_count = 0;
    look->has_wal = look->has_fault = false;
    json_array_clear(look->problems);
}

void wal_look_clear(struct wal_look *look)
{
    forget_archive(look);
    pg_archiver_clear(&look->server);
    json_decref(look->problems);
    *look = (struct wal_look){0};
}

static int read_slot(struct wal_look *look, PGconn *conn, struct error *err)
{
    struct wal_receive receive = {.policy = look->policy, .job = find_job(look->policy)};
    struct error reason = ERROR_NONE;
    char name[PG_SLOT_NAME_MAX];
    int rc = pg_read_slot(conn, wal_receive_slot(&receive, name), &look->slot, &reason);
    look->has_slot = rc == 0;
    if (rc && rc != ERR_NOT_FOUND && err)
        *err = reason;
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

void wal_look_problem(const struct wal_look *look, struct pg_archiver_problem *ret_problem)
{
    if (look->receives)
        pg_slot_find_problem(&look->slot, look->has_slot, look->policy->cluster, ret_problem);
    else
        pg_archiver_find_problem(&look->server, look->policy->cluster, ret_problem);
}

int wal_look_server(struct wal_look *look, PGconn *conn, struct error *err)
{
    struct pg_archiver server;
    struct pg_server identity;
    int rc = pg_read_archiver(conn, &server, err);
    if (rc)
        return rc;
    pg_archiver_clear(&look->server);
    look->server = server;
    look->has_server = true;
    rc = look->receives ? read_slot(look, conn, err) : 0;
    if (rc)
        return rc;
    if (look->system[0])
        return 0;
    rc = pg_read_server(conn, &identity, err);
    if (rc)
        return rc;
    snprintf(look->system, sizeof(look->system), "%.*s", WAL_LOOK_SYSTEM - 1,
             identity.system_identifier);
    pg_server_clear(&identity);
    return 0;
}

/* -- what is stored ------------------------------------------------------------------------ */

static int note_upload(const struct store_object *object, void *context, struct error *err)
{
    struct wal_look *look = context;
    char hash[WAL_HASH + 1], text[WAL_NAME_MAX], prefix[STORE_KEY_MAX + 1];
    struct wal_name name;
    int rc = wal_key(look->repository, prefix, err, look->system, "%s", "");
    if (rc || strncmp(object->key, prefix, strlen(prefix)) != 0 ||
        !wal_parse_file(wal_last_component(object->key), &name, hash))
        return rc;
    /* So many at once are no normal work; that one more is not known as such does no harm. */
    if (instant_now_us() - object->modified_us < WAL_LOOK_UPLOAD_US &&
        look->uploads.count < WAL_LOOK_UPLOADS_MAX)
        return strv_add(&look->uploads, wal_name_format(&name, text), err);
    return 0;
}

/* Where a segment is that is not in the repository. */
static enum gap_state locate(const struct wal_name *name, void *context)
{
    const struct wal_look *look = context;
    const struct pg_archiver *server = &look->server;
    char text[WAL_NAME_MAX];
    uint64_t newest;
    if (strv_has(&look->uploads, wal_name_format(name, text)))
        return GAP_UPLOADING;
    if (!look->has_server)
        return GAP_LOST;
    if (look->receives) { /* what the slot holds is still to come */
        uint64_t kept = wal_segment_at(look->slot.restart_lsn, look->facts.segment_size);
        return look->has_slot && look->slot.restart_lsn &&
                       strcmp(look->slot.wal_status, "lost") != 0 &&
                       wal_segment_number(name, look->facts.segment_size) >= kept
                   ? GAP_DELAYED
                   : GAP_LOST;
    }
    if (server->knows_ready && !server->is_standby)
        return pg_archiver_waits(server, name) ? GAP_DELAYED : GAP_LOST;
    /* Who may not look there believes that the newest segments are still to come. */
    const struct facts_wal_timeline *stored = facts_wal_timeline(&look->facts, name->timeline);
    bool is_new = !stored || !facts_wal_newest(stored, &newest) ||
                  wal_segment_number(name, look->facts.segment_size) > newest;
    return is_new && strcmp(server->archive_mode, "off") != 0 ? GAP_DELAYED : GAP_LOST;
}

static int read_stored(struct wal_look *look, struct error *err)
{
    struct error reason = ERROR_NONE;
    int rc = 0;
    if (!look->system[0])
        rc = repository_read_system(look->repository, look->system, &reason);
    if (!rc)
        rc = wal_facts_read(look->repository, look->system, &look->facts, &reason);
    if (rc == ERR_NOT_FOUND)
        return 0;
    if (rc && err)
        *err = reason;
    look->has_wal = rc == 0;
    return rc;
}

/* Their ids are borrowed from look->backups. */
static int gather_anchors(struct wal_look *look, struct error *err)
{
    int rc = catalogue_read(look->repository, instant_now_us(), &look->backups, err);
    return rc ? rc
              : continuity_find_anchors(&look->backups, look->system, &look->anchors,
                                        &look->anchor_count, err);
}

static int judge(struct wal_look *look, struct error *err)
{
    struct continuity_question question = {.now_us = instant_now_us(),
                                           .anchors = look->anchors,
                                           .anchor_count = look->anchor_count,
                                           .locate = locate,
                                           .context = look};
    if (look->has_server) {
        question.timeline = look->server.timeline;
        question.lsn = look->server.lsn;
        question.now_us = look->server.now_us;
    }
    return continuity_judge(&look->facts, &question, &look->continuity, err);
}

/* -- problems ------------------------------------------------------------------------------ */

void wal_look_consequence(const struct continuity_gap *gap, char *text, size_t size)
{
    char from[INSTANT_TEXT_MAX], until[INSTANT_TEXT_MAX];
    instant_format(gap->from_us, from);
    instant_format(gap->until_us, until);
    if (gap->from_us != INSTANT_NONE && gap->until_us != INSTANT_NONE)
        snprintf(text, size, "recovery between %s and %s is impossible", from, until);
    else if (gap->from_us != INSTANT_NONE)
        snprintf(text, size,
                 "recovery to any moment after %s is impossible until a new snapshot is taken",
                 from);
    else
        snprintf(text, size, "recovery across it is impossible%s%s",
                 gap->until_us != INSTANT_NONE ? "; possible is what comes after " : "", until);
}

bool wal_look_needs_snapshot(const struct wal_look *look)
{
    for (size_t i = 0; i < look->continuity.gap_count; i++)
        if (look->continuity.gaps[i].state == GAP_LOST &&
            look->continuity.gaps[i].until_us == INSTANT_NONE)
            return true;
    return false;
}

void wal_look_cure(const struct policy *policy, char *text, size_t size)
{
    for (size_t i = 0; i < policy->job_count; i++) {
        if (policy->jobs[i].type != JOB_SNAPSHOT)
            continue;
        snprintf(text, size, "take a snapshot now: pgcairn run %s/%s", policy->cluster,
                 policy->jobs[i].name);
        return;
    }
    snprintf(text, size, "take a base backup now, and give the policy a job of type snapshot");
}

static void add_problem(struct wal_look *look, bool is_fault, const char *what,
                        const char *consequence, const char *cure)
{
    look->has_fault |= is_fault;
    json_array_append_new(look->problems,
                          json_pack("{s:o, s:s, s:s}", "what", pg_text_to_json(what), "consequence",
                                    consequence, "cure", cure));
}

static void add_gap_problem(struct wal_look *look, const struct continuity_gap *gap)
{
    char first[WAL_NAME_MAX], last[WAL_NAME_MAX];
    char what[TEXT_MAX], consequence[TEXT_MAX], cure[TEXT_MAX];
    wal_name_format(&gap->first, first);
    snprintf(what, sizeof(what), "WAL is lost: %llu segment%s of timeline %u, %s to %s",
             (unsigned long long)gap->segments, gap->segments == 1 ? "" : "s", gap->first.timeline,
             first, wal_name_format(&gap->last, last));
    wal_look_consequence(gap, consequence, sizeof(consequence));
    if (gap->until_us == INSTANT_NONE)
        wal_look_cure(look->policy, cure, sizeof(cure));
    else
        snprintf(cure, sizeof(cure),
                 "later moments can be recovered; to have it known: pgcairn wal status %s "
                 "--acknowledge %s --reason TEXT",
                 look->policy->cluster, first);
    add_problem(look, true, what, consequence, cure);
}

static void add_stored_problems(struct wal_look *look)
{
    const struct continuity *continuity = &look->continuity;
    char what[TEXT_MAX], name[WAL_NAME_MAX], cure[TEXT_MAX];
    for (size_t i = 0; i < continuity->gap_count; i++)
        if (continuity->gaps[i].state == GAP_LOST)
            add_gap_problem(look, &continuity->gaps[i]);
    if (look->facts.fault_count > 0) {
        snprintf(what, sizeof(what),
                 "%lld names have two contents, or one that is no WAL, as %s has",
                 (long long)look->facts.fault_count, wal_name_format(&look->facts.faults[0], name));
        wal_look_cure(look->policy, cure, sizeof(cure));
        add_problem(look, true, what, "recovery stops there", cure);
    }
    if (!continuity->knows_chain) {
        snprintf(what, sizeof(what), "the history of timeline %u is not stored",
                 continuity->timeline);
        snprintf(cure, sizeof(cure),
                 "as the server's user, in the data directory: pgcairn wal push %s "
                 "pg_wal/%08X.history",
                 look->policy->cluster, continuity->timeline);
        add_problem(look, true, what, "recovery can't follow the change of the timeline", cure);
    }
    if (look->anchor_count == 0) {
        wal_look_cure(look->policy, cure, sizeof(cure));
        add_problem(look, false, "there is no snapshot", "WAL alone recovers nothing", cure);
    }
}

static void add_server_problem(struct wal_look *look)
{
    struct pg_archiver_problem problem;
    char consequence[TEXT_MAX], newest[INSTANT_TEXT_MAX];
    if (!look->has_server)
        return;
    wal_look_problem(look, &problem);
    if (!problem.what[0])
        return;
    if (look->continuity.newest_us == INSTANT_NONE)
        snprintf(consequence, sizeof(consequence), "nothing can be recovered from WAL");
    else
        snprintf(consequence, sizeof(consequence), "what was written after %s can't be recovered",
                 instant_format(look->continuity.newest_us, newest));
    bool is_fault = problem.is_certain || (look->continuity.lag_segments > 0 &&
                                           (look->receives || look->server.ready_count > 0));
    add_problem(look, is_fault, problem.what, consequence, problem.cure);
}

int wal_look_archive(struct wal_look *look, struct error *err)
{
    forget_archive(look);
    look->continuity.newest_us = INSTANT_NONE;
    int rc = read_stored(look, err);
    if (!rc && look->has_wal)
        rc = store_list_unfinished(look->repository->store, INT64_MAX, note_upload, look, err);
    if (!rc && look->has_wal)
        rc = gather_anchors(look, err);
    if (!rc && look->has_wal)
        rc = judge(look, err);
    if (rc)
        return rc;
    add_server_problem(look);
    if (look->has_wal)
        add_stored_problems(look);
    else
        add_problem(look, look->has_server && !look->server.is_standby, "no WAL is stored",
                    "nothing can be recovered from WAL",
                    look->receives
                        ? "see whether it is received: pgcairn check"
                        : "set archive_command to call pgcairn-wal push, and see whether it works: "
                          "pgcairn check");
    return 0;
}

/* -- the document -------------------------------------------------------------------------- */

static json_t *server_json(const struct wal_look *look)
{
    const struct pg_archiver *server = &look->server;
    char lsn[WAL_LSN_TEXT_MAX];
    if (!look->has_server)
        return json_null();
    return json_pack("{s:I, s:s, s:b, s:o, s:o}", "timeline", (json_int_t)server->timeline, "lsn",
                     wal_lsn_format(server->lsn, lsn), "standby", server->is_standby, "waiting",
                     server->knows_ready ? json_integer(server->ready_count) : json_null(),
                     "last_archived_at", json_instant(server->last_archived_us));
}

static json_t *slot_json(const struct wal_look *look)
{
    const struct pg_slot *slot = &look->slot;
    char lsn[WAL_LSN_TEXT_MAX];
    if (!look->receives || !look->has_server)
        return json_null();
    return json_pack("{s:s, s:b, s:b, s:s, s:s, s:I, s:I}", "name", slot->name, "exists",
                     look->has_slot, "active", slot->is_active, "wal_status", slot->wal_status,
                     "restart_lsn", wal_lsn_format(slot->restart_lsn, lsn), "held_bytes",
                     (json_int_t)slot->held_bytes, "keep_limit_bytes",
                     slot->keep_limit_mb < 0 ? (json_int_t)-1
                                             : (json_int_t)(slot->keep_limit_mb << 20));
}

json_t *wal_look_json(const struct wal_look *look)
{
    const struct continuity *continuity = &look->continuity;
    json_t *timelines = json_array();
    wal_add_timelines(&look->facts, continuity, timelines);
    json_t *windows = json_array();
    wal_add_windows(continuity, windows);
    int64_t now_us = look->has_server ? look->server.now_us : instant_now_us();
    json_t *rpo = continuity->newest_us == INSTANT_NONE
                      ? json_null()
                      : json_integer((now_us - continuity->newest_us) / US_PER_SECOND);
    return json_pack("{s:s, s:s?, s:I, s:o, s:{s:I, s:I}, s:o, s:o, s:o, s:o, s:o, s:o}", "cluster",
                     look->policy->cluster, "system_identifier",
                     look->system[0] ? look->system : NULL, "segment_size",
                     (json_int_t)look->facts.segment_size, "timelines", timelines, "lag",
                     "segments", (json_int_t)continuity->lag_segments, "seconds",
                     (json_int_t)(continuity->lag_us / US_PER_SECOND), "newest_at",
                     json_instant(continuity->newest_us), "rpo_seconds", rpo, "recovery_windows",
                     windows, "server", server_json(look), "slot", slot_json(look), "problems",
                     json_deep_copy(look->problems));
}
