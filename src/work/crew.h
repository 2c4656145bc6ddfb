/*
 * A crew: threads that work on one thing and fail together. The first error is the crew's; it stops
 * the others by the cancel functions they left (a query to cancel, a child to end), so that nobody
 * sits in a long call for a result that is no longer wanted.
 *
 *     crew_new(&crew, err);
 *     crew_start(crew, copy_rows, worker, err);      as many as wanted
 *     while (!crew_ended(crew, 200000)) ...watch...; crew_fail(crew, &error) gives up
 *     rc = crew_join(crew, err);                     the first error, when all threads have ended
 *     crew_free(crew);                               stops and joins what still runs
 *
 * In a thread: crew_stopped() between pieces of work; crew_guard() before a call that may last,
 * with what ends it, and crew_unguard() after. The cancel function is called from another thread,
 * at most once, never after crew_unguard() has returned.
 */
#ifndef PGCAIRN_WORK_CREW_H
#define PGCAIRN_WORK_CREW_H

#include <stdint.h>

#include "base/error.h"

enum { CREW_THREADS_MAX = 128, CREW_GUARDS_MAX = 256 };

struct crew;
typedef int (*crew_function)(void *argument, struct error *err);

int crew_new(struct crew **ret_crew, struct error *err);
struct crew *crew_free(struct crew *crew);

int crew_start(struct crew *crew, crew_function function, void *argument, struct error *err);
bool crew_ended(struct crew *crew, int64_t wait_us); /* waits at most that long for the last one */
bool crew_stopped(struct crew *crew);
void crew_fail(struct crew *crew, const struct error *error);
int crew_join(struct crew *crew, struct error *err);

/* -1 when the crew has stopped already: the caller does not begin. */
int crew_guard(struct crew *crew, void (*cancel)(void *argument), void *argument);
void crew_unguard(struct crew *crew, int guard);

DEFINE_FREEP(struct crew *, crew_free)

#endif
