#!/bin/sh
# share/install-deps.sh - install with apt what ral is built and tested with.
# Run it as root or as a user of sudo; a second run finds nothing to do.
set -eu

packages='
    gcc libc6-dev make pkgconf
    libopenblas-dev libyaml-dev libpng-dev libcairo2-dev libzstd-dev
    libxxhash-dev libcbor-dev libjansson-dev libpcre2-dev libutf8proc-dev
    libstemmer-dev fonts-dejavu-core
    check perl zstd jq mandoc python3-cbor2 python3-zstandard libsimde-dev
'

if ! command -v apt-get >/dev/null; then
    echo 'install-deps: no apt-get here; install the likes of these by hand:'
    echo "$packages"
    exit 1
fi >&2

missing=
for p in $packages; do
    case $(dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null) in
    ?i*) ;;
    *) missing="$missing $p" ;;
    esac
done
if [ -z "$missing" ]; then
    echo 'install-deps: everything is installed'
    exit 0
fi

if [ "$(id -u)" -eq 0 ]; then
    sudo=
elif command -v sudo >/dev/null; then
    sudo=sudo
else
    echo "install-deps: not root, and no sudo; as root: apt-get install$missing"
    exit 1
fi >&2

# DEBIAN_FRONTEND is given after sudo, which drops the environment.
apt() {
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 "$@"
}

echo "install-deps: installing$missing"
apt update
# shellcheck disable=SC2086 # a list of words
apt install -y --no-install-recommends $missing
echo 'install-deps: done'
