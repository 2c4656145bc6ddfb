#include "policy/connection.h"

#include <string.h>

#include "base/buf.h"
#include "base/suggest.h"
#include "base/units.h"
#include "policy/connection_reader.h"
#include "policy/parameters.h"

static const char *const SSL_MODES[] = {"disable", "allow",     "prefer",
                                        "require", "verify-ca", "verify-full"};

/* What drivers say in ssl=..., and libpq's word for it. pgJDBC's plain "ssl" verifies the host. */
static const struct {
    const char *word, *mode, *jdbc_mode;
} SSL_WORDS[] = {
    {"true", "require", "verify-full"},      {"1", "require", "verify-full"},
    {"on", "require", "verify-full"},        {"yes", "require", "verify-full"},
    {"", "require", "verify-full"},          {"no-verify", "require", "require"},
    {"false", "disable", "disable"},         {"0", "disable", "disable"},
    {"off", "disable", "disable"},           {"no", "disable", "disable"},
    {"disable", "disable", "disable"},       {"allow", "allow", "allow"},
    {"prefer", "prefer", "prefer"},          {"require", "require", "require"},
    {"verify-ca", "verify-ca", "verify-ca"}, {"verify-full", "verify-full", "verify-full"},
};

static const struct {
    const char *word, *attrs;
} TARGETS[] = {
    {"any", "any"},
    {"primary", "primary"},
    {"master", "primary"},
    {"secondary", "standby"},
    {"slave", "standby"},
    {"preferSecondary", "prefer-standby"},
    {"preferSlave", "prefer-standby"},
    {"preferPrimary", "any"},
};

static void wipe(char *text)
{
    explicit_bzero(text, strlen(text));
    free(text);
}

void connection_clear(struct connection *connection)
{
    for (size_t i = 0; i < connection->count; i++) {
        free(connection->keywords[i]);
        wipe(connection->values[i]);
    }
    *connection = (struct connection){.count = 0};
}

static size_t find_keyword(const struct connection *connection, const char *keyword)
{
    size_t i = 0;
    while (i < connection->count && strcmp(connection->keywords[i], keyword) != 0)
        i++;
    return i;
}

const char *connection_get(const struct connection *connection, const char *keyword)
{
    size_t i = find_keyword(connection, keyword);
    return i < connection->count ? connection->values[i] : NULL;
}

static void remove_at(struct connection *connection, size_t i)
{
    free(connection->keywords[i]);
    wipe(connection->values[i]);
    connection->count--;
    for (; i < connection->count; i++) {
        connection->keywords[i] = connection->keywords[i + 1];
        connection->values[i] = connection->values[i + 1];
    }
}

int connection_set(struct connection *connection, const char *keyword, const char *value,
                   struct error *err)
{
    size_t i = find_keyword(connection, keyword);
    if (!*value) {
        if (i < connection->count)
            remove_at(connection, i);
        return 0;
    }
    if (i == CONNECTION_PARAMETERS_MAX)
        return error_set(err, ERR_USAGE, "more than %d parameters", CONNECTION_PARAMETERS_MAX);
    _cleanup_(freep) char *copy = strdup(value);
    _cleanup_(freep) char *name = i < connection->count ? NULL : strdup(keyword);
    if (!copy || (i == connection->count && !name))
        return error_no_memory(err);
    if (i < connection->count) {
        wipe(connection->values[i]);
    } else {
        connection->keywords[i] = TAKE(name);
        connection->count++;
    }
    connection->values[i] = TAKE(copy);
    return 0;
}

/* libpq's quoting: backslashes before quotes and backslashes, quotes around blanks. */
static void add_value(struct buf *buf, const char *value)
{
    bool quote = !*value || value[strcspn(value, " \t\n\r\f\v'\\")];
    if (quote)
        buf_add_text(buf, "'");
    for (; *value; value++) {
        if (*value == '\'' || *value == '\\')
            buf_add_text(buf, "\\");
        buf_add(buf, value, 1);
    }
    if (quote)
        buf_add_text(buf, "'");
}

int connection_to_text(const struct connection *connection, char **ret_conninfo, struct error *err)
{
    struct buf buf = BUF_INIT(4 * CONNECTION_TEXT_MAX);
    for (size_t i = 0; i < connection->count; i++) {
        buf_addf(&buf, "%s%s=", i ? " " : "", connection->keywords[i]);
        add_value(&buf, connection->values[i]);
    }
    int rc = buf_failed(&buf, "the connection string", err);
    char *text = rc ? NULL : buf_steal(&buf);
    if (!rc && !text)
        rc = error_no_memory(err);
    if (!rc)
        *ret_conninfo = text;
    buf_clear(&buf);
    return rc;
}

static int add_ssl_mode(struct connection_reader *reader, const char *value)
{
    for (size_t i = 0; i < ARRAY_SIZE(SSL_MODES); i++)
        if (strcmp(value, SSL_MODES[i]) == 0)
            return connection_set(reader->connection, "sslmode", value, reader->err);
    if (strcmp(value, "no-verify") == 0) {
        int rc = connection_set(reader->connection, "sslmode", "require", reader->err);
        return rc ? rc
                  : strv_add(reader->notices,
                             "sslmode=no-verify became sslmode=require: encrypted, the server not "
                             "verified",
                             reader->err);
    }
    error_set(reader->err, ERR_USAGE, "sslmode \"%.40s\" does not exist", value);
    const char *nearest = suggest_nearest(value, SSL_MODES, ARRAY_SIZE(SSL_MODES));
    return error_hint(reader->err, "did you mean \"%s\"?", nearest ? nearest : "verify-full");
}

static int add_ssl_switch(struct connection_reader *reader, const char *name, const char *value)
{
    for (size_t i = 0; i < ARRAY_SIZE(SSL_WORDS); i++)
        if (strcasecmp(value, SSL_WORDS[i].word) == 0) {
            reader->ssl = reader->is_jdbc ? SSL_WORDS[i].jdbc_mode : SSL_WORDS[i].mode;
            return 0;
        }
    error_set(reader->err, ERR_USAGE, "the value of parameter \"%s\" is not understood", name);
    return error_hint(reader->err, "write sslmode=require or sslmode=verify-full in its place");
}

static int add_target(struct connection_reader *reader, const char *value)
{
    for (size_t i = 0; i < ARRAY_SIZE(TARGETS); i++)
        if (strcasecmp(value, TARGETS[i].word) == 0)
            return connection_set(reader->connection, "target_session_attrs", TARGETS[i].attrs,
                                  reader->err);
    return error_set(reader->err, ERR_USAGE,
                     "the value of parameter \"targetServerType\" is not understood");
}

static int keep(struct connection_reader *reader, const char *name, const char *value)
{
    int64_t seconds;
    if (strcmp(name, "sslmode") == 0 && *value)
        return add_ssl_mode(reader, value);
    if (strcmp(name, "connect_timeout") == 0 && *value &&
        number_parse(value, name, 0, 86400, &seconds, NULL))
        return error_set(reader->err, ERR_USAGE,
                         "the value of parameter \"%s\" is not a number of seconds", name);
    return connection_set(reader->connection, name, value, reader->err);
}

static int unknown(struct connection_reader *reader, const char *name)
{
    const char *nearest = parameter_suggest(name);
    error_set(reader->err, ERR_USAGE, "unknown parameter \"%.60s\"", name);
    if (nearest)
        return error_hint(reader->err, "did you mean \"%s\"?", nearest);
    return error_hint(reader->err, "leave it out if it is meant for a driver");
}

int connection_add(struct connection_reader *reader, const char *name, const char *value)
{
    const struct parameter *parameter = parameter_find(name);
    if (!parameter && strncmp(name, "x-", 2) == 0)
        return strv_addf(reader->notices, reader->err,
                         "parameter \"%.60s\" is left out: it sets a migration tool", name);
    if (!parameter)
        return unknown(reader, name);
    switch (parameter->action) {
    case PARAMETER_KEEP:
        return keep(reader, name, value);
    case PARAMETER_RENAME:
        return keep(reader, parameter->other, value);
    case PARAMETER_SSL:
        return add_ssl_switch(reader, name, value);
    case PARAMETER_TARGET:
        return add_target(reader, value);
    case PARAMETER_DROP:
        return strv_addf(reader->notices, reader->err, "parameter \"%s\" is left out: %s", name,
                         parameter->other);
    case PARAMETER_REFUSE:
        break;
    }
    return error_set(reader->err, ERR_USAGE, "parameter \"%s\" can't be used: %s", name,
                     parameter->other);
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The value behind "=", by libpq's conninfo_parse(): quoted or up to a blank, backslash escapes. */
static int read_value(struct connection_reader *reader, const char **cursor, const char *name,
                      struct buf *value)
{
    const char *c = *cursor;
    bool quoted = *c == '\'';
    for (c += quoted; *c && (quoted ? *c != '\'' : !is_blank(*c)); c++) {
        if (*c == '\\' && c[1])
            c++;
        buf_add(value, c, 1);
    }
    if (quoted && *c != '\'')
        return error_set(reader->err, ERR_USAGE, "the quoted value of \"%s\" has no end", name);
    *cursor = c + quoted;
    return buf_failed(value, "the connection string", reader->err);
}

static int no_pairs(struct connection_reader *reader, const char *text)
{
    error_set(reader->err, ERR_USAGE, "not a connection string of PostgreSQL");
    if (strchr(text, ';') && strchr(text, '='))
        return error_hint(reader->err, "this is a .NET string; write "
                                       "postgresql://user:password@host:5432/database");
    return error_hint(reader->err, "write postgresql://user:password@host:5432/database, or "
                                   "\"host=... dbname=... user=...\"");
}

static int read_pairs(struct connection_reader *reader, const char *text)
{
    int rc = 0;
    struct buf value = BUF_INIT(CONNECTION_TEXT_MAX);
    for (const char *c = text; !rc;) {
        char name[64];
        while (is_blank(*c))
            c++;
        if (!*c)
            break;
        size_t length = strcspn(c, "= \t\n\v\f\r");
        const char *after = c + length;
        while (is_blank(*after))
            after++;
        if (*after != '=' || length == 0 || length >= sizeof(name)) {
            rc = no_pairs(reader, text);
            break;
        }
        snprintf(name, sizeof(name), "%.*s", (int)length, c);
        if (!parameter_find(name) && strchr(text, ';')) {
            rc = no_pairs(reader, text);
            break;
        }
        for (c = after + 1; is_blank(*c);)
            c++;
        buf_reset(&value);
        rc = read_value(reader, &c, name, &value);
        if (!rc)
            rc = connection_add(reader, name, buf_text(&value));
    }
    if (value.data)
        explicit_bzero(value.data, value.allocated);
    buf_clear(&value);
    return rc;
}

static int check_ports(struct connection_reader *reader)
{
    const char *ports = connection_get(reader->connection, "port");
    for (const char *c = ports; c && *c;) {
        char port[8];
        int64_t number;
        size_t length = strcspn(c, ",");
        snprintf(port, sizeof(port), "%.*s", length < 8 ? (int)length : 7, c);
        if (length && number_parse(port, "port", 1, 65535, &number, NULL))
            return error_set(reader->err, ERR_USAGE, "the port is not a number from 1 to 65535");
        c += length + (c[length] == ',');
    }
    return 0;
}

/* A pooler's address is known by its name or port; whether it is one is found out on connecting. */
static int notice_pooler(struct connection_reader *reader)
{
    const char *host = connection_get(reader->connection, "host");
    const char *port = connection_get(reader->connection, "port");
    if (!host || (!strstr(host, "-pooler.") && !strstr(host, ".pooler.") &&
                  !(port && strcmp(port, "6543") == 0) && !(port && strcmp(port, "6432") == 0)))
        return 0;
    return strv_addf(reader->notices, reader->err,
                     "host \"%.200s\" looks like a connection pooler, through which no dump is "
                     "possible: give the server's own address",
                     host);
}

static int finish(struct connection_reader *reader)
{
    int rc = check_ports(reader);
    if (!rc && reader->ssl && !connection_get(reader->connection, "sslmode"))
        rc = connection_set(reader->connection, "sslmode", reader->ssl, reader->err);
    return rc ? rc : notice_pooler(reader);
}

/* Blanks around the text are an artefact of environment files; quotes are too, but not ours to
 * guess at. */
static int copy_trimmed(const char *text, char **ret_text, struct error *err)
{
    while (is_blank(*text))
        text++;
    size_t length = strlen(text);
    while (length > 0 && is_blank(text[length - 1]))
        length--;
    if (length == 0)
        return error_set(err, ERR_USAGE, "the connection string is empty");
    if (length > CONNECTION_TEXT_MAX)
        return error_set(err, ERR_USAGE, "the connection string is longer than %d bytes",
                         CONNECTION_TEXT_MAX);
    if ((*text == '"' || *text == '\'') && text[length - 1] == *text) {
        error_set(err, ERR_USAGE, "the connection string has quotes around it");
        return error_hint(err, "they are part of the variable's value: write it without them");
    }
    char *copy = strndup(text, length);
    if (!copy)
        return error_no_memory(err);
    *ret_text = copy;
    return 0;
}

int connection_parse(const char *text, struct connection *ret_connection, struct strv *notices,
                     struct error *err)
{
    char *trimmed = NULL;
    int rc = copy_trimmed(text, &trimmed, err);
    if (rc)
        return rc;
    struct connection connection = {.count = 0};
    struct connection_reader reader = {.connection = &connection, .notices = notices, .err = err};
    rc = connection_is_uri(trimmed) ? connection_read_uri(&reader, trimmed)
                                    : read_pairs(&reader, trimmed);
    if (!rc)
        rc = finish(&reader);
    wipe(trimmed);
    if (rc)
        connection_clear(&connection);
    else
        *ret_connection = connection;
    return rc;
}

int connection_normalise(const char *text, char **ret_conninfo, struct strv *notices,
                         struct error *err)
{
    struct connection connection = {.count = 0};
    int rc = connection_parse(text, &connection, notices, err);
    if (!rc)
        rc = connection_to_text(&connection, ret_conninfo, err);
    connection_clear(&connection);
    return rc;
}
