#!/bin/sh
# Installs the official npm client for spec/peer_spec.lua and the server for
# spec/aimock_spec.lua, unless what is installed is already what the lock file
# says.
set -eu
cd "$(dirname "$0")"

# npm leaves this file behind when an installation is complete.
installed=node_modules/.package-lock.json
if [ -e "$installed" ] && [ ! package-lock.json -nt "$installed" ]; then
  exit 0
fi
if ! command -v npm >/dev/null 2>&1; then
  echo "spec/peer: npm is missing, the peer and aimock specs will be pending" >&2
  exit 0
fi
npm ci --ignore-scripts --no-audit --no-fund
# It may carry the time at which the package was made.
touch "$installed"
