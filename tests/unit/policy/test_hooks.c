/* hooks: of a job and of defaults. */
#include "policy_case.h"

#define HEAD "cluster: x\npostgres: {connection: dbname=a}\nrepository: {url: file:///a}\n"
#define JOB(name, more) "  " name ": {type: dump, keep: {last: 3}, schedule: \"" more "\n"

static void shown(const struct policy_job *job, struct buf *out)
{
    buf_reset(out);
    for (int phase = 0; phase < HOOK_PHASE_COUNT; phase++) {
        const struct policy_hook_list *list = &job->hooks.phases[phase];
        for (size_t i = 0; i < list->count; i++) {
            buf_addf(out, "%s:", hook_phase_name((enum hook_phase)phase));
            for (size_t k = 0; k < list->programs[i].count; k++)
                buf_addf(out, " %s", list->programs[i].items[k]);
            buf_add_text(out, "\n");
        }
    }
    buf_addf(out, "%lld", (long long)(job->hooks.timeout_us / US_PER_SECOND));
}

static void test_values(void **state)
{
    (void)state;
    static const char TEXT[] =
        HEAD "defaults: {hooks: {before: [[a, b c], [d]], failure: [page], timeout: 1m}}\n"
             "jobs:\n" JOB("one", "0 2 * * *\"}")
                 JOB("two", "0 3 * * *\", hooks: {before: [], after: [e, \"\"], timeout: 9s}}");
    static const char *const WANT[] = {"before: a b c\nbefore: d\nfailure: page\n60",
                                       "after: e \nfailure: page\n9"};
    struct buf lines, out = BUF_INIT(1000);
    struct policy *policy = case_parse(TEXT, &lines);
    assert_string_equal(buf_text(&lines), "");
    for (size_t i = 0; i < 2; i++) {
        shown(&policy->jobs[i], &out);
        assert_string_equal(buf_text(&out), WANT[i]);
    }
    assert_true(policy_hooks_longest_us(&policy->jobs[0].hooks) == 3 * US_PER_MINUTE);
    policy_free(policy);
    buf_clear(&out);
    buf_clear(&lines);
}

static void test_none(void **state)
{
    (void)state;
    struct buf lines;
    struct policy *policy = case_parse(HEAD "jobs:\n" JOB("one", "0 2 * * *\"}"), &lines);
    assert_true(policy->jobs[0].hooks.timeout_us == HOOK_TIMEOUT_US);
    assert_true(policy_hooks_longest_us(&policy->jobs[0].hooks) == 0);
    policy_free(policy);
    buf_clear(&lines);
}

static const struct {
    const char *text, *lines;
} FAULTS[] = {
    {"hooks: sync", "4:54: \"hooks\" must be a mapping of before, after, failure, timeout\n"},
    {"hooks: {before: sync -f}",
     "4:63: \"before\" must be a list of words, as in [/usr/bin/touch, /run/mark]: no shell splits "
     "a text; for one write [sh, -c, \"...\"]\n"},
    {"hooks: {before: [[sync], sync -f]}",
     "4:72: \"before\" must be a list of words, as in [/usr/bin/touch, /run/mark]: no shell splits "
     "a text; for one write [sh, -c, \"...\"]\n"},
    {"hooks: {after: {a: b}}",
     "4:62: \"after\" must be a list of programs, each a list of words\n"},
    {"hooks: {after: [[]]}", "4:63: \"after\": a program is a list of words\n"},
    {"hooks: {after: [[a, [b]]]}", "4:67: \"after\": a program is a list of words\n"},
    {"hooks: {failure: [[\"\"]]}", "4:66: \"failure\": a program is a list of words\n"},
    {"hooks: {before: [[a],[a],[a],[a],[a],[a],[a],[a],[a],[a],[a]]}",
     "4:63: \"before\" has 11 programs, more than 10\n"},
    {"hooks: {befor: [a], timeout: 0s}",
     "4:55: unknown key \"befor\" in hooks: did you mean \"before\"?\n"
     "4:76: \"timeout\" must be a duration from 1s to 1d (90s, 15m, 6h, 7d, 5w), not \"0s\"\n"},
};

static void test_faults(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(FAULTS) / sizeof(FAULTS[0]); i++) {
        char text[1000];
        snprintf(text, sizeof(text), HEAD "jobs: {one: {type: dump, keep: {last: 3},     %s}}\n",
                 FAULTS[i].text);
        struct buf lines;
        policy_free(case_parse(text, &lines));
        if (!strstr(buf_text(&lines), FAULTS[i].lines))
            fail_msg("got:\n%s\nwant:\n%s\n%s", buf_text(&lines), FAULTS[i].lines, text);
        buf_clear(&lines);
    }
    /* Of defaults it is told once, and not for each job again. */
    case_expect(HEAD "defaults: {hooks: {before: x}}\njobs: {a: {type: prune, schedule: \"1 1 * * "
                     "*\"}, b: {type: prune, schedule: \"2 1 * * *\"}}\n",
                "4:28: \"before\" must be a list of words, as in [/usr/bin/touch, /run/mark]: no "
                "shell splits a text; for one write [sh, -c, \"...\"]\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_none),
                                       cmocka_unit_test(test_faults)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
