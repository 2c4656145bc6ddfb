/*
 * What verifications have proved of each backup and of the WAL, kept in evidence (format.md,
 * "verified"): a record of each run tells what was proved up to it, so the newest one is enough.
 * Several verifications may run at once: who writes takes in what others have written since it
 * read, so none loses what another found.
 *
 *     proof_read(repository, &proof, err);         as of the newest run
 *     proof_apply(&proof, &facts);                 levels and faults into the facts
 *     proof_read_all(repository, &proof, err);     and what was made and removed since, with the
 *                                                  hashes of manifests: for a verification
 *     proof_find(&proof, id), proof_add(...)       what is known, and a place for what is new
 *     proof_looked(backup, level, is_well, now)    a look at a backup and what came of it
 *     proof_write(repository, &proof, run, err);   adds the record
 *     proof_clear(&proof);
 *
 * Errors: ERR_CORRUPT when a record can't be understood, those of store.h. Not shared by threads.
 */
#ifndef PGCAIRN_REPOSITORY_PROOF_H
#define PGCAIRN_REPOSITORY_PROOF_H

#include "repository/ids.h"
#include "repository/repository.h"
#include "store/sha256.h"
#include "wal/name.h"

enum {
    PROOF_RECORD_MAX = 2500, /* backups and spans of WAL in one record */
    PROOF_BACKUPS_MAX = 1000000,
    PROOF_SPANS_MAX = 1000000,
};

struct proof_backup {
    char id[ID_SIZE];
    enum backup_kind kind;
    int level; /* the deepest that was proved, 0: none; and when */
    int64_t at_us;
    int failed_level; /* of the run that found a fault; 0: none did since it passed as deep a one */
    int64_t failed_us;
    char manifest_sha256[SHA256_HEX + 1]; /* "" when not known */
};

/* Segments of one timeline that were read and found right, or among which one was not. */
struct proof_span {
    char system[REPOSITORY_SYSTEM_IDENTIFIER_MAX + 1];
    struct wal_name first, last;
    int64_t at_us;
    bool has_fault;
};

struct proof {
    int64_t number; /* of the newest such record; 0: there is none */
    int64_t upto;   /* the record of evidence up to which backups were made and removed */
    struct proof_backup *backups;
    size_t backup_count, backup_allocated;
    struct proof_span *spans;
    size_t span_count, span_allocated;
};

int proof_read(struct repository *repository, struct proof *ret_proof, struct error *err);
/* newest: of evidence_read_newest(). */
int proof_read_listed(struct repository *repository, const json_t *newest, struct proof *ret_proof,
                      struct error *err);
int proof_read_all(struct repository *repository, struct proof *ret_proof, struct error *err);
void proof_clear(struct proof *proof);

struct proof_backup *proof_find(const struct proof *proof, const char *id);
/* The entry of that id, made with level 0 when there is none; valid until the next one is made. */
int proof_add(struct proof *proof, enum backup_kind kind, const char *id,
              struct proof_backup **ret_backup, struct error *err);
void proof_forget(struct proof *proof, const char *id);
/* A fault takes back what was proved before. One that a less deep look did not see stays. */
void proof_looked(struct proof_backup *backup, int level, bool is_well, int64_t now_us);
int proof_add_span(struct proof *proof, const struct proof_span *span, struct error *err);
/* A span that was looked at; what was known of segments within it is forgotten. */
int proof_looked_span(struct proof *proof, const struct proof_span *span, struct error *err);

void proof_apply(const struct proof *proof, struct facts *facts);

/* `run` is the body of the record but for "proofs"; the reference is taken, also on failure. What
 * does not fit into one record goes into further ones; they count when the last one is written.
 * The proof is then as it was written, with what others have found. */
int proof_write(struct repository *repository, struct proof *proof, json_t *run, struct error *err);

#endif
