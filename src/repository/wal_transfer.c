/* WAL files into objects and back, with the proof that they are the same. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "repository/wal.h"
#include "store/sha256.h"

enum { PIECE_BYTES = 1 << 20 };

/* -- storing ------------------------------------------------------------------------------- */

/* Where the bytes come from: the caller's memory, once it was filled, or the file again and again
 * through a buffer. */
struct source {
    const struct wal_put *put;
    char *piece; /* NULL when all is in put->memory */
};

static int read_at(const struct wal_put *put, void *data, size_t length, int64_t offset,
                   struct error *err)
{
    for (size_t done = 0; done < length;) {
        ssize_t n = pread(put->fd, (char *)data + done, length - done, offset + (int64_t)done);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0)
            return error_set(err, ERR_CORRUPT, "\"%s\" became shorter while it was read",
                             put->path);
        else if (errno != EINTR)
            return error_set_errno(err, errno, "could not read \"%s\"", put->path);
    }
    return 0;
}

static int source_open(const struct wal_put *put, struct source *source, struct error *err)
{
    *source = (struct source){.put = put};
    if (put->memory && put->size <= (int64_t)put->memory_size)
        return read_at(put, put->memory, (size_t)put->size, 0, err);
    source->piece = malloc(PIECE_BYTES);
    return source->piece ? 0 : error_no_memory(err);
}

static void source_clear(struct source *source)
{
    free(source->piece);
}

/* Hands all bytes to `take`, in pieces. */
static int source_pass(const struct source *source, wal_take take, void *target, struct error *err)
{
    const struct wal_put *put = source->put;
    if (!source->piece)
        return take(target, put->memory, (size_t)put->size, err);
    int rc = 0;
    for (int64_t at = 0; at < put->size && !rc; at += PIECE_BYTES) {
        size_t length = put->size - at < PIECE_BYTES ? (size_t)(put->size - at) : PIECE_BYTES;
        rc = read_at(put, source->piece, length, at, err);
        if (!rc)
            rc = take(target, source->piece, length, err);
    }
    return rc;
}

static int take_into_hash(void *target, const void *data, size_t length, struct error *err)
{
    return sha256_add(target, data, length, err);
}

static int hash_source(const struct source *source, char text[SHA256_HEX + 1], struct error *err)
{
    _cleanup_(sha256_freep) struct sha256 *hash = NULL;
    int rc = sha256_new(&hash, err);
    if (!rc)
        rc = source_pass(source, take_into_hash, hash, err);
    return rc ? rc : sha256_end(hash, text, err);
}

struct storing {
    struct volume *volume;
    struct sha256 *hash; /* NULL when the bytes can't have changed since they were hashed */
};

static int take_into_volume(void *target, const void *data, size_t length, struct error *err)
{
    struct storing *storing = target;
    int rc = storing->hash ? sha256_add(storing->hash, data, length, err) : 0;
    return rc ? rc : volume_data(storing->volume, data, length, err);
}

static int refuse_change(const struct wal_put *put, struct error *err)
{
    return error_set(err, ERR_CORRUPT, "\"%s\" changed while it was read", put->path);
}

/* ERR_EXISTS when the key, and so this content, has come to be there. */
static int store_source(const struct repository *repository, const struct source *source,
                        const char *full_hash, struct wal_object *object, struct error *err)
{
    const struct wal_put *put = source->put;
    _cleanup_(volume_freep) struct volume *volume = NULL;
    _cleanup_(sha256_freep) struct sha256 *again = NULL;
    struct volume_options options = put->options;
    struct store_object stored;
    char text[SHA256_HEX + 1];
    options.if_absent = true;
    int rc = volume_create(repository->store, object->key, VOLUME_ZSTD, &options, &volume, err);
    if (!rc && source->piece)
        rc = sha256_new(&again, err);
    struct storing storing = {volume, again};
    if (!rc)
        rc = source_pass(source, take_into_volume, &storing, err);
    if (!rc && again)
        rc = sha256_end(again, text, err);
    if (!rc && again && strcmp(text, full_hash) != 0)
        rc = refuse_change(put, err);
    if (!rc)
        rc = volume_commit(volume, &stored, err);
    if (rc)
        return rc;
    object->size = stored.size;
    object->stored_us = stored.modified_us;
    return 0;
}

static int refuse_other_content(const struct repository *repository, const struct wal_put *put,
                                const struct wal_object *there, const char *hash, struct error *err)
{
    char text[WAL_NAME_MAX];
    error_set(err, ERR_EXISTS,
              "%s is stored with other content (SHA-256 %s..., \"%s\" has %.16s...): it is not "
              "overwritten",
              wal_name_format(&put->name, text), there->hash, put->path, hash);
    return error_hint(err,
                      "another server archives into cluster \"%s\", or this one was restored and "
                      "went on with the old timeline: give it a cluster of its own",
                      repository->cluster);
}

/* Whether the name has this content already; other content is refused. */
static int look(const struct repository *repository, const struct wal_put *put, const char *hash,
                struct wal_object *ret_object, bool *ret_found, struct error *err)
{
    struct error error = ERROR_NONE;
    int rc = wal_object_find(repository, put->system, &put->name, ret_object, &error);
    *ret_found = false;
    if (rc == ERR_NOT_FOUND)
        return 0;
    if (rc) {
        if (err)
            *err = error;
        return rc;
    }
    if (strncmp(ret_object->hash, hash, WAL_HASH) != 0)
        return refuse_other_content(repository, put, ret_object, hash, err);
    if (ret_object->size == 0)
        return error_set(err, ERR_CORRUPT, "\"%s\" is stored, but has no bytes", ret_object->key);
    *ret_found = true;
    return 0;
}

int wal_object_put(const struct repository *repository, const struct wal_put *put,
                   struct wal_object *ret_object, bool *ret_was_there, struct error *err)
{
    _cleanup_(source_clear) struct source source = {0};
    struct wal_object object = {.name = put->name};
    char hash[SHA256_HEX + 1];
    bool found = false;
    int rc = source_open(put, &source, err);
    if (!rc)
        rc = hash_source(&source, hash, err);
    if (!rc)
        rc = look(repository, put, hash, &object, &found, err);
    if (!rc && !found) {
        struct error error = ERROR_NONE;
        object.name = put->name;
        snprintf(object.hash, sizeof(object.hash), "%.*s", WAL_HASH, hash);
        rc = wal_object_key(repository, put->system, &put->name, object.hash, object.key, err);
        if (rc)
            return rc;
        rc = store_source(repository, &source, hash, &object, &error);
        if (rc == ERR_EXISTS)
            rc = 0;
        else if (rc && err)
            *err = error;
        bool confirmed = false;
        if (!rc)
            rc = look(repository, put, hash, &object, &confirmed, err);
        if (!rc && !confirmed)
            rc = error_set(err, ERR_IO, "\"%s\" was stored, but is not listed", object.key);
    }
    if (rc)
        return rc;
    *ret_object = object;
    *ret_was_there = found;
    return 0;
}

/* -- fetching ------------------------------------------------------------------------------ */

static int damaged(const struct wal_object *object, const char *what, struct error *err)
{
    error_set(err, ERR_CORRUPT, "\"%s\" is not what was stored: %s", object->key, what);
    return error_hint(err, "recovery can't go past it; find out what changed the stored file");
}

static int read_plain(struct volume_reader *reader, const struct wal_object *object, int64_t most,
                      wal_take take, void *context, struct error *err)
{
    _cleanup_(sha256_freep) struct sha256 *hash = NULL;
    char text[SHA256_HEX + 1];
    const char *name;
    int64_t size = 0, ignored;
    int rc = sha256_new(&hash, err);
    if (!rc)
        rc = volume_next(reader, &name, &ignored, err);
    for (size_t length = 1; !rc && length > 0;) {
        const void *data;
        rc = volume_read(reader, &data, &length, err);
        size += rc ? 0 : (int64_t)length;
        if (!rc && most >= 0 && size > most)
            return damaged(object, "it is too long", err);
        if (!rc && length > 0)
            rc = sha256_add(hash, data, length, err);
        if (!rc && length > 0)
            rc = take(context, data, length, err);
    }
    if (!rc)
        rc = volume_read_finish(reader, err);
    if (!rc)
        rc = sha256_end(hash, text, err);
    if (!rc && strncmp(text, object->hash, WAL_HASH) != 0)
        rc = damaged(object, "its content has another SHA-256", err);
    return rc;
}

int wal_object_read(const struct repository *repository, const struct wal_object *object,
                    int64_t most, wal_take take, void *context, int64_t *ret_stored,
                    struct error *err)
{
    _cleanup_(volume_reader_freep) struct volume_reader *reader = NULL;
    int rc = volume_read_open(repository->store, object->key, VOLUME_ZSTD, NULL, &reader, err);
    if (!rc)
        rc = read_plain(reader, object, most, take, context, err);
    if (ret_stored)
        *ret_stored = reader ? volume_read_stored(reader) : 0;
    return rc;
}

struct writing {
    int fd;
    int64_t size; /* written so far */
};

static int take_into_file(void *context, const void *data, size_t length, struct error *err)
{
    struct writing *writing = context;
    writing->size += (int64_t)length;
    return file_write_all(writing->fd, "the file being fetched", data, length, err);
}

int wal_object_get(const struct repository *repository, const struct wal_object *object,
                   int64_t size, int fd, struct error *err)
{
    struct writing writing = {.fd = fd};
    int rc = wal_object_read(repository, object, size, take_into_file, &writing, NULL, err);
    if (!rc && size >= 0 && writing.size != size)
        rc = damaged(object, "it is too short", err);
    return rc;
}

static int take_into_buffer(void *target, const void *data, size_t length, struct error *err)
{
    buf_add(target, data, length);
    return buf_failed(target, "a WAL file", err);
}

int wal_object_text(const struct repository *repository, const struct wal_object *object,
                    struct buf *text, struct error *err)
{
    return wal_object_read(repository, object, -1, take_into_buffer, text, NULL, err);
}
