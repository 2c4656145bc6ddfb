/* Multipart uploads that were begun and not ended: listed (ListMultipartUploads) and aborted. */
#include <string.h>

#include "store/s3_request.h"
#include "store/s3_text.h"
#include "store/s3_xml.h"

enum {
    MARKER_MAX = 1024,
    UPLOAD_ID_MAX = 1024,
    /* The service's clock and ours may differ by as much before signatures are refused. */
    SKEW_S = 15 * 60,
};

struct upload {
    char key[S3_KEY_SIZE]; /* whole */
    char id[UPLOAD_ID_MAX + 1];
    int64_t initiated_us;
};

struct upload_page {
    struct s3_store *store;
    struct upload *uploads;
    size_t count, room;
    struct upload upload; /* that is being read */
    bool is_truncated, is_whole;
    char key_marker[S3_KEY_SIZE], id_marker[MARKER_MAX + 1];
};

static int add_upload(struct upload_page *page, struct error *err)
{
    if (!page->upload.id[0] || !page->upload.key[0] || page->upload.initiated_us == INSTANT_NONE)
        return error_set(err, ERR_CORRUPT, "an upload of the listing lacks its key, id or time");
    if (page->count == page->room) {
        size_t room = page->room ? page->room * 2 : 16;
        struct upload *uploads = reallocarray(page->uploads, room, sizeof(uploads[0]));
        if (!uploads)
            return error_no_memory(err);
        page->uploads = uploads;
        page->room = room;
    }
    page->uploads[page->count++] = page->upload;
    page->upload = (struct upload){.initiated_us = INSTANT_NONE};
    return 0;
}

static int note_upload(const char *path, const char *text, void *context, struct error *err)
{
    static const char UPLOAD[] = "ListMultipartUploadsResult/Upload";
    struct upload_page *page = context;
    bool has_offset;
    if (strcmp(path, "ListMultipartUploadsResult") == 0)
        page->is_whole = true;
    else if (strcmp(path, "ListMultipartUploadsResult/IsTruncated") == 0)
        page->is_truncated = strcmp(text, "true") == 0;
    else if (strcmp(path, "ListMultipartUploadsResult/NextKeyMarker") == 0)
        s3_decode(text, page->key_marker, sizeof(page->key_marker));
    else if (strcmp(path, "ListMultipartUploadsResult/NextUploadIdMarker") == 0)
        snprintf(page->id_marker, sizeof(page->id_marker), "%s", text);
    if (strncmp(path, UPLOAD, strlen(UPLOAD)) != 0)
        return 0;
    const char *name = path + strlen(UPLOAD);
    if (!*name)
        return add_upload(page, err);
    if (strcmp(name, "/UploadId") == 0)
        snprintf(page->upload.id, sizeof(page->upload.id), "%s", text);
    else if (strcmp(name, "/Key") == 0)
        s3_decode(text, page->upload.key, sizeof(page->upload.key));
    else if (strcmp(name, "/Initiated") == 0)
        return instant_parse(text, &page->upload.initiated_us, &has_offset, err);
    return 0;
}

static int check_uploads(const struct s3_reply *reply, void *context, struct error *err)
{
    struct upload_page *page = context;
    page->count = 0;
    page->upload = (struct upload){.initiated_us = INSTANT_NONE};
    page->is_truncated = page->is_whole = false;
    page->key_marker[0] = page->id_marker[0] = '\0';
    int rc = s3_xml_read(buf_text(&reply->body), reply->body.length, note_upload, page, err);
    if (!rc && !page->is_whole)
        rc = error_set(err, ERR_CORRUPT, "it is no listing of uploads");
    if (!rc && page->is_truncated && !page->key_marker[0])
        rc = error_set(err, ERR_CORRUPT, "the listing ends early without saying where it goes on");
    return rc;
}

/* key_marker and id_marker say where to begin; "" for the first page. */
static int fetch_uploads(struct upload_page *page, const char *full_prefix, bool is_cleanup,
                         struct error *err)
{
    char key_marker[S3_KEY_SIZE], id_marker[MARKER_MAX + 1];
    memcpy(key_marker, page->key_marker, sizeof(key_marker));
    memcpy(id_marker, page->id_marker, sizeof(id_marker));
    struct s3_reply reply = S3_REPLY_INIT;
    struct s3_request request = {
        .method = "GET",
        .action = "s3:ListBucketMultipartUploads",
        .check = check_uploads,
        .context = page,
        .is_cleanup = is_cleanup,
    };
    s3_add_param(&request, "uploads", "");
    s3_add_param(&request, "encoding-type", "url");
    s3_add_param(&request, "prefix", full_prefix);
    if (key_marker[0])
        s3_add_param(&request, "key-marker", key_marker);
    if (key_marker[0] && id_marker[0])
        s3_add_param(&request, "upload-id-marker", id_marker);
    int rc = s3_perform(page->store, &request, &reply, err);
    s3_reply_clear(&reply);
    return rc;
}

typedef int (*upload_visit)(struct s3_store *store, const struct upload *upload, void *context,
                            struct error *err);

static int each_upload(struct s3_store *store, const char *full_prefix, bool is_cleanup,
                       upload_visit visit, void *context, struct error *err)
{
    struct upload_page page = {.store = store};
    int rc = 0;
    do {
        rc = fetch_uploads(&page, full_prefix, is_cleanup, err);
        for (size_t i = 0; !rc && i < page.count; i++) {
            page.uploads[i].initiated_us = s3_our_time(store, page.uploads[i].initiated_us);
            rc = visit(store, &page.uploads[i], context, err);
        }
    } while (!rc && page.is_truncated);
    free(page.uploads);
    return rc;
}

int s3_abort_upload(struct s3_store *store, const char *full_key, const char *upload_id,
                    struct error *err)
{
    struct s3_reply reply = S3_REPLY_INIT;
    struct s3_request request = {
        .method = "DELETE",
        .action = "s3:AbortMultipartUpload",
        .key = full_key,
        .is_cleanup = true,
    };
    s3_add_param(&request, "uploadId", upload_id);
    int rc = s3_perform(store, &request, &reply, err);
    s3_reply_clear(&reply);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

struct aborting {
    const char *full_key;
    const char *but_id;
    int64_t since_us, before_us;
};

static int abort_if_meant(struct s3_store *store, const struct upload *upload, void *context,
                          struct error *err)
{
    const struct aborting *aborting = context;
    if (strcmp(upload->key, aborting->full_key) != 0 || upload->initiated_us < aborting->since_us ||
        upload->initiated_us >= aborting->before_us ||
        (aborting->but_id && strcmp(upload->id, aborting->but_id) == 0))
        return 0;
    return s3_abort_upload(store, upload->key, upload->id, err);
}

int s3_abort_strays(struct s3_store *store, const char *full_key, int64_t since_us,
                    const char *but_upload_id, struct error *err)
{
    struct aborting aborting = {
        .full_key = full_key,
        .but_id = but_upload_id,
        .since_us = since_us - SKEW_S * US_PER_SECOND,
        .before_us = INT64_MAX,
    };
    return each_upload(store, full_key, true, abort_if_meant, &aborting, err);
}

int s3_remove_unfinished(struct store *base, const char *key, int64_t before_us, struct error *err)
{
    char full[S3_KEY_SIZE];
    struct s3_store *store = s3_store_of(base);
    s3_full_key(store, key, full);
    struct aborting aborting = {
        .full_key = full,
        .since_us = INT64_MIN,
        .before_us = before_us,
    };
    return each_upload(store, full, false, abort_if_meant, &aborting, err);
}

struct visiting {
    int64_t before_us;
    store_visit visit;
    void *context;
};

/* The bytes of the parts would take a request for each upload: the size stays 0. */
static int visit_if_ours(struct s3_store *store, const struct upload *upload, void *context,
                         struct error *err)
{
    const struct visiting *visiting = context;
    const char *key = s3_own_key(store, upload->key);
    if (!key || upload->initiated_us >= visiting->before_us)
        return 0;
    struct store_object object = {
        .modified_us = upload->initiated_us,
        .locked_until_us = INSTANT_NONE,
    };
    memcpy(object.key, key, strlen(key) + 1);
    return visiting->visit(&object, visiting->context, err);
}

int s3_list_unfinished(struct store *base, int64_t before_us, store_visit visit, void *context,
                       struct error *err)
{
    struct s3_store *store = s3_store_of(base);
    struct visiting visiting = {before_us, visit, context};
    return each_upload(store, store->prefix, false, visit_if_ours, &visiting, err);
}
