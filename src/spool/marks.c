#include "spool/marks.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <errno.h>

#include "base/file.h"

enum { LINE_MAX_BYTES = MARKS_PATH_MAX + 256, FILE_MODE = 0600, FOLDER_MODE = 0700 };

static const char TITLE[] = "pgcairn WAL marks 1";
static const char END[] = "end";

int marks_folder(const char *state, const char *cluster, char folder[MARKS_PATH_MAX],
                 struct error *err)
{
    if (cluster[0] == '.' || strchr(cluster, '/'))
        return error_set(err, ERR_USAGE, "\"%.100s\" can't be the name of a cluster", cluster);
    int length = snprintf(folder, MARKS_PATH_MAX, "%s/wal/%s", state, cluster);
    return length < MARKS_PATH_MAX
               ? 0
               : error_set(err, ERR_LIMIT, "the path of the state folder is too long");
}

int marks_naming(char *const *paths, size_t count, char naming[MARKS_PATH_MAX], struct error *err)
{
    const char *variable = getenv("PGCAIRN_POLICY");
    size_t used = 0;
    naming[0] = '\0';
    for (size_t i = 0; i < count && used < MARKS_PATH_MAX; i++)
        used += (size_t)snprintf(naming + used, MARKS_PATH_MAX - used, "-c %s ", paths[i]);
    if (count == 0 && variable)
        used = (size_t)snprintf(naming, MARKS_PATH_MAX, "$ %s", variable);
    if (used < MARKS_PATH_MAX && !strchr(naming, '\n'))
        return 0;
    return error_set(err, ERR_LIMIT, "the paths of the policy can't be remembered");
}

static int64_t nanoseconds(const struct timespec *time)
{
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

int marks_file(const char *path, struct mark *ret_mark, struct error *err)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    struct stat st;
    if (strlen(name) >= WAL_NAME_MAX)
        return error_set(err, ERR_USAGE, "\"%.100s\" is no WAL file", name);
    if (stat(path, &st) != 0)
        return error_set_errno(err, errno, "could not look at \"%s\"", path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERR_USAGE, "\"%s\" is no regular file", path);
    *ret_mark = (struct mark){.device = (uint64_t)st.st_dev,
                              .inode = (uint64_t)st.st_ino,
                              .size = st.st_size,
                              .modified_ns = nanoseconds(&st.st_mtim),
                              .changed_ns = nanoseconds(&st.st_ctim)};
    memcpy(ret_mark->name, name, strlen(name) + 1);
    return 0;
}

bool marks_same_file(const struct mark *a, const struct mark *b)
{
    return strcmp(a->name, b->name) == 0 && a->device == b->device && a->inode == b->inode &&
           a->size == b->size && a->modified_ns == b->modified_ns && a->changed_ns == b->changed_ns;
}

/* "policy DEVICE INODE SIZE MODIFIED CHANGED PATH" as that file is now; "" when it is gone. */
static void policy_line(const char *path, char line[LINE_MAX_BYTES])
{
    struct stat st;
    line[0] = '\0';
    if (strchr(path, '\n') || stat(path, &st) != 0)
        return;
    int length = snprintf(line, LINE_MAX_BYTES,
                          "policy %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRId64 " %" PRId64 " %s",
                          (uint64_t)st.st_dev, (uint64_t)st.st_ino, (int64_t)st.st_size,
                          nanoseconds(&st.st_mtim), nanoseconds(&st.st_ctim), path);
    if (length >= LINE_MAX_BYTES)
        line[0] = '\0';
}

static void mark_line(const struct mark *mark, char line[LINE_MAX_BYTES])
{
    snprintf(line, LINE_MAX_BYTES,
             "%s %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRId64 " %" PRId64 " ", mark->name,
             mark->device, mark->inode, mark->size, mark->modified_ns, mark->changed_ns);
}

/* Takes the line at *cursor out of the text and moves behind it; NULL at the end. */
static char *next_line(char **cursor)
{
    char *line = *cursor, *end = strchr(line, '\n');
    if (!end)
        return NULL;
    *end = '\0';
    *cursor = end + 1;
    return line;
}

static bool is_origin(char **cursor, const struct marks_origin *origin)
{
    char expected[LINE_MAX_BYTES];
    const char *line = next_line(cursor);
    if (!line || strcmp(line, TITLE) != 0)
        return false;
    line = next_line(cursor);
    snprintf(expected, sizeof(expected), "system %s", origin->system);
    if (!line || strcmp(line, expected) != 0)
        return false;
    line = next_line(cursor);
    snprintf(expected, sizeof(expected), "naming %s", origin->naming);
    if (!line || strcmp(line, expected) != 0)
        return false;
    line = next_line(cursor);
    const char *path = line ? strchr(line, '/') : NULL;
    if (!path)
        return false;
    policy_line(path, expected);
    return strcmp(line, expected) == 0;
}

bool marks_hold(const char *folder, const struct marks_origin *origin, const struct mark *mark)
{
    char path[MARKS_PATH_MAX + 16], expected[LINE_MAX_BYTES];
    _cleanup_(buf_clear) struct buf text = BUF_INIT(MARKS_BYTES_MAX);
    bool found = false;
    snprintf(path, sizeof(path), "%s/marks", folder);
    if (file_read(path, &text, NULL) || text.length == 0)
        return false;
    char *cursor = text.data;
    if (!is_origin(&cursor, origin))
        return false;
    mark_line(mark, expected);
    for (const char *line = next_line(&cursor); line; line = next_line(&cursor)) {
        if (strcmp(line, END) == 0)
            return found;
        found = found || strncmp(line, expected, strlen(expected)) == 0;
    }
    return false; /* cut short */
}

int marks_format(const struct marks_origin *origin, const struct mark *marks, size_t count,
                 struct buf *buf, struct error *err)
{
    char line[LINE_MAX_BYTES];
    _cleanup_(freep) char *policy = realpath(origin->policy, NULL);
    if (!policy)
        return error_set_errno(err, errno, "could not look at \"%s\"", origin->policy);
    policy_line(policy, line);
    buf_addf(buf, "%s\nsystem %s\nnaming %s\n%s\n", TITLE, origin->system, origin->naming, line);
    for (size_t i = 0; i < count; i++) {
        mark_line(&marks[i], line);
        buf_addf(buf, "%s%s\n", line, marks[i].hash);
    }
    buf_addf(buf, "%s\n", END);
    return buf_failed(buf, "the marks", err);
}

int marks_write(const char *folder, const struct marks_origin *origin, const struct mark *marks,
                size_t count, struct error *err)
{
    char path[MARKS_PATH_MAX + 16];
    _cleanup_(buf_clear) struct buf text = BUF_INIT(MARKS_BYTES_MAX);
    int rc = marks_format(origin, marks, count, &text, err);
    if (!rc)
        rc = file_make_folders(folder, FOLDER_MODE, err);
    snprintf(path, sizeof(path), "%s/marks", folder);
    return rc ? rc : file_replace(path, buf_text(&text), text.length, FILE_MODE, err);
}
