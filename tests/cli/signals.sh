#!/bin/sh
# tests/cli/signals.sh - SIGTERM ends a program that waits for a pipe.
. "${0%/*}/../lib.sh"

# ends NAME CMD...: a program in the background must die of SIGTERM (143).
ends() {
    name=$1
    shift
    "$@" >out 2>err &
    pid=$!
    # Ready once it catches the signal: in SigCgt, SIGTERM is 1<<14.
    until [ -e "/proc/$pid/status" ] &&
        awk '/^SigCgt/ {exit !(substr($2, 13) ~ /^[4567c-f]/)}' "/proc/$pid/status"
    do
        kill -0 $pid 2>/dev/null || break
    done
    kill -TERM $pid
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
