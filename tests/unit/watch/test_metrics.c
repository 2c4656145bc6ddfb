/* Samples: escaping, order, numbers, JSON there and back, limits; and the table itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "watch/metrics.h"

static void assert_text(struct samples *samples, const char *expected)
{
    struct buf out = BUF_INIT(METRICS_BYTES_MAX);
    struct error err = ERROR_NONE;
    if (metrics_write(samples, &out, &err))
        fail_msg("%s", err.message);
    assert_string_equal(buf_text(&out), expected);
    buf_clear(&out);
}

static void test_text(void **state)
{
    (void)state;
    struct samples samples = SAMPLES_INIT;
    samples_add(&samples, METRIC_HOLDS, 2.0, "b");
    samples_add(&samples, METRIC_POLICIES, 3.0);
    samples_add(&samples, METRIC_HOLDS, 0.25, "a");
    samples_add_us(&samples, METRIC_JOB_NEXT, INT64_C(1795917600000000), "a", "nightly");
    samples_add_us(&samples, METRIC_JOB_NEXT, INSTANT_NONE, "a", "never");
    samples_add_us(&samples, METRIC_WAL_LAG_SECONDS, 1500000, "a");
    assert_text(&samples,
                "# HELP pgcairn_policies Policies in force.\n# TYPE pgcairn_policies gauge\n"
                "pgcairn_policies 3\n"
                "# HELP pgcairn_job_next_timestamp_seconds The next due instant.\n"
                "# TYPE pgcairn_job_next_timestamp_seconds gauge\n"
                "pgcairn_job_next_timestamp_seconds{cluster=\"a\",job_name=\"nightly\"} "
                "1795917600\n"
                "# HELP pgcairn_holds Holds on backups.\n# TYPE pgcairn_holds gauge\n"
                "pgcairn_holds{cluster=\"b\"} 2\npgcairn_holds{cluster=\"a\"} 0.25\n"
                "# HELP pgcairn_wal_lag_seconds Since when what is stored without a gap was all of "
                "the finished WAL; 0 without lag.\n# TYPE pgcairn_wal_lag_seconds gauge\n"
                "pgcairn_wal_lag_seconds{cluster=\"a\"} 1.5\n");
    samples_clear(&samples);
}

/* Names of databases are anything; a text that is not UTF-8 would be refused as a whole. */
static const struct {
    const char *value, *escaped;
} ESCAPES[] = {
    {"plain", "plain"},
    {"", ""},
    {"a\"b", "a\\\"b"},
    {"a\\", "a\\\\"},
    {"two\nlines", "two\\nlines"},
    {"\\n", "\\\\n"},
    {"Stra\xc3\x9f-x", "Stra\xc3\x9f-x"},
    {"\xff\xfe", "??"},
    {"cut \xc3", "cut ?"},
    {"} 1\npgcairn_up 1", "} 1\\npgcairn_up 1"},
};

static void test_escapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ESCAPES); i++) {
        struct samples samples = SAMPLES_INIT;
        char wanted[256];
        samples_add(&samples, METRIC_HOLDS, 1.0, ESCAPES[i].value);
        snprintf(wanted, sizeof(wanted),
                 "# HELP pgcairn_holds Holds on backups.\n# TYPE pgcairn_holds gauge\n"
                 "pgcairn_holds{cluster=\"%s\"} 1\n",
                 ESCAPES[i].escaped);
        assert_text(&samples, wanted);
        samples_clear(&samples);
    }
}

static void test_a_long_value_is_cut(void **state)
{
    (void)state;
    struct samples samples = SAMPLES_INIT;
    char value[4096];
    memset(value, '"', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    samples_add(&samples, METRIC_AUDIT_CONTROL, 1.0, value, value, value, value);
    assert_int_equal(samples_failed(&samples, NULL), 0);
    assert_int_equal(strlen(samples.items[0].labels),
                     4 * 2 * METRIC_LABEL_BYTES_MAX +
                         strlen("cluster=\"\",control=\"\",severity=\"\",status=\"\""));
    samples_clear(&samples);
}

static void test_json_and_back(void **state)
{
    (void)state;
    struct samples samples = SAMPLES_INIT, read = SAMPLES_INIT;
    struct buf first = BUF_INIT(METRICS_BYTES_MAX), second = BUF_INIT(METRICS_BYTES_MAX);
    struct error err = ERROR_NONE;
    for (size_t i = 0; i < ARRAY_SIZE(ESCAPES); i++)
        samples_add(&samples, METRIC_DATABASE_SIZE, (double)i + 0.1, "demo", ESCAPES[i].value);
    samples_add(&samples, METRIC_POLICIES, 7.0);
    json_t *list = samples_to_json(&samples);
    json_array_append_new(
        list, json_pack("{s:s, s:{}, s:f}", "name", "pgcairn_of_tomorrow", "labels", "value", 1.0));
    assert_int_equal(samples_from_json(list, &read, NULL), 0);
    assert_int_equal(metrics_write(&samples, &first, NULL), 0);
    assert_int_equal(metrics_write(&read, &second, NULL), 0);
    assert_string_equal(buf_text(&first), buf_text(&second));
    json_decref(list);
    list = json_object();
    assert_int_equal(samples_from_json(list, &read, &err), ERR_CORRUPT);
    json_decref(list);
    buf_clear(&first);
    buf_clear(&second);
    samples_clear(&samples);
    samples_clear(&read);
}

static void test_takes_and_copies(void **state)
{
    (void)state;
    struct samples into = SAMPLES_INIT, from = SAMPLES_INIT;
    samples_add(&into, METRIC_HOLDS, 1.0, "a");
    samples_add(&from, METRIC_HOLDS, 2.0, "b");
    samples_copy(&into, &from.items[0]);
    samples_take(&into, &from);
    assert_int_equal(from.count, 0);
    assert_int_equal(into.count, 3);
    assert_string_equal(into.items[2].labels, "cluster=\"b\"");
    samples_clear(&into);
}

static void test_limit(void **state)
{
    (void)state;
    struct samples samples = SAMPLES_INIT;
    struct buf out = BUF_INIT(100);
    struct error err = ERROR_NONE;
    for (int i = 0; i <= SAMPLES_MAX; i++)
        samples_add(&samples, METRIC_POLICIES, (double)i);
    assert_int_equal(samples_failed(&samples, &err), ERR_LIMIT);
    assert_string_equal(err.message, "there are more than 500000 samples of metrics");
    samples_clear(&samples);
    samples_add(&samples, METRIC_POLICIES, 1.0);
    samples_add(&samples, METRIC_RELOAD_FAILURES, 1.0);
    assert_int_equal(metrics_write(&samples, &out, &err), ERR_LIMIT);
    samples_clear(&samples);
    buf_clear(&out);
}

/* Prometheus's rules for names; no help that would need an escape; no name twice. */
static void test_table(void **state)
{
    (void)state;
    static const char LETTERS[] = "abcdefghijklmnopqrstuvwxyz_ ";
    for (int i = 0; i < METRIC_COUNT; i++) {
        const struct metric *metric = metric_row((enum metric_id)i);
        assert_int_equal(strspn(metric->name, LETTERS), strlen(metric->name));
        assert_null(strchr(metric->name, ' '));
        assert_int_equal(strspn(metric->labels, LETTERS), strlen(metric->labels));
        assert_null(strpbrk(metric->help, "\\\n"));
        assert_true(metric_label_count((enum metric_id)i) <= METRIC_LABELS_MAX);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(metric->name, metric_row((enum metric_id)k)->name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_a_long_value_is_cut),
        cmocka_unit_test(test_json_and_back),
        cmocka_unit_test(test_takes_and_copies),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
