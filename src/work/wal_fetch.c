#include "work/wal_fetch.h"

#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "repository/wal.h"
#include "spool/server.h"
#include "work/wal_ahead.h"
#include "work/wal_spool.h"
#include "work/open_repository.h"
#include "work/work.h"

#define FIRST_PAUSE_US (200 * INT64_C(1000))

struct fetching {
    const struct wal_fetch *fetch;
    struct wal_name name;
    char system[SERVER_SYSTEM_SIZE];
    char data[SERVER_PATH_MAX];
    char spool[AHEAD_PATH_MAX]; /* "" when there is none */
    struct repository *repository;
};

static void fetching_clear(struct fetching *fetching)
{
    repository_free(fetching->repository);
}

/* -- from the repository ------------------------------------------------------------------- */

static int deliver(struct fetching *fetching, const struct wal_object *object, int64_t size,
                   struct error *err)
{
    const char *destination = fetching->fetch->destination;
    char temporary[AHEAD_PATH_MAX];
    _cleanup_(closep) int fd = -1;
    int rc = wal_spool_create_beside(destination, temporary, &fd, err);
    if (rc)
        return rc;
    rc = wal_object_get(fetching->repository, object, size, fd, err);
    if (!rc && fsync(fd) != 0)
        rc = error_set_errno(err, errno, "could not sync \"%s\"", temporary);
    if (!rc && rename(temporary, destination) != 0)
        rc = error_set_errno(err, errno, "could not rename \"%s\" to \"%s\"", temporary,
                             destination);
    if (rc)
        (void)unlink(temporary);
    return rc;
}

static int doubt_hole(const struct fetching *fetching, struct error *err)
{
    const char *cluster = fetching->fetch->policy->cluster;
    error_set(err, ERR_DOUBT,
              "%s is missing in the repository, which holds later WAL of timeline %u: a hole",
              fetching->fetch->name, fetching->name.timeline);
    return error_hint(err,
                      "recovery must not go on as if WAL ended there; see: pgcairn wal status %s, "
                      "and recover to a time before the hole, or from a later snapshot",
                      cluster);
}

/* Whether the file is absent because WAL ends there. */
static int explain_absence(struct fetching *fetching, struct error *err)
{
    int64_t size;
    bool later = false;
    int rc = wal_info_read(fetching->repository, fetching->system, &size, err);
    if (rc == ERR_NOT_FOUND) {
        error_set(err, ERR_DOUBT, "\"%s\" holds no WAL of cluster \"%s\" with system identifier %s",
                  fetching->fetch->policy->repository_url, fetching->fetch->policy->cluster,
                  fetching->system);
        return error_hint(err, "is the repository the right one, and mounted?");
    }
    if (!rc)
        rc = wal_later_exists(fetching->repository, fetching->system, &fetching->name, &later, err);
    if (rc)
        return rc;
    /* A server asks for the history of the first timeline too, which has none. */
    if (later && (fetching->name.kind != WAL_HISTORY || fetching->name.timeline > 1))
        return doubt_hole(fetching, err);
    return error_set(err, ERR_NOT_FOUND, "%s is not in the repository, nor anything behind it",
                     fetching->fetch->name);
}

static int fetch_once(struct fetching *fetching, struct error *err)
{
    const struct policy *policy = fetching->fetch->policy;
    struct wal_object object;
    int64_t size = -1;
    int rc = 0;
    if (!fetching->repository)
        rc = work_open_repository(policy, NULL, &fetching->repository, err);
    if (!rc && !fetching->system[0])
        rc = repository_read_system(fetching->repository, fetching->system, err);
    if (rc)
        return rc == ERR_NOT_FOUND ? ERR_UNKNOWN : rc; /* no repository is not "no such file" */
    struct error reason = ERROR_NONE;
    rc = wal_object_find(fetching->repository, fetching->system, &fetching->name, &object, &reason);
    if (rc == ERR_NOT_FOUND)
        return explain_absence(fetching, err);
    if (rc) {
        *err = reason;
        return rc;
    }
    if (fetching->name.kind == WAL_SEGMENT || fetching->name.kind == WAL_PARTIAL)
        rc = wal_info_read(fetching->repository, fetching->system, &size, err);
    if (!rc)
        rc = deliver(fetching, &object, size, err);
    return rc == ERR_NOT_FOUND ? ERR_UNKNOWN : rc; /* it was listed a moment ago */
}

/* -- the whole ----------------------------------------------------------------------------- */

/* Before what failed becomes a verdict, it is tried again: an archiver may be storing several files
 * at once in any order, and a network may have hiccups. */
static int fetch_patiently(struct fetching *fetching, struct error *err)
{
    int tries = fetching->fetch->is_standby ? 1 : WAL_FETCH_TRIES;
    int64_t pause_us = FIRST_PAUSE_US;
    int rc = 0;
    for (int i = 0; i < tries; i++) {
        if (i > 0)
            usleep((unsigned)pause_us);
        pause_us *= i > 0 ? 2 : 1;
        if (work_interrupted(err))
            return ERR_INTERRUPTED;
        error_clear(err);
        rc = fetch_once(fetching, err);
        if (rc == 0 || rc == ERR_NOT_FOUND || rc == ERR_PERMISSION || rc == ERR_NO_SPACE)
            return rc;
    }
    return rc;
}

/* The server that recovers, by its data directory; "" when the destination is in none: then the one
 * that the repository knows is meant. */
static int identify(struct fetching *fetching, struct error *err)
{
    struct error reason = ERROR_NONE;
    int rc = server_data_folder(fetching->fetch->destination, fetching->data, err);
    if (rc)
        return rc;
    rc = server_read_system(fetching->data, fetching->system, &reason);
    if (rc == ERR_NOT_FOUND) {
        fetching->system[0] = '\0';
        return 0;
    }
    if (rc)
        *err = reason;
    return rc;
}

static void open_spool(struct fetching *fetching)
{
    const struct wal_fetch *fetch = fetching->fetch;
    if (!fetch->state || !fetching->system[0] || fetching->name.kind != WAL_SEGMENT ||
        wal_spool_open(fetch->policy, fetch->state, fetching->system, fetching->data,
                       fetching->spool, NULL))
        fetching->spool[0] = '\0';
}

static void leave_cause(const struct wal_fetch *fetch, int rc, const struct error *err)
{
    _cleanup_(freep) char *text = NULL;
    if (fetch->cause && asprintf(&text, "%s\n%s", error_code_name(rc), err->message) >= 0)
        file_replace(fetch->cause, text, strlen(text), 0600, NULL);
}

static int doubt(const struct wal_fetch *fetch, int rc, struct error *err)
{
    if (rc && rc != ERR_NOT_FOUND)
        leave_cause(fetch, rc, err);
    if (rc == 0 || rc == ERR_NOT_FOUND || rc == ERR_DOUBT)
        return rc;
    error_keep_cure(err);
    err->code = ERR_DOUBT;
    return ERR_DOUBT;
}

int wal_fetch(const struct wal_fetch *fetch, struct error *err)
{
    _cleanup_(fetching_clear) struct fetching fetching = {.fetch = fetch};
    struct error own = ERROR_NONE;
    err = err ? err : &own;
    if (!wal_name_parse(fetch->name, &fetching.name)) {
        error_set(err, ERR_DOUBT, "\"%s\" is the name of no WAL file", fetch->name);
        return error_hint(err, "restore_command = 'pgcairn-wal fetch %s %%f %%p'",
                          fetch->policy->cluster);
    }
    int rc = identify(&fetching, err);
    if (rc)
        return doubt(fetch, rc, err);
    open_spool(&fetching);
    if (fetching.spool[0])
        ahead_write_at(fetching.spool, &fetching.name);
    if (!fetching.spool[0] || !wal_spool_take(fetching.spool, &fetching.name, fetch->destination))
        rc = fetch_patiently(&fetching, err);
    if (rc == 0 && fetching.spool[0])
        wal_ahead_start(fetch->policy, fetching.spool, fetching.system, fetching.data,
                        fetch->policy_paths->items, fetch->policy_paths->count);
    return doubt(fetch, rc, err);
}
