#!/bin/bash
# What becomes of softmax attention with one line changed: for each spec of tests/changes/, at T = 4096, whether its
# forward pass and its forward and backward pass are kernels of tiles, in how many passes, and what it costs; where it
# is no kernel, the schedule's reason. A table in Markdown, for docs/fusion.md.
#
#     tests/bench/changes_table.sh [SPEC...]
cd "$(dirname "$0")/../.." || exit 3
attnc=${ATTNC_BIN:-build/release}/attnc
[ $# -gt 0 ] || set -- tests/changes/*.att

# kernels SPEC OPTION...: `1 (2)`: one kernel of two passes; with `blocks` where steps walk blocks of rows
kernels() {
    "$attnc" "$@" --size=T=4096 --dump=schedule | awk '
        /^ *# kernel:/ { match($0, /[0-9]+ pass/); passes = passes (count++ ? ", " : "") substr($0, RSTART, RLENGTH - 5) }
        /^ *# blocks of rows/ { blocks++ }
        /^# all steps/ { getline; sub(/^# /, ""); split($0, part, ", "); matrix = part[1]; other = part[2] }
        END { printf "%s%s | %s, %s", count ? count " (" passes ")" : "", blocks ? (count ? ", " : "") "blocks" : "", matrix, other }'
}

why() {
    "$attnc" "$1" --backward --size=T=4096 --dump=schedule | sed -nE 's/^ *# blocks of rows [^;]*; no kernel of tiles, since ([^:]*): (.*)/\1: `\2`/p' | head -1
}

echo '| one line changed | kernels (passes), forward | work forward | forward and backward | work | not fused since |'
echo '|---|---|---|---|---|---|'
for spec; do
    name=$(sed -nE 's/^# Softmax attention changed: (.*)\.$/\1/p' "$spec" | head -1)
    printf '| `%s`: %s | %s | %s | %s |\n' "$(basename "$spec" .att)" "$name" "$(kernels "$spec")" "$(kernels "$spec" --backward)" "$(why "$spec")"
done
