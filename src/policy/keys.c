#include "policy/keys.h"

#include <string.h>

#include "base/instant.h"
#include "base/units.h"
#include "policy/drill.h"
#include "policy/order.h"

#define IN_POLICY(field) offsetof(struct policy, field)
#define IN_JOB(field) offsetof(struct policy_job, field)
#define IN_S3(field) offsetof(struct policy_s3, field)
#define IN_ASSERTION(field) offsetof(struct policy_assertion, field)
#define IN_KEEP(field) offsetof(struct keep_rules, field)

enum { SLOT_NAME_MAX = 63 };

#define MAKES_BACKUPS (FOR(JOB_WAL) | FOR(JOB_DUMP) | FOR(JOB_SNAPSHOT))
#define HAS_WORKERS \
    (FOR(JOB_DUMP) | FOR(JOB_SNAPSHOT) | FOR(JOB_VACUUM) | FOR(JOB_VERIFY) | FOR(JOB_DRILL))

/* clang-format off */
static const char *const MISSED_WORDS[] = {
    [MISSED_ONCE] = "once", [MISSED_ALL] = "all", [MISSED_SKIP] = "skip", NULL};
static const char *const OVERLAP_WORDS[] = {
    [OVERLAP_SKIP] = "skip", [OVERLAP_QUEUE] = "queue", NULL};
static const char *const MODE_WORDS[] = {
    [WAL_MODE_PUSH] = "push", [WAL_MODE_RECEIVE] = "receive", NULL};
static const char *const ACKNOWLEDGE_WORDS[] = {
    [ACKNOWLEDGE_STORED] = "stored", [ACKNOWLEDGE_SPOOLED] = "spooled", NULL};
/* clang-format on */

static int read_threads(struct reader *reader, const struct document_node *value, void *target)
{
    int64_t threads = 0;
    char shown[64];
    bool is_text = value->kind == NODE_TEXT;
    if (!is_text || (strcmp(value->text, "auto") != 0 &&
                     number_parse(value->text, "threads", 1, 64, &threads, NULL)))
        return value_error(reader, value,
                           "\"threads\" must be auto or a whole number from 1 to 64, not \"%s\"",
                           is_text ? value_shown(value, shown) : "");
    ((struct policy *)target)->compression_threads = (int)threads;
    return 0;
}

/* The server allows no other names. */
static int read_slot(struct reader *reader, const struct document_node *value, void *target)
{
    char shown[64];
    size_t length =
        value->kind == NODE_TEXT ? strspn(value->text, "abcdefghijklmnopqrstuvwxyz0123456789_") : 0;
    if (length == 0 || length > SLOT_NAME_MAX || value->text[length])
        return value_error(reader, value,
                           "\"slot\" must be 1 to %d lower-case letters, digits or \"_\", not "
                           "\"%s\"",
                           SLOT_NAME_MAX,
                           value->kind == NODE_TEXT ? value_shown(value, shown) : "");
    return value_copy(reader, value, "slot", &((struct policy_job *)target)->slot);
}

static int read_bindir(struct reader *reader, const struct document_node *value, void *target)
{
    bool is_text = value->kind == NODE_TEXT;
    if (!is_text || (strcmp(value->text, "auto") != 0 && value->text[0] != '/'))
        return value_error(reader, value, "\"bindir\" must be auto or an absolute path");
    return value_copy(reader, value, "bindir", &((struct policy *)target)->bindir);
}

static int read_url(struct reader *reader, const struct document_node *value, void *target)
{
    struct policy *policy = target;
    char shown[64];
    policy->repository_place = (struct policy_place){value->line, value->column};
    int rc = value_copy(reader, value, "url", &policy->repository_url);
    if (rc || !policy->repository_url)
        return rc;
    if (strncmp(policy->repository_url, "s3://", 5) == 0)
        return s3_read_url(reader, value, policy->repository_url);
    if (strncmp(policy->repository_url, "file:///", 8) != 0)
        return value_error(reader, value,
                           "\"url\" must be file:///an/absolute/path or s3://bucket/prefix, not "
                           "\"%s\"",
                           value_shown(value, shown));
    size_t length = strlen(policy->repository_url);
    while (length > 8 && policy->repository_url[length - 1] == '/')
        policy->repository_url[--length] = '\0';
    if (strspn(policy->repository_url + 7, "/") == length - 7)
        return value_error(reader, value, "\"url\" names the root of the file system");
    if (strstr(policy->repository_url, "/../") ||
        strcmp(policy->repository_url + length - 3, "/..") == 0)
        return value_error(reader, value, "\"url\" may not hold \"..\"");
    return 0;
}

/* What the texts may be is in s3.c. */
static const struct key S3_KEYS[] = {
    {.name = "region",
     .type = VALUE_TEXT,
     .offset = IN_S3(region),
     .fallback = "the environment's, else us-east-1",
     .help = "region of the bucket"},
    {.name = "endpoint",
     .type = VALUE_TEXT,
     .offset = IN_S3(endpoint),
     .help = "address of a service other than AWS, as https://minio.example.com:9000"},
    {.name = "addressing",
     .type = VALUE_WORD,
     .offset = IN_S3(addressing),
     .words = s3_addressing_words,
     .fallback = "auto",
     .help = "whether the bucket stands in the path or in the host name of a request"},
    {.name = "storage_class",
     .type = VALUE_TEXT,
     .offset = IN_S3(storage_class),
     .fallback = "the bucket's",
     .help = "storage class of what is written, as STANDARD_IA; archive classes are "
             "refused"},
    {.name = "sse",
     .type = VALUE_WORD,
     .offset = IN_S3(sse),
     .words = s3_sse_words,
     .help = "encryption by the service: AES256, or aws:kms with kms_key_id"},
    {.name = "kms_key_id",
     .type = VALUE_TEXT,
     .offset = IN_S3(kms_key_id),
     .help = "key of aws:kms; the account's own without it"},
    {.name = "object_lock",
     .type = VALUE_WORD,
     .offset = IN_S3(object_lock),
     .words = s3_lock_words,
     .fallback = "off",
     .help = "lock what is written until its rules are certain not to want it; the "
             "bucket needs object lock"},
    {.name = "ca_file",
     .type = VALUE_TEXT,
     .offset = IN_S3(ca_file),
     .fallback = "the system's",
     .help = "certificates (PEM) that are trusted for this endpoint"},
    {.name = "profile",
     .type = VALUE_TEXT,
     .offset = IN_S3(profile),
     .fallback = "the environment's, else default",
     .help = "section of ~/.aws/credentials and ~/.aws/config"},
    {.name = "access_key_id",
     .type = VALUE_TEXT,
     .offset = IN_S3(access_key_id),
     .help = "key, where none comes from the environment, ~/.aws or the role of the "
             "machine"},
    {.name = "secret_access_key",
     .type = VALUE_TEXT,
     .offset = IN_S3(secret_access_key),
     .help = "its secret; best as ${VARIABLE}"},
    {.name = "session_token",
     .type = VALUE_TEXT,
     .offset = IN_S3(session_token),
     .help = "for keys that expire"},
    {.name = "tags",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .read = s3_read_tags,
     .takes = "a mapping",
     .help = "up to 10 tags that every object gets, as {team: data}"},
    {.name = "retry_for",
     .type = VALUE_DURATION,
     .offset = IN_S3(retry_us),
     .low = US_PER_SECOND,
     .high = US_PER_HOUR,
     .fallback = "1m",
     .help = "how long a request is tried again while the service fails or is not there"},
};
static const struct section SECTION_S3 = {"repository.s3", S3_KEYS, ARRAY_SIZE(S3_KEYS), NULL};

static const struct key COMPRESSION_KEYS[] = {
    {.name = "level",
     .type = VALUE_INTEGER,
     .offset = IN_POLICY(compression_level),
     .low = 1,
     .high = 19,
     .fallback = "1",
     .help = "level of zstd: more is smaller and slower"},
    {.name = "threads",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .read = read_threads,
     .takes = "auto, or 1 to 64",
     .fallback = "auto",
     .help = "threads that compress a snapshot; auto: by the processors of the machine"},
};
static const struct section SECTION_COMPRESSION = {"repository.compression", COMPRESSION_KEYS,
                                                   ARRAY_SIZE(COMPRESSION_KEYS), NULL};

static const struct key REPOSITORY_KEYS[] = {
    {.name = "url",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .read = read_url,
     .help = "where backups are: file:///absolute/path or s3://bucket/prefix; the only "
             "place that knows what exists"},
    {.name = "s3",
     .type = VALUE_SECTION,
     .offset = IN_POLICY(s3),
     .feature = FEATURE_S3,
     .section = &SECTION_S3,
     .help = "options of a bucket"},
    {.name = "compression",
     .type = VALUE_SECTION,
     .offset = 0,
     .section = &SECTION_COMPRESSION,
     .help = "how what is stored is compressed"},
    {.name = "rate_limit",
     .type = VALUE_SIZE,
     .offset = IN_POLICY(rate_limit),
     .low = 1000,
     .high = INT64_C(1000000000000),
     .fallback = "0",
     .help = "bytes per second that a run writes at most, as 50MB; 0: no limit"},
};
static const struct section SECTION_REPOSITORY = {"repository", REPOSITORY_KEYS,
                                                  ARRAY_SIZE(REPOSITORY_KEYS), NULL};

static const struct key POSTGRES_KEYS[] = {
    {.name = "connection",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .read = read_connection,
     .help = "URI or key=value string of libpq; ${VAR}, ${VAR:-default} and "
             "${VAR:?message} are filled in from the environment"},
    {.name = "password_file",
     .type = VALUE_PATH,
     .offset = IN_POLICY(password_file),
     .help = "a file that holds the password and nothing else, mode 0600"},
    {.name = "passfile",
     .type = VALUE_PATH,
     .offset = IN_POLICY(passfile),
     .help = "a .pgpass file, mode 0600"},
    {.name = "databases",
     .type = VALUE_TEXTS,
     .offset = IN_POLICY(databases),
     .fallback = "all that accept connections, but templates",
     .help = "names or globs; one that matches nothing is an error"},
    {.name = "max_connections",
     .type = VALUE_INTEGER,
     .offset = IN_POLICY(max_connections),
     .low = 2,
     .high = POLICY_CONNECTIONS_MAX,
     .fallback = "8",
     .help =
         "the most connections that pgcairn itself holds, beside the one by which a run holds its"
         " lock; `jobs` is cut to fit, with a notice"},
    {.name = "bindir",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .read = read_bindir,
     .fallback = "auto",
     .help = "folder of pg_dump, pg_restore and postgres; auto: by the server's major "
             "version"},
};
static const struct section SECTION_POSTGRES = {"postgres", POSTGRES_KEYS,
                                                ARRAY_SIZE(POSTGRES_KEYS), NULL};

/* These stand in defaults: and in a job. */
static const struct key DEFAULT_KEYS[] = {
    {.name = "timeout",
     .type = VALUE_DURATION,
     .offset = IN_JOB(timeout_us),
     .low = US_PER_SECOND,
     .high = 30 * US_PER_DAY,
     .fallback = "6h",
     .help = "how long one try may take before it is asked to stop, and then ended"},
    {.name = "retries",
     .type = VALUE_INTEGER,
     .offset = IN_JOB(retries),
     .low = 0,
     .high = 20,
     .fallback = "2",
     .help = "further tries of a due instant after a failure that may pass"},
    {.name = "on_missed",
     .type = VALUE_WORD,
     .offset = IN_JOB(on_missed),
     .words = MISSED_WORDS,
     .fallback = "once",
     .help = "due instants that passed while nothing ran: make up for the last one, for "
             "all, or for none"},
    {.name = "jitter",
     .type = VALUE_DURATION,
     .offset = IN_JOB(jitter_us),
     .low = 0,
     .high = US_PER_DAY,
     .fallback = "0s",
     .help = "starts are spread over this time, each job always by the same share of it"},
    {.name = "overlap",
     .type = VALUE_WORD,
     .offset = IN_JOB(overlap),
     .words = OVERLAP_WORDS,
     .fallback = "skip",
     .help = "what happens to a due instant while the job runs still"},
    {.name = "deadline",
     .type = VALUE_DURATION,
     .offset = IN_JOB(deadline_us),
     .low = US_PER_MINUTE,
     .high = 30 * US_PER_DAY,
     .help = "what could not begin so long after its time is missed and not run any more"},
    {.name = "deny",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .feature = FEATURE_DENY,
     .section = &section_deny,
     .read = order_read_deny,
     .takes = "a mapping, or a list of them",
     .help = "windows of the week in which it may not begin; never holds for wal"},
    {.name = "lock_wait",
     .type = VALUE_DURATION,
     .offset = IN_JOB(lock_wait_us),
     .low = US_PER_SECOND,
     .high = US_PER_HOUR,
     .fallback = "5s",
     .help = "how long to wait for a lock; a dump or vacuum that others wait for longer "
             "gives way"},
    {.name = "seconds",
     .type = VALUE_SWITCH,
     .offset = IN_JOB(seconds),
     .fallback = "false",
     .help = "schedules may have a sixth field, seconds, and a seventh, years"},
    {.name = "hooks",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .feature = FEATURE_HOOKS,
     .section = &section_hooks,
     .read = hooks_read,
     .help = "programs that run around the job"},
};
const struct section section_defaults = {"defaults", DEFAULT_KEYS, ARRAY_SIZE(DEFAULT_KEYS), NULL};

static const struct key ASSERTION_KEYS[] = {
    {.name = "sql",
     .type = VALUE_TEXT,
     .offset = IN_ASSERTION(sql),
     .help = "a query whose first row has true in its first column"},
    {.name = "database",
     .type = VALUE_TEXT,
     .offset = IN_ASSERTION(database),
     .fallback = "the one of the connection",
     .help = "where it is asked"},
};
const struct section section_assertion = {"assertions", ASSERTION_KEYS, ARRAY_SIZE(ASSERTION_KEYS),
                                          NULL};

#define KEEP_COUNT(word, text)                                                                  \
    {                                                                                           \
        .name = #word, .type = VALUE_INTEGER, .offset = IN_KEEP(word), .low = 1, .high = 10000, \
        .help = text                                                                            \
    }

static const struct key KEEP_KEYS[] = {
    {.name = "within",
     .type = VALUE_DURATION,
     .offset = IN_KEEP(within_us),
     .low = US_PER_HOUR,
     .high = 36525 * US_PER_DAY,
     .help = "all that are younger than this, counted from the newest good one; of wal: "
             "any moment of it stays reachable"},
    KEEP_COUNT(last, "the newest N"),
    KEEP_COUNT(hourly, "the last of each of the newest N hours that have one"),
    KEEP_COUNT(daily, "the last of each of the newest N days"),
    KEEP_COUNT(weekly, "the last of each of the newest N weeks (from Monday)"),
    KEEP_COUNT(monthly, "the last of each of the newest N months"),
    KEEP_COUNT(yearly, "the last of each of the newest N years"),
};
const struct section section_keep = {"keep", KEEP_KEYS, ARRAY_SIZE(KEEP_KEYS), NULL};

/* type, schedule and timezone are read by job.c: other keys depend on them. */
static const struct key JOB_KEYS[] = {
    {.name = "type",
     .type = VALUE_ANY,
     .offset = NOWHERE,
     .help = "what the job does: wal, dump, snapshot, vacuum, prune, verify, drill, "
             "audit"},
    {.name = "schedule",
     .type = VALUE_ANY,
     .offset = NOWHERE,
     .fallback = "by hand only",
     .help = "cron expression: minute hour day month weekday; `pgcairn cron next` "
             "evaluates one"},
    {.name = "timezone",
     .type = VALUE_ANY,
     .offset = NOWHERE,
     .fallback = "the policy's",
     .help = "IANA zone of this schedule, as Europe/Berlin"},
    {.name = "connection",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .read = read_job_connection,
     .fallback = "postgres.connection",
     .help = "another role or address for this job alone"},
    {.name = "keep",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .section = &section_keep,
     .read = read_keep,
     .job_types = MAKES_BACKUPS,
     .fallback = "everything is kept",
     .help = "rules by which its backups are kept; a backup goes only when no rule wants"
             " it"},
    {.name = "jobs",
     .type = VALUE_INTEGER,
     .offset = IN_JOB(jobs),
     .low = 1,
     .high = POLICY_CONNECTIONS_MAX,
     .job_types = HAS_WORKERS,
     .fallback = "1; dump and verify: 2",
     .help = "workers at the same time"},
    {.name = "analyze",
     .type = VALUE_SWITCH,
     .offset = IN_JOB(analyze),
     .job_types = FOR(JOB_VACUUM),
     .fallback = "true",
     .help = "ANALYZE too"},
    {.name = "budget",
     .type = VALUE_DURATION,
     .offset = IN_JOB(budget_us),
     .low = US_PER_SECOND,
     .high = 7 * US_PER_DAY,
     .job_types = FOR(JOB_VACUUM) | FOR(JOB_VERIFY),
     .fallback = "none",
     .help = "the time after which nothing more is begun; the next run goes on where "
             "this one ended"},
    {.name = "level",
     .type = VALUE_INTEGER,
     .offset = IN_JOB(level),
     .low = 1,
     .high = 3,
     .job_types = FOR(JOB_VERIFY),
     .fallback = "2",
     .help =
         "1: what is listed is there; 2: every byte of the backups is read and hashed, rows are "
         "counted; 3: all WAL is read too"},
    {.name = "tables",
     .type = VALUE_TEXTS,
     .offset = IN_JOB(tables),
     .job_types = FOR(JOB_VACUUM),
     .fallback = "all that need it",
     .help = "psql patterns, as '\"Models\"' or audit.*"},
    {.name = "mode",
     .type = VALUE_WORD,
     .offset = IN_JOB(mode),
     .words = MODE_WORDS,
     .job_types = FOR(JOB_WAL),
     .fallback = "push",
     .help = "push: the server's archive_command sends WAL; receive: the daemon reads it"
             " through a replication slot"},
    {.name = "slot",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .read = read_slot,
     .job_types = FOR(JOB_WAL),
     .fallback = "pgcairn_CLUSTER",
     .help = "name of the replication slot of mode receive"},
    {.name = "acknowledge",
     .type = VALUE_WORD,
     .offset = IN_JOB(acknowledge),
     .words = ACKNOWLEDGE_WORDS,
     .job_types = FOR(JOB_WAL),
     .fallback = "stored",
     .help = "when the server may forget WAL: once it is in the repository, or once it "
             "is in the spool"},
    {.name = "spool_limit",
     .type = VALUE_SIZE,
     .offset = IN_JOB(spool_limit),
     .low = 100000000,
     .high = INT64_C(1000000000000000),
     .job_types = FOR(JOB_WAL),
     .fallback = "4GiB",
     .help = "what the spool of acknowledge: spooled may hold at most"},
    {.name = "of",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .read = drill_read_of,
     .job_types = FOR(JOB_DRILL),
     .help = "the job whose backups the drill restores"},
    {.name = "assertions",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .section = &section_assertion,
     .read = drill_read_assertions,
     .job_types = FOR(JOB_DRILL),
     .takes = "a list of mappings",
     .help = "what must be true in the restored databases"},
    {.name = "rto",
     .type = VALUE_DURATION,
     .offset = IN_JOB(rto_us),
     .low = US_PER_SECOND,
     .high = 30 * US_PER_DAY,
     .job_types = FOR(JOB_DRILL),
     .fallback = "none",
     .help = "the longest that the restore may take until the server answers"},
    {.name = "scratch",
     .type = VALUE_PATH,
     .offset = IN_JOB(scratch),
     .job_types = FOR(JOB_DRILL),
     .fallback = "the state folder",
     .help = "where restores are tried out; needs room for the cluster"},
    {.name = "require_verified",
     .type = VALUE_INTEGER,
     .offset = IN_JOB(require_verified),
     .feature = FEATURE_VERIFY,
     .low = 1,
     .high = 3,
     .job_types = FOR(JOB_PRUNE),
     .fallback = "none",
     .help = "backups count for the rules only when verified at this level or above"},
    {.name = "after",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .feature = FEATURE_ORDER,
     .read = order_read_after,
     .takes = "a job, or a list of them",
     .help = "in the place of a schedule: runs when these jobs have succeeded for a due instant"},
    {.name = "group",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .feature = FEATURE_ORDER,
     .read = order_read_group,
     .takes = "text, or a list",
     .help = "of which groups it is one: no more than their limits run at a time"},
};
const struct section section_job = {"", JOB_KEYS, ARRAY_SIZE(JOB_KEYS), &section_defaults};

/* cluster, timezone, defaults and jobs are read by parse.c, in the order in which they need one
 * another. */
static const struct key POLICY_KEYS[] = {
    {.name = "cluster",
     .type = VALUE_ANY,
     .offset = NOWHERE,
     .help = "name of the server: 1 to 63 of a-z, 0-9 and -; its objects lie under it in"
             " the repository"},
    {.name = "timezone",
     .type = VALUE_ANY,
     .offset = NOWHERE,
     .fallback = "UTC",
     .help = "IANA zone of schedules and of the days, weeks and months of keep"},
    {.name = "postgres",
     .type = VALUE_SECTION,
     .offset = 0,
     .section = &SECTION_POSTGRES,
     .help = "the server"},
    {.name = "repository",
     .type = VALUE_SECTION,
     .offset = 0,
     .section = &SECTION_REPOSITORY,
     .help = "the place that holds backups"},
    {.name = "defaults",
     .type = VALUE_ANY,
     .offset = NOWHERE,
     .section = &section_defaults,
     .help = "what holds for every job that does not say otherwise"},
    {.name = "jobs",
     .type = VALUE_ANY,
     .offset = NOWHERE,
     .takes = "a mapping",
     .help = "the work: each has a name and a mapping, up to 200"},
    {.name = "audit",
     .type = VALUE_SECTION,
     .offset = IN_POLICY(audit),
     .feature = FEATURE_AUDIT,
     .section = &section_audit,
     .help = "what an audit demands beyond the jobs"},
    {.name = "groups",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .feature = FEATURE_ORDER,
     .read = order_read_groups,
     .takes = "a mapping",
     .help = "names and how many of their jobs may run at a time, over all policies of a daemon"},
    {.name = "max_running",
     .type = VALUE_INTEGER,
     .offset = IN_POLICY(max_running),
     .feature = FEATURE_ORDER,
     .low = 1,
     .high = 100,
     .help = "runs of this cluster at a time, those of wal jobs left aside"},
    {.name = "notify",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .feature = FEATURE_NOTIFY,
     .section = &section_notify,
     .read = notify_read,
     .takes = "a list of mappings",
     .help = "who is told of what: a list of targets"},
};
const struct section section_policy = {"", POLICY_KEYS, ARRAY_SIZE(POLICY_KEYS), NULL};
