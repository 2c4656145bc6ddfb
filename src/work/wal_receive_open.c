/* Before WAL is received: connections, what the server and the repository must be, the slot. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "work/open_repository.h"
#include "work/policy_load.h"
#include "work/wal_receiving.h"

enum { FILE_MODE = 0600, TELL_PARTS = 3, STORED_BYTES = 128 << 20 };

#define TELL_EVERY_US (10 * US_PER_SECOND)

/* No job can have that name, so it is no job's lock. */
static const char LOCK_JOB[] = "wal.receive";
static const char APPLICATION[] = "pgcairn wal receive";

char *wal_receive_slot(const struct wal_receive *receive, char name[PG_SLOT_NAME_MAX])
{
    const char *given = receive->slot ? receive->slot : receive->job ? receive->job->slot : NULL;
    if (!given)
        return pg_slot_name_of(receive->policy->cluster, name);
    snprintf(name, PG_SLOT_NAME_MAX, "%s", given);
    return name;
}

/* -- the server ---------------------------------------------------------------------------- */

int receiving_hint_slot(const struct wal_receive *receive, struct error *err)
{
    return error_hint(err,
                      "pgcairn wal receive %s --create-slot makes it; WAL is kept from then on",
                      receive->policy->cluster);
}

/* By SQL, which a replication connection does not speak. */
static int read_slot(const struct wal_receive *receive, const char *conninfo, const char *name,
                     struct pg_slot *ret_slot, struct error *err)
{
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    int rc = pg_connect(conninfo, NULL, APPLICATION, &conn, err);
    if (!rc)
        rc = pg_read_slot(conn, name, ret_slot, err);
    if (rc == ERR_NOT_FOUND && strcmp(ret_slot->name, name) == 0)
        receiving_hint_slot(receive, err);
    if ((rc && rc != ERR_NOT_FOUND) || strcmp(ret_slot->wal_level, "minimal") != 0)
        return rc;
    error_set(err, ERR_FAILED, "wal_level of the server is minimal: there is nothing to receive");
    return error_hint(err, "set wal_level = replica, and max_wal_senders and "
                           "max_replication_slots above 0, and restart the server");
}

static int read_history(struct receiving *receiving, struct error *err)
{
    _cleanup_(buf_clear) struct buf text = BUF_INIT(WAL_HISTORY_BYTES_MAX);
    uint32_t timeline = receiving->system.timeline;
    wal_history_clear(&receiving->history);
    receiving->history = (struct wal_history){.timeline = timeline};
    if (timeline == 1)
        return 0;
    int rc = wal_stream_history(receiving->conn, timeline, &text, err);
    return rc ? rc
              : wal_history_parse(timeline, buf_text(&text), text.length, &receiving->history, err);
}

static int check_same_server(const struct receiving *receiving, const struct pg_system *system,
                             struct error *err)
{
    if (!receiving->is_prepared || strcmp(system->identifier, receiving->assembly.system) == 0)
        return 0;
    error_set(err, ERR_FAILED,
              "another server answers: its system identifier is %s, that of this cluster %s",
              system->identifier, receiving->assembly.system);
    return error_hint(err,
                      "check connection: of the policy; a server that was rebuilt is admitted "
                      "by: pgcairn cluster adopt %s",
                      receiving->receive->policy->cluster);
}

int receiving_connect(struct receiving *receiving, struct error *err)
{
    const struct wal_receive *receive = receiving->receive;
    struct pg_slot slot = {0};
    int rc = read_slot(receive, receiving->conninfo, receiving->slot_name, &slot, err);
    if (!rc)
        rc = pg_slot_check(&slot, receive->policy->cluster, err);
    if (!rc)
        rc = pg_connect_replication(receiving->conninfo, APPLICATION, &receiving->conn, err);
    if (!rc)
        rc = pg_identify_system(receiving->conn, &receiving->system, err);
    if (!rc)
        rc = check_same_server(receiving, &receiving->system, err);
    if (!rc)
        rc = read_history(receiving, err);
    receiving->slot = slot;
    receiving->tell_every_us = TELL_EVERY_US;
    if (slot.sender_timeout_us > 0 && slot.sender_timeout_us / TELL_PARTS < TELL_EVERY_US)
        receiving->tell_every_us = slot.sender_timeout_us / TELL_PARTS;
    return rc;
}

void receiving_disconnect(struct receiving *receiving)
{
    wal_stream_clear(&receiving->stream);
    PQfinish(receiving->conn);
    receiving->conn = NULL;
}

/* -- the repository and the spool ---------------------------------------------------------- */

static int admit(struct receiving *receiving, struct error *err)
{
    struct error reason = ERROR_NONE;
    const char *system = receiving->system.identifier;
    int rc = repository_check_cluster(receiving->repository, system, &reason);
    if (rc == ERR_NOT_FOUND) {
        struct repository_server server = {.system_identifier = system,
                                           .version =
                                               PQparameterStatus(receiving->conn, "server_version"),
                                           .version_num = PQserverVersion(receiving->conn)};
        rc = repository_admit_cluster(receiving->repository, &server, instant_now_us(), &reason);
    }
    if (rc && err)
        *err = reason;
    return rc ? rc
              : wal_info_agree(receiving->repository, system, receiving->system.segment_size, err);
}

/* The lock in the repository is for those elsewhere; this one for who has our state folder. */
static int lock_spool(struct receiving *receiving, struct error *err)
{
    char path[WAL_ASSEMBLY_PATH_MAX];
    snprintf(path, sizeof(path), "%s/lock", receiving->folder);
    receiving->spool_lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (receiving->spool_lock < 0)
        return error_set_errno(err, errno, "could not open \"%s\"", path);
    if (flock(receiving->spool_lock, LOCK_EX | LOCK_NB) == 0)
        return 0;
    return error_set(err, ERR_BUSY, "another receiver uses \"%s\"", receiving->folder);
}

static int lock_both(struct receiving *receiving, struct error *err)
{
    const struct wal_receive *receive = receiving->receive;
    struct lock_request request = {.job = LOCK_JOB, .class = LOCK_OTHER, .run_id = ""};
    int rc = wal_assembly_folder(receive->state, receive->policy->cluster,
                                 receiving->system.identifier, receiving->folder, err);
    if (!rc)
        rc = lock_spool(receiving, err);
    return rc ? rc : locking_begin(receiving->repository, &request, 0, &receiving->locking, err);
}

static int take_file(const struct wal_assembled *file, void *context, struct error *err)
{
    struct receiving *receiving = context;
    return wal_uploads_add(receiving->uploads, file, err);
}

static size_t count_files(const struct receiving *receiving)
{
    const struct wal_receive *receive = receiving->receive;
    int64_t size = receiving->system.segment_size, most = STORED_BYTES;
    if (receive->acknowledge == ACKNOWLEDGE_SPOOLED)
        most = receive->spool_limit ? receive->spool_limit : WAL_RECEIVE_SPOOL_BYTES;
    int64_t files = most / size;
    if (receive->acknowledge == ACKNOWLEDGE_STORED && files > WAL_RECEIVE_FILES)
        files = WAL_RECEIVE_FILES;
    return files < WAL_RECEIVE_FILES_MIN ? WAL_RECEIVE_FILES_MIN : (size_t)files;
}

static int open_spool(struct receiving *receiving, struct error *err)
{
    const struct wal_receive *receive = receiving->receive;
    struct wal_uploads_spec spec = {
        .repository = receiving->repository,
        .system = receiving->assembly.system,
        .folder = receiving->folder,
        .options = {.level = receive->policy->compression_level, .rate = &receiving->rate},
        .notice = receive->notice,
        .context = receive->context};
    wal_assembly_init(&receiving->assembly, receiving->folder, receiving->system.identifier,
                      receiving->system.segment_size, take_file, receiving);
    receiving->files_max = count_files(receiving);
    int rc = wal_uploads_new(&spec, &receiving->uploads, err);
    return rc ? rc
              : wal_assembly_leftovers(receiving->folder, receiving->system.segment_size, take_file,
                                       receiving, err);
}

/* -- where to begin ------------------------------------------------------------------------ */

/* What is stored, and what an earlier receiver left in the spool: that was perhaps acknowledged,
 * and is here only. */
struct looking {
    struct receiving *receiving;
    struct facts_wal facts;
    struct wal_assembled *left;
    size_t left_count;
};

static void looking_clear(struct looking *looking)
{
    facts_wal_clear(&looking->facts);
    free(looking->left);
}

static int note_left(const struct wal_assembled *file, void *context, struct error *err)
{
    struct looking *looking = context;
    struct wal_assembled *more =
        reallocarray(looking->left, looking->left_count + 1, sizeof(*looking->left));
    if (!more)
        return error_no_memory(err);
    looking->left = more;
    looking->left[looking->left_count++] = *file;
    return 0;
}

static bool has(uint32_t timeline, uint64_t number, void *context)
{
    struct looking *looking = context;
    const struct facts_wal_timeline *stored = facts_wal_timeline(&looking->facts, timeline);
    struct wal_name name =
        wal_segment_name(timeline, number, looking->receiving->system.segment_size);
    for (size_t i = 0; i < looking->left_count; i++)
        if (wal_name_compare(&looking->left[i].name, &name) == 0)
            return true;
    return stored && facts_wal_find(stored, number);
}

static bool newest_stored(const struct facts_wal_timeline *stored, uint64_t below,
                          uint64_t *ret_number)
{
    for (size_t i = stored ? stored->range_count : 0; i-- > 0;) {
        const struct facts_wal_range *range = &stored->ranges[i];
        if (range->first >= below)
            continue;
        *ret_number = range->last < below ? range->last : below - 1;
        return true;
    }
    return false;
}

static bool newest_below(uint32_t timeline, uint64_t number, uint64_t *ret_number, void *context)
{
    struct looking *looking = context;
    int64_t size = looking->receiving->system.segment_size;
    bool found = newest_stored(facts_wal_timeline(&looking->facts, timeline), number, ret_number);
    for (size_t i = 0; i < looking->left_count; i++) {
        const struct wal_name *name = &looking->left[i].name;
        uint64_t left = name->kind == WAL_SEGMENT ? wal_segment_number(name, size) : number;
        if (name->timeline != timeline || left >= number || (found && left <= *ret_number))
            continue;
        *ret_number = left;
        found = true;
    }
    return found;
}

static void warn_of_newer_timeline(const struct receiving *receiving, const struct facts_wal *facts)
{
    uint32_t newest =
        facts->timeline_count ? facts->timelines[facts->timeline_count - 1].timeline : 0;
    if (newest > receiving->system.timeline)
        receiving_notice(receiving,
                         "timeline %u is stored, but this server is on timeline %u: is it the one "
                         "that is to be received from?",
                         newest, receiving->system.timeline);
}

static int find_begin(struct receiving *receiving, struct error *err)
{
    struct error reason = ERROR_NONE;
    _cleanup_(looking_clear) struct looking looking = {.receiving = receiving};
    int rc = wal_facts_read(receiving->repository, receiving->system.identifier, &looking.facts,
                            &reason);
    if (rc && rc != ERR_NOT_FOUND) {
        if (err)
            *err = reason;
        return rc;
    }
    struct wal_resume_question question = {.history = &receiving->history,
                                           .segment_size = receiving->system.segment_size,
                                           .slot_lsn = receiving->slot.restart_lsn,
                                           .server_lsn = receiving->system.lsn,
                                           .has = has,
                                           .newest_below = newest_below,
                                           .context = &looking};
    rc = wal_assembly_leftovers(receiving->folder, receiving->system.segment_size, note_left,
                                &looking, err);
    if (rc)
        return rc;
    wal_resume_find(&question, &receiving->resume);
    warn_of_newer_timeline(receiving, &looking.facts);
    return 0;
}

int receiving_prepare(struct receiving *receiving, struct error *err)
{
    const struct wal_receive *receive = receiving->receive;
    int rc = work_open_repository(receive->policy, NULL, &receiving->repository, err);
    if (!rc)
        rc = admit(receiving, err);
    if (!rc)
        rc = lock_both(receiving, err);
    if (!rc)
        rc = receiving_store_others(receiving, err);
    if (!rc)
        rc = find_begin(receiving, err);
    if (!rc) /* only now: what is being stored while one looks might be seen nowhere */
        rc = open_spool(receiving, err);
    receiving->is_prepared = rc == 0;
    return rc;
}

/* -- the slot by command ------------------------------------------------------------------- */

int wal_receive_create_slot(const struct wal_receive *receive, bool *ret_existed, struct error *err)
{
    _cleanup_(freep) char *conninfo = NULL;
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    struct pg_slot slot = {0};
    struct error reason = ERROR_NONE;
    char name[PG_SLOT_NAME_MAX];
    wal_receive_slot(receive, name);
    int rc = policy_connection(receive->policy, receive->job, &conninfo, &reason);
    if (!rc)
        rc = read_slot(receive, conninfo, name, &slot, &reason);
    bool is_there = rc == 0;
    if (!rc)
        rc = pg_slot_check(&slot, receive->policy->cluster, &reason);
    if (rc == ERR_NOT_FOUND)
        rc = pg_connect_replication(conninfo, APPLICATION, &conn, &reason);
    if (!rc && conn)
        rc = pg_create_slot(conn, name, &reason);
    if (rc && err)
        *err = reason;
    if (!rc)
        *ret_existed = is_there;
    return rc;
}

int wal_receive_drop_slot(const struct wal_receive *receive, struct error *err)
{
    _cleanup_(freep) char *conninfo = NULL;
    _cleanup_(pg_conn_freep) PGconn *conn = NULL;
    char name[PG_SLOT_NAME_MAX];
    wal_receive_slot(receive, name);
    int rc = policy_connection(receive->policy, receive->job, &conninfo, err);
    if (!rc)
        rc = pg_connect_replication(conninfo, APPLICATION, &conn, err);
    return rc ? rc : pg_drop_slot(conn, name, err);
}
