#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"

enum { STAT_BYTES = 1024, STAT_STATE_FIELD = 3, STAT_PARENT_FIELD = 4, STAT_START_FIELD = 22 };

static bool read_small(const char *path, char *text, size_t size)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* The second field is the program's name in parentheses and may hold anything, so fields are
 * counted from the last parenthesis. */
bool process_read_stat(pid_t pid, struct process_stat *ret_stat)
{
    char path[64], text[STAT_BYTES];
    int64_t parent = 0, start = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (!read_small(path, text, sizeof(text)))
        return false;
    char *field = strrchr(text, ')');
    if (!field || field[1] != ' ')
        return false;
    char *save = NULL, *word = strtok_r(field + 1, " ", &save), state = word ? *word : '\0';
    for (int i = STAT_STATE_FIELD; word && i < STAT_START_FIELD; i++) {
        word = strtok_r(NULL, " ", &save);
        if (word && i + 1 == STAT_PARENT_FIELD &&
            number_parse(word, "parent", 0, INT32_MAX, &parent, NULL))
            return false;
    }
    if (!word || number_parse(word, "start time", 0, INT64_MAX, &start, NULL))
        return false;
    *ret_stat = (struct process_stat){
        .pid = pid, .parent = (pid_t)parent, .start_ticks = start, .state = state};
    return true;
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
    struct process_stat stat;
    if (process_read_stat(self.pid, &stat))
        self.start_ticks = stat.start_ticks;
    read_place(self.place);
    *ret_identity = self;
}

bool process_alive(const struct process_identity *identity)
{
    char place[PROCESS_PLACE_MAX];
    struct process_stat stat;
    read_place(place);
    if (identity->pid <= 0 || strcmp(place, identity->place) != 0)
        return false;
    if (!process_read_stat(identity->pid, &stat))
        return identity->start_ticks == 0 && (kill(identity->pid, 0) == 0 || errno == EPERM);
    return stat.state != 'Z' && stat.state != 'X' &&
           (identity->start_ticks == 0 || stat.start_ticks == identity->start_ticks);
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
