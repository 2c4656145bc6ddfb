/*
 * The one way to start a child process: an argv vector (no shell), its own environment additions,
 * pipes where asked for, its own process group, every other descriptor closed on exec.
 *
 *     struct child child;
 *     struct child_spec spec = {.argv = argv.items, .env = env.items, .output = CHILD_PIPE};
 *     child_start(&spec, &child, err);
 *     ... read child.output_fd ...
 *     child_wait(&child, timeout_us, &status, err);   reaps, closes the pipes
 *     child_clear(&child);                            ends all of it if it still runs, reaps
 *
 * What the child writes on stderr is kept (the last CHILD_STDERR_MAX bytes) by a thread of the
 * own and is at hand after child_wait() in child.stderr_text. Secrets go into env, never
 * into argv. A struct child belongs to one thread.
 */
#ifndef PGCAIRN_BASE_CHILD_H
#define PGCAIRN_BASE_CHILD_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/instant.h"

enum { CHILD_STDERR_MAX = 16 << 10, CHILD_KILL_GRACE_US = 5000000 };

enum child_stream {
    CHILD_NULL,    /* /dev/null */
    CHILD_PIPE,    /* a pipe to us */
    CHILD_INHERIT, /* ours */
    CHILD_STDERR,  /* of output: where our stderr goes */
};

struct child_spec {
    const char *const *argv; /* argv[0] is the program: a path, or a name found on PATH */
    const char *const *env;  /* NULL or "NAME=VALUE" and "NAME" (unset), over our environment */
    enum child_stream input, output;
    bool inherit_stderr; /* else it is kept in stderr_text */
    bool pipe_stderr;    /* or a pipe to us: child.stderr_fd, and nothing is kept */
    bool outlives_us;    /* else the kernel ends it when the thread that started it is gone */
    bool in_our_group;   /* a person's program: reads our terminal and gets its signals */
};

struct child {
    pid_t pid;               /* 0 when none runs */
    bool in_our_group;       /* signals go to the process alone then */
    int input_fd, output_fd; /* -1 unless piped; ours to close */
    int stderr_fd;
    bool has_reader;
    atomic_bool reader_ends; /* told to the reader when the child was reaped */
    int ended_by;            /* the signal that ended it; 0: it ended by itself, or runs */
    pthread_t stderr_reader;
    char stderr_text[CHILD_STDERR_MAX + 1];
    size_t stderr_length;
};

struct child_status {
    bool exited;
    int exit_status; /* valid when exited */
    int signal;      /* valid when not */
};

/* Whether the program is there, before work is done for it; ERR_NOT_FOUND. */
int child_check_program(const char *name, struct error *err);

int child_start(const struct child_spec *spec, struct child *ret_child, struct error *err);

/* Waits for the end; timeout_us < 0 waits for ever, over it is ERR_TIMEOUT and the child still
 * runs. An exit status other than 0 is no error here: look at ret_status. */
int child_wait(struct child *child, int64_t timeout_us, struct child_status *ret_status,
               struct error *err);

/* Non-blocking: ret_ended tells whether it has ended (and was reaped). */
int child_poll(struct child *child, bool *ret_ended, struct child_status *ret_status,
               struct error *err);

/* Sends a signal to the child's whole process group; SIGKILL to all that descends from it too. */
void child_signal(struct child *child, int signal);

/* And to all that descends from it, in whatever group: for a program that won't do so itself. */
void child_signal_all(struct child *child, int signal);

/* SIGTERM to the group, SIGKILL after the grace, reaped; then the same for those of its descendants
 * that had left the group. Does nothing when none runs. */
void child_clear(struct child *child);

/* Runs to the end with output gathered in `output` (its limit holds; NULL discards it). An exit
 * status other than 0 is ERR_CHILD with the last line of its stderr as the reason. */
int child_run(const struct child_spec *spec, struct buf *output, struct error *err);

/* The error for a child that ended badly: "NAME failed (exit status 1): last lines of its stderr".
 */
int child_error(const struct child *child, const char *name, const struct child_status *status,
                struct error *err);

#endif
