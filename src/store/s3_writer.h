/*
 * What the files of s3:// writers share: s3_write.c takes the bytes, s3_parts.c sends them as parts
 * of a multipart upload, s3_commit.c makes them an object and has it confirmed.
 */
#ifndef PGCAIRN_STORE_S3_WRITER_H
#define PGCAIRN_STORE_S3_WRITER_H

#include "store/s3_pool.h"
#include "store/s3_request.h"
#include "store/sha256.h"

enum { S3_UPLOAD_ID_MAX = 1024, S3_MD5_BYTES = 16 };

struct s3_part_record {
    char etag[S3_ETAG_MAX + 1];
    unsigned char md5[S3_MD5_BYTES];
    char sha256[45]; /* base64 */
};

struct s3_part {
    struct s3_task task;
    struct s3_writer *writer;
    int number; /* from 1 */
    char *data;
    size_t length, size;
    struct s3_digest md5, sha256;
    char etag[S3_ETAG_MAX + 1];
    struct error error;
    struct s3_part *next;
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

    char upload_id[S3_UPLOAD_ID_MAX + 1]; /* "" while there is no multipart upload */
    int64_t began_us;                     /* INSTANT_NONE while none was ever asked for */
    bool may_have_strays;                 /* an upload may have begun whose id was lost */
    bool has_checksums;
    struct s3_part *first, *last; /* in flight, in order */
    size_t ahead;                 /* their bytes */
    struct s3_part_record *records;
    size_t record_count, record_room;
    bool is_opaque; /* the ETags are no MD5s */
    atomic_bool given_up;
    struct error failure; /* of the first part that failed */
    bool is_stored;
};

/* The headers that every new object is given. The texts live as long as the writer and the store.
 */
void s3_add_object_headers(const struct s3_writer *writer, struct s3_request *request);

/* "GOVERNANCE" or "COMPLIANCE", of a store that locks. */
const char *s3_lock_mode(const struct s3_store *store);

/* Some services refuse checksums by name instead of leaving them alone: true when this reply does,
 * and from then on the store sends none. */
bool s3_refuses_checksums(struct s3_store *store, const struct s3_reply *reply);

/* Makes room for the next part in writer->data, waiting while too much is in flight. */
int s3_part_take(struct s3_writer *writer, struct error *err);
/* Sends the part that was filled; the first one begins the upload. */
int s3_part_send(struct s3_writer *writer, struct error *err);
/* The first failure among the parts that have ended, or 0. */
int s3_parts_failure(const struct s3_writer *writer, struct error *err);
/* Waits for all parts in flight, then the same. */
int s3_parts_finish(struct s3_writer *writer, struct error *err);
/* Gives the part that is being filled back. */
void s3_part_drop(struct s3_writer *writer);

#endif
