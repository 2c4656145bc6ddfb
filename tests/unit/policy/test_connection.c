#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "policy/connection.h"

/* A string, what libpq gets, and how many notices it takes. */
static const struct {
    const char *text, *conninfo;
    size_t notices;
} GOOD[] = {
    /* URIs as libpq has them. */
    {"postgresql://", "", 0},
    {"postgres://localhost", "host=localhost", 0},
    {"postgresql://localhost:5433", "host=localhost port=5433", 0},
    {"postgresql://localhost/mydb", "host=localhost dbname=mydb", 0},
    {"postgresql://user@localhost", "user=user host=localhost", 0},
    {"postgresql://user:secret@localhost", "user=user password=secret host=localhost", 0},
    {"postgresql://other@localhost/otherdb?connect_timeout=10&application_name=myapp",
     "user=other host=localhost dbname=otherdb connect_timeout=10 application_name=myapp", 0},
    {"postgresql://host1:123,host2:456/somedb?target_session_attrs=any&application_name=myapp",
     "host=host1,host2 port=123,456 dbname=somedb target_session_attrs=any application_name=myapp",
     0},
    {"postgresql://h1,h2:5433/d", "host=h1,h2 port=,5433 dbname=d", 0},
    {"postgresql:///mydb?host=localhost&port=5433", "dbname=mydb host=localhost port=5433", 0},
    {"postgresql://user@[2001:db8::1234]/database", "user=user host=2001:db8::1234 dbname=database",
     0},
    {"postgresql://[::1]:5433/d", "host=::1 port=5433 dbname=d", 0},
    {"postgresql://%2Fvar%2Flib%2Fpostgresql/dbname", "host=/var/lib/postgresql dbname=dbname", 0},
    {"postgresql:///d?host=/var/run/postgresql", "dbname=d host=/var/run/postgresql", 0},
    {"postgresql://:5432/d", "port=5432 dbname=d", 0},
    {"postgres://u:p@h:/d", "user=u password=p host=h dbname=d", 0},
    {"POSTGRES://u@h/d", "user=u host=h dbname=d", 0},
    /* Passwords. */
    {"postgres://u:p%40ss%3Aw%2Frd%3F%23%25@h/d", "user=u password=p@ss:w/rd?#% host=h dbname=d",
     0},
    {"postgres://u:@h/d", "user=u host=h dbname=d", 0},
    {"postgres://u:a%20b%27c%5Cd@h/d", "user=u password='a b\\'c\\\\d' host=h dbname=d", 0},
    {"postgres://u:p?w#d@h/d", "user=u password=p?w#d host=h dbname=d", 0},
    {"postgres://u:p:w@h/d", "user=u password=p:w host=h dbname=d", 0},
    {"postgres://u%40corp:p@h/d", "user=u@corp password=p host=h dbname=d", 0},
    {"postgres://u:p\xc3\xa4@h/d", "user=u password=p\xc3\xa4 host=h dbname=d", 0},
    {"postgres://h/d?user=u&password=p%26w", "host=h dbname=d user=u password=p&w", 0},
    {"postgres://u:one@h/d?password=two", "user=u password=two host=h dbname=d", 0},
    {"postgres://u:p+w@h/my%20db", "user=u password=p+w host=h dbname='my db'", 0},
    /* Drivers. */
    {"postgresql+asyncpg://u:p@h/d", "user=u password=p host=h dbname=d", 0},
    {"postgresql+psycopg://u:p@h/d", "user=u password=p host=h dbname=d", 0},
    {"postgresql+psycopg2://u:p@h/d", "user=u password=p host=h dbname=d", 0},
    {"postgresql+pg8000://u:p@h/d", "user=u password=p host=h dbname=d", 0},
    {"postgres+asyncpg://u:p@h/d?ssl=require", "user=u password=p host=h dbname=d sslmode=require",
     0},
    {"jdbc:postgresql://h:5432/d?user=u&password=p&ssl=true",
     "host=h port=5432 dbname=d user=u password=p sslmode=verify-full", 0},
    {"jdbc:postgresql://h/d?sslmode=require&ssl=true", "host=h dbname=d sslmode=require", 0},
    {"jdbc:postgresql:d", "dbname=d", 0},
    {"jdbc:postgresql://h/d?currentSchema=app&ApplicationName=x&prepareThreshold=0&loginTimeout=5",
     "host=h dbname=d application_name=x connect_timeout=5", 2},
    {"jdbc:postgresql://h/d?targetServerType=preferSecondary&socketTimeout=30",
     "host=h dbname=d target_session_attrs=prefer-standby", 1},
    {"postgis://u@h/d", "user=u host=h dbname=d", 0},
    {"ecto://u:p@h/d?pool_size=10", "user=u password=p host=h dbname=d", 1},
    /* Parameters of frameworks. */
    {"postgresql://u:p@h/d?schema=public", "user=u password=p host=h dbname=d", 1},
    {"postgres://u@h/d?pgbouncer=true&connection_limit=1&pool_timeout=20", "user=u host=h dbname=d",
     3},
    {"postgres://u@h/d?socket_timeout=3&statement_cache_size=0&sslaccept=strict",
     "user=u host=h dbname=d", 3},
    {"postgres://u@h/d?prepared_statement_cache_size=0&command_timeout=60",
     "user=u host=h dbname=d", 2},
    {"postgres://u@h/d?sslmode=no-verify", "user=u host=h dbname=d sslmode=require", 1},
    {"postgres://u@h/d?uselibpqcompat=true&sslmode=require",
     "user=u host=h dbname=d sslmode=require", 1},
    {"postgres://u@h/d?ssl=true", "user=u host=h dbname=d sslmode=require", 0},
    {"postgres://u@h/d?ssl=false", "user=u host=h dbname=d sslmode=disable", 0},
    {"postgres://u@h/d?ssl=verify-full", "user=u host=h dbname=d sslmode=verify-full", 0},
    {"postgres://u@h/d?ssl=true&sslmode=verify-ca", "user=u host=h dbname=d sslmode=verify-ca", 0},
    {"postgres://u@h/d?ssl=no-verify", "user=u host=h dbname=d sslmode=require", 0},
    {"postgres://u@ep-x.aws.neon.tech/d?sslmode=require&channel_binding=require",
     "user=u host=ep-x.aws.neon.tech dbname=d sslmode=require channel_binding=require", 0},
    {"postgres://u@h/d?options=endpoint%3Dep-cool-1",
     "user=u host=h dbname=d options=endpoint=ep-cool-1", 0},
    {"postgres://u@h/d?options=endpoint=ep-cool-1",
     "user=u host=h dbname=d options=endpoint=ep-cool-1", 0},
    {"postgres://u@h/d?options=-c%20search_path%3Dapp",
     "user=u host=h dbname=d options='-c search_path=app'", 0},
    {"postgres://u@ep-x-pooler.aws.neon.tech/d", "user=u host=ep-x-pooler.aws.neon.tech dbname=d",
     1},
    {"postgres://u@aws-0-eu.pooler.supabase.com:6543/d",
     "user=u host=aws-0-eu.pooler.supabase.com port=6543 dbname=d", 1},
    {"postgres://u@h/d?x-migrations-table=m&search_path=app&statement_timeout=1",
     "user=u host=h dbname=d", 3},
    {"postgres://u@h/d?pool_max_conns=4&default_query_exec_mode=exec", "user=u host=h dbname=d", 2},
    {"postgres://u@h/d?sslnegotiation=direct", "user=u host=h dbname=d", 1},
    {"postgres://u@h/d?&&sslmode=allow&", "user=u host=h dbname=d sslmode=allow", 0},
    {"  postgres://u@h/d\n", "user=u host=h dbname=d", 0},
    /* key=value. */
    {"host=h port=5432 user=u password=p dbname=d", "host=h port=5432 user=u password=p dbname=d",
     0},
    {"host = h  dbname= 'my db' password='it\\'s \\\\ ok'",
     "host=h dbname='my db' password='it\\'s \\\\ ok'", 0},
    {"password=a;b@c/d:e dbname=x", "password=a;b@c/d:e dbname=x", 0},
    {"password='' user=u", "user=u", 0},
    {"service=prod", "service=prod", 0},
    {"host=/var/run/postgresql dbname=app sslmode=no-verify",
     "host=/var/run/postgresql dbname=app sslmode=require", 1},
    {"dbname=app schema=public requiressl=1", "dbname=app sslmode=require", 1},
    {"username=u database=d hostname=h", "user=u dbname=d host=h", 0},
    {"dbname=a\\ b", "dbname='a b'", 0},
};

static const struct {
    const char *text, *message, *hint;
} BAD[] = {
    {"", "the connection string is empty", ""},
    {"  \n", "the connection string is empty", ""},
    {"postgres://u:p@ss@h/d",
     "an \"@\" too many: special characters in a password must be percent-encoded",
     "write %40 for \"@\", %2F for \"/\", %3A for \":\", %3F for \"?\", %23 for \"#\", %25 for "
     "\"%\""},
    {"postgres://u:p/ss@h/d",
     "an \"@\" too many: special characters in a password must be percent-encoded", NULL},
    {"postgres://u:p%ss@h/d", "\"%\" in the password is not followed by two hexadecimal digits",
     "write \"%25\" for a percent sign"},
    {"postgres://u:p%4@h/d", "\"%\" in the password is not followed by two hexadecimal digits",
     NULL},
    {"postgres://u:p%00@h/d", "\"%00\" in the password is not allowed", NULL},
    {"postgres://u@h/d?app=1", "unknown parameter \"app\"", NULL},
    {"postgres://u@h/d?sslmod=require", "unknown parameter \"sslmod\"",
     "did you mean \"sslmode\"?"},
    {"postgres://u@h/d?zzz=1", "unknown parameter \"zzz\"",
     "leave it out if it is meant for a driver"},
    {"postgres://u@h/d?sslmode=requir", "sslmode \"requir\" does not exist",
     "did you mean \"require\"?"},
    {"postgres://u@h/d?ssl=maybe", "the value of parameter \"ssl\" is not understood", NULL},
    {"postgres://u@h/d?require_auth=scram-sha-256",
     "parameter \"require_auth\" can't be used: libpq 15 does not have it", NULL},
    {"postgres://u@h/d?replication=database",
     "parameter \"replication\" can't be used: pgcairn opens replication connections itself", NULL},
    {"postgres://u@h/d?connect_timeout=soon",
     "the value of parameter \"connect_timeout\" is not a number of seconds", NULL},
    {"postgresql://user:password@host:port/database", "the port is not a number from 1 to 65535",
     ""},
    {"postgres://h:70000/d", "the port is not a number from 1 to 65535", ""},
    {"postgres://::1:5432/d", "more than one \":\" behind the host",
     "an IPv6 address stands in brackets: [::1]:5432"},
    {"postgres://[::1/d", "\"[\" of an IPv6 address without \"]\"", ""},
    {"postgres://[::1]x/d", "only \":port\" may follow \"]\"", ""},
    {"mysql://u:p@h/d", "\"mysql\" is not PostgreSQL",
     "write postgresql://user:password@host:5432/database"},
    {"jdbc:mysql://h/d", "\"mysql\" is not PostgreSQL", NULL},
    {"prisma+postgres://accelerate.prisma-data.net/?api_key=x",
     "\"prisma+postgres\" is not PostgreSQL",
     "this is the address of a proxy; write postgresql://user:password@host:5432/database of the "
     "database itself"},
    {"postgresql+foo://u@h/d", "driver \"foo\" is not known", NULL},
    {"jdbc:postgresql:/d", "\"//\" is missing behind the scheme", NULL},
    {"mydb", "not a connection string of PostgreSQL", NULL},
    {"host=h dbname", "not a connection string of PostgreSQL", NULL},
    {"Host=h;Username=u;Password=p;Database=d", "not a connection string of PostgreSQL",
     "this is a .NET string; write postgresql://user:password@host:5432/database"},
    {"password='abc", "the quoted value of \"password\" has no end", ""},
    {"\"postgres://u:p@h/d\"", "the connection string has quotes around it",
     "they are part of the variable's value: write it without them"},
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(GOOD) / sizeof(GOOD[0]); i++) {
        struct strv notices = STRV_INIT(CONNECTION_NOTICES_MAX);
        struct error err = ERROR_NONE;
        char *conninfo = NULL;
        if (connection_normalise(GOOD[i].text, &conninfo, &notices, &err))
            fail_msg("%s: %s", GOOD[i].text, err.message);
        if (strcmp(conninfo, GOOD[i].conninfo) != 0)
            fail_msg("%s:\n got %s\nwant %s", GOOD[i].text, conninfo, GOOD[i].conninfo);
        if (notices.count != GOOD[i].notices)
            fail_msg("%s: %zu notices, want %zu", GOOD[i].text, notices.count, GOOD[i].notices);
        free(conninfo);
        strv_clear(&notices);
    }
}

/* What was normalised once is taken again and stays what it is. */
static void test_stable(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(GOOD) / sizeof(GOOD[0]); i++) {
        struct strv notices = STRV_INIT(CONNECTION_NOTICES_MAX);
        struct error err = ERROR_NONE;
        char *again = NULL;
        if (!*GOOD[i].conninfo)
            continue;
        if (connection_normalise(GOOD[i].conninfo, &again, &notices, &err))
            fail_msg("%s: %s", GOOD[i].conninfo, err.message);
        assert_string_equal(again, GOOD[i].conninfo);
        free(again);
        strv_clear(&notices);
    }
}

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        struct strv notices = STRV_INIT(CONNECTION_NOTICES_MAX);
        struct error err = ERROR_NONE;
        char untouched = 'x', *conninfo = &untouched;
        int rc = connection_normalise(BAD[i].text, &conninfo, &notices, &err);
        if (rc != ERR_USAGE || strcmp(err.message, BAD[i].message) != 0 ||
            (BAD[i].hint && strcmp(err.hint, BAD[i].hint) != 0))
            fail_msg("%s: %d\n got %s\n     %s\nwant %s\n     %s", BAD[i].text, rc, err.message,
                     err.hint, BAD[i].message, BAD[i].hint ? BAD[i].hint : "(any)");
        assert_ptr_equal(conninfo, &untouched);
        strv_clear(&notices);
    }
}

/* Whatever is done to a string with a password, the password is in no message. */
static void test_no_secret_in_messages(void **state)
{
    (void)state;
    static const char *const TEXTS[] = {
        "postgres://u:hunter2@h:x/d",   "postgres://u:hunter2@h/d?sslmode=bad",
        "postgres://u:hunter2/x@h/d",   "postgres://u:hunter2@x@h/d",
        "postgres://u:hunter2/d",       "mysql://u:hunter2@h/d",
        "postgres://u:hunter2%@h/d",    "postgres://u:hunter2?a=b@h/d",
        "postgres://u:x/hunter2=1@h/d", "password='hunter2",
        "password=hunter2 port=x",      "Password=hunter2;Host=h",
        "'postgres://u:hunter2@h/d'",   "postgres://u:hunter2@h-pooler.x/d?schema=hunter2",
        "postgres://u:1/x?hunter2=2@h", "hunter2",
    };
    for (size_t i = 0; i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++) {
        struct strv notices = STRV_INIT(CONNECTION_NOTICES_MAX);
        struct error err = ERROR_NONE;
        char *conninfo = NULL;
        connection_normalise(TEXTS[i], &conninfo, &notices, &err);
        if (strstr(err.message, "hunter2") || strstr(err.hint, "hunter2"))
            fail_msg("%s: %s (%s)", TEXTS[i], err.message, err.hint);
        for (size_t k = 0; k < notices.count; k++)
            assert_null(strstr(notices.items[k], "hunter2"));
        free(conninfo);
        strv_clear(&notices);
    }
}

static const struct {
    const char *text, *shown;
} REDACTED[] = {
    {"postgres://u:secret@h/d", "postgres://u:***@h/d"},
    {"postgres://u@h/d", "postgres://u@h/d"},
    {"postgres://h:5432/d", "postgres://h:5432/d"},
    {"postgres://u:se@cr/et@h/d", "postgres://u:***@h/d"},
    {"postgres://u:secret/d", "postgres://u:***/d"},
    {"postgres://[::1]:5432/d", "postgres://[::1]:5432/d"},
    {"postgres://h/d?user=u&password=se%20cret&sslmode=require",
     "postgres://h/d?user=u&password=***&sslmode=require"},
    {"postgres://h/d?sslpassword=secret", "postgres://h/d?sslpassword=***"},
    {"host=h password=secret dbname=d", "host=h password=*** dbname=d"},
    {"password = 'se cr\\'et' user=u", "password = *** user=u"},
    {"PASSWORD='unclosed secret", "PASSWORD=***"},
    {"Host=h;Password=secret;Database=d", "Host=h;Password=***;Database=d"},
    {"PGPASSWORD=\"se cret\" psql -d d", "PGPASSWORD=*** psql -d d"},
    {"PGPASSWORD='se&cret' psql postgres://h/d", "PGPASSWORD=*** psql postgres://h/d"},
    {"--db-pass=secret --auth-token=secret", "--db-pass=*** --auth-token=***"},
    {"{\"password\": \"se cret\", \"user\":\"u\"}", "{\"password\": ***, \"user\":\"u\"}"},
    {"password: secret", "password: ***"},
    {"PGPASSFILE=/etc/pass sslkey=/k", "PGPASSFILE=/etc/pass sslkey=/k"},
    {"plain text", "plain text"},
    {"", ""},
};

static void test_redact(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(REDACTED) / sizeof(REDACTED[0]); i++) {
        char *shown = NULL;
        assert_int_equal(connection_redact(REDACTED[i].text, &shown, NULL), 0);
        assert_string_equal(shown, REDACTED[i].shown);
        free(shown);
    }
}

static void test_limits(void **state)
{
    (void)state;
    struct strv notices = STRV_INIT(CONNECTION_NOTICES_MAX);
    struct error err = ERROR_NONE;
    char *conninfo = NULL;
    char *text = malloc(CONNECTION_TEXT_MAX + 2);
    memset(text, 'a', CONNECTION_TEXT_MAX + 1);
    memcpy(text, "dbname=", 7);
    text[CONNECTION_TEXT_MAX + 1] = '\0';
    assert_int_equal(connection_normalise(text, &conninfo, &notices, &err), ERR_USAGE);
    assert_string_equal(err.message, "the connection string is longer than 16384 bytes");
    text[CONNECTION_TEXT_MAX] = '\0';
    assert_int_equal(connection_normalise(text, &conninfo, &notices, &err), 0);
    assert_string_equal(conninfo, text);
    free(conninfo);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),   cmocka_unit_test(test_stable),
        cmocka_unit_test(test_bad),    cmocka_unit_test(test_no_secret_in_messages),
        cmocka_unit_test(test_redact), cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
