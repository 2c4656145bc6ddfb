#include "work/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/child.h"
#include "base/json.h"
#include "base/units.h"
#include "base/utf8.h"

enum {
    ENVIRONMENT_MAX = 10000,
    STEP_MS = 50,         /* how soon a signal or the end of the time is seen */
    CLOSED_STEP_MS = 2,   /* once it has closed its output, its end is near */
    LEFT_READS_MAX = 100, /* of what was written before the end */
    LAST_SHOWN = 300,
};

extern char **environ;

/* Of the environment: what a program needs to find its way, and our own folders. Everything else
 * may be a secret of the policy's, by whatever name. */
static const char *const PASSED_ON[] = {
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "TZ",
    "TMPDIR",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "LC_MESSAGES",
    "LC_TIME",
    "TERM",
    "PGCAIRN_POLICY",
    "STATE_DIRECTORY",
    "RUNTIME_DIRECTORY",
};

struct stream {
    char line[HOOK_LINE_MAX];
    size_t length;
};

/* One program that runs. */
struct hook {
    struct hooks *hooks;
    enum hook_phase phase;
    const struct strv *words;
    int64_t timeout_us, started_us; /* monotonic */
    bool was_stopped;               /* before it began */
    struct child child;
    const char *input;
    size_t input_length;
    struct stream streams[2]; /* stdout, stderr */
    size_t written;
    char last[LAST_SHOWN]; /* line */
};

/* -- output -------------------------------------------------------------------------------- */

static void tell(const struct hook *hook, const char *text)
{
    char line[HOOK_LINE_MAX + 400];
    snprintf(line, sizeof(line), "hook %s, %.300s: %s", hook_phase_name(hook->phase),
             hook->words->items[0], text);
    hook->hooks->line(line, hook->hooks->context);
}

static void end_line(struct hook *hook, struct stream *stream)
{
    stream->line[stream->length] = '\0';
    stream->length = 0;
    utf8_mend(stream->line);
    for (char *c = stream->line; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = *c == '\t' ? ' ' : '?';
    if (!stream->line[0])
        return;
    snprintf(hook->last, sizeof(hook->last), "%.*s", LAST_SHOWN - 1, stream->line);
    tell(hook, stream->line);
}

static void take_output(struct hook *hook, struct stream *stream, const char *data, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (hook->written > HOOK_OUTPUT_MAX)
            return;
        if (++hook->written > HOOK_OUTPUT_MAX) {
            end_line(hook, stream);
            tell(hook, "it says too much: the rest is left out");
            return;
        }
        if (data[i] == '\n' || stream->length == sizeof(stream->line) - 1)
            end_line(hook, stream);
        if (data[i] != '\n' && data[i] != '\0' && data[i] != '\r')
            stream->line[stream->length++] = data[i];
    }
}

static void close_descriptor(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Whether there may be more at once. */
static bool read_some(struct hook *hook, int *fd, struct stream *stream)
{
    char chunk[4096];
    if (*fd < 0)
        return false;
    ssize_t n = read(*fd, chunk, sizeof(chunk));
    if (n > 0)
        take_output(hook, stream, chunk, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        close_descriptor(fd);
    return n > 0;
}

/* Nobody has to read it: a closed pipe is no error. */
static void write_some(struct hook *hook)
{
    int *fd = &hook->child.input_fd;
    ssize_t n = hook->input_length > 0 ? write(*fd, hook->input, hook->input_length) : 0;
    if (n > 0) {
        hook->input += n;
        hook->input_length -= (size_t)n;
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        hook->input_length = 0;
    }
    if (hook->input_length == 0)
        close_descriptor(fd);
}

static void exchange(struct hook *hook)
{
    struct child *child = &hook->child;
    struct pollfd fds[] = {{.fd = child->input_fd, .events = POLLOUT},
                           {.fd = child->output_fd, .events = POLLIN},
                           {.fd = child->stderr_fd, .events = POLLIN}};
    bool is_closed = child->output_fd < 0 && child->stderr_fd < 0;
    if (poll(fds, ARRAY_SIZE(fds), is_closed ? CLOSED_STEP_MS : STEP_MS) <= 0)
        return;
    if (fds[0].revents)
        write_some(hook);
    if (fds[1].revents)
        read_some(hook, &child->output_fd, &hook->streams[0]);
    if (fds[2].revents)
        read_some(hook, &child->stderr_fd, &hook->streams[1]);
}

/* -- its end ------------------------------------------------------------------------------- */

static bool is_signalled(struct error *err)
{
    struct error reason = ERROR_NONE;
    if (!work_interrupted(&reason) || reason.code != ERR_INTERRUPTED)
        return false;
    if (err)
        *err = reason;
    return true;
}

/* What ends the work ends what comes before it; at the end only a signal counts. */
static bool shall_stop(const struct hook *hook, struct error *err)
{
    if (hook->phase == HOOK_BEFORE)
        return work_interrupted(err);
    return !hook->was_stopped && is_signalled(err);
}

static bool has_ended(const struct hook *hook)
{
    siginfo_t info = {.si_pid = 0};
    return waitid(P_PID, (id_t)hook->child.pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid != 0;
}

/* It is not reaped before its group is gone, so that the group's number is nobody else's. */
static void end_group(struct hook *hook)
{
    int64_t until_us = instant_monotonic_us() + HOOK_KILL_GRACE_US;
    if (!has_ended(hook))
        child_signal(&hook->child, SIGTERM);
    while (!has_ended(hook) && instant_monotonic_us() < until_us)
        exchange(hook);
    child_signal(&hook->child, SIGKILL);
    for (int i = 0; i < LEFT_READS_MAX; i++) {
        bool more = read_some(hook, &hook->child.output_fd, &hook->streams[0]);
        if (!read_some(hook, &hook->child.stderr_fd, &hook->streams[1]) && !more)
            break;
    }
    for (size_t i = 0; i < ARRAY_SIZE(hook->streams); i++)
        if (hook->streams[i].length > 0)
            end_line(hook, &hook->streams[i]);
}

static int attend(struct hook *hook, struct child_status *ret_status, struct error *err)
{
    char text[UNITS_TEXT_MAX];
    struct error reason = ERROR_NONE;
    while (!has_ended(hook)) {
        if (shall_stop(hook, &reason))
            break;
        if (instant_monotonic_us() - hook->started_us >= hook->timeout_us) {
            error_set(&reason, ERR_TIMEOUT, "it did not end within %s and was ended",
                      duration_format(hook->timeout_us, text));
            error_hint(&reason, "raise timeout: of hooks, or find out what was slow");
            break;
        }
        exchange(hook);
    }
    end_group(hook);
    int rc = child_wait(&hook->child, -1, ret_status, err);
    if (!rc && reason.code) {
        *err = reason;
        return reason.code;
    }
    return rc;
}

static int judge(const struct hook *hook, const struct child_status *status, struct error *err)
{
    const char *between = hook->last[0] ? ": " : "";
    if (status->exited && status->exit_status == 0)
        return 0;
    if (status->exited)
        error_set(err, ERR_CHILD, "exit status %d%s%s", status->exit_status, between, hook->last);
    else
        error_set(err, ERR_CHILD, "ended by signal %d%s%s", status->signal, between, hook->last);
    return error_hint(err, "its output is in the run's log: pgcairn log %s",
                      hook->hooks->run->run_id);
}

/* -- its beginning ------------------------------------------------------------------------- */

static bool is_passed_on(const char *name, size_t length)
{
    for (size_t i = 0; i < ARRAY_SIZE(PASSED_ON); i++)
        if (strlen(PASSED_ON[i]) == length && memcmp(PASSED_ON[i], name, length) == 0)
            return true;
    return false;
}

static int make_environment(const struct hook *hook, struct strv *env, struct error *err)
{
    const struct journal_run *run = hook->hooks->run;
    int rc = 0;
    for (size_t i = 0; environ && environ[i] && !rc; i++) {
        size_t length = strcspn(environ[i], "=");
        if (!is_passed_on(environ[i], length))
            rc = strv_addf(env, err, "%.*s", (int)length, environ[i]); /* without */
    }
    if (!rc)
        rc = strv_addf(env, err, "PGCAIRN_CLUSTER=%s", run->cluster);
    if (!rc)
        rc = strv_addf(env, err, "PGCAIRN_JOB=%s", run->job);
    if (!rc)
        rc = strv_addf(env, err, "PGCAIRN_RUN_ID=%s", run->run_id);
    if (!rc)
        rc = strv_addf(env, err, "PGCAIRN_PHASE=%s", hook_phase_name(hook->phase));
    if (!rc)
        rc = strv_addf(env, err, "PGCAIRN_OUTCOME=%s", journal_outcome_name(run->outcome));
    return rc;
}

static int make_document(const struct hook *hook, char **ret_text, struct error *err)
{
    struct hooks *hooks = hook->hooks;
    _cleanup_(json_release) json_t *document = hooks->document(hooks->context);
    if (!document ||
        json_object_set_new(document, "phase", json_string(hook_phase_name(hook->phase))))
        return error_no_memory(err);
    return json_to_text(document, ret_text, err);
}

/* After a signal all that follows shares a short time. */
static int limit_time(struct hook *hook, struct error *err)
{
    struct hooks *hooks = hook->hooks;
    hook->timeout_us = hooks->policy->timeout_us;
    hook->started_us = instant_monotonic_us();
    hook->was_stopped = hook->phase != HOOK_BEFORE && is_signalled(NULL);
    if (!hook->was_stopped)
        return 0;
    if (!hooks->stopped_until_us)
        hooks->stopped_until_us = hook->started_us + HOOK_STOPPED_US;
    int64_t left_us = hooks->stopped_until_us - hook->started_us;
    if (left_us <= 0)
        return error_set(err, ERR_INTERRUPTED, "not begun: the run was stopped by a signal");
    if (left_us < hook->timeout_us)
        hook->timeout_us = left_us;
    return 0;
}

static int start_and_attend(struct hook *hook, struct child_status *ret_status, struct error *err)
{
    _cleanup_(strv_clear) struct strv env = STRV_INIT(ENVIRONMENT_MAX);
    _cleanup_(freep) char *text = NULL;
    int rc = limit_time(hook, err);
    if (!rc)
        rc = make_environment(hook, &env, err);
    if (!rc)
        rc = make_document(hook, &text, err);
    if (rc)
        return rc;
    struct child_spec spec = {.argv = (const char *const *)hook->words->items,
                              .env = (const char *const *)env.items,
                              .input = CHILD_PIPE,
                              .output = CHILD_PIPE,
                              .pipe_stderr = true};
    rc = child_start(&spec, &hook->child, err);
    if (rc)
        return rc;
    hook->input = text;
    hook->input_length = strlen(text);
    fcntl(hook->child.input_fd, F_SETFL, O_NONBLOCK);
    fcntl(hook->child.output_fd, F_SETFL, O_NONBLOCK);
    fcntl(hook->child.stderr_fd, F_SETFL, O_NONBLOCK);
    return attend(hook, ret_status, err);
}

static void record(const struct hook *hook, const struct child_status *status,
                   const struct error *reason)
{
    struct hooks *hooks = hook->hooks;
    int64_t took_us = instant_monotonic_us() - hook->started_us;
    json_t *error = reason->code ? json_string(reason->message) : NULL;
    json_t *program = json_string(hook->words->items[0]);
    if (!hooks->records)
        hooks->records = json_array();
    json_array_append_new(
        hooks->records,
        json_pack("{s:s, s:o, s:o, s:f, s:o*}", "phase", hook_phase_name(hook->phase), "program",
                  program ? program : json_string("(not UTF-8)"), "exit_status",
                  status->exited ? json_integer(status->exit_status) : json_null(), "seconds",
                  (double)(took_us / 1000) / 1000, "error", error));
}

/* 0 also when it skips the run. */
static int run_program(struct hooks *hooks, enum hook_phase phase, const struct strv *words,
                       bool *ret_skips, struct error *err)
{
    struct hook hook = {.hooks = hooks, .phase = phase, .words = words};
    struct child_status status = {.exited = false};
    struct error reason = ERROR_NONE;
    char doing[64];
    snprintf(doing, sizeof(doing), "running hooks: %s", hook_phase_name(phase));
    hooks->progress(doing, 0, 0, hooks->context);
    int rc = start_and_attend(&hook, &status, &reason);
    bool skips = !rc && phase == HOOK_BEFORE && status.exited && status.exit_status == HOOK_SKIPS;
    if (!rc && !skips)
        rc = judge(&hook, &status, &reason);
    record(&hook, &status, &reason);
    if (rc)
        *err = reason;
    else
        *ret_skips = skips;
    return rc;
}

int hooks_before(struct hooks *hooks, char *why, size_t size, bool *ret_skips, struct error *err)
{
    const struct policy_hook_list *list = &hooks->policy->phases[HOOK_BEFORE];
    struct error reason = ERROR_NONE;
    for (size_t i = 0; i < list->count; i++) {
        const char *program = list->programs[i].items[0];
        if (work_interrupted(&reason)) {
            if (err)
                *err = reason;
            return reason.code;
        }
        int rc = run_program(hooks, HOOK_BEFORE, &list->programs[i], ret_skips, &reason);
        if (rc) {
            /* What ends the run is said as it is where no program runs. */
            if (!work_interrupted(NULL))
                error_prefix(&reason, "the hook before it, %.300s", program);
            if (err)
                *err = reason;
            return rc;
        }
        if (*ret_skips) {
            snprintf(why, size, "the hook before it, %.300s, says to skip it (exit status %d)",
                     program, HOOK_SKIPS);
            return 0;
        }
    }
    return 0;
}

void hooks_after(struct hooks *hooks, enum hook_phase phase)
{
    const struct policy_hook_list *list = &hooks->policy->phases[phase];
    for (size_t i = 0; i < list->count; i++) {
        struct error reason = ERROR_NONE;
        char text[ERROR_MESSAGE_MAX + 400];
        bool skips = false;
        if (run_program(hooks, phase, &list->programs[i], &skips, &reason) == 0)
            continue;
        snprintf(text, sizeof(text), "warning: hook %s, %.300s: %s", hook_phase_name(phase),
                 list->programs[i].items[0], reason.message);
        hooks->warn(text, hooks->context);
    }
}
