#include "policy/policy_case.h"

#include "policy/document.h"

static void expect(const char *text, size_t length, const char *want)
{
    struct buf lines;
    policy_free(case_parse_bytes(text, length, &lines));
    if (strcmp(buf_text(&lines), want) != 0)
        fail_msg("got:\n%s\nwant:\n%s\n%s", buf_text(&lines), want, text);
    buf_clear(&lines);
}

#define ROW(text, want)              \
    {                                \
        text, sizeof(text) - 1, want \
    }

static const struct {
    const char *text;
    size_t length;
    const char *want;
} REFUSED[] = {
    ROW("cluster: a\n\tpostgres: b\n", "2:1: a tab can't indent YAML: use spaces\n"),
    ROW("cluster: a\n  b: c\n",
        "2:4: not valid YAML: mapping values are not allowed in this context\n"),
    ROW("cluster: 'a\n",
        "2:1: not valid YAML: found unexpected end of stream while scanning a quoted scalar\n"),
    ROW("jobs: {a: [}\n",
        "1:12: not valid YAML: did not find expected node content while parsing a flow node\n"),
    ROW("cluster: caf\xe9\n", "1:13: not valid UTF-8\n"),
    ROW("a: b\n\xc3\xa4: \xff\n", "2:4: not valid UTF-8\n"),
    ROW("a: \xed\xa0\x80\n", "1:4: not valid UTF-8\n"),
    ROW("a: b\001\n", "1:5: a control character is not allowed\n"),
    ROW("a: b\0c\n", "1:5: a control character is not allowed\n"),
    ROW("a: \"b\\0c\"\n", "1:4: a NUL character is not allowed\n"),
    ROW("a: \xee\x80\x80\n", "1:1: the characters U+E000 and U+E001 are not allowed\n"),
    ROW("\xff\xfe"
        "a\0",
        "1:1: not valid UTF-8\n"),
    ROW("a: 1\n---\nb: 2\n", "2:1: a second document: one file holds one policy\n"),
    ROW("a: !!int 3\n", "1:4: tags (\"!\") are not allowed\n"),
    ROW("a: !x [b]\n", "1:4: tags (\"!\") are not allowed\n"),
    ROW("!!map\na: b\n", "1:1: tags (\"!\") are not allowed\n"),
    ROW("? [a]\n: b\n", "1:3: a key must be plain text\n"),
    ROW("a: &x {b: c}\nd:\n  <<: *x\n",
        "3:3: merge keys (\"<<\") are not allowed: use defaults: instead\n"),
    ROW("a: *x\n", "1:4: an alias without an anchor before it\n"),
    ROW("a: &x [*x]\n", "1:8: an alias can't stand within its own anchor\n"),
    ROW("&x a: b\n", "1:1: a key can't have an anchor\n"),
    ROW("a: [[[[[[[[[[[[1]]]]]]]]]]]]\n", "1:15: nested more than 12 deep\n"),
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(REFUSED) / sizeof(REFUSED[0]); i++)
        expect(REFUSED[i].text, REFUSED[i].length, REFUSED[i].want);
}

/* Nine lines that would be a thousand million values. */
static void test_many_laughs(void **state)
{
    (void)state;
    struct buf text = BUF_INIT(1 << 20);
    buf_add_text(&text, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 10; i++) {
        buf_addf(&text, "a%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++)
            buf_addf(&text, "%s*a%d", k ? ", " : "", i - 1);
        buf_add_text(&text, "]\n");
    }
    expect(buf_text(&text), text.length,
           "5:10: more than 20000 values, with aliases written out\n");
    buf_clear(&text);
}

static void test_size_limits(void **state)
{
    (void)state;
    struct buf text = BUF_INIT(2 << 20);
    buf_add_text(&text, "a: [");
    for (int i = 0; i <= DOCUMENT_NODES_MAX; i++)
        buf_add_text(&text, "x,");
    buf_add_text(&text, "]\n");
    expect(buf_text(&text), text.length,
           "1:39999: more than 20000 values, with aliases written out\n");
    buf_reset(&text);
    buf_add_text(&text, "a: ");
    for (int i = 0; i <= DOCUMENT_TEXT_MAX; i++)
        buf_add_text(&text, "x");
    expect(buf_text(&text), text.length, "1:4: a value of more than 65536 bytes\n");
    buf_reset(&text);
    buf_add_text(&text, "a: [");
    for (int i = 0; i < 300; i++)
        buf_addf(&text, "&x%d y, ", i);
    buf_add_text(&text, "]\n");
    expect(buf_text(&text), text.length, "1:1695: too many anchors\n");
    buf_clear(&text);
}

/* Aliases are the same node at another place. */
static void test_aliases(void **state)
{
    (void)state;
    struct buf lines;
    struct policy *policy =
        case_parse(CASE_HEAD "jobs:\n"
                             "  a: {type: dump, schedule: 0 1 * * *, keep: &keep {last: 7}}\n"
                             "  b: {type: dump, schedule: 0 2 * * *, keep: *keep}\n"
                             "  p: {type: prune, schedule: 0 3 * * *}\n",
                   &lines);
    assert_string_equal(buf_text(&lines), "");
    assert_int_equal(policy->jobs[1].keep.last, 7);
    policy_free(policy);
    buf_clear(&lines);
}

static void test_taken(void **state)
{
    (void)state;
    static const char *const TEXTS[] = {
        "\xef\xbb\xbf" CASE_HEAD,     /* a byte order mark */
        "---\n" CASE_HEAD "...\n",    /* the marks of one document */
        "%YAML 1.1\n---\n" CASE_HEAD, /* a directive */
        "cluster: app\r\npostgres: {connection: dbname=a}\r\nrepository: {url: file:///a}\r\n",
        "{\"cluster\": \"app\", \"postgres\": {\"connection\": \"${DATABASE_URL}\"}, \"repository\": "
        "{\"url\": \"file:///a\"}}", /* JSON */
    };
    for (size_t i = 0; i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++)
        case_expect(TEXTS[i], "1:1: warning: no jobs: nothing is ever backed up\n");
}

static void test_twice(void **state)
{
    (void)state;
    case_expect(CASE_HEAD "cluster: b\njobs: {a: {type: dump}, a: {type: dump}}\n",
                "4:1: key \"cluster\" is given twice (first in line 1)\n"
                "5:25: key \"a\" is given twice (first in line 5)\n");
}

/* Whatever happens to a file, it is read or refused; ASan sees to the rest. */
static void test_mutations(void **state)
{
    (void)state;
    static const char SEED[] = CASE_HEAD
        "timezone: Europe/Berlin\ndefaults: &d {timeout: 6h, retries: 2}\njobs:\n"
        "  nightly: {type: dump, schedule: \"0 2 * * *\", keep: {within: 30d, last: 3}, jobs: 4}\n"
        "  tidy:\n    type: vacuum\n    schedule: '30 4 * * sun'\n    tables: ['\"Models\"', audit.*]\n"
        "  prune: {type: prune, schedule: \"@daily\"}\n";
    static const char ALPHABET[] = "{}[]:,-&*!|>'\"%@`#?\n\t \\$~.0aZ\xc3\xff\x01";
    uint64_t random = 88172645463325252u;
    size_t good = 0;
    for (int round = 0; round < 4000; round++) {
        char text[sizeof(SEED)];
        size_t length = sizeof(SEED) - 1;
        struct buf lines;
        memcpy(text, SEED, sizeof(SEED));
        for (int edits = 1 + round % 5; edits > 0; edits--) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            size_t at = random % length;
            if (random >> 60 < 4) {
                memmove(text + at, text + at + 1, length - at);
                length--;
            } else {
                text[at] = ALPHABET[(random >> 32) % (sizeof(ALPHABET) - 1)];
            }
        }
        struct policy *policy = case_parse_bytes(text, length, &lines);
        good += policy != NULL;
        if (!policy && lines.length == 0)
            fail_msg("refused without a reason:\n%s", text);
        policy_free(policy);
        buf_clear(&lines);
    }
    assert_in_range(good, 100, 3900);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_many_laughs),
        cmocka_unit_test(test_size_limits), cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_taken),       cmocka_unit_test(test_twice),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
