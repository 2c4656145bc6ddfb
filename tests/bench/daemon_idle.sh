#!/bin/sh
# An idle daemon with 50 policies: its resident memory, and how often it wakes between events.
#
#     sh tests/bench/daemon_idle.sh [PGCAIRN]     build/release/src/pgcairn unless told
#
# Targets: at most 20 MB resident, one wake-up a minute. Measures 150 seconds; needs no server, for
# nothing is due meanwhile. Linux counts a wake-up as a voluntary context switch once the process
# sleeps again; the daemon's minute look adds a heartbeat in the journal, whose writes may count too.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
program=${1:-$top/build/release/src/pgcairn}
policies=50
seconds=150

folder=$(mktemp -d "${TMPDIR:-/tmp}/pgcairn-idle-XXXXXX")
daemon=""
clean() {
    [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
    [ -z "$daemon" ] || wait "$daemon" || true
    rm -rf "$folder"
}
trap clean EXIT
trap 'exit 1' INT TERM

mkdir "$folder/policies" "$folder/state"
# Half a year away, so that nothing fires while it is measured.
month=$((($(date -u +%-m) + 5) % 12 + 1))
i=1
while [ $i -le $policies ]; do
    cat >"$folder/policies/c$i.yaml" <<YAML
cluster: c$i
timezone: Europe/Berlin
postgres: {connection: "postgresql:///app?host=$folder"}
repository: {url: "file://$folder/repository"}
jobs:
  nightly: {type: dump, schedule: "0 2 1 $month *", keep: {within: 30d, last: 3}, jobs: 4}
  tidy: {type: vacuum, schedule: "30 4 1 $month *", analyze: true, budget: 2h}
  prune: {type: prune, schedule: "15 5 1 $month *"}
YAML
    i=$((i + 1))
done
chmod 600 "$folder"/policies/*

value() {
    sed -n "s/^$1:[[:space:]]*\([0-9]*\).*/\1/p" "/proc/$daemon/status"
}

STATE_DIRECTORY=$folder/state "$program" -c "$folder/policies" daemon 2>"$folder/log" &
daemon=$!
sleep 15 # the questions to 50 repositories at the first start are over
if ! kill -0 "$daemon"; then
    cat "$folder/log" >&2
    exit 1
fi
switches=$(value voluntary_ctxt_switches)
sleep $seconds
echo "policies                $policies"
echo "resident                $(value VmRSS) kB (peak $(value VmHWM) kB), target 20480 kB"
echo "of it not shared files  $(value RssAnon) kB"
echo "wake-ups                $(($(value voluntary_ctxt_switches) - switches)) in $seconds s, target 1 a minute"
