/*
 * Whole files: read with a limit, replaced so that a crash leaves either the old or the new content
 * and never a mixture (a temporary file beside it, fsync, rename, fsync of the folder).
 */
#ifndef PGCAIRN_BASE_FILE_H
#define PGCAIRN_BASE_FILE_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"

/* Adds the content of the file to buf; ERR_LIMIT when it does not fit. */
int file_read(const char *path, struct buf *buf, struct error *err);

/* Writes content durably under path with exactly this mode. */
int file_replace(const char *path, const void *data, size_t length, mode_t mode, struct error *err);

/* Writes all bytes, whatever write(2) does at once. `path` is for the message. */
int file_write_all(int fd, const char *path, const void *data, size_t length, struct error *err);

/* Makes the folder and its missing parents, fsyncing each parent that gained an entry. */
int file_make_folders(const char *path, mode_t mode, struct error *err);

/* fsync of a folder, so that renames and creations in it last. */
int file_sync_folder(const char *path, struct error *err);

/* Fills `text` with `length` characters of [a-z0-9] from the system's random source, and a NUL. */
int file_random_name(char *text, size_t length, struct error *err);

#endif
