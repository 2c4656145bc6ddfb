#include "store/s3_request.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/retry.h"
#include "store/s3_exchange.h"
#include "store/s3_failure.h"

enum { LESSONS_MAX = 4, WAIT_SLICE_US = 200000 };

void s3_add_param(struct s3_request *request, const char *name, const char *value)
{
    if (request->param_count < S3_PARAMS_MAX)
        request->params[request->param_count] = (struct s3_param){name, value};
    request->param_count++;
}

void s3_add_header(struct s3_request *request, const char *name, const char *value)
{
    if (request->header_count < S3_HEADERS_MAX)
        request->headers[request->header_count] = (struct s3_header){name, value};
    request->header_count++;
}

void s3_reply_clear(struct s3_reply *reply)
{
    buf_clear(&reply->body);
    *reply = S3_REPLY_INIT;
}

void s3_reply_reset(struct s3_reply *reply)
{
    struct buf body = reply->body;
    buf_reset(&body);
    *reply = S3_REPLY_INIT;
    reply->body = body;
}

/* Waits, or returns false as soon as nobody wants the result any more. */
static bool wait_before_next(struct s3_store *store, const struct s3_request *request,
                             int64_t wait_us)
{
    int64_t until_us = instant_monotonic_us() + wait_us;
    pthread_mutex_lock(&store->mutex);
    while (!s3_is_given_up(store, request)) {
        int64_t left_us = until_us - instant_monotonic_us();
        if (left_us <= 0)
            break;
        int64_t wake_us =
            instant_monotonic_us() + (left_us < WAIT_SLICE_US ? left_us : WAIT_SLICE_US);
        struct timespec wake = {.tv_sec = wake_us / US_PER_SECOND,
                                .tv_nsec = wake_us % US_PER_SECOND * 1000};
        pthread_cond_timedwait(&store->woken, &store->mutex, &wake);
    }
    pthread_mutex_unlock(&store->mutex);
    return !s3_is_given_up(store, request);
}

/* Takes from a refusal what makes the next attempt right; false when there is nothing to take. */
static bool learn(struct s3_store *store, enum s3_verdict verdict, const struct s3_reply *reply,
                  const struct s3_credentials *used)
{
    bool is_news = false;
    if (verdict == S3_NEW_REGION && reply->region[0]) {
        pthread_mutex_lock(&store->mutex);
        is_news = strcmp(store->region, reply->region) != 0;
        memcpy(store->region, reply->region, sizeof(store->region));
        pthread_mutex_unlock(&store->mutex);
    } else if (verdict == S3_NEW_CLOCK && reply->date_us != INSTANT_NONE) {
        atomic_store(&store->clock_offset_us, reply->date_us - instant_now_us());
        is_news = true;
    } else if (verdict == S3_NEW_IDENTITY) {
        s3_credentials_reject(store->credentials, used);
        is_news = true;
    }
    return is_news;
}

struct performance {
    struct s3_store *store;
    const struct s3_request *request;
    const struct s3_digest *md5, *sha256;
    struct s3_digest own_md5, own_sha256;
    struct s3_credentials used; /* by the last attempt */
    struct retry retry;
    int lessons;
    bool was_sent; /* at least once, perhaps by libcurl before this attempt */
};

static int prepare(struct performance *performance, struct error *err)
{
    const struct s3_request *request = performance->request;
    bool has_body = strcmp(request->method, "PUT") == 0 || strcmp(request->method, "POST") == 0;
    if (request->param_count > S3_PARAMS_MAX || request->header_count > S3_HEADERS_MAX)
        return error_set(err, ERR_LIMIT, "a request has too many parameters or headers");
    performance->md5 = has_body ? request->md5 : NULL;
    performance->sha256 = request->sha256;
    int rc = 0;
    if (has_body && !performance->md5) {
        rc = s3_md5(request->body, request->body_length, &performance->own_md5, err);
        performance->md5 = &performance->own_md5;
    }
    if (!rc && !performance->sha256) {
        rc = s3_sha256(request->body, request->body_length, &performance->own_sha256, err);
        performance->sha256 = &performance->own_sha256;
    }
    return rc;
}

static enum s3_verdict attempt(struct performance *performance, struct s3_reply *reply,
                               struct error *err)
{
    const struct s3_request *request = performance->request;
    int rc = s3_exchange(performance->store, request, performance->md5, performance->sha256,
                         &performance->used, reply, err);
    if (!rc)
        return s3_judge(performance->store, request, reply, err);
    return error_is_retryable(rc) ? S3_AGAIN : S3_FINAL;
}

/* False when it is over, with the reason in err. */
static bool goes_on(struct performance *performance, enum s3_verdict verdict, size_t got_before,
                    const struct s3_reply *reply, struct error *err)
{
    const struct s3_request *request = performance->request;
    if (s3_is_given_up(performance->store, request)) {
        error_set(err, ERR_INTERRUPTED, "stopped");
        return false;
    }
    if (verdict == S3_FINAL)
        return false;
    if (verdict != S3_AGAIN)
        return performance->lessons++ < LESSONS_MAX &&
               learn(performance->store, verdict, reply, &performance->used);
    if (request->range && request->range->got > got_before)
        retry_progress(&performance->retry);
    int64_t wait_us = retry_next(&performance->retry, err);
    if (wait_us < 0) {
        retry_give_up(&performance->retry, err);
        return false;
    }
    if (wait_before_next(performance->store, request, wait_us))
        return true;
    error_set(err, ERR_INTERRUPTED, "stopped");
    return false;
}

int s3_perform(struct s3_store *store, const struct s3_request *request, struct s3_reply *ret_reply,
               struct error *err)
{
    struct performance performance = {
        .store = store,
        .request = request,
        .retry = RETRY_INIT(s3_budget_us(store, request)),
    };
    struct error reason = ERROR_NONE;
    int rc = prepare(&performance, &reason);
    while (!rc) {
        size_t got = request->range ? request->range->got : 0;
        reason = ERROR_NONE;
        s3_reply_reset(ret_reply);
        enum s3_verdict verdict = attempt(&performance, ret_reply, &reason);
        ret_reply->may_be_repeated |= performance.was_sent;
        performance.was_sent = true;
        if (verdict == S3_DONE)
            break;
        if (!goes_on(&performance, verdict, got, ret_reply, &reason))
            rc = reason.code;
    }
    s3_credentials_clear(&performance.used);
    if (!rc)
        return 0;
    s3_name_request(store, request, &reason);
    if (err)
        *err = reason;
    return rc;
}
