#!/usr/bin/env bash
# usage: build.sh DIRECTORY | --check
# Makes sure that DIRECTORY/prometheus, .../target and .../differ are there, up to date. The first is
# built once for all trees (outside of them), showing progress, and linked to. Exit code 77: there
# is no Go that can build it, which is all that --check looks at.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
out=$1
[[ ! -x /usr/local/go/bin/go ]] || PATH=/usr/local/go/bin:$PATH

wanted=$(sed -n 's/^go //p' go.mod)
# An older Go that may fetch toolchains becomes the right one by this; others fail.
found=$(go env GOVERSION 2>/dev/null || go version 2>/dev/null | cut -d' ' -f3 || true)
found=${found#go}
if [[ $(printf '%s\n' "$wanted" "${found:-0}" | sort -V | head -n 1) != "$wanted" ]]; then
  cat >&2 <<TEXT
peers: building Prometheus takes Go $wanted or later (found: ${found:-none}).
Unpack an archive from https://go.dev/dl/ into /usr/local:
  curl -L https://go.dev/dl/go$wanted.linux-$(dpkg --print-architecture 2>/dev/null || echo amd64).tar.gz | tar -C /usr/local -xz
It is looked for in /usr/local/go/bin, then on the PATH.
TEXT
  exit 77
fi

[[ $out != --check ]] || exit 0

module=github.com/prometheus/prometheus
version=$(sed -n "s|^\(require\)\?[[:space:]]*$module ||p" go.mod)
release=$(sed -E 's/^v0\.([0-9])([0-9]+)\./\1.\2./' <<<"$version") # v0.314.0 is 3.14.0
tags=remove_all_sd,netgo # neither clouds nor the web pages are needed
cache=${XDG_CACHE_HOME:-$HOME/.cache}/prom-remote-api/prometheus-$version-go$found

# One line per hundred packages; downloads as they are.
progress() { # TOTAL
  awk -v total="$1" '/^go: downloading/ { print; fflush(); next }
    /^[a-z0-9.]+(\/[^ ]*)?$/ { if (++n % 100 == 0) { printf "compiled %d of at most %d packages\n", n, total; fflush() }; next }
    { print; fflush() }'
}

if [[ ! -x $cache/prometheus ]]; then
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock 9
fi
if [[ ! -x $cache/prometheus ]]; then
  echo "building Prometheus $version once, with go$found, into $cache (some minutes; 150 MB are downloaded)"
  total=$(go list -deps -tags "$tags" "$module/cmd/prometheus" 2> >(grep -v '^go: finding' >&2) | wc -l)
  go build -v -buildvcs=false -tags "$tags" \
    -ldflags "-s -w -X github.com/prometheus/common/version.Version=$release" \
    -o "$cache/prometheus.new" "$module/cmd/prometheus" 2>&1 | progress "$total"
  mv "$cache/prometheus.new" "$cache/prometheus"
fi >&2

mkdir -p "$out"
ln -sf "$cache/prometheus" "$out/prometheus"
go build -buildvcs=false -o "$out/target" ./target
go test -c -buildvcs=false -o "$out/differ" ./differ
