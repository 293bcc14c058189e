#!/bin/bash
# Whole-program tests of spec files: every kind of file that is none, the look-up of includes, the JSON form of messages,
# and names beyond ASCII from the spec to the shared library.
cd "$(dirname "$0")/.." || exit 3
root=$PWD
bin=$(realpath "${ATTNC_BIN:-build/release}")
work=$(mktemp -d)
trap 'chmod -R u+rwX "$work"; rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0
cd "$work" || exit 3

count() {
    if [ "$1" -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED $2"; fi
}

# check NAME STATUS PATTERN COMMAND...: the exit status within 20 seconds; standard error is one line and matches, or
# is empty where PATTERN is
check() {
    local name=$1 status=$2 pattern=$3
    shift 3
    timeout 20 "$@" >out 2>err
    local got=$?
    if [ -z "$pattern" ]; then
        [ $got -eq "$status" ] && [ ! -s err ]
    else
        [ $got -eq "$status" ] && grep -qE "$pattern" err && [ "$(wc -l <err)" -eq 1 ]
    fi
    count $? "$name: exit status $got, wanted $status and /$pattern/ in: $(head -c 300 err)"
}

# json NAME STATUS PYTHON COMMAND...: standard output is one JSON document d for which the expression holds
json() {
    local name=$1 status=$2 test=$3
    shift 3
    timeout 20 "$@" >out 2>err
    local got=$?
    [ $got -eq "$status" ] && [ ! -s err ] && python3 -c "import json,sys; d = json.load(open('out', encoding='utf-8')); sys.exit(not ($test))"
    count $? "$name: exit status $got, wanted $status and $test in: $(head -c 300 out err)"
}

good='mechanism m "m"
size T = 4
index t:T
input x[t]
output y[t] = x[t]'
echo "$good" >good.att

# files
check "a missing file" 1 '^none.att: error: No such file or directory$' "$bin/attnc" none.att
check "a folder" 1 'this is a folder, not a file' "$bin/attnc" .
check "a device" 1 'neither a file nor a pipe' "$bin/attnc" /dev/zero
check "a pipe" 0 '' bash -c "cat good.att | '$bin/attnc' /dev/stdin"
check "a pipe without end" 1 'larger than 16 MiB' bash -c "yes '# a line' | '$bin/attnc' /dev/stdin"
truncate -s 17M large.att
check "a large file" 1 'larger than 16 MiB' "$bin/attnc" large.att
ln -s loop.att loop.att
check "a link to itself" 1 'symbolic links' "$bin/attnc" loop.att
check "a long path" 1 'File name too long' "$bin/attnc" "$(printf 'a/%.0s' {1..3000})x.att"
if [ "$(id -u)" -ne 0 ]; then
    cp good.att locked.att && chmod 0 locked.att
    check "an unreadable file" 1 'Permission denied' "$bin/attnc" locked.att
else
    skipped=$((skipped + 1)) # root reads everything
fi

# contents
python3 - <<'P'
head = 'mechanism m "m"\nsize T = 4\nindex t:T\ninput x[t]\n'
open('name.att', 'w').write(head + 'a' * 1000000 + '[t] = t\noutput y[t] = x[t]')
open('line.att', 'w').write(head + 'output y[t] = x[t]' + ' + x[t]' * 200 + ' ' * 1000000 + '# ' + 'c' * 1000000)
open('letters.att', 'w').write(head + 'output y[t] = ' + 'ä¡' * 250000)
open('errors.att', 'w').write(head + '?' * 1000000)
open('stray.att', 'w').write(head + ') ' * 300000)
open('comments.att', 'w').write('# a et al. 10.1 arxiv\n' * 100000 + head + 'output y[t] = x[t]')
P
shown() { # NAME ERRORS COMMAND...: so many are counted, 20 at most are shown, in time
    local name=$1 errors=$2
    shift 2
    json "$name" 1 "d['errors'] == $errors and len(d['diagnostics']) == min($errors, 20)" "$@"
}
shown "a name of a million characters" 1 "$bin/attnc" --json name.att
check "a line of two million" 0 '' "$bin/attnc" line.att
shown "letters and signs in turn" 250000 "$bin/attnc" --json letters.att
json "a million errors" 1 "d['errors'] >= 1000000 and len(d['diagnostics']) == 20" "$bin/attnc" --json errors.att
json "syntax errors without end" 1 "d['errors'] >= 1" "$bin/attnc" --json stray.att
check "a hundred thousand lines of comment" 0 '' "$bin/attnc" comments.att
timeout 20 "$bin/attnc" errors.att 2>err
[ "$(grep -c ': error: ' err)" -eq 20 ] && [ "$(grep -c 'further errors are not shown' err)" -eq 1 ]
count $? "twenty errors are shown"

# includes
mkdir -p specs/deep library
library() { echo "library l \"l\" fn $1(x) = $2"; }
library one x+1 >specs/deep/one.att
library two x+2 >library/two.att
{ echo 'library l "l" include "../deep/one.att" fn three(x) = one(x)'; } >specs/deep/three.att
using() { printf '%s\n' "$good" | sed "s|^size|include \"$1\" size|; s|= x\[t\]|= $2(x[t])|"; }
using deep/three.att three >specs/relative.att
check "an include beside the file, and one above it" 0 '' "$bin/attnc" specs/relative.att
using two.att two >specs/given.att
check "an include of --library" 0 '' "$bin/attnc" --library library specs/given.att
timeout 20 "$bin/attnc" specs/given.att 2>err
grep -q 'cannot include "two.att": no such file beside this one or in the library' err
count $? "an include that is nowhere"
library two 'nothing' >specs/two.att
timeout 20 "$bin/attnc" --library library specs/given.att 2>err
grep -q 'specs/two.att:1:' err
count $? "the file beside comes before --library"
using "$work/library/two.att" two >absolute.att
check "an absolute include" 0 '' "$bin/attnc" absolute.att
using lib/standard.att relu >standard.att
check "an include of the specs" 0 '' "$bin/attnc" standard.att
for i in $(seq 1 40); do echo "library l$i \"l\" include \"chain$((i + 1)).att\"" >chain$i.att; done
using chain1.att relu >chain.att
timeout 20 "$bin/attnc" chain.att 2>err
grep -q 'chain32.att:1:.*cannot include "chain33.att": includes are nested too deeply' err
count $? "a chain of includes"
echo 'library a "a" include "b.att" fn f(x) = g(x)' >a.att
echo 'library b "b" include "a.att" fn g(x) = x' >b.att
using a.att f >circle.att
check "includes in a circle are read once" 0 '' "$bin/attnc" circle.att
using loop.att f >linked.att
timeout 20 "$bin/attnc" linked.att 2>err
grep -q 'cannot include "loop.att": Too many levels of symbolic links' err
count $? "an include of a link to itself"

# JSON
json "nothing to say" 0 "d == {'diagnostics': [], 'errors': 0, 'warnings': 0}" "$bin/attnc" --json good.att
json "a file that is missing" 1 "d['errors'] == 1 and d['diagnostics'][0]['file'] == 'none.att'" "$bin/attnc" --json none.att
json "a variant that is missing" 1 "'no variant' in d['diagnostics'][0]['message']" "$bin/attnc" --json good.att --variant v
json "a library" 0 "d['errors'] == 0" "$bin/attnc" --json "$root/specs/lib/standard.att"
json "a library is not compiled" 1 "'not a mechanism' in d['diagnostics'][0]['message']" "$bin/attnc" --json "$root/specs/lib/standard.att" -o l.o
json "compiling" 0 "d['errors'] == 0" "$bin/attnc" --json good.att -o good.o
[ -s good.o ]
count $? "--json compiles too"
check "--json and run" 2 'without --dump, run and check-grad' "$bin/attnc" run --json good.att

# names beyond ASCII, and the comment
cat >greek.att <<'S'
# Weights α of a 注意 mechanism, arXiv:1409.0473. This ends no comment: */ int x; /* nor does this.
mechanism προσοχή "attention in Greek letters"
size   Τ = 6, Δ = 4
index  τ:Τ  σ:Τ  δ:Δ
input  χ[τ,δ]
param  Ω[δ], β₁[δ]  ~ normal(0, 1)
ζ[τ,σ] = sum[δ](χ[τ,δ] · χ[σ,δ] × Ω[δ]) ÷ 2 − 1
μ[τ]   = max[σ where σ ≤ τ ∧ ¬(σ < 0 ∨ σ ≠ σ)](ζ[τ,σ])
output ψ[τ,δ] = if μ[τ] < ∞ then μ[τ] + β₁[δ] else -∞
S
check "Greek letters compile" 0 '' "$bin/attnc" greek.att --backward -o greek.so
check "Greek letters are computed" 0 '' "$bin/attnc" run greek.att --backward --compare
# a parameter without a gradient, and why lines are there
cat >orphan.att <<'S'
mechanism m "a parameter that is not learnt"
size T = 3
index t:T
input x[t]
param W[t], V[t]
output y[t] = x[t] * V[t] + stop(W[t])
S
cat >golden <<'S'
orphan.att:5:7: warning: the gradient of parameter `W` is 0: it acts only through `stop`, which has no derivative
    param W[t], V[t]
          ^
S
for mode in "--backward" "--dump=grad"; do
    timeout 20 "$bin/attnc" orphan.att $mode >out 2>err && cmp -s golden err
    count $? "a parameter without a gradient, $mode: $(cat err)"
done
timeout 20 "$bin/attnc" check-grad orphan.att >out 2>err && cmp -s golden err
count $? "a parameter without a gradient, check-grad: $(cat err)"
check "no gradient is wanted" 0 '' "$bin/attnc" orphan.att
timeout 20 "$bin/attnc" good.att --dump=graph --explain >out 2>err && [ "$(tail -n +2 out)" = '%2 : float[t] = tensor x  # input
output y[t] = %2' ]
count $? "--explain of a graph: $(cat out err)"
check "--explain alone" 2 '^attnc: --explain goes with --dump=graph, grad or program ' "$bin/attnc" good.att --explain
check "--explain of no graph" 2 '^attnc: --explain goes with ' "$bin/attnc" good.att --explain --dump=ast,llvm
check "--explain of one of two" 0 '' "$bin/attnc" good.att --explain --dump=ast,grad
check "--without" 0 '' "$bin/attnc" good.att --without=cancel,common_factor --without=all
check "--without of what is no rule" 2 '^attnc: --without knows all, common_factor, .*cancel, .*; not `cancels` ' "$bin/attnc" good.att --without=cancel,cancels
check "--without of nothing" 2 '; not `` ' "$bin/attnc" good.att --without=

# what a spec requires, at its own sizes, at the caller's and in a variant
printf 'mechanism m "tree"\nsize T = 8, N = 3\nindex t:T\ninput x[t]\nvariant low { N = 2 }\nrequire 2 ^ N >= T "deep enough"\noutput y[t] = x[t]\n' >tree.att
check "what is required holds" 0 '' "$bin/attnc" tree.att
json "required of the caller's sizes" 1 "'deep enough' in d['diagnostics'][0]['message'] and d['diagnostics'][0]['hint'] == 'N = 3, T = 16'" "$bin/attnc" --json tree.att -D T=16
json "required of a variant" 1 "d['errors'] == 1 and d['diagnostics'][0]['hint'] == 'N = 2, T = 8'" "$bin/attnc" --json tree.att --variant low

# what is no number is no success
printf 'mechanism m "no numbers"\nsize T = 3\nindex t:T\ninput x[t]\noutput y[t] = %s\n' '0 * log(-x[t] * x[t] - 1)' >nan.att
check "NaN on both sides differs" 1 '' "$bin/attnc" run nan.att --compare
grep -q '^y  *nan ' out
count $? "NaN is said"
check "no gradient of NaN" 1 '' "$bin/attnc" check-grad nan.att
grep -q '^x .*not compared.*: the outputs are not finite at these values$' out
count $? "why there is no difference, at the values"
printf 'mechanism m "held"\nsize T = 3\nindex t:T\ninput x[t]\noutput y[t] = log(1e-9 - abs(x[t] - stop(x[t]))) * x[t]\n' >held.att
check "no gradient of what is held" 1 '' "$bin/attnc" check-grad held.att
grep -q '^x .*not compared.*: the outputs are not finite a small step away' out
count $? "why there is no difference, a step away"
check "Greek letters are file names" 0 '' "$bin/attnc" run greek.att --backward --dump-dir values
[ -s values/ψ.npy ] && [ -s values/gradient.β₁.npy ]
count $? "values/ψ.npy"
nm -D --defined-only greek.so | LC_ALL=C grep -q ' T u03C0u03C1u03BFu03C3u03BFu03C7u03AE$'
count $? "the symbol is ASCII"
printf '#include "greek.h"\nint main(void) { return PLACE; }\n' >use.c
cc -std=c17 -Wall -Wextra -Werror -DPLACE=U03C0U03C1U03BFU03C3U03BFU03C7U03AE_TENSOR_u03C7 -c use.c -o use.o 2>err
count $? "the header is C: $(head -3 err)"
grep -q '注意 mechanism, arXiv:1409.0473' greek.h && grep -q 'int x' greek.h
count $? "the header says what the spec says"
/usr/bin/python3 "$root/examples/call.py" greek.so values >out 2>err &&
    awk '{ if ($2 > 1e-5) exit 1; n++ } END { exit n != 5 }' out
count $? "Python calls it: $(head -5 out err)"
"$bin/attnc" greek.att --dump=ast | grep -q '^; Weights α of a 注意'
count $? "--dump=ast prints the comment"

echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
