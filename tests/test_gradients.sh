#!/bin/bash
# Every spec's gradients against finite differences (attnc check-grad), its variants included, at small odd sizes; then
# check-grad itself: what it finds and what it says that it cannot.
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

# agrees WHAT SPEC OPTION...
agrees() {
    local what=$1 status
    shift
    timeout 120 "$bin/attnc" check-grad --tolerance=1e-7 "$@" >"$work/out" 2>&1
    status=$?
    printf '%-28s %s\n' "$what" "$(tail -1 "$work/out")"
    [ $status -eq 0 ] || grep -E 'differs|not compared|error' "$work/out"
    count $status "$what"
}

for spec in specs/*.att specs/more/*.att; do
    variants=$(sed -nE 's/^variant +([^ {]+).*/\1/p' "$spec")
    for variant in ${variants:--}; do
        name=$variant chosen=(--variant "$variant")
        [ "$variant" = - ] && name=$(basename "$spec" .att) chosen=()
        agrees "$name" "$spec" "${chosen[@]}"
        # other numbers of heads, and widths of a head
        case $spec in
        */identity.att | */mla.att) ;;
        */triangle.att) agrees "$name, 3 heads" "$spec" --size T=5,C=9,H=3 ;;
        */differential.att | */gla.att) agrees "$name, 3 heads" "$spec" "${chosen[@]}" --size B=1,T=5,D=18,H=3 ;;
        *) agrees "$name, 3 heads" "$spec" "${chosen[@]}" --size B=1,T=5,D=15,H=3 ;;
        esac
        grep -q 'dropout(' "$spec" && agrees "$name, dropout" "$spec" "${chosen[@]}" --training
    done
done
for spec in tests/changes/*.att; do
    agrees "changed: $(basename "$spec" .att)" "$spec"
done
for spec in examples/mechanisms/*.att; do
    name=$(basename "$spec" .att)
    agrees "$name" "$spec"
    agrees "$name, large values" "$spec" -D std=0.5
done
for size in B=2,T=7,E=3 B=1,T=13,E=1,K=3 B=3,T=1,E=5,K=1; do
    agrees "masks $size" tests/gradients/masks.att --size "$size"
done

# says WHAT STATUS PATTERN BODY OPTION...: a spec with that body
says() {
    local what=$1 wanted=$2 pattern=$3 body=$4 status
    shift 4
    printf 'mechanism m "test"\ninclude "lib/standard.att"\nsize T = 1024, D = 96\nindex t:T d:D\ninput x[t,d]\nparam w[d] ~ normal(0, 1)\n%s\n' "$body" >"$work/m.att"
    "$bin/attnc" check-grad "$work/m.att" "$@" >"$work/out" 2>"$work/err"
    status=$?
    [ $status -eq "$wanted" ] && cat "$work/out" "$work/err" | grep -qE "$pattern"
    count $? "$what: status $status, $(head -5 "$work/out" "$work/err")"
}

says "a right derivative" 0 '^w .* agrees$' 'output y[t,d] = exp(x[t,d]) * w[d]'
says "the sizes that are chosen" 0 '^at T=7,D=6 ' 'output y[t,d] = x[t,d] * w[d]'
says "sizes that are given" 0 '^at D=6 ' 'output y[t,d] = x[t,d] * w[d]' --size T=3
says "all sizes are given" 0 '^x .* agrees$' 'output y[t,d] = x[t,d] * w[d]' --size T=3,D=5
grep -q '^at ' "$work/out"
[ $? -eq 1 ]
count $? "no sizes are chosen where all are given"
says "a number is no size" 0 '^at T=7,D=6 ' 'number c = 2.0 output y[t,d] = x[t,d] * w[d] * c' -D c=3
says "few elements" 0 'the worst of 42 elements$' 'output y[t,d] = x[t,d] * w[d]'
says "some elements" 0 'the worst of 32 of 99 elements$' 'output y[t,d] = x[t,d] * w[d]' --size T=9,D=11
says "all elements" 0 'the worst of 99 elements$' 'output y[t,d] = x[t,d] * w[d]' --size T=9,D=11 --elements=all
says "a kink" 1 '^w .* not compared at \[[0-9]\]: a kink, with slopes ' 'output y[t,d] = x[t,d] * max(w[d] - stop(w[d]), 0)'
grep -q '^x .* agrees$' "$work/out"
count $? "the tensor without the kink"
says "a jump" 1 '^w .* not compared.*: the outputs jump' 'output y[t,d] = x[t,d] * (if w[d] > stop(w[d]) then 1 else w[d])'
says "no number" 1 '^w .* not compared.*: the outputs are not finite at these values$' 'output y[t,d] = log(-1 - w[d] * w[d]) * x[t,d]'
says "an infinite derivative" 1 '^w .* not compared.*: the derived gradient is not finite$' 'output y[t,d] = x[t,d] * sqrt(w[d] - stop(w[d]))'
says "other elements" 2 'elements knows all' 'output y[t,d] = x[t,d]' --elements=some
"$bin/attnc" run "$work/m.att" --elements=all >"$work/out" 2>&1
[ $? -eq 2 ] && grep -q 'goes with check-grad' "$work/out"
count $? "--elements goes with check-grad"

echo
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
