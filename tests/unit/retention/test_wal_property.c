/*
 * Properties of what a plan does with WAL, over thousands of random clusters with timelines, gaps,
 * servers that were adopted, snapshots good and bad. Each has its seed; a failure prints it, and
 * `PGCAIRN_TEST_SEED=N` runs that one alone.
 *
 * A cluster is played hour by hour, so that of every segment it is known which hour's commits it
 * holds. Then what recovery can reach is told by a search of its own, before and after the plan.
 */
#include "retention/history.h"

#include <stdlib.h>

enum { WORLDS = 1500, HOURS = 24 * 40, TIMELINES = 6, SYSTEMS = 2, SNAPSHOTS_MAX = 40 };

#define NOW_US (at("2026-11-21T12:00"))

static struct zone *utc;

/* -- a cluster and its life ---------------------------------------------------------------------
 */

/* A timeline: from `begin` on it is the server's. Segment n of it holds one hour. */
struct played_timeline {
    uint32_t number, parent; /* 0: none */
    uint64_t switched;       /* the segment of the parent in which it begins */
    uint64_t end;            /* behind its last segment */
    bool has_history;
    bool stored[2 * HOURS];
    int16_t hour[2 * HOURS]; /* of each segment */
};

struct played_system {
    char name[8];
    struct played_timeline timelines[TIMELINES];
    int timeline_count;
};

struct world {
    uint64_t seed, random;
    struct played_system systems[SYSTEMS];
    int system_count;
    struct policy_job jobs[3];
    struct policy policy;
    struct retention_zones zones;
    struct facts facts;
    int64_t within_h;
};

/* xorshift64* by Vigna, for sequences that are the same everywhere. */
static uint64_t next_random(struct world *world)
{
    world->random ^= world->random >> 12;
    world->random ^= world->random << 25;
    world->random ^= world->random >> 27;
    return world->random * UINT64_C(2685821657736338717);
}

static int64_t below(struct world *world, int64_t limit)
{
    return (int64_t)((next_random(world) >> 11) % (uint64_t)limit);
}

static bool chance(struct world *world, int percent)
{
    return below(world, 100) < percent;
}

static int64_t time_of(int64_t hour)
{
    return NOW_US - (HOURS - hour) * US_PER_HOUR;
}

static void add_snapshot(struct world *world, const struct played_system *system,
                         const struct played_timeline *timeline, int hour)
{
    struct error err = ERROR_NONE;
    struct facts_backup *backup;
    char id[32];
    if (world->facts.backup_count == SNAPSHOTS_MAX)
        return;
    assert_int_equal(facts_add_backup(&world->facts, &backup, &err), 0);
    snprintf(id, sizeof(id), "s%02zu", world->facts.backup_count - 1);
    backup->id = copy(id);
    backup->job = copy(chance(world, 90) ? "weekly" : "gone");
    backup->kind = BACKUP_SNAPSHOT;
    backup->state = BACKUP_GOOD;
    if (chance(world, 15))
        backup->state = chance(world, 50) ? BACKUP_DAMAGED : BACKUP_GARBAGE;
    backup->started_us = time_of(hour) - US_PER_HOUR / 2;
    backup->completed_us = time_of(hour);
    if (backup->state == BACKUP_GARBAGE)
        backup->completed_us = INSTANT_NONE;
    backup->verified_level = (int)below(world, 4);
    backup->position = (struct facts_position){.timeline = timeline->number,
                                               .stop_timeline = timeline->number,
                                               .segment_size = HISTORY_SEGMENT,
                                               .stopped_us = time_of(hour)};
    snprintf(backup->position.system_identifier, sizeof(backup->position.system_identifier), "%s",
             system->name);
    uint64_t end = timeline->end - 1, start = end;
    if (start > timeline->switched + 1)
        start -= (uint64_t)below(world, 2);
    backup->position.start_lsn = start * HISTORY_SEGMENT + 40;
    backup->position.stop_lsn = end * HISTORY_SEGMENT + 400;
    if (chance(world, 8))
        add_hold(&world->facts, backup->id, "h", INSTANT_NONE);
}

static struct played_timeline *begin_timeline(struct world *world, struct played_system *system)
{
    struct played_timeline *made = &system->timelines[system->timeline_count];
    made->number = (uint32_t)++system->timeline_count;
    made->has_history = made->number == 1 || !chance(world, 10);
    if (made->number == 1) {
        made->end = 1 + (uint64_t)below(world, 5);
        return made;
    }
    /* from any timeline before, mostly from the last, mostly from its end */
    struct played_timeline *parent =
        chance(world, 80) ? made - 1 : &system->timelines[below(world, made->number - 1)];
    uint64_t begin = parent->parent ? parent->switched : 1;
    made->parent = parent->number;
    made->switched = parent->end - 1;
    if (made->switched > begin && chance(world, 40))
        made->switched -= (uint64_t)below(world, (int64_t)(made->switched - begin));
    made->end = made->switched;
    return made;
}

static void play_system(struct world *world, int from, int until)
{
    struct played_system *system = &world->systems[world->system_count++];
    snprintf(system->name, sizeof(system->name), "%d", 41 + world->system_count);
    struct played_timeline *timeline = begin_timeline(world, system);
    int lost = 0, every = 12 + (int)below(world, 24 * 8);
    int switches = chance(world, 50) ? 0 : 600, losses = chance(world, 50) ? 0 : 200;
    for (int hour = from; hour < until; hour++) {
        if (switches && below(world, switches) == 0 && system->timeline_count < TIMELINES &&
            timeline->end > 2)
            timeline = begin_timeline(world, system);
        if (losses && below(world, losses) == 0)
            lost = 1 + (int)below(world, 30);
        if (timeline->end < ARRAY_SIZE(timeline->stored)) {
            timeline->stored[timeline->end] = lost-- <= 0;
            timeline->hour[timeline->end++] = (int16_t)hour;
        }
        if (below(world, every) == 0)
            add_snapshot(world, system, timeline, hour);
    }
}

static void add_history(const struct played_system *system, struct facts_wal_timeline *stored,
                        uint32_t number)
{
    struct error err = ERROR_NONE;
    char text[512] = "";
    size_t length = 0;
    uint32_t chain[TIMELINES];
    int depth = 0;
    for (uint32_t at = number; at > 1; at = system->timelines[at - 1].parent)
        chain[depth++] = at;
    while (depth-- > 0) {
        const struct played_timeline *timeline = &system->timelines[chain[depth] - 1];
        uint64_t lsn = timeline->switched * HISTORY_SEGMENT + 4096;
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%u\t%X/%X\tx\n",
                                   timeline->parent, (unsigned)(lsn >> 32), (unsigned)lsn);
    }
    if (wal_history_parse(number, text, length, &stored->history, &err))
        fail_msg("%s", err.message);
    stored->has_history = true;
}

/* What the repository would list. */
static void list_wal(struct world *world)
{
    struct error err = ERROR_NONE;
    for (int i = 0; i < world->system_count; i++) {
        const struct played_system *system = &world->systems[i];
        struct facts_wal *wal = wal_of(&world->facts, system->name);
        for (int t = 0; t < system->timeline_count; t++) {
            const struct played_timeline *timeline = &system->timelines[t];
            struct facts_wal_timeline *stored;
            assert_int_equal(facts_wal_add_timeline(wal, timeline->number, &stored, &err), 0);
            if (timeline->number > 1 && timeline->has_history)
                add_history(system, stored, timeline->number);
            for (uint64_t n = 0; n < timeline->end; n++) {
                struct wal_name name = wal_segment_name(timeline->number, n, HISTORY_SEGMENT);
                if (timeline->stored[n])
                    assert_int_equal(facts_wal_add_segment(wal, stored, &name,
                                                           time_of(timeline->hour[n] + 1), 100,
                                                           &err),
                                     0);
            }
        }
    }
}

static void make_world(struct world *world, uint64_t seed)
{
    static char weekly[] = "weekly", prune[] = "prune", wal[] = "wal";
    memset(world, 0, sizeof(*world));
    world->seed = seed;
    world->random = seed * 0x9e3779b97f4a7c15U + 1;
    world->within_h = 1 + below(world, 24 * 20);
    world->zones.policy = utc;
    world->jobs[0] = (struct policy_job){
        .name = weekly,
        .type = JOB_SNAPSHOT,
        .keep = {.is_set = true, .last = 1 + (int)below(world, 4)},
    };
    world->jobs[1] = (struct policy_job){.name = prune, .type = JOB_PRUNE};
    if (chance(world, 30))
        world->jobs[1].require_verified = 1 + (int)below(world, 3);
    world->jobs[2] = (struct policy_job){
        .name = wal,
        .type = JOB_WAL,
        .keep = {.is_set = true, .within_us = world->within_h * US_PER_HOUR},
    };
    world->policy = policy_of(world->jobs, ARRAY_SIZE(world->jobs));
    world->facts = (struct facts){.cluster = copy("c"), .complete = true};
    int adopted = chance(world, 30) ? (int)below(world, HOURS) : 0;
    if (adopted)
        play_system(world, 0, adopted);
    play_system(world, adopted, HOURS - (chance(world, 20) ? (int)below(world, 200) : 0));
    list_wal(world);
}

static void make_plan(const struct world *world, int64_t now_us, struct retention_plan *plan)
{
    struct error err = ERROR_NONE;
    if (retention_plan_make(&world->facts, &world->policy, &world->zones, now_us, plan, &err))
        fail_msg("seed %llu: %s", (unsigned long long)world->seed, err.message);
}

#define check(world, condition, ...)                                       \
    do {                                                                   \
        if (!(condition)) {                                                \
            print_error("seed %llu: ", (unsigned long long)(world)->seed); \
            fail_msg(__VA_ARGS__);                                         \
        }                                                                  \
    } while (0)

/* -- what recovery reaches, told naively --------------------------------------------------------
 */

static const struct retention_wal *decision_on(const struct retention_plan *plan,
                                               const char *system, uint32_t timeline, uint64_t n)
{
    for (size_t i = 0; i < plan->wal_count; i++) {
        const struct retention_wal *wal = &plan->wal[i];
        if (wal->timeline == timeline && n >= wal->first && n <= wal->last &&
            strcmp(wal->wal->system_identifier, system) == 0)
            return wal;
    }
    return NULL;
}

/* The timeline of the chain that ends in `number` which holds segment n; 0: none. */
static uint32_t holder_of(const struct played_system *system, uint32_t number, uint64_t n)
{
    while (system->timelines[number - 1].parent && n < system->timelines[number - 1].switched)
        number = system->timelines[number - 1].parent;
    return number;
}

static bool is_on_chain(const struct played_system *system, uint32_t number, uint32_t timeline,
                        uint64_t stop)
{
    for (uint32_t at = number, child = 0; at; child = at, at = system->timelines[at - 1].parent)
        if (at == timeline)
            return !child || stop <= system->timelines[child - 1].switched;
    return false;
}

/* Whether segment n of a timeline is there, after the plan if there is one. */
static bool is_there(const struct played_system *system, uint32_t timeline, uint64_t n,
                     const struct retention_plan *plan)
{
    if (!system->timelines[timeline - 1].stored[n])
        return false;
    const struct retention_wal *decision =
        plan ? decision_on(plan, system->name, timeline, n) : NULL;
    return !decision || decision->action == RETENTION_KEEP;
}

/* Whether the end of segment `n` of a timeline is reached from some good snapshot. */
static bool reaches(const struct world *world, const struct played_system *system,
                    const struct played_timeline *timeline, uint64_t n,
                    const struct retention_plan *plan)
{
    for (size_t i = 0; i < world->facts.backup_count; i++) {
        const struct facts_backup *backup = &world->facts.backups[i];
        uint64_t start = backup->position.start_lsn / HISTORY_SEGMENT;
        uint64_t stop = backup->position.stop_lsn / HISTORY_SEGMENT;
        if (backup->state != BACKUP_GOOD || stop > n ||
            strcmp(backup->position.system_identifier, system->name) != 0 ||
            backup->position.stopped_us > time_of(timeline->hour[n] + 1) ||
            !is_on_chain(system, timeline->number, backup->position.timeline, stop) ||
            (plan && retention_find(plan, backup->id)->action == RETENTION_DELETE))
            continue;
        bool whole = true;
        for (uint64_t at = start; at <= n && whole; at++)
            whole = is_there(system, holder_of(system, timeline->number, at), at, plan);
        if (whole)
            return true;
    }
    return false;
}

/* When the newest WAL was stored that a good snapshot leads into. */
static int64_t newest_hour(const struct world *world)
{
    int64_t newest = -1;
    for (int i = 0; i < world->system_count; i++)
        for (int t = 0; t < world->systems[i].timeline_count; t++) {
            const struct played_timeline *timeline = &world->systems[i].timelines[t];
            for (uint64_t n = 0; n < timeline->end; n++)
                if (timeline->stored[n] && timeline->hour[n] > newest &&
                    reaches(world, &world->systems[i], timeline, n, NULL))
                    newest = timeline->hour[n];
        }
    return newest;
}

/* -- properties ---------------------------------------------------------------------------------
 */

/* Every moment of the window that could be reached before the plan can be reached after it. Its end
 * is at most that of the newest WAL that is stored. */
static void check_reach(const struct world *world, const struct retention_plan *plan)
{
    int64_t newest = newest_hour(world);
    for (int i = 0; i < world->system_count; i++) {
        const struct played_system *system = &world->systems[i];
        for (int t = 0; t < system->timeline_count; t++) {
            const struct played_timeline *timeline = &system->timelines[t];
            for (uint64_t n = timeline->switched; n < timeline->end; n++)
                if (timeline->hour[n] >= HOURS - world->within_h || timeline->hour[n] == newest)
                    check(world,
                          !reaches(world, system, timeline, n, NULL) ||
                              reaches(world, system, timeline, n, plan),
                          "hour %d, segment %llu of timeline %u of %s is reached no more",
                          timeline->hour[n], (unsigned long long)n, timeline->number, system->name);
        }
    }
}

/* Every stored segment has one decision, and what a plan says it deletes is what is stored. */
static void check_whole(const struct world *world, const struct retention_plan *plan)
{
    int64_t segments = 0, decided = 0;
    for (int i = 0; i < world->system_count; i++)
        for (int t = 0; t < world->systems[i].timeline_count; t++) {
            const struct played_timeline *timeline = &world->systems[i].timelines[t];
            for (uint64_t n = 0; n < timeline->end; n++) {
                segments += timeline->stored[n];
                check(world,
                      !timeline->stored[n] ||
                          decision_on(plan, world->systems[i].name, timeline->number, n),
                      "segment %llu of timeline %u has no decision", (unsigned long long)n,
                      timeline->number);
            }
        }
    for (size_t i = 0; i < plan->wal_count; i++) {
        decided += plan->wal[i].segments;
        check(world,
              plan->wal[i].from <= plan->wal[i].first && plan->wal[i].to >= plan->wal[i].last,
              "%s speaks of less than it names", plan->wal[i].id);
        for (size_t k = i + 1; k < plan->wal_count; k++)
            check(world,
                  plan->wal[i].wal != plan->wal[k].wal ||
                      plan->wal[i].timeline != plan->wal[k].timeline ||
                      plan->wal[i].to < plan->wal[k].from,
                  "%s and %s overlap", plan->wal[i].id, plan->wal[k].id);
    }
    check(world, segments == decided, "%lld of %lld segments are decided on", (long long)decided,
          (long long)segments);
}

static void check_holds(const struct world *world, const struct retention_plan *plan)
{
    for (size_t i = 0; i < world->facts.hold_count; i++)
        for (size_t n = 0; n < world->facts.backup_count; n++) {
            const struct facts_backup *backup = &world->facts.backups[n];
            if (strcmp(world->facts.holds[i].backup_id, backup->id) != 0)
                continue;
            uint64_t stop = backup->position.stop_lsn / HISTORY_SEGMENT;
            for (uint64_t at = backup->position.start_lsn / HISTORY_SEGMENT; at <= stop; at++) {
                const struct retention_wal *decision = decision_on(
                    plan, backup->position.system_identifier, backup->position.timeline, at);
                check(world, !decision || decision->action == RETENTION_KEEP,
                      "WAL of the held %s goes", backup->id);
            }
        }
}

/* A longer window keeps all WAL that a shorter one keeps. */
static void check_monotone(struct world *world, const struct retention_plan *plan)
{
    struct retention_plan wider = {0};
    int64_t before_us = world->jobs[2].keep.within_us;
    world->jobs[2].keep.within_us += below(world, 24 * 10) * US_PER_HOUR;
    make_plan(world, NOW_US, &wider);
    for (int i = 0; i < world->system_count; i++)
        for (int t = 0; t < world->systems[i].timeline_count; t++) {
            const struct played_timeline *timeline = &world->systems[i].timelines[t];
            for (uint64_t n = 0; n < timeline->end; n++)
                check(world,
                      !is_there(&world->systems[i], timeline->number, n, plan) ||
                          is_there(&world->systems[i], timeline->number, n, &wider),
                      "segment %llu of timeline %u goes by a longer window", (unsigned long long)n,
                      timeline->number);
        }
    world->jobs[2].keep.within_us = before_us;
    retention_plan_clear(&wider);
}

/* The clock alone makes nothing old: with backups failing, what is there stays. */
static void check_time_stands_still(const struct world *world, const struct retention_plan *plan)
{
    struct retention_plan later = {0};
    make_plan(world, NOW_US + 400 * US_PER_DAY, &later);
    check(world, strcmp(plan->hash, later.hash) == 0, "a year later the plan is another");
    retention_plan_clear(&later);
}

/* Something that can't be read, and nothing goes. */
static void check_unsure(struct world *world)
{
    struct retention_plan plan = {0};
    world->facts.complete = false;
    make_plan(world, NOW_US, &plan);
    world->facts.complete = true;
    check(world, plan.refused && plan.wal_delete_count == 0, "an incomplete listing deletes WAL");
    for (size_t i = 0; i < plan.wal_count; i++)
        check(world, plan.wal[i].action == RETENTION_KEEP, "%s goes", plan.wal[i].id);
    retention_plan_clear(&plan);
}

static void clear_wal(struct facts *facts)
{
    for (size_t i = 0; i < facts->wal_count; i++)
        facts_wal_clear(&facts->wals[i]);
    facts->wal_count = 0;
}

/* Deletes as the plan says, but for what lies behind `crash` segments. */
static void apply(struct world *world, const struct retention_plan *plan, int64_t crash)
{
    for (int i = 0; i < world->system_count; i++)
        for (int t = 0; t < world->systems[i].timeline_count; t++) {
            struct played_timeline *timeline = &world->systems[i].timelines[t];
            for (uint64_t n = 0; n < timeline->end; n++)
                if (timeline->stored[n] &&
                    !is_there(&world->systems[i], timeline->number, n, plan) && crash-- > 0)
                    timeline->stored[n] = false;
        }
}

/* Of a plan that was carried out in part the rest is carried out by the next one, which then finds
 * nothing more to do. WAL goes before the snapshots. */
static void check_idempotent(struct world *world, struct retention_plan *plan)
{
    char gone[SNAPSHOTS_MAX][32];
    size_t gone_count = 0;
    for (int step = 0; step < 2; step++) {
        apply(world, plan, step == 0 ? below(world, 300) : INT64_MAX);
        gone_count = 0;
        for (size_t i = 0; step == 1 && i < plan->count; i++)
            if (plan->decisions[i].action == RETENTION_DELETE)
                snprintf(gone[gone_count++], sizeof(gone[0]), "%s", plan->decisions[i].id);
        clear_wal(&world->facts);
        for (size_t i = world->facts.backup_count; i-- > 0;)
            for (size_t k = 0; k < gone_count; k++)
                if (strcmp(world->facts.backups[i].id, gone[k]) == 0) {
                    facts_remove_backup(&world->facts, i);
                    break;
                }
        list_wal(world);
        retention_plan_clear(plan);
        make_plan(world, NOW_US, plan);
    }
    check(world, plan->wal_delete_count == 0, "WAL %s would go after all", plan->wal[0].id);
    check(world, plan->delete_count == 0, "%zu more snapshots would go", plan->delete_count);
}

static size_t run_world(struct world *world, uint64_t seed)
{
    struct retention_plan plan = {0};
    make_world(world, seed);
    make_plan(world, NOW_US, &plan);
    size_t deleted = plan.wal_delete_count;
    check_whole(world, &plan);
    check_reach(world, &plan);
    check_holds(world, &plan);
    check_monotone(world, &plan);
    check_time_stands_still(world, &plan);
    check_unsure(world);
    check_idempotent(world, &plan);
    retention_plan_clear(&plan);
    facts_clear(&world->facts);
    return deleted;
}

static void test_random_worlds(void **state)
{
    (void)state;
    static struct world world;
    const char *seed = getenv("PGCAIRN_TEST_SEED");
    size_t deleted = 0;
    if (seed) {
        run_world(&world, strtoull(seed, NULL, 10));
        return;
    }
    for (uint64_t i = 1; i <= WORLDS; i++)
        deleted += run_world(&world, i) > 0;
    print_message("%d clusters, of %zu WAL goes\n", WORLDS, deleted);
    assert_true(deleted > WORLDS / 2); /* else nothing was tried */
}

static int load_zone(void **state)
{
    (void)state;
    struct error err = ERROR_NONE;
    return zone_load("UTC", &utc, &err) ? -1 : 0;
}

static int free_zone(void **state)
{
    (void)state;
    zone_free(utc);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_worlds)};
    return cmocka_run_group_tests(tests, load_zone, free_zone);
}
