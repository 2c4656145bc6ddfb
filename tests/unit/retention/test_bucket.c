/* Settings of a bucket against a policy: one row per verdict. */
#include "retention/history.h"

#include "base/buf.h"
#include "retention/bucket.h"

#define EXPIRE(rule_prefix, days)                                                     \
    {                                                                                 \
        .id = "r1", .prefix = (rule_prefix), .is_enabled = true, .storage_class = "", \
        .expire_days = (days)                                                         \
    }
#define MOVE(rule_prefix, days, class)                                                     \
    {                                                                                      \
        .id = "r1", .prefix = (rule_prefix), .is_enabled = true, .storage_class = (class), \
        .transition_days = (days)                                                          \
    }
#define FINE "pass bucket conditional create: two hosts can't create the same object\n"
#define NO_RULES                                                                                    \
    "pass bucket lifecycle: 0 rules in force, none deletes or moves what is kept here; unfinished " \
    "uploads are aborted by prune\n"
#define ONE_RULE                                                                                   \
    "pass bucket lifecycle: 1 rule in force, none deletes or moves what is kept here; unfinished " \
    "uploads are aborted by prune\n"
#define UNVERSIONED "pass bucket versioning: off: what prune deletes is gone\n"
#define UNLOCKED "pass bucket object lock: not asked for\n"

static char nightly[] = "nightly", cluster[] = "shop";

static const struct {
    struct facts_bucket bucket;
    struct facts_rule rules[2];
    bool keeps_for_ever;
    enum s3_object_lock wanted;
    const char *lines;
} ROWS[] = {
    {.lines = FINE NO_RULES UNVERSIONED UNLOCKED},

    /* what expires where; the policy keeps 30 days */
    {.rules = {EXPIRE("", 7)},
     .lines = FINE "fail bucket lifecycle: rule \"r1\" deletes in dumps/ after 7 days; the policy "
                   "keeps backups 30d\n" UNVERSIONED UNLOCKED},
    {.rules = {EXPIRE("prod/", 365)},
     .lines = FINE "fail bucket lifecycle: rule \"r1\" deletes in wal/ after 365 days, which must "
                   "stay\n" UNVERSIONED UNLOCKED},
    {.rules = {EXPIRE("prod/shop/evidence", 3650)},
     .lines = FINE "fail bucket lifecycle: rule \"r1\" deletes in evidence/ after 3650 days, which "
                   "must stay\n" UNVERSIONED UNLOCKED},
    {.rules = {EXPIRE("prod/shop/holds/2026", 365)},
     .lines = FINE "fail bucket lifecycle: rule \"r1\" deletes in holds/ after 365 days, which "
                   "must stay\n" UNVERSIONED UNLOCKED},
    {.rules = {EXPIRE("prod/shop/dumps/", 29)},
     .lines = FINE "fail bucket lifecycle: rule \"r1\" deletes in dumps/ after 29 days; the policy "
                   "keeps backups 30d\n" UNVERSIONED UNLOCKED},
    {.rules = {EXPIRE("prod/shop/dumps/", 30)},
     .lines = FINE
     "warn bucket lifecycle: rule \"r1\" deletes in dumps/ by age alone, after 30 "
     "days: when no new backups are made, the last good one goes too\n" UNVERSIONED UNLOCKED},
    {.rules = {EXPIRE("prod/shop/dumps/", 3650)},
     .keeps_for_ever = true,
     .lines = FINE "fail bucket lifecycle: rule \"r1\" deletes in dumps/ after 3650 days; the "
                   "policy keeps backups for ever\n" UNVERSIONED UNLOCKED},
    {.rules = {EXPIRE("prod/shop2/", 1)}, .lines = FINE ONE_RULE UNVERSIONED UNLOCKED},
    {.rules = {EXPIRE("logs/", 1)}, .lines = FINE ONE_RULE UNVERSIONED UNLOCKED},
    {.rules = {{.id = "r1", .prefix = "", .storage_class = "", .expire_days = 1}},
     .lines = FINE NO_RULES UNVERSIONED UNLOCKED},
    {.rules = {{.id = "r1",
                .prefix = "",
                .is_enabled = true,
                .is_filtered = true,
                .storage_class = "",
                .expire_days = 1}},
     .lines = FINE "warn bucket lifecycle: rule \"r1\" deletes in dumps/ after 1 days, of some "
                   "objects; the policy keeps backups 30d\n" UNVERSIONED UNLOCKED},

    /* what is moved */
    {.rules = {MOVE("", 90, "GLACIER")},
     .lines = FINE "fail bucket lifecycle: rule \"r1\" moves what lies in dumps/ to GLACIER: it "
                   "can't be read before a restore that takes hours, and then nothing can be "
                   "listed, pruned or restored\n" UNVERSIONED UNLOCKED},
    {.rules = {MOVE("prod/shop/dumps/", -1, "DEEP_ARCHIVE")},
     .lines = FINE "fail bucket lifecycle: rule \"r1\" moves what lies in dumps/ to DEEP_ARCHIVE: "
                   "it can't be read before a restore that takes hours, and then nothing can be "
                   "listed, pruned or restored\n" UNVERSIONED UNLOCKED},
    {.rules = {MOVE("prod/shop/dumps/", 90, "GLACIER")},
     .lines = FINE "warn bucket lifecycle: rule \"r1\" moves what lies in dumps/ to GLACIER: it "
                   "can't be read before a restore that takes hours, and then nothing can be "
                   "listed, pruned or restored\n" UNVERSIONED UNLOCKED},
    {.rules = {MOVE("", 30, "STANDARD_IA"), MOVE("", 60, "GLACIER_IR")},
     .lines = FINE "pass bucket lifecycle: 2 rules in force, none deletes or moves what is kept "
                   "here; unfinished uploads are aborted by prune\n" UNVERSIONED UNLOCKED},
    {.rules =
         {{.id = "r1", .prefix = "", .is_enabled = true, .storage_class = "", .abort_days = 7}},
     .lines = FINE
     "pass bucket lifecycle: 1 rule in force, none deletes or moves what is kept "
     "here; unfinished uploads are aborted by a rule, and by prune\n" UNVERSIONED UNLOCKED},
    {.bucket = {.rules_problem = "AccessDenied"},
     .lines = FINE
     "unknown bucket lifecycle: the rules can't be read: AccessDenied\n" UNVERSIONED UNLOCKED},

    /* versions */
    {.bucket = {.is_versioned = true, .can_delete = true},
     .lines = FINE NO_RULES "pass bucket versioning: on: prune deletes every version of what it "
                            "deletes\n" UNLOCKED},
    {.bucket = {.is_versioned = true},
     .lines = FINE NO_RULES
     "warn bucket versioning: on, and the key can't delete versions: what prune deletes stays "
     "as versions, and is paid for\n" UNLOCKED},
    {.bucket = {.is_versioned = true},
     .rules = {{.id = "r1",
                .prefix = "prod/",
                .is_enabled = true,
                .storage_class = "",
                .noncurrent_days = 7}},
     .lines =
         FINE ONE_RULE "pass bucket versioning: on: a lifecycle rule removes the versions that "
                       "prune leaves\n" UNLOCKED},
    {.bucket = {.versioning_problem = "AccessDenied"},
     .lines = FINE NO_RULES "unknown bucket versioning: it can't be read: AccessDenied\n" UNLOCKED},

    /* locks */
    {.wanted = S3_LOCK_GOVERNANCE,
     .lines = FINE NO_RULES UNVERSIONED
     "fail bucket object lock: off, and the policy has object_lock: governance\n"},
    {.wanted = S3_LOCK_COMPLIANCE,
     .bucket = {.allows_locks = true},
     .lines = FINE NO_RULES UNVERSIONED "pass bucket object lock: compliance\n"},
    {.bucket = {.allows_locks = true}, .lines = FINE NO_RULES UNVERSIONED UNLOCKED},
    {.bucket = {.allows_locks = true, .locks_by_default = true, .default_lock_days = 14},
     .lines = FINE NO_RULES UNVERSIONED
     "warn bucket object lock: the bucket locks everything for 14 days by default, lock records "
     "and heartbeats too: what is deleted stays that long\n"},
    {.wanted = S3_LOCK_GOVERNANCE,
     .bucket = {.lock_problem = "AccessDenied"},
     .lines =
         FINE NO_RULES UNVERSIONED "unknown bucket object lock: it can't be read: AccessDenied\n"},

    /* creating */
    {.bucket = {.creates_may_race = true},
     .lines = "warn bucket conditional create: the service has no If-None-Match: of two hosts that "
              "begin at the same moment both may think that they were first\n" NO_RULES UNVERSIONED
                  UNLOCKED},
};

static void judge(size_t row, const char *prefix, struct buf *text)
{
    struct error err = ERROR_NONE;
    struct zone *zone = NULL;
    struct facts_rule rules[2];
    struct facts_bucket bucket = ROWS[row].bucket;
    struct retention_findings findings;
    assert_int_equal(zone_load("UTC", &zone, &err), 0);
    memcpy(rules, ROWS[row].rules, sizeof(rules));
    bucket.prefix = prefix;
    bucket.rules = rules;
    while (bucket.rule_count < 2 && rules[bucket.rule_count].id)
        bucket.rule_count++;
    const char **problems[] = {&bucket.versioning_problem, &bucket.lock_problem,
                               &bucket.rules_problem};
    for (size_t i = 0; i < ARRAY_SIZE(problems); i++)
        if (!*problems[i])
            *problems[i] = "";
    struct policy_job job = {
        .name = nightly,
        .type = JOB_DUMP,
        .keep = {.is_set = !ROWS[row].keeps_for_ever, .within_us = 30 * US_PER_DAY}};
    struct policy policy = policy_of(&job, 1);
    policy.cluster = cluster;
    policy.s3.object_lock = ROWS[row].wanted;
    struct retention_zones zones = {.policy = zone};
    retention_judge_bucket(&bucket, &policy, &zones, at("2026-11-21T12:00"), &findings);
    for (size_t i = 0; i < findings.count; i++) {
        const struct retention_finding *finding = &findings.items[i];
        buf_addf(text, "%s %s: %s\n", finding_status_name(finding->status), finding->id,
                 finding->observed);
        /* what is not well has a cure, and only that */
        assert_int_equal(finding->cure == NULL, finding->status == FINDING_PASS);
    }
    zone_free(zone);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct buf text = BUF_INIT(100000);
        judge(i, "prod", &text);
        if (strcmp(buf_text(&text), ROWS[i].lines) != 0)
            fail_msg("row %zu: got:\n%s\nwant:\n%s", i, buf_text(&text), ROWS[i].lines);
        buf_clear(&text);
    }
}

/* A repository at the root of its bucket: a rule for "prod/" is not its own. */
static void test_no_prefix(void **state)
{
    (void)state;
    struct buf text = BUF_INIT(100000);
    judge(1, "", &text);
    assert_non_null(strstr(buf_text(&text), "fail bucket lifecycle"));
    buf_clear(&text);
    judge(2, "", &text);
    assert_string_equal(buf_text(&text), FINE ONE_RULE UNVERSIONED UNLOCKED);
    buf_clear(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_no_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
