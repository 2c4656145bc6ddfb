/*
 * The end of a write: one PUT for what fits one part, else the completion of the upload; and then
 * the proof that the service holds what was sent.
 */
#include <string.h>

#include "store/s3_object.h"
#include "store/s3_writer.h"
#include "store/s3_xml.h"

enum { COMPLETE_MAX = 4 << 20 /* bytes of the list of parts */ };

static bool is_conditional(const struct s3_writer *writer)
{
    return (writer->base.flags & STORE_IF_ABSENT) != 0;
}

static int exists_already(const struct s3_writer *writer, struct error *err)
{
    return error_set(err, ERR_EXISTS, "\"%s/%s\" exists already", store_url(writer->base.store),
                     writer->base.key);
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
    s3_add_object_headers(writer, &request);
    if (if_none_match)
        s3_add_header(&request, "if-none-match", "*");
    size_t plain_headers = request.header_count;
    if (atomic_load(&writer->store->checksums) != S3_NO)
        s3_add_header(&request, "x-amz-checksum-sha256", small->sha256.base64);
    int rc = s3_perform(writer->store, &request, reply, err);
    if (!rc || !s3_refuses_checksums(writer->store, reply))
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
        rc = reply.may_be_repeated ? is_ours(writer, &ours, err) : 0;
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
    size_t length = writer->record_count * S3_MD5_BYTES;
    _cleanup_(freep) unsigned char *bytes = malloc(length + 1);
    if (!bytes)
        return error_no_memory(err);
    for (size_t i = 0; i < writer->record_count; i++)
        memcpy(bytes + i * S3_MD5_BYTES, writer->records[i].md5, S3_MD5_BYTES);
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
        const struct s3_part_record *record = &writer->records[i];
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
    int rc = writer->data && writer->filled > 0 ? s3_part_send(writer, err) : 0;
    int failure = s3_parts_finish(writer, rc ? NULL : err);
    return rc ? rc : failure;
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

/* Ceph (up to 16 at least) forgets the lock that an upload of parts was begun with. What should be
 * locked and does not say that it is, is locked now; the same lock twice is no harm. */
static int lock_if_forgotten(struct s3_writer *writer, const struct s3_reply *head,
                             int64_t *ret_until_us, struct error *err)
{
    bool has_offset;
    int64_t wanted_us, until_us = s3_locked_until(head);
    int rc = instant_parse(writer->retain_until, &wanted_us, &has_offset, err);
    if (rc || (until_us != INSTANT_NONE && until_us >= wanted_us - US_PER_SECOND)) {
        *ret_until_us = until_us;
        return rc;
    }
    char document[256];
    int length = snprintf(document, sizeof(document),
                          "<Retention><Mode>%s</Mode><RetainUntilDate>%s</RetainUntilDate>"
                          "</Retention>",
                          s3_lock_mode(writer->store), writer->retain_until);
    struct s3_reply reply = S3_REPLY_INIT;
    struct s3_request request = {
        .method = "PUT",
        .action = "s3:PutObjectRetention",
        .key = writer->key,
        .body = document,
        .body_length = (size_t)length,
    };
    s3_add_param(&request, "retention", "");
    rc = s3_perform(writer->store, &request, &reply, err);
    s3_reply_clear(&reply);
    *ret_until_us = wanted_us;
    return rc;
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
    int64_t locked_until_us = ours ? s3_locked_until(&reply) : INSTANT_NONE;
    if (!rc && ours && writer->retain_until[0])
        rc = lock_if_forgotten(writer, &reply, &locked_until_us, err);
    if (!rc) {
        ret_object->size = writer->written;
        ret_object->modified_us = s3_our_time(writer->store, reply.modified_us);
        ret_object->locked_until_us = locked_until_us;
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
