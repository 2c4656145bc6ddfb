#!/bin/sh
# Passes the tests in another Debian, with its compiler, its libraries and its PostgreSQL.
#
#     sh tests/in-debian.sh SUITE [FOLDER] [-- ARGUMENTS OF run.sh]
#
#     sh tests/in-debian.sh trixie
#     sh tests/in-debian.sh trixie /var/tmp/trixie -- --only unit
#
# Needs root, debootstrap and a Debian mirror. The suite is unpacked into FOLDER, or into a folder of
# its own under $TMPDIR that is gone at the end; a FOLDER that was given is kept, and the next call
# goes on with it. A copy of the files of this clone is built and tested there by chroot; nothing of
# this system is mounted into it but /proc. Lint is left out: it asks git and this Debian's
# clang-format. The exit status is that of run.sh.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)

usage() {
    sed -n '2,/^set -eu/{/^#/s/^# \{0,1\}//p;}' "$0" >&2
    exit 2
}

case "${1:-}" in
"" | -*) usage ;;
esac
suite=$1
shift
folder=""
if [ $# -gt 0 ] && [ "$1" != -- ]; then
    folder=$1
    shift
fi
if [ $# -gt 0 ]; then
    shift
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "in-debian.sh: needs root, for debootstrap and chroot" >&2
    exit 2
fi
if ! command -v debootstrap >/dev/null; then
    echo "in-debian.sh: debootstrap is missing: apt-get install debootstrap" >&2
    exit 2
fi

keep=yes
if [ -z "$folder" ]; then
    folder=$(mktemp -d)
    keep=no
fi

clean_up() {
    if mountpoint -q "$folder/proc"; then
        umount "$folder/proc"
    fi
    if [ "$keep" = no ]; then
        rm -rf --one-file-system "$folder"
    fi
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ ! -e "$folder/usr/bin/apt-get" ]; then
    debootstrap --variant=minbase "$suite" "$folder" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
fi
mountpoint -q "$folder/proc" || mount -t proc proc "$folder/proc"

# What git knows and what is new; what a build made stays, so that the next one is short.
copy=$folder/src/pgcairn
mkdir -p "$copy"
find "$copy" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
git -C "$top" ls-files -z --cached --others --exclude-standard |
    tar -C "$top" -c --null -T - | tar -C "$copy" -x --no-same-owner

in_suite() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        chroot "$folder" sh -c 'cd /src/pgcairn && exec "$@"' sh "$@"
}

in_suite sh packaging/install-deps.sh
if [ $# -gt 0 ]; then
    in_suite sh tests/run.sh --no-install "$@"
    exit
fi
status=0
for kind in unit integration faults; do
    in_suite sh tests/run.sh --no-install --only "$kind" || status=$?
done
exit $status
