/*
 * Cutting: one tar stream becomes a row of volumes NAME-0001.tar.zst, NAME-0002.tar.zst ... that
 * end where a file ends, once `limit` plain bytes are in one. So every volume is a whole archive of
 * its own, and restores read many at a time; a file never lies in two.
 *
 *     cutter_new(store, "CLUSTER/snapshots/ID", "base", &options, stored, context, &cutter, err);
 *     cutter_add(cutter, data, length, err);      as often as needed
 *     cutter_end(cutter, err);                    the last volume is stored
 *     cutter_free(cutter);                        without the end, an open volume was not stored
 *
 * `stored` is called for each volume once it is stored and confirmed. One thread; nothing is staged
 * on disk. Memory: that of one volume.
 */
#ifndef PGCAIRN_PACK_CUT_H
#define PGCAIRN_PACK_CUT_H

#include "pack/volume.h"

enum { CUT_VOLUMES_MAX = 99999 };

/* `name` is that of the volume within the folder. */
typedef int (*cut_stored)(const char *name, const struct store_object *object, int64_t plain_bytes,
                          void *context, struct error *err);

struct cutter;

int cutter_new(struct store *store, const char *folder, const char *name,
               const struct volume_options *options, int64_t limit, cut_stored stored,
               void *context, struct cutter **ret_cutter, struct error *err);
int cutter_add(struct cutter *cutter, const void *data, size_t length, struct error *err);
int cutter_end(struct cutter *cutter, struct error *err);
struct cutter *cutter_free(struct cutter *cutter);

DEFINE_FREEP(struct cutter *, cutter_free)

#endif
