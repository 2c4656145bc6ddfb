#include "store/s3_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

int s3_secret_init(struct buf *buf, size_t limit, struct error *err)
{
    buf_init(buf, limit);
    return buf_reserve(buf, limit) ? 0 : error_no_memory(err);
}

void s3_secret_clear(struct buf *buf)
{
    if (buf->data)
        explicit_bzero(buf->data, buf->allocated);
    buf_clear(buf);
}

int s3_secret_check(const char *path, unsigned mode, struct error *err)
{
    if ((mode & (S_IRWXG | S_IRWXO)) == 0)
        return 0;
    error_set(err, ERR_PERMISSION,
              "\"%s\" holds secrets and has mode %04o: others than its owner may use it", path,
              mode & 07777);
    return error_hint(err, "chmod 600 %s", path);
}

static int read_all(int fd, const char *path, struct buf *buf, struct error *err)
{
    for (;;) {
        char beyond; /* where the byte goes that tells a full buffer from one too small */
        size_t left = buf->limit - buf->length;
        ssize_t n = read(fd, left ? buf->data + buf->length : &beyond, left ? left : 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, errno, "could not read \"%s\"", path);
        if (n == 0)
            break;
        if (left == 0)
            return error_set(err, ERR_LIMIT, "\"%s\" is larger than %zu bytes", path, buf->limit);
        buf->length += (size_t)n;
    }
    buf->data[buf->length] = '\0';
    return 0;
}

int s3_secret_read(const char *path, enum s3_secret_kind kind, size_t limit, struct buf *buf,
                   unsigned *ret_mode, struct error *err)
{
    int rc = s3_secret_init(buf, limit, err);
    if (rc)
        return rc;
    /* Not to hang on a pipe without a writer. */
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_set_errno(err, errno, "could not open \"%s\"", path);
    struct stat st;
    struct statvfs mount;
    if (fstat(fd, &st) != 0 || fstatvfs(fd, &mount) != 0)
        return error_set_errno(err, errno, "could not look at \"%s\"", path);
    if ((rc = read_all(fd, path, buf, err)))
        return rc;
    bool is_given = kind == S3_SECRET_TOKEN && (mount.f_flag & ST_RDONLY);
    if (buf->length > 0 && kind != S3_SECRET_MIXED && !is_given)
        rc = s3_secret_check(path, st.st_mode, err);
    if (!rc && ret_mode)
        *ret_mode = st.st_mode;
    return rc;
}
