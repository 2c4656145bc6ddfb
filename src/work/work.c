#include "work/work.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include "postgres/connection.h"
#include "repository/locks.h"
#include "work/lease.h"

/* Why the work of this process shall end: an error code, 0 while it may go on. A process runs one
 * job, so one flag is enough; the first reason stays. */
static atomic_int stop_code;
static char stop_message[ERROR_MESSAGE_MAX]; /* written before stop_code by work_stop() */

void work_stop(int code, const char *message)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    int going = 0;
    pthread_mutex_lock(&mutex);
    if (atomic_load(&stop_code) == 0)
        snprintf(stop_message, sizeof(stop_message), "%s", message);
    atomic_compare_exchange_strong(&stop_code, &going, code);
    pthread_mutex_unlock(&mutex);
}

/* The second signal ends the process at once, as if it were not caught. */
static void on_signal(int number)
{
    int going = 0;
    if (!atomic_compare_exchange_strong(&stop_code, &going, ERR_INTERRUPTED)) {
        signal(number, SIG_DFL);
        raise(number);
    }
}

static atomic_bool finish_asked;

static void on_signal_to_finish(int number)
{
    if (atomic_exchange(&finish_asked, true))
        on_signal(number);
}

static int ask_interrupted(struct error *err)
{
    return work_interrupted(err) ? atomic_load(&stop_code) : 0;
}

static void catch_signals(void (*handler)(int number))
{
    pg_set_interrupt(ask_interrupted);
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        struct sigaction before, action = {.sa_handler = handler};
        sigemptyset(&action.sa_mask);
        /* What the caller made ignored (nohup) stays so. */
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
    }
}

void work_catch_signals(void)
{
    catch_signals(on_signal);
}

void work_catch_signals_to_finish(void)
{
    catch_signals(on_signal_to_finish);
}

bool work_shall_finish(void)
{
    return atomic_load(&finish_asked);
}

bool work_interrupted(struct error *err)
{
    int code = atomic_load(&stop_code);
    if (code == 0)
        return false;
    if (code == ERR_INTERRUPTED)
        error_set(err, code, "stopped by a signal");
    else
        error_set(err, code, "%s", stop_message);
    return true;
}

void work_result_clear(struct work_result *result)
{
    json_decref(result->details);
    *result = (struct work_result){0};
}

void work_progress(const struct work *work, const char *phase, int64_t done, int64_t total)
{
    if (work->progress)
        work->progress(phase, done, total, work->context);
}

void work_notice(const struct work *work, const char *format, ...)
{
    char text[ERROR_MESSAGE_MAX];
    va_list args;
    if (!work->notice)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    work->notice(text, work->context);
}

int work_check_lock(const struct work *work, struct error *err)
{
    int rc = work->lock ? lock_check_held(work->lock, err) : 0;
    return rc ? rc : lease_check(work->lease, err);
}
