#!/bin/sh
# tests/cli/signals.sh - SIGTERM ends a program that waits for a pipe.
. "${0%/*}/../lib.sh"

ready() {               # ready PROGRAM: $pid is it, and catches SIGTERM (1<<14)
    awk -v name="$1" '/^Name:/ { it = $2 == name }
        /^SigCgt:/ { ready = it && substr($2, 13) ~ /^[4567c-f]/ }
        END { exit !ready }' "/proc/$pid/status" 2>/dev/null
}
# ends NAME CMD...: a program in the background must die of SIGTERM (143).
ends() {
    name=$1
    shift
    "$@" >out 2>err &
    pid=$!
    await $pid ready "$1" || :
    kill -TERM $pid || :
    got=0
    wait $pid || got=$?
    [ $got -eq 143 ] && ok 0 "$name" || ok 1 "$name: exit $got"
}

ral-init -q "$top/share/models/tiny" -o m
mkfifo rows stream
ends 'rollout, rows never come' ral-rollout -q -m m -o out.ral rows
ends 'reward, the stream never comes' ral-reward -q -o out.ral stream
ends 'update, the stream never comes' ral-update -q -m m -o c stream
expect 0 'nothing is left behind' sh -c '! ls -d out.ral* c* 2>/dev/null'
finish
