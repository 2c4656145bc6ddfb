#include "base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/family.h"
#include "base/strv.h"

enum { ENVIRONMENT_MAX = 10000, POLL_STEP_US = 10000, READER_STEP_MS = 1000 };

extern char **environ;

static bool names_same_variable(const char *a, const char *b)
{
    size_t length = strcspn(a, "=");
    return length == strcspn(b, "=") && memcmp(a, b, length) == 0;
}

static bool is_overridden(const char *variable, const char *const *env)
{
    for (size_t i = 0; env && env[i]; i++)
        if (names_same_variable(variable, env[i]))
            return true;
    return false;
}

/* Built before fork: the child of a threaded process may not allocate. */
static int build_environment(const char *const *env, struct strv *ret_list, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; environ && environ[i] && !rc; i++)
        if (!is_overridden(environ[i], env))
            rc = strv_add(ret_list, environ[i], err);
    for (size_t i = 0; env && env[i] && !rc; i++)
        if (strchr(env[i], '='))
            rc = strv_add(ret_list, env[i], err);
    return rc;
}

/* The path of a program, searched on PATH when it has no slash. The caller frees. */
static int find_program(const char *name, char **ret_path, struct error *err)
{
    if (strchr(name, '/')) {
        *ret_path = strdup(name);
        return *ret_path ? 0 : error_no_memory(err);
    }
    const char *path = getenv("PATH");
    if (!path)
        path = "/usr/local/bin:/usr/bin:/bin";
    while (*path) {
        size_t length = strcspn(path, ":");
        char *candidate = NULL;
        if (asprintf(&candidate, "%.*s/%s", (int)length, path, name) < 0)
            return error_no_memory(err);
        struct stat st;
        if (access(candidate, X_OK) == 0 && stat(candidate, &st) == 0 && S_ISREG(st.st_mode)) {
            *ret_path = candidate;
            return 0;
        }
        free(candidate);
        path += length + (path[length] == ':');
    }
    error_set(err, ERR_NOT_FOUND, "program \"%s\" is not on the PATH", name);
    error_hint(err, "check its name; install it, or give its whole path");
    return ERR_NOT_FOUND;
}

int child_check_program(const char *name, struct error *err)
{
    _cleanup_(freep) char *path = NULL;
    int rc = find_program(name, &path, err);
    if (!rc && access(path, X_OK) != 0)
        return error_set_errno(err, errno, "could not run \"%s\"", path);
    return rc;
}

struct pipes {
    int input[2], output[2], errors[2], failure[2]; /* failure carries errno of a failed exec */
};

static void close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0)
            close(pair[i]);
        pair[i] = -1;
    }
}

static void close_pipes(struct pipes *pipes)
{
    close_pair(pipes->input);
    close_pair(pipes->output);
    close_pair(pipes->errors);
    close_pair(pipes->failure);
}

/* A pipe whose ends are no standard streams, even where ours are closed: setting up the child's
 * would overwrite them. */
static int open_pipe(int ret_pair[2])
{
    int low[2], rc = 0;
    if (pipe2(low, O_CLOEXEC) != 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        ret_pair[i] =
            low[i] > STDERR_FILENO ? low[i] : fcntl(low[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        rc = ret_pair[i] < 0 ? -1 : rc;
    }
    for (int i = 0; i < 2; i++)
        if (low[i] != ret_pair[i])
            close(low[i]);
    return rc;
}

static int open_pipes(const struct child_spec *spec, struct pipes *pipes, struct error *err)
{
    *pipes = (struct pipes){{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};
    if ((spec->input == CHILD_PIPE && open_pipe(pipes->input) != 0) ||
        (spec->output == CHILD_PIPE && open_pipe(pipes->output) != 0) ||
        (!spec->inherit_stderr && open_pipe(pipes->errors) != 0) ||
        open_pipe(pipes->failure) != 0) {
        int saved_errno = errno;
        close_pipes(pipes);
        return error_set_errno(err, saved_errno, "could not open a pipe");
    }
    return 0;
}

/* Between fork and exec: only async-signal-safe calls. */
static bool connect_stream(enum child_stream kind, int pipe_end, int target, int open_flags)
{
    if (kind == CHILD_INHERIT)
        return true;
    if (kind == CHILD_STDERR)
        return dup2(STDERR_FILENO, target) >= 0;
    if (kind == CHILD_PIPE)
        return dup2(pipe_end, target) >= 0;
    int fd = open("/dev/null", open_flags | O_CLOEXEC);
    if (fd == target) /* ours was closed, and dup2() would do nothing */
        return fcntl(fd, F_SETFD, 0) == 0;
    return fd >= 0 && dup2(fd, target) >= 0;
}

static _Noreturn void run_in_child(const struct child_spec *spec, const struct pipes *pipes,
                                   const char *path, char **environment)
{
    if (!spec->in_our_group)
        setpgid(0, 0);
    if (!spec->outlives_us)
        prctl(PR_SET_PDEATHSIG, SIGTERM);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (connect_stream(spec->input, pipes->input[0], STDIN_FILENO, O_RDONLY) &&
        connect_stream(spec->output, pipes->output[1], STDOUT_FILENO, O_WRONLY) &&
        connect_stream(spec->inherit_stderr ? CHILD_INHERIT : CHILD_PIPE, pipes->errors[1],
                       STDERR_FILENO, O_WRONLY)) {
        /* What we were started with, or a library opened; an old kernel that can't is no error. */
        close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
        union {
            const char *const *in;
            char **out;
        } argv = {.in = spec->argv}; /* execve's argv is not const for historical reasons only */
        execve(path, argv.out, environment);
    }
    int saved_errno = errno;
    ssize_t written = write(pipes->failure[1], &saved_errno, sizeof(saved_errno));
    (void)written;
    _exit(127);
}

/* False when the child has ended and all that it wrote was read, whoever else holds its stderr. */
static bool await_stderr(struct child *child)
{
    struct pollfd stream = {.fd = child->stderr_fd, .events = POLLIN};
    bool ends;
    int ready;
    do {
        ends = atomic_load(&child->reader_ends);
        ready = poll(&stream, 1, ends ? 0 : READER_STEP_MS);
    } while ((ready == 0 && !ends) || (ready < 0 && errno == EINTR));
    return ready != 0;
}

static void *read_stderr(void *argument)
{
    struct child *child = argument;
    char chunk[4096];
    ssize_t n;
    while (await_stderr(child) && (n = read(child->stderr_fd, chunk, sizeof(chunk))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        size_t length = (size_t)n;
        size_t room = CHILD_STDERR_MAX - child->stderr_length;
        if (length > room) { /* keep the newest */
            size_t drop = length - room;
            memmove(child->stderr_text, child->stderr_text + drop, child->stderr_length - drop);
            child->stderr_length -= drop;
        }
        memcpy(child->stderr_text + child->stderr_length, chunk, length);
        child->stderr_length += length;
        child->stderr_text[child->stderr_length] = '\0';
    }
    return NULL;
}

/* Waits until exec has happened or failed; returns the errno of a failed exec, or 0. */
static int await_exec(int failure_fd)
{
    int child_errno = 0;
    ssize_t n;
    do
        n = read(failure_fd, &child_errno, sizeof(child_errno));
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(child_errno) ? child_errno : 0;
}

static int take_descriptor(int *end)
{
    int fd = *end;
    *end = -1;
    return fd;
}

static int start_with_pipes(const struct child_spec *spec, struct pipes *pipes, const char *path,
                            char **environment, struct child *child, struct error *err)
{
    pid_t pid = family_fork();
    if (pid == 0)
        run_in_child(spec, pipes, path, environment);
    if (pid < 0)
        return error_set_errno(err, errno, "could not start \"%s\"", path);
    if (!spec->in_our_group)
        setpgid(pid, pid); /* also here, so that it holds before our first signal */
    close(take_descriptor(&pipes->failure[1]));
    int child_errno = await_exec(pipes->failure[0]);
    if (child_errno) {
        family_wait(pid, NULL, 0);
        return error_set_errno(err, child_errno, "could not run \"%s\"", path);
    }
    *child = (struct child){.pid = pid,
                            .in_our_group = spec->in_our_group,
                            .input_fd = take_descriptor(&pipes->input[1]),
                            .output_fd = take_descriptor(&pipes->output[0]),
                            .stderr_fd = take_descriptor(&pipes->errors[0])};
    return 0;
}

int child_start(const struct child_spec *spec, struct child *ret_child, struct error *err)
{
    *ret_child = (struct child){.input_fd = -1, .output_fd = -1, .stderr_fd = -1};
    _cleanup_(strv_clear) struct strv environment = STRV_INIT(ENVIRONMENT_MAX);
    _cleanup_(freep) char *path = NULL;
    struct pipes pipes;
    int rc = build_environment(spec->env, &environment, err);
    if (!rc)
        rc = find_program(spec->argv[0], &path, err);
    if (!rc)
        rc = open_pipes(spec, &pipes, err);
    if (rc)
        return rc;
    rc = start_with_pipes(spec, &pipes, path, environment.items, ret_child, err);
    close_pipes(&pipes);
    if (rc || ret_child->stderr_fd < 0 || spec->pipe_stderr)
        return rc;
    int failure = pthread_create(&ret_child->stderr_reader, NULL, read_stderr, ret_child);
    ret_child->has_reader = failure == 0;
    if (failure) {
        child_clear(ret_child);
        return error_set_errno(err, failure, "could not start a thread");
    }
    return 0;
}

static void close_descriptor(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* After the child was reaped: a grandchild may still hold stderr open, so its group is ended first.
 * One that has left the group is not waited for. */
static void finish(struct child *child)
{
    close_descriptor(&child->input_fd);
    close_descriptor(&child->output_fd);
    if (child->has_reader) {
        if (!child->in_our_group)
            kill(-child->pid, SIGKILL);
        atomic_store(&child->reader_ends, true);
        pthread_join(child->stderr_reader, NULL);
    }
    child->has_reader = false;
    close_descriptor(&child->stderr_fd);
    child->pid = 0;
}

int child_poll(struct child *child, bool *ret_ended, struct child_status *ret_status,
               struct error *err)
{
    int status;
    pid_t pid;
    do
        pid = family_wait(child->pid, &status, WNOHANG);
    while (pid < 0 && errno == EINTR);
    if (pid < 0)
        return error_set_errno(err, errno, "could not wait for process %d", (int)child->pid);
    *ret_ended = pid > 0;
    if (pid > 0) {
        *ret_status = (struct child_status){
            .exited = WIFEXITED(status),
            .exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 0,
            .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
        };
        child->ended_by = ret_status->signal;
        finish(child);
    }
    return 0;
}

int child_wait(struct child *child, int64_t timeout_us, struct child_status *ret_status,
               struct error *err)
{
    int64_t deadline_us = instant_monotonic_us() + timeout_us;
    useconds_t step_us = 500;
    for (;;) {
        bool ended = false;
        int rc = child_poll(child, &ended, ret_status, err);
        if (rc || ended)
            return rc;
        if (timeout_us >= 0 && instant_monotonic_us() >= deadline_us)
            return error_set(err, ERR_TIMEOUT, "process %d did not end in time", (int)child->pid);
        usleep(step_us);
        if (step_us < POLL_STEP_US)
            step_us *= 2;
    }
}

void child_signal(struct child *child, int signal)
{
    if (child->pid <= 0)
        return;
    if (signal == SIGKILL) /* what is killed can't end what it started itself */
        child_signal_all(child, signal);
    else
        kill(child->in_our_group ? child->pid : -child->pid, signal);
}

void child_signal_all(struct child *child, int signal)
{
    struct family family = {.count = 0};
    if (child->pid <= 0)
        return;
    family_gather(child->pid, &family);
    kill(child->in_our_group ? child->pid : -child->pid, signal);
    family_signal(&family, signal);
}

/* What the child left behind, in groups of its own, after it was told to end. */
static void end_family(const struct family *family)
{
    int64_t deadline_us = instant_monotonic_us() + CHILD_KILL_GRACE_US;
    if (family_signal(family, SIGTERM) == 0)
        return;
    while (family_signal(family, 0) > 0 && instant_monotonic_us() < deadline_us)
        usleep(POLL_STEP_US);
    family_signal(family, SIGKILL);
}

void child_clear(struct child *child)
{
    if (child->pid <= 0)
        return;
    struct child_status status;
    struct family family = {.count = 0};
    close_descriptor(&child->input_fd);
    close_descriptor(&child->output_fd);
    family_gather(child->pid, &family);
    child_signal(child, SIGTERM);
    if (child_wait(child, CHILD_KILL_GRACE_US, &status, NULL) == ERR_TIMEOUT) {
        child_signal(child, SIGKILL);
        child_wait(child, -1, &status, NULL);
    }
    end_family(&family);
}

int child_error(const struct child *child, const char *name, const struct child_status *status,
                struct error *err)
{
    const char *text = child->stderr_text;
    size_t length = child->stderr_length;
    while (length > 0 && strchr("\n\r ", text[length - 1]))
        length--;
    size_t shown = length > ERROR_MESSAGE_MAX / 2 ? ERROR_MESSAGE_MAX / 2 : length;
    const char *from = text + (length - shown);
    char reason[ERROR_MESSAGE_MAX / 2 + 1];
    for (size_t i = 0; i < shown; i++)
        reason[i] = from[i] == '\n' ? ' ' : from[i];
    reason[shown] = '\0';
    if (status->exited)
        return error_set(err, ERR_CHILD, "%s failed (exit status %d): %s", name,
                         status->exit_status, reason);
    return error_set(err, ERR_CHILD, "%s was ended by signal %d: %s", name, status->signal, reason);
}

static int gather_output(struct child *child, const char *name, struct buf *output,
                         struct error *err)
{
    char chunk[16 << 10];
    for (;;) {
        ssize_t n = read(child->output_fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, errno, "could not read from %s", name);
        if (n == 0)
            return 0;
        if (buf_add(output, chunk, (size_t)n))
            return buf_failed(output, name, err);
    }
}

int child_run(const struct child_spec *spec, struct buf *output, struct error *err)
{
    struct child_spec own = *spec;
    own.output = output ? CHILD_PIPE : CHILD_NULL;
    _cleanup_(child_clear) struct child child;
    struct child_status status;
    int rc = child_start(&own, &child, err);
    if (!rc && output)
        rc = gather_output(&child, spec->argv[0], output, err);
    if (!rc)
        rc = child_wait(&child, -1, &status, err);
    if (!rc && (!status.exited || status.exit_status != 0))
        rc = child_error(&child, spec->argv[0], &status, err);
    return rc;
}
