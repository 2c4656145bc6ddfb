#include "store/s3_pool.h"

#include <pthread.h>

#include "base/queue.h"
#include "store/s3_store.h"

struct s3_pool {
    struct queue *tasks;
    pthread_mutex_t mutex;
    pthread_cond_t done; /* a task has run */
    pthread_t threads[S3_THREADS];
    size_t thread_count;
    size_t outstanding; /* tasks that wait or run */
    char *buffers[S3_BUFFERS_KEPT];
    size_t buffer_count;
};

int s3_pool_new(struct s3_pool **ret_pool, struct error *err)
{
    struct s3_pool *pool = calloc(1, sizeof(*pool));
    if (!pool)
        return error_no_memory(err);
    int rc = queue_new(S3_TASKS_MAX, &pool->tasks, err);
    if (rc) {
        free(pool);
        return rc;
    }
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->done, NULL);
    *ret_pool = pool;
    return 0;
}

struct s3_pool *s3_pool_free(struct s3_pool *pool)
{
    if (!pool)
        return NULL;
    queue_close(pool->tasks);
    for (size_t i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    for (size_t i = 0; i < pool->buffer_count; i++)
        free(pool->buffers[i]);
    queue_free(pool->tasks, NULL);
    pthread_cond_destroy(&pool->done);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
    return NULL;
}

static void *work(void *argument)
{
    struct s3_pool *pool = argument;
    for (struct s3_task *task; (task = queue_pop(pool->tasks));) {
        task->run(task);
        pthread_mutex_lock(&pool->mutex);
        task->is_done = true; /* from here on its owner may free it */
        pool->outstanding--;
        pthread_cond_broadcast(&pool->done);
        pthread_mutex_unlock(&pool->mutex);
    }
    return NULL;
}

int s3_pool_submit(struct s3_pool *pool, struct s3_task *task, struct error *err)
{
    task->is_done = false;
    pthread_mutex_lock(&pool->mutex);
    pool->outstanding++;
    int code = 0;
    if (pool->outstanding > pool->thread_count && pool->thread_count < S3_THREADS) {
        code = pthread_create(&pool->threads[pool->thread_count], NULL, work, pool);
        pool->thread_count += code == 0;
    }
    bool has_threads = pool->thread_count > 0;
    if (!has_threads)
        pool->outstanding--;
    pthread_mutex_unlock(&pool->mutex);
    if (!has_threads)
        return error_set_errno(err, code, "could not start a thread for requests");
    queue_push(pool->tasks, task);
    return 0;
}

void s3_task_wait(struct s3_pool *pool, struct s3_task *task)
{
    pthread_mutex_lock(&pool->mutex);
    while (!task->is_done)
        pthread_cond_wait(&pool->done, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}

bool s3_task_is_done(struct s3_pool *pool, struct s3_task *task)
{
    pthread_mutex_lock(&pool->mutex);
    bool is_done = task->is_done;
    pthread_mutex_unlock(&pool->mutex);
    return is_done;
}

char *s3_buffer_take(struct s3_pool *pool)
{
    char *buffer = NULL;
    pthread_mutex_lock(&pool->mutex);
    if (pool->buffer_count > 0)
        buffer = pool->buffers[--pool->buffer_count];
    pthread_mutex_unlock(&pool->mutex);
    return buffer ? buffer : malloc(S3_PART);
}

void s3_buffer_give(struct s3_pool *pool, char *buffer)
{
    if (!buffer)
        return;
    pthread_mutex_lock(&pool->mutex);
    bool is_kept = pool->buffer_count < S3_BUFFERS_KEPT;
    if (is_kept)
        pool->buffers[pool->buffer_count++] = buffer;
    pthread_mutex_unlock(&pool->mutex);
    if (!is_kept)
        free(buffer);
}
