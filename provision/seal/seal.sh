#!/usr/bin/env bash
# Stage seal: removes what must not be in an image, then checks that it is gone. It takes away the key of the very SSH session
# that runs it, so it is the last thing to do before the machine stops.
#
# Reads: CACHE (optional; the app stage's build cache, removed)
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=provision/lib.sh
source "$here/../lib.sh"

readonly histories=(.bash_history .zsh_history .python_history .lesshst .viminfo .wget-hsts)

main() {
  local homes
  mapfile -t homes < <(getent passwd | cut -d: -f6 | sort -u)

  # First what writes: cloud-init, the CodeDeploy agent and apt.
  if command -v cloud-init >/dev/null; then
    cloud-init clean --logs
  fi
  if systemd_runs && [[ -f /etc/systemd/system/codedeploy-agent.service ]]; then
    systemctl stop codedeploy-agent.service
  fi
  apt-get clean
  rm -rf /var/lib/apt/lists/*

  remove_keys
  remove_identity
  remove_logs
  empty /tmp /var/tmp
  check
  size
}

# size says how large what will be the image is, as far as somebody decided on it.
size() {
  local packages kilobytes own
  read -r packages kilobytes < <(dpkg-query -W -f '${Installed-Size}\n' | awk '{ sum += $1 } END { print NR, sum }')
  own=$(du -skxc /opt /usr/local | awk 'END { print $1 }')
  printf 'provision: the image holds %d packages of %d MB, and %d MB in /opt and /usr/local\n' "$packages" $((kilobytes / 1024)) $((own / 1024))
}

# keys prints every file that lets somebody log in, and the machine's own keys.
keys() {
  local home
  for home in "${homes[@]}"; do
    present "$home"/.ssh/authorized_keys{,2} "$home"/.ssh/id_*
  done
  present /etc/ssh/ssh_host_*
}

# traces prints what people and tools left in home folders, and what the CodeDeploy agent knows of this machine.
traces() {
  local home
  for home in "${homes[@]}"; do
    present "${histories[@]/#/$home/}" "$home/.ssh/known_hosts"
  done
  present /root/.cache /root/.config/go /root/go ${CACHE:+"$CACHE"}
  present /opt/codedeploy-agent/{deployment-root,state,.version}
}

remove_keys() {
  local file
  { keys && traces; } | while IFS= read -r file; do
    rm -rf -- "$file"
  done
}

# An empty machine-id is filled at the next boot; a missing one would make that boot a "first boot", which resets units to presets.
remove_identity() {
  : >/etc/machine-id
  [[ -L /var/lib/dbus/machine-id ]] || rm -f /var/lib/dbus/machine-id
  rm -f /var/lib/systemd/random-seed /var/lib/systemd/credential.secret
}

remove_logs() {
  # From here on, the journal is kept in memory only.
  if systemd_runs; then
    journalctl --relinquish-var
  fi
  find /var/log -type f -delete
  find /var/log/journal -mindepth 1 -delete 2>/dev/null || true
}

empty() { find "$@" -xdev -mindepth 1 -delete; }

# present prints those of the paths that exist.
present() {
  local path
  for path in "$@"; do
    if [[ -e $path || -L $path ]]; then
      printf '%s\n' "$path"
    fi
  done
}

# check looks again, at everything, and fails naming what is left.
check() {
  local left
  left=$(
    keys
    traces
    present /var/lib/systemd/random-seed /var/lib/systemd/credential.secret /var/lib/cloud/instance
    find /etc/machine-id -size +0
    find /var/log /var/lib/apt/lists /var/cache/apt/archives -type f ! -name lock
    find /tmp /var/tmp -xdev -mindepth 1
  )
  [[ -z $left ]] || die "not fit for an image; still there:"$'\n'"$left"
}

main "$@"
