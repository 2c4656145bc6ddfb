/*
 * backup_manifest, the server's list of the files of a backup with their sizes and SHA-256
 * ("Backup Manifest Format" in PostgreSQL's documentation), read as it comes and proved by the
 * checksum in its last line.
 *
 *     file_list_add(&list, data, length, err);   as often as needed
 *     file_list_end(&list, err);                 proves it, sorts it; now it can be asked
 *     file_list_find(&list, "base/5/1259");      NULL when it is not listed
 *
 *     file_list_fetch(repository, id, manifest, &list, err);    all of that, from a snapshot
 *     file_list_judge(&list, 0, "base/5/1259", size, hex)       whether a file is what it says
 *
 * The manifest has a line for each file; only those lines are parsed. Memory: about a hundred bytes
 * a file.
 */
#ifndef PGCAIRN_WORK_RESTORE_MANIFEST_H
#define PGCAIRN_WORK_RESTORE_MANIFEST_H

#include <stdatomic.h>
#include <stdint.h>

#include <jansson.h>

#include "base/buf.h"
#include "repository/repository.h"
#include "store/sha256.h"

enum {
    FILE_LIST_LINE_MAX = 64 << 10,
    FILE_LIST_NAMES_MAX = 1 << 30, /* bytes of all names */
    FILE_LIST_MAX = 20000000,
    FILE_LIST_PATH_MAX = 4096,
};

struct listed_file {
    size_t name; /* offset in names */
    int64_t size;
    unsigned char sha256[SHA256_HEX / 2];
    atomic_bool is_there; /* for the restore: it was written and is right */
};

struct file_list {
    struct listed_file *files;
    size_t count, allocated;
    struct buf names, line;
    struct sha256 *hash;
    bool is_proved;
};

#define FILE_LIST_INIT                                          \
    ((struct file_list){.names = BUF_INIT(FILE_LIST_NAMES_MAX), \
                        .line = BUF_INIT(FILE_LIST_LINE_MAX)})

int file_list_add(struct file_list *list, const void *data, size_t length, struct error *err);
int file_list_end(struct file_list *list, struct error *err);
struct listed_file *file_list_find(const struct file_list *list, const char *name);
const char *file_list_name(const struct file_list *list, const struct listed_file *file);
/* Whether the hash in hex is the file's. */
bool file_list_hash_fits(const struct listed_file *file, const char hex[SHA256_HEX + 1]);
/* Reads that of a snapshot, whose manifest.json tells what was stored. */
int file_list_fetch(struct repository *repository, const char *id, const json_t *manifest,
                    struct file_list *list, struct error *err);

/* Why a file of that name in a volume of the tablespace (0: the data directory) is not what the
 * server listed, "is not in ..."; NULL when it is, and it is noted as being there. WAL is not in
 * the list: recovery proves each of its records. Threads may share a list here. */
const char *file_list_judge(const struct file_list *list, uint32_t tablespace, const char *name,
                            int64_t size, const char hex[SHA256_HEX + 1]);
/* The name of such a file in the list, whose names of a tablespace's files go through pg_tblspc. */
void file_list_name_of(uint32_t tablespace, const char *name, char listed[FILE_LIST_PATH_MAX]);

void file_list_clear(struct file_list *list);

#endif
