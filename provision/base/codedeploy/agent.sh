# shellcheck shell=bash
# The CodeDeploy agent, which runs the launch gate's scripts on EC2. Sourced by base.sh, never run.
#
# The tests cannot reach AWS's bucket: they serve a package of the same form, whose agent runs those scripts under the same unit.
# Whether a version of the real agent fits is seen by the first bake and the first launch on AWS.

# As AWS names its packages: the version and the build. latestv2/LATEST_VERSION in the bucket names the newest.
readonly agent_version=2.1.0-9745926189

readonly agent=/opt/codedeploy-agent
readonly agent_files=${BASH_SOURCE[0]%/*}

# agent_package finds out where the package for this machine is (agent_url), and what it must be (agent_digest). AWS documents
# neither signatures nor digests of its packages, so that somebody has to look at one before it is trusted, and records it.
agent_package() {
  local package
  package=codedeploy-agent_${agent_version}_$(dpkg --print-architecture).deb
  agent_digest=$(awk -v package="$package" '$2 == package { print $1 }' "$agent_files/packages.sha256")
  agent_url=$1/releases/$package
  [[ $agent_digest =~ ^[0-9a-f]{64}$ ]] || die "no digest of $package is recorded, and AWS documents none: look at the package, then record it from the root of the repository, and commit that:
  curl -fsSL $agent_url | sha256sum | sed 's/-\$/$package/' >>provision/base/codedeploy/packages.sha256"
}

# install_agent installs the agent's binary alone, under a unit and settings of our own: the package's scripts would start it
# here and now, and on a machine that bakes there is nothing to deploy. It starts with the next boot.
install_agent() {
  if [[ ! -f $agent/package || $(<"$agent/package") != "$agent_digest" ]]; then
    fetch_agent
  fi
  install_tree "$agent_files/root" >/dev/null
  systemctl is-enabled --quiet codedeploy-agent.service 2>/dev/null || systemctl enable --quiet codedeploy-agent.service
}

fetch_agent() (
  work=$(mktemp -d /var/tmp/codedeploy-agent.XXXXXX)
  trap 'rm -rf -- "$work"' EXIT
  chown _apt "$work" # apt downloads as this user, and checks the digest
  /usr/lib/apt/apt-helper -qq download-file "$agent_url" "$work/agent.deb" "SHA256:$agent_digest" \
    || die "cannot fetch the CodeDeploy agent, or it is not the one in provision/base/codedeploy/packages.sha256: $agent_url"
  dpkg-deb --extract "$work/agent.deb" "$work/root"
  [[ $("$work/root$agent/bin/codedeploy-agent" --version) == *" ${agent_version%-*}" ]] || die "$agent_url does not hold version ${agent_version%-*} of the agent"
  install_file "$work/root$agent/bin/codedeploy-agent" "$agent/bin/codedeploy-agent" >/dev/null
  printf '%s\n' "$agent_digest" >"$agent/package"
)
