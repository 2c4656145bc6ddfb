/* audit: every control with its verdict, from the live state, a period, or saved facts. */
#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/units.h"
#include "command/commands.h"
#include "command/opened.h"
#include "command/times.h"
#include "report/report.h"
#include "work/audit.h"

enum { FACTS_BYTES_MAX = 1 << 30, FACTS_MODE = 0600 };

/* -- what is asked ------------------------------------------------------------------------- */

struct asked {
    const struct arguments *arguments;
    enum report_format format;
    struct evidence_tip tip;
    bool has_tip;
};

/* "NUMBER:SHA256", as the last line of a report tells it. */
static int read_tip(const char *text, struct asked *asked, struct error *err)
{
    int64_t number;
    const char *cursor = text;
    if (!number_take(&cursor, &number) || *cursor != ':' ||
        strspn(cursor + 1, "0123456789abcdef") != SHA256_HEX || strlen(cursor + 1) != SHA256_HEX)
        return error_set(err, ERR_USAGE,
                         "--tip is the number of a record, \":\" and its SHA-256, not \"%.80s\"",
                         text);
    asked->tip.number = number;
    memcpy(asked->tip.sha256, cursor + 1, SHA256_HEX + 1);
    asked->has_tip = true;
    return 0;
}

static int read_asked(const struct globals *globals, const struct arguments *arguments,
                      struct asked *asked, struct error *err)
{
    const char *format = argument_text(arguments, "format"), *tip = argument_text(arguments, "tip");
    bool from = argument_text(arguments, "from"), to = argument_text(arguments, "to");
    asked->arguments = arguments;
    asked->format = globals->json ? REPORT_JSON : REPORT_TEXT;
    if (globals->json && format && strcmp(format, "json") != 0)
        return error_set(err, ERR_USAGE, "--json and --format %.50s exclude each other", format);
    if (from != to)
        return error_set(err, ERR_USAGE, "--from and --to go together");
    if (argument_text(arguments, "facts") &&
        (argument_text(arguments, "at") || argument_text(arguments, "save-facts") || tip ||
         argument_flag(arguments, "verify-evidence")))
        return error_set(err, ERR_USAGE,
                         "--facts judges what was saved: it excludes --at, --save-facts, --tip and "
                         "--verify-evidence");
    int rc = format ? report_format_parse(format, &asked->format, err) : 0;
    return rc || !tip ? rc : read_tip(tip, asked, err);
}

static int find_period(const struct asked *asked, const struct policy *policy,
                       struct audit_period *ret_period, struct error *err)
{
    const char *from = argument_text(asked->arguments, "from");
    *ret_period = (struct audit_period){INSTANT_NONE, INSTANT_NONE};
    if (!from)
        return 0;
    int rc = command_time(from, policy->timezone, &ret_period->from_us, err);
    if (!rc)
        rc = command_time(argument_text(asked->arguments, "to"), policy->timezone,
                          &ret_period->to_us, err);
    if (!rc && ret_period->to_us <= ret_period->from_us)
        rc = error_set(err, ERR_USAGE, "--to is not after --from");
    return rc;
}

/* -- saved facts --------------------------------------------------------------------------- */

static int load_facts(const char *path, struct facts_audit *facts, struct error *err)
{
    struct buf text = BUF_INIT(FACTS_BYTES_MAX);
    _cleanup_(json_release) json_t *object = NULL;
    int rc = file_read(path, &text, err);
    if (!rc)
        rc = json_parse_object(buf_text(&text), text.length, path, &object, err);
    buf_clear(&text);
    if (!rc)
        rc = facts_audit_from_json(object, facts, err);
    return rc == ERR_CORRUPT ? error_hint(err, "save them anew: pgcairn audit CLUSTER --save-facts "
                                               "FILE")
                             : rc;
}

static int save_facts(const char *path, const struct facts_audit *facts, struct error *err)
{
    _cleanup_(json_release) json_t *object = facts_audit_to_json(facts);
    _cleanup_(freep) char *text = NULL;
    if (!object)
        return error_no_memory(err);
    int rc = json_to_text(object, &text, err);
    return rc ? rc : file_replace(path, text, strlen(text), FACTS_MODE, err);
}

/* -- the verdicts -------------------------------------------------------------------------- */

static int print_report(const struct asked *asked, const struct audit_report *report,
                        struct error *err)
{
    struct buf out = BUF_INIT(REPORT_BYTES_MAX);
    int rc = report_write(asked->format, report, &out, err);
    if (!rc && (fwrite(buf_text(&out), 1, out.length, stdout) != out.length || fflush(stdout) != 0))
        rc = error_set_errno(err, errno, "could not write to stdout");
    buf_clear(&out);
    return rc;
}

static int gather(const struct asked *asked, const struct policy *policy,
                  const struct audit_period *period, struct audit *audit, struct error *err)
{
    const char *at = argument_text(asked->arguments, "at");
    bool is_period = period->from_us != INSTANT_NONE;
    struct gather wanted = {.policy = policy,
                            .now_us = instant_now_us(),
                            .asks_server = !is_period,
                            .asks_journal = !is_period,
                            .known = asked->has_tip ? &asked->tip : NULL};
    int rc =
        at ? command_time_or_duration(at, policy->timezone, wanted.now_us, &wanted.now_us, err) : 0;
    return rc ? rc : audit_make(&wanted, period, audit, err);
}

static int audit_one(const struct asked *asked, const struct policy *policy, int *ret_verdict,
                     struct error *err)
{
    const char *facts = argument_text(asked->arguments, "facts");
    const char *save = argument_text(asked->arguments, "save-facts");
    struct audit audit;
    struct audit_period period;
    audit_init(&audit);
    int rc = find_period(asked, policy, &period, err);
    if (!rc && facts) {
        rc = load_facts(facts, &audit.facts, err);
        if (!rc && strcmp(audit.facts.facts.cluster ? audit.facts.facts.cluster : "",
                          policy->cluster) != 0)
            rc = error_set(err, ERR_USAGE, "%s has the facts of %s and not of %s", facts,
                           audit.facts.facts.cluster, policy->cluster);
        if (!rc)
            rc = audit_judge_saved(policy, &period, &audit, err);
    } else if (!rc) {
        rc = gather(asked, policy, &period, &audit, err);
    }
    if (!rc && save)
        rc = save_facts(save, &audit.facts, err);
    if (!rc)
        rc = print_report(asked, &audit.report, err);
    if (!rc)
        *ret_verdict = audit.report.result == AUDIT_FAIL      ? ERR_FAILED
                       : audit.report.result == AUDIT_UNKNOWN ? ERR_UNKNOWN
                                                              : 0;
    audit_clear(&audit);
    return rc;
}

/* FAIL of one cluster stands above UNKNOWN of another. */
static int audit_all(const struct asked *asked, const struct policy_set *set, int *ret_verdict,
                     struct error *err)
{
    int rc = 0;
    if (policy_set_count(set) > 1 &&
        (asked->format != REPORT_TEXT || argument_text(asked->arguments, "facts") ||
         argument_text(asked->arguments, "save-facts"))) {
        error_set(err, ERR_USAGE, "there are %zu clusters: say which", policy_set_count(set));
        return error_hint(err, "pgcairn audit CLUSTER ...");
    }
    for (size_t i = 0; i < policy_set_count(set) && !rc; i++) {
        int verdict = 0;
        if (i)
            printf("\n");
        rc = audit_one(asked, policy_set_get(set, i), &verdict, err);
        if (verdict == ERR_FAILED || !*ret_verdict)
            *ret_verdict = verdict;
    }
    return rc;
}

/* -- the evidence alone -------------------------------------------------------------------- */

static int verify_evidence(const struct globals *globals, const struct asked *asked,
                           const char *cluster, struct error *err)
{
    _cleanup_(opened_clear) struct opened opened = {0};
    struct evidence_tip tip = {0};
    struct error fault = ERROR_NONE;
    if (opened_cluster(globals, cluster, &opened, err))
        return error_as_unknown(err);
    int rc = evidence_verify(opened.repository, asked->has_tip ? &asked->tip : NULL, NULL, NULL,
                             &tip, &fault);
    bool is_broken = rc == ERR_CORRUPT;
    const char *result = is_broken ? "fail" : rc ? "unknown" : "pass";
    if (globals->json)
        rc =
            command_print_json(json_pack("{s:s, s:s, s:I, s:s, s:s?}", "cluster", cluster, "result",
                                         result, "records", (json_int_t)tip.number, "sha256",
                                         rc ? "" : tip.sha256, "fault", rc ? fault.message : NULL),
                               err);
    else if (!rc)
        printf("PASS  %lld records, each holds the hash of the one before\n"
               "tip   %lld:%s\n",
               (long long)tip.number, (long long)tip.number, tip.sha256);
    else
        printf("%s  %s\n", is_broken ? "FAIL" : "UNKNOWN", fault.message);
    if (globals->json && rc)
        return rc;
    return command_verdict(is_broken ? ERR_FAILED : fault.code ? ERR_UNKNOWN : 0, err);
}

static int audit_command(const struct globals *globals, const struct arguments *arguments,
                         struct error *err)
{
    struct asked asked = {0};
    const char *cluster = arguments->words.count ? arguments->words.items[0] : NULL;
    _cleanup_(policy_set_freep) struct policy_set *set = NULL;
    const struct policy *chosen = NULL;
    int verdict = 0;
    int rc = read_asked(globals, arguments, &asked, err);
    if (rc)
        return rc;
    if (argument_flag(arguments, "verify-evidence")) {
        if (!cluster)
            return error_set(err, ERR_USAGE, "--verify-evidence needs a CLUSTER");
        return verify_evidence(globals, &asked, cluster, err);
    }
    rc = cluster ? opened_policy(globals, cluster, &set, &chosen, err)
                 : policy_set_load(&globals->policy_paths, &set, err);
    if (!rc)
        rc = chosen ? audit_one(&asked, chosen, &verdict, err)
                    : audit_all(&asked, set, &verdict, err);
    return rc ? rc : command_verdict(verdict, err);
}

static const struct command_option AUDIT_OPTIONS[] = {
    {"format", OPTION_TEXT, "FORMAT", "text, json, html, junit or csv"},
    {"from", OPTION_TEXT, "TIME", "a period, from the repository's evidence alone; with --to"},
    {"to", OPTION_TEXT, "TIME", "its end"},
    {"at", OPTION_TEXT, "TIME", "judge as if it were that time, or that long from now (3d)"},
    {"save-facts", OPTION_TEXT, "FILE", "save what was judged, to judge it again elsewhere"},
    {"facts", OPTION_TEXT, "FILE", "judge saved facts; asks neither repository nor server"},
    {"verify-evidence", OPTION_FLAG, NULL, "only prove that the chain of evidence is unbroken"},
    {"tip", OPTION_TEXT, "N:SHA256", "a record known from elsewhere, which the chain must hold"},
    {0},
};

const struct command COMMAND_AUDIT = {
    .name = "audit",
    .usage = "[CLUSTER] [--format FORMAT] [--from TIME --to TIME] [--facts FILE]",
    .summary = "every control, PASS, FAIL, WARN, SKIP or UNKNOWN, with evidence and remedy",
    .examples =
        "  pgcairn audit automatos\n"
        "  pgcairn audit automatos --format html > audit.html\n"
        "  pgcairn audit automatos --from 2026-01-01 --to 2026-07-01 --format csv\n"
        "  pgcairn audit automatos --save-facts facts.json; pgcairn audit automatos --facts "
        "facts.json",
    .min_words = 0,
    .max_words = 1,
    .options = AUDIT_OPTIONS,
    .run = audit_command,
};
