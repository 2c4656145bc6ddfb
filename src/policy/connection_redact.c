#include <string.h>

#include "base/buf.h"
#include "policy/connection.h"
#include "policy/connection_reader.h"

static const char HIDDEN[] = "***";

/* Words that a secret follows behind "=", in any case, and whatever stands before them. */
static const char *const SECRETS[] = {"password", "passwd", "passphrase", "pass",    "pwd",
                                      "secret",   "token",  "apikey",     "api_key", "api-key"};

static const char BLANKS[] = " \t\n\v\f\r";

/* Behind the name: "=", or as JSON and YAML have it, a quote with a colon, or a colon with a blank.
 */
static size_t assignment(const char *text)
{
    size_t quote = *text == '"' || *text == '\'';
    size_t length = quote + strspn(text + quote, BLANKS);
    if (text[length] == ':' && (quote || (text[length + 1] && strchr(BLANKS, text[length + 1]))))
        return length + 1;
    return text[length] == '=' ? length + 1 : 0;
}

/* The length of "password = " at text, else 0. */
static size_t secret_name(const char *text)
{
    for (size_t i = 0; i < ARRAY_SIZE(SECRETS); i++) {
        size_t length = strlen(SECRETS[i]);
        if (strncasecmp(text, SECRETS[i], length) != 0)
            continue;
        size_t behind = assignment(text + length);
        if (behind)
            return length + behind + strspn(text + length + behind, BLANKS);
    }
    return 0;
}

/* The length of a value: quoted, or up to what ends one in either kind of string. */
static size_t secret_value(const char *text, bool is_uri)
{
    char quote = *text == '\'' || *text == '"' ? *text : '\0';
    if (is_uri && !quote)
        return strcspn(text, "&");
    size_t i = quote != '\0';
    while (text[i] && (quote ? text[i] != quote : !strchr(" \t\n\v\f\r;", text[i])))
        i += text[i] == '\\' && text[i + 1] ? 2 : 1;
    return i + (quote && text[i] == quote);
}

/* Hides "user:THIS@host": from the first colon behind the scheme to the last "@" of the string, so
 * that a password with an "@" or "/" in it is hidden whole. Without any "@", what stands where a
 * port should and is none is hidden too. Returns where to go on. */
static const char *redact_userinfo(struct buf *out, const char *text)
{
    const char *start = strstr(text, "://");
    if (!start)
        return text;
    start += 3;
    const char *at = strrchr(start, '@');
    const char *colon = strpbrk(start, at ? ":@" : *start == '[' ? "/?" : ":/?");
    if (!colon || *colon != ':')
        return text;
    const char *end = at;
    if (!at) {
        end = colon + 1 + strcspn(colon + 1, "/?,");
        if (colon + 1 + strspn(colon + 1, "0123456789") == end)
            return text;
    }
    buf_add(out, text, (size_t)(colon + 1 - text));
    buf_add_text(out, HIDDEN);
    return end;
}

int connection_redact(const char *text, char **ret_text, struct error *err)
{
    struct buf out = BUF_INIT(1 << 20);
    bool is_uri = strstr(text, "://") != NULL;
    for (const char *c = redact_userinfo(&out, text); *c;) {
        size_t name = secret_name(c);
        buf_add(&out, c, name ? name : 1);
        c += name ? name : 1;
        if (name) {
            c += secret_value(c, is_uri);
            buf_add_text(&out, HIDDEN);
        }
    }
    int rc = buf_failed(&out, "the connection string", err);
    char *redacted = rc ? NULL : buf_steal(&out);
    if (!rc && !redacted)
        rc = error_no_memory(err);
    if (!rc)
        *ret_text = redacted;
    buf_clear(&out);
    return rc;
}
