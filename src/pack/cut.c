#include "pack/cut.h"

#include <string.h>

enum { VOLUME_NAME_MAX = 64 };

struct cutter {
    struct store *store;
    char *folder, *name;
    struct volume_options options;
    int64_t limit;
    cut_stored stored;
    void *context;
    struct tar_parser parser;
    struct volume *volume; /* NULL between volumes */
    int number;            /* of the volume */
};

int cutter_new(struct store *store, const char *folder, const char *name,
               const struct volume_options *options, int64_t limit, cut_stored stored,
               void *context, struct cutter **ret_cutter, struct error *err)
{
    _cleanup_(cutter_freep) struct cutter *cutter = calloc(1, sizeof(*cutter));
    if (!cutter)
        return error_no_memory(err);
    *cutter = (struct cutter){.store = store,
                              .folder = strdup(folder),
                              .name = strdup(name),
                              .options = *options,
                              .limit = limit,
                              .stored = stored,
                              .context = context};
    if (!cutter->folder || !cutter->name)
        return error_no_memory(err);
    *ret_cutter = TAKE(cutter);
    return 0;
}

static void name_volume(const struct cutter *cutter, char name[VOLUME_NAME_MAX])
{
    snprintf(name, VOLUME_NAME_MAX, "%s-%04d.tar.zst", cutter->name, cutter->number);
}

static int begin_volume(struct cutter *cutter, struct error *err)
{
    char name[VOLUME_NAME_MAX], key[STORE_KEY_MAX + 1];
    if (cutter->number == CUT_VOLUMES_MAX)
        return error_set(err, ERR_LIMIT, "more than %d volumes of one tablespace", CUT_VOLUMES_MAX);
    cutter->number++;
    name_volume(cutter, name);
    snprintf(key, sizeof(key), "%s/%s", cutter->folder, name);
    return volume_create(cutter->store, key, VOLUME_TAR, &cutter->options, &cutter->volume, err);
}

static int end_volume(struct cutter *cutter, struct error *err)
{
    _cleanup_(volume_freep) struct volume *volume = TAKE(cutter->volume);
    struct store_object object;
    char name[VOLUME_NAME_MAX];
    int64_t plain = volume_plain(volume);
    int rc = volume_commit(volume, &object, err);
    name_volume(cutter, name);
    return rc ? rc : cutter->stored(name, &object, plain, cutter->context, err);
}

static int begin_member(const struct tar_member *member, void *context, struct error *err)
{
    struct cutter *cutter = context;
    int rc = 0;
    if (cutter->volume && volume_plain(cutter->volume) >= cutter->limit)
        rc = end_volume(cutter, err);
    if (!rc && !cutter->volume)
        rc = begin_volume(cutter, err);
    return rc ? rc : volume_begin_member(cutter->volume, member, err);
}

static int add_data(const void *data, size_t length, void *context, struct error *err)
{
    struct cutter *cutter = context;
    return volume_data(cutter->volume, data, length, err);
}

int cutter_add(struct cutter *cutter, const void *data, size_t length, struct error *err)
{
    static const struct tar_handler handler = {.begin = begin_member, .data = add_data};
    return tar_parse(&cutter->parser, data, length, &handler, cutter, err);
}

/* A tablespace without any file has a volume too: what is listed was there. */
int cutter_end(struct cutter *cutter, struct error *err)
{
    int rc = tar_parse_end(&cutter->parser, err);
    if (!rc && !cutter->volume && cutter->number == 0)
        rc = begin_volume(cutter, err);
    return !rc && cutter->volume ? end_volume(cutter, err) : rc;
}

struct cutter *cutter_free(struct cutter *cutter)
{
    if (!cutter)
        return NULL;
    volume_free(cutter->volume);
    free(cutter->folder);
    free(cutter->name);
    free(cutter);
    return NULL;
}
