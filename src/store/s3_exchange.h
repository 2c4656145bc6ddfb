/*
 * One attempt at a request: addressed, signed, sent over a warm connection, its reply read. 0 means
 * that a reply came whole, whatever it says; an error that none did (ERR_CONNECTION: worth another
 * try). Used by s3_request.c only.
 */
#ifndef PGCAIRN_STORE_S3_EXCHANGE_H
#define PGCAIRN_STORE_S3_EXCHANGE_H

#include "store/s3_request.h"

/* The digests are of the request's body. ret_used are the credentials that signed it, if any did.
 */
int s3_exchange(struct s3_store *store, const struct s3_request *request,
                const struct s3_digest *md5, const struct s3_digest *sha256,
                struct s3_credentials *ret_used, struct s3_reply *reply, struct error *err);

/* How long the request may be tried again. */
int64_t s3_budget_us(const struct s3_store *store, const struct s3_request *request);

/* Whether nobody wants the request's result any more. */
bool s3_is_given_up(const struct s3_store *store, const struct s3_request *request);

#endif
