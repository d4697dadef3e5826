#!/bin/sh
# tests/layers.sh - who may include whom, and other rules about the sources.
. "${0%/*}/lib.sh"
cd "$top"
found=$scratch/found

# Layer of each module; a file includes its own module and lower layers.
cat >"$scratch/layers" <<'END'
base 0
conf 1
stream 1
data 1
media 1
draw 1
text 1
nn 1
cpu 2
prompt 2
model 2
rl 2
reward 2
synth 2
ckpt 3
train 3
roll 3
eval 3
job 4
END

none() {                # none NAME: $found must be empty
    if [ -s "$found" ]; then
        ok 1 "$1"
        sed 's/^/# /' "$found"
    else
        ok 0 "$1"
    fi
}

# "lib/rl/pg.c base/err.h" a line
grep -H '^#include "' lib/*/*.[ch] |
    sed 's/:#include "/ /; s/".*//' >"$scratch/includes"

awk 'NR == FNR { layer[$1] = $2; next }
{
    split($1, from, "/"); split($2, to, "/")
    if (!(from[2] in layer))
        print $1 ": module " from[2] " has no layer"
    else if (!(to[1] in layer))
        print $1 ": includes " $2 ", which names no module"
    else if (to[1] != from[2] && layer[to[1]] >= layer[from[2]])
        print $1 ": layer " layer[from[2]] " includes " $2 \
              " of layer " layer[to[1]]
}' "$scratch/layers" "$scratch/includes" >"$found"
none 'a file includes its own module and lower layers only'

while read -r file include; do
    [ -f "lib/$include" ] || echo "$file: no lib/$include"
done <"$scratch/includes" >"$found"
none 'every included file is there'

grep -H '^#include "' cmd/*.c 2>/dev/null |
    grep -vE ':#include "(base|job)/' >"$found" || true
none 'programs include base and job only'

for f in lib/*/*.[ch]; do
    m=${f#lib/}
    s=${f##*/}
    echo "${s%.*} ${m%%/*}"
done | sort -u | cut -d' ' -f1 | uniq -d >"$found"
none 'file names are unique in lib'

# Numbers belong to machines: a host cannot look at a view ...
printf '%s\n' '#include "nn/mat.h"' 'struct ral_mat x;' \
    'size_t f(void); size_t f(void) { return sizeof(LOOK); }' >"$scratch/look.c"
looks() {               # looks WHAT: whether a host may write that
    ${CC:-cc} -std=c11 -Ilib -DLOOK="$1" -fsyntax-only "$scratch/look.c" \
        2>/dev/null
}
{
    looks x.ld || echo 'x.ld: does not compile'
    for what in 'x.at[0]' '*x.at' 'x.at + 1' '(float)x'; do
        ! looks "$what" || echo "$what: compiles"
    done
} >"$found"
none 'a number of a view does not compile'

# ... and these rooms ask for operations instead of doing the work themselves.
# A mem...() of one object, of characters, sizes or structs is not of numbers.
for f in lib/model/*.[ch] lib/train/*.[ch] lib/rl/*.[ch] lib/roll/*.[ch]; do
    [ ! -f "$f" ] || awk -v file="$f" '
    /^#pragma omp/ { print file ":" NR ": " $0 }
    /^#include "cpu\// { print file ":" NR ": " $0 }
    /[*][)] *[(]*[A-Za-z_>.-]*[.]at([^a-z_]|$)/ { print file ":" NR ": " $0 }
    /(^|[^a-z_])mem(cpy|move|set)[(]/ { at = NR; text = "" }
    at { text = text $0; gsub(/  +/, " ", text) }
    at && /;/ {                 # the statement is whole
        size = text
        sub(/.*, */, "", size)
        if (text ~ /[.]at[^a-z_]/ ||
            size ~ /sizeof|[*] *[48][^0-9]/ && size !~ /^sizeof *[(]?[*]?[^*]*;/ &&
            size !~ /sizeof[(](size_t|char|struct [a-z_]*)[)]/)
            print file ":" at ": " text
        at = 0
    }' "$f"
done >"$found"
none 'only machines loop over numbers'

# One name, one function: else gdb, perf and grep cannot tell them apart. In
# these modules it does not hold yet.
statics() {             # statics FILE: names of its functions, one a line
    awk '/^static [^;=(]*$/ { split_type = 1; next }
         /^static [^;=]*\(/ || (split_type && /^[*a-z]/) {
             sub(/\(.*/, ""); sub(/.*[ *]/, ""); print }
         { split_type = 0 }' "$1" | grep -v __attribute__ | sort -u
}
for m in lib/*/; do
    case $m in lib/cpu/) continue ;; esac
    for f in "$m"*.c; do
        statics "$f" | sed "s:^:$m :"
    done | sort | uniq -d
done >"$found"
none 'files of one module share no name of a static function'

# Headers alone, in one call of the compiler.
${CC:-cc} -std=c11 -D_GNU_SOURCE -Ilib $(pkg-config --cflags openblas jansson \
    libcbor libzstd cairo libpcre2-8) -Wall -Wextra -Wno-unused-function -fsyntax-only -x c \
    $(ls lib/*/*.h | grep -v '_body\.h$') >"$found" 2>&1 || true
grep -v '#pragma once in main file' "$found" >"$scratch/h" || true
mv "$scratch/h" "$found"
none 'every header compiles alone'

# The library speaks through its caller; options, log and version are for that.
for f in lib/*/*.c; do
    case $f in
    lib/base/opt.c | lib/base/log.c | lib/job/common.c) ;;
    *) sed 's/"\([^"\\]\|\\.\)*"//g; s:^ *[/*].*::; s://.*::' "$f" |
        grep -nE '\<(printf|puts|putchar|perror|_?exit|abort)\(|\<(stdout|stderr)\>' |
        sed "s:^:$f\::" ;;
    esac
done >"$found"
none 'the library does not print or exit'

grep -nE 'err(->|\.)code' lib/*/*.[ch] cmd/*.c | grep -v '^lib/base/err\.c:' \
    >"$found" || true
none 'a failure is what a function returns, not what it left in err'

grep -nE '\<rc \|' lib/*/*.c cmd/*.c >"$found" || true
none 'failures are not put together bit by bit'

for p in view reward synth; do
    readelf -d "$O/ral-$p" | grep -E 'NEEDED.*(blas|gomp)' | sed "s/^/ral-$p: /"
done >"$found"
none 'programs without arithmetic load no BLAS and no threads'

case $O in
*address* | *thread*) ;;
*)
    [ -f "$O/libral.a" ] || make -s O="$O" "$O/libral.a" >/dev/null
    objdump -t "$O/libral.a" |
        awk '/:     file format/ { file = $1 }
             $0 ~ /[ \t]\.(t?bss|t?data)(\.[A-Za-z_]+)?[ \t]/ &&
             $0 !~ /\.rel\.ro/ && $NF !~ /^\./ && $0 ~ / O / {
                 print file " " $NF }' >"$found"
    none 'the library has no global mutable state'
    ;;
esac
finish
