/*
 * The policy: one YAML file, a cluster, its repository, its jobs, as plain structs.
 *
 * Pure: the caller reads the file and the environment and passes both in; no clock, no globals.
 * policy_parse() reports every problem of the text at once, in order of their lines, each with line
 * and column; a policy with an error is not returned. Warnings come with a good policy.
 *
 * Ownership: everything hangs on struct policy and goes with policy_free(). Strings are never NULL
 * unless said so. Units: microseconds, bytes. Immutable after parsing, so threads may share it.
 */
#ifndef PGCAIRN_POLICY_POLICY_H
#define PGCAIRN_POLICY_POLICY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strv.h"
#include "cron/cron.h"
#include "cron/deny.h"
#include "policy/audit.h"
#include "policy/hooks.h"
#include "policy/notify.h"
#include "policy/s3.h"

enum {
    POLICY_BYTES_MAX = 1 << 20,
    POLICY_JOBS_MAX = 200,
    POLICY_LIST_MAX = 1000,    /* databases, tables, assertions, notifications */
    POLICY_PROBLEMS_MAX = 200, /* problems reported for one file */
    POLICY_CONNECTIONS_MAX = 64,
    POLICY_GROUPS_MAX = 50,
};

enum job_type {
    JOB_WAL,
    JOB_DUMP,
    JOB_SNAPSHOT,
    JOB_VACUUM,
    JOB_PRUNE,
    JOB_VERIFY,
    JOB_DRILL,
    JOB_AUDIT,
    JOB_TYPE_COUNT,
};

enum missed_rule { MISSED_ONCE, MISSED_ALL, MISSED_SKIP };
enum overlap_rule { OVERLAP_SKIP, OVERLAP_QUEUE };
/* How WAL comes: the server's archive_command pushes it, or we receive it through a slot. */
enum wal_mode { WAL_MODE_PUSH, WAL_MODE_RECEIVE };
/* What a receiver tells the server to be safe: what is in the repository, or in the spool too. */
enum wal_acknowledge { ACKNOWLEDGE_STORED, ACKNOWLEDGE_SPOOLED };

/* Where a value stands, for problems found later by those who may do I/O; 0 when it is absent. */
struct policy_place {
    int line, column;
};

/* Which backups a job's own are kept. A count of 0 and within_us of 0 mean that the rule is absent;
 * is_set is false when the job has no `keep:` at all (everything is kept, with a warning). */
struct keep_rules {
    bool is_set;
    int64_t within_us;
    int last, hourly, daily, weekly, monthly, yearly;
    int line; /* of `keep:`, 1-based; 0 when absent */
};

/* What must be true of a database that was restored by a drill. */
struct policy_assertion {
    char *sql;      /* one row, whose first column is true */
    char *database; /* NULL: the one that the policy's connection names */
    int line;
};

struct policy_job {
    char *name;
    enum job_type type;
    int line;                   /* of the job, 1-based */
    char *schedule_text;        /* "" when the job has no schedule (run by hand only) */
    struct cron_expr *schedule; /* NULL without a schedule; hash id is "CLUSTER/JOB" */
    bool seconds;               /* the schedule may have 6 or 7 fields */
    char *timezone;             /* IANA name, the policy's unless set here */
    struct policy_place schedule_place, timezone_place, connection_place;
    struct keep_rules keep;
    int64_t timeout_us; /* of one try */
    int retries;
    enum missed_rule on_missed;
    int64_t jitter_us;
    int64_t deadline_us; /* what could not begin so long after its time is missed; 0: never */
    struct deny deny;    /* when it may not begin, in its time zone; empty for wal */
    struct strv after;   /* jobs whose success for a due instant it waits for: then schedule, its
                            text and timezone are those of the scheduled job at their root */
    struct strv groups;  /* of struct policy.groups */
    struct policy_place after_place, group_place;
    enum overlap_rule overlap;
    int64_t lock_wait_us;
    char *connection; /* own connection string, normalised; NULL = the policy's */
    int jobs;         /* workers; cut to max_connections */
    /* vacuum */
    bool analyze;
    int64_t budget_us;  /* 0 = no budget; of verify too */
    struct strv tables; /* psql patterns; empty = all that need it */
    /* wal; what is not set by mode receive is not looked at by mode push */
    enum wal_mode mode;
    char *slot; /* NULL: named after the cluster */
    enum wal_acknowledge acknowledge;
    int64_t spool_limit; /* bytes; 0: the receiver's own */
    /* drill */
    char *of; /* the job whose backups are restored */
    int of_line;
    struct policy_assertion *assertions;
    size_t assertion_count;
    int64_t rto_us; /* the longest that a restore may take until the server answers; 0: any time */
    char *scratch;  /* where restores are tried out; NULL: in the state folder */
    int level;      /* verify: 1..3 */
    struct policy_hooks hooks;
    /* verified level demanded before an item counts (prune); 0 = none */
    int require_verified;
};

/* At most `limit` runs at a time of the jobs that name it, over all policies of a daemon. */
struct policy_group {
    char *name;
    int limit;
};

struct policy {
    char *file;      /* as given, for messages */
    char sha256[65]; /* hex of the text as read, before ${} expansion */
    char *cluster;
    char *timezone;
    char *connection;      /* normalised for libpq, with the password if it has one: secret */
    char *password_file;   /* NULL when absent */
    char *passfile;        /* NULL when absent */
    struct strv databases; /* globs; empty = all that accept connections */
    int databases_line;
    int max_connections;
    char *bindir;         /* "auto" or an absolute folder */
    char *repository_url; /* no slash at its end */
    struct policy_s3 s3;
    int compression_level;
    int compression_threads; /* 0 = auto */
    int64_t rate_limit;      /* bytes per second, 0 = none */
    struct policy_audit audit;
    struct policy_notify *notify; /* in the order of the file */
    size_t notify_count;
    struct policy_job *jobs; /* in the order of the file */
    size_t job_count;
    struct policy_group *groups;
    size_t group_count;
    int max_running; /* runs of this cluster at a time, wal jobs left aside; 0: any number */
    struct policy_place cluster_place, timezone_place, connection_place, password_place,
        repository_place;
    bool holds_password; /* the file itself holds one, not only the name of a variable */
};

struct policy_problem {
    int line, column; /* 1-based */
    bool is_warning;
    char *message;
};

struct policy_problems {
    struct policy_problem *items; /* in order of line and column */
    size_t count;
    size_t error_count; /* those that are no warnings */
};

/* Looks up a ${VAR}; NULL when it is not set. context is the caller's. */
typedef const char *(*policy_getenv)(const char *name, void *context);

/* What a parse may ask of the world, so that all problems of a file come at once. */
struct policy_world {
    policy_getenv get_env;
    /* 0, or a negative code with the reason when this is no time zone; NULL: any name will do. */
    int (*check_zone)(const char *name, void *context, struct error *err);
    void *context;
};

/*
 * Parses text (the content of `file`, a name for messages). 0 and *ret_policy, or ERR_POLICY with
 * at least one error among the problems and a summary in err. Problems are filled either way; the
 * caller clears them.
 */
int policy_parse_in(const struct policy_world *world, const char *file, const char *text,
                    size_t length, struct policy **ret_policy, struct policy_problems *ret_problems,
                    struct error *err);
/* The same where zones need not be checked. */
int policy_parse(const char *file, const char *text, size_t length, policy_getenv get_env,
                 void *context, struct policy **ret_policy, struct policy_problems *ret_problems,
                 struct error *err);
struct policy *policy_free(struct policy *policy);
void policy_problems_clear(struct policy_problems *problems);

const struct policy_job *policy_find_job(const struct policy *policy, const char *name);
const char *job_type_name(enum job_type type);
bool job_type_available(enum job_type type); /* whether this version can run such jobs */

DEFINE_FREEP(struct policy *, policy_free)

#endif
