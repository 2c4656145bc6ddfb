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

/*
 * pg_dump writes the rights on schema public as differences from what initdb grants. Since 15 that
 * is without CREATE for everybody, and pg_dump 15 and newer mean this even when they dump an older
 * server. The statement makes an older server's new database so; a newer one it leaves alone. NULL
 * when pg_dump of this major version (0 = not known) meant the old rights.
 */
const char *pg_public_schema_sql(int pg_dump_major);

#endif
