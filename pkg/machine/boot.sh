# shellcheck shell=sh
# Boots systemd in a user namespace of its own, in which every user is who he is outside. So root in the machine may do to the machine
# what systemd and the sandboxes of services need, and nothing to this host's kernel: what the engine mounts read-only stays so.
# Under an engine whose containers have a user namespace already, root is nobody outside. Where there is none to be had, systemd boots
# without.
read -r _ root _ </proc/self/uid_map
if [ "$root" != 0 ] || ! unshare --user true; then
  exec /sbin/init
fi
outside=$(readlink /proc/self/ns/user)
(
  until [ "$(readlink /proc/1/ns/user)" != "$outside" ]; do sleep 0.01; done
  cat /proc/self/uid_map >/proc/1/uid_map
  cat /proc/self/gid_map >/proc/1/gid_map
) &
exec unshare --user --mount --cgroup /bin/sh -c '
    until grep -q . /proc/self/uid_map && grep -q . /proc/self/gid_map; do sleep 0.01; done
    exec /sbin/init
'
