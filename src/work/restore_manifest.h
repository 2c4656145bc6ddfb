/*
 * backup_manifest, the server's list of the files of a backup with their sizes and SHA-256
 * ("Backup Manifest Format" in PostgreSQL's documentation), read as it comes and proved by the
 * checksum in its last line.
 *
 *     file_list_add(&list, data, length, err);   as often as needed
 *     file_list_end(&list, err);                 proves it, sorts it; now it can be asked
 *     file_list_find(&list, "base/5/1259");      NULL when it is not listed
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
void file_list_clear(struct file_list *list);

#endif
