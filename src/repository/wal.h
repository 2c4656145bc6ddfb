/*
 * WAL as objects of a repository (format.md, "wal"): one server file each, named by its content
 * too, never replaced.
 *
 *     wal_info_agree(repository, system, segment_size, err);      before the first segment
 *     wal_object_put(repository, &put, &object, &was_there, err); stored and confirmed, or an error
 *     wal_object_find(repository, system, &name, &object, err);   which object a file is
 *     wal_object_get(repository, &object, size, fd, err);         its plain bytes, verified
 *     wal_facts_read(repository, system, &facts, err);            everything, as ranges
 *
 * `system` is a system identifier in decimal. Errors: those of store.h, and ERR_NOT_FOUND when
 * nothing is stored under a name, ERR_CORRUPT for two contents under one name and for an object
 * that is not what its key says, ERR_EXISTS when other content is to be stored under a name.
 * Threads may share a repository here.
 */
#ifndef PGCAIRN_REPOSITORY_WAL_H
#define PGCAIRN_REPOSITORY_WAL_H

#include "base/strv.h"
#include "facts/wal.h"
#include "pack/volume.h"
#include "repository/repository.h"
#include "wal/name.h"

enum { WAL_HASH = 16 }; /* hex digits of the SHA-256 in a key */

struct wal_object {
    struct wal_name name;
    char hash[WAL_HASH + 1];
    char key[STORE_KEY_MAX + 1];
    int64_t size; /* bytes stored */
    int64_t stored_us;
};

/* The system identifiers of which there is WAL. */
int wal_systems(const struct repository *repository, struct strv *ret_systems, struct error *err);

/* ERR_NOT_FOUND while no segment was ever stored. */
int wal_info_read(const struct repository *repository, const char *system,
                  int64_t *ret_segment_size, struct error *err);
/* Makes it, or compares: ERR_FAILED when the server's segments have another size. */
int wal_info_agree(const struct repository *repository, const char *system, int64_t segment_size,
                   struct error *err);

/* Where a file with that content belongs; with hash NULL what the keys of all its contents begin
 * with. */
int wal_object_key(const struct repository *repository, const char *system,
                   const struct wal_name *name, const char *hash, char key[STORE_KEY_MAX + 1],
                   struct error *err);

int wal_object_find(const struct repository *repository, const char *system,
                    const struct wal_name *name, struct wal_object *ret_object, struct error *err);

/* The segments (nothing else) of one log of a timeline in ascending order, two contents of one name
 * one after the other. A non-zero return of visit ends it and is returned. */
typedef int (*wal_visit)(const struct wal_object *object, void *context, struct error *err);
int wal_object_list(const struct repository *repository, const char *system, uint32_t timeline,
                    uint32_t log, wal_visit visit, void *context, struct error *err);

/* Whether the timeline has a segment behind that one; for a history, any segment of the timeline.
 * A few listings, however much there is. */
int wal_later_exists(const struct repository *repository, const char *system,
                     const struct wal_name *name, bool *ret_exists, struct error *err);

struct wal_put {
    const char *system;
    struct wal_name name;
    int fd;       /* read from its beginning */
    int64_t size; /* exactly so many bytes */
    const char *path;
    void *memory; /* of the caller's: a file that fits is read once, another one twice */
    size_t memory_size;
    struct volume_options options;
};

/*
 * Stores one file. *ret_was_there: the same content had been stored before. ERR_EXISTS when the
 * name has other content (nothing is stored), ERR_CORRUPT when another one stored other content at
 * the same moment or the file changed while it was read.
 */
int wal_object_put(const struct repository *repository, const struct wal_put *put,
                   struct wal_object *ret_object, bool *ret_was_there, struct error *err);

/* Writes the plain bytes to fd: exactly `size` of them (-1: whatever there is), with the key's
 * hash. On failure fd has got anything. */
int wal_object_get(const struct repository *repository, const struct wal_object *object,
                   int64_t size, int fd, struct error *err);

/* The same in pieces as they come, to whom a non-zero return ends it and is returned: at most
 * `most` bytes (-1: any number). *ret_stored, if not NULL, is how many stored bytes were read, also
 * on failure. */
typedef int (*wal_take)(void *context, const void *data, size_t length, struct error *err);
int wal_object_read(const struct repository *repository, const struct wal_object *object,
                    int64_t most, wal_take take, void *context, int64_t *ret_stored,
                    struct error *err);

/* The same into a buffer (its limit holds), for histories and labels. */
int wal_object_text(const struct repository *repository, const struct wal_object *object,
                    struct buf *text, struct error *err);

/* ERR_NOT_FOUND when it is not stored; timeline 1 has none, and no ancestors. */
int wal_history_read(const struct repository *repository, const char *system, uint32_t timeline,
                     struct wal_history *ret_history, struct error *err);

int wal_mark_write(const struct repository *repository, const char *system, uint32_t timeline,
                   int64_t time_us, uint64_t lsn, struct error *err);

/* Notes that the segments first to last are lost and known to be, with evidence. */
int wal_acknowledge(struct repository *repository, const char *system, const struct wal_name *first,
                    const struct wal_name *last, const char *reason, int64_t now_us,
                    struct error *err);

/* All that is stored of a system. ERR_NOT_FOUND when nothing is, ERR_UNKNOWN when a listing could
 * not be read whole. Clear it with facts_wal_clear(). */
int wal_facts_read(const struct repository *repository, const char *system,
                   struct facts_wal *ret_facts, struct error *err);

/* The same for all systems of the cluster, into facts->wals. ERR_UNKNOWN also when a folder of WAL
 * does not tell what is in it. */
int wal_facts_read_all(const struct repository *repository, struct facts *facts, struct error *err);

#endif
