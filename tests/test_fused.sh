#!/bin/bash
# Kernels that walk blocks of rows and columns: every spec and every changed softmax attention, forward and backward, by
# machine code against the interpreter at lengths around the sizes of blocks, with one thread and two, and without a
# tensor over pairs of positions in memory (fused/fused_check.c); then the same through the command line.
# Closes with `N passed, N failed, N skipped`.
set -u
cd "$(dirname "$0")/.." || exit 3
bin=$(realpath "${ATTNC_BIN:-build/release}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

count() { # STATUS WHAT
    if [ "$1" -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)) && echo "FAILED $2"; fi
}

# Two at a time, those that take longest first. Sums that cancel have a larger tolerance (tests/reference/cases.py).
check_one() {
    local tolerance=1e-5 brief=
    case $2 in tests/changes/*) brief=--brief ;; esac
    case $2 in
    */differential.att | */forgetting.att) tolerance=1e-4 ;;
    */ssd.att | */sparse.att) tolerance=5e-5 ;;
    esac
    timeout 600 "$1/fused_check" --tolerance $tolerance $brief "$2" >"$3/$(basename "$(dirname "$2")").$(basename "$2").out" 2>"$3/$(basename "$2").err"
    local status=$?
    [ $status -le 1 ] || echo "FAILED $2: fused_check ended with status $status" >>"$3/ended.out"
}
export -f check_one
printf '%s\n' specs/more/ssd.att specs/linear.att specs/sparse.att specs/more/gla.att specs/more/*.att specs/*.att tests/changes/*.att |
    awk '!seen[$0]++' | OMP_WAIT_POLICY=passive xargs -P2 -I{} bash -c 'check_one "$@"' check_one "$bin" {} "$work"
cat "$work"/*.out >"$work/all"
grep '^FAILED' "$work/all"
passed=$((passed + $(grep -c '^ok' "$work/all")))
failed=$((failed + $(grep -c '^FAILED' "$work/all")))

# The command line: what --compare says, and the files of --dump-dir with one thread and two.
for spec in specs/mha.att specs/more/t5.att tests/changes/minus.att tests/changes/prefix.att; do
    "$bin/attnc" run "$spec" --size=T=67,H=2 --backward --compare >"$work/out" 2>&1
    count $? "$spec --compare: $(grep -E 'differs|nan|error' "$work/out" | head -3)"
    for threads in 1 2; do
        OMP_NUM_THREADS=$threads "$bin/attnc" run "$spec" --size=T=67,H=2 --backward --machine --dump-dir "$work/$threads" >/dev/null 2>&1
    done
    diff -rq "$work/1" "$work/2" >"$work/out" 2>&1 && [ -n "$(ls "$work/1"/gradient.*.npy)" ]
    count $? "$spec, files with one thread and two: $(head -3 "$work/out")"
    rm -rf "${work:?}/1" "${work:?}/2"
done

echo
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
