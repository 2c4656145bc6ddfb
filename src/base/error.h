/*
 * The one error type of pgcairn.
 *
 * A function that can fail returns int: 0, or a negative code of the list below, and fills the
 * struct error it was given. The message says what, on what, and why, in the server's or system's
 * own words; the hint says what to do about it. Whoever returns an error does not log it: command/
 * and daemon/ print it, once.
 *
 *     if (fd < 0)
 *         return error_set_errno(err, errno, "could not open \"%s\"", path);
 *
 * On the way up a caller may put context in front with error_prefix(). Messages never hold secrets.
 * A struct error has no owned memory: it is copied by assignment and needs no release. It may be
 * NULL where the caller only wants the code. Not shared between threads without a lock.
 */
#ifndef PGCAIRN_BASE_ERROR_H
#define PGCAIRN_BASE_ERROR_H

#include <stdbool.h>

#include "base/cleanup.h"

/*
 * X(enumerator, name in JSON, exit status of the program, worth another try, cure)
 * Exit statuses: 1 the work failed, 2 usage or policy, 3 could not tell, 4 busy, 5 interrupted; 126
 * is how a restore_command makes PostgreSQL stop instead of taking WAL for ended. The
 * cure is the hint of an error that was given none of its own; NULL where only the place knows.
 */
#define ERROR_LIST(X)                                                                              \
    X(ERR_USAGE, "usage", 2, false, "\"pgcairn help\" lists the commands and their options")       \
    X(ERR_POLICY, "policy", 2, false, "\"pgcairn policy check\" shows every problem of a policy")  \
    X(ERR_FAILED, "failed", 1, false, NULL)                                                        \
    X(ERR_MEMORY, "out_of_memory", 1, true, "free memory, or lower jobs: in the policy")           \
    X(ERR_LIMIT, "limit", 1, false, "this is a limit of pgcairn's; please report what needs more") \
    X(ERR_IO, "io", 1, false, "check the disk, the mount and the path named above")                \
    X(ERR_NO_SPACE, "no_space", 1, false,                                                          \
      "free space, or let \"pgcairn prune CLUSTER --apply\" remove what retention allows")         \
    X(ERR_PERMISSION, "permission", 1, false,                                                      \
      "check owner and mode of the path, or the role's rights")                                    \
    X(ERR_NOT_FOUND, "not_found", 1, false,                                                        \
      "check the name; \"pgcairn list\" shows what there is")                                      \
    X(ERR_EXISTS, "exists", 1, false, "nothing is overwritten: choose another name or remove it")  \
    X(ERR_LOCKED, "locked", 1, false, "wait until the lock ends; prune removes it then")           \
    X(ERR_CORRUPT, "corrupt", 1, false,                                                            \
      "restore from another backup (pgcairn list), and find out what changed the stored file")     \
    X(ERR_SQL, "sql", 1, false, "the server's log has the whole statement and its context")        \
    X(ERR_CONFLICT, "conflict", 1, true, "try again when nothing else changes the same objects")   \
    X(ERR_CONNECTION, "connection", 3, true,                                                       \
      "see the server's log for why; a scheduled run is tried again by itself")                    \
    X(ERR_AUTH, "authentication", 3, false,                                                        \
      "check user and password, and the server's pg_hba.conf")                                     \
    X(ERR_UNKNOWN, "unknown", 3, false,                                                            \
      "nothing is deleted while something can't be read: mend it first")                           \
    X(ERR_TIMEOUT, "timeout", 1, true, "raise timeout: of the job, or find out what was slow")     \
    X(ERR_BUSY, "busy", 4, true, "wait for the other run to end; \"pgcairn status\" shows it")     \
    X(ERR_INTERRUPTED, "interrupted", 5, false, "nothing half-written was left; run it again")     \
    X(ERR_DOUBT, "doubt", 126, true,                                                               \
      "recovery stops here, because going on might lose what comes later; mend the cause, and "    \
      "start the server again")                                                                    \
    X(ERR_CHILD, "child", 1, false, "run the program by hand with the same connection to see more")

enum error_code {
    ERR_OK = 0,
    ERR_FIRST_ = -1000,
#define X(code, name, status, retryable, cure) code,
    ERROR_LIST(X)
#undef X
};

enum {
    ERROR_MESSAGE_MAX = 2048, /* bytes with the final NUL; longer text is cut */
    ERROR_HINT_MAX = 1024,
};

struct error {
    int code; /* 0 while nothing went wrong */
    char message[ERROR_MESSAGE_MAX];
    char hint[ERROR_HINT_MAX]; /* empty when there is none */
};

#define ERROR_NONE ((struct error){.code = 0})

/* Sets code and message, forgets the hint. Returns code. */
int error_set(struct error *err, int code, const char *format, ...) _printf_(3, 4);

/* As error_set, with ": strerror(saved_errno)" behind; the code follows from saved_errno (ENOSPC,
 * EDQUOT: ERR_NO_SPACE; EACCES, EPERM, EROFS: ERR_PERMISSION; ENOENT: ERR_NOT_FOUND; EEXIST:
 * ERR_EXISTS; ENOMEM: ERR_MEMORY; others ERR_IO). Returns the code. */
int error_set_errno(struct error *err, int saved_errno, const char *format, ...) _printf_(3, 4);

/* Sets the hint of an error that is already set. Returns its code. */
int error_hint(struct error *err, const char *format, ...) _printf_(2, 3);

/* Puts "text: " in front of the message. Returns the code. */
int error_prefix(struct error *err, const char *format, ...) _printf_(2, 3);

int error_no_memory(struct error *err);

void error_clear(struct error *err);

/* For what was only to be looked at: that it could not be read, or made no sense, is no failure of
 * work but "could not tell" (ERR_UNKNOWN, exit status 3). The cure stays; other codes stay. Returns
 * the code. */
int error_as_unknown(struct error *err);

/* The hint, or else the cure of the error's code; "" when there is neither. */
const char *error_cure(const struct error *err);

/* Makes that the hint, before the code is changed. */
void error_keep_cure(struct error *err);

const char *error_code_name(int code);      /* "no_space" */
int error_code_from_name(const char *name); /* ERR_OK when no code has that name */
int error_exit_status(int code);            /* 0 for 0 */
bool error_is_retryable(int code);

#endif
