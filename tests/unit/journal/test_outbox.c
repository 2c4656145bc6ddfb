/* The outbox: order per target, tries, what is given up, bounds; and troubles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "journal/outbox.h"

#define NOW_US INT64_C(1795917600000000)

static char folder[64];
static struct journal *journal;
static struct error err;

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/pgcairn-outbox-XXXXXX");
    return mkdtemp(folder) && journal_open(folder, JOURNAL_WRITE, &journal, &err) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    static const char *const SUFFIXES[] = {"", "-wal", "-shm"};
    char path[128];
    (void)state;
    journal_free(journal);
    for (size_t i = 0; i < ARRAY_SIZE(SUFFIXES); i++) {
        snprintf(path, sizeof(path), "%s/journal.db%s", folder, SUFFIXES[i]);
        unlink(path);
    }
    return rmdir(folder);
}

static void add(const char *cluster, const char *target, const char *kind, int64_t at_us)
{
    if (outbox_add(journal, cluster, "nightly", target, kind, "{}", at_us, &err))
        fail_msg("%s", err.message);
}

/* "target:kind " of each that is due; keeps the first one. */
static void due(const char *cluster, int64_t now_us, struct outbox_notice *ret_first,
                const char *expected)
{
    struct outbox_notice *notices = NULL;
    size_t count = 0, used = 0;
    char text[256] = "";
    assert_int_equal(outbox_take_due(journal, cluster, now_us, &notices, &count, &err), 0);
    for (size_t i = 0; i < count; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s:%s ", notices[i].target,
                                 notices[i].kind);
        if (i == 0 && ret_first)
            *ret_first = notices[i];
        outbox_notice_clear(&notices[i]);
    }
    free(notices);
    assert_string_equal(text, expected);
}

static struct outbox_counts counts_of(const char *cluster)
{
    struct outbox_counts counts;
    assert_int_equal(outbox_counts(journal, cluster, &counts, &err), 0);
    return counts;
}

static void test_order_is_kept_per_target(void **state)
{
    struct outbox_notice first;
    int64_t next_us = 0;
    (void)state;
    add("shop", "a", "failure", NOW_US);
    add("shop", "a", "recovery", NOW_US + 1);
    add("shop", "b", "failure", NOW_US + 2);
    add("other", "a", "failure", NOW_US);
    due("shop", NOW_US + 10, &first, "a:failure b:failure ");
    assert_int_equal(outbox_failed(journal, &first, true, "no route", NOW_US + 10, &next_us, &err),
                     0);
    assert_int_equal(next_us, NOW_US + 10 + OUTBOX_WAIT_US);
    due("shop", NOW_US + 11, NULL, "b:failure ");
    assert_string_equal(counts_of("shop").last_error, "no route");
    due("shop", next_us, &first, "a:failure b:failure ");
    assert_int_equal(first.attempts, 1);
    assert_int_equal(outbox_delivered(journal, first.id, next_us, &err), 0);
    due("shop", next_us, NULL, "a:recovery b:failure ");
    assert_int_equal(counts_of("shop").pending, 2);
    assert_int_equal(counts_of(NULL).pending, 3);
    assert_string_equal(counts_of("shop").last_error, "");
}

static void test_waits_double_and_end(void **state)
{
    struct outbox_notice notice;
    int64_t now_us = NOW_US, next_us = 0, last_us = 0;
    int tries = 0;
    (void)state;
    add("shop", "a", "failure", now_us);
    for (; next_us != INSTANT_NONE; tries++) {
        due("shop", now_us, &notice, "a:failure ");
        assert_int_equal(outbox_failed(journal, &notice, true, "no", now_us, &next_us, &err), 0);
        if (next_us == INSTANT_NONE)
            break;
        assert_true(next_us - now_us >= last_us && next_us - now_us <= OUTBOX_WAIT_MAX_US);
        last_us = next_us - now_us;
        now_us = next_us;
    }
    assert_in_range(tries, 10, OUTBOX_TRIES_MAX);
    assert_int_equal(counts_of("shop").failed, 1);
    assert_int_equal(counts_of("shop").last_failed_us, NOW_US);
    due("shop", now_us + US_PER_DAY, NULL, "");
    assert_int_equal(outbox_next_us(journal, "shop", NOW_US, &next_us, &err), 0);
    assert_true(next_us == INT64_MAX);
}

static void test_what_cannot_pass_is_given_up_at_once(void **state)
{
    struct outbox_notice notice;
    int64_t next_us = 0;
    (void)state;
    add("shop", "a", "failure", NOW_US);
    add("shop", "a", "recovery", NOW_US + 1);
    due("shop", NOW_US + 1, &notice, "a:failure ");
    assert_int_equal(outbox_failed(journal, &notice, false, "404", NOW_US + 1, &next_us, &err), 0);
    assert_int_equal(next_us, INSTANT_NONE);
    due("shop", NOW_US + 1, NULL, "a:recovery ");
}

static void test_knows_when_a_target_was_told(void **state)
{
    int64_t last_us = 0, count = 0;
    (void)state;
    add("shop", "a", "failure", NOW_US);
    add("shop", "a", "failure", NOW_US + 5);
    add("shop", "a", "recovery", NOW_US + 9);
    assert_int_equal(outbox_last(journal, "shop", "nightly", "a", "failure", &last_us, &err), 0);
    assert_int_equal(last_us, NOW_US + 5);
    assert_int_equal(outbox_last(journal, "shop", "weekly", "a", "failure", &last_us, &err), 0);
    assert_int_equal(last_us, INSTANT_NONE);
    assert_int_equal(
        outbox_count_since(journal, "shop", "nightly", "a", "failure", NOW_US, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_int_equal(
        outbox_count_since(journal, "shop", "nightly", "a", "failure", NOW_US + 5, &count, &err),
        0);
    assert_int_equal(count, 1);
}

/* However many successes came since: else nobody would be told that it is well again. */
static void test_remembers_what_was_told_long_ago(void **state)
{
    int64_t last_us = 0;
    struct outbox_notice notice;
    (void)state;
    add("shop", "a", "failure", NOW_US);
    for (int i = 1; i <= OUTBOX_KEPT_MAX + 50; i++) {
        due("shop", NOW_US + i, &notice, i == 1 ? "a:failure " : "a:success ");
        assert_int_equal(outbox_delivered(journal, notice.id, NOW_US + i, &err), 0);
        add("shop", "a", "success", NOW_US + i);
    }
    assert_int_equal(outbox_last(journal, "shop", "nightly", "a", "failure", &last_us, &err), 0);
    assert_int_equal(last_us, NOW_US);
}

/* A row of a clock that was a year ahead must not keep back what comes after it. */
static void test_a_clock_set_back_holds_nothing_up(void **state)
{
    int64_t next_us = 0;
    (void)state;
    add("shop", "a", "failure", NOW_US + 366 * US_PER_DAY);
    add("shop", "a", "recovery", NOW_US);
    assert_int_equal(outbox_next_us(journal, "shop", NOW_US, &next_us, &err), 0);
    assert_int_equal(next_us, NOW_US);
    due("shop", NOW_US, NULL, "a:failure ");
}

static void test_is_bounded(void **state)
{
    (void)state;
    for (int i = 0; i < OUTBOX_PENDING_MAX + OUTBOX_KEPT_MAX + 50; i++)
        add("shop", "a", "failure", NOW_US + i);
    struct outbox_counts counts = counts_of("shop");
    assert_int_equal(counts.pending, OUTBOX_PENDING_MAX);
    assert_int_equal(counts.failed, OUTBOX_KEPT_MAX);
    assert_int_equal(counts.oldest_pending_us, NOW_US);
}

/* Many successes do not make it forget that a failure was told. */
static void test_the_last_of_each_kind_is_kept(void **state)
{
    int64_t last_us = 0, kept = 0;
    (void)state;
    add("shop", "a", "failure", NOW_US);
    add("shop", "a", "failure", NOW_US + 1);
    for (int i = 2; i < OUTBOX_KEPT_MAX + 50; i++) {
        struct outbox_notice *notices = NULL;
        size_t count = 0;
        add("shop", "a", "success", NOW_US + i);
        assert_int_equal(outbox_take_due(journal, "shop", NOW_US + i, &notices, &count, &err), 0);
        assert_int_equal(count, 1);
        assert_int_equal(outbox_delivered(journal, notices[0].id, NOW_US + i, &err), 0);
        outbox_notice_clear(&notices[0]);
        free(notices);
    }
    assert_int_equal(outbox_last(journal, "shop", "nightly", "a", "failure", &last_us, &err), 0);
    assert_int_equal(last_us, NOW_US + 1);
    assert_int_equal(outbox_count_since(journal, "shop", "nightly", "a", "failure", 0, &kept, &err),
                     0);
    assert_int_equal(kept, 1);
}

static void note_end(const struct outbox_notice *notice, void *context)
{
    char *text = context;
    size_t length = strlen(text);
    snprintf(text + length, 200 - length, "%s:%s%s ", notice->target, notice->kind,
             notice->is_given_up ? "!" : "");
}

/* What waits, and the last that was settled where it was given up. */
static void test_shows_what_is_not_told(void **state)
{
    char ends[200] = "";
    struct outbox_notice notice;
    int64_t next_us;
    (void)state;
    add("shop", "a", "failure", NOW_US);
    add("shop", "b", "failure", NOW_US);
    due("shop", NOW_US, &notice, "a:failure b:failure ");
    assert_int_equal(outbox_failed(journal, &notice, false, "410", NOW_US, &next_us, &err), 0);
    add("shop", "a", "recovery", NOW_US + 1);
    assert_int_equal(outbox_each_end(journal, "shop", note_end, ends, &err), 0);
    assert_string_equal(ends, "a:recovery b:failure a:failure! ");
    ends[0] = '\0';
    assert_int_equal(outbox_each_end(journal, "other", note_end, ends, &err), 0);
    assert_string_equal(ends, "");
}

static void test_is_put_down_whole_or_not_at_all(void **state)
{
    int64_t since_us = 0;
    bool was_open = true;
    (void)state;
    assert_int_equal(outbox_begin(journal, &err), 0);
    add("shop", "a", "failure", NOW_US);
    add("shop", "b", "failure", NOW_US);
    assert_int_equal(trouble_open(journal, "shop", "nightly", "seen", NOW_US, &since_us, &err), 0);
    assert_int_equal(outbox_end(journal, ERR_FAILED, &err), ERR_FAILED);
    assert_int_equal(counts_of("shop").pending, 0);
    assert_int_equal(trouble_close(journal, "shop", "nightly", "seen", &was_open, &err), 0);
    assert_false(was_open);
    assert_int_equal(outbox_begin(journal, &err), 0);
    add("shop", "a", "failure", NOW_US);
    add("shop", "b", "failure", NOW_US);
    assert_int_equal(outbox_end(journal, 0, &err), 0);
    assert_int_equal(counts_of("shop").pending, 2);
}

static void test_troubles(void **state)
{
    int64_t since_us = 0;
    bool was_open = true;
    (void)state;
    assert_int_equal(trouble_close(journal, "shop", "nightly", "failure", &was_open, &err), 0);
    assert_false(was_open);
    assert_int_equal(trouble_open(journal, "shop", "nightly", "failure", NOW_US, &since_us, &err),
                     0);
    assert_int_equal(
        trouble_open(journal, "shop", "nightly", "failure", NOW_US + 9, &since_us, &err), 0);
    assert_int_equal(since_us, NOW_US);
    assert_int_equal(trouble_close(journal, "shop", "nightly", "failure", &was_open, &err), 0);
    assert_true(was_open);
}

#define ROW(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_order_is_kept_per_target),
        ROW(test_waits_double_and_end),
        ROW(test_what_cannot_pass_is_given_up_at_once),
        ROW(test_knows_when_a_target_was_told),
        ROW(test_remembers_what_was_told_long_ago),
        ROW(test_a_clock_set_back_holds_nothing_up),
        ROW(test_is_bounded),
        ROW(test_the_last_of_each_kind_is_kept),
        ROW(test_shows_what_is_not_told),
        ROW(test_is_put_down_whole_or_not_at_all),
        ROW(test_troubles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
