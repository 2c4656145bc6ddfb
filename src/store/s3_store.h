/*
 * What the files of the s3:// store share. From the bottom up:
 *
 *     s3_sign, s3_xml, s3_credentials   pure or by themselves
 *     s3_request   one request with everything that may happen to it: addressing, signing, retries
 *     s3_pool      threads that make requests ahead, and the memory for them
 *     s3_write, s3_read, s3_list, s3_delete, s3_traits   what store.h promises, in requests
 *     s3.c         opening, closing, and the table of operations
 *
 * Keys below have passed store_key_check(); in the bucket they stand behind the URL's prefix.
 * Sources of the rules: Amazon S3 API Reference and User Guide; where other services differ (Ceph,
 * MinIO) the comment beside the code says so.
 */
#ifndef PGCAIRN_STORE_S3_STORE_H
#define PGCAIRN_STORE_S3_STORE_H

#include <pthread.h>
#include <stdatomic.h>

#include <curl/curl.h>

#include "store/s3_credentials.h"
#include "store/store_ops.h"

#define S3_RETRY_US (60 * US_PER_SECOND)         /* store_s3_options.retry_us where it is 0 */
#define S3_CLEANUP_RETRY_US (15 * US_PER_SECOND) /* for what cleans up after a failure */
#define S3_STOPPED_RETRY_US (3 * US_PER_SECOND)  /* and after store_stop() */

enum {
    S3_BUCKET_MAX = 63,
    S3_PREFIX_MAX = 700, /* with a key behind it within the 1,024 bytes that S3 allows */
    S3_KEY_SIZE = 1024 + 1,
    S3_SETTING_MAX = 2048, /* bytes of an option: a class, a key's name, tags */
    S3_THREADS = 8,        /* requests ahead, of all writers, readers and listings together */
    S3_HANDLES_MAX = 64,   /* warm connections kept */
    S3_PART = 8 << 20,     /* bytes of a part, and of a piece read ahead */
    S3_PARTS_AHEAD = 4,    /* of one writer or reader */
    S3_WRITE_ID = 32,      /* characters that tell one write of a key from another */
};

enum s3_known { S3_NOT_KNOWN, S3_YES, S3_NO };

struct s3_pool;

struct s3_store {
    struct store base;
    char bucket[S3_BUCKET_MAX + 1];
    char prefix[S3_PREFIX_MAX + 2]; /* ends in '/', or is "" */
    enum store_addressing addressing;
    enum store_lock_mode object_lock;
    int64_t retain_us, retry_us;
    char *ca_file, *storage_class, *sse, *kms_key_id, *tags; /* NULL when not set */
    struct s3_credentials_source *credentials;
    struct s3_pool *pool;
    atomic_llong clock_offset_us; /* the service's clock less ours, as far as it had to be learnt */
    atomic_bool stopped;
    atomic_int conditional; /* enum s3_known: whether If-None-Match is obeyed */
    atomic_int checksums;   /* enum s3_known: S3_NO where they are refused by name */
    atomic_int versioned;   /* enum s3_known: whether the bucket keeps versions */
    atomic_int readers;     /* open now: they share what is read ahead */

    pthread_mutex_t mutex;              /* of all below */
    pthread_cond_t woken;               /* by store_stop() */
    char endpoint[S3_ENDPOINT_MAX + 1]; /* "https://host[:port]"; "" means AWS's of the region */
    char region[S3_REGION_MAX + 1];
    CURL *idle[S3_HANDLES_MAX];
    size_t idle_count;
};

static inline struct s3_store *s3_store_of(struct store *store)
{
    return (struct s3_store *)store;
}

/* PREFIX + KEY, as the bucket knows it. */
void s3_full_key(const struct s3_store *store, const char *key, char full[S3_KEY_SIZE]);

/* A time of the service's clock as ours would have told it, and back: ages are judged by the clock
 * here, and one that is a day wrong must not make what is new look old. INSTANT_NONE stays. */
static inline int64_t s3_our_time(const struct s3_store *store, int64_t service_us)
{
    return service_us == INSTANT_NONE ? INSTANT_NONE
                                      : service_us - atomic_load(&store->clock_offset_us);
}

static inline int64_t s3_service_time(const struct s3_store *store, int64_t our_us)
{
    return our_us + atomic_load(&store->clock_offset_us);
}

/* The key behind the prefix; NULL when the name is none of ours. */
const char *s3_own_key(const struct s3_store *store, const char *full);

/* s3_write.c, s3_commit.c */
int s3_create(struct store *store, const char *key, unsigned flags,
              struct store_writer **ret_writer, struct error *err);
int s3_write(struct store_writer *writer, const void *data, size_t length, struct error *err);
int s3_commit(struct store_writer *writer, struct store_object *ret_object, struct error *err);
void s3_writer_free(struct store_writer *writer);

/* s3_read.c */
int s3_read_open(struct store *store, const char *key, int64_t offset, int64_t length,
                 struct store_reader **ret_reader, struct error *err);
int s3_read(struct store_reader *reader, void *data, size_t size, size_t *ret_length,
            struct error *err);
void s3_reader_free(struct store_reader *reader);
int s3_stat(struct store *store, const char *key, struct store_object *ret_object,
            struct error *err);

/* s3_list.c */
int s3_list(struct store *store, const char *prefix, bool delimiter, store_visit visit,
            void *context, struct error *err);

/* s3_unfinished.c */
int s3_list_unfinished(struct store *store, int64_t before_us, store_visit visit, void *context,
                       struct error *err);
int s3_remove_unfinished(struct store *store, const char *key, int64_t before_us,
                         struct error *err);
int s3_abort_upload(struct s3_store *store, const char *full_key, const char *upload_id,
                    struct error *err);
/* Aborts the uploads of this key that began since then, but for one (NULL: all). */
int s3_abort_strays(struct s3_store *store, const char *full_key, int64_t since_us,
                    const char *but_upload_id, struct error *err);

/* s3_delete.c */
int s3_delete(struct store *store, const char *key, struct error *err);
int s3_delete_many(struct store *store, char *const *keys, size_t count, store_refused refused,
                   void *context, struct error *err);

/* s3_public.c: whether who has no key may list the repository, or read from it. */
int s3_ask_publicly(struct s3_store *store, bool *ret_listed, bool *ret_read, struct error *err);

/* s3_traits.c */
int s3_read_traits(struct store *store, struct store_traits *ret_traits, struct error *err);
int s3_read_versioning(struct s3_store *store, enum store_versioning *ret_versioning,
                       struct error *err);

#endif
