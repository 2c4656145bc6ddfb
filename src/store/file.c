#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "store/file_store.h"

static const char SCHEME[] = "file://";

struct file_reader {
    struct store_reader base;
    int fd;
    int64_t left; /* bytes that may still be read */
};

static int file_check_url(const char *url, struct error *err)
{
    const char *path = url + strlen(SCHEME);
    size_t length = strlen(path);
    int rc = 0;
    if (path[0] != '/')
        rc = error_set(err, ERR_USAGE, "\"%s\" names no absolute folder", url);
    else if (strspn(path, "/") == length)
        rc = error_set(err, ERR_USAGE, "\"%s\" would fill the root of the file system", url);
    else if (strstr(path, "/../") || (length >= 3 && strcmp(path + length - 3, "/..") == 0))
        rc = error_set(err, ERR_USAGE, "\"%s\" may not hold \"..\"", url);
    return rc ? (error_hint(err, "write it as file:///absolute/path"), rc) : 0;
}

static void file_free(struct store *store)
{
    struct file_store *file_store = file_store_of(store);
    pthread_mutex_destroy(&file_store->folders_lock);
    free(file_store->root);
    free(file_store);
}

static int file_open(const char *url, const struct store_options *options, struct store **ret_store,
                     struct error *err)
{
    (void)options;
    const char *path = url + strlen(SCHEME);
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    struct file_store *store = calloc(1, sizeof(*store));
    char *root = strndup(path, length);
    if (!store || !root) {
        free(store);
        free(root);
        return error_no_memory(err);
    }
    store->root = root;
    pthread_mutex_init(&store->folders_lock, NULL);
    *ret_store = &store->base;
    return 0;
}

int file_store_error(const struct file_store *store, int saved_errno, const char *verb,
                     const char *key, struct error *err)
{
    const char *slash = key[0] ? "/" : "";
    int rc =
        error_set_errno(err, saved_errno, "could not %s \"%s%s%s\"", verb, store->root, slash, key);
    if (rc == ERR_NO_SPACE)
        error_hint(err, "free space on the file system of %s, or keep fewer backups there",
                   store->root);
    else if (saved_errno == EROFS)
        error_hint(err,
                   "the file system of %s is mounted read-only, or systemd lets the service write "
                   "only below ReadWritePaths=",
                   store->root);
    else if (rc == ERR_PERMISSION)
        error_hint(err, "give %s and all in it to the user that runs pgcairn", store->root);
    return rc;
}

int file_store_refuse_link(const struct file_store *store, const char *key, struct error *err)
{
    error_set(err, ERR_PERMISSION, "\"%s/%s\" is a symbolic link or device, refused", store->root,
              key);
    error_hint(err, "a repository holds files and folders only; link to its root, not inside it");
    return ERR_PERMISSION;
}

size_t file_folder_length(const char *key)
{
    const char *slash = strrchr(key, '/');
    return slash ? (size_t)(slash - key) : 0;
}

const char *file_name_of(const char *key)
{
    const char *slash = strrchr(key, '/');
    return slash ? slash + 1 : key;
}

static int open_root(struct file_store *store, bool make, int *ret_fd, struct error *err)
{
    int fd = open(store->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && make) {
        int rc = file_make_folders(store->root, FILE_FOLDER_MODE, err);
        if (rc == ERR_PERMISSION)
            error_hint(err, "make %s, owned by the user that runs pgcairn", store->root);
        if (rc)
            return rc;
        fd = open(store->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (fd < 0)
        return file_store_error(store, errno, "open folder", "", err);
    *ret_fd = fd;
    return 0;
}

void file_give_to_owner(const struct file_store *store, int fd)
{
    struct stat st;
    if (geteuid() == 0 && stat(store->root, &st) == 0 && (st.st_uid != 0 || st.st_gid != 0))
        (void)!fchown(fd, st.st_uid, st.st_gid);
}

bool file_is_shared(int folder)
{
    struct stat st;
    return fstat(folder, &st) == 0 && (st.st_mode & S_ISGID) && (st.st_mode & S_IWGRP);
}

/* A new folder has its group and the set-group-id bit from the one above it; which rights of the
 * group the umask took is asked first, since a hardened service may not set that bit. */
static void share_folder(int fd)
{
    struct stat st;
    if (fstat(fd, &st) == 0 && (st.st_mode & FILE_SHARED_FOLDER_MODE) != FILE_SHARED_FOLDER_MODE)
        (void)!fchmod(fd, S_ISGID | FILE_SHARED_FOLDER_MODE);
}

/* Opens one segment of a path, making it where asked; `path` is the key up to and with it. */
static int open_segment(struct file_store *store, int parent, const char *name, const char *path,
                        bool make, int *ret_fd, struct error *err)
{
    bool is_shared = make && file_is_shared(parent);
    bool is_made =
        make && mkdirat(parent, name, is_shared ? FILE_SHARED_FOLDER_MODE : FILE_FOLDER_MODE) == 0;
    if (make && !is_made && errno != EEXIST)
        return file_store_error(store, errno, "create folder", path, err);
    if (is_made && fsync(parent) != 0)
        return file_store_error(store, errno, "sync the folder of", path, err);
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) {
        if (is_made)
            file_give_to_owner(store, fd);
        if (is_made && is_shared)
            share_folder(fd);
        *ret_fd = fd;
        return 0;
    }
    int saved_errno = errno;
    struct stat st;
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
        return file_store_refuse_link(store, path, err);
    if (saved_errno == ENOTDIR && !make) /* the folder of this key is an object: no such key */
        saved_errno = ENOENT;
    return file_store_error(store, saved_errno, "open folder", path, err);
}

static int walk_to_folder(struct file_store *store, const char *key, size_t length, bool make,
                          int *ret_fd, struct error *err)
{
    char path[STORE_KEY_MAX + 1];
    _cleanup_(closep) int fd = -1;
    int rc = open_root(store, make, &fd, err);
    for (size_t from = 0; !rc && from < length;) {
        const char *slash = memchr(key + from, '/', length - from);
        size_t to = slash ? (size_t)(slash - key) : length;
        memcpy(path, key, to);
        path[to] = '\0';
        int next = -1;
        rc = open_segment(store, fd, path + from, path, make, &next, err);
        if (rc)
            break;
        close(fd);
        fd = next;
        from = to + 1;
    }
    if (!rc) {
        *ret_fd = fd;
        fd = -1;
    }
    return rc;
}

int file_open_folder(struct file_store *store, const char *key, size_t length, int *ret_fd,
                     struct error *err)
{
    return walk_to_folder(store, key, length, false, ret_fd, err);
}

int file_make_folder(struct file_store *store, const char *key, size_t length, int *ret_fd,
                     struct error *err)
{
    pthread_mutex_lock(&store->folders_lock);
    int rc = walk_to_folder(store, key, length, true, ret_fd, err);
    pthread_mutex_unlock(&store->folders_lock);
    return rc;
}

static int file_read_open(struct store *store, const char *key, int64_t offset, int64_t length,
                          struct store_reader **ret_reader, struct error *err)
{
    struct file_store *file_store = file_store_of(store);
    _cleanup_(closep) int folder = -1;
    int rc = file_open_folder(file_store, key, file_folder_length(key), &folder, err);
    if (rc)
        return rc;
    /* O_NONBLOCK: a named pipe in the place of an object must not hang the open. */
    _cleanup_(closep) int fd =
        openat(folder, file_name_of(key), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    if (fd < 0 && errno == ELOOP)
        return file_store_refuse_link(file_store, key, err);
    if (fd < 0 || fstat(fd, &st) != 0)
        return file_store_error(file_store, errno, "open", key, err);
    if (S_ISDIR(st.st_mode))
        return file_store_error(file_store, ENOENT, "open", key, err);
    if (!S_ISREG(st.st_mode))
        return file_store_refuse_link(file_store, key, err);
    if (lseek(fd, offset, SEEK_SET) < 0)
        return file_store_error(file_store, errno, "seek in", key, err);
    struct file_reader *reader = calloc(1, sizeof(*reader));
    if (!reader)
        return error_no_memory(err);
    posix_fadvise(fd, offset, length > 0 ? length : 0, POSIX_FADV_SEQUENTIAL);
    reader->fd = fd;
    fd = -1;
    reader->left = length == STORE_READ_TO_END ? INT64_MAX : length;
    *ret_reader = &reader->base;
    return 0;
}

static int file_read_some(struct store_reader *base, void *data, size_t size, size_t *ret_length,
                          struct error *err)
{
    struct file_reader *reader = (struct file_reader *)base;
    size_t wanted = (uint64_t)reader->left < size ? (size_t)reader->left : size;
    ssize_t n;
    do
        n = read(reader->fd, data, wanted);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return file_store_error(file_store_of(base->store), errno, "read", base->key, err);
    reader->left -= n;
    *ret_length = (size_t)n;
    return 0;
}

static void file_reader_free(struct store_reader *base)
{
    struct file_reader *reader = (struct file_reader *)base;
    close(reader->fd);
    free(reader);
}

static int file_stat(struct store *store, const char *key, struct store_object *ret_object,
                     struct error *err)
{
    struct file_store *file_store = file_store_of(store);
    _cleanup_(closep) int folder = -1;
    int rc = file_open_folder(file_store, key, file_folder_length(key), &folder, err);
    if (rc)
        return rc;
    struct stat st;
    if (fstatat(folder, file_name_of(key), &st, AT_SYMLINK_NOFOLLOW) != 0)
        return file_store_error(file_store, errno, "look at", key, err);
    if (S_ISDIR(st.st_mode))
        return file_store_error(file_store, ENOENT, "look at", key, err);
    if (!S_ISREG(st.st_mode))
        return file_store_refuse_link(file_store, key, err);
    *ret_object = (struct store_object){
        .size = st.st_size,
        .locked_until_us = INSTANT_NONE,
        .modified_us = st.st_mtim.tv_sec * US_PER_SECOND + st.st_mtim.tv_nsec / 1000,
    };
    memcpy(ret_object->key, key, strlen(key) + 1);
    return 0;
}

/* Removes the folders of a deleted key that have become empty, from the deepest up. That one is not
 * empty, or gone, or used by a writer that just made it, ends it: an empty folder does no harm. */
static void remove_empty_folders(struct file_store *store, const char *key)
{
    char path[STORE_KEY_MAX + 1];
    size_t length = file_folder_length(key);
    memcpy(path, key, length);
    path[length] = '\0';
    while (length > 0) {
        _cleanup_(closep) int parent = -1;
        length = file_folder_length(path);
        if (file_open_folder(store, path, length, &parent, NULL) ||
            unlinkat(parent, file_name_of(path), AT_REMOVEDIR) != 0)
            return;
        path[length] = '\0';
    }
}

static int file_delete(struct store *store, const char *key, struct error *err)
{
    struct file_store *file_store = file_store_of(store);
    _cleanup_(closep) int folder = -1;
    struct error reason = ERROR_NONE;
    int rc = file_open_folder(file_store, key, file_folder_length(key), &folder, &reason);
    if (rc == ERR_NOT_FOUND)
        return 0;
    if (rc) {
        if (err)
            *err = reason;
        return rc;
    }
    if (unlinkat(folder, file_name_of(key), 0) != 0 && errno != ENOENT && errno != EISDIR)
        return file_store_error(file_store, errno, "delete", key, err);
    if (fsync(folder) != 0)
        return file_store_error(file_store, errno, "sync the folder of", key, err);
    remove_empty_folders(file_store, key);
    return 0;
}

const struct store_ops store_file_ops = {
    .scheme = SCHEME,
    .check_url = file_check_url,
    .open = file_open,
    .free = file_free,
    .create = file_store_create,
    .write = file_store_write,
    .commit = file_store_commit,
    .writer_free = file_store_writer_free,
    .read_open = file_read_open,
    .read = file_read_some,
    .reader_free = file_reader_free,
    .stat = file_stat,
    .list = file_store_list,
    .list_unfinished = file_store_list_unfinished,
    .remove_unfinished = file_store_remove_unfinished,
    .delete = file_delete,
};
