/*
 * A stream of WAL becomes files again: segments, the partial last one of a timeline that ends, and
 * histories, each of them whole, checked and fsynced before it has its name.
 *
 *     STATE/wal/CLUSTER/receive/SYSTEM/NAME        a file of the server's, to be stored
 *                                      NAME.part   the segment that is being received
 *                                      lock        held by the receiver while it lives
 *
 *     wal_assembly_init(&assembly, folder, system, segment_size, finished, context);
 *     wal_assembly_begin(&assembly, timeline, lsn, err);      at the start of a segment
 *     wal_assembly_add(&assembly, lsn, data, length, err);    what comes, without holes
 *     wal_assembly_end_timeline(&assembly, err);              NAME.partial, if anything has come
 *     wal_assembly_history(&assembly, timeline, text, length, err);
 *     wal_assembly_clear(&assembly);                          a segment that is not full is dropped
 *
 * finished() is called for every file that got its name, in the order of the WAL; a non-zero return
 * is returned. One thread. Memory: none that grows. Errors: ERR_FAILED for bytes that do not follow
 * or are no WAL of this server; those of files.
 */
#ifndef PGCAIRN_WORK_WAL_ASSEMBLE_H
#define PGCAIRN_WORK_WAL_ASSEMBLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "wal/name.h"

enum { WAL_ASSEMBLY_FOLDER_MAX = 3900, WAL_ASSEMBLY_PATH_MAX = 4096, WAL_ASSEMBLY_SYSTEM = 24 };

struct wal_assembled {
    struct wal_name name;
    uint64_t lsn;        /* where its segment begins: before that, nothing depends on it */
    int64_t received_us; /* when its first byte came; monotonic */
};

typedef int (*wal_assembled_function)(const struct wal_assembled *file, void *context,
                                      struct error *err);

struct wal_assembly {
    char folder[WAL_ASSEMBLY_FOLDER_MAX];
    char system[WAL_ASSEMBLY_SYSTEM];
    int64_t segment_size;
    wal_assembled_function finished;
    void *context;
    uint32_t timeline;   /* 0 before the first begin */
    uint64_t start;      /* of the segment that is being received */
    uint64_t lsn;        /* of the next byte */
    int fd;              /* of the part, -1 while none is begun */
    int64_t received_us; /* of its first byte */
};

void wal_assembly_init(struct wal_assembly *assembly, const char *folder, const char *system,
                       int64_t segment_size, wal_assembled_function finished, void *context);
void wal_assembly_clear(struct wal_assembly *assembly);

int wal_assembly_begin(struct wal_assembly *assembly, uint32_t timeline, uint64_t lsn,
                       struct error *err);
int wal_assembly_add(struct wal_assembly *assembly, uint64_t lsn, const void *data, size_t length,
                     struct error *err);
int wal_assembly_end_timeline(struct wal_assembly *assembly, struct error *err);
int wal_assembly_history(struct wal_assembly *assembly, uint32_t timeline, const char *text,
                         size_t length, struct error *err);

/* Where the segment begins that is being received: all before it has become files. */
uint64_t wal_assembly_start(const struct wal_assembly *assembly);

/* Names the folder of a server's files and makes it. */
int wal_assembly_folder(const char *state, const char *cluster, const char *system,
                        char folder[WAL_ASSEMBLY_FOLDER_MAX], struct error *err);
void wal_assembly_path(const char *folder, const struct wal_name *name,
                       char path[WAL_ASSEMBLY_PATH_MAX]);

/* Calls visit for every file of a folder that has its name, in the order in which they are to be
 * stored, and removes parts: what an earlier receiver left. */
int wal_assembly_leftovers(const char *folder, int64_t segment_size, wal_assembled_function visit,
                           void *context, struct error *err);

#endif
