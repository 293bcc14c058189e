# Sourced by run.sh and coverage.sh: what the fuzzer begins with.

# corpus FOLDER: every spec, every rejected spec, and the code blocks of the language's page, each with a head
corpus() {
    local file
    mkdir -p "$1"
    find specs tests/bad tests/fuzz -name '*.att' | while read -r file; do
        cp "$file" "$1/$(echo "$file" | tr / _)"
    done
    awk -v folder="$1" '
        /^```/ { inside = !inside; number += inside; first = inside; next }
        inside {
            file = folder "/language_" number ".att"
            if (first && $1 !~ /^(mechanism|model|optimizer|library|#)/) print "mechanism m \"from the page\" size T = 4 index t:T s:T b:T h:T i:T input x[b,t,s]" >file
            first = 0
            print >file
        }' docs/language.md
}

# dictionary FILE: the words and signs of the grammar, and the names of the language itself
dictionary() {
    { grep -oE '"[a-z:<>=!]+"' grammar/att.l; grep -oE '"[a-z]+", [A-Z_]+, WORD_' grammar/parse.c | grep -oE '"[a-z]+"'
        grep -ohE '"[a-z0-9]{2,}"' compiler/elaborate*.c; } | sort -u >"$1"
}
