#!/bin/sh
# A real S3 server on this machine: Ceph's RADOS gateway from Debian's packages, one monitor, one
# object store in memory, one gateway, all on 127.0.0.1 and without authentication among themselves.
#
#     server.sh install          the packages (packaging/install-deps.sh has them too)
#     server.sh start            about a second; prints nothing
#     server.sh stop             ends what start began, by its process ids
#     server.sh kill-gateway     -9; objects and open uploads outlive it
#     server.sh start-gateway    again
#
# From the environment: S3_DIR, a folder for its files (required); S3_PORT of the gateway, 9000, with
# the next one for the monitor; S3_AK and S3_SK, the keys of its one user; S3_TLS_CERT and S3_TLS_KEY
# for https; S3_OWNER, a process id: when that process is gone, the server stops by itself.
set -eu

: "${S3_DIR:?names a folder for the files of the server}"
: "${S3_PORT:=9000}" "${S3_AK:=pgcairn-test-key}" "${S3_SK:=pgcairn-test-secret}"
folder=$S3_DIR/ceph
pids=$S3_DIR/pids
conf=$folder/ceph.conf
empty_sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
scheme=http
[ -z "${S3_TLS_CERT:-}" ] || scheme=https
export CEPH_ARGS=""

usage() {
    sed -n '2,/^set -eu/{/^#/s/^# \{0,1\}//p;}' "$0" >&2
    exit 2
}

begin() {
    name=$1
    shift
    "$@" >"$folder/$name.out" 2>&1 </dev/null &
    echo "$name $!" >>"$pids"
}

gateway() {
    begin gateway radosgw -c "$conf" -n client.rgw.x -f
}

pid_of() {
    sed -n "s/^$1 //p" "$pids" | tail -n 1
}

answers() {
    code=$(curl -s -k -o /dev/null -w '%{http_code}' -H "x-amz-content-sha256: $empty_sha256" \
        --aws-sigv4 aws:amz:us-east-1:s3 -u "$S3_AK:$S3_SK" "$scheme://127.0.0.1:$S3_PORT/" || true)
    [ "$code" = 200 ]
}

wait_for_gateway() {
    tries=0
    until answers; do
        tries=$((tries + 1))
        if [ "$tries" -ge 1200 ] || ! kill -0 "$(pid_of gateway)" 2>/dev/null; then
            echo "server.sh: the gateway does not answer (HTTP $code); its last words:" >&2
            tail -n 5 "$folder/gateway.out" "$folder"/*.log >&2 || true
            exit 1
        fi
        sleep 0.05
    done
}

write_conf() {
    if [ "$scheme" = https ]; then
        listen="ssl_endpoint=127.0.0.1:$S3_PORT ssl_certificate=$S3_TLS_CERT ssl_private_key=$S3_TLS_KEY"
    else
        listen="endpoint=127.0.0.1:$S3_PORT"
    fi
    # Map changes without waits make the start take one second, not eleven. The gateway asks for
    # encryption among the parts by itself, which needs authentication. Deleted data is freed at once.
    cat >"$conf" <<END
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon_host = [v2:127.0.0.1:$((S3_PORT + 1))/0]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
run_dir = $folder
crash_dir = $folder
admin_socket =
log_file = $folder/\$name.log
osd_pool_default_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
osd_crush_initial_weight = 1
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
paxos_propose_interval = 0.02
paxos_min_wait = 0.02
mon_tick_interval = 1
[mon]
mon_data = $folder/mon
mon_data_avail_crit = 1
[osd]
osd_data = $folder/osd
osd_objectstore = memstore
memstore_device_bytes = 64G
osd_client_watch_timeout = 3
[client.rgw.x]
ms_mon_client_mode = crc
rgw_data = $folder/rgw
rgw_frontends = beast $listen tcp_nodelay=1
rgw_dns_name = localhost
rgw_crypt_require_ssl = false
rgw_run_sync_thread = false
rgw_crypt_s3_kms_backend = testing
rgw_crypt_s3_kms_encryption_keys = testkey-1=YmluCmJvb3N0CmJvb3N0LWJ1aWxkCmNlcGguY29uZgo=
rgw_gc_obj_min_wait = 1
rgw_gc_processor_period = 5
rgw_gc_processor_max_time = 5
END
}

make_user() {
    admin="radosgw-admin -c $conf -n client.rgw.x"
    $admin user create --uid=test --display-name=test --access-key="$S3_AK" --secret="$S3_SK" \
        >"$folder/user.out" 2>&1
    for class in STANDARD_IA GLACIER; do
        $admin zonegroup placement add --rgw-zonegroup default --placement-id default-placement \
            --storage-class "$class" >>"$folder/user.out" 2>&1
        $admin zone placement add --rgw-zone default --placement-id default-placement \
            --storage-class "$class" --data-pool default.rgw.buckets.data >>"$folder/user.out" 2>&1
    done
}

# Looks every other second, in a shell of its own, and stops the server when the owner is gone.
watch_owner() {
    owner=$1
    (
        while kill -0 "$owner" 2>/dev/null && [ -f "$pids" ]; do
            sleep 2
        done
        sh "$0" stop
    ) >/dev/null 2>&1 </dev/null &
}

start() {
    rm -rf "$folder"
    mkdir -p "$folder/mon" "$folder/osd" "$folder/rgw"
    : >"$pids"
    osd=$(cat /proc/sys/kernel/random/uuid)
    write_conf
    fsid=$(sed -n 's/^fsid = //p' "$conf")
    monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$((S3_PORT + 1))]" "$folder/monmap" \
        >"$folder/make.out" 2>&1
    ceph-mon -c "$conf" -i a --mkfs --monmap "$folder/monmap" >>"$folder/make.out" 2>&1
    begin mon ceph-mon -c "$conf" -i a -f
    ceph -c "$conf" osd new "$osd" >>"$folder/make.out" 2>&1
    ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$osd" >>"$folder/make.out" 2>&1
    begin osd ceph-osd -c "$conf" -i 0 -f
    make_user
    gateway
    wait_for_gateway
    if [ -n "${S3_OWNER:-}" ]; then
        watch_owner "$S3_OWNER"
    fi
}

stop() {
    [ -f "$pids" ] || exit 0
    for signal in TERM KILL; do
        while read -r _ pid; do
            kill -s "$signal" "$pid" 2>/dev/null || true
        done <"$pids"
        sleep 0.2
    done
    rm -rf "$pids" "$folder"
}

case "${1:-}" in
install) exec sh "$(dirname "$0")/../../packaging/install-deps.sh" ;;
start) start ;;
stop) stop ;;
kill-gateway)
    kill -9 "$(pid_of gateway)"
    ;;
start-gateway)
    gateway
    wait_for_gateway
    ;;
*) usage ;;
esac
