/* What the tables say of a key is true: each has a line of help, and its fallback is what a policy
 * without the key really holds. */
#include "policy_case.h"

#include "base/units.h"
#include "policy/keys.h"

enum { HELP_MAX = 140 };

static struct policy *policy;

static void check_help(const struct section *section, const struct key *key)
{
    if (!key->help || strlen(key->help) > HELP_MAX || strlen(key->help) < 3 ||
        key->help[strlen(key->help) - 1] == '.' || strpbrk(key->help, "|\n"))
        fail_msg("%s.%s has no line of help, or one that is too long, ends with a full stop or "
                 "holds a \"|\"",
                 section->name, key->name);
}

static const char *shown(const struct key *key, const void *place, char text[UNITS_TEXT_MAX])
{
    int64_t number = 0;
    switch (key->type) {
    case VALUE_INTEGER:
        snprintf(text, UNITS_TEXT_MAX, "%d", *(const int *)place);
        break;
    case VALUE_DURATION:
        if (key->fallback && duration_parse(key->fallback, &number, NULL) == 0 &&
            number == *(const int64_t *)place)
            return key->fallback;
        return duration_format(*(const int64_t *)place, text);
    case VALUE_SIZE:
        snprintf(text, UNITS_TEXT_MAX, "%lld", (long long)*(const int64_t *)place);
        break;
    case VALUE_SWITCH:
        return *(const bool *)place ? "true" : "false";
    case VALUE_WORD:
        return key->words[*(const unsigned *)place];
    default:
        return NULL;
    }
    return text;
}

/* A number of 0 may mean that there is no such limit; what holds then is said in words. */
static void check_fallback(const struct section *section, const struct key *key, const char *base)
{
    char text[UNITS_TEXT_MAX];
    if (!base || key->offset == NOWHERE)
        return;
    const char *held = shown(key, base + key->offset, text);
    const char *said = key->fallback ? key->fallback : "";
    if (!held || strcmp(held, said) == 0)
        return;
    bool is_said_in_words = key->type != VALUE_WORD &&
                            strpbrk(said, "abcdefghijklmnopqrstuvwxyz") &&
                            strspn(said, "0123456789smhdw") != strlen(said);
    bool is_absent = strcmp(held, "0") == 0 || strcmp(held, "0s") == 0 || strcmp(held, "0ms") == 0;
    if (!is_absent || !(is_said_in_words || !*said || key->type == VALUE_SIZE))
        fail_msg("%s.%s: the fallback is \"%s\", said to be \"%s\"", section->name, key->name, held,
                 said);
}

static void check_section(const struct section *section, const char *base)
{
    for (const struct section *part = section; part; part = part->also)
        for (size_t i = 0; i < part->count; i++) {
            const struct key *key = &part->keys[i];
            if (!feature_available(key->feature))
                continue;
            check_help(part, key);
            check_fallback(part, key, base);
            bool is_of_same = key->type == VALUE_SECTION && key->offset != NOWHERE && base;
            if (key->section)
                check_section(key->section, is_of_same ? base + key->offset : NULL);
        }
}

static void test_policy(void **state)
{
    (void)state;
    check_section(&section_policy, (const char *)policy);
}

/* What "jobs" falls back to depends on the type: it is said in words. */
static void test_jobs(void **state)
{
    (void)state;
    for (size_t i = 0; i < policy->job_count; i++) {
        const struct policy_job *job = &policy->jobs[i];
        for (const struct section *part = &section_job; part; part = part->also)
            for (size_t k = 0; k < part->count; k++) {
                const struct key *key = &part->keys[k];
                bool has_meaning = !key->job_types || (key->job_types & FOR(job->type));
                if (!feature_available(key->feature) || strcmp(key->name, "jobs") == 0)
                    continue;
                check_help(part, key);
                if (has_meaning)
                    check_fallback(part, key, (const char *)job);
                if (key->section)
                    check_section(key->section, NULL);
            }
        int workers = job->type == JOB_DUMP || job->type == JOB_VERIFY ? 2 : 1;
        assert_int_equal(job->jobs, workers);
    }
}

static int parse(void **state)
{
    (void)state;
    static const char TEXT[] = CASE_HEAD "jobs:\n"
                                         "  wal: {type: wal}\n"
                                         "  dump: {type: dump}\n"
                                         "  snapshot: {type: snapshot}\n"
                                         "  vacuum: {type: vacuum}\n"
                                         "  prune: {type: prune}\n"
                                         "  verify: {type: verify}\n"
                                         "  drill: {type: drill, of: dump}\n"
                                         "  audit: {type: audit}\n";
    struct buf lines;
    policy = case_parse(TEXT, &lines);
    if (!policy)
        printf("%s", buf_text(&lines));
    buf_clear(&lines);
    return policy && policy->job_count == JOB_TYPE_COUNT ? 0 : -1;
}

static int release(void **state)
{
    (void)state;
    policy = policy_free(policy);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_policy), cmocka_unit_test(test_jobs)};
    return cmocka_run_group_tests(tests, parse, release);
}
