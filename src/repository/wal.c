/* Which objects WAL files are: keys, look-ups, and the small documents beside them. */
#include "repository/wal.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "repository/evidence.h"
#include "repository/ids.h"
#include "repository/wal_keys.h"

enum { FOUND = 1 /* what a visitor returns to end a listing; no error code */ };
enum { FIELD = 8, MARK_LSN = 16, RADIX = 16 };

static const char SUFFIX[] = ".zst";

int wal_key(const struct repository *repository, char key[STORE_KEY_MAX + 1], struct error *err,
            const char *system, const char *format, ...)
{
    char rest[STORE_KEY_MAX + 1];
    size_t length = strlen(system);
    va_list args;
    if (length == 0 || length > REPOSITORY_SYSTEM_IDENTIFIER_MAX ||
        strspn(system, "0123456789") != length)
        return error_set(err, ERR_USAGE, "\"%.50s\" is no system identifier", system);
    va_start(args, format);
    vsnprintf(rest, sizeof(rest), format, args);
    va_end(args);
    return repository_key(repository, key, err, "wal/%s/%s", system, rest);
}

int wal_object_key(const struct repository *repository, const char *system,
                   const struct wal_name *name, const char *hash, char key[STORE_KEY_MAX + 1],
                   struct error *err)
{
    char text[WAL_NAME_MAX], log[FIELD + 2] = "";
    wal_name_format(name, text);
    if (name->kind != WAL_HISTORY)
        snprintf(log, sizeof(log), "%08X/", name->log);
    return wal_key(repository, key, err, system, "%08X/%s%s-%s%s", name->timeline, log, text,
                   hash ? hash : "", hash ? SUFFIX : "");
}

const char *wal_last_component(const char *key)
{
    const char *slash = strrchr(key, '/');
    return slash ? slash + 1 : key;
}

bool wal_parse_file(const char *file, struct wal_name *ret_name, char hash[WAL_HASH + 1])
{
    char text[WAL_NAME_MAX];
    const char *dash = strrchr(file, '-');
    size_t length = dash ? (size_t)(dash - file) : 0;
    if (!dash || length >= sizeof(text) || strlen(dash + 1) != WAL_HASH + sizeof(SUFFIX) - 1 ||
        strspn(dash + 1, "0123456789abcdef") != WAL_HASH ||
        strcmp(dash + 1 + WAL_HASH, SUFFIX) != 0)
        return false;
    memcpy(text, file, length);
    text[length] = '\0';
    if (!wal_name_parse(text, ret_name))
        return false;
    memcpy(hash, dash + 1, WAL_HASH);
    hash[WAL_HASH] = '\0';
    return true;
}

bool wal_parse_mark(const char *file, struct facts_wal_mark *ret_mark)
{
    char digits[MARK_LSN + 1];
    const char *lsn = file + ID_TIME_LENGTH + 1;
    int64_t time_us;
    if (strlen(file) != ID_TIME_LENGTH + 1 + MARK_LSN + strlen(".json") ||
        !id_parse_time(file, &time_us) || strspn(lsn, "0123456789ABCDEF") != MARK_LSN ||
        strcmp(lsn + MARK_LSN, ".json") != 0)
        return false;
    memcpy(digits, lsn, MARK_LSN);
    digits[MARK_LSN] = '\0';
    *ret_mark = (struct facts_wal_mark){time_us, strtoull(digits, NULL, RADIX)};
    return true;
}

bool wal_parse_span(const char *file, int64_t segment_size, struct facts_wal_span *ret_span)
{
    char first_text[WAL_SEGMENT_NAME + 1], last_text[WAL_SEGMENT_NAME + 1];
    struct wal_name first, last;
    if (strlen(file) != 2 * WAL_SEGMENT_NAME + 1 + strlen(".json") || file[WAL_SEGMENT_NAME] != '-')
        return false;
    snprintf(first_text, sizeof(first_text), "%.*s", WAL_SEGMENT_NAME, file);
    snprintf(last_text, sizeof(last_text), "%.*s", WAL_SEGMENT_NAME, file + WAL_SEGMENT_NAME + 1);
    if (!wal_name_parse(first_text, &first) || !wal_name_parse(last_text, &last))
        return false;
    *ret_span = (struct facts_wal_span){wal_segment_number(&first, segment_size),
                                        wal_segment_number(&last, segment_size)};
    return true;
}

/* -- look-ups ------------------------------------------------------------------------------ */

struct visiting {
    wal_visit visit;
    void *context;
};

static int visit_object(const struct store_object *object, void *context, struct error *err)
{
    struct visiting *visiting = context;
    struct wal_object wal = {.size = object->size, .stored_us = object->modified_us};
    if (!wal_parse_file(wal_last_component(object->key), &wal.name, wal.hash))
        return 0;
    memcpy(wal.key, object->key, sizeof(wal.key));
    return visiting->visit(&wal, visiting->context, err);
}

struct finding {
    const struct wal_name *name;
    struct wal_object object;
    int count;
};

static int note_content(const struct wal_object *object, void *context, struct error *err)
{
    struct finding *finding = context;
    (void)err;
    if (wal_name_compare(&object->name, finding->name) == 0 && finding->count++ == 0)
        finding->object = *object;
    return 0;
}

int wal_object_find(const struct repository *repository, const char *system,
                    const struct wal_name *name, struct wal_object *ret_object, struct error *err)
{
    char prefix[STORE_KEY_MAX + 1], text[WAL_NAME_MAX];
    struct finding finding = {.name = name};
    struct visiting visiting = {note_content, &finding};
    int rc = wal_object_key(repository, system, name, NULL, prefix, err);
    if (!rc)
        rc = store_list(repository->store, prefix, false, visit_object, &visiting, err);
    if (rc)
        return rc;
    wal_name_format(name, text);
    if (finding.count == 0)
        return error_set(err, ERR_NOT_FOUND, "%s is not in the repository", text);
    if (finding.count == 1) {
        *ret_object = finding.object;
        return 0;
    }
    error_set(err, ERR_CORRUPT, "%d different contents are stored as %s", finding.count, text);
    return error_hint(
        err,
        "two servers archived into cluster \"%s\": give each a cluster of its own, and "
        "take a snapshot",
        repository->cluster);
}

static int visit_segment(const struct wal_object *object, void *context, struct error *err)
{
    struct visiting *visiting = context;
    return object->name.kind == WAL_SEGMENT ? visiting->visit(object, visiting->context, err) : 0;
}

int wal_object_list(const struct repository *repository, const char *system, uint32_t timeline,
                    uint32_t log, wal_visit visit, void *context, struct error *err)
{
    char prefix[STORE_KEY_MAX + 1];
    struct visiting wanted = {visit, context}, visiting = {visit_segment, &wanted};
    int rc = wal_key(repository, prefix, err, system, "%08X/%08X/", timeline, log);
    return rc ? rc : store_list(repository->store, prefix, false, visit_object, &visiting, err);
}

struct beyond {
    const struct wal_name *name;
    bool is_folder; /* logs are visited, not objects */
};

/* FOUND at the first log behind that of the name; for a history at any log. */
static int find_later_log(const struct store_object *object, void *context, struct error *err)
{
    const struct beyond *beyond = context;
    char log[FIELD + 1];
    struct wal_name name = {.kind = WAL_SEGMENT, .timeline = 1};
    (void)err;
    size_t length = strlen(object->key);
    if (length < FIELD + 1 || object->key[length - 1] != '/')
        return 0;
    memcpy(log, object->key + length - FIELD - 1, FIELD);
    log[FIELD] = '\0';
    if (object->key[length - FIELD - 2] != '/' ||
        !(wal_timeline_parse(log, &name.log) || strcmp(log, "00000000") == 0))
        return 0;
    return beyond->name->kind == WAL_HISTORY || name.log > beyond->name->log ? FOUND : 0;
}

static int find_later_object(const struct wal_object *object, void *context, struct error *err)
{
    const struct beyond *beyond = context;
    (void)err;
    return object->name.kind != WAL_HISTORY && object->name.segment > beyond->name->segment ? FOUND
                                                                                            : 0;
}

int wal_later_exists(const struct repository *repository, const char *system,
                     const struct wal_name *name, bool *ret_exists, struct error *err)
{
    char prefix[STORE_KEY_MAX + 1];
    struct beyond beyond = {.name = name};
    struct visiting visiting = {find_later_object, &beyond};
    int rc = wal_key(repository, prefix, err, system, "%08X/", name->timeline);
    if (!rc)
        rc = store_list(repository->store, prefix, true, find_later_log, &beyond, err);
    if (!rc && name->kind != WAL_HISTORY) {
        rc = wal_key(repository, prefix, err, system, "%08X/%08X/", name->timeline, name->log);
        if (!rc)
            rc = store_list(repository->store, prefix, false, visit_object, &visiting, err);
    }
    if (rc < 0)
        return rc;
    *ret_exists = rc == FOUND;
    return 0;
}

static int note_system(const struct store_object *object, void *context, struct error *err)
{
    char system[REPOSITORY_SYSTEM_IDENTIFIER_MAX + 1];
    size_t length = strlen(object->key);
    if (length == 0 || object->key[length - 1] != '/')
        return 0;
    size_t begin = length - 1;
    while (begin > 0 && object->key[begin - 1] != '/')
        begin--;
    length -= begin + 1;
    if (length > REPOSITORY_SYSTEM_IDENTIFIER_MAX ||
        strspn(object->key + begin, "0123456789") != length)
        return 0;
    memcpy(system, object->key + begin, length);
    system[length] = '\0';
    return strv_add(context, system, err);
}

int wal_systems(const struct repository *repository, struct strv *ret_systems, struct error *err)
{
    char prefix[STORE_KEY_MAX + 1];
    struct strv systems = STRV_INIT(REPOSITORY_SYSTEMS_MAX);
    int rc = repository_key(repository, prefix, err, "wal/");
    if (!rc)
        rc = store_list(repository->store, prefix, true, note_system, &systems, err);
    if (rc)
        strv_clear(&systems);
    else
        *ret_systems = systems;
    return rc;
}

/* -- wal.json ------------------------------------------------------------------------------ */

int wal_info_read(const struct repository *repository, const char *system,
                  int64_t *ret_segment_size, struct error *err)
{
    char key[STORE_KEY_MAX + 1];
    _cleanup_(json_release) json_t *info = NULL;
    int64_t format, size;
    int rc = wal_key(repository, key, err, system, "wal.json");
    if (!rc)
        rc = repository_read_json(repository, key, REPOSITORY_DOCUMENT_MAX, &info, err);
    if (rc == ERR_NOT_FOUND)
        return error_set(err, rc, "the repository holds no WAL of system %s", system);
    if (rc)
        return rc;
    rc = json_take_integer(info, "format", &format, err);
    if (!rc && format > REPOSITORY_FORMAT)
        rc = error_set(err, ERR_FAILED, "format %lld is newer than this version knows",
                       (long long)format);
    if (!rc)
        rc = json_take_integer(info, "segment_size", &size, err);
    if (!rc && !wal_segment_size_valid(size))
        rc = error_set(err, ERR_CORRUPT, "%lld bytes are no size of a segment", (long long)size);
    if (rc)
        return error_prefix(err, "%s", key), rc;
    *ret_segment_size = size;
    return 0;
}

static int compare_info(const struct repository *repository, const char *system, int64_t stored,
                        int64_t size, struct error *err)
{
    if (stored == size)
        return 0;
    error_set(err, ERR_FAILED,
              "the server's WAL segments have %lld bytes, those that are stored of system %s have "
              "%lld",
              (long long)size, system, (long long)stored);
    return error_hint(err,
                      "the size was changed by pg_resetwal: archive to another cluster name than "
                      "\"%s\" from now on, and take a snapshot there",
                      repository->cluster);
}

int wal_info_agree(const struct repository *repository, const char *system, int64_t segment_size,
                   struct error *err)
{
    char key[STORE_KEY_MAX + 1];
    int64_t stored = 0;
    int rc = wal_info_read(repository, system, &stored, err);
    if (rc == ERR_NOT_FOUND) {
        rc = wal_key(repository, key, err, system, "wal.json");
        if (!rc)
            rc = repository_write_json(repository, key,
                                       json_pack("{s:i, s:s, s:I, s:o}", "format",
                                                 REPOSITORY_FORMAT, "system_identifier", system,
                                                 "segment_size", (json_int_t)segment_size,
                                                 "created_at", json_instant(instant_now_us())),
                                       STORE_IF_ABSENT, err);
        if (!rc)
            return 0;
        if (rc == ERR_EXISTS)
            rc = wal_info_read(repository, system, &stored, err);
    }
    return rc ? rc : compare_info(repository, system, stored, segment_size, err);
}

/* -- histories, marks, gaps ---------------------------------------------------------------- */

int wal_history_read(const struct repository *repository, const char *system, uint32_t timeline,
                     struct wal_history *ret_history, struct error *err)
{
    struct wal_name name = {.kind = WAL_HISTORY, .timeline = timeline};
    struct wal_object object;
    if (timeline == 1)
        return wal_history_parse(1, "", 0, ret_history, err);
    int rc = wal_object_find(repository, system, &name, &object, err);
    if (rc)
        return rc;
    _cleanup_(buf_clear) struct buf text = BUF_INIT(WAL_HISTORY_BYTES_MAX);
    rc = wal_object_text(repository, &object, &text, err);
    return rc ? rc : wal_history_parse(timeline, buf_text(&text), text.length, ret_history, err);
}

int wal_mark_write(const struct repository *repository, const char *system, uint32_t timeline,
                   int64_t time_us, uint64_t lsn, struct error *err)
{
    char key[STORE_KEY_MAX + 1], time[ID_TIME_SIZE], text[WAL_LSN_TEXT_MAX];
    int rc = id_format_time(time_us, time, err);
    if (!rc)
        rc = wal_key(repository, key, err, system, "%08X/marks/%s-%016llX.json", timeline, time,
                     (unsigned long long)lsn);
    if (!rc)
        rc = repository_write_json(repository, key,
                                   json_pack("{s:i, s:o, s:s, s:I}", "format", REPOSITORY_FORMAT,
                                             "time", json_instant(time_us), "lsn",
                                             wal_lsn_format(lsn, text), "timeline",
                                             (json_int_t)timeline),
                                   STORE_IF_ABSENT, err);
    return rc == ERR_EXISTS ? 0 : rc;
}

int wal_acknowledge(struct repository *repository, const char *system, const struct wal_name *first,
                    const struct wal_name *last, const char *reason, int64_t now_us,
                    struct error *err)
{
    char key[STORE_KEY_MAX + 1], from[WAL_NAME_MAX], to[WAL_NAME_MAX];
    wal_name_format(first, from);
    wal_name_format(last, to);
    int rc =
        wal_key(repository, key, err, system, "%08X/gaps/%s-%s.json", first->timeline, from, to);
    if (!rc)
        rc = evidence_add(repository, "wal_gap_acknowledged",
                          json_pack("{s:s, s:I, s:s, s:s, s:s}", "system_identifier", system,
                                    "timeline", (json_int_t)first->timeline, "first", from, "last",
                                    to, "reason", reason),
                          NULL, err);
    if (!rc)
        rc = repository_write_json(repository, key,
                                   json_pack("{s:i, s:s, s:s, s:s, s:o}", "format",
                                             REPOSITORY_FORMAT, "first", from, "last", to, "reason",
                                             reason, "at", json_instant(now_us)),
                                   0, err);
    return rc;
}
