/*
 * One small HTTP exchange with a service that gives out credentials (STS, a container's endpoint,
 * instance metadata), whole in memory. Redirects are not followed: none of them sends any, and a
 * token must not travel on. Broken connections and replies of 429 and 5xx are tried again.
 */
#ifndef PGCAIRN_STORE_S3_FETCH_H
#define PGCAIRN_STORE_S3_FETCH_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

enum {
    S3_FETCH_REPLY_MAX = 64 << 10, /* bytes of any of these replies */
    S3_FETCH_HEADERS_MAX = 4,
};

struct s3_fetch {
    const char *what; /* who is asked, for messages: "STS" */
    const char *cure; /* hint when it can't be reached */
    const char *method;
    const char *url;
    const char *headers[S3_FETCH_HEADERS_MAX]; /* "Name: value", NULL where there is none */
    const char *body;                          /* a form; NULL for none */
    const char *ca_file;                       /* NULL or "": the system's */
    bool is_local;           /* never through a proxy, whatever the environment says */
    long connect_ms, all_ms; /* limits of one try */
    int64_t retry_us; /* budget of base/retry.h; short, as requests to S3 are tried again too */
    const atomic_bool *stop; /* given up when it becomes true: ERR_INTERRUPTED */
};

/* 0 with any other HTTP status that came whole. reply is a secret buffer; it is emptied first.
 * ERR_CONNECTION when there was none, ERR_LIMIT when it was too large. */
int s3_fetch(const struct s3_fetch *request, struct buf *reply, long *ret_status,
             struct error *err);

#endif
