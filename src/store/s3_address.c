#include "store/s3_address.h"

#include <string.h>

/* The endpoint of AWS for a region (AWS General Reference, "Amazon S3 endpoints and quotas"). */
static void find_endpoint(struct s3_store *store, char region[S3_REGION_MAX + 1],
                          char endpoint[S3_ENDPOINT_MAX + 1])
{
    pthread_mutex_lock(&store->mutex);
    snprintf(region, S3_REGION_MAX + 1, "%s", store->region[0] ? store->region : "us-east-1");
    memcpy(endpoint, store->endpoint, sizeof(store->endpoint));
    pthread_mutex_unlock(&store->mutex);
    if (!endpoint[0])
        snprintf(endpoint, S3_ENDPOINT_MAX + 1, "https://s3.%s.amazonaws.com%s", region,
                 strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
}

/* A bucket with dots is no single label, so a wildcard certificate would not fit its host name. */
static bool is_virtual_hosted(const struct s3_store *store)
{
    if (store->addressing != STORE_ADDRESSING_AUTO)
        return store->addressing == STORE_ADDRESSING_VIRTUAL;
    return !store->endpoint[0] && !strchr(store->bucket, '.');
}

static int compare_params(const void *a, const void *b)
{
    return strcmp(((const struct s3_param *)a)->name, ((const struct s3_param *)b)->name);
}

static void add_query(struct s3_address *address, const struct s3_request *request)
{
    struct s3_param params[S3_PARAMS_MAX];
    memcpy(params, request->params, request->param_count * sizeof(params[0]));
    qsort(params, request->param_count, sizeof(params[0]), compare_params);
    for (size_t i = 0; i < request->param_count; i++) {
        if (i > 0)
            buf_add_text(&address->query, "&");
        s3_encode(&address->query, params[i].name, false);
        buf_add_text(&address->query, "=");
        s3_encode(&address->query, params[i].value, false);
    }
}

static void add_path(struct s3_address *address, const struct s3_store *store, bool is_virtual,
                     const struct s3_request *request)
{
    buf_add_text(&address->path, "/");
    if (!is_virtual)
        buf_addf(&address->path, "%s/", store->bucket);
    if (request->key)
        s3_encode(&address->path, request->key, true);
}

int s3_address_init(struct s3_address *address, struct s3_store *store,
                    const struct s3_request *request, struct error *err)
{
    char endpoint[S3_ENDPOINT_MAX + 1];
    address->path = BUF_INIT(S3_URL_MAX);
    address->query = BUF_INIT(S3_URL_MAX);
    find_endpoint(store, address->region, endpoint);
    const char *host = strstr(endpoint, "://") + 3;
    bool is_virtual = is_virtual_hosted(store);
    snprintf(address->host, sizeof(address->host), "%s%s%s", is_virtual ? store->bucket : "",
             is_virtual ? "." : "", host);
    add_path(address, store, is_virtual, request);
    add_query(address, request);
    int rc = buf_failed(&address->path, "a key", err);
    if (!rc)
        rc = buf_failed(&address->query, "a query", err);
    if (rc)
        return rc;
    int length = snprintf(address->url, sizeof(address->url), "%.*s%s%s%s%s",
                          (int)(host - endpoint), endpoint, address->host, address->path.data,
                          address->query.length ? "?" : "", buf_text(&address->query));
    if (length < 0 || length >= S3_URL_MAX)
        return error_set(err, ERR_LIMIT, "the address is longer than %d bytes", S3_URL_MAX);
    return 0;
}

void s3_address_clear(struct s3_address *address)
{
    buf_clear(&address->path);
    buf_clear(&address->query);
}
