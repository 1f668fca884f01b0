#!/usr/bin/env bash
# Kills every process that has all of the given variables in its environment.
#
# usage: KEY=VALUE...
set -uo pipefail

main() {
  local process variable
  for process in /proc/[0-9]*; do
    for variable in "$@"; do
      grep -qzxF -- "$variable" "$process/environ" 2>/dev/null || continue 2
    done
    kill -KILL "${process#/proc/}" 2>/dev/null
  done
  return 0
}

main "$@"
