/* Where a drill happens: a folder of its own under scratch:, with a note whose it is. Folders of
 * drills that have died are removed; what has no such note is not ours and stays. */
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "base/state.h"
#include "base/units.h"
#include "repository/ids.h"
#include "work/drill.h"

#define END_US (10 * US_PER_SECOND) /* for a server that a dead drill has left */

enum { PATH_LIMIT = 4096, OWNER_LIMIT = 64 << 10, OPEN_FOLDERS = 32, STEP_US = 100000 };

static const char OWNER[] = "drill.json";

static int find_base(const struct policy_job *job, char base[PATH_LIMIT], struct error *err)
{
    _cleanup_(freep) char *state = NULL;
    if (job->scratch) {
        snprintf(base, PATH_LIMIT, "%s", job->scratch);
        return 0;
    }
    int rc = state_folder(&state, err);
    if (!rc)
        snprintf(base, PATH_LIMIT, "%s/drill", state);
    return rc;
}

/* -- removing --------------------------------------------------------------------------------- */

/* The note goes last: without it, what an end halfway leaves would stay for ever. */
static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    char note[PATH_LIMIT + 512];
    if (walk->level == 1 && strcmp(path + walk->base, OWNER) == 0)
        return 0;
    if (walk->level == 0 && kind == FTW_DP) {
        snprintf(note, sizeof(note), "%s/%s", path, OWNER);
        if (unlink(note) != 0 && errno != ENOENT)
            return -1;
    }
    return kind == FTW_DP || kind == FTW_DNR ? rmdir(path) : unlink(path);
}

/* Links are removed, not followed; other file systems are not entered. */
static int remove_tree(const char *folder, struct error *err)
{
    if (nftw(folder, remove_entry, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0 ||
        errno == ENOENT)
        return 0;
    return error_set_errno(err, errno, "could not remove \"%s\"", folder);
}

void drill_folder_remove(struct drill *drill)
{
    struct error error = ERROR_NONE;
    if (drill->folder && remove_tree(drill->folder, &error))
        work_notice(drill->work, "warning: %s: %s", error.message,
                    "it stays until the next drill removes it");
    free(drill->folder);
    drill->folder = NULL;
}

/* -- what dead drills have left --------------------------------------------------------------- */

/* Where others may write too, a folder of theirs is none of ours, whatever is in it. */
static bool is_own(const char *folder)
{
    struct stat status;
    return lstat(folder, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid() &&
           (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

static bool is_dead(const char *folder)
{
    char path[PATH_LIMIT + 512];
    _cleanup_(buf_clear) struct buf text = BUF_INIT(OWNER_LIMIT);
    _cleanup_(json_release) json_t *owner = NULL;
    snprintf(path, sizeof(path), "%s/%s", folder, OWNER);
    if (file_read(path, &text, NULL) ||
        json_parse_object(buf_text(&text), text.length, path, &owner, NULL))
        return false;
    struct process_identity identity = {.pid = (pid_t)json_number(owner, "pid"),
                                        .start_ticks = json_number(owner, "start")};
    snprintf(identity.place, sizeof(identity.place), "%s", json_text(owner, "place"));
    return identity.pid > 0 && process_gone(&identity);
}

/* The first line of postmaster.pid is a process; it is that server if it works in that folder. */
static pid_t find_server(const char *folder)
{
    char path[PATH_LIMIT + 32];
    struct stat data, cwd;
    _cleanup_(buf_clear) struct buf text = BUF_INIT(OWNER_LIMIT);
    snprintf(path, sizeof(path), "%s/data", folder);
    if (stat(path, &data) != 0)
        return 0;
    snprintf(path, sizeof(path), "%s/data/postmaster.pid", folder);
    if (file_read(path, &text, NULL))
        return 0;
    const char *first = buf_text(&text);
    int64_t number = 0;
    bool is_number = number_take(&first, &number);
    snprintf(path, sizeof(path), "/proc/%lld/cwd", (long long)number);
    bool is_it = is_number && number > 1 && stat(path, &cwd) == 0 && cwd.st_dev == data.st_dev &&
                 cwd.st_ino == data.st_ino;
    return is_it ? (pid_t)number : 0;
}

static bool end_server(const char *folder)
{
    int64_t until_us = instant_monotonic_us() + END_US;
    pid_t pid = find_server(folder);
    if (pid)
        kill(pid, SIGQUIT);
    while (find_server(folder) && instant_monotonic_us() < until_us)
        usleep(STEP_US);
    return find_server(folder) == 0;
}

static void sweep(const struct drill *drill, const char *base)
{
    DIR *entries = opendir(base);
    const struct dirent *entry;
    while (entries && (entry = readdir(entries))) {
        char folder[PATH_LIMIT + 256];
        struct error error = ERROR_NONE;
        int64_t started_us;
        if (!id_parse_time(entry->d_name + (entry->d_name[0] == '.'), &started_us))
            continue;
        snprintf(folder, sizeof(folder), "%s/%s", base, entry->d_name);
        if (!is_own(folder) || !is_dead(folder))
            continue;
        if (!end_server(folder))
            work_notice(drill->work,
                        "warning: the server that a dead drill left in \"%s\" does not "
                        "end",
                        folder);
        else if (remove_tree(folder, &error))
            work_notice(drill->work, "warning: %s", error.message);
        else
            work_notice(drill->work, "removed what the interrupted drill %s had left",
                        entry->d_name);
    }
    if (entries)
        closedir(entries);
}

/* -- making ----------------------------------------------------------------------------------- */

static int write_owner(const char *folder, struct error *err)
{
    struct process_identity self;
    char path[PATH_LIMIT + 512];
    _cleanup_(freep) char *text = NULL;
    process_self(&self);
    _cleanup_(json_release) json_t *owner =
        json_pack("{s:I, s:I, s:s}", "pid", (json_int_t)self.pid, "start",
                  (json_int_t)self.start_ticks, "place", self.place);
    if (!owner)
        return error_no_memory(err);
    snprintf(path, sizeof(path), "%s/%s", folder, OWNER);
    int rc = json_to_text(owner, &text, err);
    return rc ? rc : file_replace(path, text, strlen(text), 0600, err);
}

/* It gets its name only with the note in it, so a folder of ours without one is not left behind. */
int drill_folder_make(struct drill *drill, struct error *err)
{
    char base[PATH_LIMIT], hidden[PATH_LIMIT + 64];
    int rc = find_base(drill->work->job, base, err);
    if (!rc)
        rc = file_make_folders(base, 0700, err);
    if (rc)
        return rc;
    sweep(drill, base);
    snprintf(hidden, sizeof(hidden), "%s/.%s", base, drill->work->run_id);
    if (asprintf(&drill->folder, "%s/%s", base, drill->work->run_id) < 0) {
        drill->folder = NULL;
        return error_no_memory(err);
    }
    rc = pg_scratch_check_folder(drill->folder, err); /* now, not when all is restored */
    if (rc)
        return rc;
    if (mkdir(hidden, 0700) != 0)
        return error_set_errno(err, errno, "could not make \"%s\"", hidden);
    rc = write_owner(hidden, err);
    if (!rc && rename(hidden, drill->folder) != 0)
        rc = error_set_errno(err, errno, "could not make \"%s\"", drill->folder);
    if (rc)
        (void)remove_tree(hidden, NULL);
    return rc;
}

int drill_folder_check_space(const struct drill *drill, int64_t bytes, struct error *err)
{
    struct statvfs disk;
    char needed[UNITS_TEXT_MAX], there[UNITS_TEXT_MAX];
    if (statvfs(drill->folder, &disk) != 0)
        return error_set_errno(err, errno, "could not tell the free space of \"%s\"",
                               drill->folder);
    int64_t available = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
    if (available >= bytes)
        return 0;
    error_set(err, ERR_NO_SPACE, "the restore needs about %s, and \"%s\" has %s",
              size_format(bytes, needed), drill->folder, size_format(available, there));
    return error_hint(err, "free space there, or name another disk with scratch: in the policy");
}
