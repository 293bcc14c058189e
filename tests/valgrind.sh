#!/bin/bash
# Machine code under valgrind: kernels read nothing that has not been written, and nothing beyond the ends of arrays,
# workspace and tensors, which the sanitizers do not see, for they know only what a C compiler has made. A selection that
# takes a few minutes; other specs may be named instead: tests/valgrind.sh SPEC...
# Closes with `N passed, N failed, N skipped`.
set -u
cd "$(dirname "$0")/.." || exit 3
bin=$(realpath "${ATTNC_BIN:-build/release}")
log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0

if ! command -v valgrind >/dev/null 2>&1; then
    echo "valgrind is missing; install it with: apt-get install valgrind"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi

# check WHAT PROGRAM [ARGUMENT]...
check() {
    local what=$1
    shift
    # valgrind runs one thread at a time: one that waits must not spin
    OMP_WAIT_POLICY=passive timeout 900 valgrind -q --error-exitcode=9 "$@" >"$log" 2>&1
    local status=$?
    if [ $status -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $what: exit status $status"
        grep -E '^==|FAILED' "$log" | head -40
    fi
}

if [ $# -eq 0 ]; then
    check test_tile_emit "$bin/test_tile_emit"
    set -- tests/changes/linear1.att tests/changes/runmax.att
fi
for spec in "$@"; do
    check "$spec" "$bin/fused_check" --brief "$spec"
done
echo
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
