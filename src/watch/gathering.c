#include "watch/gathering.h"

#include <string.h>

#include "base/json.h"
#include "postgres/connection.h"
#include "postgres/diagnosis.h"
#include "postgres/gauges.h"
#include "report/timeline.h"
#include "watch/collect.h"
#include "work/audit.h"
#include "work/policy_load.h"

static const char APPLICATION[] = "pgcairn metrics";
static const char *const PARTS[GATHERING_PARTS] = {"facts", "audit"};

const char *gathering_part_name(enum gathering_part part)
{
    return PARTS[part];
}

/* -- the gauges ------------------------------------------------------------------------------ */

static void add_gauges(const struct policy *policy, const json_t *gauges, struct samples *samples)
{
    const json_t *connections = json_object_get(gauges, "connections"), *database;
    int64_t most = json_number(connections, "limit") - json_number(connections, "reserved");
    size_t i;
    samples_add(samples, METRIC_CONNECTIONS, (double)json_number(connections, "used"),
                policy->cluster);
    samples_add(samples, METRIC_CONNECTIONS_MAX, (double)most, policy->cluster);
    json_array_foreach(json_object_get(gauges, "databases"), i, database)
    {
        const char *name = json_text(database, "name");
        if (json_is_integer(json_object_get(database, "bytes")))
            samples_add(samples, METRIC_DATABASE_SIZE, (double)json_number(database, "bytes"),
                        policy->cluster, name);
        samples_add(samples, METRIC_DATABASE_XID_AGE, (double)json_number(database, "xid_age"),
                    policy->cluster, name);
        samples_add(samples, METRIC_DATABASE_MXID_AGE, (double)json_number(database, "mxid_age"),
                    policy->cluster, name);
    }
}

/* Without the gauges the rest is told all the same; the reason is the server's problem. */
static void read_gauges(const struct policy *policy, struct samples *samples, struct error *reason)
{
    _cleanup_(freep) char *conninfo = NULL;
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    _cleanup_(json_release) json_t *gauges = NULL;
    int rc = policy_connection(policy, NULL, &conninfo, reason);
    if (!rc)
        rc = pg_connect(conninfo, NULL, APPLICATION, &conn, reason);
    if (!rc)
        rc = pg_read_gauges(conn, &gauges, reason);
    if (!rc)
        add_gauges(policy, gauges, samples);
}

/* -- the document ---------------------------------------------------------------------------- */

static json_t *text_or_null(const char *text)
{
    return text && *text ? pg_text_to_json(text) : json_null();
}

static json_t *finding_json(const struct audit_finding *finding)
{
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:o, s:o}", "id", finding->control->id, "title",
        finding->control->title, "severity", audit_severity_name(finding->control->severity),
        "status", audit_status_name(finding->status), "observed",
        pg_text_to_json(finding->observed), "remedy", pg_text_to_json(finding->remedy));
}

/* The verdicts of an audit: how many of each, and each that is not well, the worst first. */
static json_t *audit_json(const struct audit_report *report)
{
    const struct audit_finding *ordered[AUDIT_CONTROLS_MAX];
    json_t *open = json_array(), *counts = json_object();
    audit_order(report, ordered);
    for (size_t i = 0; i < report->count; i++)
        if (ordered[i]->status > AUDIT_PASS)
            json_array_append_new(open, finding_json(ordered[i]));
    for (int status = 0; status < AUDIT_STATUS_COUNT; status++)
        json_object_set_new(counts, audit_status_name((enum audit_status)status),
                            json_integer((json_int_t)report->counts[status]));
    return json_pack("{s:s, s:o, s:o}", "result", audit_result_name(report->result), "counts",
                     counts, "open", open);
}

static json_t *timeline_json(const struct audit_report *report)
{
    _cleanup_(buf_clear) struct buf text = BUF_INIT(GATHERING_TIMELINE_MAX);
    report_timeline(report, GATHERING_SHOWN_MAX, &text);
    return text.failed ? json_null() : json_string(buf_text(&text));
}

static json_t *problems_json(const struct audit_report *report, const struct error *gauges)
{
    const struct facts_audit *facts = report->facts;
    const char *server = facts->server.problem ? facts->server.problem : gauges->message;
    return json_pack("{s:o, s:o, s:o, s:o}", "repository", text_or_null(facts->repository_problem),
                     "server", text_or_null(server), "wal", text_or_null(facts->server.wal_problem),
                     "archiving", text_or_null(facts->server.archive_problem));
}

static void add_ups(const struct audit_report *report, enum gathering_part part,
                    const struct error *gauges, struct samples *samples)
{
    const struct facts_audit *facts = report->facts;
    const char *cluster = report->policy->cluster;
    if (part == GATHERING_AUDIT) {
        samples_add(samples, METRIC_FACTS_UP, 1, cluster, "audit");
        return;
    }
    bool has_server = !facts->server.problem && !gauges->code;
    samples_add(samples, METRIC_FACTS_UP, !facts->repository_problem, cluster, "repository");
    samples_add(samples, METRIC_FACTS_UP, has_server, cluster, "server");
    samples_add(samples, METRIC_FACTS_UP, has_server && !facts->server.wal_problem, cluster, "wal");
}

static int write_document(const struct audit_report *report, enum gathering_part part,
                          int64_t duration_us, struct samples *samples, const struct error *gauges,
                          json_t **ret_document, struct error *err)
{
    bool is_audit = part == GATHERING_AUDIT;
    samples_add_us(samples, METRIC_FACTS_DURATION, duration_us, report->policy->cluster,
                   PARTS[part]);
    int rc = samples_failed(samples, err);
    if (rc)
        return rc;
    *ret_document =
        json_pack("{s:s, s:s, s:o, s:f, s:o, s:o, s:o, s:o}", "cluster", report->policy->cluster,
                  "part", PARTS[part], "at", json_instant_micros(report->now_us), "duration_s",
                  (double)duration_us / 1e6, "problems", problems_json(report, gauges), "timeline",
                  is_audit ? json_null() : timeline_json(report), "audit",
                  is_audit ? audit_json(report) : json_null(), "samples", samples_to_json(samples));
    return *ret_document ? 0 : error_no_memory(err);
}

int gathering_make(const struct policy *policy, enum gathering_part part, json_t **ret_document,
                   struct error *err)
{
    const struct audit_period now = {INSTANT_NONE, INSTANT_NONE};
    bool is_audit = part == GATHERING_AUDIT;
    int64_t begun_us = instant_monotonic_us();
    struct gather gather = {.policy = policy,
                            .now_us = instant_now_us(),
                            .is_brief = !is_audit,
                            .asks_server = true,
                            .asks_journal = is_audit};
    _cleanup_(samples_clear) struct samples samples = SAMPLES_INIT;
    struct error gauges = ERROR_NONE;
    struct audit audit;
    audit_init(&audit);
    int rc = audit_make(&gather, &now, &audit, err);
    if (!rc && !is_audit && !audit.facts.server.problem)
        read_gauges(policy, &samples, &gauges);
    if (!rc) {
        collect_facts(&audit.report, is_audit, &samples);
        add_ups(&audit.report, part, &gauges, &samples);
        rc = write_document(&audit.report, part, instant_monotonic_us() - begun_us, &samples,
                            &gauges, ret_document, err);
    }
    audit_clear(&audit);
    return rc;
}

/* -- reading it ------------------------------------------------------------------------------ */

int gathering_read(const char *text, size_t length, struct gathering *ret_gathering,
                   struct error *err)
{
    struct gathering gathering = {.samples = SAMPLES_INIT};
    const char *part = "";
    int rc = json_parse_object(text, length, "what was gathered", &gathering.document, err);
    if (!rc)
        rc = json_take_text(gathering.document, "part", &part, err);
    gathering.part = strcmp(part, PARTS[GATHERING_AUDIT]) == 0 ? GATHERING_AUDIT : GATHERING_FACTS;
    if (!rc)
        rc = json_take_instant(gathering.document, "at", &gathering.at_us, err);
    if (!rc)
        rc = samples_from_json(json_object_get(gathering.document, "samples"), &gathering.samples,
                               err);
    if (rc)
        gathering_clear(&gathering);
    else
        *ret_gathering = gathering;
    return rc;
}

void gathering_clear(struct gathering *gathering)
{
    json_decref(gathering->document);
    gathering->document = NULL;
    samples_clear(&gathering->samples);
}
