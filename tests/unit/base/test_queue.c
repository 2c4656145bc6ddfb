/* Queues between threads: order, bounds, the two ends. */
#include "case.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/queue.h"

static int numbers[1000];

static struct queue *new_queue(size_t limit)
{
    struct queue *queue = NULL;
    assert_ok(queue_new(limit, &queue, &case_err));
    return queue;
}

static void test_order_and_close(void **state)
{
    (void)state;
    struct queue *queue = new_queue(3);
    for (int round = 0; round < 5; round++) { /* around its end */
        for (int i = 0; i < 3; i++)
            assert_true(queue_push(queue, &numbers[i]));
        for (int i = 0; i < 2; i++)
            assert_ptr_equal(queue_pop(queue), &numbers[i]);
        assert_ptr_equal(queue_pop(queue), &numbers[2]);
    }
    assert_true(queue_push(queue, &numbers[7]));
    queue_close(queue);
    assert_false(queue_push(queue, &numbers[8]));
    assert_ptr_equal(queue_pop(queue), &numbers[7]); /* what was in it comes out */
    assert_null(queue_pop(queue));
    assert_null(queue_pop(queue));
    assert_null(queue_free(queue, NULL));
    assert_null(queue_free(NULL, NULL));
}

static int released;

static void release(void *item)
{
    released += (int)((int *)item - numbers);
}

static void test_abort(void **state)
{
    (void)state;
    struct queue *queue = new_queue(4);
    for (int i = 0; i < 6; i++) { /* so that the items lie around the end */
        assert_true(queue_push(queue, &numbers[i]));
        if (i < 3)
            assert_ptr_equal(queue_pop(queue), &numbers[i]);
    }
    queue_abort(queue);
    queue_close(queue); /* does not bring it back */
    assert_null(queue_pop(queue));
    assert_false(queue_push(queue, &numbers[9]));
    released = 0;
    queue_free(queue, release);
    assert_int_equal(released, 3 + 4 + 5);
}

struct line {
    struct queue *queue;
    atomic_int pushed, popped, refused, most;
    atomic_int seen[ARRAY_SIZE(numbers)];
};

static void *produce(void *argument)
{
    struct line *line = argument;
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        if (!queue_push(line->queue, &numbers[i])) {
            atomic_fetch_add(&line->refused, 1);
            return NULL;
        }
        int held = atomic_fetch_add(&line->pushed, 1) + 1 - atomic_load(&line->popped);
        if (held > atomic_load(&line->most))
            atomic_store(&line->most, held);
    }
    return NULL;
}

static void *consume(void *argument)
{
    struct line *line = argument;
    int *item;
    while ((item = queue_pop(line->queue))) {
        atomic_fetch_add(&line->popped, 1);
        atomic_fetch_add(&line->seen[item - numbers], 1);
    }
    return NULL;
}

enum { THREADS = 4 };

static void start(pthread_t *threads, void *(*function)(void *), struct line *line)
{
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, function, line), 0);
}

static void join(pthread_t *threads)
{
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

/* Every item of every producer reaches one consumer, whatever the bound. */
static void test_threads(void **state)
{
    (void)state;
    static const size_t LIMITS[] = {1, 2, 7, 10000};
    for (size_t i = 0; i < ARRAY_SIZE(LIMITS); i++) {
        static struct line line;
        pthread_t producers[THREADS], consumers[THREADS];
        memset(&line, 0, sizeof(line));
        line.queue = new_queue(LIMITS[i]);
        start(consumers, consume, &line);
        start(producers, produce, &line);
        join(producers);
        queue_close(line.queue);
        join(consumers);
        assert_int_equal(atomic_load(&line.popped), THREADS * ARRAY_SIZE(numbers));
        for (size_t j = 0; j < ARRAY_SIZE(numbers); j++)
            assert_int_equal(atomic_load(&line.seen[j]), THREADS);
        queue_free(line.queue, NULL);
    }
}

/* Without a consumer the producers stop at the bound, and are woken by the end. */
static void test_full(void **state)
{
    (void)state;
    for (int aborted = 0; aborted < 2; aborted++) {
        static struct line line;
        pthread_t producers[THREADS];
        memset(&line, 0, sizeof(line));
        line.queue = new_queue(5);
        start(producers, produce, &line);
        for (int i = 0; i < 1000 && atomic_load(&line.pushed) < 5; i++)
            usleep(1000);
        usleep(20000);
        assert_int_equal(atomic_load(&line.pushed), 5);
        assert_int_equal(atomic_load(&line.refused), 0);
        if (aborted)
            queue_abort(line.queue);
        else
            queue_close(line.queue);
        join(producers);
        assert_int_equal(atomic_load(&line.refused), THREADS);
        assert_int_equal(atomic_load(&line.most), 5);
        assert_true((queue_pop(line.queue) == NULL) == (aborted == 1));
        queue_free(line.queue, NULL);
    }
}

/* Consumers that wait for nothing are woken by the end. */
static void test_empty(void **state)
{
    (void)state;
    for (int aborted = 0; aborted < 2; aborted++) {
        static struct line line;
        pthread_t consumers[THREADS];
        memset(&line, 0, sizeof(line));
        line.queue = new_queue(5);
        start(consumers, consume, &line);
        usleep(20000);
        if (aborted)
            queue_abort(line.queue);
        else
            queue_close(line.queue);
        join(consumers);
        assert_int_equal(atomic_load(&line.popped), 0);
        queue_free(line.queue, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_close), cmocka_unit_test(test_abort),
        cmocka_unit_test(test_threads),         cmocka_unit_test(test_full),
        cmocka_unit_test(test_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
