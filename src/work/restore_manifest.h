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
 * The manifest has a line for each file; only those lines are parsed. Memory: about a hundred bytes
 * a file.
 */
#ifndef PGCAIRN_WORK_RESTORE_MANIFEST_H
#define PGCAIRN_WORK_RESTORE_MANIFEST_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "store/sha256.h"

enum {
    FILE_LIST_LINE_MAX = 64 << 10,
    FILE_LIST_NAMES_MAX = 1 << 30, /* bytes of all names */
    FILE_LIST_MAX = 20000000,
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
