/* What services answer, and what files hold, as credentials: checked before it is believed. */
#include "store/s3_provider.h"

#include <ctype.h>
#include <jansson.h>
#include <string.h>

#include "base/json.h"
#include "store/s3_profile.h"
#include "store/s3_secret.h"

/* Printable and without blanks, as all of these are: so they can go into a header. */
static bool is_plain(const char *text)
{
    for (; *text; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

static int refuse(const char *where, const char *what, struct error *err)
{
    error_set(err, ERR_AUTH, "the %s of %s can't be one", what, where);
    return error_hint(err, "see that it was copied whole, without blanks or quotes");
}

int s3_credentials_set(const char *access_key_id, const char *secret_access_key,
                       const char *session_token, int64_t expires_us, const char *where,
                       struct s3_credentials *ret_credentials, struct error *err)
{
    const char *token = session_token ? session_token : "";
    if (!*access_key_id || strlen(access_key_id) > S3_KEY_ID_MAX || !is_plain(access_key_id) ||
        strpbrk(access_key_id, "/,")) /* which separate the parts of the Authorization header */
        return refuse(where, "access key id", err);
    if (!*secret_access_key || strlen(secret_access_key) > S3_SECRET_MAX ||
        !is_plain(secret_access_key))
        return refuse(where, "secret access key", err);
    if (strlen(token) > S3_TOKEN_MAX || !is_plain(token))
        return refuse(where, "session token", err);
    struct s3_credentials *to = ret_credentials;
    snprintf(to->access_key_id, sizeof(to->access_key_id), "%s", access_key_id);
    snprintf(to->secret_access_key, sizeof(to->secret_access_key), "%s", secret_access_key);
    snprintf(to->session_token, sizeof(to->session_token), "%s", token);
    to->expires_us = expires_us;
    return 0;
}

/* Keys come as a pair from one file: never the id of one and the secret of the other. */
int s3_profile_take_keys(const struct s3_profile *profile, struct s3_credentials *ret_credentials,
                         struct error *err)
{
    const struct s3_profile_file *files[] = {&profile->credentials, &profile->config};
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        const char *id = s3_profile_file_get(profile, files[i], "aws_access_key_id");
        const char *secret = s3_profile_file_get(profile, files[i], "aws_secret_access_key");
        if (!id && !secret)
            continue;
        char where[S3_PROFILE_NAME_MAX + S3_PROFILE_PATH_MAX + 32];
        snprintf(where, sizeof(where), "profile \"%s\" in \"%s\"", profile->name, files[i]->path);
        if (id && secret)
            return s3_credentials_set(id, secret,
                                      s3_profile_file_get(profile, files[i], "aws_session_token"),
                                      INSTANT_NONE, where, ret_credentials, err);
        error_set(err, ERR_USAGE, "%s has %s but no %s", where,
                  id ? "aws_access_key_id" : "aws_secret_access_key",
                  id ? "aws_secret_access_key" : "aws_access_key_id");
        return error_hint(err, "keys come in pairs: add the other to \"%s\"", files[i]->path);
    }
    return error_set(err, ERR_NOT_FOUND, "profile \"%s\" has no keys", profile->name);
}

static int no_sense(const char *what, const char *why, struct error *err)
{
    error_set(err, ERR_CONNECTION, "%s answered no credentials: %s", what, why);
    return error_hint(err, "see that it is AWS's service that answers there, and no proxy");
}

/* The texts lie in jansson's memory, which frees them as they are. */
static void wipe(const json_t *object)
{
    static const char *const SECRETS[] = {"SecretAccessKey", "Token"};
    for (size_t i = 0; i < ARRAY_SIZE(SECRETS); i++) {
        const char *text = json_text(object, SECRETS[i]);
        if (*text)
            explicit_bzero((void *)(uintptr_t)text, strlen(text));
    }
}

static int take_fields(const json_t *object, const char *what,
                       struct s3_credentials *ret_credentials, struct error *err)
{
    const char *code = json_text(object, "Code"), *end = json_text(object, "Expiration");
    int64_t expires_us = INSTANT_NONE;
    bool has_offset;
    if (*code && strcmp(code, "Success") != 0) {
        error_set(err, ERR_AUTH, "%s gives no credentials: %s%s%s", what, code,
                  *json_text(object, "Message") ? ": " : "", json_text(object, "Message"));
        return error_hint(err, "check the role that this machine or container was given");
    }
    if (*end && instant_parse(end, &expires_us, &has_offset, NULL))
        return no_sense(what, "their Expiration is no time", err);
    if (!*json_text(object, "AccessKeyId") || !*json_text(object, "SecretAccessKey"))
        return no_sense(what, "AccessKeyId or SecretAccessKey is missing", err);
    return s3_credentials_set(json_text(object, "AccessKeyId"),
                              json_text(object, "SecretAccessKey"), json_text(object, "Token"),
                              expires_us, what, ret_credentials, err);
}

/* jansson's own words about what is malformed quote the text, so they are not used. */
int s3_credentials_from_json(const struct buf *reply, const char *what,
                             struct s3_credentials *ret_credentials, struct error *err)
{
    _cleanup_(json_release) json_t *object = json_loadb(buf_text(reply), reply->length, 0, NULL);
    if (!json_is_object(object))
        return no_sense(what, "it is no JSON object", err);
    int rc = take_fields(object, what, ret_credentials, err);
    wipe(object);
    return rc;
}

int s3_token_read(const char *path, size_t limit, struct buf *buf, struct error *err)
{
    int rc = s3_secret_read(path, S3_SECRET_TOKEN, limit, buf, NULL, err);
    if (rc == ERR_NOT_FOUND) {
        error_set(err, ERR_AUTH, "the token file \"%s\" is not there", path);
        return error_hint(err, "see who should write \"%s\", or name another", path);
    }
    if (rc)
        return rc;
    while (buf->length > 0 && isspace((unsigned char)buf->data[buf->length - 1]))
        buf->data[--buf->length] = '\0';
    bool is_text = strlen(buf->data) == buf->length;
    for (const char *c = buf->data; *c; c++) /* "Bearer x" is a token with a blank */
        is_text = is_text && *c >= ' ' && *c <= '~';
    if (buf->length > 0 && is_text)
        return 0;
    error_set(err, ERR_AUTH, "\"%s\" holds no token", path);
    return error_hint(err, "see who writes \"%s\", and what", path);
}
