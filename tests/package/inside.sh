#!/bin/sh
# The part of tests/package.sh that runs in the booted Debian, as root: what a user does with the
# package, from installing it to purging it. Prints "ok" and "not ok" lines and what failed.
set -u

cd /root || exit 1
passed=0
failed=0
SERVICE=pgcairn.service
POLICY=/etc/pgcairn/policies/shop.yaml
DEBIAN_FRONTEND=noninteractive
export DEBIAN_FRONTEND

check() { # WHAT COMMAND...
    what=$1
    shift
    if "$@" >/tmp/output 2>&1; then
        passed=$((passed + 1))
        echo "ok $what"
    else
        failed=$((failed + 1))
        echo "not ok $what: $*"
        sed 's/^/    /' /tmp/output | tail -20
    fi
}

not() {
    ! "$@"
}

within() { # SECONDS COMMAND...: until it is true
    left=$(($1 * 5))
    shift
    until "$@"; do
        left=$((left - 1))
        [ $left -gt 0 ] || return 1
        sleep 0.2
    done
}

as() { # USER COMMAND...
    user=$1
    shift
    (cd / && runuser -u "$user" -- "$@")
}

sql() {
    as postgres psql -XAtq "$@"
}

install_package() {
    apt-get -y -qq install --no-install-recommends "/root/$1" 2>&1
}

is_mode() { # MODE OWNER GROUP PATH
    [ "$(stat -c '%a %U %G' "$4")" = "$1 $2 $3" ]
}

main_pid() {
    systemctl show -P MainPID $SERVICE
}

# -- without a policy -----------------------------------------------------------------------------

echo "# without a policy"
install_package first.deb >/tmp/install.log
check "installs" grep -q "nothing was started" /tmp/install.log
check "is not enabled" not systemctl --quiet is-enabled $SERVICE
check "is not active" not systemctl --quiet is-active $SERVICE
check "has a user" id pgcairn
check "policies are the group's to read" is_mode 750 root pgcairn /etc/pgcairn/policies
check "state is the user's" is_mode 750 pgcairn pgcairn /var/lib/pgcairn
check "both programs run" sh -c 'pgcairn --version && test -x /usr/bin/pgcairn-wal'
check "the man page is found" man -w pgcairn-restore-snapshot
check "bash completes" test -s /usr/share/bash-completion/completions/pgcairn
check "logrotate takes the file" logrotate -d /etc/logrotate.d/pgcairn
check "tmpfiles keep the rights" sh -c 'systemd-tmpfiles --create pgcairn.conf &&
    [ "$(stat -c "%a %G" /etc/pgcairn/policies)" = "750 pgcairn" ]'
check "the units are good" systemd-analyze verify $SERVICE pgcairn-run@shop-nightly.service

# -- from the package to a first verified backup: the words of packaging/README.md ------------------

echo "# first backup"
guide() { # PROGRAM of awk: over that section
    sed -n '/^## .*first verified backup/,/^## The service/p' /root/README.md | awk "$1"
}
guide '/^```yaml/ { yaml = 1; next } /^```/ { yaml = 0 } yaml { print }' >$POLICY
chown root:pgcairn $POLICY
chmod 640 $POLICY
as postgres createdb shop
sql -d shop -c "create table item (id int primary key, note text)" \
    -c "insert into item select g, md5(g::text) from generate_series(1, 20000) g"
# What stands before "pgcairn check" prepares; what follows is the service.
guide '/^    / { if (/pgcairn check/) exit; print substr($0, 5) }' >/root/prepare.sh
guide '/^    / { if (/pgcairn check/) go = 1; if (go) print substr($0, 5) }' >/root/go.sh
check "the words prepare" sh -eux /root/prepare.sh
check "everything is there" as pgcairn pgcairn check
check "completion knows the jobs" sh -c 'pgcairn help --complete -- run shop/n | grep -x shop/nightly'
check "the words lead to a running service and a verified backup" sh -eux /root/go.sh
check "the service is up" systemctl is-active $SERVICE
check "it runs as its own user" sh -c "[ \$(stat -c %U /proc/$(main_pid)) = pgcairn ]"

sql -c "select pg_switch_wal()" >/dev/null
is_archived() {
    [ "$(sql -c 'select archived_count > 0 and failed_count = 0 from pg_stat_archiver')" = t ]
}
check "WAL is archived by user postgres" within 20 is_archived
check "the archiver remembers what it stored" \
    not grep -q "nothing is stored ahead" /var/log/postgresql/postgresql-15-main.log
for job in wal drill prune audit; do
    check "the unit runs shop/$job" systemctl start "pgcairn-run@shop-$job"
    systemctl --quiet is-failed "pgcairn-run@shop-$job" && journalctl -u "pgcairn-run@shop-$job" -o cat --no-pager
done
check "a dump and a snapshot are verified" sh -c \
    '[ "$(cd / && runuser -u pgcairn -- pgcairn --json list shop | grep -c "\"level\": 3")" -ge 2 ]'
check "user postgres reads what user pgcairn stored" as postgres pgcairn list shop
check "a recovery can be planned by user postgres" as postgres pgcairn restore snapshot shop \
    --target-dir /var/lib/postgresql/restored --dry-run
check "root reads the state" pgcairn status
check "root leaves the state to its user" sh -c '! find /var/lib/pgcairn -user root | grep .'

# -- the daemon -------------------------------------------------------------------------------------

echo "# the service"
as postgres createdb slow
sql -d slow -c "create table noise as select g, md5(random()::text) || md5(random()::text) as text
    from generate_series(1, 80000) g"
sed -e 's/cluster: shop/cluster: slow/; s|^  connection:.*|&\n  databases: [slow]|' \
    -e 's|/srv/pgcairn|/var/lib/pgcairn/repository|' \
    -e '/ wal:/d; / weekly:/d; / drill:/d; / verify:/d; / audit:/d; / prune:/d' \
    -e 's|^  url:.*|&\n  rate_limit: 150kB|; s/0 2 \* \* \*/* * * * * *\/3/; s/type: dump,/type: dump, seconds: true,/' \
    $POLICY >/etc/pgcairn/policies/slow.yaml
chown root:pgcairn /etc/pgcairn/policies/slow.yaml
chmod 640 /etc/pgcairn/policies/slow.yaml
check "the second policy is good" as pgcairn pgcairn policy check
check "it reloads" systemctl reload $SERVICE
runs() {
    pgrep -u pgcairn -f 'pgcairn.* run slow/nightly|exe .* run slow/nightly' >/tmp/run.pid
}
check "the daemon starts a run" within 20 runs
run=$(head -1 /tmp/run.pid)
before=$(main_pid)
dpkg -i /root/second.deb >/tmp/install.log 2>&1 # quicker than apt: the run must not end before
is_new() {
    [ "$(main_pid)" != 0 ] && [ "$(main_pid)" != "$before" ] && systemctl --quiet is-active $SERVICE
}
check "an upgrade replaces the daemon" within 20 is_new
check "the upgrade leaves the run alone" kill -0 "$run"
check "the new daemon knows it" journalctl -u $SERVICE -g "runs already" -q --no-pager
ends() {
    ! kill -0 "$run" 2>/dev/null
}
check "the run ends" within 90 ends
check "its backup is there" sh -c \
    'cd / && runuser -u pgcairn -- pgcairn --json list slow | grep -q "\"state\": \"good\""'
rm /etc/pgcairn/policies/slow.yaml
echo "PGCAIRN_LISTEN=127.0.0.1:9543" >/etc/pgcairn/environment
mkdir -p /run/systemd/system/$SERVICE.d
printf '[Service]\nWatchdogSec=3s\n' >/run/systemd/system/$SERVICE.d/watchdog.conf
systemctl daemon-reload
systemctl restart $SERVICE
answers() {
    bash -c 'exec 3<>/dev/tcp/127.0.0.1/9543 && printf "GET /readyz HTTP/1.0\r\n\r\n" >&3 &&
        head -1 <&3 | grep -q " 200 "'
}
check "it answers who asks whether it is ready" within 10 answers
before=$(main_pid)
sleep 5
check "it keeps its watchdog quiet" [ "$(main_pid)" = "$before" ]
[ "$before" = 0 ] || kill -STOP "$before"
check "systemd replaces one that hangs" within 30 is_new
before=$(main_pid)
[ "$before" = 0 ] || kill -KILL "$before"
check "systemd starts a daemon that was killed" within 20 is_new
mv $POLICY /root/shop.yaml
printf 'cluster: [\n' >$POLICY
check "a bad policy does not stop it" systemctl reload $SERVICE
check "it still runs" systemctl is-active $SERVICE
systemctl restart $SERVICE 2>/dev/null
check "with nothing but a bad policy it does not start, nor over and over" \
    sh -c "systemctl is-failed $SERVICE && [ \$(systemctl show -P NRestarts $SERVICE) = 0 ]"
mv /root/shop.yaml $POLICY
systemctl reset-failed $SERVICE
systemctl start $SERVICE
check "with a good one it starts" systemctl is-active $SERVICE

# -- removed, installed again, purged ---------------------------------------------------------------

echo "# removal"
apt-get -y -qq remove pgcairn >/tmp/install.log 2>&1
check "removal stops it" not pgrep -u pgcairn
check "removal keeps the policy" test -e $POLICY
check "removal keeps the state" test -e /var/lib/pgcairn/journal.db
install_package first.deb >/tmp/install.log
check "installed again, it runs again" systemctl is-active $SERVICE
systemctl disable --now $SERVICE 2>/dev/null
install_package second.deb >/tmp/install.log
check "an upgrade does not start what was disabled" not systemctl --quiet is-active $SERVICE
systemctl start $SERVICE
mkdir -p /root/others /var/lib/pgcairn/mounted /var/lib/pgcairn/deep/mounted
touch /root/others/file
mount --bind /root/others /var/lib/pgcairn/mounted
mount --bind /root/others /var/lib/pgcairn/deep/mounted
check "it is purged" apt-get -y -qq purge pgcairn
umount /var/lib/pgcairn/mounted /var/lib/pgcairn/deep/mounted
check "purge leaves what is mounted among the state" test -e /root/others/file
check "purge takes the policies" test ! -e /etc/pgcairn
check "purge takes the journal" test ! -e /var/lib/pgcairn/journal.db
check "purge keeps a repository" test -e /srv/pgcairn/pgcairn.json
check "purge keeps a repository among the state" test -e /var/lib/pgcairn/repository/pgcairn.json
check "nothing of the package is left" sh -c '[ -z "$(dpkg-query -L pgcairn 2>/dev/null)" ] &&
    [ ! -e /etc/systemd/system/multi-user.target.wants/pgcairn.service ]'
mkdir -p /etc/pgcairn/policies
printf '%s\n' 'cluster: shop' 'postgres: {connection: "postgresql:///postgres?host=/var/run/postgresql"}' \
    'repository: {url: "file:///srv/pgcairn"}' \
    'jobs: {nightly: {type: dump, schedule: "0 2 * * *", keep: {last: 3}}}' >$POLICY
install_package first.deb >/tmp/install.log
check "with a policy there, installing starts it" systemctl is-active $SERVICE

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
