#include "audit/judging.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "base/utf8.h"

enum { LINE_MAX_BYTES = 400, JUDGED_BYTES_MAX = 64 << 10, NOTES_MAX = 200 };

/* A hole before WAL that came so lately is one that is still being filled. */
#define FILLING_US (15 * US_PER_MINUTE)

/* -- what a control says ------------------------------------------------------------------- */

static void keep_failure(struct audit_judging *judging, int rc)
{
    if (rc && !judging->failed)
        judging->failed = rc;
}

/* Names and messages come from servers and services: what is no letter to a terminal or to XML,
 * such as an escape, a control of U+0080 to U+009F or U+FFFE, is shown as a question mark. */
static const char *tame(char *text)
{
    utf8_mend(text);
    for (unsigned char *at = (unsigned char *)text; *at; at++) {
        bool is_control = at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0;
        bool is_no_letter = at[0] == 0xef && at[1] == 0xbf && at[2] >= 0xbe;
        size_t length = is_control ? 2 : is_no_letter ? 3 : at[0] < ' ' || at[0] == 0x7f;
        if (length)
            memset(at, *at == '\n' || *at == '\t' ? ' ' : '?', length);
    }
    return text;
}

void audit_say(struct audit_judging *judging, enum audit_status status, const char *format, ...)
{
    char text[LINE_MAX_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (judging->line_counts[status]++ < AUDIT_LINES_MAX)
        keep_failure(judging, strv_add(&judging->lines[status], tame(text), NULL));
}

void audit_point(struct audit_judging *judging, const char *format, ...)
{
    char text[LINE_MAX_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (judging->point_count++ < AUDIT_EVIDENCE_MAX)
        keep_failure(judging, strv_add(&judging->finding->evidence, tame(text), NULL));
}

void audit_require(struct audit_judging *judging, int line, const char *format, ...)
{
    char text[LINE_MAX_BYTES], *made = NULL;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    tame(text);
    int length = line ? asprintf(&made, "%s (%s:%d)", text, judging->policy->file, line)
                      : asprintf(&made, "%s", text);
    if (length < 0) {
        keep_failure(judging, ERR_MEMORY);
        return;
    }
    free(judging->finding->required);
    judging->finding->required = made;
}

bool audit_lacks_repository(struct audit_judging *judging)
{
    const char *problem = judging->facts->repository_problem;
    if (problem)
        audit_say(judging, AUDIT_UNKNOWN, "the repository could not be read: %s", problem);
    return problem != NULL;
}

bool audit_lacks_server(struct audit_judging *judging)
{
    const struct facts_server *server = &judging->facts->server;
    if (!server->was_asked)
        audit_say(judging, AUDIT_UNKNOWN, "the server was not asked");
    else if (server->problem)
        audit_say(judging, AUDIT_UNKNOWN, "the server could not be asked: %s", server->problem);
    return !server->was_asked || server->problem;
}

bool audit_lacks_evidence(struct audit_judging *judging)
{
    const struct facts_audit *facts = judging->facts;
    if (!facts->has_evidence)
        audit_say(judging, AUDIT_UNKNOWN, "the evidence was not read%s%s",
                  facts->evidence_problem ? ": " : "",
                  facts->evidence_problem ? facts->evidence_problem : "");
    return !facts->has_evidence;
}

const char *audit_age(const struct audit_judging *judging, int64_t at_us, char text[80])
{
    char age[UNITS_TEXT_MAX];
    if (at_us == INSTANT_NONE)
        return "never";
    if (at_us > judging->now_us)
        snprintf(text, 80, "in %s", duration_format(at_us - judging->now_us, age));
    else
        snprintf(text, 80, "%s ago", duration_format(judging->now_us - at_us, age));
    return text;
}

bool audit_in_period(const struct audit_judging *judging, int64_t at_us)
{
    return at_us != INSTANT_NONE && at_us >= judging->from_us && at_us <= judging->to_us;
}

/* -- one control --------------------------------------------------------------------------- */

static int join_lines(struct audit_judging *judging, enum audit_status status, char **ret_text)
{
    struct buf text = BUF_INIT(JUDGED_BYTES_MAX);
    const struct strv *lines = &judging->lines[status];
    for (size_t i = 0; i < lines->count; i++)
        buf_addf(&text, "%s%s", i ? "; " : "", lines->items[i]);
    if (judging->line_counts[status] > lines->count)
        buf_addf(&text, "; and %zu more", judging->line_counts[status] - lines->count);
    int rc = buf_failed(&text, "a finding", NULL);
    *ret_text = rc ? NULL : buf_steal(&text);
    buf_clear(&text);
    return rc || *ret_text ? rc : ERR_MEMORY;
}

/* A waiver covers what was found until its end; after that the finding is what it was. */
static void waive(struct audit_judging *judging)
{
    struct audit_finding *finding = judging->finding;
    const struct policy_audit *audit = &judging->policy->audit;
    if (finding->status != AUDIT_FAIL && finding->status != AUDIT_UNKNOWN)
        return;
    for (size_t i = 0; i < audit->waiver_count; i++)
        if (strcmp(audit->waivers[i].id, finding->control->id) == 0 &&
            audit->waivers[i].expires_us > judging->now_us) {
            finding->waiver = &audit->waivers[i];
            finding->status = AUDIT_WARN;
            judging->report->waived++;
            return;
        }
}

static int fill_remedy(struct audit_judging *judging)
{
    static const char PLACE[] = "CLUSTER";
    struct buf text = BUF_INIT(JUDGED_BYTES_MAX);
    const char *rest = judging->finding->control->remedy, *found;
    while ((found = strstr(rest, PLACE))) {
        buf_add(&text, rest, (size_t)(found - rest));
        buf_add_text(&text, judging->policy->cluster);
        rest = found + strlen(PLACE);
    }
    buf_add_text(&text, rest);
    int rc = buf_failed(&text, "a remedy", NULL);
    judging->finding->remedy = rc ? NULL : buf_steal(&text);
    buf_clear(&text);
    return rc || judging->finding->remedy ? rc : ERR_MEMORY;
}

static int conclude(struct audit_judging *judging)
{
    struct audit_finding *finding = judging->finding;
    finding->status = AUDIT_SKIP;
    for (enum audit_status status = AUDIT_SKIP; status <= AUDIT_FAIL; status++)
        if (judging->line_counts[status])
            finding->status = status;
    finding->judged = finding->status;
    keep_failure(judging, join_lines(judging, finding->status, &finding->observed));
    keep_failure(judging, fill_remedy(judging));
    if (judging->point_count > finding->evidence.count) {
        finding->evidence.limit++;
        keep_failure(judging, strv_addf(&finding->evidence, NULL, "and %zu more",
                                        judging->point_count - finding->evidence.count));
    }
    if (!finding->required)
        audit_require(judging, 0, "%s", finding->control->title);
    waive(judging);
    judging->report->counts[finding->status]++;
    for (size_t i = 0; i < AUDIT_STATUS_COUNT; i++) {
        strv_clear(&judging->lines[i]);
        judging->line_counts[i] = 0;
    }
    judging->point_count = 0;
    return judging->failed;
}

static int judge_control(struct audit_judging *judging, const struct audit_control *control,
                         struct error *err)
{
    struct audit_report *report = judging->report;
    judging->finding = &report->findings[report->count++];
    *judging->finding =
        (struct audit_finding){.control = control, .evidence = STRV_INIT(AUDIT_EVIDENCE_MAX)};
    int rc = 0;
    if (judging->is_period && !control->is_of_period)
        audit_say(judging, AUDIT_SKIP, "of this moment, not of a period");
    else
        rc = control->judge(judging, err);
    int failed = conclude(judging);
    if (!rc && failed)
        rc = failed == ERR_MEMORY ? error_no_memory(err)
                                  : error_set(err, failed, "an audit found too much to tell");
    return rc;
}

/* -- what the controls look at ------------------------------------------------------------- */

static const struct facts_wal *find_wal(const struct audit_judging *judging)
{
    const struct facts_audit *facts = judging->facts;
    for (size_t i = 0; i < facts->facts.wal_count; i++)
        if (facts->system_identifier &&
            strcmp(facts->facts.wals[i].system_identifier, facts->system_identifier) == 0)
            return &facts->facts.wals[i];
    return NULL;
}

struct locating {
    const struct audit_judging *judging;
    const struct facts_wal *wal;
};

/* Behind the newest stored segment it is still to come; before WAL that came a moment ago it may
 * be on its way; else nobody has it. */
static enum gap_state locate(const struct wal_name *name, void *context)
{
    const struct locating *locating = context;
    const struct facts_wal_timeline *stored = facts_wal_timeline(locating->wal, name->timeline);
    uint64_t number = wal_segment_number(name, locating->wal->segment_size), newest;
    if (!stored || !facts_wal_newest(stored, &newest) || number > newest)
        return GAP_DELAYED;
    for (size_t i = 0; i < stored->range_count; i++)
        if (stored->ranges[i].first > number)
            return locating->judging->now_us - stored->ranges[i].first_stored_us < FILLING_US
                       ? GAP_UPLOADING
                       : GAP_LOST;
    return GAP_LOST;
}

static int look_at_wal(struct audit_judging *judging, struct error *err)
{
    struct audit_report *report = judging->report;
    const struct facts_server *server = &judging->facts->server;
    struct locating locating = {judging, find_wal(judging)};
    size_t count = 0;
    if (!locating.wal)
        return 0;
    int rc = continuity_find_anchors(&judging->facts->facts, locating.wal->system_identifier,
                                     &report->anchors, &count, err);
    if (rc)
        return rc;
    struct continuity_question question = {.now_us = judging->now_us,
                                           .anchors = report->anchors,
                                           .anchor_count = count,
                                           .locate = locate,
                                           .context = &locating};
    bool knows_server = server->was_asked && !server->problem && !server->wal_problem &&
                        server->timeline && !judging->is_period;
    if (knows_server) {
        question.timeline = server->timeline;
        question.lsn = server->lsn;
    }
    rc = continuity_judge(locating.wal, &question, &report->continuity, err);
    report->has_continuity = rc == 0;
    return rc;
}

static int note_waivers(struct audit_judging *judging, struct error *err)
{
    const struct policy_audit *audit = &judging->policy->audit;
    int rc = 0;
    for (size_t i = 0; i < audit->waiver_count && !rc; i++) {
        const struct policy_waiver *waiver = &audit->waivers[i];
        bool is_known = false;
        for (size_t j = 0; j < audit_control_count; j++)
            is_known |= strcmp(audit_controls[j].id, waiver->id) == 0;
        if (!is_known)
            rc = strv_addf(&judging->report->notes, err, "%s:%d: no control is called \"%s\"",
                           judging->policy->file, waiver->line, waiver->id);
        else if (waiver->expires_us <= judging->now_us)
            rc = strv_addf(&judging->report->notes, err, "%s:%d: the waiver of %s has expired",
                           judging->policy->file, waiver->line, waiver->id);
    }
    return rc;
}

static int note_policy(struct audit_judging *judging, struct error *err)
{
    const char *gathered = judging->facts->policy_sha256;
    if (!gathered || strcmp(gathered, judging->policy->sha256) == 0)
        return 0;
    return strv_addf(&judging->report->notes, err,
                     "the facts were gathered under another policy (SHA-256 %.16s..., this one is "
                     "%.16s...)",
                     gathered, judging->policy->sha256);
}

static void find_result(struct audit_report *report)
{
    report->result = report->counts[AUDIT_FAIL]      ? AUDIT_FAIL
                     : report->counts[AUDIT_UNKNOWN] ? AUDIT_UNKNOWN
                                                     : AUDIT_PASS;
}

int audit_judge(const struct facts_audit *facts, const struct policy *policy,
                const struct retention_zones *zones, const struct audit_period *period,
                struct audit_report *ret_report, struct error *err)
{
    struct audit_report *report = ret_report;
    *report = (struct audit_report){.facts = facts,
                                    .policy = policy,
                                    .period = *period,
                                    .now_us = facts->at_us,
                                    .notes = STRV_INIT(NOTES_MAX)};
    struct audit_judging judging = {.facts = facts,
                                    .policy = policy,
                                    .zones = zones,
                                    .now_us = facts->at_us,
                                    .is_period = period->from_us != INSTANT_NONE,
                                    .from_us = facts->at_us - AUDIT_LOOKBACK_US,
                                    .to_us = facts->at_us,
                                    .report = report};
    if (judging.is_period) {
        judging.from_us = period->from_us;
        judging.to_us = period->to_us < facts->at_us ? period->to_us : facts->at_us;
    }
    for (size_t i = 0; i < AUDIT_STATUS_COUNT; i++)
        judging.lines[i] = STRV_INIT(AUDIT_LINES_MAX);
    int rc = audit_gather_history(&judging, err);
    if (!rc)
        rc = retention_plan_make(&facts->facts, policy, zones, facts->at_us, &report->plan, err);
    if (!rc)
        rc = look_at_wal(&judging, err);
    for (size_t i = 0; i < audit_control_count && !rc; i++)
        rc = judge_control(&judging, &audit_controls[i], err);
    if (!rc)
        rc = note_waivers(&judging, err);
    if (!rc)
        rc = note_policy(&judging, err);
    find_result(report);
    if (rc)
        audit_report_clear(report);
    return rc;
}

void audit_report_clear(struct audit_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        free(report->findings[i].observed);
        free(report->findings[i].required);
        free(report->findings[i].remedy);
        strv_clear(&report->findings[i].evidence);
    }
    strv_clear(&report->notes);
    free(report->history);
    retention_plan_clear(&report->plan);
    continuity_clear(&report->continuity);
    free(report->anchors);
    *report = (struct audit_report){0};
}

/* -- words and order ----------------------------------------------------------------------- */

static int compare_findings(const void *a, const void *b)
{
    const struct audit_finding *x = *(const struct audit_finding *const *)a;
    const struct audit_finding *y = *(const struct audit_finding *const *)b;
    if (x->status != y->status)
        return x->status < y->status ? 1 : -1;
    if (x->control->severity != y->control->severity)
        return x->control->severity < y->control->severity ? 1 : -1;
    return x < y ? -1 : x > y;
}

void audit_order(const struct audit_report *report, const struct audit_finding **ret_findings)
{
    for (size_t i = 0; i < report->count; i++)
        ret_findings[i] = &report->findings[i];
    qsort(ret_findings, report->count, sizeof(*ret_findings), compare_findings);
}

const char *audit_status_name(enum audit_status status)
{
    static const char *const NAMES[] = {"SKIP", "PASS", "WARN", "UNKNOWN", "FAIL"};
    return NAMES[status];
}

const char *audit_severity_name(enum audit_severity severity)
{
    static const char *const NAMES[] = {"low", "medium", "high", "critical"};
    return NAMES[severity];
}

const char *audit_result_name(enum audit_status result)
{
    return result == AUDIT_FAIL ? "fail" : result == AUDIT_UNKNOWN ? "unknown" : "pass";
}
