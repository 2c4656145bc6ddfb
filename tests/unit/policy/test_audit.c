/* The section audit: of the policy. */
#include "policy_case.h"

#include "policy/audit.h"

#define HEAD                                                                             \
    "cluster: x\npostgres: {connection: dbname=a}\nrepository: {url: file:///a}\njobs: " \
    "{n: {type: dump, keep: {last: 3}, schedule: \"0 2 * * *\"}}\n"

static void test_defaults(void **state)
{
    (void)state;
    struct buf lines;
    struct policy *policy = case_parse(HEAD, &lines);
    assert_non_null(policy);
    assert_string_equal(buf_text(&lines), "");
    assert_true(policy->audit.verified_within_us == POLICY_AUDIT_VERIFIED_US);
    assert_true(policy->audit.drilled_within_us == POLICY_AUDIT_DRILLED_US);
    assert_true(policy->audit.wal_lag_us == POLICY_AUDIT_WAL_LAG_US);
    assert_true(policy->audit.keep_at_most_us == 0);
    assert_int_equal(policy->audit.success_rate, 95);
    assert_int_equal(policy->audit.copies, 2);
    assert_int_equal(policy->audit.waiver_count, 0);
    policy_free(policy);
    buf_clear(&lines);
}

static void test_values(void **state)
{
    (void)state;
    struct buf lines;
    struct policy *policy = case_parse(
        HEAD "audit:\n"
             "  excluded_databases: [\"scratch_*\", postgres]\n"
             "  verified_within: 7d\n  drilled_within: 30d\n  wal_lag: 5m\n  keep_at_most: 400d\n"
             "  success_rate: 99\n  copies: 3\n"
             "  waivers:\n"
             "    - {id: RST-1, reason: no machine, owner: ann, expires: 2027-01-31}\n"
             "    - {id: ACC-3, reason: luks, owner: bob, expires: \"2027-01-31T10:00:00Z\"}\n",
        &lines);
    assert_string_equal(buf_text(&lines), "");
    assert_non_null(policy);
    const struct policy_audit *audit = &policy->audit;
    assert_int_equal(audit->excluded_databases.count, 2);
    assert_string_equal(audit->excluded_databases.items[0], "scratch_*");
    assert_true(audit->verified_within_us == 7 * US_PER_DAY);
    assert_true(audit->drilled_within_us == 30 * US_PER_DAY);
    assert_true(audit->wal_lag_us == 5 * US_PER_MINUTE);
    assert_true(audit->keep_at_most_us == 400 * US_PER_DAY);
    assert_int_equal(audit->success_rate, 99);
    assert_int_equal(audit->copies, 3);
    assert_int_equal(audit->waiver_count, 2);
    assert_string_equal(audit->waivers[0].id, "RST-1");
    assert_string_equal(audit->waivers[0].reason, "no machine");
    assert_string_equal(audit->waivers[1].owner, "bob");
    assert_true(audit->waivers[0].expires_us == INT64_C(1801353600) * US_PER_SECOND);
    assert_true(audit->waivers[1].expires_us == INT64_C(1801389600) * US_PER_SECOND);
    assert_int_equal(audit->waivers[1].line, 15);
    policy_free(policy);
    buf_clear(&lines);
}

static const struct {
    const char *text, *lines;
} CASES[] = {
    {HEAD "audit: []\n", "5:8: \"audit\" must be a mapping of keys, not a list\n"},
    {HEAD "audit: {copies: 0}\n",
     "5:17: \"copies\" must be a whole number from 1 to 10000, not \"0\"\n"},
    {HEAD "audit: {waiver: []}\n",
     "5:9: unknown key \"waiver\" in audit: did you mean \"waivers\"?\n"},
    {HEAD "audit: {waivers: {}}\n", "5:18: \"waivers\" must be a list\n"},
    {HEAD "audit: {waivers: [RST-1]}\n",
     "5:19: a waiver is a mapping of keys: id, reason, owner, expires\n"},
    {HEAD "audit: {waivers: [{id: RST-1, reason: x, owner: a}]}\n",
     "5:19: a waiver needs \"expires\"\n"},
    {HEAD "audit: {waivers: [{id: RST-1, reason: \"\", owner: a, expires: 2027-01-31}]}\n",
     "5:39: a waiver needs \"reason\"\n"},
    {HEAD "audit: {waivers: [{id: RST-1, reason: x, owner: a, expires: never}]}\n",
     "5:61: \"expires\" must be a day (2027-01-31) or a time in UTC, not \"never\"\n"},
    {HEAD "audit: {waivers: [{id: RST-1, reason: x, owner: a, expires: 2027-01-31, end: x}]}\n",
     "5:73: unknown key \"end\" in waivers\n"},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++)
        case_expect(CASES[i].text, CASES[i].lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_defaults),
                                       cmocka_unit_test(test_values), cmocka_unit_test(test_cases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
