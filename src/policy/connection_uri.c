#include <string.h>

#include "base/buf.h"
#include "base/suggest.h"
#include "policy/connection_reader.h"

static const char *const SCHEMES[] = {"postgresql", "postgres", "postgis", "pgsql", "ecto"};

/* What stands behind "postgresql+" in SQLAlchemy's and Alembic's strings. */
static const char *const DRIVERS[] = {"asyncpg",       "psycopg",      "psycopg2",
                                      "psycopg_async", "psycopg2cffi", "pg8000",
                                      "pygresql",      "aiopg",        "pypostgresql"};

static const char SHAPE[] = "write postgresql://user:password@host:5432/database";

struct span {
    const char *text;
    size_t length;
};

bool connection_is_uri(const char *text)
{
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-."
                                 "_");
    return length > 0 &&
           (strncmp(text + length, "://", 3) == 0 || strncasecmp(text, "jdbc:", 5) == 0);
}

static bool is_one_of(struct span word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(words[i]) == word.length && strncasecmp(words[i], word.text, word.length) == 0)
            return true;
    return false;
}

static int foreign_scheme(struct connection_reader *reader, struct span scheme)
{
    error_set(reader->err, ERR_USAGE, "\"%.*s\" is not PostgreSQL",
              scheme.length < 40 ? (int)scheme.length : 40, scheme.text);
    if (strncasecmp(scheme.text, "prisma", 6) == 0)
        return error_hint(reader->err, "this is the address of a proxy; %s of the database itself",
                          SHAPE);
    return error_hint(reader->err, "%s", SHAPE);
}

/* Moves the cursor behind "scheme://". jdbc:postgresql:database has no "//": its cursor stays
 * before the name. */
static int read_scheme(struct connection_reader *reader, const char **cursor)
{
    const char *text = *cursor;
    if (strncasecmp(text, "jdbc:", 5) == 0) {
        reader->is_jdbc = true;
        text += 5;
    }
    struct span scheme = {text, strcspn(text, ":")};
    struct span word = {text, strcspn(text, ":+")};
    if (!is_one_of(word, SCHEMES, ARRAY_SIZE(SCHEMES)))
        return foreign_scheme(reader, scheme);
    struct span driver = {text + word.length + 1, scheme.length - word.length - 1};
    if (word.length < scheme.length && !is_one_of(driver, DRIVERS, ARRAY_SIZE(DRIVERS))) {
        error_set(reader->err, ERR_USAGE, "driver \"%.*s\" is not known",
                  driver.length < 40 ? (int)driver.length : 40, driver.text);
        return error_hint(reader->err, "%s", SHAPE);
    }
    text += scheme.length;
    if (strncmp(text, "://", 3) != 0) {
        if (!reader->is_jdbc || *text != ':' || text[1] == '/') {
            error_set(reader->err, ERR_USAGE, "\"//\" is missing behind the scheme");
            return error_hint(reader->err, "%s", SHAPE);
        }
        *cursor = text + 1;
        return 0;
    }
    *cursor = text + 3;
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Percent-decodes; `what` names the part for the error, which never shows it. The caller frees. */
static int decode(struct connection_reader *reader, struct span span, const char *what,
                  char **ret_text)
{
    _cleanup_(freep) char *text = malloc(span.length + 1);
    if (!text)
        return error_no_memory(reader->err);
    size_t used = 0;
    for (size_t i = 0; i < span.length; i++) {
        if (span.text[i] != '%') {
            text[used++] = span.text[i];
            continue;
        }
        int high = i + 2 < span.length ? hex_digit(span.text[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(span.text[i + 2]) : -1;
        if (low < 0) {
            error_set(reader->err, ERR_USAGE,
                      "\"%%\" in the %s is not followed by two hexadecimal digits", what);
            return error_hint(reader->err, "write \"%%25\" for a percent sign");
        }
        if (high == 0 && low == 0)
            return error_set(reader->err, ERR_USAGE, "\"%%00\" in the %s is not allowed", what);
        text[used++] = (char)(high * 16 + low);
        i += 2;
    }
    text[used] = '\0';
    *ret_text = TAKE(text);
    return 0;
}

static int add_decoded(struct connection_reader *reader, const char *name, struct span span,
                       const char *what)
{
    char *text = NULL;
    int rc = decode(reader, span, what, &text);
    if (!rc)
        rc = connection_add(reader, name, text);
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
    return rc;
}

static int read_user(struct connection_reader *reader, struct span user)
{
    const char *colon = memchr(user.text, ':', user.length);
    struct span name = {user.text, colon ? (size_t)(colon - user.text) : user.length};
    int rc = name.length ? add_decoded(reader, "user", name, "user name") : 0;
    if (rc || !colon)
        return rc;
    struct span password = {colon + 1, user.length - name.length - 1};
    return add_decoded(reader, "password", password, "password");
}

/* Splits "host:port", "[IPv6]:port". */
static int split_host(struct connection_reader *reader, struct span item, struct span *ret_host,
                      struct span *ret_port)
{
    const char *colon = NULL;
    if (item.length && *item.text == '[') {
        const char *bracket = memchr(item.text, ']', item.length);
        if (!bracket)
            return error_set(reader->err, ERR_USAGE, "\"[\" of an IPv6 address without \"]\"");
        *ret_host = (struct span){item.text + 1, (size_t)(bracket - item.text) - 1};
        size_t behind = item.length - (size_t)(bracket + 1 - item.text);
        if (behind && bracket[1] != ':')
            return error_set(reader->err, ERR_USAGE, "only \":port\" may follow \"]\"");
        colon = behind ? bracket + 1 : NULL;
    } else {
        colon = memchr(item.text, ':', item.length);
        *ret_host = (struct span){item.text, colon ? (size_t)(colon - item.text) : item.length};
    }
    *ret_port = colon ? (struct span){colon + 1, item.length - (size_t)(colon + 1 - item.text)}
                      : (struct span){"", 0};
    if (memchr(ret_port->text, ':', ret_port->length)) {
        error_set(reader->err, ERR_USAGE, "more than one \":\" behind the host");
        return error_hint(reader->err, "an IPv6 address stands in brackets: [::1]:5432");
    }
    return 0;
}

static int read_hosts(struct connection_reader *reader, struct span authority)
{
    struct buf hosts = BUF_INIT(CONNECTION_TEXT_MAX), ports = BUF_INIT(CONNECTION_TEXT_MAX);
    bool has_port = false;
    int rc = 0;
    const char *end = authority.text + authority.length;
    for (const char *c = authority.text; !rc; c++) {
        struct span host = {"", 0}, port = {"", 0}, item = {c, (size_t)(end - c)};
        const char *comma = memchr(c, ',', item.length);
        if (comma)
            item.length = (size_t)(comma - c);
        _cleanup_(freep) char *name = NULL;
        rc = split_host(reader, item, &host, &port);
        if (!rc)
            rc = decode(reader, host, "host", &name);
        if (rc)
            break;
        buf_addf(&hosts, "%s%s", c == authority.text ? "" : ",", name);
        buf_addf(&ports, "%s%.*s", c == authority.text ? "" : ",", (int)port.length, port.text);
        has_port = has_port || port.length;
        if (!comma)
            break;
        c = comma;
    }
    if (!rc) /* a host that was lost would mean another server */
        rc = buf_failed(&hosts, "the list of hosts", reader->err);
    if (!rc)
        rc = buf_failed(&ports, "the list of ports", reader->err);
    if (!rc && hosts.length)
        rc = connection_add(reader, "host", buf_text(&hosts));
    if (!rc && has_port)
        rc = connection_add(reader, "port", buf_text(&ports));
    buf_clear(&hosts);
    buf_clear(&ports);
    return rc;
}

static int read_query(struct connection_reader *reader, const char *query)
{
    int rc = 0;
    while (!rc && *query) {
        struct span item = {query, strcspn(query, "&")};
        query += item.length + (query[item.length] == '&');
        const char *equals = memchr(item.text, '=', item.length);
        struct span name = {item.text, equals ? (size_t)(equals - item.text) : item.length};
        struct span value = {equals ? equals + 1 : "", equals ? item.length - name.length - 1 : 0};
        if (item.length == 0)
            continue;
        _cleanup_(freep) char *decoded = NULL;
        rc = decode(reader, name, "name of a parameter", &decoded);
        if (!rc)
            rc = add_decoded(reader, decoded, value, "value of a parameter");
    }
    return rc;
}

/* An "@" further on means that what was taken for host or database is a piece of the password: say
 * that before anything of it could be shown. */
static int refuse_stray_at(struct connection_reader *reader, const char *rest)
{
    if (!strchr(rest, '@'))
        return 0;
    error_set(reader->err, ERR_USAGE,
              "an \"@\" too many: special characters in a password must be percent-encoded");
    return error_hint(reader->err, "write %%40 for \"@\", %%2F for \"/\", %%3A for \":\", %%3F for "
                                   "\"?\", %%23 for \"#\", %%25 for \"%%\"");
}

int connection_read_uri(struct connection_reader *reader, const char *text)
{
    const char *cursor = text;
    int rc = read_scheme(reader, &cursor);
    if (rc)
        return rc;
    bool has_authority = cursor[-1] == '/';
    size_t to_at = strcspn(cursor, "@/");
    if (has_authority && cursor[to_at] == '@') {
        rc = read_user(reader, (struct span){cursor, to_at});
        cursor += to_at + 1;
    }
    if (!rc)
        rc = refuse_stray_at(reader, cursor);
    if (rc)
        return rc;
    struct span authority = {cursor, has_authority ? strcspn(cursor, "/?") : 0};
    rc = read_hosts(reader, authority);
    cursor += authority.length;
    cursor += *cursor == '/';
    struct span database = {cursor, strcspn(cursor, "?")};
    if (!rc && database.length)
        rc = add_decoded(reader, "dbname", database, "database name");
    cursor += database.length;
    if (!rc && *cursor == '?')
        rc = read_query(reader, cursor + 1);
    return rc;
}
