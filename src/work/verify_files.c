#include "work/verify_files.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/queue.h"
#include "pack/tar.h"

enum { BLOCK_BYTES = 256 << 10, BLOCKS = 8 };

struct block {
    size_t length;
    bool ends_file;
    char name[TAR_NAME_MAX + 1]; /* of the file that ends with the block */
    char data[BLOCK_BYTES];
};

struct verify_files {
    verify_judge judge;
    void *context;
    struct queue *full, *empty;
    struct block *block; /* being filled; NULL: none */
    pthread_t thread;
    bool has_thread;
    atomic_bool has_failed; /* set behind `error` */
    struct error error;
};

/* -- the hashing thread ---------------------------------------------------------------------- */

static int hash_block(struct verify_files *files, const struct block *block, struct sha256 **hash,
                      int64_t *size, struct error *err)
{
    char hex[SHA256_HEX + 1];
    int rc = *hash ? 0 : sha256_new(hash, err);
    if (!rc)
        rc = sha256_add(*hash, block->data, block->length, err);
    *size += (int64_t)block->length;
    if (rc || !block->ends_file)
        return rc;
    rc = sha256_end(*hash, hex, err);
    if (!rc)
        rc = files->judge(files->context, block->name, *size, hex, err);
    *hash = sha256_free(*hash);
    *size = 0;
    return rc;
}

static void *run(void *argument)
{
    struct verify_files *files = argument;
    struct sha256 *hash = NULL;
    struct block *block;
    int64_t size = 0;
    while ((block = queue_pop(files->full))) {
        if (!atomic_load(&files->has_failed) &&
            hash_block(files, block, &hash, &size, &files->error))
            atomic_store(&files->has_failed, true);
        queue_push(files->empty, block);
    }
    sha256_free(hash);
    return NULL;
}

/* -- the unpacking one ----------------------------------------------------------------------- */

static int make_queues(struct verify_files *files, struct error *err)
{
    int rc = queue_new(BLOCKS, &files->full, err);
    if (!rc)
        rc = queue_new(BLOCKS, &files->empty, err);
    for (int i = 0; i < BLOCKS && !rc; i++) {
        struct block *block = malloc(sizeof(*block));
        if (!block)
            return error_no_memory(err);
        queue_push(files->empty, block);
    }
    return rc;
}

int verify_files_begin(verify_judge judge, void *context, struct verify_files **ret_files,
                       struct error *err)
{
    _cleanup_(verify_files_freep) struct verify_files *files = calloc(1, sizeof(*files));
    if (!files)
        return error_no_memory(err);
    files->judge = judge;
    files->context = context;
    int rc = make_queues(files, err);
    if (rc)
        return rc;
    int failed = pthread_create(&files->thread, NULL, run, files);
    if (failed)
        return error_set_errno(err, failed, "could not start a thread");
    files->has_thread = true;
    *ret_files = TAKE(files);
    return 0;
}

static int failure(const struct verify_files *files, struct error *err)
{
    if (err)
        *err = files->error;
    return files->error.code;
}

static void take_block(struct verify_files *files)
{
    if (files->block)
        return;
    files->block = queue_pop(files->empty);
    files->block->length = 0;
    files->block->ends_file = false;
}

static void give_block(struct verify_files *files)
{
    queue_push(files->full, files->block);
    files->block = NULL;
}

int verify_files_add(struct verify_files *files, const void *data, size_t length, struct error *err)
{
    const char *bytes = data;
    if (atomic_load(&files->has_failed))
        return failure(files, err);
    while (length > 0) {
        take_block(files);
        struct block *block = files->block;
        size_t room = BLOCK_BYTES - block->length, n = length < room ? length : room;
        memcpy(block->data + block->length, bytes, n);
        block->length += n;
        if (block->length == BLOCK_BYTES)
            give_block(files);
        bytes += n;
        length -= n;
    }
    return 0;
}

int verify_files_end_file(struct verify_files *files, const char *name, struct error *err)
{
    if (atomic_load(&files->has_failed))
        return failure(files, err);
    take_block(files);
    files->block->ends_file = true;
    snprintf(files->block->name, sizeof(files->block->name), "%s", name);
    give_block(files);
    return 0;
}

static void join(struct verify_files *files)
{
    if (!files->has_thread)
        return;
    queue_close(files->full);
    pthread_join(files->thread, NULL);
    files->has_thread = false;
}

int verify_files_finish(struct verify_files *files, struct error *err)
{
    join(files);
    return atomic_load(&files->has_failed) ? failure(files, err) : 0;
}

struct verify_files *verify_files_free(struct verify_files *files)
{
    if (!files)
        return NULL;
    join(files);
    free(files->block);
    queue_free(files->full, free);
    queue_free(files->empty, free);
    free(files);
    return NULL;
}
