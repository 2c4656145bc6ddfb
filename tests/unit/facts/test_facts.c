/* Facts: entries that begin as "not known", growth, removal, names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "facts/facts.h"

static struct facts_backup *add_backup(struct facts *facts, const char *id)
{
    struct facts_backup *backup = NULL;
    assert_int_equal(facts_add_backup(facts, &backup, NULL), 0);
    backup->id = strdup(id);
    backup->job = strdup("nightly");
    backup->databases = calloc(3, sizeof(char *));
    assert_non_null(backup->databases);
    backup->databases[0] = strdup("app");
    backup->databases[1] = strdup("crm");
    return backup;
}

/* What nobody filled in must not look like good news to a verdict. */
static void test_new_entries(void **state)
{
    (void)state;
    struct facts facts = {0};
    struct facts_backup *backup = NULL;
    struct facts_hold *hold = NULL;
    assert_int_equal(facts_add_backup(&facts, &backup, NULL), 0);
    assert_int_equal(backup->state, BACKUP_UNKNOWN);
    assert_int_equal(backup->started_us, INSTANT_NONE);
    assert_int_equal(backup->completed_us, INSTANT_NONE);
    assert_int_equal(backup->newest_us, INSTANT_NONE);
    assert_int_equal(backup->verified_us, INSTANT_NONE);
    assert_int_equal(backup->locked_until_us, INSTANT_NONE);
    assert_int_equal(backup->drilled_us, INSTANT_NONE);
    assert_int_equal(backup->verified_level, 0);
    assert_null(backup->id);
    assert_null(backup->databases);
    assert_int_equal(facts_add_hold(&facts, &hold, NULL), 0);
    assert_int_equal(hold->created_us, INSTANT_NONE);
    assert_int_equal(hold->expires_us, INSTANT_NONE);
    assert_false(facts.complete);
    facts_clear(&facts);
    assert_int_equal(facts.backup_count + facts.hold_count, 0);
    facts_clear(&facts); /* once more does nothing */
}

static void test_growth_and_removal(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    struct facts facts = {.cluster = strdup("shop"), .problem = strdup("none")};
    char id[20];
    for (int i = 0; i < COUNT; i++) {
        struct facts_hold *hold = NULL;
        snprintf(id, sizeof(id), "b%d", i);
        add_backup(&facts, id);
        assert_int_equal(facts_add_hold(&facts, &hold, NULL), 0);
        hold->hold_id = strdup(id);
        hold->reason = strdup("case 7");
    }
    for (int i = 0; i < COUNT; i++) {
        snprintf(id, sizeof(id), "b%d", i);
        assert_string_equal(facts.backups[i].id, id);
        assert_string_equal(facts.backups[i].databases[1], "crm");
        assert_string_equal(facts.holds[i].hold_id, id);
    }
    facts_remove_backup(&facts, 3);
    assert_int_equal(facts.backup_count, COUNT - 1);
    assert_string_equal(facts.backups[3].id, "b99");
    facts_remove_backup(&facts, COUNT - 2); /* the last one */
    assert_int_equal(facts.backup_count, COUNT - 2);
    assert_string_equal(facts.backups[COUNT - 3].id, "b97");
    while (facts.backup_count > 0)
        facts_remove_backup(&facts, 0);
    assert_string_equal(add_backup(&facts, "again")->id, "again");
    facts_clear(&facts);
}

static void test_limits(void **state)
{
    (void)state;
    struct facts facts = {.backup_count = FACTS_BACKUPS_MAX, .hold_count = FACTS_HOLDS_MAX};
    struct facts_backup *backup = NULL;
    struct facts_hold *hold = NULL;
    struct error err = ERROR_NONE;
    assert_int_equal(facts_add_backup(&facts, &backup, &err), ERR_LIMIT);
    assert_string_equal(err.message, "more than 1000000 backups in one repository");
    assert_int_equal(facts_add_hold(&facts, &hold, &err), ERR_LIMIT);
    assert_string_equal(err.message, "more than 100000 holds in one repository");
    assert_null(backup);
    assert_null(hold);
}

/* These words are in JSON, journal and evidence: they never change. */
static void test_names(void **state)
{
    (void)state;
    assert_string_equal(backup_kind_name(BACKUP_DUMP), "dump");
    assert_string_equal(backup_kind_name(BACKUP_SNAPSHOT), "snapshot");
    assert_string_equal(backup_state_name(BACKUP_GOOD), "good");
    assert_string_equal(backup_state_name(BACKUP_RUNNING), "running");
    assert_string_equal(backup_state_name(BACKUP_GARBAGE), "garbage");
    assert_string_equal(backup_state_name(BACKUP_FRESH_REMAINS), "unfinished");
    assert_string_equal(backup_state_name(BACKUP_UNKNOWN), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_entries),
        cmocka_unit_test(test_growth_and_removal),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
