/* Whether anybody may list or read here: the same questions, asked without a signature. */
#include <string.h>

#include "store/s3_address.h"
#include "store/s3_fetch.h"
#include "store/s3_secret.h"
#include "store/s3_store.h"

enum { CONNECT_MS = 5000, ALL_MS = 15000 };

static const char MARKER[] = "pgcairn.json"; /* small, and in every repository */

/* A reply that is too large is one that was given. */
static int ask_anybody(struct s3_store *store, const char *url, bool *ret_may, struct error *err)
{
    _cleanup_(s3_secret_clear) struct buf reply = BUF_INIT(0);
    struct error reason = ERROR_NONE;
    long status = 0;
    const struct s3_fetch fetch = {
        .what = "the bucket",
        .cure = "check that this machine reaches it",
        .method = "GET",
        .url = url,
        .ca_file = store->ca_file,
        .connect_ms = CONNECT_MS,
        .all_ms = ALL_MS,
        .retry_us = 2 * US_PER_SECOND,
        .stop = &store->stopped,
    };
    int rc = s3_secret_init(&reply, S3_FETCH_REPLY_MAX, err);
    if (rc)
        return rc;
    rc = s3_fetch(&fetch, &reply, &status, &reason);
    if (rc && rc != ERR_LIMIT) {
        if (err)
            *err = reason;
        return rc;
    }
    bool is_refusal = status == 401 || status == 403 || status == 404;
    *ret_may = rc == ERR_LIMIT || status / 100 == 2;
    return *ret_may || is_refusal
               ? 0
               : error_set(err, ERR_UNKNOWN, "the bucket answers %ld to who has no key", status);
}

static int ask(struct s3_store *store, const struct s3_request *request, bool *ret_may,
               struct error *err)
{
    struct s3_address address;
    int rc = s3_address_init(&address, store, request, err);
    if (!rc)
        rc = ask_anybody(store, address.url, ret_may, err);
    s3_address_clear(&address);
    return rc;
}

int s3_ask_publicly(struct s3_store *store, bool *ret_listed, bool *ret_read, struct error *err)
{
    char full[S3_KEY_SIZE];
    struct s3_request object = {.method = "GET", .action = "s3:GetObject", .key = full};
    struct s3_request list = {.method = "GET", .action = "s3:ListBucket"};
    s3_full_key(store, MARKER, full);
    s3_add_param(&list, "list-type", "2");
    s3_add_param(&list, "max-keys", "1");
    s3_add_param(&list, "prefix", store->prefix);
    int rc = ask(store, &list, ret_listed, err);
    return rc ? rc : ask(store, &object, ret_read, err);
}
