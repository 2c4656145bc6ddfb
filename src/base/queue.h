/*
 * A bounded queue of pointers between threads: the one way to run a pipeline.
 *
 *     producer: queue_push(q, item)   blocks while full; false once the queue was closed
 *     consumer: while ((item = queue_pop(q))) ...   NULL when closed and empty, or aborted
 *     queue_close(q)    no more items come; what is in it is still handed out
 *     queue_abort(q)    wakes everybody; items left are for queue_free's release function
 */
#ifndef PGCAIRN_BASE_QUEUE_H
#define PGCAIRN_BASE_QUEUE_H

#include <stddef.h>

#include "base/error.h"

struct queue;

int queue_new(size_t limit, struct queue **ret_queue, struct error *err);
/* release (may be NULL) is called for every item left. */
struct queue *queue_free(struct queue *queue, void (*release)(void *item));

bool queue_push(struct queue *queue, void *item);
void *queue_pop(struct queue *queue);
void queue_close(struct queue *queue);
void queue_abort(struct queue *queue);

#endif
