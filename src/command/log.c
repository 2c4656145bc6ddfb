/* `log`: what a run said, kept in the state folder; and which runs of a job there were. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/table.h"
#include "base/units.h"
#include "base/utf8.h"
#include "command/commands.h"
#include "journal/journal.h"
#include "journal/run_log.h"

enum { LISTED_RUNS = 20, LISTED_MAX = JOURNAL_RUNS_PER_JOB_MAX };

static const struct command_option OPTIONS[] = {
    {"list", OPTION_FLAG, NULL, "the runs of the job, newest last, with their ids"},
    {"n", OPTION_TEXT, "N", "how many of them (20)"},
    {NULL, OPTION_FLAG, NULL, NULL},
};

struct place {
    char *folder;
    struct journal *journal;
};

static void place_clear(struct place *place)
{
    journal_free(place->journal);
    free(place->folder);
}

static int open_place(struct place *place, struct error *err)
{
    int rc = journal_folder(JOURNAL_READ, &place->folder, err);
    if (!rc)
        rc = journal_open(place->folder, JOURNAL_READ, &place->journal, err);
    if (rc == ERR_NOT_FOUND)
        error_hint(err, "if runs are recorded elsewhere, set STATE_DIRECTORY to that folder");
    return rc;
}

static void split_name(const char *name, char cluster[JOURNAL_NAME_MAX], const char **ret_job)
{
    const char *slash = strchr(name, '/');
    snprintf(cluster, JOURNAL_NAME_MAX, "%.*s", (int)(slash - name), name);
    *ret_job = slash + 1;
}

static int no_run(const char *name, struct error *err)
{
    error_set(err, ERR_NOT_FOUND, "no run of %s is on record", name);
    return error_hint(err, "\"pgcairn status\" lists the jobs and their last runs");
}

/* -- the runs of a job ----------------------------------------------------------------------- */

struct listing {
    const char *job;
    struct journal_run *runs; /* a ring of the newest */
    size_t seen, most;
};

static int keep_run(const struct journal_run *run, void *context, struct error *err)
{
    struct listing *listing = context;
    (void)err;
    if (strcmp(run->job, listing->job) == 0)
        listing->runs[listing->seen++ % listing->most] = *run;
    return 0;
}

static json_t *run_json(const struct journal_run *run)
{
    char message[ERROR_MESSAGE_MAX];
    snprintf(message, sizeof(message), "%s", run->message);
    return json_pack("{s:s, s:s, s:s, s:o, s:i, s:s, s:o, s:o, s:I, s:s}", "run_id", run->run_id,
                     "cluster", run->cluster, "job", run->job, "due", json_instant(run->due_us),
                     "attempt", run->attempt, "outcome", journal_outcome_name(run->outcome),
                     "started_at", json_instant(run->started_us), "ended_at",
                     json_instant(run->ended_us), "bytes", (json_int_t)run->bytes_stored, "message",
                     utf8_mend(message));
}

static int add_row(struct table *table, const struct journal_run *run, struct error *err)
{
    char due[INSTANT_TEXT_MAX] = "-", took[UNITS_TEXT_MAX] = "-", attempt[16];
    if (run->due_us != INSTANT_NONE)
        instant_format(run->due_us, due);
    if (run->started_us != INSTANT_NONE && run->ended_us != INSTANT_NONE)
        duration_format(run->ended_us - run->started_us, took);
    snprintf(attempt, sizeof(attempt), "%d", run->attempt);
    return table_row(table, err, run->run_id, due, attempt, journal_outcome_name(run->outcome),
                     took, run->message);
}

static int print_listing(const struct globals *globals, const struct listing *listing,
                         struct error *err)
{
    _cleanup_(table_freep) struct table *table = NULL;
    json_t *list = json_array();
    size_t first = listing->seen > listing->most ? listing->seen - listing->most : 0;
    int rc = table_new("RUN|DUE|>TRY|OUTCOME|>TOOK|MESSAGE", &table, err);
    for (size_t i = first; i < listing->seen && !rc; i++) {
        const struct journal_run *run = &listing->runs[i % listing->most];
        json_array_append_new(list, run_json(run));
        rc = add_row(table, run, err);
    }
    if (!rc && globals->json)
        return command_print_json(json_pack("{s:o}", "runs", list), err);
    json_decref(list);
    return rc ? rc : table_print(table, stdout, err);
}

static int list_runs(const struct globals *globals, const char *name, int64_t most,
                     struct error *err)
{
    _cleanup_(place_clear) struct place place = {0};
    char cluster[JOURNAL_NAME_MAX];
    struct listing listing = {.most = (size_t)most};
    _cleanup_(freep) struct journal_run *runs = calloc(listing.most, sizeof(*runs));
    if (!runs)
        return error_no_memory(err);
    listing.runs = runs;
    split_name(name, cluster, &listing.job);
    int rc = open_place(&place, err);
    if (!rc)
        rc = journal_each(place.journal, cluster, keep_run, &listing, err);
    if (!rc && listing.seen == 0)
        return no_run(name, err);
    return rc ? rc : print_listing(globals, &listing, err);
}

/* -- one run --------------------------------------------------------------------------------- */

/* "TIME LEVEL message"; what is not so is a message alone. */
static json_t *line_json(const char *line, size_t length)
{
    char text[LOG_LINE_MAX], at[INSTANT_TEXT_MAX] = "", level[16] = "";
    int64_t at_us = INSTANT_NONE;
    bool has_offset = false;
    int used = 0;
    snprintf(text, sizeof(text), "%.*s", (int)length, line);
    utf8_mend(text);
    if (sscanf(text, "%39s %15s %n", at, level, &used) < 2 || used == 0 ||
        instant_parse(at, &at_us, &has_offset, NULL))
        return json_pack("{s:n, s:n, s:s}", "time", "level", "message", text);
    return json_pack("{s:s, s:s, s:s}", "time", at, "level", level, "message", text + used);
}

static json_t *lines_json(const struct buf *text)
{
    json_t *list = json_array();
    for (const char *line = buf_text(text); *line;) {
        size_t length = strcspn(line, "\n");
        json_array_append_new(list, line_json(line, length));
        line += length + (line[length] == '\n');
    }
    return list;
}

static int print_log(const struct globals *globals, const struct place *place, const char *run_id,
                     struct error *err)
{
    _cleanup_(buf_clear) struct buf text = BUF_INIT(2 * RUN_LOG_BYTES_MAX);
    struct journal_run run;
    int rc = run_log_read(place->folder, run_id, &text, err);
    if (rc)
        return rc;
    if (globals->json) {
        bool is_known = journal_find(place->journal, run_id, &run, NULL) == 0;
        return command_print_json(json_pack("{s:s, s:o, s:o}", "run_id", run_id, "run",
                                            is_known ? run_json(&run) : json_null(), "lines",
                                            lines_json(&text)),
                                  err);
    }
    if (fwrite(buf_text(&text), 1, text.length, stdout) != text.length || fflush(stdout) != 0)
        return error_set_errno(err, errno, "could not write to stdout");
    return 0;
}

static int show_log(const struct globals *globals, const char *name, struct error *err)
{
    _cleanup_(place_clear) struct place place = {0};
    struct journal_run last;
    char cluster[JOURNAL_NAME_MAX];
    const char *job;
    bool found = false;
    int rc = open_place(&place, err);
    if (rc || !strchr(name, '/'))
        return rc ? rc : print_log(globals, &place, name, err);
    split_name(name, cluster, &job);
    rc = journal_last(place.journal, cluster, job, OUTCOME_COUNT, &found, &last, err);
    if (!rc && !found)
        return no_run(name, err);
    return rc ? rc : print_log(globals, &place, last.run_id, err);
}

static int command_log(const struct globals *globals, const struct arguments *arguments,
                       struct error *err)
{
    const char *name = arguments->words.items[0], *most = argument_text(arguments, "n");
    int64_t count = LISTED_RUNS;
    int rc = most ? number_parse(most, "-n", 1, LISTED_MAX, &count, err) : 0;
    if (rc)
        return rc;
    if (!argument_flag(arguments, "list"))
        return most ? error_set(err, ERR_USAGE, "-n goes with --list")
                    : show_log(globals, name, err);
    if (!strchr(name, '/'))
        return error_set(err, ERR_USAGE, "--list needs CLUSTER/JOB, not \"%s\"", name);
    return list_runs(globals, name, count, err);
}

const struct command COMMAND_LOG = {
    .name = "log",
    .usage = "CLUSTER/JOB [--list [-n N]] | RUN_ID",
    .summary = "what the last run of a job said, or a run by its id; and which runs there were",
    .examples = "  pgcairn log automatos/nightly\n"
                "  pgcairn log automatos/nightly --list\n"
                "  pgcairn log 20261121T020000Z-x7q2k9",
    .min_words = 1,
    .max_words = 1,
    .options = OPTIONS,
    .run = command_log,
};
