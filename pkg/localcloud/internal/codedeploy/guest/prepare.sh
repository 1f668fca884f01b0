#!/usr/bin/env bash
# Makes the folder for a revision, which is empty afterwards, and the one for instructions.
#
# usage: ARCHIVE INSTRUCTIONS
set -euo pipefail

main() {
  rm -rf -- "$1"
  mkdir -p -- "$1" "$2"
}

main "$@"
