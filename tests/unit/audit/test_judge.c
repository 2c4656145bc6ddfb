/* What holds of all controls together: what is not known is never PASS, waivers, periods, saved
 * facts that give the same verdicts. */
#include "world.h"

#include "base/buf.h"
#include "base/json.h"

static void expect(const struct world *world, const char *id, enum audit_status want)
{
    const struct audit_finding *finding = world_finding(world, id);
    if (finding->status != want)
        fail_msg("%s: wanted %s, got %s \"%s\"", id, audit_status_name(want),
                 audit_status_name(finding->status), finding->observed);
}

static void test_healthy(void **state)
{
    (void)state;
    static const char *const POLICIES[] = {WORLD_FOLDER, WORLD_BUCKET};
    for (size_t i = 0; i < ARRAY_SIZE(POLICIES); i++) {
        struct world world;
        world_init(&world, POLICIES[i]);
        world_judge(&world);
        for (size_t j = 0; j < world.report.count; j++)
            if (world.report.findings[j].status > AUDIT_WARN)
                fail_msg("%s: %s", world.report.findings[j].control->id,
                         world.report.findings[j].observed);
        assert_int_equal(world.report.result, AUDIT_PASS);
        assert_int_equal(world.report.count, audit_control_count);
        assert_int_equal(world.report.notes.count, 0);
        assert_int_equal(world.report.waived, 0);
        size_t sum = 0;
        for (int status = 0; status < AUDIT_STATUS_COUNT; status++)
            sum += world.report.counts[status];
        assert_int_equal(sum, audit_control_count);
        world_clear(&world);
    }
}

/* -- what is not known ---------------------------------------------------------------------- */

static void lose_repository(struct world *world)
{
    struct facts_audit *facts = &world->facts;
    facts_clear(&facts->facts);
    facts->facts.cluster = copy("c");
    world_text(&facts->repository_problem, "no route to host");
    facts->has_evidence = facts->has_contents = facts->has_bucket = false;
    facts->since_us = INSTANT_NONE;
}

static void lose_server(struct world *world)
{
    world_text(&world->facts.server.problem, "connection refused");
}

static void lose_journal(struct world *world)
{
    world->facts.has_journal = false;
    world_text(&world->facts.journal_problem, "no such file");
}

static void lose_evidence(struct world *world)
{
    world->facts.has_evidence = false;
    world_text(&world->facts.evidence_problem, "access denied");
}

static void lose_file(struct world *world)
{
    world_text(&world->facts.files[0].problem, "gone");
}

static void lose_lists(struct world *world)
{
    world->facts.server.knows_slots = world->facts.server.knows_blockers = false;
}

static void lose_bucket(struct world *world)
{
    world->facts.has_bucket = false;
    world->facts.store_clock_offset_us = INSTANT_NONE;
    world_text(&world->facts.bucket_problem, "access denied");
}

static const struct {
    void (*lose)(struct world *world);
    const char *unknown; /* the controls that are UNKNOWN then, all of them and no other */
} LOSSES[] = {
    {lose_repository,
     "COV-1 COV-2 COV-3 FRQ-1 FRQ-2 WAL-1 WAL-2 WAL-3 RET-1 RET-2 RET-3 RET-4 "
     "RET-5 RET-6 INT-1 INT-2 INT-3 INT-4 INT-5 INT-7 RST-1 RST-2 RST-3 ACC-6 SCH-3 "},
    {lose_server, "COV-1 WAL-4 INT-6 ACC-1 ACC-5 SCH-2 MNT-1 MNT-2 MNT-3 MNT-4 "},
    {lose_journal, "FRQ-3 SCH-1 SCH-4 "},
    {lose_evidence, "FRQ-2 RET-1 INT-3 INT-5 INT-7 RST-1 RST-2 RST-3 SCH-3 "},
    {lose_file, "ACC-4 "},
    {lose_lists, "WAL-4 MNT-3 "},
    {lose_bucket, "RET-5 ACC-6 SCH-2 "},
};

static void test_unknown_is_never_pass(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(LOSSES); i++) {
        struct world world;
        struct buf unknown = BUF_INIT(4096);
        world_init(&world, WORLD_BUCKET);
        LOSSES[i].lose(&world);
        world_judge(&world);
        for (size_t j = 0; j < world.report.count; j++)
            if (world.report.findings[j].status == AUDIT_UNKNOWN)
                buf_addf(&unknown, "%s ", world.report.findings[j].control->id);
        assert_string_equal(buf_text(&unknown), LOSSES[i].unknown);
        assert_int_equal(world.report.counts[AUDIT_FAIL], 0);
        assert_int_equal(world.report.result, AUDIT_UNKNOWN);
        buf_clear(&unknown);
        world_clear(&world);
    }
}

static void test_fail_stands_above_unknown(void **state)
{
    (void)state;
    struct world world;
    const struct audit_finding *ordered[AUDIT_CONTROLS_MAX];
    world_init(&world, WORLD_FOLDER);
    lose_journal(&world);
    world.facts.server.uses_tls = false;
    world_judge(&world);
    assert_int_equal(world.report.result, AUDIT_FAIL);
    audit_order(&world.report, ordered);
    assert_string_equal(ordered[0]->control->id, "ACC-1");
    assert_string_equal(ordered[1]->control->id, "SCH-1");
    for (size_t i = 1; i < world.report.count; i++)
        assert_true(ordered[i - 1]->status >= ordered[i]->status);
    world_clear(&world);
}

/* -- waivers ------------------------------------------------------------------------------- */

#define WAIVERS                                                                              \
    WORLD_HEAD "repository: {url: file:///a}\n" WORLD_JOBS                                   \
               "audit: {excluded_databases: [postgres], waivers: [{id: ACC-1, reason: vpn, " \
               "owner: ann, expires: 2027-01-01}, {id: INT-6, reason: old, owner: bob, "     \
               "expires: 2026-11-01}, {id: SCH-1, reason: k8s, owner: ann, expires: "        \
               "2026-11-20T09:59:59Z}, {id: XYZ-9, reason: x, owner: y, expires: 2027-01-01}]}\n"

static void test_waivers(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, WAIVERS);
    world.facts.server.uses_tls = false;
    world.facts.daemon_heartbeat_us = at("2026-11-01T00:00:00Z");
    world_judge(&world);
    const struct audit_finding *finding = world_finding(&world, "ACC-1");
    assert_int_equal(finding->status, AUDIT_WARN);
    assert_int_equal(finding->judged, AUDIT_FAIL);
    assert_string_equal(finding->waiver->owner, "ann");
    /* One second past its end it counts no more. */
    expect(&world, "SCH-1", AUDIT_FAIL);
    assert_null(world_finding(&world, "SCH-1")->waiver);
    assert_int_equal(world.report.waived, 1);
    assert_int_equal(world.report.result, AUDIT_FAIL);
    assert_int_equal(world.report.notes.count, 3);
    assert_string_equal(world.report.notes.items[0], "c.yaml:11: the waiver of INT-6 has expired");
    assert_string_equal(world.report.notes.items[2], "c.yaml:11: no control is called \"XYZ-9\"");
    world_clear(&world);
}

static void test_a_waiver_of_what_passes_changes_nothing(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, WAIVERS);
    world_judge(&world);
    expect(&world, "ACC-1", AUDIT_PASS);
    assert_int_equal(world.report.waived, 0);
    world_clear(&world);
}

/* -- periods ------------------------------------------------------------------------------- */

static void test_a_period_is_judged_from_evidence_alone(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, WORLD_FOLDER);
    lose_server(&world);
    lose_journal(&world);
    world.period = (struct audit_period){at("2026-11-01T00:00:00Z"), at("2026-11-20T00:00:00Z")};
    world_judge(&world);
    assert_int_equal(world.report.counts[AUDIT_UNKNOWN], 0);
    assert_int_equal(world.report.counts[AUDIT_FAIL], 0);
    expect(&world, "FRQ-2", AUDIT_PASS);
    assert_non_null(strstr(world_finding(&world, "FRQ-2")->observed, "nightly: 19 of 19 came"));
    expect(&world, "RST-1", AUDIT_PASS);
    expect(&world, "INT-3", AUDIT_PASS);
    expect(&world, "MNT-1", AUDIT_SKIP);
    expect(&world, "FRQ-1", AUDIT_SKIP);
    world_clear(&world);
}

/* A night that was missed is found though all backups of that time are long gone, and so is one
 * whose backup was made and deleted since not taken for missed. */
static void test_a_period_that_is_past(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, WORLD_FOLDER);
    for (int day = 1; day <= 9; day++) {
        char id[8], started[40];
        if (day == 5)
            continue;
        snprintf(id, sizeof(id), "o%d", day);
        snprintf(started, sizeof(started), "2026-10-%02dT02:00:00Z", day);
        world_removed(&world.facts, "2026-11-10T05:15:00Z", id, started);
    }
    world.period = (struct audit_period){at("2026-10-02T00:00:00Z"), at("2026-10-10T00:00:00Z")};
    world_judge(&world);
    const struct audit_finding *finding = world_finding(&world, "FRQ-2");
    assert_int_equal(finding->status, AUDIT_FAIL);
    assert_string_equal(finding->observed, "nightly: 2026-10-05T02:00:00Z");
    /* No drill had been tried by then, and no audit was on record. */
    expect(&world, "RST-1", AUDIT_FAIL);
    expect(&world, "SCH-3", AUDIT_UNKNOWN);
    world_clear(&world);
}

/* -- clock changes, and other zones ---------------------------------------------------------- */

static void test_dues_follow_the_zone_of_the_job(void **state)
{
    (void)state;
    struct world world;
    struct error err = ERROR_NONE;
    _cleanup_(zone_freep) struct zone *berlin = NULL;
    assert_int_equal(zone_load("Europe/Berlin", &berlin, &err), 0);
    const struct retention_zones zones = {.policy = berlin};
    world_init(&world, WORLD_FOLDER);
    /* 02:00 in Berlin is 00:00 UTC until 2026-10-25 and 01:00 UTC from then on: of the dumps at
     * 02:00 UTC each still lies between its due instant and the next. */
    assert_int_equal(
        audit_judge(&world.facts, world.policy, &zones, &world.period, &world.report, &err), 0);
    expect(&world, "FRQ-2", AUDIT_PASS);
    expect(&world, "FRQ-1", AUDIT_PASS);
    world_clear(&world);
}

/* -- saved facts --------------------------------------------------------------------------- */

static char *verdicts(const struct world *world)
{
    struct buf text = BUF_INIT(1 << 20);
    for (size_t i = 0; i < world->report.count; i++) {
        const struct audit_finding *finding = &world->report.findings[i];
        buf_addf(&text, "%s %s %s | %s", finding->control->id, audit_status_name(finding->status),
                 finding->observed, finding->required);
        for (size_t j = 0; j < finding->evidence.count; j++)
            buf_addf(&text, " [%s]", finding->evidence.items[j]);
        buf_add_text(&text, "\n");
    }
    return buf_steal(&text);
}

static void test_saved_facts_give_the_same_verdicts(void **state)
{
    (void)state;
    static const char *const POLICIES[] = {WORLD_FOLDER, WORLD_BUCKET};
    for (size_t i = 0; i < ARRAY_SIZE(POLICIES); i++) {
        struct world world;
        struct error err = ERROR_NONE;
        world_init(&world, POLICIES[i]);
        struct facts_row *row = world_row(&world.facts.server.blockers,
                                          &world.facts.server.blocker_count, "session", "77");
        row->since_us = at("2026-11-17T00:00:00Z");
        add_hold(&world.facts.facts, "b0", "h1", INSTANT_NONE);
        facts_remove_backup(&world.facts.facts, 3);
        world_judge(&world);
        char *before = verdicts(&world);
        json_t *object = facts_audit_to_json(&world.facts);
        assert_non_null(object);
        char *text = NULL;
        assert_int_equal(json_to_text(object, &text, &err), 0);
        json_decref(object);
        assert_int_equal(json_parse_object(text, strlen(text), "facts", &object, &err), 0);
        facts_audit_clear(&world.facts);
        assert_int_equal(facts_audit_from_json(object, &world.facts, &err), 0);
        world_judge(&world);
        char *after = verdicts(&world);
        assert_string_equal(before, after);
        free(before);
        free(after);
        free(text);
        json_decref(object);
        world_clear(&world);
    }
}

/* Lines are cut at a length, which may be amid a character, and names come in any encoding. */
static void test_what_is_told_is_valid_text(void **state)
{
    (void)state;
    struct world world;
    char name[600];
    memset(name, 0, sizeof(name));
    for (size_t i = 0; i + 3 < sizeof(name); i += 2)
        memcpy(name + i, "\xc3\xbc", 2);
    world_init(&world, WORLD_FOLDER);
    world_database(&world.facts, name);
    world_text(&world.facts.journal_problem, "\xfc");
    world.facts.has_journal = false;
    lose_file(&world);
    world_judge(&world);
    for (size_t i = 0; i < world.report.count; i++) {
        json_t *text = json_string(world.report.findings[i].observed);
        assert_non_null(text);
        json_decref(text);
    }
    world_clear(&world);
}

/* What a terminal would obey, or XML may not hold, is not shown as it is. */
static void test_nothing_is_obeyed(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, WORLD_FOLDER);
    world_database(&world.facts, "a\x1b]0;x\x07"
                                 "b\xc2\x9b"
                                 "31m\xef\xbf\xbe\x7f\n");
    world_judge(&world);
    const struct audit_finding *finding = world_finding(&world, "COV-1");
    assert_non_null(strstr(finding->observed, "; a?]0;x?b??31m???? : in the newest snapshot"));
    world_clear(&world);
}

/* Facts may come from somebody else: a text that verdicts need is there, or they are refused. */
static void test_facts_without_a_name_are_refused(void **state)
{
    (void)state;
    struct world world;
    struct facts_audit facts = {0};
    struct error err = ERROR_NONE;
    world_init(&world, WORLD_FOLDER);
    json_t *object = facts_audit_to_json(&world.facts);
    json_t *record = json_array_get(json_object_get(object, "records"), 0);
    assert_int_equal(json_object_set_new(record, "type", json_null()), 0);
    assert_int_equal(facts_audit_from_json(object, &facts, &err), ERR_CORRUPT);
    assert_string_equal(err.message, "facts.records[0].type is missing or not of its type");
    json_decref(object);
    world_clear(&world);
}

static void test_another_policy_is_noted(void **state)
{
    (void)state;
    struct world world;
    world_init(&world, WORLD_FOLDER);
    world_text(&world.facts.policy_sha256, "abcdef");
    world_judge(&world);
    assert_int_equal(world.report.notes.count, 1);
    assert_non_null(strstr(world.report.notes.items[0], "gathered under another policy"));
    world_clear(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_healthy),
        cmocka_unit_test(test_unknown_is_never_pass),
        cmocka_unit_test(test_fail_stands_above_unknown),
        cmocka_unit_test(test_waivers),
        cmocka_unit_test(test_a_waiver_of_what_passes_changes_nothing),
        cmocka_unit_test(test_a_period_is_judged_from_evidence_alone),
        cmocka_unit_test(test_a_period_that_is_past),
        cmocka_unit_test(test_dues_follow_the_zone_of_the_job),
        cmocka_unit_test(test_saved_facts_give_the_same_verdicts),
        cmocka_unit_test(test_what_is_told_is_valid_text),
        cmocka_unit_test(test_nothing_is_obeyed),
        cmocka_unit_test(test_facts_without_a_name_are_refused),
        cmocka_unit_test(test_another_policy_is_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
