/*
 * SQLite as the journal uses it: opening with repair, statements with bound values, one mapping of
 * SQLite's result codes to ours. Only for src/journal.
 *
 *     _cleanup_(statement_freep) struct statement *query = NULL;
 *     rc = database_query(db, &query, err, "SELECT a FROM t WHERE b = ? AND c > ?", "ti", b, c);
 *     while (!rc && !(rc = database_step(db, query, &has_row, err)) && has_row) ...
 *
 * A statement given back is kept prepared for who asks for the same text next, up to a limit; one
 * that is in use is never handed out twice.
 *
 * Kinds of values: t const char * (NULL is NULL), i int64_t (INSTANT_NONE is NULL).
 */
#ifndef PGCAIRN_JOURNAL_DATABASE_H
#define PGCAIRN_JOURNAL_DATABASE_H

#include <sqlite3.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "journal/journal.h"

enum {
    DATABASE_VERSION = 4,
    DATABASE_VERSION_PAUSES = 3,
    DATABASE_VERSION_OUTBOX = 4,
    DATABASE_STATEMENTS_MAX = 40, /* kept prepared */
    NOTICE_MAX = 512,
};

struct statement {
    sqlite3_stmt *handle;
    int64_t asked; /* the turn it was last handed out in: the oldest makes room */
    bool is_in_use;
    bool is_kept; /* of the journal's own, not for one use */
};

struct journal {
    sqlite3 *db;
    char *path;
    const struct journal_outside *outside; /* NULL: the system */
    int version;                           /* of the tables; an older one only while reading */
    dev_t device;                          /* of the file that was opened */
    ino_t inode;
    char notice[NOTICE_MAX];
    int64_t progress_us; /* monotonic time of the last progress written */
    char progress_phase[JOURNAL_PHASE_MAX];
    int64_t statement_turn;
    struct statement statements[DATABASE_STATEMENTS_MAX];
};

struct statement *statement_free(struct statement *statement); /* or gives it back */

static inline void statement_freep(struct statement **statement)
{
    statement_free(*statement);
}

int database_query(struct journal *journal, struct statement **ret_query, struct error *err,
                   const char *sql, const char *kinds, ...);
int database_step(struct journal *journal, struct statement *query, bool *ret_has_row,
                  struct error *err);

/* A statement without rows. ret_changed, when wanted, is the number of rows it changed. */
int database_run(struct journal *journal, int *ret_changed, struct error *err, const char *sql,
                 const char *kinds, ...);

/* BEGIN IMMEDIATE ... COMMIT, or ROLLBACK when rc is not 0; returns rc or the failure to commit. */
int database_begin(struct journal *journal, struct error *err);
int database_end(struct journal *journal, int rc, struct error *err);

/* Whether commits wait for the disk. They do unless told otherwise. */
int database_set_durable(struct journal *journal, bool durable, struct error *err);

int64_t database_integer(struct statement *query, int column); /* NULL is INSTANT_NONE */
void database_text(struct statement *query, int column, char *text, size_t size);

#endif
