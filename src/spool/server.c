#include "spool/server.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "base/units.h"

enum { MAJOR_MAX = 1000 };

static size_t parent_length(const char *path, size_t length)
{
    while (length > 0 && path[length - 1] != '/')
        length--;
    while (length > 1 && path[length - 1] == '/')
        length--;
    return length;
}

int server_data_folder(const char *wal_path, char folder[SERVER_PATH_MAX], struct error *err)
{
    size_t wal = parent_length(wal_path, strlen(wal_path));
    size_t data = wal == 0 ? 0 : parent_length(wal_path, wal);
    if (data >= SERVER_PATH_MAX)
        return error_set(err, ERR_USAGE, "the path \"%.100s...\" is too long", wal_path);
    if (wal == 0) /* a bare name: we stand in pg_wal */
        snprintf(folder, SERVER_PATH_MAX, "..");
    else if (data == 0)
        snprintf(folder, SERVER_PATH_MAX, ".");
    else
        snprintf(folder, SERVER_PATH_MAX, "%.*s", (int)data, wal_path);
    return 0;
}

/* At most `size` bytes of a small file; -1 with errno. */
static ssize_t read_start(const char *folder, const char *name, void *data, size_t size)
{
    char path[SERVER_PATH_MAX + 32];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -1 : read(fd, data, size);
}

int server_read_system(const char *data_folder, char system[SERVER_SYSTEM_SIZE], struct error *err)
{
    uint64_t identifier;
    ssize_t n = read_start(data_folder, "global/pg_control", &identifier, sizeof(identifier));
    if (n < 0)
        return error_set_errno(err, errno, "could not read \"%s/global/pg_control\"", data_folder);
    if (n != sizeof(identifier))
        return error_set(err, ERR_CORRUPT, "\"%s/global/pg_control\" is too short", data_folder);
    snprintf(system, SERVER_SYSTEM_SIZE, "%" PRIu64, identifier);
    return 0;
}

int server_read_major(const char *data_folder)
{
    char text[16];
    int64_t major = 0;
    ssize_t n = read_start(data_folder, "PG_VERSION", text, sizeof(text) - 1);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return number_parse(text, "PG_VERSION", 1, MAJOR_MAX, &major, NULL) ? 0 : (int)major;
}
