/* Programs around a run, one by one: how each ends, what it is given, what is kept of its output.
 */
#include "base/case.h"

#include <signal.h>

#include "work/hooks.h"

struct world {
    struct hooks hooks;
    struct journal_run run;
    struct policy_hooks policy;
    struct strv programs[2];
    struct buf lines, warnings;
    size_t padding; /* of the document */
};

static json_t *document(void *context)
{
    const struct world *world = context;
    char *text = calloc(1, world->padding + 1);
    assert_non_null(text);
    memset(text, 'x', world->padding);
    json_t *made = json_pack("{s:s}", "padding", text);
    free(text);
    return made;
}

static void keep_line(const char *text, void *context)
{
    struct world *world = context;
    buf_addf(&world->lines, "%s\n", text);
}

static void keep_warning(const char *text, void *context)
{
    struct world *world = context;
    buf_addf(&world->warnings, "%s\n", text);
}

static void ignore_progress(const char *phase, int64_t done, int64_t total, void *context)
{
    (void)phase, (void)done, (void)total, (void)context;
}

/* One script in a phase, and before it perhaps nothing. */
static void make(struct world *world, enum hook_phase phase, const char *script, int64_t timeout_us)
{
    *world = (struct world){.lines = BUF_INIT(1 << 20), .warnings = BUF_INIT(1 << 20)};
    world->run = (struct journal_run){.outcome = OUTCOME_DONE};
    snprintf(world->run.run_id, sizeof(world->run.run_id), "r1");
    snprintf(world->run.cluster, sizeof(world->run.cluster), "shop");
    snprintf(world->run.job, sizeof(world->run.job), "nightly");
    world->programs[0] = STRV_INIT(10);
    if (script[0] == '/') {
        assert_ok(strv_add(&world->programs[0], script, &case_err));
    } else {
        assert_ok(strv_add(&world->programs[0], "sh", &case_err));
        assert_ok(strv_add(&world->programs[0], "-c", &case_err));
        assert_ok(strv_add(&world->programs[0], script, &case_err));
    }
    world->policy.timeout_us = timeout_us;
    world->policy.phases[phase] =
        (struct policy_hook_list){.is_set = true, .programs = world->programs, .count = 1};
    world->hooks = (struct hooks){.policy = &world->policy,
                                  .run = &world->run,
                                  .document = document,
                                  .line = keep_line,
                                  .warn = keep_warning,
                                  .progress = ignore_progress,
                                  .context = world};
}

static void clear(struct world *world)
{
    strv_clear(&world->programs[0]);
    buf_clear(&world->lines);
    buf_clear(&world->warnings);
    json_decref(world->hooks.records);
}

static const struct {
    const char *script;
    int rc;
    bool skips;
    const char *message, *lines;
} ENDS[] = {
    {"exit 0", 0, false, "", ""},
    {"exit 77", 0, true, "", ""},
    {"echo out; echo err >&2; exit 3", ERR_CHILD, false,
     "before it, sh: exit status 3: ", "hook before, sh: out\n"},
    {"kill -9 $$", ERR_CHILD, false, "before it, sh: ended by signal 9", ""},
    {"printf 'a\\tb\\033c\\n\\nlast'", 0, false, "",
     "hook before, sh: a b?c\nhook before, sh: last\n"},
    {"echo half; sleep 60", ERR_TIMEOUT, false, "did not end within 1s", "hook before, sh: half\n"},
    {"sleep 60 & echo left", 0, false, "", "hook before, sh: left\n"}, /* is not waited for */
    {"exec >&- 2>&-; exit 4", ERR_CHILD, false, "exit status 4", ""},
    {"/nowhere/at/all", ERR_IO, false, "/nowhere/at/all", ""},
};

static void test_ends(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(ENDS) / sizeof(ENDS[0]); i++) {
        struct world world;
        struct error error = ERROR_NONE;
        char why[200] = "";
        bool skips = false;
        make(&world, HOOK_BEFORE, ENDS[i].script, US_PER_SECOND);
        int64_t began_us = instant_monotonic_us();
        int rc = hooks_before(&world.hooks, why, sizeof(why), &skips, &error);
        bool is_right = (ENDS[i].rc == ERR_IO ? rc != 0 : rc == ENDS[i].rc) &&
                        skips == ENDS[i].skips && strstr(error.message, ENDS[i].message) &&
                        strstr(buf_text(&world.lines), ENDS[i].lines) &&
                        json_array_size(world.hooks.records) == 1 && (why[0] != '\0') == skips;
        if (!is_right || instant_monotonic_us() - began_us > 20 * US_PER_SECOND)
            fail_msg("%s: %d \"%s\" \"%s\"", ENDS[i].script, rc, error.message,
                     buf_text(&world.lines));
        clear(&world);
    }
}

/* A document larger than any pipe: read whole, or not at all. */
static void test_document(void **state)
{
    (void)state;
    static const char *const SCRIPTS[] = {"wc -c", "exit 0", "exec <&-; echo closed"};
    static const char *const LINES[] = {"hook after, sh: 3000030\n", "",
                                        "hook after, sh: closed\n"};
    for (size_t i = 0; i < 3; i++) {
        struct world world;
        make(&world, HOOK_AFTER, SCRIPTS[i], US_PER_MINUTE);
        world.padding = 3000000;
        hooks_after(&world.hooks, HOOK_FAILURE); /* has none */
        assert_null(world.hooks.records);
        hooks_after(&world.hooks, HOOK_AFTER);
        assert_string_equal(buf_text(&world.lines), LINES[i]);
        assert_string_equal(buf_text(&world.warnings), "");
        clear(&world);
    }
}

static void test_environment(void **state)
{
    (void)state;
    struct world world;
    setenv("SHOP_TOKEN", "secret", 1);
    setenv("PGCAIRN_TOKEN", "secret", 1);
    make(&world, HOOK_FAILURE,
         "echo $PGCAIRN_CLUSTER/$PGCAIRN_JOB $PGCAIRN_RUN_ID $PGCAIRN_PHASE $PGCAIRN_OUTCOME"
         " [$SHOP_TOKEN$PGCAIRN_TOKEN]; exit 77",
         US_PER_MINUTE);
    hooks_after(&world.hooks, HOOK_FAILURE);
    assert_string_equal(buf_text(&world.lines),
                        "hook failure, sh: shop/nightly r1 failure done []\n");
    assert_non_null(strstr(buf_text(&world.warnings), "warning: hook failure, sh: exit status 77"));
    clear(&world);
}

static void test_too_much(void **state)
{
    (void)state;
    struct world world;
    make(&world, HOOK_AFTER, "head -c 300000 /dev/zero | tr '\\0' y; echo z; exit 0",
         US_PER_MINUTE);
    hooks_after(&world.hooks, HOOK_AFTER);
    const char *text = buf_text(&world.lines);
    assert_true(world.lines.length < 2 * HOOK_OUTPUT_MAX);
    assert_non_null(strstr(text, "it says too much: the rest is left out\n"));
    assert_null(strchr(text, 'z'));
    assert_string_equal(buf_text(&world.warnings), "");
    clear(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_document),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_too_much),
    };
    signal(SIGPIPE, SIG_IGN); /* as main() does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
