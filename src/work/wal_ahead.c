#include "work/wal_ahead.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "base/child.h"
#include "repository/wal.h"
#include "work/crew.h"
#include "work/wal_spool.h"
#include "work/open_repository.h"
#include "work/work.h"

enum {
    STEP_US = 20000,
    ARGUMENTS_MAX = 4096,
    FILE_MODE = 0600,
    WINDOW_MAX = WAL_AHEAD_SEGMENTS_MAX
};
#define AGAIN_US US_PER_SECOND /* after which a segment that was not there is looked for again */

enum state { WANTED, FETCHING, HERE, ABSENT };

struct helper {
    struct repository *repository;
    const char *folder, *system;
    struct marks_origin origin; /* .naming NULL: nothing is marked */
    struct stat policy;         /* of the policy file that we were started with */
    pthread_mutex_t marking;    /* of the file of marks and of what follows */
    struct mark marks[WINDOW_MAX + 1];
    size_t mark_count;
    int64_t segment_size;
    size_t window;
    pthread_mutex_t mutex; /* of what follows */
    uint32_t timeline;
    uint64_t at;                   /* the segment asked for last */
    enum state states[WINDOW_MAX]; /* of at + 1 ... */
    int64_t absent_us;             /* when a segment was found absent last, monotonic */
    bool over;
};

/* -- fetching ------------------------------------------------------------------------------ */

/* The first of the window that is wanted, up to the first that is not there. */
static bool choose(struct helper *helper, uint32_t *ret_timeline, uint64_t *ret_number)
{
    bool found = false;
    pthread_mutex_lock(&helper->mutex);
    for (size_t i = 0; i < helper->window && !found && helper->states[i] != ABSENT; i++) {
        if (helper->states[i] != WANTED)
            continue;
        helper->states[i] = FETCHING;
        *ret_timeline = helper->timeline;
        *ret_number = helper->at + 1 + i;
        found = true;
    }
    pthread_mutex_unlock(&helper->mutex);
    return found;
}

static void note(struct helper *helper, uint32_t timeline, uint64_t number, enum state state)
{
    pthread_mutex_lock(&helper->mutex);
    if (state == ABSENT)
        helper->absent_us = instant_monotonic_us();
    if (timeline == helper->timeline && number > helper->at &&
        number - helper->at <= helper->window)
        helper->states[number - helper->at - 1] = state;
    pthread_mutex_unlock(&helper->mutex);
}

static int fetch_part(struct helper *helper, const struct wal_object *object, const char *part,
                      struct error *err)
{
    _cleanup_(closep) int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
    if (fd < 0)
        return error_set_errno(err, errno, "could not create \"%s\"", part);
    int rc = wal_object_get(helper->repository, object, helper->segment_size, fd, err);
    if (!rc && fsync(fd) != 0)
        rc = error_set_errno(err, errno, "could not sync \"%s\"", part);
    return rc;
}

/* Marks of what has been taken since leave the list. */
static void drop_marks(struct helper *helper)
{
    struct mark now;
    size_t kept = 0;
    for (size_t i = 0; i < helper->mark_count; i++) {
        char path[AHEAD_PATH_MAX + WAL_NAME_MAX];
        snprintf(path, sizeof(path), "%s/%s", helper->folder, helper->marks[i].name);
        if (!marks_file(path, &now, NULL) && marks_same_file(&now, &helper->marks[i]))
            helper->marks[kept++] = helper->marks[i];
    }
    helper->mark_count = kept;
}

static bool is_same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool is_policy_as_it_was(const struct helper *helper)
{
    const struct stat *then = &helper->policy;
    struct stat now;
    return stat(helper->origin.policy, &now) == 0 && now.st_dev == then->st_dev &&
           now.st_ino == then->st_ino && now.st_size == then->st_size &&
           is_same_time(&now.st_mtim, &then->st_mtim) && is_same_time(&now.st_ctim, &then->st_ctim);
}

/* Marks are of the policy as it is; ours may have led to another repository. */
static void write_marks(struct helper *helper)
{
    ahead_mark(helper->folder, &helper->origin, helper->marks, helper->mark_count, NULL);
    if (is_policy_as_it_was(helper))
        return;
    ahead_mark(helper->folder, &helper->origin, NULL, 0, NULL);
    helper->origin.naming = NULL;
}

/* What was proved and synced a moment ago. That it can't be marked costs another proof, no more. */
static void mark_segment(struct helper *helper, const char *path, const char *hash)
{
    struct mark mark;
    if (marks_file(path, &mark, NULL))
        return;
    memcpy(mark.hash, hash, AHEAD_HASH + 1);
    pthread_mutex_lock(&helper->marking);
    drop_marks(helper);
    if (helper->mark_count < ARRAY_SIZE(helper->marks))
        helper->marks[helper->mark_count++] = mark;
    if (helper->origin.naming)
        write_marks(helper);
    pthread_mutex_unlock(&helper->marking);
}

static int fetch_segment(struct helper *helper, uint32_t timeline, uint64_t number,
                         struct error *err)
{
    struct wal_name name = wal_segment_name(timeline, number, helper->segment_size);
    struct wal_object object;
    char text[WAL_NAME_MAX], whole[AHEAD_PATH_MAX + AHEAD_ENTRY_MAX];
    char part[sizeof(whole) + sizeof(".part")];
    int rc = wal_object_find(helper->repository, helper->system, &name, &object, err);
    if (rc)
        return rc;
    snprintf(whole, sizeof(whole), "%s/%s-%s", helper->folder, wal_name_format(&name, text),
             object.hash);
    snprintf(part, sizeof(part), "%s.part", whole);
    rc = fetch_part(helper, &object, part, err);
    if (!rc && rename(part, whole) != 0)
        rc = error_set_errno(err, errno, "could not rename \"%s\"", part);
    if (rc)
        (void)unlink(part);
    else
        mark_segment(helper, whole, object.hash);
    return rc;
}

static bool is_over(struct helper *helper)
{
    pthread_mutex_lock(&helper->mutex);
    bool over = helper->over;
    pthread_mutex_unlock(&helper->mutex);
    return over;
}

/* What can't be fetched is left to the consumer, who will tell why. */
static int work_ahead(void *argument, struct error *err)
{
    struct helper *helper = argument;
    (void)err;
    while (!is_over(helper)) {
        uint32_t timeline;
        uint64_t number;
        if (!choose(helper, &timeline, &number)) {
            usleep(STEP_US);
            continue;
        }
        int rc = fetch_segment(helper, timeline, number, NULL);
        note(helper, timeline, number, rc ? ABSENT : HERE);
    }
    return 0;
}

/* -- following the consumer ---------------------------------------------------------------- */

/* The window moves on to what was asked for; states of what stays in it are kept. */
static void follow(struct helper *helper, const struct wal_name *name)
{
    uint64_t at = wal_segment_number(name, helper->segment_size);
    pthread_mutex_lock(&helper->mutex);
    bool moved_on =
        name->timeline == helper->timeline && at >= helper->at && at - helper->at < helper->window;
    size_t shift = moved_on ? (size_t)(at - helper->at) : helper->window;
    memmove(helper->states, helper->states + shift,
            (helper->window - shift) * sizeof(*helper->states));
    for (size_t i = helper->window - shift; i < helper->window; i++)
        helper->states[i] = WANTED;
    helper->timeline = name->timeline;
    helper->at = at;
    if (instant_monotonic_us() - helper->absent_us > AGAIN_US)
        for (size_t i = 0; i < helper->window; i++)
            if (helper->states[i] == ABSENT)
                helper->states[i] = WANTED;
    pthread_mutex_unlock(&helper->mutex);
}

/* What the consumer has left behind it, or never came to. */
static int drop_behind(const struct ahead_entry *entry, void *context)
{
    struct helper *helper = context;
    uint64_t number = wal_segment_number(&entry->name, helper->segment_size);
    pthread_mutex_lock(&helper->mutex);
    bool wanted = entry->name.timeline == helper->timeline && number >= helper->at &&
                  number - helper->at <= helper->window;
    pthread_mutex_unlock(&helper->mutex);
    if (!wanted && !entry->is_part)
        ahead_remove(helper->folder, entry);
    return 0;
}

static void serve(struct helper *helper)
{
    struct wal_name name;
    int64_t age_us;
    while (!work_interrupted(NULL) && ahead_read_at(helper->folder, &name, &age_us) &&
           age_us < WAL_AHEAD_IDLE_US) {
        follow(helper, &name);
        ahead_each(helper->folder, drop_behind, helper);
        usleep(STEP_US);
    }
    pthread_mutex_lock(&helper->mutex);
    helper->over = true;
    pthread_mutex_unlock(&helper->mutex);
    store_stop(helper->repository->store);
}

static void helper_clear(struct helper *helper)
{
    repository_free(helper->repository);
}

static int drop_part(const struct ahead_entry *entry, void *context)
{
    if (entry->is_part)
        ahead_remove(context, entry);
    return 0;
}

static int run_helper(struct helper *helper, struct error *err)
{
    _cleanup_(crew_freep) struct crew *crew = NULL;
    struct wal_name name;
    int64_t age_us;
    char folder[AHEAD_PATH_MAX];
    snprintf(folder, sizeof(folder), "%s", helper->folder);
    ahead_each(folder, drop_part, folder); /* of a helper that was killed */
    if (!ahead_read_at(helper->folder, &name, &age_us))
        return 0;
    follow(helper, &name);
    int rc = crew_new(&crew, err);
    for (int i = 0; i < WAL_AHEAD_THREADS && !rc; i++)
        rc = crew_start(crew, work_ahead, helper, err);
    if (!rc)
        serve(helper);
    else
        helper->over = true;
    int join_rc = crew ? crew_join(crew, rc ? NULL : err) : 0;
    return rc ? rc : join_rc;
}

int wal_ahead_run(const struct policy *policy, const char *folder,
                  const struct marks_origin *origin, struct error *err)
{
    _cleanup_(helper_clear) struct helper helper = {.folder = folder,
                                                    .system = origin->system,
                                                    .origin = *origin,
                                                    .marking = PTHREAD_MUTEX_INITIALIZER,
                                                    .mutex = PTHREAD_MUTEX_INITIALIZER};
    _cleanup_(closep) int lock = ahead_lock(folder);
    if (lock < 0)
        return 0;
    if (helper.origin.naming && stat(helper.origin.policy, &helper.policy) != 0)
        helper.origin.naming = NULL;
    int rc = work_open_repository(policy, NULL, &helper.repository, err);
    if (!rc)
        rc = wal_info_read(helper.repository, helper.system, &helper.segment_size, err);
    if (!rc) {
        int64_t window = WAL_AHEAD_BYTES_MAX / helper.segment_size;
        helper.window = window < 1 ? 1 : window > WINDOW_MAX ? WINDOW_MAX : (size_t)window;
        rc = run_helper(&helper, err);
    }
    ahead_remove_all(folder);
    return rc;
}

void wal_ahead_start(const struct policy *policy, const char *folder, const char *system,
                     const char *data_folder, char *const *policy_paths, size_t policy_count)
{
    struct strv argv = STRV_INIT(ARGUMENTS_MAX);
    int lock = ahead_lock(folder);
    if (lock < 0)
        return;
    close(lock);
    int rc = strv_add(&argv, "/proc/self/exe", NULL);
    for (size_t i = 0; i < policy_count && !rc; i++) {
        rc = strv_add(&argv, "-c", NULL);
        if (!rc)
            rc = strv_add(&argv, policy_paths[i], NULL);
    }
    const char *words[] = {"wal", "ahead", policy->cluster, folder, system, data_folder};
    for (size_t i = 0; i < ARRAY_SIZE(words) && !rc; i++)
        rc = strv_add(&argv, words[i], NULL);
    struct child child;
    struct child_spec spec = {
        .argv = (const char *const *)argv.items, .inherit_stderr = true, .outlives_us = true};
    if (!rc)
        child_start(&spec, &child, NULL); /* it is not waited for: it outlives us */
    strv_clear(&argv);
}
