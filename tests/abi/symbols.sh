#!/usr/bin/env bash
# usage: symbols.sh MAP SHARED_LIBRARY STATIC_LIBRARY HEADER...
# What the headers declare, what the version script lists and what the shared
# library exports must be the same names, and no other function of the static
# library may have default visibility.
set -euo pipefail
export LC_ALL=C
map=$1 shared=$2 static=$3
headers=("${@:4}")
failed=0

# Functions declared: the name before the first parenthesis after PRA_API.
declared=$(sed '/^#/d' "${headers[@]}" | tr '\n' ' ' | grep -o 'PRA_API [^;(]*(' |
  grep -o 'pra_[a-z0-9_]*($' | tr -d '(' | sort)
listed=$(sed -n 's/^ *\(pra_[a-z0-9_]*\);$/\1/p' "$map" | sort)
exported=$(nm -D --defined-only "$shared" | awk '$2 != "A" {print $3}' | sed 's/@.*//' | sort)
visible=$(readelf -sW "$static" |
  awk '$5 == "GLOBAL" && $6 == "DEFAULT" && $7 != "UND" && $4 == "FUNC" {print $8}' | sort -u)

compare() { # WHAT_A LIST_A WHAT_B LIST_B: every name of A must be in B
  local only
  only=$(comm -23 <(echo "$2") <(echo "$4"))
  [[ -n $only ]] || return 0
  printf '%s, but not %s:\n%s\n' "$1" "$3" "$only"
  failed=1
}

compare "declared in ${headers[*]}" "$declared" "listed in $map" "$listed"
compare "listed in $map" "$listed" "declared in ${headers[*]}" "$declared"
compare "exported by $shared" "$exported" "listed in $map" "$listed"
compare "listed in $map" "$listed" "exported by $shared" "$exported"
compare "of default visibility in $static" "$visible" "listed in $map" "$listed"
exit $failed
