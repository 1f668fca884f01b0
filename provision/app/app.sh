#!/usr/bin/env bash
# Stage app: builds the service from source, installs and starts it. A build that fails leaves what runs as it is.
#
# Reads: RELEASE  name of the release, which the service answers in X-Release
#        PORT     where the service listens
#        HEALTH   path that answers 200 once the service can serve
#        SOURCE   folder with the service's Go module; its main package is at the top
#        CACHE    (optional) folder for what Go downloads and compiles, kept between runs
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=provision/lib.sh
source "$here/../lib.sh"

readonly service=/opt/app/bin/service
work='' # removed at the end, whatever happens

main() {
  [[ ${RELEASE:-} =~ ^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$ ]] || die "RELEASE=\"${RELEASE:-}\" is not a name of letters, digits and . _ + -"
  [[ ${PORT:-} =~ ^[1-9][0-9]{0,4}$ && $PORT -le 65535 ]] || die "PORT=\"${PORT:-}\" is not a port"
  [[ ${HEALTH:-} =~ ^/[A-Za-z0-9/._~%?=\&+-]*$ ]] || die "HEALTH=\"${HEALTH:-}\" is not a URL path"
  [[ -f ${SOURCE:-}/go.mod ]] || die "SOURCE=\"${SOURCE:-}\" has no go.mod"
  command -v go >/dev/null || die "Go is missing: run provision.sh base first"

  trap 'rm -rf -- "$work"' EXIT
  local place=${CACHE:-/opt/app} # on a disk: /tmp may be in memory
  install -d "$place"
  work=$(mktemp -d "$place/.build.XXXXXX")

  build
  printf 'RELEASE="%s"\nPORT="%s"\nHEALTH="%s"\n' "$RELEASE" "$PORT" "$HEALTH" >"$work/release"

  local changed
  changed=$(
    install_tree "$here/root"
    install_file "$work/service" "$service"
    install_file "$work/release" /etc/ingot/release
  )
  start "$changed"
}

# The same source gives the same bytes everywhere: no paths, no time, no commit in the binary, and not the release.
build() (
  local cache=${CACHE:-$work/cache}
  if [[ ! -d $cache/go-build && -d $compiled ]]; then
    install -d "$cache"
    cp -r "$compiled" "$cache/go-build"
  fi
  go_environment "$cache"
  export GOTMPDIR=$work
  cd -- "$SOURCE"
  go build "${go_flags[@]}" -ldflags='-s -w -buildid=' -o "$work/service" .
  [[ -x $work/service ]] || die "SOURCE=\"$SOURCE\" is not a main package"
)

# start brings what is installed to life, and leaves a service alone that already runs it.
start() {
  local changed=$1
  # The link that enabling makes. Asking systemctl takes far longer.
  compgen -G '/etc/systemd/system/*.wants/app.service' >/dev/null || systemctl enable --quiet app.service
  systemd_runs || return 0
  [[ $changed != */app.service* ]] || systemctl daemon-reload
  if [[ -n $changed ]] || ! systemctl is-active --quiet app.service; then
    systemctl restart app.service
  fi
}

main "$@"
