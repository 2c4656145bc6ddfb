/*
 * A repository as one cluster sees it: a store, the cluster's name, and the rules of format.md.
 *
 *     repository_open(url, &options, cluster, &repository, err);      reads pgcairn.json if it is
 * there repository_prepare(repository, err);                  before the first write: makes it
 *     repository_admit_cluster(repository, &server, now_us, err);   before anything is stored
 *     ... backup.h, manifest.h, catalogue.h, holds.h, evidence.h, locks.h, remove.h ...
 *     repository_free(repository);
 *
 * Errors: ERR_UNKNOWN where something exists and can't be read; ERR_FAILED for a newer format and
 * for a server that was not admitted; those of store.h. Threads may share a repository.
 */
#ifndef PGCAIRN_REPOSITORY_REPOSITORY_H
#define PGCAIRN_REPOSITORY_REPOSITORY_H

#include <jansson.h>
#include <stdatomic.h>

#include "facts/facts.h"
#include "store/store.h"

enum {
    REPOSITORY_FORMAT = 1,
    REPOSITORY_CLUSTER_MAX = 63,          /* bytes of a cluster's name */
    REPOSITORY_DOCUMENT_MAX = 1 << 20,    /* bytes of any document but a manifest */
    REPOSITORY_SYSTEMS_MAX = 1000,        /* system identifiers of one cluster over its life */
    REPOSITORY_SYSTEM_IDENTIFIER_MAX = 20 /* digits of a 64-bit number */
};

struct repository {
    struct store *store;
    /* The same place through a handle of its own, which repository_stop() leaves alone: for locks,
     * and for taking away what an ended work leaves behind. NULL in a keeper. */
    struct repository *keeper;
    char cluster[REPOSITORY_CLUSTER_MAX + 1];
    bool is_new;                  /* nothing had ever been written there when it was opened */
    atomic_int locks;             /* enum repository_locks */
    atomic_llong evidence_number; /* a record known to exist: where looking for the tip begins */
};

/* Whether objects may be under an object lock (S3), so that asking is worth a request. */
enum repository_locks { LOCKS_NOT_ASKED, LOCKS_IMPOSSIBLE, LOCKS_POSSIBLE };

/* What a server says of itself. */
struct repository_server {
    const char *system_identifier; /* decimal, of pg_control_system() */
    const char *version;           /* "15.14 (Debian 15.14-0+deb12u1)" */
    int version_num;               /* 150014 */
};

/* options may be NULL. */
int repository_open(const char *url, const struct store_options *options, const char *cluster,
                    struct repository **ret_repository, struct error *err);
struct repository *repository_free(struct repository *repository);
/* store_stop() for the work: what is in flight ends soon, the keeper goes on. From any thread. */
void repository_stop(struct repository *repository);

/* False only when the store has said that no object of it can be locked; asked once. */
bool repository_may_lock(struct repository *repository);

int repository_prepare(struct repository *repository, struct error *err);

/* The first server ever seen is admitted, later only one with the same system identifier; notes
 * the version and the time in cluster.json. */
int repository_admit_cluster(struct repository *repository, const struct repository_server *server,
                             int64_t now_us, struct error *err);

/* The same question without a note: ERR_NOT_FOUND when no server was ever admitted. */
int repository_check_cluster(const struct repository *repository, const char *system_identifier,
                             struct error *err);

/* The admitted one; ERR_NOT_FOUND when there is none. */
int repository_read_system(const struct repository *repository,
                           char system_identifier[REPOSITORY_SYSTEM_IDENTIFIER_MAX + 1],
                           struct error *err);

/* Makes this server the cluster, with evidence. *ret_previous (the caller frees) is the identifier
 * before, NULL when there was none; equal to the server's own when nothing had to change. */
int repository_adopt_cluster(struct repository *repository, const struct repository_server *server,
                             const char *reason, int64_t now_us, char **ret_previous,
                             struct error *err);

/* CLUSTER/FORMATTED as a key. ERR_USAGE when it is none. */
int repository_key(const struct repository *repository, char key[STORE_KEY_MAX + 1],
                   struct error *err, const char *format, ...) _printf_(4, 5);
/* CLUSTER/dumps/ID/NAME; with name NULL the folder with its '/'. */
int repository_backup_key(const struct repository *repository, enum backup_kind kind,
                          const char *id, const char *name, char key[STORE_KEY_MAX + 1],
                          struct error *err);

/* Reads a JSON object of at most limit bytes: ERR_NOT_FOUND, ERR_CORRUPT, or that of the store. */
int repository_read_json(const struct repository *repository, const char *key, size_t limit,
                         json_t **ret_object, struct error *err);
/* Takes the reference, also on failure; NULL means that building it ran out of memory. */
int repository_write_json(const struct repository *repository, const char *key, json_t *object,
                          unsigned flags, struct error *err);

DEFINE_FREEP(struct repository *, repository_free)

#endif
