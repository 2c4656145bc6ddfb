/* The guarded command in the foreground: our streams and our terminal are its own. */
#include <signal.h>
#include <string.h>

#include "work/guard.h"

static const int SIGNALS[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

static volatile sig_atomic_t running_pid; /* to whom signals are passed on; 0: nobody */
static volatile sig_atomic_t came;

/* The terminal sends its signals to the command as well, for it is of our process group. */
static void pass_on(int number, siginfo_t *information, void *context)
{
    (void)context;
    came = number;
    if (information->si_code != SI_KERNEL && running_pid > 0)
        kill(running_pid, number);
}

static void catch_signals(struct sigaction before[ARRAY_SIZE(SIGNALS)])
{
    struct sigaction action = {.sa_sigaction = pass_on, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < ARRAY_SIZE(SIGNALS); i++)
        if (sigaction(SIGNALS[i], NULL, &before[i]) == 0 && before[i].sa_handler != SIG_IGN)
            sigaction(SIGNALS[i], &action, NULL);
}

static void release_signals(const struct sigaction before[ARRAY_SIZE(SIGNALS)])
{
    for (size_t i = 0; i < ARRAY_SIZE(SIGNALS); i++)
        sigaction(SIGNALS[i], &before[i], NULL);
}

/* No signal comes between the start and the moment from which it can be passed on. */
static int start(const struct child_spec *spec, struct child *child, struct error *err)
{
    sigset_t ours, before;
    sigemptyset(&ours);
    for (size_t i = 0; i < ARRAY_SIZE(SIGNALS); i++)
        sigaddset(&ours, SIGNALS[i]);
    pthread_sigmask(SIG_BLOCK, &ours, &before);
    int rc = child_start(spec, child, err);
    running_pid = rc ? 0 : child->pid;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

int guard_command(struct guarding *guarding, struct error *err)
{
    const struct guard_request *request = guarding->request;
    struct guard_report *report = guarding->report;
    char backup[ID_SIZE + 32];
    snprintf(backup, sizeof(backup), "PGCAIRN_BACKUP_ID=%s", report->backup_id);
    const char *env[] = {backup, NULL};
    struct child_spec spec = {.argv = request->command,
                              .env = env,
                              .input = CHILD_INHERIT,
                              .output = request->output_to_stderr ? CHILD_STDERR : CHILD_INHERIT,
                              .inherit_stderr = true,
                              .outlives_us = true,
                              .in_our_group = true};
    struct sigaction before[ARRAY_SIZE(SIGNALS)];
    struct child child;
    came = 0;
    catch_signals(before);
    report->started_us = instant_now_us();
    int rc = start(&spec, &child, err);
    if (rc)
        report->started_us = INSTANT_NONE;
    else
        rc = child_wait(&child, -1, &report->status, err);
    running_pid = 0;
    release_signals(before);
    report->signal = (int)came;
    if (!rc)
        report->ended_us = instant_now_us();
    return rc;
}
