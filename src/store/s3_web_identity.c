/* A role taken with a token of another identity provider (STS API Reference,
 * AssumeRoleWithWebIdentity): an unsigned POST, answered in XML. */
#include "store/s3_provider.h"

#include <string.h>

#include "store/s3_fetch.h"
#include "store/s3_secret.h"
#include "store/s3_sign.h"
#include "store/s3_xml.h"

enum { FORM_MAX = 3 * (S3_WEB_TOKEN_MAX + S3_ROLE_ARN_MAX) + 1024 };

enum field { FIELD_ID, FIELD_SECRET, FIELD_TOKEN, FIELD_END, FIELD_CODE, FIELD_MESSAGE, FIELDS };

#define CREDENTIALS "AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials/"

static const struct {
    const char *path;
    size_t limit; /* bytes that are kept; longer ones are no keys */
} FIELD_ROWS[FIELDS] = {
    [FIELD_ID] = {CREDENTIALS "AccessKeyId", S3_KEY_ID_MAX},
    [FIELD_SECRET] = {CREDENTIALS "SecretAccessKey", S3_SECRET_MAX},
    [FIELD_TOKEN] = {CREDENTIALS "SessionToken", S3_TOKEN_MAX},
    [FIELD_END] = {CREDENTIALS "Expiration", INSTANT_TEXT_MAX},
    [FIELD_CODE] = {"ErrorResponse/Error/Code", 128},
    [FIELD_MESSAGE] = {"ErrorResponse/Error/Message", 1024},
};

struct reply {
    struct buf fields[FIELDS];
};

static void clear_reply(struct reply *reply)
{
    for (size_t i = 0; i < FIELDS; i++)
        s3_secret_clear(&reply->fields[i]);
}

static int take_field(const char *path, const char *text, void *context, struct error *err)
{
    struct reply *reply = context;
    for (size_t i = 0; i < FIELDS; i++) {
        if (strcmp(path, FIELD_ROWS[i].path) != 0)
            continue;
        struct buf *field = &reply->fields[i];
        s3_secret_clear(field);
        int rc = s3_secret_init(field, FIELD_ROWS[i].limit, err);
        if (rc)
            return rc;
        buf_add_text(field, text);
        return buf_failed(field, path, err);
    }
    return 0;
}

static int no_sense(const char *why, struct error *err)
{
    error_set(err, ERR_CONNECTION, "STS answered no credentials: %s", why);
    return error_hint(err, "see that it is STS that answers there, and no proxy "
                           "(AWS_ENDPOINT_URL_STS)");
}

static int parse_reply(const struct buf *text, struct reply *reply, struct error *err)
{
    struct error reason = ERROR_NONE;
    int rc = s3_xml_read(buf_text(text), text->length, take_field, reply, &reason);
    if (rc == ERR_MEMORY)
        return error_no_memory(err);
    return rc ? no_sense(reason.message, err) : 0;
}

static int take_reply(const struct reply *reply, struct s3_credentials *ret_credentials,
                      struct error *err)
{
    const struct buf *fields = reply->fields;
    int64_t expires_us;
    bool has_offset;
    if (!fields[FIELD_ID].length || !fields[FIELD_SECRET].length || !fields[FIELD_TOKEN].length)
        return no_sense("AccessKeyId, SecretAccessKey or SessionToken is missing", err);
    if (instant_parse(buf_text(&fields[FIELD_END]), &expires_us, &has_offset, NULL))
        return no_sense("their Expiration is no time", err);
    return s3_credentials_set(buf_text(&fields[FIELD_ID]), buf_text(&fields[FIELD_SECRET]),
                              buf_text(&fields[FIELD_TOKEN]), expires_us, "the reply of STS",
                              ret_credentials, err);
}

static int take_refusal(const struct s3_credentials_source *source, const struct reply *reply,
                        long status, struct error *err)
{
    const char *code = buf_text(&reply->fields[FIELD_CODE]);
    bool is_passing = strcmp(code, "IDPCommunicationError") == 0;
    error_set(err, is_passing ? ERR_CONNECTION : ERR_AUTH,
              "STS gives no credentials for %s: %s: %s (HTTP status %ld)", source->role_arn,
              *code ? code : "no code", buf_text(&reply->fields[FIELD_MESSAGE]), status);
    return error_hint(err,
                      "check that the role trusts the identity provider, subject and audience of "
                      "the token in \"%s\"",
                      source->token_file);
}

/* The token file is read each time: whoever projects it replaces it before it ends. */
static int make_form(const struct s3_credentials_source *source, struct buf *form,
                     struct error *err)
{
    _cleanup_(s3_secret_clear) struct buf token = BUF_INIT(0);
    int rc = s3_token_read(source->token_file, S3_WEB_TOKEN_MAX, &token, err);
    if (!rc)
        rc = s3_secret_init(form, FORM_MAX, err);
    if (rc)
        return rc;
    buf_add_text(form, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=");
    s3_encode(form, source->role_arn, false);
    buf_add_text(form, "&RoleSessionName=");
    s3_encode(form, source->session_name, false);
    buf_add_text(form, "&WebIdentityToken=");
    s3_encode(form, buf_text(&token), false);
    return buf_failed(form, "the request to STS", err);
}

static int fetch_web_identity(const struct s3_credentials_source *source,
                              struct s3_credentials *ret_credentials, struct error *err)
{
    _cleanup_(s3_secret_clear) struct buf form = BUF_INIT(0);
    _cleanup_(s3_secret_clear) struct buf text = BUF_INIT(0);
    _cleanup_(clear_reply) struct reply reply = {0};
    int rc = make_form(source, &form, err);
    if (!rc)
        rc = s3_secret_init(&text, S3_FETCH_REPLY_MAX, err);
    if (rc)
        return rc;
    struct s3_fetch request = {
        .what = "STS",
        .cure = "check that this machine reaches it: network, proxy, region, AWS_ENDPOINT_URL_STS",
        .method = "POST",
        .url = source->url,
        .headers = {"Content-Type: application/x-www-form-urlencoded"},
        .body = buf_text(&form),
        .ca_file = source->ca_file,
        .connect_ms = 5000,
        .all_ms = 15000,
        .retry_us = 2 * US_PER_SECOND,
        .stop = &source->stop,
    };
    long status = 0;
    if ((rc = s3_fetch(&request, &text, &status, err)))
        return rc;
    rc = parse_reply(&text, &reply, status == 200 ? err : NULL);
    if (status != 200 && rc != ERR_MEMORY)
        return take_refusal(source, &reply, status, err);
    if (rc == ERR_MEMORY)
        return error_no_memory(err);
    return rc ? rc : take_reply(&reply, ret_credentials, err);
}

const struct s3_provider s3_web_identity = {.name = "web identity", .fetch = fetch_web_identity};
