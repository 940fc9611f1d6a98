#!/usr/bin/env bash
# usage: run.sh [test]
# Makes an empty Debian 12 (minbase: no compiler, no python, no git) below build/fresh,
# clones HEAD into it, and does there what a newcomer does: ./dev serve until it answers;
# with "test" also ./dev test. Needs root, debootstrap and git. The base system is kept as
# an archive; build/fresh can be removed at any time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
((EUID == 0)) || { echo "fresh: needs root, for chroot"; exit 1; }
base=build/fresh/base.tar root=$PWD/build/fresh/root
# The mirror that this machine uses, or debootstrap's own choice.
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' 'Component: main' \
  2>/dev/null | sed -n 1p)}

if [[ ! -f $base ]]; then
  mkdir -p build/fresh
  debootstrap --variant=minbase bookworm build/fresh/bootstrap ${mirror:+"$mirror"}
  tar -C build/fresh/bootstrap --numeric-owner -cf "$base.new" .
  mv "$base.new" "$base"
  rm -rf --one-file-system build/fresh/bootstrap
fi

rm -rf --one-file-system "$root"
mkdir -p "$root"
tar -C "$root" --numeric-owner -xpf "$base"

# How this machine reaches the network is not part of the experiment.
for path in /etc/resolv.conf /etc/pip.conf /etc/ssl/certs/ca-certificates.crt \
  /usr/local/share/ca-certificates /etc/apt/sources.list /etc/apt/sources.list.d; do
  [[ -e $path ]] || continue
  rm -rf "${root:?}$path"
  mkdir -p "$root${path%/*}"
  cp -rL "$path" "$root$path"
done

git clone -q --no-local . "$root/src"
cp tests/fresh/inside.sh "$root/inside.sh"
pass=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8)
for name in http_proxy https_proxy no_proxy PIP_INDEX_URL JOBS; do
  [[ -z ${!name:-} ]] || pass+=("$name=${!name}")
done
# Mounts and processes of a namespace of their own: nothing is left behind.
exec unshare --mount --pid --fork --kill-child env -i "${pass[@]}" \
  sh -c 'mount -t proc proc "$1/proc" && exec chroot "$1" bash /inside.sh "$2"' \
  sh "$root" "${1:-}" </dev/null
