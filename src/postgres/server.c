#include "postgres/server.h"

#include <string.h>
#include <strings.h>

enum { SQL_LIMIT = 1 << 20 };

static const char LIST_SETTINGS[] =
    "select name, setting from pg_catalog.pg_settings where name in ('server_encoding',"
    " 'lc_messages', 'lc_monetary', 'lc_numeric', 'lc_time', 'TimeZone', 'block_size',"
    " 'data_checksums', 'default_text_search_config', 'max_connections', 'wal_level',"
    " 'shared_preload_libraries', 'max_locks_per_transaction') order by name";

static int read_settings(PGconn *conn, json_t **ret_settings, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = pg_query(conn, &result, err, LIST_SETTINGS, NULL);
    if (rc)
        return rc;
    json_t *settings = json_object();
    for (int row = 0; row < PQntuples(result); row++)
        json_object_set_new(settings, pg_text(result, row, 0),
                            json_string(pg_text(result, row, 1)));
    *ret_settings = settings;
    return settings ? 0 : error_no_memory(err);
}

static int read_identity(PGconn *conn, struct pg_server *server, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = pg_query(conn, &result, err,
                      "select pg_catalog.current_setting('server_version'),"
                      " pg_catalog.pg_is_in_recovery(),"
                      " pg_catalog.has_function_privilege('pg_catalog.pg_control_system()',"
                      " 'execute')",
                      NULL);
    if (rc)
        return rc;
    server->version_num = PQserverVersion(conn);
    server->is_standby = pg_boolean(result, 0, 1);
    server->version = strdup(pg_text(result, 0, 0));
    if (!server->version)
        return error_no_memory(err);
    if (!pg_boolean(result, 0, 2))
        return 0;
    _cleanup_(freep) char *identifier = NULL;
    rc = pg_query_text(conn, &identifier, err,
                       "select system_identifier::text from pg_catalog.pg_control_system()");
    if (!rc && identifier)
        snprintf(server->system_identifier, sizeof(server->system_identifier), "%s", identifier);
    return rc;
}

int pg_read_server(PGconn *conn, struct pg_server *ret_server, struct error *err)
{
    struct pg_server server = {0};
    int rc = read_identity(conn, &server, err);
    if (!rc)
        rc = read_settings(conn, &server.settings, err);
    if (rc)
        pg_server_clear(&server);
    else
        *ret_server = server;
    return rc;
}

void pg_server_clear(struct pg_server *server)
{
    free(server->version);
    json_decref(server->settings);
    *server = (struct pg_server){0};
}

/* The string under a key, NULL when it is absent or null. */
static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void add_option(struct buf *sql, const char *name, const char *value)
{
    if (!value)
        return;
    buf_addf(sql, " %s = ", name);
    pg_add_literal(sql, value);
}

int pg_create_database_sql(const json_t *database, const char *identifier, struct buf *sql,
                           struct error *err)
{
    const char *provider = text_of(database, "locale_provider");
    buf_addf(sql, "CREATE DATABASE %s TEMPLATE = template0", identifier);
    add_option(sql, "ENCODING", text_of(database, "encoding"));
    if (provider && strcmp(provider, "c") == 0) {
        add_option(sql, "LOCALE_PROVIDER", "libc");
    } else if (provider && strcmp(provider, "i") == 0) {
        add_option(sql, "LOCALE_PROVIDER", "icu");
        add_option(sql, "ICU_LOCALE", text_of(database, "locale"));
        add_option(sql, "ICU_RULES", text_of(database, "icu_rules"));
    } else if (provider && strcmp(provider, "b") == 0) {
        add_option(sql, "LOCALE_PROVIDER", "builtin");
        add_option(sql, "BUILTIN_LOCALE", text_of(database, "locale"));
    }
    add_option(sql, "LC_COLLATE", text_of(database, "collate"));
    add_option(sql, "LC_CTYPE", text_of(database, "ctype"));
    return buf_failed(sql, "CREATE DATABASE", err);
}

/* Settings whose value is a list of names are stored as the list was written and must be given back
 * as a list, not as one string (GUC_LIST_QUOTE in PostgreSQL's guc tables). */
static bool is_list_setting(const char *name)
{
    static const char *const NAMES[] = {"local_preload_libraries",   "search_path",
                                        "session_preload_libraries", "shared_preload_libraries",
                                        "temp_tablespaces",          "unix_socket_directories"};
    for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++)
        if (strcasecmp(name, NAMES[i]) == 0)
            return true;
    return false;
}

/* One element of a list like: "$user", public -- unquoted text goes to `element`. */
static const char *take_element(const char *cursor, struct buf *element)
{
    cursor += strspn(cursor, " ,");
    if (*cursor != '"') {
        size_t length = strcspn(cursor, ", ");
        buf_add(element, cursor, length);
        return cursor + length;
    }
    for (cursor++; *cursor; cursor++) {
        if (*cursor == '"' && cursor[1] != '"')
            return cursor + 1;
        cursor += *cursor == '"';
        buf_add(element, cursor, 1);
    }
    return cursor;
}

static void add_list_value(struct buf *sql, const char *value)
{
    bool first = true;
    for (const char *cursor = value; cursor[strspn(cursor, " ,")];) {
        _cleanup_(buf_clear) struct buf element = BUF_INIT(SQL_LIMIT);
        cursor = take_element(cursor, &element);
        buf_add_text(sql, first ? "" : ", ");
        pg_add_literal(sql, buf_text(&element));
        first = false;
    }
    if (first)
        buf_add_text(sql, "''");
}

static int add_settings(const json_t *database, const char *identifier, struct strv *statements,
                        struct error *err)
{
    size_t i;
    json_t *setting;
    int rc = 0;
    json_array_foreach(json_object_get(database, "settings"), i, setting)
    {
        const char *role = text_of(setting, "role");
        const char *name = text_of(setting, "name");
        const char *value = text_of(setting, "value");
        if (!name || !value || rc)
            continue;
        _cleanup_(buf_clear) struct buf sql = BUF_INIT(SQL_LIMIT);
        buf_add_text(&sql, role ? "ALTER ROLE " : "ALTER DATABASE ");
        if (role) {
            pg_add_identifier(&sql, role);
            buf_add_text(&sql, " IN DATABASE ");
        }
        buf_addf(&sql, "%s SET ", identifier);
        pg_add_identifier(&sql, name);
        buf_add_text(&sql, " TO ");
        if (is_list_setting(name))
            add_list_value(&sql, value);
        else
            pg_add_literal(&sql, value);
        rc = buf_failed(&sql, "ALTER DATABASE", err);
        if (!rc)
            rc = strv_add(statements, buf_text(&sql), err);
    }
    return rc;
}

static bool is_granted_by(const json_t *item, const char *role)
{
    const char *grantor = text_of(item, "grantor");
    return !grantor || (role && strcmp(grantor, role) == 0);
}

static int add_grant(const json_t *item, const char *identifier, struct strv *statements,
                     struct error *err)
{
    const char *grantee = text_of(item, "grantee");
    const char *grantable = text_of(item, "grantable");
    _cleanup_(buf_clear) struct buf sql = BUF_INIT(SQL_LIMIT);
    buf_addf(&sql, "GRANT %s ON DATABASE %s TO ", text_of(item, "privilege"), identifier);
    if (grantee)
        pg_add_identifier(&sql, grantee);
    else
        buf_add_text(&sql, "PUBLIC");
    if (grantable && grantable[0] == 't')
        buf_add_text(&sql, " WITH GRANT OPTION");
    int rc = buf_failed(&sql, "GRANT", err);
    return rc ? rc : strv_add(statements, buf_text(&sql), err);
}

/* What a role granted that is not the owner must come from that role again. */
static int add_grant_of_another(const json_t *item, const char *identifier, struct strv *statements,
                                struct error *err)
{
    _cleanup_(buf_clear) struct buf sql = BUF_INIT(SQL_LIMIT);
    buf_add_text(&sql, "SET SESSION AUTHORIZATION ");
    pg_add_identifier(&sql, text_of(item, "grantor"));
    int rc = buf_failed(&sql, "SET SESSION AUTHORIZATION", err);
    if (!rc)
        rc = strv_add(statements, buf_text(&sql), err);
    if (!rc)
        rc = add_grant(item, identifier, statements, err);
    return rc ? rc : strv_add(statements, "RESET SESSION AUTHORIZATION", err);
}

static int add_revokes(const char *identifier, const char *owner, struct strv *statements,
                       struct error *err)
{
    _cleanup_(buf_clear) struct buf sql = BUF_INIT(SQL_LIMIT);
    int rc = strv_addf(statements, err, "REVOKE ALL ON DATABASE %s FROM PUBLIC", identifier);
    if (rc || !owner)
        return rc;
    buf_addf(&sql, "REVOKE ALL ON DATABASE %s FROM ", identifier);
    pg_add_identifier(&sql, owner);
    rc = buf_failed(&sql, "REVOKE", err);
    return rc ? rc : strv_add(statements, buf_text(&sql), err);
}

/* Default privileges go first, then exactly those of the dumped database are given: the owner's
 * grants, and with the rights that these gave, those of others. */
static int add_privileges(const json_t *database, const char *identifier, bool owner,
                          struct strv *statements, struct error *err)
{
    if (!json_is_false(json_object_get(database, "acl_is_default")))
        return 0;
    const char *owner_name = text_of(database, "owner");
    const json_t *items = json_object_get(database, "acl");
    int rc = add_revokes(identifier, owner ? owner_name : NULL, statements, err);
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item)
    {
        if (!rc && is_granted_by(item, owner_name))
            rc = add_grant(item, identifier, statements, err);
    }
    json_array_foreach(items, i, item)
    {
        if (!rc && !is_granted_by(item, owner_name))
            rc = add_grant_of_another(item, identifier, statements, err);
    }
    return rc;
}

int pg_database_property_sql(const json_t *database, const char *identifier, bool owner,
                             bool privileges, struct strv *statements, struct error *err)
{
    const char *comment = text_of(database, "comment");
    const char *owner_name = text_of(database, "owner");
    json_int_t limit = json_integer_value(json_object_get(database, "connection_limit"));
    _cleanup_(buf_clear) struct buf sql = BUF_INIT(SQL_LIMIT);
    int rc = 0;
    if (comment) {
        buf_addf(&sql, "COMMENT ON DATABASE %s IS ", identifier);
        pg_add_literal(&sql, comment);
        rc = strv_add(statements, buf_text(&sql), err);
    }
    if (!rc && limit != -1 && json_object_get(database, "connection_limit"))
        rc = strv_addf(statements, err, "ALTER DATABASE %s CONNECTION LIMIT %lld", identifier,
                       (long long)limit);
    if (!rc)
        rc = add_settings(database, identifier, statements, err);
    if (!rc && owner && owner_name) {
        buf_reset(&sql);
        buf_addf(&sql, "ALTER DATABASE %s OWNER TO ", identifier);
        pg_add_identifier(&sql, owner_name);
        rc = strv_add(statements, buf_text(&sql), err);
    }
    if (!rc && privileges)
        rc = add_privileges(database, identifier, owner, statements, err);
    return rc;
}

const char *pg_public_schema_sql(int pg_dump_major)
{
    if (pg_dump_major < 15)
        return NULL;
    return "DO $$ BEGIN "
           "IF pg_catalog.current_setting('server_version_num')::int < 150000"
           " AND pg_catalog.to_regnamespace('public') IS NOT NULL THEN"
           " REVOKE CREATE ON SCHEMA public FROM PUBLIC; END IF; END $$";
}
