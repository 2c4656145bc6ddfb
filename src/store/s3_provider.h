/*
 * Where credentials come from: one row per kind of source, for s3_credentials.c, which keeps and
 * renews what they fetch. Included by the files of credentials and their tests only.
 *
 * s3_choose() looks at options, environment and files, sets the source's provider and the texts
 * that it needs, and for keys that never change the keys. fetch() is called without the source's
 * lock, by one thread at a time, and changes nothing in the source.
 */
#ifndef PGCAIRN_STORE_S3_PROVIDER_H
#define PGCAIRN_STORE_S3_PROVIDER_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "store/s3_credentials.h"

enum { S3_WEB_TOKEN_MAX = 20000 /* characters, STS API Reference */, S3_ROLE_ARN_MAX = 2048 };

struct s3_provider {
    const char *name;
    /* NULL: what was found at the start is all there will be. Only s3_instance returns
     * ERR_NOT_FOUND: this machine has no such service. */
    int (*fetch)(const struct s3_credentials_source *source, struct s3_credentials *ret_credentials,
                 struct error *err);
};

extern const struct s3_provider s3_fixed_keys, s3_profile_keys, s3_web_identity, s3_container,
    s3_instance;

struct s3_credentials_source {
    const struct s3_provider *provider;
    char *origin;  /* for people */
    char *looked;  /* what held none, when the provider is the last resort */
    char *profile; /* profile keys: its name, NULL for the default */
    char *url;     /* of STS, the container's endpoint or instance metadata, without a path */
    char *ca_file;
    char *role_arn, *session_name; /* web identity */
    char *token_file;              /* web identity and container, may be NULL */
    char *authorization;           /* container, may be NULL; secret */
    int64_t (*now_us)(void);       /* the clock; tests have their own */
    atomic_bool stop;

    pthread_mutex_t lock; /* for all below */
    pthread_cond_t renewed;
    struct s3_credentials current;
    bool has_current, is_rejected, is_renewing;
    int64_t next_try_us;     /* earliest renewal while the current ones live */
    unsigned long renewals;  /* ended, well or not */
    struct error last_error; /* of the last of them */
};

/* Fills a zeroed source, whose now_us is set. */
int s3_choose(const struct store_s3_options *options, struct s3_credentials_source *source,
              struct error *err);

/* Checks the texts and copies them; token may be NULL. ERR_AUTH with `where` when they can't be
 * keys: blanks and control characters would end up in headers. */
int s3_credentials_set(const char *access_key_id, const char *secret_access_key,
                       const char *session_token, int64_t expires_us, const char *where,
                       struct s3_credentials *ret_credentials, struct error *err);

/* The static keys of a profile. ERR_NOT_FOUND when it has none; errors for half a pair. */
struct s3_profile;
int s3_profile_take_keys(const struct s3_profile *profile, struct s3_credentials *ret_credentials,
                         struct error *err);

/* {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"}, as container endpoints and instance
 * metadata answer; `what` names them in errors. */
int s3_credentials_from_json(const struct buf *reply, const char *what,
                             struct s3_credentials *ret_credentials, struct error *err);

/* Reads a file of one token into a secret buffer, without the blanks at its end. ERR_AUTH when it
 * is absent or empty or holds what no header may. */
int s3_token_read(const char *path, size_t limit, struct buf *buf, struct error *err);

/* ERR_USAGE unless the URL is https, or http to a host that AWS allows: loopback and the link-local
 * addresses of ECS and EKS. The Authorization token must not go elsewhere in the clear. */
int s3_container_check(const char *url, struct error *err);

/* ERR_AUTH: the last resort gave nothing, for that reason; says all that was looked at. */
int s3_nothing_found(const struct s3_credentials_source *source, const char *reason,
                     struct error *err);

/* s3_find_endpoint() for any service: "S3", "STS". */
int s3_find_service_endpoint(const char *option, const char *service, const char *profile,
                             char endpoint[S3_ENDPOINT_MAX + 1], struct error *err);

#endif
