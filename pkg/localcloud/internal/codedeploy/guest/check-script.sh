#!/usr/bin/env bash
# Checks that a script can be run, and makes it executable where it is not. Exits with 3 where there is no such file, with 4
# where it cannot be made executable.
#
# usage: FILE
set -euo pipefail

main() {
  [[ -f $1 ]] || exit 3
  [[ -x $1 ]] || chmod +x -- "$1" || exit 4
}

main "$@"
