/*
 * A cluster in good health as facts, for the tests of audit and report: a policy with every kind of
 * job, its backups, WAL, evidence, runs and server. A test changes what it is about and judges.
 *
 *     struct world world;
 *     world_init(&world, WORLD_FOLDER);        or WORLD_BUCKET
 *     ... world.facts ...
 *     world_judge(&world);                     world.report
 *     world_clear(&world);
 *
 * Now is Friday, 2026-11-20 10:00 UTC.
 */
#ifndef PGCAIRN_TESTS_WORLD_H
#define PGCAIRN_TESTS_WORLD_H

#include "retention/history.h"

#include "audit/audit.h"

#define WORLD_NOW "2026-11-20T10:00:00Z"
#define WORLD_TIP "5f0c0000000000000000000000000000000000000000000000000000000000aa"

#define WORLD_HEAD "cluster: c\npostgres: {connection: dbname=a, databases: [app]}\n"
#define WORLD_JOBS                                                                          \
    "jobs:\n"                                                                               \
    "  wal: {type: wal, schedule: \"0 * * * *\", keep: {within: 7d}}\n"                     \
    "  nightly: {type: dump, schedule: \"0 2 * * *\", keep: {within: 30d, last: 3}}\n"      \
    "  weekly: {type: snapshot, schedule: \"0 3 * * sun\", keep: {within: 90d, last: 2}}\n" \
    "  prune: {type: prune, schedule: \"15 5 * * *\"}\n"                                    \
    "  tidy: {type: vacuum, schedule: \"30 4 * * sun\"}\n"                                  \
    "  audit: {type: audit, schedule: \"0 7 * * *\"}\n"
#define WORLD_AUDIT "audit: {excluded_databases: [postgres], keep_at_most: 400d}\n"
#define WORLD_FOLDER WORLD_HEAD "repository: {url: file:///a}\n" WORLD_JOBS WORLD_AUDIT
#define WORLD_BUCKET \
    WORLD_HEAD       \
    "repository: {url: s3://bucket/p, s3: {region: eu-central-1}}\n" WORLD_JOBS WORLD_AUDIT

struct world {
    struct policy *policy;
    struct facts_audit facts;
    struct audit_period period;
    struct audit_report report;
};

static inline char *world_copy(const char *text)
{
    return text ? copy(text) : NULL;
}

static inline void world_text(char **place, const char *text)
{
    free(*place);
    *place = world_copy(text);
}

static inline struct facts_record *world_record(struct facts_audit *facts, const char *at_text,
                                                const char *type, const char *id, const char *kind,
                                                const char *result)
{
    struct facts_record *record;
    struct error err = ERROR_NONE;
    assert_int_equal(facts_audit_add(&facts->records, &facts->record_count, sizeof(*record),
                                     FACTS_RECORDS_MAX, "records", &record, &err),
                     0);
    *record = (struct facts_record){.number = (int64_t)facts->record_count,
                                    .at_us = at(at_text),
                                    .type = copy(type),
                                    .id = copy(id),
                                    .kind = copy(kind),
                                    .job = copy(""),
                                    .state = copy(""),
                                    .result = copy(result),
                                    .reason = copy(""),
                                    .policy_sha256 = copy(""),
                                    .target = copy(""),
                                    .started_us = INSTANT_NONE,
                                    .completed_us = INSTANT_NONE,
                                    .due_us = INSTANT_NONE,
                                    .duration_s = -1,
                                    .rto_s = -1};
    return record;
}

/* A dump of the job nightly that was made. */
static inline void world_made(struct facts_audit *facts, const char *at_text, const char *id,
                              const char *started)
{
    struct facts_record *record = world_record(facts, at_text, "backup_made", id, "dump", "");
    world_text(&record->job, "nightly");
    record->started_us = at(started);
    record->completed_us = record->started_us + US_PER_MINUTE;
}

/* A tombstone of a good dump of the job nightly. */
static inline struct facts_record *world_removed(struct facts_audit *facts, const char *at_text,
                                                 const char *id, const char *started)
{
    struct facts_record *record = world_record(facts, at_text, "backup_removed", id, "dump", "");
    world_text(&record->job, "nightly");
    world_text(&record->state, "good");
    record->started_us = at(started);
    record->completed_us = record->started_us + US_PER_MINUTE;
    return record;
}

static inline void world_run(struct facts_audit *facts, const char *job, const char *type,
                             const char *started, const char *outcome, const char *message)
{
    struct facts_run *run;
    struct error err = ERROR_NONE;
    char id[40];
    snprintf(id, sizeof(id), "run%zu", facts->run_count);
    assert_int_equal(facts_audit_add(&facts->runs, &facts->run_count, sizeof(*run), FACTS_RUNS_MAX,
                                     "runs", &run, &err),
                     0);
    *run = (struct facts_run){.run_id = copy(id),
                              .job = copy(job),
                              .type = copy(type),
                              .outcome = copy(outcome),
                              .error_code = copy(""),
                              .message = copy(message),
                              .due_us = at(started),
                              .started_us = at(started),
                              .ended_us = at(started) + US_PER_MINUTE};
}

static inline struct facts_database *world_database(struct facts_audit *facts, const char *name)
{
    struct facts_database *database;
    struct error err = ERROR_NONE;
    assert_int_equal(facts_audit_add(&facts->server.databases, &facts->server.database_count,
                                     sizeof(*database), FACTS_DATABASES_MAX, "databases", &database,
                                     &err),
                     0);
    *database = (struct facts_database){
        .name = copy(name), .accepts_connections = true, .xid_age = 1000, .mxid_age = 1};
    return database;
}

static inline struct facts_row *world_row(struct facts_row **rows, size_t *count, const char *kind,
                                          const char *name)
{
    struct facts_row *row;
    struct error err = ERROR_NONE;
    assert_int_equal(facts_audit_add(rows, count, sizeof(*row), FACTS_ROWS_MAX, "rows", &row, &err),
                     0);
    *row = (struct facts_row){.kind = copy(kind),
                              .name = copy(name),
                              .database = copy("app"),
                              .state = copy(""),
                              .command = copy("the command"),
                              .since_us = INSTANT_NONE};
    return row;
}

static inline void world_file(struct facts_audit *facts, const char *path, int mode)
{
    struct facts_file *file;
    struct error err = ERROR_NONE;
    assert_int_equal(facts_audit_add(&facts->files, &facts->file_count, sizeof(*file),
                                     FACTS_ROWS_MAX, "files", &file, &err),
                     0);
    *file = (struct facts_file){.what = copy("the policy"), .path = copy(path), .mode = mode};
}

static inline int world_compare(const void *a, const void *b)
{
    return strcmp(((const struct facts_contents *)a)->id, ((const struct facts_contents *)b)->id);
}

static inline void world_contents(struct facts_audit *facts)
{
    struct facts_contents *contents;
    struct error err = ERROR_NONE;
    for (size_t i = 0; i < facts->facts.backup_count; i++) {
        const struct facts_backup *backup = &facts->facts.backups[i];
        assert_int_equal(facts_audit_add(&facts->contents, &facts->content_count, sizeof(*contents),
                                         FACTS_BACKUPS_MAX, "backups", &contents, &err),
                         0);
        *contents = (struct facts_contents){copy(backup->id), backup->kind, 3, 1000};
    }
    qsort(facts->contents, facts->content_count, sizeof(*facts->contents), world_compare);
    facts->has_contents = true;
}

/* A dump every night from 2026-10-21 on; b0 to b4 are the newest, b5 and b6 the snapshots. */
static inline void world_backups(struct facts *facts)
{
    char words[4096];
    size_t used =
        (size_t)snprintf(words, sizeof(words),
                         "2026-11-16T02:00 2026-11-17T02:00 2026-11-18T02:00 2026-11-19T02:00 "
                         "2026-11-20T02:00 2026-11-08T03:00,job=weekly,wal=42/1:10-10 "
                         "2026-11-15T03:00,job=weekly,wal=42/1:50-50");
    for (int day = 21; day < 21 + 26; day++)
        used += (size_t)snprintf(words + used, sizeof(words) - used, " 2026-%02d-%02dT02:00",
                                 day > 31 ? 11 : 10, day > 31 ? day - 31 : day);
    history(facts, words);
    for (size_t i = 0; i < facts->backup_count; i++) {
        facts->backups[i].bytes_source = 5000;
        facts->backups[i].rows = facts->backups[i].kind == BACKUP_DUMP ? 700 : 0;
    }
}

static inline void world_manifest(struct facts_audit *facts)
{
    struct facts_manifest *manifest;
    struct error err = ERROR_NONE;
    assert_int_equal(facts_audit_add(&facts->manifests, &facts->manifest_count, sizeof(*manifest),
                                     FACTS_ROWS_MAX, "manifests", &manifest, &err),
                     0);
    *manifest = (struct facts_manifest){copy("b4"),          copy("nightly"),
                                        .has_globals = true, .has_role_passwords = true,
                                        .tables = 4,         .rows = 100};
}

static inline void world_evidence(struct world *world)
{
    struct facts_audit *facts = &world->facts;
    struct facts_record *record;
    world_made(facts, "2026-10-10T02:01:00Z", "old", "2026-10-10T02:00:00Z");
    world_removed(facts, "2026-11-15T05:15:00Z", "old", "2026-10-10T02:00:00Z");
    world_made(facts, "2026-11-16T02:01:00Z", "b0", "2026-11-16T02:00:00Z");
    record = world_record(facts, "2026-11-16T06:00:00Z", "drill", "b6", "snapshot", "pass");
    world_text(&record->target, "random");
    record->duration_s = 600;
    record->rto_s = 3600;
    world_record(facts, "2026-11-18T06:00:00Z", "verify", "b3", "dump", "pass")->level = 2;
    world_record(facts, "2026-11-18T06:00:00Z", "verify", "b6", "snapshot", "pass")->level = 2;
    record = world_record(facts, "2026-11-19T07:00:00Z", "audit", "", "", "pass");
    world_text(&record->policy_sha256, world->policy->sha256);
    facts->has_evidence = true;
    facts->evidence_tip = 7;
    world_text(&facts->evidence_sha256, WORLD_TIP);
}

static inline void world_journal(struct facts_audit *facts)
{
    facts->has_journal = true;
    facts->daemon_started_us = at("2026-11-01T00:00:00Z");
    facts->daemon_heartbeat_us = at("2026-11-20T09:59:30Z");
    world_run(facts, "nightly", "dump", "2026-11-20T02:00:00Z", "done", "");
    world_run(facts, "prune", "prune", "2026-11-20T05:15:00Z", "done", "");
    world_run(facts, "tidy", "vacuum", "2026-11-15T04:30:00Z", "done", "");
    world_run(facts, "wal", "wal", "2026-11-20T09:00:00Z", "done", "");
}

static inline void world_server(struct facts_audit *facts)
{
    struct facts_server *server = &facts->server;
    struct facts_row *slot;
    *server = (struct facts_server){.was_asked = true,
                                    .knows_blockers = true,
                                    .knows_slots = true,
                                    .version_num = 150014,
                                    .system_identifier = copy("42"),
                                    .role = copy("backup"),
                                    .sslmode = copy("verify-full"),
                                    .uses_tls = true,
                                    .has_checksums = true,
                                    .clock_offset_us = 20000,
                                    .freeze_max_age = 200000000,
                                    .timeline = 1,
                                    .lsn = UINT64_C(100) * HISTORY_SEGMENT + 5000,
                                    .wal_now_us = facts->at_us};
    world_database(facts, "app");
    world_database(facts, "postgres");
    world_database(facts, "template1")->is_template = true;
    slot = world_row(&server->slots, &server->slot_count, "", "standby");
    slot->is_active = true;
}

static inline void world_bucket(struct facts_audit *facts)
{
    facts->has_bucket = true;
    facts->store_clock_offset_us = US_PER_SECOND;
    facts->bucket = (struct facts_bucket){.prefix = copy("p"),
                                          .can_delete = true,
                                          .rules = calloc(1, sizeof(struct facts_rule)),
                                          .versioning_problem = copy(""),
                                          .lock_problem = copy(""),
                                          .rules_problem = copy(""),
                                          .public_problem = copy("")};
    assert_non_null(facts->bucket.rules);
}

static inline struct policy *world_policy(const char *text)
{
    struct policy *policy = NULL;
    struct policy_problems problems;
    struct error err = ERROR_NONE;
    int rc = policy_parse("c.yaml", text, strlen(text), NULL, NULL, &policy, &problems, &err);
    if (rc)
        fail_msg("line %d: %s", problems.items[0].line, problems.items[0].message);
    policy_problems_clear(&problems);
    return policy;
}

static inline void world_init(struct world *world, const char *policy)
{
    struct facts_audit *facts = &world->facts;
    *world = (struct world){.policy = world_policy(policy), .period = {INSTANT_NONE, INSTANT_NONE}};
    facts_audit_init(facts);
    world_backups(&facts->facts);
    wal_history_of(&facts->facts, "42/1:10-99@2026-11-20T09:58");
    facts->at_us = at(WORLD_NOW);
    facts->since_us = at("2026-11-01T00:00:00Z");
    facts->pgcairn_version = copy("0.1.0");
    facts->policy_sha256 = copy(world->policy->sha256);
    facts->repository_url = copy(world->policy->repository_url);
    facts->system_identifier = copy("42");
    world_contents(facts);
    world_manifest(facts);
    world_evidence(world);
    world_journal(facts);
    world_server(facts);
    world_file(facts, "/etc/pgcairn/policies/c.yaml", 0600);
    if (strncmp(world->policy->repository_url, "s3:", 3) == 0)
        world_bucket(facts);
}

static inline void world_judge(struct world *world)
{
    _cleanup_(zone_freep) struct zone *utc = NULL;
    struct error err = ERROR_NONE;
    assert_int_equal(zone_load("UTC", &utc, &err), 0);
    const struct retention_zones zones = {.policy = utc};
    audit_report_clear(&world->report);
    if (audit_judge(&world->facts, world->policy, &zones, &world->period, &world->report, &err))
        fail_msg("%s", err.message);
}

static inline void world_clear(struct world *world)
{
    audit_report_clear(&world->report);
    facts_audit_clear(&world->facts);
    policy_free(world->policy);
}

static inline const struct audit_finding *world_finding(const struct world *world, const char *id)
{
    for (size_t i = 0; i < world->report.count; i++)
        if (strcmp(world->report.findings[i].control->id, id) == 0)
            return &world->report.findings[i];
    fail_msg("no control %s", id);
    return NULL;
}

#endif
