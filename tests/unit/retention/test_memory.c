/* Every allocation of the pure layers fails once: ERR_MEMORY, no crash, no leak, no half result. */
#include "retention/history.h"

#include "cron/cron.h"
#include "failing_memory.h"

static int parse_cron(struct error *err)
{
    struct cron_options options = {.hash_id = "c/nightly", .allow_seconds = true};
    struct cron_expr *expr = NULL;
    _cleanup_(freep) char *text = NULL;
    int rc = cron_parse("H 2,4-8/2 * jan-mar mon#2", &options, &expr, NULL, err);
    if (!rc)
        rc = cron_to_text(expr, &text, err);
    cron_free(expr);
    return rc;
}

static const char POLICY[] = "cluster: shop\n"
                             "timezone: Europe/Berlin\n"
                             "postgres: {connection: '${URL}', databases: [app, 'x*']}\n"
                             "repository: {url: file:///srv/r, compression: {level: 3}}\n"
                             "jobs:\n"
                             "  nightly: {type: dump, schedule: '0 2 * * *', keep: {within: 30d}}\n"
                             "  prune: {type: prune, schedule: '15 5 * * *'}\n";

static const char *get_env(const char *name, void *context)
{
    (void)name;
    (void)context;
    return "postgresql://app:secret@db/app";
}

static int parse_text(const char *text, struct error *err)
{
    struct policy *policy = NULL;
    struct policy_problems problems = {0};
    int rc = policy_parse("p.yaml", text, strlen(text), get_env, NULL, &policy, &problems, err);
    policy_problems_clear(&problems);
    assert_int_equal(rc == 0, policy != NULL);
    policy_free(policy);
    return rc;
}

static int parse_policy(struct error *err)
{
    return parse_text(POLICY, err);
}

/* The same with problems to report, which needs memory as well. */
static int parse_bad_policy(struct error *err)
{
    return parse_text("cluster: BAD\njobs: {x: {tpye: dump, schedule: '61 * * * *'}}\n", err);
}

static int make_plan(struct error *err)
{
    static char nightly[] = "nightly", pruner[] = "prune", archive[] = "wal";
    struct facts facts;
    struct policy_job jobs[] = {
        {.name = nightly,
         .type = JOB_DUMP,
         .keep = {.is_set = true, .last = 1, .daily = 2, .weekly = 1}},
        {.name = pruner, .type = JOB_PRUNE},
        {.name = archive, .type = JOB_WAL, .keep = {.is_set = true, .within_us = US_PER_DAY}}};
    struct policy policy = policy_of(jobs, ARRAY_SIZE(jobs));
    struct retention_plan plan = {0};
    struct zone *zone = NULL;
    long left = memory_left; /* what is made for the call does not count */
    memory_left = 0;
    history(&facts, "2026-11-10T02:00 2026-11-11T02:00,hold 2026-11-12T02:00,db=app+crm "
                    "2026-11-18T02:00,state=garbage 2026-11-19T02:00,level=2 2026-11-20T02:00 "
                    "2026-11-20T12:00,job=gone 2027-11-20T12:00 2026-11-18T12:00,wal=42/1:5-6,hold "
                    "2026-11-19T12:00,wal=42/1:8-8");
    wal_history_of(&facts, "42/1:2-20@2026-11-21T11:00 42/2<1:15 42/2:15-30@2026-11-21T11:30 "
                           "42/3:15-30@2026-11-21T11:30 43/1:2-20@2026-11-21T11:00");
    assert_int_equal(zone_load("UTC", &zone, NULL), 0);
    struct retention_zones zones = {.policy = zone};
    memory_left = left;
    int rc = retention_plan_make(&facts, &policy, &zones, at("2026-11-21T12:00"), &plan, err);
    if (rc) {
        assert_null(plan.decisions);
        assert_null(plan.refused);
    }
    retention_plan_clear(&plan);
    zone_free(zone);
    facts_clear(&facts);
    return rc;
}

static const struct {
    const char *name;
    int (*call)(struct error *err);
    int rc;     /* with all memory; an error may stay the same with less */
    long least; /* allocations at least: the wrapping is at work */
} CALLS[] = {
    {"cron", parse_cron, 0, 2},
    {"policy", parse_policy, 0, 20},
    {"bad policy", parse_bad_policy, ERR_POLICY, 5},
    {"plan", make_plan, 0, 10},
};

static void test_each_allocation(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_SIZE(CALLS); i++) {
        long n = 0;
        bool was_short;
        do {
            struct error err = ERROR_NONE;
            memory_fails_at(++n, i % 2);
            int rc = CALLS[i / 2].call(&err);
            was_short = memory_was_short();
            bool same = rc == CALLS[i / 2].rc && (rc || !was_short);
            if ((!same && !(was_short && rc == ERR_MEMORY)) || err.code != rc)
                fail_msg("%s, allocation %ld: %s %s", CALLS[i / 2].name, n, error_code_name(rc),
                         err.message);
        } while (was_short);
        assert_true(n > CALLS[i / 2].least);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_allocation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
