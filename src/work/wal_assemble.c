#include "work/wal_assemble.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "base/file.h"
#include "base/instant.h"
#include "wal/page.h"

enum { FILE_MODE = 0600, FOLDER_MODE = 0700, LEFTOVERS_MAX = 100000 };

static const char PART[] = ".part";

int wal_assembly_folder(const char *state, const char *cluster, const char *system,
                        char folder[WAL_ASSEMBLY_FOLDER_MAX], struct error *err)
{
    int length =
        snprintf(folder, WAL_ASSEMBLY_FOLDER_MAX, "%s/wal/%s/receive/%s", state, cluster, system);
    if (length >= WAL_ASSEMBLY_FOLDER_MAX)
        return error_set(err, ERR_LIMIT, "the path of the state folder is too long");
    return file_make_folders(folder, FOLDER_MODE, err);
}

void wal_assembly_path(const char *folder, const struct wal_name *name,
                       char path[WAL_ASSEMBLY_PATH_MAX])
{
    char text[WAL_NAME_MAX];
    snprintf(path, WAL_ASSEMBLY_PATH_MAX, "%s/%s", folder, wal_name_format(name, text));
}

static void part_path(const struct wal_assembly *assembly, const struct wal_name *name,
                      char path[WAL_ASSEMBLY_PATH_MAX])
{
    char text[WAL_NAME_MAX];
    snprintf(path, WAL_ASSEMBLY_PATH_MAX, "%s/%s%s", assembly->folder, wal_name_format(name, text),
             PART);
}

void wal_assembly_init(struct wal_assembly *assembly, const char *folder, const char *system,
                       int64_t segment_size, wal_assembled_function finished, void *context)
{
    *assembly = (struct wal_assembly){
        .segment_size = segment_size, .finished = finished, .context = context, .fd = -1};
    snprintf(assembly->folder, sizeof(assembly->folder), "%s", folder);
    snprintf(assembly->system, sizeof(assembly->system), "%s", system);
}

static struct wal_name current_name(const struct wal_assembly *assembly)
{
    return wal_segment_name(assembly->timeline,
                            wal_segment_at(assembly->start, assembly->segment_size),
                            assembly->segment_size);
}

static void drop_part(struct wal_assembly *assembly)
{
    char path[WAL_ASSEMBLY_PATH_MAX];
    if (assembly->fd < 0)
        return;
    struct wal_name name = current_name(assembly);
    part_path(assembly, &name, path);
    close(assembly->fd);
    assembly->fd = -1;
    (void)unlink(path);
}

void wal_assembly_clear(struct wal_assembly *assembly)
{
    drop_part(assembly);
    *assembly = (struct wal_assembly){.fd = -1};
}

uint64_t wal_assembly_start(const struct wal_assembly *assembly)
{
    return assembly->start;
}

int wal_assembly_begin(struct wal_assembly *assembly, uint32_t timeline, uint64_t lsn,
                       struct error *err)
{
    drop_part(assembly);
    if (lsn % (uint64_t)assembly->segment_size != 0)
        return error_set(err, ERR_FAILED, "WAL is received from the start of a segment on");
    assembly->timeline = timeline;
    assembly->start = assembly->lsn = lsn;
    return 0;
}

/* -- finishing a file ---------------------------------------------------------------------- */

/* The first page names the server and the place, so bytes of another one never get a name. */
static int check_page(const struct wal_assembly *assembly, const struct wal_name *name,
                      struct error *err)
{
    unsigned char header[WAL_PAGE_HEADER];
    char system[WAL_ASSEMBLY_SYSTEM], text[WAL_NAME_MAX];
    struct wal_page page;
    ssize_t n = pread(assembly->fd, header, sizeof(header), 0);
    if (n < 0)
        return error_set_errno(err, errno, "could not read back what was received");
    int rc = wal_page_read(header, (size_t)n, &page, err);
    if (!rc)
        rc = wal_page_check(&page, name, err);
    if (rc) {
        error_prefix(err, "received segment %s", wal_name_format(name, text));
        return rc;
    }
    snprintf(system, sizeof(system), "%" PRIu64, page.system_identifier);
    if (strcmp(system, assembly->system) == 0 && page.segment_size == assembly->segment_size)
        return 0;
    return error_set(err, ERR_FAILED,
                     "received segment %s is of the server with system identifier %s and segments "
                     "of %u bytes, not of %s",
                     wal_name_format(name, text), system, page.segment_size, assembly->system);
}

static int finish(struct wal_assembly *assembly, const struct wal_name *name, struct error *err)
{
    char part[WAL_ASSEMBLY_PATH_MAX], path[WAL_ASSEMBLY_PATH_MAX];
    struct wal_name segment = current_name(assembly);
    struct wal_assembled file = {
        .name = *name, .lsn = wal_assembly_start(assembly), .received_us = assembly->received_us};
    part_path(assembly, &segment, part);
    wal_assembly_path(assembly->folder, name, path);
    int rc = check_page(assembly, name, err);
    if (rc)
        return rc;
    if (fsync(assembly->fd) != 0)
        return error_set_errno(err, errno, "could not fsync \"%s\"", part);
    if (rename(part, path) != 0)
        return error_set_errno(err, errno, "could not rename \"%s\"", part);
    close(assembly->fd);
    assembly->fd = -1;
    if (name->kind == WAL_SEGMENT)
        assembly->start = assembly->lsn;
    rc = file_sync_folder(assembly->folder, err);
    return rc ? rc : assembly->finished(&file, assembly->context, err);
}

/* -- what comes ---------------------------------------------------------------------------- */

static int open_part(struct wal_assembly *assembly, struct error *err)
{
    char path[WAL_ASSEMBLY_PATH_MAX];
    struct wal_name name = current_name(assembly);
    part_path(assembly, &name, path);
    assembly->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
    assembly->received_us = instant_monotonic_us();
    return assembly->fd < 0 ? error_set_errno(err, errno, "could not create \"%s\"", path) : 0;
}

/* As much of it as belongs to one segment. */
static int add_to_segment(struct wal_assembly *assembly, const void *data, size_t length,
                          struct error *err)
{
    char path[WAL_ASSEMBLY_PATH_MAX];
    int rc = assembly->fd < 0 ? open_part(assembly, err) : 0;
    if (rc)
        return rc;
    struct wal_name name = current_name(assembly);
    part_path(assembly, &name, path);
    rc = file_write_all(assembly->fd, path, data, length, err);
    if (rc) /* what is in the file is not known any more: it is received again */
        return rc;
    assembly->lsn += length;
    bool is_full = assembly->lsn % (uint64_t)assembly->segment_size == 0;
    return is_full ? finish(assembly, &name, err) : 0;
}

int wal_assembly_add(struct wal_assembly *assembly, uint64_t lsn, const void *data, size_t length,
                     struct error *err)
{
    char came[WAL_LSN_TEXT_MAX], expected[WAL_LSN_TEXT_MAX];
    const char *bytes = data;
    int rc = 0;
    if (lsn != assembly->lsn)
        return error_set(err, ERR_FAILED, "the server sent WAL from %s on, where %s comes next",
                         wal_lsn_format(lsn, came), wal_lsn_format(assembly->lsn, expected));
    while (length > 0 && !rc) {
        uint64_t left =
            (uint64_t)assembly->segment_size - assembly->lsn % (uint64_t)assembly->segment_size;
        size_t piece = length < left ? length : (size_t)left;
        rc = add_to_segment(assembly, bytes, piece, err);
        bytes += piece;
        length -= piece;
    }
    return rc;
}

/* As the server's archiver has it: of full length, zeros behind the switch. */
int wal_assembly_end_timeline(struct wal_assembly *assembly, struct error *err)
{
    if (assembly->fd < 0)
        return 0;
    struct wal_name name = current_name(assembly);
    name.kind = WAL_PARTIAL;
    if (ftruncate(assembly->fd, assembly->segment_size) != 0)
        return error_set_errno(err, errno, "could not fill up the last segment of timeline %u",
                               assembly->timeline);
    return finish(assembly, &name, err);
}

int wal_assembly_history(struct wal_assembly *assembly, uint32_t timeline, const char *text,
                         size_t length, struct error *err)
{
    char path[WAL_ASSEMBLY_PATH_MAX];
    struct wal_assembled file = {.name = {.kind = WAL_HISTORY, .timeline = timeline},
                                 .lsn = assembly->start,
                                 .received_us = instant_monotonic_us()};
    wal_assembly_path(assembly->folder, &file.name, path);
    int rc = file_replace(path, text, length, FILE_MODE, err);
    return rc ? rc : assembly->finished(&file, assembly->context, err);
}

/* -- what was left ------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    return wal_name_compare(a, b);
}

static bool is_part(const char *file)
{
    size_t length = strlen(file);
    return length > strlen(PART) && strcmp(file + length - strlen(PART), PART) == 0;
}

static int gather(const char *folder, struct wal_name *names, size_t *ret_count, struct error *err)
{
    char path[WAL_ASSEMBLY_PATH_MAX];
    size_t count = 0;
    _cleanup_(closedirp) DIR *dir = opendir(folder);
    if (!dir)
        return error_set_errno(err, errno, "could not look into \"%s\"", folder);
    errno = 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        snprintf(path, sizeof(path), "%s/%.100s", folder, entry->d_name);
        if (is_part(entry->d_name))
            (void)unlink(path);
        else if (count < LEFTOVERS_MAX && wal_name_parse(entry->d_name, &names[count]))
            count++;
        errno = 0;
    }
    *ret_count = count;
    return errno ? error_set_errno(err, errno, "could not look into \"%s\"", folder) : 0;
}

int wal_assembly_leftovers(const char *folder, int64_t segment_size, wal_assembled_function visit,
                           void *context, struct error *err)
{
    size_t count = 0;
    _cleanup_(freep) struct wal_name *names = calloc(LEFTOVERS_MAX, sizeof(*names));
    if (!names)
        return error_no_memory(err);
    int rc = gather(folder, names, &count, err);
    if (!rc)
        qsort(names, count, sizeof(*names), compare_names);
    for (size_t i = 0; i < count && !rc; i++) {
        struct wal_assembled file = {
            .name = names[i], .lsn = UINT64_MAX, .received_us = instant_monotonic_us()};
        if (names[i].kind != WAL_HISTORY) /* on a history no position depends */
            file.lsn = wal_segment_start(wal_segment_number(&names[i], segment_size), segment_size);
        rc = visit(&file, context, err);
    }
    return rc;
}
