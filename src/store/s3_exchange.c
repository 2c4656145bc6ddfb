#include "store/s3_exchange.h"

#include <string.h>

#include "store/s3_address.h"
#include "store/s3_receive.h"

enum {
    CONNECT_MS = 10000,
    KEEPALIVE_S = 30,
    CURL_BUFFER = 512 << 10, /* the most that libcurl takes */
    HEADER_MAX = S3_TOKEN_MAX + 128,
    OK_FIRST = 200,
    OK_LAST = 299,
};

struct exchange {
    struct s3_store *store;
    const struct s3_request *request;
    struct s3_reply *reply;
    const struct s3_digest *md5, *sha256;
    struct s3_credentials *credentials;
    CURL *curl;
    struct curl_slist *lines;
    struct s3_address address;
    char curl_error[CURL_ERROR_SIZE];
    int rc;             /* of a callback that ended the transfer */
    bool has_head;      /* the reply's headers came to their end */
    int64_t range_from; /* the byte that the reply must begin with; -1 once it has */
    bool has_enough;    /* a range that is full: the rest of the reply is not wanted */
    struct error *err;
};

bool s3_is_given_up(const struct s3_store *store, const struct s3_request *request)
{
    if (request->given_up && atomic_load(request->given_up))
        return true;
    return atomic_load(&store->stopped) && !request->is_cleanup;
}

int64_t s3_budget_us(const struct s3_store *store, const struct s3_request *request)
{
    if (!request->is_cleanup)
        return store->retry_us;
    return atomic_load(&store->stopped) ? S3_STOPPED_RETRY_US : S3_CLEANUP_RETRY_US;
}

/* -- connections ---------------------------------------------------------------------------------
 */

static CURL *take_handle(struct s3_store *store, bool *ret_is_warm)
{
    CURL *curl = NULL;
    pthread_mutex_lock(&store->mutex);
    if (store->idle_count > 0)
        curl = store->idle[--store->idle_count];
    pthread_mutex_unlock(&store->mutex);
    *ret_is_warm = curl != NULL;
    if (!curl)
        return curl_easy_init();
    curl_easy_reset(curl); /* the connection stays */
    return curl;
}

static void give_handle(struct s3_store *store, CURL *curl)
{
    pthread_mutex_lock(&store->mutex);
    bool kept = store->idle_count < S3_HANDLES_MAX;
    if (kept)
        store->idle[store->idle_count++] = curl;
    pthread_mutex_unlock(&store->mutex);
    if (!kept)
        curl_easy_cleanup(curl);
}

/* -- headers of the request ----------------------------------------------------------------------
 */

static int add_line(struct exchange *exchange, const char *name, const char *value)
{
    char line[HEADER_MAX];
    int length = snprintf(line, sizeof(line), "%s: %s", name, value);
    if (length < 0 || (size_t)length >= sizeof(line))
        return error_set(exchange->err, ERR_LIMIT, "the header %s is longer than %d bytes", name,
                         HEADER_MAX);
    struct curl_slist *lines = curl_slist_append(exchange->lines, line);
    explicit_bzero(line, sizeof(line));
    if (!lines)
        return error_no_memory(exchange->err);
    exchange->lines = lines;
    return 0;
}

static bool is_signed(const char *name)
{
    return strncmp(name, "x-amz-", 6) == 0;
}

/* Adds the headers to the request and signs them. */
static int sign_headers(struct exchange *exchange, const struct s3_credentials *credentials,
                        const char *date, int64_t time_us)
{
    const struct s3_request *request = exchange->request;
    struct s3_header headers[S3_HEADERS_MAX + 5] = {
        {"x-amz-date", date},
        {"x-amz-content-sha256", exchange->sha256->hex},
    };
    size_t count = 2;
    if (credentials->session_token[0])
        headers[count++] = (struct s3_header){"x-amz-security-token", credentials->session_token};
    if (exchange->md5)
        headers[count++] = (struct s3_header){"content-md5", exchange->md5->base64};
    for (size_t i = 0; i < request->header_count; i++)
        if (is_signed(request->headers[i].name))
            headers[count++] = request->headers[i];
    int rc = 0;
    for (size_t i = 0; i < count && !rc; i++)
        rc = add_line(exchange, headers[i].name, headers[i].value);
    headers[count++] =
        (struct s3_header){"host", exchange->address.host}; /* libcurl sends that one */
    struct s3_signing signing = {
        .method = request->method,
        .path = exchange->address.path.data,
        .query = buf_text(&exchange->address.query),
        .headers = headers,
        .header_count = count,
        .payload_sha256 = exchange->sha256->hex,
        .access_key_id = credentials->access_key_id,
        .secret_access_key = credentials->secret_access_key,
        .region = exchange->address.region,
        .service = "s3",
        .time_us = time_us,
    };
    char authorization[S3_AUTHORIZATION_MAX];
    if (!rc)
        rc = s3_sign(&signing, authorization, exchange->err);
    return rc ? rc : add_line(exchange, "authorization", authorization);
}

static int add_range(struct exchange *exchange)
{
    const struct s3_range *range = exchange->request->range;
    char value[64];
    if (!range)
        return 0;
    snprintf(value, sizeof(value), "bytes=%lld-%lld",
             (long long)range->offset + (long long)range->got,
             (long long)range->offset + (long long)range->length - 1);
    int rc = add_line(exchange, "range", value);
    char etag[S3_ETAG_MAX + 3];
    snprintf(etag, sizeof(etag), "\"%s\"", range->etag);
    if (!rc && range->etag[0])
        rc = add_line(exchange, "if-match", etag);
    return rc;
}

static int add_headers(struct exchange *exchange)
{
    const struct s3_request *request = exchange->request;
    struct s3_credentials *credentials = exchange->credentials;
    char date[S3_DATE_MAX];
    int64_t time_us = instant_now_us() + atomic_load(&exchange->store->clock_offset_us);
    s3_date(time_us, date);
    int rc = s3_credentials_get(exchange->store->credentials, credentials, exchange->err);
    if (!rc)
        rc = sign_headers(exchange, credentials, date, time_us);
    for (size_t i = 0; i < request->header_count && !rc; i++)
        if (!is_signed(request->headers[i].name))
            rc = add_line(exchange, request->headers[i].name, request->headers[i].value);
    if (!rc)
        rc = add_range(exchange);
    if (!rc)
        rc = add_line(exchange, "expect", ""); /* no round trip before a part */
    if (!rc && exchange->md5)
        rc = add_line(exchange, "content-type", "application/octet-stream");
    return rc;
}

/* -- the reply -----------------------------------------------------------------------------------
 */

static size_t on_header(char *data, size_t size, size_t count, void *user)
{
    struct exchange *exchange = user;
    exchange->has_head = size * count <= 2; /* the empty line ends them */
    s3_receive_line(exchange->reply, data, size * count);
    return size * count;
}

static long status_of(const struct exchange *exchange)
{
    long status = 0;
    curl_easy_getinfo(exchange->curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* All pieces must be of one and the same object. */
static bool take_etag(struct exchange *exchange)
{
    struct s3_range *range = exchange->request->range;
    const char *etag = exchange->reply->etag;
    if (!range->etag[0])
        memcpy(range->etag, etag, sizeof(range->etag));
    else if (strcmp(range->etag, etag) != 0)
        exchange->rc =
            error_set(exchange->err, ERR_FAILED, "it was replaced while it was being read");
    return exchange->rc == 0;
}

/* Bytes of a range go where they belong; a 200 is the whole object, from its first byte. */
static size_t take_range(struct exchange *exchange, long status, const char *data, size_t length)
{
    struct s3_range *range = exchange->request->range;
    const struct s3_reply *reply = exchange->reply;
    int64_t from = status == 206 ? reply->range_from : 0;
    if (exchange->range_from >= 0 && from != exchange->range_from) {
        exchange->rc = error_set(exchange->err, ERR_CONNECTION,
                                 "the reply begins at byte %lld, asked for was byte %lld",
                                 (long long)from, (long long)exchange->range_from);
        return 0;
    }
    if (exchange->range_from >= 0 && !take_etag(exchange))
        return 0;
    exchange->range_from = -1;
    size_t room = range->length - range->got;
    size_t taken = length < room ? length : room;
    memcpy(range->data + range->got, data, taken);
    range->got += taken;
    exchange->has_enough = taken < length;
    return taken;
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    struct exchange *exchange = user;
    size_t length = size * count;
    long status = status_of(exchange);
    if (exchange->request->range && status >= OK_FIRST && status <= OK_LAST)
        return take_range(exchange, status, data, length);
    if (buf_add(&exchange->reply->body, data, length)) {
        exchange->rc = buf_failed(&exchange->reply->body, "a reply", exchange->err);
        return 0;
    }
    return length;
}

static int on_progress(void *user, curl_off_t down_all, curl_off_t down, curl_off_t up_all,
                       curl_off_t up)
{
    struct exchange *exchange = user;
    (void)down_all;
    (void)down;
    (void)up_all;
    (void)up;
    return s3_is_given_up(exchange->store, exchange->request);
}

/* -- the transfer --------------------------------------------------------------------------------
 */

static void set_method(CURL *curl, const struct s3_request *request, bool has_body)
{
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    if (strcmp(request->method, "HEAD") == 0) {
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    } else if (has_body) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_length);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body_length ? request->body : "");
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    }
}

/* A request may stall no longer than a third of its budget, so that there is a second one. */
static long patience_of(const struct exchange *exchange)
{
    const struct s3_request *request = exchange->request;
    long seconds = request->is_patient ? S3_LONG_PATIENCE_S : S3_PATIENCE_S;
    long third = (long)(s3_budget_us(exchange->store, request) / US_PER_SECOND / 3);
    if (!request->is_patient && third < seconds)
        seconds = third;
    return seconds < 1 ? 1 : seconds;
}

static void set_options(struct exchange *exchange)
{
    CURL *curl = exchange->curl;
    curl_easy_setopt(curl, CURLOPT_URL, exchange->address.url);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "pgcairn/" PGCAIRN_VERSION);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_S);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)S3_STALL_BYTES);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, patience_of(exchange));
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, (long)CURL_BUFFER);
    curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, (long)CURL_BUFFER);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, exchange->lines);
    curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, exchange->curl_error);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, exchange);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, exchange);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, exchange);
    if (exchange->store->ca_file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, exchange->store->ca_file);
    set_method(curl, exchange->request, exchange->md5 != NULL);
}

static int transfer_failed(const struct exchange *exchange, CURLcode code)
{
    const char *why = exchange->curl_error[0] ? exchange->curl_error : curl_easy_strerror(code);
    struct error *err = exchange->err;
    if (exchange->rc)
        return exchange->rc;
    switch (code) {
    case CURLE_ABORTED_BY_CALLBACK:
        return error_set(err, ERR_INTERRUPTED, "stopped");
    case CURLE_OUT_OF_MEMORY:
        return error_no_memory(err);
    case CURLE_PEER_FAILED_VERIFICATION:
        error_set(err, ERR_AUTH, "%s does not prove who it is: %s", exchange->address.host, why);
        return error_hint(err, "name the certificate that signed the server's in ca_file:, or "
                               "correct the endpoint's host name");
    case CURLE_SSL_CACERT_BADFILE:
        error_set(err, ERR_AUTH, "the certificates of \"%s\" can't be read: %s",
                  exchange->store->ca_file ? exchange->store->ca_file : "the system", why);
        return error_hint(err, "check ca_file: in the policy, or install ca-certificates");
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        error_set(err, ERR_USAGE, "\"%s\" is no address: %s", exchange->address.host, why);
        return error_hint(err, "check endpoint: and url: in the policy");
    default:
        error_set(err, ERR_CONNECTION, "%s: %s", exchange->address.host, why);
        return error_hint(err, "check the network, the endpoint and that the service runs");
    }
}

/* libcurl takes a connection that ends within the headers for the end of the reply. */
static int check_head(const struct exchange *exchange)
{
    if (exchange->has_head)
        return 0;
    error_set(exchange->err, ERR_CONNECTION, "%s: the reply ended within its headers",
              exchange->address.host);
    return error_hint(exchange->err, "check the network, the endpoint and that the service runs");
}

static int transfer(struct exchange *exchange)
{
    bool is_warm;
    long connects = 0;
    exchange->curl = take_handle(exchange->store, &is_warm);
    if (!exchange->curl)
        return error_no_memory(exchange->err);
    set_options(exchange);
    CURLcode code = curl_easy_perform(exchange->curl);
    long status = status_of(exchange);
    curl_easy_getinfo(exchange->curl, CURLINFO_NUM_CONNECTS, &connects);
    bool is_over = code == CURLE_OK || exchange->has_enough;
    int rc = is_over ? check_head(exchange) : transfer_failed(exchange, code);
    curl_easy_setopt(exchange->curl, CURLOPT_ERRORBUFFER, NULL);
    give_handle(exchange->store, exchange->curl);
    exchange->reply->status = rc ? 0 : status;
    exchange->reply->may_be_repeated = is_warm && connects > 0;
    return rc;
}

int s3_exchange(struct s3_store *store, const struct s3_request *request,
                const struct s3_digest *md5, const struct s3_digest *sha256,
                struct s3_credentials *ret_used, struct s3_reply *reply, struct error *err)
{
    struct exchange exchange = {
        .store = store,
        .request = request,
        .reply = reply,
        .md5 = md5,
        .sha256 = sha256,
        .credentials = ret_used,
        .range_from = request->range ? request->range->offset + (int64_t)request->range->got : -1,
        .err = err,
    };
    int rc = s3_address_init(&exchange.address, store, request, err);
    if (!rc)
        rc = add_headers(&exchange);
    if (!rc)
        rc = transfer(&exchange);
    curl_slist_free_all(exchange.lines);
    s3_address_clear(&exchange.address);
    return rc;
}
