#!/bin/sh
# Builds the Debian package, and uses it in a fresh bookworm that is booted in a container of systemd:
# installed, a first backup by the service's own user, WAL from user postgres, drilled, upgraded in the
# middle of a run, removed, purged.
#
#     sh tests/package.sh [--package FILE] [--container] [FOLDER]
#
#     --package FILE    test this one instead of building it
#     --container       build packaging/container/Containerfile too, with buildah
#     FOLDER            where the Debian lies; kept, so that the next call is short
#                       (build/package-test)
#
# Needs root, debootstrap, systemd-container and a Debian mirror. Two to four minutes, half a minute
# with a FOLDER that is there. The last line is "N passed, N failed".
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
package=""
folder=$top/build/package-test
container=no
buildah=""

usage() {
    sed -n '2,/^set -eu/{/^#/s/^# \{0,1\}//p;}' "$0" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case "$1" in
    --package)
        [ $# -ge 2 ] || usage
        shift
        package=$1
        ;;
    --container) container=yes ;;
    -*) usage ;;
    *) folder=$1 ;;
    esac
    shift
done
if [ "$(id -u)" -ne 0 ]; then
    echo "package.sh: needs root, for debootstrap and systemd-nspawn" >&2
    exit 2
fi
[ "$container" = no ] || buildah=buildah:buildah
for program in debootstrap:debootstrap systemd-nspawn:systemd-container $buildah; do
    if ! command -v "${program%:*}" >/dev/null; then
        echo "package.sh: ${program%:*} is missing: apt-get install ${program#*:}" >&2
        exit 2
    fi
done
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

# -- a fresh Debian -----------------------------------------------------------------------------------

mounted=""

clean_up() {
    for place in $mounted; do
        umount "$place/proc" || true
    done
    rm -rf --one-file-system "$folder/debian" "$folder/images" "$folder/images-run"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

in_debian() { # FOLDER COMMAND...; apt needs /proc, and nothing may start
    place=$1
    shift
    mount -t proc proc "$place/proc"
    mounted=$place
    printf '#!/bin/sh\nexit 101\n' >"$place/usr/sbin/policy-rc.d"
    chmod 755 "$place/usr/sbin/policy-rc.d"
    status=0
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive chroot "$place" "$@" || status=$?
    rm -f "$place/usr/sbin/policy-rc.d"
    umount "$place/proc"
    mounted=""
    return $status
}

if [ ! -e "$folder/base.complete" ]; then
    rm -rf --one-file-system "$folder/base"
    debootstrap --variant=minbase bookworm "$folder/base" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" \
        >"$folder/debootstrap.log"
    : >"$folder/base.complete"
fi
if [ ! -e "$folder/template.complete" ]; then
    rm -rf --one-file-system "$folder/template"
    cp -a "$folder/base" "$folder/template"
    in_debian "$folder/template" sh -c 'apt-get -qq update &&
        apt-get -qq -y install --no-install-recommends systemd systemd-sysv dbus procps man-db logrotate \
            postgresql-15' >"$folder/template.log" 2>&1
    : >"$folder/template.complete"
fi

# -- the package, and a newer one --------------------------------------------------------------------

if [ -z "$package" ]; then
    (cd "$top" && cmake --workflow --preset package) >"$folder/build.log" 2>&1 || {
        tail -20 "$folder/build.log"
        exit 1
    }
    package=$(ls -t "$top"/build/package/pgcairn_*.deb | head -1)
fi
debian=$folder/debian
rm -rf --one-file-system "$debian" "$folder/newer"
cp -a "$folder/template" "$debian"
cp "$package" "$debian/root/first.deb"
dpkg-deb -R "$package" "$folder/newer"
sed -i 's/^Version: .*/&+newer/' "$folder/newer/DEBIAN/control"
dpkg-deb --root-owner-group -b "$folder/newer" "$debian/root/second.deb" >/dev/null
rm -rf "$folder/newer"
# What it depends on is fetched here: the booted one has no network but its own.
in_debian "$debian" apt-get -qq -y install --no-install-recommends --download-only /root/first.deb \
    >"$folder/download.log" 2>&1

# -- the user's story ----------------------------------------------------------------------------------

cp "$top/tests/package/inside.sh" "$top/packaging/README.md" "$debian/root/"
cp "$package" "$debian/root/pgcairn_0.1.0_amd64.deb" # as the README calls it
cat >"$debian/etc/systemd/system/package-test.service" <<'END'
[Unit]
After=multi-user.target
[Service]
Type=simple
ExecStart=/bin/sh -c '/bin/sh /root/inside.sh >/root/result 2>&1; systemctl exit $?'
Environment=HOME=/root LC_ALL=C.UTF-8
[Install]
WantedBy=multi-user.target
END
mkdir -p "$debian/etc/systemd/system/multi-user.target.wants"
ln -s ../package-test.service "$debian/etc/systemd/system/multi-user.target.wants/"
status=0
timeout --kill-after=20 240 systemd-nspawn --quiet --register=no --keep-unit --private-network \
    -D "$debian" --boot >"$folder/boot.log" 2>&1 </dev/null || status=$?
if [ ! -s "$debian/root/result" ]; then
    tail -20 "$folder/boot.log"
    echo "0 passed, 1 failed"
    exit 1
fi
grep -v ' passed, .* failed$' "$debian/root/result" || true

# -- the image ------------------------------------------------------------------------------------------

counts=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$debian/root/result")
passed=${counts% *}
failed=${counts#* }
if [ -z "$counts" ]; then
    passed=0 failed=1
fi

# The base image is made of the fresh Debian, for registries may be out of reach; so PostgreSQL is that
# Debian's, 15.
in_buildah() {
    command=$1
    shift
    buildah --root "$folder/images" --runroot "$folder/images-run" --storage-driver vfs "$command" "$@"
}

build_image() {
    made=$(in_buildah from scratch)
    tar -C "$folder/base" -c . | tar -C "$(in_buildah mount "$made")" -x
    in_buildah commit --quiet --rm "$made" docker.io/library/debian:bookworm-slim
    in_buildah bud --pull-never --network host --isolation chroot --build-arg POSTGRESQL=15 \
        -f "$top/packaging/container/Containerfile" -t pgcairn-test "$top"
}

try_image() {
    made=$(in_buildah from --pull-never localhost/pgcairn-test)
    in_buildah run --isolation chroot "$made" -- sh -c '[ "$(id -u)" = 970 ] && pgcairn --version &&
        test -w "$STATE_DIRECTORY" && test -x /usr/lib/postgresql/15/bin/postgres &&
        [ ! -e /etc/postgresql/15/main ]'
}

if [ "$container" = yes ]; then
    echo "# the image"
    if (set -e && build_image && try_image) >"$folder/image.log" 2>&1; then
        echo "ok the Containerfile builds, and its user can run what is in it"
        passed=$((passed + 1))
    else
        tail -20 "$folder/image.log"
        echo "not ok the Containerfile builds, and its user can run what is in it"
        failed=$((failed + 1))
    fi
    rm -rf --one-file-system "$folder/images" "$folder/images-run"
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
