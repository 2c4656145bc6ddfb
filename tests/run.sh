#!/bin/sh
# Installs what is needed, builds, and passes every test.
#
#     sh tests/run.sh                      everything
#     sh tests/run.sh --quick              without the tests marked slow
#     sh tests/run.sh --only KIND          unit, lint, integration or faults
#     sh tests/run.sh --store KIND         file or s3: only with that kind of repository; both
#     sh tests/run.sh --asan               the same with AddressSanitizer and UBSan
#     sh tests/run.sh --no-install         trust that the dependencies are there
#     sh tests/run.sh --workers N          so many processes of tests with servers of their own (4)
#
# Works as root and as a user with sudo; PostgreSQL itself never runs as root. Everything it makes is
# under build/ of this clone and in folders of its own under $TMPDIR, which are gone at the end. The
# last line is "N passed, N failed"; the exit status is 0 only when nothing failed and something ran.
# What was skipped is listed above it with the reason.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"

only=""
preset=dev
install=yes
marks=""
store=both
workers=4 # most of them wait, most of the time

usage() {
    sed -n '2,/^set -eu/{/^#/s/^# \{0,1\}//p;}' "$0" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case "$1" in
    --quick) marks="not slow" ;;
    --asan) preset=asan ;;
    --no-install) install=no ;;
    --store)
        [ $# -ge 2 ] || usage
        shift
        case "$1" in
        file | s3 | both) store="$1" ;;
        *) usage ;;
        esac
        ;;
    --workers)
        [ $# -ge 2 ] || usage
        shift
        case "$1" in
        [1-9] | [1-9][0-9]) workers="$1" ;;
        *) usage ;;
        esac
        ;;
    --only)
        [ $# -ge 2 ] || usage
        shift
        case "$1" in
        unit | lint | integration | faults) only="$1" ;;
        *) usage ;;
        esac
        ;;
    *) usage ;;
    esac
    shift
done

build=${PGCAIRN_BUILD_DIR:-build/$preset}
results=$build/test-results
broken=0 # steps that could not run at all; each counts as a failure

step() {
    printf '\n== %s\n' "$*"
}

wanted() {
    [ -z "$only" ] || [ "$only" = "$1" ]
}

if [ "$install" = yes ]; then
    step "dependencies"
    sh packaging/install-deps.sh
fi

step "build ($preset)"
cmake --preset "$preset" -B "$build" >/dev/null
if ! ninja -C "$build"; then
    echo "the build failed"
    echo "0 passed, 1 failed"
    exit 1
fi
rm -rf "$results"
mkdir -p "$results"

PGCAIRN_BINARY=$(cd "$build/src" && pwd)/pgcairn
# An error that a sanitizer finds must not pass as one of pgcairn's own exit statuses.
ASAN_OPTIONS="exitcode=99:${ASAN_OPTIONS:-}"
UBSAN_OPTIONS="print_stacktrace=1:${UBSAN_OPTIONS:-}"
PYTHONDONTWRITEBYTECODE=1
PGCAIRN_BUILD=$(cd "$build" && pwd)
export PGCAIRN_BINARY PGCAIRN_BUILD ASAN_OPTIONS UBSAN_OPTIONS PYTHONDONTWRITEBYTECODE

run_pytest() {
    step "$1"
    status=0
    beside=""
    case $1 in integration | faults) beside="-n $workers --dist loadgroup" ;; esac
    # shellcheck disable=SC2086 # two words or none
    /usr/bin/python3 -m pytest -p no:cacheprovider -q -ra --store "$store" ${marks:+-m "$marks"} $beside \
        --junitxml "$top/$results/$1.xml" "tests/$1" || status=$?
    # 1 is "tests failed", which the results tell themselves.
    case $status in
    0 | 1) ;;
    *) broken=$((broken + 1)) ;;
    esac
}

if wanted unit; then
    step "unit"
    beside=""
    [ "$store" = file ] || beside="/usr/bin/python3 tests/s3/with_server.py"
    $beside ctest --test-dir "$build" --no-tests=error -j 2 --output-on-failure \
        --output-junit "$top/$results/unit.xml" || true
    [ -s "$results/unit.xml" ] || broken=$((broken + 1))
fi
for kind in lint integration faults; do
    if wanted "$kind"; then
        run_pytest "$kind"
    fi
done

step "summary"
exec /usr/bin/python3 tests/summary.py "$broken" "$results"
