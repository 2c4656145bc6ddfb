#!/bin/sh
# Writes a man page for every command of a built program: man.sh PROGRAM FOLDER
set -eu

program=$1
folder=$2
here=$(cd "$(dirname "$0")" && pwd)

rm -rf "$folder"
mkdir -p "$folder"
"$program" help --man | gzip -9n >"$folder/pgcairn.1.gz"
gzip -9nc "$here/man/pgcairn-wal.1" >"$folder/pgcairn-wal.1.gz"
"$program" help --names >"$folder/stamp"
while read -r name; do
    page=$(printf '%s' "$name" | tr ' ' '-')
    # shellcheck disable=SC2086 # the words of the name
    "$program" help --man $name | gzip -9n >"$folder/pgcairn-$page.1.gz"
done <"$folder/stamp"
