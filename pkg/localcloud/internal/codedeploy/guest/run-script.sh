#!/usr/bin/env bash
# Runs a script and exits with its exit code once it has ended and nothing holds its output open any more. From the moment on that
# the script has ended the file STATE/left names the outputs that are still open.
#
# usage: STATE USER FILE, a folder of its own, the user to run it as or "" for root, and the script
set -uo pipefail

main() {
  local state=$1 user=$2 file=$3 stdout stderr code
  local command=("$file")
  if [[ -n $user ]]; then
    # The program is an argument, so that no shell takes its name apart.
    # shellcheck disable=SC2016
    command=(su "$user" -c 'exec "$0"' "$file")
  fi
  rm -rf -- "$state" && mkdir -p -- "$state" && mkfifo -- "$state/stdout" "$state/stderr" || exit
  # Readers of their own: each ends with the last writer, which a program in the background may be.
  cat -- "$state/stdout" &
  stdout=$!
  cat -- "$state/stderr" >&2 &
  stderr=$!
  "${command[@]}" </dev/null >"$state/stdout" 2>"$state/stderr"
  code=$?
  echo STDOUT STDERR >"$state/left"
  wait "$stdout"
  echo STDERR >"$state/left"
  wait "$stderr"
  rm -rf -- "$state"
  return "$code"
}

main "$@"
