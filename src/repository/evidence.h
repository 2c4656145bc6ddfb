/*
 * Evidence: numbered, hash-chained records of what was deleted, held, adopted, drilled, audited.
 * A record is created only if absent and never altered; each holds the SHA-256 of the one before
 * (format.md).
 *
 * The tip is found with a number of look-ups that grows with the logarithm of the chain, for the
 * records have no holes unless one was removed. In that case a record may be put into the hole; its
 * neighbour then does not fit, which evidence_verify() reports either way.
 */
#ifndef PGCAIRN_REPOSITORY_EVIDENCE_H
#define PGCAIRN_REPOSITORY_EVIDENCE_H

#include "repository/repository.h"
#include "store/sha256.h"

enum { EVIDENCE_ATTEMPTS = 1000 }; /* to link a record while others add theirs */

struct evidence_tip {
    int64_t number;              /* 0: no records */
    char sha256[SHA256_HEX + 1]; /* of the stored bytes of that record; zeros when none */
};

/* Appends a record. Takes the reference to body, also on failure. ret_tip may be NULL. */
int evidence_add(struct repository *repository, const char *type, json_t *body,
                 struct evidence_tip *ret_tip, struct error *err);

/* The same for a body that says what records before it say: it is made anew for each attempt, and
 * written only if nothing came between. make fills *ret_body, whose reference is taken. */
typedef int (*evidence_make)(void *context, json_t **ret_body, struct error *err);
int evidence_add_made(struct repository *repository, const char *type, evidence_make make,
                      void *context, struct evidence_tip *ret_tip, struct error *err);

/* One record; ERR_NOT_FOUND when there is none of that number. */
int evidence_read(const struct repository *repository, int64_t number, json_t **ret_record,
                  struct error *err);

/* The newest record of a type: two look-ups behind the tip's, for each record tells where the
 * newest of each type before it are. *ret_number is 0 and *ret_record NULL when there is none. */
int evidence_find_newest(struct repository *repository, const char *type, int64_t *ret_number,
                         json_t **ret_record, struct error *err);

/* The same in two steps, for who asks for several types: {TYPE: NUMBER} of all, then one of them.
 */
int evidence_read_newest(struct repository *repository, json_t **ret_newest, struct error *err);
int evidence_read_listed(const struct repository *repository, const json_t *newest,
                         const char *type, int64_t *ret_number, json_t **ret_record,
                         struct error *err);

int evidence_read_tip(struct repository *repository, struct evidence_tip *ret_tip,
                      struct error *err);

/* Called for each record in order; a non-zero return ends the walk and is returned. */
typedef int (*evidence_visit)(const json_t *record, void *context, struct error *err);

/* Reads the whole chain and proves it: ERR_CORRUPT names the first record that is missing, damaged
 * or does not fit. `known` (NULL for none) is a tip kept elsewhere: the chain must contain it.
 * visit may be NULL. */
int evidence_verify(struct repository *repository, const struct evidence_tip *known,
                    evidence_visit visit, void *context, struct evidence_tip *ret_tip,
                    struct error *err);

#endif
