/*
 * Listings of the file:// store, in byte order of whole keys with bounded memory.
 *
 * A folder is read in passes. Each keeps the smallest list_batch names greater than the last one
 * visited, so memory does not grow with the folder; a folder of up to that many entries is read
 * once. Folders take part with a '/' behind their name: "a-b" < "a.b" < "a/" < "a0", and as all
 * keys below a folder begin with that, the order of names is the order of keys.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "store/file_store.h"

enum { FOUND = 1 }; /* what visit_first returns; no error code */

struct listing {
    struct file_store *store;
    const char *name_prefix; /* that names in the first folder begin with; then "" */
    bool delimiter;
    store_visit visit;
    void *context;
    struct error *err;
};

struct batch {
    char **names;
    size_t count;
    size_t limit; /* names kept; room is for twice as many */
    bool more;    /* greater names were left out */
};

static int walk(const struct listing *listing, int fd, const char *path);

static void batch_clear(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        free(batch->names[i]);
    batch->count = 0;
    batch->more = false;
}

static void batch_release(struct batch *batch)
{
    batch_clear(batch);
    free(batch->names);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void batch_sort(struct batch *batch)
{
    qsort(batch->names, batch->count, sizeof(batch->names[0]), compare_names);
    while (batch->count > batch->limit) {
        free(batch->names[--batch->count]);
        batch->more = true;
    }
}

static int batch_add(struct batch *batch, const char *name, struct error *err)
{
    if (batch->count == batch->limit * 2)
        batch_sort(batch);
    /* Once the batch was cut, what is behind its last name is for a later pass. */
    if (batch->more && batch->count == batch->limit &&
        strcmp(name, batch->names[batch->limit - 1]) > 0)
        return 0;
    char *copy = strdup(name);
    if (!copy)
        return error_no_memory(err);
    batch->names[batch->count++] = copy;
    return 0;
}

/* A failed listing says nothing about what exists, whatever the reason. */
static int list_failed(const struct listing *listing, int saved_errno, const char *path)
{
    file_store_error(listing->store, saved_errno, "list", path, listing->err);
    if (listing->err)
        listing->err->code = ERR_UNKNOWN;
    return ERR_UNKNOWN;
}

static int unknown_because(const struct error *reason, struct error *err)
{
    if (err) {
        *err = *reason;
        err->code = ERR_UNKNOWN;
    }
    return ERR_UNKNOWN;
}

/* Turns an entry into the name it is sorted by; *ret_use is false for what is not ours. */
static int entry_name(const struct listing *listing, int fd, const char *path,
                      const struct dirent *entry, char name[NAME_MAX + 2], bool *ret_use)
{
    size_t length = strlen(entry->d_name);
    char key[STORE_KEY_MAX + NAME_MAX + 2];
    snprintf(key, sizeof(key), "%s%s", path, entry->d_name);
    *ret_use = false;
    if (store_key_check(key, NULL) != 0)
        return 0;
    unsigned char type = entry->d_type;
    struct stat st;
    if (type == DT_UNKNOWN) {
        if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            return errno == ENOENT ? 0 : list_failed(listing, errno, key);
        type = S_ISDIR(st.st_mode) ? DT_DIR : S_ISREG(st.st_mode) ? DT_REG : DT_LNK;
    }
    memcpy(name, entry->d_name, length);
    if (type == DT_DIR)
        name[length++] = '/';
    name[length] = '\0';
    if (strncmp(name, listing->name_prefix, strlen(listing->name_prefix)) != 0)
        return 0;
    if (type != DT_DIR && type != DT_REG) {
        file_store_refuse_link(listing->store, key, listing->err);
        if (listing->err)
            listing->err->code = ERR_UNKNOWN;
        return ERR_UNKNOWN;
    }
    *ret_use = true;
    return 0;
}

/* Fills the batch with the smallest names of the folder behind `last`. */
static int read_batch(const struct listing *listing, DIR *dir, const char *path, const char *last,
                      struct batch *batch)
{
    batch_clear(batch);
    rewinddir(dir);
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            /* A folder removed while it is read has no entries left: that is no failure. */
            if (errno != 0 && errno != ENOENT)
                return list_failed(listing, errno, path);
            break;
        }
        char name[NAME_MAX + 2];
        bool use;
        int rc = entry_name(listing, dirfd(dir), path, entry, name, &use);
        if (!rc && use && strcmp(name, last) > 0)
            rc = batch_add(batch, name, listing->err);
        if (rc)
            return rc;
    }
    batch_sort(batch);
    return 0;
}

static int visit_first(const struct store_object *object, void *context, struct error *err)
{
    (void)object;
    (void)context;
    (void)err;
    return FOUND;
}

/* fd is that of the folder and is consumed. */
static int visit_folder(const struct listing *listing, int fd, const char *key)
{
    struct listing inner = *listing;
    inner.name_prefix = "";
    if (!listing->delimiter)
        return walk(&inner, fd, key);
    inner.delimiter = false;
    inner.visit = visit_first;
    int rc = walk(&inner, fd, key);
    if (rc != FOUND)
        return rc; /* an empty folder is no object, as in a bucket */
    struct store_object object = {.locked_until_us = INSTANT_NONE};
    memcpy(object.key, key, strlen(key) + 1);
    return listing->visit(&object, listing->context, listing->err);
}

static int visit_name(const struct listing *listing, int fd, const char *path, const char *name)
{
    struct store_object object = {.locked_until_us = INSTANT_NONE};
    char full[STORE_KEY_MAX + NAME_MAX + 2];
    int length = snprintf(full, sizeof(full), "%s%s", path, name);
    if (length > STORE_KEY_MAX) /* a folder so deep that no key fits below it */
        return 0;
    memcpy(object.key, full, (size_t)length + 1);
    if (full[length - 1] == '/') {
        char folder[NAME_MAX + 1];
        snprintf(folder, sizeof(folder), "%.*s", (int)strlen(name) - 1, name);
        int inner = openat(fd, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (inner >= 0)
            return visit_folder(listing, inner, object.key);
        return errno == ENOENT ? 0 : list_failed(listing, errno, object.key);
    }
    struct stat st;
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : list_failed(listing, errno, object.key);
    object.size = st.st_size;
    object.modified_us = st.st_mtim.tv_sec * US_PER_SECOND + st.st_mtim.tv_nsec / 1000;
    return listing->visit(&object, listing->context, listing->err);
}

/* Lists the folder; `path` is its key with a '/' behind, or "". fd is consumed. */
static int walk(const struct listing *listing, int fd, const char *path)
{
    _cleanup_(closedirp) DIR *dir = fdopendir(fd);
    if (!dir) {
        int saved_errno = errno;
        close(fd);
        return list_failed(listing, saved_errno, path);
    }
    _cleanup_(batch_release) struct batch batch = {.limit = listing->store->base.list_batch};
    batch.names = reallocarray(NULL, batch.limit * 2, sizeof(batch.names[0]));
    if (!batch.names)
        return error_no_memory(listing->err);
    char last[NAME_MAX + 2] = "";
    do {
        int rc = read_batch(listing, dir, path, last, &batch);
        for (size_t i = 0; !rc && i < batch.count; i++)
            rc = visit_name(listing, fd, path, batch.names[i]);
        if (rc)
            return rc;
        if (batch.count > 0)
            snprintf(last, sizeof(last), "%s", batch.names[batch.count - 1]);
    } while (batch.more);
    return 0;
}

int file_store_list(struct store *store, const char *prefix, bool delimiter, store_visit visit,
                    void *context, struct error *err)
{
    struct listing listing = {
        .store = file_store_of(store),
        .name_prefix = file_name_of(prefix),
        .delimiter = delimiter,
        .visit = visit,
        .context = context,
        .err = err,
    };
    char path[STORE_KEY_MAX + 2];
    snprintf(path, sizeof(path), "%.*s", (int)(listing.name_prefix - prefix), prefix);
    int fd = -1;
    struct error reason = ERROR_NONE;
    int rc = file_open_folder(listing.store, prefix, file_folder_length(prefix), &fd, &reason);
    if (rc == ERR_NOT_FOUND)
        return 0;
    return rc ? unknown_because(&reason, err) : walk(&listing, fd, path);
}

/* The key that a temporary file is being written for; false when the name is none of ours. */
static bool key_of_temporary(const char *name, char key[STORE_KEY_MAX + 1])
{
    const char *end = strrchr(name, '~');
    size_t length = end ? (size_t)(end - name) : 0;
    if (length == 0 || length > STORE_KEY_MAX || strlen(end + 1) != FILE_TEMPORARY_RANDOM)
        return false;
    for (size_t i = 0; i < length; i++)
        key[i] = name[i] == '~' ? '/' : name[i];
    key[length] = '\0';
    return store_key_check(key, NULL) == 0;
}

typedef int (*visit_temporary)(int folder, const char *name, const struct store_object *object,
                               void *context, struct error *err);

static int each_temporary(struct file_store *store, int64_t before_us, visit_temporary visit,
                          void *context, struct error *err)
{
    struct listing listing = {.store = store, .err = err};
    int fd = -1;
    struct error reason = ERROR_NONE;
    int rc =
        file_open_folder(store, FILE_TEMPORARY_FOLDER, strlen(FILE_TEMPORARY_FOLDER), &fd, &reason);
    if (rc == ERR_NOT_FOUND)
        return 0;
    if (rc)
        return unknown_because(&reason, err);
    _cleanup_(closedirp) DIR *dir = fdopendir(fd);
    if (!dir) {
        int saved_errno = errno;
        close(fd);
        return list_failed(&listing, saved_errno, FILE_TEMPORARY_FOLDER);
    }
    while (!rc) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry)
            return errno ? list_failed(&listing, errno, FILE_TEMPORARY_FOLDER) : 0;
        struct store_object object = {.locked_until_us = INSTANT_NONE};
        struct stat st;
        if (!key_of_temporary(entry->d_name, object.key) ||
            fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
            continue;
        object.size = st.st_size;
        object.modified_us = st.st_mtim.tv_sec * US_PER_SECOND + st.st_mtim.tv_nsec / 1000;
        if (object.modified_us < before_us)
            rc = visit(fd, entry->d_name, &object, context, err);
    }
    return rc;
}

struct visit_call {
    store_visit visit;
    void *context;
};

static int pass_on(int folder, const char *name, const struct store_object *object, void *context,
                   struct error *err)
{
    (void)folder;
    (void)name;
    const struct visit_call *call = context;
    return call->visit(object, call->context, err);
}

int file_store_list_unfinished(struct store *store, int64_t before_us, store_visit visit,
                               void *context, struct error *err)
{
    struct visit_call call = {visit, context};
    return each_temporary(file_store_of(store), before_us, pass_on, &call, err);
}

struct removal {
    struct file_store *store;
    const char *key;
};

static int remove_if_same(int folder, const char *name, const struct store_object *object,
                          void *context, struct error *err)
{
    const struct removal *removal = context;
    if (strcmp(object->key, removal->key) != 0 || unlinkat(folder, name, 0) == 0 || errno == ENOENT)
        return 0;
    return file_store_error(removal->store, errno, "remove the unfinished", object->key, err);
}

int file_store_remove_unfinished(struct store *store, const char *key, int64_t before_us,
                                 struct error *err)
{
    struct removal removal = {file_store_of(store), key};
    return each_temporary(removal.store, before_us, remove_if_same, &removal, err);
}
