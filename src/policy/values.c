#include <stdio.h>
#include <string.h>

#include "policy/connection.h"
#include "policy/keys.h"
#include "policy/problems.h"

/* Whether the file itself holds a password, and not only the name of a variable that does: whether
 * something would be hidden that does not begin with "${". */
static int holds_password(const struct document_node *value, bool *ret_holds, struct error *err)
{
    const char *source = value->source ? value->source : value->text;
    _cleanup_(freep) char *redacted = NULL;
    int rc = connection_redact(source, &redacted, err);
    if (rc)
        return rc;
    size_t same = 0;
    while (source[same] && source[same] == redacted[same])
        same++;
    *ret_holds = source[same] && strncmp(source + same, "${", 2) != 0;
    return 0;
}

/* A fault of the string becomes a problem of the file, its hint in brackets behind. */
static int connection_fault(struct reader *reader, const struct document_node *value,
                            const struct error *fault)
{
    if (!fault->hint[0])
        return value_error(reader, value, "connection: %s", fault->message);
    return value_error(reader, value, "connection: %s (%s)", fault->message, fault->hint);
}

static int read_string(struct reader *reader, const struct document_node *value,
                       char **ret_conninfo)
{
    struct error fault = ERROR_NONE;
    bool holds = false;
    if (value->kind != NODE_TEXT)
        return value_error(reader, value, "\"connection\" must be text");
    struct strv notices = STRV_INIT(CONNECTION_NOTICES_MAX);
    char *conninfo = NULL;
    int rc = connection_normalise(value->text, &conninfo, &notices, &fault);
    for (size_t i = 0; i < notices.count && rc != ERR_MEMORY; i++)
        if (problems_warning(reader->problems, value->line, value->column, reader->err,
                             "connection: %s", notices.items[i]))
            rc = ERR_MEMORY;
    strv_clear(&notices);
    if (rc == ERR_MEMORY)
        return error_no_memory(reader->err);
    if (rc)
        return connection_fault(reader, value, &fault);
    free(*ret_conninfo);
    *ret_conninfo = conninfo;
    rc = holds_password(value, &holds, reader->err);
    reader->policy->holds_password = reader->policy->holds_password || holds;
    return rc;
}

int read_connection(struct reader *reader, const struct document_node *value, void *policy)
{
    struct policy *target = policy;
    target->connection_place = (struct policy_place){value->line, value->column};
    return read_string(reader, value, &target->connection);
}

int read_job_connection(struct reader *reader, const struct document_node *value, void *job)
{
    struct policy_job *target = job;
    target->connection_place = (struct policy_place){value->line, value->column};
    return read_string(reader, value, &target->connection);
}

int value_timezone(struct reader *reader, const struct document_node *value, char **ret_timezone,
                   struct policy_place *ret_place)
{
    struct error fault = ERROR_NONE;
    char shown[64];
    *ret_place = (struct policy_place){value->line, value->column};
    int rc = value_copy(reader, value, "timezone", ret_timezone);
    if (rc || value->kind != NODE_TEXT || !*value->text || !reader->world->check_zone)
        return rc;
    rc = reader->world->check_zone(value->text, reader->world->context, &fault);
    if (rc == ERR_MEMORY)
        return error_no_memory(reader->err);
    if (!rc)
        return 0;
    if (value->source)
        return value_error(reader, value, "timezone \"%s\" is none when expanded",
                           value_shown(value, shown));
    return value_error(reader, value, "timezone: %s%s%s%s", fault.message,
                       fault.hint[0] ? " (" : "", fault.hint, fault.hint[0] ? ")" : "");
}

int read_keep(struct reader *reader, const struct document_node *value, void *job)
{
    struct policy_job *target = job;
    if (value->kind != NODE_MAP || value->count == 0)
        return value_error(reader, value,
                           "\"keep\" must be a mapping with at least one of within, last, hourly, "
                           "daily, weekly, monthly, yearly");
    target->keep.is_set = true;
    target->keep.line = value->line;
    return section_read(reader, &section_keep, value, &target->keep);
}
