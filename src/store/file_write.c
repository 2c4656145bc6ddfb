/* Writers of the file:// store: a temporary file, fsync, size confirmed, rename, fsync of the
 * folder. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "store/file_store.h"
#include "store/sha256.h"

enum {
    WRITE_BUFFER = 1 << 20,
    /* The kernel is told to begin writing to disk at this distance, so that the final fsync finds
     * little to do and a large write does not fill the memory of the machine with dirty pages. */
    WRITE_BEHIND = 8 << 20,
    /* A deletion may remove the empty folder that was just made for us; it is made again. */
    PUBLISH_ATTEMPTS = 20,
};

struct file_writer {
    struct store_writer base;
    int folder; /* ROOT/.tmp */
    int fd;
    char temporary[STORE_KEY_MAX + FILE_TEMPORARY_RANDOM + 2]; /* "" once it is gone */
    char *buffer;
    size_t buffered;
    int64_t written;
    int64_t sent_to_disk;
    struct sha256 *hash;
};

static struct file_store *store_of(const struct file_writer *writer)
{
    return file_store_of(writer->base.store);
}

void file_store_writer_free(struct store_writer *base)
{
    struct file_writer *writer = (struct file_writer *)base;
    if (writer->temporary[0])
        unlinkat(writer->folder, writer->temporary, 0);
    if (writer->fd >= 0)
        close(writer->fd);
    if (writer->folder >= 0)
        close(writer->folder);
    sha256_free(writer->hash);
    free(writer->buffer);
    free(writer);
}

static int open_temporary(struct file_store *store, struct file_writer *writer, const char *key,
                          struct error *err)
{
    size_t length = strlen(key);
    char *name = writer->temporary;
    for (size_t i = 0; i < length; i++)
        name[i] = key[i] == '/' ? '~' : key[i];
    name[length] = '~';
    int rc = file_random_name(name + length + 1, FILE_TEMPORARY_RANDOM, err);
    if (!rc)
        rc = file_make_folder(store, FILE_TEMPORARY_FOLDER, strlen(FILE_TEMPORARY_FOLDER),
                              &writer->folder, err);
    if (rc) {
        name[0] = '\0';
        return rc;
    }
    writer->fd =
        openat(writer->folder, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (writer->fd >= 0) {
        file_give_to_owner(store, writer->fd);
        if (file_is_shared(writer->folder))
            (void)!fchmod(writer->fd, FILE_SHARED_MODE);
        return 0;
    }
    name[0] = '\0';
    return file_store_error(store, errno, "begin to write", key, err);
}

int file_store_create(struct store *store, const char *key, unsigned flags,
                      struct store_writer **ret_writer, struct error *err)
{
    (void)flags; /* they matter at the end; locks are for buckets */
    struct file_writer *writer = calloc(1, sizeof(*writer));
    if (!writer)
        return error_no_memory(err);
    writer->fd = writer->folder = -1;
    writer->buffer = malloc(WRITE_BUFFER);
    int rc = writer->buffer ? sha256_new(&writer->hash, err) : error_no_memory(err);
    if (!rc)
        rc = open_temporary(file_store_of(store), writer, key, err);
    if (rc) {
        file_store_writer_free(&writer->base);
        return rc;
    }
    *ret_writer = &writer->base;
    return 0;
}

static int write_out(struct file_writer *writer, const void *data, size_t length, struct error *err)
{
    int rc = sha256_add(writer->hash, data, length, err);
    const char *from = data;
    for (size_t done = 0; !rc && done < length;) {
        ssize_t n = write(writer->fd, from + done, length - done);
        if (n >= 0)
            done += (size_t)n;
        else if (errno != EINTR)
            rc = file_store_error(store_of(writer), errno, "write", writer->base.key, err);
    }
    if (rc)
        return rc;
    writer->written += (int64_t)length;
    if (writer->written - writer->sent_to_disk >= WRITE_BEHIND) {
        /* Advice only: what it could not do, fsync does or reports. */
        (void)sync_file_range(writer->fd, writer->sent_to_disk,
                              writer->written - writer->sent_to_disk, SYNC_FILE_RANGE_WRITE);
        writer->sent_to_disk = writer->written;
    }
    return 0;
}

static int flush_buffer(struct file_writer *writer, struct error *err)
{
    int rc = writer->buffered ? write_out(writer, writer->buffer, writer->buffered, err) : 0;
    if (!rc)
        writer->buffered = 0;
    return rc;
}

int file_store_write(struct store_writer *base, const void *data, size_t length, struct error *err)
{
    struct file_writer *writer = (struct file_writer *)base;
    int rc = 0;
    if (writer->buffered + length > WRITE_BUFFER)
        rc = flush_buffer(writer, err);
    if (!rc && length >= WRITE_BUFFER)
        return write_out(writer, data, length, err);
    if (!rc && length > 0) {
        memcpy(writer->buffer + writer->buffered, data, length);
        writer->buffered += length;
    }
    return rc;
}

/* Every byte is on disk under the temporary name, and the file system agrees on how many. */
static int make_durable(struct file_writer *writer, struct stat *ret_st, struct error *err)
{
    const char *key = writer->base.key;
    int rc = flush_buffer(writer, err);
    if (rc)
        return rc;
    if (fsync(writer->fd) != 0 || fstat(writer->fd, ret_st) != 0)
        return file_store_error(store_of(writer), errno, "make durable", key, err);
    if (ret_st->st_size != writer->written)
        return error_set(err, ERR_IO,
                         "\"%s\": %lld bytes were written, but the file system holds %lld", key,
                         (long long)writer->written, (long long)ret_st->st_size);
    if (ret_st->st_nlink == 0)
        return error_set(err, ERR_IO, "\"%s\" was removed while it was being written", key);
    return 0;
}

/* 0 or an errno. */
static int publish_if_absent(const struct file_writer *writer, int folder, const char *name)
{
    if (renameat2(writer->folder, writer->temporary, folder, name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return errno;
    /* NFS and others know no such rename; a hard link is as exclusive. A lost reply may be answered
     * with EEXIST though the link was made: then our file has two names. */
    int saved_errno = linkat(writer->folder, writer->temporary, folder, name, 0) == 0 ? 0 : errno;
    struct stat st;
    if (saved_errno == EEXIST && fstat(writer->fd, &st) == 0 && st.st_nlink == 2)
        saved_errno = 0;
    if (saved_errno == 0)
        (void)unlinkat(writer->folder, writer->temporary, 0);
    return saved_errno;
}

static int publish(struct file_writer *writer, int folder)
{
    const char *name = file_name_of(writer->base.key);
    int saved_errno = 0;
    if (writer->base.flags & STORE_IF_ABSENT)
        saved_errno = publish_if_absent(writer, folder, name);
    else if (renameat(writer->folder, writer->temporary, folder, name) != 0)
        saved_errno = errno;
    if (saved_errno == 0)
        writer->temporary[0] = '\0';
    return saved_errno;
}

int file_store_commit(struct store_writer *base, struct store_object *ret_object, struct error *err)
{
    struct file_writer *writer = (struct file_writer *)base;
    struct file_store *store = file_store_of(base->store);
    struct stat st;
    int rc = make_durable(writer, &st, err);
    if (!rc)
        rc = sha256_end(writer->hash, ret_object->sha256, err);
    if (rc)
        return rc;
    _cleanup_(closep) int folder = -1;
    int saved_errno = ENOENT;
    for (int i = 0; i < PUBLISH_ATTEMPTS && saved_errno == ENOENT; i++) {
        closep(&folder);
        folder = -1;
        rc = file_make_folder(store, base->key, file_folder_length(base->key), &folder, err);
        if (!rc)
            saved_errno = publish(writer, folder);
        else if (rc != ERR_NOT_FOUND)
            return rc;
    }
    if (saved_errno == EEXIST)
        return error_set(err, ERR_EXISTS, "\"%s/%s\" exists already", store->root, base->key);
    if (saved_errno)
        return file_store_error(store, saved_errno, "store", base->key, err);
    if (fsync(folder) != 0)
        return file_store_error(store, errno, "sync the folder of", base->key, err);
    ret_object->size = writer->written;
    ret_object->modified_us = st.st_mtim.tv_sec * US_PER_SECOND + st.st_mtim.tv_nsec / 1000;
    return 0;
}
