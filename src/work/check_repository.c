/* The repository, as the jobs will use it: each right is tried by itself with one small object, for
 * each has its own cure; then a bucket's settings are held against the policy. */
#include "work/bucket_rules.h"
#include "work/checking.h"

#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/units.h"
#include "repository/repository.h"
#include "retention/bucket.h"
#include "work/check.h"
#include "work/open_repository.h"
#include "work/zones.h"

enum { TEXT_LIMIT = 64 << 10 };

static const char CONTENT[] = "pgcairn check";

struct probe {
    struct checking *checking;
    struct repository *repository;
    char key[STORE_KEY_MAX + 1];
    bool is_s3, is_written, is_deleted;
};

/* A right that is missing is cured where rights are given, anything else where the error says. */
static void note_failed(const struct probe *probe, const char *id, const char *cure,
                        const struct error *error)
{
    check_note_error(probe->checking, id,
                     probe->is_s3 && error->code == ERR_PERMISSION ? cure : NULL, error);
}

static void try_writing(struct probe *probe)
{
    struct error error = ERROR_NONE;
    if (store_put(probe->repository->store, probe->key, CONTENT, sizeof(CONTENT), STORE_IF_ABSENT,
                  &error)) {
        note_failed(probe, "repository write",
                    "allow the key s3:PutObject below the prefix, and the KMS key's "
                    "kms:GenerateDataKey where sse: aws:kms is set",
                    &error);
        return;
    }
    probe->is_written = true;
    check_note(probe->checking, "repository write", "pass", NULL, "%s can be written in",
               probe->checking->policy->repository_url);
}

static void try_creating(struct probe *probe)
{
    struct error error = ERROR_NONE;
    int rc = store_put(probe->repository->store, probe->key, CONTENT, sizeof(CONTENT),
                       STORE_IF_ABSENT, &error);
    if (rc == 0)
        check_note(probe->checking, "repository create", "fail",
                   "use another service: locks and evidence need it",
                   "an object that was there was created a second time");
    else if (rc != ERR_EXISTS)
        note_failed(probe, "repository create", "allow the key s3:PutObject below the prefix",
                    &error);
    else
        check_note(probe->checking, "repository create", "pass", NULL,
                   "what is there is not created a second time");
}

static void try_reading(struct probe *probe)
{
    struct error error = ERROR_NONE;
    _cleanup_(buf_clear) struct buf back = BUF_INIT(TEXT_LIMIT);
    int rc = store_get(probe->repository->store, probe->key, &back, &error);
    if (!rc && (back.length != sizeof(CONTENT) || memcmp(back.data, CONTENT, back.length) != 0))
        rc = error_set(&error, ERR_CORRUPT, "what was read back is not what was written");
    if (rc)
        note_failed(probe, "repository read",
                    "allow the key s3:GetObject below the prefix, and the KMS key's kms:Decrypt "
                    "where sse: aws:kms is set",
                    &error);
    else
        check_note(probe->checking, "repository read", "pass", NULL,
                   "what was written was read back");
}

static int note_key(const struct store_object *object, void *context, struct error *err)
{
    (void)err;
    struct probe *probe = context;
    return strcmp(object->key, probe->key) == 0; /* 1, which is no error code: it is there */
}

static void try_listing(struct probe *probe)
{
    struct error error = ERROR_NONE;
    int rc = store_list(probe->repository->store, probe->key, false, note_key, probe, &error);
    if (rc < 0)
        note_failed(probe, "repository list", "allow the key s3:ListBucket on the bucket", &error);
    else if (rc == 0 && probe->is_written)
        check_note(probe->checking, "repository list", "fail",
                   "use a service whose listings show at once what was written",
                   "what was written is not listed");
    else
        check_note(probe->checking, "repository list", "pass", NULL, "it can be listed");
}

static int note_none(const struct store_object *object, void *context, struct error *err)
{
    (void)object;
    (void)context;
    (void)err;
    return 0;
}

static void try_unfinished(struct probe *probe)
{
    struct error error = ERROR_NONE;
    struct store *store = probe->repository->store;
    int rc = store_list_unfinished(store, 0, note_none, NULL, &error);
    if (!rc)
        rc = store_remove_unfinished(store, probe->key, INT64_MAX, &error);
    if (rc)
        note_failed(probe, "repository unfinished writes",
                    "allow the key s3:ListBucketMultipartUploads on the bucket and "
                    "s3:AbortMultipartUpload below the prefix",
                    &error);
    else
        check_note(probe->checking, "repository unfinished writes", "pass", NULL,
                   "what dead runs leave behind can be found");
}

static void try_deleting(struct probe *probe)
{
    struct error error = ERROR_NONE;
    int rc = store_delete(probe->repository->store, probe->key, &error);
    probe->is_deleted = rc == 0;
    if (rc == ERR_LOCKED)
        check_note(probe->checking, "repository delete", "warn",
                   "take the default retention off the bucket: it locks lock records too", "%s",
                   error.message);
    else if (rc)
        note_failed(probe, "repository delete",
                    "allow the key s3:DeleteObject below the prefix, and in a versioned bucket "
                    "s3:DeleteObjectVersion and s3:ListBucketVersions",
                    &error);
    else
        check_note(probe->checking, "repository delete", "pass", NULL, "it can be deleted in");
}

/* What a key without the first right can't show of the others. */
static void note_untried(struct probe *probe)
{
    static const char *const IDS[] = {"repository create", "repository read", "repository delete"};
    for (size_t i = 0; i < ARRAY_SIZE(IDS); i++)
        check_note(probe->checking, IDS[i], "unknown", "mend repository write first",
                   "not tried: nothing could be written");
}

/* -- the bucket ---------------------------------------------------------------------------------
 */

static void judge(const struct probe *probe, const struct facts_bucket *bucket)
{
    const struct policy *policy = probe->checking->policy;
    struct error error = ERROR_NONE;
    _cleanup_(zones_clear) struct zones zones = {0};
    _cleanup_(freep) struct retention_findings *findings = calloc(1, sizeof(*findings));
    if (!findings)
        error_no_memory(&error);
    else
        zones_load(policy, &zones, &error);
    if (error.code) {
        check_note_error(probe->checking, "bucket", NULL, &error);
        return;
    }
    retention_judge_bucket(bucket, policy, &zones.view, instant_now_us(), findings);
    for (size_t i = 0; i < findings->count; i++) {
        const struct retention_finding *finding = &findings->items[i];
        check_note(probe->checking, finding->id, finding_status_name(finding->status),
                   finding->cure, "%s", finding->observed);
    }
}

/* Signatures of a clock that is 15 minutes off are refused, and ages are judged by both clocks. */
static void check_store_clock(const struct probe *probe, int64_t offset_us)
{
    char text[UNITS_TEXT_MAX];
    if (offset_us == INSTANT_NONE)
        return;
    bool is_good = offset_us < CHECK_SKEW_MAX_US && offset_us > -CHECK_SKEW_MAX_US;
    int64_t seconds = offset_us / US_PER_SECOND;
    check_note(probe->checking, "bucket clock", is_good ? "pass" : "fail",
               is_good ? NULL : "run NTP on this machine",
               "the service's clock differs from this one by %s",
               duration_format((seconds < 0 ? -seconds : seconds) * US_PER_SECOND, text));
}

static void check_bucket(const struct probe *probe)
{
    struct error error = ERROR_NONE;
    struct store_traits traits;
    if (store_read_traits(probe->repository->store, &traits, &error)) {
        check_note_error(probe->checking, "bucket", NULL, &error);
        return;
    }
    check_store_clock(probe, traits.clock_offset_us);
    const char *slash = strchr(probe->checking->policy->repository_url + strlen("s3://"), '/');
    _cleanup_(freep) struct facts_rule *rules = calloc(traits.rule_count + 1, sizeof(*rules));
    const struct facts_bucket bucket = {
        .prefix = slash ? slash + 1 : "",
        .is_versioned = traits.versioning != STORE_VERSIONING_OFF,
        .allows_locks = traits.object_lock,
        .locks_by_default = traits.default_lock != STORE_LOCK_OFF,
        .default_lock_days = traits.default_lock_days,
        .creates_may_race = traits.creates_may_race,
        .can_delete = probe->is_deleted,
        .rules = rules,
        .rule_count = traits.rule_count,
        .versioning_problem = traits.versioning_problem,
        .lock_problem = traits.lock_problem,
        .rules_problem = traits.rules_problem,
    };
    if (rules) {
        for (size_t i = 0; i < traits.rule_count; i++)
            rules[i] = bucket_rule(&traits.rules[i]);
        judge(probe, &bucket);
    } else {
        error_no_memory(&error);
        check_note_error(probe->checking, "bucket", NULL, &error);
    }
    store_traits_clear(&traits);
}

void check_repository(struct checking *checking)
{
    struct error error = ERROR_NONE;
    char suffix[9];
    const struct policy *policy = checking->policy;
    _cleanup_(repository_freep) struct repository *repository = NULL;
    struct probe probe = {.checking = checking,
                          .is_s3 = strncmp(policy->repository_url, "s3://", 5) == 0};
    int rc = work_open_repository(policy, NULL, &repository, &error);
    if (!rc)
        rc = file_random_name(suffix, sizeof(suffix) - 1, &error);
    if (!rc)
        rc = repository_key(repository, probe.key, &error, "locks/check-%s", suffix);
    if (rc) {
        check_note_error(checking, "repository", NULL, &error);
        return;
    }
    probe.repository = repository;
    try_writing(&probe);
    if (probe.is_written) {
        try_creating(&probe);
        try_reading(&probe);
    }
    try_listing(&probe);
    try_unfinished(&probe);
    if (probe.is_written)
        try_deleting(&probe);
    else
        note_untried(&probe);
    if (probe.is_s3)
        check_bucket(&probe);
}
