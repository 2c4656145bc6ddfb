/* `pause`, `resume`: stop and restart the scheduling of a job, on record. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "command/commands.h"
#include "command/opened.h"
#include "command/person.h"
#include "command/times.h"
#include "journal/pause.h"

static const struct command_option PAUSE_OPTIONS[] = {
    {"reason", OPTION_TEXT, "TEXT", "why, for those who wonder later"},
    {"until", OPTION_TEXT, "TIME", "when it goes on by itself: a time, or a duration from now"},
    {NULL, OPTION_FLAG, NULL, NULL},
};

struct paused_job {
    struct policy_set *set;
    const struct policy *policy; /* borrowed from the set, as is the job */
    const struct policy_job *job;
    struct journal *journal;
};

static void paused_job_clear(struct paused_job *paused)
{
    journal_free(paused->journal);
    policy_set_free(paused->set);
}

/* A pause that is not written down would be none, so without a journal this fails. */
static int open_job(const struct globals *globals, const struct arguments *arguments,
                    struct paused_job *paused, struct error *err)
{
    _cleanup_(freep) char *folder = NULL;
    int rc = opened_job(globals, arguments->words.items[0], &paused->set, &paused->policy,
                        &paused->job, err);
    if (!rc)
        rc = journal_folder(JOURNAL_WRITE, &folder, err);
    return rc ? rc : journal_open(folder, JOURNAL_WRITE, &paused->journal, err);
}

/* What people believe that a pause does to WAL, and what it does. */
static void warn_of_wal(const struct policy_job *job)
{
    if (job->type != JOB_WAL)
        return;
    log_line(LOG_WARNING,
             "the server goes on to make WAL%s; what is paused is the check that none is missing "
             "and that the archive keeps up: a gap is not noticed until it is resumed",
             job->mode == WAL_MODE_RECEIVE ? ", and the receiver to store it"
                                           : ", and its archive_command to push it");
}

static int print_pause(const struct globals *globals, const struct journal_pause *pause,
                       struct error *err)
{
    char text[JOURNAL_WHO_MAX + JOURNAL_REASON_MAX + 128];
    if (globals->json)
        return command_print_json(
            json_pack("{s:s, s:s, s:b, s:s, s:s, s:o, s:o}", "cluster", pause->cluster, "job",
                      pause->job, "paused", 1, "who", pause->who, "reason", pause->reason, "from",
                      json_instant(pause->from_us), "until", json_instant(pause->until_us)),
            err);
    journal_pause_text(pause, text, sizeof(text));
    printf("%s/%s: %s\n", pause->cluster, pause->job, text);
    return 0;
}

static int run_pause(const struct globals *globals, const struct arguments *arguments,
                     struct error *err)
{
    _cleanup_(paused_job_clear) struct paused_job paused = {0};
    const char *reason = argument_text(arguments, "reason");
    const char *until = argument_text(arguments, "until");
    char name[PERSON_MAX];
    bool is_paused = false;
    struct journal_pause pause = {.from_us = instant_now_us(), .until_us = INSTANT_NONE};
    int rc = open_job(globals, arguments, &paused, err);
    if (!rc && reason && strlen(reason) >= JOURNAL_REASON_MAX)
        rc = error_set(err, ERR_USAGE, "--reason is longer than %d bytes", JOURNAL_REASON_MAX - 1);
    if (!rc && until)
        rc = command_time_or_duration(until, paused.policy->timezone, pause.from_us,
                                      &pause.until_us, err);
    if (!rc && until && pause.until_us <= pause.from_us)
        rc = error_set(err, ERR_USAGE, "--until %s has passed already", until);
    if (rc)
        return rc;
    snprintf(pause.cluster, sizeof(pause.cluster), "%s", paused.policy->cluster);
    snprintf(pause.job, sizeof(pause.job), "%s", paused.job->name);
    snprintf(pause.who, sizeof(pause.who), "%.100s", person_name(name));
    snprintf(pause.reason, sizeof(pause.reason), "%s", reason ? reason : "");
    rc = journal_pause(paused.journal, &pause, err);
    if (!rc)
        rc = journal_paused_at(paused.journal, pause.cluster, pause.job, instant_now_us(),
                               &is_paused, &pause, err);
    if (rc)
        return rc;
    warn_of_wal(paused.job);
    return print_pause(globals, &pause, err);
}

static int run_resume(const struct globals *globals, const struct arguments *arguments,
                      struct error *err)
{
    _cleanup_(paused_job_clear) struct paused_job paused = {0};
    char name[PERSON_MAX];
    bool was_paused = false;
    int rc = open_job(globals, arguments, &paused, err);
    if (!rc)
        rc = journal_resume(paused.journal, paused.policy->cluster, paused.job->name,
                            person_name(name), instant_now_us(), &was_paused, err);
    if (rc)
        return rc;
    if (globals->json)
        return command_print_json(json_pack("{s:s, s:s, s:b, s:b}", "cluster",
                                            paused.policy->cluster, "job", paused.job->name,
                                            "paused", 0, "was_paused", was_paused),
                                  err);
    printf("%s/%s: %s\n", paused.policy->cluster, paused.job->name,
           was_paused ? "goes on with its next due instant" : "was not paused");
    return 0;
}

const struct command COMMAND_PAUSE = {
    .name = "pause",
    .usage = "CLUSTER/JOB [--reason TEXT] [--until TIME]",
    .summary = "stop the scheduling of a job; what is due meanwhile is skipped, on record",
    .examples = "  pgcairn pause automatos/tidy --reason \"migration\" --until 6h\n"
                "  pgcairn pause automatos/nightly --until 2026-12-01T08:00",
    .min_words = 1,
    .max_words = 1,
    .options = PAUSE_OPTIONS,
    .run = run_pause,
};

const struct command COMMAND_RESUME = {
    .name = "resume",
    .usage = "CLUSTER/JOB",
    .summary = "schedule a paused job again, from its next due instant on",
    .examples = "  pgcairn resume automatos/tidy",
    .min_words = 1,
    .max_words = 1,
    .options = NULL,
    .run = run_resume,
};
