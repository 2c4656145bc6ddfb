/*
 * One request to the bucket, with everything that may happen to it.
 *
 *     struct s3_request request = {.method = "GET", .action = "s3:GetObject", .key = full_key};
 *     s3_add_param(&request, "uploadId", id);          by name, in any order
 *     s3_add_header(&request, "x-amz-acl", "private"); lower case
 *     struct s3_reply reply = S3_REPLY_INIT;
 *     rc = s3_perform(store, &request, &reply, err);
 *     ... reply.status, reply.etag, reply.body ...     also after a failure, as far as there are
 * any s3_reply_clear(&reply);
 *
 * Every attempt is signed anew, with credentials that live, for the region that was learnt, by the
 * service's clock. Tried again within the budget: network failures, stalls (less than
 * S3_STALL_BYTES a second), 408, 429, 5xx, SlowDown and its like, damage in transit (BadDigest, a
 * reply cut short, a failed check), an <Error> inside a 200. Learnt and tried at once: the region,
 * the clock, new credentials. All else fails at once. A failure names the first cause and counts
 * the attempts.
 *
 * Errors: ERR_NOT_FOUND (no such key, version or upload; never for a bucket, nor for a 404 that is
 * not S3's), ERR_EXISTS (If-None-Match), ERR_CONFLICT (If-Match), ERR_PERMISSION, ERR_AUTH,
 * ERR_NO_SPACE, ERR_CONNECTION (network, and services in trouble), ERR_CORRUPT, ERR_INTERRUPTED
 * (store_stop(), or *given_up), ERR_FAILED. Any thread.
 */
#ifndef PGCAIRN_STORE_S3_REQUEST_H
#define PGCAIRN_STORE_S3_REQUEST_H

#include "base/buf.h"
#include "store/s3_digest.h"
#include "store/s3_sign.h"
#include "store/s3_store.h"

enum {
    S3_PARAMS_MAX = 12,
    S3_HEADERS_MAX = 16,
    S3_ETAG_MAX = 127,
    S3_CODE_MAX = 63,
    S3_TEXT_MAX = 511,
    S3_REPLY_MAX = 8 << 20,  /* bytes of a reply's document: 1,000 keys take under 2 MiB */
    S3_STALL_BYTES = 1024,   /* per second, over the patience of the request */
    S3_PATIENCE_S = 30,      /* seconds that a request may stall */
    S3_LONG_PATIENCE_S = 300 /* for what the service needs long to answer: assembling parts */
};

struct s3_param {
    const char *name, *value;
};

/* A piece of an object that is read into memory; what came before a failure is kept. */
struct s3_range {
    char *data;
    int64_t offset;
    size_t length;              /* wanted */
    size_t got;                 /* so far */
    int64_t total;              /* size of the whole object; -1 before the first reply */
    char etag[S3_ETAG_MAX + 1]; /* "" for any; set by the first reply, then demanded */
};

struct s3_reply {
    long status;                           /* 0: there was none */
    char etag[S3_ETAG_MAX + 1];            /* without quotes */
    char checksum_sha256[S3_ETAG_MAX + 1]; /* base64, perhaps with "-N"; "" when not given */
    char write_id[S3_WRITE_ID + 1];        /* x-amz-meta-pgcairn-write */
    char region[S3_REGION_MAX + 1];
    char lock_mode[16];
    int64_t length;                                /* Content-Length; -1 when not given */
    int64_t range_from, range_total;               /* of Content-Range; -1 when not given */
    int64_t date_us, modified_us, locked_until_us; /* INSTANT_NONE when not given */
    bool has_opaque_etag; /* encrypted by a key of KMS or the client's: the ETag is no MD5 */
    bool has_checksums;   /* x-amz-checksum-algorithm: the upload keeps checksums */
    bool is_delete_marker;
    bool legal_hold;
    struct buf body;
    char code[S3_CODE_MAX + 1];    /* of <Error> */
    char message[S3_TEXT_MAX + 1]; /* likewise */
    bool may_be_repeated; /* the service may have got the request before: from us, or from libcurl,
                             which sends again by itself when a warm connection dies */
};

#define S3_REPLY_INIT                                   \
    ((struct s3_reply){.length = -1,                    \
                       .range_from = -1,                \
                       .range_total = -1,               \
                       .date_us = INSTANT_NONE,         \
                       .modified_us = INSTANT_NONE,     \
                       .locked_until_us = INSTANT_NONE, \
                       .body = BUF_INIT(S3_REPLY_MAX)})

struct s3_request {
    const char *method;
    const char *action; /* as rights are named: "s3:PutObject" */
    const char *key;    /* whole, in the bucket; NULL for the bucket itself */
    struct s3_param params[S3_PARAMS_MAX];
    size_t param_count;
    struct s3_header headers[S3_HEADERS_MAX]; /* those that begin with x-amz- are signed */
    size_t header_count;
    const void *body; /* of PUT and POST; may be NULL when empty */
    size_t body_length;
    const struct s3_digest *md5, *sha256; /* of the body where the caller has them; else NULL */
    struct s3_range *range;               /* where the reply's bytes go; NULL: to reply->body */
    /* Looks at a good reply; what it calls an error is tried again. */
    int (*check)(const struct s3_reply *reply, void *context, struct error *err);
    void *context;
    const atomic_bool *given_up; /* ends it early; may be NULL */
    bool is_cleanup;             /* goes through after store_stop(), with a budget of its own */
    bool may_hold_error;         /* a 200 may be an <Error> */
    bool is_patient;
};

void s3_add_param(struct s3_request *request, const char *name, const char *value);
void s3_add_header(struct s3_request *request, const char *name, const char *value);

int s3_perform(struct s3_store *store, const struct s3_request *request, struct s3_reply *ret_reply,
               struct error *err);
void s3_reply_clear(struct s3_reply *reply);
void s3_reply_reset(struct s3_reply *reply); /* keeps the memory */

#endif
