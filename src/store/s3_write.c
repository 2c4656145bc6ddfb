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
#include "store/s3_writer.h"

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
        instant_format(s3_service_time(store, instant_now_us() + store->retain_us),
                       writer->retain_until);
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

const char *s3_lock_mode(const struct s3_store *store)
{
    return store->object_lock == STORE_LOCK_COMPLIANCE ? "COMPLIANCE" : "GOVERNANCE";
}

/* What every new object is given. The texts live as long as the writer and the store. */
void s3_add_object_headers(const struct s3_writer *writer, struct s3_request *request)
{
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
        s3_add_header(request, "x-amz-object-lock-mode", s3_lock_mode(store));
        s3_add_header(request, "x-amz-object-lock-retain-until-date", writer->retain_until);
    }
}

bool s3_refuses_checksums(struct s3_store *store, const struct s3_reply *reply)
{
    bool refuses = atomic_load(&store->checksums) != S3_NO &&
                   (reply->status == 400 || reply->status == 501) &&
                   strcasestr(reply->message, "checksum") && strcmp(reply->code, "BadDigest") != 0;
    if (refuses)
        atomic_store(&store->checksums, S3_NO);
    return refuses;
}

int s3_write(struct store_writer *base, const void *data, size_t length, struct error *err)
{
    struct s3_writer *writer = (struct s3_writer *)base;
    const char *from = data;
    int rc = sha256_add(writer->hash, data, length, err);
    writer->written += (int64_t)length;
    while (!rc && length > 0) {
        if (writer->data && writer->filled == writer->size) {
            rc = s3_part_send(writer, err);
        }
        if (!rc && !writer->data)
            rc = s3_part_take(writer, err);
        if (!rc)
            rc = s3_parts_failure(writer, err);
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

void s3_writer_free(struct store_writer *base)
{
    struct s3_writer *writer = (struct s3_writer *)base;
    struct error ignored = ERROR_NONE;
    if (!writer->is_stored)
        atomic_store(&writer->given_up, true);
    s3_parts_finish(writer, &ignored);
    if (writer->upload_id[0] && !writer->is_stored)
        s3_abort_upload(writer->store, writer->key, writer->upload_id, &ignored);
    if (writer->may_have_strays)
        s3_abort_strays(writer->store, writer->key, writer->began_us,
                        writer->upload_id[0] ? writer->upload_id : NULL, &ignored);
    s3_part_drop(writer);
    sha256_free(writer->hash);
    free(writer->records);
    free(writer);
}
