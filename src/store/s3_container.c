/* The endpoint that ECS and EKS Pod Identity give to a container (AWS SDKs and Tools Reference
 * Guide, "Container credential provider"). */
#include "store/s3_provider.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <string.h>
#include <strings.h>

#include "store/s3_curl.h"
#include "store/s3_fetch.h"
#include "store/s3_secret.h"

enum { AUTHORIZATION_MAX = 16 << 10 };

DEFINE_FREEP(CURLU *, curl_url_cleanup)

static void free_part(char **text)
{
    curl_free(*text);
}

/* Of a host as libcurl writes it: IPv6 in brackets, IPv4 with four decimal numbers. */
static bool is_allowed_host(const char *host)
{
    static const char *const IPV6[] = {"::1", "fd00:ec2::23"};
    struct in_addr v4;
    struct in6_addr v6, allowed;
    if (strcasecmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        uint32_t address = ntohl(v4.s_addr);
        return address >> 24 == 127 || address == 0xA9FEAA02u || address == 0xA9FEAA17u;
    }
    char bare[INET6_ADDRSTRLEN + 1];
    size_t length = strlen(host);
    if (length < 2 || length - 2 >= sizeof(bare) || *host != '[')
        return false;
    memcpy(bare, host + 1, length - 2);
    bare[length - 2] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(IPV6); i++)
        if (inet_pton(AF_INET6, bare, &v6) == 1 && inet_pton(AF_INET6, IPV6[i], &allowed) == 1 &&
            memcmp(&v6, &allowed, sizeof(v6)) == 0)
            return true;
    return false;
}

int s3_container_check(const char *url, struct error *err)
{
    s3_curl_init();
    _cleanup_(curl_url_cleanupp) CURLU *parts = curl_url();
    _cleanup_(free_part) char *scheme = NULL;
    _cleanup_(free_part) char *host = NULL;
    if (!parts)
        return error_no_memory(err);
    if (curl_url_set(parts, CURLUPART_URL, url, 0) ||
        curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) ||
        curl_url_get(parts, CURLUPART_HOST, &host, 0)) {
        error_set(err, ERR_USAGE, "AWS_CONTAINER_CREDENTIALS_FULL_URI is no URL");
        return error_hint(err, "it is like http://169.254.170.23/v1/credentials");
    }
    if (strcmp(scheme, "https") == 0 || (strcmp(scheme, "http") == 0 && is_allowed_host(host)))
        return 0;
    error_set(err, ERR_USAGE, "AWS_CONTAINER_CREDENTIALS_FULL_URI may not be %s to \"%s\"", scheme,
              host);
    return error_hint(err, "use https, or http to this machine, 169.254.170.2, 169.254.170.23 or "
                           "fd00:ec2::23");
}

/* "Authorization: TOKEN" into a secret buffer that stays empty when no token is set. The file is
 * read anew each time, as its content is replaced before it ends. */
static int make_authorization(const struct s3_credentials_source *source, struct buf *header,
                              struct error *err)
{
    _cleanup_(s3_secret_clear) struct buf token = BUF_INIT(0);
    int rc = s3_secret_init(header, AUTHORIZATION_MAX + 32, err);
    if (!rc && source->token_file)
        rc = s3_token_read(source->token_file, AUTHORIZATION_MAX, &token, err);
    const char *text = source->token_file ? buf_text(&token) : source->authorization;
    if (rc || !text)
        return rc;
    if (strpbrk(text, "\r\n")) {
        error_set(err, ERR_USAGE, "AWS_CONTAINER_AUTHORIZATION_TOKEN is more than one line");
        return error_hint(err, "set it to the token alone");
    }
    buf_addf(header, "Authorization: %s", text);
    return buf_failed(header, "AWS_CONTAINER_AUTHORIZATION_TOKEN", err);
}

static int fetch_container(const struct s3_credentials_source *source,
                           struct s3_credentials *ret_credentials, struct error *err)
{
    _cleanup_(s3_secret_clear) struct buf reply = BUF_INIT(0);
    _cleanup_(s3_secret_clear) struct buf authorization = BUF_INIT(0);
    int rc = make_authorization(source, &authorization, err);
    if (!rc)
        rc = s3_secret_init(&reply, S3_FETCH_REPLY_MAX, err);
    if (rc)
        return rc;
    struct s3_fetch request = {
        .what = source->origin,
        .cure = "check AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI, which the container's "
                "platform sets",
        .method = "GET",
        .url = source->url,
        .headers = {authorization.length ? buf_text(&authorization) : NULL},
        .ca_file = source->ca_file,
        .is_local = true,
        .connect_ms = 2000,
        .all_ms = 5000,
        .retry_us = 2 * US_PER_SECOND,
        .stop = &source->stop,
    };
    long status = 0;
    if ((rc = s3_fetch(&request, &reply, &status, err)))
        return rc;
    if (status == 200)
        return s3_credentials_from_json(&reply, source->origin, ret_credentials, err);
    error_set(err, ERR_AUTH, "%s answered HTTP status %ld to the request for credentials",
              source->origin, status);
    return error_hint(err, "check the role of the task or pod, and the token in "
                           "AWS_CONTAINER_AUTHORIZATION_TOKEN or _TOKEN_FILE");
}

const struct s3_provider s3_container = {.name = "container", .fetch = fetch_container};
