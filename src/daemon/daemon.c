#include "daemon/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include "base/family.h"
#include "daemon/say.h"
#include "daemon/state.h"
#include "daemon/systemd.h"

enum { EVENTS_MAX = 32 };

#define FAR_SECONDS INT64_C(9000000000) /* the year 2255: never */

static int open_all(struct daemon *daemon, struct error *err);
static void look(struct daemon *daemon);
static void beat(struct daemon *daemon, int64_t boot_us);
static void arm_timers(struct daemon *daemon);
static void wait_for_events(struct daemon *daemon);
static void close_all(struct daemon *daemon);

int daemon_run(const struct daemon_options *options, struct error *err)
{
    struct daemon daemon = {.options = options,
                            .lock_fd = -1,
                            .epoll_fd = -1,
                            .timer_fd = -1,
                            .set_fd = -1,
                            .signal_fd = -1,
                            .started_us = instant_now_us(),
                            .looked_us = INSTANT_NONE,
                            .heartbeat_boot_us = INSTANT_NONE,
                            .watchdog_us = systemd_watchdog_us()};
    int rc = open_all(&daemon, err);
    if (!rc) {
        beat(&daemon, boot_now_us()); /* whoever hears that it is ready finds it in the journal */
        say(LOG_INFO, NULL, NULL, "pgcairn %s: %zu policies, %zu scheduled jobs, journal in %s",
            PGCAIRN_VERSION, daemon.roster->policy_count, daemon.roster->job_count, daemon.folder);
        systemd_notify("READY=1");
        if (daemon.roster->bad_files > 0)
            tell_bad_policy(&daemon, daemon.roster->bad_why);
        tell_unseen(&daemon);
        for (look(&daemon); !daemon.is_ended; look(&daemon)) {
            arm_timers(&daemon);
            wait_for_events(&daemon);
        }
        say(LOG_INFO, NULL, NULL, "stopped");
    }
    close_all(&daemon);
    return rc;
}

/* -- start ----------------------------------------------------------------------------------- */

/* One daemon per journal: two would each claim half of the runs and know nothing of the other's. */
static int lock_folder(struct daemon *daemon, struct error *err)
{
    _cleanup_(freep) char *path = NULL;
    if (asprintf(&path, "%s/daemon.lock", daemon->folder) < 0)
        return error_no_memory(err);
    daemon->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (daemon->lock_fd < 0)
        return error_set_errno(err, errno, "could not open \"%s\"", path);
    if (flock(daemon->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    struct journal_daemon other = {.process = {.pid = 0}};
    journal_daemon(daemon->journal, &other, NULL);
    error_set(err, ERR_BUSY, "another daemon (process %d) uses the journal in \"%s\"",
              (int)other.process.pid, daemon->folder);
    return error_hint(err, "give each daemon a state folder of its own: STATE_DIRECTORY");
}

static int open_journal(struct daemon *daemon, struct error *err)
{
    struct journal_daemon before;
    int rc = journal_open(daemon->folder, JOURNAL_CHECK, &daemon->journal, err);
    if (!rc && journal_notice(daemon->journal))
        say(LOG_WARNING, NULL, NULL, "%s", journal_notice(daemon->journal));
    if (!rc)
        rc = lock_folder(daemon, err);
    if (!rc)
        rc = journal_daemon(daemon->journal, &before, err);
    if (!rc)
        daemon->journal_is_new = before.process.pid == 0;
    return rc ? rc : turn_recover(daemon, err);
}

static int watch_fd(struct daemon *daemon, int *fd, struct error *err)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = fd};
    if (*fd < 0 || epoll_ctl(daemon->epoll_fd, EPOLL_CTL_ADD, *fd, &event) != 0)
        return error_set_errno(err, errno, "could not watch for events");
    return 0;
}

static int open_events(struct daemon *daemon, struct error *err)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        sigaddset(&set, numbers[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    daemon->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    daemon->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    daemon->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    daemon->set_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    world_real(&daemon->epoll_fd, &daemon->world);
    int rc = watch_fd(daemon, &daemon->signal_fd, err);
    if (!rc)
        rc = watch_fd(daemon, &daemon->timer_fd, err);
    return rc ? rc : watch_fd(daemon, &daemon->set_fd, err);
}

static int open_all(struct daemon *daemon, struct error *err)
{
    daemon->tasks = calloc(DAEMON_TASKS_MAX, sizeof(struct task *));
    if (!daemon->tasks)
        return error_no_memory(err);
    int rc = roster_load(daemon->options->policy_paths, NULL, &daemon->roster, err);
    if (!rc)
        rc = journal_folder(JOURNAL_WRITE, &daemon->folder, err);
    if (!rc)
        rc = open_events(daemon, err);
    if (!rc)
        rc = open_journal(daemon, err);
    if (rc)
        return rc;
    say_to_run_logs(daemon->folder);
    turn_begin(daemon);
    return watching_open(daemon, err);
}

static void close_all(struct daemon *daemon)
{
    watching_close(daemon);
    say_to_run_logs(NULL);
    for (size_t i = 0; i < daemon->task_count; i++)
        task_free(daemon->tasks[i]);
    free(daemon->tasks);
    free(daemon->interrupted);
    receivers_clear(daemon);
    tell_close(daemon);
    roster_free(daemon->roster);
    journal_free(daemon->journal);
    free(daemon->folder);
    closep(&daemon->timer_fd);
    closep(&daemon->set_fd);
    closep(&daemon->signal_fd);
    closep(&daemon->epoll_fd);
    closep(&daemon->lock_fd);
}

/* -- the loop -------------------------------------------------------------------------------- */

/* The file was deleted, or moved aside by a run that found it damaged. What is still open is used
 * on while no new one can be made. */
static void check_journal(struct daemon *daemon)
{
    struct journal *journal = NULL;
    struct error err = ERROR_NONE;
    if (!journal_lost(daemon->journal))
        return;
    if (journal_open(daemon->folder, JOURNAL_CHECK, &journal, &err)) {
        say_error(NULL, NULL, "the journal is gone, and no new one can be made", &err);
        return;
    }
    say(LOG_WARNING, NULL, NULL, "the journal was gone: a new one is begun");
    journal_free(daemon->journal);
    daemon->journal = journal;
    daemon->heartbeat_boot_us = INSTANT_NONE;
    schedule_journal_lost(daemon);
}

static void beat(struct daemon *daemon, int64_t boot_us)
{
    struct error err = ERROR_NONE;
    if (daemon->watchdog_us > 0)
        systemd_notify("WATCHDOG=1");
    if (daemon->heartbeat_boot_us != INSTANT_NONE &&
        boot_us - daemon->heartbeat_boot_us < DAEMON_SLEEP_US - US_PER_SECOND)
        return;
    daemon->heartbeat_boot_us = boot_us;
    int rc = journal_heartbeat(daemon->journal, daemon->started_us, &err);
    daemon_journal_wrote(daemon, NULL, NULL, NULL, rc, &err);
    daemon->journal_fails = rc != 0;
}

static void tell_status(struct daemon *daemon)
{
    char status[sizeof(daemon->status)], at[INSTANT_TEXT_MAX];
    int64_t next_us = schedule_next_us(daemon);
    snprintf(status, sizeof(status), "%zu jobs, %zu running%s%s", daemon->roster->job_count,
             supervise_running(daemon), next_us == INT64_MAX ? "" : ", next at ",
             next_us == INT64_MAX ? "" : instant_format(next_us, at));
    if (strcmp(status, daemon->status) == 0)
        return;
    memcpy(daemon->status, status, sizeof(status));
    systemd_notify("STATUS=%s", status);
}

/* What must be done around a look, and is no part of what is decided in it. */
static void look(struct daemon *daemon)
{
    watching_works(daemon);
    check_journal(daemon);
    turn_take(daemon);
    family_reap_orphans(); /* as process 1 of a container */
    beat(daemon, boot_now_us());
    tell_look(daemon);
    watching_look(daemon);
    tell_status(daemon);
}

/* Sleep is measured by a clock that is never set; that the other one was set wakes too. */
static void arm_timers(struct daemon *daemon)
{
    int64_t boot_us = boot_now_us(), sleep_us = turn_sleep_us(daemon);
    int64_t watching_us = watching_next_boot_us(daemon) - boot_us;
    if (watching_us < sleep_us)
        sleep_us = watching_us > 0 ? watching_us : 0;
    int64_t telling_us = tell_next_boot_us(daemon) - boot_us;
    if (telling_us < sleep_us)
        sleep_us = telling_us > 0 ? telling_us : 0;
    watching_expect(daemon, boot_us + sleep_us);
    struct itimerspec in = {.it_value = {.tv_sec = sleep_us / US_PER_SECOND,
                                         .tv_nsec = sleep_us % US_PER_SECOND * 1000 + 1}};
    struct itimerspec never = {.it_value = {.tv_sec = FAR_SECONDS}};
    timerfd_settime(daemon->timer_fd, 0, &in, NULL);
    timerfd_settime(daemon->set_fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL);
}

static void reload(struct daemon *daemon)
{
    struct roster *roster = NULL;
    struct error err = ERROR_NONE;
    systemd_notify_reloading();
    int rc = roster_load(daemon->options->policy_paths, daemon->roster, &roster, &err);
    if (rc) {
        say_error(NULL, NULL, "everything stays as it was", &err);
    } else {
        turn_swap(daemon, roster);
        say(LOG_INFO, NULL, NULL, "policies read again: %zu policies, %zu scheduled jobs",
            roster->policy_count, roster->job_count);
    }
    if (rc)
        tell_bad_policy(daemon, err.message);
    else if (roster->bad_files > 0)
        tell_bad_policy(daemon, roster->bad_why);
    watching_reloaded(daemon, !rc && daemon->roster->bad_files == 0);
    systemd_notify("READY=1");
}

static void stop(struct daemon *daemon)
{
    if (!daemon->is_stopping)
        systemd_notify("STOPPING=1");
    turn_stop(daemon);
}

static void take_signals(struct daemon *daemon)
{
    struct signalfd_siginfo info;
    while (read(daemon->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGHUP)
            reload(daemon);
        else if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
            stop(daemon);
    }
}

static void wait_for_events(struct daemon *daemon)
{
    struct epoll_event events[EVENTS_MAX];
    uint64_t expirations;
    int count = epoll_wait(daemon->epoll_fd, events, EVENTS_MAX, -1);
    for (int i = 0; i < count; i++) {
        void *source = events[i].data.ptr;
        if (source == &daemon->signal_fd)
            take_signals(daemon);
        else if (source == &daemon->timer_fd || source == &daemon->set_fd)
            (void)!read(*(int *)source, &expirations, sizeof(expirations));
        else
            task_read(source, daemon->epoll_fd);
    }
}
