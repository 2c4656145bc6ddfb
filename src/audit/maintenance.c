/* MNT: is the server itself in a state that can be backed up tomorrow? */
#include <string.h>

#include "audit/judging.h"

/* Transaction ids before the server stops giving out new ones; half of them is late. */
enum { WRAPAROUND = 2146483647, XMIN_AGE_MAX = 10000000 };
#define HOLDER_AGE_MAX_US US_PER_DAY

AUDIT_CONTROL(audit_wraparound)
{
    (void)err;
    const struct facts_server *server = &judging->facts->server;
    audit_require(judging, 0, "at most half of the way to wraparound");
    if (audit_lacks_server(judging))
        return 0;
    for (size_t i = 0; i < server->database_count; i++) {
        const struct facts_database *database = &server->databases[i];
        int64_t age =
            database->xid_age > database->mxid_age ? database->xid_age : database->mxid_age;
        bool is_late = server->freeze_max_age > 0 &&
                       database->xid_age > server->freeze_max_age + server->freeze_max_age / 10;
        enum audit_status status = age > WRAPAROUND / 2 ? AUDIT_FAIL
                                   : is_late            ? AUDIT_WARN
                                                        : AUDIT_PASS;
        audit_say(judging, status, "%s: %lld%% of the way", database->name,
                  (long long)(age * 100 / WRAPAROUND));
    }
    return 0;
}

AUDIT_CONTROL(audit_invalid_indexes)
{
    (void)err;
    const struct facts_server *server = &judging->facts->server;
    if (audit_lacks_server(judging))
        return 0;
    for (size_t i = 0; i < server->invalid_index_count; i++) {
        const struct facts_row *row = &server->invalid_indexes[i];
        audit_say(judging, AUDIT_WARN, "%s: %s", row->database ? row->database : "", row->name);
        if (row->command)
            audit_point(judging, "%s", row->command);
    }
    if (server->invalid_index_count == 0 && server->unknown && server->unknown[0])
        audit_say(judging, AUDIT_UNKNOWN, "%s", server->unknown[0]);
    audit_say(judging, AUDIT_PASS, "none");
    return 0;
}

AUDIT_CONTROL(audit_xmin_holders)
{
    (void)err;
    const struct facts_server *server = &judging->facts->server;
    char age[80];
    audit_require(judging, 0, "nothing older than a day or %d transactions", XMIN_AGE_MAX);
    if (audit_lacks_server(judging))
        return 0;
    for (size_t i = 0; i < server->blocker_count; i++) {
        const struct facts_row *row = &server->blockers[i];
        bool is_old =
            row->since_us != INSTANT_NONE && judging->now_us - row->since_us > HOLDER_AGE_MAX_US;
        if (!is_old && row->number <= XMIN_AGE_MAX)
            continue;
        audit_say(judging, AUDIT_WARN, "%s %s since %lld transactions%s%s", row->kind, row->name,
                  (long long)row->number, row->since_us == INSTANT_NONE ? "" : ", begun ",
                  row->since_us == INSTANT_NONE ? "" : audit_age(judging, row->since_us, age));
        if (row->command)
            audit_point(judging, "%s", row->command);
    }
    audit_say(judging, server->knows_blockers ? AUDIT_PASS : AUDIT_UNKNOWN,
              server->knows_blockers ? "nothing does" : "the server did not tell what does");
    return 0;
}

AUDIT_CONTROL(audit_collations)
{
    (void)err;
    const struct facts_server *server = &judging->facts->server;
    if (audit_lacks_server(judging))
        return 0;
    if (server->version_num < 150000) {
        audit_say(judging, AUDIT_SKIP, "databases have no collation versions before PostgreSQL 15");
        return 0;
    }
    for (size_t i = 0; i < server->database_count; i++)
        if (server->databases[i].has_old_collation)
            audit_say(judging, AUDIT_WARN, "%s was built with another version",
                      server->databases[i].name);
    audit_say(judging, AUDIT_PASS, "all databases have the library's version");
    return 0;
}
