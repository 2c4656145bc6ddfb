#include "pack/volume.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>

enum { BLOCK_BYTES = 256 << 10, MEMBER_MODE = 0600, NAME_SHOWN_MAX = 256 };

struct volume {
    struct archive *archive; /* NULL for VOLUME_PLAIN */
    struct archive_entry *entry;
    struct store_writer *writer;
    struct rate *rate;
    enum volume_kind kind;
    int64_t time_us;
    int64_t stored, plain;
    char member[NAME_SHOWN_MAX]; /* of a tar, for messages */
    int64_t missing;             /* bytes that were told of the member and have not come yet */
    /* Once the store has refused, or the volume is given up, what libarchive still wants to write
     * goes nowhere: were it told of the failure, it would not free all it has (libarchive 3.6). */
    struct error store_error;
    bool is_over;
};

static int put_bytes(struct volume *volume, const void *data, size_t length, struct error *err)
{
    if (volume->rate)
        rate_take(volume->rate, (int64_t)length);
    int rc = store_write(volume->writer, data, length, err);
    if (!rc)
        volume->stored += (int64_t)length;
    return rc;
}

static la_ssize_t on_write(struct archive *archive, void *context, const void *data, size_t length)
{
    struct volume *volume = context;
    (void)archive;
    if (!volume->is_over && put_bytes(volume, data, length, &volume->store_error))
        volume->is_over = true;
    return (la_ssize_t)length;
}

/* 0 while the store takes what it gets. */
static int store_failed(struct volume *volume, struct error *err)
{
    if (volume->store_error.code && err)
        *err = volume->store_error;
    return volume->store_error.code;
}

static int archive_failed(struct volume *volume, struct error *err)
{
    int rc = store_failed(volume, err);
    if (rc)
        return rc;
    const char *text = archive_error_string(volume->archive);
    return error_set(err, ERR_IO, "could not write a volume: %s",
                     text ? text : "libarchive failed");
}

static bool set_filter(struct archive *archive, const struct volume_options *options)
{
    char level[16], threads[16];
    snprintf(level, sizeof(level), "%d", options->level);
    snprintf(threads, sizeof(threads), "%d", options->threads);
    return archive_write_add_filter_zstd(archive) == ARCHIVE_OK &&
           archive_write_set_filter_option(archive, "zstd", "compression-level", level) ==
               ARCHIVE_OK &&
           (options->threads == 0 ||
            archive_write_set_filter_option(archive, "zstd", "threads", threads) == ARCHIVE_OK);
}

static int open_archive(struct volume *volume, const struct volume_options *options,
                        struct error *err)
{
    struct archive *archive = volume->archive = archive_write_new();
    volume->entry = archive_entry_new();
    if (!archive || !volume->entry)
        return error_no_memory(err);
    int format = volume->kind == VOLUME_TAR ? archive_write_set_format_pax_restricted(archive)
                                            : archive_write_set_format_raw(archive);
    if (format != ARCHIVE_OK || !set_filter(archive, options) ||
        archive_write_set_bytes_per_block(archive, BLOCK_BYTES) != ARCHIVE_OK ||
        archive_write_set_bytes_in_last_block(archive, 1) != ARCHIVE_OK ||
        archive_write_open(archive, volume, NULL, on_write, NULL) != ARCHIVE_OK)
        return archive_failed(volume, err);
    return 0;
}

static unsigned file_type(enum member_type type)
{
    return type == MEMBER_FILE ? AE_IFREG : type == MEMBER_FOLDER ? AE_IFDIR : AE_IFLNK;
}

/* The entry's header; size < 0 where the format keeps none. */
static int write_header(struct volume *volume, const struct tar_member *member, struct error *err)
{
    struct archive_entry *entry = volume->entry;
    archive_entry_clear(entry);
    archive_entry_set_pathname(entry, member->name);
    archive_entry_set_filetype(entry, file_type(member->type));
    archive_entry_set_perm(entry, member->mode);
    archive_entry_set_uid(entry, member->uid);
    archive_entry_set_gid(entry, member->gid);
    archive_entry_set_mtime(entry, member->time_us / US_PER_SECOND, 0);
    if (member->type == MEMBER_LINK)
        archive_entry_set_symlink(entry, member->target);
    if (member->size >= 0)
        archive_entry_set_size(entry, member->size);
    if (archive_write_header(volume->archive, entry) != ARCHIVE_OK)
        return archive_failed(volume, err);
    return store_failed(volume, err);
}

/* A plain file as volumes of rows have them. */
static struct tar_member plain_member(const struct volume *volume, const char *name, int64_t size)
{
    return (struct tar_member){.type = MEMBER_FILE,
                               .name = name,
                               .target = "",
                               .size = size,
                               .mode = MEMBER_MODE,
                               .time_us = volume->time_us};
}

int volume_create(struct store *store, const char *key, enum volume_kind kind,
                  const struct volume_options *options, struct volume **ret_volume,
                  struct error *err)
{
    _cleanup_(volume_freep) struct volume *volume = calloc(1, sizeof(*volume));
    if (!volume)
        return error_no_memory(err);
    volume->kind = kind;
    volume->time_us = options->time_us;
    volume->rate = options->rate;
    unsigned flags = STORE_RETAIN | (options->if_absent ? STORE_IF_ABSENT : 0);
    int rc = store_create(store, key, flags, &volume->writer, err);
    if (!rc && kind != VOLUME_PLAIN)
        rc = open_archive(volume, options, err);
    struct tar_member data = plain_member(volume, "data", -1);
    if (!rc && kind == VOLUME_ZSTD)
        rc = write_header(volume, &data, err);
    if (!rc)
        *ret_volume = TAKE(volume);
    return rc;
}

/* libarchive would fill a short member up with zeros. */
static int check_member_whole(const struct volume *volume, struct error *err)
{
    if (volume->missing == 0)
        return 0;
    return error_set(err, ERR_FAILED, "member \"%s\" of a volume lacks %lld bytes", volume->member,
                     (long long)volume->missing);
}

int volume_begin_member(struct volume *volume, const struct tar_member *member, struct error *err)
{
    int rc = check_member_whole(volume, err);
    if (!rc)
        rc = write_header(volume, member, err);
    if (rc)
        return rc;
    snprintf(volume->member, sizeof(volume->member), "%s", member->name);
    volume->missing = member->size;
    return 0;
}

int volume_begin(struct volume *volume, const char *name, int64_t size, struct error *err)
{
    struct tar_member member = plain_member(volume, name, size);
    return volume_begin_member(volume, &member, err);
}

int volume_data(struct volume *volume, const void *data, size_t length, struct error *err)
{
    if (volume->kind == VOLUME_PLAIN) {
        int rc = put_bytes(volume, data, length, err);
        volume->plain += rc ? 0 : (int64_t)length;
        return rc;
    }
    if (volume->kind == VOLUME_TAR && (int64_t)length > volume->missing)
        return error_set(err, ERR_FAILED, "member \"%s\" of a volume is larger than was told",
                         volume->member);
    const char *from = data;
    while (length > 0) {
        la_ssize_t n = archive_write_data(volume->archive, from, length);
        if (n <= 0)
            return archive_failed(volume, err);
        from += n;
        length -= (size_t)n;
        volume->plain += n;
        volume->missing -= volume->kind == VOLUME_TAR ? n : 0;
    }
    return store_failed(volume, err);
}

int volume_add(struct volume *volume, const char *name, const void *data, size_t length,
               struct error *err)
{
    int rc = volume_begin(volume, name, (int64_t)length, err);
    return rc ? rc : volume_data(volume, data, length, err);
}

int64_t volume_stored(const struct volume *volume)
{
    return volume->stored;
}

int64_t volume_plain(const struct volume *volume)
{
    return volume->plain;
}

int volume_commit(struct volume *volume, struct store_object *ret_object, struct error *err)
{
    int rc = check_member_whole(volume, err);
    if (rc)
        return rc;
    if (volume->archive && archive_write_close(volume->archive) != ARCHIVE_OK)
        return archive_failed(volume, err);
    rc = store_failed(volume, err);
    return rc ? rc : store_commit(volume->writer, ret_object, err);
}

struct volume *volume_free(struct volume *volume)
{
    if (!volume)
        return NULL;
    volume->is_over = true; /* freeing writes what was pending */
    archive_write_free(volume->archive);
    archive_entry_free(volume->entry);
    store_writer_free(volume->writer);
    free(volume);
    return NULL;
}
