#include "work/wal_spool.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "store/sha256.h"

enum {
    KEY_HEX = 16,
    FILE_MODE = 0600,
    FOLDER_MODE = 0700,
    PIECE_BYTES = 1 << 20,
    RANDOM = 8,
    WAIT_STEPS = 400, /* for an entry that is being fetched: two seconds */
    WAIT_STEP_US = 5000,
};

int wal_spool_open(const struct policy *policy, const char *state, const char *system,
                   const char *data_folder, char folder[AHEAD_PATH_MAX], struct error *err)
{
    char identity[2 * AHEAD_PATH_MAX], key[SHA256_HEX + 1];
    _cleanup_(freep) char *data = realpath(data_folder, NULL);
    if (!data)
        return error_set_errno(err, errno, "could not look at \"%s\"", data_folder);
    int length =
        snprintf(identity, sizeof(identity), "%s\n%s\n%s", policy->repository_url, system, data);
    if ((size_t)length >= sizeof(identity))
        return error_set(err, ERR_LIMIT, "the path of the data directory is too long");
    int rc = sha256_of(identity, (size_t)length, key, err);
    if (rc)
        return rc;
    length = snprintf(folder, AHEAD_PATH_MAX, "%s/wal/%s/ahead/%.*s", state, policy->cluster,
                      KEY_HEX, key);
    if (length >= AHEAD_PATH_MAX - AHEAD_ENTRY_MAX)
        return error_set(err, ERR_LIMIT, "the path of the state folder is too long");
    return file_make_folders(folder, FOLDER_MODE, err);
}

/* -- taking one ---------------------------------------------------------------------------- */

int wal_spool_create_beside(const char *destination, char temporary[AHEAD_PATH_MAX], int *ret_fd,
                            struct error *err)
{
    const char *slash = strrchr(destination, '/');
    char random[RANDOM + 1];
    int rc = file_random_name(random, RANDOM, err);
    if (rc)
        return rc;
    /* A server removes what is called xlogtemp.* when it starts, should we be killed. */
    int length = snprintf(temporary, AHEAD_PATH_MAX, "%.*sxlogtemp.pgcairn-%s",
                          slash ? (int)(slash - destination + 1) : 0, destination, random);
    if (length >= AHEAD_PATH_MAX)
        return error_set(err, ERR_USAGE, "the path \"%.100s...\" is too long", destination);
    *ret_fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    return *ret_fd < 0 ? error_set_errno(err, errno, "could not create \"%s\"", temporary) : 0;
}

/* Reads all of the file, into `copy` too when that is a descriptor; whether the hash is that one.
 */
static bool is_proved(int fd, const char *hash, int copy)
{
    _cleanup_(sha256_freep) struct sha256 *sum = NULL;
    _cleanup_(freep) char *piece = malloc(PIECE_BYTES);
    char text[SHA256_HEX + 1];
    ssize_t n = 1;
    if (!piece || sha256_new(&sum, NULL))
        return false;
    while (n > 0) {
        n = read(fd, piece, PIECE_BYTES);
        if (n < 0 || sha256_add(sum, piece, (size_t)n, NULL) ||
            (copy >= 0 && file_write_all(copy, "the copy", piece, (size_t)n, NULL)))
            return false;
    }
    return sha256_end(sum, text, NULL) == 0 && strncmp(text, hash, WAL_HASH) == 0;
}

/* For another file system than the spool's. */
static bool copy_entry(int fd, const char *hash, const char *destination)
{
    char temporary[AHEAD_PATH_MAX];
    _cleanup_(closep) int copy = -1;
    if (lseek(fd, 0, SEEK_SET) != 0 || wal_spool_create_beside(destination, temporary, &copy, NULL))
        return false;
    bool good =
        is_proved(fd, hash, copy) && fsync(copy) == 0 && rename(temporary, destination) == 0;
    if (!good)
        (void)unlink(temporary);
    return good;
}

static bool find_entry(const char *folder, const struct wal_name *name,
                       struct ahead_entry *ret_entry)
{
    for (int i = 0; i < WAIT_STEPS; i++) {
        if (!ahead_find(folder, name, ret_entry))
            return false;
        if (!ret_entry->is_part)
            return true;
        usleep(WAIT_STEP_US);
    }
    return false;
}

bool wal_spool_take(const char *folder, const struct wal_name *name, const char *destination)
{
    struct ahead_entry entry;
    char path[AHEAD_PATH_MAX + AHEAD_ENTRY_MAX];
    if (!find_entry(folder, name, &entry))
        return false;
    snprintf(path, sizeof(path), "%s/%s", folder, entry.file);
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    bool good = fd >= 0 && is_proved(fd, entry.hash, -1);
    if (good && rename(path, destination) == 0)
        return true;
    good = good && errno == EXDEV && copy_entry(fd, entry.hash, destination);
    (void)unlink(path);
    return good;
}
