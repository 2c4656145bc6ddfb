/* Which databases and tables a vacuum run works on, in order of urgency. */
#include "postgres/pattern.h"
#include "work/databases.h"
#include "work/vacuum.h"

enum { ITEMS_STEP = 256 };

struct chooser {
    struct pattern **patterns; /* of tables: in the policy; none: every table that needs it */
    bool *has_matched;
    size_t count;
};

static void chooser_clear(struct chooser *chooser)
{
    for (size_t i = 0; i < chooser->count; i++)
        pattern_free(chooser->patterns[i]);
    free(chooser->patterns);
    free(chooser->has_matched);
}

static int chooser_init(struct chooser *chooser, const struct strv *texts, struct error *err)
{
    *chooser = (struct chooser){.patterns = calloc(texts->count + 1, sizeof(struct pattern *)),
                                .has_matched = calloc(texts->count + 1, sizeof(bool))};
    if (!chooser->patterns || !chooser->has_matched)
        return error_no_memory(err);
    for (; chooser->count < texts->count; chooser->count++) {
        int rc =
            pattern_parse(texts->items[chooser->count], &chooser->patterns[chooser->count], err);
        if (rc)
            return error_prefix(err, "tables");
    }
    return 0;
}

/* Every pattern is tried, so that each that chooses something is known to. */
static bool matches(struct chooser *chooser, const struct pg_candidate *table)
{
    bool any = false;
    for (size_t i = 0; i < chooser->count; i++) {
        if (!pattern_matches(chooser->patterns[i], table->schema, table->name))
            continue;
        chooser->has_matched[i] = true;
        any = true;
    }
    return any;
}

static int by_oid(const void *a, const void *b)
{
    const struct pg_candidate *one = a, *other = b;
    return (one->oid > other->oid) - (one->oid < other->oid);
}

/* A partitioned table has no rows of its own: who chooses it means its partitions. */
static bool is_chosen(struct chooser *chooser, const struct pg_candidates *tables,
                      const struct pg_candidate *table)
{
    bool chosen = matches(chooser, table);
    while (table && table->parent && !chosen) {
        const struct pg_candidate key = {.oid = table->parent};
        table = bsearch(&key, tables->items, tables->count, sizeof(key), by_oid);
        chosen = table && matches(chooser, table);
    }
    return chosen;
}

/* Takes the candidate's strings. */
static int add_item(struct vacuum *vacuum, struct pg_candidate *table, size_t database,
                    const struct urgency *urgency, bool chosen, struct error *err)
{
    if (vacuum->item_count == vacuum->items_allocated) {
        size_t allocated = vacuum->items_allocated * 2 + ITEMS_STEP;
        struct vacuum_item *items = reallocarray(vacuum->items, allocated, sizeof(*items));
        if (!items)
            return error_no_memory(err);
        vacuum->items = items;
        vacuum->items_allocated = allocated;
    }
    vacuum->items[vacuum->item_count++] = (struct vacuum_item){
        .table = *table, .urgency = *urgency, .database = database, .is_chosen = chosen};
    *table = (struct pg_candidate){0};
    return 0;
}

static int choose_tables(struct vacuum *vacuum, size_t database, struct pg_candidates *tables,
                         struct chooser *chooser, struct error *err)
{
    const struct policy_job *job = vacuum->work->job;
    _cleanup_(freep) bool *chosen = calloc(tables->count + 1, sizeof(bool));
    if (!chosen)
        return error_no_memory(err);
    for (size_t i = 0; i < tables->count && chooser->count > 0; i++)
        chosen[i] = is_chosen(chooser, tables, &tables->items[i]);
    int rc = 0;
    for (size_t i = 0; i < tables->count && !rc; i++) {
        /* Catalogues that all databases share are seen from each of them: once is enough. */
        if ((chooser->count > 0 && !chosen[i]) ||
            (tables->items[i].is_shared && vacuum->has_shared))
            continue;
        struct urgency urgency = urgency_of(&tables->items[i], job->analyze, chosen[i]);
        if (urgency.class != URGENCY_NONE)
            rc = add_item(vacuum, &tables->items[i], database, &urgency, chosen[i], err);
    }
    return rc;
}

int vacuum_connect(struct vacuum *vacuum, const char *database, PGconn **ret_conn,
                   struct error *err)
{
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    int rc = pg_connect(vacuum->conninfo, database, vacuum->application, &conn, err);
    if (!rc)
        rc = pg_maintenance_session(conn, err);
    if (!rc)
        *ret_conn = TAKE(conn);
    return rc;
}

/* A database that can't be read fails the run at its end; the others are worked on. */
static int plan_database(struct vacuum *vacuum, size_t index, struct chooser *chooser,
                         struct error *err)
{
    struct vacuum_database *database = &vacuum->databases[index];
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    _cleanup_(pg_candidates_clear) struct pg_candidates tables = {0};
    struct error failure = ERROR_NONE;
    int rc = vacuum_connect(vacuum, database->name, &conn, &failure);
    if (!rc)
        rc = pg_list_candidates(conn, &tables, &failure);
    if (rc) {
        database->failure = malloc(sizeof(failure));
        if (!database->failure)
            return error_no_memory(err);
        *database->failure = failure;
        return 0;
    }
    database->table_count = tables.count;
    rc = choose_tables(vacuum, index, &tables, chooser, err);
    vacuum->has_shared = true;
    return rc;
}

static int list_databases(struct vacuum *vacuum, struct error *err)
{
    _cleanup_(work_databases_clear) struct work_databases list = {0};
    int rc = work_list_databases(vacuum->work->policy, vacuum->watcher, &list, err);
    if (rc)
        return rc;
    vacuum->databases = calloc(list.count, sizeof(*vacuum->databases));
    if (!vacuum->databases)
        return error_no_memory(err);
    for (; vacuum->database_count < list.count; vacuum->database_count++)
        vacuum->databases[vacuum->database_count].name =
            TAKE(list.items[vacuum->database_count].name);
    return 0;
}

static int by_urgency(const void *a, const void *b)
{
    const struct vacuum_item *one = a, *other = b;
    if (one->urgency.class != other->urgency.class)
        return one->urgency.class < other->urgency.class ? -1 : 1;
    if (one->database != other->database)
        return one->database < other->database ? -1 : 1;
    if (one->urgency.score != other->urgency.score)
        return one->urgency.score > other->urgency.score ? -1 : 1;
    if (one->table.pages != other->table.pages)
        return one->table.pages < other->table.pages ? -1 : 1;
    return by_oid(&one->table, &other->table);
}

/* What the role may not vacuum has failed before it began. */
static int refuse_without_privilege(struct vacuum *vacuum, struct error *err)
{
    for (size_t i = 0; i < vacuum->item_count; i++) {
        struct vacuum_item *item = &vacuum->items[i];
        if (item->table.can_vacuum)
            continue;
        item->outcome = VACUUM_FAILED;
        item->code = ERR_PERMISSION;
        vacuum->finished++;
        if (asprintf(&item->note, "role \"%s\" may not vacuum it, its owner is \"%s\"",
                     PQuser(vacuum->watcher), item->table.owner) < 0) {
            item->note = NULL;
            return error_no_memory(err);
        }
    }
    return 0;
}

static int interrupted(struct error *err)
{
    struct error reason = ERROR_NONE;
    if (work_interrupted(&reason) && err)
        *err = reason;
    return reason.code;
}

int vacuum_plan(struct vacuum *vacuum, struct error *err)
{
    const struct strv *texts = &vacuum->work->job->tables;
    _cleanup_(chooser_clear) struct chooser chooser = {0};
    int rc = chooser_init(&chooser, texts, err);
    if (!rc)
        rc = list_databases(vacuum, err);
    for (size_t i = 0; i < vacuum->database_count && !rc; i++) {
        work_progress(vacuum->work, "looking for tables", (int64_t)i,
                      (int64_t)vacuum->database_count);
        rc = interrupted(err);
        if (!rc)
            rc = plan_database(vacuum, i, &chooser, err);
    }
    for (size_t i = 0; i < chooser.count && !rc; i++)
        if (!chooser.has_matched[i])
            rc = strv_add(&vacuum->unmatched, pattern_text(chooser.patterns[i]), err);
    if (rc)
        return rc;
    if (vacuum->item_count > 0)
        qsort(vacuum->items, vacuum->item_count, sizeof(*vacuum->items), by_urgency);
    return refuse_without_privilege(vacuum, err);
}
