/* The part of `list` that tells of WAL: what is stored, the holes in it, what can be recovered. */
#ifndef PGCAIRN_COMMAND_LIST_WAL_H
#define PGCAIRN_COMMAND_LIST_WAL_H

#include <jansson.h>

#include "base/buf.h"
#include "base/table.h"
#include "retention/retention.h"

struct wal_listing {
    struct table *table; /* for people: what is kept and why */
    struct buf lines;    /* and below it gaps and windows */
    size_t rows;
    json_t *timelines, *windows; /* NULL: for people */
};

int wal_listing_init(struct wal_listing *listing, bool is_json, struct error *err);
void wal_listing_clear(struct wal_listing *listing);

/* Adds the WAL of one cluster, of which there may be none. */
int wal_listing_add(struct wal_listing *listing, const struct facts *facts,
                    const struct retention_plan *plan, int64_t now_us, struct error *err);

int wal_listing_print(const struct wal_listing *listing, struct error *err);

#endif
