/* wal status: what is stored of the WAL, whether it is whole, and what can be recovered with it. */
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/table.h"
#include "base/units.h"
#include "command/commands.h"
#include "command/opened.h"
#include "work/wal_look.h"

static int print_timelines(const json_t *document, struct error *err)
{
    _cleanup_(table_freep) struct table *table = NULL;
    int rc = table_new("TIMELINE|FIRST|LAST|>SEGMENTS|>STORED|>GAPS", &table, err);
    size_t i;
    json_t *timeline;
    json_array_foreach(json_object_get(document, "timelines"), i, timeline)
    {
        char number[24], segments[24], bytes[UNITS_TEXT_MAX], gaps[24];
        snprintf(number, sizeof(number), "%lld", (long long)json_number(timeline, "timeline"));
        snprintf(segments, sizeof(segments), "%lld", (long long)json_number(timeline, "segments"));
        snprintf(gaps, sizeof(gaps), "%zu", json_array_size(json_object_get(timeline, "gaps")));
        if (!rc)
            rc = table_row(table, err, number, json_text(timeline, "first"),
                           json_text(timeline, "last"), segments,
                           size_format(json_number(timeline, "bytes"), bytes), gaps);
    }
    return rc ? rc : table_print(table, stdout, err);
}

static int print_gaps(const json_t *document, struct error *err)
{
    _cleanup_(table_freep) struct table *table = NULL;
    int rc = table_new("GAP FROM|TO|>SEGMENTS|STATE|UNREACHABLE FROM|UNTIL", &table, err);
    size_t i, j, count = 0;
    json_t *timeline, *gap;
    json_array_foreach(json_object_get(document, "timelines"), i, timeline)
    {
        json_array_foreach(json_object_get(timeline, "gaps"), j, gap)
        {
            char segments[24];
            snprintf(segments, sizeof(segments), "%lld", (long long)json_number(gap, "segments"));
            count++;
            if (!rc)
                rc = table_row(table, err, json_text(gap, "from"), json_text(gap, "to"), segments,
                               json_text(gap, "state"), json_text(gap, "unreachable_from"),
                               json_text(gap, "unreachable_until"));
        }
    }
    if (rc || count == 0)
        return rc;
    printf("\n");
    return table_print(table, stdout, err);
}

static void print_slot(const json_t *slot)
{
    char held[UNITS_TEXT_MAX];
    if (!json_is_object(slot) || !json_is_true(json_object_get(slot, "exists")))
        return;
    printf("slot               %s, %s, holds %s from %s on\n", json_text(slot, "name"),
           json_is_true(json_object_get(slot, "active")) ? "received from" : "not in use",
           size_format(json_number(slot, "held_bytes"), held), json_text(slot, "restart_lsn"));
}

static void print_rest(const json_t *document)
{
    const json_t *lag = json_object_get(document, "lag"), *server;
    size_t i;
    json_t *item;
    char text[UNITS_TEXT_MAX];
    server = json_object_get(document, "server");
    printf("\nlag                %lld segments, %s\n", (long long)json_number(lag, "segments"),
           duration_format(json_number(lag, "seconds") * US_PER_SECOND, text));
    if (json_is_integer(json_object_get(document, "rpo_seconds")))
        printf("would be lost now  what was committed in the last %s\n",
               duration_format(json_number(document, "rpo_seconds") * US_PER_SECOND, text));
    if (json_is_object(server))
        printf("server             timeline %lld at %s\n",
               (long long)json_number(server, "timeline"), json_text(server, "lsn"));
    print_slot(json_object_get(document, "slot"));
    json_array_foreach(json_object_get(document, "recovery_windows"), i, item)
    {
        printf("recovery window    %s to %s%s\n", json_text(item, "from"), json_text(item, "to"),
               json_is_true(json_object_get(item, "open")) ? " and growing" : "");
    }
    json_array_foreach(json_object_get(document, "problems"), i, item)
    {
        printf("\nPROBLEM %s\n  consequence: %s\n  cure: %s\n", json_text(item, "what"),
               json_text(item, "consequence"), json_text(item, "cure"));
    }
}

static int print_text(const json_t *document, struct error *err)
{
    int rc = print_timelines(document, err);
    if (!rc)
        rc = print_gaps(document, err);
    if (!rc)
        print_rest(document);
    return rc;
}

/* That the server can't be asked is told, and leaves what is stored to be shown. */
static int look_at_server(struct wal_look *look, const struct policy *policy)
{
    _cleanup_(freep) char *conninfo = NULL;
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    const struct policy_job *job = NULL;
    struct error error = ERROR_NONE;
    for (size_t i = 0; i < policy->job_count && !job; i++)
        if (policy->jobs[i].type == JOB_WAL)
            job = &policy->jobs[i];
    int rc = policy_connection(policy, job, &conninfo, &error);
    if (!rc)
        rc = pg_connect(conninfo, NULL, "pgcairn wal status", &conn, &error);
    if (!rc)
        rc = wal_look_server(look, conn, &error);
    if (rc)
        log_line(LOG_WARNING, "the server was not asked, only what is stored is shown: %s",
                 error.message);
    return rc;
}

/* The lost gap that begins with that segment is known from now on. */
static int acknowledge(struct wal_look *look, const char *first, const char *reason,
                       struct error *err)
{
    struct wal_name name;
    if (!reason)
        return error_set(err, ERR_USAGE, "--acknowledge needs a --reason");
    if (!wal_name_parse(first, &name) || name.kind != WAL_SEGMENT)
        return error_set(err, ERR_USAGE, "\"%.100s\" is no segment", first);
    for (size_t i = 0; i < look->continuity.gap_count; i++) {
        const struct continuity_gap *gap = &look->continuity.gaps[i];
        if (gap->state == GAP_LOST && wal_name_compare(&gap->first, &name) == 0)
            return wal_acknowledge(look->repository, look->system, &gap->first, &gap->last, reason,
                                   instant_now_us(), err);
    }
    error_set(err, ERR_NOT_FOUND, "no lost WAL begins with %s", first);
    return error_hint(err, "pgcairn wal status %s lists the gaps", look->policy->cluster);
}

static int wal_status_run(const struct globals *globals, const struct arguments *arguments,
                          struct error *err)
{
    _cleanup_(opened_clear) struct opened opened = {0};
    _cleanup_(wal_look_clear) struct wal_look look = {0};
    _cleanup_(json_release) json_t *document = NULL;
    const char *first = argument_text(arguments, "acknowledge");
    int rc = opened_cluster(globals, arguments->words.items[0], &opened, err);
    if (!rc)
        rc = wal_look_init(&look, opened.policy, opened.repository, err);
    if (rc)
        return rc;
    int server_rc = look_at_server(&look, opened.policy);
    rc = wal_look_archive(&look, err);
    if (rc)
        return error_as_unknown(err);
    if (first) {
        rc = acknowledge(&look, first, argument_text(arguments, "reason"), err);
        if (!rc)
            rc = wal_look_archive(&look, err);
    }
    if (rc)
        return rc;
    document = wal_look_json(&look);
    if (!document)
        return error_no_memory(err);
    rc = globals->json ? command_print_json(json_incref(document), err) : print_text(document, err);
    return rc ? rc
              : command_verdict(look.has_fault ? ERR_FAILED
                                : server_rc    ? ERR_UNKNOWN
                                               : 0,
                                err);
}

static const struct command_option STATUS_OPTIONS[] = {
    {"acknowledge", OPTION_TEXT, "SEGMENT", "the lost WAL that begins there is known to be lost"},
    {"reason", OPTION_TEXT, "TEXT", "why, for the evidence"},
    {0},
};

const struct command COMMAND_WAL_STATUS = {
    .name = "wal status",
    .usage = "CLUSTER [--acknowledge SEGMENT --reason TEXT]",
    .summary = "timelines, gaps, lag and recovery windows of what is stored",
    .examples = "  pgcairn wal status automatos\n"
                "  pgcairn wal status automatos --acknowledge 000000010000000000000003 "
                "--reason \"disk lost\"",
    .min_words = 1,
    .max_words = 1,
    .options = STATUS_OPTIONS,
    .run = wal_status_run,
};
