/* `metrics`: what the daemon shows under /metrics, for those who run jobs without it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/table.h"
#include "command/commands.h"
#include "command/opened.h"
#include "command/policy_stdin.h"
#include "watch/collect.h"
#include "watch/gathering.h"
#include "work/work.h"

enum { OUTPUT_MODE = 0644 }; /* node_exporter is another user */

static const struct command_option OPTIONS[] = {
    {"audit", OPTION_FLAG, NULL, "judge every control too; reads every record of evidence"},
    {"output", OPTION_TEXT, "FILE", "replace that file at once, for node_exporter's textfiles"},
    {"list", OPTION_FLAG, NULL, "every metric that there is, with type, labels and meaning"},
    {"gather", OPTION_TEXT, "PART", "facts or audit of CLUSTER as the daemon asks for them, JSON"},
    {"policy-stdin", OPTION_FLAG, NULL, "the policy's text is on stdin; -c only names its file"},
    {NULL, OPTION_FLAG, NULL, NULL},
};

/* -- the table ------------------------------------------------------------------------------- */

static json_t *row_json(const struct metric *metric)
{
    json_t *labels = json_array();
    for (const char *label = metric->labels; *label;) {
        size_t length = strcspn(label, " ");
        json_array_append_new(labels, json_stringn(label, length));
        label += length + (label[length] == ' ');
    }
    return json_pack("{s:s, s:s, s:s, s:o, s:s}", "name", metric->name, "type",
                     metric_type_name(metric->type), "source", metric_source_name(metric->source),
                     "labels", labels, "help", metric->help);
}

static int print_list(const struct globals *globals, struct error *err)
{
    _cleanup_(table_freep) struct table *table = NULL;
    json_t *list = json_array();
    int rc = table_new("METRIC|TYPE|SOURCE|LABELS|MEANING", &table, err);
    for (int id = 0; id < METRIC_COUNT && !rc; id++) {
        const struct metric *metric = metric_row((enum metric_id)id);
        json_array_append_new(list, row_json(metric));
        rc = table_row(table, err, metric->name, metric_type_name(metric->type),
                       metric_source_name(metric->source), metric->labels, metric->help);
    }
    if (rc || !globals->json) {
        json_decref(list);
        return rc ? rc : table_print(table, stdout, err);
    }
    return command_print_json(json_pack("{s:o}", "metrics", list), err);
}

/* -- one part, for the daemon ------------------------------------------------------------------ */

static int gather_part(const struct globals *globals, const struct arguments *arguments,
                       struct error *err)
{
    const char *part = argument_text(arguments, "gather");
    _cleanup_(policy_set_freep) struct policy_set *set = NULL;
    _cleanup_(policy_freep) struct policy *own = NULL;
    const struct policy *policy = NULL;
    json_t *document = NULL;
    bool is_audit = strcmp(part, gathering_part_name(GATHERING_AUDIT)) == 0;
    if (!is_audit && strcmp(part, gathering_part_name(GATHERING_FACTS)) != 0)
        return error_set(err, ERR_USAGE, "--gather takes facts or audit, not \"%s\"", part);
    if (arguments->words.count == 0)
        return error_set(err, ERR_USAGE, "--gather needs a CLUSTER");
    work_catch_signals();
    int rc = argument_flag(arguments, "policy-stdin")
                 ? policy_stdin_read(globals, &own, err)
                 : opened_policy(globals, arguments->words.items[0], &set, &policy, err);
    if (!rc)
        rc = gathering_make(own ? own : policy, is_audit ? GATHERING_AUDIT : GATHERING_FACTS,
                            &document, err);
    return rc ? rc : command_print_json(document, err);
}

/* -- everything -------------------------------------------------------------------------------- */

/* One cluster that can't be asked takes nothing from the others. */
static void note_failure(const struct policy *policy, enum gathering_part part,
                         const struct error *reason, struct samples *samples)
{
    static const char *const SOURCES[] = {"repository", "server", "wal"};
    log_error(policy->cluster, reason);
    if (part == GATHERING_AUDIT)
        samples_add(samples, METRIC_FACTS_UP, 0, policy->cluster, "audit");
    for (size_t i = 0; i < ARRAY_SIZE(SOURCES) && part == GATHERING_FACTS; i++)
        samples_add(samples, METRIC_FACTS_UP, 0, policy->cluster, SOURCES[i]);
}

static void add_times(const struct policy *policy, enum gathering_part part, const json_t *problems,
                      int64_t at_us, struct samples *samples)
{
    static const char *const SOURCES[] = {"repository", "server"};
    if (part == GATHERING_AUDIT)
        samples_add_us(samples, METRIC_FACTS_TIMESTAMP, at_us, policy->cluster, "audit");
    for (size_t i = 0; i < ARRAY_SIZE(SOURCES) && part == GATHERING_FACTS; i++)
        if (!json_is_string(json_object_get(problems, SOURCES[i])))
            samples_add_us(samples, METRIC_FACTS_TIMESTAMP, at_us, policy->cluster, SOURCES[i]);
}

static int add_part(const struct policy *policy, enum gathering_part part, struct samples *samples,
                    bool *is_whole, struct error *err)
{
    _cleanup_(json_release) json_t *document = NULL, *problems = NULL;
    struct samples gathered = SAMPLES_INIT;
    int64_t at_us = INSTANT_NONE;
    struct error reason = ERROR_NONE;
    const char *key;
    json_t *problem;
    int rc = gathering_make(policy, part, &document, &reason);
    if (!rc)
        rc = json_take_instant(document, "at", &at_us, &reason);
    if (!rc)
        rc = samples_from_json(json_object_get(document, "samples"), &gathered, &reason);
    if (rc) {
        *is_whole = false;
        note_failure(policy, part, &reason, samples);
        return work_interrupted(err) ? ERR_INTERRUPTED : 0;
    }
    samples_take(samples, &gathered);
    problems = json_incref(json_object_get(document, "problems"));
    add_times(policy, part, problems, at_us, samples);
    json_object_foreach(problems, key, problem)
    {
        if (!json_is_string(problem) || strcmp(key, "archiving") == 0)
            continue;
        *is_whole = false;
        log_line(LOG_WARNING, "%s: %s: %s", policy->cluster, key, json_string_value(problem));
    }
    return 0;
}

static int add_journal(const struct policy *const *policies, size_t count, struct samples *samples,
                       bool *is_whole, struct error *err)
{
    _cleanup_(journal_freep) struct journal *journal = NULL;
    _cleanup_(freep) char *folder = NULL;
    struct error reason = ERROR_NONE;
    int rc = journal_folder(JOURNAL_READ, &folder, &reason);
    if (!rc)
        rc = journal_open(folder, JOURNAL_READ, &journal, &reason);
    if (rc && rc != ERR_NOT_FOUND) {
        log_line(LOG_WARNING, "%s", reason.message);
        *is_whole = false;
    }
    samples_add(samples, METRIC_JOURNAL_UP, rc == 0 || rc == ERR_NOT_FOUND);
    rc = collect_daemon(journal, samples, err);
    return rc ? rc : collect_jobs(journal, policies, count, instant_now_us(), samples, err);
}

static int write_text(const struct globals *globals, const struct arguments *arguments,
                      struct samples *samples, struct error *err)
{
    const char *path = argument_text(arguments, "output");
    _cleanup_(buf_clear) struct buf text = BUF_INIT(METRICS_BYTES_MAX);
    if (globals->json && !path)
        return command_print_json(json_pack("{s:o}", "samples", samples_to_json(samples)), err);
    int rc = metrics_write(samples, &text, err);
    if (rc)
        return rc;
    if (path)
        return file_replace(path, buf_text(&text), text.length, OUTPUT_MODE, err);
    if (fwrite(buf_text(&text), 1, text.length, stdout) != text.length || fflush(stdout) != 0)
        return error_set_errno(err, errno, "could not write to stdout");
    return 0;
}

static int collect_all(const struct arguments *arguments, const struct policy *const *policies,
                       size_t count, struct samples *samples, bool *is_whole, struct error *err)
{
    int rc = add_journal(policies, count, samples, is_whole, err);
    for (size_t i = 0; i < count && !rc; i++) {
        rc = add_part(policies[i], GATHERING_FACTS, samples, is_whole, err);
        if (!rc && argument_flag(arguments, "audit"))
            rc = add_part(policies[i], GATHERING_AUDIT, samples, is_whole, err);
    }
    return rc;
}

static int command_metrics(const struct globals *globals, const struct arguments *arguments,
                           struct error *err)
{
    _cleanup_(policy_set_freep) struct policy_set *set = NULL;
    _cleanup_(samples_clear) struct samples samples = SAMPLES_INIT;
    const struct policy *policies[POLICY_SET_MAX];
    bool is_whole = true;
    size_t count = 1;
    if (argument_flag(arguments, "list"))
        return print_list(globals, err);
    if (argument_text(arguments, "gather"))
        return gather_part(globals, arguments, err);
    int rc = arguments->words.count
                 ? opened_policy(globals, arguments->words.items[0], &set, &policies[0], err)
                 : policy_set_load(&globals->policy_paths, &set, err);
    if (rc)
        return rc;
    for (size_t i = 0; !arguments->words.count && i < policy_set_count(set); i++)
        policies[i] = policy_set_get(set, i);
    count = arguments->words.count ? 1 : policy_set_count(set);
    work_catch_signals();
    rc = collect_all(arguments, policies, count, &samples, &is_whole, err);
    if (!rc)
        rc = write_text(globals, arguments, &samples, err);
    return rc ? rc : command_verdict(is_whole ? 0 : ERR_UNKNOWN, err);
}

const struct command COMMAND_METRICS = {
    .name = "metrics",
    .usage = "[CLUSTER] [--audit] [--output FILE] | --list",
    .summary = "metrics for Prometheus, as the daemon's /metrics has them",
    .examples = "  pgcairn metrics\n"
                "  pgcairn metrics --audit --output /var/lib/node_exporter/pgcairn.prom\n"
                "  pgcairn metrics --list",
    .min_words = 0,
    .max_words = 1,
    .options = OPTIONS,
    .run = command_metrics,
};
