#include "journal/database.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/utf8.h"

static const char SCHEMA[] =
    "CREATE TABLE runs ("
    " run_id TEXT PRIMARY KEY, cluster TEXT NOT NULL, job TEXT NOT NULL, type TEXT NOT NULL,"
    " due_us INTEGER, attempt INTEGER NOT NULL, claimed_us INTEGER NOT NULL, started_us INTEGER,"
    " ended_us INTEGER, outcome TEXT, pid INTEGER NOT NULL, pid_start INTEGER NOT NULL,"
    " place TEXT NOT NULL, backup_id TEXT, bytes_source INTEGER, bytes_stored INTEGER,"
    " error_code TEXT, message TEXT, hint TEXT) WITHOUT ROWID;"
    "CREATE UNIQUE INDEX runs_due ON runs (cluster, job, due_us, attempt)"
    " WHERE due_us IS NOT NULL;"
    "CREATE INDEX runs_job ON runs (cluster, job, claimed_us);"
    "CREATE INDEX runs_open ON runs (claimed_us) WHERE outcome IS NULL;"
    "CREATE TABLE progress (run_id TEXT PRIMARY KEY, phase TEXT NOT NULL, done INTEGER NOT NULL,"
    " total INTEGER NOT NULL, updated_us INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE jobs (cluster TEXT NOT NULL, job TEXT NOT NULL, schedule TEXT NOT NULL,"
    " accounted_us INTEGER NOT NULL, PRIMARY KEY (cluster, job)) WITHOUT ROWID;"
    "CREATE TABLE daemon (one INTEGER PRIMARY KEY CHECK (one = 1), pid INTEGER NOT NULL,"
    " pid_start INTEGER NOT NULL, place TEXT NOT NULL, started_us INTEGER NOT NULL,"
    " heartbeat_us INTEGER NOT NULL);";

/* Counted by the file itself, so that whoever ends a run counts it, and no row that goes for age is
 * lost to the sum. */
static const char TOTALS[] =
    "CREATE TABLE totals (cluster TEXT NOT NULL, job TEXT NOT NULL, what TEXT NOT NULL,"
    " count INTEGER NOT NULL, PRIMARY KEY (cluster, job, what)) WITHOUT ROWID;"
    "CREATE TRIGGER runs_ended AFTER UPDATE OF outcome ON runs"
    " WHEN OLD.outcome IS NULL AND NEW.outcome IS NOT NULL BEGIN"
    " INSERT INTO totals VALUES (NEW.cluster, NEW.job, CASE WHEN NEW.outcome = 'skipped'"
    "  AND NEW.message LIKE 'missed:%' THEN 'missed' ELSE NEW.outcome END, 1)"
    "  ON CONFLICT DO UPDATE SET count = count + 1;"
    " INSERT INTO totals VALUES (NEW.cluster, NEW.job, 'bytes_stored',"
    "  coalesce(NEW.bytes_stored, 0)) ON CONFLICT DO UPDATE SET count = count + excluded.count;"
    "END;"
    "CREATE TRIGGER runs_retried AFTER INSERT ON runs WHEN NEW.attempt > 1 BEGIN"
    " INSERT INTO totals VALUES (NEW.cluster, NEW.job, 'retried', 1)"
    "  ON CONFLICT DO UPDATE SET count = count + 1;"
    "END;";

static const char PAUSES[] =
    "CREATE TABLE pauses (cluster TEXT NOT NULL, job TEXT NOT NULL, from_us INTEGER NOT NULL,"
    " who TEXT NOT NULL, reason TEXT NOT NULL, until_us INTEGER, resumed_by TEXT,"
    " PRIMARY KEY (cluster, job, from_us)) WITHOUT ROWID;";

/* state: pending, delivered, or failed for good. */
static const char OUTBOX[] =
    "CREATE TABLE notices (id INTEGER PRIMARY KEY AUTOINCREMENT, cluster TEXT NOT NULL,"
    " job TEXT NOT NULL, target TEXT NOT NULL, kind TEXT NOT NULL, created_us INTEGER NOT NULL,"
    " next_us INTEGER NOT NULL, attempts INTEGER NOT NULL, state TEXT NOT NULL,"
    " error TEXT NOT NULL, event TEXT NOT NULL);"
    "CREATE INDEX notices_pending ON notices (cluster, target, id) WHERE state = 'pending';"
    "CREATE INDEX notices_told ON notices (cluster, job, target, kind, created_us);"
    "CREATE TABLE troubles (cluster TEXT NOT NULL, job TEXT NOT NULL, kind TEXT NOT NULL,"
    " since_us INTEGER NOT NULL, PRIMARY KEY (cluster, job, kind)) WITHOUT ROWID;";

/* Each brings a journal from the version before to the next; the last one makes DATABASE_VERSION.
 * What was released is not changed: what is new is one more. */
static const char *const STEPS[] = {SCHEMA, TOTALS, PAUSES, OUTBOX};

_Static_assert(ARRAY_SIZE(STEPS) == DATABASE_VERSION, "a version is a step");

enum { CACHE_KIB = 512 };

static int code_of(int sqlite_code)
{
    switch (sqlite_code & 0xff) {
    case SQLITE_FULL:
        return ERR_NO_SPACE;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_AUTH:
        return ERR_PERMISSION;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_CONFLICT;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_CORRUPT;
    case SQLITE_NOMEM:
        return ERR_MEMORY;
    default:
        return ERR_IO;
    }
}

static int database_error(const struct journal *journal, struct error *err)
{
    int code = sqlite3_extended_errcode(journal->db);
    return error_set(err, code_of(code), "journal \"%s\": %s", journal->path,
                     sqlite3_errmsg(journal->db));
}

static int bind_values(sqlite3_stmt *query, const char *kinds, va_list values)
{
    int rc = SQLITE_OK;
    for (int i = 1; kinds[i - 1] && rc == SQLITE_OK; i++) {
        if (kinds[i - 1] == 't') {
            rc = sqlite3_bind_text(query, i, va_arg(values, const char *), -1, SQLITE_TRANSIENT);
            continue;
        }
        int64_t number = va_arg(values, int64_t);
        rc = number == INSTANT_NONE ? sqlite3_bind_null(query, i)
                                    : sqlite3_bind_int64(query, i, number);
    }
    return rc;
}

/* The slot of this text, else a free one, else the one not asked for the longest; NULL when all are
 * in use. */
static struct statement *find_slot(struct journal *journal, const char *sql)
{
    struct statement *best = NULL;
    for (size_t i = 0; i < DATABASE_STATEMENTS_MAX; i++) {
        struct statement *slot = &journal->statements[i];
        if (slot->is_in_use)
            continue;
        if (slot->handle && strcmp(sqlite3_sql(slot->handle), sql) == 0)
            return slot;
        if (!best || (best->handle && (!slot->handle || slot->asked < best->asked)))
            best = slot;
    }
    return best;
}

static void finalize(struct statement *statement)
{
    sqlite3_finalize(statement->handle);
    *statement = (struct statement){0};
}

static int take_statement(struct journal *journal, const char *sql, struct statement **ret_query,
                          struct error *err)
{
    struct statement *slot = find_slot(journal, sql);
    if (slot && slot->handle && strcmp(sqlite3_sql(slot->handle), sql) != 0)
        finalize(slot);
    bool is_kept = slot;
    if (!is_kept && !(slot = calloc(1, sizeof(*slot))))
        return error_no_memory(err);
    if (!slot->handle && sqlite3_prepare_v3(journal->db, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                            &slot->handle, NULL) != SQLITE_OK) {
        int rc = database_error(journal, err);
        if (!is_kept)
            free(slot);
        return rc;
    }
    slot->is_in_use = true;
    slot->is_kept = is_kept;
    slot->asked = ++journal->statement_turn;
    *ret_query = slot;
    return 0;
}

/* Reset at once, because a statement that still stands on a row holds its lock; and without its
 * values, so that the next use can't take over one of them. */
struct statement *statement_free(struct statement *statement)
{
    if (!statement)
        return NULL;
    if (statement->is_kept) {
        sqlite3_reset(statement->handle);
        sqlite3_clear_bindings(statement->handle);
        statement->is_in_use = false;
        return NULL;
    }
    finalize(statement);
    free(statement);
    return NULL;
}

static int prepare(struct journal *journal, struct statement **ret_query, struct error *err,
                   const char *sql, const char *kinds, va_list values)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    int rc = take_statement(journal, sql, &query, err);
    if (rc)
        return rc;
    if (bind_values(query->handle, kinds, values) != SQLITE_OK)
        return database_error(journal, err);
    *ret_query = TAKE(query);
    return 0;
}

int database_query(struct journal *journal, struct statement **ret_query, struct error *err,
                   const char *sql, const char *kinds, ...)
{
    va_list values;
    va_start(values, kinds);
    int rc = prepare(journal, ret_query, err, sql, kinds, values);
    va_end(values);
    return rc;
}

int database_step(struct journal *journal, struct statement *query, bool *ret_has_row,
                  struct error *err)
{
    int rc = sqlite3_step(query->handle);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return database_error(journal, err);
    *ret_has_row = rc == SQLITE_ROW;
    return 0;
}

int database_run(struct journal *journal, int *ret_changed, struct error *err, const char *sql,
                 const char *kinds, ...)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    bool has_row;
    va_list values;
    va_start(values, kinds);
    int rc = prepare(journal, &query, err, sql, kinds, values);
    va_end(values);
    if (!rc)
        rc = database_step(journal, query, &has_row, err);
    if (!rc && ret_changed)
        *ret_changed = sqlite3_changes(journal->db);
    return rc;
}

static int execute(struct journal *journal, const char *sql, struct error *err)
{
    return sqlite3_exec(journal->db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : database_error(journal, err);
}

int database_begin(struct journal *journal, struct error *err)
{
    return database_run(journal, NULL, err, "BEGIN IMMEDIATE", "");
}

int database_end(struct journal *journal, int rc, struct error *err)
{
    if (!rc)
        rc = database_run(journal, NULL, err, "COMMIT", "");
    if (rc)
        execute(journal, "ROLLBACK", NULL);
    return rc;
}

int database_set_durable(struct journal *journal, bool durable, struct error *err)
{
    return execute(journal, durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL",
                   err);
}

int64_t database_integer(struct statement *query, int column)
{
    sqlite3_stmt *row = query->handle;
    return sqlite3_column_type(row, column) == SQLITE_NULL ? INSTANT_NONE
                                                           : sqlite3_column_int64(row, column);
}

void database_text(struct statement *query, int column, char *text, size_t size)
{
    const unsigned char *value = sqlite3_column_text(query->handle, column);
    snprintf(text, size, "%s", value ? (const char *)value : "");
    utf8_mend(text); /* a server's or a person's words may be of another encoding, or cut */
}

static int read_version(struct journal *journal, int64_t *ret_version, struct error *err)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    bool has_row = false;
    int rc = database_query(journal, &query, err, "PRAGMA user_version", "");
    if (!rc)
        rc = database_step(journal, query, &has_row, err);
    if (!rc)
        *ret_version = has_row ? database_integer(query, 0) : 0;
    return rc;
}

/* Brings the file to the present version; two processes may do so at once, so within a
 * transaction the version is read again. */
static int take_step(struct journal *journal, int64_t version, struct error *err)
{
    char pragma[64];
    snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %d", (int)version + 1);
    int rc = execute(journal, STEPS[version], err);
    return rc ? rc : execute(journal, pragma, err);
}

static int prepare_schema(struct journal *journal, enum journal_mode mode, struct error *err)
{
    int64_t version = 0;
    int rc = read_version(journal, &version, err);
    journal->version = DATABASE_VERSION;
    if (rc || version == DATABASE_VERSION)
        return rc;
    if (version > DATABASE_VERSION) {
        error_set(err, ERR_FAILED,
                  "journal \"%s\" is of a newer version (%d, this program knows %d)", journal->path,
                  (int)version, DATABASE_VERSION);
        return error_hint(err,
                          "install that version again, or move the journal away: it is rebuilt");
    }
    if (mode == JOURNAL_READ && version > 0) {
        journal->version = (int)version; /* the next who writes brings it up to date */
        return 0;
    }
    if (mode == JOURNAL_READ)
        return error_set(err, ERR_NOT_FOUND, "journal \"%s\" is empty", journal->path);
    rc = execute(journal, "PRAGMA journal_mode = WAL", err);
    if (!rc)
        rc = database_begin(journal, err);
    if (rc)
        return rc;
    rc = read_version(journal, &version, err);
    for (; !rc && version < DATABASE_VERSION; version++)
        rc = take_step(journal, version, err);
    return database_end(journal, rc, err);
}

static int check_pages(struct journal *journal, struct error *err)
{
    _cleanup_(statement_freep) struct statement *query = NULL;
    char text[NOTICE_MAX] = "";
    bool has_row = false;
    int rc = database_query(journal, &query, err, "PRAGMA quick_check(1)", "");
    if (!rc)
        rc = database_step(journal, query, &has_row, err);
    if (rc)
        return rc;
    if (has_row)
        database_text(query, 0, text, sizeof(text));
    if (strcmp(text, "ok") != 0)
        return error_set(err, ERR_CORRUPT, "journal \"%s\": %s", journal->path, text);
    return 0;
}

/* The file is made here and not by SQLite, for its mode; and for its owner: root running a job by
 * hand in the folder of the daemon's user must not lock that user out. */
static int make_file(const char *path, const char *folder, struct error *err)
{
    _cleanup_(closep) int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    struct stat status;
    if (fd < 0 && errno == EEXIST)
        return 0;
    if (fd < 0)
        return error_set_errno(err, errno, "could not make the journal \"%s\"", path);
    if (geteuid() == 0 && stat(folder, &status) == 0 &&
        fchown(fd, status.st_uid, status.st_gid) != 0)
        return error_set_errno(err, errno, "could not give \"%s\" to its folder's owner", path);
    return 0;
}

static int open_file(struct journal *journal, enum journal_mode mode, struct error *err)
{
    int flags = mode == JOURNAL_READ ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    struct stat status;
    if (stat(journal->path, &status) != 0)
        return error_set_errno(err, errno, "could not open the journal \"%s\"", journal->path);
    journal->device = status.st_dev;
    journal->inode = status.st_ino;
    if (sqlite3_open_v2(journal->path, &journal->db, flags, NULL) != SQLITE_OK)
        return journal->db ? database_error(journal, err) : error_no_memory(err);
    sqlite3_busy_timeout(journal->db, JOURNAL_BUSY_TIMEOUT_MS);
    char pragma[64];
    snprintf(pragma, sizeof(pragma), "PRAGMA cache_size = -%d", CACHE_KIB);
    int rc = execute(journal, pragma, err);
    if (!rc && mode == JOURNAL_CHECK)
        rc = check_pages(journal, err);
    if (!rc)
        rc = prepare_schema(journal, mode, err);
    return rc ? rc : database_set_durable(journal, true, err);
}

static void close_file(struct journal *journal)
{
    for (size_t i = 0; i < DATABASE_STATEMENTS_MAX; i++)
        finalize(&journal->statements[i]);
    sqlite3_close(journal->db);
    journal->db = NULL;
}

static int move_file(const char *path, const char *suffix, struct error *err)
{
    _cleanup_(freep) char *from = NULL, *to = NULL;
    if (asprintf(&from, "%s%s", path, suffix) < 0 ||
        asprintf(&to, "%s.corrupt%s", path, suffix) < 0)
        return error_no_memory(err);
    if (rename(from, to) != 0 && errno != ENOENT)
        return error_set_errno(err, errno, "could not move \"%s\" aside", from);
    return 0;
}

/* Under the lock, because several processes may find the same damage: whoever comes second finds
 * a good file and leaves it. The log file belongs to its database and goes with it. */
static int replace_corrupt(struct journal *journal, const char *folder, enum journal_mode mode,
                           struct error *err)
{
    struct error reason = err ? *err : ERROR_NONE;
    _cleanup_(freep) char *lock_path = NULL;
    if (asprintf(&lock_path, "%s.lock", journal->path) < 0)
        return error_no_memory(err);
    _cleanup_(closep) int lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (lock < 0 || flock(lock, LOCK_EX) != 0)
        return error_set_errno(err, errno, "could not lock \"%s\"", lock_path);
    close_file(journal);
    int rc = open_file(journal, mode, err);
    if (rc != ERR_CORRUPT)
        return rc;
    close_file(journal);
    rc = move_file(journal->path, "", err);
    if (!rc)
        rc = move_file(journal->path, "-wal", err);
    if (!rc)
        rc = move_file(journal->path, "-shm", err);
    if (!rc)
        rc = make_file(journal->path, folder, err);
    if (!rc)
        rc = open_file(journal, mode, err);
    snprintf(journal->notice, NOTICE_MAX,
             "%.300s: moved aside to \"%.120s.corrupt\", a new one is begun", reason.message,
             journal->path);
    return rc;
}

static int open_or_make(struct journal *journal, const char *folder, enum journal_mode mode,
                        struct error *err)
{
    int rc = 0;
    if (mode != JOURNAL_READ) {
        rc = file_make_folders(folder, 0750, err);
        if (!rc)
            rc = make_file(journal->path, folder, err);
    }
    if (!rc)
        rc = open_file(journal, mode, err);
    if (rc == ERR_CORRUPT && mode != JOURNAL_READ)
        rc = replace_corrupt(journal, folder, mode, err);
    return rc;
}

int journal_open(const char *folder, enum journal_mode mode, struct journal **ret_journal,
                 struct error *err)
{
    _cleanup_(journal_freep) struct journal *journal = calloc(1, sizeof(*journal));
    struct error local = ERROR_NONE; /* the reason of a repair is wanted even if the caller's is
                                        not */
    if (!journal || asprintf(&journal->path, "%s/journal.db", folder) < 0)
        return error_no_memory(err);
    int rc = open_or_make(journal, folder, mode, &local);
    if (rc) {
        if (err)
            *err = local;
        return rc;
    }
    *ret_journal = TAKE(journal);
    return 0;
}

struct journal *journal_free(struct journal *journal)
{
    if (!journal)
        return NULL;
    close_file(journal);
    free(journal->path);
    free(journal);
    return NULL;
}

const char *journal_notice(const struct journal *journal)
{
    return journal->notice[0] ? journal->notice : NULL;
}

bool journal_lost(const struct journal *journal)
{
    struct stat status;
    return stat(journal->path, &status) != 0 || status.st_dev != journal->device ||
           status.st_ino != journal->inode;
}
