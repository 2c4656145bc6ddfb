/*
 * A month of 1,000 jobs in 100 policies, in seconds: the daemon's own decisions, policies and
 * journal, with a clock and runs that are made up. Runs take their time, fail, crash; the daemon is
 * told to read again, stopped, killed; the machine sleeps, its clock is set. In the end every due
 * instant is accounted for exactly once: run, or on record as skipped or missed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/state.h"
#include "remove_tree.h"

enum {
    CLUSTERS = 100,
    JOBS = 10, /* of a policy */
    DAYS = 30,
    RUNS_MAX = 400,
    DUES_MAX = 500,
    MAX_RUNNING = 40,
    FIRST_PID = 100000,
};

/* -- what is simulated ----------------------------------------------------------------------- */

struct made_run {
    struct task *task; /* NULL once the daemon that started it is gone */
    char run_id[JOURNAL_RUN_ID_MAX];
    pid_t pid;
    int64_t end_us; /* of the clock that is never set */
    int fate;       /* 0..99 */
    bool is_stopped;
};

static struct {
    uint64_t seed;
    int64_t now_us, boot_us;
    struct made_run runs[RUNS_MAX];
    size_t run_count;
    pid_t next_pid, daemon_pid;
    struct daemon daemon;
    struct daemon_options options;
    struct strv paths;
    char folder[64];
    int64_t began_us;
    int64_t skipped_from_us, skipped_to_us; /* the clock was set forwards over this */
    int64_t starts, events[8];
} sim;

static int64_t random_below(int64_t limit)
{
    sim.seed = sim.seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int64_t)(sim.seed >> 33) % limit;
}

static int64_t sim_now_us(void *context)
{
    (void)context;
    return sim.now_us;
}

static int64_t sim_boot_us(void *context)
{
    (void)context;
    return sim.boot_us;
}

static bool is_live(pid_t pid)
{
    for (size_t i = 0; i < sim.run_count; i++)
        if (sim.runs[i].pid == pid)
            return true;
    return pid == sim.daemon_pid;
}

static bool sim_is_alive(const struct process_identity *process, void *context)
{
    (void)context;
    return is_live(process->pid);
}

static pid_t self_pid; /* who the journal is told to be */

static void sim_self(struct process_identity *ret_self, void *context)
{
    (void)context;
    *ret_self = (struct process_identity){.pid = self_pid, .start_ticks = 1, .place = "sim"};
}

/* Ids decide how long a retry waits: a month is the same each time. */
static void sim_random_name(char *name, size_t length, void *context)
{
    (void)context;
    for (size_t i = 0; i < length; i++)
        name[i] = (char)('a' + random_below(26));
    name[length] = '\0';
}

static const struct journal_outside OUTSIDE = {.now_us = sim_now_us,
                                               .self = sim_self,
                                               .is_alive = sim_is_alive,
                                               .random_name = sim_random_name};

/* What must hold whenever a run begins. */
static void check_start(const struct task *task)
{
    struct daemon *daemon = &sim.daemon;
    int running = 0, heavy = 0;
    if (task->zone && deny_at(&task->deny, task->zone, sim.now_us / US_PER_SECOND))
        fail_msg("%s begins in a window that denies it", task->identity);
    for (size_t i = 0; i < daemon->task_count; i++) {
        const struct task *other = daemon->tasks[i];
        if (other == task || other->state == TASK_WAITING)
            continue;
        running += other->type != JOB_WAL;
        heavy += strcmp(other->cluster, task->cluster) == 0 &&
                 (other->type == JOB_DUMP || other->type == JOB_VACUUM ||
                  other->type == JOB_PRUNE || other->type == JOB_SNAPSHOT);
        if (strcmp(other->identity, task->identity) == 0)
            fail_msg("%s runs twice", task->identity);
    }
    if (task->type != JOB_WAL && running >= MAX_RUNNING)
        fail_msg("%d run already", running);
    if ((task->type == JOB_DUMP || task->type == JOB_VACUUM || task->type == JOB_PRUNE) &&
        heavy > 0)
        fail_msg("%s begins beside another heavy one", task->identity);
}

static int sim_start(struct task *task, void *context, struct error *err)
{
    struct made_run *run = &sim.runs[sim.run_count];
    (void)context;
    assert_true(sim.run_count < RUNS_MAX && !task->is_lookup);
    check_start(task);
    *run = (struct made_run){.task = task,
                             .pid = sim.next_pid++,
                             .fate = (int)random_below(100),
                             .end_us = sim.boot_us + (1 + random_below(600)) * US_PER_SECOND};
    if (random_below(200) == 0)
        run->end_us += random_below(14) * US_PER_HOUR; /* over the next due instants */
    snprintf(run->run_id, sizeof(run->run_id), "%s", task->run_id);
    sim.run_count++;
    self_pid = run->pid;
    int rc = journal_begin(sim.daemon.journal, run->run_id, err);
    self_pid = sim.daemon_pid;
    assert_int_equal(rc, 0);
    task->state = TASK_RUNNING;
    task->started_us = sim.boot_us;
    sim.starts++;
    return 0;
}

/* It writes its own outcome, unless it crashes. */
static void finish(struct journal *journal, const struct made_run *run)
{
    struct journal_run row = {.ended_us = sim.now_us, .outcome = OUTCOME_DONE};
    struct error err = ERROR_NONE;
    snprintf(row.run_id, sizeof(row.run_id), "%s", run->run_id);
    if (run->is_stopped || run->fate >= 97) {
        row.outcome = OUTCOME_INTERRUPTED;
        snprintf(row.error_code, sizeof(row.error_code), "interrupted");
    } else if (run->fate >= 85) {
        row.outcome = OUTCOME_FAILED;
        snprintf(row.error_code, sizeof(row.error_code), "%s",
                 error_code_name(run->fate >= 92 ? ERR_CONNECTION : ERR_USAGE));
    }
    if (run->fate < 97)
        assert_int_equal(journal_finish(journal, &row, &err), 0);
}

static void drop_run(size_t index)
{
    sim.runs[index] = sim.runs[--sim.run_count];
}

static bool sim_has_ended(struct task *task, void *context, struct child_status *ret_status)
{
    (void)context;
    for (size_t i = 0; i < sim.run_count; i++) {
        struct made_run *run = &sim.runs[i];
        if (run->task != task || run->end_us > sim.boot_us)
            continue;
        finish(sim.daemon.journal, run);
        bool crashed = run->fate >= 97;
        *ret_status = (struct child_status){.exited = !crashed,
                                            .exit_status = run->is_stopped   ? 5
                                                           : run->fate >= 85 ? 1
                                                                             : 0,
                                            .signal = crashed ? 9 : 0};
        drop_run(i);
        return true;
    }
    return false;
}

static void sim_stop(struct task *task, int64_t grace_us, void *context)
{
    (void)context;
    (void)grace_us;
    for (size_t i = 0; i < sim.run_count; i++) {
        if (sim.runs[i].task != task)
            continue;
        sim.runs[i].is_stopped = true;
        if (sim.runs[i].end_us > sim.boot_us + 2 * US_PER_SECOND)
            sim.runs[i].end_us = sim.boot_us + 2 * US_PER_SECOND;
    }
}

static void sim_enforce(struct task *task, int64_t boot_us, void *context)
{
    (void)task;
    (void)boot_us;
    (void)context;
}

/* -- policies -------------------------------------------------------------------------------- */

static void write_policy(int number, bool is_broken)
{
    char path[128];
    int m = number % 60, h = number % 24;
    snprintf(path, sizeof(path), "%s/policies/c%02d.yaml", sim.folder, number);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fprintf(file,
            "cluster: c%02d\ntimezone: %s\npostgres: {connection: 'host=h dbname=d user=u'}\n"
            "repository: {url: file:///nowhere/c%02d}\ngroups: {disk%d: %d}\n"
            "defaults: {retries: 1}\njobs:\n",
            number, number % 3 == 0 ? "America/New_York" : "Europe/Berlin", number, number % 10,
            1 + number % 3);
    fprintf(file, "  wal: {type: wal, schedule: '%d */12 * * *', keep: {within: 7d}, jitter: 5m}\n",
            m);
    fprintf(file, "  night: {type: dump, schedule: '%d 2 * * *', keep: {last: 3}, group: disk%d}\n",
            m, number % 10);
    fprintf(file, "  check: {type: verify, after: night}\n");
    fprintf(file, "  prune: {type: prune, after: [night, check]}\n");
    fprintf(file,
            "  noon: {type: dump, schedule: '%d 9,15 * * *', keep: {last: 3}, on_missed: all,\n"
            "    deny: [{days: mon-fri, from: '08:00', to: '20:00'}]}\n",
            m);
    fprintf(file,
            "  tidy: {type: vacuum, schedule: '%d %d * * *', on_missed: skip, group: disk%d,\n"
            "    deny: [{days: sat-sun, action: skip}, {from: '23:30', to: '01:15'}]}\n",
            (m + 7) % 60, h, number % 10);
    fprintf(file, "  audit: {type: audit, schedule: '%d %d * * *', on_missed: all, jitter: 30m}\n",
            m, (h + 3) % 24);
    fprintf(file,
            "  look: {type: verify, schedule: '%d */12 * * *', overlap: queue, deadline: 40m}\n",
            m);
    fprintf(file, "  late: {type: audit, after: tidy, on_missed: skip}\n");
    fprintf(file, "  gap: {type: audit, schedule: '30 2 * * *', on_missed: once}\n%s",
            is_broken ? "  x: [\n" : "");
    fclose(file);
    chmod(path, 0600);
}

/* -- lives of the daemon --------------------------------------------------------------------- */

static void begin_life(void)
{
    struct daemon *daemon = &sim.daemon;
    struct error err = ERROR_NONE;
    sim.daemon_pid = self_pid = sim.next_pid++;
    *daemon = (struct daemon){.options = &sim.options,
                              .folder = sim.folder,
                              .world = {.now_us = sim_now_us,
                                        .boot_us = sim_boot_us,
                                        .start = sim_start,
                                        .has_ended = sim_has_ended,
                                        .stop = sim_stop,
                                        .enforce = sim_enforce,
                                        .is_alive = sim_is_alive},
                              .lock_fd = -1,
                              .epoll_fd = -1,
                              .started_us = sim.now_us,
                              .looked_us = INSTANT_NONE};
    daemon->tasks = calloc(DAEMON_TASKS_MAX, sizeof(struct task *));
    assert_non_null(daemon->tasks);
    if (roster_load(&sim.paths, NULL, &daemon->roster, &err) ||
        journal_open(sim.folder, JOURNAL_WRITE, &daemon->journal, &err))
        fail_msg("%s", err.message);
    journal_ask(daemon->journal, &OUTSIDE);
    if (turn_recover(daemon, &err))
        fail_msg("%s", err.message);
    turn_begin(daemon);
}

static void end_life(void)
{
    struct daemon *daemon = &sim.daemon;
    for (size_t i = 0; i < sim.run_count; i++)
        sim.runs[i].task = NULL;
    for (size_t i = 0; i < daemon->task_count; i++)
        task_free(daemon->tasks[i]);
    free(daemon->tasks);
    roster_free(daemon->roster);
    journal_free(daemon->journal);
    sim.daemon_pid = 0;
}

/* Runs that nobody started in this life end by themselves. */
static void end_orphans(void)
{
    struct journal *journal = sim.daemon_pid ? sim.daemon.journal : NULL, *own = NULL;
    for (size_t i = sim.run_count; i-- > 0;) {
        if (sim.runs[i].task || sim.runs[i].end_us > sim.boot_us)
            continue;
        if (!journal && journal_open(sim.folder, JOURNAL_WRITE, &own, NULL) == 0) {
            journal_ask(own, &OUTSIDE);
            journal = own;
        }
        finish(journal, &sim.runs[i]);
        drop_run(i);
    }
    journal_free(own);
}

static int64_t next_end_us(void)
{
    int64_t next_us = INT64_MAX;
    for (size_t i = 0; i < sim.run_count; i++)
        if (sim.runs[i].end_us < next_us)
            next_us = sim.runs[i].end_us;
    return next_us;
}

static void pass(int64_t duration_us)
{
    sim.now_us += duration_us;
    sim.boot_us += duration_us;
}

static void live(int64_t until_boot_us)
{
    while (sim.boot_us < until_boot_us && !sim.daemon.is_ended) {
        end_orphans();
        turn_take(&sim.daemon);
        int64_t sleep_us = turn_sleep_us(&sim.daemon);
        if (next_end_us() - sim.boot_us < sleep_us)
            sleep_us = next_end_us() - sim.boot_us;
        if (sleep_us < 1000)
            sleep_us = 1000;
        pass(sleep_us);
    }
}

static void be_down(int64_t duration_us)
{
    end_life();
    int64_t until_us = sim.boot_us + duration_us;
    while (sim.run_count > 0 && next_end_us() <= until_us) {
        if (next_end_us() > sim.boot_us)
            pass(next_end_us() - sim.boot_us);
        end_orphans();
    }
    pass(until_us - sim.boot_us);
    begin_life();
}

static void read_again(void)
{
    struct roster *roster = NULL;
    struct error err = ERROR_NONE;
    int number = (int)random_below(CLUSTERS);
    write_policy(number, true); /* keeps what it had */
    if (roster_load(&sim.paths, sim.daemon.roster, &roster, &err))
        fail_msg("%s", err.message);
    turn_swap(&sim.daemon, roster);
    write_policy(number, false);
}

static void set_clock_far(int64_t by_us)
{
    /* Known at the next look: what is due until then is of the time before. */
    turn_take(&sim.daemon);
    if (by_us > 0) {
        sim.skipped_from_us = sim.now_us;
        sim.skipped_to_us = sim.now_us + by_us;
    }
    sim.now_us += by_us;
}

enum event { RELOAD, STOP, KILL, SUSPEND, SET_A_LITTLE, SET_FAR, NOTHING };

static void happen(enum event event)
{
    sim.events[event]++;
    switch (event) {
    case RELOAD:
        read_again();
        break;
    case STOP:
        turn_stop(&sim.daemon);
        live(sim.boot_us + US_PER_HOUR);
        assert_true(sim.daemon.is_ended);
        be_down(random_below(9 * 3600) * US_PER_SECOND);
        break;
    case KILL:
        be_down(random_below(300) * US_PER_SECOND);
        break;
    case SUSPEND:
        pass(random_below(10 * 3600) * US_PER_SECOND);
        for (size_t i = 0; i < sim.run_count; i++)
            sim.runs[i].end_us = sim.boot_us + random_below(300) * US_PER_SECOND;
        break;
    case SET_A_LITTLE:
        sim.now_us += (random_below(2 * 7200) - 7200) * US_PER_SECOND;
        break;
    case SET_FAR:
        set_clock_far(5 * US_PER_HOUR);
        break;
    case NOTHING:
        break;
    }
}

/* -- the account ----------------------------------------------------------------------------- */

struct account {
    const struct roster_job *job;
    int64_t due_us[DUES_MAX];
    int rows[DUES_MAX], done[DUES_MAX];
    bool is_covered[DUES_MAX]; /* by a row for several */
    size_t count;
    struct {
        int64_t from_us, to_us, count;
    } ranges[DUES_MAX];
    size_t range_count;
};

static struct account accounts[JOBS];
static int64_t started_rows, total_dues, total_done;

static int take_row(const struct journal_run *run, void *context, struct error *err)
{
    (void)context;
    (void)err;
    started_rows += run->started_us != INSTANT_NONE;
    for (int k = 0; k < JOBS; k++) {
        struct account *account = &accounts[k];
        if (strcmp(account->job->job->name, run->job) != 0)
            continue;
        for (size_t i = 0; i < account->count; i++) {
            account->rows[i] += account->due_us[i] == run->due_us;
            account->done[i] += account->due_us[i] == run->due_us && run->outcome == OUTCOME_DONE;
        }
        const char *number = strstr(run->message, ": ");
        char from[40], to[40];
        long long count = 0;
        bool has_offset;
        if (run->outcome == OUTCOME_SKIPPED && number &&
            sscanf(number, ": %lld due from %39s to %39s", &count, from, to) == 3) {
            assert_true(account->range_count < DUES_MAX);
            instant_parse(from, &account->ranges[account->range_count].from_us, &has_offset, NULL);
            instant_parse(to, &account->ranges[account->range_count].to_us, &has_offset, NULL);
            account->ranges[account->range_count++].count = count;
        }
    }
    return 0;
}

static void cover(struct account *account)
{
    for (size_t r = 0; r < account->range_count; r++) {
        int64_t bare = 0;
        for (size_t i = 0; i < account->count; i++) {
            if (account->due_us[i] < account->ranges[r].from_us ||
                account->due_us[i] > account->ranges[r].to_us || account->is_covered[i])
                continue;
            if (account->rows[i] == 0 || account->due_us[i] == account->ranges[r].to_us) {
                account->is_covered[i] = true;
                bare++;
            }
        }
        if (bare > account->ranges[r].count)
            fail_msg("%s: a row for %d stands for %d", account->job->identity,
                     (int)account->ranges[r].count, (int)bare);
    }
}

static bool is_parent_bare(const struct account *account, size_t index)
{
    for (int k = 0; k < JOBS; k++)
        for (size_t p = 0; p < account->job->job->after.count; p++)
            if (strcmp(accounts[k].job->job->name, account->job->job->after.items[p]) == 0 &&
                index < accounts[k].count && accounts[k].rows[index] == 0)
                return true;
    return false;
}

/* What is denied may wait to be put on record until what was deferred before it has begun. */
static int64_t latest_start(const struct roster_job *job, int64_t due_us)
{
    int64_t start_us = due_start(&job->due, due_us);
    return start_us == INSTANT_NONE ? due_us + 3 * US_PER_DAY : start_us;
}

static void judge(const struct account *account)
{
    char text[INSTANT_TEXT_MAX];
    for (size_t i = 0; i < account->count; i++) {
        int64_t due_us = account->due_us[i];
        total_dues++;
        total_done += account->done[i];
        if (account->done[i] > 1)
            fail_msg("%s: %s was done %d times", account->job->identity,
                     instant_format(due_us, text), account->done[i]);
        if (account->rows[i] == 0 && !account->is_covered[i] && !is_parent_bare(account, i) &&
            (latest_start(account->job, due_us) <= sim.skipped_from_us ||
             due_us > sim.skipped_to_us))
            fail_msg("%s: nothing is known of %s", account->job->identity,
                     instant_format(due_us, text));
    }
}

static void settle_cluster(size_t first)
{
    struct roster *roster = sim.daemon.roster;
    struct error err = ERROR_NONE;
    memset(accounts, 0, sizeof(accounts));
    for (size_t k = 0; k < JOBS; k++) {
        struct account *account = &accounts[k];
        account->job = &roster->jobs[first + k];
        int64_t due_us = sim.began_us;
        while ((due_us = due_next(&account->job->due, due_us)) <= account->job->accounted_us &&
               account->count < DUES_MAX)
            account->due_us[account->count++] = due_us;
    }
    assert_int_equal(journal_each(sim.daemon.journal, accounts[0].job->owner->policy->cluster,
                                  take_row, NULL, &err),
                     0);
    for (size_t k = 0; k < JOBS; k++)
        cover(&accounts[k]);
    for (size_t k = 0; k < JOBS; k++)
        judge(&accounts[k]);
}

/* -- the month ------------------------------------------------------------------------------- */

static void test_a_month_is_accounted_for(void **state)
{
    (void)state;
    static const enum event OFTEN[] = {RELOAD,  RELOAD, STOP,    KILL,         SUSPEND,
                                       SUSPEND, KILL,   NOTHING, SET_A_LITTLE, NOTHING};
    char path[128];
    bool has_offset;
    struct error err = ERROR_NONE;
    log_set_level(LOG_QUIET);
    memset(&sim, 0, sizeof(sim));
    sim.seed = 20261129;
    sim.next_pid = FIRST_PID;
    sim.options.max_running = MAX_RUNNING;
    sim.options.drain_us = US_PER_MINUTE;
    snprintf(sim.folder, sizeof(sim.folder), "%s/pgcairn-month-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(sim.folder));
    snprintf(path, sizeof(path), "%s/policies", sim.folder);
    assert_int_equal(mkdir(path, 0700), 0);
    for (int i = 0; i < CLUSTERS; i++)
        write_policy(i, false);
    sim.paths = STRV_INIT(2);
    assert_int_equal(strv_add(&sim.paths, path, &err), 0);
    /* The night of 1 November has an hour twice in New York, that of 25 October in Berlin. */
    instant_parse("2026-10-12T00:30:00Z", &sim.now_us, &has_offset, &err);
    sim.boot_us = 5 * US_PER_DAY;
    sim.began_us = sim.now_us;
    begin_life();
    int64_t end_us = sim.boot_us + DAYS * US_PER_DAY;
    bool was_set_far = false;
    while (sim.boot_us < end_us) {
        live(sim.boot_us + (3 + random_below(9)) * US_PER_HOUR);
        happen(OFTEN[random_below((int64_t)ARRAY_SIZE(OFTEN))]);
        if (!was_set_far && sim.boot_us > end_us - DAYS / 3 * US_PER_DAY) {
            live(sim.boot_us + US_PER_HOUR);
            happen(SET_FAR);
            was_set_far = true;
        }
    }
    live(sim.boot_us + 2 * US_PER_HOUR);
    assert_int_equal(sim.daemon.roster->job_count, CLUSTERS * JOBS);
    for (size_t i = 0; i < sim.daemon.roster->job_count; i += JOBS)
        settle_cluster(i);
    assert_int_equal(started_rows, sim.starts);
    assert_true(total_dues > 25000 && total_done > total_dues / 2);
    for (int i = RELOAD; i <= SET_FAR; i++)
        assert_true(sim.events[i] > 0);
    end_life();
    remove_tree(sim.folder);
    strv_clear(&sim.paths);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_month_is_accounted_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
