#!/usr/bin/env bash
# Removes what the last deployment installed, newest first, and forgets it. Folders that hold anything else stay.
#
# usage: CLEANUP, the file that names it, each name ended by a zero byte
set -euo pipefail

main() {
  local cleanup=$1 names=() i
  [[ -f $cleanup ]] || return 0
  mapfile -d '' -t names <"$cleanup"
  for ((i = ${#names[@]} - 1; i >= 0; i--)); do
    if [[ -d ${names[i]} && ! -L ${names[i]} ]]; then
      rmdir -- "${names[i]}" 2>/dev/null || true
    else
      rm -f -- "${names[i]}"
    fi
  done
  rm -f -- "$cleanup"
}

main "$@"
