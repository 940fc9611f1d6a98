#!/usr/bin/env bash
# usage: test.sh DIRECTORY
# Compares the chunks of the libpra.so in DIRECTORY with those of Prometheus' own packages, over many
# random series. Needs a Go as build.sh does, and a C compiler.
set -euo pipefail
library=$1
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ ! -x /usr/local/go/bin/go ]] || PATH=/usr/local/go/bin:$PATH
export CGO_CFLAGS="-I$PWD/../../core/include" CGO_LDFLAGS="-L$library" LD_LIBRARY_PATH=$library
exec go test -count=1 ./chunks
