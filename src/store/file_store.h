/*
 * What the files of the file:// store share. Keys below have passed store_key_check().
 *
 * Every path inside the root is walked segment by segment with O_NOFOLLOW: a symbolic link inside
 * the repository is refused, so nobody who may write into one folder of it can lead a read, a write
 * or a deletion elsewhere. The root itself may be reached through links. Files are 0600 and folders
 * 0700, because globals.sql holds secrets. A root of mode 2770 says that its group shares it:
 * folders are then 2770 and files 0640, so that of two users one stores WAL and the other dumps and
 * prunes. The root is opened anew by every call: it may be mounted or made at any time.
 *
 * Writes in progress are files of ROOT/.tmp, named after their key with '~' for '/', then '~' and
 * eight random characters; '~' is in no key, so the name can be read back.
 */
#ifndef PGCAIRN_STORE_FILE_STORE_H
#define PGCAIRN_STORE_FILE_STORE_H

#include <pthread.h>

#include "store/store_ops.h"

enum {
    FILE_TEMPORARY_RANDOM = 8,
    FILE_MODE = 0600,
    FILE_FOLDER_MODE = 0700,
    FILE_SHARED_MODE = 0640,
    FILE_SHARED_FOLDER_MODE = 0770,
};

#define FILE_TEMPORARY_FOLDER ".tmp"

struct file_store {
    struct store base;
    char *root;
    pthread_mutex_t folders_lock; /* a folder that a thread finds has been made durable */
};

static inline struct file_store *file_store_of(struct store *store)
{
    return (struct file_store *)store;
}

/* "could not VERB "ROOT/KEY": reason" with the hint that fits. Returns the code. */
int file_store_error(const struct file_store *store, int saved_errno, const char *verb,
                     const char *key, struct error *err);
int file_store_refuse_link(const struct file_store *store, const char *key, struct error *err);

/* What root makes in another user's repository goes to that user, whom it would lock out: a run by
 * hand must not stop the daemon's. Where the file system won't have it, it stays as it is. */
void file_give_to_owner(const struct file_store *store, int fd);

/* What is made in this folder is for its group too. */
bool file_is_shared(int folder);

/* Length of the folder part of a key, without its slash; and the name behind it. */
size_t file_folder_length(const char *key);
const char *file_name_of(const char *key);

/* Opens the folder that is the first `length` bytes of key (0: the root). ERR_NOT_FOUND when it
 * does not exist; the second makes it, durably. */
int file_open_folder(struct file_store *store, const char *key, size_t length, int *ret_fd,
                     struct error *err);
int file_make_folder(struct file_store *store, const char *key, size_t length, int *ret_fd,
                     struct error *err);

/* file_write.c */
int file_store_create(struct store *store, const char *key, unsigned flags,
                      struct store_writer **ret_writer, struct error *err);
int file_store_write(struct store_writer *writer, const void *data, size_t length,
                     struct error *err);
int file_store_commit(struct store_writer *writer, struct store_object *ret_object,
                      struct error *err);
void file_store_writer_free(struct store_writer *writer);

/* file_list.c */
int file_store_list(struct store *store, const char *prefix, bool delimiter, store_visit visit,
                    void *context, struct error *err);
int file_store_list_unfinished(struct store *store, int64_t before_us, store_visit visit,
                               void *context, struct error *err);
int file_store_remove_unfinished(struct store *store, const char *key, int64_t before_us,
                                 struct error *err);

#endif
