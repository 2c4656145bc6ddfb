/*
 * Volumes: streams as objects of a store, through libarchive.
 *
 * A volume is a tar.zst whose members are given whole or in pieces of a size told before:
 *
 *     volume_create(store, key, VOLUME_TAR, &options, &volume, err);
 *     volume_add(volume, "16385/000001.copy", data, length, err);
 *     volume_begin(volume, "16385/000002.copy", size, err); volume_data(...)...;
 *     volume_commit(volume, &object, err);      stored and confirmed from here on
 *     volume_free(volume);                      without a commit nothing was stored
 *
 * VOLUME_ZSTD is one compressed stream and VOLUME_PLAIN the bytes as they are (what is compressed
 * already); both take volume_data() only.
 *
 * Reading hands out libarchive's own blocks without a copy and hashes what comes from the store; at
 * the end volume_read_finish() compares size and SHA-256 with what the manifest promised, so a
 * volume that was cut or changed is ERR_CORRUPT even when every frame decodes.
 *
 *     volume_read_open(store, key, kind, expected, &reader, err);
 *     while (!(rc = volume_next(reader, &name, &size, err)) && name)
 *         while (!(rc = volume_read(reader, &data, &length, err)) && length) ...
 *     volume_read_finish(reader, err);
 *
 * A writer or reader belongs to one thread at a time; compression runs in that thread unless
 * options.threads asks for more. Memory: zstd's window and one block, a few MB.
 * Formats: POSIX.1-2001 pax in its restricted form (plain ustar where that suffices), RFC 8878.
 */
#ifndef PGCAIRN_PACK_VOLUME_H
#define PGCAIRN_PACK_VOLUME_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/rate.h"
#include "pack/tar.h"
#include "store/store.h"

enum volume_kind { VOLUME_TAR, VOLUME_ZSTD, VOLUME_PLAIN };

struct volume_options {
    int level;         /* zstd, 1..19 */
    int threads;       /* zstd's own threads; 0 = in the caller's thread */
    int64_t time_us;   /* mtime of the members */
    struct rate *rate; /* limit on stored bytes; NULL = none */
    bool if_absent;    /* ERR_EXISTS from volume_commit() when the key is there already */
};

struct volume;
struct volume_reader;

int volume_create(struct store *store, const char *key, enum volume_kind kind,
                  const struct volume_options *options, struct volume **ret_volume,
                  struct error *err);
int volume_add(struct volume *volume, const char *name, const void *data, size_t length,
               struct error *err);
/* Exactly `size` bytes must follow: fewer or more are ERR_FAILED, at the latest in the commit. */
int volume_begin(struct volume *volume, const char *name, int64_t size, struct error *err);
/* The same with all that an archive keeps of a member; folders and links have no data. */
int volume_begin_member(struct volume *volume, const struct tar_member *member, struct error *err);
int volume_data(struct volume *volume, const void *data, size_t length, struct error *err);
int64_t volume_stored(const struct volume *volume); /* bytes given to the store so far */
int64_t volume_plain(const struct volume *volume);  /* bytes of members so far */
int volume_commit(struct volume *volume, struct store_object *ret_object, struct error *err);
struct volume *volume_free(struct volume *volume);

/* expected: size and sha256 from the manifest; its key is not looked at. NULL compares nothing. */
int volume_read_open(struct store *store, const char *key, enum volume_kind kind,
                     const struct store_object *expected, struct volume_reader **ret_reader,
                     struct error *err);
/* name is NULL at the end; size is -1 for a single stream. Borrowed until the next call. */
int volume_next(struct volume_reader *reader, const char **ret_name, int64_t *ret_size,
                struct error *err);
/* The same for archives with folders and links in them; *ret_found is false at the end. The strings
 * are borrowed until the next call. */
int volume_next_member(struct volume_reader *reader, struct tar_member *ret_member, bool *ret_found,
                       struct error *err);
/* length is 0 at the end of the member. The bytes are borrowed until the next call. */
int volume_read(struct volume_reader *reader, const void **ret_data, size_t *ret_length,
                struct error *err);
int volume_read_finish(struct volume_reader *reader, struct error *err);
/* For single streams: adds all of it to buf (its limit holds), and finishes. */
int volume_read_whole(struct volume_reader *reader, struct buf *buf, struct error *err);
int64_t volume_read_stored(const struct volume_reader *reader); /* stored bytes read so far */
struct volume_reader *volume_reader_free(struct volume_reader *reader);

DEFINE_FREEP(struct volume *, volume_free)
DEFINE_FREEP(struct volume_reader *, volume_reader_free)

#endif
