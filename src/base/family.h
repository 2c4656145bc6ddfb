/*
 * The processes that come of ours: which children are our own (and which only came to us, as
 * orphans do to process 1 of a container), and all that descends from one of them, in whatever
 * process group or session.
 *
 *     pid = family_fork();                  as fork(); a child is known as ours before it can end
 *     family_wait(pid, &status, WNOHANG);   as waitpid() for such a one
 *     family_reap_orphans();                reaps what ended and is none of them
 *
 *     struct family family = {0};
 *     family_gather(pid, &family);          its descendants of now, while pid is not reaped yet
 *     family_signal(&family, SIGKILL);      those of them who still live
 *
 * A process is named by its id and its start (process.h) and signalled through a descriptor, so a
 * used-again id is never hit. Linux only: /proc, and pidfd_send_signal(2). All of it may be called
 * by any thread, a struct family by one at a time.
 */
#ifndef PGCAIRN_BASE_FAMILY_H
#define PGCAIRN_BASE_FAMILY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    FAMILY_MAX = 256,           /* of one child; those over it are left alone */
    FAMILY_CHILDREN_MAX = 4096, /* of ours at a time; over it no orphan is reaped */
    FAMILY_PROCESSES_MAX = 65536,
};

struct family_member {
    pid_t pid;
    int64_t start_ticks;
};

struct family {
    struct family_member members[FAMILY_MAX];
    size_t count;
};

pid_t family_fork(void);
pid_t family_wait(pid_t pid, int *ret_status, int options);

/* Returns how many. Not when one of our own has ended and was not waited for yet: its owner asks
 * for it soon, and then the next call goes on. */
size_t family_reap_orphans(void);

/* Adds to what is there. What /proc does not tell is left out. */
void family_gather(pid_t root, struct family *family);

/* Signal 0 only looks. Returns how many still live. */
size_t family_signal(const struct family *family, int signal);

#endif
