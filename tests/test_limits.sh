#!/bin/bash
# What a spec may cost: whatever it says, the compiler answers within 2 s of processor time and 1 GB, with a message or
# with a graph. Inputs are made here: too deep, too long, too many, too large.
set -u
cd "$(dirname "$0")/.." || exit 3
bin=$(realpath "${ATTNC_BIN:-build/release}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# make NAME PYTHON: writes NAME.att, the text that the expression gives; H is a head, OUT an output
make() {
    python3 - "$work/$1.att" "$2" <<'P'
import sys
H = 'mechanism m "m"\nsize T = 4, D = 2\nindex t:T s:T d:D\ninput x[t,d]\n'
OUT = 'output y[t,d] = x[t,d]\n'
def nested(count, head, body):
    for k in range(count):
        body = head.format(k) + '{\n' + body + '}\n'
    return body
def each(count, text, between='\n'):
    return between.join(text.format(k, k - 1) for k in range(count)) + '\n'
open(sys.argv[1], 'w').write(eval(sys.argv[2]))
P
}

# check NAME STATUS PATTERN [OPTION]...: the exit status, and standard error matches; 1: an error at a place
check() {
    local name=$1 status=$2 pattern=$3
    shift 3
    (ulimit -v 1048576 -t 2; cd "$work" && exec timeout 60 "$bin/attnc" "$name.att" --dump=graph "$@") >/dev/null 2>"$work/err"
    local got=$?
    if [ $got -eq "$status" ] && { [ -z "$pattern" ] || grep -qE "$pattern" "$work/err"; }; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $name: exit status $got, wanted $status and /$pattern/ in:"
        head -c 600 "$work/err"
    fi
}

# limit NAME STATUS PATTERN PYTHON
limit() {
    make "$1" "$4" && check "$1" "$2" "$3"
    rm -f "$work/$1.att"
}

deep='error: this is nested too deeply'
limit parentheses 1 "$deep" "H + 'output y[t,d] = ' + '(' * 10**6 + 'x[t,d]' + ')' * 10**6"
limit open_parentheses 1 "$deep" "H + 'output y[t,d] = ' + '(' * 10**6"
limit signs 1 "$deep" "H + 'output y[t,d] = ' + '-' * 10**6 + 'x[t,d]'"
limit negations 1 "$deep" "H + 'output y[t,d] = if ' + 'not ' * 10**6 + 't < 2 then 1 else 0'"
limit powers 1 "$deep" "H + 'output y[t,d] = ' + '2 ^ ' * 10**5 + 'x[t,d]'"
limit choices 1 "$deep" "H + 'output y[t,d] = ' + 'if t < 1 then 1 else ' * 10**5 + 'x[t,d]'"
limit lets 1 "$deep" "H + 'output y[t,d] = ' + 'let a = 1 ' * 10**5 + 'in a'"
limit long_sum 1 "$deep" "H + 'output y[t,d] = ' + 'x[t,d] + ' * 10**5 + 'x[t,d]'"
limit repeats_deep 1 "$deep" "H + nested(10000, 'repeat r{} : 1', '') + OUT"

much='error: the spec expands to more than 1000000 expressions'
limit exponential_functions 1 "$much" "H + each(60, 'fn f{0}(a) = f{1}(a) + f{1}(a)').replace('f-1', 'a').replace('a(a)', 'a') + 'output y[t,d] = f59(x[t,d])'"
limit exponential_arguments 1 "$much" "H + 'fn f0(a) = a\n' + each(60, 'fn f{0}(a) = f{1}(a * f{1}(a))').split('\n', 1)[1] + 'output y[t,d] = f59(x[t,d])'"
limit repeats 1 "$much" "H + 'z = 0\n' + nested(3, 'repeat r{} : 4096', 'z := z + 1\n') + OUT"
limit repeats_of_two 1 "$much" "H + 'z = 0\n' + nested(60, 'repeat r{} : 2', 'z := z\n') + OUT"
limit repeats_of_nothing 1 "$much" "H + nested(3, 'repeat r{} : 4096', '') + OUT"
limit repeats_of_parameters 1 "$much" "H + nested(2, 'repeat r{} : 4096', each(50, 'param w{0}[t,d]')) + OUT"
limit repeats_of_long_names 1 "$much" "H + nested(2, 'repeat ' + 'a' * 90 + '{} : 4096', 'repeat b : 2 { z = 1 }') + OUT"
limit one_repeat 0 '' "H + 'z = 0\n' + nested(1, 'repeat r{} : 4096', 'z := z + 1\n') + OUT"
limit mutual_functions 1 'more than 100 levels deep' "H + 'fn f(a) = g(a)\nfn g(a) = f(a)\noutput y[t,d] = f(x[t,d])'"

many='error: more than 1000000 names, numbers and operators in one file'
limit indices 1 'more than 64 indices in all' "H + 'index ' + each(4 * 10**5, 'i{}:T', ' ') + OUT"
limit many_indices 1 "$many" "H + 'index ' + each(10**6, 'i{}:T', ' ') + OUT"
limit short_indices 1 "$many" "H + 'index ' + 't:T ' * 4 * 10**6 + OUT"
limit definitions 0 '' "H + each(2 * 10**5, 'a{}[t] = {}') + OUT"
limit chained_definitions 0 '' "H + 'a0[t] = 1\n' + each(10**5, 'a{0}[t] = a{1}[t] + t').split('\n', 1)[1] + OUT"
limit many_definitions 1 "$many" "H + each(7 * 10**5, 'a{}[t] = {}') + OUT"
limit repeated_definition 1 'already defined' "H + 'a = 1\n' * 3 * 10**5 + OUT"
limit parameters 0 '' "H + each(10**5, 'param p{}[t,d]') + OUT"
limit outputs 0 '' "H + each(10**5, 'output y{}[t,d] = x[t,d]')"
limit losses 0 '' "H + OUT + each(10**5, 'loss l{} = 1')"
limit sizes 0 '' "H + 'size ' + each(10**5, 's{0} = {0} + 1', ',') + OUT"
limit repeated_sizes 1 'declared twice' "H + 'size ' + 'S = 1, ' * 10**5 + 'S = 1\n' + OUT"
limit variants 0 '' "H + each(10**5, 'variant v{} {{ T = 2 }}') + OUT"
limit repeated_variants 1 'defined twice' "H + 'variant v { T = 1 }\n' * 10**5 + OUT"
limit functions 0 '' "H + each(10**5, 'fn f{}(a) = a') + OUT"
limit repeated_functions 1 'defined twice' "H + 'fn f(a) = a\n' * 10**5 + OUT"
limit used_functions 0 '' "H + each(50000, 'fn f{}(a) = a') + each(50000, 'a{0}[t,d] = f{0}(x[t,d])') + OUT"
limit formals 0 '' "H + 'fn f(' + each(10**5, 'a{}', ',') + ') = a0 + a99999\noutput y[t,d] = f(' + ','.join(['x[t,d]'] * 10**5) + ')'"
limit arguments 0 '' "H + 'output y[t,d] = max(' + '1, ' * 10**5 + '1)'"
limit many_arguments 1 "$many" "H + 'output y[t,d] = max(' + '1,' * 8 * 10**6 + '1)'"
limit positions 1 'has 2 indices' "H + 'output y[t,d] = x[' + 't,' * 10**5 + 't]'"
limit comparisons 0 '' "H + 'output y[t,d] = if ' + 't < ' * 10**5 + 't then 1 else 0'"
limit rank 1 'more than 16 indices' "H + 'index ' + each(50, 'i{}:T', ' ') + 'input z[' + each(100, 'i{}', ',') + ']\n' + OUT"
limit reduction_rank 1 'more than 16 indices' "H + 'index ' + each(60, 'i{}:T', ' ') + 'output y = sum[' + each(60, 'i{}', ',') + '](1)\n'"
limit brackets 1 'error: ' "H + '[]{}()' * 2500000"

limit errors 1 'further errors are not shown' "H + each(2 * 10**5, 'a{0}[t] = q{0}') + OUT"
limit syntax_errors 1 'cannot stand here' "H + '= ) +\n' * 10**6"
limit characters 1 'means nothing here' "H + '@' * 10**6"
limit open_strings 1 'no closing quotation mark' "H + '\"abc\n' * 10**6"

limit huge_tensor 1 'more than 2\^40 elements' "'mechanism m \"m\" size T = 1000000000 index a:T b:T c:T input x[a,b,c] output y[a] = 1'"
limit huge_sum 0 '' "'mechanism m \"m\" size T = 1000000000 index a:T b:T c:T d:T input x[a] output y[a] = sum[b,c,d](x[a])'"
limit huge_extent 1 'a size is at most 10' "'mechanism m \"m\" size T = 4611686018427387904 index t:T input x[t] output y[t] = x[t]'"
limit huge_product 1 'this integer is too large' "'mechanism m \"m\" size A = 1000000000000000, B = A * A * A index t:B input x[t] output y[t] = x[t]'"
limit huge_selection 0 '' "H + 'output y[t,d] = if topk[s](x[s,d] + 0.0 * t, 9000000000000000) then x[t,d] else 0'"
limit long_number 1 'this integer is above 9223372036854775807' "H + 'output y[t,d] = ' + '1' * 10**6"
limit long_fraction 0 '' "H + 'output y[t,d] = 0.' + '1' * 10**6"
limit long_name 1 'a name has at most 100 characters' "H + 'output ' + 'y' * 10**6 + '[t,d] = x[t,d]'"
limit long_parameter 1 'a name has at most 100 characters' "H + 'param ' + 'w' * 10**6 + '[t,d]\noutput y[t,d] = ' + 'w' * 10**6 + '[t,d]'"
limit long_index 1 'a name has at most 100 characters' "H + 'index ' + 'w' * 10**6 + ':T\noutput y[t,d] = sum[' + 'w' * 10**6 + '](x[t,d])'"
limit long_title 0 '' "H.replace('\"m\"', '\"' + 'w' * 10**6 + '\"') + OUT"
limit long_line 1 'long_line.att:5:[0-9]*: error: unknown name .q' "H + 'output y[t,d] = x[t,d]' + ' ' * 16700000 + '+ q'"
limit long_comment 0 '' "'#' * 16000000 + '\n' + H + OUT"
limit lines 1 'does not say what it is' "'\n' * 16000000"
limit nothing 1 'does not say what it is' "''"
limit large_file 1 'larger than 16 MiB' "'#' * 17 * 2**20"
truncate -s 1G "$work/sparse.att"
check sparse 1 'larger than 16 MiB'
truncate -s 15M "$work/zeros.att"
check zeros 1 'a NUL byte'
limit tower 0 '' "H + 'a0[t,d] = x[t,d]\n' + each(20000, 'a{0}[t,d] = a{1}[t,d] * a{1}[t,d]').split('\n', 1)[1] + 'output y[t,d] = a19999[t,d]'"
limit gathers 0 '' "H + 'a0[t,d] = x[t,d]\n' + each(1000, 'a{0}[t,d] = a{1}[(t+1)%4,d] + a{1}[(t+2)%4,d]').split('\n', 1)[1] + 'output y[t,d] = a999[t,d]'"
limit scans 0 '' "H + 'a0[t,d] = x[t,d]\n' + each(3000, 'a{0}[t,d] = a{0}[t-1,d] * 0.5 + a{1}[t,d] from 0').split('\n', 1)[1] + 'output y[t,d] = a2999[t,d]'"

make itself "'mechanism m \"m\" include \"itself.att\"\n' + H[16:] + OUT"
check itself 1 'this is the file itself'
make one "'library a \"a\" include \"two.att\"'"
make two "'library b \"b\" include \"one.att\"'"
make cycle "'mechanism m \"m\" include \"one.att\"\n' + H[16:] + OUT"
check cycle 0 ''
for i in $(seq 0 39); do
    printf 'library a "a" include "chain%d.att"\n' $((i + 1)) >"$work/chain$i.att"
done
make chain "'mechanism m \"m\" include \"chain0.att\"\n' + H[16:] + OUT"
check chain 1 'includes are nested too deeply'
for i in $(seq 0 1999); do
    printf 'library a "a" fn f%d(x) = x\n' "$i" >"$work/many$i.att"
done
make many "'mechanism m \"m\" ' + each(2000, 'include \"many{}.att\"') + H[16:] + OUT"
check many 0 ''
make same "'mechanism m \"m\" ' + 'include \"many0.att\"\n' * 10**5 + H[16:] + OUT"
check same 0 ''

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
