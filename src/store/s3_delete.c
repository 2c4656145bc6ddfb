/*
 * Deletions of the s3:// store, in batches (DeleteObjects). In a bucket that keeps versions, or
 * once kept them, every version and delete marker of a key is deleted, for what is only hidden
 * behind a delete marker is neither gone nor free. What the service does not confirm by name counts
 * as not deleted.
 */
#include <string.h>

#include "store/s3_object.h"
#include "store/s3_text.h"
#include "store/s3_xml.h"

enum {
    BATCH = 1000, /* of S3 */
    VERSION_ID_MAX = 1024,
    DOCUMENT_MAX = 16 << 20,
    TRIES = 4, /* for keys that a batch did not delete though another try may */
};

enum fate { FATE_UNKNOWN, FATE_DELETED, FATE_AGAIN, FATE_REFUSED };

/* One thing to delete: a key, or one version of it. */
struct target {
    char *key;     /* whole */
    char *version; /* NULL: what stands under the key */
    enum fate fate;
    char code[S3_CODE_MAX + 1], message[S3_TEXT_MAX + 1];
};

struct batch {
    struct s3_store *store;
    struct target targets[BATCH];
    size_t count;
    /* The element that is being read. */
    char key[S3_KEY_SIZE], version[VERSION_ID_MAX + 1];
    char code[S3_CODE_MAX + 1], message[S3_TEXT_MAX + 1];
    bool is_whole;
};

struct deletion {
    struct s3_store *store;
    char *const *keys; /* of the store, sorted */
    size_t count;
    store_refused refused;
    void *context;
    struct error *err;
};

static void clear_batch(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        free(batch->targets[i].key);
        free(batch->targets[i].version);
    }
    batch->count = 0;
}

static int add_target(struct batch *batch, const char *full_key, const char *version,
                      struct error *err)
{
    struct target *target = &batch->targets[batch->count];
    *target = (struct target){.key = strdup(full_key), .version = version ? strdup(version) : NULL};
    batch->count++;
    return target->key && (!version || target->version) ? 0 : error_no_memory(err);
}

/* -- one batch -----------------------------------------------------------------------------------
 */

static struct target *find_target(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct target *target = &batch->targets[i];
        const char *version = target->version ? target->version : "";
        if (target->fate == FATE_UNKNOWN && strcmp(target->key, batch->key) == 0 &&
            strcmp(version, batch->version) == 0)
            return target;
    }
    return NULL;
}

static bool is_worth_a_try(const char *code)
{
    static const char *const CODES[] = {"InternalError", "SlowDown", "ServiceUnavailable",
                                        "OperationAborted", "RequestTimeout"};
    for (size_t i = 0; i < ARRAY_SIZE(CODES); i++)
        if (strcmp(code, CODES[i]) == 0)
            return true;
    return false;
}

static void settle(struct batch *batch, bool is_error)
{
    struct target *target = find_target(batch);
    bool is_gone = !is_error || strcmp(batch->code, "NoSuchKey") == 0 ||
                   strcmp(batch->code, "NoSuchVersion") == 0;
    if (target) {
        target->fate = is_gone                       ? FATE_DELETED
                       : is_worth_a_try(batch->code) ? FATE_AGAIN
                                                     : FATE_REFUSED;
        memcpy(target->code, batch->code, sizeof(target->code));
        memcpy(target->message, batch->message, sizeof(target->message));
    }
    batch->key[0] = batch->version[0] = batch->code[0] = batch->message[0] = '\0';
}

static int note_fate(const char *path, const char *text, void *context, struct error *err)
{
    static const char DELETED[] = "DeleteResult/Deleted", REFUSED[] = "DeleteResult/Error";
    struct batch *batch = context;
    (void)err;
    if (strcmp(path, "DeleteResult") == 0)
        batch->is_whole = true;
    bool is_deleted = strncmp(path, DELETED, strlen(DELETED)) == 0;
    bool is_error = strncmp(path, REFUSED, strlen(REFUSED)) == 0;
    if (!is_deleted && !is_error)
        return 0;
    const char *name = path + strlen(is_deleted ? DELETED : REFUSED);
    if (!*name)
        settle(batch, is_error);
    else if (strcmp(name, "/Key") == 0)
        snprintf(batch->key, sizeof(batch->key), "%s", text);
    else if (strcmp(name, "/VersionId") == 0)
        snprintf(batch->version, sizeof(batch->version), "%s", text);
    else if (strcmp(name, "/Code") == 0)
        snprintf(batch->code, sizeof(batch->code), "%s", text);
    else if (strcmp(name, "/Message") == 0)
        snprintf(batch->message, sizeof(batch->message), "%s", text);
    return 0;
}

static int check_fates(const struct s3_reply *reply, void *context, struct error *err)
{
    struct batch *batch = context;
    batch->is_whole = false;
    int rc = s3_xml_read(buf_text(&reply->body), reply->body.length, note_fate, batch, err);
    if (!rc && !batch->is_whole)
        rc = error_set(err, ERR_CORRUPT, "it does not say what was deleted");
    return rc ? error_prefix(err, "the service's reply to a deletion can't be used") : 0;
}

static int describe(struct batch *batch, struct buf *document, struct error *err)
{
    buf_add_text(document, "<Delete>");
    for (size_t i = 0; i < batch->count; i++) {
        const struct target *target = &batch->targets[i];
        if (target->fate == FATE_DELETED || target->fate == FATE_REFUSED)
            continue;
        buf_add_text(document, "<Object><Key>");
        s3_xml_add(document, target->key);
        buf_add_text(document, "</Key>");
        if (target->version) {
            buf_add_text(document, "<VersionId>");
            s3_xml_add(document, target->version);
            buf_add_text(document, "</VersionId>");
        }
        buf_add_text(document, "</Object>");
    }
    buf_add_text(document, "</Delete>");
    return buf_failed(document, "a batch of deletions", err);
}

static int send_batch_once(struct batch *batch, bool has_versions, struct error *err)
{
    _cleanup_(buf_clear) struct buf document = BUF_INIT(DOCUMENT_MAX);
    struct s3_reply reply = S3_REPLY_INIT;
    int rc = describe(batch, &document, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < batch->count; i++)
        if (batch->targets[i].fate == FATE_AGAIN)
            batch->targets[i].fate = FATE_UNKNOWN;
    struct s3_request request = {
        .method = "POST",
        .action = has_versions ? "s3:DeleteObjectVersion" : "s3:DeleteObject",
        .body = document.data,
        .body_length = document.length,
        .check = check_fates,
        .context = batch,
        .may_hold_error = true,
    };
    s3_add_param(&request, "delete", "");
    rc = s3_perform(batch->store, &request, &reply, err);
    s3_reply_clear(&reply);
    return rc;
}

/* Until every target is deleted or refused, or the tries are spent. */
static int send_batch(struct batch *batch, bool has_versions, struct error *err)
{
    int rc = 0;
    bool is_open = batch->count > 0;
    for (int i = 0; !rc && is_open && i < TRIES; i++) {
        rc = send_batch_once(batch, has_versions, err);
        is_open = false;
        for (size_t j = 0; j < batch->count; j++)
            is_open |=
                batch->targets[j].fate != FATE_DELETED && batch->targets[j].fate != FATE_REFUSED;
    }
    return rc;
}

/* -- refusals ------------------------------------------------------------------------------------
 */

/* What a refused version says of its lock; INSTANT_NONE when it has none, or won't say. */
static int64_t lock_of(struct s3_store *store, const struct target *target)
{
    struct s3_reply reply = S3_REPLY_INIT;
    struct error ignored = ERROR_NONE;
    struct s3_request request = {.method = "HEAD", .action = "s3:GetObject", .key = target->key};
    if (target->version)
        s3_add_param(&request, "versionId", target->version);
    int rc = s3_perform(store, &request, &reply, &ignored);
    int64_t until_us = rc ? INSTANT_NONE : s3_locked_until(&reply);
    s3_reply_clear(&reply);
    return until_us;
}

static void explain_refusal(struct s3_store *store, const struct target *target,
                            struct error *reason)
{
    int64_t until_us = lock_of(store, target);
    char until[INSTANT_TEXT_MAX];
    if (until_us == INT64_MAX) {
        error_set(reason, ERR_LOCKED, "\"%s\" is under a legal hold", target->key);
        error_hint(reason, "who set the hold must lift it (PutObjectLegalHold)");
    } else if (until_us != INSTANT_NONE && until_us > instant_now_us()) {
        error_set(reason, ERR_LOCKED, "\"%s\" is locked until %s", target->key,
                  instant_format(until_us, until));
    } else if (target->fate == FATE_UNKNOWN) {
        error_set(reason, ERR_UNKNOWN, "the service does not say whether \"%s\" was deleted",
                  target->key);
    } else {
        bool is_denied = strcmp(target->code, "AccessDenied") == 0;
        error_set(reason, is_denied ? ERR_PERMISSION : ERR_CONNECTION,
                  "could not delete \"s3://%s/%s\": %s%s%s", store->bucket, target->key,
                  target->code, target->message[0] ? ": " : "", target->message);
        if (is_denied)
            error_hint(reason, "allow s3:DeleteObject%s to the key",
                       target->version ? "Version" : "");
    }
}

/* Tells of what was not deleted; of the versions of a key one is enough. */
static int tell_refusals(struct deletion *deletion, struct batch *batch)
{
    int rc = 0;
    const char *told = "";
    for (size_t i = 0; i < batch->count && !rc; i++) {
        const struct target *target = &batch->targets[i];
        const char *key = s3_own_key(deletion->store, target->key);
        if (target->fate == FATE_DELETED || !key || strcmp(told, target->key) == 0)
            continue;
        struct error reason = ERROR_NONE;
        explain_refusal(deletion->store, target, &reason);
        told = target->key;
        rc = deletion->refused(key, &reason, deletion->context, deletion->err);
    }
    return rc;
}

static int flush(struct deletion *deletion, struct batch *batch, bool has_versions)
{
    int rc = send_batch(batch, has_versions, deletion->err);
    if (!rc)
        rc = tell_refusals(deletion, batch);
    clear_batch(batch);
    return rc;
}

/* -- versions ------------------------------------------------------------------------------------
 */

struct version_page {
    struct deletion *deletion;
    struct batch *batch;
    char key[S3_KEY_SIZE], version[VERSION_ID_MAX + 1]; /* of the element that is being read */
    bool is_truncated, is_whole;
    char key_marker[S3_KEY_SIZE], version_marker[VERSION_ID_MAX + 1];
};

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int take_version(struct version_page *page, struct error *err)
{
    struct deletion *deletion = page->deletion;
    const char *key = s3_own_key(deletion->store, page->key);
    bool is_meant =
        key && bsearch(&key, deletion->keys, deletion->count, sizeof(key), compare_keys);
    int rc = is_meant ? add_target(page->batch, page->key, page->version, err) : 0;
    page->key[0] = page->version[0] = '\0';
    return rc;
}

static int note_version(const char *path, const char *text, void *context, struct error *err)
{
    static const char VERSION[] = "ListVersionsResult/Version";
    static const char MARKER[] = "ListVersionsResult/DeleteMarker";
    struct version_page *page = context;
    if (strcmp(path, "ListVersionsResult") == 0)
        page->is_whole = true;
    else if (strcmp(path, "ListVersionsResult/IsTruncated") == 0)
        page->is_truncated = strcmp(text, "true") == 0;
    else if (strcmp(path, "ListVersionsResult/NextKeyMarker") == 0)
        s3_decode(text, page->key_marker, sizeof(page->key_marker));
    else if (strcmp(path, "ListVersionsResult/NextVersionIdMarker") == 0)
        snprintf(page->version_marker, sizeof(page->version_marker), "%s", text);
    bool is_version = strncmp(path, VERSION, strlen(VERSION)) == 0;
    if (!is_version && strncmp(path, MARKER, strlen(MARKER)) != 0)
        return 0;
    const char *name = path + strlen(is_version ? VERSION : MARKER);
    if (!*name)
        return take_version(page, err);
    if (strcmp(name, "/Key") == 0)
        s3_decode(text, page->key, sizeof(page->key));
    else if (strcmp(name, "/VersionId") == 0)
        snprintf(page->version, sizeof(page->version), "%s", text);
    return 0;
}

static int check_versions(const struct s3_reply *reply, void *context, struct error *err)
{
    struct version_page *page = context;
    clear_batch(page->batch);
    page->is_truncated = page->is_whole = false;
    page->key[0] = page->version[0] = page->key_marker[0] = page->version_marker[0] = '\0';
    int rc = s3_xml_read(buf_text(&reply->body), reply->body.length, note_version, page, err);
    if (!rc && !page->is_whole)
        rc = error_set(err, ERR_CORRUPT, "it is no listing of versions");
    if (!rc && page->is_truncated && !page->key_marker[0])
        rc = error_set(err, ERR_CORRUPT, "the listing ends early without saying where it goes on");
    return rc;
}

static int fetch_versions(struct version_page *page, const char *full_prefix, struct error *err)
{
    char key_marker[S3_KEY_SIZE], version_marker[VERSION_ID_MAX + 1];
    memcpy(key_marker, page->key_marker, sizeof(key_marker));
    memcpy(version_marker, page->version_marker, sizeof(version_marker));
    struct s3_reply reply = S3_REPLY_INIT;
    struct s3_request request = {
        .method = "GET",
        .action = "s3:ListBucketVersions",
        .check = check_versions,
        .context = page,
    };
    s3_add_param(&request, "versions", "");
    s3_add_param(&request, "encoding-type", "url");
    s3_add_param(&request, "max-keys", "1000");
    s3_add_param(&request, "prefix", full_prefix);
    if (key_marker[0])
        s3_add_param(&request, "key-marker", key_marker);
    if (key_marker[0] && version_marker[0])
        s3_add_param(&request, "version-id-marker", version_marker);
    int rc = s3_perform(page->deletion->store, &request, &reply, err);
    s3_reply_clear(&reply);
    return rc;
}

/* What the keys, which are sorted, begin with in common. */
static void common_prefix(const struct deletion *deletion, char full[S3_KEY_SIZE])
{
    const char *first = deletion->keys[0], *last = deletion->keys[deletion->count - 1];
    size_t length = 0;
    while (first[length] && first[length] == last[length])
        length++;
    snprintf(full, S3_KEY_SIZE, "%s%.*s", deletion->store->prefix, (int)length, first);
}

/* Each page of versions is deleted before the next one is read. */
static int delete_versions(struct deletion *deletion, struct batch *batch)
{
    char full_prefix[S3_KEY_SIZE];
    struct version_page page = {.deletion = deletion, .batch = batch};
    common_prefix(deletion, full_prefix);
    int rc = 0;
    do {
        rc = fetch_versions(&page, full_prefix, deletion->err);
        if (!rc)
            rc = flush(deletion, batch, true);
    } while (!rc && page.is_truncated);
    return rc;
}

/* -- deletions -----------------------------------------------------------------------------------
 */

static int delete_current(struct deletion *deletion, struct batch *batch)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < deletion->count; i++) {
        char full[S3_KEY_SIZE];
        s3_full_key(deletion->store, deletion->keys[i], full);
        rc = add_target(batch, full, NULL, deletion->err);
        if (!rc && batch->count == BATCH)
            rc = flush(deletion, batch, false);
    }
    return rc ? rc : flush(deletion, batch, false);
}

/* Whether the bucket has versions is asked once. A key that may not ask is answered by the versions
 * themselves; one that may not see those either could only hide objects, not delete them. */
static int learn_versioned(struct s3_store *store, bool *ret_versioned, struct error *err)
{
    enum store_versioning versioning = STORE_VERSIONING_OFF;
    struct error reason = ERROR_NONE;
    if (atomic_load(&store->versioned) != S3_NOT_KNOWN) {
        *ret_versioned = atomic_load(&store->versioned) == S3_YES;
        return 0;
    }
    int rc = s3_read_versioning(store, &versioning, &reason);
    if (rc == ERR_PERMISSION || rc == ERR_FAILED) {
        *ret_versioned = true;
        return 0;
    }
    if (rc) {
        if (err)
            *err = reason;
        return rc;
    }
    *ret_versioned = versioning != STORE_VERSIONING_OFF;
    atomic_store(&store->versioned, *ret_versioned ? S3_YES : S3_NO);
    return 0;
}

static int delete_sorted(struct deletion *deletion)
{
    bool versioned = false;
    int rc = learn_versioned(deletion->store, &versioned, deletion->err);
    if (rc)
        return rc;
    struct batch *batch = calloc(1, sizeof(*batch));
    if (!batch)
        return error_no_memory(deletion->err);
    batch->store = deletion->store;
    rc = versioned ? delete_versions(deletion, batch) : delete_current(deletion, batch);
    clear_batch(batch);
    free(batch);
    return rc;
}

int s3_delete_many(struct store *base, char *const *keys, size_t count, store_refused refused,
                   void *context, struct error *err)
{
    char **sorted = reallocarray(NULL, count, sizeof(sorted[0]));
    if (!sorted)
        return error_no_memory(err);
    memcpy(sorted, keys, count * sizeof(sorted[0]));
    qsort(sorted, count, sizeof(sorted[0]), compare_keys);
    struct deletion deletion = {
        .store = s3_store_of(base),
        .keys = sorted,
        .count = count,
        .refused = refused,
        .context = context,
        .err = err,
    };
    int rc = delete_sorted(&deletion);
    free(sorted);
    return rc;
}

static int as_failure(const char *key, const struct error *reason, void *context, struct error *err)
{
    (void)key;
    (void)context;
    if (err)
        *err = *reason;
    return reason->code;
}

int s3_delete(struct store *base, const char *key, struct error *err)
{
    char *keys[] = {strdup(key)};
    if (!keys[0])
        return error_no_memory(err);
    int rc = s3_delete_many(base, keys, 1, as_failure, NULL, err);
    free(keys[0]);
    return rc;
}
