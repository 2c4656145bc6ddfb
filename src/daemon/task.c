#include "daemon/task.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>

#include "base/crc32c.h"
#include "base/file.h"
#include "daemon/say.h"

/* This very program, also when its file was replaced by a newer version since. */
static const char SELF[] = "/proc/self/exe";

enum { ARGUMENTS_MAX = 20, PIPE_BYTES = 64 << 10 };

int64_t boot_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * US_PER_SECOND + now.tv_nsec / 1000;
}

struct task *task_free(struct task *task)
{
    if (!task)
        return NULL;
    roster_policy_leave(task->policy);
    buf_clear(&task->output);
    free(task->groups);
    zone_free(task->zone);
    free(task);
    return NULL;
}

static int new_task(struct roster_policy *policy, struct task **ret_task, struct error *err)
{
    struct task *task = calloc(1, sizeof(*task));
    if (!task)
        return error_no_memory(err);
    task->policy = policy ? roster_policy_use(policy) : NULL;
    task->due_us = INSTANT_NONE;
    task->attempt = 1;
    task->terminate_us = task->kill_us = INT64_MAX;
    task->child = (struct child){.input_fd = -1, .output_fd = -1, .stderr_fd = -1};
    task->output = BUF_INIT(TASK_OUTPUT_MAX);
    *ret_task = task;
    return 0;
}

/* -- groups -------------------------------------------------------------------------------- */

/* Work that loads the server or changes what another may read: one at a time per cluster. */
static bool is_heavy(enum job_type type)
{
    return type == JOB_DUMP || type == JOB_SNAPSHOT || type == JOB_VACUUM || type == JOB_PRUNE;
}

static void join(struct task *task, int limit, const char *name, const char *suffix)
{
    struct task_group *group = &task->groups[task->group_count++];
    snprintf(group->name, sizeof(group->name), "%s%s", name, suffix);
    group->mark = crc32c_add(0, group->name, strlen(group->name));
    group->limit = limit;
}

static int limit_of(const struct policy *policy, const char *name)
{
    for (size_t i = 0; i < policy->group_count; i++)
        if (strcmp(policy->groups[i].name, name) == 0)
            return policy->groups[i].limit;
    return 1;
}

/* No name of a user's holds a slash, so ours never meet theirs. */
int task_join(struct task *task, const struct roster_job *job, struct error *err)
{
    enum { OWN_GROUPS = 4 };
    size_t named = job ? job->job->groups.count : 0;
    task->group_count = 0;
    free(task->groups);
    task->groups = calloc(named + OWN_GROUPS, sizeof(*task->groups));
    if (!task->groups)
        return error_no_memory(err);
    join(task, 1, task->identity, "");
    if (is_heavy(task->type))
        join(task, 1, task->cluster, "//heavy");
    if (task->type != JOB_WAL) {
        join(task, 0, TASK_GROUP_ALL, "");
        if (job && job->owner->policy->max_running > 0)
            join(task, job->owner->policy->max_running, task->cluster, "//all");
    }
    for (size_t i = 0; i < named; i++) {
        const char *name = job->job->groups.items[i];
        join(task, limit_of(job->owner->policy, name), name, "");
    }
    return 0;
}

static int hold_windows(struct task *task, const struct deny *deny, const char *timezone,
                        struct error *err)
{
    task->deny = *deny;
    return deny->count > 0 ? zone_load(timezone, &task->zone, err) : 0;
}

int task_new_run(const struct roster_job *job, int64_t due_us, int attempt, struct task **ret_task,
                 struct error *err)
{
    struct task *task = NULL;
    int rc = new_task(job->owner, &task, err);
    if (rc)
        return rc;
    snprintf(task->cluster, sizeof(task->cluster), "%s", job->owner->policy->cluster);
    snprintf(task->job, sizeof(task->job), "%s", job->job->name);
    snprintf(task->identity, sizeof(task->identity), "%s", job->identity);
    task->type = job->job->type;
    task->on_missed = job->job->on_missed;
    task->retries = job->job->retries;
    task->timeout_us = job->job->timeout_us;
    task->hooks_us = policy_hooks_longest_us(&job->job->hooks);
    task->due_us = due_us;
    task->attempt = attempt;
    task->deadline_us = job->job->deadline_us;
    rc = task_join(task, job, err);
    if (!rc)
        rc = hold_windows(task, &job->job->deny, job->job->timezone, err);
    if (rc) {
        task_free(task);
        return rc;
    }
    *ret_task = task;
    return 0;
}

int task_new_lookup(struct roster_policy *policy, struct task **ret_task, struct error *err)
{
    struct task *task = NULL;
    int rc = new_task(policy, &task, err);
    if (rc)
        return rc;
    task->is_lookup = true;
    task->timeout_us = US_PER_MINUTE;
    snprintf(task->cluster, sizeof(task->cluster), "%s", policy->policy->cluster);
    snprintf(task->identity, sizeof(task->identity), "%s", policy->policy->cluster);
    *ret_task = task;
    return 0;
}

int task_new_gatherer(struct roster_policy *policy, const char *part, struct task **ret_task,
                      struct error *err)
{
    struct task *task = NULL;
    int rc = task_new_lookup(policy, &task, err);
    if (rc)
        return rc;
    task->gathers = part;
    task->timeout_us = TASK_GATHER_US;
    *ret_task = task;
    return 0;
}

int task_new_receiver(struct roster_policy *policy, struct task **ret_task, struct error *err)
{
    struct task *task = NULL;
    int rc = new_task(policy, &task, err);
    if (rc)
        return rc;
    task->is_receiver = true;
    snprintf(task->cluster, sizeof(task->cluster), "%s", policy->policy->cluster);
    snprintf(task->identity, sizeof(task->identity), "%s/wal receive", policy->policy->cluster);
    *ret_task = task;
    return 0;
}

int task_new_notifier(struct roster_policy *policy, struct task **ret_task, struct error *err)
{
    struct task *task = NULL;
    int rc = new_task(policy, &task, err);
    if (rc)
        return rc;
    task->is_notifier = true;
    task->timeout_us = TASK_NOTIFY_US;
    snprintf(task->cluster, sizeof(task->cluster), "%s", policy->policy->cluster);
    snprintf(task->identity, sizeof(task->identity), "%s/notify", policy->policy->cluster);
    *ret_task = task;
    return 0;
}

int task_new_adopted(const struct journal_run *run, struct task **ret_task, struct error *err)
{
    struct task *task = NULL;
    int rc = new_task(NULL, &task, err);
    if (rc)
        return rc;
    task->state = TASK_ADOPTED;
    task->process = run->process;
    task->due_us = run->due_us;
    task->attempt = run->attempt;
    while (task->type < JOB_TYPE_COUNT && strcmp(job_type_name(task->type), run->type) != 0)
        task->type++;
    snprintf(task->cluster, sizeof(task->cluster), "%s", run->cluster);
    snprintf(task->job, sizeof(task->job), "%s", run->job);
    snprintf(task->identity, sizeof(task->identity), "%s/%s", run->cluster, run->job);
    snprintf(task->run_id, sizeof(task->run_id), "%s", run->run_id);
    *ret_task = task;
    return 0;
}

int task_new_retry(const struct task *failed, struct task **ret_task, struct error *err)
{
    struct task *task = NULL;
    int rc = new_task(failed->policy, &task, err);
    if (rc)
        return rc;
    memcpy(task->cluster, failed->cluster, sizeof(task->cluster));
    memcpy(task->job, failed->job, sizeof(task->job));
    memcpy(task->identity, failed->identity, sizeof(task->identity));
    task->type = failed->type;
    task->on_missed = failed->on_missed;
    task->retries = failed->retries;
    task->timeout_us = failed->timeout_us;
    task->hooks_us = failed->hooks_us;
    task->due_us = failed->due_us;
    task->attempt = failed->attempt + 1;
    task->groups = calloc(failed->group_count + 1, sizeof(*task->groups));
    rc = task->groups ? 0 : error_no_memory(err);
    if (!rc && failed->zone)
        rc = hold_windows(task, &failed->deny, zone_name(failed->zone), err);
    if (rc) {
        task_free(task);
        return rc;
    }
    memcpy(task->groups, failed->groups, failed->group_count * sizeof(*task->groups));
    task->group_count = failed->group_count;
    *ret_task = task;
    return 0;
}

/* -- starting ------------------------------------------------------------------------------ */

static int run_arguments(const struct task *task, struct strv *argv, struct error *err)
{
    char due[INSTANT_TEXT_MAX];
    int rc = strv_add(argv, "run", err);
    if (!rc)
        rc = strv_add(argv, task->identity, err);
    if (!rc)
        rc = strv_add(argv, "--policy-stdin", err);
    if (!rc)
        rc = strv_addf(argv, err, "--due=%s", instant_format(task->due_us, due));
    if (!rc)
        rc = strv_addf(argv, err, "--attempt=%d", task->attempt);
    if (!rc && task->run_id[0])
        rc = strv_addf(argv, err, "--run-id=%s", task->run_id);
    return rc;
}

static int receiver_arguments(const struct task *task, struct strv *argv, struct error *err)
{
    int rc = strv_add(argv, "wal", err);
    if (!rc)
        rc = strv_add(argv, "receive", err);
    if (!rc)
        rc = strv_add(argv, task->cluster, err);
    return rc ? rc : strv_add(argv, "--policy-stdin", err);
}

static int lookup_arguments(const struct task *task, struct strv *argv, struct error *err)
{
    int rc = strv_add(argv, "--json", err);
    if (!rc)
        rc = strv_add(argv, "list", err);
    return rc ? rc : strv_add(argv, task->cluster, err);
}

static int gatherer_arguments(const struct task *task, struct strv *argv, struct error *err)
{
    int rc = strv_add(argv, "--json", err);
    if (!rc)
        rc = strv_add(argv, "metrics", err);
    if (!rc)
        rc = strv_add(argv, task->cluster, err);
    if (!rc)
        rc = strv_addf(argv, err, "--gather=%s", task->gathers);
    return rc ? rc : strv_add(argv, "--policy-stdin", err);
}

static int notifier_arguments(const struct task *task, struct strv *argv, struct error *err)
{
    int rc = strv_add(argv, "notify", err);
    if (!rc)
        rc = strv_add(argv, task->cluster, err);
    if (!rc)
        rc = strv_add(argv, "--pending", err);
    return rc ? rc : strv_add(argv, "--policy-stdin", err);
}

static int make_arguments(const struct task *task, struct strv *argv, struct error *err)
{
    int rc = strv_add(argv, SELF, err);
    if (!rc)
        rc = strv_add(argv, "-c", err);
    if (!rc)
        rc = strv_add(argv, task->policy->path, err);
    if (!rc && log_get_level() == LOG_DEBUG)
        rc = strv_add(argv, "-v", err);
    if (!rc)
        rc = strv_add(argv, "--log-format=text", err); /* its lines become ours */
    if (rc)
        return rc;
    return task->gathers       ? gatherer_arguments(task, argv, err)
           : task->is_lookup   ? lookup_arguments(task, argv, err)
           : task->is_receiver ? receiver_arguments(task, argv, err)
           : task->is_notifier ? notifier_arguments(task, argv, err)
                               : run_arguments(task, argv, err);
}

static int watch_pipe(int fd, struct task *task, int epoll, struct error *err)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = task};
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        return error_set_errno(err, errno, "could not watch the output of a run");
    return 0;
}

/* The whole text fits into the pipe, so that writing never waits for the child. */
static int hand_policy(struct task *task, struct error *err)
{
    int fd = task->child.input_fd;
    if (task->policy->length > PIPE_BYTES && fcntl(fd, F_SETPIPE_SZ, POLICY_BYTES_MAX) < 0)
        return error_set_errno(err, errno, "could not widen the pipe to a run");
    int rc = file_write_all(fd, "stdin of a run", task->policy->text, task->policy->length, err);
    close(fd);
    task->child.input_fd = -1;
    return rc;
}

int task_start(struct task *task, int epoll, struct error *err)
{
    _cleanup_(strv_clear) struct strv argv = STRV_INIT(ARGUMENTS_MAX);
    int rc = make_arguments(task, &argv, err);
    if (rc)
        return rc;
    bool takes_policy = !task->is_lookup || task->gathers;
    struct child_spec spec = {.argv = (const char *const *)argv.items,
                              .input = takes_policy ? CHILD_PIPE : CHILD_NULL,
                              .output = task->is_lookup ? CHILD_PIPE : CHILD_NULL,
                              .pipe_stderr = true,
                              .outlives_us =
                                  !task->is_receiver && !task->gathers && !task->is_notifier};
    rc = child_start(&spec, &task->child, err);
    if (rc)
        return rc;
    task->state = TASK_RUNNING;
    task->started_us = boot_now_us();
    if (task->timeout_us > 0) {
        int64_t longest_us = task->timeout_us + task->hooks_us;
        task->terminate_us = task->started_us + longest_us + TASK_TERM_AFTER_US;
        task->kill_us = task->started_us + longest_us + TASK_KILL_AFTER_US;
    }
    rc = takes_policy ? hand_policy(task, err) : 0;
    if (!rc)
        rc = watch_pipe(task->child.stderr_fd, task, epoll, err);
    if (!rc && task->is_lookup)
        rc = watch_pipe(task->child.output_fd, task, epoll, err);
    if (rc) {
        child_clear(&task->child);
        task->state = TASK_WAITING;
    }
    return rc;
}

/* -- output -------------------------------------------------------------------------------- */

static void pass_line(struct task *task)
{
    static const char OWN[] = "pgcairn: ", HINT[] = "  hint: ";
    task->line[task->line_length] = '\0';
    const char *text = task->line;
    bool is_own = strncmp(text, OWN, strlen(OWN)) == 0;
    if (is_own)
        text += strlen(OWN);
    is_own |= strncmp(text, HINT, strlen(HINT)) == 0;
    if (task->line_length > 0)
        snprintf(task->last_line, sizeof(task->last_line), "%.2000s", text);
    if (task->logged <= TASK_LOG_BYTES_MAX)
        say_line(task->gathers ? LOG_DEBUG : LOG_INFO, task->identity, task->run_id, text, is_own);
    task->logged += task->line_length + 1;
    if (task->logged > TASK_LOG_BYTES_MAX && task->logged <= TASK_LOG_BYTES_MAX + task->line_length)
        say(LOG_WARNING, task->identity, task->run_id, "it says too much: the rest is left out");
    task->line_length = 0;
}

static void take_lines(struct task *task, const char *data, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (data[i] == '\n' || task->line_length == TASK_LINE_MAX - 1)
            pass_line(task);
        if (data[i] != '\n')
            task->line[task->line_length++] = data[i];
    }
}

/* Reads until there is nothing more now; at the end of the pipe it is watched no longer. */
static void read_pipe(struct task *task, int fd, int epoll, bool is_output)
{
    char chunk[8192];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
            return;
        }
        if (is_output)
            buf_add(&task->output, chunk, (size_t)n); /* over the limit is seen at the end */
        else
            take_lines(task, chunk, (size_t)n);
    }
}

void task_read(struct task *task, int epoll)
{
    if (task->state != TASK_RUNNING)
        return;
    read_pipe(task, task->child.stderr_fd, epoll, false);
    if (task->child.output_fd >= 0)
        read_pipe(task, task->child.output_fd, epoll, true);
}

bool task_reap(struct task *task, int epoll, struct child_status *ret_status)
{
    siginfo_t info = {.si_pid = 0};
    bool ended = false;
    if (waitid(P_PID, (id_t)task->child.pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid == 0)
        return false;
    task_read(task, epoll); /* all it wrote is in the pipes now; after the wait they are closed */
    if (task->line_length > 0)
        pass_line(task);
    epoll_ctl(epoll, EPOLL_CTL_DEL, task->child.stderr_fd, NULL);
    if (task->child.output_fd >= 0)
        epoll_ctl(epoll, EPOLL_CTL_DEL, task->child.output_fd, NULL);
    return child_poll(&task->child, &ended, ret_status, NULL) == 0 && ended;
}

/* -- ending -------------------------------------------------------------------------------- */

void task_stop(struct task *task, int64_t grace_us)
{
    child_signal(&task->child, SIGTERM);
    task->terminate_us = INT64_MAX;
    task->kill_us = boot_now_us() + grace_us;
}

int64_t task_enforce(struct task *task, int64_t boot_us)
{
    if (boot_us >= task->kill_us) {
        say(LOG_ERROR, task->identity, task->run_id, "does not end, killed");
        child_signal(&task->child, SIGKILL);
        task->kill_us = INT64_MAX;
    } else if (boot_us >= task->terminate_us) {
        say(LOG_ERROR, task->identity, task->run_id, "is over its timeout, told to end");
        child_signal(&task->child, SIGTERM);
        task->terminate_us = INT64_MAX;
    }
    return task->terminate_us < task->kill_us ? task->terminate_us : task->kill_us;
}
