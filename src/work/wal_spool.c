#include "work/wal_spool.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

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

static const char PART[] = ".part";

int wal_spool_open(const struct policy *policy, const char *state, const char *system,
                   const char *data_folder, char folder[WAL_SPOOL_PATH_MAX], struct error *err)
{
    char identity[2 * WAL_SPOOL_PATH_MAX], key[SHA256_HEX + 1];
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
    length = snprintf(folder, WAL_SPOOL_PATH_MAX, "%s/wal/%s/ahead/%.*s", state, policy->cluster,
                      KEY_HEX, key);
    if (length >= WAL_SPOOL_PATH_MAX - WAL_SPOOL_ENTRY_MAX)
        return error_set(err, ERR_LIMIT, "the path of the state folder is too long");
    return file_make_folders(folder, FOLDER_MODE, err);
}

/* -- who is where -------------------------------------------------------------------------- */

void wal_spool_write_at(const char *folder, const struct wal_name *name)
{
    char path[WAL_SPOOL_PATH_MAX + 8], text[WAL_NAME_MAX];
    snprintf(path, sizeof(path), "%s/at", folder);
    wal_name_format(name, text);
    _cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (fd >= 0) /* names of segments are of one length: no reader sees half of two */
        (void)!pwrite(fd, text, WAL_SEGMENT_NAME, 0);
}

bool wal_spool_read_at(const char *folder, struct wal_name *ret_name, int64_t *ret_age_us)
{
    char path[WAL_SPOOL_PATH_MAX + 8], text[WAL_SEGMENT_NAME + 1] = "";
    struct stat st;
    snprintf(path, sizeof(path), "%s/at", folder);
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || pread(fd, text, WAL_SEGMENT_NAME, 0) != WAL_SEGMENT_NAME ||
        !wal_name_parse(text, ret_name))
        return false;
    *ret_age_us =
        instant_now_us() - (st.st_mtim.tv_sec * US_PER_SECOND + st.st_mtim.tv_nsec / 1000);
    return true;
}

int wal_spool_lock(const char *folder)
{
    char path[WAL_SPOOL_PATH_MAX + 8];
    snprintf(path, sizeof(path), "%s/lock", folder);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* -- entries ------------------------------------------------------------------------------- */

/* "NAME-HASH" or "NAME-HASH.part" */
static bool parse_entry(const char *file, struct wal_spool_entry *ret_entry)
{
    struct wal_spool_entry entry = {0};
    char name[WAL_SEGMENT_NAME + 1];
    size_t length = strlen(file), whole = WAL_SEGMENT_NAME + 1 + WAL_HASH;
    if (length < whole || length >= sizeof(entry.file) || file[WAL_SEGMENT_NAME] != '-')
        return false;
    memcpy(name, file, WAL_SEGMENT_NAME);
    name[WAL_SEGMENT_NAME] = '\0';
    memcpy(entry.hash, file + WAL_SEGMENT_NAME + 1, WAL_HASH);
    memcpy(entry.file, file, length + 1);
    entry.is_part = strcmp(file + whole, PART) == 0;
    if ((file[whole] && !entry.is_part) || !wal_name_parse(name, &entry.name))
        return false;
    *ret_entry = entry;
    return true;
}

int wal_spool_each(const char *folder, wal_spool_visit visit, void *context)
{
    _cleanup_(closedirp) DIR *dir = opendir(folder);
    int rc = 0;
    for (struct dirent *found = dir ? readdir(dir) : NULL; found && !rc; found = readdir(dir)) {
        struct wal_spool_entry entry;
        if (parse_entry(found->d_name, &entry))
            rc = visit(&entry, context);
    }
    return rc;
}

void wal_spool_remove(const char *folder, const struct wal_spool_entry *entry)
{
    char path[WAL_SPOOL_PATH_MAX + WAL_SPOOL_ENTRY_MAX];
    snprintf(path, sizeof(path), "%s/%s", folder, entry->file);
    (void)unlink(path);
}

static int remove_entry(const struct wal_spool_entry *entry, void *context)
{
    wal_spool_remove(context, entry);
    return 0;
}

void wal_spool_remove_all(const char *folder)
{
    static const char *const OTHERS[] = {"at", "lock"};
    char path[WAL_SPOOL_PATH_MAX], own[WAL_SPOOL_PATH_MAX + 8];
    snprintf(path, sizeof(path), "%s", folder);
    wal_spool_each(folder, remove_entry, path);
    for (size_t i = 0; i < ARRAY_SIZE(OTHERS); i++) {
        snprintf(own, sizeof(own), "%s/%s", folder, OTHERS[i]);
        (void)unlink(own);
    }
    (void)rmdir(folder);
}

/* -- taking one ---------------------------------------------------------------------------- */

int wal_spool_create_beside(const char *destination, char temporary[WAL_SPOOL_PATH_MAX],
                            int *ret_fd, struct error *err)
{
    const char *slash = strrchr(destination, '/');
    char random[RANDOM + 1];
    int rc = file_random_name(random, RANDOM, err);
    if (rc)
        return rc;
    /* A server removes what is called xlogtemp.* when it starts, should we be killed. */
    int length = snprintf(temporary, WAL_SPOOL_PATH_MAX, "%.*sxlogtemp.pgcairn-%s",
                          slash ? (int)(slash - destination + 1) : 0, destination, random);
    if (length >= WAL_SPOOL_PATH_MAX)
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
    char temporary[WAL_SPOOL_PATH_MAX];
    _cleanup_(closep) int copy = -1;
    if (lseek(fd, 0, SEEK_SET) != 0 || wal_spool_create_beside(destination, temporary, &copy, NULL))
        return false;
    bool good =
        is_proved(fd, hash, copy) && fsync(copy) == 0 && rename(temporary, destination) == 0;
    if (!good)
        (void)unlink(temporary);
    return good;
}

struct taking {
    const struct wal_name *name;
    struct wal_spool_entry found;
    bool has_whole, has_part;
};

static int look_for(const struct wal_spool_entry *entry, void *context)
{
    struct taking *taking = context;
    if (wal_name_compare(&entry->name, taking->name) != 0)
        return 0;
    taking->has_part = entry->is_part;
    taking->has_whole = !entry->is_part;
    if (taking->has_whole)
        taking->found = *entry;
    return taking->has_whole;
}

static bool find_entry(const char *folder, const struct wal_name *name,
                       struct wal_spool_entry *ret_entry)
{
    for (int i = 0; i < WAIT_STEPS; i++) {
        struct taking taking = {.name = name};
        wal_spool_each(folder, look_for, &taking);
        if (taking.has_whole)
            *ret_entry = taking.found;
        if (taking.has_whole || !taking.has_part)
            return taking.has_whole;
        usleep(WAIT_STEP_US);
    }
    return false;
}

bool wal_spool_take(const char *folder, const struct wal_name *name, const char *destination)
{
    struct wal_spool_entry entry;
    char path[WAL_SPOOL_PATH_MAX + WAL_SPOOL_ENTRY_MAX];
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
