#!/bin/bash
# laptop.sh makes another machine within this one: Debian 13 with systemd, cgroup v2, a current Docker engine as distributions start it,
# and a user who is nobody special. It is what boots below a folder, in namespaces of its own.
#
#   laptop.sh make ROOT             makes the folder
#   laptop.sh boot ROOT NAME N      boots it, until standard input ends; NAME names its network device, of at most 13 characters, and N, 0 to
#                                   255, its network. Writes the process ID of its systemd to ROOT/pid.
set -euo pipefail

make() {
  local root=$1
  mmdebstrap --quiet --variant=minbase --include="$(
    echo ca-certificates containerd curl dbus-user-session docker-cli docker.io fuse-overlayfs git iproute2 iptables kmod \
      libpam-systemd mmdebstrap openssh-client perl procps rootlesskit runc slirp4netns sudo systemd-sysv uidmap | tr ' ' ,
  )" trixie "$root"
  touch "$root/laptop" # tells that somebody is inside
  cp /etc/resolv.conf "$root/etc/resolv.conf"
  chroot "$root" useradd --create-home me # is no root, and may not use the engine of the machine
  install -D -m 644 /dev/stdin "$root/usr/lib/systemd/user/docker.service" <<'UNIT'
[Service]
Environment=PATH=/usr/share/docker.io/contrib:/usr/sbin:/usr/bin DOCKERD_ROOTLESS_ROOTLESSKIT_NET=slirp4netns
ExecStart=/usr/share/docker.io/contrib/dockerd-rootless.sh
Delegate=yes
KillMode=mixed
UNIT
  mkdir -p "$root/var/lib/systemd/linger" "$root/opt" "$root/noexec"
  touch "$root/var/lib/systemd/linger/me"
  local tool
  for tool in packer terraform; do
    install -m 755 "$(command -v "$tool")" "$root/usr/local/bin/$tool"
  done
}

# rules tells which of this machine's rules let a laptop's packets through, with the word that adds, checks or removes them.
rules() {
  local word=$1 name=$2 net=$3
  iptables -w -t nat "$word" POSTROUTING -s "10.199.$net.0/30" ! -o "$name" -j MASQUERADE
  iptables -w "$word" FORWARD -i "$name" -j ACCEPT
  iptables -w "$word" FORWARD -o "$name" -j ACCEPT
}

boot() {
  local root=$1 name=$2 net=$3
  rm -f "$root/pid"
  ip link add "$name" type veth peer name "${name}-i"
  ip addr add "10.199.$net.1/30" dev "$name"
  ip link set "$name" up
  rules -I "$name" "$net"
  sysctl -qw net.ipv4.ip_forward=1
  (
    until [ -e "$root/pid" ]; do sleep 0.05; done
    ip link set "${name}-i" netns "$(cat "$root/pid")"
  ) &
  unshare --mount --pid --fork --kill-child=KILL --uts --ipc --cgroup --net "$0" inside "$root" "$name" "$net" </dev/null &
  cat >/dev/null       # until whoever wants it is gone, dead or alive
  exec >/dev/null 2>&1 # nobody may read it any more
  kill -KILL "$!"
  wait "$!" || true
  rules -D "$name" "$net" || true
  ip link del "$name" 2>/dev/null || true
}

inside() {
  local root=$1 name=$2 net=$3 pid node type major minor
  read -r pid _ </proc/self/stat # as seen from outside
  echo "$pid" >"$root/pid.new"
  mv "$root/pid.new" "$root/pid"
  until ip link show "${name}-i" >/dev/null 2>&1; do sleep 0.05; done
  mount --make-rprivate /
  mount --bind "$root" "$root"
  mount --bind /opt "$root/opt" # where this machine may have a mirror of Terraform's providers
  mount -o remount,bind,ro "$root/opt"
  mount -t proc proc "$root/proc"
  mount -t sysfs sysfs "$root/sys"
  mount -t tmpfs tmpfs "$root/run"
  mount -t tmpfs tmpfs "$root/tmp"
  mount -t tmpfs -o noexec,size=64m tmpfs "$root/noexec" # a folder for temporary files as the careful have it
  mount -t tmpfs -o mode=755 tmpfs "$root/dev"
  mkdir "$root/dev/net" "$root/dev/pts" "$root/dev/shm" "$root/old"
  while read -r node type major minor; do
    mknod -m 666 "$root/dev/$node" "$type" "$major" "$minor"
  done <<'NODES'
null c 1 3
zero c 1 5
full c 1 7
random c 1 8
urandom c 1 9
tty c 5 0
fuse c 10 229
net/tun c 10 200
NODES
  mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
  ln -s pts/ptmx "$root/dev/ptmx"
  ln -s /proc/self/fd "$root/dev/fd"
  cd "$root"
  pivot_root . old
  cd /
  umount -l /old
  rmdir /old
  mount --make-rshared /
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  hostname laptop
  ip link set lo up
  ip addr add "10.199.$net.2/30" dev "${name}-i"
  ip link set "${name}-i" up
  ip route add default via "10.199.$net.1"
  sysctl -qw net.ipv4.ip_forward=1
  export container=laptop
  exec /lib/systemd/systemd --log-target=console --show-status=false >/var/log/init.log 2>&1 </dev/null
}

"$@"
