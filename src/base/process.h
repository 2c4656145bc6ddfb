/*
 * Which process is it: an identity that is never mistaken for another one. A process id alone is
 * used again after its owner's death, so with it go the moment it started (clock ticks since boot,
 * /proc/PID/stat, proc(5)) and where it lives (the boot and the pid namespace: after a restart of
 * the machine or of the container nothing of before is alive). Pure but for /proc.
 */
#ifndef PGCAIRN_BASE_PROCESS_H
#define PGCAIRN_BASE_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

enum { PROCESS_PLACE_MAX = 96 };

struct process_identity {
    pid_t pid;                     /* 0: none */
    int64_t start_ticks;           /* 0 when /proc would not tell */
    char place[PROCESS_PLACE_MAX]; /* boot id and pid namespace */
};

struct process_stat {
    pid_t pid, parent;
    int64_t start_ticks;
    char state; /* Z, X: it has ended */
};

/* What /proc tells of a process now; false when there is none, or it may not be seen. */
bool process_read_stat(pid_t pid, struct process_stat *ret_stat);

/* The calling process. */
void process_self(struct process_identity *ret_identity);

/* Whether that very process still lives; a zombie does not. */
bool process_alive(const struct process_identity *identity);

/* Whether it lives no more for certain. Of a process in another pid namespace of this boot, or one
 * that /proc hides, neither this nor process_alive() can say so. */
bool process_gone(const struct process_identity *identity);

#endif
