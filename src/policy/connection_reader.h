/*
 * Inside of connection.c and connection_uri.c: a connection string while it is read.
 */
#ifndef PGCAIRN_POLICY_CONNECTION_READER_H
#define PGCAIRN_POLICY_CONNECTION_READER_H

#include "policy/connection.h"

struct connection_reader {
    struct connection *connection;
    struct strv *notices;
    const char *ssl; /* libpq's word for a driver's ssl=...; NULL when there was none */
    bool is_jdbc;
    struct error *err;
};

/* One parameter as it stands in the string, decoded: kept, translated, left out or refused. */
int connection_add(struct connection_reader *reader, const char *name, const char *value);

/* text begins with a scheme. */
int connection_read_uri(struct connection_reader *reader, const char *text);

/* Whether text begins like a URI: letters and what may stand in a scheme, then "://", or "jdbc:".
 */
bool connection_is_uri(const char *text);

#endif
