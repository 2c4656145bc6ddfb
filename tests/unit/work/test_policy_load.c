#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "work/policy_load.h"

static char folder[] = "/tmp/pgcairn-policy-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[64][256];
    static int next;
    next = (next + 1) % 64;
    snprintf(path[next], sizeof(path[next]), "%s/%s", folder, name);
    return path[next];
}

static const char *put(const char *name, const char *text, mode_t mode)
{
    struct error err = ERROR_NONE;
    if (file_replace(path_of(name), text, strlen(text), mode, &err))
        fail_msg("%s", err.message);
    return path_of(name);
}

static void put_policy(const char *name, const char *cluster, const char *postgres, mode_t mode)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "cluster: %s\npostgres: {%s}\nrepository: {url: file:///srv}\n"
             "jobs: {nightly: {type: dump, schedule: 0 2 * * *, keep: {last: 1}}}\n",
             cluster, postgres);
    put(name, text, mode);
}

static struct policy_set *load_all(const char *name)
{
    struct strv paths = STRV_INIT(10);
    struct policy_set *set = NULL;
    struct error err = ERROR_NONE;
    strv_add(&paths, path_of(name), NULL);
    if (policy_set_load_all(&paths, &set, &err))
        fail_msg("%s", err.message);
    strv_clear(&paths);
    return set;
}

static int load(const char *name, struct policy_set **ret_set, struct error *err)
{
    struct strv paths = STRV_INIT(10);
    *err = ERROR_NONE;
    strv_add(&paths, path_of(name), NULL);
    int rc = policy_set_load(&paths, ret_set, err);
    strv_clear(&paths);
    return rc;
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_all(const char *path)
{
    char inner[512];
    DIR *entries = opendir(path);
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        if (entry->d_name[0] == '.' && (!entry->d_name[1] || entry->d_name[1] == '.'))
            continue;
        snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
        if (unlink(inner))
            remove_all(inner);
    }
    if (entries)
        closedir(entries);
    return rmdir(path);
}

static int tear_down(void **state)
{
    (void)state;
    return remove_all(folder);
}

/* *.yaml and *.yml by name; hidden files and others are none. */
static void test_folder(void **state)
{
    (void)state;
    struct error err = ERROR_NONE;
    mkdir(path_of("many"), 0700);
    put_policy("many/b.yaml", "beta", "connection: dbname=b", 0644);
    put_policy("many/a.yml", "alpha", "connection: dbname=a", 0644);
    put("many/.hidden.yaml", "no policy", 0644);
    put("many/notes.txt", "no policy", 0644);
    put("many/old.yaml.bak", "no policy", 0644);
    struct policy_set *set = NULL;
    assert_int_equal(load("many", &set, &err), 0);
    assert_int_equal(policy_set_count(set), 2);
    assert_int_equal(policy_set_file_count(set), 2);
    assert_string_equal(policy_set_get(set, 0)->cluster, "alpha");
    assert_string_equal(policy_set_get(set, 1)->file, path_of("many/b.yaml"));
    policy_set_free(set);
}

static void test_find(void **state)
{
    (void)state;
    const struct policy *policy = NULL;
    const struct policy_job *job = NULL;
    struct error err = ERROR_NONE;
    put_policy("one.yaml", "automatos", "connection: dbname=a", 0644);
    struct policy_set *set = load_all("one.yaml");
    assert_int_equal(policy_set_find_job(set, "automatos/nightly", &policy, &job, &err), 0);
    assert_string_equal(policy->cluster, "automatos");
    assert_string_equal(job->name, "nightly");
    static const struct {
        const char *name, *message, *hint;
    } rows[] = {
        {"automatos/nightli", "cluster \"automatos\" has no job \"nightli\"",
         "did you mean \"automatos/nightly\"?"},
        {"automats/nightly", "no policy for cluster \"automats\"", "did you mean \"automatos\"?"},
        {"nightly", "\"nightly\" is not CLUSTER/JOB",
         "write both names, as in \"automatos/nightly\""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(policy_set_find_job(set, rows[i].name, &policy, &job, &err), ERR_USAGE);
        assert_string_equal(err.message, rows[i].message);
        assert_string_equal(err.hint, rows[i].hint);
    }
    assert_int_equal(policy_set_find(set, "other", &policy, &err), ERR_USAGE);
    assert_non_null(strstr(err.hint, "the only cluster is \"automatos\""));
    policy_set_free(set);
}

static void test_errors(void **state)
{
    (void)state;
    struct policy_set *set = NULL;
    struct error err = ERROR_NONE;
    char want[400];
    put("bad.yaml", "cluster: B\n", 0644);
    assert_int_equal(load("bad.yaml", &set, &err), ERR_POLICY);
    snprintf(want, sizeof(want),
             "%s:1:1: \"postgres\" is missing, as in: postgres: {connection: ${DATABASE_URL}}",
             path_of("bad.yaml"));
    assert_string_equal(err.message, want);
    assert_string_equal(err.hint, "2 more: \"pgcairn policy check\" lists all");
    assert_int_equal(load("missing.yaml", &set, &err), ERR_POLICY);
    snprintf(want, sizeof(want), "could not open policy \"%s\": No such file or directory",
             path_of("missing.yaml"));
    assert_string_equal(err.message, want);
    mkdir(path_of("empty"), 0700);
    assert_int_equal(load("empty", &set, &err), ERR_POLICY);
    assert_string_equal(err.hint, "\"pgcairn policy init\" writes a first one");
    assert_null(set);
}

/* One bad file does not take the good ones along. */
static void test_all(void **state)
{
    (void)state;
    mkdir(path_of("mixed"), 0700);
    put_policy("mixed/a.yaml", "alpha", "connection: dbname=a", 0644);
    put_policy("mixed/b.yaml", "Beta", "connection: dbname=b", 0644);
    put_policy("mixed/c.yaml", "alpha", "connection: dbname=c", 0644);
    struct policy_set *set = load_all("mixed");
    assert_int_equal(policy_set_file_count(set), 3);
    assert_int_equal(policy_set_count(set), 1);
    assert_null(policy_set_file(set, 1)->policy);
    const struct policy_file *twin = policy_set_file(set, 2);
    char want[400];
    snprintf(want, sizeof(want), "cluster \"alpha\" has a policy already: %s",
             path_of("mixed/a.yaml"));
    assert_null(twin->policy);
    assert_int_equal(twin->problems.count, 1);
    assert_int_equal(twin->problems.items[0].line, 1);
    assert_int_equal(twin->problems.items[0].column, 10);
    assert_string_equal(twin->problems.items[0].message, want);
    policy_set_free(set);
}

static void test_default_path(void **state)
{
    (void)state;
    struct strv none = STRV_INIT(1);
    struct policy_set *set = NULL;
    struct error err = ERROR_NONE;
    put_policy("default.yaml", "by-environment", "connection: dbname=a", 0644);
    setenv("PGCAIRN_POLICY", path_of("default.yaml"), 1);
    assert_int_equal(policy_set_load(&none, &set, &err), 0);
    assert_string_equal(policy_set_get(set, 0)->cluster, "by-environment");
    policy_set_free(set);
    unsetenv("PGCAIRN_POLICY");
}

static void expect_problem(const char *name, const char *part, bool is_error)
{
    struct policy_set *set = load_all(name);
    const struct policy_file *file = policy_set_file(set, 0);
    const char *message = file->problems.count ? file->problems.items[0].message : "";
    if (!strstr(message, part) || is_error != (file->policy == NULL))
        fail_msg("%s: \"%s\" does not say \"%s\"", name, message, part);
    policy_set_free(set);
}

/* Files with secrets must not be readable by others. */
static void test_secrets(void **state)
{
    (void)state;
    char postgres[400];
    put_policy("s.yaml", "a", "connection: 'postgres://u:secret@h/d'", 0600);
    expect_problem("s.yaml", "", false);
    put_policy("s.yaml", "a", "connection: 'postgres://u:secret@h/d'", 0604);
    expect_problem("s.yaml", "the file holds a password and can be read by others", true);
    put_policy("s.yaml", "a", "connection: 'postgres://u@h/d'", 0644);
    expect_problem("s.yaml", "", false);
    snprintf(postgres, sizeof(postgres), "connection: 'postgres://u@h/d', password_file: %s",
             put("word", "secret\n", 0644));
    put_policy("s.yaml", "a", postgres, 0644);
    expect_problem("s.yaml", "holds a password and can be read by others (chmod 600", true);
    put("word", "secret\n", 0600);
    expect_problem("s.yaml", "", false);
    unlink(path_of("word"));
    expect_problem("s.yaml", "No such file or directory", false);
    snprintf(postgres, sizeof(postgres), "connection: 'postgres://u@h/d', passfile: %s",
             put("pgpass", "*:*:*:*:secret\n", 0640));
    put_policy("s.yaml", "a", postgres, 0644);
    expect_problem("s.yaml", "holds a password and can be read by others", true);
}

static void test_password_files_of_mail(void **state)
{
    (void)state;
    char text[600];
    const char *word = put("word", "secret\n", 0644);
    snprintf(
        text, sizeof(text),
        "cluster: a\npostgres: {connection: dbname=a}\nrepository: {url: file:///srv}\n"
        "jobs: {v: {type: vacuum, schedule: \"1 1 * * *\"}}\n"
        "notify: [{email: {to: a@b, from: c@d, smtp: 'smtps://m', user: u, password_file: %s}}]\n",
        word);
    put("m.yaml", text, 0644);
    expect_problem("m.yaml", "holds a password and can be read by others (chmod 600", true);
    put("word", "secret\n", 0600);
    expect_problem("m.yaml", "", false);
    snprintf(
        text, sizeof(text),
        "cluster: a\npostgres: {connection: dbname=a}\nrepository: {url: file:///srv}\n"
        "jobs: {v: {type: vacuum, schedule: \"1 1 * * *\"}}\n"
        "notify: [{email: {to: a@b, from: c@d, smtp: 'smtps://m', user: u, password: hunter2}}]\n");
    put("m.yaml", text, 0644);
    expect_problem("m.yaml", "the file holds a password and can be read by others", true);
    put("m.yaml", text, 0600);
    expect_problem("m.yaml", "", false);
}

static void expect_secret_key(const char *key, mode_t mode, size_t errors)
{
    char text[600];
    snprintf(text, sizeof(text),
             "cluster: a\npostgres: {connection: dbname=a}\nrepository:\n  url: s3://bucket\n"
             "  s3: {access_key_id: A, secret_access_key: %s}\n",
             key);
    put("s.yaml", text, mode);
    struct policy_set *set = load_all("s.yaml");
    const struct policy_file *file = policy_set_file(set, 0);
    assert_int_equal(file->problems.error_count, errors);
    for (size_t i = 0; i < file->problems.count; i++) {
        assert_null(strstr(file->problems.items[i].message, "hunter2"));
        if (!file->problems.items[i].is_warning)
            assert_non_null(strstr(file->problems.items[i].message,
                                   "the file holds a secret key and can be read by others"));
    }
    policy_set_free(set);
}

static void test_secret_keys(void **state)
{
    (void)state;
    setenv("POLICY_LOAD_KEY", "hunter2", 1);
    expect_secret_key("hunter2", 0600, 0);
    expect_secret_key("hunter2", 0644, 1);
    expect_secret_key("${POLICY_LOAD_KEY}", 0644, 0);
    expect_secret_key("'${POLICY_LOAD_KEY:-hunter2}'", 0644, 1);
    unsetenv("POLICY_LOAD_KEY");
}

static void expect_conninfo(const char *job_name, const char *want)
{
    struct policy_set *set = load_all("c.yaml");
    const struct policy *policy = policy_set_count(set) ? policy_set_get(set, 0) : NULL;
    struct error err = ERROR_NONE;
    char *conninfo = NULL;
    assert_non_null(policy);
    const struct policy_job *job = job_name ? policy_find_job(policy, job_name) : NULL;
    if (policy_connection(policy, job, &conninfo, &err))
        assert_string_equal(err.message, want);
    else
        assert_string_equal(conninfo, want);
    free(conninfo);
    policy_set_free(set);
}

#define REST                                                                                       \
    "repository: {url: file:///srv}\njobs: {v: {type: vacuum, connection: dbname=own}, p: {type: " \
    "prune}}\n"

static void test_connection(void **state)
{
    (void)state;
    char text[1024], want[600];
    const char *word = put("password", "it's a \\ secret\n", 0600);
    snprintf(text, sizeof(text),
             "cluster: a\npostgres: {connection: dbname=d user=u, password_file: %s}\n" REST, word);
    put("c.yaml", text, 0644);
    expect_conninfo(NULL, "dbname=d user=u password='it\\'s a \\\\ secret'");
    expect_conninfo("p", "dbname=d user=u password='it\\'s a \\\\ secret'");
    expect_conninfo("v", "dbname=own");
    put("password", "one\ntwo\n", 0600);
    snprintf(want, sizeof(want), "password_file \"%s\" must hold one line of text", word);
    expect_conninfo("p", want);
    put("password", "\n", 0600);
    snprintf(want, sizeof(want), "password_file \"%s\" is empty", word);
    expect_conninfo("p", want);
    const char *passfile = put("passfile", "*:*:*:*:secret\n", 0600);
    snprintf(text, sizeof(text),
             "cluster: a\npostgres: {connection: dbname=d user=u, passfile: %s}\n" REST, passfile);
    put("c.yaml", text, 0644);
    snprintf(want, sizeof(want), "dbname=d user=u passfile=%s", passfile);
    expect_conninfo("p", want);
    snprintf(want, sizeof(want), "dbname=own passfile=%s", passfile);
    expect_conninfo("v", want);
}

static void test_zones(void **state)
{
    (void)state;
    put("z.yaml",
        "cluster: a\ntimezone: Europe/Berlinn\npostgres: {connection: dbname=a}\n"
        "repository: {url: file:///srv}\n"
        "jobs: {v: {type: vacuum, timezone: Mars/Olympus}}\n",
        0644);
    struct policy_set *set = load_all("z.yaml");
    const struct policy_problems *problems = &policy_set_file(set, 0)->problems;
    assert_int_equal(problems->error_count, 2);
    assert_int_equal(problems->items[0].line, 2);
    assert_int_equal(problems->items[0].column, 11);
    assert_non_null(strstr(problems->items[0].message, "(did you mean \"Europe/Berlin\"?)"));
    assert_int_equal(problems->items[1].line, 5);
    assert_int_equal(problems->items[1].column, 36);
    policy_set_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folder),       cmocka_unit_test(test_find),
        cmocka_unit_test(test_errors),       cmocka_unit_test(test_all),
        cmocka_unit_test(test_default_path), cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_secret_keys),  cmocka_unit_test(test_connection),
        cmocka_unit_test(test_zones),        cmocka_unit_test(test_password_files_of_mail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
