#include "store/s3_object.h"

#include <string.h>

enum { HEAD_ATTEMPTS = 3 };

/* A HEAD answers 404 without a word on what is missing; a GET says it. 0: the object is there. */
static int ask_what_is_missing(struct s3_store *store, const char *full_key, struct error *err)
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

int s3_head(struct s3_store *store, const char *full_key, struct s3_reply *ret_reply,
            struct error *err)
{
    struct s3_request request = {.method = "HEAD", .action = "s3:GetObject", .key = full_key};
    int rc = ERR_NOT_FOUND;
    for (int i = 0; i < HEAD_ATTEMPTS && rc == ERR_NOT_FOUND; i++) {
        rc = s3_perform(store, &request, ret_reply, err);
        if (rc != ERR_NOT_FOUND)
            break;
        int asked = ask_what_is_missing(store, full_key, err);
        if (asked)
            return asked;
        /* It has come meanwhile: look again. */
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
