# shellcheck shell=bash
# What the stages share. Sourced, never run.

# A command that fails inside $(…) ends the stage too.
shopt -s inherit_errexit

# die MESSAGE… ends the stage.
die() {
  printf 'provision: %s\n' "$*" >&2
  exit 1
}

# systemd_runs tells whether units can be started here: not in a chroot, nor while a container image is made.
systemd_runs() { [[ -d /run/systemd/system ]]; }

# install_file FROM TO gives TO the contents of FROM, atomically, and prints TO; silent where nothing changes.
install_file() {
  local from=$1 to=$2 mode=644
  [[ ! -x $from ]] || mode=755
  if [[ -f $to && ! -L $to ]] && cmp -s "$from" "$to" && [[ $(stat -c %a "$to") == "$mode" ]]; then
    return
  fi
  install -D -m "$mode" "$from" "$to.new"
  mv -fT "$to.new" "$to"
  printf '%s\n' "$to"
}

# install_link FROM TO makes TO the symbolic link that FROM is, atomically, and prints TO; silent where nothing changes.
install_link() {
  local from=$1 to=$2 target
  target=$(readlink -- "$from")
  [[ ! -L $to || $(readlink -- "$to") != "$target" ]] || return 0
  mkdir -p -- "$(dirname -- "$to")"
  ln -sfT -- "$target" "$to.new"
  mv -fT -- "$to.new" "$to"
  printf '%s\n' "$to"
}

# install_tree TREE installs every file and every symbolic link of TREE, which mirrors the root file system, and prints those that changed.
install_tree() {
  local file
  [[ -d $1 ]] || return 0
  while IFS= read -r -d '' file; do
    if [[ -L $1/$file ]]; then
      install_link "$1/$file" "/$file"
    else
      install_file "$1/$file" "/$file"
    fi
  done < <(find "$1" \( -type f -o -type l \) -printf '%P\0' | sort -z)
}

# packages_in FILE lists the packages that FILE names, one a line, comments aside.
packages_in() { sed 's/#.*//' "$1" | tr -s '[:space:]' '\n' | grep . || true; }

# install_packages PACKAGE… installs those of the Debian packages that are not.
install_packages() {
  local missing=() package
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0

  export DEBIAN_FRONTEND=noninteractive
  update_package_lists
  # A machine that dies half-way never becomes an image, so dpkg need not sync every file. A configuration file that is there already
  # is one of root/, and stays.
  apt-get install -qq --no-install-recommends -o Dpkg::Options::=--force-unsafe-io -o Dpkg::Options::=--force-confold \
    -o Dpkg::Use-Pty=0 "${missing[@]}"
}

# apt waits for the lock of the package database (DPkg::Lock::Timeout), but not for that of the lists.
update_package_lists() {
  local attempt
  for attempt in {1..12}; do
    if apt-get update -qq --error-on=any; then
      return
    fi
    printf 'provision: package lists: attempt %d of 12\n' "$attempt" >&2
    sleep 5
  done
  die "cannot fetch the package lists"
}

# compiled is where the base stage leaves the compiled standard library. The app stage copies it into an empty build cache: that
# is most of what the first build takes.
# shellcheck disable=SC2034 # read by the stages
readonly compiled=/var/cache/ingot/go-build

# go_environment CACHE makes builds depend on the source and on the Go version alone, and keeps what they leave in CACHE. A cached
# package is found again only under the same settings, so both stages use these, and go_flags.
go_environment() {
  export GOCACHE=$1/go-build GOMODCACHE=$1/go-mod GOPATH=$1/go
  export GOTOOLCHAIN=local GOWORK=off GOFLAGS='' GOENV=off CGO_ENABLED=0
  unset HOME XDG_CONFIG_HOME # without a home, Go counts nothing in it
}
# shellcheck disable=SC2034 # read by the stages
readonly go_flags=(-trimpath -buildvcs=false)
