#include "work/open_repository.h"

#include <string.h>

#include "base/buf.h"
#include "retention/retention.h"
#include "work/zones.h"

enum { TAGS_TEXT_MAX = 32 << 10 }; /* ten tags, every byte as %XX */

static const enum store_addressing ADDRESSINGS[] = {
    [S3_ADDRESSING_AUTO] = STORE_ADDRESSING_AUTO,
    [S3_ADDRESSING_PATH] = STORE_ADDRESSING_PATH,
    [S3_ADDRESSING_VIRTUAL] = STORE_ADDRESSING_VIRTUAL,
};

static const enum store_lock_mode LOCK_MODES[] = {
    [S3_LOCK_OFF] = STORE_LOCK_OFF,
    [S3_LOCK_GOVERNANCE] = STORE_LOCK_GOVERNANCE,
    [S3_LOCK_COMPLIANCE] = STORE_LOCK_COMPLIANCE,
};

static bool is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           strchr("-._~", c);
}

static void add_encoded(struct buf *text, const char *part, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (is_unreserved(part[i]))
            buf_add(text, &part[i], 1);
        else
            buf_addf(text, "%%%02X", (unsigned char)part[i]);
}

/* "team=data&tier=backup", as the header x-amz-tagging has it. */
static int encode_tags(const struct strv *tags, struct buf *text, struct error *err)
{
    for (size_t i = 0; i < tags->count; i++) {
        const char *value = strchr(tags->items[i], '=') + 1;
        buf_add_text(text, i ? "&" : "");
        add_encoded(text, tags->items[i], (size_t)(value - tags->items[i]) - 1);
        buf_add_text(text, "=");
        add_encoded(text, value, strlen(value));
    }
    return buf_failed(text, "the tags", err);
}

static int find_retain(const struct policy *policy, const struct policy_job *job,
                       int64_t *ret_retain_us, struct error *err)
{
    _cleanup_(zones_clear) struct zones zones = {0};
    int rc = zones_load(policy, &zones, err);
    return rc ? rc
              : retention_lock_us(policy, &zones.view, job, instant_now_us(), ret_retain_us, err);
}

int work_open_repository(const struct policy *policy, const struct policy_job *job,
                         struct repository **ret_repository, struct error *err)
{
    const struct policy_s3 *s3 = &policy->s3;
    _cleanup_(buf_clear) struct buf tags = BUF_INIT(TAGS_TEXT_MAX);
    int64_t retain_us = 0;
    int rc = encode_tags(&s3->tags, &tags, err);
    if (!rc && job && s3->object_lock != S3_LOCK_OFF)
        rc = find_retain(policy, job, &retain_us, err);
    if (rc)
        return rc;
    const struct store_options options = {.s3 = {.region = s3->region,
                                                 .endpoint = s3->endpoint,
                                                 .addressing = ADDRESSINGS[s3->addressing],
                                                 .access_key_id = s3->access_key_id,
                                                 .secret_access_key = s3->secret_access_key,
                                                 .session_token = s3->session_token,
                                                 .profile = s3->profile,
                                                 .ca_file = s3->ca_file,
                                                 .storage_class = s3->storage_class,
                                                 .sse = s3_sse_words[s3->sse],
                                                 .kms_key_id = s3->kms_key_id,
                                                 .tags = buf_text(&tags),
                                                 .object_lock = LOCK_MODES[s3->object_lock],
                                                 .retain_us = retain_us,
                                                 .retry_us = s3->retry_us}};
    return repository_open(policy->repository_url, &options, policy->cluster, ret_repository, err);
}
