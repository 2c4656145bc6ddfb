#include "repository/lock_records.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/units.h"

enum {
    READ_ATTEMPTS = 20,     /* the highest record may be replaced while we read it */
    MACHINE_ID_LENGTH = 32, /* machine-id(5) */
    MACHINE_FILE_MAX = 256,
    NUMBER_DIGITS = 10,
    LOWER_MAX = 100, /* old records deleted by one new holder */
};

static const char *const CLASS_NAMES[LOCK_CLASS_COUNT] = {
    [LOCK_DUMP] = "dump",       [LOCK_SNAPSHOT] = "snapshot", [LOCK_VACUUM] = "vacuum",
    [LOCK_RESTORE] = "restore", [LOCK_VERIFY] = "verify",     [LOCK_PRUNE] = "prune",
    [LOCK_OTHER] = "other",
};

static const char *const STATE_NAMES[] = {
    [LOCK_STATE_ACQUIRING] = "acquiring",
    [LOCK_STATE_HELD] = "held",
    [LOCK_STATE_RELEASED] = "released",
};

/* The table of format.md; one row is enough, the relation is symmetric. */
static const struct {
    enum lock_class a, b;
} CONFLICTS[] = {
    {LOCK_PRUNE, LOCK_DUMP},   {LOCK_PRUNE, LOCK_SNAPSHOT}, {LOCK_PRUNE, LOCK_RESTORE},
    {LOCK_PRUNE, LOCK_VERIFY}, {LOCK_PRUNE, LOCK_PRUNE},    {LOCK_VACUUM, LOCK_DUMP},
};

const char *lock_class_name(enum lock_class class)
{
    return CLASS_NAMES[class];
}

bool lock_classes_conflict(enum lock_class a, enum lock_class b)
{
    for (size_t i = 0; i < ARRAY_SIZE(CONFLICTS); i++)
        if ((CONFLICTS[i].a == a && CONFLICTS[i].b == b) ||
            (CONFLICTS[i].a == b && CONFLICTS[i].b == a))
            return true;
    return false;
}

static void copy_text(char text[LOCK_TEXT_MAX + 1], const char *from)
{
    snprintf(text, LOCK_TEXT_MAX + 1, "%s", from ? from : "");
}

/* machine-id(5); "" where there is none, as in many containers. */
static void read_machine(char machine[LOCK_TEXT_MAX + 1])
{
    struct buf buf = BUF_INIT(MACHINE_FILE_MAX);
    machine[0] = '\0';
    if (file_read("/etc/machine-id", &buf, NULL) == 0 && buf.length >= MACHINE_ID_LENGTH) {
        memcpy(machine, buf.data, MACHINE_ID_LENGTH);
        machine[MACHINE_ID_LENGTH] = '\0';
    }
    buf_clear(&buf);
}

void lock_record_of_self(struct lock_record *record, const struct lock_request *request)
{
    *record = (struct lock_record){.holder.class = request->class};
    copy_text(record->holder.job, request->job);
    copy_text(record->holder.run_id, request->run_id);
    copy_text(record->holder.under, request->under);
    if (gethostname(record->holder.host, LOCK_TEXT_MAX) != 0)
        record->holder.host[0] = '\0';
    read_machine(record->holder.machine);
    process_self(&record->holder.process);
}

/* Whether the process may live although process_alive() could not see it: /proc may hide the
 * processes of other users. */
static bool may_live(const struct process_identity *process)
{
    return process_alive(process) || (kill(process->pid, 0) != 0 && errno == EPERM);
}

bool lock_record_is_live(const struct lock_record *record)
{
    const struct lock_holder *holder = &record->holder;
    char machine[LOCK_TEXT_MAX + 1], host[LOCK_TEXT_MAX + 1] = "";
    struct process_identity self;
    if (record->state == LOCK_STATE_RELEASED)
        return false;
    process_self(&self);
    /* The place has the boot id in it, which no two machines share. */
    if (strcmp(self.place, holder->process.place) == 0)
        return may_live(&holder->process);
    read_machine(machine);
    gethostname(host, LOCK_TEXT_MAX);
    bool same_machine =
        machine[0] && strcmp(machine, holder->machine) == 0 && strcmp(host, holder->host) == 0;
    size_t boot_length = strcspn(self.place, "/");
    bool same_boot = strncmp(self.place, holder->process.place, boot_length + 1) == 0;
    if (same_machine && !same_boot)
        return false;
    /* Two clocks, and the later: a holder whose own clock is behind is not dead. */
    int64_t sign_of_life_us =
        holder->refreshed_us > record->modified_us ? holder->refreshed_us : record->modified_us;
    return instant_now_us() - sign_of_life_us < LOCK_STALE_US;
}

static int take_text(const json_t *object, const char *key, char text[LOCK_TEXT_MAX + 1],
                     struct error *err)
{
    const char *value;
    int rc = json_take_text(object, key, &value, err);
    if (!rc)
        copy_text(text, value);
    return rc;
}

/* The index of a text among the names; ERR_CORRUPT when it is none of them. */
static int take_name(const json_t *object, const char *key, const char *const *names, size_t count,
                     size_t *ret_index, struct error *err)
{
    const char *value;
    int rc = json_take_text(object, key, &value, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(value, names[i]) == 0) {
            *ret_index = i;
            return 0;
        }
    }
    return error_set(err, ERR_CORRUPT, "\"%s\" is \"%s\"", key, value);
}

static int parse_process(const json_t *object, struct process_identity *process, struct error *err)
{
    const char *place;
    int64_t pid = 0;
    int rc = json_take_text(object, "place", &place, err);
    if (!rc)
        rc = json_take_integer(object, "pid", &pid, err);
    if (!rc)
        rc = json_take_integer(object, "start_ticks", &process->start_ticks, err);
    if (!rc && (pid < 1 || pid > INT32_MAX))
        rc = error_set(err, ERR_CORRUPT, "\"pid\" is %lld", (long long)pid);
    if (rc)
        return rc;
    process->pid = (pid_t)pid;
    snprintf(process->place, sizeof(process->place), "%s", place);
    return 0;
}

static int parse_record(const json_t *object, struct lock_record *record, struct error *err)
{
    struct lock_holder *holder = &record->holder;
    size_t class = 0, state = 0;
    int rc = take_name(object, "class", CLASS_NAMES, ARRAY_SIZE(CLASS_NAMES), &class, err);
    if (!rc)
        rc = take_name(object, "state", STATE_NAMES, ARRAY_SIZE(STATE_NAMES), &state, err);
    if (!rc)
        rc = take_text(object, "host", holder->host, err);
    if (!rc)
        rc = take_text(object, "machine", holder->machine, err);
    if (!rc)
        rc = parse_process(object, &holder->process, err);
    if (!rc)
        rc = take_text(object, "job", holder->job, err);
    if (!rc)
        rc = take_text(object, "run_id", holder->run_id, err);
    if (!rc)
        rc = json_take_instant(object, "acquired_at", &holder->acquired_us, err);
    if (!rc)
        rc = json_take_instant(object, "refreshed_at", &holder->refreshed_us, err);
    copy_text(holder->under, json_text(object, "under")); /* older records lack it */
    holder->class = (enum lock_class) class;
    record->state = (enum lock_state)state;
    holder->is_acquiring = record->state == LOCK_STATE_ACQUIRING;
    return rc;
}

static int record_key(const struct repository *repository, const char *name, int64_t number,
                      char key[STORE_KEY_MAX + 1], struct error *err)
{
    return repository_key(repository, key, err, "locks/%s/%0*lld.json", name, NUMBER_DIGITS,
                          (long long)number);
}

int lock_write_record(struct repository *repository, const struct lock_record *record,
                      unsigned flags, struct error *err)
{
    const struct lock_holder *holder = &record->holder;
    char key[STORE_KEY_MAX + 1];
    int rc = record_key(repository, holder->name, holder->number, key, err);
    if (rc)
        return rc;
    json_t *object = json_pack(
        "{s:i, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:s, s:o, s:o}", "format",
        REPOSITORY_FORMAT, "number", (json_int_t)holder->number, "name", holder->name, "class",
        lock_class_name(holder->class), "state", STATE_NAMES[record->state], "host", holder->host,
        "machine", holder->machine, "place", holder->process.place, "pid",
        (json_int_t)holder->process.pid, "start_ticks", (json_int_t)holder->process.start_ticks,
        "job", holder->job, "run_id", holder->run_id, "under", holder->under, "acquired_at",
        json_instant(holder->acquired_us), "refreshed_at", json_instant(holder->refreshed_us));
    return repository_write_json(repository, key, object, flags, err);
}

/* The number in CLUSTER/locks/NAME/0000000007.json; 0 when the key is none of that form. */
static int64_t number_of_key(const char *key)
{
    char digits[NUMBER_DIGITS + 1];
    const char *name = strrchr(key, '/');
    int64_t number = 0;
    if (!name || strlen(name + 1) != NUMBER_DIGITS + strlen(".json") ||
        strcmp(name + 1 + NUMBER_DIGITS, ".json") != 0)
        return 0;
    memcpy(digits, name + 1, NUMBER_DIGITS);
    digits[NUMBER_DIGITS] = '\0';
    return number_parse(digits, "number", 0, INT64_MAX, &number, NULL) == 0 ? number : 0;
}

struct highest {
    char key[STORE_KEY_MAX + 1];
    int64_t number;
    int64_t modified_us;
};

static int note_highest(const struct store_object *object, void *context, struct error *err)
{
    (void)err;
    struct highest *highest = context;
    int64_t number = number_of_key(object->key);
    if (number > highest->number) {
        memcpy(highest->key, object->key, sizeof(highest->key));
        highest->number = number;
        highest->modified_us = object->modified_us;
    }
    return 0;
}

static int read_record(struct repository *repository, const struct highest *highest,
                       const char *name, struct lock_record *ret_record, struct error *err)
{
    _cleanup_(json_release) json_t *object = NULL;
    struct lock_record record = {.modified_us = highest->modified_us};
    record.holder.number = highest->number;
    snprintf(record.holder.name, sizeof(record.holder.name), "%s", name);
    int rc = repository_read_json(repository, highest->key, REPOSITORY_DOCUMENT_MAX, &object, err);
    if (rc == ERR_NOT_FOUND)
        return rc;
    if (!rc) {
        rc = parse_record(object, &record, err);
        if (rc)
            error_prefix(err, "%s", highest->key);
    }
    if (rc) {
        if (rc == ERR_CORRUPT)
            error_hint(err, "if no pgcairn works on cluster \"%s\", delete that object",
                       repository->cluster);
        return rc;
    }
    *ret_record = record;
    return 0;
}

int lock_read_highest(struct repository *repository, const char *name,
                      struct lock_record *ret_record, bool *ret_found, struct error *err)
{
    char prefix[STORE_KEY_MAX + 1];
    int rc = repository_key(repository, prefix, err, "locks/%s/", name);
    if (rc)
        return rc;
    rc = ERR_NOT_FOUND;
    for (int i = 0; i < READ_ATTEMPTS && rc == ERR_NOT_FOUND; i++) {
        struct highest highest = {.number = 0};
        rc = store_list(repository->store, prefix, false, note_highest, &highest, err);
        if (rc)
            return rc;
        if (highest.number == 0) {
            *ret_found = false;
            return 0;
        }
        rc = read_record(repository, &highest, name, ret_record, err);
    }
    if (!rc)
        *ret_found = true;
    return rc == ERR_NOT_FOUND ? error_set(err, ERR_UNKNOWN,
                                           "the lock \"%s\" changes hands faster "
                                           "than it can be read",
                                           name)
                               : rc;
}

struct lower {
    int64_t below;
    size_t count;
    char keys[LOWER_MAX][STORE_KEY_MAX + 1];
};

static int note_lower(const struct store_object *object, void *context, struct error *err)
{
    (void)err;
    struct lower *lower = context;
    int64_t number = number_of_key(object->key);
    if (number > 0 && number < lower->below && lower->count < LOWER_MAX)
        memcpy(lower->keys[lower->count++], object->key, sizeof(lower->keys[0]));
    return 0;
}

void lock_delete_lower(struct repository *repository, const struct lock_record *record)
{
    struct lower lower = {.below = record->holder.number};
    char prefix[STORE_KEY_MAX + 1];
    if (repository_key(repository, prefix, NULL, "locks/%s/", record->holder.name) ||
        store_list(repository->store, prefix, false, note_lower, &lower, NULL))
        return;
    for (size_t i = 0; i < lower.count; i++)
        store_delete(repository->store, lower.keys[i], NULL);
}

struct list_call {
    struct repository *repository;
    lock_visit visit;
    void *context;
};

static int visit_lock(const struct store_object *object, void *context, struct error *err)
{
    const struct list_call *call = context;
    struct lock_record record;
    char name[LOCK_NAME_MAX + 1];
    bool found;
    /* CLUSTER/locks/NAME/ */
    const char *from = object->key + strlen(call->repository->cluster) + strlen("/locks/");
    size_t length = strlen(from);
    if (length < 2 || from[length - 1] != '/' || length - 1 > LOCK_NAME_MAX)
        return 0;
    snprintf(name, sizeof(name), "%.*s", (int)length - 1, from);
    int rc = lock_read_highest(call->repository, name, &record, &found, err);
    if (rc == ERR_CORRUPT && err)
        err->code = ERR_UNKNOWN;
    if (rc)
        return rc == ERR_CORRUPT ? ERR_UNKNOWN : rc;
    return found && lock_record_is_live(&record) ? call->visit(&record.holder, call->context, err)
                                                 : 0;
}

int lock_list(struct repository *repository, lock_visit visit, void *context, struct error *err)
{
    struct list_call call = {repository, visit, context};
    char prefix[STORE_KEY_MAX + 1];
    int rc = repository_key(repository, prefix, err, "locks/");
    return rc ? rc : store_list(repository->store, prefix, true, visit_lock, &call, err);
}
