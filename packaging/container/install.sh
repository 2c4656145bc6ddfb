#!/bin/sh
# Second stage of the Containerfile, as root in a fresh Debian: install.sh PACKAGE MAJOR
set -eu

package=$1
major=$2
number=970 # of the user and the group: volumes keep it
apt="apt-get -qq -y -o Acquire::Retries=3"
DEBIAN_FRONTEND=noninteractive
export DEBIAN_FRONTEND

groupadd --system --gid "$number" pgcairn
useradd --system --uid "$number" --gid "$number" --home-dir /var/lib/pgcairn --no-create-home \
    --shell /usr/sbin/nologin pgcairn

$apt update
$apt install --no-install-recommends postgresql-common ca-certificates
echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
if ! apt-cache show "postgresql-$major" >/dev/null 2>&1; then
    /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y
fi
$apt install --no-install-recommends "postgresql-$major"
$apt install --no-install-recommends "$package"
apt-get clean
rm -rf /var/lib/apt/lists/*
