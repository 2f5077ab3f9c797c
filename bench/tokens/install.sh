#!/bin/sh
# Installs the tokenizer that the estimate is measured against below build/,
# unless what is installed is already what the lock file says.
set -eu
cd "$(dirname "$0")"
target=../../build/bench/tokens/npm

# npm leaves this file behind when an installation is complete.
installed=$target/node_modules/.package-lock.json
if [ -e "$installed" ] && [ ! package-lock.json -nt "$installed" ]; then
  exit 0
fi
for program in node npm; do
  if ! command -v "$program" >/dev/null 2>&1; then
    echo "bench/tokens: $program is missing" >&2
    exit 1
  fi
done
mkdir -p "$target"
cp package.json package-lock.json "$target"
cd "$target"
npm ci --ignore-scripts --no-audit --no-fund
# It may carry the time at which the package was made.
touch node_modules/.package-lock.json
