#!/usr/bin/env bash
# provision.sh STAGE turns a Debian machine into what Ingot runs. Root only; running a stage twice changes nothing.
#
#   base   what the service needs and what changes rarely
#   app    builds, installs and starts the service
#   seal   removes keys, identity and traces before the disk becomes an image; the last thing a machine does
#
# The head of STAGE/STAGE.sh names the environment variables that the stage reads.
set -euo pipefail

main() {
  local here
  here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
  # shellcheck source=provision/lib.sh
  source "$here/lib.sh"

  [[ $# -eq 1 ]] || die "usage: provision.sh base|app|seal"
  case $1 in
    base | app | seal) ;;
    *) die "unknown stage \"$1\": want base, app or seal" ;;
  esac
  [[ $EUID -eq 0 ]] || die "must run as root: try sudo"

  umask 022
  export LC_ALL=C
  cd /
  "$here/$1/$1.sh"
  exit # the seal removes this very file, so nothing after this line may be read
}

main "$@"
