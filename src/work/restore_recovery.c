/* What the restored server reads at its first start: where its tablespaces are, that it shall
 * recover, from where and how far. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "work/restore_snapshot.h"
#include "work/shell.h"

enum { TEXT_LIMIT = 1 << 20, SETTINGS_LIMIT = 16 << 20 };

static void path_in(const struct snapshot_restore *restore, const char *name,
                    char path[RESTORE_PATH_MAX])
{
    snprintf(path, RESTORE_PATH_MAX, "%s/%s", restore->places[0].folder, name);
}

/* A whole file of the restored cluster's. */
static int write_file(const struct snapshot_restore *restore, const char *name, const void *data,
                      size_t length, struct error *err)
{
    char path[RESTORE_PATH_MAX];
    path_in(restore, name, path);
    int rc = file_replace(path, data, length, restore->file_mode, err);
    if (rc)
        return rc;
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_set_errno(err, errno, "could not open \"%s\"", path);
    return restore_give(restore, fd, path, restore->file_mode, err);
}

/* -- tablespaces ----------------------------------------------------------------------------------
 */

static int link_tablespace(const struct snapshot_restore *restore,
                           const struct restore_place *place, struct error *err)
{
    char name[64], path[RESTORE_PATH_MAX];
    snprintf(name, sizeof(name), "pg_tblspc/%u", place->oid);
    path_in(restore, name, path);
    if (unlink(path) != 0 && errno != ENOENT) /* of the restore that is resumed */
        return error_set_errno(err, errno, "could not replace \"%s\"", path);
    if (symlink(place->folder, path) != 0)
        return error_set_errno(err, errno, "could not make the link \"%s\"", path);
    if (restore->is_root && lchown(path, restore->owner, restore->group) != 0)
        return error_set_errno(err, errno, "could not give \"%s\" to its owner", path);
    return 0;
}

/* A line of tablespace_map; a backslash stands before one in the path and before a line's end
 * (PostgreSQL: src/backend/access/transam/xlog.c). */
static void add_map_line(struct buf *map, const struct restore_place *place)
{
    buf_addf(map, "%u ", place->oid);
    for (const char *c = place->folder; *c; c++) {
        if (*c == '\\' || *c == '\n' || *c == '\r')
            buf_add_text(map, "\\");
        buf_add(map, c, 1);
    }
    buf_add_text(map, "\n");
}

/* The server makes its links anew from the map, so that must say where the folders are now. As long
 * as none has moved, it is left as the server wrote it. */
static int write_tablespaces(const struct snapshot_restore *restore, struct error *err)
{
    _cleanup_(buf_clear) struct buf map = BUF_INIT(SETTINGS_LIMIT);
    bool any_moved = false;
    int rc = 0;
    for (size_t i = 1; i < restore->place_count && !rc; i++) {
        any_moved = any_moved || restore->places[i].is_moved;
        add_map_line(&map, &restore->places[i]);
        rc = link_tablespace(restore, &restore->places[i], err);
    }
    if (!rc)
        rc = buf_failed(&map, "tablespace_map", err);
    if (rc || !any_moved)
        return rc;
    return write_file(restore, "tablespace_map", map.data, map.length, err);
}

/* -- settings -------------------------------------------------------------------------------------
 */

/* NAME = 'VALUE' as postgresql.conf has it. */
static void add_setting(struct buf *text, const char *name, const char *value)
{
    buf_addf(text, "%s = '", name);
    for (const char *c = value; *c; c++)
        buf_add(text,
                *c == '\''   ? "''"
                : *c == '\\' ? "\\\\"
                             : c,
                *c == '\'' || *c == '\\' ? 2 : 1);
    buf_add_text(text, "'\n");
}

/* restore_command replaces %f, %p, %r; any other % stands doubled. */
static void add_command_word(struct buf *command, const char *word)
{
    _cleanup_(buf_clear) struct buf quoted = BUF_INIT(TEXT_LIMIT);
    shell_add_quoted(&quoted, word);
    for (const char *c = buf_text(&quoted); *c; c++)
        buf_add(command, *c == '%' ? "%%" : c, *c == '%' ? 2 : 1);
    buf_add_text(command, " ");
}

/* This program, or the quick one beside it that is made for this. */
static int find_program(char path[RESTORE_PATH_MAX], bool *ret_is_quick, struct error *err)
{
    char own[RESTORE_PATH_MAX - 16];
    ssize_t length = readlink("/proc/self/exe", own, sizeof(own) - 1);
    if (length < 0)
        return error_set_errno(err, errno, "could not find out where this program is");
    own[length] = '\0';
    snprintf(path, RESTORE_PATH_MAX, "%s-wal", own);
    *ret_is_quick = access(path, X_OK) == 0;
    if (!*ret_is_quick)
        snprintf(path, RESTORE_PATH_MAX, "%s", own);
    return 0;
}

bool restore_uses_s3(const struct snapshot_restore *restore)
{
    return strncmp(restore->request->policy->repository_url, "s3://", strlen("s3://")) == 0;
}

static void add_variable(struct buf *command, const char *name)
{
    const char *value = getenv(name);
    if (!value || !value[0])
        return;
    buf_addf(command, "%s=", name);
    add_command_word(command, value);
}

/* What this run was told by its environment and the server's own will not say: where the state is,
 * where the bucket is and who may read it. Never a secret. */
static void add_environment(struct buf *command, const struct snapshot_restore *restore)
{
    static const char *const names[] = {"AWS_SHARED_CREDENTIALS_FILE",
                                        "AWS_CONFIG_FILE",
                                        "AWS_PROFILE",
                                        "AWS_WEB_IDENTITY_TOKEN_FILE",
                                        "AWS_ROLE_ARN",
                                        "AWS_REGION",
                                        "AWS_DEFAULT_REGION",
                                        "AWS_ENDPOINT_URL_S3",
                                        "AWS_ENDPOINT_URL",
                                        "AWS_CA_BUNDLE"};
    add_variable(command, "STATE_DIRECTORY");
    for (size_t i = 0; i < ARRAY_SIZE(names) && restore_uses_s3(restore); i++)
        add_variable(command, names[i]);
}

int restore_command_text(const struct snapshot_restore *restore, char **ret_text, struct error *err)
{
    const struct restore_snapshot_request *request = restore->request;
    _cleanup_(buf_clear) struct buf command = BUF_INIT(TEXT_LIMIT);
    _cleanup_(freep) char *policy = realpath(request->policy->file, NULL);
    char program[RESTORE_PATH_MAX];
    bool is_quick = false;
    if (!policy)
        return error_set_errno(err, errno, "could not find \"%s\"", request->policy->file);
    int rc = find_program(program, &is_quick, err);
    if (rc)
        return rc;
    add_environment(&command, restore);
    add_command_word(&command, program);
    buf_add_text(&command, "-c ");
    add_command_word(&command, policy);
    buf_addf(&command, "%sfetch %s %%f %%p%s", is_quick ? "" : "wal ", request->policy->cluster,
             request->standby ? " --standby" : "");
    rc = buf_failed(&command, "restore_command", err);
    if (!rc)
        *ret_text = buf_steal(&command);
    return rc;
}

/* PostgreSQL knows of one target only, and an empty setting that is read behind it takes it away
 * again: so first all are emptied, whatever the configuration that was restored says, and then the
 * target is set. */
static void add_target(struct buf *text, const struct snapshot_restore *restore)
{
    static const char *const targets[] = {"recovery_target", "recovery_target_name",
                                          "recovery_target_time", "recovery_target_xid",
                                          "recovery_target_lsn"};
    const struct reach_target *target = &restore->request->target;
    char value[64];
    struct civil civil;
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
        add_setting(text, targets[i], "");
    switch (restore->has_wal ? target->kind : REACH_IMMEDIATE) {
    case REACH_END:
        return;
    case REACH_IMMEDIATE:
        add_setting(text, "recovery_target", "immediate");
        return;
    case REACH_NAME:
        add_setting(text, "recovery_target_name", target->text);
        return;
    case REACH_XID:
        add_setting(text, "recovery_target_xid", target->text);
        break;
    case REACH_LSN:
        add_setting(text, "recovery_target_lsn", wal_lsn_format(target->lsn, value));
        break;
    case REACH_TIME:
        civil_from_seconds(target->time_us / US_PER_SECOND, &civil);
        snprintf(value, sizeof(value), "%04d-%02d-%02d %02d:%02d:%02d.%06d+00", civil.year,
                 civil.month, civil.day, civil.hour, civil.minute, civil.second,
                 (int)(target->time_us % US_PER_SECOND));
        add_setting(text, "recovery_target_time", value);
        break;
    }
    add_setting(text, "recovery_target_inclusive", restore->request->exclusive ? "off" : "on");
}

static int add_settings(struct buf *text, const struct snapshot_restore *restore, struct error *err)
{
    const struct restore_snapshot_request *request = restore->request;
    _cleanup_(freep) char *command = NULL;
    char timeline[16], now[INSTANT_TEXT_MAX];
    int rc = restore_command_text(restore, &command, err);
    if (rc)
        return rc;
    /* All WAL that a snapshot needs by itself lies in it, and then none is asked for. */
    bool is_alone =
        !request->standby && (!restore->has_wal || request->target.kind == REACH_IMMEDIATE);
    snprintf(timeline, sizeof(timeline), "%u", restore->choice.timeline);
    buf_addf(text, "\n# Written by pgcairn at %s: snapshot %s is recovered by these settings.\n",
             instant_format(instant_now_us(), now), restore->choice.anchor->id);
    add_setting(text, "restore_command", is_alone ? "false" : command);
    if (request->standby) {
        add_setting(text, "recovery_target_timeline", "latest");
        return buf_failed(text, "the settings", err);
    }
    add_target(text, restore);
    add_setting(text, "recovery_target_timeline", is_alone ? "current" : timeline);
    add_setting(text, "recovery_target_action", "promote");
    return buf_failed(text, "the settings", err);
}

static int write_settings(const struct snapshot_restore *restore, struct error *err)
{
    static const char NAME[] = "postgresql.auto.conf";
    char path[RESTORE_PATH_MAX];
    _cleanup_(buf_clear) struct buf text = BUF_INIT(SETTINGS_LIMIT);
    path_in(restore, NAME, path);
    int rc = file_read(path, &text, err);
    if (rc == ERR_NOT_FOUND)
        rc = 0;
    if (!rc)
        rc = add_settings(&text, restore, err);
    return rc ? rc : write_file(restore, NAME, text.data, text.length, err);
}

static int write_signal(const struct snapshot_restore *restore, struct error *err)
{
    bool standby = restore->request->standby;
    char other[RESTORE_PATH_MAX];
    path_in(restore, standby ? "recovery.signal" : "standby.signal", other);
    if (unlink(other) != 0 && errno != ENOENT) /* of the restore that is resumed */
        return error_set_errno(err, errno, "could not remove \"%s\"", other);
    return write_file(restore, standby ? "standby.signal" : "recovery.signal", "", 0, err);
}

/* The server's list lies beside what it lists, for pg_verifybackup. */
static int write_list(struct snapshot_restore *restore, struct error *err)
{
    struct repository *repository = restore->request->repository;
    char key[STORE_KEY_MAX + 1], path[RESTORE_PATH_MAX];
    _cleanup_(volume_reader_freep) struct volume_reader *reader = NULL;
    const void *data;
    size_t length = 1;
    path_in(restore, "backup_manifest", path);
    _cleanup_(closep) int fd =
        open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, restore->file_mode);
    if (fd < 0)
        return error_set_errno(err, errno, "could not make \"%s\"", path);
    int rc = repository_backup_key(repository, BACKUP_SNAPSHOT, restore->choice.anchor->id,
                                   "backup_manifest", key, err);
    if (!rc)
        rc = volume_read_open(repository->store, key, VOLUME_PLAIN, NULL, &reader, err);
    while (!rc && length > 0) {
        rc = volume_read(reader, &data, &length, err);
        if (!rc)
            rc = file_write_all(fd, path, data, length, err);
    }
    return rc ? rc : restore_give(restore, fd, path, restore->file_mode, err);
}

int restore_recovery(struct snapshot_restore *restore, struct error *err)
{
    int rc = write_tablespaces(restore, err);
    if (!rc)
        rc = write_settings(restore, err);
    if (!rc)
        rc = write_list(restore, err);
    return rc ? rc : write_signal(restore, err);
}
