#include "postgres/archiver.h"

#include <string.h>

#include "base/instant.h"
#include "base/units.h"

enum { HEADER_ROUND = 0x28 }; /* where the first record of a segment begins */

static const char STATE[] =
    "select pg_catalog.pg_is_in_recovery(),"
    " (extract(epoch from pg_catalog.clock_timestamp()) * 1000000)::bigint,"
    " pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size')),"
    " pg_catalog.current_setting('wal_level'), pg_catalog.current_setting('archive_mode'),"
    " (select setting from pg_catalog.pg_settings where name = 'archive_command'),"
    " (select setting from pg_catalog.pg_settings where name = 'archive_library'),"
    " (select setting::bigint from pg_catalog.pg_settings where name = 'archive_timeout'),"
    " pg_catalog.has_function_privilege('pg_catalog.pg_switch_wal()', 'execute'),"
    " pg_catalog.has_function_privilege('pg_catalog.pg_ls_archive_statusdir()', 'execute'),"
    " s.archived_count, s.failed_count, s.last_archived_wal, s.last_failed_wal,"
    " (extract(epoch from s.last_archived_time) * 1000000)::bigint,"
    " (extract(epoch from s.last_failed_time) * 1000000)::bigint, current_user"
    " from pg_catalog.pg_stat_archiver s";

/* The time first, the position after it. A replaying server has no timeline to be asked for but
 * that of its last restart point. */
static const char PRIMARY[] =
    "select pg_catalog.pg_current_wal_lsn(), pg_catalog.substr(pg_catalog.pg_walfile_name("
    "pg_catalog.pg_current_wal_lsn()), 1, 8)";
static const char STANDBY[] =
    "select coalesce(pg_catalog.pg_last_wal_replay_lsn(), '0/0'),"
    " pg_catalog.lpad(pg_catalog.upper(pg_catalog.to_hex(timeline_id)), 8, '0')"
    " from pg_catalog.pg_control_checkpoint()";

static const char READY[] =
    "select pg_catalog.left(name, -6), pg_catalog.count(*) over ()"
    " from pg_catalog.pg_ls_archive_statusdir() where name like '%.ready'"
    " order by name like '%.history.ready' desc, pg_catalog.left(name, -6) collate \"C\""
    " limit 100000";

static int64_t integer_or(const PGresult *result, int column, int64_t otherwise)
{
    return PQgetisnull(result, 0, column) ? otherwise : pg_integer(result, 0, column);
}

static char *copy_text(const PGresult *result, int column)
{
    return strdup(PQgetisnull(result, 0, column) ? "" : pg_text(result, 0, column));
}

/* A command that only superusers see comes as NULL, or as no row of pg_settings. */
static int read_state(PGconn *conn, struct pg_archiver *archiver, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = pg_query(conn, &result, err, STATE, NULL);
    if (rc)
        return rc;
    archiver->is_standby = pg_boolean(result, 0, 0);
    archiver->now_us = pg_integer(result, 0, 1);
    archiver->segment_size = pg_integer(result, 0, 2);
    archiver->wal_level = copy_text(result, 3);
    archiver->archive_mode = copy_text(result, 4);
    archiver->command = PQgetisnull(result, 0, 5) ? NULL : copy_text(result, 5);
    archiver->library = copy_text(result, 6);
    archiver->archive_timeout_s = integer_or(result, 7, 0);
    archiver->can_switch = pg_boolean(result, 0, 8);
    archiver->knows_ready = pg_boolean(result, 0, 9);
    archiver->archived_count = integer_or(result, 10, 0);
    archiver->failed_count = integer_or(result, 11, 0);
    archiver->last_archived = copy_text(result, 12);
    archiver->last_failed = copy_text(result, 13);
    archiver->last_archived_us = integer_or(result, 14, INSTANT_NONE);
    archiver->last_failed_us = integer_or(result, 15, INSTANT_NONE);
    archiver->role = copy_text(result, 16);
    return archiver->wal_level && archiver->archive_mode && archiver->library &&
                   archiver->last_archived && archiver->last_failed && archiver->role
               ? 0
               : error_no_memory(err);
}

static int read_position(PGconn *conn, struct pg_archiver *archiver, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = pg_query(conn, &result, err, archiver->is_standby ? STANDBY : PRIMARY, NULL);
    if (rc)
        return rc;
    if (!wal_timeline_parse(pg_text(result, 0, 1), &archiver->timeline))
        return error_set(err, ERR_SQL, "the server tells timeline \"%.20s\"",
                         pg_text(result, 0, 1));
    return wal_lsn_parse(pg_text(result, 0, 0), &archiver->lsn, err);
}

static int read_ready(PGconn *conn, struct pg_archiver *archiver, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    int rc = archiver->knows_ready ? pg_query(conn, &result, err, READY, NULL) : 0;
    int rows = rc || !result ? 0 : PQntuples(result);
    if (rows == 0)
        return rc;
    archiver->ready = calloc((size_t)rows, sizeof(*archiver->ready));
    if (!archiver->ready)
        return error_no_memory(err);
    archiver->ready_count = pg_integer(result, 0, 1);
    for (int i = 0; i < rows; i++)
        if (wal_name_parse(pg_text(result, i, 0), &archiver->ready[archiver->ready_listed]))
            archiver->ready_listed++;
    return 0;
}

int pg_read_archiver(PGconn *conn, struct pg_archiver *ret_archiver, struct error *err)
{
    struct pg_archiver archiver = {0};
    int rc = read_state(conn, &archiver, err);
    if (!rc)
        rc = read_position(conn, &archiver, err);
    if (!rc)
        rc = read_ready(conn, &archiver, err);
    if (rc)
        pg_archiver_clear(&archiver);
    else
        *ret_archiver = archiver;
    return rc;
}

void pg_archiver_clear(struct pg_archiver *archiver)
{
    free(archiver->wal_level);
    free(archiver->archive_mode);
    free(archiver->command);
    free(archiver->library);
    free(archiver->last_archived);
    free(archiver->last_failed);
    free(archiver->ready);
    free(archiver->role);
    *archiver = (struct pg_archiver){0};
}

static int compare_names(const void *a, const void *b)
{
    return wal_name_compare(a, b);
}

bool pg_archiver_waits(const struct pg_archiver *archiver, const struct wal_name *name)
{
    if (archiver->ready_listed == 0)
        return false;
    if (bsearch(name, archiver->ready, archiver->ready_listed, sizeof(*name), compare_names))
        return true;
    /* Beyond what was listed, what is not known to be gone is taken for waiting. */
    return archiver->ready_count > (int64_t)archiver->ready_listed &&
           wal_name_compare(name, &archiver->ready[archiver->ready_listed - 1]) > 0;
}

int pg_switch_segment(PGconn *conn, const struct pg_archiver *archiver, uint64_t *ret_lsn,
                      bool *ret_switched, struct error *err)
{
    _cleanup_(freep) char *text = NULL;
    uint64_t offset = archiver->lsn % (uint64_t)archiver->segment_size, lsn = archiver->lsn;
    *ret_switched = offset > HEADER_ROUND;
    if (!*ret_switched) {
        *ret_lsn = lsn - offset;
        return 0;
    }
    if (!archiver->can_switch) {
        error_set(err, ERR_PERMISSION, "role \"%s\" may not end a WAL segment", archiver->role);
        return error_hint(err, "grant execute on function pg_catalog.pg_switch_wal() to \"%s\"",
                          archiver->role);
    }
    int rc = pg_query_text(conn, &text, err, "select pg_catalog.pg_switch_wal()");
    if (!rc)
        rc = wal_lsn_parse(text ? text : "", &lsn, err);
    if (rc)
        return rc;
    /* What is returned is the end of the last record: the segment ends behind it. */
    *ret_lsn = wal_segment_start(wal_segment_before(lsn, archiver->segment_size) + 1,
                                 archiver->segment_size);
    return 0;
}

/* -- in words ------------------------------------------------------------------------------ */

static bool has_settings_problem(const struct pg_archiver *archiver, const char *cluster,
                                 struct pg_archiver_problem *problem)
{
    if (strcmp(archiver->wal_level, "minimal") == 0) {
        snprintf(problem->what, sizeof(problem->what),
                 "wal_level is minimal: WAL does not hold enough for recovery");
        snprintf(problem->cure, sizeof(problem->cure),
                 "alter system set wal_level = replica; and restart the server");
    } else if (strcmp(archiver->archive_mode, "off") == 0) {
        snprintf(problem->what, sizeof(problem->what),
                 "archive_mode is off: the server archives nothing");
        snprintf(problem->cure, sizeof(problem->cure),
                 "alter system set archive_mode = on; alter system set archive_command = "
                 "'pgcairn-wal push %s %%p'; and restart the server",
                 cluster);
    } else if (archiver->command && !archiver->command[0] && !archiver->library[0]) {
        snprintf(problem->what, sizeof(problem->what),
                 "archive_command is empty: WAL gathers in pg_wal and is not archived");
        snprintf(problem->cure, sizeof(problem->cure),
                 "alter system set archive_command = 'pgcairn-wal push %s %%p'; select "
                 "pg_reload_conf()",
                 cluster);
    } else
        return false;
    problem->is_certain = true;
    return true;
}

static bool is_failing(const struct pg_archiver *archiver)
{
    return archiver->last_failed_us != INSTANT_NONE &&
           (archiver->last_archived_us == INSTANT_NONE ||
            archiver->last_failed_us > archiver->last_archived_us);
}

void pg_archiver_find_problem(const struct pg_archiver *archiver, const char *cluster,
                              struct pg_archiver_problem *ret_problem)
{
    char age[UNITS_TEXT_MAX];
    *ret_problem = (struct pg_archiver_problem){.is_certain = false};
    if (archiver->is_standby || has_settings_problem(archiver, cluster, ret_problem))
        return;
    if (is_failing(archiver)) {
        snprintf(ret_problem->what, sizeof(ret_problem->what),
                 "archive_command fails: %lld times in all, last for %s %s ago, %lld files wait",
                 (long long)archiver->failed_count, archiver->last_failed,
                 duration_format(archiver->now_us - archiver->last_failed_us, age),
                 (long long)archiver->ready_count);
        snprintf(ret_problem->cure, sizeof(ret_problem->cure),
                 "the server's log says why; run it by hand as the server's user, in the data "
                 "directory: pgcairn wal push %s pg_wal/%s",
                 cluster, archiver->last_failed);
    } else if (archiver->command && archiver->command[0] && !strstr(archiver->command, "pgcairn")) {
        snprintf(ret_problem->what, sizeof(ret_problem->what),
                 "archive_command does not call pgcairn: %.300s", archiver->command);
        snprintf(ret_problem->cure, sizeof(ret_problem->cure),
                 "alter system set archive_command = 'pgcairn-wal push %s %%p', or have what is "
                 "called do so",
                 cluster);
    }
}
