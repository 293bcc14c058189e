#!/bin/bash
# All tests on a fresh machine: installs what is missing, builds, runs. --quick leaves out the sanitizer build, the
# fuzzer and valgrind.
# Closes with `N passed, N failed, N skipped`, counting cmocka's tests and the checks of the programs below.
set -u
cd "$(dirname "$0")/.." || exit 3
. scripts/setup.sh
quick=
[ "${1:-}" = "--quick" ] && quick=yes
# shellcheck disable=SC2086
if [ -n "$quick" ]; then install_missing; else install_missing $fuzz_packages $valgrind_packages; fi
passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# count NAME: adds the closing figures of a test program's output
count() {
    local p f s
    if grep -qE '^[0-9]+ passed, [0-9]+ failed' "$log"; then
        p=$(grep -E '^[0-9]+ passed' "$log" | tail -1 | sed -E 's/^([0-9]+) passed.*/\1/')
        f=$(grep -E '^[0-9]+ passed' "$log" | tail -1 | sed -E 's/.* ([0-9]+) failed.*/\1/')
        s=$(grep -E '^[0-9]+ passed' "$log" | tail -1 | sed -nE 's/.* ([0-9]+) skipped.*/\1/p')
    else
        p=$(grep -cE '^\[       OK \]' "$log")
        # cmocka names these again in its summary
        f=$(grep -E '^\[  FAILED  \] [a-z_0-9]+$' "$log" | sort -u | wc -l)
        s=$(grep -E '^\[  SKIPPED \] [a-z_0-9]+$' "$log" | sort -u | wc -l)
    fi
    if [ "$2" -ne 0 ] && [ "$f" -eq 0 ]; then
        f=1 # it ended badly without saying which test did
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + ${s:-0}))
    echo "$1: $p passed, $f failed, ${s:-0} skipped"
}

run() {
    local name=$1
    shift
    "$@" >"$log" 2>&1
    local status=$?
    [ $status -eq 0 ] || tail -40 "$log"
    count "$name" $status
}

build release
for program in build/release/test_*; do
    [ -x "$program" ] && [ -f "$program" ] && run "$(basename "$program")" "$program"
done
run "grammar summary" /usr/bin/env PATH="/usr/bin:$PATH" python3 docs/grammar.py --check
run "NumPy references" /usr/bin/env PATH="/usr/bin:$PATH" python3 tests/reference/run.py
run "published mechanisms" /usr/bin/env PATH="/usr/bin:$PATH" python3 tests/reference/examples.py
run "gradients" bash tests/test_gradients.sh
run "fused kernels" bash tests/test_fused.sh
run "PyTorch autodiff" /usr/bin/env PATH="/usr/bin:$PATH" python3 tests/peers/autodiff.py # ATTNC_PYTHON: one that has torch
run "bad input" bash tests/test_bad_input.sh
run "spec files" bash tests/test_spec_files.sh
run "limits" bash tests/test_limits.sh
if [ -z "$quick" ]; then
    build debug
    for program in build/debug/test_*; do
        [ -x "$program" ] && [ -f "$program" ] && run "sanitizers: $(basename "$program")" env ASAN_OPTIONS=detect_leaks=1 ATTNC_RANDOM_COUNT=300 "$program"
    done
    run "valgrind" bash tests/valgrind.sh
    run "fuzzing the front end" bash tests/fuzz/run.sh 60
fi
echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
