/*
 * Connection strings as teams have them, made into what libpq takes.
 *
 *     char *conninfo = NULL;
 *     struct strv notices = STRV_INIT(CONNECTION_NOTICES_MAX);
 *     if ((rc = connection_normalise(text, &conninfo, &notices, err))) ...
 *
 * Taken: URIs (postgres://, postgresql://, with a driver as in postgresql+asyncpg://, and
 * jdbc:postgresql://; several hosts, IPv6, Unix sockets) and libpq's key=value strings. Given back:
 * a key=value string. The grammar is libpq's (PostgreSQL, "Connection Strings"), and so is the
 * list of parameters, as of libpq 15. Parameters that frameworks append are translated where libpq
 * has the same, else left out; each gives a notice when it changes anything a person should know.
 * An unknown one is an error that names it. libpq's own program is not asked: this is pure.
 *
 * No error and no notice ever holds a value of the string but the host name and the ssl mode. A
 * struct connection holds the password: connection_clear() wipes it.
 */
#ifndef PGCAIRN_POLICY_CONNECTION_H
#define PGCAIRN_POLICY_CONNECTION_H

#include "base/error.h"
#include "base/strv.h"

enum {
    CONNECTION_TEXT_MAX = 16384, /* bytes of a connection string */
    CONNECTION_PARAMETERS_MAX = 64,
    CONNECTION_NOTICES_MAX = 64,
};

/* Keywords of libpq and their values, each keyword once. */
struct connection {
    char *keywords[CONNECTION_PARAMETERS_MAX];
    char *values[CONNECTION_PARAMETERS_MAX];
    size_t count;
};

/* ERR_USAGE with a hint when the text is no connection string. */
int connection_parse(const char *text, struct connection *ret_connection, struct strv *notices,
                     struct error *err);
void connection_clear(struct connection *connection);

/* The value of a libpq keyword; NULL when absent. */
const char *connection_get(const struct connection *connection, const char *keyword);
/* Sets or replaces it; an empty value removes it. */
int connection_set(struct connection *connection, const char *keyword, const char *value,
                   struct error *err);
int connection_to_text(const struct connection *connection, char **ret_conninfo, struct error *err);

/* connection_parse() and connection_to_text(). */
int connection_normalise(const char *text, char **ret_conninfo, struct strv *notices,
                         struct error *err);

/* The text with passwords as "***", whatever it is: when in doubt more is hidden. For display; the
 * caller frees. */
int connection_redact(const char *text, char **ret_text, struct error *err);

#endif
