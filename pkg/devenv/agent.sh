#!/usr/bin/env bash
# Runs in the development machine for as long as its source is watched, so that a save costs no new session with the engine: each
# request brings the files up to date and runs the app stage.
#
# Request: a line "RELEASE REMOVE ARCHIVE", then REMOVE bytes of names to remove, each ended by NUL, then ARCHIVE bytes of a tar.
# Answer:  a line "STATUS BYTES", then BYTES of what the stage wrote. STATUS 255 means that the files are not up to date.
#
# It begins with an answer that names the files that an app stage has installed here before, as they are called below FOLDER.
#
# Reads: FOLDER  where the files go; emptied first
#        IMAGE   what the machine was made of
#        what the app stage reads, but RELEASE
set -euo pipefail
export LC_ALL=C # lengths count bytes

readonly tree=provision/app/root # what the app stage installs

main() {
  local release remove archive status output
  mkdir -p -- "$FOLDER/$tree"
  cd -- "$FOLDER"
  answer 0 "$(find "$tree" -type f -o -type l)"
  find . -mindepth 1 -delete
  fasten_go &>/dev/null &
  # A machine that boots answers before its systemd does.
  until [[ -S /run/systemd/private ]]; do
    sleep 0.05
  done
  while read -r release remove archive; do
    status=0
    if output=$(update "$remove" "$archive" 2>&1); then
      output=$(RELEASE=$release provision/provision.sh app 2>&1 </dev/null) || status=$?
    else
      status=255
    fi
    answer "$status" "$output"
  done
}

# answer STATUS OUTPUT
answer() { printf '%d %d\n%s' "$1" "${#2}" "$2"; }

# update REMOVE ARCHIVE reads the rest of a request. Folders that became empty go too: one of them may be a file by now.
# What is unpacked is as old as now, not as the archive says: Go tells by a file's time and size whether its imports changed.
update() {
  if [[ $1 -gt 0 ]]; then
    head -c "$1" | xargs -0 rm -rf -- && find . -mindepth 1 -type d -empty -delete || return
  fi
  if [[ $2 -gt 0 ]]; then
    head -c "$2" | tar -x -m -f - || return
  fi
}

# fasten_go lets Go read its own source from a copy in CACHE. A build reads all of it that the service imports, thousands of files,
# which takes longer than the build itself where the machine's disk is a program of its host's, as with fuse-overlayfs.
fasten_go() {
  [[ $(stat --file-system --format=%T /) == fuse* ]] || return 0
  local source copy=$CACHE/go-source.$IMAGE
  source=$(readlink -f "$(go env GOROOT)/src")
  if [[ ! -d $copy ]]; then
    rm -rf -- "$CACHE"/go-source.*
    cp -a -- "$source" "$copy.new" && mv -- "$copy.new" "$copy"
  fi
  mountpoint --quiet "$source" || mount --bind "$copy" "$source"
}

main "$@"
