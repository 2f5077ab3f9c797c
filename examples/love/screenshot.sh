#!/bin/sh
# Takes the picture of the README: what spec/love_spec.lua sees in the middle of
# an answer. Needs what the spec needs: love, xvfb-run and both builds.
#   examples/love/screenshot.sh [docs/images/love.png]
set -e
picture=${1:-docs/images/love.png}
case $picture in
  /*) ;;
  *) picture=$PWD/$picture ;;
esac
cd "$(dirname "$0")/../.."
make LUA=luajit all
mkdir -p "$(dirname "$picture")"
OPPERCHAT_LOVE_PICTURE=$picture make test SPECS=spec/love_spec.lua FILTER="streams in"
ls -l "$picture"
