#include "policy/policy_case.h"

/* Expands in `bindir`, which takes any absolute path, and looks at what came out. */
static const struct {
    const char *value, *want; /* want begins with '!': the problem */
} CASES[] = {
    {"/${CASE_NAME}", "/app"},
    {"/x${CASE_NAME}y${CASE_NAME}", "/xappyapp"},
    {"'/${CASE_NAME}'", "/app"},
    {"\"/${CASE_NAME}\"", "/app"},
    {"/${NOT_SET:-default}", "/default"},
    {"/${CASE_EMPTY:-default}", "/default"},
    {"/${CASE_EMPTY}", "/"},
    {"/${NOT_SET:-}", "/"},
    {"/${CASE_NAME:-default}", "/app"},
    {"/${NOT_SET:-${CASE_NAME}-x}", "/app-x"},
    {"/${NOT_SET:-${ALSO_NOT:-deep}}", "/deep"},
    {"/${CASE_NAME:?must be set}", "/app"},
    {"/$$", "/$"},
    {"/$${CASE_NAME}", "/${CASE_NAME}"},
    {"/$$$${CASE_NAME}", "/$${CASE_NAME}"},
    {"/$CASE_NAME", "/$CASE_NAME"},
    {"/a$ b", "/a$ b"},
    {"/a$", "/a$"},
    {"/${CASE_DOLLAR}", "/a$b${CASE_NAME}"}, /* what a variable holds is not expanded */
    {"/${CASE_INJECT}", "/x\njobs: {evil: {type: dump}}"},
    {"/${NOT_SET}", "!environment variable NOT_SET is not set"},
    {"/${NOT_SET:?tell the URL of the database}", "!NOT_SET: tell the URL of the database"},
    {"/${CASE_EMPTY:?}", "!environment variable CASE_EMPTY is not set"},
    {"/${CASE_NAME", "!\"${\" without \"}\""},
    {"'/${CASE_NAME-x}'", "!\"${CASE_NAME\" must end in \"}\", \":-default}\" or \":?message}\""},
    {"'/${}'", "!\"${\" is not followed by the name of a variable (\"$${\" writes \"${\")"},
    {"'/${1A}'", "!\"${\" is not followed by the name of a variable (\"$${\" writes \"${\")"},
    {"$CASE_NAME",
     "!\"$CASE_NAME\" is not expanded: write ${CASE_NAME}, or $$CASE_NAME for that very text"},
    {"/${A:-${A:-${A:-${A:-${A:-${A:-${A:-${A:-${A:-x}}}}}}}}}", "!\"${\" nested more than 8 deep"},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        char text[1024], want[512] = "1:1: warning: no jobs: nothing is ever backed up\n";
        bool is_good = CASES[i].want[0] != '!';
        struct buf lines;
        snprintf(text, sizeof(text),
                 "cluster: app\nrepository: {url: file:///srv}\npostgres:\n"
                 "  connection: dbname=app\n  bindir: %s\n",
                 CASES[i].value);
        if (!is_good)
            snprintf(want, sizeof(want), "5:11: %s\n", CASES[i].want + 1);
        struct policy *policy = case_parse(text, &lines);
        if (strcmp(buf_text(&lines), want) != 0)
            fail_msg("%s\ngot %s\nwant %s", CASES[i].value, buf_text(&lines), want);
        if (is_good && strcmp(policy->bindir, CASES[i].want) != 0)
            fail_msg("%s\ngot %s\nwant %s", CASES[i].value, policy->bindir, CASES[i].want);
        policy_free(policy);
        buf_clear(&lines);
    }
}

/* Unquoted inside braces, where a brace would end the value; and keys are left as they are. */
static void test_places(void **state)
{
    (void)state;
    struct buf lines;
    struct policy *policy = case_parse(
        "{cluster: ${CASE_NAME}, postgres: {connection: ${DATABASE_URL}, databases: [${CASE_NAME}, "
        "${NOT_SET:-b}]}, repository: {url: file:///${CASE_NAME}}}\n",
        &lines);
    assert_non_null(policy);
    assert_string_equal(policy->cluster, "app");
    assert_string_equal(policy->databases.items[1], "b");
    assert_string_equal(policy->repository_url, "file:///app");
    policy_free(policy);
    buf_clear(&lines);
    case_expect(CASE_HEAD "\"${CASE_NAME}\": x\n", "4:1: unknown key \"${CASE_NAME}\"\n");
}

/* All that is missing is told at once, and only that. */
static void test_all_at_once(void **state)
{
    (void)state;
    case_expect("cluster: ${A}\npostgres: {connection: ${B}, databases: [${C}, d]}\n"
                "repository: {url: ${D}}\njobs: {n: {type: ${E}, schedule: ${F}}}\n",
                "1:10: environment variable A is not set\n"
                "2:24: environment variable B is not set\n"
                "2:42: environment variable C is not set\n"
                "3:19: environment variable D is not set\n"
                "4:18: environment variable E is not set\n"
                "4:34: environment variable F is not set\n");
}

static const char *large_getenv(const char *name, void *context)
{
    (void)name;
    return context;
}

static void test_limit(void **state)
{
    (void)state;
    static const char TEXT[] = "cluster: ${A}${A}\n";
    char *large = malloc(40001);
    struct policy *policy = NULL;
    struct policy_problems problems;
    struct error err = ERROR_NONE;
    memset(large, 'x', 40000);
    large[40000] = '\0';
    assert_int_equal(
        policy_parse("p", TEXT, sizeof(TEXT) - 1, large_getenv, large, &policy, &problems, &err),
        ERR_POLICY);
    assert_string_equal(problems.items[problems.count - 1].message,
                        "longer than 65536 bytes when expanded");
    policy_problems_clear(&problems);
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_all_at_once),
        cmocka_unit_test(test_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
