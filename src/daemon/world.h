/*
 * What the decisions of the daemon need of the outside: two clocks, and a way to start and to end
 * runs. The daemon has the real one; a test has one of its own, in which a month passes in seconds
 * and no process is started.
 *
 *     world_real(epoll_fd, &world);      clocks of the machine, runs as child processes
 *
 * schedule.c, supervise.c and turn.c ask the outside by this face and by the journal alone.
 */
#ifndef PGCAIRN_DAEMON_WORLD_H
#define PGCAIRN_DAEMON_WORLD_H

#include "daemon/task.h"

struct world {
    int64_t (*now_us)(void *context);  /* of the wall: may be set, forwards and back */
    int64_t (*boot_us)(void *context); /* CLOCK_BOOTTIME: goes on in suspend, is never set */
    /* Makes a waiting task a running one, or leaves it waiting. */
    int (*start)(struct task *task, void *context, struct error *err);
    /* Whether a running one has ended, and how. Once told, it is not asked again. */
    bool (*has_ended)(struct task *task, void *context, struct child_status *ret_status);
    void (*stop)(struct task *task, int64_t grace_us, void *context);
    void (*enforce)(struct task *task, int64_t boot_us, void *context); /* its timeouts */
    bool (*is_alive)(const struct process_identity *process, void *context);
    void *context;
};

void world_real(int *epoll_fd, struct world *ret_world); /* borrows epoll_fd */

#endif
