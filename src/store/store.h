/*
 * Named blobs: one interface over a folder (file://) and a bucket (s3://).
 *
 * Keys are relative paths of [A-Za-z0-9._=-] segments joined by '/', at most STORE_KEY_MAX bytes;
 * no segment begins with a dot. A key is never at once an object and the folder of others. An
 * object is whole or absent: it appears under its key only after store_commit() (or store_put())
 * has confirmed that every byte is durable, with the size and SHA-256 that the caller gets back.
 * Nothing is ever appended.
 *
 *     store_open(url, &options, &store, err);
 *     store_create(store, key, flags, &writer, err);
 *     store_write(writer, data, length, err);     as often as needed
 *     store_commit(writer, &object, err);         durable and visible from here on
 *     store_writer_free(writer);                  without a commit: nothing was stored
 *
 *     store_read_open(store, key, offset, length, &reader, err);
 *     store_read(reader, buffer, size, &n, err);  n == 0 at the end
 *     store_reader_free(reader);
 *
 * A store may be used by many threads at once; a writer or reader by one at a time. Errors:
 * ERR_NOT_FOUND, ERR_EXISTS (STORE_IF_ABSENT), ERR_LOCKED (deleting what an object lock protects),
 * ERR_NO_SPACE, ERR_PERMISSION, ERR_AUTH, ERR_CONNECTION, ERR_IO, ERR_CORRUPT (what the store
 * confirms is not what was sent), ERR_UNKNOWN when a listing could not be read whole,
 * ERR_INTERRUPTED after store_stop(). Memory: bounded per writer and reader (a buffer for file://,
 * S3_PARTS_AHEAD parts for s3://), and for a listing at most STORE_LIST_BATCH names, however many
 * objects there are.
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
    STORE_RETAIN = 2,    /* lock it for options.s3.retain_us, where a lock mode is set */
};

enum store_addressing { STORE_ADDRESSING_AUTO, STORE_ADDRESSING_PATH, STORE_ADDRESSING_VIRTUAL };
enum store_lock_mode { STORE_LOCK_OFF, STORE_LOCK_GOVERNANCE, STORE_LOCK_COMPLIANCE };

/* How to reach a bucket. NULL, "" and 0 mean the default: for region, endpoint, profile and keys
 * what the AWS tools take from environment and files, in their order (s3_credentials.h). Strings
 * are copied. */
struct store_s3_options {
    const char *region;
    const char *endpoint; /* "https://host[:port]" of another service than AWS's */
    enum store_addressing addressing;
    const char *access_key_id, *secret_access_key, *session_token;
    const char *profile; /* of ~/.aws/credentials and ~/.aws/config */
    const char *ca_file; /* certificates to trust; else those of AWS_CA_BUNDLE, else the system's */
    const char *storage_class; /* "STANDARD_IA" */
    const char *sse;           /* "AES256", "aws:kms" */
    const char *kms_key_id;
    const char *tags; /* "team=data&tier=backup", names and values percent-encoded */
    enum store_lock_mode object_lock;
    int64_t retain_us; /* from the moment of writing; for objects written with STORE_RETAIN */
    int64_t retry_us;  /* how long one request is tried again; 0 = S3_RETRY_US */
};

struct store_options {
    struct store_s3_options s3;
};

struct store;
struct store_writer;
struct store_reader;

struct store_object {
    char key[STORE_KEY_MAX + 1];
    int64_t size;            /* bytes stored */
    int64_t modified_us;     /* by the store's clock, but for an offset that it told */
    int64_t locked_until_us; /* object lock; INSTANT_NONE when none, or not known (listings) */
    char sha256[STORE_SHA256_HEX + 1]; /* hex of the stored bytes; "" where not known (listings) */
};

/* url: "file:///absolute/path" or "s3://bucket[/prefix]". A folder is made by the first write, not
 * by opening; a bucket must exist, which the first request tells. options may be NULL. */
int store_open(const char *url, const struct store_options *options, struct store **ret_store,
               struct error *err);
struct store *store_free(struct store *store);
const char *store_url(const struct store *store);

/* Work is being given up: requests in flight end soon with ERR_INTERRUPTED, later ones at once;
 * only what cleans up after a write still goes through. From any thread, never undone. */
void store_stop(struct store *store);

/* Whether this version can open such a URL, for checks that do no I/O; err says what it can. */
int store_url_check(const char *url, struct error *err);

/* 0, or ERR_USAGE for what can't be a key. */
int store_key_check(const char *key, struct error *err);

/* Small objects at once. store_get() adds to buf, whose limit holds (ERR_LIMIT). */
int store_put(struct store *store, const char *key, const void *data, size_t length, unsigned flags,
              struct error *err);
int store_get(struct store *store, const char *key, struct buf *buf, struct error *err);

int store_create(struct store *store, const char *key, unsigned flags,
                 struct store_writer **ret_writer, struct error *err);
int store_write(struct store_writer *writer, const void *data, size_t length, struct error *err);
int store_commit(struct store_writer *writer, struct store_object *ret_object, struct error *err);
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

/* Deletes durably, in a versioned bucket every version. An absent key is success: the aim is
 * reached. ERR_LOCKED says until when it is locked; nothing of that key was deleted then. */
int store_delete(struct store *store, const char *key, struct error *err);

/* Deletes many, in batches where the store has them. A key that could not be deleted is told to
 * refused with its reason, and the others go on unless that returns non-zero, which is returned;
 * any other error ends the work. 0: every key is gone or was told. */
typedef int (*store_refused)(const char *key, const struct error *reason, void *context,
                             struct error *err);
int store_delete_many(struct store *store, char *const *keys, size_t count, store_refused refused,
                      void *context, struct error *err);

enum store_versioning { STORE_VERSIONING_OFF, STORE_VERSIONING_ON, STORE_VERSIONING_SUSPENDED };

enum { STORE_RULES_MAX = 1000, STORE_RULE_ID_MAX = 255 };

/* One rule by which the store itself deletes or moves objects; days of 0 mean that it does not. */
struct store_rule {
    char id[STORE_RULE_ID_MAX + 1];
    char prefix[1025]; /* of keys in the bucket, not in the repository */
    bool enabled;
    bool is_filtered;       /* applies only to some objects below prefix: by tag or size */
    int expire_days;        /* current versions are deleted */
    int noncurrent_days;    /* replaced or deleted versions are removed */
    int abort_days;         /* unfinished uploads are aborted */
    int transition_days;    /* moved to another storage class; -1 = at once */
    char storage_class[33]; /* to which */
};

/* What a store does by itself. A part that the key may not read is told in its problem, "" when it
 * was read. All zero for file://. */
struct store_traits {
    enum store_versioning versioning;
    bool object_lock;                  /* the bucket allows locks */
    enum store_lock_mode default_lock; /* what new objects get without being asked */
    int default_lock_days;
    bool creates_may_race; /* STORE_IF_ABSENT is a look and a write here, not one step; known after
                              the first such write */
    int64_t clock_offset_us; /* the store's clock less ours, to a second; INSTANT_NONE: not known */
    bool is_listed_publicly, is_read_publicly; /* by who has no key */
    struct store_rule *rules;
    size_t rule_count;
    char versioning_problem[512], lock_problem[512], rules_problem[512], public_problem[512];
};

int store_read_traits(struct store *store, struct store_traits *ret_traits, struct error *err);
void store_traits_clear(struct store_traits *traits);

DEFINE_FREEP(struct store *, store_free)
DEFINE_FREEP(struct store_writer *, store_writer_free)
DEFINE_FREEP(struct store_reader *, store_reader_free)

#endif
