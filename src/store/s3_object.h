/* What the reply to a request says of one object: HEAD, and the checks that writers and readers
 * share. */
#ifndef PGCAIRN_STORE_S3_OBJECT_H
#define PGCAIRN_STORE_S3_OBJECT_H

#include "store/s3_request.h"

/* ERR_NOT_FOUND only when the service says that the key, not the bucket, is absent. */
int s3_head(struct s3_store *store, const char *full_key, struct s3_reply *ret_reply,
            struct error *err);

/* ERR_CORRUPT when the ETag, or the checksum where there is one, is not that of what was sent. */
int s3_check_stored(const struct s3_reply *reply, const struct s3_digest *md5,
                    const struct s3_digest *sha256, struct error *err);

/* Until when the object is locked: a legal hold has no end. INSTANT_NONE when it is not. */
int64_t s3_locked_until(const struct s3_reply *reply);

#endif
