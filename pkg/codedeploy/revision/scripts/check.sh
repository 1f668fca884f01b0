#!/bin/sh
# The image's own self-check: only it knows what a healthy machine of its release is.
set -u

if ! [ -x /usr/local/bin/ingot-check ]; then
  echo "/usr/local/bin/ingot-check is missing: this image is older than the launch gate, bake a new one" >&2
  exit 1
fi
# Seconds; less than the timeout in appspec.yml, so that a service that stays down is explained.
exec /usr/local/bin/ingot-check 30
