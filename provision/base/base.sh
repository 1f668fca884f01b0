#!/usr/bin/env bash
# Stage base: what every release needs and what changes rarely, baked once and not per release: the Debian packages that the file
# packages beside this script names, one a line; the files below root/, which mirrors the root file system; and what the executable setup
# beside it does, which runs last, as root, and has to bear being run twice.
#
# The service's Go is Debian's; where the archive go.zip is beside this script, the one in it, which is as Go's module proxies have it; and
# where the file no-go is, there is none.
#
# Reads: FINGERPRINT       (optional) recorded in /etc/ingot/base
#        CODEDEPLOY_AGENT  (optional) URL of the bucket to take the CodeDeploy agent from, AWS's of the region:
#                          https://aws-codedeploy-REGION.s3.REGION.amazonaws.com. Without it the image has no agent
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=provision/lib.sh
source "$here/../lib.sh"
# shellcheck source=provision/base/codedeploy/agent.sh
source "$here/codedeploy/agent.sh"

packages=(ca-certificates)
if [[ -f $here/go.zip ]]; then
  packages+=(unzip)
elif [[ ! -e $here/no-go ]]; then
  packages+=(golang-go)
fi
if [[ -f $here/packages ]]; then
  mapfile -t -O "${#packages[@]}" packages < <(packages_in "$here/packages")
fi

# Compiled here once, so that no release waits for it: what services usually import, with all that it imports itself.
readonly compile=(database/sql html/template log/slog net/http os/signal)

main() {
  [[ ${FINGERPRINT:-} =~ ^[A-Za-z0-9._:-]*$ ]] || die "FINGERPRINT=\"$FINGERPRINT\" is not a fingerprint"
  [[ ${CODEDEPLOY_AGENT:-} =~ ^(https?://[A-Za-z0-9.:/_-]*[A-Za-z0-9])?$ ]] || die "CODEDEPLOY_AGENT=\"$CODEDEPLOY_AGENT\" is not the URL of a bucket"
  if [[ -n ${CODEDEPLOY_AGENT:-} ]]; then
    agent_package "$CODEDEPLOY_AGENT"
    packages+=(unzip) # the agent unpacks with it
  fi

  wait_for_cloud_init
  install_tree "$here/root"
  install_packages "${packages[@]}"
  [[ -z ${CODEDEPLOY_AGENT:-} ]] || install_agent
  [[ ! -f $here/go.zip ]] || install_go
  [[ -e $here/no-go ]] || compile_standard_library
  [[ ! -e $here/setup ]] || run_setup
  record_fingerprint
}

run_setup() (
  [[ -x $here/setup ]] || die "provision/base/setup is not executable: chmod +x it"
  cd -- "$here"
  ./setup
)

# On EC2 the first boot goes on while SSH already answers, and it too writes apt's configuration.
wait_for_cloud_init() {
  command -v cloud-init >/dev/null || return 0
  local status=0
  cloud-init status --wait >/dev/null || status=$?
  # 2 means done, with warnings.
  [[ $status -eq 0 || $status -eq 2 ]] || die "cloud-init did not finish: $(cloud-init status --long 2>&1)"
}

# install_go installs the Go of go.zip, in which everything is below golang.org/toolchain@VERSION, no file is executable and none may be
# called go.mod.
install_go() {
  local go=/usr/local/go sum mod
  sum=$(sha256sum "$here/go.zip")
  [[ ! -f $go/.zip || $(<"$go/.zip") != "${sum%% *}" ]] || return 0
  rm -rf -- "$go" "$go.new"
  unzip -q "$here/go.zip" -d "$go.new"
  mv -T "$go.new"/golang.org/toolchain@* "$go"
  rm -rf -- "$go.new"
  chmod +x "$go"/bin/* "$go"/pkg/tool/*/*
  while IFS= read -r -d '' mod; do
    mv -- "$mod" "${mod%/*}/go.mod"
  done < <(find "$go" -name _go.mod -print0)
  ln -sfT "$go/bin/go" /usr/local/bin/go
  printf '%s\n' "${sum%% *}" >"$go/.zip"
}

compile_standard_library() (
  local cache=${compiled%/*}
  go_environment "$cache"
  if [[ -f $cache/version && $(<"$cache/version") == "$(go version)" ]]; then
    return
  fi
  rm -rf -- "$cache"
  install -d "$cache"
  go build "${go_flags[@]}" "${compile[@]}"
  go version >"$cache/version"
)

record_fingerprint() {
  install -d /etc/ingot
  if [[ ! -f /etc/ingot/base || $(</etc/ingot/base) != "${FINGERPRINT:-}" ]]; then
    printf '%s\n' "${FINGERPRINT:-}" >/etc/ingot/base
  fi
}

main "$@"
