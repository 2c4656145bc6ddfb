#include "policy/policy_case.h"

#include <dirent.h>

#include "base/file.h"
#include "base/instant.h"
#include "policy/problems.h"

static const char TEN_MISTAKES[] =
    "cluster: Automatos\n"
    "timezon: Europe/Berlin\n"
    "postgres:\n"
    "  connection: postgres://app:hunter2@pw@db:5432/app\n"
    "  max_connections: 800\n"
    "repository: {url: /srv/pgcairn, compression: {level: 30}}\n"
    "defaults: {timeout: 6 hours}\n"
    "jobs:\n"
    "  nightly: {type: dmup, schedule: \"0 2 * *\"}\n"
    "  weekly: {type: dump, schedule: \"0 0 30 2 *\", keep: {withn: 3d}}\n"
    "  tidy: {type: vacuum, schedule: 61 2 * * *, keep: {last: 1}}\n";

static const char TEN_LINES[] =
    "1:10: cluster \"Automatos\" must be 1 to 63 of a-z, 0-9 and \"-\"\n"
    "2:1: unknown key \"timezon\": did you mean \"timezone\"?\n"
    "4:15: connection: an \"@\" too many: special characters in a password must be "
    "percent-encoded (write %40 for \"@\", %2F for \"/\", %3A for \":\", %3F for \"?\", %23 for "
    "\"#\", %25 for \"%\")\n"
    "5:20: \"max_connections\" must be a whole number from 2 to 64, not \"800\"\n"
    "6:19: \"url\" must be file:///an/absolute/path or s3://bucket/prefix, not \"/srv/pgcairn\"\n"
    "6:54: \"level\" must be a whole number from 1 to 19, not \"30\"\n"
    "7:21: \"timeout\" must be a duration from 1s to 30d (90s, 15m, 6h, 7d, 5w), not \"6 hours\"\n"
    "9:19: unknown job type \"dmup\": did you mean \"dump\"?\n"
    "9:43: schedule \"0 2 * *\": 4 fields instead of 5 (the fields are: minute hour day-of-month "
    "month day-of-week)\n"
    "10:34: schedule \"0 0 30 2 *\" never fires: no such date exists\n"
    "10:55: unknown key \"withn\" in keep: did you mean \"within\"?\n"
    "11:34: schedule \"61 2 * * *\": minute 61 is not in 0-59\n"
    "11:46: \"keep\" has no meaning for a vacuum job (it is for: wal, dump, snapshot)\n";

static void test_ten_mistakes(void **state)
{
    (void)state;
    case_expect(TEN_MISTAKES, TEN_LINES);
}

/* The example of the design: every key is known and checked, what is not built is refused. */
static const char FULL[] =
    "cluster: automatos\n"
    "timezone: UTC\n"
    "postgres:\n"
    "  connection: ${DATABASE_URL}\n"
    "  databases: [\"automatos\"]\n"
    "  max_connections: 8\n"
    "  bindir: auto\n"
    "repository:\n"
    "  url: s3://automatos-backups/prod\n"
    "  s3: {region: eu-central-1, endpoint: \"\", addressing: auto, storage_class: STANDARD, sse: "
    "\"\", kms_key_id: \"\", object_lock: off, ca_file: \"\"}\n"
    "  compression: {level: 1, threads: auto}\n"
    "  rate_limit: 0\n"
    "defaults: {timeout: 6h, retries: 2, on_missed: once, jitter: 0s, overlap: skip, lock_wait: "
    "5s}\n"
    "jobs:\n"
    "  wal:     {type: wal, schedule: \"0 * * * *\", keep: {within: 7d}, mode: push}\n"
    "  nightly: {type: dump, schedule: \"0 2 * * *\", keep: {within: 30d, last: 3}, jobs: 4}\n"
    "  weekly:  {type: snapshot, schedule: \"0 3 * * sun\", keep: {within: 90d, last: 2}}\n"
    "  tidy:    {type: vacuum, schedule: \"30 4 * * sun\", analyze: true, budget: 2h}\n"
    "  prune:   {type: prune, schedule: \"15 5 * * *\"}\n"
    "  drill:   {type: drill, schedule: \"0 6 * * mon\", of: weekly, assertions: [{sql: \"select "
    "count(*) > 0 from \\\"Models\\\"\"}]}\n"
    "  audit:   {type: audit, schedule: \"0 7 * * *\"}\n"
    "notify: [{on: [failure, recovery, missed], webhook: ${ALERT_URL}}, {ping: "
    "${HEALTHCHECK_URL}, job: nightly}]\n";

static void test_full_example(void **state)
{
    (void)state;
    case_expect(FULL, "");
}

static const struct {
    const char *text, *lines;
} CASES[] = {
    {"", "1:1: the file is empty\n"},
    {"# nothing\n", "1:1: the file is empty\n"},
    {"- a\n", "1:1: a policy is a mapping of keys: cluster, postgres, repository, jobs\n"},
    {"cluster: x\n",
     "1:1: \"postgres\" is missing, as in: postgres: {connection: ${DATABASE_URL}}\n"
     "1:1: \"repository\" is missing, as in: repository: {url: file:///srv/pgcairn}\n"},
    {"cluster: x\npostgres: {}\nrepository: {rate_limit: 1MB}\n",
     "2:1: \"connection\" is missing in postgres\n3:1: \"url\" is missing in repository\n"},
    {"postgres: {connection: dbname=a}\nrepository: {url: file:///a}\n",
     "1:1: \"cluster\", the name of the server is missing\n"},
    {CASE_HEAD, "1:1: warning: no jobs: nothing is ever backed up\n"},
    {CASE_HEAD "jobs: []\n", "4:7: \"jobs\" must be a mapping of job names\n"},
    {CASE_HEAD "jobs: {a b: {type: dump}}\n",
     "4:8: job name \"a b\" must be 1 to 63 letters, digits, \"-\" or \"_\"\n"},
    {CASE_HEAD "jobs: {a: {schedule: \"1 2 * * *\"}}\n",
     "4:8: job \"a\" has no type: (available: wal, dump, snapshot, vacuum, prune, verify, drill, audit)\n"},
    {CASE_HEAD "jobs: {a: {type: backup}}\n",
     "4:18: unknown job type \"backup\" (available: wal, dump, snapshot, vacuum, prune, verify, drill, audit)\n"},
    {CASE_HEAD "jobs: {a: {type: dump, keep: {}}}\n",
     "4:30: \"keep\" must be a mapping with at least one of within, last, hourly, daily, weekly, "
     "monthly, yearly\n"},
    {CASE_HEAD "jobs: {a: {type: dump, keep: {last: 0, within: 30, daily: 10001}}}\n",
     "4:37: \"last\" must be a whole number from 1 to 10000, not \"0\"\n"
     "4:48: \"within\" must be a duration from 1h to 36525d (90s, 15m, 6h, 7d, 5w), not \"30\"\n"
     "4:59: \"daily\" must be a whole number from 1 to 10000, not \"10001\"\n"},
    {CASE_HEAD "jobs: {a: {type: dump, jobs: 65, retries: 21, jitter: 2d, lock_wait: 0s}}\n",
     "4:30: \"jobs\" must be a whole number from 1 to 64, not \"65\"\n"
     "4:43: \"retries\" must be a whole number from 0 to 20, not \"21\"\n"
     "4:55: \"jitter\" must be a duration from 0s to 1d (90s, 15m, 6h, 7d, 5w), not \"2d\"\n"
     "4:70: \"lock_wait\" must be a duration from 1s to 1h (90s, 15m, 6h, 7d, 5w), not \"0s\"\n"},
    {CASE_HEAD "jobs: {a: {type: vacuum, analyze: maybe, tables: [], on_missed: never}}\n",
     "4:35: \"analyze\" must be true or false, not \"maybe\"\n"
     "4:50: \"tables\" must be a list of texts with at least one (leave it out for all)\n"
     "4:65: \"on_missed\" must be one of once, all, skip, not \"never\"\n"},
    {CASE_HEAD
     "jobs: {a: {type: wal, mode: pull, acknowledge: soon, slot: A-b, spool_limit: 1kB}}\n",
     "4:29: \"mode\" must be one of push, receive, not \"pull\"\n"
     "4:48: \"acknowledge\" must be one of stored, spooled, not \"soon\"\n"
     "4:60: \"slot\" must be 1 to 63 lower-case letters, digits or \"_\", not \"A-b\"\n"
     "4:78: \"spool_limit\" must be 0 or a size from 100.0 MB to 1.0 PB (500kB, 50MB, 1GiB), not "
     "\"1kB\"\n"},
    {CASE_HEAD "jobs: {a: {type: dump, mode: receive}}\n",
     "4:24: \"mode\" has no meaning for a dump job (it is for: wal)\n"},
    {CASE_HEAD "jobs: {a: {type: dump, after: b, group: g, rto: 1h, deny: []}}\n",
     "4:31: job \"a\": \"after\" names no job: \"b\"\n"
     "4:41: job \"a\": group \"g\" is not in the policy's groups, as in: groups: {g: 1}\n"
     "4:44: \"rto\" has no meaning for a dump job (it is for: drill)\n"},
    {CASE_HEAD "groups: {disk: 0, a b: 1, net: 2}\nmax_running: 0\n"
               "jobs: {a: {type: dump, group: ne}}\n",
     "4:16: the limit of group \"disk\" must be a whole number from 1 to 100\n"
     "4:19: group \"a b\" must be 1 to 63 letters, digits, \"-\" or \"_\"\n"
     "5:14: \"max_running\" must be a whole number from 1 to 100, not \"0\"\n"
     "6:31: job \"a\": group \"ne\" is not in the policy's groups, did you mean \"net\"?\n"},
    {CASE_HEAD "jobs:\n  a: {type: dump, after: nigthly}\n  nightly: {type: dump}\n",
     "5:26: job \"a\": \"after\" names no job: \"nigthly\", did you mean \"nightly\"?\n"},
    {CASE_HEAD "jobs:\n  a: {type: dump, after: b}\n  b: {type: verify, after: a}\n"
               "  c: {type: dump}\n  d: {type: verify, after: c}\n"
               "  e: {type: dump, schedule: 1 2 * * *}\n  f: {type: dump, schedule: 3 4 * * *}\n"
               "  g: {type: prune, after: [e, f]}\n"
               "  h: {type: prune, after: e, schedule: 1 1 * * *}\n"
               "  i: {type: prune, after: e, timezone: Europe/Berlin}\n",
     "5:26: job \"a\": \"after\" is a circle\n"
     "6:28: job \"b\": \"after\" is a circle\n"
     "8:28: job \"d\": \"after\" ends at a job that has no schedule and runs by hand only\n"
     "11:27: job \"g\": \"after\" leads to more than one scheduled job: they have no due instant in "
     "common\n"
     "12:27: job \"h\" has \"after\" and \"schedule\": its due instants are those of the job before "
     "it, leave one of them out\n"
     "13:27: job \"i\" has \"after\" and \"timezone\": its due instants are those of the job before "
     "it, leave one of them out\n"},
    {CASE_HEAD
     "defaults: {deny: [{}], deadline: 1s}\n"
     "jobs:\n  w: {type: wal, deny: [{days: mon}]}\n"
     "  a: {type: dump, deny: [{days: mon-fry, from: \"24:00\", to: 1, action: wait, at: 3}]}\n"
     "  b: {type: dump, deny: [{from: \"10:00\", to: \"10:00\"}]}\n",
     "4:19: \"deny\" must be a list of windows, as in: [{days: mon-fri, from: \"08:00\", to: "
     "\"20:00\"}]\n"
     "4:34: \"deadline\" must be a duration from 1m to 30d (90s, 15m, 6h, 7d, 5w), not \"1s\"\n"
     "6:24: \"deny\" is not for a wal job: WAL never waits\n"
     "7:33: \"days\" must be weekdays as in mon-fri or [sat, sun], not \"mon-fry\"\n"
     "7:48: \"from\" must be a time from 00:00 to 23:59, not \"24:00\"\n"
     "7:61: \"to\" must be a time from 00:00 to 24:00, not \"1\"\n"
     "7:72: \"action\" must be one of defer, skip, not \"wait\"\n"
     "7:78: unknown key \"at\" in deny\n"
     "8:25: \"deny\" leaves no minute of the week: nothing would run\n"},
    {CASE_HEAD "jobs:\n  n: {type: dump, keep: {last: 1}, schedule: 1 2 * * *}\n"
               "  a: {type: drill, of: m, rto: 0s}\n  b: {type: drill}\n"
               "  c: {type: drill, of: n, assertions: [{database: x}, y], scratch: tmp}\n",
     "6:1: job \"a\": \"of\" names no job of type dump or snapshot: \"m\"\n"
     "6:32: \"rto\" must be a duration from 1s to 30d (90s, 15m, 6h, 7d, 5w), not \"0s\"\n"
     "7:1: job \"b\" of type drill has no \"of\": which job's backups shall be restored?\n"
     "8:40: an assertion has no \"sql\"\n"
     "8:55: \"assertions\" must be a list of mappings, as in: [{sql: select count(*) > 0 from "
     "orders}]\n"
     "8:68: \"scratch\" must be an absolute path, not \"tmp\"\n"},
    {CASE_HEAD "jobs: {a: {type: prune, require_verified: 2, jobs: 3}}\n",
     "4:46: \"jobs\" has no meaning for a prune job (it is for: dump, snapshot, vacuum, verify, "
     "drill)\n"},
    {CASE_HEAD "jobs: {a: {type: verify, level: 4, budget: 0s, keep: {last: 1}}}\n",
     "4:33: \"level\" must be a whole number from 1 to 3, not \"4\"\n"
     "4:44: \"budget\" must be a duration from 1s to 7d (90s, 15m, 6h, 7d, 5w), not \"0s\"\n"
     "4:48: \"keep\" has no meaning for a verify job (it is for: wal, dump, snapshot)\n"},
    {CASE_HEAD "jobs: {a: {type: dump, level: 3, schedule: \"0 0 2 * * *\", keep: {last: 1}}}\n",
     "4:24: \"level\" has no meaning for a dump job (it is for: verify)\n"
     "4:55: schedule \"0 0 2 * * *\": 6 fields instead of 5 (a sixth field is the second, a "
     "seventh the year: allow them with \"seconds: true\")\n"},
    {CASE_HEAD "defaults: {keep: {last: 3}, conection: x}\n",
     "4:12: unknown key \"keep\" in defaults: it belongs in a job\n"
     "4:29: unknown key \"conection\" in defaults\n"},
    {CASE_HEAD "jobs: {a: {type: dump, keep: {last: 1}, schedule: \"*/30 2 * * *\"}}\n",
     "4:51: warning: schedule \"*/30 2 * * *\" is not run at all in a night whose clock change "
     "skips that hour (fixed minutes are, as in \"0,30 2 * * *\")\n"},
    {CASE_HEAD "jobs:\n  a: {type: dump, jobs: 20}\n  b: {type: prune, schedule: 1 2 * * *}\n",
     "5:1: warning: job \"a\" has no schedule: it runs by hand only\n"
     "5:1: warning: job \"a\" has no keep: none of its backups is ever deleted\n"
     "5:1: warning: job \"a\": jobs: 20 does not fit under max_connections: 8 and is cut\n"
     "6:1: warning: job \"b\" has nothing to prune: no job has keep:\n"},
    {CASE_HEAD "jobs:\n  a: {type: dump, keep: {last: 1}, schedule: 0 3 * * sun}\n"
               "  b: {type: vacuum, schedule: 0 3 * * 0}\n"
               "  c: {type: prune, schedule: 0 3 * * 0, timezone: Asia/Tokyo}\n",
     "6:31: warning: jobs \"a\" and \"b\" start in the same minute\n"},
    {"cluster: app\npostgres: {connection: 'postgres://u@h/d?schema=x', password_file: /a, "
     "passfile: b}\nrepository: {url: file:///}\n",
     "2:24: warning: connection: parameter \"schema\" is left out: a connection has no schema; "
     "whole databases are dumped\n"
     "2:72: \"passfile\" and \"password_file\" exclude each other\n"
     "2:82: \"passfile\" must be an absolute path, not \"b\"\n"
     "3:19: \"url\" names the root of the file system\n"},
    {"cluster: app\npostgres: {connection: dbname=a}\nrepository: {url: file:///a/../b}\n",
     "3:19: \"url\" may not hold \"..\"\n"},
    {"cluster: app\npostgres: {connection: ${DATABASE_URL}, password_file: /a}\n"
     "repository: {url: file:///a}\n",
     "2:41: \"password_file\" is of no use: the connection has a password already\n"},
    /* A value that came out of a variable is not shown. */
    {"cluster: ${DATABASE_URL}\npostgres: {connection: dbname=a, max_connections: "
     "${DATABASE_URL}}\nrepository: {url: 'postgres://u:hunter2@h/d'}\n",
     "1:10: cluster \"${DATABASE_URL}\" must be 1 to 63 of a-z, 0-9 and \"-\"\n"
     "2:51: \"max_connections\" must be a whole number from 2 to 64, not \"${DATABASE_URL}\"\n"
     "3:19: \"url\" must be file:///an/absolute/path or s3://bucket/prefix, not "
     "\"postgres://u:***@h/d\"\n"},
    {"cluster: \"a\\e[31mb\"\n",
     "1:1: \"postgres\" is missing, as in: postgres: {connection: ${DATABASE_URL}}\n"
     "1:1: \"repository\" is missing, as in: repository: {url: file:///srv/pgcairn}\n"
     "1:10: cluster \"a?[31mb\" must be 1 to 63 of a-z, 0-9 and \"-\"\n"},
    {CASE_HEAD "notify: [{on: [failur], pong: x}]\n",
     "4:10: an entry of notify needs one of webhook, slack, email, ping\n"
     "4:16: \"on\" must be one of failure, recovery, missed, success, stale, policy, "
     "retry, start, not \"failur\"\n"
     "4:25: unknown key \"pong\" in notify: did you mean \"ping\"?\n"},
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
        "cluster: a-1\ntimezone: Europe/Berlin\n"
        "postgres:\n  connection: ${DATABASE_URL}\n  databases: [\"*\", Models]\n"
        "  max_connections: 12\n  bindir: /usr/lib/postgresql/15/bin\n"
        "repository:\n  url: file:///srv/x//\n  compression: {level: 19, threads: 4}\n"
        "  rate_limit: 50MB\n"
        "defaults: {timeout: 90m, retries: 0, on_missed: all, jitter: 30s, overlap: queue}\n"
        "jobs:\n"
        "  n: {type: dump, schedule: \"0 2 * * *\", keep: {within: 5w, last: 3, hourly: 1, daily: 2, "
        "weekly: 4, monthly: 5, yearly: 6}, jobs: 4, lock_wait: 7s, timeout: 1h}\n"
        "  v: {type: vacuum, schedule: \"1 4 * * sun 30\", seconds: true, analyze: no, budget: 2h, "
        "tables: ['\"Models\"', audit.*], connection: \"dbname=b\", timezone: UTC}\n"
        "  p: {type: prune, schedule: \"@weekly\"}\n",
        &lines);
    assert_string_equal(buf_text(&lines),
                        "16:30: warning: schedule \"@weekly\" is \"13 18 * * 3 11\" for this job, "
                        "drawn from its name; write five fields for a time of your own\n");
    assert_string_equal(policy->cluster, "a-1");
    assert_string_equal(policy->timezone, "Europe/Berlin");
    assert_string_equal(policy->connection,
                        "user=app password=hunter2 host=db.example.com port=5432 dbname=app");
    assert_false(policy->holds_password);
    assert_int_equal(policy->connection_place.line, 4);
    assert_int_equal(policy->connection_place.column, 15);
    assert_int_equal(policy->databases.count, 2);
    assert_int_equal(policy->databases_line, 5);
    assert_int_equal(policy->max_connections, 12);
    assert_string_equal(policy->bindir, "/usr/lib/postgresql/15/bin");
    assert_string_equal(policy->repository_url, "file:///srv/x");
    assert_int_equal(policy->compression_level, 19);
    assert_int_equal(policy->compression_threads, 4);
    assert_int_equal(policy->rate_limit, 50000000);
    assert_int_equal(policy->job_count, 3);
    const struct policy_job *job = policy_find_job(policy, "n");
    assert_ptr_equal(job, &policy->jobs[0]);
    assert_int_equal(job->type, JOB_DUMP);
    assert_int_equal(job->line, 14);
    assert_string_equal(job->schedule_text, "0 2 * * *");
    assert_int_equal(job->schedule_place.column, 29);
    assert_non_null(job->schedule);
    assert_string_equal(job->timezone, "Europe/Berlin");
    assert_true(job->keep.is_set);
    assert_int_equal(job->keep.line, 14);
    assert_int_equal(job->keep.within_us, 35 * US_PER_DAY);
    assert_int_equal(job->keep.last * 100000 + job->keep.hourly * 10000 + job->keep.daily * 1000 +
                         job->keep.weekly * 100 + job->keep.monthly * 10 + job->keep.yearly,
                     312456);
    assert_int_equal(job->jobs, 4);
    assert_int_equal(job->timeout_us, US_PER_HOUR);
    assert_int_equal(job->retries, 0);
    assert_int_equal(job->on_missed, MISSED_ALL);
    assert_int_equal(job->overlap, OVERLAP_QUEUE);
    assert_int_equal(job->jitter_us, 30 * US_PER_SECOND);
    assert_int_equal(job->lock_wait_us, 7 * US_PER_SECOND);
    assert_null(job->connection);
    job = policy_find_job(policy, "v");
    assert_true(job->seconds);
    assert_false(job->analyze);
    assert_int_equal(job->budget_us, 2 * US_PER_HOUR);
    assert_int_equal(job->tables.count, 2);
    assert_string_equal(job->tables.items[0], "\"Models\"");
    assert_string_equal(job->connection, "dbname=b");
    assert_string_equal(job->timezone, "UTC");
    assert_int_equal(job->timeout_us, 90 * US_PER_MINUTE);
    assert_int_equal(job->lock_wait_us, 5 * US_PER_SECOND);
    assert_null(policy_find_job(policy, "none"));
    policy_free(policy);
    buf_clear(&lines);
}

static void test_defaults(void **state)
{
    (void)state;
    struct buf lines;
    struct policy *policy = case_parse(CASE_HEAD "jobs: {n: {type: dump, keep: {last: 1}, "
                                                 "schedule: 0 1 * * *}, v: {type: vacuum, "
                                                 "schedule: 0 2 * * *}}\n",
                                       &lines);
    const struct policy_job *job = &policy->jobs[0];
    assert_string_equal(policy->timezone, "UTC");
    assert_int_equal(policy->max_connections, 8);
    assert_string_equal(policy->bindir, "auto");
    assert_int_equal(policy->compression_level, 1);
    assert_int_equal(policy->compression_threads, 0);
    assert_int_equal(policy->databases.count, 0);
    assert_int_equal(job->timeout_us, 6 * US_PER_HOUR);
    assert_int_equal(job->retries, 2);
    assert_int_equal(job->on_missed, MISSED_ONCE);
    assert_int_equal(job->overlap, OVERLAP_SKIP);
    assert_int_equal(job->jitter_us, 0);
    assert_int_equal(job->lock_wait_us, 5 * US_PER_SECOND);
    assert_int_equal(job->jobs, 2);
    assert_int_equal(policy->jobs[1].jobs, 1);
    assert_true(policy->jobs[1].analyze);
    policy_free(policy);
    buf_clear(&lines);
}

/* A hash of the file as it is, so that it does not depend on the environment. */
static void test_hash(void **state)
{
    (void)state;
    struct buf lines;
    struct policy *policy = case_parse(CASE_HEAD, &lines);
    buf_clear(&lines);
    struct policy *other = case_parse(CASE_HEAD "\n", &lines);
    assert_int_equal(strlen(policy->sha256), 64);
    assert_string_not_equal(policy->sha256, other->sha256);
    policy_free(policy);
    policy_free(other);
    buf_clear(&lines);
}

static void test_literal_password(void **state)
{
    (void)state;
    static const struct {
        const char *connection;
        bool holds;
    } rows[] = {
        {"postgres://u:secret@h/d", true},
        {"postgres://u@h/d", false},
        {"${DATABASE_URL}", false},
        {"postgres://u:${CASE_NAME}@h/d", false},
        {"postgres://u:x${CASE_NAME}@h/d", true},
        {"password=secret dbname=d", true},
        {"postgres://u:secret@${CASE_NAME}/d", true},
        {"password=${CASE_NAME} dbname=d", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[512];
        struct buf lines;
        snprintf(text, sizeof(text),
                 "cluster: app\npostgres: {connection: '%s'}\nrepository: {url: file:///a}\n",
                 rows[i].connection);
        struct policy *policy = case_parse(text, &lines);
        if (!policy || policy->holds_password != rows[i].holds)
            fail_msg("%s: %s", rows[i].connection, buf_text(&lines));
        policy_free(policy);
        buf_clear(&lines);
    }
}

/* Over the limit of problems they are counted, and the first ones kept. */
static void test_many_problems(void **state)
{
    (void)state;
    struct buf text = BUF_INIT(1 << 20);
    struct policy *policy = NULL;
    struct policy_problems problems;
    struct error err = ERROR_NONE;
    for (int i = 0; i < 300; i++)
        buf_addf(&text, "key%d: x\n", i);
    assert_int_equal(policy_parse("p.yaml", buf_text(&text), text.length, case_getenv, NULL,
                                  &policy, &problems, &err),
                     ERR_POLICY);
    assert_int_equal(problems.count, POLICY_PROBLEMS_MAX);
    assert_int_equal(problems.error_count, 303);
    assert_string_equal(err.message, "p.yaml: 303 errors");
    policy_problems_clear(&problems);
    buf_clear(&text);
}

static void test_size_limits(void **state)
{
    (void)state;
    struct buf text = BUF_INIT(4 << 20), lines;
    buf_add_text(&text, CASE_HEAD "jobs:\n");
    for (int i = 0; i <= POLICY_JOBS_MAX; i++)
        buf_addf(&text, "  j%d: {type: prune}\n", i);
    assert_null(case_parse(buf_text(&text), &lines));
    assert_string_equal(buf_text(&lines), "4:1: 201 jobs, more than 200\n");
    buf_clear(&lines);
    while (text.length <= POLICY_BYTES_MAX)
        buf_add_text(&text, "# filling\n");
    assert_null(case_parse(buf_text(&text), &lines));
    assert_string_equal(buf_text(&lines), "1:1: the file is larger than 1048576 bytes\n");
    buf_clear(&lines);
    buf_clear(&text);
}

/* The one policy whose jobs are run by hand is told so, a line for each. */
static bool is_by_hand(const char *file, const char *lines)
{
    static const char WARNING[] = "it runs by hand only\n";
    if (strcmp(file, "consolidation.yaml") != 0)
        return false;
    for (const char *end; *lines; lines = end + 1) {
        end = strchr(lines, '\n');
        size_t length = (size_t)(end - lines) + 1;
        if (length < strlen(WARNING) ||
            strncmp(end + 1 - strlen(WARNING), WARNING, strlen(WARNING)) != 0)
            return false;
    }
    return true;
}

/* Every policy that people are told to copy is good, without warnings, whatever is set. */
static void test_shipped(void **state)
{
    (void)state;
    DIR *folder = opendir(SOURCE_DIR "/policies");
    assert_non_null(folder);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (!strstr(entry->d_name, ".yaml"))
            continue;
        char path[512];
        struct buf text = BUF_INIT(POLICY_BYTES_MAX), lines;
        struct error err = ERROR_NONE;
        snprintf(path, sizeof(path), "%s/policies/%s", SOURCE_DIR, entry->d_name);
        assert_int_equal(file_read(path, &text, &err), 0);
        struct policy *policy = case_parse(buf_text(&text), &lines);
        if (!policy || (lines.length && !is_by_hand(entry->d_name, buf_text(&lines))))
            fail_msg("%s:\n%s", path, buf_text(&lines));
        assert_false(policy->holds_password);
        policy_free(policy);
        buf_clear(&text);
        buf_clear(&lines);
        count++;
    }
    closedir(folder);
    assert_true(count >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ten_mistakes),
        cmocka_unit_test(test_full_example),
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_literal_password),
        cmocka_unit_test(test_many_problems),
        cmocka_unit_test(test_size_limits),
        cmocka_unit_test(test_shipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
