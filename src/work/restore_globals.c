/* Roles: those of globals.sql that the target lacks are made as they were; none that exists is
 * touched, what differs is told. pg_dumpall begins each statement on a line of its own, and names
 * its roles with the same quoting in each. */
#include <string.h>

#include "base/json.h"
#include "repository/manifest.h"
#include "work/restore.h"

enum { GLOBALS_LIMIT = 64 << 20, ROLES_MAX = 100000 };

struct roles {
    struct strv missing;   /* as globals.sql writes them, quoted where needed */
    struct strv different; /* names, for the report */
};

static void roles_clear(struct roles *roles)
{
    strv_clear(&roles->missing);
    strv_clear(&roles->different);
}

static int read_globals(struct restore *restore, struct buf *text, struct error *err)
{
    _cleanup_(volume_reader_freep) struct volume_reader *reader = NULL;
    int rc = restore_open_object(restore, "globals.sql.zst", VOLUME_ZSTD, &reader, err);
    return rc ? rc : volume_read_whole(reader, text, err);
}

/* The name behind a prefix such as "CREATE ROLE ", up to the quote's end or a blank or ';'. */
static size_t name_length(const char *name)
{
    if (*name != '"')
        return strcspn(name, " ;\n");
    size_t length = 1;
    while (name[length] && (name[length] != '"' || name[length + 1] == '"'))
        length += name[length] == '"' ? 2 : 1;
    return name[length] ? length + 1 : length;
}

static bool line_is_about(const char *line, const char *prefix, const char *role)
{
    size_t length = strlen(prefix);
    if (strncmp(line, prefix, length) != 0)
        return false;
    size_t name = name_length(line + length);
    return name == strlen(role) && strncmp(line + length, role, name) == 0;
}

/* The plain name of one that may be quoted. */
static int unquote(const char *quoted, struct buf *name, struct error *err)
{
    if (*quoted != '"')
        buf_add_text(name, quoted);
    else
        for (const char *c = quoted + 1; *c && c[1]; c++) {
            buf_add(name, c, 1);
            c += *c == '"';
        }
    return buf_failed(name, "a role's name", err);
}

/* What ALTER ROLE sets, without the password, which never leaves globals.sql. */
static void copy_attributes(const char *with, const char *end, char *text, size_t size)
{
    snprintf(text, size, "%.*s", (int)(end - with - 6), with + 6);
    char *password = strstr(text, " PASSWORD ");
    char *valid = password ? strstr(password, " VALID UNTIL ") : NULL;
    if (password)
        memmove(password, valid ? valid : "", valid ? strlen(valid) + 1 : 1);
    char *semicolon = strrchr(text, ';');
    if (semicolon)
        *semicolon = '\0';
}

static const char ROLE_ATTRIBUTES[] =
    "select case when rolsuper then 'SUPERUSER' else 'NOSUPERUSER' end"
    " || case when rolinherit then ' INHERIT' else ' NOINHERIT' end"
    " || case when rolcreaterole then ' CREATEROLE' else ' NOCREATEROLE' end"
    " || case when rolcreatedb then ' CREATEDB' else ' NOCREATEDB' end"
    " || case when rolcanlogin then ' LOGIN' else ' NOLOGIN' end"
    " || case when rolreplication then ' REPLICATION' else ' NOREPLICATION' end"
    " || case when rolbypassrls then ' BYPASSRLS' else ' NOBYPASSRLS' end"
    " from pg_catalog.pg_roles where rolname = $1";

static int compare_role(struct restore *restore, const char *quoted, const char *attributes,
                        struct roles *roles, struct error *err)
{
    _cleanup_(pg_result_freep) PGresult *result = NULL;
    _cleanup_(buf_clear) struct buf name = BUF_INIT(4096);
    int rc = unquote(quoted, &name, err);
    if (!rc)
        rc = pg_query(restore->conn, &result, err, ROLE_ATTRIBUTES, buf_text(&name), NULL);
    if (rc)
        return rc;
    if (PQntuples(result) == 0)
        return strv_add(&roles->missing, quoted, err);
    const char *here = pg_text(result, 0, 0);
    if (attributes[0] && strncmp(here, attributes, strlen(here)) != 0) {
        restore_notice(restore, "role %s exists and is left as it is: %s here, %s in the backup",
                       quoted, here, attributes);
        return strv_add(&roles->different, buf_text(&name), err);
    }
    return 0;
}

/* The newline that ends a statement: a comment or a setting may have others within quotes, and a
 * line that is a comment of the script may have quotes. */
static const char *line_end(const char *line)
{
    char quote = '\0';
    if (*line == '-' || *line == '\\')
        return strchrnul(line, '\n');
    for (; *line && (quote || *line != '\n'); line++)
        if (quote ? *line == quote : *line == '\'' || *line == '"')
            quote = quote ? '\0' : *line;
    return line;
}

/* Calls with every statement of the text, which ends before `end`. */
typedef int (*line_visit)(struct restore *restore, const char *line, const char *end,
                          struct roles *roles, struct error *err);

static int each_line(struct restore *restore, const char *text, line_visit visit,
                     struct roles *roles, struct error *err)
{
    int rc = 0;
    while (*text && !rc) {
        const char *end = line_end(text);
        rc = visit(restore, text, end, roles, err);
        text = *end ? end + 1 : end;
    }
    return rc;
}

static int look_at_role(struct restore *restore, const char *line, const char *end,
                        struct roles *roles, struct error *err)
{
    static const char ALTER[] = "ALTER ROLE ";
    if (strncmp(line, ALTER, sizeof(ALTER) - 1) != 0)
        return 0;
    const char *name = line + sizeof(ALTER) - 1;
    const char *with = name + name_length(name);
    if (strncmp(with, " WITH ", 6) != 0)
        return 0;
    _cleanup_(freep) char *quoted = strndup(name, name_length(name));
    if (!quoted)
        return error_no_memory(err);
    char attributes[512];
    copy_attributes(with, end, attributes, sizeof(attributes));
    return compare_role(restore, quoted, attributes, roles, err);
}

static int run_line(struct restore *restore, const char *line, const char *end, struct error *err)
{
    _cleanup_(freep) char *sql = strndup(line, (size_t)(end - line));
    if (!sql)
        return error_no_memory(err);
    int rc = pg_execute(restore->conn, err, "%s", sql);
    if (!rc)
        return 0;
    /* The statement may hold a password's hash: only its first words are told. */
    error_prefix(err, "could not create a role (%.*s)", (int)strcspn(sql, "'"), sql);
    return error_hint(err, "use --globals none --no-owner to restore without the backup's roles");
}

static bool is_in_database(const char *line)
{
    static const char ALTER[] = "ALTER ROLE ", WITHIN[] = " IN DATABASE ";
    const char *name = line + sizeof(ALTER) - 1;
    return strncmp(line, ALTER, sizeof(ALTER) - 1) == 0 &&
           strncmp(name + name_length(name), WITHIN, sizeof(WITHIN) - 1) == 0;
}

/* Statements that concern a missing role: its creation, attributes, settings, comment, and what it
 * is a member of. */
static int make_role_line(struct restore *restore, const char *line, const char *end,
                          struct roles *roles, struct error *err)
{
    static const char *const ABOUT[] = {"CREATE ROLE ", "ALTER ROLE ", "COMMENT ON ROLE "};
    bool wanted = false;
    for (size_t i = 0; i < roles->missing.count; i++) {
        const char *role = roles->missing.items[i];
        for (size_t j = 0; j < ARRAY_SIZE(ABOUT); j++)
            wanted = wanted || line_is_about(line, ABOUT[j], role);
        if (strncmp(line, "GRANT ", 6) == 0) {
            const char *to = line + 6 + name_length(line + 6);
            wanted = wanted || (strncmp(to, " TO ", 4) == 0 && line_is_about(to, " TO ", role));
        }
    }
    /* Settings of a role within one database come with that database. */
    return !wanted || is_in_database(line) ? 0 : run_line(restore, line, end, err);
}

int restore_roles(struct restore *restore, json_t **ret_report, struct error *err)
{
    _cleanup_(buf_clear) struct buf text = BUF_INIT(GLOBALS_LIMIT);
    _cleanup_(roles_clear) struct roles roles = {.missing = STRV_INIT(ROLES_MAX),
                                                 .different = STRV_INIT(ROLES_MAX)};
    int rc = read_globals(restore, &text, err);
    if (!rc)
        rc = each_line(restore, buf_text(&text), look_at_role, &roles, err);
    if (!rc && !restore->request->dry_run && restore->request->create_roles && roles.missing.count)
        rc = each_line(restore, buf_text(&text), make_role_line, &roles, err);
    if (rc)
        return rc;
    json_t *missing = json_array(), *different = json_array();
    for (size_t i = 0; i < roles.missing.count; i++)
        json_array_append_new(missing, json_string(roles.missing.items[i]));
    for (size_t i = 0; i < roles.different.count; i++)
        json_array_append_new(different, json_string(roles.different.items[i]));
    *ret_report = json_pack("{s:o, s:o}", restore->request->create_roles ? "create" : "missing",
                            missing, "different", different);
    return *ret_report ? 0 : error_no_memory(err);
}
