#include "policy/parameters.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/suggest.h"

static const char POOL[] = "it sets a client's connection pool";
static const char STATEMENTS[] = "it sets a client's cache of statements";
static const char CLIENT[] = "it sets a client library";
static const char OURS[] = "pgcairn sets its own for each session";
static const char TIMEOUT[] = "it limits a client's queries; here timeout: of the job does";
static const char NEWER[] = "libpq 15 does not have it";
static const char SCHEMA[] = "a connection has no schema; whole databases are dumped";

static const struct parameter PARAMETERS[] = {
    /* libpq 15. "replication" and "fallback_application_name" are libpq's too, but not a policy's.
     */
    {"host", PARAMETER_KEEP, NULL},
    {"hostaddr", PARAMETER_KEEP, NULL},
    {"port", PARAMETER_KEEP, NULL},
    {"dbname", PARAMETER_KEEP, NULL},
    {"user", PARAMETER_KEEP, NULL},
    {"password", PARAMETER_KEEP, NULL},
    {"passfile", PARAMETER_KEEP, NULL},
    {"channel_binding", PARAMETER_KEEP, NULL},
    {"connect_timeout", PARAMETER_KEEP, NULL},
    {"client_encoding", PARAMETER_KEEP, NULL},
    {"options", PARAMETER_KEEP, NULL},
    {"application_name", PARAMETER_KEEP, NULL},
    {"keepalives", PARAMETER_KEEP, NULL},
    {"keepalives_idle", PARAMETER_KEEP, NULL},
    {"keepalives_interval", PARAMETER_KEEP, NULL},
    {"keepalives_count", PARAMETER_KEEP, NULL},
    {"tcp_user_timeout", PARAMETER_KEEP, NULL},
    {"gssencmode", PARAMETER_KEEP, NULL},
    {"sslmode", PARAMETER_KEEP, NULL},
    {"requiressl", PARAMETER_SSL, NULL},
    {"sslcompression", PARAMETER_KEEP, NULL},
    {"sslcert", PARAMETER_KEEP, NULL},
    {"sslkey", PARAMETER_KEEP, NULL},
    {"sslpassword", PARAMETER_KEEP, NULL},
    {"sslrootcert", PARAMETER_KEEP, NULL},
    {"sslcrl", PARAMETER_KEEP, NULL},
    {"sslcrldir", PARAMETER_KEEP, NULL},
    {"sslsni", PARAMETER_KEEP, NULL},
    {"requirepeer", PARAMETER_KEEP, NULL},
    {"ssl_min_protocol_version", PARAMETER_KEEP, NULL},
    {"ssl_max_protocol_version", PARAMETER_KEEP, NULL},
    {"krbsrvname", PARAMETER_KEEP, NULL},
    {"gsslib", PARAMETER_KEEP, NULL},
    {"service", PARAMETER_KEEP, NULL},
    {"target_session_attrs", PARAMETER_KEEP, NULL},
    {"replication", PARAMETER_REFUSE, "pgcairn opens replication connections itself"},
    {"fallback_application_name", PARAMETER_DROP, OURS},

    /* libpq 16 and newer. What would weaken security unseen is refused. */
    {"load_balance_hosts", PARAMETER_DROP, NEWER},
    {"sslnegotiation", PARAMETER_DROP, NEWER},
    {"gssdelegation", PARAMETER_DROP, NEWER},
    {"min_protocol_version", PARAMETER_DROP, NEWER},
    {"max_protocol_version", PARAMETER_DROP, NEWER},
    {"servicefile", PARAMETER_REFUSE, NEWER},
    {"require_auth", PARAMETER_REFUSE, NEWER},
    {"sslcertmode", PARAMETER_REFUSE, NEWER},
    {"scram_client_key", PARAMETER_REFUSE, NEWER},
    {"scram_server_key", PARAMETER_REFUSE, NEWER},
    {"oauth_issuer", PARAMETER_REFUSE, NEWER},
    {"oauth_client_id", PARAMETER_REFUSE, NEWER},
    {"oauth_client_secret", PARAMETER_REFUSE, NEWER},
    {"oauth_scope", PARAMETER_REFUSE, NEWER},
    {"sslkeylogfile", PARAMETER_REFUSE, NEWER},

    /* Other names for the same. */
    {"username", PARAMETER_RENAME, "user"},
    {"database", PARAMETER_RENAME, "dbname"},
    {"hostname", PARAMETER_RENAME, "host"},
    {"ApplicationName", PARAMETER_RENAME, "application_name"},
    {"connectTimeout", PARAMETER_RENAME, "connect_timeout"},
    {"loginTimeout", PARAMETER_RENAME, "connect_timeout"},
    {"timeout", PARAMETER_RENAME, "connect_timeout"},
    {"channelBinding", PARAMETER_RENAME, "channel_binding"},
    {"gssEncMode", PARAMETER_RENAME, "gssencmode"},
    {"targetServerType", PARAMETER_TARGET, NULL},

    /* TLS in the words of drivers: node-postgres, asyncpg, pgJDBC, postgres.js; Prisma's sslaccept.
     */
    {"ssl", PARAMETER_SSL, NULL},
    {"tls", PARAMETER_SSL, NULL},
    {"uselibpqcompat", PARAMETER_DROP, "sslmode has libpq's meaning here anyway"},
    {"sslaccept", PARAMETER_DROP, "sslmode says what is verified: verify-full for everything"},
    {"sslidentity", PARAMETER_REFUSE, "libpq takes sslcert and sslkey in its place"},
    {"sslfactory", PARAMETER_DROP, "sslmode says what is verified"},
    {"sslhostnameverifier", PARAMETER_DROP, "sslmode says what is verified"},

    /* Prisma. */
    {"schema", PARAMETER_DROP, SCHEMA},
    {"pgbouncer", PARAMETER_DROP, "it tells of a pooler; pgcairn needs the server's own address"},
    {"connection_limit", PARAMETER_DROP, "max_connections: of the policy limits pgcairn"},
    {"pool_timeout", PARAMETER_DROP, POOL},
    {"socket_timeout", PARAMETER_DROP, TIMEOUT},
    {"statement_cache_size", PARAMETER_DROP, STATEMENTS},
    {"max_connection_lifetime", PARAMETER_DROP, POOL},
    {"max_idle_connection_lifetime", PARAMETER_DROP, POOL},
    {"single_use_connections", PARAMETER_DROP, POOL},

    /* SQLAlchemy, asyncpg, psycopg, Django. */
    {"prepared_statement_cache_size", PARAMETER_DROP, STATEMENTS},
    {"prepared_statement_name_func", PARAMETER_DROP, STATEMENTS},
    {"max_cached_statement_lifetime", PARAMETER_DROP, STATEMENTS},
    {"max_cacheable_statement_size", PARAMETER_DROP, STATEMENTS},
    {"prepare_threshold", PARAMETER_DROP, STATEMENTS},
    {"command_timeout", PARAMETER_DROP, TIMEOUT},
    {"async_fallback", PARAMETER_DROP, CLIENT},
    {"pool_size", PARAMETER_DROP, POOL},
    {"max_overflow", PARAMETER_DROP, POOL},
    {"pool_recycle", PARAMETER_DROP, POOL},
    {"pool_pre_ping", PARAMETER_DROP, POOL},
    {"min_size", PARAMETER_DROP, POOL},
    {"max_size", PARAMETER_DROP, POOL},
    {"executemany_mode", PARAMETER_DROP, CLIENT},
    {"isolation_level", PARAMETER_DROP, OURS},
    {"conn_max_age", PARAMETER_DROP, POOL},
    {"conn_health_checks", PARAMETER_DROP, POOL},
    {"disable_server_side_cursors", PARAMETER_DROP, CLIENT},

    /* Rails, Ecto. */
    {"pool", PARAMETER_DROP, POOL},
    {"encoding", PARAMETER_DROP, OURS},
    {"prepared_statements", PARAMETER_DROP, STATEMENTS},
    {"advisory_locks", PARAMETER_DROP, CLIENT},
    {"checkout_timeout", PARAMETER_DROP, POOL},
    {"reaping_frequency", PARAMETER_DROP, POOL},
    {"schema_search_path", PARAMETER_DROP, SCHEMA},
    {"queue_target", PARAMETER_DROP, POOL},

    /* node-postgres, postgres.js, Knex, TypeORM. */
    {"max", PARAMETER_DROP, POOL},
    {"min", PARAMETER_DROP, POOL},
    {"idle_timeout", PARAMETER_DROP, POOL},
    {"idleTimeoutMillis", PARAMETER_DROP, POOL},
    {"connectionTimeoutMillis", PARAMETER_DROP, CLIENT},
    {"max_lifetime", PARAMETER_DROP, POOL},
    {"query_timeout", PARAMETER_DROP, TIMEOUT},
    {"prepare", PARAMETER_DROP, STATEMENTS},
    {"fetch_types", PARAMETER_DROP, CLIENT},
    {"keepAlive", PARAMETER_DROP, OURS},

    /* pgx, lib/pq, golang-migrate. */
    {"pool_max_conns", PARAMETER_DROP, POOL},
    {"pool_min_conns", PARAMETER_DROP, POOL},
    {"pool_max_conn_lifetime", PARAMETER_DROP, POOL},
    {"pool_max_conn_lifetime_jitter", PARAMETER_DROP, POOL},
    {"pool_max_conn_idle_time", PARAMETER_DROP, POOL},
    {"pool_health_check_period", PARAMETER_DROP, POOL},
    {"default_query_exec_mode", PARAMETER_DROP, STATEMENTS},
    {"statement_cache_capacity", PARAMETER_DROP, STATEMENTS},
    {"description_cache_capacity", PARAMETER_DROP, STATEMENTS},
    {"statement_cache_mode", PARAMETER_DROP, STATEMENTS},
    {"binary_parameters", PARAMETER_DROP, CLIENT},

    /* pgJDBC. */
    {"currentSchema", PARAMETER_DROP, SCHEMA},
    {"prepareThreshold", PARAMETER_DROP, STATEMENTS},
    {"preparedStatementCacheQueries", PARAMETER_DROP, STATEMENTS},
    {"preparedStatementCacheSizeMiB", PARAMETER_DROP, STATEMENTS},
    {"preferQueryMode", PARAMETER_DROP, STATEMENTS},
    {"reWriteBatchedInserts", PARAMETER_DROP, CLIENT},
    {"socketTimeout", PARAMETER_DROP, TIMEOUT},
    {"tcpKeepAlive", PARAMETER_DROP, OURS},
    {"stringtype", PARAMETER_DROP, CLIENT},
    {"defaultRowFetchSize", PARAMETER_DROP, CLIENT},
    {"binaryTransfer", PARAMETER_DROP, CLIENT},
    {"autosave", PARAMETER_DROP, CLIENT},
    {"readOnly", PARAMETER_DROP, OURS},
    {"loadBalanceHosts", PARAMETER_DROP, CLIENT},

    /* Settings of the server given as parameters. */
    {"search_path", PARAMETER_DROP, SCHEMA},
    {"timezone", PARAMETER_DROP, OURS},
    {"TimeZone", PARAMETER_DROP, OURS},
    {"datestyle", PARAMETER_DROP, OURS},
    {"statement_timeout", PARAMETER_DROP, OURS},
    {"lock_timeout", PARAMETER_DROP, OURS},
    {"idle_in_transaction_session_timeout", PARAMETER_DROP, OURS},
};

const struct parameter *parameter_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(PARAMETERS); i++)
        if (strcmp(PARAMETERS[i].name, name) == 0)
            return &PARAMETERS[i];
    return NULL;
}

const char *parameter_suggest(const char *name)
{
    const char *names[ARRAY_SIZE(PARAMETERS)];
    for (size_t i = 0; i < ARRAY_SIZE(PARAMETERS); i++)
        names[i] = PARAMETERS[i].name;
    return suggest_nearest(name, names, ARRAY_SIZE(PARAMETERS));
}
