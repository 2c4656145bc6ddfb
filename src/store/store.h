/*
 * Named blobs: one interface over a folder (file://) and, later, a bucket (s3://).
 *
 * Keys are relative paths of [A-Za-z0-9._=-] segments joined by '/', at most STORE_KEY_MAX bytes;
 * no segment begins with a dot. A key is never at once an object and the folder of others. An
 * object is whole or absent: it appears under its key only after store_commit() (or store_put())
 * has confirmed that every byte is durable, with the size and SHA-256 that the caller gets back.
 * Nothing is ever appended.
 *
 *     store_open(url, &options, &store, err);
 *     store_create(store, key, &writer, err);
 *     store_write(writer, data, length, err);     as often as needed
 *     store_commit(writer, 0, &object, err);      durable and visible from here on
 *     store_writer_free(writer);                  without a commit: nothing was stored
 *
 *     store_read_open(store, key, offset, length, &reader, err);
 *     store_read(reader, buffer, size, &n, err);  n == 0 at the end
 *     store_reader_free(reader);
 *
 * A store may be used by many threads at once; a writer or reader by one at a time. Errors:
 * ERR_NOT_FOUND, ERR_EXISTS (STORE_IF_ABSENT), ERR_NO_SPACE, ERR_PERMISSION, ERR_CONNECTION,
 * ERR_IO, ERR_UNKNOWN when a listing could not be read whole. Memory: a buffer per writer and
 * reader, and for a listing at most STORE_LIST_BATCH names, however many objects there are.
 *
 * Adding a kind of store is one file with a struct store_ops and one row in store.c.
 */
#ifndef PGCAIRN_STORE_STORE_H
#define PGCAIRN_STORE_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/instant.h"

enum {
    STORE_KEY_MAX = 240, /* so that it fits a file name with something behind it */
    STORE_SHA256_HEX = 64,
    STORE_LIST_BATCH = 16384, /* names held in memory per folder while listing */
    STORE_READ_TO_END = -1,
};

enum store_flags {
    STORE_IF_ABSENT = 1, /* never replace: ERR_EXISTS when the key is there already */
};

struct store;
struct store_writer;
struct store_reader;

struct store_object {
    char key[STORE_KEY_MAX + 1];
    int64_t size;                      /* bytes stored */
    int64_t modified_us;               /* by the store's clock */
    char sha256[STORE_SHA256_HEX + 1]; /* hex of the stored bytes; "" where not known (listings) */
};

/* url: "file:///absolute/path". The folder is made by the first write, not by opening. */
int store_open(const char *url, struct store **ret_store, struct error *err);
struct store *store_free(struct store *store);
const char *store_url(const struct store *store);

/* Whether this version can open such a URL, for checks that do no I/O; err says what it can. */
int store_url_check(const char *url, struct error *err);

/* 0, or ERR_USAGE for what can't be a key. */
int store_key_check(const char *key, struct error *err);

/* Small objects at once. store_get() adds to buf, whose limit holds (ERR_LIMIT). */
int store_put(struct store *store, const char *key, const void *data, size_t length, unsigned flags,
              struct error *err);
int store_get(struct store *store, const char *key, struct buf *buf, struct error *err);

int store_create(struct store *store, const char *key, struct store_writer **ret_writer,
                 struct error *err);
int store_write(struct store_writer *writer, const void *data, size_t length, struct error *err);
int store_commit(struct store_writer *writer, unsigned flags, struct store_object *ret_object,
                 struct error *err);
struct store_writer *store_writer_free(struct store_writer *writer);

/* length may be STORE_READ_TO_END. A range past the end reads what is there, perhaps nothing. */
int store_read_open(struct store *store, const char *key, int64_t offset, int64_t length,
                    struct store_reader **ret_reader, struct error *err);
int store_read(struct store_reader *reader, void *data, size_t size, size_t *ret_length,
               struct error *err);
struct store_reader *store_reader_free(struct store_reader *reader);

/* ERR_NOT_FOUND when absent. sha256 stays empty. */
int store_stat(struct store *store, const char *key, struct store_object *ret_object,
               struct error *err);

/*
 * Calls visit for every object whose key begins with prefix, in byte order of the keys; a non-zero
 * return stops the listing and is returned. With delimiter, what lies deeper than the next '/' is
 * reported once as a key that ends in '/' (size 0), as S3 does with common prefixes. An absent
 * folder is an empty listing; an unreadable one is ERR_UNKNOWN. Uncommitted writes are not listed.
 */
typedef int (*store_visit)(const struct store_object *object, void *context, struct error *err);
int store_list(struct store *store, const char *prefix, bool delimiter, store_visit visit,
               void *context, struct error *err);

/* Writes that were begun and not ended, and not touched since before_us (INT64_MAX: all). Visited
 * with the key that was being written, once per write and in no order; modified_us is their start
 * or last write. Those of a live run are among them, so the caller judges by age. */
int store_list_unfinished(struct store *store, int64_t before_us, store_visit visit, void *context,
                          struct error *err);
/* Removes all such writes of this key. */
int store_remove_unfinished(struct store *store, const char *key, int64_t before_us,
                            struct error *err);

/* Deletes durably. An absent key is success: the aim is reached. */
int store_delete(struct store *store, const char *key, struct error *err);

DEFINE_FREEP(struct store *, store_free)
DEFINE_FREEP(struct store_writer *, store_writer_free)
DEFINE_FREEP(struct store_reader *, store_reader_free)

#endif
