#!/usr/bin/env bash
# usage: run.sh CMAKE BUILD_DIR SOURCE_DIR LIBDIR CC CXX SANITIZERS
set -euo pipefail
cmake=$1 build=$2 source=$3 libdir=$4 cc=$5 cxx=$6 sanitize=${7:+-fsanitize=$7}
here=$source/tests/install/consumer
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
export PKG_CONFIG_PATH=$prefix/$libdir/pkgconfig
export LD_LIBRARY_PATH=$prefix/$libdir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

"$cmake" --install "$build" --prefix "$work/staged" >"$work/install.log"
mv "$work/staged" "$prefix" # what is installed may be moved

step() { echo "-- $*"; }

# Builds and runs the consumer with the flags pkg-config gives.
by_pkg_config() { # KIND FLAG...
  step "pkg-config, $1"
  # shellcheck disable=SC2046,SC2086
  "$cc" -std=c99 -Wall -Werror $sanitize "$here/main.c" -o "$work/pc-$1" \
    $(pkg-config --cflags pra) "${@:2}"
  "$work/pc-$1"
}

by_cmake() { # KIND OPTION...
  step "CMake, $1"
  "$cmake" -S "$here" -B "$work/cmake-$1" -G Ninja -DCMAKE_C_COMPILER="$cc" \
    --no-warn-unused-cli -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_C_FLAGS="$sanitize" "${@:2}" >"$work/cmake-$1.log"
  "$cmake" --build "$work/cmake-$1" -j 2 --target consumer >>"$work/cmake-$1.log" || {
    cat "$work/cmake-$1.log"
    exit 1
  }
  "$work/cmake-$1/consumer"
}

# PROGRAM must need libpra.so.0, or with "no" must not.
needs_libpra() { # yes|no PROGRAM
  local found=no
  [[ $(ldd "$2") != *libpra.so.0* ]] || found=yes
  [[ $found == "$1" ]] || { echo "$2 needs libpra.so.0: $found, expected $1"; exit 1; }
}

# shellcheck disable=SC2046
by_pkg_config shared $(pkg-config --libs pra)
# The linker prefers the shared library where both are, so name the archive.
# shellcheck disable=SC2046
by_pkg_config static $(pkg-config --static --libs pra | sed 's/-lpra\b/-l:libpra.a/')
needs_libpra yes "$work/pc-shared"
needs_libpra no "$work/pc-static"

by_cmake shared -DCMAKE_PREFIX_PATH="$prefix" -DTARGET=pra::pra
by_cmake static -DCMAKE_PREFIX_PATH="$prefix" -DTARGET=pra::pra_static
needs_libpra yes "$work/cmake-shared/consumer"
needs_libpra no "$work/cmake-static/consumer"
by_cmake subdirectory -DTARGET=pra::pra -DPRA_SOURCE_DIR="$source" -DPRA_SANITIZE="${7:-}"

# The libraries above libpra: whole archives, so that a missing dependency shows.
for module in pra_server pra_stores; do
  pkg-config --exists "$module" || continue
  # shellcheck disable=SC2046
  by_pkg_config "$module" $(pkg-config --libs "$module")
  # shellcheck disable=SC2046
  by_pkg_config "$module-static" -Wl,--whole-archive "-l:lib$module.a" -Wl,--no-whole-archive \
    $(pkg-config --static --libs "$module" | sed -E 's/-l(pra[a-z_]*)/-l:lib\1.a/g')
done

for file in "$prefix"/share/pra/pra{,_arrow}.cdef.h "$prefix"/include/pra{,_arrow}.h; do
  [[ -s $file ]] || { echo "not installed: $file"; exit 1; }
done
