#!/bin/bash
# coverage.sh [FOLDER]: which lines of the front end its tests and the fuzzer's corpus run. FOLDER: a corpus that a
# fuzzing run left (build/fuzz/corpus). Prints a line a file, the total, and the functions that nothing enters.
# Tests that need machine code are not among them. The scanner and the parser are not counted: what is generated around
# the grammar's actions would hide them.
set -u
cd "$(dirname "$0")/../.." || exit 3
. scripts/setup.sh
. tests/fuzz/corpus.sh
# shellcheck disable=SC2086
install_missing $fuzz_packages
folder=${1:-build/fuzz/corpus}
build coverage >/dev/null || exit 3
out=build/coverage
seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT
corpus "$seeds"
rm -f $out/*.profraw
status=0
objects=
for program in "$out"/test_*; do
    [ -x "$program" ] && [ -f "$program" ] || continue
    objects="$objects -object $program"
    LLVM_PROFILE_FILE=$program.profraw $program >"$program.log" 2>&1 || { echo "failed: $program.log"; status=1; }
done
[ -d "$folder" ] || folder=
LLVM_PROFILE_FILE=$out/fuzz.profraw $out/fuzz_front -runs=0 -max_len=65536 $folder "$seeds" >$out/fuzz.log 2>&1 ||
    { echo "fuzz_front failed: $out/fuzz.log"; status=1; }
llvm-profdata-19 merge -o $out/front.profdata $out/*.profraw || exit 3
files=$(ls grammar/*.c compiler/spec.c compiler/name_table.c compiler/elaborate*.c compiler/diagnostics*.c \
    compiler/prove*.c compiler/graph*.c 2>/dev/null)
# -object adds the tests' copies of the same functions
# shellcheck disable=SC2086
llvm-cov-19 export --summary-only $out/fuzz_front $objects -instr-profile=$out/front.profdata $files 2>/dev/null |
    python3 -c '
import json, os, sys
data = json.load(sys.stdin)["data"][0]
for f in data["files"]:
    s = f["summary"]
    print("%-36s %5d of %5d lines  %6.2f %%   %3d of %3d functions" % (os.path.relpath(f["filename"]), s["lines"]["covered"],
          s["lines"]["count"], s["lines"]["percent"], s["functions"]["covered"], s["functions"]["count"]))
t = data["totals"]
print("%-36s %5d of %5d lines  %6.2f %%   %3d of %3d functions" % ("front end", t["lines"]["covered"], t["lines"]["count"],
      t["lines"]["percent"], t["functions"]["covered"], t["functions"]["count"]))'
echo "functions that nothing enters:"
llvm-cov-19 export $out/fuzz_front $objects -instr-profile=$out/front.profdata $files 2>/dev/null |
    python3 -c '
import json, os, sys
never = {}
for f in json.load(sys.stdin)["data"][0]["functions"]:
    key = (os.path.relpath(f["filenames"][0]), f["name"].split(":")[-1])
    if key[0] in sys.argv[1:]:
        never[key] = never.get(key, 0) + f["count"]
for (file, name), count in sorted(never.items()):
    if count == 0:
        print("  %s: %s" % (file, name))' $files
exit $status
