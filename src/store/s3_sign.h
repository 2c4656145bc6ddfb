/*
 * AWS Signature Version 4, header based (AWS General Reference, "Signing AWS API requests"; Amazon
 * S3 API Reference, "Authenticating requests: using the Authorization header"). Pure: time and keys
 * come in as arguments.
 *
 * libcurl can sign too (CURLOPT_AWS_SIGV4), but Debian 12's 7.88 does not encode '=' in a path as
 * the rule asks, wants queries sorted beforehand, and signs with its own clock, so that a measured
 * clock skew could not be made up for.
 *
 *     s3_encode(&url, text, true);              percent-encoding as signatures want it
 *     s3_sign(&signing, authorization, err);    value of the header Authorization
 */
#ifndef PGCAIRN_STORE_S3_SIGN_H
#define PGCAIRN_STORE_S3_SIGN_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

enum {
    S3_AUTHORIZATION_MAX = 1024,
    S3_SIGNED_HEADERS_MAX = 32,
    S3_DATE_MAX = 17,         /* "20260102T030405Z" and a NUL */
    S3_CANONICAL_MAX = 65536, /* bytes of a canonical request */
};

struct s3_header {
    const char *name;  /* lower case */
    const char *value; /* without blanks at either end */
};

struct s3_signing {
    const char *method;
    const char *path;  /* percent-encoded, begins with '/' */
    const char *query; /* encoded, sorted by name, "name=value" joined by '&'; "" when none */
    const struct s3_header *headers; /* all that are signed, in any order; host must be there */
    size_t header_count;
    const char *payload_sha256; /* hex, or UNSIGNED-PAYLOAD: what x-amz-content-sha256 says */
    const char *access_key_id, *secret_access_key;
    const char *region, *service;
    int64_t time_us;
};

/* Appends text, with all but A-Z a-z 0-9 - . _ ~ as %XX; '/' stays when keep_slash. */
void s3_encode(struct buf *buf, const char *text, bool keep_slash);

/* "20260102T030405Z", for x-amz-date. */
void s3_date(int64_t time_us, char date[S3_DATE_MAX]);

int s3_sign(const struct s3_signing *signing, char authorization[S3_AUTHORIZATION_MAX],
            struct error *err);

#endif
