#!/usr/bin/env bash
# usage: run.sh WORK_DIR VERSION...
# From a copy of the sources: a rock for each version of Lua, installed into a tree of its own, where an
# example and a spec run with it. LuaJIT takes that of 5.1. The rocks share what they have in common.
set -euo pipefail
work=$1
shift
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
source=$work/source
libs=/usr/lib/$(cc -print-multiarch)/lua

say() { printf '== %s\n' "$*"; }

# The files that a clone has, with what is not committed yet.
copy_source() {
  mkdir -p "$source"
  (cd "$here" && git ls-files -z -co --exclude-standard |
    while IFS= read -r -d '' file; do [[ ! -f $file ]] || printf '%s\0' "$file"; done |
    tar --null -T - -cf -) | tar -xf - -C "$source"
}

build_rock() { # VERSION
  (cd "$source" && luarocks --lua-version="$1" --tree="$work/$1" make --no-doc prom-remote-api-scm-1.rockspec) \
    >"$work/rock-$1.log" 2>&1 || {
    cat "$work/rock-$1.log"
    exit 1
  }
}

# Runs a command with nothing on Lua's paths but the rock, the specs' helpers, and busted.
in_tree() { # VERSION COMMAND...
  local tree=$work/$1 common=/usr/share/lua/$1 specs=$here/tests/lua
  env -i PATH="$PATH" HOME="$work" PRA_ROOT="$here" PRA_LUA_VERSION="$1" PRA_LUA_FACE="${face:-}" \
    PRA_LUA_PROGRAM="${interpreter:-lua$1}" \
    LUA_PATH="$tree/share/lua/$1/?.lua;$tree/share/lua/$1/?/init.lua;$specs/?.lua;$common/?.lua;$common/?/init.lua" \
    LUA_CPATH="$tree/lib/lua/$1/?.so;$work/bits/$1/?.so;$libs/$1/?.so" "${@:2}"
}

try_rock() { # VERSION INTERPRETER FACE
  local interpreter=$2 face=$3 found
  say "rock for $1: $interpreter, $face"
  found=$(in_tree "$1" "$interpreter" -e 'local pra = require "prom_remote_api"
    print(pra.version, pra.face, package.searchpath and package.searchpath("prom_remote_api", package.path) or "")')
  [[ $found == "$version"$'\t'"$face"$'\t'* ]] || { echo "found: $found, wanted: $version $face"; exit 1; }
  (cd "$here/tests/lua" && in_tree "$1" "$interpreter" "$(command -v busted)" --output=plainTerminal write_spec.lua)
  (cd "$here/tests/lua" && in_tree "$1" "$interpreter" "$(command -v busted)" --output=plainTerminal \
    --filter="runs in a plain interpreter" serve_spec.lua)
}

copy_source
version=$(sed -n 's/^project(pra VERSION \([0-9.]*\).*/\1/p' "$source/CMakeLists.txt")

# The rockspec of the release of this version: the same, built from its tag.
release=$work/prom-remote-api-$version-1.rockspec
sed "s/^version = \"scm-1\".*/version = \"$version-1\"/; s/^source = { url = \(.*\) }.*/source = { url = \1, tag = \"v$version\" }/" \
  "$source/prom-remote-api-scm-1.rockspec" >"$release"
grep -q "tag = \"v$version\"" "$release"
luarocks lint "$release"
luarocks lint "$source/prom-remote-api-scm-1.rockspec"

for lua in "$@"; do
  start=$SECONDS
  build_rock "$lua"
  mkdir -p "$work/bits/$lua"
  cc -shared -fPIC "-I/usr/include/lua$lua" "$here/tests/lua/wire_bits.c" -o "$work/bits/$lua/wire_bits.so"
  try_rock "$lua" "lua$lua" swig
  if [[ $lua == 5.1 ]] && command -v luajit >/dev/null; then try_rock 5.1 luajit ffi; fi
  say "rock for $lua works ($((SECONDS - start)) s)"
done
say "rockspec of the release: $release"
