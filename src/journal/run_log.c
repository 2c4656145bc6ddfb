#include "journal/run_log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/strv.h"

static const char SUFFIX[] = ".log";

/* Names of files that may lie there and are none of ours are not even looked at. */
enum { NAMES_MAX = 100000, RUN_ID_BYTES_MAX = 64 };

static bool is_run_id(const char *run_id)
{
    size_t length = strlen(run_id);
    return length > 0 && length <= RUN_ID_BYTES_MAX && run_id[0] >= '0' && run_id[0] <= '9' &&
           strspn(run_id, "abcdefghijklmnopqrstuvwxyz0123456789TZ-") == length;
}

static int make_path(const char *state_folder, const char *run_id, char **ret_path)
{
    if (!is_run_id(run_id))
        return ERR_USAGE;
    return asprintf(ret_path, "%s/runs/%s%s", state_folder, run_id, SUFFIX) < 0 ? ERR_MEMORY : 0;
}

/* -- writing --------------------------------------------------------------------------------- */

/* What root makes in the folder of the daemon's user belongs to that user. */
static void give_to_owner(int fd, const char *state_folder)
{
    struct stat status;
    if (geteuid() == 0 && stat(state_folder, &status) == 0)
        (void)!fchown(fd, status.st_uid, status.st_gid);
}

static void make_folder(const char *state_folder)
{
    _cleanup_(freep) char *path = NULL;
    if (asprintf(&path, "%s/runs", state_folder) < 0 || mkdir(path, 0750) != 0)
        return;
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        give_to_owner(fd, state_folder);
}

static int open_file(const char *state_folder, const char *run_id)
{
    _cleanup_(freep) char *path = NULL;
    if (make_path(state_folder, run_id, &path))
        return -1;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (fd < 0 && errno == ENOENT) {
        make_folder(state_folder);
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);
    }
    if (fd >= 0)
        give_to_owner(fd, state_folder);
    return fd;
}

int run_log_open(const char *state_folder, const char *run_id)
{
    run_log_prune(state_folder, instant_now_us());
    return open_file(state_folder, run_id);
}

void run_log_append(const char *state_folder, const char *run_id, const char *line, size_t length)
{
    struct stat status;
    _cleanup_(closep) int fd = open_file(state_folder, run_id);
    if (fd >= 0 && fstat(fd, &status) == 0 &&
        status.st_size + (off_t)length <= RUN_LOG_BYTES_MAX + RUN_LOG_EXTRA_BYTES)
        (void)!write(fd, line, length);
}

int run_log_read(const char *state_folder, const char *run_id, struct buf *text, struct error *err)
{
    _cleanup_(freep) char *path = NULL;
    int rc = make_path(state_folder, run_id, &path);
    if (rc == ERR_USAGE)
        return error_set(err, ERR_USAGE, "\"%s\" is no id of a run", run_id);
    if (rc)
        return error_no_memory(err);
    rc = file_read(path, text, err);
    if (rc == ERR_NOT_FOUND) {
        error_set(err, ERR_NOT_FOUND, "there is no log of run %s in %s/runs", run_id, state_folder);
        error_hint(err, "logs are kept for %d days, of the newest %d runs",
                   (int)(RUN_LOGS_AGE_US / US_PER_DAY), RUN_LOGS_MAX);
    }
    return rc;
}

/* -- what goes ------------------------------------------------------------------------------- */

static bool is_log(const char *name)
{
    size_t length = strlen(name), suffix = strlen(SUFFIX);
    char run_id[RUN_ID_BYTES_MAX + 1];
    if (length <= suffix || length - suffix >= sizeof(run_id) ||
        strcmp(name + length - suffix, SUFFIX) != 0)
        return false;
    snprintf(run_id, sizeof(run_id), "%.*s", (int)(length - suffix), name);
    return is_run_id(run_id);
}

/* Ids begin with the time of their claim, so that the order of names is that of time. */
static void list_logs(DIR *folder, struct strv *names)
{
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder))
        if (is_log(entry->d_name) && strv_add(names, entry->d_name, NULL))
            break;
    strv_sort(names);
}

static bool is_old(DIR *folder, const char *name, int64_t now_us)
{
    struct stat status;
    return fstatat(dirfd(folder), name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           (int64_t)status.st_mtim.tv_sec * US_PER_SECOND < now_us - RUN_LOGS_AGE_US;
}

void run_log_prune(const char *state_folder, int64_t now_us)
{
    _cleanup_(freep) char *path = NULL;
    _cleanup_(strv_clear) struct strv names = STRV_INIT(NAMES_MAX);
    if (asprintf(&path, "%s/runs", state_folder) < 0)
        return;
    _cleanup_(closedirp) DIR *folder = opendir(path);
    if (!folder)
        return;
    list_logs(folder, &names);
    for (size_t i = 0; i < names.count; i++)
        if (names.count - i >= RUN_LOGS_MAX || is_old(folder, names.items[i], now_us))
            unlinkat(dirfd(folder), names.items[i], 0);
}
