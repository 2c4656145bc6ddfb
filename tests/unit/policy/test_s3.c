/* The section repository.s3, and what an s3:// URL may be. */
#include "policy/policy_case.h"

#include "base/instant.h"

#define HEAD "cluster: app\npostgres: {connection: ${DATABASE_URL}}\n"
#define URL HEAD "repository:\n  url: s3://shop-backups/prod\n"
#define NO_JOBS "1:1: warning: no jobs: nothing is ever backed up\n"
#define S63 "a23456789b123456789c123456789d123456789e123456789f123456789g123"
#define S50 "0123456789/123456789/123456789/123456789/123456789"
#define S250 S50 S50 S50 S50 S50

static const struct {
    const char *text, *lines;
} CASES[] = {
    {URL, NO_JOBS},
    {HEAD "repository: {url: s3://" S63 "}\n", NO_JOBS},
    {HEAD "repository: {url: s3://abc}\n", NO_JOBS},
    {HEAD "repository: {url: s3://abc///}\n", NO_JOBS},
    {HEAD "repository: {url: s3://a.b-c/A_=.x/y-1/}\n", NO_JOBS},
    {HEAD "repository: {url: 's3://'}\n",
     "3:19: \"s3://\": this can't be the name of a bucket: it must have 3 to 63 characters\n"},
    {HEAD "repository: {url: s3://" S63 "h}\n",
     "3:19: \"s3://a23456789b123456789c123456789d123456789e123456789f1...\": this can't be the "
     "name of a bucket: it must have 3 to 63 characters\n"},
    {HEAD "repository: {url: s3://Shop}\n",
     "3:19: \"s3://Shop\": this can't be the name of a bucket: it may hold only a-z, 0-9, \".\" "
     "and \"-\"\n"},
    {HEAD "repository: {url: s3://key:secret@shop/x}\n",
     "3:19: \"s3://key:***@shop/x\": this can't be the name of a bucket: it may hold only a-z, "
     "0-9, \".\" and \"-\"\n"},
    {HEAD "repository: {url: s3://-shop}\n",
     "3:19: \"s3://-shop\": this can't be the name of a bucket: it must begin and end with a "
     "letter or digit\n"},
    {HEAD "repository: {url: s3://shop.}\n",
     "3:19: \"s3://shop.\": this can't be the name of a bucket: it must begin and end with a "
     "letter or digit\n"},
    {HEAD "repository: {url: s3://a..b}\n",
     "3:19: \"s3://a..b\": this can't be the name of a bucket: it may not hold \"..\"\n"},
    {HEAD "repository: {url: s3://10.0.0.1/x}\n",
     "3:19: \"s3://10.0.0.1/x\": this can't be the name of a bucket: it may not look like an IP "
     "address\n"},
    {HEAD "repository: {url: s3://shop//x}\n",
     "3:19: \"s3://shop//x\": this prefix can't be one: it may not hold \"//\"\n"},
    {HEAD "repository: {url: s3://shop/a/../b}\n",
     "3:19: \"s3://shop/a/../b\": this prefix can't be one: it may not hold \".\" or \"..\" as a "
     "folder\n"},
    {HEAD "repository: {url: s3://shop/./b}\n",
     "3:19: \"s3://shop/./b\": this prefix can't be one: it may not hold \".\" or \"..\" as a "
     "folder\n"},
    {HEAD "repository: {url: 's3://shop/a b'}\n",
     "3:19: \"s3://shop/a b\": this prefix can't be one: it may hold only A-Z, a-z, 0-9, \".\", "
     "\"_\", \"=\", \"-\" and \"/\"\n"},
    {HEAD "repository: {url: s3://shop/" S250 S250 S250 "0123456789012345678901234567890123}\n",
     "3:19: \"s3://shop/0123456789/123456789/123456789/123456789/12345...\": this prefix can't be "
     "one: it may have at most 783 bytes, so that every key fits 1024\n"},
    {HEAD "repository: {url: s3://shop/" S250 S250 S250 "012345678901234567890123456789012}\n",
     NO_JOBS},

    /* words and values */
    {URL "  s3: {addressing: host, sse: KMS, object_lock: on, retry_for: 2h}\n",
     "5:20: \"addressing\" must be one of auto, path, virtual, not \"host\"\n"
     "5:31: \"sse\" must be one of \"\", AES256, aws:kms, not \"KMS\"\n"
     "5:49: \"object_lock\" must be one of off, governance, compliance, not \"on\"\n"
     "5:64: \"retry_for\" must be a duration from 1s to 1h (90s, 15m, 6h, 7d, 5w), not \"2h\"\n"},
    {URL "  s3: {regio: x, storage_clas: y, level: 1}\n",
     "5:8: unknown key \"regio\" in repository.s3: did you mean \"region\"?\n"
     "5:18: unknown key \"storage_clas\" in repository.s3: did you mean \"storage_class\"?\n"
     "5:35: unknown key \"level\" in repository.s3: it belongs in repository.compression\n"},
    {URL "  s3: {region: eu central, ca_file: ca.pem, storage_class: GLACIER}\n",
     "5:16: \"region\" must be the name of a region, as eu-central-1, not \"eu central\"\n"
     "5:37: \"ca_file\" must be an absolute path, not \"ca.pem\"\n"
     "5:60: \"storage_class\" can't be a class whose objects need hours before they can be read: "
     "not even the list of backups could be, not \"GLACIER\"\n"},
    {URL "  s3: {storage_class: standard}\n",
     "5:23: \"storage_class\" must be the name of a storage class, as STANDARD_IA, not "
     "\"standard\"\n"},
    {URL "  s3: {region: [a]}\n", "5:16: \"region\" must be text, not a list\n"},
    {URL "  s3: x\n", "5:7: \"s3\" must be a mapping of keys, not \"x\"\n"},

    /* endpoints */
    {URL "  s3: {endpoint: s3.example.com}\n",
     "5:18: \"endpoint\" needs https:// (or http://) in front, as https://s3.example.com:9000, "
     "not \"s3.example.com\"\n"},
    {URL "  s3: {endpoint: https://s3.example.com/bucket}\n",
     "5:18: \"endpoint\" may have no path: bucket and prefix belong into url:, not "
     "\"https://s3.example.com/bucket\"\n"},
    {URL "  s3: {endpoint: https://s3.example.com/}\n", NO_JOBS},
    {URL "  s3: {endpoint: 'https://'}\n", "5:18: \"endpoint\" names no host, not \"https://\"\n"},
    {URL "  s3: {endpoint: https://h:port}\n",
     "5:18: \"endpoint\" has a port that is no number, not \"https://h:***\"\n"},
    {URL "  s3: {endpoint: https://u:hunter2@h}\n",
     "5:18: \"endpoint\" is no scheme://host[:port], not \"https://u:***@h\"\n"},
    {URL "  s3: {endpoint: https://h:9000}\n", NO_JOBS},
    {URL "  s3: {endpoint: 'https://[fd00::1]:9000'}\n", NO_JOBS},
    {URL "  s3: {endpoint: http://s3.internal:9000}\n",
     NO_JOBS "5:18: warning: http:// sends backups over the network without encryption; use "
             "https://, with ca_file: for a certificate of your own\n"},
    {URL "  s3: {endpoint: http://localhost:9000}\n", NO_JOBS},
    {URL "  s3: {endpoint: http://s3.localhost:9000}\n", NO_JOBS},
    {URL "  s3: {endpoint: http://127.0.0.1:7480}\n", NO_JOBS},
    {URL "  s3: {endpoint: 'http://[::1]:7480'}\n", NO_JOBS},
    {URL "  s3: {endpoint: http://notlocalhost}\n",
     NO_JOBS "5:18: warning: http:// sends backups over the network without encryption; use "
             "https://, with ca_file: for a certificate of your own\n"},
    {URL "  s3: {endpoint: https://127.0.0.1:7480, addressing: virtual}\n",
     "5:54: addressing: virtual puts the bucket before the host name, and the endpoint is an "
     "address\n"},

    /* contradictions */
    {HEAD "repository: {url: file:///a, s3: {region: x}}\n",
     "3:30: \"s3\" has no effect: the url is of a folder\n"},
    {URL "  s3: {access_key_id: AKIA}\n", "5:8: \"access_key_id\" without \"secret_access_key\"\n"},
    {URL "  s3: {secret_access_key: ${CASE_NAME}}\n",
     "5:8: \"secret_access_key\" without \"access_key_id\"\n"},
    {URL "  s3: {session_token: ${CASE_NAME}}\n",
     "5:8: \"session_token\" without \"access_key_id\" and \"secret_access_key\"\n"},
    {URL "  s3: {access_key_id: A, secret_access_key: ${CASE_NAME}, profile: p}\n",
     "5:59: \"profile\" and \"access_key_id\" exclude each other\n"},
    {URL "  s3: {kms_key_id: k, sse: AES256}\n",
     "5:8: \"kms_key_id\" has no effect without sse: aws:kms\n"},
    {URL "  s3: {kms_key_id: \"\", sse: aws:kms}\n", NO_JOBS},
    {URL "  s3: {kms_key_id: k, sse: aws:kms}\n", NO_JOBS},

    /* secrets */
    {URL "  s3: {access_key_id: A, secret_access_key: hunter2}\n",
     NO_JOBS "5:45: warning: \"secret_access_key\" stands in the file as plain text: take it from "
             "a ${VARIABLE}, or leave it out and use a profile or the role of the machine\n"},
    {URL "  s3: {access_key_id: A, secret_access_key: '${CASE_EMPTY:-hunter2}'}\n",
     NO_JOBS "5:45: warning: \"secret_access_key\" stands in the file as plain text: take it from "
             "a ${VARIABLE}, or leave it out and use a profile or the role of the machine\n"},
    {URL "  s3: {access_key_id: A, secret_access_key: ${CASE_NAME}}\n", NO_JOBS},
    {URL "  s3: {access_key_id: A, secret_access_key: hunter 2, session_token: ünter}\n",
     "5:45: \"secret_access_key\" holds a space, or a character that is in no key\n"
     "5:45: warning: \"secret_access_key\" stands in the file as plain text: take it from a "
     "${VARIABLE}, or leave it out and use a profile or the role of the machine\n"
     "5:70: \"session_token\" holds a space, or a character that is in no key\n"
     "5:70: warning: \"session_token\" stands in the file as plain text: take it from a "
     "${VARIABLE}, or leave it out and use a profile or the role of the machine\n"},
    {URL "  s3: {access_key_id: A, secret_access_key: [hunter2]}\n",
     "5:8: \"access_key_id\" without \"secret_access_key\"\n"
     "5:45: \"secret_access_key\" must be text, not a list\n"},

    /* tags */
    {URL "  s3: {tags: {team: data, größe: 'a b+-._:/@='}}\n", NO_JOBS},
    {URL "  s3: {tags: ['team=data', 'empty=']}\n", NO_JOBS},
    {URL "  s3: {tags: team}\n",
     "5:14: \"tags\" must be a mapping of names to values, or a list of \"name=value\"\n"},
    {URL "  s3: {tags: [team, a=1, a=2, 'aws:x=1', '=3', 'a!=3']}\n",
     "5:15: a tag is written as \"name=value\"\n"
     "5:26: the tag \"a\" is given twice\n"
     "5:31: tags whose name begins with \"aws:\" are reserved\n"
     "5:42: a tag is name=value: a name of 1 to 128 and a value of 0 to 256 letters, digits, "
     "spaces and + - . _ : / @ (in the value = too)\n"
     "5:48: a tag is name=value: a name of 1 to 128 and a value of 0 to 256 letters, digits, "
     "spaces and + - . _ : / @ (in the value = too)\n"},
    {URL "  s3: {tags: [a=1, b=1, c=1, d=1, e=1, f=1, g=1, h=1, i=1, j=1, k=1]}\n",
     "5:14: \"tags\" has 11 entries, an object can have 10\n"},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++)
        case_expect(CASES[i].text, CASES[i].lines);
}

static void test_values(void **state)
{
    (void)state;
    struct buf lines;
    struct policy *policy = case_parse(
        HEAD "repository:\n  url: s3://shop/a/b//\n  s3:\n    region: eu-central-1\n"
             "    endpoint: https://s3.example.com\n    addressing: virtual\n"
             "    storage_class: STANDARD_IA\n    sse: aws:kms\n    kms_key_id: alias/backup\n"
             "    object_lock: compliance\n    ca_file: /etc/ca.pem\n    access_key_id: AKIA\n"
             "    secret_access_key: hunter2\n    session_token: ${CASE_NAME}\n"
             "    tags: {team: data, tier: \"\"}\n    retry_for: 5m\n",
        &lines);
    assert_non_null(policy);
    assert_null(strstr(buf_text(&lines), "hunter2"));
    const struct policy_s3 *s3 = &policy->s3;
    assert_string_equal(policy->repository_url, "s3://shop/a/b");
    assert_string_equal(s3->region, "eu-central-1");
    assert_string_equal(s3->endpoint, "https://s3.example.com");
    assert_int_equal(s3->addressing, S3_ADDRESSING_VIRTUAL);
    assert_string_equal(s3->storage_class, "STANDARD_IA");
    assert_int_equal(s3->sse, S3_SSE_KMS);
    assert_string_equal(s3->kms_key_id, "alias/backup");
    assert_int_equal(s3->object_lock, S3_LOCK_COMPLIANCE);
    assert_string_equal(s3->ca_file, "/etc/ca.pem");
    assert_string_equal(s3->access_key_id, "AKIA");
    assert_string_equal(s3->secret_access_key, "hunter2");
    assert_string_equal(s3->session_token, "app");
    assert_int_equal(s3->tags.count, 2);
    assert_string_equal(s3->tags.items[0], "team=data");
    assert_string_equal(s3->tags.items[1], "tier=");
    assert_int_equal(s3->retry_us, 5 * US_PER_MINUTE);
    assert_true(s3->holds_secret);
    assert_int_equal(s3->line, 15);
    assert_int_equal(s3->column, 24);
    policy_free(policy);
    buf_clear(&lines);
}

static void test_defaults(void **state)
{
    (void)state;
    struct buf lines;
    struct policy *policy = case_parse(URL, &lines);
    assert_int_equal(policy->s3.retry_us, US_PER_MINUTE);
    assert_int_equal(policy->s3.object_lock, S3_LOCK_OFF);
    assert_int_equal(policy->s3.sse, S3_SSE_NONE);
    assert_int_equal(policy->s3.tags.count, 0);
    assert_null(policy->s3.region);
    assert_false(policy->s3.holds_secret);
    policy_free(policy);
    buf_clear(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
