#!/usr/bin/env bash
# Prints the folder of the deployment whose scripts an event runs, and on the lines after it the name and the content of its
# AppSpec file. Prints nothing where there is no such deployment.
#
# usage: FOLDER LAST, the deployment's folder, and the file that names the folder of the last one that was installed, or ""
set -euo pipefail

main() {
  local folder=$1 last=$2 name
  if [[ ! -e $folder/deployment-archive ]]; then
    [[ -n $last && -f $last ]] || return 0
    folder=$(<"$last")
    [[ -e $folder/deployment-archive ]] || return 0
  fi
  printf '%s\n' "$folder"
  for name in appspec.yml appspec.yaml; do
    if [[ -f $folder/deployment-archive/$name ]]; then
      printf '%s\n' "$name"
      cat -- "$folder/deployment-archive/$name"
      return
    fi
  done
}

main "$@"
