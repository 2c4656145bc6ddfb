/*
 * Properties of the planner over thousands of random histories. Each has its seed; a failure prints
 * it, and `PGCAIRN_TEST_SEED=N` runs that history alone.
 */
#include "retention/history.h"

#include <stdlib.h>

enum { HISTORIES = 4000, BACKUPS_MAX = 40, JOBS = 5, DATABASES = 3 };

#define NOW_US (at("2026-11-21T12:00"))

static struct zone *utc;

/* -- random worlds ------------------------------------------------------------------------------
 */

struct world {
    uint64_t seed, random;
    struct policy_job jobs[JOBS];
    struct policy policy;
    struct retention_zones zones;
    struct facts facts;
    int64_t now_us;
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

static int random_count(struct world *world)
{
    return chance(world, 60) ? 0 : 1 + (int)below(world, 6);
}

static struct keep_rules random_keep(struct world *world)
{
    struct keep_rules keep = {.is_set = true};
    if (chance(world, 50))
        keep.within_us = (1 + below(world, 60)) * US_PER_DAY;
    keep.last = random_count(world);
    keep.hourly = random_count(world);
    keep.daily = random_count(world);
    keep.weekly = random_count(world);
    keep.monthly = random_count(world);
    keep.yearly = random_count(world);
    return keep;
}

static void random_databases(struct world *world, struct facts_backup *backup)
{
    static const char *const names[DATABASES] = {"app", "crm", "Zoo"};
    size_t count = 0;
    backup->databases = calloc(DATABASES + 1, sizeof(char *));
    assert_non_null(backup->databases);
    for (int i = 0; i < DATABASES; i++)
        if (chance(world, 50))
            backup->databases[count++] = copy(names[i]);
}

static void random_backup(struct world *world, int64_t span_us)
{
    static const char *const jobs[] = {"nightly", "nightly", "nightly", "monthly",
                                       "monthly", "bare",    "gone",    ""};
    struct error err = ERROR_NONE;
    struct facts_backup *backup;
    char id[32];
    assert_int_equal(facts_add_backup(&world->facts, &backup, &err), 0);
    snprintf(id, sizeof(id), "b%02zu", world->facts.backup_count - 1);
    backup->id = copy(id);
    backup->kind = chance(world, 15) ? BACKUP_SNAPSHOT : BACKUP_DUMP;
    backup->job = copy(
        backup->kind == BACKUP_SNAPSHOT ? "weekly" : jobs[below(world, (int64_t)ARRAY_SIZE(jobs))]);
    if (backup->kind == BACKUP_DUMP)
        random_databases(world, backup);
    backup->started_us = world->now_us - below(world, span_us / US_PER_HOUR) * US_PER_HOUR -
                         below(world, 2) * 17 * US_PER_MINUTE;
    if (chance(world, 3))
        backup->started_us = world->now_us + (2 + below(world, 50)) * US_PER_HOUR;
    backup->state = BACKUP_GOOD;
    if (chance(world, 20))
        backup->state = BACKUP_RUNNING + (enum backup_state)below(world, 3);
    backup->completed_us = backup->state == BACKUP_GOOD
                               ? backup->started_us + below(world, 3) * US_PER_MINUTE
                               : INSTANT_NONE;
    backup->newest_us = backup->started_us;
    backup->bytes_stored = 1 + below(world, 1000);
    backup->verified_level = (int)below(world, 4);
    if (chance(world, 10))
        backup->failed_us = world->now_us - below(world, 30) * US_PER_DAY;
    if (chance(world, 5))
        backup->locked_until_us = world->now_us + (below(world, 100) - 50) * US_PER_DAY;
    if (chance(world, 10))
        backup->drilled_us = world->now_us - below(world, 30) * US_PER_DAY;
    if (chance(world, 5))
        add_hold(&world->facts, backup->id, "h",
                 chance(world, 50) ? INSTANT_NONE
                                   : world->now_us + (below(world, 100) - 50) * US_PER_DAY);
}

static void make_world(struct world *world, uint64_t seed)
{
    static char nightly[] = "nightly", monthly[] = "monthly", weekly[] = "weekly", bare[] = "bare",
                prune[] = "prune";
    *world =
        (struct world){.seed = seed, .random = seed * 0x9e3779b97f4a7c15U + 1, .now_us = NOW_US};
    world->zones.policy = utc;
    world->jobs[0] = (struct policy_job){.name = nightly, .type = JOB_DUMP};
    world->jobs[1] = (struct policy_job){.name = monthly, .type = JOB_DUMP};
    world->jobs[2] = (struct policy_job){.name = weekly, .type = JOB_SNAPSHOT};
    for (int i = 0; i < 3; i++)
        world->jobs[i].keep = random_keep(world);
    world->jobs[3] = (struct policy_job){.name = bare, .type = JOB_DUMP};
    world->jobs[4] =
        (struct policy_job){.name = prune,
                            .type = JOB_PRUNE,
                            .require_verified = chance(world, 50) ? 0 : 1 + (int)below(world, 3)};
    world->policy = policy_of(world->jobs, JOBS);
    world->facts = (struct facts){.cluster = copy("c"), .complete = true};
    int64_t span_us = (chance(world, 50) ? 500 : 10) * US_PER_DAY,
            count = below(world, BACKUPS_MAX);
    for (int64_t i = 0; i < count; i++)
        random_backup(world, span_us);
    if (chance(world, 3) && world->facts.backup_count)
        world->facts.backups[0].state = BACKUP_UNKNOWN;
    if (chance(world, 3))
        world->facts.complete = false;
}

static void make_plan(const struct world *world, struct retention_plan *plan)
{
    struct error err = ERROR_NONE;
    if (retention_plan_make(&world->facts, &world->policy, &world->zones, world->now_us, plan,
                            &err))
        fail_msg("seed %llu: %s", (unsigned long long)world->seed, err.message);
}

#define check(world, condition, ...)                                       \
    do {                                                                   \
        if (!(condition)) {                                                \
            print_error("seed %llu: ", (unsigned long long)(world)->seed); \
            fail_msg(__VA_ARGS__);                                         \
        }                                                                  \
    } while (0)

/* -- the same rules once more, naively ----------------------------------------------------------
 */

static bool counts(const struct world *world, const struct facts_backup *backup)
{
    return backup->state == BACKUP_GOOD && backup->completed_us <= world->now_us + US_PER_HOUR;
}

static int demand(const struct world *world)
{
    return world->jobs[4].require_verified;
}

static bool newer(const struct facts_backup *a, const struct facts_backup *b)
{
    if (a->started_us != b->started_us)
        return a->started_us > b->started_us;
    return a->completed_us > b->completed_us ||
           (a->completed_us == b->completed_us && strcmp(a->id, b->id) > 0);
}

/* The n-th database; "" alone for those without. */
static const char *database(const struct facts_backup *backup, size_t n)
{
    bool has = backup->kind == BACKUP_DUMP && backup->databases && backup->databases[0];
    return has ? backup->databases[n] : n == 0 ? "" : NULL;
}

static bool is_of(const struct facts_backup *backup, enum backup_kind kind, const char *name)
{
    for (size_t n = 0; backup->kind == kind && database(backup, n); n++)
        if (strcmp(database(backup, n), name) == 0)
            return true;
    return false;
}

/* The bucket of a backup in UTC as text; rule 0 last (its id: all differ), 1 hourly ... 5 yearly.
 */
static void bucket(const struct facts_backup *backup, int rule, char *text, size_t size)
{
    struct civil civil;
    civil_from_seconds(backup->started_us / US_PER_SECOND, &civil);
    int64_t days = civil_days(civil.year, civil.month, civil.day);
    int64_t thursday = days - (civil_weekday(days) + 6) % 7 + 3;
    struct civil week;
    civil_from_days(thursday, &week);
    switch (rule) {
    case 0:
        snprintf(text, size, "%s", backup->id);
        return;
    case 1:
        snprintf(text, size, "%d-%d-%dT%d", civil.year, civil.month, civil.day, civil.hour);
        return;
    case 2:
        snprintf(text, size, "%d-%d-%d", civil.year, civil.month, civil.day);
        return;
    case 3:
        snprintf(text, size, "%d-%lld", week.year,
                 (long long)(thursday - civil_days(week.year, 1, 1)) / 7);
        return;
    case 4:
        snprintf(text, size, "%d-%d", civil.year, civil.month);
        return;
    default:
        snprintf(text, size, "%d", civil.year);
    }
}

static bool is_proven(const struct world *world, const struct facts_backup *backup)
{
    return backup->failed_us == INSTANT_NONE && backup->verified_level >= demand(world);
}

static bool in_stream(const struct world *world, const struct facts_backup *other,
                      const struct facts_backup *backup, const char *name, bool only_proven)
{
    return counts(world, other) && is_of(other, backup->kind, name) &&
           strcmp(other->job, backup->job) == 0 && (!only_proven || is_proven(world, other));
}

/* Whether the backup is the newest of its bucket, and fewer than `count` newer buckets exist. */
static bool wins_place(const struct world *world, const struct facts_backup *backup,
                       const char *name, bool only_proven, int rule, int count)
{
    char own[64], seen[BACKUPS_MAX][64];
    int newer_buckets = 0;
    bucket(backup, rule, own, sizeof(own));
    for (size_t i = 0; i < world->facts.backup_count; i++) {
        const struct facts_backup *other = &world->facts.backups[i];
        if (!in_stream(world, other, backup, name, only_proven) || !newer(other, backup))
            continue;
        char text[64];
        bucket(other, rule, text, sizeof(text));
        if (strcmp(text, own) == 0)
            return false;
        bool known = false;
        for (int k = 0; k < newer_buckets; k++)
            known |= strcmp(seen[k], text) == 0;
        if (!known)
            memcpy(seen[newer_buckets++], text, sizeof(text));
    }
    return newer_buckets < count;
}

static bool stream_wants(const struct world *world, const struct facts_backup *backup,
                         const struct keep_rules *keep, const char *name)
{
    const int rule_counts[] = {keep->last,   keep->hourly,  keep->daily,
                               keep->weekly, keep->monthly, keep->yearly};
    const struct facts_backup *newest = NULL;
    for (size_t i = 0; i < world->facts.backup_count; i++) {
        const struct facts_backup *other = &world->facts.backups[i];
        if (in_stream(world, other, backup, name, true) && (!newest || newer(other, newest)))
            newest = other;
    }
    bool proven = is_proven(world, backup);
    if (!newest || (!proven && newer(backup, newest)))
        return true;
    if (keep->within_us && newest->started_us - backup->started_us <= keep->within_us)
        return true;
    for (int rule = 0; rule < 6; rule++)
        if (wins_place(world, backup, name, proven, rule, rule_counts[rule]))
            return true;
    return false;
}

static bool is_guarded(const struct world *world, const struct facts_backup *backup)
{
    for (size_t i = 0; i < world->facts.hold_count; i++) {
        const struct facts_hold *hold = &world->facts.holds[i];
        if (strcmp(hold->backup_id, backup->id) == 0 &&
            (hold->expires_us == INSTANT_NONE || hold->expires_us > world->now_us))
            return true;
    }
    return backup->locked_until_us > world->now_us;
}

static bool is_floor(const struct world *world, const struct facts_backup *backup, const char *name)
{
    bool is_newest = true, is_newest_proven = is_proven(world, backup),
         is_drilled = backup->drilled_us != INSTANT_NONE;
    for (size_t i = 0; i < world->facts.backup_count; i++) {
        const struct facts_backup *other = &world->facts.backups[i];
        if (other == backup || !counts(world, other) || !is_of(other, backup->kind, name))
            continue;
        if (newer(other, backup)) {
            is_newest = false;
            is_newest_proven &= !is_proven(world, other);
        }
        is_drilled &= other->drilled_us < backup->drilled_us ||
                      (other->drilled_us == backup->drilled_us && newer(backup, other));
    }
    return is_newest || is_newest_proven || is_drilled;
}

static bool naively_kept(const struct world *world, const struct facts_backup *backup)
{
    if (is_guarded(world, backup))
        return true;
    if (backup->state != BACKUP_GOOD)
        return backup->state != BACKUP_GARBAGE;
    if (!counts(world, backup))
        return true;
    const struct policy_job *job = NULL;
    for (int i = 0; i < JOBS; i++)
        if (strcmp(world->jobs[i].name, backup->job) == 0)
            job = &world->jobs[i];
    const struct keep_rules *keep = job ? &job->keep : NULL;
    if (!keep || !(keep->within_us || keep->last || keep->hourly || keep->daily || keep->weekly ||
                   keep->monthly || keep->yearly))
        return true;
    for (size_t n = 0; database(backup, n); n++)
        if (is_floor(world, backup, database(backup, n)) ||
            stream_wants(world, backup, keep, database(backup, n)))
            return true;
    return false;
}

/* -- properties ---------------------------------------------------------------------------------
 */

static bool is_unsure(const struct world *world)
{
    bool unsure = !world->facts.complete;
    for (size_t i = 0; i < world->facts.backup_count; i++)
        unsure |= world->facts.backups[i].state == BACKUP_UNKNOWN;
    return unsure;
}

static bool plan_keeps(const struct retention_plan *plan, const struct facts_backup *backup)
{
    return retention_find(plan, backup->id)->action == RETENTION_KEEP;
}

/* Exactly what the naive rules keep is kept; nothing at all goes when something is not known. */
static void check_against_naive(const struct world *world, const struct retention_plan *plan)
{
    bool unsure = is_unsure(world);
    check(world, (plan->refused != NULL) == unsure, "refused: %s", plan->refused);
    check(world, plan->count == world->facts.backup_count, "%zu decisions", plan->count);
    for (size_t i = 0; i < world->facts.backup_count; i++) {
        const struct facts_backup *backup = &world->facts.backups[i];
        bool expected = unsure || naively_kept(world, backup);
        check(world, plan_keeps(plan, backup) == expected, "%s is %s (%s)", backup->id,
              retention_action_name(retention_find(plan, backup->id)->action),
              retention_find(plan, backup->id)->reason);
    }
}

/* The newest good one of every kind and database, said in other words than the planner's. */
static void check_floor(const struct world *world, const struct retention_plan *plan)
{
    for (size_t i = 0; i < world->facts.backup_count; i++) {
        const struct facts_backup *backup = &world->facts.backups[i];
        for (size_t n = 0; counts(world, backup) && database(backup, n); n++) {
            const struct facts_backup *newest = backup;
            for (size_t k = 0; k < world->facts.backup_count; k++) {
                const struct facts_backup *other = &world->facts.backups[k];
                if (counts(world, other) && is_of(other, backup->kind, database(backup, n)) &&
                    newer(other, newest))
                    newest = other;
            }
            check(world, plan_keeps(plan, newest), "the newest, %s, goes", newest->id);
        }
        check(world, !is_guarded(world, backup) || plan_keeps(plan, backup), "held %s goes",
              backup->id);
    }
}

static void shuffle(struct world *world)
{
    for (size_t i = world->facts.backup_count; i > 1; i--) {
        size_t other = (size_t)below(world, (int64_t)i);
        struct facts_backup kept = world->facts.backups[i - 1];
        world->facts.backups[i - 1] = world->facts.backups[other];
        world->facts.backups[other] = kept;
    }
}

/* The order of the facts does not matter, down to the words. */
static void check_order(struct world *world, const struct retention_plan *plan)
{
    struct retention_plan shuffled = {0};
    shuffle(world);
    make_plan(world, &shuffled);
    check(world, strcmp(plan->hash, shuffled.hash) == 0, "another order, another plan");
    for (size_t i = 0; i < plan->count; i++)
        check(world,
              strcmp(plan->decisions[i].id, shuffled.decisions[i].id) == 0 &&
                  strcmp(plan->decisions[i].reason, shuffled.decisions[i].reason) == 0,
              "%s: %s, then %s", plan->decisions[i].id, plan->decisions[i].reason,
              shuffled.decisions[i].reason);
    retention_plan_clear(&shuffled);
}

/* Wider rules keep what the narrower kept. */
static void check_monotone(struct world *world, const struct retention_plan *plan)
{
    struct keep_rules before = world->jobs[0].keep;
    struct keep_rules *keep = &world->jobs[0].keep;
    struct retention_plan wider = {0};
    bool had_any = before.within_us || before.last || before.hourly || before.daily ||
                   before.weekly || before.monthly || before.yearly;
    keep->within_us += below(world, 30) * US_PER_DAY;
    keep->last += (int)below(world, 3);
    keep->hourly += (int)below(world, 3);
    keep->daily += (int)below(world, 3);
    keep->weekly += (int)below(world, 3);
    keep->monthly += (int)below(world, 3);
    keep->yearly += (int)below(world, 3);
    make_plan(world, &wider);
    for (size_t i = 0; had_any && i < world->facts.backup_count; i++) {
        const struct facts_backup *backup = &world->facts.backups[i];
        check(world, !plan_keeps(plan, backup) || plan_keeps(&wider, backup),
              "%s goes by wider rules", backup->id);
    }
    retention_plan_clear(&wider);
    *keep = before;
}

/* A backup that is not good, however new, takes nobody's place. */
static void check_no_displacement(struct world *world, const struct retention_plan *plan)
{
    struct retention_plan with_bad = {0};
    struct error err = ERROR_NONE;
    struct facts_backup *bad;
    char name[] = "app+crm";
    assert_int_equal(facts_add_backup(&world->facts, &bad, &err), 0);
    bad->id = copy("bad");
    bad->job = copy("nightly");
    set_databases(bad, name);
    bad->state = BACKUP_RUNNING + (enum backup_state)below(world, 3);
    if (demand(world) > 0 && chance(world, 50))
        bad->state = BACKUP_GOOD; /* but not verified */
    bad->started_us = bad->newest_us = bad->completed_us =
        world->now_us - below(world, 100) * US_PER_DAY;
    bool is_newest_unproved = bad->state == BACKUP_GOOD;
    make_plan(world, &with_bad);
    for (size_t i = 0; i + 1 < world->facts.backup_count; i++) {
        const struct facts_backup *backup = &world->facts.backups[i];
        /* Of unproved ones an unproved one may take the place; of proven ones it may not, but for
         * the floor below the rules, which is one backup. */
        if (is_newest_unproved && (!is_proven(world, backup) ||
                                   strcmp(retention_find(plan, backup->id)->rule, "floor") == 0))
            continue;
        check(world, !plan_keeps(plan, backup) || plan_keeps(&with_bad, backup),
              "%s makes room for a bad one", backup->id);
    }
    retention_plan_clear(&with_bad);
    facts_remove_backup(&world->facts, world->facts.backup_count - 1);
}

/* After a prune the same prune finds nothing more to do. */
static void check_idempotent(struct world *world, const struct retention_plan *plan)
{
    struct retention_plan again = {0};
    size_t count = plan->count;
    char(*gone)[32] = calloc(count + 1, sizeof(*gone));
    assert_non_null(gone);
    size_t gone_count = 0;
    for (size_t i = 0; i < count; i++)
        if (plan->decisions[i].action == RETENTION_DELETE)
            snprintf(gone[gone_count++], sizeof(*gone), "%s", plan->decisions[i].id);
    for (size_t i = world->facts.backup_count; i-- > 0;)
        for (size_t k = 0; k < gone_count; k++)
            if (strcmp(world->facts.backups[i].id, gone[k]) == 0) {
                facts_remove_backup(&world->facts, i);
                break;
            }
    free(gone);
    make_plan(world, &again);
    check(world, again.delete_count == 0, "%zu more would go", again.delete_count);
    retention_plan_clear(&again);
}

/* The clock alone deletes nothing, once holds and locks are out of the picture. */
static void check_time_stands_still(struct world *world)
{
    struct retention_plan now = {0}, later = {0};
    for (size_t i = 0; i < world->facts.backup_count; i++) {
        world->facts.backups[i].locked_until_us = INSTANT_NONE;
        if (world->facts.backups[i].started_us > world->now_us)
            world->facts.backups[i].state = BACKUP_RUNNING;
    }
    for (size_t i = 0; i < world->facts.hold_count; i++)
        world->facts.holds[i].expires_us = INSTANT_NONE;
    make_plan(world, &now);
    world->now_us += 400 * US_PER_DAY;
    make_plan(world, &later);
    check(world, strcmp(now.hash, later.hash) == 0, "a year later the plan is another");
    retention_plan_clear(&now);
    retention_plan_clear(&later);
}

static void run_history(uint64_t seed)
{
    struct world world;
    struct retention_plan plan = {0};
    make_world(&world, seed);
    make_plan(&world, &plan);
    check_against_naive(&world, &plan);
    check_floor(&world, &plan);
    check_order(&world, &plan);
    check_monotone(&world, &plan);
    check_no_displacement(&world, &plan);
    check_time_stands_still(&world);
    world.now_us = NOW_US;
    retention_plan_clear(&plan);
    make_plan(&world, &plan);
    check_idempotent(&world, &plan);
    retention_plan_clear(&plan);
    facts_clear(&world.facts);
}

static void test_random_histories(void **state)
{
    (void)state;
    const char *seed = getenv("PGCAIRN_TEST_SEED");
    if (seed) {
        run_history(strtoull(seed, NULL, 10));
        return;
    }
    for (uint64_t i = 1; i <= HISTORIES; i++)
        run_history(i);
}

/* Figures for people; nothing is asserted of the time. */
static void measure(int64_t count, size_t databases)
{
    struct world world;
    struct retention_plan plan = {0};
    make_world(&world, 1);
    facts_clear(&world.facts);
    world.facts = (struct facts){.cluster = copy("c"), .complete = true};
    world.jobs[0].keep = (struct keep_rules){
        .is_set = true, .within_us = 7 * US_PER_DAY, .hourly = 48, .daily = 30, .monthly = 12};
    for (int64_t i = 0; i < count; i++) {
        struct error err = ERROR_NONE;
        struct facts_backup *backup;
        assert_int_equal(facts_add_backup(&world.facts, &backup, &err), 0);
        assert_true(asprintf(&backup->id, "b%lld", (long long)(i * 7919 % count)) > 0);
        backup->job = copy("nightly");
        backup->state = BACKUP_GOOD;
        backup->started_us = backup->completed_us = world.now_us - (i * 7919 % count) * US_PER_HOUR;
        backup->databases = calloc(databases + 1, sizeof(char *));
        assert_non_null(backup->databases);
        for (size_t n = 0; n < databases; n++)
            assert_true(asprintf(&backup->databases[n], "database%zu", n) > 0);
    }
    int64_t before_us = instant_monotonic_us();
    make_plan(&world, &plan);
    print_message("%lld items of %zu databases: planned in %lld ms, %zu go\n", (long long)count,
                  databases, (long long)(instant_monotonic_us() - before_us) / 1000,
                  plan.delete_count);
    assert_int_equal(plan.count, count);
    assert_true(plan.delete_count > (size_t)count / 2);
    retention_plan_clear(&plan);
    facts_clear(&world.facts);
}

static void test_size(void **state)
{
    (void)state;
    measure(8760, 3);
    measure(100000, 1);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_histories),
        cmocka_unit_test(test_size),
    };
    return cmocka_run_group_tests(tests, load_zone, free_zone);
}
