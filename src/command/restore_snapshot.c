/* restore snapshot: the cluster as it was at a moment. */
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/log.h"
#include "base/units.h"
#include "command/commands.h"
#include "command/opened.h"
#include "command/progress.h"
#include "command/times.h"
#include "work/locking.h"
#include "work/restore_snapshot.h"

static void tell(const char *text, void *progress)
{
    progress_notice(progress, text);
}

static void show_progress(const char *phase, int64_t done, int64_t total, void *progress)
{
    progress_show(progress, phase, done, total);
}

/* -- arguments ------------------------------------------------------------------------------------
 */

static const struct {
    const char *option;
    enum reach_kind kind;
} TARGETS[] = {
    {"to", REACH_TIME},
    {"to-lsn", REACH_LSN},
    {"to-xid", REACH_XID},
    {"to-name", REACH_NAME},
};

/* At most one of the options that name a target. */
static int take_kind(const struct arguments *arguments, struct reach_target *target,
                     struct error *err)
{
    const char *given = argument_flag(arguments, "immediate") ? "immediate" : NULL;
    target->kind = given ? REACH_IMMEDIATE : REACH_END;
    for (size_t i = 0; i < ARRAY_SIZE(TARGETS); i++) {
        const char *text = argument_text(arguments, TARGETS[i].option);
        if (!text)
            continue;
        if (given)
            return error_set(err, ERR_USAGE, "--%s and --%s exclude each other", given,
                             TARGETS[i].option);
        given = TARGETS[i].option;
        target->kind = TARGETS[i].kind;
        target->text = text;
    }
    return 0;
}

static int check_xid(const char *text, struct error *err)
{
    int64_t xid;
    return number_parse(text, "--to-xid", 3, INT64_MAX, &xid, err);
}

static int check_name(const char *text, struct error *err)
{
    if (text[0] && strlen(text) < 64 && !strpbrk(text, "\n\r"))
        return 0;
    return error_set(err, ERR_USAGE, "--to-name is the name of a restore point, 1 to 63 bytes");
}

static int take_target(const struct arguments *arguments, const struct policy *policy,
                       struct reach_target *target, struct error *err)
{
    const char *id = arguments->words.count > 1 ? arguments->words.items[1] : "latest";
    const char *timeline = argument_text(arguments, "timeline");
    int64_t number = 0;
    int rc = timeline ? number_parse(timeline, "--timeline", 1, UINT32_MAX, &number, err) : 0;
    if (strcmp(id, "latest") != 0)
        target->backup_id = id;
    target->timeline = (uint32_t)number;
    if (rc)
        return rc;
    switch (target->kind) {
    case REACH_TIME:
        rc = command_time(target->text, policy->timezone, &target->time_us, err);
        target->text = NULL;
        return rc;
    case REACH_LSN:
        rc = wal_lsn_parse(target->text, &target->lsn, err);
        target->text = NULL;
        return rc;
    case REACH_XID:
        return check_xid(target->text, err);
    case REACH_NAME:
        return check_name(target->text, err);
    case REACH_END:
    case REACH_IMMEDIATE:
        break;
    }
    return 0;
}

/* OLD=NEW, both absolute. */
static int check_tablespaces(const struct strv *list, struct error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        const char *equals = strchr(list->items[i], '=');
        if (list->items[i][0] != '/' || !equals || equals[1] != '/') {
            error_set(err, ERR_USAGE, "--tablespace %s is not OLD=NEW", list->items[i]);
            return error_hint(err, "both are absolute paths of folders: --tablespace "
                                   "/srv/fast=/mnt/restore/fast");
        }
    }
    return 0;
}

/* Absolute, without a slash at the end. */
static int take_folder(const char *given, char folder[PATH_MAX], struct error *err)
{
    char here[PATH_MAX] = "";
    if (!given || !given[0]) {
        error_set(err, ERR_USAGE, "--target-dir is missing");
        return error_hint(err, "name the folder that becomes the data directory, empty or absent");
    }
    if (given[0] != '/' && !getcwd(here, sizeof(here)))
        return error_set_errno(err, errno, "could not tell the current folder");
    int length = snprintf(folder, PATH_MAX, "%s%s%s", here, here[0] ? "/" : "", given);
    if (length >= RESTORE_PATH_MAX / 2)
        return error_set(err, ERR_USAGE, "--target-dir is longer than %d bytes",
                         RESTORE_PATH_MAX / 2);
    while (length > 1 && folder[length - 1] == '/')
        folder[--length] = '\0';
    return 0;
}

static int fill_request(const struct arguments *arguments, const struct policy *policy,
                        struct restore_snapshot_request *request, struct error *err)
{
    int64_t jobs = RESTORE_SNAPSHOT_JOBS_DEFAULT;
    const char *text = argument_text(arguments, "jobs");
    request->exclusive = argument_flag(arguments, "exclusive");
    request->standby = argument_flag(arguments, "standby");
    request->resume = argument_flag(arguments, "resume");
    request->dry_run = argument_flag(arguments, "dry-run");
    request->tablespaces = argument_list(arguments, "tablespace");
    int rc = take_kind(arguments, &request->target, err);
    if (!rc)
        rc = take_target(arguments, policy, &request->target, err);
    if (!rc)
        rc = check_tablespaces(request->tablespaces, err);
    if (!rc && text)
        rc = number_parse(text, "--jobs", 1, RESTORE_SNAPSHOT_JOBS_MAX, &jobs, err);
    request->jobs = (int)jobs;
    bool has_target = request->target.kind != REACH_END;
    if (!rc && request->standby && has_target)
        rc = error_set(err, ERR_USAGE, "a standby follows to the end: --standby takes no target");
    if (!rc && request->exclusive &&
        (!has_target || request->target.kind == REACH_NAME ||
         request->target.kind == REACH_IMMEDIATE))
        rc = error_set(err, ERR_USAGE, "--exclusive needs --to, --to-lsn or --to-xid");
    return rc;
}

/* -- what people read -----------------------------------------------------------------------------
 */

static void print_target(const json_t *report)
{
    const json_t *target = json_object_get(report, "target");
    const char *kind = json_text(target, "kind");
    printf("  target      ");
    if (json_is_true(json_object_get(report, "standby")))
        printf("a standby that goes on replaying");
    else if (strcmp(kind, "end") == 0)
        printf("the end of the WAL");
    else if (strcmp(kind, "immediate") == 0)
        printf("the end of the snapshot");
    else
        printf("%s %s", kind, json_text(target, kind));
    printf(", timeline %lld%s\n", (long long)json_number(report, "timeline"),
           json_is_true(json_object_get(report, "certain"))
               ? ""
               : " (whether the WAL goes so far is seen when it is replayed)");
}

static void print_plan(const json_t *report)
{
    const json_t *wal = json_object_get(report, "wal"), *tablespace;
    char bytes[UNITS_TEXT_MAX], stored[UNITS_TEXT_MAX], time[UNITS_TEXT_MAX];
    size_t i;
    printf("%s snapshot %s into %s\n",
           json_is_true(json_object_get(report, "dry_run")) ? "would restore" : "restored",
           json_text(report, "id"), json_text(report, "target_dir"));
    printf("  snapshot    ended at %s, PostgreSQL %s\n", json_text(report, "stopped_at"),
           json_text(report, "server_version"));
    print_target(report);
    if (json_is_object(wal))
        printf("  WAL         %s to %s, %lld segments without a gap, known to reach %s\n",
               json_text(wal, "first"), json_text(wal, "last"),
               (long long)json_number(wal, "segments"), json_text(report, "known_until"));
    else
        printf("  WAL         that of the snapshot\n");
    json_array_foreach(json_object_get(report, "tablespaces"), i, tablespace)
    {
        printf("  tablespace  %s into %s\n", json_text(tablespace, "location"),
               json_text(tablespace, "folder"));
    }
    printf("  size        %s from %s stored in %lld volumes; about %s, replay included\n",
           size_format(json_number(report, "bytes"), bytes),
           size_format(json_number(report, "bytes_stored"), stored),
           (long long)json_number(report, "volumes"),
           duration_format(json_number(report, "estimated_seconds") * US_PER_SECOND, time));
}

/* By whom and how the server is started, now that all is there. */
static void print_start(const char *folder)
{
    struct stat status;
    const struct passwd *owner = stat(folder, &status) == 0 ? getpwuid(status.st_uid) : NULL;
    bool is_other = owner && status.st_uid != geteuid();
    printf("\nstart it%s%s: pg_ctl -D '%s' -l '%s.log' start\n", is_other ? " as " : "",
           is_other ? owner->pw_name : "", folder, folder);
    printf("if it is a copy and the cluster itself lives on, keep its WAL apart: add "
           "-o '-c archive_mode=off'\n");
}

/* -- the command ----------------------------------------------------------------------------------
 */

static int restore_locked(const struct globals *globals, struct restore_snapshot_request *request,
                          struct error *err)
{
    _cleanup_(json_release) json_t *report = NULL;
    _cleanup_(locking_freep) struct locking *locking = NULL;
    _cleanup_(progress_freep) struct progress *progress = NULL;
    struct lock_request wanted = {.class = LOCK_RESTORE, .run_id = ""};
    int rc = progress_new(globals->quiet, NULL, &progress, err);
    if (!rc)
        rc = locking_begin(request->repository, &wanted, 0, &locking, err);
    if (rc)
        return rc;
    request->progress = show_progress;
    request->notice = tell;
    request->context = progress;
    work_catch_signals();
    rc = restore_snapshot(request, &report, err);
    progress_end(progress);
    if (rc)
        return rc;
    if (globals->json)
        return command_print_json(
            json_pack("{s:O}", request->dry_run ? "plan" : "restored", report), err);
    print_plan(report);
    if (!request->dry_run)
        print_start(request->folder);
    return 0;
}

static int restore_run(const struct globals *globals, const struct arguments *arguments,
                       struct error *err)
{
    _cleanup_(opened_clear) struct opened opened = {0};
    char folder[PATH_MAX];
    struct restore_snapshot_request request = {.folder = folder};
    int rc = take_folder(argument_text(arguments, "target-dir"), folder, err);
    if (!rc)
        rc = opened_cluster(globals, arguments->words.items[0], &opened, err);
    if (rc)
        return rc;
    request.policy = opened.policy;
    request.repository = opened.repository;
    rc = fill_request(arguments, opened.policy, &request, err);
    if (!rc)
        rc = restore_locked(globals, &request, err);
    return rc ? error_prefix(err, "%s", opened.policy->cluster) : 0;
}

static const struct command_option RESTORE_OPTIONS[] = {
    {"target-dir", OPTION_TEXT, "DIR", "the new data directory: empty, or not there yet"},
    {"to", OPTION_TEXT, "TIME", "recover up to this moment"},
    {"to-lsn", OPTION_TEXT, "LSN", "recover up to this position"},
    {"to-xid", OPTION_TEXT, "X", "recover up to the end of this transaction"},
    {"to-name", OPTION_TEXT, "N", "recover up to this restore point"},
    {"immediate", OPTION_FLAG, NULL, "as the snapshot ended, without archived WAL"},
    {"timeline", OPTION_TEXT, "T", "which timeline to follow (default: the newest)"},
    {"exclusive", OPTION_FLAG, NULL, "stop just before the target, not behind it"},
    {"standby", OPTION_FLAG, NULL, "make a standby, which goes on replaying"},
    {"tablespace", OPTION_LIST, "OLD=NEW", "put the tablespace of folder OLD into NEW"},
    {"resume", OPTION_FLAG, NULL, "go on with a restore that was interrupted"},
    {"jobs", OPTION_TEXT, "N", "volumes that are read at once (default 4)"},
    {"dry-run", OPTION_FLAG, NULL, "check everything and show the plan, change nothing"},
    {0},
};

const struct command COMMAND_RESTORE_SNAPSHOT = {
    .name = "restore snapshot",
    .usage = "CLUSTER [ID|latest] --target-dir DIR [OPTIONS]",
    .summary = "restore the whole cluster, to a point in time",
    .examples =
        "  pgcairn restore snapshot automatos --target-dir /srv/restored\n"
        "  pgcairn restore snapshot automatos --target-dir /srv/restored --to '2026-11-21 13:05'\n"
        "  pgcairn restore snapshot automatos --target-dir /srv/standby --standby",
    .min_words = 1,
    .max_words = 2,
    .options = RESTORE_OPTIONS,
    .run = restore_run,
};
