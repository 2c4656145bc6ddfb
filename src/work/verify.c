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
    if (reason.code == ERR_CORRUPT || reason.code == ERR_NOT_FOUND)
        reason.code = ERR_UNKNOWN;
    return verify_note(verifying, &finding, &reason, NULL, err);
}

/* What was proved so far stays proved, whatever ended the rest; the store may be gone, though. */
static int end_early(struct verifying *verifying, const struct error *reason, struct error *err)
{
    const struct verify_finding nowhere = {.object = verifying->request->policy->repository_url,
                                           .byte = -1};
    struct error unrecorded = ERROR_NONE;
    bool is_gone = reason->code == ERR_CONNECTION || reason->code == ERR_AUTH;
    if (is_gone) {
        struct error as_unknown = *reason;
        error_keep_cure(&as_unknown);
        as_unknown.code = ERR_UNKNOWN;
        return verify_note(verifying, &nowhere, &as_unknown, NULL, err);
    }
    struct repository *keeper = verifying->request->repository->keeper;
    if (keeper) {
        struct verify_request request = *verifying->request;
        const struct verify_request *asked = verifying->request;
        request.repository = keeper;
        verifying->request = &request;
        if (verify_record(verifying, true, &unrecorded))
            verify_notice(verifying, "what was proved is not in the evidence: %s",
                          unrecorded.message);
        verifying->request = asked;
    }
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
                                         .lost = json_array()};
    _cleanup_(verifying_clear) struct verifying verifying = {.request = request,
                                                             .report = ret_report,
                                                             .mutex = PTHREAD_MUTEX_INITIALIZER,
                                                             .now_us = instant_now_us(),
                                                             .begun_us = instant_monotonic_us()};
    verifying.recorded_us = verifying.begun_us;
    if (!ret_report->faults || !ret_report->unknowns || !ret_report->lost)
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

static bool is_over(const struct verifying *verifying)
{
    int64_t budget_us = verifying->request->budget_us;
    return budget_us > 0 && instant_monotonic_us() - verifying->begun_us >= budget_us;
}

static void tell_remaining(struct verifying *verifying, size_t next)
{
    char budget[UNITS_TEXT_MAX], oldest[INSTANT_TEXT_MAX];
    const struct verify_item *item = &verifying->items[next];
    bool was_proved = item->proved_us != INSTANT_NONE;
    verifying->report->remaining = verifying->item_count - next;
    verify_notice(verifying,
                  "the budget of %s is over: %zu of %zu items were not looked at, the oldest proof "
                  "of them is %s%s; the next run begins there",
                  duration_format(verifying->request->budget_us, budget),
                  verifying->report->remaining, verifying->item_count, was_proved ? "of " : "none",
                  was_proved ? instant_format(item->proved_us, oldest) : "");
}

static int prove_items(struct verifying *verifying, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < verifying->item_count && !rc; i++) {
        if (i > 0 && is_over(verifying)) {
            tell_remaining(verifying, i);
            return 0;
        }
        if (work_interrupted(err))
            return err->code;
        if (verifying->request->lock)
            rc = lock_check_held(verifying->request->lock, err);
        if (!rc)
            rc = prove_one(verifying, &verifying->items[i], err);
        if (!rc && instant_monotonic_us() - verifying->recorded_us >= VERIFY_RECORD_US)
            rc = record(verifying, true, err);
    }
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

static int prove_one(struct verifying *verifying, struct verify_item *item, struct error *err)
{
    int rc =
        item->backup ? verify_backup(verifying, item, err) : verify_wal_log(verifying, item, err);
    if (rc)
        return rc;
    verifying->report->proved += !item->has_fault && !item->is_unknown;
    verifying->report->bytes = atomic_load(&verifying->bytes_done);
    return item->backup ? note_backup(verifying, item, err) : note_wal(verifying, item, err);
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
