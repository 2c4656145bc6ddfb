#include "notify/deliver.h"

#include <curl/curl.h>
#include <string.h>

#include "base/units.h"
#include "base/utf8.h"
#include "store/s3_curl.h"
#include "store/s3_secret.h"

enum {
    OK_FIRST = 200,
    OK_LAST = 299,
    REDIRECT_FIRST = 300,
    REDIRECT_LAST = 399,
    POLL_MS = 1000,
    SECRET_MIN = 4, /* a shorter piece of a URL is none */
    SMTP_REFUSED = 500,
    TOO_MANY = 429,
};

/* One message on its way. */
struct transfer {
    struct notify_delivery *delivery;
    struct notify_message message;
    CURL *curl;
    struct curl_slist *headers, *recipients;
    size_t sent;
    struct buf reply;
    int64_t began_us;
    char words[CURL_ERROR_SIZE]; /* libcurl's own */
};

/* -- what a result means ------------------------------------------------------------------- */

bool notify_http_is_retryable(long status)
{
    static const long FINAL[] = {400, 410, 413, 422};
    for (size_t i = 0; i < ARRAY_SIZE(FINAL); i++)
        if (status == FINAL[i])
            return false;
    return status < REDIRECT_FIRST || status > REDIRECT_LAST;
}

static bool has_piece(const char *text, const char *piece, size_t length)
{
    return length >= SECRET_MIN && memmem(text, strlen(text), piece, length) != NULL;
}

bool notify_reveals(const char *text, const char *url)
{
    const char *at = strstr(url, "://");
    at = at ? at + 3 : url;
    size_t authority = strcspn(at, "/?#");
    const char *host = memrchr(at, '@', authority);
    if (strchr(url, '%')) /* it may come back decoded */
        return true;
    for (const char *c = at; host && c < host; c++) {
        size_t length = strcspn(c, ":@");
        if (has_piece(text, c, length))
            return true;
        c += length;
    }
    for (const char *c = at + authority; *c; c++) {
        size_t length = strcspn(c, "/?&=#;,");
        if (has_piece(text, c, length))
            return true;
        c += length;
        if (!*c)
            break;
    }
    return false;
}

/* The first line that the receiver said, if it can be shown. */
static const char *reply_words(struct transfer *transfer, char text[NOTIFY_WORDS_MAX])
{
    const struct policy_notify *notify = transfer->delivery->notify;
    const char *reply = buf_text(&transfer->reply);
    *text = '\0';
    reply += strspn(reply, " \t\r\n");
    if (notify_reveals(reply, notify->url) ||
        (notify->password && has_piece(reply, notify->password, strlen(notify->password))))
        return text;
    if (*reply == '<') /* a page for people */
        return text;
    snprintf(text, NOTIFY_WORDS_MAX, "%.*s", (int)strcspn(reply, "\r\n"), reply);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    return utf8_mend(text);
}

static int set_status(struct transfer *transfer, long status, struct error *err)
{
    char words[NOTIFY_WORDS_MAX];
    reply_words(transfer, words);
    error_set(err, ERR_FAILED, "%s answered %ld%s%s", transfer->delivery->notify->shown, status,
              *words ? ": " : "", words);
    transfer->delivery->is_retryable = notify_http_is_retryable(status);
    if (status >= REDIRECT_FIRST && status <= REDIRECT_LAST)
        return error_hint(err, "it points to another address, which is not followed: give the "
                               "policy the address itself");
    if (status == TOO_MANY || status >= 500)
        return error_hint(err, "the receiver is in trouble or wants fewer messages");
    return error_hint(err, "check the URL in the policy and what the receiver expects");
}

static const char *tls_hint(CURLcode code)
{
    switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
        return "name the file that holds the certificate of its authority: ca_file: of the entry";
    case CURLE_SSL_CACERT_BADFILE:
        return "ca_file: must name a file of certificates in PEM that pgcairn can read";
    case CURLE_USE_SSL_FAILED:
        return "the server offers no STARTTLS, and nothing is sent to another machine without TLS";
    default:
        return "check the server's TLS";
    }
}

/* libcurl's words may repeat what the receiver said. */
static const char *curl_words(struct transfer *transfer, CURLcode code)
{
    const struct policy_notify *notify = transfer->delivery->notify;
    const char *words = transfer->words;
    if (!*words || notify_reveals(words, notify->url) ||
        (notify->password && has_piece(words, notify->password, strlen(notify->password))))
        return curl_easy_strerror(code);
    return utf8_mend(transfer->words);
}

static int set_failure(struct transfer *transfer, CURLcode code, struct error *err)
{
    const char *shown = transfer->delivery->notify->shown;
    const char *words = curl_words(transfer, code);
    long status = 0;
    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    transfer->delivery->is_retryable = true;
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        error_set(err, ERR_TIMEOUT, "%s gave no answer in time: %s", shown, words);
        return error_hint(err, "see whether the receiver runs and the network lets it be reached");
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_USE_SSL_FAILED:
        error_set(err, ERR_CONNECTION, "%s: %s", shown, words);
        return error_hint(err, "%s", tls_hint(code));
    case CURLE_LOGIN_DENIED:
        error_set(err, ERR_AUTH, "%s refused user and password: %s", shown, words);
        return error_hint(err, "check user: and password: of the entry");
    default:
        break;
    }
    if (transfer->delivery->notify->kind == NOTIFY_EMAIL && status >= SMTP_REFUSED) {
        transfer->delivery->is_retryable = false;
        error_set(err, ERR_FAILED, "%s refused the mail (%ld): %s", shown, status, words);
        return error_hint(err, "check from: and to: of the entry, and the server's own log");
    }
    error_set(err, ERR_CONNECTION, "%s: %s", shown, words);
    return error_hint(err, "see whether the receiver runs and the network lets it be reached");
}

/* -- one transfer -------------------------------------------------------------------------- */

static size_t take_reply(char *data, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    size_t length = size * count;
    if (transfer->reply.length + length > NOTIFY_REPLY_MAX)
        return 0; /* enough: its status is known already */
    return buf_add(&transfer->reply, data, length) ? 0 : length;
}

static size_t give_mail(char *data, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    size_t left = transfer->message.body.length - transfer->sent;
    size_t length = size * count < left ? size * count : left;
    memcpy(data, buf_text(&transfer->message.body) + transfer->sent, length);
    transfer->sent += length;
    return length;
}

static int add_item(struct curl_slist **list, const char *text, struct error *err)
{
    struct curl_slist *longer = curl_slist_append(*list, text);
    if (!longer)
        return error_no_memory(err);
    *list = longer;
    return 0;
}

static int set_http(struct transfer *transfer, struct error *err)
{
    char line[128];
    CURL *curl = transfer->curl;
    snprintf(line, sizeof(line), "Content-Type: %s", transfer->message.content_type);
    int rc = add_item(&transfer->headers, line, err);
    if (!rc)
        rc = add_item(&transfer->headers, "Expect:", err);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, transfer->headers);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "pgcairn/" PGCAIRN_VERSION);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, buf_text(&transfer->message.body));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)transfer->message.body.length);
    return rc;
}

/* libcurl copies the password; the buffer is overwritten at once. */
static int set_login(CURL *curl, const struct policy_notify *notify, struct error *err)
{
    _cleanup_(s3_secret_clear) struct buf text = BUF_INIT(0);
    if (!notify->user)
        return 0;
    curl_easy_setopt(curl, CURLOPT_USERNAME, notify->user);
    if (!notify->password_file) {
        curl_easy_setopt(curl, CURLOPT_PASSWORD, notify->password ? notify->password : "");
        return 0;
    }
    int rc = s3_secret_read(notify->password_file, S3_SECRET_TOKEN, NOTIFY_PASSWORD_MAX, &text,
                            NULL, err);
    if (rc)
        return rc;
    if (text.data)
        text.data[strcspn(text.data, "\r\n")] = '\0';
    curl_easy_setopt(curl, CURLOPT_PASSWORD, buf_text(&text));
    return 0;
}

/* The mail server of this machine is often one without a certificate that anybody knows. */
static int set_mail(struct transfer *transfer, struct error *err)
{
    const struct policy_notify *notify = transfer->delivery->notify;
    CURL *curl = transfer->curl;
    char address[512];
    bool is_tried = notify_url_is_local(notify->url) && !notify->ca_file;
    snprintf(address, sizeof(address), "<%s>", notify->from);
    int rc = 0;
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(curl, CURLOPT_USE_SSL, (long)(is_tried ? CURLUSESSL_NONE : CURLUSESSL_ALL));
    curl_easy_setopt(curl, CURLOPT_MAIL_FROM, address);
    for (size_t i = 0; i < notify->to.count && !rc; i++) {
        snprintf(address, sizeof(address), "<%s>", notify->to.items[i]);
        rc = add_item(&transfer->recipients, address, err);
    }
    curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, transfer->recipients);
    /* An address that is refused keeps the mail from none of the others. */
    curl_easy_setopt(curl, CURLOPT_MAIL_RCPT_ALLLOWFAILS, 1L);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, give_mail);
    curl_easy_setopt(curl, CURLOPT_READDATA, transfer);
    return rc ? rc : set_login(curl, notify, err);
}

static int prepare(struct transfer *transfer, int64_t timeout_us, struct error *err)
{
    const struct notify_delivery *delivery = transfer->delivery;
    int64_t connect_us = timeout_us < NOTIFY_CONNECT_US ? timeout_us : NOTIFY_CONNECT_US;
    int rc = notify_message_make(delivery->notify, delivery->event, delivery->is_test,
                                 &transfer->message, err);
    CURL *curl = rc ? NULL : curl_easy_init();
    transfer->curl = curl;
    if (!rc && !curl)
        rc = error_no_memory(err);
    if (rc)
        return rc;
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, transfer->words);
    curl_easy_setopt(curl, CURLOPT_URL, buf_text(&transfer->message.url));
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(timeout_us / 1000));
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)(connect_us / 1000));
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_reply);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
    if (delivery->notify->ca_file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, delivery->notify->ca_file);
    return delivery->notify->kind == NOTIFY_EMAIL ? set_mail(transfer, err)
                                                  : set_http(transfer, err);
}

static void transfer_clear(struct transfer *transfer)
{
    curl_easy_cleanup(transfer->curl);
    curl_slist_free_all(transfer->headers);
    curl_slist_free_all(transfer->recipients);
    notify_message_clear(&transfer->message);
    buf_clear(&transfer->reply);
}

/* A reply that was too long, or cut off behind its head, has said what it had to. */
static void judge(struct transfer *transfer, CURLcode code)
{
    struct notify_delivery *delivery = transfer->delivery;
    long status = 0;
    delivery->took_us = instant_monotonic_us() - transfer->began_us;
    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    bool is_http = delivery->notify->kind != NOTIFY_EMAIL;
    if (is_http && (code == CURLE_OK || code == CURLE_WRITE_ERROR))
        delivery->rc = status >= OK_FIRST && status <= OK_LAST
                           ? 0
                           : set_status(transfer, status, &delivery->error);
    else
        delivery->rc = code == CURLE_OK ? 0 : set_failure(transfer, code, &delivery->error);
}

/* -- all of them --------------------------------------------------------------------------- */

static void take_results(CURLM *multi)
{
    CURLMsg *said;
    int left;
    while ((said = curl_multi_info_read(multi, &left))) {
        struct transfer *transfer = NULL;
        if (said->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(said->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
        judge(transfer, said->data.result);
    }
}

static int perform(CURLM *multi, struct error *err)
{
    int running = 1;
    while (running) {
        CURLMcode code = curl_multi_perform(multi, &running);
        if (code == CURLM_OK && running)
            code = curl_multi_poll(multi, NULL, 0, POLL_MS, NULL);
        if (code != CURLM_OK)
            return error_set(err, ERR_FAILED, "libcurl: %s", curl_multi_strerror(code));
        take_results(multi);
    }
    return 0;
}

static void begin(CURLM *multi, struct transfer *transfer, int64_t timeout_us)
{
    struct notify_delivery *delivery = transfer->delivery;
    transfer->began_us = instant_monotonic_us();
    transfer->reply = BUF_INIT(NOTIFY_REPLY_MAX);
    delivery->error = ERROR_NONE;
    delivery->is_retryable = true;
    delivery->rc = prepare(transfer, timeout_us, &delivery->error);
    if (delivery->rc)
        return;
    /* Until it is judged. */
    delivery->rc =
        error_set(&delivery->error, ERR_CONNECTION, "%s: it was not sent", delivery->notify->shown);
    curl_multi_add_handle(multi, transfer->curl);
}

int notify_deliver(struct notify_delivery *deliveries, size_t count, int64_t timeout_us,
                   struct error *err)
{
    s3_curl_init();
    _cleanup_(freep) struct transfer *transfers = calloc(count + 1, sizeof(*transfers));
    CURLM *multi = curl_multi_init();
    int rc = transfers && multi ? 0 : error_no_memory(err);
    for (size_t i = 0; i < count && !rc; i++) {
        transfers[i].delivery = &deliveries[i];
        begin(multi, &transfers[i], timeout_us);
    }
    if (!rc)
        rc = perform(multi, err);
    for (size_t i = 0; i < count && transfers; i++) {
        if (multi && transfers[i].curl)
            curl_multi_remove_handle(multi, transfers[i].curl);
        transfer_clear(&transfers[i]);
    }
    curl_multi_cleanup(multi);
    return rc;
}
