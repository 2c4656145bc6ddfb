#!/bin/sh
# First stage of the Containerfile, as root in a fresh Debian: build.sh SOURCE PACKAGE
set -eu

source=$1
package=$2

sh "$source/packaging/install-deps.sh" --build
cd "$source"
cmake --workflow --preset package
cp build/package/pgcairn_*.deb "$package"
