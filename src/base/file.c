#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

enum { READ_CHUNK = 64 << 10 };

int file_read(const char *path, struct buf *buf, struct error *err)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, errno, "could not open \"%s\"", path);
    char beyond; /* where the byte goes that tells a full buffer from one too small */
    for (;;) {
        size_t left = buf->limit - buf->length, room = left < READ_CHUNK ? left : READ_CHUNK;
        char *to = buf_reserve(buf, room);
        if (!to)
            return buf_failed(buf, path, err);
        ssize_t n = read(fd, room > 0 ? to : &beyond, room > 0 ? room : 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, errno, "could not read \"%s\"", path);
        if (n == 0)
            return 0;
        if (room == 0) {
            buf_add(buf, &beyond, 1); /* fails, and the buffer remembers */
            return buf_failed(buf, path, err);
        }
        buf->length += (size_t)n;
        buf->data[buf->length] = '\0';
    }
}

int file_write_all(int fd, const char *path, const void *data, size_t length, struct error *err)
{
    const char *from = data;
    while (length > 0) {
        ssize_t n = write(fd, from, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, errno, "could not write \"%s\"", path);
        from += n;
        length -= (size_t)n;
    }
    return 0;
}

int file_sync_folder(const char *path, struct error *err)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, errno, "could not open folder \"%s\"", path);
    if (fsync(fd) != 0)
        return error_set_errno(err, errno, "could not sync folder \"%s\"", path);
    return 0;
}

/* The folder part of a path: "/a/b" gives "/a", "b" gives ".". The caller frees. */
static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static int write_temporary(const char *path, const void *data, size_t length, mode_t mode,
                           struct error *err)
{
    _cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(err, errno, "could not create \"%s\"", path);
    int rc = file_write_all(fd, path, data, length, err);
    if (!rc && (fchmod(fd, mode) != 0 || fsync(fd) != 0))
        rc = error_set_errno(err, errno, "could not sync \"%s\"", path);
    return rc;
}

int file_replace(const char *path, const void *data, size_t length, mode_t mode, struct error *err)
{
    char suffix[9];
    int rc = file_random_name(suffix, sizeof(suffix) - 1, err);
    if (rc)
        return rc;
    _cleanup_(freep) char *folder = parent_of(path);
    _cleanup_(freep) char *temporary = NULL;
    if (!folder || asprintf(&temporary, "%s.tmp-%s", path, suffix) < 0)
        return error_no_memory(err);
    rc = write_temporary(temporary, data, length, mode, err);
    if (!rc && rename(temporary, path) != 0)
        rc = error_set_errno(err, errno, "could not rename \"%s\" to \"%s\"", temporary, path);
    if (rc) {
        unlink(temporary);
        return rc;
    }
    return file_sync_folder(folder, err);
}

static int make_folder(const char *path, mode_t mode, struct error *err)
{
    if (mkdir(path, mode) == 0) {
        _cleanup_(freep) char *parent = parent_of(path);
        return parent ? file_sync_folder(parent, err) : error_no_memory(err);
    }
    int saved_errno = errno;
    struct stat st;
    if (saved_errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return 0;
    return error_set_errno(err, saved_errno == EEXIST ? ENOTDIR : saved_errno,
                           "could not create folder \"%s\"", path);
}

int file_make_folders(const char *path, mode_t mode, struct error *err)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return 0;
    if (!*path)
        return error_set_errno(err, ENOENT, "could not create folder \"\"");
    _cleanup_(freep) char *copy = strdup(path);
    if (!copy)
        return error_no_memory(err);
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (stat(copy, &st) != 0) {
            int rc = make_folder(copy, mode, err);
            if (rc)
                return rc;
        }
        *slash = '/';
    }
    return make_folder(copy, mode, err);
}

int file_random_name(char *text, size_t length, struct error *err)
{
    static const char ALPHABET[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    for (size_t i = 0; i < length;) {
        unsigned char bytes[32];
        if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
            return error_set_errno(err, errno, "could not read random bytes");
        for (size_t j = 0; j < sizeof(bytes) && i < length; j++)
            if (bytes[j] < 36 * 7) /* the rest would make some characters likelier */
                text[i++] = ALPHABET[bytes[j] % 36];
    }
    text[length] = '\0';
    return 0;
}
