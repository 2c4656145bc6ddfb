/* The section notify: of the policy. */
#include "policy_case.h"

#include "policy/notify.h"

#define HEAD                                                                             \
    "cluster: x\npostgres: {connection: dbname=a}\nrepository: {url: file:///a}\njobs: " \
    "{n: {type: dump, keep: {last: 3}, schedule: \"0 2 * * *\"}, v: {type: verify, "     \
    "schedule: \"0 3 * * *\"}}\n"
#define MAIL "to: a@b.example, from: c@d.example, smtp: smtps://mail.example"

static struct policy *parse_good(const char *text)
{
    struct buf lines;
    struct policy *policy = case_parse(text, &lines);
    if (!policy || lines.length)
        fail_msg("%s\n%s", text, buf_text(&lines));
    buf_clear(&lines);
    return policy;
}

static void test_values(void **state)
{
    (void)state;
    struct policy *policy = parse_good(
        HEAD
        "notify:\n"
        "  - webhook: ${ALERT_URL}\n"
        "  - {slack: 'https://hooks.slack.com/services/T0/B0/secret', job: [n, v], on: success}\n"
        "  - {ping: ${HEALTHCHECK_URL}, job: n}\n"
        "  - email: {to: [a@b.example, e@f.example], from: c@d.example, smtp: "
        "smtps://mail.example, user: u, password: ${CASE_NAME}}\n"
        "    on: [stale, policy]\n    stale: 26h\n    repeat: 1h\n    ca_file: /etc/ca.pem\n");
    assert_int_equal(policy->notify_count, 4);
    const struct policy_notify *webhook = &policy->notify[0], *slack = &policy->notify[1];
    const struct policy_notify *ping = &policy->notify[2], *mail = &policy->notify[3];
    assert_int_equal(webhook->kind, NOTIFY_WEBHOOK);
    assert_string_equal(webhook->url, "https://example.com/alert");
    assert_string_equal(webhook->shown, "webhook https://example.com/***");
    assert_int_equal(webhook->on, 1 << NOTIFY_FAILURE | 1 << NOTIFY_RECOVERY | 1 << NOTIFY_MISSED |
                                      1 << NOTIFY_STALE | 1 << NOTIFY_POLICY);
    assert_true(webhook->stale_us == 0 && webhook->repeat_us == POLICY_NOTIFY_REPEAT_US);
    assert_int_equal(strlen(webhook->key), strlen("webhook-") + 12);
    assert_int_equal(slack->on, 1 << NOTIFY_SUCCESS);
    assert_string_equal(slack->shown, "slack https://hooks.slack.com/***");
    assert_null(strstr(slack->key, "secret"));
    assert_int_equal(ping->on, 1 << NOTIFY_START | 1 << NOTIFY_SUCCESS | 1 << NOTIFY_FAILURE);
    assert_string_equal(mail->shown, "email to a@b.example and others by smtps://mail.example");
    assert_true(mail->stale_us == 26 * US_PER_HOUR && mail->repeat_us == US_PER_HOUR);
    assert_string_equal(mail->ca_file, "/etc/ca.pem");
    assert_string_equal(mail->password, "app");
    assert_false(policy->holds_password);
    assert_true(policy_notify_wants(slack, NOTIFY_SUCCESS, "v"));
    assert_false(policy_notify_wants(slack, NOTIFY_FAILURE, "v"));
    assert_false(policy_notify_wants(ping, NOTIFY_SUCCESS, "v"));
    assert_true(policy_notify_wants(mail, NOTIFY_POLICY, ""));
    policy_free(policy);
}

static void test_keys_tell_targets_apart(void **state)
{
    (void)state;
    struct policy *a = parse_good(HEAD "notify: [{webhook: 'https://a.example/1'}, {slack: "
                                       "'https://a.example/1'}, {email: {" MAIL "}}]\n");
    struct policy *b = parse_good(HEAD "notify: [{on: success, webhook: 'https://a.example/1'}, "
                                       "{webhook: 'https://a.example/2'}]\n");
    assert_string_equal(a->notify[0].key, b->notify[0].key);
    assert_string_not_equal(a->notify[0].key, b->notify[1].key);
    assert_string_not_equal(a->notify[0].key + 8, a->notify[1].key + 6);
    policy_free(a);
    policy_free(b);
}

static void test_a_password_in_the_file_is_noticed(void **state)
{
    (void)state;
    struct policy *policy =
        parse_good(HEAD "notify: [{email: {" MAIL ", user: u, password: hunter2}}]\n");
    assert_true(policy->holds_password);
    policy_free(policy);
}

static void test_urls_are_shown_without_secrets(void **state)
{
    (void)state;
    static const struct {
        const char *url, *shown;
        bool is_plain;
    } CASES[] = {
        {"https://hooks.example/T0/secret", "https://hooks.example/***", false},
        {"https://u:secret@a.example:8443/x?token=secret", "https://a.example:8443/***", false},
        {"https://u:se@cret@a.example", "https://a.example", false},
        {"https://a.example?token=secret", "https://a.example/***", false},
        {"https://a.example/", "https://a.example", false},
        {"http://a.example/secret", "http://a.example/***", true},
        {"http://u:p@127.0.0.1:80/secret", "http://127.0.0.1:80/***", false},
        {"http://127.0.0.1.evil.example/", "http://127.0.0.1.evil.example", true},
        {"http://[::1]:80/x", "http://[::1]:80/***", false},
        {"http://localhost/x", "http://localhost/***", false},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        char text[POLICY_NOTIFY_SHOWN_MAX];
        char url[100];
        snprintf(url, sizeof(url), "%s", CASES[i].url);
        const struct policy_notify notify = {.url = url};
        notify_url_shown(CASES[i].url, text, sizeof(text));
        if (strcmp(text, CASES[i].shown) != 0 ||
            policy_notify_is_plain(&notify) != CASES[i].is_plain)
            fail_msg("%s: %s", CASES[i].url, text);
    }
}

static const struct {
    const char *text, *lines;
} FAULTS[] = {
    {"notify: {webhook: x}\n",
     "5:9: \"notify\" must be a list, as in: [{webhook: ${ALERT_URL}}]\n"},
    {"notify: [x]\n",
     "5:10: \"notify\" must be a list of mappings, as in: [{webhook: ${ALERT_URL}}]\n"},
    {"notify: [{on: failure}]\n",
     "5:10: an entry of notify needs one of webhook, slack, email, ping\n"},
    {"notify: [{webhook: ${ALERT_URL}, ping: ${ALERT_URL}}]\n",
     "5:34: an entry has one target: \"ping\" stands beside \"webhook\"; write two\n"},
    /* What may be a secret is not shown. */
    {"notify: [{webhook: hooks.example/hunter2}, {slack: 'ftp://a/hunter2'}, {ping: 'https://'}]\n",
     "5:20: \"webhook\" must be a URL, https://... or http://...\n"
     "5:52: \"slack\" must be a URL, https://... or http://...\n"
     "5:79: \"ping\" must be a URL, https://... or http://...\n"},
    {"notify: [{webhook: 'https://a.example/x\ty'}]\n",
     "5:20: \"webhook\" must be a URL, https://... or http://...\n"},
    {"notify: [{webhook: ${ALERT_URL}, on: [], job: nn, stale: soon}]\n",
     "5:10: notify: there is no job \"nn\"\n"
     "5:38: \"on\" is an empty list\n"
     "5:58: \"stale\" must be a duration from 1s to 366d (90s, 15m, 6h, 7d, 5w), not \"soon\"\n"},
    {"notify: [{webhook: ${ALERT_URL}}, {on: success, webhook: ${ALERT_URL}}]\n",
     "5:35: notify: the entry of line 5 has the same target; name its events and jobs in one\n"},
    {"notify: [{email: a@b.example}]\n",
     "5:18: \"email\" must be a mapping, as in: {to: dba@example.com, from: pgcairn@example.com, "
     "smtp: smtps://mail.example.com}\n"},
    {"notify: [{email: {to: a@b.example}}]\n",
     "5:18: an e-mail needs \"from\"\n5:18: an e-mail needs \"smtp\"\n"},
    {"notify: [{email: {to: 'a b@c', from: c@d.example, smtp: 'smtps://m'}}]\n",
     "5:23: \"to\" must be an address, as dba@example.com, not \"a b@c\"\n"},
    {"notify: [{email: {to: a@b, from: \"x@y\\r\\nBcc: z@z\", smtp: 'smtps://m'}}]\n",
     "5:34: \"from\" must be an address, as dba@example.com, not \"x@y??Bcc: z@z\"\n"},
    {"notify: [{email: {to: a@b, from: c@d, smtp: 'https://m'}}]\n",
     "5:45: \"smtp\" must be a URL, smtps://... or smtp://...\n"},
    {"notify: [{email: {to: a@b, from: c@d, smtp: 'smtps://u:hunter2@m'}}]\n",
     "5:45: \"smtp\" may hold no user: write user: and password:\n"},
    {"notify: [{email: {to: a@b, from: c@d, smtp: 'smtps://m', user: u}}]\n",
     "5:18: an e-mail with \"user\" needs \"password\"\n"},
    {"notify: [{email: {to: a@b, from: c@d, smtp: 'smtps://m', password: u}}]\n",
     "5:18: an e-mail with \"password\" needs \"user\"\n"},
    {"notify: [{email: {to: a@b, from: c@d, smtp: 'smtps://m', user: u, password: ${CASE_NAME}, "
     "password_file: /a}}]\n",
     "5:91: \"password\" and \"password_file\" exclude each other\n"},
    {"notify: [{webhook: 'http://a.example/hunter2'}, {ping: ${HEALTHCHECK_URL}}, {slack: "
     "${ALERT_URL}, on: failure, stale: 1h}]\n",
     "5:10: warning: notify: webhook http://a.example/*** is told without TLS: whoever is on the "
     "way can read it\n"
     "5:49: warning: notify: ping https://example.com/***: one check can't tell 2 jobs apart; give "
     "each job a check of its own, with job:\n"
     "5:77: warning: notify: slack https://example.com/*** has \"stale\" and is not told of it: "
     "add stale to on:\n"},
};

static void test_faults(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(FAULTS) / sizeof(FAULTS[0]); i++) {
        char text[1000];
        snprintf(text, sizeof(text), "%s%s", HEAD, FAULTS[i].text);
        case_expect(text, FAULTS[i].lines);
        assert_null(strstr(FAULTS[i].lines, "hunter2"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_keys_tell_targets_apart),
        cmocka_unit_test(test_a_password_in_the_file_is_noticed),
        cmocka_unit_test(test_urls_are_shown_without_secrets),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
