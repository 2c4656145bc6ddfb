#include "work/wal_upload.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/retry.h"
#include "work/crew.h"

enum { ENTRIES_FIRST = 64 };

#define TRY_FOR_US (365 * US_PER_DAY)
#define NOTICE_US US_PER_MINUTE

struct entry {
    struct wal_assembled file;
    bool is_taken; /* by a thread */
    bool is_stored;
};

struct wal_uploads {
    struct wal_uploads_spec spec;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct entry *entries; /* in the order in which they came; the first is not stored */
    size_t count, allocated;
    size_t waiting; /* not stored */
    uint64_t stored;
    bool is_over, is_failing;
    int64_t noticed_us;
    struct error error; /* what ended it */
    struct crew *crew;
};

/* -- the list; with the mutex held --------------------------------------------------------- */

static struct entry *find_free(struct wal_uploads *uploads)
{
    for (size_t i = 0; i < uploads->count; i++)
        if (!uploads->entries[i].is_taken && !uploads->entries[i].is_stored)
            return &uploads->entries[i];
    return NULL;
}

static struct entry *find_name(struct wal_uploads *uploads, const struct wal_name *name)
{
    for (size_t i = 0; i < uploads->count; i++)
        if (!uploads->entries[i].is_stored &&
            wal_name_compare(&uploads->entries[i].file.name, name) == 0)
            return &uploads->entries[i];
    return NULL;
}

static void forget_stored(struct wal_uploads *uploads)
{
    size_t stored = 0;
    while (stored < uploads->count && uploads->entries[stored].is_stored)
        stored++;
    uploads->count -= stored;
    memmove(uploads->entries, uploads->entries + stored,
            uploads->count * sizeof(*uploads->entries));
}

static int grow(struct wal_uploads *uploads, struct error *err)
{
    if (uploads->count < uploads->allocated)
        return 0;
    if (uploads->allocated >= WAL_UPLOADS_MAX)
        return error_set(err, ERR_LIMIT, "%d received files wait to be stored", WAL_UPLOADS_MAX);
    size_t more = uploads->allocated ? 2 * uploads->allocated : ENTRIES_FIRST;
    struct entry *entries = realloc(uploads->entries, more * sizeof(*entries));
    if (!entries)
        return error_no_memory(err);
    uploads->entries = entries;
    uploads->allocated = more;
    return 0;
}

/* -- one file ------------------------------------------------------------------------------ */

static void tell(struct wal_uploads *uploads, const char *text)
{
    if (uploads->spec.notice)
        uploads->spec.notice(text, uploads->spec.context);
}

static int store_file(struct wal_uploads *uploads, const struct wal_assembled *file,
                      struct error *err)
{
    char path[WAL_ASSEMBLY_PATH_MAX];
    struct wal_object object;
    struct stat st;
    bool was_there;
    wal_assembly_path(uploads->spec.folder, &file->name, path);
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) /* it came twice, and was stored the first time */
        return wal_object_find(uploads->spec.repository, uploads->spec.system, &file->name, &object,
                               err);
    if (fd < 0 || fstat(fd, &st) != 0)
        return error_set_errno(err, errno, "could not open \"%s\"", path);
    struct wal_put put = {.system = uploads->spec.system,
                          .name = file->name,
                          .fd = fd,
                          .size = st.st_size,
                          .path = path,
                          .options = uploads->spec.options};
    return wal_object_put(uploads->spec.repository, &put, &object, &was_there, err);
}

static bool is_certain(int rc)
{
    return rc == ERR_EXISTS || rc == ERR_CORRUPT || rc == ERR_USAGE || rc == ERR_LIMIT ||
           rc == ERR_NOT_FOUND;
}

static void note_failure(struct wal_uploads *uploads, const struct wal_assembled *file,
                         const struct error *error)
{
    char text[ERROR_MESSAGE_MAX + ERROR_HINT_MAX + 200], name[WAL_NAME_MAX];
    const char *cure = error_cure(error);
    pthread_mutex_lock(&uploads->mutex);
    int64_t now_us = instant_monotonic_us();
    bool is_news = !uploads->is_failing || now_us - uploads->noticed_us >= NOTICE_US;
    uploads->is_failing = true;
    if (is_news)
        uploads->noticed_us = now_us;
    pthread_mutex_unlock(&uploads->mutex);
    snprintf(text, sizeof(text), "%s is not stored yet, and tried again: %s%s%s%s",
             wal_name_format(&file->name, name), error->message, cure[0] ? " (hint: " : "", cure,
             cure[0] ? ")" : "");
    if (is_news)
        tell(uploads, text);
}

static bool wait_over(struct wal_uploads *uploads, int64_t wait_us)
{
    int64_t until_us = instant_monotonic_us() + wait_us;
    struct timespec until = {.tv_sec = until_us / US_PER_SECOND,
                             .tv_nsec = until_us % US_PER_SECOND * 1000};
    pthread_mutex_lock(&uploads->mutex);
    while (!uploads->is_over && instant_monotonic_us() < until_us)
        pthread_cond_timedwait(&uploads->changed, &uploads->mutex, &until);
    bool is_over = uploads->is_over;
    pthread_mutex_unlock(&uploads->mutex);
    return is_over;
}

/* Until it is stored, or waiting makes no sense, or the uploads are over. */
static int store_patiently(struct wal_uploads *uploads, const struct wal_assembled *file,
                           struct error *err)
{
    struct retry retry = RETRY_INIT(TRY_FOR_US);
    for (;;) {
        struct error error = ERROR_NONE;
        int rc = store_file(uploads, file, &error);
        if (rc == ERR_EXISTS && file->name.kind == WAL_PARTIAL) {
            tell(uploads, error.message);
            return 0;
        }
        if (!rc)
            return 0;
        int64_t wait_us = retry_next(&retry, &error);
        *err = error;
        if (is_certain(rc) || wait_us < 0)
            return rc;
        note_failure(uploads, file, &error);
        if (wait_over(uploads, wait_us))
            return rc;
    }
}

static void note_stored(struct wal_uploads *uploads, const struct wal_assembled *file)
{
    char path[WAL_ASSEMBLY_PATH_MAX];
    wal_assembly_path(uploads->spec.folder, &file->name, path);
    pthread_mutex_lock(&uploads->mutex);
    bool was_failing = uploads->is_failing;
    struct entry *entry = find_name(uploads, &file->name);
    entry->is_stored = true;
    uploads->waiting--;
    uploads->stored++;
    uploads->is_failing = false;
    forget_stored(uploads);
    (void)unlink(path); /* with the mutex held: the same file may come again */
    pthread_cond_broadcast(&uploads->changed);
    pthread_mutex_unlock(&uploads->mutex);
    if (was_failing)
        tell(uploads, "the repository takes WAL again");
}

static bool take(struct wal_uploads *uploads, struct wal_assembled *ret_file)
{
    struct entry *entry = NULL;
    pthread_mutex_lock(&uploads->mutex);
    while (!uploads->is_over && !(entry = find_free(uploads)))
        pthread_cond_wait(&uploads->changed, &uploads->mutex);
    if (uploads->is_over)
        entry = NULL;
    if (entry) {
        entry->is_taken = true;
        *ret_file = entry->file;
    }
    pthread_mutex_unlock(&uploads->mutex);
    return entry != NULL;
}

static void fail(struct wal_uploads *uploads, const struct error *error)
{
    pthread_mutex_lock(&uploads->mutex);
    if (!uploads->error.code && !uploads->is_over)
        uploads->error = *error;
    uploads->is_over = true;
    pthread_cond_broadcast(&uploads->changed);
    pthread_mutex_unlock(&uploads->mutex);
}

static int upload(void *argument, struct error *err)
{
    struct wal_uploads *uploads = argument;
    struct wal_assembled file;
    (void)err;
    while (take(uploads, &file)) {
        struct error error = ERROR_NONE;
        if (store_patiently(uploads, &file, &error))
            fail(uploads, &error);
        else
            note_stored(uploads, &file);
    }
    return 0;
}

/* -- the caller's side --------------------------------------------------------------------- */

int wal_uploads_new(const struct wal_uploads_spec *spec, struct wal_uploads **ret_uploads,
                    struct error *err)
{
    struct wal_uploads *uploads = calloc(1, sizeof(*uploads));
    if (!uploads)
        return error_no_memory(err);
    pthread_condattr_t monotonic;
    uploads->spec = *spec;
    pthread_mutex_init(&uploads->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&uploads->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int rc = crew_new(&uploads->crew, err);
    for (int i = 0; i < WAL_UPLOAD_THREADS && !rc; i++)
        rc = crew_start(uploads->crew, upload, uploads, err);
    if (rc) {
        wal_uploads_free(uploads);
        return rc;
    }
    *ret_uploads = uploads;
    return 0;
}

struct wal_uploads *wal_uploads_free(struct wal_uploads *uploads)
{
    if (!uploads)
        return NULL;
    pthread_mutex_lock(&uploads->mutex);
    uploads->is_over = true;
    pthread_cond_broadcast(&uploads->changed);
    pthread_mutex_unlock(&uploads->mutex);
    crew_free(uploads->crew);
    pthread_cond_destroy(&uploads->changed);
    pthread_mutex_destroy(&uploads->mutex);
    free(uploads->entries);
    free(uploads);
    return NULL;
}

int wal_uploads_add(struct wal_uploads *uploads, const struct wal_assembled *file,
                    struct error *err)
{
    pthread_mutex_lock(&uploads->mutex);
    int rc = find_name(uploads, &file->name) ? 0 : grow(uploads, err);
    if (!rc && !find_name(uploads, &file->name)) {
        uploads->entries[uploads->count++] = (struct entry){.file = *file};
        uploads->waiting++;
        pthread_cond_broadcast(&uploads->changed);
    }
    pthread_mutex_unlock(&uploads->mutex);
    return rc;
}

size_t wal_uploads_count(struct wal_uploads *uploads)
{
    pthread_mutex_lock(&uploads->mutex);
    size_t waiting = uploads->waiting;
    pthread_mutex_unlock(&uploads->mutex);
    return waiting;
}

/* Files of an earlier receiver come in the order of their names, so the first by position is looked
 * for. */
bool wal_uploads_first(struct wal_uploads *uploads, struct wal_assembled *ret_file)
{
    bool found = false;
    pthread_mutex_lock(&uploads->mutex);
    for (size_t i = 0; i < uploads->count; i++) {
        const struct entry *entry = &uploads->entries[i];
        if (entry->is_stored || (found && entry->file.lsn >= ret_file->lsn))
            continue;
        *ret_file = entry->file;
        found = true;
    }
    pthread_mutex_unlock(&uploads->mutex);
    return found;
}

bool wal_uploads_holds(struct wal_uploads *uploads, const struct wal_name *name)
{
    pthread_mutex_lock(&uploads->mutex);
    bool holds = find_name(uploads, name) != NULL;
    pthread_mutex_unlock(&uploads->mutex);
    return holds;
}

uint64_t wal_uploads_stored(struct wal_uploads *uploads)
{
    pthread_mutex_lock(&uploads->mutex);
    uint64_t stored = uploads->stored;
    pthread_mutex_unlock(&uploads->mutex);
    return stored;
}

int wal_uploads_check(struct wal_uploads *uploads, struct error *err)
{
    pthread_mutex_lock(&uploads->mutex);
    struct error error = uploads->error;
    pthread_mutex_unlock(&uploads->mutex);
    if (error.code && err)
        *err = error;
    return error.code;
}

void wal_uploads_await(struct wal_uploads *uploads, int64_t wait_us)
{
    int64_t until_us = instant_monotonic_us() + wait_us;
    struct timespec until = {.tv_sec = until_us / US_PER_SECOND,
                             .tv_nsec = until_us % US_PER_SECOND * 1000};
    pthread_mutex_lock(&uploads->mutex);
    uint64_t stored = uploads->stored;
    while (uploads->stored == stored && !uploads->is_over && instant_monotonic_us() < until_us)
        pthread_cond_timedwait(&uploads->changed, &uploads->mutex, &until);
    pthread_mutex_unlock(&uploads->mutex);
}

bool wal_uploads_drain(struct wal_uploads *uploads, int64_t wait_us)
{
    int64_t until_us = instant_monotonic_us() + wait_us;
    struct timespec until = {.tv_sec = until_us / US_PER_SECOND,
                             .tv_nsec = until_us % US_PER_SECOND * 1000};
    pthread_mutex_lock(&uploads->mutex);
    while (uploads->waiting > 0 && !uploads->is_over && instant_monotonic_us() < until_us)
        pthread_cond_timedwait(&uploads->changed, &uploads->mutex, &until);
    bool is_empty = uploads->waiting == 0;
    pthread_mutex_unlock(&uploads->mutex);
    return is_empty;
}
