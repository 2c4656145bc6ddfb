#include "pack/volume.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

enum { READ_BYTES = 256 << 10 };

struct volume_reader {
    struct archive *archive; /* NULL for VOLUME_PLAIN */
    struct store_reader *reader;
    EVP_MD_CTX *digest; /* NULL when nothing is expected */
    enum volume_kind kind;
    bool stream_begun, stream_empty;
    struct store_object expected;
    char key[STORE_KEY_MAX + 1];
    char name[TAR_NAME_MAX + 1]; /* of the member of an archive */
    int64_t stored;
    struct error store_error;
    char buffer[READ_BYTES];
};

static int take_bytes(struct volume_reader *reader, size_t *ret_length, struct error *err)
{
    int rc = store_read(reader->reader, reader->buffer, sizeof(reader->buffer), ret_length, err);
    if (rc)
        return rc;
    reader->stored += (int64_t)*ret_length;
    if (reader->digest && EVP_DigestUpdate(reader->digest, reader->buffer, *ret_length) != 1)
        return error_set(err, ERR_FAILED, "could not compute a SHA-256");
    return 0;
}

static la_ssize_t on_read(struct archive *archive, void *context, const void **ret_data)
{
    struct volume_reader *reader = context;
    size_t length = 0;
    if (take_bytes(reader, &length, &reader->store_error)) {
        archive_set_error(archive, EIO, "the store failed");
        return -1;
    }
    *ret_data = reader->buffer;
    return (la_ssize_t)length;
}

static int read_failed(struct volume_reader *reader, struct error *err)
{
    if (reader->store_error.code) {
        if (err)
            *err = reader->store_error;
        return reader->store_error.code;
    }
    const char *text = archive_error_string(reader->archive);
    error_set(err, ERR_CORRUPT, "\"%s\" is damaged after %lld stored bytes: %s", reader->key,
              (long long)reader->stored, text ? text : "it can't be read");
    return error_hint(err, "restore from another backup (pgcairn list), and find out what changed "
                           "the stored file");
}

static int open_archive(struct volume_reader *reader, struct error *err)
{
    struct archive *archive = reader->archive = archive_read_new();
    if (!archive)
        return error_no_memory(err);
    int format = reader->kind == VOLUME_TAR ? archive_read_support_format_tar(archive)
                                            : archive_read_support_format_raw(archive);
    if (reader->kind == VOLUME_ZSTD && format == ARCHIVE_OK)
        format = archive_read_support_format_empty(archive); /* "raw" has at least a byte */
    if (format != ARCHIVE_OK || archive_read_support_filter_zstd(archive) != ARCHIVE_OK ||
        archive_read_open(archive, reader, NULL, on_read, NULL) != ARCHIVE_OK)
        return read_failed(reader, err);
    return 0;
}

int volume_read_open(struct store *store, const char *key, enum volume_kind kind,
                     const struct store_object *expected, struct volume_reader **ret_reader,
                     struct error *err)
{
    _cleanup_(volume_reader_freep) struct volume_reader *reader = calloc(1, sizeof(*reader));
    if (!reader)
        return error_no_memory(err);
    reader->kind = kind;
    snprintf(reader->key, sizeof(reader->key), "%s", key);
    if (expected) {
        reader->expected = *expected;
        reader->digest = EVP_MD_CTX_new();
        if (!reader->digest || EVP_DigestInit_ex(reader->digest, EVP_sha256(), NULL) != 1)
            return error_no_memory(err);
    }
    int rc = store_read_open(store, key, 0, STORE_READ_TO_END, &reader->reader, err);
    if (!rc && kind != VOLUME_PLAIN)
        rc = open_archive(reader, err);
    if (!rc)
        *ret_reader = TAKE(reader);
    return rc;
}

static int next_stream(struct volume_reader *reader, const char **ret_name, int64_t *ret_size)
{
    *ret_name = reader->stream_begun ? NULL : "data";
    *ret_size = -1;
    reader->stream_begun = true;
    return 0;
}

static int next_entry(struct volume_reader *reader, struct archive_entry **ret_entry,
                      struct error *err)
{
    int status = archive_read_next_header(reader->archive, ret_entry);
    if (status == ARCHIVE_EOF)
        *ret_entry = NULL;
    else if (status != ARCHIVE_OK)
        return read_failed(reader, err);
    return 0;
}

int volume_next(struct volume_reader *reader, const char **ret_name, int64_t *ret_size,
                struct error *err)
{
    if (reader->kind == VOLUME_PLAIN || reader->stream_begun)
        return next_stream(reader, ret_name, ret_size);
    struct archive_entry *entry;
    int rc = next_entry(reader, &entry, err);
    if (rc)
        return rc;
    if (reader->kind == VOLUME_ZSTD) {
        reader->stream_empty = !entry;
        return next_stream(reader, ret_name, ret_size);
    }
    if (!entry) {
        *ret_name = NULL;
        return 0;
    }
    const char *name = archive_entry_pathname(entry);
    if (!name || archive_entry_filetype(entry) != AE_IFREG)
        return error_set(err, ERR_CORRUPT, "\"%s\" has a member that is no file", reader->key);
    *ret_name = name;
    *ret_size = archive_entry_size(entry);
    return 0;
}

static bool take_type(unsigned type, enum member_type *ret_type)
{
    *ret_type = type == AE_IFREG ? MEMBER_FILE : type == AE_IFDIR ? MEMBER_FOLDER : MEMBER_LINK;
    return type == AE_IFREG || type == AE_IFDIR || type == AE_IFLNK;
}

int volume_next_member(struct volume_reader *reader, struct tar_member *ret_member, bool *ret_found,
                       struct error *err)
{
    struct archive_entry *entry;
    struct tar_member member = {0};
    int rc = next_entry(reader, &entry, err);
    if (rc)
        return rc;
    *ret_found = entry != NULL;
    if (!entry)
        return 0;
    const char *name = archive_entry_pathname(entry);
    if (!name || strlen(name) > TAR_NAME_MAX ||
        !take_type(archive_entry_filetype(entry), &member.type))
        return error_set(err, ERR_CORRUPT, "\"%s\" has a member of an unknown kind", reader->key);
    int length = (int)strlen(name);
    while (length > 1 && name[length - 1] == '/')
        length--;
    snprintf(reader->name, sizeof(reader->name), "%.*s", length, name);
    member.name = reader->name;
    member.target = member.type == MEMBER_LINK ? archive_entry_symlink(entry) : "";
    if (!member.target)
        return error_set(err, ERR_CORRUPT, "\"%s\" has a link that leads nowhere", reader->key);
    member.size = member.type == MEMBER_FILE ? archive_entry_size(entry) : 0;
    member.mode = archive_entry_perm(entry);
    member.uid = archive_entry_uid(entry);
    member.gid = archive_entry_gid(entry);
    member.time_us = (int64_t)archive_entry_mtime(entry) * US_PER_SECOND;
    *ret_member = member;
    return 0;
}

int volume_read(struct volume_reader *reader, const void **ret_data, size_t *ret_length,
                struct error *err)
{
    if (reader->kind == VOLUME_PLAIN) {
        *ret_data = reader->buffer;
        return take_bytes(reader, ret_length, err);
    }
    if (reader->stream_empty) {
        *ret_length = 0;
        return 0;
    }
    la_int64_t offset;
    int status;
    do
        status = archive_read_data_block(reader->archive, ret_data, ret_length, &offset);
    while (status == ARCHIVE_OK && *ret_length == 0);
    if (status == ARCHIVE_EOF)
        *ret_length = 0;
    else if (status != ARCHIVE_OK)
        return read_failed(reader, err);
    return 0;
}

static int compare_with_expected(struct volume_reader *reader, struct error *err)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    if (EVP_DigestFinal_ex(reader->digest, hash, &length) != 1)
        return error_set(err, ERR_FAILED, "could not compute a SHA-256");
    char hex[STORE_SHA256_HEX + 1];
    for (unsigned int i = 0; i < length && i < STORE_SHA256_HEX / 2; i++)
        snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    if (reader->stored == reader->expected.size && strcmp(hex, reader->expected.sha256) == 0)
        return 0;
    error_set(err, ERR_CORRUPT,
              "\"%s\" is not what was stored: %lld bytes with SHA-256 %.16s..., the manifest says "
              "%lld bytes with %.16s...",
              reader->key, (long long)reader->stored, hex, (long long)reader->expected.size,
              reader->expected.sha256);
    return error_hint(err, "restore from another backup (pgcairn list), and find out what changed "
                           "the stored file");
}

int volume_read_finish(struct volume_reader *reader, struct error *err)
{
    size_t length;
    do { /* what lies behind the last member counts for the hash as well */
        int rc = take_bytes(reader, &length, err);
        if (rc)
            return rc;
    } while (length > 0);
    return reader->digest ? compare_with_expected(reader, err) : 0;
}

int volume_read_whole(struct volume_reader *reader, struct buf *buf, struct error *err)
{
    const char *name;
    int64_t size;
    int rc = volume_next(reader, &name, &size, err);
    while (!rc) {
        const void *data;
        size_t length;
        rc = volume_read(reader, &data, &length, err);
        if (rc || length == 0)
            break;
        buf_add(buf, data, length);
        rc = buf_failed(buf, reader->key, err);
    }
    return rc ? rc : volume_read_finish(reader, err);
}

int64_t volume_read_stored(const struct volume_reader *reader)
{
    return reader->stored;
}

struct volume_reader *volume_reader_free(struct volume_reader *reader)
{
    if (!reader)
        return NULL;
    archive_read_free(reader->archive);
    store_reader_free(reader->reader);
    EVP_MD_CTX_free(reader->digest);
    free(reader);
    return NULL;
}
