/* `notify`: who is told, whether it works, and what waits to be told. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/table.h"
#include "base/units.h"
#include "command/commands.h"
#include "command/opened.h"
#include "command/person.h"
#include "command/policy_stdin.h"
#include "command/times.h"
#include "notify/pending.h"

enum { HOST_MAX = 256, ON_MAX = 160 };

#define PENDING_US (10 * US_PER_MINUTE) /* the daemon starts another for what is left */

static const struct command_option OPTIONS[] = {
    {"test", OPTION_FLAG, NULL,
     "send a message that says it is a test to every target; a ping goes to URL/log"},
    {"target", OPTION_TEXT, "N", "only to this one: its number or its key, as listed"},
    {"event", OPTION_TEXT, "EVENT", "as of which event the test looks (failure)"},
    {"job", OPTION_TEXT, "JOB", "of which job (the policy's first)"},
    {"pending", OPTION_FLAG, NULL, "deliver what waits and is due, as the daemon does"},
    {"dry-run", OPTION_FLAG, NULL, "send nothing: show what would be sent"},
    {"policy-stdin", OPTION_FLAG, NULL, "the policy's text is on stdin; -c only names its file"},
    {NULL, OPTION_FLAG, NULL, NULL},
};

struct notifying {
    const struct globals *globals;
    struct policy_set *set;
    struct policy *own; /* of --policy-stdin */
    const struct policy *policy;
    struct journal *journal; /* NULL: there is none */
    bool is_dry;
};

static void notifying_clear(struct notifying *notifying)
{
    journal_free(notifying->journal);
    policy_free(notifying->own);
    policy_set_free(notifying->set);
}

static int open_policy(struct notifying *notifying, const struct arguments *arguments,
                       struct error *err)
{
    const char *cluster = arguments->words.items[0];
    if (!argument_flag(arguments, "policy-stdin"))
        return opened_policy(notifying->globals, cluster, &notifying->set, &notifying->policy, err);
    int rc = policy_stdin_read(notifying->globals, &notifying->own, err);
    notifying->policy = notifying->own;
    if (!rc && strcmp(cluster, notifying->own->cluster) != 0)
        rc = error_set(err, ERR_USAGE, "the policy on stdin is of %s, not %s",
                       notifying->own->cluster, cluster);
    return rc;
}

static int open_journal(struct notifying *notifying, enum journal_mode mode, struct error *err)
{
    _cleanup_(freep) char *folder = NULL;
    int rc = journal_folder(mode, &folder, err);
    return rc ? rc : journal_open(folder, mode, &notifying->journal, err);
}

static json_t *error_json(int rc, const struct error *error)
{
    if (!rc)
        return json_null();
    return json_pack("{s:s, s:s, s:s}", "code", error_code_name(rc), "message", error->message,
                     "hint", error_cure(error));
}

/* -- who is told --------------------------------------------------------------------------- */

static json_t *words_json(unsigned on)
{
    json_t *words = json_array();
    for (int i = 0; i < NOTIFY_EVENT_COUNT; i++)
        if (on & NOTIFY_ON(i))
            json_array_append_new(words,
                                  json_string(notify_event_kind_name((enum notify_event_kind)i)));
    return words;
}

static json_t *names_json(const struct strv *list)
{
    json_t *names = json_array();
    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(names, json_string(list->items[i]));
    return names;
}

/* counts NULL: not known. */
static int print_targets_json(const struct notifying *notifying, const struct outbox_counts *counts,
                              struct error *err)
{
    const struct policy *policy = notifying->policy;
    json_t *targets = json_array();
    for (size_t i = 0; i < policy->notify_count; i++) {
        const struct policy_notify *notify = &policy->notify[i];
        json_array_append_new(targets,
                              json_pack("{s:i, s:s, s:s, s:s, s:o, s:o}", "number", (int)i + 1,
                                        "key", notify->key, "kind", notify_kind_name(notify->kind),
                                        "target", notify->shown, "on", words_json(notify->on),
                                        "jobs", names_json(&notify->jobs)));
    }
    return command_print_json(
        json_pack("{s:s, s:o, s:o, s:o, s:o, s:s?}", "cluster", policy->cluster, "targets", targets,
                  "pending", counts ? json_integer(counts->pending) : json_null(), "failed",
                  counts ? json_integer(counts->failed) : json_null(), "oldest_pending",
                  json_instant(counts ? counts->oldest_pending_us : INSTANT_NONE), "last_error",
                  counts ? counts->last_error : NULL),
        err);
}

static void join(char *text, size_t size, const char *word)
{
    size_t length = strlen(text);
    snprintf(text + length, size - length, "%s%s", length ? ", " : "", word);
}

static int print_targets(const struct policy *policy, struct error *err)
{
    _cleanup_(table_freep) struct table *table = NULL;
    int rc = table_new(">#|TARGET|TOLD OF|JOBS|KEY", &table, err);
    for (size_t i = 0; i < policy->notify_count && !rc; i++) {
        const struct policy_notify *notify = &policy->notify[i];
        char number[24], on[ON_MAX] = "", jobs[ON_MAX] = "";
        snprintf(number, sizeof(number), "%zu", i + 1);
        for (int k = 0; k < NOTIFY_EVENT_COUNT; k++)
            if (notify->on & NOTIFY_ON(k))
                join(on, sizeof(on), notify_event_kind_name((enum notify_event_kind)k));
        for (size_t k = 0; k < notify->jobs.count; k++)
            join(jobs, sizeof(jobs), notify->jobs.items[k]);
        rc = table_row(table, err, number, notify->shown, on, *jobs ? jobs : "all", notify->key);
    }
    return rc ? rc : table_print(table, stdout, err);
}

/* A journal that is not there yet holds nothing that waits; of one that can't be read nobody knows,
 * which is the exit status, but who is told stands in the policy. */
static int list_targets(struct notifying *notifying, struct error *err)
{
    const struct policy *policy = notifying->policy;
    struct outbox_counts counts = {.oldest_pending_us = INSTANT_NONE};
    struct error error = ERROR_NONE;
    char oldest[INSTANT_TEXT_MAX];
    int known = open_journal(notifying, JOURNAL_READ, &error);
    if (!known)
        known = outbox_counts(notifying->journal, policy->cluster, &counts, &error);
    if (known == ERR_NOT_FOUND)
        known = 0;
    int rc = 0;
    if (notifying->globals->json)
        rc = print_targets_json(notifying, known ? NULL : &counts, err);
    else if (policy->notify_count == 0)
        printf("the policy of %s tells nobody: give it notify:\n", policy->cluster);
    else
        rc = print_targets(policy, err);
    if (!rc && known) {
        error_as_unknown(&error);
        *err = error;
        return error_prefix(err, "what waits to be told is not known");
    }
    if (rc || notifying->globals->json)
        return rc;
    if (counts.pending > 0)
        printf("%lld wait to be told, the oldest since %s\n", (long long)counts.pending,
               instant_format(counts.oldest_pending_us, oldest));
    if (counts.failed > 0)
        printf("%lld could not be told\n", (long long)counts.failed);
    if (counts.last_error[0])
        printf("last error: %s\n", counts.last_error);
    return 0;
}

/* -- a test -------------------------------------------------------------------------------- */

struct test {
    struct notify_event event;
    char host[HOST_MAX], cause[PERSON_MAX + 64];
    struct notify_delivery deliveries[POLICY_NOTIFY_MAX];
    int numbers[POLICY_NOTIFY_MAX]; /* of the targets, from 1 */
    size_t count;
};

static int read_event(const struct notifying *notifying, const struct arguments *arguments,
                      struct test *test, struct error *err)
{
    const struct policy *policy = notifying->policy;
    const char *word = argument_text(arguments, "event");
    const char *name = argument_text(arguments, "job");
    char person[PERSON_MAX];
    int kind = word ? 0 : NOTIFY_FAILURE;
    while (word && kind < NOTIFY_EVENT_COUNT &&
           strcmp(word, notify_event_kind_name((enum notify_event_kind)kind)) != 0)
        kind++;
    if (kind == NOTIFY_EVENT_COUNT) {
        error_set(err, ERR_USAGE, "--event: there is no event \"%.40s\"", word);
        return error_hint(err, "failure, recovery, missed, success, stale, policy, retry or start");
    }
    const struct policy_job *job = name ? policy_find_job(policy, name) : policy->jobs;
    if (!job || policy->job_count == 0) {
        error_set(err, ERR_USAGE, "--job: the policy of %s has no job \"%s\"", policy->cluster,
                  name ? name : "");
        return error_hint(err, "\"pgcairn schedule %s\" lists its jobs", policy->cluster);
    }
    if (gethostname(test->host, sizeof(test->host) - 1))
        snprintf(test->host, sizeof(test->host), "?");
    snprintf(test->cause, sizeof(test->cause), "a test by %.100s", person_name(person));
    test->event = notify_event_of((enum notify_event_kind)kind, instant_now_us());
    test->event.cluster = policy->cluster;
    test->event.job = job->name;
    test->event.type = job_type_name(job->type);
    test->event.cause = test->cause;
    test->event.cure = "nothing is to be done";
    test->event.host = test->host;
    return 0;
}

/* By number or key. */
static int choose_targets(const struct policy *policy, const char *target, struct test *test,
                          struct error *err)
{
    int64_t number = 0;
    bool is_number = target && strspn(target, "0123456789") == strlen(target) && *target;
    if (policy->notify_count == 0) {
        error_set(err, ERR_POLICY, "the policy of %s tells nobody", policy->cluster);
        return error_hint(err, "give it a section notify: (pgcairn reference policy)");
    }
    int rc = is_number
                 ? number_parse(target, "--target", 1, (int64_t)policy->notify_count, &number, err)
                 : 0;
    if (rc)
        return rc;
    for (size_t i = 0; i < policy->notify_count; i++) {
        const struct policy_notify *notify = &policy->notify[i];
        if (target && (is_number ? number != (int64_t)i + 1 : strcmp(target, notify->key) != 0))
            continue;
        test->numbers[test->count] = (int)i + 1;
        test->deliveries[test->count++] =
            (struct notify_delivery){.notify = notify, .event = &test->event, .is_test = true};
    }
    if (test->count > 0)
        return 0;
    error_set(err, ERR_USAGE, "--target: there is no target \"%.60s\"", target);
    return error_hint(err, "\"pgcairn notify %s\" lists them", policy->cluster);
}

/* A URL itself is a secret, so of a ping only what is put behind it is shown. */
static int show_dry(const struct notifying *notifying, const struct test *test, struct error *err)
{
    json_t *list = json_array();
    int rc = 0;
    for (size_t i = 0; i < test->count && !rc; i++) {
        struct notify_message message = NOTIFY_MESSAGE_INIT;
        const struct policy_notify *notify = test->deliveries[i].notify;
        rc = notify_message_make(notify, &test->event, true, &message, err);
        if (rc)
            break;
        if (notifying->globals->json)
            json_array_append_new(
                list, json_pack("{s:i, s:s, s:s, s:s, s:s}", "number", test->numbers[i], "target",
                                notify->shown, "suffix", message.suffix, "content_type",
                                message.content_type, "body", buf_text(&message.body)));
        else
            printf("%d. %s%s%s (%s)\n%s\n\n", test->numbers[i], notify->shown,
                   *message.suffix ? ", at its " : "", message.suffix, message.content_type,
                   buf_text(&message.body));
        notify_message_clear(&message);
    }
    json_t *document = json_pack("{s:s, s:b, s:o}", "cluster", notifying->policy->cluster,
                                 "dry_run", 1, "would_send", list);
    if (!rc && notifying->globals->json)
        return command_print_json(document, err);
    json_decref(document);
    return rc;
}

static int print_results_json(const struct notifying *notifying, const struct test *test,
                              struct error *err)
{
    json_t *list = json_array();
    for (size_t i = 0; i < test->count; i++) {
        const struct notify_delivery *delivery = &test->deliveries[i];
        json_array_append_new(
            list, json_pack("{s:i, s:s, s:s, s:b, s:f, s:o}", "number", test->numbers[i], "key",
                            delivery->notify->key, "target", delivery->notify->shown, "delivered",
                            delivery->rc == 0, "took_s", (double)delivery->took_us / 1e6, "error",
                            error_json(delivery->rc, &delivery->error)));
    }
    return command_print_json(json_pack("{s:s, s:s, s:o}", "cluster", notifying->policy->cluster,
                                        "event", notify_event_kind_name(test->event.kind),
                                        "results", list),
                              err);
}

static int run_test(const struct notifying *notifying, const struct arguments *arguments,
                    struct error *err)
{
    struct test test = {.count = 0};
    size_t failed = 0;
    char took[UNITS_TEXT_MAX];
    int rc = choose_targets(notifying->policy, argument_text(arguments, "target"), &test, err);
    if (!rc)
        rc = read_event(notifying, arguments, &test, err);
    if (!rc && notifying->is_dry)
        return show_dry(notifying, &test, err);
    if (!rc)
        rc = notify_deliver(test.deliveries, test.count, NOTIFY_TIMEOUT_US, err);
    for (size_t i = 0; i < test.count && !rc; i++) {
        const struct notify_delivery *delivery = &test.deliveries[i];
        failed += delivery->rc != 0;
        if (delivery->rc)
            log_error(NULL, &delivery->error);
        else if (!notifying->globals->json)
            printf("%d. %s: accepted in %s\n", test.numbers[i], delivery->notify->shown,
                   duration_format(delivery->took_us, took));
    }
    if (!rc && notifying->globals->json)
        rc = print_results_json(notifying, &test, err);
    return rc || failed == 0 ? rc : command_verdict(ERR_FAILED, err);
}

/* -- what waits ---------------------------------------------------------------------------- */

struct account {
    const struct notifying *notifying;
    json_t *list;
    int64_t delivered, failed;
};

/* Of one that is tried again the log says when. */
static void log_failure(const struct notify_told *told)
{
    char next[INSTANT_TEXT_MAX], text[ERROR_MESSAGE_MAX + 1024];
    const struct outbox_notice *notice = told->notice;
    struct log_event event = LOG_EVENT(LOG_WARNING, text);
    if (told->next_us == INSTANT_NONE)
        event.level = LOG_ERROR;
    event.cluster = notice->cluster;
    event.job = notice->job;
    event.hint = error_cure(told->error);
    event.code = error_code_name(told->rc);
    snprintf(text, sizeof(text), "%s%s%s: %s is not told, try %d: %s%s%s", notice->cluster,
             notice->job[0] ? "/" : "", notice->job, notice->kind, notice->attempts + 1,
             told->error->message,
             told->next_us == INSTANT_NONE ? "; given up" : "; tried again at ",
             told->next_us == INSTANT_NONE ? "" : instant_format(told->next_us, next));
    log_event(&event);
}

static void take_told(const struct notify_told *told, void *context)
{
    struct account *account = context;
    const struct outbox_notice *notice = told->notice;
    const char *shown = told->notify ? told->notify->shown : notice->target;
    account->delivered += told->rc == 0;
    account->failed += told->rc != 0;
    if (told->rc)
        log_failure(told);
    else if (!account->notifying->globals->json && !account->notifying->globals->quiet)
        printf("%s%s%s: %s is told to %s\n", notice->cluster, notice->job[0] ? "/" : "",
               notice->job, notice->kind, shown);
    json_array_append_new(account->list, json_pack("{s:I, s:s, s:s, s:s, s:s, s:b, s:o, s:o}", "id",
                                                   (json_int_t)notice->id, "job", notice->job,
                                                   "event", notice->kind, "key", notice->target,
                                                   "target", shown, "delivered", told->rc == 0,
                                                   "next_try", json_instant(told->next_us), "error",
                                                   error_json(told->rc, told->error)));
}

/* What is due now, and is not touched. */
static int show_pending(struct account *account, struct error *err)
{
    const struct notifying *notifying = account->notifying;
    struct outbox_notice *notices = NULL;
    size_t count = 0;
    int rc = outbox_take_due(notifying->journal, notifying->policy->cluster, instant_now_us(),
                             &notices, &count, err);
    for (size_t i = 0; i < count; i++) {
        const struct policy_notify *notify = notify_find(notifying->policy, notices[i].target);
        const char *shown = notify ? notify->shown : notices[i].target;
        if (!notifying->globals->json)
            printf("%s%s%s: would tell %s to %s\n", notices[i].cluster,
                   notices[i].job[0] ? "/" : "", notices[i].job, notices[i].kind, shown);
        json_array_append_new(account->list, json_pack("{s:I, s:s, s:s, s:s, s:s}", "id",
                                                       (json_int_t)notices[i].id, "job",
                                                       notices[i].job, "event", notices[i].kind,
                                                       "key", notices[i].target, "target", shown));
        outbox_notice_clear(&notices[i]);
    }
    free(notices);
    return rc;
}

/* That some could not be told is on record in the outbox: only what keeps the outbox itself from
 * being worked through is an error. */
static int run_pending(struct notifying *notifying, struct error *err)
{
    struct account account = {.notifying = notifying, .list = json_array()};
    int rc = open_journal(notifying, notifying->is_dry ? JOURNAL_READ : JOURNAL_WRITE, err);
    if (!rc && notifying->is_dry)
        rc = show_pending(&account, err);
    else if (!rc)
        rc = notify_pending(notifying->journal, notifying->policy,
                            instant_monotonic_us() + PENDING_US, take_told, &account, err);
    json_t *document =
        json_pack("{s:s, s:b, s:I, s:I, s:o}", "cluster", notifying->policy->cluster, "dry_run",
                  notifying->is_dry, "delivered", (json_int_t)account.delivered, "failed",
                  (json_int_t)account.failed, "notices", account.list);
    if (!rc && notifying->globals->json)
        return command_print_json(document, err);
    json_decref(document);
    return rc;
}

static int check_options(const struct arguments *arguments, struct error *err)
{
    static const char *const OF_TEST[] = {"target", "event", "job"};
    bool is_test = argument_flag(arguments, "test");
    bool is_pending = argument_flag(arguments, "pending");
    if (is_test && is_pending)
        return error_set(err, ERR_USAGE, "--test and --pending exclude each other");
    for (size_t i = 0; i < ARRAY_SIZE(OF_TEST); i++)
        if (argument_text(arguments, OF_TEST[i]) && !is_test)
            return error_set(err, ERR_USAGE, "--%s needs --test", OF_TEST[i]);
    if (argument_flag(arguments, "dry-run") && !is_test && !is_pending)
        return error_set(err, ERR_USAGE, "--dry-run needs --test or --pending");
    return 0;
}

static int run_notify(const struct globals *globals, const struct arguments *arguments,
                      struct error *err)
{
    _cleanup_(notifying_clear) struct notifying notifying = {
        .globals = globals, .is_dry = argument_flag(arguments, "dry-run")};
    int rc = check_options(arguments, err);
    if (!rc)
        rc = open_policy(&notifying, arguments, err);
    if (rc)
        return rc;
    if (argument_flag(arguments, "test"))
        return run_test(&notifying, arguments, err);
    return argument_flag(arguments, "pending") ? run_pending(&notifying, err)
                                               : list_targets(&notifying, err);
}

const struct command COMMAND_NOTIFY = {
    .name = "notify",
    .usage = "CLUSTER [--test [--target N] [--dry-run] | --pending [--dry-run]]",
    .summary = "show who is told of what; try it; deliver what waits",
    .examples = "  pgcairn notify automatos\n"
                "  pgcairn notify automatos --test\n"
                "  pgcairn notify automatos --test --target 2 --event recovery --dry-run\n"
                "  pgcairn notify automatos --pending",
    .min_words = 1,
    .max_words = 1,
    .options = OPTIONS,
    .run = run_notify,
};
