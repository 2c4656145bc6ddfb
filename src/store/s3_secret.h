/*
 * Buffers and files that hold secrets. A secret buffer gets all its memory at once, so that growing
 * leaves no copies behind, and is overwritten before it is freed. (What libcurl, jansson and expat
 * copy for themselves is out of reach.)
 *
 *     _cleanup_(s3_secret_clear) struct buf text = BUF_INIT(0);
 *     if ((rc = s3_secret_read(path, S3_SECRET_KEYS, S3_PROFILE_FILE_MAX, &text, err))) ...
 */
#ifndef PGCAIRN_STORE_S3_SECRET_H
#define PGCAIRN_STORE_S3_SECRET_H

#include "base/buf.h"
#include "base/error.h"

enum s3_secret_kind {
    S3_SECRET_KEYS,  /* may be read by its owner alone: ERR_PERMISSION otherwise */
    S3_SECRET_TOKEN, /* the same, unless its mount is read-only: Kubernetes projects tokens with
                        mode 0644 and nobody inside the container can change that */
    S3_SECRET_MIXED, /* the caller asks s3_secret_check() when it has seen what is inside */
};

int s3_secret_init(struct buf *buf, size_t limit, struct error *err);
void s3_secret_clear(struct buf *buf);

/* Makes buf a secret buffer of this limit with the content of the file, whose mode is that of the
 * opened file and returned in *ret_mode (which may be NULL). Empty files have nothing to hide. */
int s3_secret_read(const char *path, enum s3_secret_kind kind, size_t limit, struct buf *buf,
                   unsigned *ret_mode, struct error *err);

/* 0, or ERR_PERMISSION when others than the owner have rights to a file of secrets. */
int s3_secret_check(const char *path, unsigned mode, struct error *err);

#endif
