/*
 * One page of a bucket's listing (ListObjectsV2): at most S3_PAGE_KEYS entries in byte order, as
 * keys of the store; what is none of ours is left out. A page may be fetched ahead by the pool.
 *
 *     s3_page_new(store, full_prefix, delimiter, &page, err);
 *     s3_page_fetch(page, err);  or  s3_pool_submit(pool, &page->task, err), s3_page_wait(page,
 * err)
 *     ... page->objects[0 .. count) ...
 *     s3_page_next(page, &next, err);      while page->is_truncated
 *     s3_page_free(page);                  waits for a fetch that was submitted
 */
#ifndef PGCAIRN_STORE_S3_PAGE_H
#define PGCAIRN_STORE_S3_PAGE_H

#include "store/s3_pool.h"
#include "store/s3_store.h"

enum { S3_PAGE_KEYS = 1000, S3_PAGE_TOKEN_MAX = 4096 };

struct s3_page {
    struct s3_task task;
    struct s3_store *store;
    char prefix[S3_KEY_SIZE];      /* whole, as the bucket knows it */
    char start_after[S3_KEY_SIZE]; /* whole; "" for the first */
    bool delimiter;
    char token[S3_PAGE_TOKEN_MAX + 1]; /* of the page before; "" for the first */
    bool is_submitted;
    struct error error;

    struct store_object *objects; /* common prefixes end in '/' */
    size_t count;
    bool is_truncated; /* there is a next page */
    char next_token[S3_PAGE_TOKEN_MAX + 1];
};

int s3_page_new(struct s3_store *store, const char *full_prefix, bool delimiter,
                struct s3_page **ret_page, struct error *err);
int s3_page_next(const struct s3_page *page, struct s3_page **ret_page, struct error *err);
struct s3_page *s3_page_free(struct s3_page *page);

int s3_page_fetch(struct s3_page *page, struct error *err);
int s3_page_submit(struct s3_page *page, struct error *err);
int s3_page_wait(struct s3_page *page, struct error *err);

DEFINE_FREEP(struct s3_page *, s3_page_free)

#endif
