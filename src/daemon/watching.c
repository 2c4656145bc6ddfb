/* What the daemon shows to those who look (src/watch): a server in a thread of its own, what it is
 * told, and the children that gather what only repositories and servers know. */
#include <string.h>

#include "daemon/say.h"
#include "daemon/state.h"
#include "watch/site.h"

enum { GATHERERS_MAX = 2 }; /* at a time, beside the runs */

#define AUDIT_EVERY_US US_PER_HOUR
#define AUDIT_FIRST_US (2 * US_PER_SECOND) /* after the start: facts come first */
#define AGAIN_US (15 * US_PER_SECOND)      /* after a run, but not sooner behind the last one */
#define LOOK_US US_PER_MINUTE              /* more than any look of the loop should take */
#define SLEEP_US (15 * US_PER_SECOND)      /* so that a loop that hangs is missed soon */

struct gatherer {
    struct roster_policy *policy; /* used */
    enum gathering_part part;
    struct task *task;  /* NULL while none runs */
    int64_t start_us;   /* of CLOCK_BOOTTIME: the next start */
    int64_t started_us; /* the last one; INSTANT_NONE: none yet */
    bool is_failing, is_gone;
};

struct watching {
    struct board *board;
    struct http *http;
    int64_t gather_us;
    struct gatherer *gatherers;
    size_t count, allocated;
    int64_t reload_failures;
};

static const char *cluster_of(const struct gatherer *gatherer)
{
    return gatherer->policy->policy->cluster;
}

/* -- who is gathered ------------------------------------------------------------------------- */

static struct gatherer *find_gatherer(struct watching *watching, const char *cluster,
                                      enum gathering_part part)
{
    for (size_t i = 0; i < watching->count; i++)
        if (watching->gatherers[i].part == part &&
            strcmp(cluster_of(&watching->gatherers[i]), cluster) == 0)
            return &watching->gatherers[i];
    return NULL;
}

static int add_gatherer(struct watching *watching, struct roster_policy *policy,
                        enum gathering_part part, struct error *err)
{
    if (watching->count == watching->allocated) {
        size_t room = watching->allocated ? 2 * watching->allocated : 16;
        struct gatherer *more = realloc(watching->gatherers, room * sizeof(*more));
        if (!more)
            return error_no_memory(err);
        watching->gatherers = more;
        watching->allocated = room;
    }
    watching->gatherers[watching->count++] = (struct gatherer){
        .policy = roster_policy_use(policy),
        .part = part,
        .start_us = boot_now_us() + (part == GATHERING_AUDIT ? AUDIT_FIRST_US : 0),
        .started_us = INSTANT_NONE};
    return 0;
}

static void remove_gatherer(struct watching *watching, size_t index)
{
    task_free(watching->gatherers[index].task);
    roster_policy_leave(watching->gatherers[index].policy);
    watching->gatherers[index] = watching->gatherers[--watching->count];
}

/* One that runs goes on with the policy it was started with; a changed policy is looked at soon. */
static void follow_policy(struct gatherer *gatherer, struct roster_policy *policy)
{
    struct roster_policy *old = gatherer->policy;
    bool is_changed = old->length != policy->length || memcmp(old->text, policy->text, old->length);
    gatherer->policy = roster_policy_use(policy);
    gatherer->is_gone = false;
    if (is_changed)
        gatherer->start_us = boot_now_us();
    roster_policy_leave(old);
}

static int follow_roster(struct daemon *daemon, struct error *err)
{
    struct watching *watching = daemon->watching;
    int rc = 0;
    for (size_t i = 0; i < watching->count; i++)
        watching->gatherers[i].is_gone = true;
    for (size_t i = 0; i < daemon->roster->policy_count && !rc; i++) {
        struct roster_policy *policy = daemon->roster->policies[i];
        for (int part = 0; part < GATHERING_PARTS && !rc; part++) {
            struct gatherer *found =
                find_gatherer(watching, policy->policy->cluster, (enum gathering_part)part);
            if (!found) {
                rc = add_gatherer(watching, policy, (enum gathering_part)part, err);
                continue;
            }
            follow_policy(found, policy);
        }
    }
    return rc;
}

static int put_policies(struct daemon *daemon, struct error *err)
{
    size_t count = daemon->roster->policy_count;
    _cleanup_(freep) struct board_text *texts = calloc(count + 1, sizeof(*texts));
    if (!texts)
        return error_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        const struct roster_policy *policy = daemon->roster->policies[i];
        texts[i] = (struct board_text){policy->path, policy->text, policy->length};
    }
    return board_put_policies(daemon->watching->board, texts, count, err);
}

/* -- start, reload, end ---------------------------------------------------------------------- */

int watching_open(struct daemon *daemon, struct error *err)
{
    const struct daemon_options *options = daemon->options;
    struct http_options http = {
        .listen = options->listen, .token_file = options->token_file, .pages = site_pages};
    if (!options->listen)
        return 0;
    daemon->watching = calloc(1, sizeof(*daemon->watching));
    if (!daemon->watching)
        return error_no_memory(err);
    struct watching *watching = daemon->watching;
    watching->gather_us = options->gather_us;
    int rc = board_new(daemon->folder, &watching->board, err);
    if (!rc)
        rc = put_policies(daemon, err);
    if (!rc)
        rc = follow_roster(daemon, err);
    http.context = watching->board;
    if (!rc)
        rc = http_start(&http, &watching->http, err);
    if (rc)
        return rc;
    say(LOG_INFO, NULL, NULL, "status page and metrics at http://%s/",
        http_address(watching->http));
    if (http_is_public(watching->http) && !options->token_file)
        say(LOG_WARNING, NULL, NULL,
            "whoever reaches %s sees the status page: --token-file FILE asks for a token",
            http_address(watching->http));
    return 0;
}

void watching_close(struct daemon *daemon)
{
    struct watching *watching = daemon->watching;
    if (!watching)
        return;
    http_free(watching->http);
    board_free(watching->board);
    while (watching->count > 0) /* the kernel ends their children with us */
        remove_gatherer(watching, watching->count - 1);
    free(watching->gatherers);
    free(watching);
    daemon->watching = NULL;
}

void watching_reloaded(struct daemon *daemon, bool was_good)
{
    struct watching *watching = daemon->watching;
    struct error err = ERROR_NONE;
    if (!watching)
        return;
    watching->reload_failures += !was_good;
    int rc = put_policies(daemon, &err);
    if (!rc)
        rc = follow_roster(daemon, &err);
    if (!rc)
        rc = http_reread_token(watching->http, &err);
    if (rc)
        say_error(NULL, NULL, "the status page stays as it was", &err);
}

/* -- gathering ------------------------------------------------------------------------------- */

static int64_t interval_of(const struct watching *watching, enum gathering_part part)
{
    return part == GATHERING_FACTS || watching->gather_us > AUDIT_EVERY_US ? watching->gather_us
                                                                           : AUDIT_EVERY_US;
}

/* Said when it begins to fail and when it is well again, not each time between. */
static void note_end(struct watching *watching, struct gatherer *gatherer, const char *problem)
{
    const char *cluster = cluster_of(gatherer), *part = gathering_part_name(gatherer->part);
    if (problem)
        board_put_failure(watching->board, cluster, gatherer->part, problem);
    if (problem && !gatherer->is_failing)
        say(LOG_WARNING, cluster, NULL, "its %s could not be gathered: %s", part, problem);
    if (!problem && gatherer->is_failing)
        say(LOG_INFO, cluster, NULL, "its %s are gathered again", part);
    gatherer->is_failing = problem != NULL;
    gatherer->task = task_free(gatherer->task);
}

static void take_end(struct watching *watching, struct gatherer *gatherer,
                     const struct child_status *status)
{
    struct task *task = gatherer->task;
    struct error err = ERROR_NONE;
    char problem[ERROR_MESSAGE_MAX];
    if (!status->exited || status->exit_status != 0) {
        snprintf(problem, sizeof(problem), "%.1900s",
                 !status->exited    ? "its process was killed"
                 : *task->last_line ? task->last_line
                                    : "its process failed");
        note_end(watching, gatherer, problem);
    } else if (buf_failed(&task->output, "what was gathered", &err)) {
        note_end(watching, gatherer, err.message);
    } else {
        board_put_gathering(watching->board, cluster_of(gatherer), gatherer->part,
                            buf_text(&task->output), task->output.length);
        note_end(watching, gatherer, NULL);
    }
}

static void start(struct daemon *daemon, struct gatherer *gatherer)
{
    struct error err = ERROR_NONE;
    gatherer->started_us = boot_now_us();
    gatherer->start_us = gatherer->started_us + interval_of(daemon->watching, gatherer->part);
    int rc = task_new_gatherer(gatherer->policy, gathering_part_name(gatherer->part),
                               &gatherer->task, &err);
    if (!rc)
        rc = task_start(gatherer->task, daemon->epoll_fd, &err);
    if (rc)
        note_end(daemon->watching, gatherer, err.message);
}

static size_t count_running(const struct watching *watching)
{
    size_t count = 0;
    for (size_t i = 0; i < watching->count; i++)
        count += watching->gatherers[i].task != NULL;
    return count;
}

static void look_at(struct daemon *daemon, struct gatherer *gatherer, int64_t boot_us)
{
    struct child_status status;
    if (gatherer->task && task_reap(gatherer->task, daemon->epoll_fd, &status))
        take_end(daemon->watching, gatherer, &status);
    else if (gatherer->task)
        task_enforce(gatherer->task, boot_us);
    if (!gatherer->task && !gatherer->is_gone && gatherer->start_us <= boot_us &&
        !daemon->is_stopping && count_running(daemon->watching) < GATHERERS_MAX)
        start(daemon, gatherer);
}

static void put_numbers(struct daemon *daemon)
{
    struct board_numbers numbers = {.policies = daemon->roster->policy_count,
                                    .bad_files = daemon->roster->bad_files,
                                    .reload_failures = daemon->watching->reload_failures,
                                    .journal_fails = daemon->journal_fails,
                                    .is_stopping = daemon->is_stopping};
    for (size_t i = 0; i < daemon->task_count; i++) {
        const struct task *task = daemon->tasks[i];
        numbers.waiting += task->state == TASK_WAITING && !task->is_lookup;
        numbers.running += task->state != TASK_WAITING && !task->is_lookup;
    }
    board_put_numbers(daemon->watching->board, &numbers);
}

void watching_look(struct daemon *daemon)
{
    struct watching *watching = daemon->watching;
    int64_t boot_us = boot_now_us();
    if (!watching)
        return;
    for (size_t i = 0; i < watching->count;) {
        look_at(daemon, &watching->gatherers[i], boot_us);
        if (watching->gatherers[i].is_gone && !watching->gatherers[i].task)
            remove_gatherer(watching, i);
        else
            i++;
    }
    put_numbers(daemon);
}

void watching_run_ended(struct daemon *daemon, const char *cluster, enum job_type type)
{
    struct watching *watching = daemon->watching;
    for (int part = 0; watching && part < GATHERING_PARTS; part++) {
        struct gatherer *found = find_gatherer(watching, cluster, (enum gathering_part)part);
        if (!found || (part == GATHERING_AUDIT && type != JOB_AUDIT && type != JOB_DRILL))
            continue;
        int64_t soon_us = boot_now_us();
        if (found->started_us != INSTANT_NONE && found->started_us + AGAIN_US > soon_us)
            soon_us = found->started_us + AGAIN_US;
        if (soon_us < found->start_us)
            found->start_us = soon_us;
    }
}

/* -- the loop lives -------------------------------------------------------------------------- */

void watching_expect(struct daemon *daemon, int64_t wake_boot_us)
{
    if (daemon->watching)
        board_expect(daemon->watching->board, wake_boot_us);
}

void watching_works(struct daemon *daemon)
{
    watching_expect(daemon, boot_now_us() + LOOK_US);
}

int64_t watching_next_boot_us(const struct daemon *daemon)
{
    const struct watching *watching = daemon->watching;
    if (!watching)
        return INT64_MAX;
    int64_t next_us = boot_now_us() + SLEEP_US;
    if (daemon->is_stopping)
        return next_us;
    bool is_full = count_running(watching) >= GATHERERS_MAX;
    for (size_t i = 0; i < watching->count; i++) {
        const struct gatherer *gatherer = &watching->gatherers[i];
        const struct task *task = gatherer->task;
        int64_t at_us = is_full ? INT64_MAX : gatherer->start_us;
        if (task)
            at_us = task->terminate_us < task->kill_us ? task->terminate_us : task->kill_us;
        if (at_us < next_us)
            next_us = at_us;
    }
    return next_us;
}
