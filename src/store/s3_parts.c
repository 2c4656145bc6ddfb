/* The parts of a multipart upload: begun, sent by the pool, collected in order. */
#include <string.h>

#include "store/s3_object.h"
#include "store/s3_writer.h"
#include "store/s3_xml.h"

enum {
    PARTS_MAX = 10000,     /* of S3 */
    PARTS_SMALL = 1024,    /* so many have S3_PART bytes: 8 GiB */
    PART_LARGE = 64 << 20, /* those behind them: 569 GiB in all, the limit of one object */
    AHEAD_BYTES = S3_PARTS_AHEAD * S3_PART,
};

static void free_data(struct s3_writer *writer, char *data, size_t size)
{
    if (size == S3_PART)
        s3_buffer_give(writer->store->pool, data);
    else
        free(data);
}

static int check_part(const struct s3_reply *reply, void *context, struct error *err)
{
    const struct s3_part *part = context;
    return s3_check_stored(reply, &part->md5, &part->sha256, err);
}

static int put_part(struct s3_part *part, struct error *err)
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
    struct s3_part *part = (struct s3_part *)task;
    int rc = s3_md5(part->data, part->length, &part->md5, &part->error);
    if (!rc)
        rc = s3_sha256(part->data, part->length, &part->sha256, &part->error);
    if (!rc)
        put_part(part, &part->error);
}

static int keep_record(struct s3_writer *writer, const struct s3_part *part, struct error *err)
{
    if (writer->record_count == writer->record_room) {
        size_t room = writer->record_room ? writer->record_room * 2 : 64;
        struct s3_part_record *records =
            reallocarray(writer->records, room, sizeof(writer->records[0]));
        if (!records)
            return error_no_memory(err);
        writer->records = records;
        writer->record_room = room;
    }
    struct s3_part_record *record = &writer->records[writer->record_count++];
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
    struct s3_part *part = writer->first;
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

int s3_parts_failure(const struct s3_writer *writer, struct error *err)
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
    if (!*text || strlen(text) > S3_UPLOAD_ID_MAX)
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
    s3_add_object_headers(writer, &request);
    size_t plain_headers = request.header_count;
    if (atomic_load(&writer->store->checksums) != S3_NO)
        s3_add_header(&request, "x-amz-checksum-algorithm", "SHA256");
    writer->began_us = instant_now_us();
    int rc = s3_perform(writer->store, &request, &reply, err);
    writer->may_have_strays |= reply.may_be_repeated || rc != 0;
    if (rc && s3_refuses_checksums(writer->store, &reply)) {
        request.header_count = plain_headers;
        rc = s3_perform(writer->store, &request, &reply, err);
    }
    writer->has_checksums = !rc && reply.has_checksums;
    s3_reply_clear(&reply);
    return rc;
}

int s3_part_send(struct s3_writer *writer, struct error *err)
{
    int rc = writer->upload_id[0] ? 0 : begin_upload(writer, err);
    if (rc)
        return rc;
    size_t number = writer->record_count + 1;
    for (const struct s3_part *part = writer->first; part; part = part->next)
        number++;
    if (number > PARTS_MAX) {
        error_set(err, ERR_LIMIT,
                  "\"%s\" is larger than %lld GiB, the most that one object may have", writer->key,
                  ((long long)PARTS_SMALL * S3_PART +
                   (long long)(PARTS_MAX - PARTS_SMALL) * PART_LARGE) >>
                      30);
        return error_hint(err, "large objects of one database must be fewer, or dumped apart");
    }
    struct s3_part *part = calloc(1, sizeof(*part));
    if (!part)
        return error_no_memory(err);
    part->task.run = send_part;
    part->writer = writer;
    part->number = (int)number;
    part->data = writer->data;
    part->length = writer->filled;
    part->size = writer->size;
    rc = s3_pool_submit(writer->store->pool, &part->task, err);
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

int s3_part_take(struct s3_writer *writer, struct error *err)
{
    size_t sent = writer->record_count;
    for (const struct s3_part *part = writer->first; part; part = part->next)
        sent++;
    writer->size = sent < PARTS_SMALL ? S3_PART : PART_LARGE;
    while (writer->first && writer->ahead + writer->size > AHEAD_BYTES + S3_PART)
        collect_part(writer);
    writer->filled = 0;
    writer->data =
        writer->size == S3_PART ? s3_buffer_take(writer->store->pool) : malloc(writer->size);
    return writer->data ? 0 : error_no_memory(err);
}

int s3_parts_finish(struct s3_writer *writer, struct error *err)
{
    while (writer->first)
        collect_part(writer);
    return s3_parts_failure(writer, err);
}

void s3_part_drop(struct s3_writer *writer)
{
    if (writer->data)
        free_data(writer, writer->data, writer->size);
    writer->data = NULL;
}
