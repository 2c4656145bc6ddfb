/*
 * Where a request goes: the URL, and the parts of it that are signed. Path and virtual-host
 * addressing (Amazon S3 User Guide, "Virtual hosting of buckets").
 *
 *     struct s3_address address;
 *     s3_address_init(&address, store, request, err);
 *     ... address.url, address.host, address.path, address.query, address.region ...
 *     s3_address_clear(&address);            also after a failure
 */
#ifndef PGCAIRN_STORE_S3_ADDRESS_H
#define PGCAIRN_STORE_S3_ADDRESS_H

#include "store/s3_request.h"

enum { S3_URL_MAX = 8192 };

struct s3_address {
    char url[S3_URL_MAX];
    char host[S3_ENDPOINT_MAX + S3_BUCKET_MAX + 2]; /* with the port, as the Host header has it */
    struct buf path;                                /* encoded */
    struct buf query;                               /* encoded, sorted */
    char region[S3_REGION_MAX + 1];
};

int s3_address_init(struct s3_address *address, struct s3_store *store,
                    const struct s3_request *request, struct error *err);
void s3_address_clear(struct s3_address *address);

#endif
