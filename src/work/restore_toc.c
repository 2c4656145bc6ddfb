/*
 * Restoring by table: which entries of schema.pgdump's table of contents belong to the chosen
 * tables.
 *
 * `pg_restore -l -v` prints an entry as
 *     dumpId; tableOid oid DESCRIPTION schema tag owner
 *     ;	depends on: dumpId dumpId ...
 * (PostgreSQL src/bin/pg_dump/pg_backup_archiver.c, PrintTOCSummary). A table brings what belongs
 * to it: owned sequences, defaults, indexes, constraints, triggers, rules, policies, comments,
 * rights; an entry that hangs on a table that was not chosen stays out, a foreign key to one
 * included. What the chosen entries need first (schema, extension, type, function) comes along
 * where the target lacks it.
 */
#include <string.h>

#include "base/file.h"
#include "base/units.h"
#include "postgres/pattern.h"
#include "work/restore.h"

enum { TOC_LIMIT = 256 << 20, DEPENDENCIES_MAX = 100000, SQL_LIMIT = 1 << 20, NAMED_MAX = 20 };

enum toc_role {
    TOC_OTHER,
    TOC_TABLE,
    TOC_ATTACH,  /* of a partition */
    TOC_BELONGS, /* comes with its table */
    TOC_NEEDED,  /* comes along when something chosen needs it and the target lacks it */
};

struct toc_entry {
    int id;
    uint32_t oid;
    enum toc_role role;
    const char *description;  /* one of DESCRIPTIONS; NULL when of no interest */
    const char *names;        /* "schema tag owner", borrowed from the text */
    const char *schema, *tag; /* of a table, borrowed from the manifest */
    int *depends;
    size_t depend_count;
    bool chosen;
};

struct toc {
    char *text;
    struct toc_entry *entries;
    size_t count;
    size_t *by_id; /* index of an entry by its dumpId, SIZE_MAX for none */
    int max_id;
};

/* The longer of two that begin alike comes first. A role decides what happens to the entry. */
static const struct {
    const char *name;
    enum toc_role role;
} DESCRIPTIONS[] = {
    {"TABLE ATTACH", TOC_ATTACH},
    {"TABLE", TOC_TABLE},
    {"SEQUENCE OWNED BY", TOC_BELONGS},
    {"SEQUENCE", TOC_BELONGS},
    {"DEFAULT ACL", TOC_OTHER},
    {"DEFAULT", TOC_BELONGS},
    {"INDEX ATTACH", TOC_BELONGS},
    {"INDEX", TOC_BELONGS},
    {"FK CONSTRAINT", TOC_BELONGS},
    {"CHECK CONSTRAINT", TOC_BELONGS},
    {"CONSTRAINT", TOC_BELONGS},
    {"TRIGGER", TOC_BELONGS},
    {"RULE", TOC_BELONGS},
    {"POLICY", TOC_BELONGS},
    {"ROW SECURITY", TOC_BELONGS},
    {"STATISTICS", TOC_BELONGS},
    {"COMMENT", TOC_BELONGS},
    {"ACL", TOC_BELONGS},
    {"SECURITY LABEL", TOC_BELONGS},
    {"SCHEMA", TOC_NEEDED},
    {"EXTENSION", TOC_NEEDED},
    {"SHELL TYPE", TOC_NEEDED},
    {"TYPE", TOC_NEEDED},
    {"DOMAIN", TOC_NEEDED},
    {"FUNCTION", TOC_NEEDED},
    {"PROCEDURE", TOC_NEEDED},
    {"AGGREGATE", TOC_NEEDED},
    {"COLLATION", TOC_NEEDED},
    {"OPERATOR CLASS", TOC_NEEDED},
    {"OPERATOR FAMILY", TOC_NEEDED},
    {"OPERATOR", TOC_NEEDED},
    {"TEXT SEARCH CONFIGURATION", TOC_NEEDED},
    {"TEXT SEARCH DICTIONARY", TOC_NEEDED},
};

static void toc_clear(struct toc *toc)
{
    for (size_t i = 0; i < toc->count; i++)
        free(toc->entries[i].depends);
    free(toc->entries);
    free(toc->by_id);
    free(toc->text);
}

static struct toc_entry *entry_of_id(const struct toc *toc, int id)
{
    if (id <= 0 || id > toc->max_id || toc->by_id[id] == SIZE_MAX)
        return NULL;
    return &toc->entries[toc->by_id[id]];
}

/* "DESCRIPTION schema tag owner": each of the three may hold blanks, so they are left as one text.
 */
static void parse_names(struct toc_entry *entry, const char *text)
{
    for (size_t i = 0; i < ARRAY_SIZE(DESCRIPTIONS); i++) {
        size_t length = strlen(DESCRIPTIONS[i].name);
        if (strncmp(text, DESCRIPTIONS[i].name, length) != 0 || text[length] != ' ')
            continue;
        entry->description = DESCRIPTIONS[i].name;
        entry->role = DESCRIPTIONS[i].role;
        entry->names = text + length + 1;
        return;
    }
}

static int parse_depends(struct toc_entry *entry, const char *text, struct error *err)
{
    for (int64_t id;;) {
        text += strspn(text, " ");
        if (!number_take(&text, &id))
            return 0;
        if (entry->depend_count == DEPENDENCIES_MAX)
            return error_set(err, ERR_LIMIT, "an entry depends on more than %d", DEPENDENCIES_MAX);
        int *depends = reallocarray(entry->depends, entry->depend_count + 1, sizeof(int));
        if (!depends)
            return error_no_memory(err);
        depends[entry->depend_count++] = (int)id;
        entry->depends = depends;
    }
}

static int parse_line(struct toc *toc, char *line, struct error *err)
{
    static const char DEPENDS[] = "depends on:";
    char *depends = line[0] == ';' ? strstr(line, DEPENDS) : NULL;
    if (depends && toc->count > 0)
        return parse_depends(&toc->entries[toc->count - 1], depends + sizeof(DEPENDS) - 1, err);
    /* dumpId; OID of the catalogue; OID of the object; names */
    const char *cursor = line;
    int64_t id, catalogue_oid, oid;
    if (!number_take(&cursor, &id) || *cursor++ != ';' || *cursor++ != ' ' ||
        !number_take(&cursor, &catalogue_oid) || *cursor++ != ' ' || !number_take(&cursor, &oid))
        return 0;
    struct toc_entry *entry = &toc->entries[toc->count++];
    *entry = (struct toc_entry){.id = (int)id, .oid = (uint32_t)oid};
    if (entry->id > toc->max_id)
        toc->max_id = entry->id;
    parse_names(entry, line + (cursor - line) + strspn(cursor, " "));
    return 0;
}

static int index_entries(struct toc *toc, struct error *err)
{
    toc->by_id = calloc((size_t)toc->max_id + 1, sizeof(size_t));
    if (!toc->by_id)
        return error_no_memory(err);
    for (int id = 0; id <= toc->max_id; id++)
        toc->by_id[id] = SIZE_MAX;
    for (size_t i = 0; i < toc->count; i++)
        toc->by_id[toc->entries[i].id] = i;
    return 0;
}

static int read_toc(struct restore_database *database, struct toc *toc, struct error *err)
{
    static const char *const OPTIONS[] = {"--list", "--verbose", NULL};
    struct buf output = BUF_INIT(TOC_LIMIT);
    int rc = restore_run_program(database, OPTIONS, NULL, &output, err);
    size_t lines = 1;
    for (size_t i = 0; i < output.length; i++)
        lines += output.data[i] == '\n';
    toc->text = buf_steal(&output);
    toc->entries = calloc(lines, sizeof(*toc->entries));
    if (!rc && (!toc->text || !toc->entries))
        rc = error_no_memory(err);
    for (char *line = toc->text; !rc && line && *line;) {
        char *end = strchrnul(line, '\n');
        char *next = *end ? end + 1 : end;
        *end = '\0';
        rc = parse_line(toc, line, err);
        line = next;
    }
    return rc ? rc : index_entries(toc, err);
}

static void name_table(struct toc *toc, uint32_t oid, const json_t *table)
{
    for (size_t i = 0; i < toc->count; i++) {
        struct toc_entry *entry = &toc->entries[i];
        if (entry->role != TOC_TABLE || entry->oid != oid)
            continue;
        entry->schema = json_string_value(json_object_get(table, "schema"));
        entry->tag = json_string_value(json_object_get(table, "name"));
    }
}

/* pg_restore prints names without quotes, so one with blanks can't be told from two; the manifest
 * has them as they are, those of partitioned tables apart because they hold no rows. */
static void take_names_of_manifest(struct restore_database *database, struct toc *toc)
{
    size_t i;
    json_t *table;
    json_array_foreach(json_object_get(database->entry, "tables"), i, table)
    {
        name_table(toc, (uint32_t)json_integer_value(json_object_get(table, "oid")), table);
    }
    json_array_foreach(json_object_get(database->entry, "unread_tables"), i, table)
    {
        const char *text = json_string_value(json_object_get(table, "oid"));
        int64_t oid;
        if (text && number_take(&text, &oid))
            name_table(toc, (uint32_t)oid, table);
    }
}

static int choose_by_pattern(struct toc *toc, const char *text, struct error *err)
{
    struct pattern *pattern = NULL;
    int rc = pattern_parse(text, &pattern, err);
    if (rc)
        return rc;
    size_t matched = 0;
    for (size_t i = 0; i < toc->count; i++) {
        struct toc_entry *entry = &toc->entries[i];
        if (entry->role != TOC_TABLE || !entry->tag ||
            !pattern_matches(pattern, entry->schema, entry->tag))
            continue;
        entry->chosen = true;
        matched++;
    }
    pattern_free(pattern);
    if (matched)
        return 0;
    error_set(err, ERR_NOT_FOUND, "no table of the backup matches %s", text);
    return error_hint(err, "names with capital letters need double quotes inside single ones: "
                           "--table '\"Models\"'; \"pgcairn show\" lists the tables");
}

/* A chosen partitioned table brings its partitions. */
static void choose_partitions(struct toc *toc)
{
    bool changed = true;
    while (changed) {
        changed = false;
        for (size_t i = 0; i < toc->count; i++) {
            struct toc_entry *attach = &toc->entries[i];
            if (attach->role != TOC_ATTACH)
                continue;
            struct toc_entry *child = NULL;
            bool parent_chosen = false;
            for (size_t j = 0; j < attach->depend_count; j++) {
                struct toc_entry *table = entry_of_id(toc, attach->depends[j]);
                if (!table || table->role != TOC_TABLE)
                    continue;
                if (strcmp(table->names, attach->names) == 0)
                    child = table; /* it has the name and the owner of its entry here */
                else
                    parent_chosen = parent_chosen || table->chosen;
            }
            if (child && parent_chosen && !child->chosen)
                changed = child->chosen = true;
        }
    }
}

/* An entry that belongs to tables is chosen when every table it hangs on is, and there is one. */
static bool hangs_on_chosen(const struct toc *toc, const struct toc_entry *entry)
{
    bool hangs = false;
    for (size_t i = 0; i < entry->depend_count; i++) {
        const struct toc_entry *other = entry_of_id(toc, entry->depends[i]);
        if (!other)
            continue;
        if (other->role == TOC_TABLE && !other->chosen)
            return false;
        bool carries = other->role == TOC_TABLE || other->role == TOC_BELONGS;
        if (carries && other->role == TOC_BELONGS && !other->chosen &&
            strcmp(entry->description, "DEFAULT") != 0)
            return false;
        hangs = hangs || (carries && other->chosen);
    }
    return hangs;
}

static void choose_belongings(struct toc *toc)
{
    bool changed = true;
    while (changed) {
        changed = false;
        for (size_t i = 0; i < toc->count; i++) {
            struct toc_entry *entry = &toc->entries[i];
            bool may = entry->role == TOC_BELONGS || entry->role == TOC_ATTACH;
            if (!entry->chosen && may && hangs_on_chosen(toc, entry))
                changed = entry->chosen = true;
        }
    }
}

static bool is_description(const struct toc_entry *entry, const char *description)
{
    return entry->description && strcmp(entry->description, description) == 0;
}

/* What the target has of a kind, each as pg_restore would begin its names: what differs from kind
 * to kind is the catalogue, the prefix of its columns and the sign behind the name. */
static const struct {
    const char *description, *catalogue, *prefix, *schema, *end;
} IN_TARGET[] = {
    {"FUNCTION", "pg_proc", "pro", "pronamespace", "("},
    {"PROCEDURE", "pg_proc", "pro", "pronamespace", "("},
    {"AGGREGATE", "pg_proc", "pro", "pronamespace", "("},
    {"TABLE", "pg_class", "rel", "relnamespace", " "},
    {"SEQUENCE", "pg_class", "rel", "relnamespace", " "},
    {"COLLATION", "pg_collation", "coll", "collnamespace", " "},
    {"OPERATOR CLASS", "pg_opclass", "opc", "opcnamespace", " "},
    {"OPERATOR FAMILY", "pg_opfamily", "opf", "opfnamespace", " "},
    {"OPERATOR", "pg_operator", "opr", "oprnamespace", " "},
    {"TEXT SEARCH CONFIGURATION", "pg_ts_config", "cfg", "cfgnamespace", " "},
    {"TEXT SEARCH DICTIONARY", "pg_ts_dict", "dict", "dictnamespace", " "},
    {"SCHEMA", "pg_namespace", "nsp", NULL, " "},
    {"EXTENSION", "pg_extension", "ext", NULL, " "},
    {NULL, "pg_type", "typ", "typnamespace", " "}, /* the rest are types */
};

static void add_names_in_target(struct buf *sql, const struct toc_entry *entry)
{
    size_t i = 0;
    while (IN_TARGET[i].description && !is_description(entry, IN_TARGET[i].description))
        i++;
    if (IN_TARGET[i].schema)
        buf_addf(sql,
                 "select n.nspname || ' ' || c.%sname || '%s' from pg_catalog.%s c "
                 "join pg_catalog.pg_namespace n on n.oid = c.%s",
                 IN_TARGET[i].prefix, IN_TARGET[i].end, IN_TARGET[i].catalogue,
                 IN_TARGET[i].schema);
    else
        buf_addf(sql, "select '- ' || c.%sname || '%s' from pg_catalog.%s c", IN_TARGET[i].prefix,
                 IN_TARGET[i].end, IN_TARGET[i].catalogue);
}

/* Whether the target has the thing. The names are bytes in the database's encoding, which is the
 * target's too, and go there as bytes; pg_restore prints blanks for their newlines. */
static int exists_in_target(struct restore_database *database, const struct toc_entry *entry,
                            bool *ret_exists, struct error *err)
{
    _cleanup_(buf_clear) struct buf sql = BUF_INIT(SQL_LIMIT);
    _cleanup_(buf_clear) struct buf bytes = BUF_INIT(SQL_LIMIT);
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    *ret_exists = false;
    if (!database->exists)
        return 0; /* it will be made from template0, which has nothing */
    buf_add_text(&bytes, "\\x");
    for (const char *c = entry->names; *c; c++)
        buf_addf(&bytes, "%02x", (unsigned char)*c);
    buf_add_text(&sql, "select 1 from (");
    add_names_in_target(&sql, entry);
    buf_add_text(&sql, ") t(names) where pg_catalog.starts_with("
                       "pg_catalog.convert_from($1::bytea, pg_catalog.getdatabaseencoding()), "
                       "pg_catalog.translate(names, E'\\n\\r', '  ')) limit 1");
    int rc = buf_failed(&bytes, "a name", err);
    if (!rc)
        rc = pg_query(database->conn, &result, err, buf_text(&sql), buf_text(&bytes), NULL);
    if (!rc)
        *ret_exists = PQntuples(result) > 0;
    return rc;
}

static bool is_partition(const struct toc *toc, const struct toc_entry *table)
{
    for (size_t i = 0; i < toc->count; i++)
        if (toc->entries[i].role == TOC_ATTACH && strcmp(toc->entries[i].names, table->names) == 0)
            return true;
    return false;
}

/* A table that inherits from another, or has a column of its row type, can't be made without it; a
 * partition can, and is attached only where its parent comes too. */
static int check_parents(struct restore_database *database, const struct toc *toc,
                         struct error *err)
{
    for (size_t i = 0; i < toc->count; i++) {
        const struct toc_entry *entry = &toc->entries[i];
        for (size_t j = 0; entry->chosen && j < entry->depend_count; j++) {
            const struct toc_entry *need = entry_of_id(toc, entry->depends[j]);
            bool exists;
            if (entry->role != TOC_TABLE || !need || need->role != TOC_TABLE || need->chosen ||
                is_partition(toc, entry))
                continue;
            int rc = exists_in_target(database, need, &exists, err);
            if (rc)
                return rc;
            if (exists)
                continue;
            error_set(err, ERR_USAGE, "table %s.%s can't be made without %s.%s", entry->schema,
                      entry->tag, need->schema, need->tag);
            return error_hint(err, "choose that table too, with another --table");
        }
    }
    return 0;
}

/* What the chosen entries need first and the target lacks, and what that needs in turn. */
static int choose_needed(struct restore_database *database, struct toc *toc, struct error *err)
{
    bool changed = true;
    while (changed) {
        changed = false;
        for (size_t i = toc->count; i-- > 0;) {
            if (!toc->entries[i].chosen)
                continue;
            for (size_t j = 0; j < toc->entries[i].depend_count; j++) {
                struct toc_entry *need = entry_of_id(toc, toc->entries[i].depends[j]);
                bool may = need && (need->role == TOC_NEEDED || is_description(need, "SEQUENCE"));
                if (!may || need->chosen)
                    continue;
                bool exists = false;
                int rc = exists_in_target(database, need, &exists, err);
                if (rc)
                    return rc;
                if (!exists)
                    changed = need->chosen = true;
            }
        }
    }
    return 0;
}

static int check_absent(struct restore_database *database, const struct toc *toc, struct error *err)
{
    _cleanup_(buf_clear) struct buf there = BUF_INIT(SQL_LIMIT);
    size_t count = 0;
    for (size_t i = 0; i < toc->count; i++) {
        const struct toc_entry *entry = &toc->entries[i];
        if (!entry->chosen || entry->role != TOC_TABLE || !entry->tag)
            continue;
        _cleanup_(pg_result_freep) PGresult *result = NULL;
        int rc = pg_query(database->conn, &result, err,
                          "select 1 from pg_catalog.pg_class c join pg_catalog.pg_namespace n on "
                          "n.oid = c.relnamespace where c.relname = $1 and n.nspname = $2",
                          entry->tag, entry->schema, NULL);
        if (rc)
            return rc;
        if (PQntuples(result) > 0 && count++ < NAMED_MAX)
            buf_addf(&there, "%s%s.%s", count > 1 ? ", " : "", entry->schema, entry->tag);
    }
    if (count == 0)
        return 0;
    error_set(err, ERR_EXISTS, "database \"%s\" already has %s", database->final_name,
              buf_text(&there));
    return error_hint(err, "restore into another database with --into NAME, or rename the existing "
                           "table first");
}

static int write_list(struct restore_database *database, const struct toc *toc, struct error *err)
{
    _cleanup_(buf_clear) struct buf list = BUF_INIT(TOC_LIMIT);
    for (size_t i = 0; i < toc->count; i++)
        if (toc->entries[i].chosen)
            buf_addf(&list, "%d;\n", toc->entries[i].id);
    int rc = buf_failed(&list, "the list for pg_restore", err);
    if (!rc && asprintf(&database->list_path, "%s.list", database->schema_path) < 0)
        rc = error_no_memory(err);
    return rc ? rc : file_replace(database->list_path, buf_text(&list), list.length, 0600, err);
}

static int note_sequences(struct restore_database *database, const struct toc *toc,
                          struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < toc->count && !rc; i++) {
        if (!toc->entries[i].chosen || !is_description(&toc->entries[i], "SEQUENCE"))
            continue;
        rc = strv_addf(&database->sequences, err, "/* %u */ ", toc->entries[i].oid);
    }
    return rc;
}

static int choose_rows(struct restore_database *database, const struct toc *toc, struct error *err)
{
    uint32_t *oids = calloc(toc->count + 1, sizeof(*oids));
    if (!oids)
        return error_no_memory(err);
    size_t count = 0;
    json_t *names = json_array();
    for (size_t i = 0; i < toc->count; i++) {
        const struct toc_entry *entry = &toc->entries[i];
        if (!entry->chosen || entry->role != TOC_TABLE || !entry->tag)
            continue;
        oids[count++] = entry->oid;
        json_array_append_new(names, json_sprintf("%s.%s", entry->schema, entry->tag));
    }
    json_object_set_new(database->report, "tables", names);
    int rc = restore_choose_rows(database, oids, count, false, err);
    free(oids);
    return rc;
}

int restore_choose_tables(struct restore_database *database, struct error *err)
{
    const struct strv *patterns = database->restore->request->tables;
    _cleanup_(toc_clear) struct toc toc = {0};
    int rc = read_toc(database, &toc, err);
    if (!rc)
        take_names_of_manifest(database, &toc);
    for (size_t i = 0; i < patterns->count && !rc; i++)
        rc = choose_by_pattern(&toc, patterns->items[i], err);
    if (rc)
        return rc;
    choose_partitions(&toc);
    choose_belongings(&toc);
    if (database->exists)
        rc = check_absent(database, &toc, err);
    if (!rc)
        rc = check_parents(database, &toc, err);
    if (!rc)
        rc = choose_needed(database, &toc, err);
    if (!rc)
        rc = note_sequences(database, &toc, err);
    if (!rc)
        rc = write_list(database, &toc, err);
    return rc ? rc : choose_rows(database, &toc, err);
}
