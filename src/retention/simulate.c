/*
 * The real planner over a generated history: every fire of a schedule becomes a good backup, every
 * fire of a prune job applies a plan. The history first runs unseen until the rules are filled.
 */
#include "retention/retention.h"

#include <stdio.h>
#include <string.h>

#include "retention/cadence.h"
#include "retention/items.h"

#define DAY_S INT64_C(86400)
#define WARM_UP_MAX_S (15 * 366 * DAY_S)

/* A schedule on its way through the simulated time. */
struct clockwork {
    const struct policy_job *job; /* NULL for the daily prune that is assumed */
    const struct zone *zone;
    int64_t next_s;                         /* CRON_NEVER when it is done */
    struct retention_simulated_job *result; /* NULL for a prune */
    enum backup_kind kind;
    int64_t average_bytes;
    size_t count; /* backups there are now */
};

/* WAL of one timeline, in which segment n is written in second n of the epoch: however much there
 * is, it is one range. */
struct stream {
    const struct policy_job *job; /* NULL: no WAL is simulated */
    struct retention_simulated_job *result;
    struct retention_wal_rate rate;
    struct facts_wal_timeline *timeline;
};

enum { STREAM_SEGMENT = WAL_SEGMENT_SIZE_MIN };
static const char STREAM_SYSTEM[] = "1";

struct simulator {
    const struct policy *policy;
    const struct retention_zones *zones;
    struct clockwork *works;
    size_t work_count;
    struct stream stream;
    struct facts facts;
    int64_t made; /* backups so far: the source of their ids */
    int64_t report_from_s;
    int64_t prune_always_from_s; /* before, a prune is left out unless there is much to do */
    size_t pruned_count;         /* backups that the last prune left */
    struct retention_simulated_day *day;
    struct retention_simulation *result;
};

static int prepare(struct simulator *simulator, const int64_t *average_bytes, int64_t now_us,
                   int64_t days, struct error *err);
static int run_until(struct simulator *simulator, int64_t end_s, struct error *err);
static void end_day(struct simulator *simulator, int64_t end_s);
static void clear(struct simulator *simulator);

int retention_simulate(const struct policy *policy, const struct retention_zones *zones,
                       const int64_t *average_bytes, const struct retention_wal_rate *wal_rate,
                       int64_t now_us, int64_t days, struct retention_simulation *ret_simulation,
                       struct error *err)
{
    if (days < 1)
        return error_set(err, ERR_USAGE, "a simulation takes at least one day");
    if (days > RETENTION_DAYS_MAX)
        return error_set(err, ERR_LIMIT, "a simulation takes at most %d days", RETENTION_DAYS_MAX);
    _cleanup_(retention_simulation_clear) struct retention_simulation result = {
        .window_min_s = INT64_MAX, .settled = true};
    _cleanup_(clear) struct simulator simulator = {
        .policy = policy, .zones = zones, .result = &result};
    if (wal_rate)
        simulator.stream.rate = *wal_rate;
    int64_t end_s = now_us / US_PER_SECOND;
    int rc = prepare(&simulator, average_bytes, now_us, days, err);
    if (!rc)
        rc = run_until(&simulator, simulator.report_from_s, err);
    for (int64_t day = 1; !rc && day <= days; day++) {
        int64_t day_end_s = end_s - (days - day) * DAY_S;
        simulator.day = &result.days[result.day_count++];
        rc = run_until(&simulator, day_end_s, err);
        end_day(&simulator, day_end_s);
    }
    if (rc)
        return rc;
    *ret_simulation = result;
    result = (struct retention_simulation){0};
    return 0;
}

/* -- setting up ---------------------------------------------------------------------------------
 */

/* Refuses early what would end at RETENTION_SIMULATED_MAX after a long time. */
static int check_size(const struct policy_job *job, const struct cadence *cadence,
                      struct error *err)
{
    int64_t count = job->keep.last;
    if (cadence->mean_s > 0 && job->keep.within_us / US_PER_SECOND / cadence->mean_s > count)
        count = job->keep.within_us / US_PER_SECOND / cadence->mean_s;
    if (count <= RETENTION_SIMULATED_MAX)
        return 0;
    return error_set(err, ERR_LIMIT,
                     "job \"%s\" keeps more than %d backups at one time: too many to simulate",
                     job->name, RETENTION_SIMULATED_MAX);
}

/* How long it takes until the rules of every job are filled and a prune has come by. */
static int find_warm_up(struct simulator *simulator, int64_t now_us, int64_t *ret_seconds,
                        struct error *err)
{
    int64_t longest_s = 0, prune_s = DAY_S, snapshots_s = 0;
    for (size_t i = 0; i < simulator->policy->job_count; i++) {
        const struct policy_job *job = &simulator->policy->jobs[i];
        enum backup_kind kind;
        bool is_maker = job_makes_backups(job, &kind);
        if (!job->schedule || (!is_maker && job->type != JOB_PRUNE))
            continue;
        struct cadence cadence = cadence_of(simulator->policy, simulator->zones, job, now_us);
        int rc = is_maker ? check_size(job, &cadence, err) : 0;
        if (rc)
            return rc;
        if (job->type == JOB_PRUNE && cadence.longest_s > prune_s)
            prune_s = cadence.longest_s;
        int64_t reach_s = cadence.longest_s + cadence_reach(&cadence, &job->keep);
        if (is_maker && reach_s > longest_s)
            longest_s = reach_s;
        if (job->type == JOB_SNAPSHOT && cadence.longest_s > snapshots_s)
            snapshots_s = cadence.longest_s;
    }
    simulator->prune_always_from_s = simulator->report_from_s - 2 * prune_s;
    if (simulator->stream.job) { /* until an anchor has taken the place of another */
        int64_t reach_s =
            2 * simulator->stream.job->keep.within_us / US_PER_SECOND + 3 * snapshots_s;
        longest_s = reach_s > longest_s ? reach_s : longest_s;
        simulator->prune_always_from_s -= reach_s;
    }
    simulator->result->settled = longest_s + prune_s <= WARM_UP_MAX_S;
    *ret_seconds = simulator->result->settled ? longest_s + 2 * prune_s : WARM_UP_MAX_S;
    return 0;
}

static void add_work(struct simulator *simulator, const struct policy_job *job,
                     const int64_t *average_bytes)
{
    struct clockwork *work = &simulator->works[simulator->work_count];
    enum backup_kind kind = BACKUP_DUMP;
    bool is_maker = job_makes_backups(job, &kind);
    if (!is_maker && (job->type != JOB_PRUNE || !job->schedule))
        return;
    *work = (struct clockwork){
        .job = job,
        .zone = job_zone(simulator->policy, simulator->zones, job),
        .kind = kind,
        .next_s = CRON_NEVER,
        .average_bytes = average_bytes ? average_bytes[job - simulator->policy->jobs] : 0,
    };
    if (is_maker) {
        work->result = &simulator->result->jobs[simulator->result->job_count++];
        work->result->job = job;
    }
    simulator->work_count++;
}

/* The wal job with the longest window, if there are snapshots for it to be of use. */
static void find_stream(struct simulator *simulator)
{
    const struct policy *policy = simulator->policy;
    bool has_snapshots = false;
    for (size_t i = 0; i < policy->job_count; i++) {
        const struct policy_job *job = &policy->jobs[i];
        has_snapshots |= job->type == JOB_SNAPSHOT;
        if (job->type == JOB_WAL &&
            (!simulator->stream.job || job->keep.within_us > simulator->stream.job->keep.within_us))
            simulator->stream.job = job;
    }
    simulator->result->has_recovery = has_snapshots && simulator->stream.job;
    if (!simulator->result->has_recovery)
        simulator->stream.job = NULL;
}

static int begin_stream(struct simulator *simulator, int64_t start_s, struct error *err)
{
    struct stream *stream = &simulator->stream;
    struct facts_wal wal;
    if (!stream->job)
        return 0;
    int rc = facts_wal_begin(&wal, STREAM_SYSTEM, STREAM_SEGMENT, err);
    if (!rc)
        rc = facts_wal_add_timeline(&wal, 1, &stream->timeline, err);
    struct wal_name name = wal_segment_name(1, (uint64_t)start_s, STREAM_SEGMENT);
    if (!rc)
        rc = facts_wal_add_segment(&wal, stream->timeline, &name, start_s * US_PER_SECOND, 0, err);
    if (rc) {
        facts_wal_clear(&wal);
        return rc;
    }
    stream->result = &simulator->result->jobs[simulator->result->job_count++];
    stream->result->job = stream->job;
    return facts_take_wal(&simulator->facts, &wal, err);
}

static bool has_prune(const struct simulator *simulator)
{
    for (size_t i = 0; i < simulator->work_count; i++)
        if (!simulator->works[i].result)
            return true;
    return false;
}

static int prepare(struct simulator *simulator, const int64_t *average_bytes, int64_t now_us,
                   int64_t days, struct error *err)
{
    const struct policy *policy = simulator->policy;
    struct retention_simulation *result = simulator->result;
    simulator->works = calloc(policy->job_count + 1, sizeof(*simulator->works));
    find_stream(simulator);
    result->jobs = calloc(policy->job_count + 1, sizeof(*result->jobs));
    result->days = calloc((size_t)days, sizeof(*result->days));
    simulator->facts.cluster = strdup(policy->cluster);
    simulator->facts.complete = true;
    if (!simulator->works || !result->jobs || !result->days || !simulator->facts.cluster)
        return error_no_memory(err);
    for (size_t i = 0; i < policy->job_count; i++)
        add_work(simulator, &policy->jobs[i], average_bytes);
    simulator->report_from_s = now_us / US_PER_SECOND - days * DAY_S;
    int64_t warm_up_s;
    int rc = find_warm_up(simulator, now_us, &warm_up_s, err);
    if (rc)
        return rc;
    int64_t start_s = simulator->report_from_s - warm_up_s;
    if (start_s < 0)
        start_s = 0;
    for (size_t i = 0; i < simulator->work_count; i++) {
        struct clockwork *work = &simulator->works[i];
        if (work->job->schedule)
            work->next_s = cron_next(work->job->schedule, work->zone, start_s);
    }
    if ((rc = begin_stream(simulator, start_s, err)))
        return rc;
    if (!has_prune(simulator))
        simulator->works[simulator->work_count++] = (struct clockwork){.next_s = start_s + DAY_S};
    return 0;
}

/* -- running ------------------------------------------------------------------------------------
 */

static bool is_reported(const struct simulator *simulator)
{
    return simulator->day != NULL;
}

static int fill_backup(const struct simulator *simulator, const struct clockwork *work,
                       struct facts_backup *backup, struct error *err)
{
    backup->job = strdup(work->job->name);
    backup->databases = calloc(2, sizeof(char *));
    if (backup->databases)
        backup->databases[0] = strdup("simulated");
    if (asprintf(&backup->id, "simulated-%012lld", (long long)simulator->made) < 0)
        backup->id = NULL;
    if (!backup->job || !backup->id || !backup->databases || !backup->databases[0])
        return error_no_memory(err);
    backup->kind = work->kind;
    backup->state = BACKUP_GOOD;
    backup->started_us = backup->completed_us = work->next_s * US_PER_SECOND;
    backup->bytes_stored = work->average_bytes;
    backup->verified_level = 3;
    if (work->kind == BACKUP_SNAPSHOT) {
        uint64_t lsn = wal_segment_start((uint64_t)work->next_s, STREAM_SEGMENT);
        backup->position = (struct facts_position){.timeline = 1,
                                                   .stop_timeline = 1,
                                                   .start_lsn = lsn,
                                                   .stop_lsn = lsn + 1,
                                                   .stopped_us = backup->completed_us,
                                                   .segment_size = STREAM_SEGMENT};
        memcpy(backup->position.system_identifier, STREAM_SYSTEM, sizeof(STREAM_SYSTEM));
    }
    return 0;
}

static int make_backup(struct simulator *simulator, struct clockwork *work, struct error *err)
{
    struct facts_backup *backup;
    if (simulator->facts.backup_count >= RETENTION_SIMULATED_MAX)
        return error_set(err, ERR_LIMIT,
                         "there are more than %d backups at one time: too many to simulate",
                         RETENTION_SIMULATED_MAX);
    int rc = facts_add_backup(&simulator->facts, &backup, err);
    if (rc || (rc = fill_backup(simulator, work, backup, err)))
        return rc;
    simulator->made++;
    work->count++;
    if (!is_reported(simulator))
        return 0;
    simulator->day->made++;
    if (work->count > work->result->kept_peak) {
        work->result->kept_peak = work->count;
        work->result->bytes_peak = (int64_t)work->count * work->average_bytes;
    }
    return 0;
}

static struct clockwork *maker_of(struct simulator *simulator, const struct facts_backup *backup)
{
    for (size_t i = 0; i < simulator->work_count; i++)
        if (simulator->works[i].result && strcmp(simulator->works[i].job->name, backup->job) == 0)
            return &simulator->works[i];
    return NULL; /* not reached: every backup was made by one of them */
}

/* WAL up to that second is stored. */
static void write_wal(struct simulator *simulator, int64_t at_s)
{
    struct stream *stream = &simulator->stream;
    if (!stream->job)
        return;
    struct facts_wal_range *range = &stream->timeline->ranges[0];
    int64_t span_s = at_s - (int64_t)range->first;
    range->last = (uint64_t)at_s - 1 > range->first ? (uint64_t)at_s - 1 : range->first;
    range->last_stored_us = at_s * US_PER_SECOND;
    range->bytes = span_s * stream->rate.bytes_per_day / DAY_S;
    if (is_reported(simulator) && range->bytes > stream->result->bytes_peak)
        stream->result->bytes_peak = range->bytes;
    size_t segments = (size_t)(span_s * stream->rate.segments_per_day / DAY_S);
    if (is_reported(simulator) && segments > stream->result->kept_peak)
        stream->result->kept_peak = segments;
}

static void note_wal(struct simulator *simulator, int64_t at_s)
{
    struct stream *stream = &simulator->stream;
    if (!stream->job)
        return;
    stream->result->oldest_s = at_s - (int64_t)stream->timeline->ranges[0].first;
    stream->result->bytes = stream->result->oldest_s * stream->rate.bytes_per_day / DAY_S;
    stream->result->kept =
        (size_t)(stream->result->oldest_s * stream->rate.segments_per_day / DAY_S);
}

/* Back to the oldest snapshot from which on all WAL is there. */
static int64_t measure_recovery(const struct simulator *simulator, int64_t at_s)
{
    int64_t longest_s = 0;
    for (size_t i = 0; simulator->stream.job && i < simulator->facts.backup_count; i++) {
        const struct facts_backup *backup = &simulator->facts.backups[i];
        int64_t age_s = at_s - backup->position.stopped_us / US_PER_SECOND;
        if (backup->kind == BACKUP_SNAPSHOT && age_s > longest_s &&
            facts_wal_find(simulator->stream.timeline,
                           wal_segment_at(backup->position.start_lsn, STREAM_SEGMENT)))
            longest_s = age_s;
    }
    return longest_s;
}

/* The span back to the oldest backup, of all jobs and job by job. */
static int64_t measure(struct simulator *simulator, int64_t at_s, bool note_jobs)
{
    int64_t window_s = 0;
    for (size_t i = 0; note_jobs && i < simulator->work_count; i++) {
        struct clockwork *work = &simulator->works[i];
        if (!work->result)
            continue;
        work->result->kept = work->count;
        work->result->bytes = (int64_t)work->count * work->average_bytes;
        work->result->oldest_s = 0;
    }
    for (size_t i = 0; i < simulator->facts.backup_count; i++) {
        const struct facts_backup *backup = &simulator->facts.backups[i];
        int64_t age_s = at_s - backup->started_us / US_PER_SECOND;
        if (age_s > window_s)
            window_s = age_s;
        struct clockwork *work = note_jobs ? maker_of(simulator, backup) : NULL;
        if (work && age_s > work->result->oldest_s)
            work->result->oldest_s = age_s;
    }
    return window_s;
}

static void note_window(struct simulator *simulator, int64_t at_s, int64_t window_s)
{
    struct retention_simulation *result = simulator->result;
    if (result->has_recovery)
        window_s = measure_recovery(simulator, at_s);
    if (window_s < result->window_min_s)
        result->window_min_s = window_s;
    if (window_s > result->window_max_s)
        result->window_max_s = window_s;
}

static int apply(struct simulator *simulator, int64_t at_s, struct error *err)
{
    _cleanup_(retention_plan_clear) struct retention_plan plan = {0};
    struct facts *facts = &simulator->facts;
    write_wal(simulator, at_s);
    int rc = retention_plan_make(facts, simulator->policy, simulator->zones, at_s * US_PER_SECOND,
                                 &plan, err);
    if (rc)
        return rc;
    _cleanup_(freep) bool *goes = calloc(facts->backup_count + 1, sizeof(*goes));
    if (!goes)
        return error_no_memory(err);
    for (size_t i = 0; i < plan.count; i++)
        goes[plan.decisions[i].backup - facts->backups] =
            plan.decisions[i].action == RETENTION_DELETE;
    /* From behind, so that what moves into a gap was looked at before. */
    for (size_t i = facts->backup_count; i-- > 0;)
        if (goes[i]) {
            maker_of(simulator, &facts->backups[i])->count--;
            facts_remove_backup(facts, i);
        }
    for (size_t i = 0; i < plan.wal_count; i++)
        if (plan.wal[i].action == RETENTION_DELETE)
            simulator->stream.timeline->ranges[0].first = plan.wal[i].to + 1;
    simulator->pruned_count = facts->backup_count;
    if (is_reported(simulator))
        simulator->day->deleted += plan.delete_count;
    return 0;
}

/* What a plan keeps, every plan before it kept. So in the unseen part prunes may be left out, and
 * the end is the same; a long history of many backups is much faster that way. */
static bool may_leave_out(const struct simulator *simulator, int64_t at_s)
{
    return at_s < simulator->prune_always_from_s &&
           simulator->facts.backup_count < 2 * simulator->pruned_count + 1000;
}

static int prune(struct simulator *simulator, int64_t at_s, struct error *err)
{
    if (may_leave_out(simulator, at_s))
        return 0;
    if (is_reported(simulator))
        note_window(simulator, at_s, measure(simulator, at_s, false));
    int rc = apply(simulator, at_s, err);
    if (rc)
        return rc;
    int64_t window_s = measure(simulator, at_s, true);
    note_wal(simulator, at_s);
    if (is_reported(simulator))
        note_window(simulator, at_s, window_s);
    return 0;
}

/* The schedule that fires first, no later than end_s; of two at one instant the one that makes. */
static struct clockwork *earliest(struct simulator *simulator, int64_t end_s)
{
    struct clockwork *first = NULL;
    for (size_t i = 0; i < simulator->work_count; i++) {
        struct clockwork *work = &simulator->works[i];
        if (work->next_s == CRON_NEVER || work->next_s > end_s)
            continue;
        if (!first || work->next_s < first->next_s ||
            (work->next_s == first->next_s && work->result && !first->result))
            first = work;
    }
    return first;
}

static int run_until(struct simulator *simulator, int64_t end_s, struct error *err)
{
    struct clockwork *work;
    while ((work = earliest(simulator, end_s))) {
        int rc =
            work->result ? make_backup(simulator, work, err) : prune(simulator, work->next_s, err);
        if (rc)
            return rc;
        work->next_s = work->job ? cron_next(work->job->schedule, work->zone, work->next_s)
                                 : work->next_s + DAY_S;
    }
    return 0;
}

static void end_day(struct simulator *simulator, int64_t end_s)
{
    struct retention_simulated_day *day = simulator->day;
    day->end_us = end_s * US_PER_SECOND;
    write_wal(simulator, end_s);
    day->window_s = measure(simulator, end_s, false);
    day->recovery_s = measure_recovery(simulator, end_s);
    note_window(simulator, end_s, day->window_s);
    if (simulator->stream.job)
        day->bytes = simulator->stream.timeline->ranges[0].bytes;
    for (size_t i = 0; i < simulator->work_count; i++) {
        day->kept += simulator->works[i].count;
        day->bytes += (int64_t)simulator->works[i].count * simulator->works[i].average_bytes;
    }
}

static void clear(struct simulator *simulator)
{
    facts_clear(&simulator->facts);
    free(simulator->works);
}

void retention_simulation_clear(struct retention_simulation *simulation)
{
    free(simulation->days);
    free(simulation->jobs);
    *simulation = (struct retention_simulation){0};
}
