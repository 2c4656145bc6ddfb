/*
 * Threads that make requests ahead of who needs them, and the memory for that: S3_THREADS at most,
 * started when there is work, shared by all writers, readers and listings of a store.
 *
 *     struct part { struct s3_task task; ... };
 *     part->task.run = send_part;                 called in a thread of the pool
 *     s3_pool_submit(pool, &part->task, err);     first come, first served
 *     s3_task_wait(pool, &part->task);            until it has run
 *     s3_pool_free(pool);                         when nothing that was submitted is outstanding
 *
 * Tasks submit no tasks. Buffers have S3_PART bytes; a few are kept, so that their pages need not
 * be cleared by the system for every part.
 */
#ifndef PGCAIRN_STORE_S3_POOL_H
#define PGCAIRN_STORE_S3_POOL_H

#include <stddef.h>

#include "base/error.h"

enum { S3_TASKS_MAX = 4096, S3_BUFFERS_KEPT = 12 };

struct s3_pool;

struct s3_task {
    void (*run)(struct s3_task *task);
    bool is_done; /* by the pool, under its mutex */
};

int s3_pool_new(struct s3_pool **ret_pool, struct error *err);
struct s3_pool *s3_pool_free(struct s3_pool *pool);

int s3_pool_submit(struct s3_pool *pool, struct s3_task *task, struct error *err);
void s3_task_wait(struct s3_pool *pool, struct s3_task *task);
bool s3_task_is_done(struct s3_pool *pool, struct s3_task *task);

char *s3_buffer_take(struct s3_pool *pool);              /* NULL when out of memory */
void s3_buffer_give(struct s3_pool *pool, char *buffer); /* takes NULL */

#endif
