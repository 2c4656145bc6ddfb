#include "store/s3_credentials.h"
#include <string.h>
#include <curl/curl.h>
struct s3_credentials_source {
    struct s3_credentials c;
};
int s3_credentials_open(const struct store_s3_options *o, struct s3_credentials_source **ret,
                        struct error *err)
{
    struct s3_credentials_source *s = calloc(1, sizeof(*s));
    if (!s)
        return error_no_memory(err);
    const char *i = o->access_key_id ? o->access_key_id : getenv("AWS_ACCESS_KEY_ID");
    const char *k = o->secret_access_key ? o->secret_access_key : getenv("AWS_SECRET_ACCESS_KEY");
    snprintf(s->c.access_key_id, sizeof(s->c.access_key_id), "%s", i ? i : "");
    snprintf(s->c.secret_access_key, sizeof(s->c.secret_access_key), "%s", k ? k : "");
    *ret = s;
    return 0;
}
int s3_credentials_get(struct s3_credentials_source *s, struct s3_credentials *r, struct error *err)
{
    (void)err;
    *r = s->c;
    return 0;
}
void s3_credentials_reject(struct s3_credentials_source *s)
{
    (void)s;
}
struct s3_credentials_source *s3_credentials_free(struct s3_credentials_source *s)
{
    free(s);
    return NULL;
}
int s3_find_region(const struct store_s3_options *o, char region[S3_REGION_MAX + 1],
                   struct error *err)
{
    (void)err;
    snprintf(region, S3_REGION_MAX + 1, "%s", o->region ? o->region : "");
    return 0;
}
int s3_find_endpoint(const struct store_s3_options *o, char e[S3_ENDPOINT_MAX + 1],
                     struct error *err)
{
    (void)err;
    snprintf(e, S3_ENDPOINT_MAX + 1, "%s", o->endpoint ? o->endpoint : "");
    return 0;
}
void s3_curl_init(void)
{
    curl_global_init(CURL_GLOBAL_ALL);
}
