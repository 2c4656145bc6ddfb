#include "spool/ahead.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/instant.h"

enum {
    FILE_MODE = 0600,
    WAIT_STEP_US = 1000,
    WAIT_PART = 2000,   /* steps, for an entry that is being fetched */
    WAIT_UNMARKED = 20, /* steps, for one that is whole and gets its mark next */
};

static const char PART[] = ".part";
static const char MARKS[] = "marks", NEW_MARKS[] = "marks.new";

static void join(char path[AHEAD_PATH_MAX + AHEAD_ENTRY_MAX], const char *folder, const char *file)
{
    snprintf(path, AHEAD_PATH_MAX + AHEAD_ENTRY_MAX, "%s/%s", folder, file);
}

/* -- who is where -------------------------------------------------------------------------- */

void ahead_write_at(const char *folder, const struct wal_name *name)
{
    char path[AHEAD_PATH_MAX + AHEAD_ENTRY_MAX], text[WAL_NAME_MAX];
    join(path, folder, "at");
    wal_name_format(name, text);
    _cleanup_(closep) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (fd >= 0) /* names of segments are of one length: no reader sees half of two */
        (void)!pwrite(fd, text, WAL_SEGMENT_NAME, 0);
}

bool ahead_read_at(const char *folder, struct wal_name *ret_name, int64_t *ret_age_us)
{
    char path[AHEAD_PATH_MAX + AHEAD_ENTRY_MAX], text[WAL_SEGMENT_NAME + 1] = "";
    struct stat st;
    join(path, folder, "at");
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || pread(fd, text, WAL_SEGMENT_NAME, 0) != WAL_SEGMENT_NAME ||
        !wal_name_parse(text, ret_name))
        return false;
    *ret_age_us =
        instant_now_us() - (st.st_mtim.tv_sec * US_PER_SECOND + st.st_mtim.tv_nsec / 1000);
    return true;
}

int ahead_lock(const char *folder)
{
    char path[AHEAD_PATH_MAX + AHEAD_ENTRY_MAX];
    join(path, folder, "lock");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Without making a lock where none is. */
static bool has_helper(const char *folder)
{
    char path[AHEAD_PATH_MAX + AHEAD_ENTRY_MAX];
    join(path, folder, "lock");
    _cleanup_(closep) int fd = open(path, O_RDWR | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0;
}

/* -- entries ------------------------------------------------------------------------------- */

/* "NAME-HASH" or "NAME-HASH.part" */
static bool parse_entry(const char *file, struct ahead_entry *ret_entry)
{
    struct ahead_entry entry = {0};
    char name[WAL_SEGMENT_NAME + 1];
    size_t length = strlen(file), whole = WAL_SEGMENT_NAME + 1 + AHEAD_HASH;
    if (length < whole || length >= sizeof(entry.file) || file[WAL_SEGMENT_NAME] != '-')
        return false;
    memcpy(name, file, WAL_SEGMENT_NAME);
    name[WAL_SEGMENT_NAME] = '\0';
    memcpy(entry.hash, file + WAL_SEGMENT_NAME + 1, AHEAD_HASH);
    memcpy(entry.file, file, length + 1);
    entry.is_part = strcmp(file + whole, PART) == 0;
    if ((file[whole] && !entry.is_part) || !wal_name_parse(name, &entry.name))
        return false;
    *ret_entry = entry;
    return true;
}

int ahead_each(const char *folder, ahead_visit visit, void *context)
{
    _cleanup_(closedirp) DIR *dir = opendir(folder);
    int rc = 0;
    for (struct dirent *found = dir ? readdir(dir) : NULL; found && !rc; found = readdir(dir)) {
        struct ahead_entry entry;
        if (parse_entry(found->d_name, &entry))
            rc = visit(&entry, context);
    }
    return rc;
}

struct finding {
    const struct wal_name *name;
    struct ahead_entry entry;
    bool is_found;
};

static int look_for(const struct ahead_entry *entry, void *context)
{
    struct finding *finding = context;
    if (wal_name_compare(&entry->name, finding->name) != 0)
        return 0;
    finding->entry = *entry;
    finding->is_found = true;
    return !entry->is_part;
}

bool ahead_find(const char *folder, const struct wal_name *name, struct ahead_entry *ret_entry)
{
    struct finding finding = {.name = name};
    ahead_each(folder, look_for, &finding);
    if (finding.is_found)
        *ret_entry = finding.entry;
    return finding.is_found;
}

void ahead_remove(const char *folder, const struct ahead_entry *entry)
{
    char path[AHEAD_PATH_MAX + AHEAD_ENTRY_MAX];
    join(path, folder, entry->file);
    (void)unlink(path);
}

static int remove_entry(const struct ahead_entry *entry, void *context)
{
    ahead_remove(context, entry);
    return 0;
}

void ahead_remove_all(const char *folder)
{
    static const char *const OTHERS[] = {"at", MARKS, NEW_MARKS, "lock"};
    char path[AHEAD_PATH_MAX], own[AHEAD_PATH_MAX + AHEAD_ENTRY_MAX];
    snprintf(path, sizeof(path), "%s", folder);
    ahead_each(folder, remove_entry, path);
    for (size_t i = 0; i < ARRAY_SIZE(OTHERS); i++) {
        join(own, folder, OTHERS[i]);
        (void)unlink(own);
    }
    (void)rmdir(folder);
}

/* -- what was proved ----------------------------------------------------------------------- */

int ahead_naming(char *const *policy_paths, size_t count, const char *data_folder,
                 char naming[MARKS_PATH_MAX], struct error *err)
{
    char policy[MARKS_PATH_MAX];
    _cleanup_(freep) char *data = realpath(data_folder, NULL);
    if (!data)
        return error_set_errno(err, errno, "could not look at \"%s\"", data_folder);
    int rc = marks_naming(policy_paths, count, policy, err);
    if (rc)
        return rc;
    int length = snprintf(naming, MARKS_PATH_MAX, "%s > %s", policy, data);
    if (length < MARKS_PATH_MAX && !strchr(naming, '\n'))
        return 0;
    return error_set(err, ERR_LIMIT, "the path of the data directory can't be remembered");
}

/* No wait for the disk, unlike file_replace(): marks that a crash cut are no marks. */
int ahead_mark(const char *folder, const struct marks_origin *origin, const struct mark *marks,
               size_t count, struct error *err)
{
    char path[AHEAD_PATH_MAX + AHEAD_ENTRY_MAX], temporary[sizeof(path)];
    _cleanup_(buf_clear) struct buf text = BUF_INIT(MARKS_BYTES_MAX);
    join(path, folder, MARKS);
    join(temporary, folder, NEW_MARKS);
    int rc = marks_format(origin, marks, count, &text, err);
    if (rc)
        return rc;
    _cleanup_(closep) int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
    if (fd < 0)
        return error_set_errno(err, errno, "could not create \"%s\"", temporary);
    rc = file_write_all(fd, temporary, text.data, text.length, err);
    if (!rc && rename(temporary, path) != 0)
        rc = error_set_errno(err, errno, "could not rename \"%s\"", temporary);
    return rc;
}

enum look { NOT_HERE, NOT_YET, NOT_MARKED, MARKED };

static enum look look(const char *folder, const struct marks_origin *origin,
                      const struct wal_name *name, char path[AHEAD_PATH_MAX + AHEAD_ENTRY_MAX])
{
    struct ahead_entry entry;
    struct mark mark;
    if (!ahead_find(folder, name, &entry))
        return NOT_HERE;
    if (entry.is_part)
        return NOT_YET;
    join(path, folder, entry.file);
    if (marks_file(path, &mark, NULL) || !marks_hold(folder, origin, &mark))
        return NOT_MARKED;
    return MARKED;
}

/* The position is written first: the helper drops what lies behind it, and goes on ahead of it. */
static bool take_from(const char *folder, const struct marks_origin *origin,
                      const struct wal_name *name, const char *destination)
{
    char path[AHEAD_PATH_MAX + AHEAD_ENTRY_MAX];
    int unmarked = 0;
    for (int i = 0; i < WAIT_PART && unmarked < WAIT_UNMARKED; i++) {
        switch (look(folder, origin, name, path)) {
        case NOT_HERE:
            return false;
        case MARKED:
            if (!has_helper(folder))
                return false;
            ahead_write_at(folder, name);
            return rename(path, destination) == 0;
        case NOT_MARKED:
            unmarked++;
            break;
        case NOT_YET:
            break;
        }
        if (!has_helper(folder))
            return false;
        usleep(WAIT_STEP_US);
    }
    return false;
}

bool ahead_take(const char *state, const char *cluster, const struct marks_origin *origin,
                const struct wal_name *name, const char *destination)
{
    char all[MARKS_PATH_MAX + 16], folder[AHEAD_PATH_MAX];
    if (marks_folder(state, cluster, all, NULL))
        return false;
    snprintf(all + strlen(all), sizeof(all) - strlen(all), "/ahead");
    _cleanup_(closedirp) DIR *dir = opendir(all);
    bool taken = false;
    for (struct dirent *found = dir ? readdir(dir) : NULL; found && !taken; found = readdir(dir)) {
        int length = snprintf(folder, sizeof(folder), "%s/%s", all, found->d_name);
        if (found->d_name[0] != '.' && length < (int)sizeof(folder))
            taken = take_from(folder, origin, name, destination);
    }
    return taken;
}
