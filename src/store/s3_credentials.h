#ifndef PGCAIRN_STORE_S3_CREDENTIALS_H
#define PGCAIRN_STORE_S3_CREDENTIALS_H
#include <stdint.h>
#include "base/error.h"
#include "store/store.h"
enum {
    S3_KEY_ID_MAX = 128,
    S3_SECRET_MAX = 256,
    S3_TOKEN_MAX = 8192,
    S3_REGION_MAX = 63,
    S3_ENDPOINT_MAX = 512
};
struct s3_credentials {
    char access_key_id[S3_KEY_ID_MAX + 1];
    char secret_access_key[S3_SECRET_MAX + 1];
    char session_token[S3_TOKEN_MAX + 1];
    int64_t expires_us;
};
struct s3_credentials_source;
int s3_credentials_open(const struct store_s3_options *options,
                        struct s3_credentials_source **ret_source, struct error *err);
int s3_credentials_get(struct s3_credentials_source *source, struct s3_credentials *ret_credentials,
                       struct error *err);
void s3_credentials_reject(struct s3_credentials_source *source);
struct s3_credentials_source *s3_credentials_free(struct s3_credentials_source *source);
int s3_find_region(const struct store_s3_options *options, char region[S3_REGION_MAX + 1],
                   struct error *err);
int s3_find_endpoint(const struct store_s3_options *options, char endpoint[S3_ENDPOINT_MAX + 1],
                     struct error *err);
void s3_curl_init(void);
#endif
