#include "work/vacuum_urgency.h"

#include <string.h>

#include "base/instant.h"

static const char *const CLASS_NAMES[URGENCY_CLASS_COUNT] = {
    [URGENCY_WRAPAROUND] = "wraparound", [URGENCY_FREEZE] = "freeze",
    [URGENCY_UNKNOWN] = "no-statistics", [URGENCY_DEAD] = "dead-rows",
    [URGENCY_VISIBILITY] = "visibility", [URGENCY_STALE] = "stale-statistics",
    [URGENCY_CHOSEN] = "chosen",         [URGENCY_NONE] = "none",
};

const char *urgency_class_name(enum urgency_class class)
{
    return CLASS_NAMES[class];
}

/* One measure of a table against its mark. */
struct reading {
    enum urgency_class class;
    double value, mark, due; /* due: the part of the mark from which it counts */
    const char *what;
};

static double row_mark(double threshold, double scale, int64_t rows)
{
    return threshold + scale * (double)rows;
}

static double vacuum_mark(const struct pg_candidate *table, int64_t rows)
{
    double mark = row_mark(table->vacuum_threshold, table->vacuum_scale, rows);
    bool is_capped = table->vacuum_max_threshold >= 0 && mark > table->vacuum_max_threshold;
    return is_capped ? table->vacuum_max_threshold : mark;
}

/* The most pressing class stays, with its reason; the score is the greatest of all. */
static void consider(struct urgency *urgency, const struct reading *reading)
{
    /* A threshold of 0 rows means: any row at all. */
    double mark = reading->mark >= 1 ? reading->mark : 1;
    double score = reading->value / mark;
    if (score < reading->due || reading->value <= 0)
        return;
    if (score > urgency->score)
        urgency->score = score;
    if (reading->class >= urgency->class)
        return;
    urgency->class = reading->class;
    snprintf(urgency->reason, sizeof(urgency->reason), "%.0f %s, autovacuum's mark is %.0f",
             reading->value, reading->what, mark);
}

static void consider_ages(struct urgency *urgency, const struct pg_candidate *table)
{
    const struct reading readings[] = {
        {URGENCY_WRAPAROUND, (double)table->xid_age, table->failsafe_age, URGENCY_FORCED,
         "transactions old (failsafe)"},
        {URGENCY_WRAPAROUND, (double)table->mxid_age, table->mxid_failsafe_age, URGENCY_FORCED,
         "multixacts old (failsafe)"},
        {URGENCY_FREEZE, (double)table->xid_age, table->freeze_max_age, URGENCY_DUE_FREEZE,
         "transactions old"},
        {URGENCY_FREEZE, (double)table->mxid_age, table->mxid_freeze_max_age, URGENCY_DUE_FREEZE,
         "multixacts old"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(readings); i++)
        consider(urgency, &readings[i]);
}

static void consider_rows(struct urgency *urgency, const struct pg_candidate *table)
{
    const struct reading readings[] = {
        {URGENCY_DEAD, (double)table->dead_rows, vacuum_mark(table, table->rows), URGENCY_DUE,
         "dead rows"},
        {URGENCY_DEAD, (double)table->toast_dead_rows, vacuum_mark(table, table->toast_rows),
         URGENCY_DUE, "dead rows of TOAST"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(readings); i++)
        consider(urgency, &readings[i]);
    const struct reading inserts = {
        URGENCY_VISIBILITY, (double)table->inserted_rows,
        row_mark(table->insert_threshold, table->insert_scale, table->rows), URGENCY_DUE,
        "inserted rows"};
    if (table->insert_threshold >= 0)
        consider(urgency, &inserts);
}

/* Statistics that were lost (a crash, a promoted standby) say 0 to everything; that nothing of the
 * table is known to be visible shows that nobody vacuumed it. */
static void consider_lost_counters(struct urgency *urgency, const struct pg_candidate *table)
{
    bool says_nothing = table->inserted_rows == 0 && table->dead_rows == 0;
    if (!says_nothing || table->ever_vacuumed || table->pages == 0 || table->visible_pages > 0 ||
        table->rows == 0 || urgency->class <= URGENCY_VISIBILITY)
        return;
    urgency->class = URGENCY_VISIBILITY;
    urgency->score = urgency->score > 1 ? urgency->score : 1;
    snprintf(urgency->reason, sizeof(urgency->reason),
             "never vacuumed as far as the statistics go back");
}

/* Autovacuum never analyses partitioned tables, so there is no mark but the sum of the partitions',
 * whose counters start anew with each ANALYZE of theirs. */
static bool parent_is_stale(const struct pg_candidate *table)
{
    return table->is_parent && table->children_analyzed_us != INSTANT_NONE &&
           (table->analyzed_us == INSTANT_NONE ||
            table->children_analyzed_us - table->analyzed_us > URGENCY_ONE_GO_US);
}

static void consider_statistics(struct urgency *urgency, const struct pg_candidate *table)
{
    struct urgency stale = {.class = URGENCY_NONE};
    const struct reading changes = {
        URGENCY_STALE, (double)table->changed_rows,
        row_mark(table->analyze_threshold, table->analyze_scale, table->rows), URGENCY_DUE,
        "changed rows"};
    consider(&stale, &changes);
    if (!table->has_statistics && (table->rows > 0 || table->changed_rows > 0)) {
        stale.class = URGENCY_UNKNOWN;
        stale.score = stale.score > 1 ? stale.score : 1;
        snprintf(stale.reason, sizeof(stale.reason), "rows, and no statistics of them");
    } else if (stale.class == URGENCY_NONE && parent_is_stale(table)) {
        stale.class = URGENCY_STALE;
        stale.score = URGENCY_DUE;
        snprintf(stale.reason, sizeof(stale.reason), "partitions were analysed after it");
    }
    urgency->analyze = stale.class != URGENCY_NONE;
    if (stale.score > urgency->score)
        urgency->score = stale.score;
    if (stale.class >= urgency->class)
        return;
    urgency->class = stale.class;
    memcpy(urgency->reason, stale.reason, sizeof(urgency->reason));
}

struct urgency urgency_of(const struct pg_candidate *table, bool analyze, bool chosen)
{
    analyze = analyze && table->can_analyze;
    struct urgency urgency = {.class = URGENCY_NONE};
    bool has_rows = table->kind != PG_PARTITIONED_TABLE;
    if (has_rows) {
        consider_ages(&urgency, table);
        consider_rows(&urgency, table);
        consider_lost_counters(&urgency, table);
    }
    /* A VACUUM reads the table anyway, so new statistics come with it. */
    urgency.vacuum = has_rows && (urgency.class != URGENCY_NONE || chosen);
    if (analyze)
        consider_statistics(&urgency, table);
    urgency.analyze = analyze && (urgency.analyze || urgency.vacuum || chosen);
    if (urgency.class == URGENCY_NONE && (urgency.vacuum || urgency.analyze)) {
        urgency.class = URGENCY_CHOSEN;
        snprintf(urgency.reason, sizeof(urgency.reason), "named in the policy");
    }
    return urgency;
}
