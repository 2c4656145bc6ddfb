/*
 * What a server says of itself, and the statements that make a database like another one.
 */
#ifndef PGCAIRN_POSTGRES_SERVER_H
#define PGCAIRN_POSTGRES_SERVER_H

#include <jansson.h>

#include "postgres/connection.h"

struct pg_server {
    char *version;              /* "15.14 (Debian 15.14-0+deb12u1)" */
    int version_num;            /* 150014 */
    char system_identifier[24]; /* decimal; "" when the role may not ask */
    bool is_standby;
    json_t *settings; /* name to value: those a restore wants to know */
};

int pg_read_server(PGconn *conn, struct pg_server *ret_server, struct error *err);
void pg_server_clear(struct pg_server *server);

/*
 * Statements that create a database and give it its properties, from the manifest's entry for it.
 * `identifier` is the quoted name to use (or psql's :"target"). Each is a whole statement without
 * its semicolon. The owner is set last, so that a plain role may create a database for itself.
 */
int pg_create_database_sql(const json_t *database, const char *identifier, struct buf *sql,
                           struct error *err);
int pg_database_property_sql(const json_t *database, const char *identifier, bool owner,
                             bool privileges, struct strv *statements, struct error *err);

#endif
