/* Every allocation of an audit and its reports fails once: ERR_MEMORY, no crash, no half result. */
#include "audit/world.h"

#include "base/buf.h"
#include "failing_memory.h"
#include "report/report.h"

static struct world world;
static struct zone *utc;

static int judge(struct error *err)
{
    const struct retention_zones zones = {.policy = utc};
    struct audit_report report;
    int rc = audit_judge(&world.facts, world.policy, &zones, &world.period, &report, err);
    audit_report_clear(&report);
    return rc;
}

static int write_format(enum report_format format, struct error *err)
{
    struct buf out = BUF_INIT(REPORT_BYTES_MAX);
    int rc = report_write(format, &world.report, &out, err);
    buf_clear(&out);
    return rc;
}

static int write_text(struct error *err)
{
    return write_format(REPORT_TEXT, err);
}

static int write_html(struct error *err)
{
    return write_format(REPORT_HTML, err);
}

static int write_junit(struct error *err)
{
    return write_format(REPORT_JUNIT, err);
}

static int write_csv(struct error *err)
{
    return write_format(REPORT_CSV, err);
}

/* The JSON library has an allocator of its own, so only the reading of our structs fails here. */
static json_t *saved;

static int read_facts(struct error *err)
{
    struct facts_audit facts;
    int rc = facts_audit_from_json(saved, &facts, err);
    if (!rc)
        facts_audit_clear(&facts);
    return rc;
}

static int (*const CALLS[])(struct error *err) = {judge,       write_text, write_html,
                                                  write_junit, write_csv,  read_facts};

static void test_each_allocation_fails_once(void **state)
{
    (void)state;
    struct error err = ERROR_NONE;
    assert_int_equal(zone_load("UTC", &utc, &err), 0);
    world_init(&world, WORLD_BUCKET);
    add_hold(&world.facts.facts, "b0", "h1", INSTANT_NONE);
    world_judge(&world);
    saved = facts_audit_to_json(&world.facts);
    assert_non_null(saved);
    for (size_t i = 0; i < ARRAY_SIZE(CALLS); i++)
        for (int for_ever = 0; for_ever <= 1; for_ever++) {
            long n = 1;
            bool was_short = true;
            for (; was_short; n++) {
                memory_fails_at(n, for_ever != 0);
                int rc = CALLS[i](&err);
                was_short = memory_was_short();
                if (rc != (was_short ? ERR_MEMORY : 0))
                    fail_msg("call %zu, allocation %ld: %d %s", i, n, rc, err.message);
            }
            assert_true(n > 2);
        }
    json_decref(saved);
    world_clear(&world);
    zone_free(utc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_allocation_fails_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
