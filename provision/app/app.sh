#!/usr/bin/env bash
# Stage app: builds the service from source, installs and starts it, and with it every unit below root/etc/systemd/system that has an
# [Install] section. A build that fails leaves what runs as it is.
#
# The Debian packages that the file build-packages beside this script names, one a line, are there for the build. Where CACHE is not set,
# as in a bake, they are removed again before the service starts, with all that they brought.
#
# Reads: RELEASE  name of the release, which the service answers in X-Release
#        PORT     where the service listens; 0 for a worker, which listens nowhere
#        HEALTH   path that answers 200 once the service can serve
#        SOURCE   folder with the service's source: a Go module, or anything with an executable named build, which is run there and
#                 writes what is to be /opt/app into the folder OUT: bin/service, which app.service starts, and what that needs. It finds
#                 SOURCE, RELEASE, and CACHE, a folder that is kept between runs
#        PACKAGE  (optional) path of a Go module's main package in SOURCE: ./cmd/hello. Without it, SOURCE itself
#        START_WITHIN  (optional) seconds that the service may take until it serves; without it 30
#        CACHE    (optional) folder for what a build downloads and compiles, kept between runs
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=provision/lib.sh
source "$here/../lib.sh"

readonly app=/opt/app
work='' # removed at the end, whatever happens

main() {
  [[ ${RELEASE:-} =~ ^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$ ]] || die "RELEASE=\"${RELEASE:-}\" is not a name of letters, digits and . _ + -"
  [[ ${PORT:-} =~ ^(0|[1-9][0-9]{0,4})$ && $PORT -le 65535 ]] || die "PORT=\"${PORT:-}\" is not a port"
  local path="^/[A-Za-z0-9/._~%?=&+:@,;!*'()-]*\$"
  [[ ${HEALTH:-} =~ $path ]] || die "HEALTH=\"${HEALTH:-}\" is not a URL path"
  [[ ${START_WITHIN:-30} =~ ^[1-9][0-9]{0,3}$ ]] || die "START_WITHIN=\"$START_WITHIN\" is not a number of seconds up to 9999"
  [[ ${PACKAGE:-.} =~ ^\.(/[A-Za-z0-9._~+-]+)*$ ]] || die "PACKAGE=\"$PACKAGE\" is not a path such as ./cmd/hello"
  if [[ -e ${SOURCE:-}/build && ! -d $SOURCE/build ]]; then
    [[ -x $SOURCE/build ]] || die "SOURCE=\"$SOURCE\" has a build that is not executable: chmod +x it"
  else
    [[ -f ${SOURCE:-}/go.mod ]] || die "SOURCE=\"${SOURCE:-}\" has neither a go.mod nor an executable named build"
    command -v go >/dev/null || die "Go is missing: run provision.sh base first"
  fi

  trap 'rm -rf -- "$work" "$app.new" "$app.old"' EXIT
  local place=${CACHE:-/opt} # on a disk: /tmp may be in memory
  install -d "$place"
  work=$(mktemp -d "$place/.build.XXXXXX")
  install -d "$work/app/bin"
  [[ ! -f $here/build-packages ]] || add_build_packages
  if [[ -f $SOURCE/build ]]; then
    build
  else
    build_go
  fi
  [[ ! -f $work/packages || -n ${CACHE:-} ]] || remove_build_packages
  own_units >"$work/units"
  # For a service that tells systemd when it is ready (Type=notify); no other one takes long to start.
  printf '[Service]\nTimeoutStartSec=%s\n' "${START_WITHIN:-30}" >"$work/start-within"
  printf 'RELEASE="%s"\nPORT="%s"\nHEALTH="%s"\nSTART_WITHIN="%s"\n' "$RELEASE" "$PORT" "$HEALTH" "${START_WITHIN:-30}" >"$work/release"

  local changed
  changed=$(
    install_tree "$here/root"
    install_app
    install_file "$work/start-within" /etc/systemd/system/app.service.d/start-within.conf
    install_file "$work/release" /etc/ingot/release
    install_file "$work/units" /etc/ingot/units
  )
  start "$changed"
}

add_build_packages() {
  local -a wanted
  mapfile -t wanted < <(packages_in "$here/build-packages")
  installed_packages >"$work/packages"
  install_packages "${wanted[@]}" >&2
}

# remove_build_packages removes what was not there before.
remove_build_packages() {
  local -a added
  mapfile -t added < <(installed_packages | comm -13 "$work/packages" -)
  [[ ${#added[@]} -eq 0 ]] || apt-get purge -qq -o Dpkg::Use-Pty=0 "${added[@]}" >&2
}

installed_packages() { dpkg-query -W -f '${Package} ${db:Status-Status}\n' | sed -n 's/ installed$//p' | sort; }

# build has the source build itself.
build() (
  local source cache=${CACHE:-$work/cache}
  source=$(realpath -- "$SOURCE")
  install -d "$cache"
  cd -- "$source"
  SOURCE=$source OUT=$work/app CACHE=$cache ./build </dev/null
  [[ -x $work/app/bin/service ]] || die "build wrote no executable bin/service into the folder OUT"
)

# install_app makes /opt/app what was built, all of it at once, and prints it; silent where it is that already.
install_app() {
  if [[ -d $app && $(modes "$work/app") == "$(modes "$app")" ]] && diff -rq --no-dereference "$work/app" "$app" >/dev/null; then
    return
  fi
  rm -rf -- "$app.new" "$app.old"
  cp -a "$work/app" "$app.new"
  [[ ! -e $app ]] || mv -T "$app" "$app.old"
  mv -T "$app.new" "$app"
  printf '%s\n' "$app"
}

modes() { find "$1" -printf '%P %m\n' | sort; }

# build_go: the same source gives the same bytes everywhere: no paths, no time, no commit in the binary, and not the release.
build_go() (
  local cache=${CACHE:-$work/cache}
  if [[ ! -d $cache/go-build && -d $compiled ]]; then
    install -d "$cache"
    cp -r "$compiled" "$cache/go-build"
  fi
  go_environment "$cache"
  export GOTMPDIR=$work
  cd -- "$SOURCE"
  go build "${go_flags[@]}" -ldflags='-s -w -buildid=' -o "$work/app/bin/service" "${PACKAGE:-.}"
  [[ -x $work/app/bin/service ]] || die "SOURCE=\"$SOURCE\" is not a main package"
)

# start brings what is installed to life, and leaves units alone that already run it.
start() {
  local changed=$1 unit
  local -a units
  mapfile -t units </etc/ingot/units
  for unit in "${units[@]}"; do
    # The link that enabling makes. Asking systemctl takes far longer.
    compgen -G "/etc/systemd/system/*.*/$unit" >/dev/null || systemctl enable --quiet -- "$unit"
  done
  systemd_runs || return 0
  [[ $changed != */etc/systemd/system/* ]] || systemctl daemon-reload
  if [[ -n $changed ]] || ! systemctl is-active --quiet app.service; then
    # A socket cannot be opened anew while its service has it.
    for unit in "${units[@]}"; do
      [[ $unit != *.socket ]] || systemctl stop -- "$unit" "${unit%.socket}.service"
    done
    systemctl restart -- "${units[@]}"
  fi
}

# own_units lists the units of this stage that can be enabled, sorted. A template cannot without an instance: enable that with a link.
own_units() {
  local file name
  for file in "$here"/root/etc/systemd/system/*.{path,service,socket,timer}; do
    name=${file##*/}
    if [[ -f $file && $name != *@.* ]] && grep -q '^\[Install\]' "$file"; then
      printf '%s\n' "$name"
    fi
  done
}

main "$@"
