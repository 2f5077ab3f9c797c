#!/bin/sh
# Takes the picture of the README, with the offline server. Needs love and xvfb-run.
#   examples/love/screenshot.sh [docs/images/love.png]
set -e
picture=${1:-docs/images/love.png}
case $picture in
  /*) ;;
  *) picture=$PWD/$picture ;;
esac
cd "$(dirname "$0")/../.."
make LUA=luajit all
saves=$(mktemp -d)
trap 'rm -r "$saves"' EXIT
env -u OPPER_API_KEY -u OPPER_BASE_URL XDG_DATA_HOME="$saves" OPPERCHAT_LOVE_PICTURE="$picture" \
  OPPERCHAT_LOVE_SCRIPT="$PWD/examples/love/screenshot.lua" \
  xvfb-run -a -s "-screen 0 1280x800x24" timeout -k 5 60 love examples/love
ls -l "$picture"
