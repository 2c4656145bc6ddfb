#include "watch/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/units.h"
#include "watch/token.h"

enum {
    PAGES_MAX = 16,
    ADDRESS_MAX = 128,
    TICK_MS = 500, /* how often the age of connections is looked at */
    IDLE_SECONDS = 10,
    POLICY_BYTES = 256,
};

/* An open connection; libmicrohttpd itself knows only of silence, not of a client that sends a byte
 * now and then. */
struct visitor {
    struct visitor *next;
    int fd;
    int64_t until_us; /* monotonic; the connection ends then, INT64_MAX: it was told to */
};

struct kept {
    struct MHD_Response *response;
    unsigned status;
    int64_t made_us; /* monotonic */
};

struct http {
    struct http_options options;
    char address[ADDRESS_MAX];
    bool is_public;
    int stop_fd;
    struct MHD_Daemon *daemon;
    pthread_t thread;
    bool has_thread;
    struct visitor *visitors;
    struct kept kept[PAGES_MAX]; /* of the pages with fresh_us */
    pthread_mutex_t mutex;       /* of the token */
    struct token token;
    bool has_token;
};

/* -- replies --------------------------------------------------------------------------------- */

/* Nothing is loaded, nothing runs, nothing is kept, nobody frames it. */
static void add_headers(struct MHD_Response *response, const struct http_reply *reply)
{
    char policy[POLICY_BYTES], base64[64] = "";
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    if (reply->style &&
        EVP_Digest(reply->style, strlen(reply->style), hash, &size, EVP_sha256(), NULL) == 1)
        EVP_EncodeBlock((unsigned char *)base64, hash, (int)size);
    snprintf(policy, sizeof(policy),
             "default-src 'none'; style-src %s%s%s; base-uri 'none'; form-action 'none'; "
             "frame-ancestors 'none'",
             *base64 ? "'sha256-" : "'none'", base64, *base64 ? "'" : "");
    MHD_add_response_header(response, "Content-Security-Policy", policy);
    MHD_add_response_header(response, "Content-Type", reply->type);
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    MHD_add_response_header(response, "Connection", "close");
}

/* Takes the body. NULL without memory. */
static struct MHD_Response *make_response(struct http_reply *reply)
{
    size_t length = reply->body.length;
    char *text = buf_steal(&reply->body);
    struct MHD_Response *response =
        text ? MHD_create_response_from_buffer(length, text, MHD_RESPMEM_MUST_FREE) : NULL;
    if (response)
        add_headers(response, reply);
    else
        free(text);
    return response;
}

static struct MHD_Response *text_response(const char *text)
{
    struct http_reply reply = {.type = "text/plain; charset=utf-8", .body = BUF_INIT(4096)};
    buf_addf(&reply.body, "%s\n", text);
    return make_response(&reply);
}

static enum MHD_Result send_response(struct MHD_Connection *connection, unsigned status,
                                     struct MHD_Response *response)
{
    if (!response)
        return MHD_NO;
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result refuse(struct MHD_Connection *connection)
{
    struct MHD_Response *response = text_response("a token is needed");
    if (response) {
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer realm=\"pgcairn\"");
        MHD_add_response_header(response, "WWW-Authenticate",
                                "Basic realm=\"pgcairn: the token is the password\"");
    }
    return send_response(connection, MHD_HTTP_UNAUTHORIZED, response);
}

static enum MHD_Result refuse_method(struct MHD_Connection *connection)
{
    struct MHD_Response *response = text_response("only GET and HEAD");
    if (response)
        MHD_add_response_header(response, "Allow", "GET, HEAD");
    return send_response(connection, MHD_HTTP_METHOD_NOT_ALLOWED, response);
}

/* -- pages ----------------------------------------------------------------------------------- */

static struct MHD_Response *make_page(struct http *http, const struct http_page *page,
                                      unsigned *ret_status)
{
    struct http_reply reply = {.status = MHD_HTTP_OK,
                               .type = "text/plain; charset=utf-8",
                               .body = BUF_INIT(page->bytes_max)};
    struct error err = ERROR_NONE;
    int rc = page->answer(http->options.context, &reply, &err);
    if (!rc)
        rc = buf_failed(&reply.body, "the page", &err);
    if (rc) {
        buf_clear(&reply.body);
        *ret_status = MHD_HTTP_INTERNAL_SERVER_ERROR;
        return text_response(err.message);
    }
    *ret_status = reply.status;
    return make_response(&reply);
}

/* The kept response is shared by all who are being sent it; one that is replaced goes with the last
 * of them. */
static enum MHD_Result send_page(struct http *http, struct MHD_Connection *connection, size_t index)
{
    const struct http_page *page = &http->options.pages[index];
    struct kept *kept = &http->kept[index];
    unsigned status = 0;
    if (page->fresh_us == 0) {
        struct MHD_Response *response = make_page(http, page, &status);
        return send_response(connection, status, response);
    }
    if (!kept->response || instant_monotonic_us() - kept->made_us >= page->fresh_us) {
        if (kept->response)
            MHD_destroy_response(kept->response);
        kept->response = make_page(http, page, &kept->status);
        kept->made_us = instant_monotonic_us();
    }
    return kept->response ? MHD_queue_response(connection, kept->status, kept->response) : MHD_NO;
}

static bool is_allowed(struct http *http, struct MHD_Connection *connection)
{
    const char *given =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    pthread_mutex_lock(&http->mutex);
    struct token token = http->token;
    bool has_token = http->has_token;
    pthread_mutex_unlock(&http->mutex);
    return !has_token || token_matches(&token, given);
}

static void give_time(struct MHD_Connection *connection, int64_t us)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct visitor *visitor = info ? info->socket_context : NULL;
    if (visitor)
        visitor->until_us = instant_monotonic_us() + us;
}

/* Called when the headers are here; a body is not waited for. */
static enum MHD_Result take_request(void *context, struct MHD_Connection *connection,
                                    const char *url, const char *method, const char *version,
                                    const char *data, size_t *data_size, void **request)
{
    struct http *http = context;
    const struct http_page *pages = http->options.pages;
    size_t index = 0;
    (void)version;
    (void)data;
    (void)data_size;
    (void)request;
    give_time(connection, HTTP_REPLY_US);
    while (pages[index].path && strcmp(pages[index].path, url) != 0)
        index++;
    if (!(pages[index].path && pages[index].is_open) && !is_allowed(http, connection))
        return refuse(connection);
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return refuse_method(connection);
    if (!pages[index].path)
        return send_response(connection, MHD_HTTP_NOT_FOUND,
                             text_response("there is no such page"));
    return send_page(http, connection, index);
}

/* -- the thread ------------------------------------------------------------------------------ */

static void note_connection(void *context, struct MHD_Connection *connection, void **socket_context,
                            enum MHD_ConnectionNotificationCode code)
{
    struct http *http = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        struct visitor *visitor = calloc(1, sizeof(*visitor));
        if (!info || !visitor) {
            free(visitor);
            return; /* the library's own limit of silence holds for it */
        }
        *visitor = (struct visitor){.next = http->visitors,
                                    .fd = info->connect_fd,
                                    .until_us = instant_monotonic_us() + HTTP_REQUEST_US};
        http->visitors = *socket_context = visitor;
        return;
    }
    for (struct visitor **at = &http->visitors; *at; at = &(*at)->next) {
        if (*at == *socket_context) {
            *at = (*at)->next;
            free(*socket_context);
            return;
        }
    }
}

/* The library sees the end of the socket and closes it. */
static void end_slow_ones(struct http *http)
{
    int64_t now_us = instant_monotonic_us();
    for (struct visitor *visitor = http->visitors; visitor; visitor = visitor->next) {
        if (visitor->until_us <= now_us) {
            shutdown(visitor->fd, SHUT_RDWR);
            visitor->until_us = INT64_MAX;
        }
    }
}

static int find_timeout(struct http *http)
{
    MHD_UNSIGNED_LONG_LONG timeout = 0;
    int longest = http->visitors ? TICK_MS : -1;
    if (MHD_get_timeout(http->daemon, &timeout) != MHD_YES)
        return longest;
    return longest >= 0 && timeout > (unsigned)longest ? longest : (int)timeout;
}

static void *serve(void *context)
{
    struct http *http = context;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    struct pollfd watched[] = {{.fd = http->stop_fd, .events = POLLIN},
                               {.fd = info->epoll_fd, .events = POLLIN}};
    while (!(watched[0].revents & POLLIN)) {
        if (poll(watched, ARRAY_SIZE(watched), find_timeout(http)) < 0 && errno != EINTR)
            break;
        end_slow_ones(http);
        bool was_busy = http->visitors != NULL;
        MHD_run(http->daemon);
        if (was_busy && !http->visitors) /* where they were too many, this one listens again */
            MHD_run(http->daemon);
    }
    return NULL;
}

/* -- the address ----------------------------------------------------------------------------- */

/* "[::1]:80", "::1", "127.0.0.1:80", "localhost", ":80", "80"; an address alone has the default
 * port, a port alone is this machine's. */
static int split_address(const char *text, char host[ADDRESS_MAX], char port[16], struct error *err)
{
    const char *colon = strrchr(text, ':');
    bool has_brackets = *text == '[';
    bool is_number = text[strspn(text, "0123456789")] == '\0' && *text;
    const char *end = has_brackets ? strchr(text, ']') : colon;
    snprintf(port, 16, "%d", HTTP_DEFAULT_PORT);
    snprintf(host, ADDRESS_MAX, "127.0.0.1");
    if (is_number) {
        snprintf(port, 16, "%.15s", text);
        return 0;
    }
    if (!has_brackets && colon && strchr(text, ':') != colon)
        end = colon = NULL; /* an IPv6 address alone */
    if (has_brackets && (!end || (end[1] != '\0' && end[1] != ':')))
        return error_set(err, ERR_USAGE, "\"%s\" is no ADDRESS:PORT", text);
    if (has_brackets)
        colon = end[1] ? end + 1 : NULL;
    if (colon)
        snprintf(port, 16, "%.15s", colon + 1);
    size_t length = end ? (size_t)(end - text) - has_brackets : strlen(text);
    if (length > 0)
        snprintf(host, ADDRESS_MAX, "%.*s", (int)length, text + has_brackets);
    return 0;
}

static int find_address(const char *text, struct addrinfo **ret_found, struct error *err)
{
    char host[ADDRESS_MAX], port[16];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    int rc = split_address(text, host, port, err);
    if (rc)
        return rc;
    bool is_all = strcmp(host, "*") == 0;
    int64_t number = 0;
    rc = number_parse(port, "the port", 0, UINT16_MAX, &number, err);
    int failure = rc ? 0 : getaddrinfo(is_all ? NULL : host, port, &hints, ret_found);
    if (!rc && failure == 0)
        return 0;
    if (failure)
        error_set(err, ERR_USAGE, "could not listen on \"%s\": %s", text, gai_strerror(failure));
    return error_hint(err, "ADDRESS:PORT, for example 127.0.0.1:%d or [::1]:%d", HTTP_DEFAULT_PORT,
                      HTTP_DEFAULT_PORT);
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    const struct sockaddr_in *four = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
    return address->ss_family == AF_INET ? ntohl(four->sin_addr.s_addr) >> 24 == 127
                                         : IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
}

/* With the port that the kernel chose, if it was to choose one. */
static void describe_address(struct http *http, int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(address);
    char host[ADDRESS_MAX - 32] = "", port[16] = "";
    getsockname(fd, (struct sockaddr *)&address, &size);
    getnameinfo((struct sockaddr *)&address, size, host, sizeof(host), port, sizeof(port),
                NI_NUMERICHOST | NI_NUMERICSERV);
    bool is_six = address.ss_family == AF_INET6;
    snprintf(http->address, sizeof(http->address), "%s%s%s:%s", is_six ? "[" : "", host,
             is_six ? "]" : "", port);
    http->is_public = !is_loopback(&address);
}

static int open_socket(struct http *http, int *ret_fd, struct error *err)
{
    struct addrinfo *found = NULL;
    const int on = 1;
    int rc = find_address(http->options.listen, &found, err);
    if (rc)
        return rc;
    _cleanup_(closep) int fd =
        socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, HTTP_BACKLOG) != 0)
        rc = errno;
    freeaddrinfo(found);
    if (rc == EADDRINUSE) {
        error_set(err, ERR_BUSY, "could not listen on \"%s\": another program does",
                  http->options.listen);
        return error_hint(err, "choose another port, or find it: ss -ltnp");
    }
    if (rc)
        return error_set_errno(err, rc, "could not listen on \"%s\"", http->options.listen);
    describe_address(http, fd);
    *ret_fd = fd;
    fd = -1; /* the caller's */
    return 0;
}

/* -- start and end --------------------------------------------------------------------------- */

static int start_daemon(struct http *http, struct error *err)
{
    int fd = -1;
    int rc = open_socket(http, &fd, err);
    if (rc)
        return rc;
    http->daemon = MHD_start_daemon(
        MHD_USE_EPOLL, 0, NULL, NULL, take_request, http, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_REQUEST_BYTES,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_NOTIFY_CONNECTION, note_connection, http, MHD_OPTION_END);
    if (http->daemon)
        return 0;
    close(fd);
    return error_set(err, ERR_FAILED, "could not start the HTTP server on %s", http->address);
}

int http_reread_token(struct http *http, struct error *err)
{
    struct token token;
    if (!http->options.token_file)
        return 0;
    int rc = token_read(http->options.token_file, &token, err);
    if (rc)
        return rc;
    pthread_mutex_lock(&http->mutex);
    http->token = token;
    http->has_token = true;
    pthread_mutex_unlock(&http->mutex);
    return 0;
}

int http_start(const struct http_options *options, struct http **ret_http, struct error *err)
{
    struct http *made = calloc(1, sizeof(*made));
    if (!made)
        return error_no_memory(err);
    *made = (struct http){.options = *options, .mutex = PTHREAD_MUTEX_INITIALIZER};
    made->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    _cleanup_(http_freep) struct http *http = made;
    int rc = http->stop_fd < 0 ? error_set_errno(err, errno, "eventfd") : 0;
    if (!rc)
        rc = http_reread_token(http, err);
    if (!rc)
        rc = start_daemon(http, err);
    if (rc)
        return rc;
    rc = pthread_create(&http->thread, NULL, serve, http);
    if (rc)
        return error_set_errno(err, rc, "could not start the thread of the HTTP server");
    http->has_thread = true;
    *ret_http = TAKE(http);
    return 0;
}

struct http *http_free(struct http *http)
{
    static const uint64_t one = 1;
    if (!http)
        return NULL;
    if (http->has_thread) {
        (void)!write(http->stop_fd, &one, sizeof(one));
        pthread_join(http->thread, NULL);
    }
    if (http->daemon)
        MHD_stop_daemon(http->daemon);
    for (size_t i = 0; i < PAGES_MAX; i++)
        if (http->kept[i].response)
            MHD_destroy_response(http->kept[i].response);
    closep(&http->stop_fd);
    pthread_mutex_destroy(&http->mutex);
    free(http);
    return NULL;
}

const char *http_address(const struct http *http)
{
    return http->address;
}

bool http_is_public(const struct http *http)
{
    return http->is_public;
}
