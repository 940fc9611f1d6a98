#!/usr/bin/env bash
# Runs in the empty system that run.sh makes; no tools but those of a minimal Debian.
set -euo pipefail
cd /src
say() { printf '#### %s\n' "$*"; }

# A port nobody listens on.
port=9201
while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done

get_status() { # PATH: prints the status line
  exec 3<>"/dev/tcp/127.0.0.1/$port" || return
  printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$1" >&3
  head -n 1 <&3
} 2>/dev/null

say "the verbs"
./dev

say "./dev serve, from nothing"
./dev serve "--web.listen-address=127.0.0.1:$port" &
server=$!
until [[ $(get_status /-/healthy) == *" 200 "* ]]; do
  kill -0 $server || { say "serve ended before it answered"; exit 1; }
  sleep 1
done
say "healthy after $SECONDS s"
kill -TERM $server
wait $server
[[ -s prom.db ]]

say "a second time: no installation, no configuration, no compilation"
second=$(./dev pra --version 2>&1)
echo "$second"
[[ $second != *installing* && $second != *Building* && $second != *Configuring* ]]

if [[ ${1:-} == test ]]; then
  say "./dev test"
  ./dev test
fi
say "done after $SECONDS s"
