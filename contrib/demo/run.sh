#!/bin/sh
# pgcairn in one go: sh contrib/demo/run.sh [--s3]
#
# With --s3 the repository is a bucket of a throw-away S3 server (tests/s3/server.sh).
#
# Installs what is needed, builds, starts a throw-away PostgreSQL with an application's database that
# archives its WAL through pgcairn, and runs the jobs of a policy once. Restores the dump into a new
# database and proves the two equal. Then somebody drops a table: the whole server is recovered to the
# second before, and that is proved too. Then what is stored is verified, drills bring a snapshot and a
# dump back to life, and an audit says what it all comes to. Cleans up, also when it is interrupted.
# Root or a user with sudo; neither PostgreSQL nor pgcairn runs as root.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
pg_bin=/usr/lib/postgresql/15/bin
scale=${PGCAIRN_DEMO_SCALE:-5} # 5 is a database of about 80 MB
folder=""
postmaster=""
recovered=""
s3=""
case ${1:-} in
--s3) s3=yes ;;
"") ;;
*)
    echo "usage: sh contrib/demo/run.sh [--s3]" >&2
    exit 2
    ;;
esac

bold="" plain=""
if [ -t 1 ]; then
    bold=$(printf '\033[1m')
    plain=$(printf '\033[0m')
fi

step() {
    printf '\n%s== %s%s\n' "$bold" "$*" "$plain"
}

# Shows a command as a person would type it, then runs it, as the server's user: whoever takes WAL
# from the server and who runs the jobs share a repository.
show() {
    printf '\n$ pgcairn'
    for word in "$@"; do
        case $word in *" "*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac
    done
    echo
    as_server "$pgcairn" "$@"
}

# Ends a server by its process id, at once and in order.
stop_server() {
    as_server kill -INT "$1" 2>/dev/null || true
    while kill -0 "$1" 2>/dev/null; do
        sleep 0.1
    done
}

clean_up() {
    status=$?
    trap - EXIT INT TERM HUP
    for server in $recovered $postmaster; do
        stop_server "$server"
    done
    if [ -n "${S3_DIR:-}" ]; then
        sh "$top/tests/s3/server.sh" stop || true
    fi
    if [ -n "$folder" ]; then
        if [ "$status" -ne 0 ] && [ -f "$folder/server.log" ]; then
            echo "the last lines of the server's log:" >&2
            tail -n 5 "$folder/server.log" >&2
        fi
        rm -rf "$folder"
    fi
    exit "$status"
}

# PostgreSQL refuses to run as root: a root caller's server runs as somebody else.
as_server() {
    if [ -n "$server_user" ]; then
        runuser -u "$server_user" -- "$@"
    else
        "$@"
    fi
}

server_user=""
if [ "$(id -u)" -eq 0 ]; then
    server_user=nobody
fi

step "Install what is needed (packaging/install-deps.sh)"
sh "$top/packaging/install-deps.sh"
if [ -n "$s3" ]; then
    S3_DIR=${TMPDIR:-/tmp} sh "$top/tests/s3/server.sh" install
fi
echo "everything is there"
if [ "$(id -u)" -eq 0 ] && id postgres >/dev/null 2>&1; then
    server_user=postgres
fi

step "Build the release preset"
cd "$top"
cmake --preset release >/dev/null
ninja -C build/release pgcairn pgcairn-wal
"$top/build/release/src/pgcairn" --version

trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
folder=$(mktemp -d "${TMPDIR:-/tmp}/pgcairn-demo-XXXXXX")
chmod 755 "$folder"
mkdir "$folder/server" "$folder/socket" "$folder/state" "$folder/bin"
: >"$folder/server.log"
cp "$top/build/release/src/pgcairn" "$top/build/release/src/pgcairn-wal" "$folder/bin"
pgcairn=$folder/bin/pgcairn
if [ -n "$server_user" ]; then
    chown -R "$server_user" "$folder"
fi

# No setting of the caller's may lead psql or pgcairn to another server.
for name in $(env | sed -n 's/^\(PG[A-Z]*\)=.*/\1/p'); do
    unset "$name"
done
LC_ALL=C.UTF-8
export LC_ALL
url=file://$folder/repository
s3_section=""
if [ -n "$s3" ]; then
    step "Start a throw-away S3 server, with a bucket"
    S3_AK=demo-key S3_SK=demo-secret-$$ S3_PORT=${PGCAIRN_DEMO_S3_PORT:-9470}
    mkdir "$folder/s3"
    S3_DIR=$folder/s3
    export S3_DIR S3_PORT S3_AK S3_SK
    sh "$top/tests/s3/server.sh" start
    empty=$(printf '' | sha256sum | cut -d ' ' -f 1)
    # A signed request to the server.
    s3_request() {
        curl -sS -f -H "x-amz-content-sha256: $empty" --aws-sigv4 aws:amz:us-east-1:s3 -u "$S3_AK:$S3_SK" "$@"
    }
    s3_request -X PUT "http://127.0.0.1:$S3_PORT/demo-backups"
    url=s3://demo-backups/prod
    s3_section="
  s3:
    endpoint: http://127.0.0.1:$S3_PORT
    region: us-east-1
    access_key_id: \${S3_AK}
    secret_access_key: \${S3_SK}"
    echo "http://127.0.0.1:$S3_PORT/demo-backups"
fi

step "A policy: WAL every hour, a dump every night, a snapshot and maintenance every week"
STATE_DIRECTORY=$folder/state
PGCAIRN_POLICY=$folder/policy.yaml
DATABASE_URL="postgresql:///app?host=$folder/socket&user=postgres"
export STATE_DIRECTORY PGCAIRN_POLICY DATABASE_URL
cat >"$PGCAIRN_POLICY" <<END
cluster: demo
timezone: Europe/Berlin

postgres:
  connection: \${DATABASE_URL}
  databases: ["app"]

repository:
  url: $url$s3_section

jobs:
  wal:     {type: wal,      schedule: "0 * * * *",   keep: {within: 7d}, mode: push}
  nightly: {type: dump,     schedule: "0 2 * * *",   keep: {within: 30d, last: 3}, jobs: 2}
  weekly:  {type: snapshot, schedule: "0 3 * * sun", keep: {within: 90d, last: 2}}
  tidy:    {type: vacuum,   schedule: "30 4 * * sun", analyze: true, budget: 2h}
  prune:   {type: prune,    schedule: "15 5 * * *"}
  verify:  {type: verify,   schedule: "0 12 * * *",  level: 3}
  drill:   {type: drill,    schedule: "0 6 * * mon", of: weekly, rto: 10m,
            assertions: [{sql: select count(*) = 10000 from orders}]}
  try:     {type: drill,    schedule: "0 6 * * tue", of: nightly}
  audit:   {type: audit,    schedule: "0 7 * * *"}
END
cat "$PGCAIRN_POLICY"

step "Start a throw-away PostgreSQL that archives its WAL through pgcairn"
cd /
as_server "$pg_bin/initdb" -D "$folder/server" -U postgres -E UTF8 --locale=C.UTF-8 --auth=trust \
    --no-sync --no-instructions >/dev/null
cat >>"$folder/server/postgresql.conf" <<END
listen_addresses = ''
unix_socket_directories = '$folder/socket'
fsync = off
archive_mode = on
archive_command = '$folder/bin/pgcairn-wal -c $PGCAIRN_POLICY push demo %p'
END
tail -n 2 "$folder/server/postgresql.conf"
# pg_ctl waits until the server answers; the server writes its process id to postmaster.pid.
as_server "$pg_bin/pg_ctl" -s -w -D "$folder/server" -l "$folder/server.log" start
postmaster=$(head -n 1 "$folder/server/postmaster.pid")
PGHOST=$folder/socket
PGUSER=postgres
export PGHOST PGUSER
psql="$pg_bin/psql -X -q -v ON_ERROR_STOP=1"
$psql -At -d postgres -c "select version()"

step "An application's database, with rows"
"$pg_bin/createdb" app
$psql -v scale="$scale" -f "$top/tests/integration/app.sql" app
$psql -d app -c "
    select relname as table, n_live_tup as rows, pg_size_pretty(pg_total_relation_size(relid)) as size
    from pg_stat_user_tables order by pg_total_relation_size(relid) desc limit 8"

step "Is everything in its place?"
show policy check
show check

step "Run its jobs once"
show run demo/nightly
show run demo/weekly
show run demo/wal
show run demo/tidy
show run demo/prune

step "What the repository holds"
show list
echo
if [ -n "$s3" ]; then
    s3_request "http://127.0.0.1:$S3_PORT/demo-backups?list-type=2" | grep -o '<Key>[^<]*' | sed 's/<Key>/  /' | head -n 60
else
    (cd "$folder/repository" && find . -type f | sort | sed 's/^/  /' | head -n 60)
fi

step "Restore into a new database"
show restore dump demo latest --into app_restored

step "Are they equal?"
# pg_dump's text without the lines that hold a random key or a version.
schema() {
    "$pg_bin/pg_dump" --schema-only "$1" | sed -e '/^\\restrict /d' -e '/^\\unrestrict /d' -e '/^-- Dumped /d'
}
# The number of rows and an order-independent checksum of every table, and every sequence. Rows of
# unlogged tables (sessions are one) are not in WAL: PostgreSQL itself empties them after a crash or a
# recovery, so "contents DATABASE logged" leaves them out.
contents() {
    $psql -At -v persistence="${2:-all}" -d "$1" <<'END'
select format('select %L, count(*), coalesce(sum(hashtextextended(pgcairn_row::text, 0)), 0) from only %s pgcairn_row',
              c.oid::regclass, c.oid::regclass)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'm') and (c.relpersistence = 'p' or :'persistence' = 'all') and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
order by n.nspname, c.relname \gexec
select format('select %L, last_value, is_called from %s', c.oid::regclass, c.oid::regclass)
from pg_class c where c.relkind = 'S' order by c.oid::regclass::text \gexec
END
}
schema app >"$folder/app.schema"
schema app_restored >"$folder/app_restored.schema"
contents app >"$folder/app.contents"
contents app_restored >"$folder/app_restored.contents"
diff "$folder/app.schema" "$folder/app_restored.schema"
diff "$folder/app.contents" "$folder/app_restored.contents"
[ "$(wc -l <"$folder/app.contents")" -gt 10 ]
echo "equal: pg_dump says the same of both ($(wc -l <"$folder/app.schema") lines), and the row counts and"
echo "checksums of all $(wc -l <"$folder/app.contents") tables and sequences are the same"

step "More is written; then somebody drops a table"
# Each of ours is a row of a table that is still there; the last one lies a moment before the mistake.
$psql -d app -c "create table orders as select g as id, now() as placed_at from generate_series(1, 5000) g"
$psql -d app -c "insert into orders select g, clock_timestamp() from generate_series(5001, 10000) g"
contents app logged >"$folder/before.contents"
sleep 1.1
moment=$($psql -At -d app -c "select to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")
sleep 1.1
$psql -d app -c "drop table orders"
$psql -d app -c "create table written_after_the_mistake ()"
echo "dropped orders with 10000 rows; the second before is $moment"
show run demo/wal
show wal status demo

step "The server as it was at $moment"
show restore snapshot demo --target-dir "$folder/recovered" --to "$moment"
as_server "$pg_bin/pg_ctl" -s -w -D "$folder/recovered" -l "$folder/recovered.log" -o "-p 5433 -c archive_mode=off" start
recovered=$(head -n 1 "$folder/recovered/postmaster.pid")
until [ "$($psql -At -p 5433 -d postgres -c 'select pg_is_in_recovery()')" = f ]; do
    sleep 0.2
done
grep -E "starting point-in-time|recovery stopping|archive recovery complete" "$folder/recovered.log"

step "Is all of it there, and nothing of what came after?"
PGPORT=5433
export PGPORT
contents app logged >"$folder/recovered.contents"
diff "$folder/before.contents" "$folder/recovered.contents"
[ "$($psql -At -d app -c 'select count(*) from orders')" = 10000 ]
[ -z "$($psql -At -d app -c "select to_regclass('written_after_the_mistake')")" ]
echo "equal: all $(wc -l <"$folder/before.contents") tables and sequences, orders with its 10000 rows among them, have the"
echo "counts and checksums they had at $moment"
unset PGPORT
stop_server "$recovered"
recovered=""

step "Proof: is every byte that is stored what it was, every segment there?"
$psql -d app -c "create table orders as select g as id, now() as placed_at from generate_series(1, 10000) g"
show run demo/wal
show verify demo --level 3

step "Proof: does it come back to life? A snapshot with its WAL, then a dump, on scratch servers"
show drill demo/drill
show drill demo/try

step "What an auditor gets"
show run demo/audit
show audit demo
as_server "$pgcairn" audit demo --format html >"$folder/audit.html"
if [ -n "${PGCAIRN_DEMO_KEEP:-}" ]; then
    cp "$folder/audit.html" "$PGCAIRN_DEMO_KEEP"
fi
echo
echo "the same to print: $(wc -c <"$folder/audit.html") bytes of HTML"

step "What runs next"
show schedule -n 2

step "Done; cleaning up"
