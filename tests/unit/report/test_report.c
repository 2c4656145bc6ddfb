/*
 * The formats, held against whole files in tests/data/audit: a report of a cluster in which one of
 * each status is found, in every format. After a wanted change they are written anew with
 * PGCAIRN_UPDATE_GOLDEN=1, and the difference is read before it is committed.
 */
#include "audit/world.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "report/report.h"

#define POLICY                                                                             \
    WORLD_HEAD                                                                             \
    "repository: {url: file:///a}\n" WORLD_JOBS                                            \
    "audit: {excluded_databases: [postgres], waivers: [{id: INT-3, reason: \"no <verify> " \
    "job\", owner: ann, expires: 2027-01-01}, {id: RST-9, reason: x, owner: y, expires: "  \
    "2027-01-01}]}\n"

static const struct {
    enum report_format format;
    const char *name, *file;
} FORMATS[] = {
    {REPORT_TEXT, "text", "report.txt"},  {REPORT_JSON, "json", "report.json"},
    {REPORT_HTML, "html", "report.html"}, {REPORT_JUNIT, "junit", "report.xml"},
    {REPORT_CSV, "csv", "report.csv"},
};

/* FAIL, UNKNOWN, WARN, a waiver, a note, a gap in WAL, deleted and bad backups, odd letters. */
static void make_report(struct world *world)
{
    world_init(world, POLICY);
    struct facts_audit *facts = &world->facts;
    facts_remove_backup(&facts->facts, 2);
    facts->facts.backups[4].state = BACKUP_GARBAGE;
    facts_wal_clear(&facts->facts.wals[0]);
    facts->facts.wal_count = 0;
    wal_history_of(&facts->facts, "42/1:10-60@2026-11-17T10:00 42/1:62-90@2026-11-19T10:00 "
                                  "42/1:91-99@2026-11-20T09:58");
    world_text(&facts->records[4].type, "hold_added");
    world_text(&facts->records[5].type, "hold_added");
    world_database(facts, "<b>\"&shop");
    world_text(&facts->journal_problem, "no <such> \"file\" & no more");
    facts->has_journal = false;
    world_judge(world);
}

static void golden_path(const char *name, char path[4096])
{
    snprintf(path, 4096, "%s/audit/%s", TEST_DATA_DIR, name);
}

static void compare(const char *name, const struct buf *made)
{
    char path[4096];
    struct error err = ERROR_NONE;
    golden_path(name, path);
    if (getenv("PGCAIRN_UPDATE_GOLDEN")) {
        if (file_replace(path, made->data, made->length, 0644, &err))
            fail_msg("%s", err.message);
        return;
    }
    struct buf wanted = BUF_INIT(REPORT_BYTES_MAX);
    if (file_read(path, &wanted, &err))
        fail_msg("%s", err.message);
    for (size_t i = 0; i < wanted.length && i < made->length; i++)
        if (wanted.data[i] != made->data[i])
            fail_msg("%s differs from byte %zu on: wanted \"%.60s\", made \"%.60s\"", name, i,
                     wanted.data + i, made->data + i);
    assert_int_equal(wanted.length, made->length);
    buf_clear(&wanted);
}

static void test_golden(void **state)
{
    (void)state;
    struct world world;
    make_report(&world);
    for (size_t i = 0; i < ARRAY_SIZE(FORMATS); i++) {
        struct buf out = BUF_INIT(REPORT_BYTES_MAX);
        struct error err = ERROR_NONE;
        enum report_format format;
        assert_int_equal(report_format_parse(FORMATS[i].name, &format, &err), 0);
        assert_int_equal(format, FORMATS[i].format);
        assert_int_equal(report_write(format, &world.report, &out, &err), 0);
        compare(FORMATS[i].file, &out);
        buf_clear(&out);
    }
    world_clear(&world);
}

static void test_formats(void **state)
{
    (void)state;
    struct error err = ERROR_NONE;
    enum report_format format;
    assert_int_equal(report_format_parse("pdf", &format, &err), ERR_USAGE);
    assert_string_equal(err.message, "--format is text, json, html, junit or csv, not \"pdf\"");
}

/* What is in the report must not become markup, in whichever format. */
static void test_nothing_becomes_markup(void **state)
{
    (void)state;
    struct world world;
    make_report(&world);
    static const enum report_format MARKED[] = {REPORT_HTML, REPORT_JUNIT};
    for (size_t i = 0; i < ARRAY_SIZE(MARKED); i++) {
        struct buf out = BUF_INIT(REPORT_BYTES_MAX);
        struct error err = ERROR_NONE;
        assert_int_equal(report_write(MARKED[i], &world.report, &out, &err), 0);
        assert_null(strstr(buf_text(&out), "<such>"));
        assert_non_null(strstr(buf_text(&out), "no &lt;such&gt; &quot;file&quot; &amp; no"));
        buf_clear(&out);
    }
    world_clear(&world);
}

/* Facts may come from somebody else, ids and hashes too. */
static void test_facts_become_no_markup(void **state)
{
    (void)state;
    struct world world;
    struct buf out = BUF_INIT(REPORT_BYTES_MAX);
    struct error err = ERROR_NONE;
    make_report(&world);
    world_text(&world.facts.pgcairn_version, "<script>1</script>");
    world_text(&world.facts.evidence_sha256, "<script>2</script>");
    world_text(&world.facts.facts.backups[0].id, "<script>3</script>");
    audit_report_clear(&world.report);
    world_judge(&world);
    assert_int_equal(report_write(REPORT_HTML, &world.report, &out, &err), 0);
    assert_null(strstr(buf_text(&out), "<script>"));
    assert_non_null(strstr(buf_text(&out), "&lt;script&gt;3"));
    buf_clear(&out);
    world_clear(&world);
}

/* A spreadsheet takes no cell for a formula, with blanks before it neither. */
static void test_no_cell_is_a_formula(void **state)
{
    (void)state;
    static const char *const NAMES[] = {"=1+1", "+1", "-1", "@a", "\t=1", "  =1", "\n-1"};
    for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++) {
        struct world world;
        struct buf out = BUF_INIT(REPORT_BYTES_MAX);
        struct error err = ERROR_NONE;
        make_report(&world);
        world_text(&world.facts.server.databases[0].name, NAMES[i]);
        audit_report_clear(&world.report);
        world_judge(&world);
        assert_int_equal(report_write(REPORT_CSV, &world.report, &out, &err), 0);
        const char *cell = strstr(strstr(buf_text(&out), "\"COV-1\""), ": in the newest");
        assert_non_null(cell);
        while (*cell != '"')
            cell--;
        assert_int_equal(cell[1], '\'');
        buf_clear(&out);
        world_clear(&world);
    }
}

static void test_one_screen(void **state)
{
    (void)state;
    struct world world;
    struct error err = ERROR_NONE;
    struct buf out = BUF_INIT(REPORT_BYTES_MAX);
    size_t lines = 0;
    world_init(&world, WORLD_FOLDER);
    world_judge(&world);
    assert_int_equal(report_write(REPORT_TEXT, &world.report, &out, &err), 0);
    for (size_t i = 0; i < out.length; i++)
        lines += out.data[i] == '\n';
    assert_true(lines <= 24);
    buf_clear(&out);
    world_clear(&world);
}

static void test_over_the_limit(void **state)
{
    (void)state;
    struct world world;
    struct error err = ERROR_NONE;
    struct buf out = BUF_INIT(1000);
    make_report(&world);
    assert_int_equal(report_write(REPORT_HTML, &world.report, &out, &err), ERR_LIMIT);
    buf_clear(&out);
    world_clear(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden),
                                       cmocka_unit_test(test_formats),
                                       cmocka_unit_test(test_nothing_becomes_markup),
                                       cmocka_unit_test(test_facts_become_no_markup),
                                       cmocka_unit_test(test_no_cell_is_a_formula),
                                       cmocka_unit_test(test_one_screen),
                                       cmocka_unit_test(test_over_the_limit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
