/* Every control fails once and passes once, by a table: what is changed in a healthy cluster, and
 * what the control then says. The last test demands that no control is left out. */
#include "world.h"

static struct facts_backup *backup(struct world *world, const char *id)
{
    for (size_t i = 0; i < world->facts.facts.backup_count; i++)
        if (strcmp(world->facts.facts.backups[i].id, id) == 0)
            return &world->facts.facts.backups[i];
    fail_msg("no backup %s", id);
    return NULL;
}

/* A backup that somebody took away behind everybody's back. */
static void lose(struct world *world, const char *id)
{
    facts_remove_backup(&world->facts.facts,
                        (size_t)(backup(world, id) - world->facts.facts.backups));
}

static void reset_wal(struct world *world, const char *text)
{
    struct facts *facts = &world->facts.facts;
    for (size_t i = 0; i < facts->wal_count; i++)
        facts_wal_clear(&facts->wals[i]);
    facts->wal_count = 0;
    if (*text)
        wal_history_of(facts, text);
}

/* -- what is changed ----------------------------------------------------------------------- */

static void nothing(struct world *world)
{
    (void)world;
}

static void new_database(struct world *world)
{
    world_database(&world->facts, "shop");
}

static void chosen_database(struct world *world)
{
    strv_add(&world->policy->databases, "sh*", NULL);
    world_database(&world->facts, "shop");
}

static void no_snapshots(struct world *world)
{
    lose(world, "b5");
    lose(world, "b6");
}

static void postgres_not_excluded(struct world *world)
{
    no_snapshots(world);
    strv_clear(&world->policy->audit.excluded_databases);
}

static void new_without_snapshots(struct world *world)
{
    no_snapshots(world);
    new_database(world);
}

static void without_globals(struct world *world)
{
    world->facts.manifests[0].has_globals = false;
}

static void without_passwords(struct world *world)
{
    world->facts.manifests[0].has_role_passwords = false;
}

static void one_snapshot(struct world *world)
{
    lose(world, "b5");
}

static void no_dump(struct world *world)
{
    struct facts *facts = &world->facts.facts;
    for (size_t i = facts->backup_count; i > 0; i--)
        if (facts->backups[i - 1].kind == BACKUP_DUMP)
            facts_remove_backup(facts, i - 1);
}

static void lost_newest(struct world *world)
{
    lose(world, "b4");
}

static void bad_newest(struct world *world)
{
    backup(world, "b4")->state = BACKUP_GARBAGE;
}

static void running_newest(struct world *world)
{
    backup(world, "b4")->state = BACKUP_RUNNING;
}

static void none_was_due(struct world *world)
{
    no_dump(world);
    for (size_t i = 0; i < world->facts.record_count; i++)
        world_text(&world->facts.records[i].type, "hold_added");
    world->facts.since_us = at("2026-11-20T08:00:00Z");
}

static void lost_amid(struct world *world)
{
    lose(world, "b2");
}

/* One row for three. */
static void denied_amid(struct world *world)
{
    lose(world, "b2");
    world_run(&world->facts, "nightly", "dump", "2026-11-19T02:00:00Z", "skipped",
              "denied: 3 due from 2026-11-17T02:00:00Z to 2026-11-19T02:00:00Z in the window x");
    world_run(&world->facts, "nightly", "dump", "2026-11-14T02:00:00Z", "skipped",
              "missed: 2 due from 2026-11-13T02:00:00Z to 2026-11-14T02:00:00Z and others");
}

/* A row of its own tells more. */
static void paused_amid(struct world *world)
{
    lose(world, "b2");
    world_run(&world->facts, "nightly", "dump", "2026-11-18T02:00:00Z", "skipped",
              "paused by ann: a migration");
    world_run(&world->facts, "nightly", "dump", "2026-11-19T02:00:00Z", "skipped",
              "missed: 3 due from 2026-11-17T02:00:00Z to 2026-11-19T02:00:00Z and others");
}

/* After the next due instant, by a machine that took over, and for that one. */
static void made_late(struct world *world)
{
    lose(world, "b2");
    world_made(&world->facts, "2026-11-19T03:10:00Z", "b9", "2026-11-19T03:00:00Z");
    world->facts.records[world->facts.record_count - 1].due_us = at("2026-11-18T02:00:00Z");
}

static void deleted_amid(struct world *world)
{
    lose(world, "b2");
    world_removed(&world->facts, "2026-11-20T05:15:00Z", "b2", "2026-11-18T02:00:00Z");
}

static void bad_runs(struct world *world)
{
    world_run(&world->facts, "nightly", "dump", "2026-11-19T02:00:00Z", "failed", "disk full");
}

static void old_bad_runs(struct world *world)
{
    world_run(&world->facts, "nightly", "dump", "2026-09-19T02:00:00Z", "failed", "disk full");
}

static void wal_gap(struct world *world)
{
    reset_wal(world, "42/1:10-60@2026-11-17T10:00 42/1:62-90@2026-11-19T10:00 "
                     "42/1:91-99@2026-11-20T09:58");
}

static void wal_gap_filling(struct world *world)
{
    reset_wal(world, "42/1:10-97@2026-11-20T09:50 42/1:99-99@2026-11-20T09:58");
}

static void no_wal(struct world *world)
{
    reset_wal(world, "");
}

static void wal_two_contents(struct world *world)
{
    world->facts.facts.wals[0].fault_count = 1;
}

static void wal_behind(struct world *world)
{
    reset_wal(world, "42/1:10-90@2026-11-20T06:00");
}

static void archiver_broken(struct world *world)
{
    world_text(&world->facts.server.archive_problem, "archive_mode is off");
    world->facts.server.archive_is_broken = true;
}

static void archiver_failing(struct world *world)
{
    world_text(&world->facts.server.archive_problem, "the last attempt failed");
}

static void wal_old_without_server(struct world *world)
{
    wal_behind(world);
    world_text(&world->facts.server.problem, "no route");
}

static void young_snapshots(struct world *world)
{
    lose(world, "b5");
    reset_wal(world, "42/1:50-99@2026-11-20T09:58");
}

static void wal_lost_lately(struct world *world)
{
    reset_wal(world, "42/1:10-94@2026-11-19T10:00 42/1:96-99@2026-11-20T09:00");
}

static void slot_lost(struct world *world)
{
    world_text(&world->facts.server.slots[0].state, "lost");
}

static void slot_idle(struct world *world)
{
    world->facts.server.slots[0].is_active = false;
    world->facts.server.slots[0].number = INT64_C(5000000000);
}

static void deleted_too_early(struct world *world)
{
    world_removed(&world->facts, "2026-11-19T05:15:00Z", "x", "2026-11-10T02:00:00Z");
}

static void deleted_newest(struct world *world)
{
    lose(world, "b4");
    world_removed(&world->facts, "2026-11-20T05:15:00Z", "b4", "2026-11-20T02:00:00Z");
}

static void deleted_by_last(struct world *world)
{
    world->policy->jobs[1].keep.within_us = 0;
    world->policy->jobs[1].keep.last = 6;
    world_removed(&world->facts, "2026-11-20T05:15:00Z", "x", "2026-11-15T02:00:00Z");
}

static void only_daily(struct world *world)
{
    struct keep_rules *keep = &world->policy->jobs[1].keep;
    keep->within_us = 0;
    keep->last = 0;
    keep->daily = 6;
    keep->weekly = 2;
}

/* Five days up to the 20th are newer, and a sixth is wanted. */
static void deleted_by_daily(struct world *world)
{
    only_daily(world);
    world_removed(&world->facts, "2026-11-20T05:15:00Z", "x", "2026-11-15T02:00:00Z");
}

/* Of the same day a newer one stayed. */
static void deleted_by_the_calendar(struct world *world)
{
    only_daily(world);
    world->policy->jobs[1].keep.daily = 5;
    world_removed(&world->facts, "2026-11-20T05:15:00Z", "x", "2026-11-16T01:00:00Z");
}

/* The newest of its week; days so old are not wanted any more. */
static void deleted_by_weekly(struct world *world)
{
    deleted_by_the_calendar(world);
    world_removed(&world->facts, "2026-11-20T05:15:00Z", "y", "2026-11-15T03:00:00Z");
}

/* The rules are others now than they were. */
static void deleted_under_another_policy(struct world *world)
{
    struct facts_record *audit = NULL;
    deleted_by_daily(world);
    audit = world_record(&world->facts, "2026-11-20T07:00:00Z", "audit", "", "", "pass");
    world_text(&audit->policy_sha256, "another");
}

static void deleted_of_a_lost_job(struct world *world)
{
    world_text(
        &world_removed(&world->facts, "2026-11-20T05:15:00Z", "x", "2026-11-15T02:00:00Z")->job,
        "gone");
}

static void older_than_allowed(struct world *world)
{
    backup(world, "b0")->started_us = at("2025-01-01T00:00:00Z");
}

static void should_be_gone(struct world *world)
{
    world->policy->jobs[1].keep.within_us = US_PER_DAY;
    world->policy->jobs[1].keep.last = 0;
}

static void no_prune_job(struct world *world)
{
    world->policy->jobs[1].keep.within_us = US_PER_DAY;
    world->policy->jobs[1].keep.last = 0;
    world->policy->jobs[3].type = JOB_VACUUM;
}

static void plan_needs_force(struct world *world)
{
    struct facts_backup *added;
    for (int i = 0; i < 60; i++) {
        char id[16];
        assert_int_equal(facts_add_backup(&world->facts.facts, &added, NULL), 0);
        snprintf(id, sizeof(id), "c%d", i);
        *added = *backup(world, "b0");
        added->id = copy(id);
        added->job = copy("nightly");
        added->databases = NULL;
        char name[] = "app";
        set_databases(added, name);
        added->started_us = at("2026-06-01T02:00:00Z") + i * US_PER_DAY;
        added->completed_us = added->started_us + US_PER_MINUTE;
    }
}

static void plan_refused(struct world *world)
{
    world->facts.facts.complete = false;
}

static void hold_ended(struct world *world)
{
    add_hold(&world->facts.facts, "b0", "h1", at("2026-11-01T00:00:00Z"));
}

static void hold_in_force(struct world *world)
{
    add_hold(&world->facts.facts, "b0", "h1", INSTANT_NONE);
}

static void bucket_expires(struct world *world)
{
    struct facts_bucket *bucket = &world->facts.bucket;
    free(bucket->rules);
    bucket->rules = calloc(1, sizeof(*bucket->rules));
    assert_non_null(bucket->rules);
    bucket->rules[0] = (struct facts_rule){.id = copy("tidy"),
                                           .prefix = copy(""),
                                           .storage_class = copy(""),
                                           .is_enabled = true,
                                           .expire_days = 3};
    bucket->rule_count = 1;
}

static void bucket_unreadable(struct world *world)
{
    world->facts.has_bucket = false;
    world_text(&world->facts.bucket_problem, "access denied");
}

static void foreign_object(struct world *world)
{
    struct facts_stray *stray;
    assert_int_equal(facts_audit_add(&world->facts.strays, &world->facts.stray_count,
                                     sizeof(*stray), FACTS_STRAYS_MAX, "strays", &stray, NULL),
                     0);
    *stray = (struct facts_stray){copy("c/dumps/notes.txt"), 12, at(WORLD_NOW)};
    world->facts.stray_total = 1;
    world->facts.stray_bytes = 12;
}

static void garbage(struct world *world)
{
    backup(world, "b0")->state = BACKUP_GARBAGE;
}

static void unfinished(struct world *world)
{
    world->facts.unfinished_count = 2;
    world->facts.unfinished_oldest_us = at("2026-11-10T00:00:00Z");
}

static void object_missing(struct world *world)
{
    struct facts_fault *fault;
    assert_int_equal(facts_audit_add(&world->facts.faults, &world->facts.fault_count,
                                     sizeof(*fault), FACTS_FAULTS_MAX, "faults", &fault, NULL),
                     0);
    *fault = (struct facts_fault){copy("b4"), copy("16384/data-0001.tar.zst"), copy("is missing")};
}

static void object_shorter(struct world *world)
{
    world->facts.contents[0].bytes = 999;
}

static void contents_unknown(struct world *world)
{
    world->facts.has_contents = false;
}

static void unreadable(struct world *world)
{
    backup(world, "b1")->state = BACKUP_UNKNOWN;
}

static void damaged(struct world *world)
{
    backup(world, "b6")->state = BACKUP_DAMAGED;
}

static struct facts_record *record(struct world *world, const char *type, const char *kind)
{
    for (size_t i = 0; i < world->facts.record_count; i++)
        if (strcmp(world->facts.records[i].type, type) == 0 &&
            strcmp(world->facts.records[i].kind, kind) == 0)
            return &world->facts.records[i];
    fail_msg("no record %s", type);
    return NULL;
}

static void never_proved(struct world *world)
{
    world_text(&record(world, "verify", "dump")->type, "hold_added");
}

static void proved_long_ago(struct world *world)
{
    record(world, "verify", "dump")->at_us = at("2026-09-01T00:00:00Z");
}

static void proof_failed(struct world *world)
{
    world_record(&world->facts, "2026-11-19T06:00:00Z", "verify", "b4", "dump", "fail");
}

static void proved_lightly(struct world *world)
{
    record(world, "verify", "dump")->level = 1;
}

static void proved_by_catalogue(struct world *world)
{
    never_proved(world);
    backup(world, "b4")->verified_level = 2;
    backup(world, "b4")->verified_us = at("2026-11-20T06:00:00Z");
}

/* A record that names no kind speaks of all. */
static void all_found_faults(struct world *world)
{
    world_record(&world->facts, "2026-11-19T06:00:00Z", "verified", "", "", "fail");
}

static void run_found_faults(struct world *world)
{
    world_record(&world->facts, "2026-11-19T06:00:00Z", "verified", "", "run", "fail");
}

/* The fault of b3 is repeated until b3 was proved again, whatever else is proved meanwhile. */
static void fault_stays(struct world *world)
{
    run_found_faults(world);
    world_record(&world->facts, "2026-11-19T06:00:00Z", "verified", "b3", "dump", "fail");
    world_record(&world->facts, "2026-11-19T09:00:00Z", "verified", "", "run", "pass");
    world_record(&world->facts, "2026-11-19T09:00:00Z", "verified", "b3", "dump", "fail");
}

/* A later look that does not go as deep clears no segment. */
static void broken_segment(struct world *world)
{
    world_record(&world->facts, "2026-11-19T09:00:00Z", "verified", "", "run", "pass");
    world_record(&world->facts, "2026-11-19T09:00:00Z", "verified", "000000010000000000000003",
                 "wal", "fail");
}

static void mended_segment(struct world *world)
{
    broken_segment(world);
    world_record(&world->facts, "2026-11-19T10:00:00Z", "verified", "", "run", "pass");
}

static void fault_is_mended(struct world *world)
{
    fault_stays(world);
    world_record(&world->facts, "2026-11-19T10:00:00Z", "verified", "", "run", "pass");
}

static void proved_in_part(struct world *world)
{
    proved_by_catalogue(world);
    world->policy->audit.verified_within_us = 7 * US_PER_DAY;
}

static void vanished(struct world *world)
{
    lose(world, "b0");
}

static void made_just_now(struct world *world)
{
    world_made(&world->facts, "2026-11-20T09:59:59Z", "new", "2026-11-20T09:59:00Z");
}

static void no_made(struct world *world)
{
    for (size_t i = 0; i < world->facts.record_count; i++)
        if (strcmp(world->facts.records[i].type, "backup_made") == 0)
            world_text(&world->facts.records[i].type, "hold_added");
}

static void much_smaller(struct world *world)
{
    backup(world, "b4")->bytes_source = 100;
}

static void fewer_rows(struct world *world)
{
    backup(world, "b4")->rows = 60;
}

static void smaller(struct world *world)
{
    backup(world, "b4")->bytes_source = 2000;
}

static void chain_broken(struct world *world)
{
    world->facts.has_evidence = false;
    world->facts.evidence_is_broken = true;
    world_text(&world->facts.evidence_problem, "evidence record 3 is missing");
}

static void chain_unread(struct world *world)
{
    world->facts.has_evidence = false;
    world_text(&world->facts.evidence_problem, "access denied");
}

static void checksums_off(struct world *world)
{
    world->facts.server.has_checksums = false;
}

#define TWO_DRILLS                                                               \
    WORLD_HEAD "repository: {url: file:///a}\n" WORLD_JOBS                       \
               "  drill: {type: drill, schedule: \"0 6 * * mon\", of: weekly}\n" \
               "  redrill: {type: drill, schedule: \"0 6 * * mon\", of: nightly}\n" WORLD_AUDIT

static void never_drilled(struct world *world)
{
    world_text(&record(world, "drill", "snapshot")->type, "hold_added");
}

static void drill_failed(struct world *world)
{
    world_text(&record(world, "drill", "snapshot")->result, "fail");
    world_text(&record(world, "drill", "snapshot")->reason, "did not start");
}

static void drill_slow(struct world *world)
{
    record(world, "drill", "snapshot")->duration_s = 7200;
}

static void drill_unknown(struct world *world)
{
    struct facts_record *last =
        world_record(&world->facts, "2026-11-19T06:00:00Z", "drill", "b6", "snapshot", "unknown");
    world_text(&last->reason, "no route to host");
}

static void drill_unknown_and_late(struct world *world)
{
    record(world, "drill", "snapshot")->at_us = at("2026-06-01T00:00:00Z");
    drill_unknown(world);
}

/* A second job's drill, which passed, hides no first one's that failed. */
static void drills_of_two(struct world *world)
{
    struct facts_record *last =
        world_record(&world->facts, "2026-11-19T06:00:00Z", "drill", "d1", "dump", "pass");
    drill_failed(world);
    world_text(&record(world, "drill", "snapshot")->job, "drill");
    world_text(&last->job, "redrill");
    last->rto_s = last->duration_s = -1;
}

static void drills_of_two_slow(struct world *world)
{
    drills_of_two(world);
    world_text(&record(world, "drill", "snapshot")->result, "pass");
    drill_slow(world);
}

static void drilled_long_ago(struct world *world)
{
    record(world, "drill", "snapshot")->at_us = at("2026-06-01T00:00:00Z");
}

static void drill_untimed(struct world *world)
{
    record(world, "drill", "snapshot")->duration_s = -1;
}

static void drill_latest(struct world *world)
{
    world_text(&record(world, "drill", "snapshot")->target, "latest");
}

static void no_tls(struct world *world)
{
    world->facts.server.uses_tls = false;
    world_text(&world->facts.server.sslmode, "disable");
}

static void weak_tls(struct world *world)
{
    world_text(&world->facts.server.sslmode, "require");
}

static void local_server(struct world *world)
{
    no_tls(world);
    world->facts.server.is_local = true;
}

static void plain_endpoint(struct world *world)
{
    world_text(&world->policy->s3.endpoint, "http://minio:9000");
}

static void local_endpoint(struct world *world)
{
    world_text(&world->policy->s3.endpoint, "http://127.0.0.1:9000");
}

static void deceiving_endpoint(struct world *world)
{
    world_text(&world->policy->s3.endpoint, "http://localhost.example.com");
}

static void asks_for_sse(struct world *world)
{
    world->policy->s3.sse = S3_SSE_AES256;
}

static void public_list(struct world *world)
{
    world->facts.bucket.is_listed_publicly = true;
}

static void public_read(struct world *world)
{
    world->facts.bucket.is_read_publicly = true;
}

static void public_unknown(struct world *world)
{
    free((void *)(uintptr_t)world->facts.bucket.public_problem);
    world->facts.bucket.public_problem = copy("it answers 301");
}

static void writable_file(struct world *world)
{
    world->facts.files[0].mode = 0666;
}

static void open_repository(struct world *world)
{
    world->facts.files[0].mode = 0755;
    world->facts.files[0].is_secret = true;
}

static void shared_repository(struct world *world)
{
    world->facts.files[0].mode = 02770;
    world->facts.files[0].is_secret = true;
}

static void group_repository(struct world *world)
{
    world->facts.files[0].mode = 0770;
    world->facts.files[0].is_secret = true;
}

static void readable_policy(struct world *world)
{
    world->facts.files[0].mode = 0644;
}

static void missed_under_another_policy(struct world *world)
{
    struct facts_record *before =
        world_record(&world->facts, "2026-11-18T07:00:00Z", "audit", "", "", "pass");
    world_text(&before->policy_sha256, "00ff00");
    lose(world, "b2");
}

static void foreign_file(struct world *world)
{
    world->facts.files[0].is_foreign = true;
}

static void superuser(struct world *world)
{
    world->facts.server.is_superuser = true;
}

static void dead_daemon(struct world *world)
{
    world->facts.daemon_heartbeat_us = at("2026-11-20T08:00:00Z");
}

static void no_daemon(struct world *world)
{
    world->facts.daemon_heartbeat_us = INSTANT_NONE;
}

static void clock_ahead(struct world *world)
{
    world->facts.server.clock_offset_us = 5 * US_PER_MINUTE;
}

static void store_clock_behind(struct world *world)
{
    world->facts.store_clock_offset_us = -5 * US_PER_MINUTE;
}

static void policy_changed(struct world *world)
{
    struct facts_record *before =
        world_record(&world->facts, "2026-11-20T07:00:00Z", "audit", "", "", "pass");
    world_text(&before->policy_sha256, "00ff00");
}

static void prune_failed(struct world *world)
{
    world_run(&world->facts, "prune", "prune", "2026-11-20T06:00:00Z", "failed", "needs force");
}

static void prune_elsewhere(struct world *world)
{
    world_run(&world->facts, "prune", "prune", "2026-11-20T06:00:00Z", "not_mine",
              "done elsewhere: run r7 on db2");
}

static void prune_left(struct world *world)
{
    world_run(&world->facts, "prune", "prune", "2026-11-20T06:00:00Z", "not_mine",
              "the server is a standby");
}

static void prune_late(struct world *world)
{
    world->facts.runs[1].started_us = at("2026-11-18T05:15:00Z");
}

static void wraparound(struct world *world)
{
    world->facts.server.databases[0].xid_age = INT64_C(1600000000);
}

static void freeze_late(struct world *world)
{
    world->facts.server.databases[0].xid_age = INT64_C(300000000);
}

static void invalid_index(struct world *world)
{
    struct facts_server *server = &world->facts.server;
    world_row(&server->invalid_indexes, &server->invalid_index_count, "", "t_a_idx");
}

static void holder(struct world *world)
{
    struct facts_server *server = &world->facts.server;
    struct facts_row *row =
        world_row(&server->blockers, &server->blocker_count, "prepared transaction", "gid");
    row->since_us = at("2026-11-17T00:00:00Z");
}

static void old_collation(struct world *world)
{
    world->facts.server.databases[0].has_old_collation = true;
}

/* -- the table ----------------------------------------------------------------------------- */

#define BUCKET_HERE                                                          \
    WORLD_HEAD "repository: {url: s3://bucket/p, s3: {region: x, endpoint: " \
               "\"https://localhost:9000\"}}\n" WORLD_JOBS WORLD_AUDIT

#define TELLS(more) WORLD_FOLDER "notify: [{webhook: \"https://a.example/x\"" more "}]\n"

static void nothing_is_there(struct world *world)
{
    facts_clear(&world->facts.facts);
    world->facts.facts = (struct facts){.complete = true, .cluster = copy("c")};
    world->facts.evidence_tip = 0;
}

static void server_is_here(struct world *world)
{
    world->facts.server.is_local = true;
}

static void server_not_asked(struct world *world)
{
    world->facts.server.was_asked = false;
}

static const struct {
    const char *id;
    enum audit_status want;
    const char *says; /* in what is observed */
    void (*change)(struct world *world);
    const char *policy; /* NULL: WORLD_FOLDER */
} ROWS[] = {
    {"COV-1", AUDIT_PASS, "app: in the newest dump", nothing, NULL},
    {"COV-1", AUDIT_PASS, "shop: in the newest snapshot", new_database, NULL},
    {"COV-1", AUDIT_FAIL, "shop: chosen by the policy, and in no newest good dump", chosen_database,
     NULL},
    {"COV-1", AUDIT_FAIL, "shop: in no backup, and not left out by name", new_without_snapshots,
     NULL},
    {"COV-1", AUDIT_WARN, "postgres: in no backup", postgres_not_excluded, NULL},
    {"COV-2", AUDIT_PASS, "nightly: b4 has roles with passwords", nothing, NULL},
    {"COV-2", AUDIT_WARN, "without passwords", without_passwords, NULL},
    {"COV-2", AUDIT_FAIL, "nightly: b4 has no roles", without_globals, NULL},
    {"COV-3", AUDIT_PASS, "dumps of app: 2 good or more", nothing, NULL},
    {"COV-3", AUDIT_WARN, "snapshots: 1 good", one_snapshot, NULL},
    {"COV-3", AUDIT_FAIL, "snapshots: 0 good", no_snapshots, NULL},
    {"COV-3", AUDIT_FAIL, "dumps: none good", no_dump, NULL},
    {"COV-4", AUDIT_PASS, "and the server is not", nothing, NULL},
    {"COV-4", AUDIT_PASS, "s3://bucket/p is not of this machine", server_is_here, WORLD_BUCKET},
    {"COV-4", AUDIT_WARN, "are both of this machine", server_is_here, NULL},
    {"COV-4", AUDIT_WARN, "are both of this machine", server_is_here, BUCKET_HERE},
    {"COV-4", AUDIT_UNKNOWN, "the server was not asked", server_not_asked, NULL},
    {"FRQ-1", AUDIT_PASS, "nightly: newest good from 8h ago", nothing, NULL},
    {"FRQ-1", AUDIT_FAIL, "nightly: newest good from 1d 8h ago, due was 2026-11-20T02:00:00Z",
     lost_newest, NULL},
    {"FRQ-1", AUDIT_FAIL, "nightly: newest good from 1d 8h ago", bad_newest, NULL},
    {"FRQ-1", AUDIT_PASS, "nightly: newest good from 1d 8h ago", running_newest, NULL},
    {"FRQ-1", AUDIT_FAIL, "nightly: no good backup at all", no_dump, NULL},
    {"FRQ-1", AUDIT_WARN, "nightly: none yet, and none was due", none_was_due, NULL},
    {"FRQ-2", AUDIT_PASS, "nightly: 30 of 30 came", nothing, NULL},
    {"FRQ-2", AUDIT_PASS, "nightly: 30 of 30 came", deleted_amid, NULL},
    {"FRQ-2", AUDIT_FAIL, "nightly: 2026-11-18T02:00:00Z, no run on record", lost_amid, NULL},
    {"FRQ-2", AUDIT_FAIL,
     "nightly: 2026-11-18T02:00:00Z, its run: skipped: denied: 3 due from 2026-11-17", denied_amid,
     NULL},
    {"FRQ-2", AUDIT_FAIL,
     "nightly: 2026-11-18T02:00:00Z, its run: skipped: paused by ann: a migration", paused_amid,
     NULL},
    {"FRQ-2", AUDIT_PASS, "nightly: 30 of 30 came", made_late, NULL},
    {"FRQ-2", AUDIT_FAIL, "nightly: 2026-11-20T02:00:00Z, its run: done", bad_newest, NULL},
    {"FRQ-2", AUDIT_PASS, "nightly: 30 of 30 came", running_newest, NULL},
    {"FRQ-2", AUDIT_WARN, "2026-11-18T02:00:00Z under another policy, no run on record",
     missed_under_another_policy, NULL},
    {"FRQ-3", AUDIT_PASS, "nightly: 1 of 1 runs ended well", nothing, NULL},
    {"FRQ-3", AUDIT_PASS, "nightly: 1 of 1 runs ended well", old_bad_runs, NULL},
    {"FRQ-3", AUDIT_FAIL, "nightly: 1 of 2 runs ended well", bad_runs, NULL},
    {"WAL-1", AUDIT_PASS, "timeline 1 is whole", nothing, NULL},
    {"WAL-1", AUDIT_PASS, "timeline 1 is whole", wal_gap_filling, NULL},
    {"WAL-1", AUDIT_FAIL, "1 segment lost: 00000001000000000000003D", wal_gap, NULL},
    {"WAL-1", AUDIT_FAIL, "no WAL is stored", no_wal, NULL},
    {"WAL-1", AUDIT_FAIL, "1 names of system 42 have two contents", wal_two_contents, NULL},
    {"WAL-2", AUDIT_PASS, "0 segments are on their way", nothing, NULL},
    {"WAL-2", AUDIT_FAIL, "9 finished segments are not stored", wal_behind, NULL},
    {"WAL-2", AUDIT_FAIL, "what is stored leads to 4h ago", wal_old_without_server, NULL},
    {"WAL-2", AUDIT_FAIL, "archive_mode is off", archiver_broken, NULL},
    {"WAL-2", AUDIT_WARN, "the last attempt failed", archiver_failing, NULL},
    {"WAL-3", AUDIT_PASS, "any moment from 2026-11-08T03:10:00Z on", nothing, NULL},
    {"WAL-3", AUDIT_WARN, "when the first snapshot ended", young_snapshots, NULL},
    {"WAL-3", AUDIT_FAIL, "recovery ends at", wal_lost_lately, NULL},
    {"WAL-3", AUDIT_FAIL, "no moment can be recovered", no_snapshots, NULL},
    {"WAL-4", AUDIT_PASS, "slot standby is in use", nothing, NULL},
    {"WAL-4", AUDIT_FAIL, "slot standby has lost its WAL", slot_lost, NULL},
    {"WAL-4", AUDIT_FAIL, "slot standby is not in use and holds 5.0 GB", slot_idle, NULL},
    {"RET-1", AUDIT_PASS, "1 deletion on record, each by the rules", nothing, NULL},
    {"RET-1", AUDIT_FAIL, "nightly: x was deleted 9d older than the newest", deleted_too_early,
     NULL},
    {"RET-1", AUDIT_FAIL, "the newest good one, b4, was deleted", deleted_newest, NULL},
    {"RET-1", AUDIT_FAIL, "x was deleted, one of the last 6", deleted_by_last, NULL},
    {"RET-1", AUDIT_FAIL, "nightly: x was deleted, which daily 6 wanted", deleted_by_daily, NULL},
    {"RET-1", AUDIT_PASS, "2 deletions on record", deleted_by_the_calendar, NULL},
    {"RET-1", AUDIT_FAIL, "nightly: y was deleted, which weekly 2 wanted", deleted_by_weekly, NULL},
    {"RET-1", AUDIT_WARN, "which daily 6 wanted, under another policy",
     deleted_under_another_policy, NULL},
    {"RET-1", AUDIT_WARN, "1 of 2 deletions could not be judged", deleted_of_a_lost_job, NULL},
    {"RET-2", AUDIT_PASS, "0 backups go at the next prune", nothing, NULL},
    {"RET-2", AUDIT_FAIL, "b0 is from", older_than_allowed, NULL},
    {"RET-2", AUDIT_FAIL, "b0 should be gone since two prunes", should_be_gone, NULL},
    {"RET-2", AUDIT_FAIL, "beyond the rules, and no job prunes", no_prune_job, NULL},
    {"RET-3", AUDIT_PASS, "it deletes 0 backups and frees 0 B", nothing, NULL},
    {"RET-3", AUDIT_FAIL, "a person must agree", plan_needs_force, NULL},
    {"RET-3", AUDIT_UNKNOWN, "nothing may be deleted", plan_refused, NULL},
    {"RET-4", AUDIT_PASS, "there are none", nothing, NULL},
    {"RET-4", AUDIT_PASS, "ann holds b0 without an end: case 7", hold_in_force, NULL},
    {"RET-4", AUDIT_WARN, "the hold of ann on b0 has ended", hold_ended, NULL},
    {"RET-4", AUDIT_UNKNOWN, "not all holds could be read", plan_refused, NULL},
    {"RET-5", AUDIT_SKIP, "the repository is a folder", nothing, NULL},
    {"RET-5", AUDIT_PASS, "bucket versioning: off", nothing, WORLD_BUCKET},
    {"RET-5", AUDIT_FAIL, "tidy", bucket_expires, WORLD_BUCKET},
    {"RET-5", AUDIT_UNKNOWN, "access denied", bucket_unreadable, WORLD_BUCKET},
    {"RET-6", AUDIT_PASS, "every object belongs", nothing, NULL},
    {"RET-6", AUDIT_FAIL, "1 foreign object of 12 B, such as c/dumps/notes.txt", foreign_object,
     NULL},
    {"RET-6", AUDIT_WARN, "1 unfinished backup of runs that died", garbage, NULL},
    {"RET-6", AUDIT_WARN, "2 writes that never ended, the oldest from 10d 10h ago", unfinished,
     NULL},
    {"INT-1", AUDIT_SKIP, "all objects of 0 backups", nothing_is_there, NULL},
    {"INT-1", AUDIT_PASS, "all objects of 33 backups", nothing, NULL},
    {"INT-1", AUDIT_FAIL, "b4/16384/data-0001.tar.zst is missing", object_missing, NULL},
    {"INT-1", AUDIT_FAIL, "b0 has 999 of 1000 bytes", object_shorter, NULL},
    {"INT-1", AUDIT_UNKNOWN, "the objects were not listed", contents_unknown, NULL},
    {"INT-2", AUDIT_SKIP, "0 can be read", nothing_is_there, NULL},
    {"INT-2", AUDIT_PASS, "33 can be read", nothing, NULL},
    {"INT-2", AUDIT_FAIL, "b6 holds blocks that the server had damaged", damaged, NULL},
    {"INT-2", AUDIT_UNKNOWN, "b1 can't be read", unreadable, NULL},
    {"INT-3", AUDIT_PASS, "dumps: proved to level 2 2d 4h ago", nothing, NULL},
    {"INT-3", AUDIT_PASS, "dumps: proved to level 2 4h ago", proved_by_catalogue, NULL},
    {"INT-3", AUDIT_WARN, "dumps: proved to level 1", proved_lightly, NULL},
    {"INT-3", AUDIT_FAIL, "dumps: never proved", never_proved, NULL},
    {"INT-3", AUDIT_FAIL, "dumps: proved to level 2 80d 10h ago", proved_long_ago, NULL},
    {"INT-3", AUDIT_FAIL, "dumps: the last proof, of 1d 4h ago, found faults", proof_failed, NULL},
    {"INT-3", AUDIT_FAIL, "snapshots: the last proof, of 1d 4h ago, found faults", all_found_faults,
     NULL},
    {"INT-3", AUDIT_FAIL, "the last verification, of 1d 4h ago, found faults", run_found_faults,
     NULL},
    {"INT-3", AUDIT_FAIL, "dumps: the last proof, of 1d 1h ago, found faults", fault_stays, NULL},
    {"INT-3", AUDIT_PASS, "dumps: proved to level 2", fault_is_mended, NULL},
    {"INT-3", AUDIT_FAIL, "WAL from 000000010000000000000003 on: a segment is broken",
     broken_segment, NULL},
    {"INT-3", AUDIT_PASS, "snapshots: proved to level 2", mended_segment, NULL},
    {"INT-3", AUDIT_WARN, "of 31 dumps were not proved in that time", proved_in_part, NULL},
    {"INT-4", AUDIT_PASS, "the median before is 5.0 kB", nothing, NULL},
    {"INT-4", AUDIT_WARN, "nightly: the newest read 2.0 kB", smaller, NULL},
    {"INT-4", AUDIT_FAIL, "nightly: the newest read 100 B", much_smaller, NULL},
    {"INT-4", AUDIT_FAIL, "nightly: the newest read 60 rows, the median before is 700 rows",
     fewer_rows, NULL},
    {"INT-5", AUDIT_SKIP, "0 records", nothing_is_there, NULL},
    {"INT-5", AUDIT_PASS, "7 records", nothing, NULL},
    {"INT-5", AUDIT_FAIL, "evidence record 3 is missing", chain_broken, NULL},
    {"INT-5", AUDIT_UNKNOWN, "access denied", chain_unread, NULL},
    {"INT-6", AUDIT_PASS, "data_checksums is on", nothing, NULL},
    {"INT-6", AUDIT_WARN, "data_checksums is off", checksums_off, NULL},
    {"INT-7", AUDIT_PASS, "2 on record, each is there or was deleted on record", nothing, NULL},
    {"INT-7", AUDIT_FAIL, "nightly: b0 is not there, and nobody deleted it on record", vanished,
     NULL},
    {"INT-7", AUDIT_PASS, "3 on record", made_just_now, NULL},
    {"INT-7", AUDIT_SKIP, "no record tells what was made", no_made, NULL},
    {"RST-1", AUDIT_PASS, "snapshot b6 passed 4d 4h ago", nothing, NULL},
    {"RST-1", AUDIT_FAIL, "none was ever tried", never_drilled, NULL},
    {"RST-1", AUDIT_FAIL, "failed: did not start", drill_failed, NULL},
    {"RST-1", AUDIT_FAIL, "the last one that passed was", drilled_long_ago, NULL},
    {"RST-1", AUDIT_UNKNOWN, "could not tell: no route to host", drill_unknown, NULL},
    {"RST-1", AUDIT_FAIL, "could not tell: no route to host", drill_unknown_and_late, NULL},
    {"RST-1", AUDIT_FAIL, "drill: the last one, of 4d 4h ago, failed", drills_of_two, TWO_DRILLS},
    {"RST-2", AUDIT_FAIL, "drill: it took 2h", drills_of_two_slow, TWO_DRILLS},
    {"RST-2", AUDIT_UNKNOWN, "redrill: the drill does not tell", drills_of_two, TWO_DRILLS},
    {"RST-2", AUDIT_PASS, "it took 10m", nothing, NULL},
    {"RST-2", AUDIT_FAIL, "it took 2h", drill_slow, NULL},
    {"RST-2", AUDIT_UNKNOWN, "does not tell", drill_untimed, NULL},
    {"RST-2", AUDIT_SKIP, "no drill has passed yet", never_drilled, NULL},
    {"RST-3", AUDIT_PASS, "1 of 1 drills", nothing, NULL},
    {"RST-3", AUDIT_WARN, "0 of 1 drills", drill_latest, NULL},
    {"ACC-1", AUDIT_PASS, "TLS with sslmode=verify-full", nothing, NULL},
    {"ACC-1", AUDIT_PASS, "the server is on this machine", local_server, NULL},
    {"ACC-1", AUDIT_WARN, "sslmode=require", weak_tls, NULL},
    {"ACC-1", AUDIT_FAIL, "not encrypted (sslmode=disable)", no_tls, NULL},
    {"ACC-2", AUDIT_PASS, "AWS, by https", nothing, WORLD_BUCKET},
    {"ACC-2", AUDIT_FAIL, "http://minio:9000 is not encrypted", plain_endpoint, WORLD_BUCKET},
    {"ACC-2", AUDIT_PASS, "is on this machine", local_endpoint, WORLD_BUCKET},
    {"ACC-2", AUDIT_FAIL, "is not encrypted", deceiving_endpoint, WORLD_BUCKET},
    {"ACC-3", AUDIT_PASS, "by AWS", nothing, WORLD_BUCKET},
    {"ACC-3", AUDIT_PASS, "AES256", asks_for_sse, WORLD_BUCKET},
    {"ACC-3", AUDIT_WARN, "not asked for", plain_endpoint, WORLD_BUCKET},
    {"ACC-3", AUDIT_WARN, "a folder", nothing, NULL},
    {"ACC-4", AUDIT_PASS, "has mode 0600", nothing, NULL},
    {"ACC-4", AUDIT_FAIL, "can be changed by others (mode 0666)", writable_file, NULL},
    {"ACC-4", AUDIT_PASS, "has mode 0644", readable_policy, NULL},
    {"ACC-4", AUDIT_FAIL, "can be read by others (mode 0755)", open_repository, NULL},
    {"ACC-4", AUDIT_WARN, "is shared: its group can change it (mode 2770)", shared_repository,
     NULL},
    {"ACC-4", AUDIT_FAIL, "can be changed by others (mode 0770)", group_repository, NULL},
    {"ACC-4", AUDIT_FAIL, "belongs to another user", foreign_file, NULL},
    {"ACC-5", AUDIT_PASS, "backup is no superuser", nothing, NULL},
    {"ACC-5", AUDIT_WARN, "backup is a superuser", superuser, NULL},
    {"ACC-6", AUDIT_PASS, "it refuses both", nothing, WORLD_BUCKET},
    {"ACC-6", AUDIT_SKIP, "the repository is a folder", nothing, NULL},
    {"ACC-6", AUDIT_FAIL, "anybody can list s3://bucket/p", public_list, WORLD_BUCKET},
    {"ACC-6", AUDIT_FAIL, "anybody can read s3://bucket/p/pgcairn.json", public_read, WORLD_BUCKET},
    {"ACC-6", AUDIT_UNKNOWN, "it answers 301", public_unknown, WORLD_BUCKET},
    {"ACC-6", AUDIT_UNKNOWN, "it was not asked", bucket_unreadable, WORLD_BUCKET},
    {"SCH-1", AUDIT_PASS, "its last sign of life was 30s ago", nothing, NULL},
    {"SCH-1", AUDIT_FAIL, "its last sign of life was 2h ago", dead_daemon, NULL},
    {"SCH-1", AUDIT_WARN, "no daemon ever ran here", no_daemon, NULL},
    {"SCH-2", AUDIT_PASS, "the server's clock differs by 20ms", nothing, NULL},
    {"SCH-2", AUDIT_FAIL, "the server's clock differs by 5m", clock_ahead, NULL},
    {"SCH-2", AUDIT_FAIL, "the repository's clock differs by 5m", store_clock_behind, WORLD_BUCKET},
    {"SCH-3", AUDIT_PASS, "1 audits on record", nothing, NULL},
    {"SCH-3", AUDIT_WARN, "changed by 2026-11-20T07:00:00Z to 00ff00", policy_changed, NULL},
    {"SCH-4", AUDIT_PASS, "prune: done 4h 45m ago", nothing, NULL},
    {"SCH-4", AUDIT_FAIL, "prune: failed 4h ago: needs force", prune_failed, NULL},
    {"SCH-4", AUDIT_PASS, "prune: done 4h ago", prune_elsewhere, NULL},
    /* The others speak; of what is left to another there is nothing to say against. */
    {"SCH-4", AUDIT_PASS, "wal: done 1h ago; tidy: done 5d 5h ago", prune_left, NULL},
    {"SCH-4", AUDIT_FAIL, "prune: last ran 2d 4h ago", prune_late, NULL},
    {"SCH-5", AUDIT_PASS, "of all 6 scheduled jobs", nothing, TELLS("")},
    {"SCH-5", AUDIT_WARN, "wal: nobody is told when it fails", nothing, TELLS(", job: [nightly]")},
    {"SCH-5", AUDIT_WARN, "nobody is told when a job fails", nothing, TELLS(", on: [success]")},
    {"SCH-5", AUDIT_WARN, "nobody is told when a job fails", nothing, NULL},
    {"MNT-1", AUDIT_PASS, "app: 0% of the way", nothing, NULL},
    {"MNT-1", AUDIT_WARN, "app: 13% of the way", freeze_late, NULL},
    {"MNT-1", AUDIT_FAIL, "app: 74% of the way", wraparound, NULL},
    {"MNT-2", AUDIT_PASS, "none", nothing, NULL},
    {"MNT-2", AUDIT_WARN, "app: t_a_idx", invalid_index, NULL},
    {"MNT-3", AUDIT_PASS, "nothing does", nothing, NULL},
    {"MNT-3", AUDIT_WARN, "prepared transaction gid", holder, NULL},
    {"MNT-4", AUDIT_PASS, "all databases have", nothing, NULL},
    {"MNT-4", AUDIT_WARN, "app was built with another version", old_collation, NULL},
};

/* The gravest that these can say: they are advice. */
static const char *const ADVICE[] = {"RET-4", "INT-6", "RST-3", "ACC-3", "ACC-5", "COV-4",
                                     "SCH-3", "SCH-5", "MNT-2", "MNT-3", "MNT-4"};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
        struct world world;
        world_init(&world, ROWS[i].policy ? ROWS[i].policy : WORLD_FOLDER);
        ROWS[i].change(&world);
        world_judge(&world);
        const struct audit_finding *finding = world_finding(&world, ROWS[i].id);
        if (finding->status != ROWS[i].want || !strstr(finding->observed, ROWS[i].says))
            fail_msg("row %zu, %s: wanted %s \"%s\", got %s \"%s\"", i, ROWS[i].id,
                     audit_status_name(ROWS[i].want), ROWS[i].says,
                     audit_status_name(finding->status), finding->observed);
        world_clear(&world);
    }
}

static bool is_advice(const char *id)
{
    for (size_t i = 0; i < ARRAY_SIZE(ADVICE); i++)
        if (strcmp(ADVICE[i], id) == 0)
            return true;
    return false;
}

static bool has_row(const char *id, enum audit_status status)
{
    for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++)
        if (strcmp(ROWS[i].id, id) == 0 && ROWS[i].want == status)
            return true;
    return false;
}

static void test_every_control_fails_and_passes(void **state)
{
    (void)state;
    for (size_t i = 0; i < audit_control_count; i++) {
        const char *id = audit_controls[i].id;
        if (!has_row(id, AUDIT_PASS) || !has_row(id, is_advice(id) ? AUDIT_WARN : AUDIT_FAIL))
            fail_msg("%s has no row in which it fails, or none in which it passes", id);
    }
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < audit_control_count; i++) {
        const struct audit_control *control = &audit_controls[i];
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(control->id, audit_controls[j].id);
        assert_true(*control->title && *control->remedy && *control->group);
        assert_true(*control->soc2 || *control->iso);
        assert_non_null(control->judge);
    }
    assert_true(audit_control_count <= AUDIT_CONTROLS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows),
                                       cmocka_unit_test(test_every_control_fails_and_passes),
                                       cmocka_unit_test(test_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
