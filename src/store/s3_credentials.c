#include "store/s3_credentials.h"

#include <string.h>

#include "store/s3_provider.h"

int s3_credentials_open(const struct store_s3_options *options,
                        struct s3_credentials_source **ret_source, struct error *err)
{
    struct s3_credentials_source *source = calloc(1, sizeof(*source));
    if (!source)
        return error_no_memory(err);
    pthread_mutex_init(&source->lock, NULL);
    pthread_cond_init(&source->renewed, NULL);
    source->now_us = instant_now_us;
    int rc = s3_choose(options, source, err);
    if (rc) {
        s3_credentials_free(source);
        return rc;
    }
    *ret_source = source;
    return 0;
}

static bool is_usable(const struct s3_credentials_source *source, int64_t now_us)
{
    return source->has_current && !source->is_rejected &&
           (source->current.expires_us == INSTANT_NONE || source->current.expires_us > now_us);
}

static bool is_due(const struct s3_credentials_source *source, int64_t now_us)
{
    if (!is_usable(source, now_us))
        return true;
    return source->current.expires_us != INSTANT_NONE &&
           source->current.expires_us - now_us < S3_RENEW_AHEAD_US && now_us >= source->next_try_us;
}

int s3_nothing_found(const struct s3_credentials_source *source, const char *reason,
                     struct error *err)
{
    error_set(err, ERR_AUTH, "found no credentials for S3: %s, and %s", source->looked, reason);
    return error_hint(err, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write them to a "
                           "profile of ~/.aws/credentials (mode 600)");
}

static int fetch(const struct s3_credentials_source *source, struct s3_credentials *ret_credentials,
                 struct error *err)
{
    if (atomic_load(&source->stop))
        return error_set(err, ERR_INTERRUPTED, "stopped before asking %s for credentials",
                         source->origin);
    int rc = source->provider->fetch(source, ret_credentials, err);
    if (rc == ERR_NOT_FOUND && source->provider == &s3_instance)
        return s3_nothing_found(source, err->message, err);
    int64_t now_us = source->now_us();
    if (rc || ret_credentials->expires_us == INSTANT_NONE || ret_credentials->expires_us > now_us)
        return rc;
    char end[INSTANT_TEXT_MAX], now[INSTANT_TEXT_MAX];
    error_set(err, ERR_CONNECTION, "%s gave credentials that ended at %s; it is %s here",
              source->origin, instant_format(ret_credentials->expires_us, end),
              instant_format(now_us, now));
    return error_hint(err, "check this machine's clock; if it is right, the service is in trouble");
}

/* Called and left with the lock, which is free while the fetch goes on. */
static int renew(struct s3_credentials_source *source, struct error *err)
{
    struct s3_credentials fresh;
    struct error reason = ERROR_NONE;
    source->is_renewing = true;
    pthread_mutex_unlock(&source->lock);
    int rc = fetch(source, &fresh, &reason);
    pthread_mutex_lock(&source->lock);
    int64_t now_us = source->now_us();
    source->is_renewing = false;
    source->renewals++;
    source->next_try_us = now_us + S3_RENEW_PAUSE_US;
    source->last_error = reason;
    if (!rc) {
        source->current = fresh;
        source->has_current = true;
        source->is_rejected = false;
    }
    s3_credentials_clear(&fresh);
    pthread_cond_broadcast(&source->renewed);
    if (!rc || is_usable(source, now_us))
        return 0;
    if (err)
        *err = reason;
    return rc;
}

/* Waits, with the lock, until the renewal of another thread ends; its failure is ours too, or each
 * of the waiting would try in turn. */
static int await_renewal(struct s3_credentials_source *source, struct error *err)
{
    unsigned long before = source->renewals;
    while (source->renewals == before)
        pthread_cond_wait(&source->renewed, &source->lock);
    if (is_usable(source, source->now_us()) || !source->last_error.code)
        return 0;
    if (err)
        *err = source->last_error;
    return source->last_error.code;
}

int s3_credentials_get(struct s3_credentials_source *source, struct s3_credentials *ret_credentials,
                       struct error *err)
{
    int rc = 0;
    pthread_mutex_lock(&source->lock);
    bool is_live = is_usable(source, source->now_us());
    if (source->is_renewing)
        rc = is_live ? 0 : await_renewal(source, err);
    else if (is_due(source, source->now_us()))
        rc = renew(source, err);
    if (!rc)
        *ret_credentials = source->current;
    pthread_mutex_unlock(&source->lock);
    return rc;
}

void s3_credentials_reject(struct s3_credentials_source *source,
                           const struct s3_credentials *rejected)
{
    pthread_mutex_lock(&source->lock);
    if (source->provider->fetch && source->has_current &&
        strcmp(source->current.access_key_id, rejected->access_key_id) == 0 &&
        strcmp(source->current.secret_access_key, rejected->secret_access_key) == 0 &&
        strcmp(source->current.session_token, rejected->session_token) == 0)
        source->is_rejected = true;
    pthread_mutex_unlock(&source->lock);
}

void s3_credentials_stop(struct s3_credentials_source *source)
{
    atomic_store(&source->stop, true);
}

const char *s3_credentials_origin(const struct s3_credentials_source *source)
{
    return source->origin;
}

void s3_credentials_clear(struct s3_credentials *credentials)
{
    explicit_bzero(credentials, sizeof(*credentials));
    credentials->expires_us = INSTANT_NONE;
}

struct s3_credentials_source *s3_credentials_free(struct s3_credentials_source *source)
{
    if (!source)
        return NULL;
    if (source->authorization)
        explicit_bzero(source->authorization, strlen(source->authorization));
    char *texts[] = {source->origin,       source->looked,     source->profile,
                     source->url,          source->ca_file,    source->role_arn,
                     source->session_name, source->token_file, source->authorization};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        free(texts[i]);
    pthread_mutex_destroy(&source->lock);
    pthread_cond_destroy(&source->renewed);
    explicit_bzero(source, sizeof(*source));
    free(source);
    return NULL;
}
