#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/instant.h"
#include "policy/connection.h"
#include "policy/drill.h"
#include "policy/expand.h"
#include "policy/keys.h"
#include "policy/order.h"
#include "policy/problems.h"

enum { CLUSTER_NAME_MAX = 63 };

/* What holds where neither the job nor defaults: says anything. */
static const struct policy_job JOB_DEFAULTS = {
    .timeout_us = 6 * US_PER_HOUR,
    .retries = 2,
    .on_missed = MISSED_ONCE,
    .overlap = OVERLAP_SKIP,
    .lock_wait_us = 5 * US_PER_SECOND,
    .analyze = true,
};

static int missing(struct reader *reader, const struct document_node *where, const char *what)
{
    return value_error(reader, where, "%s is missing", what);
}

static int read_cluster(struct reader *reader, const struct document_node *root)
{
    const struct document_node *value = map_value(root, "cluster");
    char shown[64];
    if (!value)
        return missing(reader, root, "\"cluster\", the name of the server");
    if (value->is_broken)
        return 0;
    reader->policy->cluster_place = (struct policy_place){value->line, value->column};
    size_t length =
        value->kind == NODE_TEXT ? strspn(value->text, "abcdefghijklmnopqrstuvwxyz0123456789-") : 0;
    if (length == 0 || length > CLUSTER_NAME_MAX || value->text[length])
        return value_error(reader, value, "cluster \"%s\" must be 1 to %d of a-z, 0-9 and \"-\"",
                           value->kind == NODE_TEXT ? value_shown(value, shown) : "",
                           CLUSTER_NAME_MAX);
    return value_copy(reader, value, "cluster", &reader->policy->cluster);
}

static int read_policy_timezone(struct reader *reader, const struct document_node *root)
{
    const struct document_node *value = map_value(root, "timezone");
    if (!value || value->is_broken)
        return 0;
    return value_timezone(reader, value, &reader->policy->timezone,
                          &reader->policy->timezone_place);
}

static int read_defaults(struct reader *reader, const struct document_node *root,
                         struct policy_job *defaults)
{
    const struct document_node *value = map_value(root, "defaults");
    if (!value)
        return 0;
    if (value->kind != NODE_MAP)
        return value_error(reader, value, "\"defaults\" must be a mapping of keys");
    return section_read(reader, &section_defaults, value, defaults);
}

/* What no policy can do without. An absent section is told of once, not for each of its keys. */
static int check_present(struct reader *reader, const struct document_node *root)
{
    static const struct {
        const char *section, *key, *example;
    } NEEDED[] = {
        {"postgres", "connection", "postgres: {connection: ${DATABASE_URL}}"},
        {"repository", "url", "repository: {url: file:///srv/pgcairn}"},
    };
    int rc = 0;
    for (size_t i = 0; i < ARRAY_SIZE(NEEDED) && !rc; i++) {
        const struct document_node *section = map_value(root, NEEDED[i].section);
        if (section && section->kind == NODE_MAP && !map_value(section, NEEDED[i].key))
            rc = value_error(reader, map_key(root, NEEDED[i].section), "\"%s\" is missing in %s",
                             NEEDED[i].key, NEEDED[i].section);
        else if (!section)
            rc = value_error(reader, root, "\"%s\" is missing, as in: %s", NEEDED[i].section,
                             NEEDED[i].example);
    }
    return rc;
}

/* One password has one source: with two, nobody knows which counts. */
static int check_passwords(struct reader *reader, const struct document_node *root)
{
    const struct policy *policy = reader->policy;
    const struct document_node *postgres = map_value(root, "postgres");
    const struct document_node *file = postgres ? map_key(postgres, "password_file") : NULL;
    const struct document_node *passfile = postgres ? map_key(postgres, "passfile") : NULL;
    if (file && passfile)
        return value_error(reader, passfile,
                           "\"passfile\" and \"password_file\" exclude each other");
    if (!file && !passfile)
        return 0;
    struct connection connection = {.count = 0};
    _cleanup_(strv_clear) struct strv notices = STRV_INIT(CONNECTION_NOTICES_MAX);
    struct error fault = ERROR_NONE;
    int rc = *policy->connection
                 ? connection_parse(policy->connection, &connection, &notices, &fault)
                 : 0;
    if (rc)
        return error_no_memory(reader->err); /* it was parsed before */
    if (connection_get(&connection, "password"))
        rc = value_error(reader, file ? file : passfile,
                         "\"%s\" is of no use: the connection has a password already",
                         file ? "password_file" : "passfile");
    connection_clear(&connection);
    return rc;
}

static void set_places(struct policy *policy, const struct document_node *root)
{
    const struct document_node *postgres = map_value(root, "postgres");
    if (!postgres)
        return;
    const struct document_node *databases = map_key(postgres, "databases");
    policy->databases_line = databases ? databases->line : map_key(root, "postgres")->line;
    const struct document_node *password = map_value(postgres, "password_file");
    if (!password)
        password = map_value(postgres, "passfile");
    if (password)
        policy->password_place = (struct policy_place){password->line, password->column};
}

/* The order is by what needs what: names and zones, then the rest, then the jobs. */
static int read_policy(struct reader *reader, const struct document_node *root)
{
    struct policy_job defaults = JOB_DEFAULTS;
    const struct document_node *jobs = map_value(root, "jobs");
    int rc = read_cluster(reader, root);
    if (!rc)
        rc = read_policy_timezone(reader, root);
    if (!rc)
        rc = read_defaults(reader, root, &defaults);
    if (!rc)
        rc = section_read(reader, &section_policy, root, reader->policy);
    if (!rc)
        rc = check_present(reader, root);
    if (!rc)
        rc = check_passwords(reader, root);
    if (!rc)
        rc = s3_check(reader, root);
    set_places(reader->policy, root);
    if (!rc && jobs)
        rc = read_jobs(reader, map_key(root, "jobs"), jobs, &defaults);
    if (!rc)
        rc = order_check(reader);
    if (!rc)
        rc = drill_check(reader);
    return rc ? rc : notify_check(reader);
}

static int hash_text(const char *text, size_t length, char ret_hex[65], struct error *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (!EVP_Digest(text, length, digest, &size, EVP_sha256(), NULL))
        return error_set(err, ERR_FAILED, "OpenSSL can't compute SHA-256");
    for (unsigned i = 0; i < size; i++)
        snprintf(ret_hex + 2 * (size_t)i, 3, "%02x", digest[i]);
    return 0;
}

static int new_policy(const char *file, struct policy **ret_policy, struct error *err)
{
    _cleanup_(policy_freep) struct policy *policy = calloc(1, sizeof(*policy));
    if (!policy)
        return error_no_memory(err);
    policy->databases = STRV_INIT(POLICY_LIST_MAX);
    policy->max_connections = 8;
    policy->compression_level = 1;
    policy->s3.tags = STRV_INIT(POLICY_S3_TAGS_MAX);
    policy->s3.retry_us = US_PER_MINUTE;
    policy_audit_init(&policy->audit);
    policy->file = strdup(file);
    policy->cluster = strdup("");
    policy->timezone = strdup("UTC");
    policy->connection = strdup("");
    policy->bindir = strdup("auto");
    policy->repository_url = strdup("");
    if (!policy->file || !policy->cluster || !policy->timezone || !policy->connection ||
        !policy->bindir || !policy->repository_url)
        return error_no_memory(err);
    *ret_policy = TAKE(policy);
    return 0;
}

/* Bytes that editors put in front of UTF-8 text are no part of it. */
static void skip_mark(const char **text, size_t *length)
{
    if (*length >= 3 && memcmp(*text, "\xef\xbb\xbf", 3) == 0) {
        *text += 3;
        *length -= 3;
    }
}

static int read_text(struct reader *reader, const char *text, size_t length)
{
    _cleanup_(document_freep) struct document *document = NULL;
    if (length > POLICY_BYTES_MAX)
        return problems_error(reader->problems, 1, 1, reader->err,
                              "the file is larger than %d bytes", POLICY_BYTES_MAX);
    skip_mark(&text, &length);
    int rc = document_load(text, length, reader->problems, &document, reader->err);
    if (rc)
        return rc == ERR_POLICY ? 0 : rc; /* it is among the problems */
    if (!document->root || document->root->kind != NODE_MAP)
        return problems_error(
            reader->problems, 1, 1, reader->err,
            document->root && document->root->kind != NODE_NULL
                ? "a policy is a mapping of keys: cluster, postgres, repository, jobs"
                : "the file is empty");
    rc = expand_all(document, reader->world->get_env, reader->world->context, reader->problems,
                    reader->err);
    return rc ? rc : read_policy(reader, document->root);
}

int policy_parse_in(const struct policy_world *world, const char *file, const char *text,
                    size_t length, struct policy **ret_policy, struct policy_problems *ret_problems,
                    struct error *err)
{
    _cleanup_(policy_freep) struct policy *policy = NULL;
    *ret_problems = (struct policy_problems){0};
    int rc = new_policy(file, &policy, err);
    if (!rc)
        rc = hash_text(text, length, policy->sha256, err);
    if (rc)
        return rc;
    struct reader reader = {.world = world, .policy = policy, .problems = ret_problems, .err = err};
    rc = read_text(&reader, text, length);
    if (!rc && ret_problems->error_count == 0)
        rc = policy_warn(&reader);
    if (rc)
        return rc;
    problems_sort(ret_problems);
    if (ret_problems->error_count > 0)
        return error_set(err, ERR_POLICY, "%s: %zu error%s", file, ret_problems->error_count,
                         ret_problems->error_count == 1 ? "" : "s");
    *ret_policy = TAKE(policy);
    return 0;
}

int policy_parse(const char *file, const char *text, size_t length, policy_getenv get_env,
                 void *context, struct policy **ret_policy, struct policy_problems *ret_problems,
                 struct error *err)
{
    const struct policy_world world = {.get_env = get_env, .context = context};
    return policy_parse_in(&world, file, text, length, ret_policy, ret_problems, err);
}
