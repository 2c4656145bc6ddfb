/* The pure connection code against libpq itself, which only this layer may ask. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "policy/connection.h"
#include "policy/parameters.h"

/* Strings that libpq takes too: both must read the same from them. */
static const char *const TEXTS[] = {
    "postgresql://",
    "postgresql://localhost:5433/mydb",
    "postgresql://user:secret@localhost",
    "postgresql://other@localhost/otherdb?connect_timeout=10&application_name=my%20app",
    "postgresql://host1:123,host2:456/somedb?target_session_attrs=any",
    "postgresql://h1,h2:5433/d",
    "postgresql:///mydb?host=localhost&port=5433",
    "postgresql://user@[2001:db8::1234]/database",
    "postgresql://[::1]:5433/d",
    "postgresql://%2Fvar%2Flib%2Fpostgresql/dbname",
    "postgresql:///d?host=/var/run/postgresql",
    "postgresql://:5432/d",
    "postgresql://u:p%40ss%3Aw%2Frd%3F%23%25@h/d",
    "postgresql://u:a%20b%27c%5Cd%09e@h/d",
    "postgresql://u:p?w#d@h/d",
    "postgresql://u:p:w@h/d",
    "postgresql://u:p+w@h/my%20db",
    "postgresql://u%40corp:p@h/a/b",
    "postgresql://u:one@h/d?password=two",
    "postgresql://u@h/d?ssl=true",
    "postgresql://u@h/d?options=-c%20search_path%3Dapp",
    "host=h port=5432 user=u password=p dbname=d",
    "host = h  dbname= 'my db' password='it\\'s \\\\ ok'",
    "password=a;b@c/d:e\\ f dbname=x",
    "dbname=a\\ b user='' sslmode=verify-full",
    "user='quote\\'d' options='-c a=b'",
};

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword; options++)
        if (strcmp(options->keyword, keyword) == 0)
            return options->val && *options->val ? options->val : NULL;
    return NULL;
}

static void test_same_as_libpq(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++) {
        struct strv notices = STRV_INIT(CONNECTION_NOTICES_MAX);
        struct error err = ERROR_NONE;
        char *conninfo = NULL, *message = NULL;
        if (connection_normalise(TEXTS[i], &conninfo, &notices, &err))
            fail_msg("%s: %s", TEXTS[i], err.message);
        PQconninfoOption *want = PQconninfoParse(TEXTS[i], &message);
        if (!want)
            fail_msg("libpq does not take %s: %s", TEXTS[i], message);
        PQconninfoOption *got = PQconninfoParse(conninfo, &message);
        if (!got)
            fail_msg("libpq does not take %s: %s", conninfo, message);
        for (const PQconninfoOption *option = want; option->keyword; option++) {
            const char *a = value_of(got, option->keyword);
            const char *b = value_of(want, option->keyword);
            if ((a == NULL) != (b == NULL) || (a && strcmp(a, b) != 0))
                fail_msg("%s: %s is %s, libpq has %s", TEXTS[i], option->keyword, a ? a : "unset",
                         b ? b : "unset");
        }
        PQconninfoFree(want);
        PQconninfoFree(got);
        free(conninfo);
        strv_clear(&notices);
    }
}

/* The table of parameters has all that this libpq has. */
static void test_table_is_complete(void **state)
{
    (void)state;
    PQconninfoOption *options = PQconndefaults();
    assert_non_null(options);
    for (const PQconninfoOption *option = options; option->keyword; option++)
        if (!parameter_find(option->keyword))
            fail_msg("libpq has \"%s\", and the table has not", option->keyword);
    PQconninfoFree(options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_libpq),
        cmocka_unit_test(test_table_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
