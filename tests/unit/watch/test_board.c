/* What the loop hands over and the thread shows: parcels, failures, what a lost source told before.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "watch/page.h"
#include "watch/site.h"

static const char POLICY[] =
    "cluster: demo\npostgres: {connection: \"postgresql:///app\"}\n"
    "repository: {url: \"file:///srv/x\"}\n"
    "jobs: {nightly: {type: dump, schedule: \"0 2 * * *\", keep: {last: 3}}}\n";

#define GATHERED(at, up, samples)                                                                 \
    "{\"part\":\"facts\",\"at\":\"" at "\",\"problems\":{\"server\":\"<gone>\"},\"samples\":["    \
    "{\"name\":\"pgcairn_facts_up\",\"labels\":{\"cluster\":\"demo\",\"source\":\"repository\"}," \
    "\"value\":1},{\"name\":\"pgcairn_facts_up\",\"labels\":{\"cluster\":\"demo\",\"source\":"    \
    "\"server\"},\"value\":" up "}" samples "]}"

#define HOLDS(value) \
    ",{\"name\":\"pgcairn_holds\",\"labels\":{\"cluster\":\"demo\"},\"value\":" value "}"
#define CONNECTIONS \
    ",{\"name\":\"pgcairn_server_connections\",\"labels\":{\"cluster\":\"demo\"},\"value\":7}"

static const char WHOLE[] = GATHERED("2026-11-21T02:00:00Z", "1", HOLDS("2") CONNECTIONS);
static const char HALF[] = GATHERED("2026-11-21T02:05:00Z", "0", HOLDS("3"));

#define NOW_US INT64_C(1795226760000000) /* 2026-11-21T02:06:00Z */

static struct board *new_board(void)
{
    struct board *board = NULL;
    struct error err = ERROR_NONE;
    struct board_text text = {"p.yaml", POLICY, sizeof(POLICY) - 1};
    assert_int_equal(board_new("/proc/nowhere", &board, &err), 0);
    assert_int_equal(board_put_policies(board, &text, 1, &err), 0);
    return board;
}

/* The text of the metrics; the caller frees. */
static char *show(struct board *board)
{
    const struct board_view *view = NULL;
    struct samples samples = SAMPLES_INIT;
    struct buf out = BUF_INIT(METRICS_BYTES_MAX);
    struct error err = ERROR_NONE;
    if (board_view(board, &view, &err) || site_samples(view, NOW_US, &samples, &err) ||
        metrics_write(&samples, &out, &err))
        fail_msg("%s", err.message);
    samples_clear(&samples);
    return buf_steal(&out);
}

static void assert_shown(struct board *board, const char *const *wanted)
{
    char *text = show(board);
    for (; *wanted; wanted++)
        if (!strstr(text, *wanted))
            fail_msg("not shown: %s\n%s", *wanted, text);
    free(text);
}

static void test_a_lost_source_keeps_what_it_told(void **state)
{
    static const char *const WANTED[] = {
        "pgcairn_holds{cluster=\"demo\"} 3\n",
        "pgcairn_server_connections{cluster=\"demo\"} 7\n",
        "pgcairn_facts_up{cluster=\"demo\",source=\"server\"} 0\n",
        "pgcairn_facts_age_seconds{cluster=\"demo\",source=\"repository\"} 60\n",
        "pgcairn_facts_age_seconds{cluster=\"demo\",source=\"server\"} 360\n",
        "pgcairn_journal_up 0\n",
        NULL};
    struct board *board = new_board();
    (void)state;
    board_put_gathering(board, "demo", GATHERING_FACTS, WHOLE, sizeof(WHOLE) - 1);
    free(show(board));
    board_put_gathering(board, "demo", GATHERING_FACTS, HALF, sizeof(HALF) - 1);
    assert_shown(board, WANTED);
    board_free(board);
}

static void test_failures_add_up_and_lose_nothing(void **state)
{
    static const char *const WANTED[] = {
        "pgcairn_facts_failures_total{cluster=\"demo\",part=\"facts\"} 3\n",
        "pgcairn_facts_failures_total{cluster=\"demo\",part=\"audit\"} 0\n",
        "pgcairn_facts_up{cluster=\"demo\",source=\"repository\"} 0\n",
        "pgcairn_holds{cluster=\"demo\"} 2\n",
        "pgcairn_facts_age_seconds{cluster=\"demo\",source=\"repository\"} 360\n",
        NULL};
    struct board *board = new_board();
    (void)state;
    board_put_gathering(board, "demo", GATHERING_FACTS, WHOLE, sizeof(WHOLE) - 1);
    board_put_failure(board, "demo", GATHERING_FACTS, "killed");
    board_put_failure(board, "demo", GATHERING_FACTS, "killed");
    board_put_failure(board, "other", GATHERING_FACTS, "of nobody");
    board_put_gathering(board, "demo", GATHERING_AUDIT, "", 0); /* counted where it is read */
    char *text = show(board);
    assert_non_null(
        strstr(text, "pgcairn_facts_failures_total{cluster=\"demo\",part=\"audit\"} 1"));
    free(text);
    board_free(board);
    board = new_board();
    board_put_gathering(board, "demo", GATHERING_FACTS, WHOLE, sizeof(WHOLE) - 1);
    for (int i = 0; i < 3; i++)
        board_put_failure(board, "demo", GATHERING_FACTS, "killed");
    assert_shown(board, WANTED);
    board_free(board);
}

/* A new policy of the same cluster keeps what is known; one of another does not. */
static void test_policies_change(void **state)
{
    static const char *const WANTED[] = {"pgcairn_holds{cluster=\"demo\"} 2\n", NULL};
    struct board *board = new_board();
    struct board_text text = {"p.yaml", POLICY, sizeof(POLICY) - 1};
    (void)state;
    board_put_gathering(board, "demo", GATHERING_FACTS, WHOLE, sizeof(WHOLE) - 1);
    free(show(board));
    assert_int_equal(board_put_policies(board, &text, 1, NULL), 0);
    assert_shown(board, WANTED);
    assert_int_equal(board_put_policies(board, NULL, 0, NULL), 0);
    char *shown = show(board);
    assert_null(strstr(shown, "pgcairn_holds"));
    free(shown);
    board_free(board);
}

static void test_the_page_escapes(void **state)
{
    const struct board_view *view = NULL;
    struct board *board = new_board();
    struct buf out = BUF_INIT(PAGE_BYTES_MAX);
    (void)state;
    board_put_gathering(board, "demo", GATHERING_FACTS, HALF, sizeof(HALF) - 1);
    board_put_failure(board, "demo", GATHERING_AUDIT, "\"<script>\" & more");
    assert_int_equal(board_view(board, &view, NULL), 0);
    assert_int_equal(page_write(view, NOW_US, &out, NULL), 0);
    assert_non_null(strstr(buf_text(&out), "&lt;gone&gt;"));
    assert_non_null(strstr(buf_text(&out), "&lt;script&gt;"));
    assert_null(strstr(buf_text(&out), "<script"));
    assert_null(strstr(buf_text(&out), "<gone"));
    buf_clear(&out);
    board_free(board);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_lost_source_keeps_what_it_told),
        cmocka_unit_test(test_failures_add_up_and_lose_nothing),
        cmocka_unit_test(test_policies_change),
        cmocka_unit_test(test_the_page_escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
