#!/bin/sh
# Installs from Debian 12 or 13 whatever building, running and testing pgcairn needs, and nothing else.
#
#     sh packaging/install-deps.sh            everything
#     sh packaging/install-deps.sh --run      only what a built pgcairn needs
#     sh packaging/install-deps.sh --build    only what building it and its package needs
#     sh packaging/install-deps.sh --list     print the package names and do nothing
#
# Needs root, or a user who may use sudo; needs neither when everything is there already, which
# takes no time and no network. No service is started and no PostgreSQL cluster is made: the tests
# and the demo start throw-away servers of their own, and a cluster that exists is left as it is.
set -eu

# Debian 13 has another PostgreSQL, has renamed the libraries that 64-bit time changed, and has moved
# the older names of time zones out of tzdata.
postgresql=17 renamed=t64 old_zones=tzdata-legacy vector=postgresql-17-pgvector
if grep -qs '^VERSION_ID="\{0,1\}12' /etc/os-release; then
    postgresql=15 renamed="" old_zones="" vector=""
fi
run_packages="libpq5 libarchive13$renamed libcurl4$renamed libexpat1 libyaml-0-2 libjansson4 libsqlite3-0
    libssl3$renamed zlib1g
    libmicrohttpd12$renamed postgresql-client-$postgresql tzdata ca-certificates"
build_packages="gcc cmake ninja-build pkg-config dpkg-dev file libc6-dev libpq-dev libarchive-dev
    libyaml-dev libjansson-dev libsqlite3-dev libssl-dev libcurl4-openssl-dev libexpat1-dev zlib1g-dev
    libmicrohttpd-dev"
test_packages="postgresql-$postgresql postgresql-contrib postgresql-$postgresql-cron $vector pgbouncer zstd tar python3 python3-pytest python3-pytest-xdist python3-yaml
    clang libcmocka-dev curl openssl ceph-mon ceph-osd radosgw ceph-common
    clang-format faketime procps util-linux systemd mandoc prometheus $old_zones"

case "${1:-}" in
"") packages="$run_packages $build_packages $test_packages" ;;
--run) packages="$run_packages" ;;
--build) packages="$build_packages" ;;
--list)
    printf '%s\n' $run_packages $build_packages $test_packages
    exit 0
    ;;
*)
    echo "usage: install-deps.sh [--run | --build | --list]" >&2
    exit 2
    ;;
esac

missing=""
for package in $packages; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    # A foreign-architecture twin makes two states run together: "installedinstalled".
    case "$state" in
    installed*) ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "install-deps.sh: needs Debian's apt-get; missing:$missing" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "install-deps.sh: missing:$missing" >&2
        echo "  hint: run it as root, or install sudo and let this user use it" >&2
        exit 1
    fi
    exec sudo sh "$0" "$@"
fi

echo "installing:$missing" >&2

# Two files that keep Debian's packages from making a cluster and from starting services. They are
# in place only while apt runs, and only where nothing of that name stood before.
cluster_conf=/etc/postgresql-common/createcluster.d/pgcairn-install-deps.conf
service_policy=/usr/sbin/policy-rc.d
made_service_policy=no
made_cluster_conf=no

clean_up() {
    if [ "$made_cluster_conf" = yes ]; then
        rm -f "$cluster_conf"
    fi
    if [ "$made_service_policy" = yes ]; then
        rm -f "$service_policy"
    fi
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ ! -e "$cluster_conf" ]; then
    mkdir -p "$(dirname "$cluster_conf")"
    made_cluster_conf=yes
    echo "create_main_cluster = false" >"$cluster_conf"
fi
if [ ! -e "$service_policy" ]; then
    made_service_policy=yes
    cat >"$service_policy" <<'END'
#!/bin/sh
# 101: not allowed. Other services keep their own rules.
case "$1" in
postgresql* | pgbouncer* | prometheus*) exit 101 ;;
esac
exit 0
END
    chmod 755 "$service_policy"
fi

DEBIAN_FRONTEND=noninteractive
export DEBIAN_FRONTEND
# Another apt may hold the lock for a moment (unattended-upgrades on a fresh machine).
apt="apt-get -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 -qq -y"
$apt update
# shellcheck disable=SC2086
$apt install --no-install-recommends $missing >&2

# Debian enables these at boot. Who had them before keeps it so; for us they are programs to call.
for service in pgbouncer prometheus; do
    case " $missing " in
    *" $service "*)
        if command -v systemctl >/dev/null; then
            systemctl disable "$service" >/dev/null 2>&1 || true
        fi
        ;;
    esac
done
