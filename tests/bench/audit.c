/*
 * Planner and audit over a big repository: 1,000,000 objects of WAL in 1,000 contiguous ranges,
 * 100,000 backups (96,000 dumps by the hour, 4,000 snapshots by the day) and 100,000 records of
 * evidence, as facts after listing. Prints the seconds of each and the peak of memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "audit/audit.h"
#include "report/report.h"

enum { SEGMENT = 16 << 20, SEGMENTS = 1000000, RANGES = 1000, DUMPS = 96000, SNAPSHOTS = 4000 };
enum { RECORDS = 100000, MEGABYTE = 1 << 20 };

static const char POLICY[] =
    "cluster: big\npostgres: {connection: dbname=a, databases: [app]}\n"
    "repository: {url: file:///a}\njobs:\n"
    "  wal: {type: wal, schedule: \"0 * * * *\", keep: {within: 4000d}}\n"
    "  hourly: {type: dump, schedule: \"0 * * * *\", keep: {within: 4000d, hourly: 48, daily: 30, "
    "weekly: 50, monthly: 100, yearly: 10}}\n"
    "  daily: {type: snapshot, schedule: \"30 3 * * *\", keep: {within: 4000d, last: 2}}\n"
    "  prune: {type: prune, schedule: \"15 5 * * *\"}\n";

static void check(int rc, const struct error *err)
{
    if (rc) {
        fprintf(stderr, "bench_audit: %s\n", err->message);
        exit(1);
    }
}

static char *copy(const char *text)
{
    char *made = strdup(text);
    if (!made)
        abort();
    return made;
}

static struct facts_backup *add_backup(struct facts_audit *facts, enum backup_kind kind,
                                       int64_t started_us)
{
    struct facts_backup *backup;
    struct facts_contents *contents;
    struct error err = ERROR_NONE;
    char id[40];
    check(facts_add_backup(&facts->facts, &backup, &err), &err);
    snprintf(id, sizeof(id), "20261121T%06zuZ-aaaa", facts->facts.backup_count);
    backup->id = copy(id);
    backup->job = copy(kind == BACKUP_DUMP ? "hourly" : "daily");
    backup->kind = kind;
    backup->state = BACKUP_GOOD;
    backup->started_us = started_us;
    backup->completed_us = started_us + 10 * US_PER_MINUTE;
    backup->bytes_stored = backup->bytes_source = 1000000;
    check(facts_audit_add(&facts->contents, &facts->content_count, sizeof(*contents),
                          FACTS_BACKUPS_MAX, "backups", &contents, &err),
          &err);
    *contents = (struct facts_contents){copy(id), kind, 3, 1000000};
    return backup;
}

static void add_backups(struct facts_audit *facts, int64_t now_us)
{
    for (int i = 0; i < DUMPS; i++) {
        struct facts_backup *backup =
            add_backup(facts, BACKUP_DUMP, now_us - (DUMPS - i) * US_PER_HOUR);
        backup->databases = calloc(2, sizeof(char *));
        if (!backup->databases)
            abort();
        backup->databases[0] = copy("app");
    }
    for (int i = 0; i < SNAPSHOTS; i++) {
        struct facts_backup *backup =
            add_backup(facts, BACKUP_SNAPSHOT, now_us - (SNAPSHOTS - i) * US_PER_DAY);
        struct facts_position *position = &backup->position;
        snprintf(position->system_identifier, sizeof(position->system_identifier), "42");
        position->timeline = position->stop_timeline = 1;
        position->segment_size = SEGMENT;
        position->start_lsn = ((uint64_t)i * (SEGMENTS / SNAPSHOTS) + 10) * SEGMENT + 40;
        position->stop_lsn = position->start_lsn + SEGMENT;
        position->stopped_us = backup->completed_us;
    }
}

/* Every thousandth segment is missing. */
static void add_wal(struct facts_audit *facts, int64_t now_us)
{
    struct facts_wal wal;
    struct facts_wal_timeline *timeline;
    struct error err = ERROR_NONE;
    check(facts_wal_begin(&wal, "42", SEGMENT, &err), &err);
    check(facts_wal_add_timeline(&wal, 1, &timeline, &err), &err);
    for (int i = 0; i < SEGMENTS + RANGES; i++) {
        struct wal_name name = wal_segment_name(1, (uint64_t)i, SEGMENT);
        if (i % (SEGMENTS / RANGES) == 7)
            continue;
        check(facts_wal_add_segment(&wal, timeline, &name,
                                    now_us - (int64_t)(SEGMENTS - i) * 345 * US_PER_SECOND, 100,
                                    &err),
              &err);
    }
    check(facts_take_wal(&facts->facts, &wal, &err), &err);
}

static void add_records(struct facts_audit *facts, int64_t now_us)
{
    struct error err = ERROR_NONE;
    for (int i = 0; i < RECORDS; i++) {
        struct facts_record *record;
        char id[40];
        check(facts_audit_add(&facts->records, &facts->record_count, sizeof(*record),
                              FACTS_RECORDS_MAX, "records", &record, &err),
              &err);
        snprintf(id, sizeof(id), "20101121T%06dZ-bbbb", i);
        int64_t started_us = now_us - (int64_t)(DUMPS + RECORDS - i) * US_PER_HOUR;
        *record = (struct facts_record){.number = i + 1,
                                        .at_us = started_us + 4001 * US_PER_DAY,
                                        .type = copy("backup_removed"),
                                        .id = copy(id),
                                        .kind = copy("dump"),
                                        .job = copy("hourly"),
                                        .state = copy("good"),
                                        .result = copy(""),
                                        .reason = copy("expired"),
                                        .policy_sha256 = copy(""),
                                        .target = copy(""),
                                        .started_us = started_us,
                                        .completed_us = started_us + US_PER_MINUTE};
    }
    facts->has_evidence = true;
    facts->evidence_tip = RECORDS;
}

static double seconds_since(int64_t begin_us)
{
    return (double)(instant_monotonic_us() - begin_us) / 1e6;
}

static double peak_megabytes(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

static void measure(const struct facts_audit *facts, const struct policy *policy)
{
    struct error err = ERROR_NONE;
    struct retention_plan plan = {0};
    struct audit_report report;
    struct audit_period period = {INSTANT_NONE, INSTANT_NONE};
    struct zone *utc = NULL;
    check(zone_load("UTC", &utc, &err), &err);
    const struct retention_zones zones = {.policy = utc};
    int64_t begin_us = instant_monotonic_us();
    check(retention_plan_make(&facts->facts, policy, &zones, facts->at_us, &plan, &err), &err);
    printf("plan    %6.3f s  %zu decisions, %zu deletions\n", seconds_since(begin_us), plan.count,
           plan.delete_count);
    retention_plan_clear(&plan);
    begin_us = instant_monotonic_us();
    check(audit_judge(facts, policy, &zones, &period, &report, &err), &err);
    printf("audit   %6.3f s  its own plan included; %zu failed, %zu unknown\n",
           seconds_since(begin_us), report.counts[AUDIT_FAIL], report.counts[AUDIT_UNKNOWN]);
    audit_report_clear(&report);
    period = (struct audit_period){facts->at_us - 365 * US_PER_DAY, facts->at_us};
    begin_us = instant_monotonic_us();
    check(audit_judge(facts, policy, &zones, &period, &report, &err), &err);
    printf("period  %6.3f s  a year\n", seconds_since(begin_us));
    struct buf out = BUF_INIT(REPORT_BYTES_MAX);
    begin_us = instant_monotonic_us();
    check(report_write(REPORT_HTML, &report, &out, &err), &err);
    printf("html    %6.3f s  %.1f MB\n", seconds_since(begin_us), (double)out.length / MEGABYTE);
    buf_clear(&out);
    audit_report_clear(&report);
    zone_free(utc);
}

int main(void)
{
    struct facts_audit facts;
    struct policy *policy = NULL;
    struct policy_problems problems;
    struct error err = ERROR_NONE;
    check(policy_parse("big.yaml", POLICY, strlen(POLICY), NULL, NULL, &policy, &problems, &err),
          &err);
    policy_problems_clear(&problems);
    facts_audit_init(&facts);
    facts.at_us = INT64_C(1795000000) * US_PER_SECOND;
    facts.since_us = facts.at_us - 8000 * US_PER_DAY;
    facts.system_identifier = copy("42");
    facts.facts.cluster = copy("big");
    facts.facts.complete = true;
    facts.has_contents = true;
    add_backups(&facts, facts.at_us);
    add_wal(&facts, facts.at_us);
    add_records(&facts, facts.at_us);
    printf("facts   %.0f MB\n", peak_megabytes());
    measure(&facts, policy);
    printf("peak    %.0f MB\n", peak_megabytes());
    facts_audit_clear(&facts);
    policy_free(policy);
    return 0;
}
