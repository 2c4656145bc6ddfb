#include "postgres/slot.h"

#include <string.h>

#include "base/units.h"

static const char NAME_CHARACTERS[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
static const char PREFIX[] = "pgcairn_";

bool pg_slot_name_valid(const char *name)
{
    size_t length = strspn(name, NAME_CHARACTERS);
    return length > 0 && length < PG_SLOT_NAME_MAX && !name[length];
}

char *pg_slot_name_of(const char *cluster, char name[PG_SLOT_NAME_MAX])
{
    snprintf(name, PG_SLOT_NAME_MAX, "%s%s", PREFIX, cluster);
    for (char *c = name; *c; c++)
        if (*c == '-')
            *c = '_';
    return name;
}

/* -- looking ------------------------------------------------------------------------------- */

static const char SQL[] =
    "select s.slot_name, s.slot_type, s.temporary, s.active, coalesce(s.active_pid, 0),"
    " s.restart_lsn, s.wal_status, pg_catalog.pg_wal_lsn_diff("
    "case when pg_catalog.pg_is_in_recovery() then coalesce("
    "pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())"
    " else pg_catalog.pg_current_wal_lsn() end, s.restart_lsn)::bigint,"
    " (select c.setting::bigint from pg_catalog.pg_settings c"
    " where c.name = 'max_slot_wal_keep_size'),"
    " pg_catalog.current_setting('wal_level'), (select c.setting::bigint * 1000"
    " from pg_catalog.pg_settings c where c.name = 'wal_sender_timeout')"
    " from (select 1) one left join pg_catalog.pg_replication_slots s on s.slot_name = $1";

static void take_text(const PGresult *result, int column, char *text, size_t size)
{
    snprintf(text, size, "%s", pg_text(result, 0, column));
}

int pg_read_slot(PGconn *conn, const char *name, struct pg_slot *ret_slot, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    struct pg_slot slot = {0};
    int rc = pg_query(conn, &result, err, SQL, name, NULL);
    if (rc)
        return rc;
    slot.keep_limit_mb = pg_integer(result, 0, 8);
    take_text(result, 9, slot.wal_level, sizeof(slot.wal_level));
    slot.sender_timeout_us = pg_integer(result, 0, 10);
    snprintf(slot.name, sizeof(slot.name), "%s", name);
    if (PQgetisnull(result, 0, 0)) {
        *ret_slot = slot;
        return error_set(err, ERR_NOT_FOUND, "the server has no replication slot \"%s\"", name);
    }
    slot.is_physical = strcmp(pg_text(result, 0, 1), "physical") == 0;
    slot.is_temporary = pg_boolean(result, 0, 2);
    slot.is_active = pg_boolean(result, 0, 3);
    slot.active_pid = pg_integer(result, 0, 4);
    take_text(result, 6, slot.wal_status, sizeof(slot.wal_status));
    slot.held_bytes = pg_integer(result, 0, 7);
    if (!PQgetisnull(result, 0, 5))
        rc = wal_lsn_parse(pg_text(result, 0, 5), &slot.restart_lsn, err);
    if (!rc)
        *ret_slot = slot;
    return rc;
}

int pg_slot_check(const struct pg_slot *slot, const char *cluster, struct error *err)
{
    if (!slot->is_physical) {
        error_set(err, ERR_FAILED, "replication slot \"%s\" is a logical one", slot->name);
        return error_hint(err, "give another name: slot: in the policy's job of type wal");
    }
    if (strcmp(slot->wal_status, "lost") == 0) {
        error_set(err, ERR_FAILED,
                  "replication slot \"%s\" has lost WAL: the server removed what was not received "
                  "yet, so recovery across it is impossible",
                  slot->name);
        return error_hint(err,
                          "pgcairn wal receive %s --drop-slot, then --create-slot, receive again, "
                          "and take a snapshot; raise max_slot_wal_keep_size (now %lld MB)",
                          cluster, (long long)slot->keep_limit_mb);
    }
    return 0;
}

void pg_slot_find_problem(const struct pg_slot *slot, bool is_there, const char *cluster,
                          struct pg_archiver_problem *ret_problem)
{
    struct error error = ERROR_NONE;
    char held[UNITS_TEXT_MAX];
    *ret_problem = (struct pg_archiver_problem){.is_certain = true};
    if (!is_there) {
        snprintf(ret_problem->what, sizeof(ret_problem->what),
                 "the server has no replication slot \"%s\": no WAL is received", slot->name);
        snprintf(ret_problem->cure, sizeof(ret_problem->cure),
                 "pgcairn wal receive %s --create-slot", cluster);
    } else if (pg_slot_check(slot, cluster, &error)) {
        snprintf(ret_problem->what, sizeof(ret_problem->what), "%.1000s", error.message);
        snprintf(ret_problem->cure, sizeof(ret_problem->cure), "%.500s", error.hint);
    } else if (!slot->is_active) {
        ret_problem->is_certain = false;
        snprintf(ret_problem->what, sizeof(ret_problem->what),
                 "nobody receives through replication slot \"%s\", which holds %s of WAL",
                 slot->name, size_format(slot->held_bytes, held));
        snprintf(ret_problem->cure, sizeof(ret_problem->cure),
                 "start the daemon, or: pgcairn wal receive %s; if it runs, its log says why it "
                 "does not receive",
                 cluster);
    } else
        ret_problem->is_certain = false;
}

/* -- making and dropping ------------------------------------------------------------------- */

int pg_create_slot(PGconn *conn, const char *name, struct error *err)
{
    struct error reason = ERROR_NONE;
    bool is_old = PQserverVersion(conn) < 150000;
    int rc = pg_execute(conn, &reason, "CREATE_REPLICATION_SLOT %s PHYSICAL %s", name,
                        is_old ? "RESERVE_WAL" : "(RESERVE_WAL)");
    if (!rc)
        return 0;
    if (strstr(reason.message, "already exists")) {
        rc = reason.code = ERR_EXISTS;
        error_hint(&reason, "it is used as it is; to begin anew drop it first: --drop-slot");
    } else if (strstr(reason.message, "all replication slots are in use"))
        error_hint(&reason,
                   "drop a slot that nobody uses, or raise max_replication_slots (it needs "
                   "a restart)");
    if (err)
        *err = reason;
    return rc;
}

int pg_drop_slot(PGconn *conn, const char *name, struct error *err)
{
    struct error reason = ERROR_NONE;
    int rc = pg_execute(conn, &reason, "DROP_REPLICATION_SLOT %s", name);
    if (!rc)
        return 0;
    if (strstr(reason.message, "is active for PID")) {
        rc = reason.code = ERR_BUSY;
        error_hint(&reason, "a receiver uses it: end that first");
    } else if (strstr(reason.message, "does not exist")) {
        rc = reason.code = ERR_NOT_FOUND;
        error_hint(&reason, "select slot_name from pg_replication_slots; lists them");
    }
    if (err)
        *err = reason;
    return rc;
}
