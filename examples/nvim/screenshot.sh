#!/bin/sh
# Takes the picture of docs/neovim.md: the plugin in a terminal while an answer streams in.
#
#   examples/nvim/screenshot.sh [docs/images/neovim.png]
#
# Nothing in it is drawn: Neovim in an xterm on a virtual screen, with the plugin of this
# repository. The answer comes from a scripted server, word by word. Needs nvim, xterm, Xvfb,
# ImageMagick, lua5.4 with lua-socket and lua-cjson, and the module built for LuaJIT.

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
picture=${1:-$root/docs/images/neovim.png}
missing=
for tool in nvim xterm Xvfb import lua5.4; do
  command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"
done
if [ -n "$missing" ]; then
  echo "screenshot: missing:$missing" >&2
  exit 77
fi

folder=$(mktemp -d) || exit 1
screen_pid='' terminal_pid='' server_pid=''
clean_up() {
  for pid in $terminal_pid $server_pid $screen_pid; do
    kill "$pid" 2>/dev/null
  done
  wait
  rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

# wait_for <seconds> <command...>
wait_for() {
  tries=$(($1 * 20))
  shift
  until "$@" >/dev/null 2>&1; do
    tries=$((tries - 1))
    if [ $tries -le 0 ]; then
      echo "screenshot: waited too long for: $*" >&2
      exit 1
    fi
    sleep 0.05
  done
}

(cd "$root" && LUA_PATH='./?.lua;;' exec lua5.4 "$here/screenshot_server.lua" "$folder/url") &
server_pid=$!
wait_for 10 test -s "$folder/url"

# Xvfb picks a free number and writes it down when it is ready.
Xvfb -displayfd 3 -screen 0 1280x860x24 -nolisten tcp >/dev/null 2>&1 3>"$folder/display" &
screen_pid=$!
wait_for 10 test -s "$folder/display"
DISPLAY=:$(cat "$folder/display")
export DISPLAY

cat >"$folder/start.sh" <<END
cd '$root'
unset LUA_PATH LUA_CPATH
export HOME='$folder' OPPER_BASE_URL='$(cat "$folder/url")' OPPER_API_KEY=
exec nvim -i NONE -n -u '$here/screenshot_init.lua' --cmd "let &rtp = '$root,' . &rtp"
END
OPPER_READY="$folder/ready" LC_ALL=C.UTF-8 xterm -geometry 128x40+0+0 -b 12 -bw 0 +sb \
  -fa "DejaVu Sans Mono" -fs 11 -bg '#1b1f27' -fg '#d5d9e0' -title Neovim \
  -xrm 'xterm*cursorBlink: false' -e sh "$folder/start.sh" &
terminal_pid=$!
wait_for 20 test -e "$folder/ready"
sleep 0.3

# The terminal alone, without the empty screen around it; few colours make a small file.
mkdir -p "$(dirname "$picture")"
import -window root -trim +repage -strip +dither -colors 128 "png8:$folder/picture.png" || exit 1
mv "$folder/picture.png" "$picture"
