/* restore.sh of a snapshot: makes a data directory of the backup it lies in with tar and zstd
 * alone, so that nobody needs pgcairn to get their data back. */
#include <string.h>

#include "base/json.h"
#include "work/shell.h"
#include "work/snapshot.h"

enum { SCRIPT_LIMIT = 64 << 20 };

static const char HEAD[] =
    "set -eu\n"
    "here=$(cd \"$(dirname \"$0\")\" && pwd)\n"
    "\n"
    "usage() {\n"
    "    cat <<'END'\n"
    "usage: sh restore.sh [--no-check] DIRECTORY [OLD=NEW]...\n"
    "\n"
    "Makes DIRECTORY, which must be absent or empty, a PostgreSQL data directory as it was when this\n"
    "snapshot ended. OLD=NEW puts a tablespace that was in folder OLD into folder NEW. Run it as the\n"
    "user that the server runs as. Needs sh, GNU tar and zstd, nothing else.\n"
    "\n"
    "  --no-check   do not compare the files with their SHA-256 first\n"
    "\n"
    "The server begins a new timeline and opens once it is consistent. To go on to a later moment,\n"
    "edit the settings at the end of DIRECTORY/postgresql.auto.conf before its first start: a\n"
    "restore_command that fetches archived WAL, and a recovery target.\n"
    "END\n"
    "}\n"
    "\n"
    "check=yes\n"
    "while [ $# -gt 0 ]; do\n"
    "    case $1 in\n"
    "    --no-check) check=no ;;\n"
    "    -h | --help) usage; exit 0 ;;\n"
    "    -*) usage >&2; exit 2 ;;\n"
    "    *) break ;;\n"
    "    esac\n"
    "    shift\n"
    "done\n"
    "[ $# -ge 1 ] || { usage >&2; exit 2; }\n"
    "target=$1\n"
    "shift\n"
    "if [ \"$(id -u)\" = 0 ]; then\n"
    "    echo 'run this as the user that the server runs as, not as root' >&2\n"
    "    exit 1\n"
    "fi\n"
    "case $target in /*) ;; *) target=$PWD/$target ;; esac\n"
    "\n"
    "# Makes a folder that must not hold anything yet.\n"
    "take_empty() {\n"
    "    mkdir -p \"$1\"\n"
    "    if [ -n \"$(ls -A \"$1\")\" ]; then\n"
    "        echo \"$1 is not empty\" >&2\n"
    "        exit 1\n"
    "    fi\n"
    "    chmod \"$mode\" \"$1\"\n"
    "}\n"
    "\n"
    "# Unpacks the volumes NAME-*.tar.zst into a folder. pg_control gets its name last of all, so that\n"
    "# no server starts on half of a cluster.\n"
    "unpack() {\n"
    "    for volume in \"$here/$1\"-*.tar.zst; do\n"
    "        echo \"unpacking $(basename \"$volume\")\"\n"
    "        zstd -dcq \"$volume\" >\"$pipe\" &\n"
    "        tar -x -p --no-same-owner -C \"$2\" -f \"$pipe\" \\\n"
    "            --transform 's,^global/pg_control$,global/pg_control.restoring,'\n"
    "        wait $!\n"
    "    done\n"
    "}\n"
    "\n"
    "# The folder of a tablespace: where it was, or what the arguments say.\n"
    "place_of() {\n"
    "    place=$1\n"
    "    old=$1\n"
    "    shift\n"
    "    for pair in \"$@\"; do\n"
    "        case $pair in \"$old\"=*) place=${pair#\"$old\"=} ;; esac\n"
    "    done\n"
    "}\n"
    "\n"
    "work=$(mktemp -d)\n"
    "trap 'rm -rf \"$work\"' EXIT\n"
    "trap 'exit 1' INT TERM\n"
    "pipe=$work/pipe\n"
    "mkfifo \"$pipe\"\n";

static const char TAIL[] =
    "\n"
    "cat >>\"$target/postgresql.auto.conf\" <<'END'\n"
    "# Written by restore.sh: recovery ends where the snapshot is consistent.\n"
    "restore_command = 'false'\n"
    "recovery_target_name = ''\n"
    "recovery_target_time = ''\n"
    "recovery_target_xid = ''\n"
    "recovery_target_lsn = ''\n"
    "recovery_target = 'immediate'\n"
    "recovery_target_timeline = 'current'\n"
    "recovery_target_action = 'promote'\n"
    "END\n"
    ": >\"$target/recovery.signal\"\n"
    "cp \"$here/backup_manifest\" \"$target/backup_manifest\"\n"
    "case $mode in *750) own=640 ;; *) own=600 ;; esac\n"
    "chmod $own \"$target/recovery.signal\" \"$target/backup_manifest\"\n"
    "sync\n"
    "mv \"$target/global/pg_control.restoring\" \"$target/global/pg_control\"\n"
    "sync\n"
    "[ -e \"$target/postgresql.conf\" ] ||\n"
    "    echo 'this server kept its postgresql.conf elsewhere: name it when you start the server'\n"
    "echo \"done; start it with: pg_ctl -D $target start\"\n";

static void add_checksums(struct buf *script, const json_t *objects)
{
    size_t i;
    json_t *object;
    buf_add_text(script, "\nif [ $check = yes ]; then\n"
                         "    echo 'checking the files'\n"
                         "    (cd \"$here\" && sha256sum --quiet -c -) <<'END'\n");
    json_array_foreach(objects, i, object)
    {
        buf_addf(script, "%s  %s\n", json_text(object, "sha256"), json_text(object, "name"));
    }
    buf_add_text(script, "END\nfi\n");
}

/* tablespace_map says where the server looks for its tablespaces. */
static void add_tablespaces(struct buf *script, const json_t *tablespaces)
{
    size_t i;
    json_t *tablespace;
    buf_add_text(script, "\ntake_empty \"$target\"\nunpack base \"$target\"\n");
    if (json_array_size(tablespaces) > 1)
        buf_add_text(script, ": >\"$target/tablespace_map\"\n");
    json_array_foreach(tablespaces, i, tablespace)
    {
        int64_t oid = json_number(tablespace, "oid");
        if (oid == 0)
            continue;
        buf_add_text(script, "place_of ");
        shell_add_quoted(script, json_text(tablespace, "location"));
        buf_addf(script,
                 " \"$@\"\n"
                 "take_empty \"$place\"\n"
                 "unpack %lld \"$place\"\n"
                 "ln -s \"$place\" \"$target/pg_tblspc/%lld\"\n"
                 "printf '%%s %%s\\n' %lld \"$place\" >>\"$target/tablespace_map\"\n",
                 (long long)oid, (long long)oid, (long long)oid);
    }
}

int snapshot_write_script(struct snapshot *snapshot, struct error *err)
{
    _cleanup_(buf_clear) struct buf script = BUF_INIT(SCRIPT_LIMIT);
    _cleanup_(volume_freep) struct volume *volume = NULL;
    struct store_object object;
    char key[STORE_KEY_MAX + 1];
    buf_addf(&script, "#!/bin/sh\n# Restores snapshot %s of cluster %s without pgcairn.\n",
             snapshot->making.started.id, snapshot->work->policy->cluster);
    buf_add_text(&script, HEAD);
    buf_addf(&script, "mode=%04o\n", snapshot->system.folder_mode);
    add_checksums(&script, snapshot->objects);
    add_tablespaces(&script, snapshot->tablespaces);
    buf_add_text(&script, TAIL);
    int rc = buf_failed(&script, "restore.sh", err);
    making_key(&snapshot->making, "restore.sh", key);
    if (!rc)
        rc = volume_create(snapshot->store, key, VOLUME_PLAIN, &snapshot->options, &volume, err);
    if (!rc)
        rc = volume_data(volume, script.data, script.length, err);
    if (!rc)
        rc = volume_commit(volume, &object, err);
    if (!rc)
        rc = snapshot_add_object(snapshot, "restore.sh", &object, object.size, err);
    return rc;
}
