/*
 * All that an audit judges, as one plain struct: what the repository lists, its evidence, what the
 * journal remembers of runs, what the server said, who may read which file. work/gather.h fills it;
 * src/audit reads it. It can be saved and read back, so that the same facts give the same verdicts
 * where there is neither server nor repository:
 *
 *     facts_audit_to_json(&facts)           NULL without memory; format FACTS_AUDIT_FORMAT
 *     facts_audit_from_json(object, &facts, err);    ERR_CORRUPT with the path of what is wrong
 *     facts_audit_clear(&facts);
 *
 * What could not be learnt is told: a part has a problem (NULL when all of it was read), and a
 * verdict must be UNKNOWN then. No part holds a secret.
 */
#ifndef PGCAIRN_FACTS_AUDIT_H
#define PGCAIRN_FACTS_AUDIT_H

#include <jansson.h>

#include "facts/bucket.h"
#include "facts/facts.h"

enum {
    FACTS_AUDIT_FORMAT = 1,
    FACTS_RECORDS_MAX = 2000000,  /* of evidence, a verified item of a record counted as one */
    FACTS_RUNS_MAX = 200000,      /* of the journal */
    FACTS_STRAYS_MAX = 1000,      /* kept; more are counted */
    FACTS_FAULTS_MAX = 1000,      /* likewise */
    FACTS_DATABASES_MAX = 100000, /* of a server */
    FACTS_ROWS_MAX = 10000,       /* of any other list of a server's */
    FACTS_TEXTS_MAX = 100000,
};

/* The objects of one backup's folder, but for started.json and manifest.json. */
struct facts_contents {
    char *id;
    enum backup_kind kind;
    int64_t objects, bytes;
};

/* One object that is not as the manifest says. */
struct facts_fault {
    char *id;
    char *object;
    char *what; /* "is missing", "has 7 bytes and not 9", "is in no manifest" */
};

/* An object of the cluster's that belongs to nothing we know. */
struct facts_stray {
    char *key;
    int64_t bytes, modified_us;
};

/* What the manifest of the newest good backup of a job tells beyond the catalogue. */
struct facts_manifest {
    char *id, *job;
    bool has_globals, has_role_passwords;
    int64_t tables, rows;
};

/* The kind of a record of a verification as a whole, beside the entries of what has faults. */
#define FACTS_RECORD_RUN "run"
#define FACTS_RECORD_WAL "wal" /* of the latter those that are of WAL; id: the first segment */

/* A record of evidence, or one item of a record that speaks of many. Texts are "" and numbers 0
 * where the record does not have them, times INSTANT_NONE. */
struct facts_record {
    int64_t number, at_us;
    char *type; /* "backup_removed", "verify", "drill", "audit", ... */
    char *id, *kind, *job, *state, *result, *reason;
    char *policy_sha256;
    char *target; /* of a drill: "latest", "random", ... */
    int level;
    int64_t started_us, completed_us;
    int64_t due_us;            /* of a backup that was made for a due instant */
    int64_t duration_s, rto_s; /* of a drill; -1: it does not tell */
    char **databases;
};

/* A run, as the journal knows it. */
struct facts_run {
    char *run_id, *job, *type, *outcome, *error_code, *message;
    int64_t due_us, started_us, ended_us;
};

struct facts_database {
    char *name;
    bool accepts_connections, is_template;
    bool has_old_collation; /* the library's version is not the one it was made with */
    int64_t xid_age, mxid_age;
};

/* Something of the server's with who holds it and the command that ends it. */
struct facts_row {
    char *kind, *name, *database, *state, *command;
    int64_t number; /* an age in transactions, bytes held: by the list */
    int64_t since_us;
    bool is_active;
};

struct facts_server {
    bool was_asked; /* false: an audit without a server, of a period or by wish */
    char *problem;  /* why nothing is known */
    int version_num;
    char *system_identifier, *role, *sslmode;
    bool is_standby, is_superuser, may_create_roles;
    bool uses_tls, is_local; /* local: a socket of the same machine */
    bool has_checksums;      /* of data pages */
    int64_t clock_offset_us; /* the server's clock less ours */
    int64_t freeze_max_age;
    struct facts_database *databases;
    size_t database_count;
    struct facts_row *blockers, *slots, *invalid_indexes;
    size_t blocker_count, slot_count, invalid_index_count;
    bool knows_blockers, knows_slots; /* these were told, if there are none too */
    char **unknown;                   /* what it would not tell, one sentence each */
    /* WAL */
    char *wal_problem; /* why the archiver's state is not known */
    uint32_t timeline;
    uint64_t lsn;
    int64_t wal_now_us;
    bool knows_ready; /* how many files wait */
    int64_t ready_count;
    char *archive_problem, *archive_cure; /* what keeps WAL from coming; NULL: nothing */
    bool archive_is_broken;               /* for certain, not only at this moment */
};

/* A file on this machine that holds secrets or decides what is done. */
struct facts_file {
    char *what, *path;
    int mode;
    bool is_secret;  /* others may not even read it */
    bool is_foreign; /* it belongs to somebody else than root and us */
    char *problem;
};

struct facts_audit {
    int64_t at_us; /* when all this was so */
    char *pgcairn_version;
    char *policy_sha256;
    struct facts facts; /* backups, holds, WAL */

    char *repository_problem;
    char *repository_url;
    char *system_identifier; /* of the admitted server; NULL: none was */
    int64_t since_us; /* since when the repository knows the cluster; INSTANT_NONE: never seen */
    bool has_contents;
    struct facts_contents *contents; /* by id */
    size_t content_count;
    struct facts_fault *faults;
    size_t fault_count;
    int64_t fault_total;
    struct facts_stray *strays;
    size_t stray_count;
    int64_t stray_total, stray_bytes;
    int64_t unfinished_count, unfinished_oldest_us; /* writes that ended without an end */
    struct facts_manifest *manifests;
    size_t manifest_count;
    bool has_bucket;
    struct facts_bucket bucket; /* owned here */
    char *bucket_problem;
    int64_t store_clock_offset_us; /* INSTANT_NONE: not known */

    bool has_evidence; /* it was read */
    char *evidence_problem;
    bool evidence_is_broken; /* the problem is the chain itself, not the reading of it */
    int64_t evidence_tip;
    char *evidence_sha256;
    struct facts_record *records; /* in order */
    size_t record_count;

    bool has_journal;
    char *journal_problem;
    int64_t daemon_started_us, daemon_heartbeat_us; /* INSTANT_NONE: none ever */
    struct facts_run *runs;                         /* any order */
    size_t run_count;

    struct facts_server server;
    struct facts_file *files;
    size_t file_count;
};

void facts_audit_init(struct facts_audit *facts);
void facts_audit_clear(struct facts_audit *facts);
json_t *facts_audit_to_json(const struct facts_audit *facts);
int facts_audit_from_json(const json_t *object, struct facts_audit *ret_facts, struct error *err);

/* Appends a zeroed entry to a growing list of the struct: the array, its count, an element's size.
 * The room doubles, so nothing but the count needs to be kept. */
int facts_audit_add(void *array, size_t *count, size_t size, size_t limit, const char *what,
                    void *ret_entry, struct error *err);

/* One database as a row of a query tells it, its columns named as the members. */
int facts_database_from_json(const json_t *row, struct facts_database *ret_database,
                             struct error *err);

#endif
