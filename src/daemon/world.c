#include "daemon/world.h"

static int64_t real_now_us(void *context)
{
    (void)context;
    return instant_now_us();
}

static int64_t real_boot_us(void *context)
{
    (void)context;
    return boot_now_us();
}

static int real_start(struct task *task, void *context, struct error *err)
{
    const int *epoll = context;
    return task_start(task, *epoll, err);
}

static bool real_has_ended(struct task *task, void *context, struct child_status *ret_status)
{
    const int *epoll = context;
    return task_reap(task, *epoll, ret_status);
}

static void real_stop(struct task *task, int64_t grace_us, void *context)
{
    (void)context;
    task_stop(task, grace_us);
}

static void real_enforce(struct task *task, int64_t boot_us, void *context)
{
    (void)context;
    task_enforce(task, boot_us);
}

static bool real_is_alive(const struct process_identity *process, void *context)
{
    (void)context;
    return process_alive(process);
}

void world_real(int *epoll_fd, struct world *ret_world)
{
    *ret_world = (struct world){.now_us = real_now_us,
                                .boot_us = real_boot_us,
                                .start = real_start,
                                .has_ended = real_has_ended,
                                .stop = real_stop,
                                .enforce = real_enforce,
                                .is_alive = real_is_alive,
                                .context = epoll_fd};
}
