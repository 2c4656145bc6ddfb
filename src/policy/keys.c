#include "policy/keys.h"

#include <string.h>

#include "base/instant.h"
#include "base/units.h"
#include "policy/drill.h"

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
static const char *const EVENTS[] = {"failure", "recovery", "missed", "success", NULL};

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
    {.name = "region", .type = VALUE_TEXT, .offset = IN_S3(region)},
    {.name = "endpoint", .type = VALUE_TEXT, .offset = IN_S3(endpoint)},
    {.name = "addressing",
     .type = VALUE_WORD,
     .offset = IN_S3(addressing),
     .words = s3_addressing_words},
    {.name = "storage_class", .type = VALUE_TEXT, .offset = IN_S3(storage_class)},
    {.name = "sse", .type = VALUE_WORD, .offset = IN_S3(sse), .words = s3_sse_words},
    {.name = "kms_key_id", .type = VALUE_TEXT, .offset = IN_S3(kms_key_id)},
    {.name = "object_lock",
     .type = VALUE_WORD,
     .offset = IN_S3(object_lock),
     .words = s3_lock_words},
    {.name = "ca_file", .type = VALUE_TEXT, .offset = IN_S3(ca_file)},
    {.name = "profile", .type = VALUE_TEXT, .offset = IN_S3(profile)},
    {.name = "access_key_id", .type = VALUE_TEXT, .offset = IN_S3(access_key_id)},
    {.name = "secret_access_key", .type = VALUE_TEXT, .offset = IN_S3(secret_access_key)},
    {.name = "session_token", .type = VALUE_TEXT, .offset = IN_S3(session_token)},
    {.name = "tags", .type = VALUE_OWN, .offset = NOWHERE, .read = s3_read_tags},
    {.name = "retry_for",
     .type = VALUE_DURATION,
     .offset = IN_S3(retry_us),
     .low = US_PER_SECOND,
     .high = US_PER_HOUR},
};
static const struct section SECTION_S3 = {"repository.s3", S3_KEYS, ARRAY_SIZE(S3_KEYS), NULL};

static const struct key COMPRESSION_KEYS[] = {
    {.name = "level",
     .type = VALUE_INTEGER,
     .offset = IN_POLICY(compression_level),
     .low = 1,
     .high = 19},
    {.name = "threads", .type = VALUE_OWN, .offset = NOWHERE, .read = read_threads},
};
static const struct section SECTION_COMPRESSION = {"repository.compression", COMPRESSION_KEYS,
                                                   ARRAY_SIZE(COMPRESSION_KEYS), NULL};

static const struct key REPOSITORY_KEYS[] = {
    {.name = "url", .type = VALUE_OWN, .offset = NOWHERE, .read = read_url},
    {.name = "s3",
     .type = VALUE_SECTION,
     .offset = IN_POLICY(s3),
     .feature = FEATURE_S3,
     .section = &SECTION_S3},
    {.name = "compression", .type = VALUE_SECTION, .offset = 0, .section = &SECTION_COMPRESSION},
    {.name = "rate_limit",
     .type = VALUE_SIZE,
     .offset = IN_POLICY(rate_limit),
     .low = 1000,
     .high = INT64_C(1000000000000)},
};
static const struct section SECTION_REPOSITORY = {"repository", REPOSITORY_KEYS,
                                                  ARRAY_SIZE(REPOSITORY_KEYS), NULL};

static const struct key POSTGRES_KEYS[] = {
    {.name = "connection", .type = VALUE_OWN, .offset = NOWHERE, .read = read_connection},
    {.name = "password_file", .type = VALUE_PATH, .offset = IN_POLICY(password_file)},
    {.name = "passfile", .type = VALUE_PATH, .offset = IN_POLICY(passfile)},
    {.name = "databases", .type = VALUE_TEXTS, .offset = IN_POLICY(databases)},
    {.name = "max_connections",
     .type = VALUE_INTEGER,
     .offset = IN_POLICY(max_connections),
     .low = 2,
     .high = POLICY_CONNECTIONS_MAX},
    {.name = "bindir", .type = VALUE_OWN, .offset = NOWHERE, .read = read_bindir},
};
static const struct section SECTION_POSTGRES = {"postgres", POSTGRES_KEYS,
                                                ARRAY_SIZE(POSTGRES_KEYS), NULL};

/* These stand in defaults: and in a job. */
static const struct key DEFAULT_KEYS[] = {
    {.name = "timeout",
     .type = VALUE_DURATION,
     .offset = IN_JOB(timeout_us),
     .low = US_PER_SECOND,
     .high = 30 * US_PER_DAY},
    {.name = "retries", .type = VALUE_INTEGER, .offset = IN_JOB(retries), .low = 0, .high = 20},
    {.name = "on_missed", .type = VALUE_WORD, .offset = IN_JOB(on_missed), .words = MISSED_WORDS},
    {.name = "jitter",
     .type = VALUE_DURATION,
     .offset = IN_JOB(jitter_us),
     .low = 0,
     .high = US_PER_DAY},
    {.name = "overlap", .type = VALUE_WORD, .offset = IN_JOB(overlap), .words = OVERLAP_WORDS},
    {.name = "lock_wait",
     .type = VALUE_DURATION,
     .offset = IN_JOB(lock_wait_us),
     .low = US_PER_SECOND,
     .high = US_PER_HOUR},
    {.name = "seconds", .type = VALUE_SWITCH, .offset = IN_JOB(seconds)},
};
const struct section section_defaults = {"defaults", DEFAULT_KEYS, ARRAY_SIZE(DEFAULT_KEYS), NULL};

static const struct key ASSERTION_KEYS[] = {
    {.name = "sql", .type = VALUE_TEXT, .offset = IN_ASSERTION(sql)},
    {.name = "database", .type = VALUE_TEXT, .offset = IN_ASSERTION(database)},
};
const struct section section_assertion = {"assertions", ASSERTION_KEYS, ARRAY_SIZE(ASSERTION_KEYS),
                                          NULL};

#define KEEP_COUNT(word)                                                                       \
    {                                                                                          \
        .name = #word, .type = VALUE_INTEGER, .offset = IN_KEEP(word), .low = 1, .high = 10000 \
    }

static const struct key KEEP_KEYS[] = {
    {.name = "within",
     .type = VALUE_DURATION,
     .offset = IN_KEEP(within_us),
     .low = US_PER_HOUR,
     .high = 36525 * US_PER_DAY},
    KEEP_COUNT(last),
    KEEP_COUNT(hourly),
    KEEP_COUNT(daily),
    KEEP_COUNT(weekly),
    KEEP_COUNT(monthly),
    KEEP_COUNT(yearly),
};
const struct section section_keep = {"keep", KEEP_KEYS, ARRAY_SIZE(KEEP_KEYS), NULL};

/* type, schedule and timezone are read by job.c: other keys depend on them. */
static const struct key JOB_KEYS[] = {
    {.name = "type", .type = VALUE_ANY, .offset = NOWHERE},
    {.name = "schedule", .type = VALUE_ANY, .offset = NOWHERE},
    {.name = "timezone", .type = VALUE_ANY, .offset = NOWHERE},
    {.name = "connection", .type = VALUE_OWN, .offset = NOWHERE, .read = read_job_connection},
    {.name = "keep",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .section = &section_keep,
     .read = read_keep,
     .job_types = MAKES_BACKUPS},
    {.name = "jobs",
     .type = VALUE_INTEGER,
     .offset = IN_JOB(jobs),
     .low = 1,
     .high = POLICY_CONNECTIONS_MAX,
     .job_types = HAS_WORKERS},
    {.name = "analyze",
     .type = VALUE_SWITCH,
     .offset = IN_JOB(analyze),
     .job_types = FOR(JOB_VACUUM)},
    {.name = "budget",
     .type = VALUE_DURATION,
     .offset = IN_JOB(budget_us),
     .low = US_PER_SECOND,
     .high = 7 * US_PER_DAY,
     .job_types = FOR(JOB_VACUUM) | FOR(JOB_VERIFY)},
    {.name = "level",
     .type = VALUE_INTEGER,
     .offset = IN_JOB(level),
     .low = 1,
     .high = 3,
     .job_types = FOR(JOB_VERIFY)},
    {.name = "tables", .type = VALUE_TEXTS, .offset = IN_JOB(tables), .job_types = FOR(JOB_VACUUM)},
    {.name = "mode",
     .type = VALUE_WORD,
     .offset = IN_JOB(mode),
     .words = MODE_WORDS,
     .job_types = FOR(JOB_WAL)},
    {.name = "slot",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .read = read_slot,
     .job_types = FOR(JOB_WAL)},
    {.name = "acknowledge",
     .type = VALUE_WORD,
     .offset = IN_JOB(acknowledge),
     .words = ACKNOWLEDGE_WORDS,
     .job_types = FOR(JOB_WAL)},
    {.name = "spool_limit",
     .type = VALUE_SIZE,
     .offset = IN_JOB(spool_limit),
     .low = 100000000,
     .high = INT64_C(1000000000000000),
     .job_types = FOR(JOB_WAL)},
    {.name = "of",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .read = drill_read_of,
     .job_types = FOR(JOB_DRILL)},
    {.name = "assertions",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .section = &section_assertion,
     .read = drill_read_assertions,
     .job_types = FOR(JOB_DRILL)},
    {.name = "rto",
     .type = VALUE_DURATION,
     .offset = IN_JOB(rto_us),
     .low = US_PER_SECOND,
     .high = 30 * US_PER_DAY,
     .job_types = FOR(JOB_DRILL)},
    {.name = "scratch", .type = VALUE_PATH, .offset = IN_JOB(scratch), .job_types = FOR(JOB_DRILL)},
    {.name = "require_verified",
     .type = VALUE_INTEGER,
     .offset = IN_JOB(require_verified),
     .feature = FEATURE_VERIFY,
     .low = 1,
     .high = 3,
     .job_types = FOR(JOB_PRUNE)},
    {.name = "after", .type = VALUE_TEXTS, .offset = NOWHERE, .feature = FEATURE_ORDER},
    {.name = "group", .type = VALUE_TEXT, .offset = NOWHERE, .feature = FEATURE_ORDER},
    {.name = "deny", .type = VALUE_ANY, .offset = NOWHERE, .feature = FEATURE_DENY},
    {.name = "hooks", .type = VALUE_ANY, .offset = NOWHERE, .feature = FEATURE_HOOKS},
};
const struct section section_job = {"", JOB_KEYS, ARRAY_SIZE(JOB_KEYS), &section_defaults};

static const struct key NOTIFY_KEYS[] = {
    {.name = "on", .type = VALUE_WORDS, .offset = NOWHERE, .words = EVENTS},
    {.name = "webhook", .type = VALUE_TEXT, .offset = NOWHERE},
    {.name = "ping", .type = VALUE_TEXT, .offset = NOWHERE},
    {.name = "job", .type = VALUE_TEXT, .offset = NOWHERE},
};
static const struct section SECTION_NOTIFY = {"notify", NOTIFY_KEYS, ARRAY_SIZE(NOTIFY_KEYS), NULL};

/* cluster, timezone, defaults and jobs are read by parse.c, in the order in which they need one
 * another. */
static const struct key POLICY_KEYS[] = {
    {.name = "cluster", .type = VALUE_ANY, .offset = NOWHERE},
    {.name = "timezone", .type = VALUE_ANY, .offset = NOWHERE},
    {.name = "postgres", .type = VALUE_SECTION, .offset = 0, .section = &SECTION_POSTGRES},
    {.name = "repository", .type = VALUE_SECTION, .offset = 0, .section = &SECTION_REPOSITORY},
    {.name = "defaults", .type = VALUE_ANY, .offset = NOWHERE, .section = &section_defaults},
    {.name = "jobs", .type = VALUE_ANY, .offset = NOWHERE},
    {.name = "audit",
     .type = VALUE_SECTION,
     .offset = IN_POLICY(audit),
     .feature = FEATURE_AUDIT,
     .section = &section_audit},
    {.name = "notify",
     .type = VALUE_SECTIONS,
     .offset = NOWHERE,
     .feature = FEATURE_NOTIFY,
     .section = &SECTION_NOTIFY},
};
const struct section section_policy = {"", POLICY_KEYS, ARRAY_SIZE(POLICY_KEYS), NULL};
