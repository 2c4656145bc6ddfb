/*
 * What the tests of credentials share: a HOME of their own, an environment without anything that
 * the AWS tools read, and a service that answers from a script.
 *
 * The service allocates nothing, for tests in which memory is short.
 *
 *     service_start(ROWS, ARRAY_SIZE(ROWS));    one row per connection, in turn
 *     ... service_url("/x") ...
 *     service_stop();                           then service_asked[i] is what it was asked
 */
#ifndef PGCAIRN_TESTS_STORE_S3_CASE_H
#define PGCAIRN_TESTS_STORE_S3_CASE_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/s3_provider.h"
#include "remove_tree.h"

#define UNUSED __attribute__((unused))

static UNUSED struct error case_err;

#define assert_ok(expression)                                                             \
    do {                                                                                  \
        case_err = ERROR_NONE;                                                            \
        int _rc = (expression);                                                           \
        if (_rc)                                                                          \
            fail_msg("%s: %s (%s)", #expression, case_err.message, error_code_name(_rc)); \
    } while (0)

/* Code and a piece of the text; every error has a cure, and none tells a secret (all secrets of
 * these tests hold "hush"). */
#define assert_fails(expression, expected_code, text)                                            \
    do {                                                                                         \
        case_err = ERROR_NONE;                                                                   \
        int _rc = (expression);                                                                  \
        if (_rc != (expected_code) || case_err.code != _rc || !strstr(case_err.message, (text))) \
            fail_msg("%s: %s (%s)", #expression, case_err.message, error_code_name(_rc));        \
        assert_string_not_equal(error_cure(&case_err), "");                                      \
        assert_null(strstr(case_err.message, "hush"));                                           \
        assert_null(strstr(case_err.hint, "hush"));                                              \
    } while (0)

static char case_home[64];

static UNUSED const char *home_path(const char *name)
{
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", case_home, name);
    return path;
}

static UNUSED void write_file(const char *name, mode_t mode, const char *text)
{
    const char *path = home_path(name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static UNUSED void clear_environment(void)
{
    static const char *const NAMES[] = {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_CONFIG_FILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT_URL_STS",
        "AWS_CA_BUNDLE",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_ROLE_ARN",
        "AWS_ROLE_SESSION_NAME",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
        "http_proxy",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
        "no_proxy",
        "NO_PROXY",
    };
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++)
        unsetenv(NAMES[i]);
}

static UNUSED int make_home(void **state)
{
    (void)state;
    clear_environment();
    snprintf(case_home, sizeof(case_home), "/tmp/pgcairn-s3-XXXXXX");
    if (!mkdtemp(case_home) || mkdir(home_path(".aws"), 0700) != 0)
        return -1;
    return setenv("HOME", case_home, 1);
}

static UNUSED int remove_home(void **state)
{
    (void)state;
    clear_environment();
    return remove_tree(case_home);
}

/* One connection: what is sent back after the request has come whole. */
struct service_row {
    const char *status; /* "200 OK"; NULL: close without a word */
    const char *body;
    int delay_ms; /* before the answer */
    size_t cut;   /* bytes of the body that are promised and never sent */
};

enum { SERVICE_ROWS_MAX = 16, SERVICE_TEXT_MAX = 128 << 10 };

static char service_asked[SERVICE_ROWS_MAX][SERVICE_TEXT_MAX];
static int service_count; /* connections so far */
static struct {
    const struct service_row *rows;
    size_t count;
    int listener, port, stop;
    pthread_t thread;
} service;

/* Whole: up to the blank line, and Content-Length bytes more. */
static inline void service_read(int fd, char *text)
{
    size_t length = 0;
    memset(text, 0, SERVICE_TEXT_MAX);
    while (length < SERVICE_TEXT_MAX - 1) {
        char *end = strstr(text, "\r\n\r\n"), *size = strstr(text, "Content-Length: ");
        size_t wanted = size && size < end ? strtoul(size + 16, NULL, 10) : 0;
        if (end && length >= (size_t)(end + 4 - text) + wanted)
            break;
        ssize_t n = recv(fd, text + length, SERVICE_TEXT_MAX - 1 - length, 0);
        if (n <= 0)
            break;
        length += (size_t)n;
    }
}

static inline void service_answer(int fd, const struct service_row *row)
{
    struct pollfd stop = {.fd = service.stop, .events = POLLIN};
    char head[256];
    if (row->delay_ms && poll(&stop, 1, row->delay_ms) != 0)
        return;
    if (!row->status)
        return;
    size_t length = strlen(row->body);
    int n = snprintf(head, sizeof(head),
                     "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", row->status,
                     length + row->cut);
    send(fd, head, (size_t)n, MSG_NOSIGNAL);
    send(fd, row->body, length, MSG_NOSIGNAL);
}

static inline void *service_serve(void *context)
{
    (void)context;
    for (;;) {
        struct pollfd polled[] = {{.fd = service.listener, .events = POLLIN},
                                  {.fd = service.stop, .events = POLLIN}};
        if (poll(polled, 2, -1) < 0 || polled[1].revents)
            return NULL;
        int fd = accept4(service.listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        int i = service_count;
        if (i < SERVICE_ROWS_MAX) {
            service_read(fd, service_asked[i]);
            service_count = i + 1;
            if ((size_t)i < service.count)
                service_answer(fd, &service.rows[i]);
        }
        close(fd);
    }
}

static UNUSED void service_stop(void)
{
    if (service.port == 0)
        return;
    eventfd_write(service.stop, 1);
    pthread_join(service.thread, NULL);
    close(service.listener);
    close(service.stop);
    service.port = 0;
}

static UNUSED void service_start(const struct service_row *rows, size_t count)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    service_stop();
    service_count = 0;
    service.rows = rows;
    service.count = count;
    service.stop = eventfd(0, EFD_CLOEXEC);
    service.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(service.listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(service.listener, 16), 0);
    assert_int_equal(getsockname(service.listener, (struct sockaddr *)&address, &size), 0);
    service.port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&service.thread, NULL, service_serve, NULL), 0);
}

static UNUSED const char *service_url(const char *path)
{
    static char url[256];
    snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", service.port, path);
    return url;
}

/* Opens, gets and frees. */
static UNUSED int get_once(const struct store_s3_options *options,
                           struct s3_credentials *ret_credentials, struct error *err)
{
    _cleanup_(s3_credentials_freep) struct s3_credentials_source *source = NULL;
    int rc = s3_credentials_open(options, &source, err);
    return rc ? rc : s3_credentials_get(source, ret_credentials, err);
}

#endif
