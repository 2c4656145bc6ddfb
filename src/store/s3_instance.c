/* The role of an EC2 instance, from its metadata service (EC2 User Guide, "Use the Instance
 * Metadata Service"). Version 2 alone: version 1 answers to anybody who can make us send a GET. The
 * limits of time are short, because elsewhere nothing answers at this address. */
#include "store/s3_provider.h"

#include <string.h>

#include "store/s3_fetch.h"
#include "store/s3_secret.h"

enum { SESSION_MAX = 4096, ROLE_MAX = 64, CONNECT_MS = 1000, ALL_MS = 2000 };

#define RETRY_US (US_PER_SECOND / 2)

static const char TOKEN_PATH[] = "/latest/api/token";
static const char ROLE_PATH[] = "/latest/meta-data/iam/security-credentials/";

static int ask(const struct s3_credentials_source *source, const char *method, const char *path,
               const char *more, const char *header, struct buf *reply, long *ret_status,
               struct error *err)
{
    size_t base = strlen(source->url);
    while (base > 0 && source->url[base - 1] == '/')
        base--;
    _cleanup_(freep) char *url = NULL;
    if (asprintf(&url, "%.*s%s%s", (int)base, source->url, path, more) < 0)
        return error_no_memory(err);
    struct s3_fetch request = {
        .what = source->origin,
        .cure = "see whether this is an EC2 instance whose metadata service is on",
        .method = method,
        .url = url,
        .headers = {header},
        .is_local = true,
        .connect_ms = CONNECT_MS,
        .all_ms = ALL_MS,
        .retry_us = RETRY_US,
        .stop = &source->stop,
    };
    return s3_fetch(&request, reply, ret_status, err);
}

static int bad_status(const char *what, long status, struct error *err)
{
    error_set(err, ERR_AUTH, "instance metadata answered HTTP status %ld to the request for %s",
              status, what);
    return error_hint(err, "see the instance's metadata options and its IAM role");
}

/* A text of one line that may go into a header or URL. */
static bool is_word(const char *text, size_t length, size_t max)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return length > 0 && length <= max;
}

/* The session token, as a header for what follows. No answer, or a refusal of version 2, is
 * ERR_NOT_FOUND: there is no such service here. */
static int open_session(const struct s3_credentials_source *source, struct buf *header,
                        struct error *err)
{
    _cleanup_(s3_secret_clear) struct buf reply = BUF_INIT(0);
    long status = 0;
    int rc = s3_secret_init(&reply, SESSION_MAX, err);
    if (!rc)
        rc = ask(source, "PUT", TOKEN_PATH, "", "X-aws-ec2-metadata-token-ttl-seconds: 300", &reply,
                 &status, err);
    if (rc == ERR_CONNECTION && err)
        err->code = ERR_NOT_FOUND;
    if (rc)
        return rc == ERR_CONNECTION ? ERR_NOT_FOUND : rc;
    if (status == 403 || status == 404 || status == 405)
        return error_set(err, ERR_NOT_FOUND,
                         "instance metadata is off (HTTP status %ld for a session)", status);
    if (status != 200)
        return bad_status("a session", status, err);
    if (!is_word(buf_text(&reply), reply.length, SESSION_MAX)) {
        error_set(err, ERR_CONNECTION, "instance metadata answered no session token");
        return error_hint(err, "see that it is AWS's service that answers there, and no proxy");
    }
    if ((rc = s3_secret_init(header, SESSION_MAX + 64, err)))
        return rc;
    buf_addf(header, "X-aws-ec2-metadata-token: %s", buf_text(&reply));
    return buf_failed(header, "session token", err);
}

static int find_role(const struct s3_credentials_source *source, const char *session,
                     char role[ROLE_MAX + 1], struct error *err)
{
    _cleanup_(s3_secret_clear) struct buf reply = BUF_INIT(0);
    long status = 0;
    int rc = s3_secret_init(&reply, S3_FETCH_REPLY_MAX, err);
    if (!rc)
        rc = ask(source, "GET", ROLE_PATH, "", session, &reply, &status, err);
    if (rc)
        return rc;
    if (status == 404)
        return error_set(err, ERR_NOT_FOUND, "the instance has no IAM role");
    if (status != 200)
        return bad_status("its role", status, err);
    size_t length = strcspn(buf_text(&reply), "\r\n");
    static const char ALLOWED[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+=,.@-";
    if (length == 0 || length > ROLE_MAX || strspn(buf_text(&reply), ALLOWED) < length) {
        error_set(err, ERR_CONNECTION, "instance metadata answered no name of a role");
        return error_hint(err, "see that it is AWS's service that answers there, and no proxy");
    }
    memcpy(role, buf_text(&reply), length);
    role[length] = '\0';
    return 0;
}

static int fetch_instance(const struct s3_credentials_source *source,
                          struct s3_credentials *ret_credentials, struct error *err)
{
    _cleanup_(s3_secret_clear) struct buf session = BUF_INIT(0);
    _cleanup_(s3_secret_clear) struct buf reply = BUF_INIT(0);
    char role[ROLE_MAX + 1];
    long status = 0;
    int rc = open_session(source, &session, err);
    if (!rc)
        rc = find_role(source, buf_text(&session), role, err);
    if (!rc)
        rc = s3_secret_init(&reply, S3_FETCH_REPLY_MAX, err);
    if (!rc)
        rc = ask(source, "GET", ROLE_PATH, role, buf_text(&session), &reply, &status, err);
    if (rc)
        return rc;
    if (status != 200)
        return bad_status("credentials", status, err);
    return s3_credentials_from_json(&reply, source->origin, ret_credentials, err);
}

const struct s3_provider s3_instance = {.name = "instance", .fetch = fetch_instance};
