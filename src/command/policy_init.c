/* `policy init`: a first policy from a connection string, without its password. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"
#include "command/commands.h"
#include "policy/connection.h"
#include "policy/policy.h"

enum { CLUSTER_MAX = 63, TEXT_MAX = 256 << 10 };

static const struct command_option OPTIONS[] = {
    {"from", OPTION_TEXT, "URL", "take the database and its address from here ($DATABASE_URL)"},
    {"repository", OPTION_TEXT, "URL", "where backups go: file:///path or s3://bucket/prefix"},
    {NULL, OPTION_FLAG, NULL, NULL},
};

static const char HEAD[] =
    "# A policy of pgcairn: one PostgreSQL server, its repository, its jobs.\n"
    "# After changes: pgcairn policy check FILE\n"
    "\n"
    "cluster: %s\n"
    "timezone: UTC # of the schedules; an IANA name as Europe/Berlin\n"
    "\n"
    "postgres:\n"
    "  # The variable's value wins; what stands behind \":-\" is used when it is not set. The password\n"
    "  # belongs in the variable, or in a file of mode 0600 named by password_file:\n"
    "  connection: ";

static const char MIDDLE[] = "  max_connections: 8 # the most that pgcairn itself may hold\n"
                             "\n"
                             "repository:\n";

static const char FOLDER[] =
    "  url: file:///srv/pgcairn # not on the disk that holds the database\n";

static const char S3_CHOICES[] =
    "  # Keys come from the environment, ~/.aws/ or the role of the machine, as for AWS's own tools.\n"
    "  # s3: {region: eu-central-1}\n"
    "  # s3: {endpoint: \"https://minio.example.com:9000\"} # MinIO, Ceph and others\n";

static const char TAIL[] =
    "\n"
    "jobs:\n"
    "  # Every night; each dump is kept for 30 days, and the newest 3 whatever their age.\n"
    "  nightly:\n"
    "    type: dump\n"
    "    schedule: \"0 2 * * *\"\n"
    "    keep: {within: 30d, last: 3}\n"
    "    jobs: 2\n"
    "\n"
    "  # VACUUM and ANALYZE where they are needed most, for at most 2 hours.\n"
    "  tidy:\n"
    "    type: vacuum\n"
    "    schedule: \"30 4 * * sun\"\n"
    "    budget: 2h\n"
    "\n"
    "  # Deletes what no keep: rule wants; without it nothing ever goes.\n"
    "  prune:\n"
    "    type: prune\n"
    "    schedule: \"15 5 * * *\"\n";

/* A name for the cluster from that of the database: what is not allowed becomes "-". */
static void cluster_name(const char *database, char name[CLUSTER_MAX + 1])
{
    size_t used = 0;
    for (; *database && used < CLUSTER_MAX; database++) {
        char c = *database;
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        bool is_allowed = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (is_allowed)
            name[used++] = c;
        else if (used > 0 && name[used - 1] != '-')
            name[used++] = '-';
    }
    while (used > 0 && name[used - 1] == '-')
        used--;
    name[used] = '\0';
    if (used == 0)
        snprintf(name, CLUSTER_MAX + 1, "main");
}

/* In single quotes, where YAML knows no escapes but the doubled quote. */
static void add_single_quoted(struct buf *out, const char *text)
{
    for (; *text; text++)
        buf_add(out, *text == '\'' ? "''" : text, *text == '\'' ? 2 : 1);
}

/* The address without secrets as the default of the variable, where it can stand in one. */
static int add_connection(struct buf *out, struct connection *connection, struct error *err)
{
    static const char *const SECRETS[] = {"password", "sslpassword"};
    _cleanup_(freep) char *text = NULL;
    int rc = 0;
    for (size_t i = 0; i < ARRAY_SIZE(SECRETS) && !rc; i++)
        rc = connection_set(connection, SECRETS[i], "", err);
    if (!rc)
        rc = connection_to_text(connection, &text, err);
    if (rc)
        return rc;
    bool fits = *text && !strpbrk(text, "{}$\n\r\t");
    buf_add_text(out, fits ? "'${DATABASE_URL:-" : "${DATABASE_URL}");
    if (fits) {
        add_single_quoted(out, text);
        buf_add_text(out, "}'");
    }
    buf_add_text(out, "\n");
    return 0;
}

static void add_databases(struct buf *out, const char *database)
{
    if (!*database || database[strcspn(database, "\n\r\t\x7f")]) {
        buf_add_text(out, "  # databases: [app] # default: all that accept connections\n");
        return;
    }
    buf_add_text(out, "  databases: ['");
    for (; *database; database++) {
        /* A glob sign of a name would match more than it; "$" would ask for a variable. */
        if (*database == '*' || *database == '?' || *database == '[' || *database == '\\')
            buf_add_text(out, "\\");
        buf_add_text(out, *database == '$' ? "$" : "");
        char one[2] = {*database, '\0'};
        add_single_quoted(out, one);
    }
    buf_add_text(out, "'] # leave it out for all that accept connections\n");
}

static void add_url(struct buf *out, const char *url)
{
    buf_add_text(out, "  url: '");
    for (; *url; url++) {
        buf_add_text(out, *url == '$' ? "$" : "");
        char one[2] = {*url, '\0'};
        add_single_quoted(out, one);
    }
    buf_add_text(out, "'\n");
}

static const char *no_variable(const char *name, void *context)
{
    (void)name;
    (void)context;
    return NULL;
}

/* What the policy would be refused for later is refused here, by the same rules. */
static int check_url(const char *url, struct error *err)
{
    _cleanup_(buf_clear) struct buf text = BUF_INIT(TEXT_MAX);
    _cleanup_(policy_freep) struct policy *policy = NULL;
    _cleanup_(policy_problems_clear) struct policy_problems problems = {0};
    if (url[strcspn(url, "\n\r\t\x7f")])
        return error_set(err, ERR_USAGE, "--repository: a URL holds no control characters");
    buf_add_text(&text, "cluster: a\npostgres: {connection: dbname=a}\nrepository:\n");
    add_url(&text, url);
    int rc = buf_failed(&text, "the policy", err);
    if (!rc)
        rc = policy_parse("", buf_text(&text), text.length, no_variable, NULL, &policy, &problems,
                          err);
    for (size_t i = 0; i < problems.count && rc == ERR_POLICY; i++)
        if (!problems.items[i].is_warning)
            return error_set(err, ERR_USAGE, "--repository: %s", problems.items[i].message);
    return rc;
}

static void add_repository(struct buf *out, const char *url)
{
    buf_add_text(out, MIDDLE);
    if (url)
        add_url(out, url);
    else
        buf_add_text(out, FOLDER);
}

static int write_policy(const char *from, const char *repository, struct buf *out,
                        struct error *err)
{
    struct connection connection = {.count = 0};
    _cleanup_(strv_clear) struct strv notices = STRV_INIT(CONNECTION_NOTICES_MAX);
    char cluster[CLUSTER_MAX + 1];
    int rc = from ? connection_parse(from, &connection, &notices, err) : 0;
    for (size_t i = 0; i < notices.count; i++)
        log_line(LOG_WARNING, "%s", notices.items[i]);
    if (rc)
        return rc;
    const char *database = connection_get(&connection, "dbname");
    cluster_name(database ? database : "", cluster);
    buf_addf(out, HEAD, cluster);
    rc = add_connection(out, &connection, err);
    database = connection_get(&connection, "dbname");
    add_databases(out, database ? database : "");
    add_repository(out, repository);
    if (repository && strncmp(repository, "s3://", 5) == 0)
        buf_add_text(out, S3_CHOICES);
    buf_add_text(out, TAIL);
    connection_clear(&connection);
    return rc ? rc : buf_failed(out, "the policy", err);
}

static int run(const struct globals *globals, const struct arguments *arguments, struct error *err)
{
    _cleanup_(buf_clear) struct buf text = BUF_INIT(TEXT_MAX);
    const char *from = argument_text(arguments, "from");
    if (!from)
        from = getenv("DATABASE_URL");
    const char *repository = argument_text(arguments, "repository");
    int rc = repository ? check_url(repository, err) : 0;
    if (!rc)
        rc = write_policy(from && *from ? from : NULL, repository, &text, err);
    if (rc)
        return rc;
    if (globals->json) {
        json_t *document = json_pack("{s:s}", "policy", buf_text(&text));
        return document ? command_print_json(document, err) : error_no_memory(err);
    }
    fputs(buf_text(&text), stdout);
    return 0;
}

const struct command COMMAND_POLICY_INIT = {
    .name = "policy init",
    .usage = "[--from URL] [--repository URL]",
    .summary = "write a first policy from a connection string, without its password",
    .examples = "pgcairn policy init > /etc/pgcairn/policies/app.yaml\n"
                "pgcairn policy init --from postgresql://app@db.example.com/app --repository "
                "s3://shop-backups/prod\n",
    .min_words = 0,
    .max_words = 0,
    .options = OPTIONS,
    .run = run,
};
