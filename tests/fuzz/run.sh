#!/bin/bash
# run.sh SECONDS [FOLDER]: fuzzes the front end. New inputs are kept in FOLDER (build/fuzz/corpus), so that a longer run
# goes on where a shorter one stopped. Exit status 1: an input crashed, leaked, or took more than 5 s or 2 GB; it is
# kept, and its path is said.
set -u
cd "$(dirname "$0")/../.." || exit 3
. scripts/setup.sh
. tests/fuzz/corpus.sh
# shellcheck disable=SC2086
install_missing $fuzz_packages
seconds=${1:?usage: tests/fuzz/run.sh SECONDS [FOLDER]}
folder=${2:-build/fuzz/corpus}
build fuzz fuzz_front || exit 3
log=$(mktemp)
seeds=$(mktemp -d)
trap 'rm -rf "$log" "$seeds"' EXIT
mkdir -p "$folder" build/fuzz/failures
corpus "$seeds"
dictionary build/fuzz/words.dict
ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1 build/fuzz/fuzz_front "$folder" "$seeds" \
    -max_total_time="$seconds" -timeout=5 -rss_limit_mb=2048 -max_len=65536 -dict=build/fuzz/words.dict \
    -artifact_prefix=build/fuzz/failures/ -print_final_stats=1 -verbosity=1 >"$log" 2>&1
status=$?
edges=$(grep -oE 'cov: [0-9]+' "$log" | tail -1 | grep -oE '[0-9]+')
done=$(grep -oE 'number_of_executed_units: [0-9]+' "$log" | grep -oE '[0-9]+$')
rate=$(grep -oE 'average_exec_per_sec: +[0-9]+' "$log" | grep -oE '[0-9]+$')
echo "fuzz_front: ${done:-0} executions, ${rate:-0} executions/s, ${edges:-0} edges covered"
if [ $status -ne 0 ] || [ "${done:-0}" -eq 0 ]; then
    grep -vE '^#|NEW_FUNC|^\s*$' "$log" | tail -60
    echo "0 passed, 1 failed"
    exit 1
fi
echo "1 passed, 0 failed"
