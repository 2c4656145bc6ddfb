#include "command/policy_text.h"

#include <string.h>

#include "base/units.h"
#include "policy/connection.h"

static const char *const MISSED[] = {
    [MISSED_ONCE] = "once", [MISSED_ALL] = "all", [MISSED_SKIP] = "skip"};
static const char *const OVERLAP[] = {[OVERLAP_SKIP] = "skip", [OVERLAP_QUEUE] = "queue"};

/* A double-quoted scalar of YAML. */
static void add_quoted(struct buf *out, const char *text)
{
    buf_add_text(out, "\"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            buf_add_text(out, "\\");
        if (*text == '\n')
            buf_add_text(out, "\\n");
        else
            buf_add(out, text, 1);
    }
    buf_add_text(out, "\"");
}

static void add_list(struct buf *out, const struct strv *list)
{
    buf_add_text(out, "[");
    for (size_t i = 0; i < list->count; i++) {
        buf_add_text(out, i ? ", " : "");
        add_quoted(out, list->items[i]);
    }
    buf_add_text(out, "]");
}

static int add_connection(struct buf *out, const char *indent, const char *connection,
                          struct error *err)
{
    _cleanup_(freep) char *redacted = NULL;
    int rc = connection_redact(connection, &redacted, err);
    if (rc)
        return rc;
    buf_addf(out, "%sconnection: ", indent);
    add_quoted(out, redacted);
    buf_add_text(out, "\n");
    return 0;
}

static void add_duration(struct buf *out, const char *key, int64_t us)
{
    char text[UNITS_TEXT_MAX];
    buf_addf(out, "%s: %s", key, us ? duration_format(us, text) : "0s");
}

static void add_keep(struct buf *out, const struct keep_rules *keep)
{
    const struct {
        const char *name;
        int count;
    } counts[] = {{"last", keep->last},     {"hourly", keep->hourly},   {"daily", keep->daily},
                  {"weekly", keep->weekly}, {"monthly", keep->monthly}, {"yearly", keep->yearly}};
    const char *comma = "";
    buf_add_text(out, "    keep: {");
    if (keep->within_us) {
        add_duration(out, "within", keep->within_us);
        comma = ", ";
    }
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
        if (counts[i].count) {
            buf_addf(out, "%s%s: %d", comma, counts[i].name, counts[i].count);
            comma = ", ";
        }
    buf_add_text(out, "}\n");
}

static void add_vacuum(struct buf *out, const struct policy_job *job)
{
    buf_addf(out, "    analyze: %s\n", job->analyze ? "true" : "false");
    if (job->budget_us) {
        add_duration(out, "    budget", job->budget_us);
        buf_add_text(out, "\n");
    }
    if (job->tables.count) {
        buf_add_text(out, "    tables: ");
        add_list(out, &job->tables);
        buf_add_text(out, "\n");
    }
}

static void add_wal(struct buf *out, const struct policy_job *job)
{
    char size[UNITS_TEXT_MAX];
    if (job->mode == WAL_MODE_PUSH) {
        buf_add_text(out, "    mode: push\n");
        return;
    }
    buf_addf(out, "    mode: receive\n    acknowledge: %s\n",
             job->acknowledge == ACKNOWLEDGE_SPOOLED ? "spooled" : "stored");
    if (job->slot)
        buf_addf(out, "    slot: %s\n", job->slot);
    if (job->spool_limit)
        buf_addf(out, "    spool_limit: %s\n", size_format(job->spool_limit, size));
}

static void add_drill(struct buf *out, const struct policy_job *job)
{
    buf_addf(out, "    of: %s\n", job->of ? job->of : "");
    if (job->rto_us) {
        add_duration(out, "    rto", job->rto_us);
        buf_add_text(out, "\n");
    }
    if (job->scratch)
        buf_addf(out, "    scratch: %s\n", job->scratch);
    if (job->assertion_count)
        buf_add_text(out, "    assertions:\n");
    for (size_t i = 0; i < job->assertion_count; i++) {
        buf_add_text(out, "      - sql: ");
        add_quoted(out, job->assertions[i].sql);
        if (job->assertions[i].database) {
            buf_add_text(out, "\n        database: ");
            add_quoted(out, job->assertions[i].database);
        }
        buf_add_text(out, "\n");
    }
}

static void add_order(struct buf *out, const struct policy_job *job)
{
    char text[DENY_TEXT_MAX];
    if (job->after.count) {
        buf_add_text(out, "    after: ");
        add_list(out, &job->after);
        buf_addf(out, " # due as %s is: %s %s\n", job->after.items[0], job->schedule_text,
                 job->timezone);
    }
    if (job->groups.count) {
        buf_add_text(out, "    group: ");
        add_list(out, &job->groups);
        buf_add_text(out, "\n");
    }
    if (job->deny.count)
        buf_add_text(out, "    deny:\n");
    for (size_t i = 0; i < job->deny.count; i++) {
        const struct deny_window *window = &job->deny.windows[i];
        deny_text(window, text);
        char *times = strchr(text, ' ');
        *times++ = '\0';
        buf_addf(out, "      - {days: \"%s\", from: \"%.5s\", to: \"%s\", action: %s}\n", text,
                 times, times + 6, window->skips ? "skip" : "defer");
    }
}

/* Those of defaults included, as each job has them. */
static void add_hooks(struct buf *out, const struct policy_hooks *hooks)
{
    if (policy_hooks_longest_us(hooks) == 0)
        return;
    buf_add_text(out, "    hooks:\n");
    for (int phase = 0; phase < HOOK_PHASE_COUNT; phase++) {
        const struct policy_hook_list *list = &hooks->phases[phase];
        if (list->count == 0)
            continue;
        buf_addf(out, "      %s: [", hook_phase_name((enum hook_phase)phase));
        for (size_t i = 0; i < list->count; i++) {
            buf_add_text(out, i ? ", " : "");
            add_list(out, &list->programs[i]);
        }
        buf_add_text(out, "]\n");
    }
    add_duration(out, "      timeout", hooks->timeout_us);
    buf_add_text(out, "\n");
}

static int add_job(struct buf *out, const struct policy_job *job, struct error *err)
{
    int rc = 0;
    buf_addf(out, "  %s:\n    type: %s\n", job->name, job_type_name(job->type));
    add_order(out, job);
    if (job->schedule && job->after.count == 0) {
        buf_add_text(out, "    schedule: ");
        add_quoted(out, job->schedule_text);
        buf_addf(out, "\n    timezone: %s\n", job->timezone);
    }
    if (job->seconds)
        buf_add_text(out, "    seconds: true\n");
    if (job->keep.is_set)
        add_keep(out, &job->keep);
    if (job->type == JOB_DUMP || job->type == JOB_VACUUM)
        buf_addf(out, "    jobs: %d\n", job->jobs);
    if (job->type == JOB_VACUUM)
        add_vacuum(out, job);
    if (job->type == JOB_WAL)
        add_wal(out, job);
    if (job->type == JOB_DRILL)
        add_drill(out, job);
    if (job->connection)
        rc = add_connection(out, "    ", job->connection, err);
    buf_addf(out, "    retries: %d\n", job->retries);
    add_duration(out, "    timeout", job->timeout_us);
    add_duration(out, "\n    jitter", job->jitter_us);
    add_duration(out, "\n    lock_wait", job->lock_wait_us);
    if (job->deadline_us)
        add_duration(out, "\n    deadline", job->deadline_us);
    buf_addf(out, "\n    on_missed: %s\n    overlap: %s\n", MISSED[job->on_missed],
             OVERLAP[job->overlap]);
    add_hooks(out, &job->hooks);
    return rc;
}

static int add_postgres(struct buf *out, const struct policy *policy, struct error *err)
{
    buf_add_text(out, "postgres:\n");
    int rc = add_connection(out, "  ", policy->connection, err);
    if (policy->password_file)
        buf_addf(out, "  password_file: %s\n", policy->password_file);
    if (policy->passfile)
        buf_addf(out, "  passfile: %s\n", policy->passfile);
    if (policy->databases.count) {
        buf_add_text(out, "  databases: ");
        add_list(out, &policy->databases);
        buf_add_text(out, "\n");
    } else {
        buf_add_text(out, "  # databases: all that accept connections\n");
    }
    buf_addf(out, "  max_connections: %d\n  bindir: %s\n", policy->max_connections, policy->bindir);
    return rc;
}

static void add_s3_text(struct buf *out, const char *key, const char *text)
{
    if (!text || !*text)
        return;
    buf_addf(out, "    %s: ", key);
    add_quoted(out, text);
    buf_add_text(out, "\n");
}

/* Of secrets only that they are there. */
static void add_s3(struct buf *out, const struct policy_s3 *s3)
{
    bool has_secret = s3->secret_access_key && *s3->secret_access_key;
    bool has_token = s3->session_token && *s3->session_token;
    buf_add_text(out, "  s3:\n");
    add_s3_text(out, "region", s3->region);
    add_s3_text(out, "endpoint", s3->endpoint);
    buf_addf(out, "    addressing: %s\n", s3_addressing_words[s3->addressing]);
    add_s3_text(out, "storage_class", s3->storage_class);
    add_s3_text(out, "sse", s3_sse_words[s3->sse]);
    add_s3_text(out, "kms_key_id", s3->kms_key_id);
    buf_addf(out, "    object_lock: %s\n", s3_lock_words[s3->object_lock]);
    add_s3_text(out, "ca_file", s3->ca_file);
    add_s3_text(out, "profile", s3->profile);
    add_s3_text(out, "access_key_id", s3->access_key_id);
    add_s3_text(out, "secret_access_key", has_secret ? "***" : NULL);
    add_s3_text(out, "session_token", has_token ? "***" : NULL);
    if (s3->tags.count) {
        buf_add_text(out, "    tags: ");
        add_list(out, &s3->tags);
        buf_add_text(out, "\n");
    }
    add_duration(out, "    retry_for", s3->retry_us);
    buf_add_text(out, "\n");
}

static void add_repository(struct buf *out, const struct policy *policy)
{
    buf_addf(out,
             "repository:\n  url: %s\n  compression: {level: %d, threads: ", policy->repository_url,
             policy->compression_level);
    if (policy->compression_threads)
        buf_addf(out, "%d}\n", policy->compression_threads);
    else
        buf_add_text(out, "auto}\n");
    buf_addf(out, "  rate_limit: %lld\n", (long long)policy->rate_limit);
    if (strncmp(policy->repository_url, "s3://", 5) == 0)
        add_s3(out, &policy->s3);
}

static void add_waiver(struct buf *out, const struct policy_waiver *waiver)
{
    char expires[INSTANT_TEXT_MAX];
    buf_addf(out, "    - id: %s\n      reason: ", waiver->id);
    add_quoted(out, waiver->reason);
    buf_add_text(out, "\n      owner: ");
    add_quoted(out, waiver->owner);
    buf_addf(out, "\n      expires: \"%s\"\n", instant_format(waiver->expires_us, expires));
}

/* What an audit holds the policy against, defaults included. */
static void add_audit(struct buf *out, const struct policy_audit *audit)
{
    buf_add_text(out, "audit:\n");
    if (audit->excluded_databases.count) {
        buf_add_text(out, "  excluded_databases: ");
        add_list(out, &audit->excluded_databases);
        buf_add_text(out, "\n");
    }
    add_duration(out, "  verified_within", audit->verified_within_us);
    add_duration(out, "\n  drilled_within", audit->drilled_within_us);
    add_duration(out, "\n  wal_lag", audit->wal_lag_us);
    if (audit->keep_at_most_us)
        add_duration(out, "\n  keep_at_most", audit->keep_at_most_us);
    buf_addf(out, "\n  success_rate: %d\n  copies: %d\n", audit->success_rate, audit->copies);
    if (audit->waiver_count)
        buf_add_text(out, "  waivers:\n");
    for (size_t i = 0; i < audit->waiver_count; i++)
        add_waiver(out, &audit->waivers[i]);
}

static void add_email(struct buf *out, const struct policy_notify *notify)
{
    buf_add_text(out, "  - email:\n      to: ");
    add_list(out, &notify->to);
    buf_add_text(out, "\n      from: ");
    add_quoted(out, notify->from);
    buf_add_text(out, "\n      smtp: ");
    add_quoted(out, notify->url);
    if (notify->user) {
        buf_add_text(out, "\n      user: ");
        add_quoted(out, notify->user);
    }
    if (notify->password)
        buf_add_text(out, "\n      password: \"***\"");
    if (notify->password_file)
        buf_addf(out, "\n      password_file: %s", notify->password_file);
    buf_add_text(out, "\n");
}

/* Of a URL only where it leads: the rest is a secret as a rule. */
static void add_target(struct buf *out, const struct policy_notify *notify)
{
    char url[POLICY_NOTIFY_SHOWN_MAX];
    notify_url_shown(notify->url, url, sizeof(url));
    if (notify->kind == NOTIFY_EMAIL) {
        add_email(out, notify);
        return;
    }
    buf_addf(out, "  - %s: ", notify_kind_name(notify->kind));
    add_quoted(out, url);
    buf_add_text(out, "\n");
}

static void add_notify(struct buf *out, const struct policy_notify *notify)
{
    const char *comma = "";
    add_target(out, notify);
    buf_add_text(out, "    on: [");
    for (int event = 0; event < NOTIFY_EVENT_COUNT; event++)
        if (notify->on & NOTIFY_ON(event)) {
            buf_addf(out, "%s%s", comma, notify_event_kind_name((enum notify_event_kind)event));
            comma = ", ";
        }
    buf_add_text(out, "]\n");
    if (notify->jobs.count) {
        buf_add_text(out, "    job: ");
        add_list(out, &notify->jobs);
        buf_add_text(out, "\n");
    }
    if (notify->stale_us) {
        add_duration(out, "    stale", notify->stale_us);
        buf_add_text(out, "\n");
    }
    add_duration(out, "    repeat", notify->repeat_us);
    buf_add_text(out, "\n");
    if (notify->ca_file)
        buf_addf(out, "    ca_file: %s\n", notify->ca_file);
}

int policy_text(const struct policy *policy, struct buf *out, struct error *err)
{
    buf_addf(out, "cluster: %s\ntimezone: %s\n", policy->cluster, policy->timezone);
    int rc = add_postgres(out, policy, err);
    add_repository(out, policy);
    if (policy->max_running)
        buf_addf(out, "max_running: %d\n", policy->max_running);
    if (policy->group_count)
        buf_add_text(out, "groups:\n");
    for (size_t i = 0; i < policy->group_count; i++)
        buf_addf(out, "  %s: %d\n", policy->groups[i].name, policy->groups[i].limit);
    if (policy->job_count)
        buf_add_text(out, "jobs:\n");
    for (size_t i = 0; i < policy->job_count && !rc; i++)
        rc = add_job(out, &policy->jobs[i], err);
    add_audit(out, &policy->audit);
    if (policy->notify_count)
        buf_add_text(out, "notify:\n");
    for (size_t i = 0; i < policy->notify_count; i++)
        add_notify(out, &policy->notify[i]);
    return rc ? rc : buf_failed(out, "the policy", err);
}
