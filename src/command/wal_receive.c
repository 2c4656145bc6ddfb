/* wal receive: the server's WAL through a replication slot, until a signal comes. */
#include <string.h>

#include "base/log.h"
#include "base/state.h"
#include "base/units.h"
#include "command/commands.h"
#include "command/opened.h"
#include "command/policy_stdin.h"
#include "work/wal_receive.h"
#include "work/work.h"

static void show_notice(const char *text, void *context)
{
    (void)context;
    log_line(LOG_INFO, "%s", text);
}

static void show_report(const struct wal_receive_report *report, void *context)
{
    char received[WAL_LSN_TEXT_MAX], bytes[UNITS_TEXT_MAX], age[UNITS_TEXT_MAX];
    (void)context;
    log_line(report->is_held_up ? LOG_WARNING : LOG_INFO,
             "timeline %u received to %s; %llu files stored, %zu wait; the slot holds %s, the "
             "oldest of it since %s%s",
             report->timeline, wal_lsn_format(report->received_lsn, received),
             (unsigned long long)report->stored, report->waiting,
             size_format(report->lag_bytes, bytes),
             duration_format(report->lag_us / US_PER_SECOND * US_PER_SECOND, age),
             report->is_held_up ? "; nothing is received until the repository has taken some" : "");
}

static const struct policy_job *find_job(const struct policy *policy)
{
    for (size_t i = 0; i < policy->job_count; i++)
        if (policy->jobs[i].type == JOB_WAL)
            return &policy->jobs[i];
    return NULL;
}

static int read_options(const struct arguments *arguments, struct wal_receive *receive,
                        struct error *err)
{
    const char *acknowledge = argument_text(arguments, "acknowledge");
    receive->slot = argument_text(arguments, "slot");
    if (receive->job) {
        receive->acknowledge = receive->job->acknowledge;
        receive->spool_limit = receive->job->spool_limit;
    }
    if (receive->slot && !pg_slot_name_valid(receive->slot))
        return error_set(
            err, ERR_USAGE,
            "--slot must be 1 to %d lower-case letters, digits or \"_\", not \"%.100s\"",
            PG_SLOT_NAME_MAX - 1, receive->slot);
    if (acknowledge && strcmp(acknowledge, "stored") == 0)
        receive->acknowledge = ACKNOWLEDGE_STORED;
    else if (acknowledge && strcmp(acknowledge, "spooled") == 0)
        receive->acknowledge = ACKNOWLEDGE_SPOOLED;
    else if (acknowledge)
        return error_set(err, ERR_USAGE, "--acknowledge must be stored or spooled, not \"%.100s\"",
                         acknowledge);
    if (argument_flag(arguments, "create-slot") && argument_flag(arguments, "drop-slot"))
        return error_set(err, ERR_USAGE, "--create-slot and --drop-slot are two commands");
    return 0;
}

static int create_slot(const struct wal_receive *receive, struct error *err)
{
    char name[PG_SLOT_NAME_MAX];
    bool existed = false;
    int rc = wal_receive_create_slot(receive, &existed, err);
    if (!rc)
        log_line(LOG_INFO, "replication slot \"%s\" %s", wal_receive_slot(receive, name),
                 existed ? "is there already" : "is made: the server keeps its WAL from now on");
    return rc;
}

static int drop_slot(const struct wal_receive *receive, struct error *err)
{
    char name[PG_SLOT_NAME_MAX];
    int rc = wal_receive_drop_slot(receive, err);
    if (!rc)
        log_line(LOG_INFO, "replication slot \"%s\" is dropped", wal_receive_slot(receive, name));
    return rc;
}

static int wal_receive_run(const struct globals *globals, const struct arguments *arguments,
                           struct error *err)
{
    _cleanup_(policy_set_freep) struct policy_set *set = NULL;
    _cleanup_(policy_freep) struct policy *given = NULL;
    _cleanup_(freep) char *state = NULL;
    struct wal_receive receive = {.notice = show_notice, .report = show_report};
    int rc;
    work_catch_signals_to_finish();
    if (argument_flag(arguments, "policy-stdin")) {
        rc = policy_stdin_read(globals, &given, err);
        receive.policy = given;
    } else
        rc = opened_policy(globals, arguments->words.items[0], &set, &receive.policy, err);
    if (rc)
        return rc;
    receive.job = find_job(receive.policy);
    rc = read_options(arguments, &receive, err);
    if (!rc && argument_flag(arguments, "create-slot"))
        return create_slot(&receive, err);
    if (!rc && argument_flag(arguments, "drop-slot"))
        return drop_slot(&receive, err);
    if (!rc)
        rc = state_folder(&state, err);
    receive.state = state;
    return rc ? rc : wal_receive(&receive, err);
}

static const struct command_option RECEIVE_OPTIONS[] = {
    {"create-slot", OPTION_FLAG, NULL, "make the slot, and end: the server keeps WAL from then on"},
    {"drop-slot", OPTION_FLAG, NULL, "drop the slot, and end"},
    {"slot", OPTION_TEXT, "NAME", "its name (slot: of the policy, else pgcairn_CLUSTER)"},
    {"acknowledge", OPTION_TEXT, "WHAT",
     "tell the server to be safe what is \"stored\" in the repository (the default), or \"spooled\": "
     "fsynced in the state folder"},
    {"policy-stdin", OPTION_FLAG, NULL, "the policy's text is on stdin; -c only names its file"},
    {0},
};

const struct command COMMAND_WAL_RECEIVE = {
    .name = "wal receive",
    .usage = "CLUSTER [--create-slot | --drop-slot] [--slot NAME] [--acknowledge stored|spooled]",
    .summary = "store WAL as the server writes it, through a replication slot, until told to stop",
    .examples = "  pgcairn wal receive automatos --create-slot\n"
                "  pgcairn wal receive automatos",
    .min_words = 1,
    .max_words = 1,
    .options = RECEIVE_OPTIONS,
    .run = wal_receive_run,
};
