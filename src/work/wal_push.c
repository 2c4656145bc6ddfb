#include "work/wal_push.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include "repository/wal.h"
#include "spool/marks.h"
#include "spool/server.h"
#include "wal/page.h"
#include "work/crew.h"
#include "work/open_repository.h"
#include "work/work.h"

enum { VERSION_FACTOR = 10000, WATCH_US = 100000, SYSTEM_TEXT = 24 };

static const char READY[] = ".ready";

struct element {
    struct wal_name name;
    char *path;
    struct mark mark;
    bool ended; /* stored, or error is set */
    bool was_there;
    struct error error;
};

struct pushing {
    const struct wal_push *push;
    struct repository *repository;
    char data[SERVER_PATH_MAX];
    char system[SYSTEM_TEXT];
    int64_t segment_size; /* 0: the asked file is no segment */
    struct rate rate;
    struct element *elements; /* the asked file, then those behind it in the archiver's order */
    size_t count;
    pthread_mutex_t mutex; /* of what follows, and of elements[].ended */
    size_t next;
    bool failed; /* nothing behind this is begun: it could not be marked */
    int64_t begin_until_us;
};

static void pushing_clear(struct pushing *pushing)
{
    for (size_t i = 0; i < pushing->count; i++)
        free(pushing->elements[i].path);
    free(pushing->elements);
    repository_free(pushing->repository);
}

/* -- which files --------------------------------------------------------------------------- */

static void tell(const struct wal_push *push, const char *what, const struct error *error)
{
    char text[ERROR_MESSAGE_MAX + 64];
    snprintf(text, sizeof(text), "%s: %s", what, error->message);
    if (push->notice)
        push->notice(text, push->context);
}

static const char *name_in(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int add_element(struct pushing *pushing, const struct wal_name *name, struct error *err)
{
    const char *asked = pushing->push->path;
    char text[WAL_NAME_MAX];
    struct element *element = &pushing->elements[pushing->count];
    *element = (struct element){.name = *name};
    if (asprintf(&element->path, "%.*s%s", (int)(name_in(asked) - asked), asked,
                 wal_name_format(name, text)) < 0)
        return error_no_memory(err);
    pushing->count++;
    return 0;
}

/* Keeps the WAL_PUSH_FILES_MAX - 1 first names, in order. */
static void keep_first(struct wal_name *names, size_t *count, const struct wal_name *name)
{
    size_t at = *count;
    while (at > 0 && wal_name_compare(name, &names[at - 1]) < 0)
        at--;
    if (at == WAL_PUSH_FILES_MAX - 1)
        return;
    if (*count < WAL_PUSH_FILES_MAX - 1)
        ++*count;
    memmove(&names[at + 1], &names[at], (*count - at - 1) * sizeof(*names));
    names[at] = *name;
}

static bool parse_ready(const char *file, struct wal_name *ret_name)
{
    char text[WAL_NAME_MAX];
    size_t length = strlen(file), suffix = strlen(READY);
    if (length <= suffix || length - suffix >= sizeof(text) ||
        strcmp(file + length - suffix, READY) != 0)
        return false;
    memcpy(text, file, length - suffix);
    text[length - suffix] = '\0';
    return wal_name_parse(text, ret_name);
}

/* What else waits. That it can't be told is no failure of the asked file. */
static size_t list_ready(const struct pushing *pushing, const struct wal_name *asked,
                         struct wal_name names[WAL_PUSH_FILES_MAX])
{
    char path[SERVER_PATH_MAX + 32];
    const char *file = pushing->push->path;
    size_t count = 0;
    snprintf(path, sizeof(path), "%.*sarchive_status", (int)(name_in(file) - file), file);
    _cleanup_(closedirp) DIR *dir = opendir(path);
    for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir)) {
        struct wal_name name;
        if (parse_ready(entry->d_name, &name) && wal_name_compare(&name, asked) > 0)
            keep_first(names, &count, &name);
    }
    return count;
}

/* Behind a history nothing is taken along: only a segment tells the size that all must have. */
static int add_following(struct pushing *pushing, const struct wal_name *asked, struct error *err)
{
    _cleanup_(freep) struct wal_name *names = calloc(WAL_PUSH_FILES_MAX, sizeof(*names));
    int rc = 0;
    if (!names)
        return error_no_memory(err);
    bool has_any = pushing->push->state && pushing->segment_size;
    size_t count = has_any ? list_ready(pushing, asked, names) : 0;
    for (size_t i = 0; i < count && !rc; i++)
        rc = add_element(pushing, &names[i], err);
    return rc;
}

/* -- what a file is ------------------------------------------------------------------------ */

static int open_file(const struct element *element, int *ret_fd, struct wal_page *ret_page,
                     struct error *err)
{
    unsigned char header[WAL_PAGE_HEADER];
    _cleanup_(closep) int fd = open(element->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, errno, "could not open \"%s\"", element->path);
    if (element->name.kind == WAL_SEGMENT || element->name.kind == WAL_PARTIAL) {
        ssize_t n = pread(fd, header, sizeof(header), 0);
        if (n < 0)
            return error_set_errno(err, errno, "could not read \"%s\"", element->path);
        int rc = wal_page_read(header, (size_t)n, ret_page, err);
        if (!rc)
            rc = wal_page_check(ret_page, &element->name, err);
        if (rc)
            return error_prefix(err, "\"%s\"", element->path), rc;
    }
    *ret_fd = fd;
    fd = -1;
    return 0;
}

static int refuse_foreign_file(const struct pushing *pushing, const struct element *element,
                               const char *system, struct error *err)
{
    error_set(err, ERR_FAILED,
              "\"%s\" was written by the server with system identifier %s, but the data directory "
              "is that of %s",
              element->path, system, pushing->system);
    return error_hint(err,
                      "it was copied there from another server; remove it and its .ready file");
}

/* A segment is whole, and of this server. */
static int check_segment(const struct pushing *pushing, const struct element *element,
                         const struct wal_page *page, struct error *err)
{
    char system[SYSTEM_TEXT];
    if (element->name.kind != WAL_SEGMENT && element->name.kind != WAL_PARTIAL)
        return 0;
    snprintf(system, sizeof(system), "%" PRIu64, page->system_identifier);
    if (strcmp(system, pushing->system) != 0)
        return refuse_foreign_file(pushing, element, system, err);
    if (page->segment_size != pushing->segment_size)
        return error_set(err, ERR_CORRUPT,
                         "\"%s\" is of a server with segments of %u bytes, other files of %lld",
                         element->path, page->segment_size, (long long)pushing->segment_size);
    if (element->mark.size == page->segment_size)
        return 0;
    error_set(err, ERR_CORRUPT, "\"%s\" has %lld bytes, a segment has %u", element->path,
              (long long)element->mark.size, page->segment_size);
    return error_hint(err, "a file that was cut is not stored; was the disk full?");
}

/* -- one file ------------------------------------------------------------------------------ */

static int push_element(struct pushing *pushing, struct element *element, void *memory,
                        struct error *err)
{
    const struct policy *policy = pushing->push->policy;
    _cleanup_(closep) int fd = -1;
    struct wal_page page;
    struct wal_object object;
    struct mark after;
    int rc = marks_file(element->path, &element->mark, err);
    if (!rc)
        rc = open_file(element, &fd, &page, err);
    if (!rc)
        rc = check_segment(pushing, element, &page, err);
    if (rc)
        return rc;
    struct wal_put put = {.system = pushing->system,
                          .name = element->name,
                          .fd = fd,
                          .size = element->mark.size,
                          .path = element->path,
                          .memory = memory,
                          .memory_size = memory ? WAL_PUSH_MEMORY_MAX : 0,
                          .options = {.level = policy->compression_level, .rate = &pushing->rate}};
    rc = wal_object_put(pushing->repository, &put, &object, &element->was_there, err);
    if (!rc)
        rc = marks_file(element->path, &after, err);
    if (rc)
        return rc;
    if (!marks_same_file(&after, &element->mark))
        return error_set(err, ERR_CORRUPT, "\"%s\" changed while it was stored", element->path);
    memcpy(element->mark.hash, object.hash, sizeof(object.hash));
    return 0;
}

static struct element *take_element(struct pushing *pushing)
{
    struct element *element = NULL;
    pthread_mutex_lock(&pushing->mutex);
    bool may_begin = pushing->next == 0 || instant_monotonic_us() < pushing->begin_until_us;
    if (pushing->next < pushing->count && !pushing->failed && may_begin && !work_interrupted(NULL))
        element = &pushing->elements[pushing->next++];
    pthread_mutex_unlock(&pushing->mutex);
    return element;
}

static int push_elements(void *argument, struct error *err)
{
    struct pushing *pushing = argument;
    _cleanup_(freep) void *memory = NULL;
    if (pushing->segment_size <= WAL_PUSH_MEMORY_MAX)
        memory = malloc(WAL_PUSH_MEMORY_MAX); /* what is not touched costs nothing */
    (void)err;
    for (struct element *element; (element = take_element(pushing));) {
        struct error error = ERROR_NONE;
        int rc = push_element(pushing, element, memory, &error);
        pthread_mutex_lock(&pushing->mutex);
        element->error = error;
        element->ended = true;
        if (rc)
            pushing->failed = true;
        pthread_mutex_unlock(&pushing->mutex);
    }
    return 0;
}

/* -- the whole ----------------------------------------------------------------------------- */

static bool asked_ended(struct pushing *pushing)
{
    pthread_mutex_lock(&pushing->mutex);
    bool ended = pushing->elements[0].ended;
    pthread_mutex_unlock(&pushing->mutex);
    return ended;
}

/* Gives up what lasts too long: the asked file by its timeout, the others soon after it. */
static int watch(struct pushing *pushing, struct crew *crew, struct error *err)
{
    int64_t begun_us = instant_monotonic_us(), timeout_us = pushing->push->timeout_us;
    struct error reason = ERROR_NONE;
    while (!crew_ended(crew, WATCH_US)) {
        if (reason.code)
            continue;
        if (!work_interrupted(&reason) && instant_monotonic_us() - begun_us > timeout_us) {
            error_set(&reason, ERR_TIMEOUT, "\"%s\" was not stored within %lld seconds",
                      pushing->push->path, (long long)(timeout_us / US_PER_SECOND));
            error_hint(&reason, "the server will ask again; see whether the repository answers");
        }
        if (reason.code)
            store_stop(pushing->repository->store);
    }
    int rc = crew_join(crew, err);
    if (!rc && reason.code && !asked_ended(pushing)) {
        *err = reason;
        rc = reason.code;
    }
    return rc;
}

static int run_crew(struct pushing *pushing, struct error *err)
{
    _cleanup_(crew_freep) struct crew *crew = NULL;
    size_t threads = pushing->count < WAL_PUSH_THREADS ? pushing->count : WAL_PUSH_THREADS;
    pushing->begin_until_us = instant_monotonic_us() + WAL_PUSH_AHEAD_US;
    int rc = crew_new(&crew, err);
    for (size_t i = 0; i < threads && !rc; i++)
        rc = crew_start(crew, push_elements, pushing, err);
    return rc ? rc : watch(pushing, crew, err);
}

static size_t count_prefix(const struct pushing *pushing)
{
    size_t count = 0;
    while (count < pushing->count && pushing->elements[count].ended &&
           !pushing->elements[count].error.code)
        count++;
    return count;
}

static void write_marks(const struct pushing *pushing, size_t count)
{
    const struct wal_push *push = pushing->push;
    struct error error = ERROR_NONE;
    char folder[MARKS_PATH_MAX];
    _cleanup_(freep) struct mark *marks = calloc(count, sizeof(*marks));
    struct marks_origin origin = {pushing->system, push->naming, push->policy->file};
    if (!marks || count < 2) /* the asked file alone needs none: the server is told */
        return;
    for (size_t i = 0; i < count; i++)
        marks[i] = pushing->elements[i].mark;
    int rc = marks_folder(push->state, push->policy->cluster, folder, &error);
    if (!rc)
        rc = marks_write(folder, &origin, marks, count, &error);
    if (rc)
        tell(push, "what was stored ahead is not remembered", &error);
}

static int admit(struct pushing *pushing, int major, struct error *err)
{
    char version[16];
    struct error reason = ERROR_NONE;
    int rc = repository_check_cluster(pushing->repository, pushing->system, &reason);
    if (rc == ERR_NOT_FOUND) {
        snprintf(version, sizeof(version), "%d", major);
        struct repository_server server = {pushing->system, version, major * VERSION_FACTOR};
        return repository_admit_cluster(pushing->repository, &server, instant_now_us(), err);
    }
    if (rc && err)
        *err = reason;
    return rc;
}

/* Which server the file is of: by the data directory, or by the segment itself where there is none
 * (a pg_wal that was saved from a lost server). */
static int identify(struct pushing *pushing, struct element *asked, int *ret_major,
                    struct error *err)
{
    struct wal_page page = {0};
    int fd = -1;
    int rc = open_file(asked, &fd, &page, err);
    if (rc)
        return rc;
    close(fd);
    pushing->segment_size = page.segment_size;
    *ret_major = page.server_major ? page.server_major : server_read_major(pushing->data);
    struct error reason = ERROR_NONE;
    rc = server_read_system(pushing->data, pushing->system, &reason);
    if (rc == ERR_NOT_FOUND && page.server_major) {
        snprintf(pushing->system, sizeof(pushing->system), "%" PRIu64, page.system_identifier);
        return 0;
    }
    if (rc && err) {
        *err = reason;
        error_hint(err, "give the path as %%p does: in pg_wal of the server's data directory");
    }
    return rc;
}

static bool is_marked(const struct pushing *pushing)
{
    const struct wal_push *push = pushing->push;
    struct marks_origin origin = {.system = pushing->system, .naming = push->naming};
    char folder[MARKS_PATH_MAX];
    struct mark mark;
    return push->state && !marks_folder(push->state, push->policy->cluster, folder, NULL) &&
           !marks_file(push->path, &mark, NULL) && marks_hold(folder, &origin, &mark);
}

/* The job whose keep: says for how long WAL may be locked. */
static const struct policy_job *find_job(const struct policy *policy)
{
    for (size_t i = 0; i < policy->job_count; i++)
        if (policy->jobs[i].type == JOB_WAL)
            return &policy->jobs[i];
    return NULL;
}

static int open_archive(struct pushing *pushing, int major, struct error *err)
{
    const struct policy *policy = pushing->push->policy;
    int rc = work_open_repository(policy, find_job(policy), &pushing->repository, err);
    if (!rc)
        rc = admit(pushing, major, err);
    if (!rc && pushing->segment_size)
        rc = wal_info_agree(pushing->repository, pushing->system, pushing->segment_size, err);
    return rc;
}

static int parse_path(const struct wal_push *push, struct wal_name *ret_name, struct error *err)
{
    if (wal_name_parse(name_in(push->path), ret_name))
        return 0;
    error_set(err, ERR_USAGE, "\"%s\" is no WAL file", push->path);
    return error_hint(err, "archive_command = 'pgcairn-wal push %s %%p'", push->policy->cluster);
}

int wal_push(const struct wal_push *push, struct wal_push_report *ret_report, struct error *err)
{
    _cleanup_(pushing_clear) struct pushing pushing = {.push = push,
                                                       .mutex = PTHREAD_MUTEX_INITIALIZER,
                                                       .rate = RATE_INIT(push->policy->rate_limit)};
    struct wal_name asked;
    int major = 0;
    *ret_report = (struct wal_push_report){0};
    int rc = parse_path(push, &asked, err);
    if (!rc)
        rc = server_data_folder(push->path, pushing.data, err);
    pushing.elements = calloc(WAL_PUSH_FILES_MAX, sizeof(*pushing.elements));
    if (!rc)
        rc = pushing.elements ? add_element(&pushing, &asked, err) : error_no_memory(err);
    if (!rc)
        rc = identify(&pushing, &pushing.elements[0], &major, err);
    if (rc)
        return rc;
    ret_report->was_marked = is_marked(&pushing);
    if (ret_report->was_marked)
        return 0;
    rc = open_archive(&pushing, major, err);
    if (!rc)
        rc = add_following(&pushing, &asked, err);
    if (!rc)
        rc = run_crew(&pushing, err);
    if (rc)
        return rc;
    size_t done = count_prefix(&pushing);
    if (push->state && done > 0)
        write_marks(&pushing, done);
    ret_report->was_there = pushing.elements[0].was_there;
    ret_report->ahead = done > 0 ? done - 1 : 0;
    if (done == 0 && err)
        *err = pushing.elements[0].error;
    return pushing.elements[0].error.code;
}
