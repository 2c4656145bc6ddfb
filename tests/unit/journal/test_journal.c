/* The journal: claims, outcomes, interrupted runs, bounds, and what happens to a damaged file. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "journal/journal.h"
#include "journal/pause.h"

#define DUE_US INT64_C(1000000000)

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/pgcairn-journal-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static void remove_file(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    unlink(path);
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {
        "journal.db",      "journal.db-wal",         "journal.db-shm",        "journal.db.corrupt",
        "journal.db.lock", "journal.db.corrupt-wal", "journal.db.corrupt-shm"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        remove_file(names[i]);
    return rmdir(folder);
}

static struct journal *open_journal(enum journal_mode mode)
{
    struct journal *journal = NULL;
    struct error err = ERROR_NONE;
    if (journal_open(folder, mode, &journal, &err))
        fail_msg("journal_open: %s", err.message);
    return journal;
}

static struct journal_run run_of(const char *job, int64_t due_us, int attempt)
{
    struct journal_run run = {.due_us = due_us, .attempt = attempt};
    strncpy(run.cluster, "main", sizeof(run.cluster) - 1);
    strncpy(run.job, job, sizeof(run.job) - 1);
    strncpy(run.type, "dump", sizeof(run.type) - 1);
    return run;
}

static bool claim(struct journal *journal, struct journal_run *run)
{
    bool claimed = false;
    struct error err = ERROR_NONE;
    if (journal_claim(journal, run, &claimed, &err))
        fail_msg("journal_claim: %s", err.message);
    return claimed;
}

static void finish(struct journal *journal, struct journal_run *run, enum journal_outcome outcome)
{
    run->outcome = outcome;
    run->ended_us = instant_now_us();
    assert_int_equal(journal_finish(journal, run, NULL), 0);
}

static void test_claims_a_due_once(void **state)
{
    (void)state;
    _cleanup_(journal_freep) struct journal *journal = open_journal(JOURNAL_WRITE);
    _cleanup_(journal_freep) struct journal *other = open_journal(JOURNAL_WRITE);
    struct journal_run first = run_of("nightly", DUE_US, 1), again = first, retry = first;
    assert_true(claim(journal, &first));
    assert_false(claim(other, &again));
    assert_string_equal(again.run_id, first.run_id);
    retry.attempt = 2;
    assert_true(claim(journal, &retry));
    assert_string_not_equal(retry.run_id, first.run_id);
    struct journal_run other_job = run_of("weekly", DUE_US, 1);
    assert_true(claim(journal, &other_job));
}

static void test_a_done_due_is_not_retried(void **state)
{
    (void)state;
    _cleanup_(journal_freep) struct journal *journal = open_journal(JOURNAL_WRITE);
    struct journal_run first = run_of("nightly", DUE_US, 1), retry = run_of("nightly", DUE_US, 2);
    assert_true(claim(journal, &first));
    finish(journal, &first, OUTCOME_DONE);
    assert_false(claim(journal, &retry));
    assert_int_equal(retry.outcome, OUTCOME_DONE);
}

static void test_runs_by_hand_never_collide(void **state)
{
    (void)state;
    _cleanup_(journal_freep) struct journal *journal = open_journal(JOURNAL_WRITE);
    struct journal_run a = run_of("nightly", INSTANT_NONE, 1), b = a;
    assert_true(claim(journal, &a));
    assert_true(claim(journal, &b));
}

static void test_keeps_what_a_run_left(void **state)
{
    (void)state;
    _cleanup_(journal_freep) struct journal *journal = open_journal(JOURNAL_WRITE);
    struct journal_run run = run_of("nightly", DUE_US, 1), read;
    bool found = false;
    assert_true(claim(journal, &run));
    assert_int_equal(journal_begin(journal, run.run_id, NULL), 0);
    strncpy(run.backup_id, "20261121T020000Z-x7q2", sizeof(run.backup_id) - 1);
    run.bytes_source = 5;
    run.bytes_stored = 3;
    strncpy(run.error_code, "sql", sizeof(run.error_code) - 1);
    strncpy(run.message, "it's \"broken\"", sizeof(run.message) - 1);
    strncpy(run.hint, "mend it", sizeof(run.hint) - 1);
    finish(journal, &run, OUTCOME_FAILED);
    journal = journal_free(journal);

    journal = open_journal(JOURNAL_READ);
    assert_int_equal(journal_find(journal, run.run_id, &read, NULL), 0);
    assert_int_equal(read.outcome, OUTCOME_FAILED);
    assert_int_equal(read.due_us, DUE_US);
    assert_int_equal(read.attempt, 1);
    assert_int_equal(read.bytes_source, 5);
    assert_int_equal(read.bytes_stored, 3);
    assert_true(read.started_us >= run.claimed_us);
    assert_string_equal(read.backup_id, run.backup_id);
    assert_string_equal(read.error_code, "sql");
    assert_string_equal(read.message, run.message);
    assert_string_equal(read.hint, "mend it");
    assert_int_equal(journal_last(journal, "main", "nightly", OUTCOME_DONE, &found, &read, NULL),
                     0);
    assert_false(found);
    assert_int_equal(journal_last(journal, "main", "nightly", OUTCOME_COUNT, &found, &read, NULL),
                     0);
    assert_true(found);
}

static void test_an_outcome_is_final(void **state)
{
    (void)state;
    _cleanup_(journal_freep) struct journal *journal = open_journal(JOURNAL_WRITE);
    struct journal_run run = run_of("nightly", DUE_US, 1), read;
    struct error err = ERROR_NONE;
    assert_true(claim(journal, &run));
    finish(journal, &run, OUTCOME_DONE);
    finish(journal, &run, OUTCOME_FAILED);
    assert_int_equal(journal_find(journal, run.run_id, &read, NULL), 0);
    assert_int_equal(read.outcome, OUTCOME_DONE);
    assert_int_equal(journal_begin(journal, run.run_id, &err), ERR_CONFLICT);
    assert_int_equal(journal_begin(journal, "nobody", &err), ERR_NOT_FOUND);
    assert_string_equal(err.message, "the journal has no run nobody");
}

struct seen {
    int count;
    struct journal_run last;
};

static int see(const struct journal_run *run, void *context, struct error *err)
{
    (void)err;
    struct seen *seen = context;
    seen->count++;
    seen->last = *run;
    return 0;
}

/* Claims and begins a run in a process of its own, which is then killed. */
static void die_in_mid_run(void)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct journal_run run = run_of("nightly", DUE_US, 1);
        struct journal *journal = open_journal(JOURNAL_WRITE);
        claim(journal, &run);
        journal_begin(journal, run.run_id, NULL);
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_finds_interrupted_runs(void **state)
{
    (void)state;
    struct seen interrupted = {0}, running = {0};
    die_in_mid_run();
    _cleanup_(journal_freep) struct journal *journal = open_journal(JOURNAL_WRITE);
    struct journal_run mine = run_of("weekly", DUE_US, 1);
    assert_true(claim(journal, &mine));
    assert_int_equal(journal_each_running(journal, see, &running, NULL), 0);
    assert_int_equal(running.count, 1);
    assert_string_equal(running.last.run_id, mine.run_id);
    assert_int_equal(journal_recover(journal, NULL, NULL, see, &interrupted, NULL), 0);
    assert_int_equal(interrupted.count, 1);
    assert_string_equal(interrupted.last.job, "nightly");
    assert_int_equal(interrupted.last.outcome, OUTCOME_INTERRUPTED);
    interrupted.count = 0;
    assert_int_equal(journal_recover(journal, NULL, NULL, see, &interrupted, NULL), 0);
    assert_int_equal(interrupted.count, 0);
}

static void test_progress_is_seen_while_it_runs(void **state)
{
    (void)state;
    _cleanup_(journal_freep) struct journal *journal = open_journal(JOURNAL_WRITE);
    struct journal_run run = run_of("nightly", DUE_US, 1);
    struct seen running = {0};
    assert_true(claim(journal, &run));
    journal_progress(journal, run.run_id, "dumping app", 1, 10);
    journal_progress(journal, run.run_id, "dumping app", 2, 10); /* within the same second */
    assert_int_equal(journal_each_running(journal, see, &running, NULL), 0);
    assert_string_equal(running.last.phase, "dumping app");
    assert_int_equal(running.last.done, 1);
    assert_int_equal(running.last.total, 10);
    journal_progress(journal, run.run_id, "dumping other", 7, 10);
    assert_int_equal(journal_each_running(journal, see, &running, NULL), 0);
    assert_int_equal(running.last.done, 7);
    finish(journal, &run, OUTCOME_DONE);
    struct journal_run read;
    assert_int_equal(journal_find(journal, run.run_id, &read, NULL), 0);
    assert_string_equal(read.phase, "");
}

static void test_history_is_bounded_and_keeps_the_last_success(void **state)
{
    (void)state;
    _cleanup_(journal_freep) struct journal *journal = open_journal(JOURNAL_WRITE);
    struct journal_run success = run_of("nightly", DUE_US, 1), read;
    struct journal_run failure = run_of("nightly", DUE_US + 1, 1);
    assert_true(claim(journal, &success));
    finish(journal, &success, OUTCOME_DONE);
    assert_true(claim(journal, &failure));
    finish(journal, &failure, OUTCOME_FAILED);
    bool found = false;
    for (int i = 0; i < JOURNAL_RUNS_PER_JOB_MAX; i++) {
        struct journal_run run = run_of("nightly", DUE_US + 2 + i, 1);
        assert_true(claim(journal, &run));
        finish(journal, &run, OUTCOME_SKIPPED);
    }
    assert_int_equal(journal_find(journal, failure.run_id, &read, NULL), ERR_NOT_FOUND);
    assert_int_equal(journal_last(journal, "main", "nightly", OUTCOME_DONE, &found, &read, NULL),
                     0);
    assert_true(found);
    assert_string_equal(read.run_id, success.run_id);
}

static void test_accounts_by_schedule(void **state)
{
    (void)state;
    _cleanup_(journal_freep) struct journal *journal = open_journal(JOURNAL_WRITE);
    int64_t due_us = 0;
    assert_int_equal(journal_accounted(journal, "main", "a", "0 2 * * * UTC", &due_us, NULL), 0);
    assert_true(due_us == INSTANT_NONE);
    assert_int_equal(journal_account(journal, "main", "a", "0 2 * * * UTC", DUE_US, NULL), 0);
    assert_int_equal(journal_accounted(journal, "main", "a", "0 2 * * * UTC", &due_us, NULL), 0);
    assert_int_equal(due_us, DUE_US);
    assert_int_equal(journal_accounted(journal, "main", "a", "0 3 * * * UTC", &due_us, NULL), 0);
    assert_true(due_us == INSTANT_NONE);
}

static void test_forgets_the_future(void **state)
{
    (void)state;
    _cleanup_(journal_freep) struct journal *journal = open_journal(JOURNAL_WRITE);
    struct journal_run past = run_of("a", DUE_US, 1), future = run_of("a", DUE_US * 3, 1);
    struct journal_run past_again = past, future_again = future;
    int64_t due_us = 0;
    assert_true(claim(journal, &past) && claim(journal, &future));
    assert_int_equal(journal_account(journal, "main", "a", "s", DUE_US * 3, NULL), 0);
    assert_int_equal(journal_forget_after(journal, DUE_US * 2, NULL), 0);
    assert_false(claim(journal, &past_again));
    assert_true(claim(journal, &future_again));
    assert_int_equal(journal_accounted(journal, "main", "a", "s", &due_us, NULL), 0);
    assert_int_equal(due_us, DUE_US * 2);
}

static void test_a_heartbeat_names_its_process(void **state)
{
    (void)state;
    _cleanup_(journal_freep) struct journal *journal = open_journal(JOURNAL_WRITE);
    struct journal_daemon daemon;
    assert_int_equal(journal_daemon(journal, &daemon, NULL), 0);
    assert_int_equal(daemon.process.pid, 0);
    assert_false(process_alive(&daemon.process));
    assert_int_equal(journal_heartbeat(journal, DUE_US, NULL), 0);
    assert_int_equal(journal_daemon(journal, &daemon, NULL), 0);
    assert_int_equal(daemon.process.pid, getpid());
    assert_int_equal(daemon.started_us, DUE_US);
    assert_true(process_alive(&daemon.process));
    daemon.process.start_ticks++; /* the id given to another process */
    assert_false(process_alive(&daemon.process));
}

static void write_over(off_t offset, size_t length)
{
    char path[128], noise[4096];
    memset(noise, 'x', sizeof(noise));
    snprintf(path, sizeof(path), "%s/journal.db", folder);
    _cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, noise, length, offset), (ssize_t)length);
}

static void assert_replaced(struct journal *journal)
{
    char path[128];
    struct journal_run run = run_of("nightly", DUE_US, 1);
    snprintf(path, sizeof(path), "%s/journal.db.corrupt", folder);
    assert_non_null(journal_notice(journal));
    assert_non_null(strstr(journal_notice(journal), "moved aside"));
    assert_int_equal(access(path, F_OK), 0);
    assert_true(claim(journal, &run));
}

static void test_a_file_of_noise_is_moved_aside(void **state)
{
    (void)state;
    write_over(0, 4096);
    _cleanup_(journal_freep) struct journal *journal = open_journal(JOURNAL_WRITE);
    assert_replaced(journal);
}

static void test_a_damaged_page_is_found_at_the_daemons_start(void **state)
{
    (void)state;
    _cleanup_(journal_freep) struct journal *journal = open_journal(JOURNAL_WRITE);
    for (int i = 0; i < 50; i++) {
        struct journal_run run = run_of("nightly", DUE_US + i, 1);
        assert_true(claim(journal, &run));
    }
    journal = journal_free(journal);
    write_over(4096, 4096);
    journal = open_journal(JOURNAL_CHECK);
    assert_replaced(journal);
}

static void test_sees_that_its_file_is_gone(void **state)
{
    (void)state;
    _cleanup_(journal_freep) struct journal *journal = open_journal(JOURNAL_WRITE);
    assert_null(journal_notice(journal));
    assert_false(journal_lost(journal));
    remove_file("journal.db");
    assert_true(journal_lost(journal));
    _cleanup_(journal_freep) struct journal *other = open_journal(JOURNAL_WRITE);
    assert_true(journal_lost(journal));
    assert_false(journal_lost(other));
}

static void test_reading_makes_nothing(void **state)
{
    (void)state;
    struct journal *journal = NULL;
    struct error err = ERROR_NONE;
    char path[128];
    snprintf(path, sizeof(path), "%s/journal.db", folder);
    assert_int_equal(journal_open(folder, JOURNAL_READ, &journal, &err), ERR_NOT_FOUND);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_where_the_journal_is(void **state)
{
    (void)state;
    _cleanup_(freep) char *path = NULL;
    setenv("STATE_DIRECTORY", "/run/a:/run/b", 1);
    assert_int_equal(journal_folder(JOURNAL_WRITE, &path, NULL), 0);
    assert_string_equal(path, "/run/a");
    unsetenv("STATE_DIRECTORY");
}

static int add_total(const struct journal_total *total, void *context, struct error *err)
{
    char *text = context;
    (void)err;
    snprintf(text + strlen(text), 256 - strlen(text), "%s/%s %s=%d;", total->cluster, total->job,
             total->what, (int)total->count);
    return 0;
}

static void assert_totals(struct journal *journal, const char *expected)
{
    char text[256] = "";
    assert_int_equal(journal_each_total(journal, add_total, text, NULL), 0);
    assert_string_equal(text, expected);
}

static void test_counts_what_happened(void **state)
{
    (void)state;
    _cleanup_(journal_freep) struct journal *journal = open_journal(JOURNAL_WRITE);
    struct journal_run run = run_of("nightly", DUE_US, 1), again = run_of("nightly", DUE_US, 2);
    struct journal_run missed = run_of("nightly", 2 * DUE_US, 1);
    assert_true(claim(journal, &run));
    finish(journal, &run, OUTCOME_FAILED);
    finish(journal, &run, OUTCOME_DONE); /* it had ended */
    assert_true(claim(journal, &again));
    again.bytes_stored = 70;
    finish(journal, &again, OUTCOME_DONE);
    assert_true(claim(journal, &missed));
    snprintf(missed.message, sizeof(missed.message), "missed: 3 due");
    finish(journal, &missed, OUTCOME_SKIPPED);
    assert_totals(journal, "main/nightly bytes_stored=70;main/nightly done=1;main/nightly failed=1;"
                           "main/nightly missed=1;main/nightly retried=1;");
}

/* What an older version wrote is read as it is, and brought up to date by who writes. */
static void test_brings_an_older_file_up_to_date(void **state)
{
    (void)state;
    char path[128];
    sqlite3 *db = NULL;
    struct journal_run run = run_of("nightly", DUE_US, 1), found;
    struct journal *journal = open_journal(JOURNAL_WRITE);
    assert_true(claim(journal, &run));
    journal_free(journal);
    snprintf(path, sizeof(path), "%s/journal.db", folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "DROP TRIGGER runs_ended; DROP TRIGGER runs_retried;"
                                  "DROP TABLE totals; DROP TABLE pauses; DROP TABLE notices;"
                                  "DROP TABLE troubles; PRAGMA user_version = 1",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    journal = open_journal(JOURNAL_READ);
    assert_int_equal(journal_find(journal, run.run_id, &found, NULL), 0);
    assert_totals(journal, "");
    journal_free(journal);
    journal = open_journal(JOURNAL_CHECK);
    assert_null(journal_notice(journal));
    finish(journal, &run, OUTCOME_DONE);
    assert_totals(journal, "main/nightly bytes_stored=0;main/nightly done=1;");
    journal_free(journal);
}

/* A server's words in another encoding, and a person's: they must not make JSON impossible. */
static void test_words_are_read_as_utf8(void **state)
{
    (void)state;
    _cleanup_(journal_freep) struct journal *journal = open_journal(JOURNAL_WRITE);
    struct journal_run run = run_of("nightly", DUE_US, 1), found;
    struct journal_pause pause = {.cluster = "main",
                                  .job = "nightly",
                                  .from_us = DUE_US,
                                  .until_us = INSTANT_NONE,
                                  .who = "ren\xe9",
                                  .reason = "d\xc3\xa9j\xe0 vu"};
    bool is_paused = false;
    assert_true(claim(journal, &run));
    strncpy(run.message, "Verbindung verweigert \xfc", sizeof(run.message) - 1);
    finish(journal, &run, OUTCOME_FAILED);
    assert_int_equal(journal_find(journal, run.run_id, &found, NULL), 0);
    assert_string_equal(found.message, "Verbindung verweigert ?");
    assert_int_equal(journal_pause(journal, &pause, NULL), 0);
    assert_int_equal(
        journal_paused_at(journal, "main", "nightly", DUE_US, &is_paused, &pause, NULL), 0);
    assert_true(is_paused);
    assert_string_equal(pause.who, "ren?");
    assert_string_equal(pause.reason, "d\xc3\xa9j? vu");
}

#define ROW(function) cmocka_unit_test_setup_teardown(function, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_claims_a_due_once),
        ROW(test_a_done_due_is_not_retried),
        ROW(test_runs_by_hand_never_collide),
        ROW(test_keeps_what_a_run_left),
        ROW(test_an_outcome_is_final),
        ROW(test_finds_interrupted_runs),
        ROW(test_progress_is_seen_while_it_runs),
        ROW(test_history_is_bounded_and_keeps_the_last_success),
        ROW(test_accounts_by_schedule),
        ROW(test_forgets_the_future),
        ROW(test_a_heartbeat_names_its_process),
        ROW(test_words_are_read_as_utf8),
        ROW(test_a_file_of_noise_is_moved_aside),
        ROW(test_a_damaged_page_is_found_at_the_daemons_start),
        ROW(test_sees_that_its_file_is_gone),
        ROW(test_reading_makes_nothing),
        ROW(test_where_the_journal_is),
        ROW(test_counts_what_happened),
        ROW(test_brings_an_older_file_up_to_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
