/* The folders that a restored cluster is put into: none may hold anything, unless a restore of the
 * same backup goes on there. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/file.h"
#include "base/json.h"
#include "work/restore_snapshot.h"

enum { MARK_BYTES_MAX = 16 << 20, MARK_MODE = 0600 };

static const char MARK[] = "pgcairn-restore.json";

static void join(char path[RESTORE_PATH_MAX], const char *folder, const char *name)
{
    snprintf(path, RESTORE_PATH_MAX, "%s/%s", folder, name);
}

static bool exists(const char *folder, const char *name)
{
    char path[RESTORE_PATH_MAX];
    struct stat status;
    join(path, folder, name);
    return lstat(path, &status) == 0;
}

/* -- before anything is written -------------------------------------------------------------------
 */

/* The mark of a restore that was interrupted: the volumes it had finished. */
static int read_mark(struct snapshot_restore *restore, struct error *err)
{
    char path[RESTORE_PATH_MAX];
    _cleanup_(buf_clear) struct buf text = BUF_INIT(MARK_BYTES_MAX);
    _cleanup_(json_release) json_t *mark = NULL;
    const char *folder = restore->request->folder, *id;
    join(path, folder, MARK);
    int rc = file_read(path, &text, err);
    if (!rc)
        rc = json_parse_object(buf_text(&text), text.length, path, &mark, err);
    if (!rc)
        rc = json_take_text(mark, "id", &id, err);
    if (rc)
        return rc;
    if (strcmp(id, restore->choice.anchor->id) != 0) {
        error_set(err, ERR_EXISTS, "\"%s\" holds a restore of snapshot %s that was not finished",
                  folder, id);
        return error_hint(err, "give that id to go on with it, or empty the folder to restore %s",
                          restore->choice.anchor->id);
    }
    if (!restore->request->resume) {
        error_set(err, ERR_EXISTS, "\"%s\" holds an unfinished restore of this snapshot", folder);
        return error_hint(err, "go on with it with --resume, or empty the folder");
    }
    json_decref(restore->done);
    restore->done = json_incref(json_object_get(mark, "volumes"));
    return json_is_array(restore->done) ? 0 : error_set(err, ERR_CORRUPT, "%s: no volumes", path);
}

static int refuse_full(const char *folder, const char *name, struct error *err)
{
    if (exists(folder, "postmaster.pid"))
        error_set(err, ERR_EXISTS, "\"%s\" is the data directory of a server that may be running",
                  folder);
    else if (exists(folder, "PG_VERSION"))
        error_set(err, ERR_EXISTS, "\"%s\" is a data directory", folder);
    else
        error_set(err, ERR_EXISTS, "\"%s\" is not empty: it has \"%s\"", folder, name);
    return error_hint(err,
                      "nothing is overwritten: give an empty folder, or one that is not there");
}

/* A file that was being replaced when a restore was killed: file_replace() calls it
 * NAME.tmp-x7q2w3e4. */
static bool is_left_over(const char *name)
{
    static const char *const replaced[] = {"pgcairn-restore.json", "postgresql.auto.conf",
                                           "tablespace_map", "recovery.signal", "standby.signal"};
    static const char INFIX[] = ".tmp-";
    for (size_t i = 0; i < ARRAY_SIZE(replaced); i++) {
        size_t length = strlen(replaced[i]);
        if (strncmp(name, replaced[i], length) == 0 &&
            strncmp(name + length, INFIX, strlen(INFIX)) == 0)
            return true;
    }
    return false;
}

/* An empty mount point may have lost+found. *ret_exists tells whether the folder is there. */
static int check_empty(const char *folder, bool *ret_exists, struct error *err)
{
    *ret_exists = false;
    _cleanup_(closedirp) DIR *entries = opendir(folder);
    if (!entries && errno == ENOENT)
        return 0;
    if (!entries)
        return error_set_errno(err, errno, "could not look into \"%s\"", folder);
    *ret_exists = true;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(entries);
        if (!entry)
            return errno ? error_set_errno(err, errno, "could not read \"%s\"", folder) : 0;
        const char *name = entry->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strcmp(name, "lost+found") != 0 &&
            !is_left_over(name))
            return refuse_full(folder, name, err);
    }
}

/* The nearest folder above that exists. */
static void find_parent(const char *folder, char path[RESTORE_PATH_MAX])
{
    struct stat status;
    snprintf(path, RESTORE_PATH_MAX, "%s", folder);
    while (stat(path, &status) != 0) {
        char *slash = strrchr(path, '/');
        if (!slash || slash == path) {
            snprintf(path, RESTORE_PATH_MAX, "/");
            return;
        }
        *slash = '\0';
    }
}

static int check_space(const char *folder, int64_t bytes, struct error *err)
{
    char path[RESTORE_PATH_MAX];
    struct statvfs disk;
    find_parent(folder, path);
    if (statvfs(path, &disk) != 0)
        return error_set_errno(err, errno, "could not ask how much is free at \"%s\"", path);
    int64_t free_bytes = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
    if (free_bytes >= bytes)
        return 0;
    error_set(err, ERR_NO_SPACE, "\"%s\" has %lld MB free, and %lld MB are restored there", path,
              (long long)(free_bytes / 1000000), (long long)(bytes / 1000000));
    return error_hint(err, "free space there, or give another folder");
}

/* Who the files shall belong to. PostgreSQL does not run as root and refuses what is not its own.
 */
static int find_owner(struct snapshot_restore *restore, struct error *err)
{
    struct stat status;
    const char *folder = restore->request->folder;
    restore->owner = geteuid();
    restore->group = getegid();
    restore->is_root = restore->owner == 0;
    if (!restore->is_root)
        return 0;
    if (stat(folder, &status) != 0 || status.st_uid == 0) {
        error_set(err, ERR_PERMISSION, "run by root, a restore needs to know whose \"%s\" shall be",
                  folder);
        return error_hint(err,
                          "make the folder first: install -d -m 700 -o postgres -g postgres %s (or "
                          "run this as that user)",
                          folder);
    }
    restore->owner = status.st_uid;
    restore->group = status.st_gid;
    return 0;
}

static int64_t bytes_of(const struct snapshot_restore *restore, const struct restore_place *place)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < restore->piece_count; i++)
        if (restore->pieces[i].place == place && !restore->pieces[i].is_done)
            bytes += restore->pieces[i].plain_bytes;
    return bytes;
}

static void note_done(struct snapshot_restore *restore)
{
    size_t i;
    json_t *name;
    json_array_foreach(restore->done, i, name)
    {
        for (size_t p = 0; p < restore->piece_count; p++)
            if (strcmp(restore->pieces[p].name, json_string_value(name)) == 0)
                restore->pieces[p].is_done = true;
    }
}

/* Two of them in one would overwrite each other. */
static int check_apart(const struct snapshot_restore *restore, struct error *err)
{
    for (size_t i = 0; i < restore->place_count; i++)
        for (size_t j = 0; j < restore->place_count; j++) {
            const char *outer = restore->places[i].folder, *inner = restore->places[j].folder;
            size_t length = strlen(outer);
            if (i != j && strncmp(inner, outer, length) == 0 &&
                (inner[length] == '/' || inner[length] == '\0')) {
                error_set(err, ERR_USAGE, "folder \"%s\" lies in \"%s\"", inner, outer);
                return error_hint(err, "put each tablespace into a folder of its own, outside the "
                                       "data directory: --tablespace OLD=NEW");
            }
        }
    return 0;
}

int restore_check_folders(struct snapshot_restore *restore, struct error *err)
{
    const char *folder = restore->request->folder;
    bool is_resumed = exists(folder, MARK), is_there;
    int rc = check_apart(restore, err);
    if (!rc && exists(folder, "postmaster.pid"))
        rc = refuse_full(folder, "postmaster.pid", err);
    if (!rc && is_resumed)
        rc = read_mark(restore, err);
    if (!rc)
        note_done(restore);
    for (size_t i = 0; i < restore->place_count && !rc && !is_resumed; i++)
        rc = check_empty(restore->places[i].folder, &is_there, err);
    if (!rc && restore->request->resume && !is_resumed) {
        error_set(err, ERR_NOT_FOUND, "\"%s\" holds no restore to go on with", folder);
        rc = error_hint(err, "leave out --resume");
    }
    if (!rc)
        rc = find_owner(restore, err);
    for (size_t i = 0; i < restore->place_count && !rc; i++)
        rc = check_space(restore->places[i].folder, bytes_of(restore, &restore->places[i]), err);
    return rc;
}

/* -- writing --------------------------------------------------------------------------------------
 */

int restore_give(const struct snapshot_restore *restore, int fd, const char *path, mode_t mode,
                 struct error *err)
{
    if (restore->is_root && fchown(fd, restore->owner, restore->group) != 0)
        return error_set_errno(err, errno, "could not give \"%s\" to its owner", path);
    if (fchmod(fd, mode) != 0)
        return error_set_errno(err, errno, "could not set the mode of \"%s\"", path);
    return 0;
}

static int make_folder(struct snapshot_restore *restore, const char *folder, struct error *err)
{
    int rc = file_make_folders(folder, restore->folder_mode, err);
    if (rc)
        return rc;
    _cleanup_(closep) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, errno, "could not open \"%s\"", folder);
    return restore_give(restore, fd, folder, restore->folder_mode, err);
}

int restore_make_folders(struct snapshot_restore *restore, struct error *err)
{
    int rc = make_folder(restore, restore->places[0].folder, err);
    if (!rc)
        rc = restore_write_mark(restore, err);
    for (size_t i = 1; i < restore->place_count && !rc; i++)
        rc = make_folder(restore, restore->places[i].folder, err);
    return rc;
}

int restore_write_mark(struct snapshot_restore *restore, struct error *err)
{
    char path[RESTORE_PATH_MAX];
    _cleanup_(freep) char *text = NULL;
    _cleanup_(json_release) json_t *mark =
        json_pack("{s:s, s:s, s:s, s:O}", "cluster", restore->request->policy->cluster, "id",
                  restore->choice.anchor->id, "system_identifier",
                  restore->choice.anchor->position.system_identifier, "volumes", restore->done);
    if (!mark)
        return error_no_memory(err);
    join(path, restore->request->folder, MARK);
    int rc = json_to_text(mark, &text, err);
    return rc ? rc : file_replace(path, text, strlen(text), MARK_MODE, err);
}

/* pg_verifybackup would find them. */
static int remove_left_over(const char *folder, struct error *err)
{
    _cleanup_(closedirp) DIR *entries = opendir(folder);
    if (!entries)
        return error_set_errno(err, errno, "could not look into \"%s\"", folder);
    const struct dirent *entry;
    while ((entry = readdir(entries)) != NULL)
        if (is_left_over(entry->d_name) && unlinkat(dirfd(entries), entry->d_name, 0) != 0)
            return error_set_errno(err, errno, "could not remove \"%s/%s\"", folder, entry->d_name);
    return 0;
}

int restore_remove_mark(struct snapshot_restore *restore, struct error *err)
{
    char path[RESTORE_PATH_MAX];
    int rc = remove_left_over(restore->request->folder, err);
    if (rc)
        return rc;
    join(path, restore->request->folder, MARK);
    if (unlink(path) != 0 && errno != ENOENT)
        return error_set_errno(err, errno, "could not remove \"%s\"", path);
    return file_sync_folder(restore->request->folder, err);
}

/* All that was written there is on disk: one call a file system instead of one a file. */
int restore_sync_folders(struct snapshot_restore *restore, struct error *err)
{
    for (size_t i = 0; i < restore->place_count; i++) {
        const char *folder = restore->places[i].folder;
        _cleanup_(closep) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || syncfs(fd) != 0)
            return error_set_errno(err, errno, "could not write \"%s\" to disk", folder);
    }
    return 0;
}
