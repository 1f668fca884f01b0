#!/usr/bin/env bash
# Installs files. Reads a verb, a path and an argument of each step, each ended by a zero byte.
#
# usage: CLEANUP LAST FOLDER, the file to note what is installed in, and the one to note the deployment's folder in afterwards
set -euo pipefail

main() {
  local cleanup=$1 last=$2 folder=$3 verb at with
  : >"$cleanup"
  while IFS= read -r -d '' verb && IFS= read -r -d '' at && IFS= read -r -d '' with; do
    case $verb in
      mkdir)
        mkdir -- "$at"
        printf '%s\0' "$at" >>"$cleanup"
        ;;
      copy)
        # Noted first, so that half a file is removed too.
        printf '%s\0' "$at" >>"$cleanup"
        cp --no-dereference --preserve=mode,ownership,timestamps --no-target-directory -- "$with" "$at"
        ;;
      chmod) chmod -- "$with" "$at" ;;
      chown) chown -- "$with" "$at" ;;
    esac
  done
  printf '%s\n' "$folder" >"$last"
}

main "$@"
