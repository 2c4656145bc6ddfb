/* S3's XML and the texts in it: what is read, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "store/s3_text.h"
#include "store/s3_xml.h"

static int gather(const char *path, const char *text, void *context, struct error *err)
{
    (void)err;
    return buf_addf(context, "%s=%s;", path, text);
}

static void test_documents(void **state)
{
    (void)state;
    static const struct {
        const char *xml;
        const char *expected; /* NULL: ERR_CORRUPT */
    } ROWS[] = {
        {"<A><B>x</B><B>y &amp; &lt;z&gt;</B></A>", "A/B=x;A/B=y & <z>;A=;"},
        {"<?xml version=\"1.0\"?>\n<A xmlns=\"u\"><C/></A>\n", "A/C=;A=;"},
        {"   <A>1</A>", "A=1;"},
        {"", NULL},
        {"<A><B>x</B>", NULL},
        {"<A></B>", NULL},
        {"<html><body>504 Gateway Time-out</body>", NULL},
        {"{\"json\": true}", NULL},
        {"<!DOCTYPE A [<!ENTITY e \"x\">]><A>&e;</A>", NULL},
        {"<A>\x01</A>", NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct buf seen = BUF_INIT(1000);
        struct error err = ERROR_NONE;
        int rc = s3_xml_read(ROWS[i].xml, strlen(ROWS[i].xml), gather, &seen, &err);
        if (rc != (ROWS[i].expected ? 0 : ERR_CORRUPT))
            fail_msg("row %zu: %d %s", i, rc, err.message);
        if (ROWS[i].expected)
            assert_string_equal(buf_text(&seen), ROWS[i].expected);
        buf_clear(&seen);
    }
}

static void test_every_truncation(void **state)
{
    (void)state;
    static const char XML[] = "<R><E><K>a</K><S>1</S></E><T>false</T></R>";
    for (size_t length = 0; length < sizeof(XML) - 1; length++) {
        struct buf seen = BUF_INIT(1000);
        assert_int_equal(s3_xml_read(XML, length, gather, &seen, NULL), ERR_CORRUPT);
        buf_clear(&seen);
    }
}

static void test_depth(void **state)
{
    (void)state;
    struct buf xml = BUF_INIT(1 << 20), seen = BUF_INIT(1 << 20);
    for (int i = 0; i < 300; i++)
        buf_add_text(&xml, "<a>");
    struct error err = ERROR_NONE;
    assert_int_equal(s3_xml_read(xml.data, xml.length, gather, &seen, &err), ERR_CORRUPT);
    assert_string_equal(err.message, "elements are nested too deeply");
    buf_clear(&xml);
    buf_clear(&seen);
}

static void test_long_text(void **state)
{
    (void)state;
    struct buf xml = BUF_INIT(1 << 20), seen = BUF_INIT(1 << 20);
    buf_add_text(&xml, "<a>");
    for (int i = 0; i < S3_XML_TEXT_MAX / 8 + 1; i++)
        buf_add_text(&xml, "12345678");
    buf_add_text(&xml, "</a>");
    assert_int_equal(s3_xml_read(xml.data, xml.length, gather, &seen, NULL), ERR_LIMIT);
    buf_clear(&xml);
    buf_clear(&seen);
}

static int stop(const char *path, const char *text, void *context, struct error *err)
{
    (void)path;
    (void)text;
    ++*(int *)context;
    return error_set(err, ERR_FAILED, "enough");
}

static void test_visitor_stops(void **state)
{
    (void)state;
    struct error err = ERROR_NONE;
    int visits = 0;
    const char *xml = "<a><b/><b/><b/></a>";
    assert_int_equal(s3_xml_read(xml, strlen(xml), stop, &visits, &err), ERR_FAILED);
    assert_string_equal(err.message, "enough");
    assert_int_equal(visits, 1);
}

static void test_add(void **state)
{
    (void)state;
    struct buf xml = BUF_INIT(100);
    s3_xml_add(&xml, "a<b>&c");
    assert_string_equal(buf_text(&xml), "a&lt;b&gt;&amp;c");
    buf_clear(&xml);
}

static void test_decode(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected; /* NULL: refused */
    } ROWS[] = {
        {"", ""},    {"a/b", "a/b"}, {"a%2Fb%3dc", "a/b=c"}, {"a+b", "a b"}, {"%C3%A9", "é"},
        {"%", NULL}, {"%4", NULL},   {"%4g", NULL},          {"%00", NULL},  {"123456789", NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        char decoded[9];
        assert_int_equal(s3_decode(ROWS[i].text, decoded, sizeof(decoded)),
                         ROWS[i].expected != NULL);
        if (ROWS[i].expected)
            assert_string_equal(decoded, ROWS[i].expected);
    }
}

static void test_number(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t expected;
    } ROWS[] = {
        {"0", 0},   {"5368709120", INT64_C(5368709120)},
        {"", -1},   {"-1", -1},
        {" 1", -1}, {"1x", -1},
        {"+1", -1}, {"9223372036854775808", -1},
    };
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++)
        assert_int_equal(s3_number(ROWS[i].text), ROWS[i].expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documents),     cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_depth),         cmocka_unit_test(test_long_text),
        cmocka_unit_test(test_visitor_stops), cmocka_unit_test(test_add),
        cmocka_unit_test(test_decode),        cmocka_unit_test(test_number),
    };
    return cmocka_run_group_tests_name("s3_xml", tests, NULL, NULL);
}
