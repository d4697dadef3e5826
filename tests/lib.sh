# tests/lib.sh - sourced by shell tests: TAP, a scratch folder, expectations.
set -eu
top=$(cd "${0%/*}" && while [ ! -f Makefile ]; do cd ..; done && pwd)
O=${O:-$top/build/plain}
PATH=$O:$O/tools:$PATH
export PATH
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

finish() {              # the plan, last
    echo "1..$tests"
    exit $failed
}
