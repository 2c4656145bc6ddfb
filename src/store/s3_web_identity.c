/* A role taken with a token of another identity provider (STS API Reference,
 * AssumeRoleWithWebIdentity): an unsigned POST, answered in XML. */
#include "store/s3_provider.h"

#include <expat.h>
#include <string.h>

#include "store/s3_fetch.h"
#include "store/s3_secret.h"
#include "store/s3_sign.h"

enum {
    FORM_MAX = 3 * (S3_WEB_TOKEN_MAX + S3_ROLE_ARN_MAX) + 1024,
    DEPTH_MAX = 16,
    MESSAGE_MAX = 512,
};

/* The elements that are read, wherever they stand; no other element of a reply has these names. */
enum field { FIELD_ID, FIELD_SECRET, FIELD_TOKEN, FIELD_END, FIELD_CODE, FIELD_MESSAGE, FIELDS };

static const struct {
    const char *name;
    const char *parent;
    size_t limit;
} FIELD_ROWS[FIELDS] = {
    [FIELD_ID] = {"AccessKeyId", "Credentials", S3_KEY_ID_MAX},
    [FIELD_SECRET] = {"SecretAccessKey", "Credentials", S3_SECRET_MAX},
    [FIELD_TOKEN] = {"SessionToken", "Credentials", S3_TOKEN_MAX},
    [FIELD_END] = {"Expiration", "Credentials", INSTANT_TEXT_MAX},
    [FIELD_CODE] = {"Code", "Error", 128},
    [FIELD_MESSAGE] = {"Message", "Error", MESSAGE_MAX},
};

struct reply {
    XML_Parser parser;
    struct buf fields[FIELDS];
    char names[DEPTH_MAX][32]; /* of the open elements */
    int depth;
    struct buf *current;
    bool failed; /* out of memory, or a field too long */
};

DEFINE_FREEP(XML_Parser, XML_ParserFree)

static void clear_reply(struct reply *reply)
{
    for (size_t i = 0; i < FIELDS; i++)
        s3_secret_clear(&reply->fields[i]);
}

static void give_up(struct reply *reply)
{
    reply->failed = true;
    XML_StopParser(reply->parser, XML_FALSE);
}

static void XMLCALL begin_element(void *context, const XML_Char *name, const XML_Char **attributes)
{
    (void)attributes;
    struct reply *reply = context;
    if (reply->depth >= DEPTH_MAX) {
        give_up(reply);
        return;
    }
    const char *parent = reply->depth > 0 ? reply->names[reply->depth - 1] : "";
    reply->current = NULL;
    for (size_t i = 0; i < FIELDS; i++) {
        if (strcmp(name, FIELD_ROWS[i].name) != 0 || strcmp(parent, FIELD_ROWS[i].parent) != 0)
            continue;
        reply->current = &reply->fields[i];
        s3_secret_clear(reply->current);
        if (s3_secret_init(reply->current, FIELD_ROWS[i].limit, NULL))
            give_up(reply);
    }
    snprintf(reply->names[reply->depth++], sizeof(reply->names[0]), "%s", name);
}

static void XMLCALL end_element(void *context, const XML_Char *name)
{
    (void)name;
    struct reply *reply = context;
    reply->depth--;
    reply->current = NULL;
}

static void XMLCALL take_text(void *context, const XML_Char *text, int length)
{
    struct reply *reply = context;
    if (reply->current && buf_add(reply->current, text, (size_t)length))
        give_up(reply);
}

/* STS sends no document type, and none of its tricks are wanted. */
static void XMLCALL refuse_doctype(void *context, const XML_Char *name, const XML_Char *system,
                                   const XML_Char *public, int has_subset)
{
    (void)name;
    (void)system;
    (void)public;
    (void)has_subset;
    give_up(context);
}

static int no_sense(const char *why, struct error *err)
{
    error_set(err, ERR_CONNECTION, "STS answered no credentials: %s", why);
    return error_hint(err, "see that it is STS that answers there, and no proxy "
                           "(AWS_ENDPOINT_URL_STS)");
}

static int parse_reply(const struct buf *text, struct reply *reply, struct error *err)
{
    _cleanup_(XML_ParserFreep) XML_Parser parser = XML_ParserCreate(NULL);
    if (!parser)
        return error_no_memory(err);
    reply->parser = parser;
    XML_SetUserData(parser, reply);
    XML_SetElementHandler(parser, begin_element, end_element);
    XML_SetCharacterDataHandler(parser, take_text);
    XML_SetStartDoctypeDeclHandler(parser, refuse_doctype);
    enum XML_Status status = XML_Parse(parser, buf_text(text), (int)text->length, XML_TRUE);
    if (status == XML_STATUS_OK && !reply->failed)
        return 0;
    if (XML_GetErrorCode(parser) == XML_ERROR_NO_MEMORY)
        return error_no_memory(err);
    return no_sense("it is no XML of the expected form", err);
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

/* STS said no, or is in trouble. */
static int take_refusal(const struct s3_credentials_source *source, const struct reply *reply,
                        long status, struct error *err)
{
    const char *code = buf_text(&reply->fields[FIELD_CODE]);
    bool is_passing = status >= 500 || status == 429 || strcmp(code, "IDPCommunicationError") == 0;
    error_set(err, is_passing ? ERR_CONNECTION : ERR_AUTH,
              "STS gives no credentials for %s: %s: %s (HTTP status %ld)", source->role_arn,
              *code ? code : "no code", buf_text(&reply->fields[FIELD_MESSAGE]), status);
    return error_hint(err,
                      "check that the role trusts the identity provider, subject and audience "
                      "of the token in \"%s\"",
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
        .tries = 3,
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
