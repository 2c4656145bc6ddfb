/* The story of a drill, and the evidence of it. */
#include "work/drill.h"

#include <string.h>
#include <sys/random.h>

#include "base/json.h"
#include "base/units.h"
#include "postgres/diagnosis.h"
#include "repository/catalogue.h"
#include "repository/evidence.h"
#include "retention/continuity.h"
#include "work/wal_look.h"

enum { TEXT_MAX = 1500 };

static const char *const MODES[] = {
    [DRILL_LATEST] = "latest", [DRILL_RANDOM] = "random", [DRILL_WHOLE] = "whole"};

static void drill_clear(struct drill *drill)
{
    pg_scratch_stop(drill->server);
    drill_folder_remove(drill);
    free(drill->programs);
    free(drill->superuser);
    json_decref(drill->manifest);
    json_decref(drill->steps);
    json_decref(drill->passed);
    json_decref(drill->turns);
    json_decref(drill->known);
}

/* -- steps ------------------------------------------------------------------------------------ */

static void add_step(struct drill *drill, const char *name, const char *outcome, int64_t took_us,
                     const char *text)
{
    if (strcmp(outcome, "fail") == 0) {
        drill->failed = true;
        work_notice(drill->work, "%s: %s", name, text);
    }
    if (json_array_size(drill->steps) >= DRILL_STEPS_MAX)
        return;
    json_array_append_new(drill->steps,
                          json_pack("{s:s, s:s, s:f, s:o}", "step", name, "outcome", outcome,
                                    "seconds", (double)took_us / (double)US_PER_SECOND, "what",
                                    pg_text_to_json(text)));
}

void drill_note(struct drill *drill, const char *name, const char *outcome, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    add_step(drill, name, outcome, 0, text);
}

int drill_step(struct drill *drill, const char *name, drill_function function, struct error *err)
{
    struct error error = ERROR_NONE;
    int64_t begun_us = instant_monotonic_us();
    int rc = function(drill, &error);
    int64_t took_us = instant_monotonic_us() - begun_us;
    if (rc) {
        if (rc != ERR_INTERRUPTED)
            add_step(drill, name, "fail", took_us, error.message);
        if (err)
            *err = error;
    } else {
        add_step(drill, name, "pass", took_us, "");
    }
    return rc;
}

/* -- what is restored ------------------------------------------------------------------------- */

static int find_newest(struct drill *drill, struct error *err)
{
    struct facts facts;
    enum backup_kind kind = drill->of->type == JOB_DUMP ? BACKUP_DUMP : BACKUP_SNAPSHOT;
    const struct facts_backup *newest = NULL;
    int64_t now_us = instant_now_us();
    int rc = catalogue_read(drill->work->repository, now_us, &facts, err);
    if (rc)
        return rc;
    if (facts.complete)
        drill->known_us = now_us;
    for (size_t i = 0; i < facts.backup_count; i++) {
        const struct facts_backup *backup = &facts.backups[i];
        json_object_set_new(drill->known, backup->id, json_true());
        if (backup->kind == kind && backup->state == BACKUP_GOOD &&
            strcmp(backup->job, drill->of->name) == 0 &&
            (!newest || backup->completed_us > newest->completed_us))
            newest = backup;
    }
    if (newest) {
        snprintf(drill->backup_id, sizeof(drill->backup_id), "%s", newest->id);
        drill->bytes = newest->bytes_source;
    } else {
        error_set(err, ERR_NOT_FOUND, "job \"%s\" has made no good backup that could be restored",
                  drill->of->name);
        rc = error_hint(err, "run it: pgcairn run %s/%s", drill->work->policy->cluster,
                        drill->of->name);
    }
    facts_clear(&facts);
    return rc;
}

/* What the newest record of a drill has gathered: {"passed": {ID: TIME}, "turns": {JOB: MODE}}. */
static int read_gathered(struct drill *drill, struct error *err)
{
    _cleanup_(json_release) json_t *record = NULL;
    int64_t number;
    int rc = evidence_find_newest(drill->work->repository, "drill", &number, &record, err);
    if (rc)
        return rc;
    const json_t *body = json_object_get(record, "body");
    json_decref(drill->passed);
    json_decref(drill->turns);
    drill->passed = json_deep_copy(json_object_get(body, "passed"));
    drill->turns = json_deep_copy(json_object_get(body, "turns"));
    if (!drill->passed)
        drill->passed = json_object();
    if (!drill->turns)
        drill->turns = json_object();
    return drill->passed && drill->turns ? 0 : error_no_memory(err);
}

static int64_t random_below(int64_t limit)
{
    uint64_t value = 0;
    if (getrandom(&value, sizeof(value), 0) != sizeof(value))
        value = (uint64_t)instant_now_us();
    return (int64_t)(value % (uint64_t)limit);
}

/* Each second of all windows is as likely as any other. *ret_us stays INSTANT_NONE when there is no
 * window. */
static void pick_moment(const struct continuity *continuity, int64_t *ret_us)
{
    int64_t total_us = 0, at_us;
    for (size_t i = 0; i < continuity->window_count; i++)
        total_us += continuity->windows[i].to_us - continuity->windows[i].from_us;
    if (total_us <= 0)
        return;
    at_us = random_below(total_us);
    for (size_t i = 0; i < continuity->window_count; i++) {
        int64_t length_us = continuity->windows[i].to_us - continuity->windows[i].from_us;
        if (at_us < length_us) {
            *ret_us = continuity->windows[i].from_us + at_us;
            return;
        }
        at_us -= length_us;
    }
}

static int choose_moment(struct drill *drill, struct error *err)
{
    struct wal_look look;
    int rc = wal_look_init(&look, drill->work->policy, drill->work->repository, err);
    if (!rc)
        rc = wal_look_archive(&look, err);
    drill->target_us = INSTANT_NONE;
    if (!rc)
        pick_moment(&look.continuity, &drill->target_us);
    wal_look_clear(&look);
    return rc;
}

static int choose(struct drill *drill, struct error *err)
{
    char at[INSTANT_TEXT_MAX];
    drill->mode = drill->of->type == JOB_DUMP ? DRILL_WHOLE : DRILL_LATEST;
    drill->target_us = INSTANT_NONE;
    int rc = find_newest(drill, err);
    if (!rc)
        rc = read_gathered(drill, err);
    if (!rc && drill->mode == DRILL_LATEST &&
        strcmp(json_text(drill->turns, drill->work->job->name), MODES[DRILL_LATEST]) == 0)
        rc = choose_moment(drill, err);
    if (rc)
        return rc;
    if (drill->target_us != INSTANT_NONE)
        drill->mode = DRILL_RANDOM;
    if (drill->mode == DRILL_RANDOM)
        work_notice(drill->work, "a random moment of the recovery windows: %s",
                    instant_format(drill->target_us, at));
    return 0;
}

/* -- the story -------------------------------------------------------------------------------- */

static void judge_time(struct drill *drill)
{
    char took[UNITS_TEXT_MAX], rto[UNITS_TEXT_MAX];
    int64_t took_us = drill->restore_us + drill->replay_us, rto_us = drill->work->job->rto_us;
    if (rto_us > 0)
        drill_note(drill, "rto", took_us <= rto_us ? "pass" : "fail", "%s of %s",
                   duration_format(took_us, took), duration_format(rto_us, rto));
}

static int do_all(struct drill *drill, struct error *err)
{
    int rc = drill_step(drill, "choose", choose, err);
    if (!rc)
        rc = drill_step(drill, "scratch folder", drill_folder_make, err);
    if (!rc)
        rc = drill_step(drill, "restore", drill_restore, err);
    if (!rc && drill->mode != DRILL_WHOLE)
        rc = drill_step(drill, "replay", drill_replay, err);
    if (rc)
        return rc;
    judge_time(drill);
    return drill_step(drill, "checks", drill_check_all, err);
}

/* Nothing is known of a backup that could not be tried: no way to the store, no room, no programs,
 * no time. Found damaged before that, it is no good backup all the same. */
static const char *result_of(const struct drill *drill, int rc)
{
    static const int CIRCUMSTANCES[] = {ERR_NO_SPACE,   ERR_MEMORY,  ERR_CONNECTION, ERR_AUTH,
                                        ERR_PERMISSION, ERR_TIMEOUT, ERR_CONFLICT,   ERR_UNKNOWN};
    if (rc == 0)
        return drill->failed ? "fail" : "pass";
    for (size_t i = 0; i < ARRAY_SIZE(CIRCUMSTANCES); i++)
        if (rc == CIRCUMSTANCES[i])
            return "unknown";
    return drill->tried || rc == ERR_CORRUPT ? "fail" : "unknown";
}

/* The step that failed first. */
static const char *reason_of(const struct drill *drill)
{
    size_t i;
    const json_t *step;
    json_array_foreach(drill->steps, i, step)
    {
        if (strcmp(json_text(step, "outcome"), "fail") == 0)
            return json_text(step, "what");
    }
    return "";
}

/* Of backups that are there no more nothing needs to be known. One that was made since this drill
 * looked at them is there, and another drill may have passed it meanwhile. */
static bool is_gone(const struct drill *drill, const char *id)
{
    int64_t passed_us;
    return drill->known_us != INSTANT_NONE && !json_object_get(drill->known, id) &&
           !json_take_instant(drill->passed, id, &passed_us, NULL) &&
           passed_us < drill->known_us - US_PER_SECOND;
}

static void gather(struct drill *drill, const char *result)
{
    const char *id;
    json_t *at;
    void *next;
    if (strcmp(result, "pass") == 0)
        json_object_set_new(drill->passed, drill->backup_id, json_instant(instant_now_us()));
    json_object_foreach_safe(drill->passed, next, id, at)
    {
        if (is_gone(drill, id))
            json_object_del(drill->passed, id);
    }
    if (drill->tried)
        json_object_set_new(drill->turns, drill->work->job->name, json_string(MODES[drill->mode]));
}

struct recording {
    struct drill *drill;
    const json_t *details;
};

/* What was gathered is read anew for each attempt, for others drill too. */
static int make_body(void *context, json_t **ret_body, struct error *err)
{
    struct recording *recording = context;
    struct drill *drill = recording->drill;
    int rc = read_gathered(drill, err);
    if (rc)
        return rc;
    gather(drill, json_text(recording->details, "result"));
    json_t *body = json_deep_copy(recording->details);
    if (!body || json_object_set(body, "passed", drill->passed) ||
        json_object_set(body, "turns", drill->turns)) {
        json_decref(body);
        return error_no_memory(err);
    }
    *ret_body = body;
    return 0;
}

static int record(struct drill *drill, const json_t *details, struct error *err)
{
    struct recording recording = {drill, details};
    return evidence_add_made(drill->work->repository, "drill", make_body, &recording, NULL, err);
}

static json_t *pack_details(const struct drill *drill, const char *result)
{
    const json_t *server = json_object_get(drill->manifest, "server");
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:s, s:s, s:f, s:f, s:I, s:I, s:s, s:O}", "job",
                     drill->work->job->name, "of", drill->of->name, "backup_id", drill->backup_id,
                     "mode", MODES[drill->mode], "target_time", json_instant(drill->target_us),
                     "result", result, "reason", reason_of(drill), "restore_seconds",
                     (double)drill->restore_us / (double)US_PER_SECOND, "replay_seconds",
                     (double)drill->replay_us / (double)US_PER_SECOND, "rto_seconds",
                     (json_int_t)(drill->work->job->rto_us / US_PER_SECOND), "bytes",
                     (json_int_t)drill->bytes, "server_version", json_text(server, "version"),
                     "steps", drill->steps);
}

/* A drill that is no pass says so by its own first failure. */
static int verdict(const struct drill *drill, int rc, const struct error *reason, struct error *err)
{
    if (rc && err)
        *err = *reason;
    if (rc || !drill->failed)
        return rc;
    error_set(err, ERR_FAILED, "backup %s was restored, but: %s", drill->backup_id,
              reason_of(drill));
    return error_hint(err,
                      "the evidence of this drill holds every step (pgcairn --json run %s/%s "
                      "shows them too)",
                      drill->work->policy->cluster, drill->work->job->name);
}

int drill_run(const struct work *work, struct work_result *result, struct error *err)
{
    _cleanup_(drill_clear) struct drill drill = {.work = work,
                                                 .of = policy_find_job(work->policy, work->job->of),
                                                 .target_us = INSTANT_NONE,
                                                 .known_us = INSTANT_NONE,
                                                 .steps = json_array(),
                                                 .known = json_object()};
    struct error reason = ERROR_NONE, recording = ERROR_NONE;
    if (!drill.steps || !drill.known)
        return error_no_memory(err);
    int rc = pg_scratch_check_user(err);
    if (rc)
        return rc;
    rc = do_all(&drill, &reason);
    if (work_interrupted(&reason)) /* whatever has come of that */
        rc = reason.code;
    drill.server = pg_scratch_stop(drill.server);
    drill_folder_remove(&drill);
    snprintf(result->backup_id, sizeof(result->backup_id), "%s", drill.backup_id);
    result->details = pack_details(&drill, result_of(&drill, rc));
    if (!result->details)
        return error_no_memory(err);
    if (rc == ERR_INTERRUPTED)
        return verdict(&drill, rc, &reason, err);
    int record_rc = record(&drill, result->details, &recording);
    if (record_rc && !rc && !drill.failed) { /* a drill that nobody can see afterwards is none */
        if (err)
            *err = recording;
        return error_prefix(err, "the drill passed, but could not be recorded");
    }
    if (record_rc)
        work_notice(work, "warning: the drill is not recorded: %s", recording.message);
    return verdict(&drill, rc, &reason, err);
}
