/*
 * manifest.json, the document that makes a backup exist (format.md). It is a jansson object: the
 * dump builds it whole, list and prune read only its summary, restore and show walk all of it.
 */
#ifndef PGCAIRN_REPOSITORY_MANIFEST_H
#define PGCAIRN_REPOSITORY_MANIFEST_H

#include <jansson.h>

#include "repository/repository.h"
#include "store/sha256.h"

enum {
    MANIFEST_FORMAT = 1,
    MANIFEST_BYTES_MAX = 256 << 20,
    MANIFEST_DATABASES_MAX = 100000,
};

/* What is about to be called a backup must be there still, whole: one listing of its folder against
 * the manifest's objects and their sizes. ERR_CONFLICT names the first that is not. */
int manifest_check_stored(struct repository *repository, enum backup_kind kind, const char *id,
                          const json_t *manifest, struct error *err);

/* Stores it, never over an existing one. Checks that it has what a reader demands. The reference
 * stays the caller's. */
int manifest_write(struct repository *repository, enum backup_kind kind, const char *id,
                   const json_t *manifest, struct error *err);

/* ERR_NOT_FOUND when there is none; ERR_CORRUPT when it is damaged, of another id or kind;
 * ERR_FAILED when its format is newer. */
int manifest_read(struct repository *repository, enum backup_kind kind, const char *id,
                  json_t **ret_manifest, struct error *err);

/* The same, with the SHA-256 of its bytes as they are stored; that is set also when they are
 * corrupt. */
int manifest_read_hashed(struct repository *repository, enum backup_kind kind, const char *id,
                         json_t **ret_manifest, char ret_sha256[SHA256_HEX + 1], struct error *err);

/* The SHA-256 of the bytes that manifest_write() stores. */
int manifest_hash(const json_t *manifest, char sha256[SHA256_HEX + 1], struct error *err);

/* Fills what the facts say of a good backup: all but state, verification and locks. */
int manifest_summary(const json_t *manifest, struct facts_backup *backup, struct error *err);

/* The entry of "objects" or "databases" with that name; NULL when there is none. Borrowed. */
const json_t *manifest_object(const json_t *manifest, const char *name);
const json_t *manifest_database(const json_t *manifest, const char *name);

/* Whether a database's entry lists the extension. */
bool manifest_has_extension(const json_t *database, const char *name);

#endif
