#include "store/s3_object.h"

#include <string.h>

enum { HEAD_ATTEMPTS = 3 };

/* The reply to a HEAD has no document: whether the key or the bucket is missing, a right or the
 * right time, only the reply to a GET says, and from it the region, the clock and new credentials
 * are learnt. 0: the object can be read. */
static int ask_why(struct s3_store *store, const char *full_key, struct error *err)
{
    char byte;
    struct s3_range range = {.data = &byte, .length = 1, .total = -1};
    struct s3_reply reply = S3_REPLY_INIT;
    struct s3_request request = {
        .method = "GET",
        .action = "s3:GetObject",
        .key = full_key,
        .range = &range,
    };
    int rc = s3_perform(store, &request, &reply, err);
    s3_reply_clear(&reply);
    return rc;
}

static bool is_refused(const struct s3_reply *reply)
{
    return reply->status == 400 || reply->status == 401 || reply->status == 403 ||
           reply->status == 404;
}

int s3_head(struct s3_store *store, const char *full_key, struct s3_reply *ret_reply,
            struct error *err)
{
    struct s3_request request = {.method = "HEAD", .action = "s3:GetObject", .key = full_key};
    int rc = 0;
    for (int i = 0; i < HEAD_ATTEMPTS; i++) {
        rc = s3_perform(store, &request, ret_reply, err);
        if (!rc || !is_refused(ret_reply))
            break;
        int asked = ask_why(store, full_key, err);
        if (asked)
            return asked;
        /* It has come meanwhile, or is understood now: look again. */
    }
    return rc;
}

int s3_check_stored(const struct s3_reply *reply, const struct s3_digest *md5,
                    const struct s3_digest *sha256, struct error *err)
{
    if (!reply->has_opaque_etag && strcmp(reply->etag, md5->hex) != 0)
        return error_set(err, ERR_CORRUPT, "the service stored ETag %s, sent was %s",
                         reply->etag[0] ? reply->etag : "(none)", md5->hex);
    if (reply->checksum_sha256[0] && strcmp(reply->checksum_sha256, sha256->base64) != 0)
        return error_set(err, ERR_CORRUPT, "the service stored SHA-256 %s, sent was %s",
                         reply->checksum_sha256, sha256->base64);
    return 0;
}

int64_t s3_locked_until(const struct s3_reply *reply)
{
    return reply->legal_hold ? INT64_MAX : reply->locked_until_us;
}
