/*
 * A small HTTP server over libmicrohttpd for pages that are only read, in one thread of its own, so
 * that no client can hold up anything but other clients.
 *
 *     static const struct http_page PAGES[] = {{.path = "/healthz", .answer = ...}, {0}};
 *     struct http_options options = {.listen = "9543", .pages = PAGES, .context = board};
 *     rc = http_start(&options, &http, err);       from here on answer() is called by the thread
 *     http_address(http)                           "127.0.0.1:9543"
 *     http_free(http);                             ends the thread
 *
 * GET and HEAD only; every connection carries one request and is closed. Limits: so many
 * connections at a time, further clients wait in the kernel; so long for a request to arrive and
 * for its reply to be taken, whatever a client sends in between; so many bytes of a request. A page
 * that is asked again within its fresh_us is answered from memory.
 *
 * With a token, pages that are not open demand "Authorization: Bearer TOKEN", or for browsers the
 * token as the password of Basic, compared in constant time. The file of the token must not be
 * readable by others; http_reread_token() takes a changed one.
 */
#ifndef PGCAIRN_WATCH_HTTP_H
#define PGCAIRN_WATCH_HTTP_H

#include <stdint.h>

#include "base/buf.h"
#include "base/instant.h"

enum {
    HTTP_CONNECTIONS_MAX = 256,
    HTTP_BACKLOG = 128,
    HTTP_REQUEST_BYTES = 16 << 10, /* line and headers of a request */
    HTTP_TOKEN_MIN = 16,           /* bytes of a token */
    HTTP_TOKEN_MAX = 1024,
    HTTP_DEFAULT_PORT = 9543,
};

#define HTTP_REQUEST_US (5 * US_PER_SECOND) /* until the headers are here */
#define HTTP_REPLY_US (60 * US_PER_SECOND)  /* until the reply was taken */

struct http_reply {
    unsigned status;
    const char *type;  /* Content-Type */
    struct buf body;   /* taken */
    const char *style; /* the one <style> of an HTML page, which its policy allows; NULL: none */
};

struct http_page {
    const char *path; /* NULL ends the list */
    bool is_open;     /* no token is asked for */
    int64_t fresh_us; /* 0: made anew for each request */
    size_t bytes_max;
    int (*answer)(void *context, struct http_reply *reply, struct error *err);
};

struct http_options {
    const char *listen;     /* PORT, :PORT, ADDRESS:PORT, [ADDRESS]:PORT or ADDRESS; *: all */
    const char *token_file; /* NULL: no token */
    const struct http_page *pages;
    void *context;
};

struct http;

/* ERR_USAGE for an address that is none, ERR_PERMISSION for a token that others can read,
 * ERR_BUSY for an address in use. */
int http_start(const struct http_options *options, struct http **ret_http, struct error *err);
struct http *http_free(struct http *http);

const char *http_address(const struct http *http);
bool http_is_public(const struct http *http); /* others than this machine can reach it */
int http_reread_token(struct http *http, struct error *err); /* a bad file keeps the token */

DEFINE_FREEP(struct http *, http_free)

#endif
