/* The workers of a restore: each takes the largest volume left and makes its files, comparing every
 * one with what the server listed. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "work/restore_snapshot.h"

enum { WRITE_BEHIND = 8 << 20 };

static const char CONTROL[] = "global/pg_control";
static const char CONTROL_WAITING[] = "global/pg_control.pgcairn";

/* One thread's hands. */
struct unpacking {
    struct snapshot_restore *restore;
    const struct restore_piece *piece;
    struct volume_reader *reader;
};

/* -- the server's list ----------------------------------------------------------------------------
 */

static int open_object(struct snapshot_restore *restore, const char *name, enum volume_kind kind,
                       const struct store_object *expected, struct volume_reader **ret_reader,
                       struct error *err)
{
    struct repository *repository = restore->request->repository;
    char key[STORE_KEY_MAX + 1];
    int rc = repository_backup_key(repository, BACKUP_SNAPSHOT, restore->choice.anchor->id, name,
                                   key, err);
    return rc ? rc : volume_read_open(repository->store, key, kind, expected, ret_reader, err);
}

int restore_read_list(struct snapshot_restore *restore, struct error *err)
{
    return file_list_fetch(restore->request->repository, restore->choice.anchor->id,
                           restore->manifest, &restore->files, err);
}

/* -- one member -----------------------------------------------------------------------------------
 */

static int refuse(const struct unpacking *unpacking, const char *name, const char *what,
                  struct error *err)
{
    error_set(err, ERR_CORRUPT, "file \"%s\" in volume %s %s", name, unpacking->piece->name, what);
    return error_hint(err,
                      "the cluster was not made whole and does not start: restore from another "
                      "snapshot (pgcairn list), and find out what changed the stored file");
}

/* No way out of the folder. */
static bool is_safe(const char *name)
{
    if (name[0] == '/' || name[0] == '\0')
        return false;
    for (const char *part = name; part; part = strchr(part, '/')) {
        part += *part == '/';
        size_t length = strcspn(part, "/");
        if (length == 0 || (length == 2 && strncmp(part, "..", 2) == 0) ||
            (length == 1 && part[0] == '.'))
            return false;
    }
    return true;
}

static int make_folder(const struct snapshot_restore *restore, const char *path, struct error *err)
{
    if (mkdir(path, restore->folder_mode) != 0) {
        if (errno != EEXIST)
            return error_set_errno(err, errno, "could not make folder \"%s\"", path);
        return 0;
    }
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_set_errno(err, errno, "could not open \"%s\"", path);
    return restore_give(restore, fd, path, restore->folder_mode, err);
}

/* Folders come in volumes of their own order; a file may come before its folder. */
static int make_parents(const struct snapshot_restore *restore, const char *folder,
                        const char *name, struct error *err)
{
    char path[RESTORE_PATH_MAX];
    int rc = 0;
    for (const char *slash = strchr(name, '/'); slash && !rc; slash = strchr(slash + 1, '/')) {
        snprintf(path, sizeof(path), "%s/%.*s", folder, (int)(slash - name), name);
        rc = make_folder(restore, path, err);
    }
    return rc;
}

static int open_file(const struct snapshot_restore *restore, const char *folder, const char *name,
                     const char *path, int *ret_fd, struct error *err)
{
    int flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW;
    int fd = open(path, flags | O_CLOEXEC, restore->file_mode);
    if (fd < 0 && errno == ENOENT) {
        int rc = make_parents(restore, folder, name, err);
        if (rc)
            return rc;
        fd = open(path, flags | O_CLOEXEC, restore->file_mode);
    }
    if (fd < 0)
        return error_set_errno(err, errno, "could not make \"%s\"", path);
    *ret_fd = fd;
    return 0;
}

/* The content, summed on the way. */
static int write_content(struct unpacking *unpacking, int fd, const char *path,
                         struct listed_sum *sum, struct error *err)
{
    int64_t sent = 0;
    int rc = 0;
    while (!rc) {
        const void *data;
        size_t length;
        rc = volume_read(unpacking->reader, &data, &length, err);
        if (rc || length == 0)
            break;
        rc = listed_sum_add(sum, data, length, err);
        if (!rc)
            rc = file_write_all(fd, path, data, length, err);
        atomic_fetch_add(&unpacking->restore->bytes_done, (long long)length);
        if (!rc && crew_stopped(unpacking->restore->crew))
            rc = error_set(err, ERR_INTERRUPTED, "stopped");
        if (sum->size - sent >= WRITE_BEHIND) { /* advice: so that the end has little to wait for */
            (void)sync_file_range(fd, sent, sum->size - sent, SYNC_FILE_RANGE_WRITE);
            sent = sum->size;
        }
    }
    return rc;
}

static int unpack_file(struct unpacking *unpacking, const char *name, struct error *err)
{
    const struct snapshot_restore *restore = unpacking->restore;
    const char *folder = unpacking->piece->place->folder;
    uint32_t tablespace = unpacking->piece->place->oid;
    char path[RESTORE_PATH_MAX], listed[FILE_LIST_PATH_MAX];
    _cleanup_(listed_sum_clear) struct listed_sum sum = {0};
    struct listed_file *file;
    bool fits = false;
    const char *what = file_list_expect(&restore->files, tablespace, name, &file);
    if (what)
        return refuse(unpacking, name, what, err);
    file_list_name_of(tablespace, name, listed);
    bool is_control = strcmp(listed, CONTROL) == 0;
    snprintf(path, sizeof(path), "%s/%s", folder, is_control ? CONTROL_WAITING : name);
    _cleanup_(closep) int fd = -1;
    int rc = open_file(restore, folder, name, path, &fd, err);
    if (!rc)
        rc = listed_sum_init(&sum, file, err);
    if (!rc)
        rc = write_content(unpacking, fd, path, &sum, err);
    if (!rc)
        rc = restore_give(restore, fd, path, restore->file_mode, err);
    if (!rc && file)
        rc = listed_sum_end(&sum, &fits, err);
    if (rc || !file)
        return rc;
    what = file_list_judge(file, fits);
    return what ? refuse(unpacking, name, what, err) : 0;
}

static int unpack_member(struct unpacking *unpacking, const struct tar_member *member,
                         struct error *err)
{
    const char *folder = unpacking->piece->place->folder;
    char path[RESTORE_PATH_MAX], name[TAR_NAME_MAX + 1];
    snprintf(name, sizeof(name), "%s", member->name); /* it is borrowed until the next call */
    if (!is_safe(name))
        return refuse(unpacking, name, "would lie outside its folder", err);
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    switch (member->type) {
    case MEMBER_FOLDER: {
        int rc = make_parents(unpacking->restore, folder, name, err);
        return rc ? rc : make_folder(unpacking->restore, path, err);
    }
    case MEMBER_FILE:
        return unpack_file(unpacking, name, err);
    case MEMBER_LINK:
        break;
    }
    return refuse(unpacking, name, "is a link", err);
}

/* -- one volume -----------------------------------------------------------------------------------
 */

static int unpack_members(struct unpacking *unpacking, struct error *err)
{
    bool found = true;
    int rc = 0;
    while (!rc) {
        struct tar_member member;
        rc = volume_next_member(unpacking->reader, &member, &found, err);
        if (rc || !found)
            break;
        rc = unpack_member(unpacking, &member, err);
    }
    return rc ? rc : volume_read_finish(unpacking->reader, err);
}

/* The volume's files are on disk before it is noted as done. */
static int note_done(struct snapshot_restore *restore, const struct restore_piece *piece,
                     struct error *err)
{
    int rc = restore_sync_folders(restore, err);
    if (rc)
        return rc;
    pthread_mutex_lock(&restore->mutex);
    if (json_array_append_new(restore->done, json_string(piece->name)))
        rc = error_no_memory(err);
    if (!rc)
        rc = restore_write_mark(restore, err);
    pthread_mutex_unlock(&restore->mutex);
    return rc;
}

static int unpack_volume(struct snapshot_restore *restore, const struct restore_piece *piece,
                         struct error *err)
{
    struct unpacking unpacking = {.restore = restore, .piece = piece};
    int rc =
        open_object(restore, piece->name, VOLUME_TAR, &piece->expected, &unpacking.reader, err);
    if (!rc)
        rc = unpack_members(&unpacking, err);
    volume_reader_free(unpacking.reader);
    return rc ? rc : note_done(restore, piece, err);
}

static int work_off(void *argument, struct error *err)
{
    struct snapshot_restore *restore = argument;
    for (;;) {
        size_t number = atomic_fetch_add(&restore->next_piece, 1);
        if (number >= restore->piece_count || crew_stopped(restore->crew))
            return 0;
        if (restore->pieces[number].is_done)
            continue;
        int rc = unpack_volume(restore, &restore->pieces[number], err);
        if (rc)
            return rc;
    }
}

/* -- all of them ----------------------------------------------------------------------------------
 */

/* Where a listed file lies, and under which name pg_control waits. */
static void find_path(const struct snapshot_restore *restore, const char *listed,
                      char path[RESTORE_PATH_MAX])
{
    static const char THROUGH[] = "pg_tblspc/";
    const char *folder = restore->places[0].folder, *name = listed;
    if (strncmp(listed, THROUGH, strlen(THROUGH)) == 0) {
        char *rest;
        unsigned long oid = strtoul(listed + strlen(THROUGH), &rest, 10);
        for (size_t i = 1; i < restore->place_count && *rest == '/'; i++)
            if (restore->places[i].oid == oid) {
                folder = restore->places[i].folder;
                name = rest + 1;
            }
    }
    snprintf(path, RESTORE_PATH_MAX, "%s/%s", folder, name);
}

/* What an earlier restore wrote was proved then; that it is still there is seen by its size. Two
 * files are written again at the end: one grows, the other may be smaller than it was. */
static bool was_restored(const struct snapshot_restore *restore, const char *listed, int64_t size)
{
    char path[RESTORE_PATH_MAX];
    struct stat status;
    find_path(restore, strcmp(listed, CONTROL) == 0 ? CONTROL_WAITING : listed, path);
    if (lstat(path, &status) != 0) {
        find_path(restore, listed, path);
        if (lstat(path, &status) != 0)
            return false;
    }
    return S_ISREG(status.st_mode) &&
           (status.st_size >= size || strcmp(listed, "tablespace_map") == 0);
}

static int check_complete(struct snapshot_restore *restore, struct error *err)
{
    bool is_resumed = restore->request->resume;
    for (size_t i = 0; i < restore->files.count; i++) {
        struct listed_file *file = &restore->files.files[i];
        const char *name = file_list_name(&restore->files, file);
        if (atomic_load(&file->is_there) || (is_resumed && was_restored(restore, name, file->size)))
            continue;
        error_set(err, ERR_CORRUPT, "file \"%s\" of the server's backup_manifest is in no volume",
                  name);
        return error_hint(err, "restore from another snapshot (pgcairn list)");
    }
    return 0;
}

static void watch(struct snapshot_restore *restore)
{
    const struct restore_snapshot_request *request = restore->request;
    while (!crew_ended(restore->crew, 200000)) {
        struct error error = ERROR_NONE;
        if (work_interrupted(&error))
            crew_fail(restore->crew, &error);
        if (request->progress)
            request->progress("restoring files", atomic_load(&restore->bytes_done),
                              restore->bytes_total, request->context);
    }
}

int restore_files(struct snapshot_restore *restore, struct error *err)
{
    int rc = crew_new(&restore->crew, err);
    for (int i = 0; i < restore->request->jobs && !rc; i++)
        rc = crew_start(restore->crew, work_off, restore, err);
    if (rc)
        return rc;
    watch(restore);
    rc = crew_join(restore->crew, err);
    if (!rc)
        rc = check_complete(restore, err);
    if (rc == ERR_NO_SPACE || rc == ERR_INTERRUPTED || rc == ERR_CONNECTION)
        error_hint(err, "what is there stays: %srun the same command with --resume",
                   rc == ERR_NO_SPACE ? "free space, then " : "");
    return rc;
}

int restore_publish(struct snapshot_restore *restore, struct error *err)
{
    char from[RESTORE_PATH_MAX], to[RESTORE_PATH_MAX], folder[RESTORE_PATH_MAX];
    find_path(restore, CONTROL_WAITING, from);
    find_path(restore, CONTROL, to);
    find_path(restore, "global", folder);
    int rc = restore_sync_folders(restore, err);
    bool is_named = access(from, F_OK) != 0 && access(to, F_OK) == 0; /* by one that was resumed */
    if (!rc && !is_named && rename(from, to) != 0)
        rc = error_set_errno(err, errno, "could not name \"%s\"", to);
    return rc ? rc : file_sync_folder(folder, err);
}
