#!/bin/sh
# The image's own self-check: only it knows what a healthy machine of its release is.
set -u

if ! [ -x /usr/local/bin/ingot-check ]; then
  echo "/usr/local/bin/ingot-check is missing: this image is older than the launch gate, bake a new one" >&2
  exit 1
fi
# It knows how long its release may take to serve, an hour at most, and explains a service that stays down. The limit in appspec.yml is
# the longest that there is.
exec /usr/local/bin/ingot-check
