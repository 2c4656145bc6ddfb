#include "retention/bucket.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/units.h"
#include "retention/cadence.h"
#include "retention/items.h"
#include "retention/rules.h"

#define DAY_S INT64_C(86400)

/* A cluster's folders, and what it costs when the store itself deletes there. */
static const struct {
    const char *name;
    bool is_backup; /* may go when no rule wants it any more; the rest may never */
} FOLDERS[] = {
    {"dumps/", true},  {"snapshots/", true}, {"wal/", false},
    {"holds/", false}, {"evidence/", false}, {"cluster.json", false},
};

struct judging {
    const struct facts_bucket *bucket;
    const struct policy *policy;
    int64_t reach_s; /* how old what is kept may get; INT64_MAX: for ever */
    bool rule_removes_versions, rule_aborts;
    struct retention_findings *findings;
};

static void find(struct judging *judging, const char *id, enum finding_status status,
                 const char *cure, const char *format, ...) _printf_(5, 6);

static void find(struct judging *judging, const char *id, enum finding_status status,
                 const char *cure, const char *format, ...)
{
    struct retention_findings *findings = judging->findings;
    if (findings->count == FINDINGS_MAX)
        return;
    struct retention_finding *finding = &findings->items[findings->count++];
    *finding = (struct retention_finding){.id = id, .status = status, .cure = cure};
    va_list args;
    va_start(args, format);
    vsnprintf(finding->observed, sizeof(finding->observed), format, args);
    va_end(args);
}

const char *finding_status_name(enum finding_status status)
{
    static const char *const NAMES[] = {[FINDING_PASS] = "pass",
                                        [FINDING_WARN] = "warn",
                                        [FINDING_FAIL] = "fail",
                                        [FINDING_UNKNOWN] = "unknown"};
    return NAMES[status];
}

/* -- how long the policy keeps ------------------------------------------------------------------
 */

static int64_t find_reach(const struct policy *policy, const struct retention_zones *zones,
                          int64_t now_us)
{
    int64_t reach_s = 0;
    for (size_t i = 0; i < policy->job_count; i++) {
        const struct policy_job *job = &policy->jobs[i];
        enum backup_kind kind;
        if (!job_makes_backups(job, &kind))
            continue;
        if (!job->keep.is_set || !rules_any(&job->keep))
            return INT64_MAX;
        struct cadence cadence = cadence_of(policy, zones, job, now_us);
        int64_t job_reach_s = cadence_reach(&cadence, &job->keep);
        if (job_reach_s > reach_s)
            reach_s = job_reach_s;
    }
    return reach_s;
}

static const char *reach_text(const struct judging *judging, char text[UNITS_TEXT_MAX])
{
    return judging->reach_s == INT64_MAX ? "for ever"
                                         : duration_format(judging->reach_s * US_PER_SECOND, text);
}

/* -- what a rule covers -------------------------------------------------------------------------
 */

/* Whether some object whose key begins with one begins with the other too. */
static bool overlap(const char *a, const char *b)
{
    size_t a_length = strlen(a), b_length = strlen(b);
    return strncmp(a, b, a_length < b_length ? a_length : b_length) == 0;
}

static bool covers(const struct judging *judging, const struct facts_rule *rule, size_t folder)
{
    char key[2048];
    const char *prefix = judging->bucket->prefix;
    snprintf(key, sizeof(key), "%s%s%s/%s", prefix, *prefix ? "/" : "", judging->policy->cluster,
             FOLDERS[folder].name);
    return overlap(rule->prefix, key);
}

/* The first folder that the rule reaches into: those of backups when is_backup, else the others.
 * NULL for none. */
static const char *covered(const struct judging *judging, const struct facts_rule *rule,
                           bool is_backup)
{
    for (size_t i = 0; i < ARRAY_SIZE(FOLDERS); i++)
        if (FOLDERS[i].is_backup == is_backup && covers(judging, rule, i))
            return FOLDERS[i].name;
    return NULL;
}

/* Which objects a filter by tag or size picks is not known. */
static enum finding_status weigh(const struct facts_rule *rule, enum finding_status status)
{
    return rule->is_filtered && status == FINDING_FAIL ? FINDING_WARN : status;
}

static const char CURE_EXPIRY[] =
    "take the rule away, or give it a prefix outside of this repository: prune deletes what no "
    "keep: rule wants";

static bool judge_expiry(struct judging *judging, const struct facts_rule *rule)
{
    const char *kept = covered(judging, rule, false), *backups = covered(judging, rule, true);
    const char *some = rule->is_filtered ? ", of some objects" : "";
    char reach[UNITS_TEXT_MAX];
    if (rule->expire_days <= 0 || (!kept && !backups))
        return false;
    if (backups && rule->expire_days * DAY_S < judging->reach_s)
        find(judging, "bucket lifecycle", weigh(rule, FINDING_FAIL), CURE_EXPIRY,
             "rule \"%.100s\" deletes in %s after %d days%s; the policy keeps backups %s", rule->id,
             backups, rule->expire_days, some, reach_text(judging, reach));
    else if (kept)
        find(judging, "bucket lifecycle", weigh(rule, FINDING_FAIL), CURE_EXPIRY,
             "rule \"%.100s\" deletes in %s after %d days%s, which must stay", rule->id, kept,
             rule->expire_days, some);
    else
        find(judging, "bucket lifecycle", FINDING_WARN, CURE_EXPIRY,
             "rule \"%.100s\" deletes in %s by age alone, after %d days%s: when no new backups are "
             "made, the last good one goes too",
             rule->id, backups, rule->expire_days, some);
    return true;
}

static bool is_frozen_class(const char *storage_class)
{
    return strcmp(storage_class, "GLACIER") == 0 || strcmp(storage_class, "DEEP_ARCHIVE") == 0;
}

static bool judge_transition(struct judging *judging, const struct facts_rule *rule)
{
    const char *folder = covered(judging, rule, true);
    if (!folder)
        folder = covered(judging, rule, false);
    if (rule->transition_days == 0 || !folder || !is_frozen_class(rule->storage_class))
        return false;
    bool is_later = rule->transition_days > 0 && covered(judging, rule, true) &&
                    !covered(judging, rule, false) &&
                    rule->transition_days * DAY_S > judging->reach_s;
    find(judging, "bucket lifecycle", is_later ? FINDING_WARN : weigh(rule, FINDING_FAIL),
         "take the rule away; storage_class: STANDARD_IA or GLACIER_IR costs less too, and can be "
         "read at once",
         "rule \"%.100s\" moves what lies in %s to %s%s: it can't be read before a restore that "
         "takes hours, and then nothing can be listed, pruned or restored",
         rule->id, folder, rule->storage_class, rule->is_filtered ? ", of some objects" : "");
    return true;
}

static void judge_rules(struct judging *judging)
{
    const struct facts_bucket *bucket = judging->bucket;
    size_t harmful = 0, enabled = 0;
    if (bucket->rules_problem[0]) {
        find(judging, "bucket lifecycle", FINDING_UNKNOWN,
             "allow the key s3:GetLifecycleConfiguration on the bucket, or look at the rules "
             "yourself: none may delete below this repository",
             "the rules can't be read: %s", bucket->rules_problem);
        return;
    }
    for (size_t i = 0; i < bucket->rule_count; i++) {
        const struct facts_rule *rule = &bucket->rules[i];
        if (!rule->is_enabled)
            continue;
        enabled++;
        bool covers_ours = covered(judging, rule, true) && !rule->is_filtered;
        judging->rule_removes_versions |= covers_ours && rule->noncurrent_days > 0;
        judging->rule_aborts |= covers_ours && rule->abort_days > 0;
        harmful += judge_expiry(judging, rule);
        harmful += judge_transition(judging, rule);
    }
    if (harmful == 0)
        find(judging, "bucket lifecycle", FINDING_PASS, NULL,
             "%zu rule%s in force, none deletes or moves what is kept here; unfinished uploads are "
             "aborted by %s",
             enabled, enabled == 1 ? "" : "s",
             judging->rule_aborts ? "a rule, and by prune" : "prune");
}

/* -- versions, locks, creating ------------------------------------------------------------------
 */

static void judge_versioning(struct judging *judging)
{
    const struct facts_bucket *bucket = judging->bucket;
    if (bucket->versioning_problem[0])
        find(judging, "bucket versioning", FINDING_UNKNOWN,
             "allow the key s3:GetBucketVersioning on the bucket", "it can't be read: %s",
             bucket->versioning_problem);
    else if (!bucket->is_versioned)
        find(judging, "bucket versioning", FINDING_PASS, NULL, "off: what prune deletes is gone");
    else if (bucket->can_delete)
        find(judging, "bucket versioning", FINDING_PASS, NULL,
             "on: prune deletes every version of what it deletes");
    else if (judging->rule_removes_versions)
        find(judging, "bucket versioning", FINDING_PASS, NULL,
             "on: a lifecycle rule removes the versions that prune leaves");
    else
        find(judging, "bucket versioning", FINDING_WARN,
             "allow the key s3:ListBucketVersions and s3:DeleteObjectVersion, or add a lifecycle "
             "rule that expires noncurrent versions",
             "on, and the key can't delete versions: what prune deletes stays as versions, and is "
             "paid for");
}

static void judge_locks(struct judging *judging)
{
    const struct facts_bucket *bucket = judging->bucket;
    enum s3_object_lock wanted = judging->policy->s3.object_lock;
    if (bucket->lock_problem[0])
        find(judging, "bucket object lock", FINDING_UNKNOWN,
             "allow the key s3:GetBucketObjectLockConfiguration on the bucket",
             "it can't be read: %s", bucket->lock_problem);
    else if (wanted != S3_LOCK_OFF && !bucket->allows_locks)
        find(judging, "bucket object lock", FINDING_FAIL,
             "turn on versioning and object lock for the bucket, or take object_lock: out of the "
             "policy",
             "off, and the policy has object_lock: %s", s3_lock_words[wanted]);
    else if (bucket->locks_by_default)
        find(judging, "bucket object lock", FINDING_WARN,
             "take the default retention off the bucket, and set object_lock: in the policy, which "
             "locks backups alone",
             "the bucket locks everything for %d days by default, lock records and heartbeats too: "
             "what is deleted stays that long",
             bucket->default_lock_days);
    else
        find(judging, "bucket object lock", FINDING_PASS, NULL, "%s",
             wanted != S3_LOCK_OFF ? s3_lock_words[wanted] : "not asked for");
}

static void judge_creating(struct judging *judging)
{
    if (judging->bucket->creates_may_race)
        find(judging, "bucket conditional create", FINDING_WARN,
             "run jobs of one cluster on one host, or use a service that has If-None-Match",
             "the service has no If-None-Match: of two hosts that begin at the same moment both "
             "may think that they were first");
    else
        find(judging, "bucket conditional create", FINDING_PASS, NULL,
             "two hosts can't create the same object");
}

void retention_judge_bucket(const struct facts_bucket *bucket, const struct policy *policy,
                            const struct retention_zones *zones, int64_t now_us,
                            struct retention_findings *ret_findings)
{
    ret_findings->count = 0;
    struct judging judging = {.bucket = bucket,
                              .policy = policy,
                              .reach_s = find_reach(policy, zones, now_us),
                              .findings = ret_findings};
    judge_creating(&judging);
    judge_rules(&judging);
    judge_versioning(&judging);
    judge_locks(&judging);
}
