/*
 * What one kind of store provides to store.c, which checks keys and the order of calls before it
 * calls down. Included by the kinds of stores and their tests only.
 *
 * Order of calls: check_url, open; then in any order and from any thread create, read_open, stat,
 * list, list_unfinished, remove_unfinished, delete, delete_many, read_traits, and once stop; at
 * last free. Per writer: write*, at most one commit, free; after a failed write or commit only free
 * follows. Per reader: read*, free. A kind's own structs begin with the structs below.
 *
 * Without a commit, writer_free must leave nothing visible and as little behind as it can.
 */
#ifndef PGCAIRN_STORE_STORE_OPS_H
#define PGCAIRN_STORE_STORE_OPS_H

#include "store/store.h"

struct store {
    const struct store_ops *ops;
    char *url;
    size_t list_batch; /* STORE_LIST_BATCH; tests make it small */
};

struct store_writer {
    struct store *store;
    char key[STORE_KEY_MAX + 1];
    unsigned flags;
    bool ended; /* committed, or an earlier call failed */
};

struct store_reader {
    struct store *store;
    char key[STORE_KEY_MAX + 1];
};

struct store_ops {
    const char *scheme; /* "file://" */
    int (*check_url)(const char *url, struct error *err);
    int (*open)(const char *url, const struct store_options *options, struct store **ret_store,
                struct error *err);
    void (*stop)(struct store *store); /* NULL: nothing blocks for long */
    void (*free)(struct store *store); /* not url, which store.c owns */

    int (*create)(struct store *store, const char *key, unsigned flags,
                  struct store_writer **ret_writer, struct error *err);
    int (*write)(struct store_writer *writer, const void *data, size_t length, struct error *err);
    int (*commit)(struct store_writer *writer, struct store_object *ret_object, struct error *err);
    void (*writer_free)(struct store_writer *writer);

    int (*read_open)(struct store *store, const char *key, int64_t offset, int64_t length,
                     struct store_reader **ret_reader, struct error *err);
    int (*read)(struct store_reader *reader, void *data, size_t size, size_t *ret_length,
                struct error *err);
    void (*reader_free)(struct store_reader *reader);

    int (*stat)(struct store *store, const char *key, struct store_object *ret_object,
                struct error *err);
    int (*list)(struct store *store, const char *prefix, bool delimiter, store_visit visit,
                void *context, struct error *err);
    int (*list_unfinished)(struct store *store, int64_t before_us, store_visit visit, void *context,
                           struct error *err);
    int (*remove_unfinished)(struct store *store, const char *key, int64_t before_us,
                             struct error *err);
    int (*delete)(struct store *store, const char *key, struct error *err);
    /* NULL: store.c deletes one after the other. */
    int (*delete_many)(struct store *store, char *const *keys, size_t count, store_refused refused,
                       void *context, struct error *err);
    int (*read_traits)(struct store *store, struct store_traits *ret_traits,
                       struct error *err); /* NULL: none */
};

extern const struct store_ops store_file_ops, store_s3_ops;

#endif
