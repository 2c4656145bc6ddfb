#include "retention/wal_check.h"

#include "base/buf.h"
#include "base/units.h"
#include "policy/problems.h"
#include "retention/cadence.h"
#include "retention/rules.h"

/* The jobs that recovery to a moment rests on. */
struct pair {
    const struct policy *policy;
    const struct retention_zones *zones;
    int64_t now_us;
    const struct policy_job *wal;      /* with the longest `within`; NULL: none */
    const struct policy_job *snapshot; /* the one that runs most often; NULL: none */
    struct cadence cadence;            /* of it; all zeros: none is scheduled */
};

static struct pair find_pair(const struct policy *policy, const struct retention_zones *zones,
                             int64_t now_us)
{
    struct pair pair = {.policy = policy, .zones = zones, .now_us = now_us};
    for (size_t i = 0; i < policy->job_count; i++) {
        const struct policy_job *job = &policy->jobs[i];
        if (job->type == JOB_WAL && (!pair.wal || job->keep.within_us > pair.wal->keep.within_us))
            pair.wal = job;
        if (job->type != JOB_SNAPSHOT)
            continue;
        struct cadence cadence = cadence_of(policy, zones, job, now_us);
        if (!pair.snapshot ||
            (cadence.longest_s > 0 &&
             (pair.cadence.longest_s == 0 || cadence.longest_s < pair.cadence.longest_s))) {
            pair.snapshot = job;
            pair.cadence = cadence;
        }
    }
    return pair;
}

static char *seconds_format(int64_t seconds, char text[UNITS_TEXT_MAX])
{
    return duration_format(seconds * US_PER_SECOND, text);
}

static int check_partner(const struct pair *pair, struct policy_problems *warnings,
                         struct error *err)
{
    if (pair->wal && !pair->snapshot)
        return problems_warning(warnings, pair->wal->line, 1, err,
                                "job \"%s\": no job of type snapshot makes an anchor to begin "
                                "recovery with: WAL alone recovers nothing, and none is deleted",
                                pair->wal->name);
    if (pair->wal && pair->cadence.longest_s == 0)
        return problems_warning(warnings, pair->wal->line, 1, err,
                                "job \"%s\": no snapshot job has a schedule: all WAL since the "
                                "last snapshot is kept, and a recovery replays it",
                                pair->wal->name);
    if (pair->snapshot && !pair->wal)
        return problems_warning(warnings, pair->snapshot->line, 1, err,
                                "job \"%s\": there is no job of type wal: what is written between "
                                "two snapshots can't be recovered",
                                pair->snapshot->name);
    return 0;
}

/* What the rules say of WAL but `within` has no meaning. */
static int check_rules(const struct pair *pair, struct policy_problems *warnings, struct error *err)
{
    struct keep_rules counts = pair->wal->keep;
    counts.within_us = 0;
    if (!counts.is_set || !rules_any(&counts))
        return 0;
    _cleanup_(buf_clear) struct buf text = BUF_INIT(BUF_LIMIT_DEFAULT);
    rules_describe(&counts, &text);
    int rc = buf_failed(&text, "rules", err);
    return rc ? rc
              : problems_warning(
                    warnings, counts.line, 1, err,
                    "job \"%s\": WAL is kept by within alone%s: %s has no meaning", pair->wal->name,
                    pair->wal->keep.within_us > 0 ? "" : ", so none is deleted", buf_text(&text));
}

/* A weekly job has an hour more between two runs once a year; nobody means that by "weekly". */
enum { CLOCK_CHANGE_S = 2 * 60 * 60 };

static int check_cadence(const struct pair *pair, struct policy_problems *warnings,
                         struct error *err)
{
    char within[UNITS_TEXT_MAX], gap[UNITS_TEXT_MAX], all[UNITS_TEXT_MAX];
    int64_t within_s = pair->wal->keep.within_us / US_PER_SECOND;
    if (within_s + CLOCK_CHANGE_S >= pair->cadence.longest_s)
        return 0;
    return problems_warning(warnings, pair->wal->keep.line, 1, err,
                            "job \"%s\": within %s is less than the %s between two snapshots: WAL "
                            "of up to %s is kept, and a recovery replays up to %s of it",
                            pair->wal->name, seconds_format(within_s, within),
                            seconds_format(pair->cadence.longest_s, gap),
                            seconds_format(within_s + pair->cadence.longest_s, all),
                            seconds_format(pair->cadence.longest_s, gap));
}

/* Snapshots that go before the window does leave the recovery a long way. */
static int check_snapshots(const struct pair *pair, struct policy_problems *warnings,
                           struct error *err)
{
    char within[UNITS_TEXT_MAX], reach[UNITS_TEXT_MAX];
    const struct keep_rules *keep = &pair->snapshot->keep;
    int64_t within_s = pair->wal->keep.within_us / US_PER_SECOND;
    int64_t reach_s = cadence_reach(&pair->cadence, keep);
    if (!keep->is_set || !rules_any(keep) || reach_s >= within_s)
        return 0;
    return problems_warning(
        warnings, keep->line, 1, err,
        "job \"%s\": keep: reaches %s back, job \"%s\" %s: older snapshots stay "
        "only where recovery begins with them, and it replays up to %s of WAL",
        pair->snapshot->name, seconds_format(reach_s, reach), pair->wal->name,
        seconds_format(within_s, within), within);
}

int wal_contradictions(const struct policy *policy, const struct retention_zones *zones,
                       int64_t now_us, struct policy_problems *warnings, struct error *err)
{
    struct pair pair = find_pair(policy, zones, now_us);
    int rc = check_partner(&pair, warnings, err);
    if (!rc && pair.wal)
        rc = check_rules(&pair, warnings, err);
    if (rc || !pair.wal || pair.wal->keep.within_us <= 0 || pair.cadence.longest_s == 0)
        return rc;
    rc = check_cadence(&pair, warnings, err);
    return rc ? rc : check_snapshots(&pair, warnings, err);
}

int retention_window_s(const struct policy *policy, const struct retention_zones *zones,
                       int64_t now_us, int64_t *ret_window_s, struct error *err)
{
    struct pair pair = find_pair(policy, zones, now_us);
    int64_t lock_us = 0;
    int rc = 0;
    if (!pair.wal || pair.cadence.longest_s == 0) {
        *ret_window_s = 0;
    } else if (pair.wal->keep.within_us > 0) {
        *ret_window_s = pair.wal->keep.within_us / US_PER_SECOND;
    } else if (!pair.snapshot->keep.is_set || !rules_any(&pair.snapshot->keep)) {
        *ret_window_s = RETENTION_WINDOW_ALL;
    } else { /* no WAL goes, so it begins with the oldest snapshot that is certain to be there */
        rc = retention_lock_us(policy, zones, pair.snapshot, now_us, &lock_us, err);
        if (!rc)
            *ret_window_s = lock_us / US_PER_SECOND;
    }
    return rc;
}
