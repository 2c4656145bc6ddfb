#include "store/s3_fetch.h"

#include <curl/curl.h>
#include <string.h>
#include <time.h>

#include "base/retry.h"
#include "store/s3_curl.h"

enum { SLICE_US = 50000 }; /* how long it takes to see that the work is given up */

DEFINE_FREEP(CURL *, curl_easy_cleanup)
DEFINE_FREEP(struct curl_slist *, curl_slist_free_all)

static size_t take_bytes(char *data, size_t size, size_t count, void *context)
{
    struct buf *reply = context;
    return buf_add(reply, data, size * count) ? 0 : size * count;
}

static int look_up(void *context, curl_off_t down, curl_off_t downloaded, curl_off_t up,
                   curl_off_t uploaded)
{
    (void)down;
    (void)downloaded;
    (void)up;
    (void)uploaded;
    const atomic_bool *stop = context;
    return atomic_load(stop);
}

static int add_headers(const struct s3_fetch *request, struct curl_slist **list, struct error *err)
{
    for (size_t i = 0; i < S3_FETCH_HEADERS_MAX; i++) {
        if (!request->headers[i])
            continue;
        struct curl_slist *longer = curl_slist_append(*list, request->headers[i]);
        if (!longer)
            return error_no_memory(err);
        *list = longer;
    }
    return 0;
}

/* A set option fails for want of memory alone: all values are of our own making but the URL, which
 * libcurl looks at when it is used. */
static int prepare(CURL *curl, const struct s3_fetch *request, struct curl_slist *headers,
                   struct buf *reply, char *reason)
{
    CURLcode rc = 0;
    rc |= curl_easy_setopt(curl, CURLOPT_URL, request->url);
    rc |= curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    rc |= curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    rc |= curl_easy_setopt(curl, CURLOPT_USERAGENT, "pgcairn/" PGCAIRN_VERSION);
    rc |= curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    rc |= curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    rc |= curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
    rc |= curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply);
    rc |= curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, request->connect_ms);
    rc |= curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, request->all_ms);
    rc |= curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    rc |= curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_up);
    rc |= curl_easy_setopt(curl, CURLOPT_XFERINFODATA, request->stop);
    if (request->body)
        rc |= curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
    rc |= curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    if (request->is_local)
        rc |= curl_easy_setopt(curl, CURLOPT_PROXY, "");
    if (request->ca_file && *request->ca_file)
        rc |= curl_easy_setopt(curl, CURLOPT_CAINFO, request->ca_file);
    return rc ? ERR_MEMORY : 0;
}

static int try_once(const struct s3_fetch *request, struct buf *reply, long *ret_status,
                    struct error *err)
{
    s3_curl_init();
    _cleanup_(curl_slist_free_allp) struct curl_slist *headers = NULL;
    _cleanup_(curl_easy_cleanupp) CURL *curl = curl_easy_init();
    char reason[CURL_ERROR_SIZE] = "";
    int rc = curl ? add_headers(request, &headers, err) : error_no_memory(err);
    if (rc)
        return rc;
    if (prepare(curl, request, headers, reply, reason))
        return error_no_memory(err);
    CURLcode result = curl_easy_perform(curl);
    if (result == CURLE_OUT_OF_MEMORY)
        return error_no_memory(err);
    if (result == CURLE_ABORTED_BY_CALLBACK)
        return error_set(err, ERR_INTERRUPTED, "stopped while asking %s for credentials",
                         request->what);
    if (reply->failed)
        return buf_failed(reply, request->what, err);
    if (result != CURLE_OK) {
        error_set(err, ERR_CONNECTION, "could not ask %s for credentials: %s", request->what,
                  *reason ? reason : curl_easy_strerror(result));
        return error_hint(err, "%s", request->cure);
    }
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_status);
    return 0;
}

/* Statuses that pass are errors here, so that they are tried again as broken connections are. */
static int try_for_reply(const struct s3_fetch *request, struct buf *reply, long *ret_status,
                         struct error *err)
{
    buf_reset(reply);
    int rc = try_once(request, reply, ret_status, err);
    if (rc || (*ret_status != 429 && *ret_status < 500))
        return rc;
    error_set(err, ERR_CONNECTION, "%s answered HTTP status %ld to a request for credentials",
              request->what, *ret_status);
    return error_hint(err, "%s", request->cure);
}

static void wait_for(int64_t wait_us, const atomic_bool *stop)
{
    while (wait_us > 0 && !atomic_load(stop)) {
        int64_t slice_us = wait_us < SLICE_US ? wait_us : SLICE_US;
        struct timespec slice = {0, (long)slice_us * 1000};
        nanosleep(&slice, NULL);
        wait_us -= slice_us;
    }
}

int s3_fetch(const struct s3_fetch *request, struct buf *reply, long *ret_status, struct error *err)
{
    struct retry retry = RETRY_INIT(request->retry_us);
    struct error reason = ERROR_NONE;
    long status = 0;
    int rc;
    while ((rc = try_for_reply(request, reply, &status, &reason))) {
        int64_t wait_us = rc == ERR_CONNECTION ? retry_next(&retry, &reason) : -1;
        if (wait_us < 0)
            break;
        wait_for(wait_us, request->stop);
    }
    if (!rc) {
        *ret_status = status;
        return 0;
    }
    if (rc == ERR_CONNECTION)
        retry_give_up(&retry, &reason);
    if (err)
        *err = reason;
    return rc;
}
