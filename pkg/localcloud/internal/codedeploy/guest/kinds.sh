#!/usr/bin/env bash
# Reads paths, each ended by a zero byte, and prints those that are there: d or f and the path, each ended by a zero byte.
set -euo pipefail

main() {
  local at
  while IFS= read -r -d '' at; do
    if [[ -d $at ]]; then
      printf 'd\0%s\0' "$at"
    elif [[ -e $at || -L $at ]]; then
      printf 'f\0%s\0' "$at"
    fi
  done
}

main "$@"
