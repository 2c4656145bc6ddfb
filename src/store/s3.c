/* Opening and closing an s3:// store, its addresses, and the table of its operations. */
#include <string.h>

#include "store/s3_curl.h"
#include "store/s3_pool.h"
#include "store/s3_store.h"

#define SCHEME "s3://"

enum { BUCKET_MIN = 3 };

/* Amazon S3 User Guide, "Bucket naming rules"; services of others allow capitals and '_' too. */
static bool is_bucket(const char *name, size_t length)
{
    if (length < BUCKET_MIN || length > S3_BUCKET_MAX || name[0] == '-' || name[0] == '.')
        return false;
    for (size_t i = 0; i < length; i++) {
        char c = name[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '-' && c != '.' && c != '_')
            return false;
    }
    return true;
}

/* "bucket", "bucket/", "bucket/a/b/": the parts, without slashes at the ends of the prefix. */
static void split_url(const char *url, size_t *ret_bucket_length, const char **ret_prefix,
                      size_t *ret_prefix_length)
{
    const char *bucket = url + strlen(SCHEME);
    size_t length = strcspn(bucket, "/");
    const char *prefix = bucket + length + strspn(bucket + length, "/");
    size_t prefix_length = strlen(prefix);
    while (prefix_length > 0 && prefix[prefix_length - 1] == '/')
        prefix_length--;
    *ret_bucket_length = length;
    *ret_prefix = prefix;
    *ret_prefix_length = prefix_length;
}

static bool is_prefix(const char *prefix, size_t length)
{
    if (length > S3_PREFIX_MAX)
        return false;
    for (size_t i = 0; i < length; i++) {
        bool begins = i == 0 || prefix[i - 1] == '/';
        if (begins && (prefix[i] == '/' || prefix[i] == '.'))
            return false;
        if ((unsigned char)prefix[i] < ' ' || prefix[i] == 0x7f || prefix[i] == '?' ||
            prefix[i] == '#')
            return false;
    }
    return true;
}

static int check_url(const char *url, struct error *err)
{
    const char *prefix;
    size_t bucket_length, prefix_length;
    split_url(url, &bucket_length, &prefix, &prefix_length);
    if (!is_bucket(url + strlen(SCHEME), bucket_length)) {
        error_set(err, ERR_USAGE, "\"%.300s\" names no bucket", url);
        return error_hint(err, "write it as s3://BUCKET/PREFIX; a bucket has 3 to 63 lower-case "
                               "letters, digits, '-' and '.'");
    }
    if (is_prefix(prefix, prefix_length))
        return 0;
    error_set(err, ERR_USAGE, "\"%.300s\" has a prefix that can't be used", url);
    return error_hint(err,
                      "at most %d bytes, no empty parts, none that begins with '.', no '?', "
                      "'#' or control characters",
                      S3_PREFIX_MAX);
}

/* "https://host[:port]", without what a Host header would leave out. */
static int take_endpoint(struct s3_store *store, const char *endpoint, struct error *err)
{
    bool is_https = strncmp(endpoint, "https://", 8) == 0;
    bool is_http = strncmp(endpoint, "http://", 7) == 0;
    const char *host = endpoint + (is_https ? 8 : 7);
    size_t length = strlen(endpoint);
    while (length > 0 && endpoint[length - 1] == '/')
        length--;
    const char *default_port = is_https ? ":443" : ":80";
    size_t port_length = strlen(default_port);
    if ((!is_https && !is_http) || length > S3_ENDPOINT_MAX || host >= endpoint + length ||
        memchr(host, '/', (size_t)(endpoint + length - host)) || strpbrk(host, "@?# ")) {
        error_set(err, ERR_USAGE, "\"%.300s\" is no endpoint of an S3 service", endpoint);
        return error_hint(err, "write it as https://HOST[:PORT], without a path");
    }
    if (length > port_length &&
        strncmp(endpoint + length - port_length, default_port, port_length) == 0)
        length -= port_length;
    memcpy(store->endpoint, endpoint, length);
    store->endpoint[length] = '\0';
    return 0;
}

static int copy_setting(const char *from, char **ret_to, struct error *err)
{
    if (!from || !*from)
        return 0;
    if (strlen(from) > S3_SETTING_MAX || strpbrk(from, "\r\n"))
        return error_set(err, ERR_USAGE, "\"%.40s...\" can't be a setting of an S3 store", from);
    *ret_to = strdup(from);
    return *ret_to ? 0 : error_no_memory(err);
}

static int copy_settings(struct s3_store *store, const struct store_s3_options *options,
                         struct error *err)
{
    store->addressing = options->addressing;
    store->object_lock = options->object_lock;
    store->retain_us = options->retain_us;
    store->retry_us = options->retry_us > 0 ? options->retry_us : S3_RETRY_US;
    bool has_own = options->ca_file && *options->ca_file;
    int rc =
        copy_setting(has_own ? options->ca_file : getenv("AWS_CA_BUNDLE"), &store->ca_file, err);
    if (!rc)
        rc = copy_setting(options->storage_class, &store->storage_class, err);
    if (!rc)
        rc = copy_setting(options->sse, &store->sse, err);
    if (!rc)
        rc = copy_setting(options->kms_key_id, &store->kms_key_id, err);
    if (!rc)
        rc = copy_setting(options->tags, &store->tags, err);
    return rc;
}

static int find_service(struct s3_store *store, const struct store_s3_options *options,
                        struct error *err)
{
    char endpoint[S3_ENDPOINT_MAX + 1];
    int rc = s3_find_region(options, store->region, err);
    if (!rc)
        rc = s3_find_endpoint(options, endpoint, err);
    if (!rc && endpoint[0])
        rc = take_endpoint(store, endpoint, err);
    return rc ? rc : s3_credentials_open(options, &store->credentials, err);
}

static void close_store(struct store *base)
{
    struct s3_store *store = s3_store_of(base);
    s3_pool_free(store->pool);
    for (size_t i = 0; i < store->idle_count; i++)
        curl_easy_cleanup(store->idle[i]);
    s3_credentials_free(store->credentials);
    pthread_cond_destroy(&store->woken);
    pthread_mutex_destroy(&store->mutex);
    free(store->ca_file);
    free(store->storage_class);
    free(store->sse);
    free(store->kms_key_id);
    free(store->tags);
    free(store);
}

static void init_locks(struct s3_store *store)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&store->woken, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&store->mutex, NULL);
}

static int open_store(const char *url, const struct store_options *options,
                      struct store **ret_store, struct error *err)
{
    const char *prefix;
    size_t bucket_length, prefix_length;
    s3_curl_init();
    struct s3_store *store = calloc(1, sizeof(*store));
    if (!store)
        return error_no_memory(err);
    init_locks(store);
    split_url(url, &bucket_length, &prefix, &prefix_length);
    memcpy(store->bucket, url + strlen(SCHEME), bucket_length);
    snprintf(store->prefix, sizeof(store->prefix), "%.*s%s", (int)prefix_length, prefix,
             prefix_length ? "/" : "");
    int rc = copy_settings(store, &options->s3, err);
    if (!rc)
        rc = find_service(store, &options->s3, err);
    if (!rc)
        rc = s3_pool_new(&store->pool, err);
    if (rc) {
        close_store(&store->base);
        return rc;
    }
    *ret_store = &store->base;
    return 0;
}

static void stop_store(struct store *base)
{
    struct s3_store *store = s3_store_of(base);
    pthread_mutex_lock(&store->mutex);
    atomic_store(&store->stopped, true);
    pthread_cond_broadcast(&store->woken);
    pthread_mutex_unlock(&store->mutex);
    s3_credentials_stop(store->credentials);
}

void s3_full_key(const struct s3_store *store, const char *key, char full[S3_KEY_SIZE])
{
    snprintf(full, S3_KEY_SIZE, "%s%s", store->prefix, key);
}

const char *s3_own_key(const struct s3_store *store, const char *full)
{
    size_t length = strlen(store->prefix);
    if (strncmp(full, store->prefix, length) != 0 || store_key_check(full + length, NULL))
        return NULL;
    return full + length;
}

const struct store_ops store_s3_ops = {
    .scheme = SCHEME,
    .check_url = check_url,
    .open = open_store,
    .stop = stop_store,
    .free = close_store,
    .create = s3_create,
    .write = s3_write,
    .commit = s3_commit,
    .writer_free = s3_writer_free,
    .read_open = s3_read_open,
    .read = s3_read,
    .reader_free = s3_reader_free,
    .stat = s3_stat,
    .list = s3_list,
    .list_unfinished = s3_list_unfinished,
    .remove_unfinished = s3_remove_unfinished,
    .delete = s3_delete,
    .delete_many = s3_delete_many,
    .read_traits = s3_read_traits,
};
