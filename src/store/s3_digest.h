/* MD5 and SHA-256 of bytes in memory, in the spellings of S3's headers and ETags. Over OpenSSL. */
#ifndef PGCAIRN_STORE_S3_DIGEST_H
#define PGCAIRN_STORE_S3_DIGEST_H

#include <stddef.h>

#include "base/error.h"

enum { S3_DIGEST_BYTES = 32 };

struct s3_digest {
    unsigned char bytes[S3_DIGEST_BYTES];
    size_t length;                     /* 16 or 32 */
    char hex[S3_DIGEST_BYTES * 2 + 1]; /* lower case */
    char base64[45];
};

int s3_md5(const void *data, size_t length, struct s3_digest *ret_digest, struct error *err);
int s3_sha256(const void *data, size_t length, struct s3_digest *ret_digest, struct error *err);

#endif
