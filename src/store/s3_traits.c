/* What the bucket does by itself: versions, locks, lifecycle rules; each read by its own right. */
#include <string.h>

#include "store/s3_request.h"
#include "store/s3_text.h"
#include "store/s3_xml.h"

static int ignore_entry(const char *path, const char *text, void *context, struct error *err)
{
    (void)path;
    (void)text;
    (void)context;
    (void)err;
    return 0;
}

/* A document that came damaged is asked for again. */
static int check_document(const struct s3_reply *reply, void *context, struct error *err)
{
    const char *resource = context;
    int rc = s3_xml_read(buf_text(&reply->body), reply->body.length, ignore_entry, NULL, err);
    return rc ? error_prefix(err, "the bucket's %s can't be used", resource) : 0;
}

/* Asks the bucket for one of its sub-resources and reads the reply. */
static int ask(struct s3_store *store, const char *action, const char *resource, s3_xml_visit visit,
               void *context, struct s3_reply *reply, struct error *err)
{
    char name[32];
    snprintf(name, sizeof(name), "%s", resource);
    struct s3_request request = {
        .method = "GET",
        .action = action,
        .check = check_document,
        .context = name,
    };
    s3_add_param(&request, resource, "");
    int rc = s3_perform(store, &request, reply, err);
    if (rc)
        return rc;
    rc = s3_xml_read(buf_text(&reply->body), reply->body.length, visit, context, err);
    return rc ? error_prefix(err, "the bucket's %s can't be read", resource) : 0;
}

/* -- versioning ----------------------------------------------------------------------------------
 */

static int note_versioning(const char *path, const char *text, void *context, struct error *err)
{
    enum store_versioning *versioning = context;
    (void)err;
    if (strcmp(path, "VersioningConfiguration/Status") == 0)
        *versioning =
            strcmp(text, "Enabled") == 0 ? STORE_VERSIONING_ON : STORE_VERSIONING_SUSPENDED;
    return 0;
}

/* ret_date_us: the service's time in its reply, or in its refusal. */
static int read_versioning(struct s3_store *store, enum store_versioning *ret_versioning,
                           int64_t *ret_date_us, struct error *err)
{
    struct s3_reply reply = S3_REPLY_INIT;
    enum store_versioning versioning = STORE_VERSIONING_OFF;
    int rc = ask(store, "s3:GetBucketVersioning", "versioning", note_versioning, &versioning,
                 &reply, err);
    *ret_date_us = reply.date_us;
    s3_reply_clear(&reply);
    if (!rc)
        *ret_versioning = versioning;
    return rc;
}

int s3_read_versioning(struct s3_store *store, enum store_versioning *ret_versioning,
                       struct error *err)
{
    int64_t date_us;
    return read_versioning(store, ret_versioning, &date_us, err);
}

/* -- object lock ---------------------------------------------------------------------------------
 */

static int note_lock(const char *path, const char *text, void *context, struct error *err)
{
    static const char DEFAULT[] = "ObjectLockConfiguration/Rule/DefaultRetention/";
    enum { DAYS_A_YEAR = 365 };
    struct store_traits *traits = context;
    (void)err;
    if (strcmp(path, "ObjectLockConfiguration/ObjectLockEnabled") == 0)
        traits->object_lock = strcmp(text, "Enabled") == 0;
    if (strncmp(path, DEFAULT, strlen(DEFAULT)) != 0)
        return 0;
    const char *name = path + strlen(DEFAULT);
    if (strcmp(name, "Mode") == 0)
        traits->default_lock =
            strcmp(text, "COMPLIANCE") == 0 ? STORE_LOCK_COMPLIANCE : STORE_LOCK_GOVERNANCE;
    else if (strcmp(name, "Days") == 0)
        traits->default_lock_days = (int)s3_number(text);
    else if (strcmp(name, "Years") == 0)
        traits->default_lock_days = (int)s3_number(text) * DAYS_A_YEAR;
    return 0;
}

static int read_lock(struct s3_store *store, struct store_traits *traits, struct error *err)
{
    struct s3_reply reply = S3_REPLY_INIT;
    int rc = ask(store, "s3:GetBucketObjectLockConfiguration", "object-lock", note_lock, traits,
                 &reply, err);
    if (rc && strcmp(reply.code, "ObjectLockConfigurationNotFoundError") == 0)
        rc = 0;
    s3_reply_clear(&reply);
    return rc;
}

/* -- lifecycle -----------------------------------------------------------------------------------
 */

struct rules {
    struct store_traits *traits;
    struct store_rule rule; /* that is being read */
};

static int add_rule(struct rules *rules, struct error *err)
{
    struct store_traits *traits = rules->traits;
    if (traits->rule_count == STORE_RULES_MAX)
        return error_set(err, ERR_LIMIT, "the bucket has more than %d lifecycle rules",
                         STORE_RULES_MAX);
    struct store_rule *grown =
        reallocarray(traits->rules, traits->rule_count + 1, sizeof(traits->rules[0]));
    if (!grown)
        return error_no_memory(err);
    traits->rules = grown;
    grown[traits->rule_count++] = rules->rule;
    rules->rule = (struct store_rule){.expire_days = 0};
    return 0;
}

/* A rule that acts on a date acts at once, as far as what is stored from now on is concerned. */
static int days_of(const char *text)
{
    int64_t days = s3_number(text);
    return days > INT32_MAX || days < 0 ? 0 : (int)days;
}

static int note_rule(const char *path, const char *text, void *context, struct error *err)
{
    static const char RULE[] = "LifecycleConfiguration/Rule";
    struct rules *rules = context;
    struct store_rule *rule = &rules->rule;
    if (strncmp(path, RULE, strlen(RULE)) != 0)
        return 0;
    const char *name = path + strlen(RULE);
    if (!*name)
        return add_rule(rules, err);
    if (strcmp(name, "/ID") == 0)
        snprintf(rule->id, sizeof(rule->id), "%s", text);
    else if (strcmp(name, "/Prefix") == 0 || strcmp(name, "/Filter/Prefix") == 0 ||
             strcmp(name, "/Filter/And/Prefix") == 0)
        snprintf(rule->prefix, sizeof(rule->prefix), "%s", text);
    else if (strcmp(name, "/Status") == 0)
        rule->enabled = strcmp(text, "Enabled") == 0;
    else if (strncmp(name, "/Filter/", 8) == 0)
        rule->is_filtered |= strstr(name, "Tag") || strstr(name, "ObjectSize");
    else if (strcmp(name, "/Expiration/Days") == 0)
        rule->expire_days = days_of(text);
    else if (strcmp(name, "/Expiration/Date") == 0)
        rule->expire_days = 1;
    else if (strcmp(name, "/NoncurrentVersionExpiration/NoncurrentDays") == 0)
        rule->noncurrent_days = days_of(text);
    else if (strcmp(name, "/AbortIncompleteMultipartUpload/DaysAfterInitiation") == 0)
        rule->abort_days = days_of(text);
    else if (strcmp(name, "/Transition/Days") == 0)
        rule->transition_days = days_of(text) ? days_of(text) : -1;
    else if (strcmp(name, "/Transition/Date") == 0)
        rule->transition_days = -1;
    else if (strcmp(name, "/Transition/StorageClass") == 0)
        snprintf(rule->storage_class, sizeof(rule->storage_class), "%s", text);
    return 0;
}

static int read_rules(struct s3_store *store, struct store_traits *traits, struct error *err)
{
    struct s3_reply reply = S3_REPLY_INIT;
    struct rules rules = {.traits = traits};
    int rc =
        ask(store, "s3:GetLifecycleConfiguration", "lifecycle", note_rule, &rules, &reply, err);
    if (rc && strcmp(reply.code, "NoSuchLifecycleConfiguration") == 0)
        rc = 0;
    s3_reply_clear(&reply);
    return rc;
}

/* -- all -----------------------------------------------------------------------------------------
 */

/* What the key may not see, or the service does not have, is a problem of that part alone. */
static int part_failed(int rc, const struct error *reason, char problem[512], struct error *err)
{
    if (rc == ERR_PERMISSION || rc == ERR_FAILED || rc == ERR_UNKNOWN || rc == ERR_NOT_FOUND ||
        rc == ERR_CORRUPT || rc == ERR_LIMIT) {
        snprintf(problem, 512, "%.511s", reason->message);
        return 0;
    }
    if (rc && err)
        *err = *reason;
    return rc;
}

int s3_read_traits(struct store *base, struct store_traits *ret_traits, struct error *err)
{
    struct s3_store *store = s3_store_of(base);
    struct store_traits traits = {.creates_may_race = atomic_load(&store->conditional) == S3_NO};
    struct error reason = ERROR_NONE;
    int64_t date_us = INSTANT_NONE;
    int rc = part_failed(read_versioning(store, &traits.versioning, &date_us, &reason), &reason,
                         traits.versioning_problem, err);
    traits.clock_offset_us = date_us == INSTANT_NONE ? INSTANT_NONE : date_us - instant_now_us();
    if (!rc)
        rc = part_failed(read_lock(store, &traits, &reason), &reason, traits.lock_problem, err);
    if (!rc)
        rc = part_failed(read_rules(store, &traits, &reason), &reason, traits.rules_problem, err);
    if (!rc)
        rc = part_failed(
            s3_ask_publicly(store, &traits.is_listed_publicly, &traits.is_read_publicly, &reason),
            &reason, traits.public_problem, err);
    if (rc)
        store_traits_clear(&traits);
    else
        *ret_traits = traits;
    return rc;
}
