#include "base/queue.h"

#include <pthread.h>

struct queue {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    size_t limit, count, first;
    bool closed, aborted;
    void *items[];
};

int queue_new(size_t limit, struct queue **ret_queue, struct error *err)
{
    struct queue *queue = calloc(1, sizeof(*queue) + limit * sizeof(void *));
    if (!queue)
        return error_no_memory(err);
    pthread_mutex_init(&queue->mutex, NULL);
    pthread_cond_init(&queue->changed, NULL);
    queue->limit = limit;
    *ret_queue = queue;
    return 0;
}

struct queue *queue_free(struct queue *queue, void (*release)(void *item))
{
    if (!queue)
        return NULL;
    for (size_t i = 0; release && i < queue->count; i++)
        release(queue->items[(queue->first + i) % queue->limit]);
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->mutex);
    free(queue);
    return NULL;
}

bool queue_push(struct queue *queue, void *item)
{
    pthread_mutex_lock(&queue->mutex);
    while (queue->count == queue->limit && !queue->closed)
        pthread_cond_wait(&queue->changed, &queue->mutex);
    bool accepted = !queue->closed;
    if (accepted) {
        queue->items[(queue->first + queue->count++) % queue->limit] = item;
        pthread_cond_broadcast(&queue->changed);
    }
    pthread_mutex_unlock(&queue->mutex);
    return accepted;
}

void *queue_pop(struct queue *queue)
{
    void *item = NULL;
    pthread_mutex_lock(&queue->mutex);
    while (queue->count == 0 && !queue->closed)
        pthread_cond_wait(&queue->changed, &queue->mutex);
    if (queue->count > 0 && !queue->aborted) {
        item = queue->items[queue->first];
        queue->first = (queue->first + 1) % queue->limit;
        queue->count--;
        pthread_cond_broadcast(&queue->changed);
    }
    pthread_mutex_unlock(&queue->mutex);
    return item;
}

static void end_queue(struct queue *queue, bool aborted)
{
    pthread_mutex_lock(&queue->mutex);
    queue->closed = true;
    queue->aborted = queue->aborted || aborted;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->mutex);
}

void queue_close(struct queue *queue)
{
    end_queue(queue, false);
}

void queue_abort(struct queue *queue)
{
    end_queue(queue, true);
}
