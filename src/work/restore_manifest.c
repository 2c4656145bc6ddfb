#include "work/restore_manifest.h"

#include <string.h>

#include "base/crc32c.h"
#include "base/json.h"
#include "pack/volume.h"
#include "repository/manifest.h"

static const char LAST_LINE[] = "\"Manifest-Checksum\"";

void file_list_clear(struct file_list *list)
{
    free(list->files);
    buf_clear(&list->names);
    buf_clear(&list->line);
    sha256_free(list->hash);
    *list = FILE_LIST_INIT;
}

static int damaged(const char *what, struct error *err)
{
    return error_set(err, ERR_CORRUPT, "backup_manifest is damaged: %s", what);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* False unless there are exactly `size` bytes in hex. */
static bool take_hex(const char *text, unsigned char *bytes, size_t size)
{
    if (strlen(text) != 2 * size)
        return false;
    for (size_t i = 0; i < size; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

/* -- one line -------------------------------------------------------------------------------------
 */

/* A name that is not UTF-8 is given in hex. */
static int add_name(struct file_list *list, const json_t *line, struct error *err)
{
    const char *path = json_string_value(json_object_get(line, "Path"));
    const char *encoded = json_string_value(json_object_get(line, "Encoded-Path"));
    if (path) {
        buf_add(&list->names, path, strlen(path) + 1);
    } else {
        size_t size = encoded ? strlen(encoded) / 2 : 0;
        char *name = size ? buf_reserve(&list->names, size + 1) : NULL;
        if (!name || !take_hex(encoded, (unsigned char *)name, size))
            return damaged("a file without a name", err);
        name[size] = '\0';
        list->names.length += size + 1;
    }
    return buf_failed(&list->names, "the names in backup_manifest", err);
}

static int grow(struct file_list *list, struct error *err)
{
    if (list->count < list->allocated)
        return 0;
    if (list->count >= FILE_LIST_MAX)
        return error_set(err, ERR_LIMIT, "more than %d files in one backup", FILE_LIST_MAX);
    size_t more = list->allocated ? 2 * list->allocated : 1024;
    struct listed_file *files = reallocarray(list->files, more, sizeof(*files));
    if (!files)
        return error_no_memory(err);
    list->files = files;
    list->allocated = more;
    return 0;
}

static bool take_checksum(const char *algorithm, const char *checksum, struct listed_file *file)
{
    file->checksum_bytes = strcmp(algorithm, "CRC32C") == 0   ? LISTED_CRC32C
                           : strcmp(algorithm, "SHA256") == 0 ? LISTED_SHA256
                                                              : 0;
    return file->checksum_bytes && take_hex(checksum, file->checksum, file->checksum_bytes);
}

static int add_file(struct file_list *list, const char *text, size_t length, struct error *err)
{
    _cleanup_(json_release) json_t *line = NULL;
    struct listed_file file = {.name = list->names.length};
    const char *algorithm, *checksum;
    int rc = json_parse_object(text, length, "a line of backup_manifest", &line, err);
    if (!rc)
        rc = add_name(list, line, err);
    if (!rc)
        rc = json_take_integer(line, "Size", &file.size, err);
    if (!rc)
        rc = json_take_text(line, "Checksum-Algorithm", &algorithm, err);
    if (!rc)
        rc = json_take_text(line, "Checksum", &checksum, err);
    if (!rc && !take_checksum(algorithm, checksum, &file))
        rc = damaged("a checksum that is neither CRC-32C nor SHA-256", err);
    if (!rc)
        rc = grow(list, err);
    if (!rc)
        list->files[list->count++] = file;
    return rc;
}

/* The last line proves all that stands before it. */
static int prove(struct file_list *list, const char *line, struct error *err)
{
    char hex[SHA256_HEX + 1];
    int rc = sha256_end(list->hash, hex, err);
    if (rc)
        return rc;
    const char *told = strchr(line + strlen(LAST_LINE), '"');
    if (!told || strncmp(told + 1, hex, SHA256_HEX) != 0 || told[1 + SHA256_HEX] != '"')
        return damaged("its checksum does not fit", err);
    list->is_proved = true;
    return 0;
}

static int take_line(struct file_list *list, struct error *err)
{
    const char *line = buf_text(&list->line);
    size_t length = list->line.length;
    if (list->is_proved)
        return damaged("there is more behind its checksum", err);
    if (strncmp(line, LAST_LINE, strlen(LAST_LINE)) == 0)
        return prove(list, line, err);
    int rc = sha256_add(list->hash, line, length, err);
    while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == ','))
        length--;
    static const char FILE_LINE[] = "{ \"Path\"", ENCODED_LINE[] = "{ \"Encoded-Path\"";
    if (!rc && (strncmp(line, FILE_LINE, strlen(FILE_LINE)) == 0 ||
                strncmp(line, ENCODED_LINE, strlen(ENCODED_LINE)) == 0))
        rc = add_file(list, line, length, err);
    buf_reset(&list->line);
    return rc;
}

/* -- the whole ------------------------------------------------------------------------------------
 */

int file_list_add(struct file_list *list, const void *data, size_t length, struct error *err)
{
    const char *from = data;
    int rc = list->hash ? 0 : sha256_new(&list->hash, err);
    while (length > 0 && !rc) {
        const char *end = memchr(from, '\n', length);
        size_t n = end ? (size_t)(end - from) + 1 : length;
        buf_add(&list->line, from, n);
        rc = buf_failed(&list->line, "a line of backup_manifest", err);
        if (!rc && end)
            rc = take_line(list, err);
        from += n;
        length -= n;
    }
    return rc;
}

const char *file_list_name(const struct file_list *list, const struct listed_file *file)
{
    return list->names.data + file->name;
}

static int compare_files(const void *a, const void *b, void *list)
{
    return strcmp(file_list_name(list, a), file_list_name(list, b));
}

int file_list_end(struct file_list *list, struct error *err)
{
    if (!list->is_proved)
        return damaged("it ends without a checksum", err);
    if (list->count == 0)
        return damaged("it lists no file", err);
    qsort_r(list->files, list->count, sizeof(*list->files), compare_files, list);
    for (size_t i = 1; i < list->count; i++)
        if (compare_files(&list->files[i - 1], &list->files[i], list) == 0)
            return damaged("it lists a file twice", err);
    return 0;
}

struct listed_file *file_list_find(const struct file_list *list, const char *name)
{
    size_t low = 0, high = list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(file_list_name(list, &list->files[middle]), name);
        if (order == 0)
            return &list->files[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* -- sums -----------------------------------------------------------------------------------------
 */

int listed_sum_init(struct listed_sum *sum, const struct listed_file *file, struct error *err)
{
    *sum = (struct listed_sum){.file = file};
    return file && file->checksum_bytes == LISTED_SHA256 ? sha256_new(&sum->sha256, err) : 0;
}

int listed_sum_add(struct listed_sum *sum, const void *data, size_t length, struct error *err)
{
    sum->size += (int64_t)length;
    if (sum->sha256)
        return sha256_add(sum->sha256, data, length, err);
    if (sum->file)
        sum->crc32c = crc32c_add(sum->crc32c, data, length);
    return 0;
}

/* The server writes a CRC's bytes as its processor has them, and so ours has, if it is to run
 * there.
 */
int listed_sum_end(struct listed_sum *sum, bool *ret_fits, struct error *err)
{
    unsigned char bytes[LISTED_SHA256];
    char hex[SHA256_HEX + 1];
    int rc = sum->sha256 ? sha256_end(sum->sha256, hex, err) : 0;
    if (rc)
        return rc;
    if (!sum->sha256)
        memcpy(bytes, &sum->crc32c, sizeof(sum->crc32c));
    bool has_bytes = sum->file && (!sum->sha256 || take_hex(hex, bytes, sizeof(bytes)));
    *ret_fits = has_bytes && sum->size == sum->file->size &&
                memcmp(bytes, sum->file->checksum, sum->file->checksum_bytes) == 0;
    return 0;
}

void listed_sum_clear(struct listed_sum *sum)
{
    sha256_free(sum->sha256);
    sum->sha256 = NULL;
}

/* -- of a snapshot --------------------------------------------------------------------------- */

static int read_all(struct volume_reader *reader, struct file_list *list, struct error *err)
{
    const char *name;
    const void *data;
    size_t length = 1;
    int64_t size;
    int rc = volume_next(reader, &name, &size, err);
    while (!rc && length > 0) {
        rc = volume_read(reader, &data, &length, err);
        if (!rc && length > 0)
            rc = file_list_add(list, data, length, err);
    }
    return rc ? rc : volume_read_finish(reader, err);
}

int file_list_fetch(struct repository *repository, const char *id, const json_t *manifest,
                    struct file_list *list, struct error *err)
{
    static const char NAME[] = "backup_manifest";
    _cleanup_(volume_reader_freep) struct volume_reader *reader = NULL;
    const json_t *entry = manifest_object(manifest, NAME);
    char key[STORE_KEY_MAX + 1];
    if (!entry)
        return error_set(err, ERR_CORRUPT, "the manifest does not list \"%s\"", NAME);
    struct store_object expected = {.size = json_number(entry, "size")};
    snprintf(expected.sha256, sizeof(expected.sha256), "%s", json_text(entry, "sha256"));
    int rc = repository_backup_key(repository, BACKUP_SNAPSHOT, id, NAME, key, err);
    if (!rc)
        rc = volume_read_open(repository->store, key, VOLUME_PLAIN, &expected, &reader, err);
    if (!rc)
        rc = read_all(reader, list, err);
    return rc ? rc : file_list_end(list, err);
}

void file_list_name_of(uint32_t tablespace, const char *name, char listed[FILE_LIST_PATH_MAX])
{
    if (tablespace)
        snprintf(listed, FILE_LIST_PATH_MAX, "pg_tblspc/%u/%s", tablespace, name);
    else
        snprintf(listed, FILE_LIST_PATH_MAX, "%s", name);
}

const char *file_list_expect(const struct file_list *list, uint32_t tablespace, const char *name,
                             struct listed_file **ret_file)
{
    char listed[FILE_LIST_PATH_MAX];
    file_list_name_of(tablespace, name, listed);
    *ret_file = file_list_find(list, listed);
    return *ret_file || strncmp(listed, "pg_wal/", 7) == 0
               ? NULL
               : "is not in the server's backup_manifest";
}

const char *file_list_judge(struct listed_file *file, bool fits)
{
    if (!fits)
        return "is not what the server's backup_manifest says";
    return atomic_exchange(&file->is_there, true) ? "comes twice" : NULL;
}
