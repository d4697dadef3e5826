# tests/lib.sh - sourced by shell tests: TAP, a scratch folder, expectations.
set -eu
top=$(cd "${0%/*}" && while [ ! -f Makefile ]; do cd ..; done && pwd)
O=${O:-$top/build/plain}
PATH=$O:$O/tools:$PATH
OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}     # tests share their processors
export PATH OMP_WAIT_POLICY
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM
cd "$scratch"
tests=0 failed=0

ok() {                  # ok STATUS NAME: one TAP line, not ok unless 0
    tests=$((tests + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $tests - $2"
    else
        echo "not ok $tests - $2"
        failed=1
    fi
}

expect() {              # expect STATUS NAME CMD...: output in out, err
    want=$1 name=$2
    shift 2
    got=0
    "$@" >out 2>err || got=$?
    if [ "$got" -eq "$want" ]; then
        ok 0 "$name"
    else
        ok 1 "$name: exit $got, not $want"
        sed 's/^/# /' err | head -n 5
    fi
}

says() {                # says TEXT: the last expect's stderr is one line with it
    if [ "$(wc -l <err)" -eq 1 ] && grep -qF -- "$1" err; then
        ok 0 "says: $1"
    else
        ok 1 "says: $1"
        sed 's/^/# /' err | head -n 5
    fi
}

said() {                # said NAME TEXT: the last expect's stderr has it
    if grep -qF -- "$2" err; then ok 0 "$1"; else ok 1 "$1: $2"; fi
}

absent() {              # absent NAME FILE...: none of them is there
    what=$1 left=
    while shift && [ $# -gt 0 ]; do
        if [ -e "$1" ] || [ -h "$1" ]; then left="$left $1"; fi
    done
    if [ -z "$left" ]; then ok 0 "$what"; else ok 1 "$what:$left"; fi
}

same() {                # same NAME A B: equal files that are not empty
    if [ -s "$2" ] && cmp -s "$2" "$3"; then ok 0 "$1"; else ok 1 "$1"; fi
}

field() {               # field KEY FILE: its values in lines of JSON metrics
    sed -n "s/.*\"$1\":\([^,}]*\).*/\1/p" "$2"
}

holds() {               # holds NAME EXPRESSION: awk finds it true
    if awk "BEGIN { exit !($2) }"; then ok 0 "$1"; else ok 1 "$1: $2"; fi
}

await() {               # await PID CMD...: until CMD holds, or PID has ended
    awaited=$1
    shift
    until "$@"; do
        kill -0 "$awaited" 2>/dev/null || { "$@"; return; }
        sleep 0.02
    done
}

policy() {              # policy DIR: random weights, made from DIR.from
    mkdir "$1.from"
    cp "$top"/share/models/tiny/* "$1.from"
    ral-init -q "$1.from" -o "$1"
}

finish() {              # the plan, last
    echo "1..$tests"
    exit $failed
}
