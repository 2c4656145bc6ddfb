/*
 * What dumps and snapshots have in common while they are made: the folder that begins with
 * started.json, its heartbeat, and what is removed again when the work fails in order.
 *
 *     making_begin(work, BACKUP_SNAPSHOT, &identity, &making, err);   admits the server first
 *     making_key(&making, "base-0001.tar.zst", key);
 *     making_beat(&making, err);          often; writes hourly. One thread.
 *     making_complete(&making, manifest, err);   the manifest: with it the backup exists
 *     making_discard(&making);            after a failure: nothing stays
 */
#ifndef PGCAIRN_WORK_MAKING_H
#define PGCAIRN_WORK_MAKING_H

#include "repository/backup.h"
#include "work/work.h"

enum { MAKING_PREFIX_MAX = 128 };

struct making {
    const struct work *work;
    struct started started;
    char prefix[MAKING_PREFIX_MAX]; /* key of the backup's folder, no slash at the end */
};

/* An empty system identifier was not told by the server: nothing is admitted then. */
int making_begin(const struct work *work, enum backup_kind kind,
                 const struct repository_server *server, struct making *ret_making,
                 struct error *err);
void making_key(const struct making *making, const char *name, char key[STORE_KEY_MAX + 1]);
int making_beat(struct making *making, struct error *err);
/* Adds for which due instant and under which fence it is made, looks whether all that the manifest
 * lists is stored and the locks are still this run's, writes it, and notes in the evidence which
 * manifest it is, so that a change or loss of it shows. */
int making_complete(const struct making *making, json_t *manifest, struct error *err);
/* Nothing stays, but for what an object lock holds or can't be deleted now: that is garbage which
 * prune finds. */
void making_discard(const struct making *making);

#endif
