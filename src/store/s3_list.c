/*
 * Listings of the s3:// store, in byte order with bounded memory and several pages in flight.
 *
 * One page tells where the next one begins, so pages of one listing can only come one after the
 * other. A listing that does not fit one page is therefore split: the folders below its prefix are
 * asked for, grouped so that a group fills about a page (the first page shows how many do), and the
 * groups' first pages are fetched ahead. A folder that alone is more than a page is split in the
 * same way, one deeper.
 *
 * Every key must be greater than the one before it: a service that does not keep the order, or does
 * not obey start-after, is found out instead of being believed.
 */
#include <string.h>

#include "store/s3_page.h"

enum { GROUPS_AHEAD = 6 };

struct listing {
    struct s3_store *store;
    store_visit visit;
    void *context;
    struct error *err;
    char last[STORE_KEY_MAX + 1]; /* visited */
};

/* An object, or folders that are listed together. */
struct group {
    struct store_object object;    /* when page is NULL */
    struct s3_page *page;          /* of the folders, fetched ahead */
    char first[STORE_KEY_MAX + 1]; /* folder, with its '/' */
    char final[STORE_KEY_MAX + 1];
    size_t folders;
};

struct split {
    struct listing *listing;
    size_t folders_a_page;
    struct group groups[GROUPS_AHEAD];
    size_t from, count; /* a ring */
};

static int list_below(struct listing *listing, struct s3_page *first, int depth);

static int out_of_order(const struct listing *listing, const char *key)
{
    error_set(listing->err, ERR_UNKNOWN, "the service lists \"%s\" behind \"%s\"", key,
              listing->last);
    return error_hint(listing->err,
                      "listings must be in byte order: nothing can be told from this");
}

static int visit_object(struct listing *listing, const struct store_object *object)
{
    if (listing->last[0] && strcmp(object->key, listing->last) <= 0)
        return out_of_order(listing, object->key);
    memcpy(listing->last, object->key, sizeof(listing->last));
    return listing->visit(object, listing->context, listing->err);
}

/* Whether a key lies behind a folder and everything in it. */
static bool is_behind(const char *key, const char *folder)
{
    return strcmp(key, folder) > 0 && strncmp(key, folder, strlen(folder)) != 0;
}

/* Visits a page and those that follow it, the next one fetched meanwhile, up to the end or up to
 * what lies behind a folder (NULL: no bound). Takes the page. */
static int visit_pages(struct listing *listing, struct s3_page *first, const char *bound)
{
    _cleanup_(s3_page_freep) struct s3_page *page = first;
    int rc = 0;
    while (!rc && page) {
        _cleanup_(s3_page_freep) struct s3_page *next = NULL;
        bool is_over =
            !page->is_truncated ||
            (bound && page->count > 0 && is_behind(page->objects[page->count - 1].key, bound));
        if (!is_over)
            rc = s3_page_next(page, &next, listing->err);
        if (!rc && next)
            rc = s3_page_submit(next, listing->err);
        for (size_t i = 0; !rc && i < page->count; i++) {
            if (bound && is_behind(page->objects[i].key, bound))
                return 0;
            rc = visit_object(listing, &page->objects[i]);
        }
        if (!rc && next)
            rc = s3_page_wait(next, listing->err);
        s3_page_free(page);
        page = TAKE(next);
    }
    return rc;
}

/* How many folders below the prefix a page shows; what lies in none of them counts for nothing. */
static size_t count_folders(const struct s3_page *page)
{
    size_t below = strlen(page->prefix) - strlen(page->store->prefix);
    const char *before = "";
    size_t length = 0, count = 0;
    for (size_t i = 0; i < page->count; i++) {
        const char *key = page->objects[i].key;
        const char *slash = strlen(key) > below ? strchr(key + below, '/') : NULL;
        if (!slash || (length == (size_t)(slash - key) && strncmp(key, before, length) == 0))
            continue;
        before = key;
        length = (size_t)(slash - key);
        count++;
    }
    return count;
}

/* -- a listing that is split ---------------------------------------------------------------------
 */

/* Whether the folder alone is more than the page that was fetched of it. */
static bool is_cut(const struct group *group)
{
    const struct s3_page *page = group->page;
    return group->folders == 1 && page->is_truncated &&
           (page->count == 0 || !is_behind(page->objects[page->count - 1].key, group->final));
}

static int visit_group(struct listing *listing, struct group *group, int depth)
{
    if (!group->page)
        return visit_object(listing, &group->object);
    int rc = s3_page_wait(group->page, listing->err);
    if (rc)
        return rc;
    bool cut = is_cut(group);
    struct s3_page *page = TAKE(group->page);
    return cut ? list_below(listing, page, depth + 1) : visit_pages(listing, page, group->final);
}

static int visit_oldest(struct split *split, int depth)
{
    struct group *group = &split->groups[split->from];
    int rc = visit_group(split->listing, group, depth);
    s3_page_free(group->page);
    group->page = NULL;
    split->from = (split->from + 1) % GROUPS_AHEAD;
    split->count--;
    return rc;
}

static struct group *newest(struct split *split)
{
    return split->count == 0 ? NULL
                             : &split->groups[(split->from + split->count - 1) % GROUPS_AHEAD];
}

/* The newest group is asked for when no folder can join it any more. A single folder is listed by
 * its own prefix, for it may have to be split; several by where they begin. */
static int submit_newest(struct split *split)
{
    struct group *group = newest(split);
    if (!group || group->folders == 0 || group->page)
        return 0;
    struct listing *listing = split->listing;
    char full[S3_KEY_SIZE], prefix[S3_KEY_SIZE];
    s3_full_key(listing->store, group->first, full);
    size_t length = strlen(full);
    if (group->folders > 1) /* they have the folder above them in common */
        for (length--; length > 0 && full[length - 1] != '/';)
            length--;
    snprintf(prefix, sizeof(prefix), "%.*s", (int)length, full);
    int rc = s3_page_new(listing->store, prefix, false, &group->page, listing->err);
    if (rc)
        return rc;
    if (group->folders > 1)
        memcpy(group->page->start_after, full, sizeof(full));
    return s3_page_submit(group->page, listing->err);
}

static int add_to_split(struct split *split, const struct store_object *object, int depth)
{
    bool is_folder = object->key[strlen(object->key) - 1] == '/';
    struct group *last = newest(split);
    if (is_folder && last && last->folders > 0 && !last->page &&
        last->folders < split->folders_a_page) {
        memcpy(last->final, object->key, sizeof(last->final));
        last->folders++;
        return 0;
    }
    int rc = submit_newest(split);
    if (!rc && split->count == GROUPS_AHEAD)
        rc = visit_oldest(split, depth);
    if (rc)
        return rc;
    split->count++;
    struct group *group = newest(split);
    *group = (struct group){.object = *object, .folders = is_folder};
    memcpy(group->first, object->key, sizeof(group->first));
    memcpy(group->final, object->key, sizeof(group->final));
    return 0;
}

static int fill_split(struct split *split, const char *full_prefix, int depth)
{
    struct listing *listing = split->listing;
    struct s3_page *page = NULL;
    int rc = s3_page_new(listing->store, full_prefix, true, &page, listing->err);
    if (!rc)
        rc = s3_page_fetch(page, listing->err);
    while (!rc && page) {
        struct s3_page *next = NULL;
        if (page->is_truncated)
            rc = s3_page_next(page, &next, listing->err);
        if (!rc && next)
            rc = s3_page_submit(next, listing->err);
        for (size_t i = 0; !rc && i < page->count; i++)
            rc = add_to_split(split, &page->objects[i], depth);
        if (!rc && next)
            rc = s3_page_wait(next, listing->err);
        s3_page_free(page);
        page = next;
    }
    s3_page_free(page);
    if (!rc)
        rc = submit_newest(split);
    while (!rc && split->count > 0)
        rc = visit_oldest(split, depth);
    return rc;
}

/* Lists what is below the prefix of its first page, which is taken. */
static int list_below(struct listing *listing, struct s3_page *first, int depth)
{
    size_t folders = count_folders(first);
    if (!first->is_truncated || folders == 0 || depth > STORE_KEY_MAX)
        return visit_pages(listing, first, NULL);
    char prefix[S3_KEY_SIZE];
    memcpy(prefix, first->prefix, sizeof(prefix));
    s3_page_free(first);
    struct split *split = calloc(1, sizeof(*split));
    if (!split)
        return error_no_memory(listing->err);
    split->listing = listing;
    split->folders_a_page = folders;
    int rc = fill_split(split, prefix, depth);
    for (size_t i = 0; i < GROUPS_AHEAD; i++)
        s3_page_free(split->groups[i].page);
    free(split);
    return rc;
}

int s3_list(struct store *base, const char *prefix, bool delimiter, store_visit visit,
            void *context, struct error *err)
{
    struct s3_store *store = s3_store_of(base);
    struct listing listing = {.store = store, .visit = visit, .context = context, .err = err};
    struct s3_page *page = NULL;
    char full[S3_KEY_SIZE];
    s3_full_key(store, prefix, full);
    int rc = s3_page_new(store, full, delimiter, &page, err);
    if (!rc)
        rc = s3_page_fetch(page, err);
    if (!rc)
        return delimiter ? visit_pages(&listing, page, NULL) : list_below(&listing, page, 0);
    s3_page_free(page);
    return rc;
}
