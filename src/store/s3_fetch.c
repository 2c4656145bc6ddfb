#include "store/s3_fetch.h"

#include <curl/curl.h>
#include <string.h>
#include <time.h>

#include "store/s3_curl.h"

enum { FIRST_PAUSE_MS = 200 }; /* before the second try; twice as long before each further one */

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

int s3_fetch(const struct s3_fetch *request, struct buf *reply, long *ret_status, struct error *err)
{
    int rc = 0;
    long status = 0, pause_ms = FIRST_PAUSE_MS;
    for (int i = 0; i < request->tries; i++, pause_ms *= 2) {
        if (i > 0) {
            struct timespec pause = {pause_ms / 1000, pause_ms % 1000 * 1000000};
            nanosleep(&pause, NULL);
        }
        buf_reset(reply);
        rc = try_once(request, reply, &status, err);
        if (rc ? rc != ERR_CONNECTION : status != 429 && status < 500)
            break;
    }
    if (!rc)
        *ret_status = status;
    return rc;
}
