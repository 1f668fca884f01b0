#!/bin/sh
# Turns a Debian root file system that has the machine's packages and files into the machine image. Runs as root inside that root
# file system, once, while nothing else runs there.
set -eu

main() {
  add_login_user
  set_up_units
  forget_identity
  remove_build_leftovers
}

# The user that Debian's images on EC2 log in as: sudo without a password, and no password of its own.
add_login_user() {
  useradd --create-home --shell /bin/bash --uid 1000 --comment Debian --groups adm,sudo admin
  chmod 0750 /etc/sudoers.d
  chmod 0440 /etc/sudoers.d/90-cloud-init-users
}

set_up_units() {
  systemctl enable ssh.service ingot-first-boot.service ingot-user-data.service
  systemctl set-default multi-user.target
  # What a container's kernel, console and clock do not need, and what only costs time on a machine that lives for minutes.
  for unit in \
    apt-daily-upgrade.timer apt-daily.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    console-getty.service getty@tty1.service getty.target \
    dev-hugepages.mount dev-mqueue.mount sys-fs-fuse-connections.mount sys-kernel-config.mount sys-kernel-debug.mount \
    sys-kernel-tracing.mount \
    ldconfig.service sshd-keygen.service systemd-ask-password-console.path systemd-ask-password-wall.path \
    systemd-binfmt.service systemd-creds.socket systemd-firstboot.service systemd-hwdb-update.service \
    systemd-journal-catalog-update.service systemd-journal-flush.service systemd-machine-id-commit.service \
    systemd-modules-load.service systemd-remount-fs.service systemd-sysext.socket systemd-sysusers.service \
    systemd-update-done.service; do
    ln -sf /dev/null "/etc/systemd/system/$unit"
  done
  mkdir -p /etc/systemd/system-generators
  for generator in systemd-ssh-generator systemd-getty-generator systemd-gpt-auto-generator; do
    ln -sf /dev/null "/etc/systemd/system-generators/$generator"
  done
}

# Every machine gets host keys and a machine ID of its own when it boots.
forget_identity() {
  rm -f /etc/ssh/ssh_host_* /var/lib/dbus/machine-id
  : >/etc/machine-id
}

# Docker's Debian image holds settings that a machine has no use for: services that may not start, caches that are always cleaned.
# mmdebstrap leaves the options that it was given.
remove_build_leftovers() {
  rm -f /usr/sbin/policy-rc.d /etc/apt/apt.conf.d/docker-* /etc/dpkg/dpkg.cfg.d/docker-*
  rm -f /etc/apt/apt.conf.d/99mmdebstrap /etc/dpkg/dpkg.cfg.d/99mmdebstrap /etc/apt/sources.list
  rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/journal /var/log/*.log /var/log/apt/*
}

main
