/*
 * backup_manifest, the server's list of the files of a backup with their sizes and checksums
 * ("Backup Manifest Format" in PostgreSQL's documentation), read as it comes and proved by the
 * checksum in its last line.
 *
 *     file_list_add(&list, data, length, err);   as often as needed
 *     file_list_end(&list, err);                 proves it, sorts it; now it can be asked
 *     file = file_list_find(&list, "base/5/1259");      NULL when it is not listed
 *
 *     listed_sum_init(&sum, file, err);          what comes of that file's content
 *     listed_sum_add(&sum, data, length, err);   as often as needed
 *     listed_sum_end(&sum, &fits, err);          whether size and checksum are those of the list
 *
 *     file_list_fetch(repository, id, manifest, &list, err);    the whole list of a snapshot
 *     what = file_list_expect(&list, 0, "base/5/1259", &file);  whether it lists what a volume has
 *     what = file_list_judge(file, fits);                       and whether that is it
 *
 * The manifest has a line for each file; only those lines are parsed. Memory: about a hundred bytes
 * a file.
 */
#ifndef PGCAIRN_WORK_RESTORE_MANIFEST_H
#define PGCAIRN_WORK_RESTORE_MANIFEST_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "repository/repository.h"
#include "store/sha256.h"

enum {
    FILE_LIST_LINE_MAX = 64 << 10,
    FILE_LIST_NAMES_MAX = 1 << 30, /* bytes of all names */
    FILE_LIST_MAX = 20000000,
    FILE_LIST_PATH_MAX = 4096,
    LISTED_CRC32C = 4, /* bytes of a checksum: they tell its kind */
    LISTED_SHA256 = SHA256_HEX / 2,
};

struct listed_file {
    size_t name; /* offset in names */
    int64_t size;
    unsigned char checksum[LISTED_SHA256], checksum_bytes;
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
/* Reads that of a snapshot, whose manifest.json tells what was stored. */
int file_list_fetch(struct repository *repository, const char *id, const json_t *manifest,
                    struct file_list *list, struct error *err);

/* Why a file of that name may not be in a volume of the tablespace (0: the data directory), "is not
 * in
 * ..."; NULL when it may. WAL is not in the list, and *ret_file is NULL then: recovery proves each
 * of its records. Threads may share a list here. */
const char *file_list_expect(const struct file_list *list, uint32_t tablespace, const char *name,
                             struct listed_file **ret_file);

/* Why the content is not the file's, by what listed_sum_end() said; NULL when it is, and that is
 * noted: it comes once. */
const char *file_list_judge(struct listed_file *file, bool fits);

/* The name of such a file in the list, whose names of a tablespace's files go through pg_tblspc. */
void file_list_name_of(uint32_t tablespace, const char *name, char listed[FILE_LIST_PATH_MAX]);

void file_list_clear(struct file_list *list);

struct listed_sum {
    const struct listed_file *file; /* NULL: of no file, nothing fits */
    int64_t size;
    uint32_t crc32c;
    struct sha256 *sha256;
};

int listed_sum_init(struct listed_sum *sum, const struct listed_file *file, struct error *err);
int listed_sum_add(struct listed_sum *sum, const void *data, size_t length, struct error *err);
int listed_sum_end(struct listed_sum *sum, bool *ret_fits, struct error *err);
void listed_sum_clear(struct listed_sum *sum);

#endif
