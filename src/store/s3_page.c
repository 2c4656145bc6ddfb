#include "store/s3_page.h"

#include <string.h>

#include "store/s3_request.h"
#include "store/s3_text.h"
#include "store/s3_xml.h"

static void fetch(struct s3_task *task)
{
    struct s3_page *page = (struct s3_page *)task;
    s3_page_fetch(page, &page->error);
}

int s3_page_new(struct s3_store *store, const char *full_prefix, bool delimiter,
                struct s3_page **ret_page, struct error *err)
{
    struct s3_page *page = calloc(1, sizeof(*page));
    if (!page)
        return error_no_memory(err);
    page->task.run = fetch;
    page->store = store;
    page->delimiter = delimiter;
    snprintf(page->prefix, sizeof(page->prefix), "%s", full_prefix);
    *ret_page = page;
    return 0;
}

int s3_page_next(const struct s3_page *page, struct s3_page **ret_page, struct error *err)
{
    struct s3_page *next = NULL;
    int rc = s3_page_new(page->store, page->prefix, page->delimiter, &next, err);
    if (rc)
        return rc;
    memcpy(next->token, page->next_token, sizeof(next->token));
    *ret_page = next;
    return 0;
}

struct s3_page *s3_page_free(struct s3_page *page)
{
    if (!page)
        return NULL;
    if (page->is_submitted)
        s3_task_wait(page->store->pool, &page->task);
    free(page->objects);
    free(page);
    return NULL;
}

int s3_page_submit(struct s3_page *page, struct error *err)
{
    int rc = s3_pool_submit(page->store->pool, &page->task, err);
    page->is_submitted = rc == 0;
    return rc;
}

int s3_page_wait(struct s3_page *page, struct error *err)
{
    s3_task_wait(page->store->pool, &page->task);
    if (page->error.code && err)
        *err = page->error;
    return page->error.code;
}

/* -- reading the reply ---------------------------------------------------------------------------
 */

struct parsing {
    struct s3_page *page;
    struct store_object object; /* that is being read */
    bool is_ours;
    size_t room;
    bool is_whole; /* the end of the document's root was reached */
};

static void take_key(struct parsing *parsing, const char *text, bool is_folder)
{
    char full[S3_KEY_SIZE], *end = full;
    parsing->is_ours = false;
    if (!s3_decode(text, full, sizeof(full)))
        return;
    size_t length = strlen(full);
    if (is_folder && (length == 0 || full[length - 1] != '/'))
        return;
    if (is_folder)
        end = full + length - 1;
    else
        end = full + length;
    char last = *end;
    *end = '\0';
    const char *key = s3_own_key(parsing->page->store, full);
    *end = last;
    if (!key || strlen(key) > STORE_KEY_MAX)
        return;
    memcpy(parsing->object.key, key, strlen(key) + 1);
    parsing->is_ours = true;
}

static int add_object(struct parsing *parsing, struct error *err)
{
    struct s3_page *page = parsing->page;
    if (parsing->is_ours && page->count == parsing->room) {
        size_t room = parsing->room ? parsing->room * 2 : 128;
        struct store_object *objects = reallocarray(page->objects, room, sizeof(objects[0]));
        if (!objects)
            return error_no_memory(err);
        page->objects = objects;
        parsing->room = room;
    }
    if (parsing->is_ours)
        page->objects[page->count++] = parsing->object;
    parsing->object = (struct store_object){.size = -1, .locked_until_us = INSTANT_NONE};
    parsing->is_ours = false;
    return 0;
}

static int take_contents(struct parsing *parsing, const char *name, const char *text,
                         struct error *err)
{
    bool has_offset;
    if (strcmp(name, "/Key") == 0)
        take_key(parsing, text, false);
    else if (strcmp(name, "/Size") == 0)
        parsing->object.size = s3_number(text);
    else if (strcmp(name, "/LastModified") == 0)
        return instant_parse(text, &parsing->object.modified_us, &has_offset, err)
                   ? error_set(err, ERR_CORRUPT, "\"%.40s\" is no time", text)
                   : 0;
    else if (!*name)
        return parsing->object.size < 0
                   ? error_set(err, ERR_CORRUPT, "an object of the listing has no size")
                   : add_object(parsing, err);
    return 0;
}

static int note_entry(const char *path, const char *text, void *context, struct error *err)
{
    static const char ROOT[] = "ListBucketResult", CONTENTS[] = "ListBucketResult/Contents";
    struct parsing *parsing = context;
    struct s3_page *page = parsing->page;
    if (strncmp(path, CONTENTS, strlen(CONTENTS)) == 0)
        return take_contents(parsing, path + strlen(CONTENTS), text, err);
    if (strcmp(path, "ListBucketResult/CommonPrefixes/Prefix") == 0) {
        take_key(parsing, text, true);
        parsing->object.size = 0;
        return add_object(parsing, err);
    }
    if (strcmp(path, "ListBucketResult/IsTruncated") == 0)
        page->is_truncated = strcmp(text, "true") == 0;
    else if (strcmp(path, "ListBucketResult/NextContinuationToken") == 0)
        snprintf(page->next_token, sizeof(page->next_token), "%s", text);
    else if (strcmp(path, ROOT) == 0)
        parsing->is_whole = true;
    return 0;
}

static int compare_objects(const void *a, const void *b)
{
    return strcmp(((const struct store_object *)a)->key, ((const struct store_object *)b)->key);
}

static int check_page(const struct s3_reply *reply, void *context, struct error *err)
{
    struct s3_page *page = context;
    struct parsing parsing = {.page = page,
                              .object = {.size = -1, .locked_until_us = INSTANT_NONE}};
    free(page->objects);
    page->objects = NULL;
    page->count = 0;
    page->is_truncated = false;
    page->next_token[0] = '\0';
    int rc = s3_xml_read(buf_text(&reply->body), reply->body.length, note_entry, &parsing, err);
    if (!rc && !parsing.is_whole)
        rc = error_set(err, ERR_CORRUPT, "it is no listing");
    if (!rc && page->is_truncated && !page->next_token[0])
        rc = error_set(err, ERR_CORRUPT, "the listing ends early without saying where it goes on");
    if (rc)
        return error_prefix(err, "the service's listing can't be used"), rc;
    qsort(page->objects, page->count, sizeof(page->objects[0]), compare_objects);
    return 0;
}

/* A failed listing says nothing about what exists. What concerns the way to the service stays what
 * it is, for that is told as "could not tell" too. */
static int as_unknown(int rc, struct error *err)
{
    if (rc == 0 || rc == ERR_CONNECTION || rc == ERR_AUTH || rc == ERR_INTERRUPTED ||
        rc == ERR_MEMORY)
        return rc;
    if (err)
        err->code = ERR_UNKNOWN;
    return ERR_UNKNOWN;
}

int s3_page_fetch(struct s3_page *page, struct error *err)
{
    struct s3_reply reply = S3_REPLY_INIT;
    struct s3_request request = {
        .method = "GET",
        .action = "s3:ListBucket",
        .check = check_page,
        .context = page,
    };
    s3_add_param(&request, "list-type", "2");
    s3_add_param(&request, "encoding-type", "url");
    s3_add_param(&request, "max-keys", "1000");
    s3_add_param(&request, "prefix", page->prefix);
    if (page->delimiter)
        s3_add_param(&request, "delimiter", "/");
    if (page->token[0])
        s3_add_param(&request, "continuation-token", page->token);
    else if (page->start_after[0])
        s3_add_param(&request, "start-after", page->start_after);
    int rc = s3_perform(page->store, &request, &reply, err);
    s3_reply_clear(&reply);
    for (size_t i = 0; !rc && i < page->count; i++)
        page->objects[i].modified_us = s3_our_time(page->store, page->objects[i].modified_us);
    return as_unknown(rc, err);
}
