#include "policy/notify.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/suggest.h"
#include "policy/keys.h"
#include "policy/problems.h"

#define IN_NOTIFY(field) offsetof(struct policy_notify, field)

enum { KEY_HEX = 12 };

static const char *const KINDS[NOTIFY_KIND_COUNT] = {"webhook", "slack", "email", "ping"};

static const char *const EVENTS[] = {
#define X(name, word) word,
    NOTIFY_EVENT_LIST(X)
#undef X
        NULL};

/* What somebody wants to know who says nothing else; a watchdog only how runs begin and end. */
static const unsigned DEFAULT_ON[NOTIFY_KIND_COUNT] = {
#define FOR_PEOPLE                                                                       \
    (NOTIFY_ON(NOTIFY_FAILURE) | NOTIFY_ON(NOTIFY_RECOVERY) | NOTIFY_ON(NOTIFY_MISSED) | \
     NOTIFY_ON(NOTIFY_STALE) | NOTIFY_ON(NOTIFY_POLICY))
    FOR_PEOPLE, FOR_PEOPLE, FOR_PEOPLE,
    NOTIFY_ON(NOTIFY_START) | NOTIFY_ON(NOTIFY_SUCCESS) | NOTIFY_ON(NOTIFY_FAILURE)};

const char *notify_kind_name(enum notify_kind kind)
{
    return KINDS[kind];
}

const char *notify_event_kind_name(enum notify_event_kind event)
{
    return EVENTS[event];
}

bool policy_notify_wants(const struct policy_notify *notify, enum notify_event_kind event,
                         const char *job)
{
    if (!(notify->on & NOTIFY_ON(event)))
        return false;
    return notify->jobs.count == 0 || *job == '\0' || strv_has(&notify->jobs, job);
}

/* -- URLs ---------------------------------------------------------------------------------- */

/* The host and port of a URL: behind "user:password@", before the path. */
static const char *find_host(const char *url, size_t *ret_length)
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    size_t length = strcspn(host, "/?#");
    for (size_t i = length; i-- > 0;)
        if (host[i] == '@') {
            *ret_length = length - i - 1;
            return host + i + 1;
        }
    *ret_length = length;
    return host;
}

void notify_url_shown(const char *url, char *text, size_t size)
{
    size_t length;
    const char *host = find_host(url, &length);
    const char *scheme_end = strstr(url, "://");
    int scheme = scheme_end ? (int)(scheme_end - url) + 3 : 0;
    bool has_more = host[length] && strcmp(host + length, "/") != 0;
    snprintf(text, size, "%.*s%.*s%s", scheme, url, (int)length, host, has_more ? "/***" : "");
}

bool notify_url_is_local(const char *url)
{
    static const char *const LOCAL[] = {"localhost", "127.0.0.1", "[::1]"};
    size_t length;
    const char *host = find_host(url, &length);
    for (size_t i = 0; i < ARRAY_SIZE(LOCAL); i++) {
        size_t known = strlen(LOCAL[i]);
        if (strncmp(host, LOCAL[i], known) == 0 && (length == known || host[known] == ':'))
            return true;
    }
    return false;
}

bool policy_notify_is_plain(const struct policy_notify *notify)
{
    return strncmp(notify->url, "http://", 7) == 0 && !notify_url_is_local(notify->url);
}

static bool is_url(const char *url, const char *scheme)
{
    size_t length = strlen(scheme), host_length;
    if (strncmp(url, scheme, length) != 0)
        return false;
    for (const char *c = url; *c; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f)
            return false;
    find_host(url, &host_length);
    return host_length > 0;
}

/* -- reading ------------------------------------------------------------------------------- */

/* Not shown in the error: a URL is a secret as a rule. */
static int read_url(struct reader *reader, const struct document_node *value, const char *name,
                    const char *const schemes[2], char **ret_url)
{
    bool is_text = value->kind == NODE_TEXT;
    if (!is_text || (!is_url(value->text, schemes[0]) && !is_url(value->text, schemes[1])))
        return value_error(reader, value, "\"%s\" must be a URL, %s... or %s...", name, schemes[0],
                           schemes[1]);
    return value_copy(reader, value, name, ret_url);
}

static int read_target(struct reader *reader, const struct document_node *value, void *target,
                       enum notify_kind kind)
{
    static const char *const SCHEMES[2] = {"https://", "http://"};
    struct policy_notify *notify = target;
    notify->kind = kind;
    return read_url(reader, value, KINDS[kind], SCHEMES, &notify->url);
}

static int read_webhook(struct reader *reader, const struct document_node *value, void *target)
{
    return read_target(reader, value, target, NOTIFY_WEBHOOK);
}

static int read_slack(struct reader *reader, const struct document_node *value, void *target)
{
    return read_target(reader, value, target, NOTIFY_SLACK);
}

static int read_ping(struct reader *reader, const struct document_node *value, void *target)
{
    return read_target(reader, value, target, NOTIFY_PING);
}

static int read_smtp(struct reader *reader, const struct document_node *value, void *target)
{
    static const char *const SCHEMES[2] = {"smtps://", "smtp://"};
    struct policy_notify *notify = target;
    size_t length;
    int rc = read_url(reader, value, "smtp", SCHEMES, &notify->url);
    if (!rc && notify->url && strchr(strstr(notify->url, "://") + 3, '@'))
        return value_error(reader, value, "\"smtp\" may hold no user: write user: and password:");
    if (!rc && notify->url && find_host(notify->url, &length)[length])
        return value_error(reader, value, "\"smtp\" may hold no path, only a host and a port");
    return rc;
}

/* Whether the file itself holds it, and not only the name of a variable. */
static int read_password(struct reader *reader, const struct document_node *value, void *target)
{
    struct policy_notify *notify = target;
    if (!value->source)
        reader->policy->holds_password = true;
    return value_copy(reader, value, "password", &notify->password);
}

static bool is_address(const char *text)
{
    const char *at = strrchr(text, '@');
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c <= ' ' || strchr("<>\",;:\\()[]\x7f", *c))
            return false;
    return at && at > text && at[1] && !memchr(text, '@', (size_t)(at - text));
}

static int check_address(struct reader *reader, const struct document_node *value, const char *name,
                         const char *text)
{
    char shown[64];
    if (!text || is_address(text))
        return 0;
    return value_error(reader, value, "\"%s\" must be an address, as dba@example.com, not \"%s\"",
                       name, value->kind == NODE_TEXT ? value_shown(value, shown) : "...");
}

static const struct key EMAIL_KEYS[] = {
    {.name = "to",
     .type = VALUE_TEXTS,
     .offset = IN_NOTIFY(to),
     .help = "address, or a list of up to 20"},
    {.name = "from",
     .type = VALUE_TEXT,
     .offset = IN_NOTIFY(from),
     .help = "address of the sender"},
    {.name = "smtp",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .read = read_smtp,
     .help = "server: smtps://host, or smtp://host:587 with STARTTLS, which only this machine's "
             "own need not have"},
    {.name = "user", .type = VALUE_TEXT, .offset = IN_NOTIFY(user), .help = "who logs in there"},
    {.name = "password",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .read = read_password,
     .help = "its password; best as ${VARIABLE}"},
    {.name = "password_file",
     .type = VALUE_PATH,
     .offset = IN_NOTIFY(password_file),
     .help = "file that holds the password, one line, mode 0600"},
};
static const struct section SECTION_EMAIL = {"notify.email", EMAIL_KEYS, ARRAY_SIZE(EMAIL_KEYS),
                                             NULL};

static int check_email(struct reader *reader, const struct document_node *map,
                       const struct policy_notify *notify)
{
    static const char *const NEEDED[] = {"to", "from", "smtp"};
    int rc = 0;
    for (size_t i = 0; i < ARRAY_SIZE(NEEDED) && !rc; i++)
        if (!map_value(map, NEEDED[i]))
            rc = value_error(reader, map, "an e-mail needs \"%s\"", NEEDED[i]);
    if (!rc && notify->to.count > POLICY_NOTIFY_TO_MAX)
        rc = value_error(reader, map_value(map, "to"), "\"to\" has %zu entries, more than %d",
                         notify->to.count, POLICY_NOTIFY_TO_MAX);
    for (size_t i = 0; i < notify->to.count && !rc; i++)
        rc = check_address(reader, map_value(map, "to"), "to", notify->to.items[i]);
    if (!rc)
        rc = check_address(reader, map_value(map, "from"), "from", notify->from);
    bool has_password = map_value(map, "password") || map_value(map, "password_file");
    if (!rc && map_value(map, "password") && map_value(map, "password_file"))
        rc = value_error(reader, map_key(map, "password_file"),
                         "\"password\" and \"password_file\" exclude each other");
    else if (!rc && has_password != (map_value(map, "user") != NULL))
        rc = value_error(reader, map, "an e-mail with \"%s\" needs \"%s\"",
                         has_password ? "password" : "user", has_password ? "user" : "password");
    return rc;
}

static int read_email(struct reader *reader, const struct document_node *value, void *target)
{
    struct policy_notify *notify = target;
    notify->kind = NOTIFY_EMAIL;
    if (value->kind != NODE_MAP)
        return value_error(reader, value,
                           "\"email\" must be a mapping, as in: {to: dba@example.com, from: "
                           "pgcairn@example.com, smtp: smtps://mail.example.com}");
    size_t errors = reader->problems->error_count;
    int rc = section_read(reader, &SECTION_EMAIL, value, notify);
    return rc || reader->problems->error_count > errors ? rc : check_email(reader, value, notify);
}

static const struct key NOTIFY_KEYS[] = {
    {.name = "webhook",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .read = read_webhook,
     .help = "URL that gets each event as JSON by POST"},
    {.name = "slack",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .read = read_slack,
     .help = "URL that takes {\"text\": ...} as Slack, Mattermost and Rocket.Chat do"},
    {.name = "email",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .section = &SECTION_EMAIL,
     .read = read_email,
     .help = "mail by SMTP"},
    {.name = "ping",
     .type = VALUE_OWN,
     .offset = NOWHERE,
     .read = read_ping,
     .help = "URL of a check at a watchdog such as healthchecks.io: /start, the URL itself, /EXIT "
             "or /fail"},
    {.name = "on",
     .type = VALUE_WORDS,
     .offset = IN_NOTIFY(on),
     .words = EVENTS,
     .fallback = "failure, recovery, missed, stale, policy; of a ping: start, success, failure",
     .help = "what is told"},
    {.name = "job",
     .type = VALUE_TEXTS,
     .offset = IN_NOTIFY(jobs),
     .fallback = "all",
     .help = "name of the job it is told of, or a list of them"},
    {.name = "stale",
     .type = VALUE_DURATION,
     .offset = IN_NOTIFY(stale_us),
     .low = US_PER_SECOND,
     .high = 366 * US_PER_DAY,
     .fallback = "two of the job's periods",
     .help = "how long nothing may have succeeded"},
    {.name = "repeat",
     .type = VALUE_DURATION,
     .offset = IN_NOTIFY(repeat_us),
     .low = US_PER_SECOND,
     .high = 30 * US_PER_DAY,
     .fallback = "12h",
     .help = "how long a trouble that lasts is not told again"},
    {.name = "ca_file",
     .type = VALUE_PATH,
     .offset = IN_NOTIFY(ca_file),
     .fallback = "the system's",
     .help = "certificates (PEM) that are trusted for this target"},
};
const struct section section_notify = {"notify", NOTIFY_KEYS, ARRAY_SIZE(NOTIFY_KEYS), NULL};

/* The target's name for the outbox: the same for the same target, and nothing of it can be read. */
static int make_key(struct policy_notify *notify, struct error *err)
{
    static const char DIGITS[] = "0123456789abcdef";
    unsigned char digest[EVP_MAX_MD_SIZE];
    char hex[KEY_HEX + 1] = "";
    _cleanup_(buf_clear) struct buf text = BUF_INIT(DOCUMENT_TEXT_MAX * 2);
    buf_addf(&text, "%s %s", KINDS[notify->kind], notify->url);
    for (size_t i = 0; i < notify->to.count; i++)
        buf_addf(&text, " %s", notify->to.items[i]);
    int rc = buf_failed(&text, "a target", err);
    if (rc)
        return rc;
    if (!EVP_Digest(buf_text(&text), text.length, digest, NULL, EVP_sha256(), NULL))
        return error_set(err, ERR_FAILED, "OpenSSL can't compute SHA-256");
    for (size_t i = 0; i < KEY_HEX; i++)
        hex[i] = DIGITS[i % 2 ? digest[i / 2] & 15 : digest[i / 2] >> 4];
    snprintf(notify->key, sizeof(notify->key), "%s-%s", KINDS[notify->kind], hex);
    return 0;
}

static void make_shown(struct policy_notify *notify)
{
    char url[180];
    notify_url_shown(notify->url, url, sizeof(url));
    if (notify->kind == NOTIFY_EMAIL)
        snprintf(notify->shown, sizeof(notify->shown), "email to %.80s%s by %s",
                 notify->to.items[0], notify->to.count > 1 ? " and others" : "", url);
    else
        snprintf(notify->shown, sizeof(notify->shown), "%s %s", KINDS[notify->kind], url);
}

static int check_kind(struct reader *reader, const struct document_node *map)
{
    const struct document_node *first = NULL;
    for (size_t i = 0; i < NOTIFY_KIND_COUNT; i++) {
        const struct document_node *key = map_key(map, KINDS[i]);
        if (key && first)
            return value_error(reader, key,
                               "an entry has one target: \"%s\" stands beside \"%s\"; write two",
                               key->text, first->text);
        if (key)
            first = key;
    }
    if (first)
        return 0;
    return value_error(reader, map, "an entry of notify needs one of webhook, slack, email, ping");
}

static int read_entry(struct reader *reader, const struct document_node *map,
                      struct policy_notify *notify)
{
    size_t errors = reader->problems->error_count;
    if (map->kind != NODE_MAP)
        return value_error(reader, map,
                           "\"notify\" must be a list of mappings, as in: [{webhook: "
                           "${ALERT_URL}}]");
    *notify = (struct policy_notify){.repeat_us = POLICY_NOTIFY_REPEAT_US,
                                     .jobs = STRV_INIT(POLICY_LIST_MAX),
                                     .to = STRV_INIT(POLICY_LIST_MAX),
                                     .line = map->line,
                                     .column = map->column};
    reader->policy->notify_count++;
    int rc = check_kind(reader, map);
    if (!rc)
        rc = section_read(reader, &section_notify, map, notify);
    if (rc || reader->problems->error_count > errors || !notify->url)
        return rc;
    if (!map_value(map, "on"))
        notify->on = DEFAULT_ON[notify->kind];
    make_shown(notify);
    return make_key(notify, reader->err);
}

int notify_read(struct reader *reader, const struct document_node *value, void *target)
{
    struct policy *policy = target;
    if (value->kind != NODE_LIST)
        return value_error(reader, value,
                           "\"notify\" must be a list, as in: [{webhook: ${ALERT_URL}}]");
    if (value->count > POLICY_NOTIFY_MAX)
        return value_error(reader, value, "\"notify\" has %zu entries, more than %d", value->count,
                           POLICY_NOTIFY_MAX);
    policy->notify = calloc(value->count + 1, sizeof(*policy->notify));
    if (!policy->notify)
        return error_no_memory(reader->err);
    int rc = 0;
    for (size_t i = 0; i < value->count && !rc; i++)
        if (!value->entries[i].value->is_broken)
            rc = read_entry(reader, value->entries[i].value, &policy->notify[policy->notify_count]);
    return rc;
}

/* -- checks -------------------------------------------------------------------------------- */

static int check_job(struct reader *reader, const struct policy_notify *notify, const char *name)
{
    const struct policy *policy = reader->policy;
    const char *names[POLICY_JOBS_MAX];
    if (policy_find_job(policy, name))
        return 0;
    for (size_t i = 0; i < policy->job_count; i++)
        names[i] = policy->jobs[i].name;
    const char *nearest = suggest_nearest(name, names, policy->job_count);
    return problems_error(reader->problems, notify->line, notify->column, reader->err,
                          "notify: there is no job \"%s\"%s%s%s", name,
                          nearest ? ", did you mean \"" : "", nearest ? nearest : "",
                          nearest ? "\"?" : "");
}

/* Two entries of one target would be told twice, or each in the other's stead. */
static int check_twins(struct reader *reader, size_t index)
{
    const struct policy *policy = reader->policy;
    const struct policy_notify *notify = &policy->notify[index];
    for (size_t i = 0; i < index && *notify->key; i++)
        if (strcmp(policy->notify[i].key, notify->key) == 0)
            return problems_error(reader->problems, notify->line, notify->column, reader->err,
                                  "notify: the entry of line %d has the same target; name its "
                                  "events and jobs in one",
                                  policy->notify[i].line);
    return 0;
}

int notify_check(struct reader *reader)
{
    const struct policy *policy = reader->policy;
    int rc = 0;
    for (size_t i = 0; i < policy->notify_count && !rc; i++) {
        const struct policy_notify *notify = &policy->notify[i];
        for (size_t k = 0; k < notify->jobs.count && !rc; k++)
            rc = check_job(reader, notify, notify->jobs.items[k]);
        if (!rc)
            rc = check_twins(reader, i);
    }
    return rc;
}

static int warn_entry(struct reader *reader, const struct policy_notify *notify)
{
    const struct policy *policy = reader->policy;
    int rc = 0;
    if (policy_notify_is_plain(notify))
        rc = problems_warning(reader->problems, notify->line, notify->column, reader->err,
                              "notify: %s is told without TLS: whoever is on the way can read it",
                              notify->shown);
    size_t jobs = notify->jobs.count ? notify->jobs.count : policy->job_count;
    if (!rc && notify->kind == NOTIFY_PING && jobs > 1)
        rc = problems_warning(reader->problems, notify->line, notify->column, reader->err,
                              "notify: %s: one check can't tell %zu jobs apart; give each job a "
                              "check of its own, with job:",
                              notify->shown, jobs);
    if (!rc && notify->stale_us && !(notify->on & NOTIFY_ON(NOTIFY_STALE)))
        rc = problems_warning(
            reader->problems, notify->line, notify->column, reader->err,
            "notify: %s has \"stale\" and is not told of it: add stale to on:", notify->shown);
    return rc;
}

int notify_warn(struct reader *reader)
{
    int rc = 0;
    for (size_t i = 0; i < reader->policy->notify_count && !rc; i++)
        rc = warn_entry(reader, &reader->policy->notify[i]);
    return rc;
}

static void free_secret(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

void policy_notify_clear(struct policy_notify *notify)
{
    free_secret(notify->url);
    free_secret(notify->password);
    free(notify->ca_file);
    free(notify->from);
    free(notify->user);
    free(notify->password_file);
    strv_clear(&notify->jobs);
    strv_clear(&notify->to);
}
