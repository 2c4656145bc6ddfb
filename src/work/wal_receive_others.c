/* What was received from a server that is the cluster's no more, because another one was adopted:
 * it was perhaps acknowledged, and is here only. So it is stored before anything else is received.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "work/wal_receiving.h"
#include "work/work.h"

enum { STEP_US = US_PER_SECOND / 5 };

static int add_file(const struct wal_assembled *file, void *uploads, struct error *err)
{
    return wal_uploads_add(uploads, file, err);
}

/* Until all is stored, or nothing more can be, or it shall end. */
static int await_stored(struct wal_uploads *uploads, struct error *err)
{
    while (wal_uploads_count(uploads) > 0) {
        int rc = wal_uploads_check(uploads, err);
        if (rc)
            return rc;
        if (work_shall_finish() || work_interrupted(err))
            return error_set(err, ERR_INTERRUPTED, "the receiver was ended");
        wal_uploads_await(uploads, STEP_US);
    }
    return 0;
}

static int store_folder(struct receiving *receiving, const struct wal_uploads_spec *spec,
                        struct error *err)
{
    _cleanup_(wal_uploads_freep) struct wal_uploads *uploads = NULL;
    int64_t segment_size = receiving->system.segment_size;
    /* Only the order depends on it. Without WAL in the repository nothing tells it. */
    int rc = wal_info_read(receiving->repository, spec->system, &segment_size, err);
    if (rc && rc != ERR_NOT_FOUND)
        return rc;
    rc = wal_uploads_new(spec, &uploads, err);
    if (!rc)
        rc = wal_assembly_leftovers(spec->folder, segment_size, add_file, uploads, err);
    size_t count = rc ? 0 : wal_uploads_count(uploads);
    if (count > 0)
        receiving_notice(receiving,
                         "stores what was received from the server with system identifier %s and "
                         "is in \"%s\" still",
                         spec->system, spec->folder);
    return rc ? rc : await_stored(uploads, err);
}

static bool is_other(const struct receiving *receiving, const char *name)
{
    return name[0] && strspn(name, "0123456789") == strlen(name) &&
           strcmp(name, receiving->system.identifier) != 0;
}

/* What can't be stored stays where it is, for the next start. */
static void take_other(struct receiving *receiving, const char *system)
{
    const struct wal_receive *receive = receiving->receive;
    char folder[WAL_ASSEMBLY_FOLDER_MAX];
    struct error error = ERROR_NONE;
    struct wal_uploads_spec spec = {
        .repository = receiving->repository,
        .system = system,
        .folder = folder,
        .options = {.level = receive->policy->compression_level, .rate = &receiving->rate},
        .notice = receive->notice,
        .context = receive->context};
    int rc = wal_assembly_folder(receive->state, receive->policy->cluster, system, folder, &error);
    if (!rc)
        rc = store_folder(receiving, &spec, &error);
    if (rc)
        receiving_notice(receiving,
                         "warning: WAL of the server with system identifier %s stays in the spool "
                         "and is not in the repository: %s",
                         system, error.message);
}

int receiving_store_others(struct receiving *receiving, struct error *err)
{
    char above[WAL_ASSEMBLY_FOLDER_MAX];
    snprintf(above, sizeof(above), "%s", receiving->folder);
    *strrchr(above, '/') = '\0';
    _cleanup_(closedirp) DIR *entries = opendir(above);
    if (!entries)
        return error_set_errno(err, errno, "could not look into \"%s\"", above);
    const struct dirent *entry;
    while ((entry = readdir(entries)) != NULL)
        if (is_other(receiving, entry->d_name))
            take_other(receiving, entry->d_name);
    return 0;
}
