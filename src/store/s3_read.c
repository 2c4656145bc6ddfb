/*
 * Readers of the s3:// store: an object comes in pieces of S3_PART bytes, the first when it is
 * opened, the next ones asked for ahead. Every piece must be of the object that was opened
 * (If-Match), and a failed one goes on at its last good byte. A small object is compared with its
 * ETag, where that is an MD5: documents have no other proof.
 */
#include <string.h>

#include "store/s3_object.h"
#include "store/s3_pool.h"

enum { MD5_HEX = 32, DAMAGED_ATTEMPTS = 3 };

struct piece {
    struct s3_task task;
    struct s3_reader *reader;
    struct s3_range range;
    struct error error;
    struct piece *next;
};

struct s3_reader {
    struct store_reader base;
    struct s3_store *store;
    char key[S3_KEY_SIZE];
    int64_t next, end; /* bytes of the object that are still to be asked for */
    int64_t total;     /* its size */
    char etag[S3_ETAG_MAX + 1];
    struct piece *first, *last; /* in order; the first is being consumed */
    size_t count;
    size_t used; /* bytes of the first that were consumed */
    atomic_bool given_up;
};

static int get_piece(struct piece *piece, struct s3_reply *reply, struct error *err)
{
    struct s3_reader *reader = piece->reader;
    struct s3_request request = {
        .method = "GET",
        .action = "s3:GetObject",
        .key = reader->key,
        .range = &piece->range,
        .given_up = &reader->given_up,
    };
    return s3_perform(reader->store, &request, reply, err);
}

/* In a thread of the pool. */
static void fetch(struct s3_task *task)
{
    struct piece *piece = (struct piece *)task;
    struct s3_reply reply = S3_REPLY_INIT;
    get_piece(piece, &reply, &piece->error);
    s3_reply_clear(&reply);
}

static void free_piece(struct piece *piece)
{
    s3_buffer_give(piece->reader->store->pool, piece->range.data);
    free(piece);
}

static int make_piece(struct s3_reader *reader, struct piece **ret_piece, struct error *err)
{
    struct piece *piece = calloc(1, sizeof(*piece));
    char *data = piece ? s3_buffer_take(reader->store->pool) : NULL;
    if (!data) {
        free(piece);
        return error_no_memory(err);
    }
    int64_t left = reader->end - reader->next;
    piece->task.run = fetch;
    piece->reader = reader;
    piece->range = (struct s3_range){
        .data = data,
        .offset = reader->next,
        .length = left < S3_PART ? (size_t)left : S3_PART,
        .total = reader->total,
    };
    memcpy(piece->range.etag, reader->etag, sizeof(reader->etag));
    *ret_piece = piece;
    return 0;
}

static void append_piece(struct s3_reader *reader, struct piece *piece)
{
    *(reader->last ? &reader->last->next : &reader->first) = piece;
    reader->last = piece;
    reader->count++;
    reader->next += (int64_t)piece->range.length;
}

/* Whether the whole object came and its ETag is an MD5: then it is proved. *ret_good is true where
 * nothing can be said. */
static int check_whole(const struct s3_range *range, const struct s3_reply *reply, bool *ret_good,
                       struct error *err)
{
    struct s3_digest digest;
    *ret_good = true;
    if (range->offset != 0 || (int64_t)range->got != range->total || reply->has_opaque_etag ||
        strlen(range->etag) != MD5_HEX || strchr(range->etag, '-') || range->got == 0)
        return 0;
    int rc = s3_md5(range->data, range->got, &digest, err);
    if (!rc)
        *ret_good = strcmp(digest.hex, range->etag) == 0;
    return rc;
}

/* The first piece tells the size and the ETag. */
static int open_object(struct s3_reader *reader, struct piece *piece, struct error *err)
{
    struct s3_reply reply = S3_REPLY_INIT;
    bool is_good = false;
    int rc = 0;
    for (int i = 0; !rc && !is_good && i < DAMAGED_ATTEMPTS; i++) {
        piece->range.got = 0;
        piece->range.total = -1;
        piece->range.etag[0] = '\0';
        rc = get_piece(piece, &reply, err);
        if (!rc)
            rc = check_whole(&piece->range, &reply, &is_good, err);
    }
    s3_reply_clear(&reply);
    if (!rc && !is_good)
        rc = error_set(err, ERR_CORRUPT,
                       "\"%s\" came %d times with other bytes than its ETag stands for",
                       reader->key, DAMAGED_ATTEMPTS);
    if (rc)
        return rc;
    reader->total = piece->range.total;
    memcpy(reader->etag, piece->range.etag, sizeof(reader->etag));
    if (reader->end > reader->total)
        reader->end = reader->total;
    return 0;
}

int s3_read_open(struct store *base, const char *key, int64_t offset, int64_t length,
                 struct store_reader **ret_reader, struct error *err)
{
    struct s3_reader *reader = calloc(1, sizeof(*reader));
    if (!reader)
        return error_no_memory(err);
    struct piece *piece = NULL;
    reader->store = s3_store_of(base);
    atomic_fetch_add(&reader->store->readers, 1);
    s3_full_key(reader->store, key, reader->key);
    bool is_bounded = length != STORE_READ_TO_END && length < INT64_MAX - offset;
    reader->next = offset;
    reader->end = is_bounded ? offset + (length > 0 ? length : 1) : INT64_MAX;
    int rc = make_piece(reader, &piece, err);
    if (!rc)
        rc = open_object(reader, piece, err);
    if (rc) {
        if (piece)
            free_piece(piece);
        s3_reader_free(&reader->base);
        return rc;
    }
    if (length == 0) /* one byte was asked for, to learn that the object is there */
        piece->range.got = 0;
    piece->task.is_done = true;
    append_piece(reader, piece);
    *ret_reader = &reader->base;
    return 0;
}

/* Readers that are open at once share what is read ahead. */
static size_t pieces_ahead(const struct s3_reader *reader)
{
    int share = S3_THREADS / atomic_load(&reader->store->readers);
    return share < 1 ? 1 : share > S3_PARTS_AHEAD ? S3_PARTS_AHEAD : (size_t)share;
}

static int ask_ahead(struct s3_reader *reader, struct error *err)
{
    int rc = 0;
    while (!rc && reader->next < reader->end && reader->count <= pieces_ahead(reader)) {
        struct piece *piece;
        rc = make_piece(reader, &piece, err);
        if (rc)
            break;
        rc = s3_pool_submit(reader->store->pool, &piece->task, err);
        if (rc)
            free_piece(piece);
        else
            append_piece(reader, piece);
    }
    return rc;
}

static void drop_first(struct s3_reader *reader)
{
    struct piece *piece = reader->first;
    s3_task_wait(reader->store->pool, &piece->task);
    reader->first = piece->next;
    if (!reader->first)
        reader->last = NULL;
    reader->count--;
    reader->used = 0;
    free_piece(piece);
}

/* The piece that has bytes to give; NULL at the end. */
static int find_bytes(struct s3_reader *reader, struct piece **ret_piece, struct error *err)
{
    for (;;) {
        int rc = ask_ahead(reader, err);
        if (rc)
            return rc;
        struct piece *piece = reader->first;
        if (piece)
            s3_task_wait(reader->store->pool, &piece->task);
        if (piece && piece->error.code) {
            if (err)
                *err = piece->error;
            return piece->error.code;
        }
        if (!piece || reader->used < piece->range.got) {
            *ret_piece = piece;
            return 0;
        }
        drop_first(reader);
    }
}

int s3_read(struct store_reader *base, void *data, size_t size, size_t *ret_length,
            struct error *err)
{
    struct s3_reader *reader = (struct s3_reader *)base;
    struct piece *piece = NULL;
    int rc = find_bytes(reader, &piece, err);
    if (rc)
        return rc;
    size_t left = piece ? piece->range.got - reader->used : 0;
    size_t length = left < size ? left : size;
    if (length > 0)
        memcpy(data, piece->range.data + reader->used, length);
    reader->used += length;
    *ret_length = length;
    return 0;
}

void s3_reader_free(struct store_reader *base)
{
    struct s3_reader *reader = (struct s3_reader *)base;
    atomic_store(&reader->given_up, true);
    while (reader->first)
        drop_first(reader);
    atomic_fetch_sub(&reader->store->readers, 1);
    free(reader);
}

int s3_stat(struct store *base, const char *key, struct store_object *ret_object, struct error *err)
{
    char full[S3_KEY_SIZE];
    struct s3_store *store = s3_store_of(base);
    struct s3_reply reply = S3_REPLY_INIT;
    s3_full_key(store, key, full);
    int rc = s3_head(store, full, &reply, err);
    if (!rc && reply.length < 0)
        rc = error_set(err, ERR_UNKNOWN, "the service does not say how large \"%s\" is", full);
    if (!rc) {
        *ret_object = (struct store_object){
            .size = reply.length,
            .modified_us = s3_our_time(store, reply.modified_us),
            .locked_until_us = s3_locked_until(&reply),
        };
        memcpy(ret_object->key, key, strlen(key) + 1);
    }
    s3_reply_clear(&reply);
    return rc;
}
