/*
 * What a reply or a failed attempt means: done, worth another try, or an error in one line with its
 * cure. One table of S3's error codes. Used by s3_request.c only.
 */
#ifndef PGCAIRN_STORE_S3_FAILURE_H
#define PGCAIRN_STORE_S3_FAILURE_H

#include "store/s3_request.h"

enum s3_verdict {
    S3_DONE,
    S3_FINAL,        /* an error that another try does not change */
    S3_AGAIN,        /* worth another try after a wait */
    S3_NEW_REGION,   /* signed for, or sent to, another region than the bucket's */
    S3_NEW_CLOCK,    /* signed with another time than the service's */
    S3_NEW_IDENTITY, /* signed with credentials that have ended */
};

/* Judges a reply that came whole, reading its <Error> into reply->code and message; err is set
 * unless it is done. */
enum s3_verdict s3_judge(const struct s3_store *store, const struct s3_request *request,
                         struct s3_reply *reply, struct error *err);

/* "could not write "s3://BUCKET/KEY"", in front of err. */
void s3_name_request(const struct s3_store *store, const struct s3_request *request,
                     struct error *err);

#endif
