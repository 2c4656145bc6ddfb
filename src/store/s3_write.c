/*
 * Writers of the s3:// store. An object of at most S3_PART bytes goes by one PUT; a larger one by a
 * multipart upload, several parts in flight, which nobody sees before it is completed.
 *
 * What is said to be stored was confirmed: the service verified Content-MD5 (and the SHA-256 where
 * it keeps checksums), its ETag is the MD5 that we computed (of the bytes, or of the parts' MD5s),
 * and a HEAD afterwards has found the size, the ETag and the mark of this very write. That mark
 * also tells a reply that was lost from an object of somebody else's.
 */
#include <string.h>

#include "base/file.h"
#include "store/s3_object.h"
#include "store/s3_pool.h"
#include "store/s3_request.h"
#include "store/s3_xml.h"
#include "store/sha256.h"

enum {
    PARTS_MAX = 10000,     /* of S3 */
    PARTS_SMALL = 1024,    /* so many have S3_PART bytes: 8 GiB */
    PART_LARGE = 64 << 20, /* those behind them: 569 GiB in all, the limit of one object */
    AHEAD_BYTES = S3_PARTS_AHEAD * S3_PART,
    UPLOAD_ID_MAX = 1024,
    MD5_BYTES = 16,
    COMPLETE_MAX = 4 << 20, /* bytes of the list of parts */
};

struct part_record {
    char etag[S3_ETAG_MAX + 1];
    unsigned char md5[MD5_BYTES];
    char sha256[45]; /* base64 */
};

struct part {
    struct s3_task task;
    struct s3_writer *writer;
    int number; /* from 1 */
    char *data;
    size_t length, size;
    struct s3_digest md5, sha256;
    char etag[S3_ETAG_MAX + 1];
    struct error error;
    struct part *next;
};

struct s3_writer {
    struct store_writer base;
    struct s3_store *store;
    char key[S3_KEY_SIZE];
    char write_id[S3_WRITE_ID + 1];
    char retain_until[INSTANT_TEXT_MAX];
    char *data; /* the part that is being filled; NULL when none is */
    size_t filled, size;
    struct sha256 *hash;
    int64_t written;

    char upload_id[UPLOAD_ID_MAX + 1]; /* "" while there is no multipart upload */
    int64_t began_us;                  /* INSTANT_NONE while none was ever asked for */
    bool may_have_strays;              /* an upload may have begun whose id was lost */
    bool has_checksums;
    struct part *first, *last; /* in flight, in order */
    size_t ahead;              /* their bytes */
    struct part_record *records;
    size_t record_count, record_room;
    bool is_opaque; /* the ETags are no MD5s */
    atomic_bool given_up;
    struct error failure; /* of the first part that failed */
    bool is_stored;
};

/* -- one write -----------------------------------------------------------------------------------
 */

int s3_create(struct store *base, const char *key, unsigned flags, struct store_writer **ret_writer,
              struct error *err)
{
    struct s3_store *store = s3_store_of(base);
    struct s3_writer *writer = calloc(1, sizeof(*writer));
    if (!writer)
        return error_no_memory(err);
    writer->store = store;
    writer->began_us = INSTANT_NONE;
    s3_full_key(store, key, writer->key);
    if ((flags & STORE_RETAIN) && store->object_lock != STORE_LOCK_OFF)
        instant_format(instant_now_us() + store->retain_us, writer->retain_until);
    int rc = sha256_new(&writer->hash, err);
    if (!rc)
        rc = file_random_name(writer->write_id, S3_WRITE_ID, err);
    if (rc) {
        sha256_free(writer->hash);
        free(writer);
        return rc;
    }
    *ret_writer = &writer->base;
    return 0;
}

static void free_data(struct s3_writer *writer, char *data, size_t size)
{
    if (size == S3_PART)
        s3_buffer_give(writer->store->pool, data);
    else
        free(data);
}

/* What every new object is given. The texts live as long as the writer and the store. */
static void add_object_headers(const struct s3_writer *writer, struct s3_request *request)
{
    static const char *const MODES[] = {
        [STORE_LOCK_GOVERNANCE] = "GOVERNANCE", [STORE_LOCK_COMPLIANCE] = "COMPLIANCE"};
    const struct s3_store *store = writer->store;
    s3_add_header(request, "x-amz-meta-pgcairn-write", writer->write_id);
    if (store->storage_class)
        s3_add_header(request, "x-amz-storage-class", store->storage_class);
    if (store->sse)
        s3_add_header(request, "x-amz-server-side-encryption", store->sse);
    if (store->kms_key_id)
        s3_add_header(request, "x-amz-server-side-encryption-aws-kms-key-id", store->kms_key_id);
    if (store->tags)
        s3_add_header(request, "x-amz-tagging", store->tags);
    if (writer->retain_until[0]) {
        s3_add_header(request, "x-amz-object-lock-mode", MODES[store->object_lock]);
        s3_add_header(request, "x-amz-object-lock-retain-until-date", writer->retain_until);
    }
}

static bool is_conditional(const struct s3_writer *writer)
{
    return (writer->base.flags & STORE_IF_ABSENT) != 0;
}

static int exists_already(const struct s3_writer *writer, struct error *err)
{
    return error_set(err, ERR_EXISTS, "\"%s/%s\" exists already", store_url(writer->base.store),
                     writer->base.key);
}

/* Some services refuse checksums by name instead of leaving them alone. */
static bool refuses_checksums(struct s3_store *store, const struct s3_reply *reply)
{
    bool refuses = atomic_load(&store->checksums) != S3_NO &&
                   (reply->status == 400 || reply->status == 501) &&
                   strcasestr(reply->message, "checksum") && strcmp(reply->code, "BadDigest") != 0;
    if (refuses)
        atomic_store(&store->checksums, S3_NO);
    return refuses;
}

/* -- parts ---------------------------------------------------------------------------------------
 */

static int check_part(const struct s3_reply *reply, void *context, struct error *err)
{
    const struct part *part = context;
    return s3_check_stored(reply, &part->md5, &part->sha256, err);
}

static int put_part(struct part *part, struct error *err)
{
    struct s3_writer *writer = part->writer;
    struct s3_reply reply = S3_REPLY_INIT;
    char number[16];
    snprintf(number, sizeof(number), "%d", part->number);
    struct s3_request request = {
        .method = "PUT",
        .action = "s3:PutObject",
        .key = writer->key,
        .body = part->data,
        .body_length = part->length,
        .md5 = &part->md5,
        .sha256 = &part->sha256,
        .check = check_part,
        .context = part,
        .given_up = &writer->given_up,
    };
    s3_add_param(&request, "partNumber", number);
    s3_add_param(&request, "uploadId", writer->upload_id);
    if (writer->has_checksums)
        s3_add_header(&request, "x-amz-checksum-sha256", part->sha256.base64);
    int rc = s3_perform(writer->store, &request, &reply, err);
    if (rc == ERR_NOT_FOUND) {
        rc = error_set(err, ERR_FAILED, "%s: the upload was aborted by somebody else", writer->key);
        error_hint(err,
                   "does a lifecycle rule of the bucket abort uploads after too short a time?");
    }
    memcpy(part->etag, reply.etag, sizeof(part->etag));
    s3_reply_clear(&reply);
    return rc;
}

/* In a thread of the pool. */
static void send_part(struct s3_task *task)
{
    struct part *part = (struct part *)task;
    int rc = s3_md5(part->data, part->length, &part->md5, &part->error);
    if (!rc)
        rc = s3_sha256(part->data, part->length, &part->sha256, &part->error);
    if (!rc)
        put_part(part, &part->error);
}

static int keep_record(struct s3_writer *writer, const struct part *part, struct error *err)
{
    if (writer->record_count == writer->record_room) {
        size_t room = writer->record_room ? writer->record_room * 2 : 64;
        struct part_record *records =
            reallocarray(writer->records, room, sizeof(writer->records[0]));
        if (!records)
            return error_no_memory(err);
        writer->records = records;
        writer->record_room = room;
    }
    struct part_record *record = &writer->records[writer->record_count++];
    memcpy(record->etag, part->etag, sizeof(record->etag));
    memcpy(record->md5, part->md5.bytes, sizeof(record->md5));
    memcpy(record->sha256, part->sha256.base64, sizeof(record->sha256));
    if (strcmp(part->etag, part->md5.hex) != 0)
        writer->is_opaque = true;
    return 0;
}

/* Takes the oldest part from those in flight when it has ended. Parts end in order, so the records
 * are those of parts 1, 2, 3 ... */
static void collect_part(struct s3_writer *writer)
{
    struct part *part = writer->first;
    s3_task_wait(writer->store->pool, &part->task);
    writer->first = part->next;
    if (!writer->first)
        writer->last = NULL;
    writer->ahead -= part->size;
    if (!part->error.code)
        keep_record(writer, part, &part->error);
    if (part->error.code && !writer->failure.code) {
        writer->failure = part->error;
        atomic_store(&writer->given_up, true);
    }
    free_data(writer, part->data, part->size);
    free(part);
}

static int failure_of(const struct s3_writer *writer, struct error *err)
{
    if (writer->failure.code && err)
        *err = writer->failure;
    return writer->failure.code;
}

static int note_upload_id(const char *path, const char *text, void *context, struct error *err)
{
    struct s3_writer *writer = context;
    if (strcmp(path, "InitiateMultipartUploadResult/UploadId") != 0)
        return 0;
    if (!*text || strlen(text) > UPLOAD_ID_MAX)
        return error_set(err, ERR_CORRUPT, "the id of an upload has %zu bytes", strlen(text));
    memcpy(writer->upload_id, text, strlen(text) + 1);
    return 0;
}

static int check_begun(const struct s3_reply *reply, void *context, struct error *err)
{
    struct s3_writer *writer = context;
    int rc = s3_xml_read(reply->body.data, reply->body.length, note_upload_id, writer, err);
    if (!rc && !writer->upload_id[0])
        rc = error_set(err, ERR_CORRUPT, "the service began an upload without an id");
    return rc;
}

static int begin_upload(struct s3_writer *writer, struct error *err)
{
    struct s3_reply reply = S3_REPLY_INIT;
    struct s3_request request = {
        .method = "POST",
        .action = "s3:PutObject",
        .key = writer->key,
        .check = check_begun,
        .context = writer,
    };
    s3_add_param(&request, "uploads", "");
    add_object_headers(writer, &request);
    size_t plain_headers = request.header_count;
    if (atomic_load(&writer->store->checksums) != S3_NO)
        s3_add_header(&request, "x-amz-checksum-algorithm", "SHA256");
    writer->began_us = instant_now_us() + atomic_load(&writer->store->clock_offset_us);
    int rc = s3_perform(writer->store, &request, &reply, err);
    writer->may_have_strays |= reply.attempts > 1 || rc != 0;
    if (rc && refuses_checksums(writer->store, &reply)) {
        request.header_count = plain_headers;
        rc = s3_perform(writer->store, &request, &reply, err);
    }
    writer->has_checksums = !rc && reply.has_checksums;
    s3_reply_clear(&reply);
    return rc;
}

static int send_filled(struct s3_writer *writer, struct error *err)
{
    size_t number = writer->record_count + 1;
    for (const struct part *part = writer->first; part; part = part->next)
        number++;
    if (number > PARTS_MAX) {
        error_set(err, ERR_LIMIT,
                  "\"%s\" is larger than %lld GiB, the most that one object may have", writer->key,
                  ((long long)PARTS_SMALL * S3_PART +
                   (long long)(PARTS_MAX - PARTS_SMALL) * PART_LARGE) >>
                      30);
        return error_hint(err, "large objects of one database must be fewer, or dumped apart");
    }
    struct part *part = calloc(1, sizeof(*part));
    if (!part)
        return error_no_memory(err);
    part->task.run = send_part;
    part->writer = writer;
    part->number = (int)number;
    part->data = writer->data;
    part->length = writer->filled;
    part->size = writer->size;
    int rc = s3_pool_submit(writer->store->pool, &part->task, err);
    if (rc) {
        free(part);
        return rc;
    }
    writer->data = NULL;
    writer->filled = 0;
    writer->ahead += part->size;
    *(writer->last ? &writer->last->next : &writer->first) = part;
    writer->last = part;
    return 0;
}

static int take_data(struct s3_writer *writer, struct error *err)
{
    size_t sent = writer->record_count;
    for (const struct part *part = writer->first; part; part = part->next)
        sent++;
    writer->size = sent < PARTS_SMALL ? S3_PART : PART_LARGE;
    while (writer->first && writer->ahead + writer->size > AHEAD_BYTES + S3_PART)
        collect_part(writer);
    writer->filled = 0;
    writer->data =
        writer->size == S3_PART ? s3_buffer_take(writer->store->pool) : malloc(writer->size);
    return writer->data ? 0 : error_no_memory(err);
}

int s3_write(struct store_writer *base, const void *data, size_t length, struct error *err)
{
    struct s3_writer *writer = (struct s3_writer *)base;
    const char *from = data;
    int rc = sha256_add(writer->hash, data, length, err);
    writer->written += (int64_t)length;
    while (!rc && length > 0) {
        if (writer->data && writer->filled == writer->size) {
            rc = writer->upload_id[0] ? 0 : begin_upload(writer, err);
            if (!rc)
                rc = send_filled(writer, err);
        }
        if (!rc && !writer->data)
            rc = take_data(writer, err);
        if (!rc)
            rc = failure_of(writer, err);
        if (rc)
            break;
        size_t room = writer->size - writer->filled;
        size_t n = length < room ? length : room;
        memcpy(writer->data + writer->filled, from, n);
        writer->filled += n;
        from += n;
        length -= n;
    }
    return rc;
}

/* -- the end of a small object -------------------------------------------------------------------
 */

struct small {
    struct s3_writer *writer;
    struct s3_digest md5, sha256;
    bool is_opaque;
};

static int check_small(const struct s3_reply *reply, void *context, struct error *err)
{
    struct small *small = context;
    small->is_opaque = reply->has_opaque_etag;
    return s3_check_stored(reply, &small->md5, &small->sha256, err);
}

static int put_small(struct small *small, bool if_none_match, struct s3_reply *reply,
                     struct error *err)
{
    struct s3_writer *writer = small->writer;
    struct s3_request request = {
        .method = "PUT",
        .action = "s3:PutObject",
        .key = writer->key,
        .body = writer->data,
        .body_length = writer->filled,
        .md5 = &small->md5,
        .sha256 = &small->sha256,
        .check = check_small,
        .context = small,
    };
    add_object_headers(writer, &request);
    if (if_none_match)
        s3_add_header(&request, "if-none-match", "*");
    size_t plain_headers = request.header_count;
    if (atomic_load(&writer->store->checksums) != S3_NO)
        s3_add_header(&request, "x-amz-checksum-sha256", small->sha256.base64);
    int rc = s3_perform(writer->store, &request, reply, err);
    if (!rc || !refuses_checksums(writer->store, reply))
        return rc;
    request.header_count = plain_headers;
    return s3_perform(writer->store, &request, reply, err);
}

/* Whether the object that stands under the key now is the one of this write. */
static int is_ours(struct s3_writer *writer, bool *ret_is_ours, struct error *err)
{
    struct s3_reply reply = S3_REPLY_INIT;
    int rc = s3_head(writer->store, writer->key, &reply, err);
    if (rc == ERR_NOT_FOUND) {
        *ret_is_ours = false;
        rc = 0;
    } else if (!rc) {
        *ret_is_ours = strcmp(reply.write_id, writer->write_id) == 0;
    }
    s3_reply_clear(&reply);
    return rc;
}

static int refuse_existing(struct s3_writer *writer, struct error *err)
{
    struct s3_reply reply = S3_REPLY_INIT;
    int rc = s3_head(writer->store, writer->key, &reply, err);
    s3_reply_clear(&reply);
    if (rc == ERR_NOT_FOUND)
        return 0;
    return rc ? rc : exists_already(writer, err);
}

/* The service took a conditional write. Whether it obeys the condition shows when the same is sent
 * again: it must refuse now. Should it not, the object is only replaced by itself. */
static void learn_conditional(struct small *small)
{
    struct s3_store *store = small->writer->store;
    struct s3_reply reply = S3_REPLY_INIT;
    struct error ignored = ERROR_NONE;
    int rc = put_small(small, true, &reply, &ignored);
    if (rc == ERR_EXISTS)
        atomic_store(&store->conditional, S3_YES);
    else if (!rc)
        atomic_store(&store->conditional, S3_NO);
    s3_reply_clear(&reply);
}

/* Where the service does not obey the condition, we look before and after: of two that write at the
 * same moment, the last one wins, and the other sees that it has lost unless it looked too early.
 */
static int put_if_absent(struct small *small, struct error *err)
{
    struct s3_writer *writer = small->writer;
    int known = atomic_load(&writer->store->conditional);
    struct s3_reply reply = S3_REPLY_INIT;
    int rc = known == S3_YES ? 0 : refuse_existing(writer, err);
    if (!rc)
        rc = put_small(small, known != S3_NO, &reply, err);
    if (rc && reply.status == 501 && known != S3_NO) {
        atomic_store(&writer->store->conditional, S3_NO);
        rc = put_small(small, false, &reply, err);
    }
    bool ours = true;
    if (rc == ERR_EXISTS) { /* perhaps an earlier attempt of ours made it, and its reply was lost */
        ours = false;
        rc = reply.attempts > 1 ? is_ours(writer, &ours, err) : 0;
    } else if (!rc && known == S3_NOT_KNOWN) {
        learn_conditional(small);
    }
    s3_reply_clear(&reply);
    return rc || ours ? rc : exists_already(writer, err);
}

/* -- the end of a large one ----------------------------------------------------------------------
 */

static int etag_of_parts(const struct s3_writer *writer, char etag[S3_ETAG_MAX + 1],
                         struct error *err)
{
    size_t length = writer->record_count * MD5_BYTES;
    _cleanup_(freep) unsigned char *bytes = malloc(length + 1);
    if (!bytes)
        return error_no_memory(err);
    for (size_t i = 0; i < writer->record_count; i++)
        memcpy(bytes + i * MD5_BYTES, writer->records[i].md5, MD5_BYTES);
    struct s3_digest digest;
    int rc = s3_md5(bytes, length, &digest, err);
    if (!rc)
        snprintf(etag, S3_ETAG_MAX + 1, "%s-%zu", digest.hex, writer->record_count);
    return rc;
}

struct completion {
    struct s3_writer *writer;
    const char *expected; /* ETag; NULL where it can't be known */
    char etag[S3_ETAG_MAX + 1];
};

static int note_etag(const char *path, const char *text, void *context, struct error *err)
{
    struct completion *completion = context;
    (void)err;
    if (strcmp(path, "CompleteMultipartUploadResult/ETag") != 0)
        return 0;
    size_t length = strlen(text);
    bool is_quoted = length >= 2 && text[0] == '"' && text[length - 1] == '"';
    snprintf(completion->etag, sizeof(completion->etag), "%.*s",
             (int)(is_quoted ? length - 2 : length), text + is_quoted);
    return 0;
}

static int check_completed(const struct s3_reply *reply, void *context, struct error *err)
{
    struct completion *completion = context;
    completion->etag[0] = '\0';
    int rc = s3_xml_read(reply->body.data, reply->body.length, note_etag, completion, err);
    if (rc)
        return rc;
    if (!completion->etag[0])
        return error_set(err, ERR_CORRUPT, "the service does not say what it stored");
    if (completion->expected && strcmp(completion->etag, completion->expected) != 0)
        return error_set(err, ERR_CORRUPT, "the service stored ETag %s, sent was %s",
                         completion->etag, completion->expected);
    return 0;
}

static int list_parts(const struct s3_writer *writer, struct buf *document, struct error *err)
{
    buf_add_text(document, "<CompleteMultipartUpload>");
    for (size_t i = 0; i < writer->record_count; i++) {
        const struct part_record *record = &writer->records[i];
        buf_addf(document, "<Part><PartNumber>%zu</PartNumber><ETag>&quot;", i + 1);
        s3_xml_add(document, record->etag);
        buf_add_text(document, "&quot;</ETag>");
        if (writer->has_checksums)
            buf_addf(document, "<ChecksumSHA256>%s</ChecksumSHA256>", record->sha256);
        buf_add_text(document, "</Part>");
    }
    buf_add_text(document, "</CompleteMultipartUpload>");
    return buf_failed(document, "the list of an object's parts", err);
}

static int send_completion(struct completion *completion, struct error *err)
{
    struct s3_writer *writer = completion->writer;
    _cleanup_(buf_clear) struct buf document = BUF_INIT(COMPLETE_MAX);
    struct s3_reply reply = S3_REPLY_INIT;
    int rc = list_parts(writer, &document, err);
    if (rc)
        return rc;
    struct s3_request request = {
        .method = "POST",
        .action = "s3:PutObject",
        .key = writer->key,
        .body = document.data,
        .body_length = document.length,
        .check = check_completed,
        .context = completion,
        .may_hold_error = true,
        .is_patient = true,
    };
    s3_add_param(&request, "uploadId", writer->upload_id);
    if (is_conditional(writer) && atomic_load(&writer->store->conditional) != S3_NO)
        s3_add_header(&request, "if-none-match", "*");
    rc = s3_perform(writer->store, &request, &reply, err);
    s3_reply_clear(&reply);
    return rc;
}

/* After a lost reply the upload is gone, and asking again is refused: only the object itself tells.
 */
static int complete_upload(struct s3_writer *writer, const char *expected, struct error *err)
{
    struct completion completion = {.writer = writer, .expected = expected};
    int rc = is_conditional(writer) ? refuse_existing(writer, err) : 0;
    if (!rc)
        rc = send_completion(&completion, err);
    if (rc != ERR_NOT_FOUND && rc != ERR_EXISTS && rc != ERR_CORRUPT && rc != ERR_CONNECTION)
        return rc;
    bool ours = false;
    struct error ignored = ERROR_NONE;
    if (is_ours(writer, &ours, &ignored) || !ours)
        return rc == ERR_EXISTS ? exists_already(writer, err) : rc;
    error_clear(err);
    return 0; /* what it is worth is confirmed next */
}

static int finish_parts(struct s3_writer *writer, struct error *err)
{
    int rc = writer->data && writer->filled > 0 ? send_filled(writer, err) : 0;
    while (writer->first)
        collect_part(writer);
    return rc ? rc : failure_of(writer, err);
}

/* -- commit --------------------------------------------------------------------------------------
 */

/* What could not be confirmed must not stand under the key as if it had been. */
static void remove_unconfirmed(struct s3_writer *writer)
{
    struct s3_reply reply = S3_REPLY_INIT;
    struct error ignored = ERROR_NONE;
    bool ours = false;
    struct s3_request request = {
        .method = "DELETE",
        .action = "s3:DeleteObject",
        .key = writer->key,
        .is_cleanup = true,
    };
    if (!is_ours(writer, &ours, &ignored) && ours)
        s3_perform(writer->store, &request, &reply, &ignored);
    s3_reply_clear(&reply);
}

/* Reads back what the service holds now. An object that may be replaced, and was, since the service
 * confirmed ours, is no fault of this write. */
static int confirm(struct s3_writer *writer, const char *expected_etag,
                   struct store_object *ret_object, struct error *err)
{
    struct s3_reply reply = S3_REPLY_INIT;
    int rc = s3_head(writer->store, writer->key, &reply, err);
    bool ours = !rc && strcmp(reply.write_id, writer->write_id) == 0;
    if (!rc && !ours && is_conditional(writer))
        rc = exists_already(writer, err);
    else if (rc == ERR_NOT_FOUND)
        rc = error_set(err, ERR_CORRUPT, "\"%s\" is not there after it was stored", writer->key);
    else if (!rc && ours && reply.length != writer->written)
        rc = error_set(err, ERR_CORRUPT, "\"%s\" has %lld bytes, sent were %lld", writer->key,
                       (long long)reply.length, (long long)writer->written);
    else if (!rc && ours && expected_etag && !reply.has_opaque_etag &&
             strcmp(reply.etag, expected_etag) != 0)
        rc = error_set(err, ERR_CORRUPT, "\"%s\" has ETag %s, sent was %s", writer->key, reply.etag,
                       expected_etag);
    if (!rc) {
        ret_object->size = writer->written;
        ret_object->modified_us = reply.modified_us;
        ret_object->locked_until_us = ours ? s3_locked_until(&reply) : INSTANT_NONE;
    }
    s3_reply_clear(&reply);
    return rc;
}

static int commit_small(struct s3_writer *writer, char etag[S3_ETAG_MAX + 1], struct error *err)
{
    struct small small = {.writer = writer};
    struct s3_reply reply = S3_REPLY_INIT;
    int rc = s3_md5(writer->data, writer->filled, &small.md5, err);
    if (!rc)
        rc = s3_sha256(writer->data, writer->filled, &small.sha256, err);
    if (!rc)
        rc = is_conditional(writer) ? put_if_absent(&small, err)
                                    : put_small(&small, false, &reply, err);
    snprintf(etag, S3_ETAG_MAX + 1, "%s", small.is_opaque ? "" : small.md5.hex);
    s3_reply_clear(&reply);
    return rc;
}

static int commit_large(struct s3_writer *writer, char etag[S3_ETAG_MAX + 1], struct error *err)
{
    int rc = finish_parts(writer, err);
    if (!rc)
        rc = etag_of_parts(writer, etag, err);
    if (!rc && writer->is_opaque)
        etag[0] = '\0';
    return rc ? rc : complete_upload(writer, etag[0] ? etag : NULL, err);
}

int s3_commit(struct store_writer *base, struct store_object *ret_object, struct error *err)
{
    struct s3_writer *writer = (struct s3_writer *)base;
    char etag[S3_ETAG_MAX + 1] = "";
    int rc = sha256_end(writer->hash, ret_object->sha256, err);
    if (!rc)
        rc = writer->upload_id[0] ? commit_large(writer, etag, err)
                                  : commit_small(writer, etag, err);
    bool was_sent = rc == 0 || rc == ERR_CORRUPT;
    if (!rc)
        rc = confirm(writer, etag[0] ? etag : NULL, ret_object, err);
    if (rc == ERR_CORRUPT && was_sent)
        remove_unconfirmed(writer);
    writer->is_stored = rc == 0;
    return rc;
}

void s3_writer_free(struct store_writer *base)
{
    struct s3_writer *writer = (struct s3_writer *)base;
    struct error ignored = ERROR_NONE;
    if (!writer->is_stored)
        atomic_store(&writer->given_up, true);
    while (writer->first)
        collect_part(writer);
    if (writer->upload_id[0] && !writer->is_stored)
        s3_abort_upload(writer->store, writer->key, writer->upload_id, &ignored);
    if (writer->may_have_strays)
        s3_abort_strays(writer->store, writer->key, writer->began_us,
                        writer->upload_id[0] ? writer->upload_id : NULL, &ignored);
    if (writer->data)
        free_data(writer, writer->data, writer->size);
    sha256_free(writer->hash);
    free(writer->records);
    free(writer);
}
