#!/bin/bash
# Whole-program tests of what goes wrong: one clear line, the documented exit status, nothing half-written.
cd "$(dirname "$0")/.." || exit 3
bin=${ATTNC_BIN:-build/release}
work=$(mktemp -d)
trap 'umount "$work/small" 2>/dev/null; rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0

# check NAME STATUS PATTERN COMMAND...: the exit status, and standard error matches
check() {
    local name=$1 status=$2 pattern=$3
    shift 3
    "$@" >"$work/out" 2>"$work/err" </dev/null
    local got=$?
    if [ $got -eq "$status" ] && grep -qE "$pattern" "$work/err"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $name: exit status $got, wanted $status and /$pattern/ in:"
        head -5 "$work/err"
    fi
}

# holds NAME COMMAND...: the command succeeds
holds() {
    local name=$1
    shift
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED $name"; fi
}

no_leftovers() { [ -z "$(find "$1" -name '*.tmp' 2>/dev/null)" ]; }
all_json_parses() { find "$1" -name '*.json' -print0 | xargs -0 -r -n1 python3 -c 'import json,sys; json.load(open(sys.argv[1]))'; }

printf 'mechanism m "m"\nsize T = 4\nindex t:T\ninput x[t]\noutput y[t] = x[u]\n' >"$work/wrong.att"
check "a wrong spec" 1 'wrong.att:5:[0-9]+: error: ' "$bin/attnc" "$work/wrong.att"
check "a wrong spec in a study" 1 'wrong.att:5:[0-9]+: error: ' "$bin/abl-run" --spec "$work/wrong.att" --out "$work/r0"
check "a missing spec" 1 'No such file' "$bin/attnc" "$work/none.att"
check "a folder for a spec" 1 'error' "$bin/attnc" "$work"
check "an unknown option" 2 'unknown option' "$bin/attnc" --nonsense specs/mha.att
check "no spec" 2 'no spec' "$bin/attnc"
check "an unknown variant" 1 'variant' "$bin/attnc" specs/gqa.att --variant nothing
check "an unknown size" 1 'size or number' "$bin/attnc" run specs/mha.att -D Q=3
check "an unknown ending" 2 '\.so' "$bin/attnc" specs/identity.att -o "$work/x.exe"
check "an unwritable output" 3 'none/x.o' "$bin/attnc" specs/identity.att -o "$work/none/x.o"
check "a library where a mechanism is wanted" 1 'not a mechanism' "$bin/attnc" specs/lib/standard.att
check "an unknown preset" 2 'preset' "$bin/abl-run" --spec specs/mha.att --preset nothing
check "a missing data folder" 3 'cannot read' "$bin/abl-run" --spec specs/identity.att --data "$work/none" --out "$work/r1"
check "an unwritable folder" 3 'cannot write' "$bin/abl-run" --spec specs/identity.att --out /proc/attnc
check "a file in the place of the folder" 3 'cannot write' "$bin/abl-run" --spec specs/identity.att --out "$work/wrong.att"
check "not a number" 2 'whole number' "$bin/abl-run" --spec specs/identity.att --steps ten

# a full disk: a small file system where one may be mounted
mkdir "$work/small"
if mount -t tmpfs -o size=16k tmpfs "$work/small" 2>/dev/null; then
    check "a full disk" 3 'cannot write|could not draw' "$bin/abl-run" --spec specs/identity.att --steps 2 --out "$work/small/r"
    holds "a full disk leaves nothing half-written" no_leftovers "$work/small"
    holds "a full disk leaves whole files" all_json_parses "$work/small"
    check "a full disk for code" 3 'small' "$bin/attnc" specs/mha.att -o "$work/small/x.o"
    holds "a full disk leaves no code" no_leftovers "$work/small"
else
    skipped=$((skipped + 5))
    echo "SKIPPED a full disk: no file system may be mounted here"
fi

# Ctrl-C in the middle of training (a shell's background jobs ignore SIGINT, so Python starts it)
python3 - "$bin/abl-run" "$work/r2" >"$work/out" 2>"$work/err" <<'P'
import signal, subprocess, sys, time
p = subprocess.Popen([sys.argv[1], "--spec", "specs/mha.att", "--steps", "100000", "--log-every", "1000", "--out", sys.argv[2]],
                     stdout=subprocess.PIPE, stderr=sys.stderr, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
p.stdout.readline()
time.sleep(0.5)
caught = next(int(line.split()[1], 16) for line in open(f"/proc/{p.pid}/status") if line.startswith("SigCgt"))
p.send_signal(signal.SIGINT)
p.stdout.read()
if caught >> (signal.SIGINT - 1) & 1 or caught >> (signal.SIGTERM - 1) & 1:
    print("handled")
sys.exit(p.wait())
P
status=$?
holds "no handler can run inside a product of oneDNN" [ ! -s "$work/out" ]
holds "Ctrl-C ends with 130" [ $status -eq 130 ]
holds "Ctrl-C is said" grep -q interrupted "$work/err"
holds "Ctrl-C saves what was done" [ -s "$work/r2/mha/metrics.json" ]
holds "Ctrl-C leaves nothing half-written" no_leftovers "$work/r2"
holds "Ctrl-C leaves whole files" all_json_parses "$work/r2"

echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
