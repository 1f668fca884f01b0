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
