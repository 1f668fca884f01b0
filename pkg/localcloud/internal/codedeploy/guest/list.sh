#!/usr/bin/env bash
# Prints what a folder holds: d or f and the path within it, each ended by a zero byte. Links to folders are f as well.
#
# usage: FOLDER
set -euo pipefail

main() {
  find "$1" -mindepth 1 \( -type d -printf 'd\0%P\0' -o -printf 'f\0%P\0' \)
}

main "$@"
