#!/bin/sh
# tests/cli/install.sh - an installed tree works from where it was put
. "${0%/*}/../lib.sh"

case $O in *address*) echo '1..0 # SKIP a library for use is built plain'; exit 0 ;; esac

# Not the make that runs this test: its variables would name another O.
unset MAKEFLAGS MAKELEVEL MFLAGS
expect 0 'make install' make -s -C "$top" O="$O" install \
    DESTDIR="$scratch/root" PREFIX=/usr/local
ok "$(wc -l <err)" 'nothing on stderr'
root=$scratch/root/usr/local

for f in "$top"/cmd/ral-*; do
    p=${f##*/}
    [ -e "$f" ] || continue
    [ -x "$root/bin/${p%.c}" ] || echo "$p"
done >missing
ok "$(wc -l <missing)" 'every program is installed'
find "$root" -path "$root/bin" -prune -o -type f ! -perm 644 -print |
    grep -v '/share/ral/' >odd || true
ok "$(wc -l <odd)" 'files are readable and not executable'

cat >use.c <<'END'
#include <stdio.h>
#include <base/version.h>
#include <data/jsonl.h>

int main(void)
{
    json_t *v;

    puts(ral_json_parse(&v, "{}", 2, "text", NULL) == 0 ? RAL_VERSION : "");
    json_decref(v);
    return 0;
}
END
PKG_CONFIG_PATH=$root/lib/pkgconfig
export PKG_CONFIG_PATH
version=$(pkg-config --modversion ral)
expect 0 'a program compiles by pkg-config' sh -c "cc -o use use.c \
    $(pkg-config --define-variable=prefix="$root" --cflags --libs ral)"
expect 0 'it runs' ./use
ok "$([ "$(cat out)" = "$version" ]; echo $?)" 'the versions agree'
finish
