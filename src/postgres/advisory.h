/*
 * An advisory lock of a session of its own: while the session lives, nobody else on that server and
 * in that database has the lock; with the session it is gone (PostgreSQL, Explicit Locking,
 * Advisory Locks).
 *
 *     pg_advisory_open(conninfo, key, application, &lock, err);      ERR_FAILED: a pooler
 *     pg_advisory_try(lock, &taken, err);     again until it is taken; the holder's name on failure
 *     pg_advisory_beat(lock, err);            every PG_ADVISORY_BEAT_US, by one thread
 *     pg_advisory_check(lock, err);           before something final: asks the server itself
 *     pg_advisory_free(lock);                 gives it back
 *
 * The session is one of the database "postgres", or where that is closed of the one that conninfo
 * names: advisory locks are per database, so all who contend must come to the same one. It holds no
 * snapshot, also while it waits, for it asks again and again and does not wait in the server.
 *
 * Lost is what the server says is lost, a connection that ended, and a server that gave no answer
 * for PG_ADVISORY_SILENCE_US. What was lost stays lost. The server itself lets go of a client it
 * hears nothing of after PG_ADVISORY_RELEASE_SECONDS (its TCP keepalives and tcp_user_timeout, set
 * for this session), so who is cut off knows it before another can have the lock. Over a socket of
 * the same machine the kernel tells at once.
 *
 * beat and check may be called by different threads.
 */
#ifndef PGCAIRN_POSTGRES_ADVISORY_H
#define PGCAIRN_POSTGRES_ADVISORY_H

#include "base/instant.h"
#include "postgres/connection.h"

#define PG_ADVISORY_BEAT_US (2 * US_PER_SECOND)
#define PG_ADVISORY_SILENCE_US (15 * US_PER_SECOND)

enum {
    PG_ADVISORY_RELEASE_SECONDS = 30,
    PG_ADVISORY_IDENTITY_MAX = 128,
    PG_ADVISORY_NAME_MAX = 64, /* of application_name, with its NUL */
};

struct pg_advisory;

/* application is cut to what a name in pg_stat_activity may have. */
int pg_advisory_open(const char *conninfo, int64_t key, const char *application,
                     struct pg_advisory **ret_lock, struct error *err);
/* With *ret_taken false, holder (may be NULL) gets the application's name of who has it, "" when
 * that is not told. */
int pg_advisory_try(struct pg_advisory *lock, bool *ret_taken, char holder[PG_ADVISORY_NAME_MAX],
                    struct error *err);
int pg_advisory_beat(struct pg_advisory *lock, struct error *err);
int pg_advisory_check(struct pg_advisory *lock, struct error *err);
struct pg_advisory *pg_advisory_free(struct pg_advisory *lock);

/* Whether the server is in recovery, asked when the session began. */
bool pg_advisory_is_standby(const struct pg_advisory *lock);
/* Which lock of which server and database decides, the same text for all who contend:
 * "START/DATABASE/KEY", the moment at which the server was started in microseconds, the database's
 * OID, and the key. */
const char *pg_advisory_identity(const struct pg_advisory *lock);
/* Whether it was lost because the server gave no answer, not because it said so. */
bool pg_advisory_is_silent(const struct pg_advisory *lock);

/* Ends every connection over TCP of this process to that server, whoever waits on it: for one that
 * does not answer any more. pg_forbid_cancels() comes before. */
void pg_advisory_cut_off(struct pg_advisory *lock);

DEFINE_FREEP(struct pg_advisory *, pg_advisory_free)

#endif
