#include "work/verify.h"

#include <stdarg.h>
#include <string.h>

#include "base/json.h"
#include "base/units.h"
#include "repository/catalogue.h"

enum { WATCH_STEP_US = 200000 };

static int prove_items(struct verifying *verifying, struct error *err);
static int prove_one(struct verifying *verifying, struct verify_item *item, struct error *err);

/* -- the story ------------------------------------------------------------------------------- */

static void verifying_clear(struct verifying *verifying)
{
    facts_clear(&verifying->facts);
    proof_clear(&verifying->proof);
    free(verifying->items);
    free(verifying->broken);
    pthread_mutex_destroy(&verifying->mutex);
}

static int gather(struct verifying *verifying, struct error *err)
{
    struct repository *repository = verifying->request->repository;
    /* First what was made, so that what is being made at this moment is not missed. */
    int rc = proof_read_all(repository, &verifying->proof, err);
    if (!rc)
        rc = catalogue_read(repository, verifying->now_us, &verifying->facts, err);
    if (!rc)
        rc = wal_facts_read_all(repository, &verifying->facts, err);
    for (size_t i = 0; i < verifying->facts.backup_count && !rc; i++)
        if (verifying->facts.backups[i].kind == BACKUP_SNAPSHOT)
            verifying->facts.backups[i].failed_us = INSTANT_NONE; /* it is judged anew */
    return rc ? rc : verify_choose(verifying, err);
}

/* A verification that looked at nothing has proved nothing. */
static int refuse_empty(const struct verifying *verifying, struct error *err)
{
    if (verifying->item_count || verifying->facts.wal_count || verifying->report->fault_count > 0)
        return 0;
    error_set(err, ERR_NOT_FOUND,
              "cluster \"%s\" has no backup and no WAL: there is nothing to "
              "verify",
              verifying->request->policy->cluster);
    return error_hint(err, "make a backup first: pgcairn run %s/JOB",
                      verifying->request->policy->cluster);
}

/* What was found is told also where it can't be recorded, but then it is not proved. */
static int record(struct verifying *verifying, bool is_partial, struct error *err)
{
    const struct verify_finding finding = {.object = "evidence", .byte = -1};
    struct error reason = ERROR_NONE;
    int rc = verify_record(verifying, is_partial, &reason);
    if (!rc)
        return 0;
    error_prefix(&reason, "what was proved could not be recorded");
    if (reason.code == ERR_CORRUPT || reason.code == ERR_NOT_FOUND || reason.code == ERR_CONFLICT)
        reason.code = ERR_UNKNOWN;
    return verify_note(verifying, &finding, &reason, NULL, err);
}

/* What was proved so far stays proved, whatever ended the rest. The work's own store may have been
 * stopped; its keeper goes on. */
static void record_early(struct verifying *verifying)
{
    const struct verify_request *asked = verifying->request;
    struct verify_request request = *asked;
    struct error unrecorded = ERROR_NONE;
    if (asked->repository->keeper)
        request.repository = asked->repository->keeper;
    verifying->request = &request;
    if (verify_record(verifying, true, &unrecorded))
        verify_notice(verifying, "what was proved is not in the evidence: %s", unrecorded.message);
    verifying->request = asked;
}

/* A store that fails on the way leaves unknown what was not reached. */
static int end_early(struct verifying *verifying, const struct error *reason, struct error *err)
{
    const struct verify_finding nowhere = {.object = verifying->request->policy->repository_url,
                                           .byte = -1};
    bool is_gone = reason->code == ERR_CONNECTION || reason->code == ERR_AUTH;
    struct error as_unknown = *reason;
    int rc = 0;
    if (is_gone) {
        error_keep_cure(&as_unknown);
        as_unknown.code = ERR_UNKNOWN;
        rc = verify_losses(verifying, err);
        if (!rc)
            rc = verify_note(verifying, &nowhere, &as_unknown, NULL, err);
    }
    record_early(verifying);
    if (is_gone)
        return rc;
    if (err)
        *err = *reason;
    return reason->code;
}

static int look_at_all(struct verifying *verifying, struct error *err)
{
    bool is_one = verifying->request->backup != NULL;
    int rc = verify_vanished(verifying, err);
    if (!rc && !is_one)
        rc = verify_wal_continuity(verifying, err);
    if (!rc)
        rc = refuse_empty(verifying, err);
    if (!rc)
        rc = prove_items(verifying, err);
    return rc ? rc : verify_losses(verifying, err);
}

int verify(const struct verify_request *request, struct verify_report *ret_report,
           struct error *err)
{
    *ret_report = (struct verify_report){.level = request->level,
                                         .faults = json_array(),
                                         .unknowns = json_array(),
                                         .lost = json_array(),
                                         .left = json_array()};
    _cleanup_(verifying_clear) struct verifying verifying = {.request = request,
                                                             .report = ret_report,
                                                             .mutex = PTHREAD_MUTEX_INITIALIZER,
                                                             .now_us = instant_now_us(),
                                                             .begun_us = instant_monotonic_us()};
    verifying.recorded_us = verifying.begun_us;
    if (!ret_report->faults || !ret_report->unknowns || !ret_report->lost || !ret_report->left)
        return error_no_memory(err);
    struct error reason = ERROR_NONE;
    int rc = gather(&verifying, err);
    if (rc)
        return rc;
    rc = look_at_all(&verifying, &reason);
    if (rc == ERR_NOT_FOUND && err)
        *err = reason;
    if (rc == ERR_NOT_FOUND)
        return rc;
    if (!rc)
        rc = record(&verifying, false, &reason);
    return rc ? end_early(&verifying, &reason, err) : 0;
}

/* -- items ----------------------------------------------------------------------------------- */

static int64_t elapsed_us(const struct verifying *verifying)
{
    return instant_monotonic_us() - verifying->begun_us;
}

/* How long an item will take, by what was read so far. */
static double estimate_us(const struct verifying *verifying, const struct verify_item *item)
{
    int64_t done = atomic_load(&verifying->bytes_done);
    if (item->level <= 1 || done <= 0)
        return 0;
    return (double)item->bytes / (double)done * (double)elapsed_us(verifying);
}

/* The first one is begun in any case: the run that finds it so begins with it the next time. */
static bool is_over(const struct verifying *verifying, size_t next)
{
    int64_t budget_us = verifying->request->budget_us;
    return next > 0 && budget_us > 0 &&
           (double)elapsed_us(verifying) + estimate_us(verifying, &verifying->items[next]) >=
               (double)budget_us;
}

static int name_left(struct verifying *verifying, size_t next, struct error *err)
{
    struct verify_report *report = verifying->report;
    report->remaining = verifying->item_count - next;
    for (size_t i = next; i < verifying->item_count && i - next < VERIFY_LEFT_MAX; i++) {
        const struct verify_item *item = &verifying->items[i];
        char first[WAL_NAME_MAX], last[WAL_NAME_MAX];
        json_t *name = item->backup ? json_string(item->backup->id)
                                    : json_sprintf("%s to %s", wal_name_format(&item->first, first),
                                                   wal_name_format(&item->last, last));
        if (json_array_append_new(report->left, name))
            return error_no_memory(err);
    }
    return 0;
}

static void tell_remaining(struct verifying *verifying, size_t next)
{
    char budget[UNITS_TEXT_MAX], oldest[INSTANT_TEXT_MAX];
    const struct verify_item *item = &verifying->items[next];
    bool was_proved = item->proved_us != INSTANT_NONE;
    verify_notice(verifying,
                  "the budget of %s is over, or the next item would not end within it: %zu of %zu "
                  "items were not looked at, the oldest proof of them is %s%s; the next run begins "
                  "there",
                  duration_format(verifying->request->budget_us, budget),
                  verifying->report->remaining, verifying->item_count, was_proved ? "of " : "none",
                  was_proved ? instant_format(item->proved_us, oldest) : "");
}

/* An item is not left in its middle, or it would never be proved; that is told. */
static void tell_overrun(struct verifying *verifying)
{
    char budget[UNITS_TEXT_MAX], took[UNITS_TEXT_MAX];
    int64_t budget_us = verifying->request->budget_us, took_us = elapsed_us(verifying);
    if (budget_us <= 0 || took_us < budget_us + US_PER_SECOND)
        return;
    verifying->report->overrun_us = took_us - budget_us;
    verify_notice(verifying,
                  "it took %s and not %s: an item that was begun is read to its end, and one of "
                  "these is larger than the budget",
                  duration_format(took_us / US_PER_SECOND * US_PER_SECOND, took),
                  duration_format(budget_us, budget));
}

static int begin_item(struct verifying *verifying, struct error *err)
{
    if (work_interrupted(err))
        return err->code;
    return verifying->request->lock ? lock_check_held(verifying->request->lock, err) : 0;
}

static int prove_items(struct verifying *verifying, struct error *err)
{
    size_t i = 0;
    int rc = 0;
    for (; i < verifying->item_count && !is_over(verifying, i); i++) {
        rc = begin_item(verifying, err);
        if (!rc)
            rc = prove_one(verifying, &verifying->items[i], err);
        if (!rc && instant_monotonic_us() - verifying->recorded_us >= VERIFY_RECORD_US)
            rc = record(verifying, true, err);
        if (rc)
            break;
    }
    tell_overrun(verifying);
    struct error unnamed = ERROR_NONE;
    if (name_left(verifying, i, rc ? &unnamed : err) && !rc)
        return err->code;
    if (!rc && i < verifying->item_count)
        tell_remaining(verifying, i);
    return rc;
}

static int note_backup(struct verifying *verifying, const struct verify_item *item,
                       struct error *err)
{
    struct proof_backup *known;
    int rc = proof_add(&verifying->proof, item->backup->kind, item->backup->id, &known, err);
    if (!rc && (item->has_fault || !item->is_unknown))
        proof_looked(known, item->level, !item->has_fault, instant_now_us());
    return rc;
}

static int note_wal(struct verifying *verifying, const struct verify_item *item, struct error *err)
{
    struct proof_span span = {.first = item->first,
                              .last = item->last,
                              .at_us = instant_now_us(),
                              .has_fault = item->has_fault};
    if (item->is_unknown && !item->has_fault)
        return 0;
    snprintf(span.system, sizeof(span.system), "%s", item->wal->system_identifier);
    return proof_looked_span(&verifying->proof, &span, err);
}

static int look_at(struct verifying *verifying, struct verify_item *item, struct error *err)
{
    const struct verify_finding finding = {
        .item = item, .id = "", .object = verifying->phase, .byte = -1};
    struct error reason = ERROR_NONE;
    int rc = item->backup ? verify_backup(verifying, item, &reason)
                          : verify_wal_log(verifying, item, &reason);
    if (rc == ERR_LIMIT) /* of this item: others are within it */
        return verify_note(verifying, &finding, &reason, NULL, err);
    if (rc && err)
        *err = reason;
    return rc;
}

/* A fault stays one, also when the rest of the item could not be read. */
static int prove_one(struct verifying *verifying, struct verify_item *item, struct error *err)
{
    struct error unnoted = ERROR_NONE;
    int rc = look_at(verifying, item, err), noted = 0;
    verifying->report->bytes = atomic_load(&verifying->bytes_done);
    if (!rc || item->has_fault)
        noted = item->backup ? note_backup(verifying, item, rc ? &unnoted : err)
                             : note_wal(verifying, item, rc ? &unnoted : err);
    verifying->report->proved += !rc && !item->has_fault && !item->is_unknown;
    return rc ? rc : noted;
}

/* -- threads --------------------------------------------------------------------------------- */

struct each {
    struct verifying *verifying;
    struct crew *crew;
    verify_check check;
    void *context;
    size_t count;
    atomic_size_t next;
};

static int run_worker(void *argument, struct error *err)
{
    struct each *each = argument;
    for (;;) {
        size_t index = atomic_fetch_add(&each->next, 1);
        if (index >= each->count || crew_stopped(each->crew))
            return 0;
        int rc = each->check(each->context, index, err);
        if (rc)
            return rc;
    }
}

static void watch(struct verifying *verifying)
{
    const struct verify_request *request = verifying->request;
    while (!crew_ended(verifying->crew, WATCH_STEP_US)) {
        struct error interrupted = ERROR_NONE;
        if (work_interrupted(&interrupted))
            crew_fail(verifying->crew, &interrupted);
        if (request->progress)
            request->progress(verifying->phase, atomic_load(&verifying->bytes_done),
                              verifying->bytes_total, request->context);
    }
}

int verify_each(struct verifying *verifying, size_t count, verify_check check, void *context,
                struct error *err)
{
    _cleanup_(crew_freep) struct crew *crew = NULL;
    struct each each = {.verifying = verifying, .check = check, .context = context, .count = count};
    int rc = crew_new(&crew, err);
    if (rc)
        return rc;
    each.crew = verifying->crew = crew;
    for (int i = 0; i < verifying->request->jobs && (size_t)i < count && !rc; i++)
        rc = crew_start(crew, run_worker, &each, err);
    if (rc)
        crew_fail(crew, err);
    watch(verifying);
    rc = crew_join(crew, err);
    verifying->crew = NULL;
    return rc;
}

int verify_read(struct verifying *verifying, struct volume_reader *reader, int64_t *reported,
                verify_take take, void *context, struct error *err)
{
    for (;;) {
        const void *data;
        size_t length;
        int rc = volume_read(reader, &data, &length, err);
        int64_t stored = volume_read_stored(reader);
        atomic_fetch_add(&verifying->bytes_done, stored - *reported);
        *reported = stored;
        if (rc || length == 0)
            return rc;
        if (verifying->crew && crew_stopped(verifying->crew))
            return error_set(err, ERR_INTERRUPTED, "stopped");
        rc = take ? take(context, data, length, err) : 0;
        if (rc)
            return rc;
    }
}

void verify_notice(const struct verifying *verifying, const char *format, ...)
{
    char text[ERROR_MESSAGE_MAX];
    va_list args;
    if (!verifying->request->notice)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    verifying->request->notice(text, verifying->request->context);
}

/* -- the job --------------------------------------------------------------------------------- */

int verify_run(const struct work *work, struct work_result *result, struct error *err)
{
    _cleanup_(verify_report_clear) struct verify_report report = {0};
    const struct verify_request request = {.policy = work->policy,
                                           .repository = work->repository,
                                           .lock = work->lock,
                                           .level = work->job->level,
                                           .budget_us = work->job->budget_us,
                                           .jobs = work->job->jobs,
                                           .run_id = work->run_id,
                                           .job = work->job->name,
                                           .progress = work->progress,
                                           .notice = work->notice,
                                           .context = work->context};
    int rc = verify(&request, &report, err);
    result->bytes_source = report.bytes;
    result->details = report.faults ? verify_report_json(&report, work->policy->cluster) : NULL;
    return rc ? rc : verify_report_error(&report, err);
}
