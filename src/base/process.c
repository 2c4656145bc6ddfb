#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"

enum { STAT_BYTES = 1024, STAT_STATE_FIELD = 3, STAT_START_FIELD = 22 };

static bool read_small(const char *path, char *text, size_t size)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* State letter and start of a process. The second field is the program's name in parentheses and
 * may hold anything, so fields are counted from the last parenthesis. */
static bool read_stat(pid_t pid, char *ret_state, int64_t *ret_start)
{
    char path[64], text[STAT_BYTES];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (!read_small(path, text, sizeof(text)))
        return false;
    char *field = strrchr(text, ')');
    if (!field || field[1] != ' ')
        return false;
    field += 2;
    *ret_state = *field;
    for (int i = STAT_STATE_FIELD; i < STAT_START_FIELD; i++) {
        field = strchr(field, ' ');
        if (!field)
            return false;
        field++;
    }
    field[strcspn(field, " ")] = '\0';
    return number_parse(field, "start time", 0, INT64_MAX, ret_start, NULL) == 0;
}

static void read_place(char place[PROCESS_PLACE_MAX])
{
    char boot[40] = "", names[40] = "";
    read_small("/proc/sys/kernel/random/boot_id", boot, sizeof(boot));
    boot[strcspn(boot, "\n")] = '\0';
    ssize_t n = readlink("/proc/self/ns/pid", names, sizeof(names) - 1);
    names[n > 0 ? n : 0] = '\0';
    snprintf(place, PROCESS_PLACE_MAX, "%s/%s", boot, names);
}

void process_self(struct process_identity *ret_identity)
{
    struct process_identity self = {.pid = getpid()};
    char state;
    if (!read_stat(self.pid, &state, &self.start_ticks))
        self.start_ticks = 0;
    read_place(self.place);
    *ret_identity = self;
}

bool process_alive(const struct process_identity *identity)
{
    char place[PROCESS_PLACE_MAX], state = 0;
    int64_t start = 0;
    read_place(place);
    if (identity->pid <= 0 || strcmp(place, identity->place) != 0)
        return false;
    if (!read_stat(identity->pid, &state, &start))
        return identity->start_ticks == 0 && (kill(identity->pid, 0) == 0 || errno == EPERM);
    return state != 'Z' && state != 'X' &&
           (identity->start_ticks == 0 || start == identity->start_ticks);
}

bool process_gone(const struct process_identity *identity)
{
    char place[PROCESS_PLACE_MAX];
    read_place(place);
    if (identity->pid <= 0 || !identity->place[0])
        return false;
    if (strcmp(place, identity->place) == 0)
        return !process_alive(identity) && !(kill(identity->pid, 0) != 0 && errno == EPERM);
    size_t boot = strcspn(place, "/") + 1;
    return boot > 1 && strncmp(place, identity->place, boot) != 0;
}
