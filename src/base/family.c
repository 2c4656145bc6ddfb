#include "base/family.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/process.h"
#include "base/units.h"

/* -- our own children ------------------------------------------------------------------------ */

static struct {
    pthread_mutex_t lock;
    pid_t pids[FAMILY_CHILDREN_MAX];
    size_t count, unknown; /* unknown: children for which there was no room */
} own = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Under the lock, so that nobody takes the new one for an orphan before it is on the list. */
pid_t family_fork(void)
{
    pthread_mutex_lock(&own.lock);
    pid_t pid = fork();
    if (pid == 0)
        return 0; /* the lock stays held in the copy, which is to exec */
    if (pid > 0 && own.count < FAMILY_CHILDREN_MAX)
        own.pids[own.count++] = pid;
    else if (pid > 0)
        own.unknown++;
    int saved_errno = errno;
    pthread_mutex_unlock(&own.lock);
    errno = saved_errno;
    return pid;
}

static void forget(pid_t pid)
{
    for (size_t i = 0; i < own.count; i++) {
        if (own.pids[i] != pid)
            continue;
        own.pids[i] = own.pids[--own.count];
        return;
    }
    if (own.unknown > 0)
        own.unknown--;
}

/* The lock is not held while it sleeps; and reaped and forgotten at once, for the id may come
 * again. */
pid_t family_wait(pid_t pid, int *ret_status, int options)
{
    siginfo_t info;
    if (!(options & WNOHANG) && waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) != 0)
        return -1;
    pthread_mutex_lock(&own.lock);
    pid_t ended = waitpid(pid, ret_status, options);
    int saved_errno = errno;
    if (ended > 0)
        forget(ended);
    pthread_mutex_unlock(&own.lock);
    errno = saved_errno;
    return ended;
}

static bool is_own(pid_t pid)
{
    for (size_t i = 0; i < own.count; i++)
        if (own.pids[i] == pid)
            return true;
    return false;
}

size_t family_reap_orphans(void)
{
    size_t count = 0;
    pthread_mutex_lock(&own.lock);
    while (own.unknown == 0) {
        siginfo_t info = {.si_pid = 0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid <= 0 ||
            is_own(info.si_pid))
            break;
        count += waitpid(info.si_pid, NULL, WNOHANG) > 0;
    }
    pthread_mutex_unlock(&own.lock);
    return count;
}

/* -- descendants ----------------------------------------------------------------------------- */

static bool is_member(const struct family *family, const struct process_stat *process)
{
    for (size_t i = 0; i < family->count; i++)
        if (family->members[i].pid == process->pid &&
            family->members[i].start_ticks == process->start_ticks)
            return true;
    return false;
}

/* The list was not read in one moment, and an id in it may have passed to another process since.
 * Who still has the parent now, and that one is who it was, is its child. */
static bool is_child_of(const struct process_stat *process, const struct process_stat *parent)
{
    struct process_stat now, parent_now;
    return process->parent == parent->pid && process_read_stat(process->pid, &now) &&
           now.start_ticks == process->start_ticks && now.parent == parent->pid &&
           process_read_stat(parent->pid, &parent_now) &&
           parent_now.start_ticks == parent->start_ticks;
}

static void add_children(const struct process_stat *list, size_t count,
                         const struct process_stat *parent, struct family *family)
{
    for (size_t i = 0; i < count && family->count < FAMILY_MAX; i++) {
        if (!is_child_of(&list[i], parent) || is_member(family, &list[i]))
            continue;
        family->members[family->count++] =
            (struct family_member){.pid = list[i].pid, .start_ticks = list[i].start_ticks};
    }
}

static size_t list_processes(struct process_stat *list)
{
    DIR *folder = opendir("/proc");
    size_t count = 0;
    if (!folder)
        return 0;
    for (struct dirent *entry; (entry = readdir(folder)) && count < FAMILY_PROCESSES_MAX;) {
        int64_t pid;
        if (number_parse(entry->d_name, "process", 1, INT32_MAX, &pid, NULL) == 0)
            count += process_read_stat((pid_t)pid, &list[count]);
    }
    closedir(folder);
    return count;
}

void family_gather(pid_t root, struct family *family)
{
    _cleanup_(freep) struct process_stat *list = calloc(FAMILY_PROCESSES_MAX, sizeof(*list));
    struct process_stat parent;
    if (!list || root <= 0 || !process_read_stat(root, &parent))
        return;
    size_t count = list_processes(list);
    add_children(list, count, &parent, family);
    for (size_t i = 0; i < family->count; i++) {
        if (process_read_stat(family->members[i].pid, &parent) &&
            parent.start_ticks == family->members[i].start_ticks)
            add_children(list, count, &parent, family);
    }
}

/* The descriptor is of whoever has the id now; if the start is the one we know, it is he. */
static bool signal_member(const struct family_member *member, int signal)
{
    struct process_stat now;
    _cleanup_(closep) int fd = pidfd_open(member->pid, 0);
    if (fd < 0 || !process_read_stat(member->pid, &now) || now.start_ticks != member->start_ticks ||
        now.state == 'Z' || now.state == 'X')
        return false;
    if (signal)
        pidfd_send_signal(fd, signal, NULL, 0);
    return true;
}

size_t family_signal(const struct family *family, int signal)
{
    size_t count = 0;
    for (size_t i = 0; i < family->count; i++)
        count += signal_member(&family->members[i], signal);
    return count;
}
