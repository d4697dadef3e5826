#!/bin/sh
# tests/cli/bad_output.sh - outputs that cannot be written; signals
. "${0%/*}/../lib.sh"

ral-synth -q --rows 30 --objects 2 --name x -o data
rows=data/x.jsonl
policy m
ral-rollout -q -m m -n 2 --max-tokens 3 --limit 6 $rows | restream --advantages >s.ral

# --- an output that exists ---
mkdir u
echo mine >u/file
expect 1 '--force on a folder of other things' ral-update -q --force -m m -o u s.ral
says 'u: holds no config.json; --force replaces only'
: >u/config.json
for p in 'ral-update' 'ral-distill -t m'; do
    expect 1 "$p: -o that exists" $p -q -m m -o u s.ral
    says 'u: exists; name another -o or give --force'
    expect 0 "$p: is left as it was" grep -q mine u/file
    expect 0 "$p --force" $p -q --force -m m -o u s.ral
    absent "$p: nothing of the old one" u/file u.*
    expect 0 "$p: a checkpoint" ral-rollout -q -m u -n 1 --max-tokens 1 --limit 1 $rows
    rm -r u
    mkdir u
    echo mine >u/file
    : >u/config.json
done
expect 1 'another fails: no --force can help' ral-update -q --force -m m -o u cut.ral
expect 0 'the old one stays' grep -q mine u/file
absent 'nothing beside it' u.*
rm -r u
echo mine >u
expect 1 'a file' ral-update -q -m m -o u s.ral
says 'u: exists'
expect 1 'a file with --force' ral-update -q --force -m m -o u s.ral
says 'u: is no folder'
expect 1 'a device with --force' ral-update -q --force -m m -o /dev/full s.ral
says '/dev/full: is no folder'
expect 0 'it is still one' test -c /dev/full
expect 1 'init, too' ral-init -q --force m.from -o u
says 'u: is no folder'
expect 0 'the file is as it was' grep -q mine u
rm u
ln -s m link
expect 1 'a link with --force' ral-update -q --force -m m -o link s.ral
says 'link: is no folder'
echo old >out.ral
expect 0 'a stream replaces a file' ral-rollout -q -m m -n 1 --max-tokens 1 \
    --limit 1 -o out.ral $rows
expect 0 'whole' ral-view --check out.ral
expect 1 'a folder for a stream' ral-rollout -q -m m -o data $rows
says 'data: is a folder'
rm out.ral

# --- a full disk ---
for p in "ral-rollout -m m -n 2 --max-tokens 2 $rows" 'ral-reward s.ral' \
    'ral-view s.ral'; do
    expect 1 "${p%% *} >/dev/full" sh -c "$p -q >/dev/full 2>/dev/null ||
        $p >/dev/full"
    said 'says so' 'stdout: cannot write: No space left on device'
done
for p in "ral-rollout -m m -n 2 --max-tokens 2 $rows" 'ral-reward s.ral'; do
    expect 1 "${p%% *} -o /dev/full" $p -q -o /dev/full
    says '/dev/full: cannot write: No space left on device'
done
expect 0 'a pipe as -o' sh -c 'ral-reward -q s.ral -o /dev/stdout |
    ral-view --check'
# A limit on the size of files stands for the disk; the signal is ignored.
small() {               # small BLOCKS CMD...
    n=$1
    shift
    (trap '' XFSZ; ulimit -f "$n"; exec "$@")
}
expect 1 'no room for a stream' small 2 ral-rollout -q -m m -n 8 \
    --max-tokens 4 -o out.ral $rows
says 'out.ral: cannot write: File too large'
expect 1 'for weights' small 100 ral-update -q -m m -o u s.ral
said 'says so' 'File too large'
expect 1 'for moments' small 6000 ral-update -q -m m -o u s.ral
said 'says so' 'File too large'
expect 1 'for metrics' ral-update -q -m m -o u --log /dev/full s.ral
says '/dev/full: cannot write'
expect 1 'no such folder for metrics' ral-update -q -m m -o u --log no/log s.ral
says 'no/log: cannot open'
expect 1 'no room in init' small 100 ral-init -q m.from -o u
expect 1 'no room for a spool' env TMPDIR=/nonexistent sh -c \
    "ral-rollout -q -m m -o out.ral <$rows"
says '/nonexistent/ral-'
absent 'nothing is left' out.ral* u u.*

# --- a reader that closes early ---
early() {               # early NAME CMD: quiet, and dead of SIGPIPE
    expect 0 "$1" sh -c "{ $2; echo \$? >status; } | head -c 100 >/dev/null"
    expect 0 "$1: SIGPIPE" grep -qx 141 status
    holds "$1: quiet" "$(wc -c <err) == 0"
}
early 'rollout' "ral-rollout -q -m m -n 8 --max-tokens 16 $rows"
# More than a pipe holds, so that the early end cannot be missed.
ral-rollout -q -m m -n 8 --max-tokens 16 $rows >long.ral
holds 'long enough' "$(wc -c <long.ral) > 131072"
early 'view' 'ral-view --full long.ral'
early 'reward' 'ral-reward -q long.ral'

# --- SIGTERM and SIGINT ---
filled() {              # filled FILE: it, or what the pattern finds, has bytes
    cat $1 2>/dev/null | grep -q ''
}
# kill_when NAME SIGNAL FILE CMD...: once FILE holds something
kill_when() {
    what=$1 sig=$2 file=$3
    shift 3
    # A shell without job control lets background jobs ignore SIGINT.
    /usr/bin/env --default-signal=INT,TERM "$@" >out 2>err &
    pid=$!
    await $pid filled "$file" || :
    kill -"$sig" $pid || :
    got=0
    wait $pid 2>/dev/null || got=$?
    case $sig in INT) want=130 ;; *) want=143 ;; esac
    holds "$what: dies of SIG$sig" "$got == $want"
}
rm -f log
kill_when 'update' TERM log ral-update -q -s update.num_iterations=100000 \
    --log log -m m -o u s.ral
absent 'update: nothing is left' u u.*
rm -f log
kill_when 'SFT' INT log ral-update -q --sft --steps 100000 --log log -m m -o u $rows
absent 'SFT: nothing is left' u u.*
rm -f log
kill_when 'distill' TERM log ral-distill -q -s distill.num_iterations=100000 \
    --log log -t m -m m -o u s.ral
absent 'distill: nothing is left' u u.*
mkdir here
kill_when 'rollout' INT 'here/out.ral.tmp.*' ral-rollout -q -m m -n 512 \
    --max-tokens 2000 -o here/out.ral $rows
absent 'rollout: nothing is left' here/*
finish
