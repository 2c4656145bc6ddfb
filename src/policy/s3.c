#include "policy/s3.h"

#include <stdio.h>
#include <string.h>

#include "policy/keys.h"
#include "policy/problems.h"

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

enum { BUCKET_MIN = 3, BUCKET_MAX = 63, REGION_MAX = 64, CLASS_MAX = 32 };

const char *const s3_addressing_words[] = {
    [S3_ADDRESSING_AUTO] = "auto",
    [S3_ADDRESSING_PATH] = "path",
    [S3_ADDRESSING_VIRTUAL] = "virtual",
    NULL,
};
const char *const s3_sse_words[] = {
    [S3_SSE_NONE] = "",
    [S3_SSE_AES256] = "AES256",
    [S3_SSE_KMS] = "aws:kms",
    NULL,
};
const char *const s3_lock_words[] = {
    [S3_LOCK_OFF] = "off",
    [S3_LOCK_GOVERNANCE] = "governance",
    [S3_LOCK_COMPLIANCE] = "compliance",
    NULL,
};

static bool is_set(const char *text)
{
    return text && *text;
}

static bool is_made_of(const char *text, const char *allowed, size_t max)
{
    size_t length = strlen(text);
    return length > 0 && length <= max && strspn(text, allowed) == length;
}

static bool is_address(const char *host)
{
    return host[strspn(host, DIGITS ".")] == '\0' || host[0] == '[';
}

/* -- the URL ------------------------------------------------------------------------------------
 */

/* Why a name can't be that of a bucket; NULL when it can. */
static const char *bucket_fault(const char *bucket)
{
    size_t length = strlen(bucket);
    if (length < BUCKET_MIN || length > BUCKET_MAX)
        return "it must have 3 to 63 characters";
    if (!is_made_of(bucket, LOWER DIGITS ".-", BUCKET_MAX))
        return "it may hold only a-z, 0-9, \".\" and \"-\"";
    if (strchr(".-", bucket[0]) || strchr(".-", bucket[length - 1]))
        return "it must begin and end with a letter or digit";
    if (strstr(bucket, ".."))
        return "it may not hold \"..\"";
    return is_address(bucket) ? "it may not look like an IP address" : NULL;
}

static const char *prefix_fault(const char *prefix)
{
    if (strlen(prefix) > POLICY_S3_PREFIX_MAX)
        return "it may have at most 783 bytes, so that every key fits 1024";
    if (prefix[strspn(prefix, UPPER LOWER DIGITS "._=/-")])
        return "it may hold only A-Z, a-z, 0-9, \".\", \"_\", \"=\", \"-\" and \"/\"";
    for (const char *part = prefix, *next; part; part = next) {
        size_t length = strcspn(part, "/");
        next = part[length] ? part + length + 1 : NULL;
        if (length == 0)
            return "it may not hold \"//\"";
        if ((length == 1 && part[0] == '.') || (length == 2 && part[0] == '.' && part[1] == '.'))
            return "it may not hold \".\" or \"..\" as a folder";
    }
    return NULL;
}

int s3_read_url(struct reader *reader, const struct document_node *value, char *url)
{
    char *bucket = url + strlen("s3://"), shown[64];
    size_t length = strlen(bucket);
    while (length > 0 && bucket[length - 1] == '/')
        bucket[--length] = '\0';
    char *slash = strchr(bucket, '/');
    if (slash)
        *slash = '\0';
    const char *fault = bucket_fault(bucket);
    bool is_bucket = fault != NULL;
    if (slash)
        *slash = '/';
    if (!fault && slash)
        fault = prefix_fault(slash + 1);
    if (!fault)
        return 0;
    return value_error(reader, value, "\"%s\": this %s: %s", value_shown(value, shown),
                       is_bucket ? "can't be the name of a bucket" : "prefix can't be one", fault);
}

/* -- tags ---------------------------------------------------------------------------------------
 */

/* Characters of UTF-8 text. */
static size_t characters(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

/* Letters of any script are allowed, so what is not ASCII passes. */
static bool is_tag_text(const char *text, size_t max)
{
    for (const char *c = text; *c; c++)
        if (!((unsigned char)*c & 0x80) && !strchr(UPPER LOWER DIGITS " +-=._:/@", *c))
            return false;
    return characters(text) <= max;
}

static int add_tag(struct reader *reader, const struct document_node *where, struct policy_s3 *s3,
                   const char *name, const char *value)
{
    size_t length = strlen(name);
    if (length == 0 || strchr(name, '=') || !is_tag_text(name, POLICY_S3_TAG_NAME_MAX) ||
        !is_tag_text(value, POLICY_S3_TAG_VALUE_MAX))
        return value_error(reader, where,
                           "a tag is name=value: a name of 1 to %d and a value of 0 to %d letters, "
                           "digits, spaces and + - . _ : / @ (in the value = too)",
                           POLICY_S3_TAG_NAME_MAX, POLICY_S3_TAG_VALUE_MAX);
    if (strncasecmp(name, "aws:", 4) == 0)
        return value_error(reader, where, "tags whose name begins with \"aws:\" are reserved");
    for (size_t i = 0; i < s3->tags.count; i++)
        if (strncmp(s3->tags.items[i], name, length) == 0 && s3->tags.items[i][length] == '=')
            return value_error(reader, where, "the tag \"%s\" is given twice", name);
    return strv_addf(&s3->tags, reader->err, "%s=%s", name, value);
}

static int add_listed(struct reader *reader, const struct document_node *item, struct policy_s3 *s3)
{
    const char *equals = item->kind == NODE_TEXT ? strchr(item->text, '=') : NULL;
    if (!equals)
        return value_error(reader, item, "a tag is written as \"name=value\"");
    _cleanup_(freep) char *name = strndup(item->text, (size_t)(equals - item->text));
    return name ? add_tag(reader, item, s3, name, equals + 1) : error_no_memory(reader->err);
}

static int add_mapped(struct reader *reader, const struct document_entry *entry,
                      struct policy_s3 *s3)
{
    const struct document_node *value = entry->value;
    if (value->kind != NODE_TEXT && value->kind != NODE_NULL)
        return value_error(reader, value, "the value of a tag is text");
    return add_tag(reader, entry->key, s3, entry->key->text,
                   value->kind == NODE_TEXT ? value->text : "");
}

int s3_read_tags(struct reader *reader, const struct document_node *value, void *target)
{
    struct policy_s3 *s3 = target;
    int rc = 0;
    if (value->kind != NODE_LIST && value->kind != NODE_MAP)
        return value_error(reader, value,
                           "\"tags\" must be a mapping of names to values, or a list of "
                           "\"name=value\"");
    if (value->count > POLICY_S3_TAGS_MAX)
        return value_error(reader, value, "\"tags\" has %zu entries, an object can have %d",
                           value->count, POLICY_S3_TAGS_MAX);
    for (size_t i = 0; i < value->count && !rc; i++) {
        if (value->entries[i].value->is_broken)
            continue;
        rc = value->kind == NODE_LIST ? add_listed(reader, value->entries[i].value, s3)
                                      : add_mapped(reader, &value->entries[i], s3);
    }
    return rc;
}

/* -- single values ------------------------------------------------------------------------------
 */

static const char *region_fault(const char *text)
{
    return is_made_of(text, UPPER LOWER DIGITS "-_", REGION_MAX)
               ? NULL
               : "must be the name of a region, as eu-central-1";
}

/* Backups in these classes could not be read, not even listed, before they are restored. */
static const char *class_fault(const char *text)
{
    if (strcmp(text, "GLACIER") == 0 || strcmp(text, "DEEP_ARCHIVE") == 0)
        return "can't be a class whose objects need hours before they can be read: not even the "
               "list of backups could be";
    return is_made_of(text, UPPER DIGITS "_", CLASS_MAX)
               ? NULL
               : "must be the name of a storage class, as STANDARD_IA";
}

static const char *path_fault(const char *text)
{
    return text[0] == '/' ? NULL : "must be an absolute path";
}

/* Host and port of the endpoint begin here; NULL without a scheme. */
static const char *host_of(const char *endpoint)
{
    if (strncasecmp(endpoint, "https://", 8) == 0)
        return endpoint + 8;
    return strncasecmp(endpoint, "http://", 7) == 0 ? endpoint + 7 : NULL;
}

static const char *endpoint_fault(const char *text)
{
    const char *host = host_of(text);
    if (!host)
        return "needs https:// (or http://) in front, as https://s3.example.com:9000";
    size_t length = strcspn(host, "/?#");
    if (length == 0)
        return "names no host";
    if (host[length] && strcmp(host + length, "/") != 0)
        return "may have no path: bucket and prefix belong into url:";
    const char *name = host[0] == '[' ? UPPER LOWER DIGITS ".-:[]" : UPPER LOWER DIGITS ".-_:";
    if (strspn(host, name) != length)
        return "is no scheme://host[:port]";
    const char *port = strrchr(host, ':');
    bool has_port = port && !strchr(port, ']');
    size_t digits = has_port ? strspn(port + 1, DIGITS) : 0;
    if (has_port && (digits == 0 || digits > 5 || (port[1 + digits] && port[1 + digits] != '/')))
        return "has a port that is no number";
    return NULL;
}

/* Keys are shown to nobody, not even when they are wrong. */
static const char *credential_fault(const char *text)
{
    for (; *text; text++)
        if (*text <= ' ' || *text > '~')
            return "holds a space, or a character that is in no key";
    return NULL;
}

static const struct {
    const char *name;
    size_t offset;
    const char *(*fault)(const char *text);
    bool is_hidden;
} TEXTS[] = {
    {"region", offsetof(struct policy_s3, region), region_fault, false},
    {"endpoint", offsetof(struct policy_s3, endpoint), endpoint_fault, false},
    {"storage_class", offsetof(struct policy_s3, storage_class), class_fault, false},
    {"kms_key_id", offsetof(struct policy_s3, kms_key_id), credential_fault, false},
    {"ca_file", offsetof(struct policy_s3, ca_file), path_fault, false},
    {"profile", offsetof(struct policy_s3, profile), NULL, false},
    {"access_key_id", offsetof(struct policy_s3, access_key_id), credential_fault, true},
    {"secret_access_key", offsetof(struct policy_s3, secret_access_key), credential_fault, true},
    {"session_token", offsetof(struct policy_s3, session_token), credential_fault, true},
};

static int check_texts(struct reader *reader, const struct document_node *section)
{
    int rc = 0;
    for (size_t i = 0; i < ARRAY_SIZE(TEXTS) && !rc; i++) {
        const struct document_node *value = map_value(section, TEXTS[i].name);
        const char *text = *(char **)((char *)&reader->policy->s3 + TEXTS[i].offset);
        char shown[64];
        if (!value || value->is_broken || !is_set(text))
            continue;
        const char *fault = strlen(text) > POLICY_S3_TEXT_MAX ? "is longer than 2048 bytes"
                            : TEXTS[i].fault                  ? TEXTS[i].fault(text)
                                                              : NULL;
        if (fault && TEXTS[i].is_hidden)
            rc = value_error(reader, value, "\"%s\" %s", TEXTS[i].name, fault);
        else if (fault)
            rc = value_error(reader, value, "\"%s\" %s, not \"%s\"", TEXTS[i].name, fault,
                             value_shown(value, shown));
    }
    return rc;
}

/* -- contradictions -----------------------------------------------------------------------------
 */

/* Whether the text came wholly out of one variable. */
static bool is_variable(const struct document_node *value)
{
    const char *source = value->source;
    if (!source || strncmp(source, "${", 2) != 0)
        return false;
    size_t name = strspn(source + 2, UPPER LOWER DIGITS "_");
    const char *rest = source + 2 + name;
    return strcmp(rest, "}") == 0 || strncmp(rest, ":?", 2) == 0;
}

static int check_secret(struct reader *reader, const struct document_node *section,
                        const char *name)
{
    const struct document_node *value = map_value(section, name);
    struct policy_s3 *s3 = &reader->policy->s3;
    if (!value || value->is_broken || value->kind != NODE_TEXT || !*value->text ||
        is_variable(value))
        return 0;
    s3->holds_secret = true;
    s3->line = value->line;
    s3->column = value->column;
    return problems_warning(reader->problems, value->line, value->column, reader->err,
                            "\"%s\" stands in the file as plain text: take it from a ${VARIABLE}, "
                            "or leave it out and use a profile or the role of the machine",
                            name);
}

/* Two keys of which the first makes no sense without, or beside, the second. */
static int check_pairs(struct reader *reader, const struct document_node *section)
{
    const struct policy_s3 *s3 = &reader->policy->s3;
    bool key = is_set(s3->access_key_id), secret = is_set(s3->secret_access_key);
    int rc = 0;
    if (key && !secret)
        rc = value_error(reader, map_key(section, "access_key_id"),
                         "\"access_key_id\" without \"secret_access_key\"");
    if (secret && !key)
        rc = value_error(reader, map_key(section, "secret_access_key"),
                         "\"secret_access_key\" without \"access_key_id\"");
    if (!rc && is_set(s3->session_token) && !key && !secret)
        rc = value_error(reader, map_key(section, "session_token"),
                         "\"session_token\" without \"access_key_id\" and \"secret_access_key\"");
    if (!rc && is_set(s3->profile) && (key || secret))
        rc = value_error(reader, map_key(section, "profile"),
                         "\"profile\" and \"access_key_id\" exclude each other");
    if (!rc && is_set(s3->kms_key_id) && s3->sse != S3_SSE_KMS)
        rc = value_error(reader, map_key(section, "kms_key_id"),
                         "\"kms_key_id\" has no effect without sse: aws:kms");
    return rc;
}

static bool is_loopback(const char *host)
{
    size_t length = strcspn(host, ":/");
    if (strncmp(host, "[::1]", 5) == 0 || (length > 4 && strncmp(host, "127.", 4) == 0))
        return true;
    static const char NAME[] = "localhost";
    size_t size = sizeof(NAME) - 1;
    return length >= size && strncasecmp(host + length - size, NAME, size) == 0 &&
           (length == size || host[length - size - 1] == '.');
}

static int check_endpoint(struct reader *reader, const struct document_node *section)
{
    const struct policy_s3 *s3 = &reader->policy->s3;
    const struct document_node *value = map_value(section, "endpoint");
    const char *host = is_set(s3->endpoint) ? host_of(s3->endpoint) : NULL;
    int rc = 0;
    if (!host || endpoint_fault(s3->endpoint))
        return 0;
    if (strncasecmp(s3->endpoint, "http://", 7) == 0 && !is_loopback(host))
        rc = problems_warning(reader->problems, value->line, value->column, reader->err,
                              "http:// sends backups over the network without encryption; use "
                              "https://, with ca_file: for a certificate of your own");
    char name[POLICY_S3_TEXT_MAX + 1];
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(host, ":/"), host);
    if (!rc && s3->addressing == S3_ADDRESSING_VIRTUAL && is_address(name))
        rc = value_error(reader, map_value(section, "addressing"),
                         "addressing: virtual puts the bucket before the host name, and the "
                         "endpoint is an address");
    return rc;
}

int s3_check(struct reader *reader, const struct document_node *root)
{
    const struct document_node *repository = map_value(root, "repository");
    const struct document_node *section = repository ? map_value(repository, "s3") : NULL;
    if (!section || section->kind != NODE_MAP)
        return 0;
    if (strncmp(reader->policy->repository_url, "file:", 5) == 0)
        return value_error(reader, map_key(repository, "s3"),
                           "\"s3\" has no effect: the url is of a folder");
    int rc = check_texts(reader, section);
    if (!rc)
        rc = check_pairs(reader, section);
    if (!rc)
        rc = check_endpoint(reader, section);
    if (!rc)
        rc = check_secret(reader, section, "secret_access_key");
    return rc ? rc : check_secret(reader, section, "session_token");
}

static void free_secret(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

void policy_s3_clear(struct policy_s3 *s3)
{
    free(s3->region);
    free(s3->endpoint);
    free(s3->storage_class);
    free(s3->kms_key_id);
    free(s3->ca_file);
    free(s3->profile);
    free(s3->access_key_id);
    free_secret(s3->secret_access_key);
    free_secret(s3->session_token);
    strv_clear(&s3->tags);
}
