#!/bin/sh
# Takes a picture of the game loop in C:
#
#   examples/embed/screenshot.sh docs/images/embed.png
#
# Nothing in it is drawn: the commands run in an xterm on a virtual screen. Needs
# xterm, Xvfb, ImageMagick, and what `make demo-embed` needs.

root=$(cd "$(dirname "$0")/../.." && pwd)
picture=${1:-$root/docs/images/embed.png}
for tool in xterm Xvfb import; do
  if ! command -v "$tool" >/dev/null 2>&1; then
    echo "screenshot: missing: $tool" >&2
    exit 77
  fi
done

folder=$(mktemp -d) || exit 1
screen_pid='' terminal_pid=''
clean_up() {
  for pid in $terminal_pid $screen_pid; do
    kill "$pid" 2>/dev/null
  done
  wait
  rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

# wait_for <file>: until there is something in it, for a minute.
wait_for() {
  tries=600
  until [ -s "$1" ]; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || exit 1
    sleep 0.1
  done
}

# Built before, so that the picture shows what runs.
make -s -C "$root" demo-embed >"$folder/built" 2>&1 || { cat "$folder/built" >&2; exit 1; }

Xvfb -displayfd 3 -screen 0 1200x720x24 -nolisten tcp >/dev/null 2>&1 3>"$folder/display" &
screen_pid=$!
wait_for "$folder/display"
DISPLAY=:$(cat "$folder/display")
export DISPLAY

cat >"$folder/show.sh" <<END
cd '$root' || exit 1
printf '\$ ls -1 build/lua5.4/static\n'
ls -1 build/lua5.4/static | grep -E '^(libopperchat.a|opperchat.h)\$'
printf '\$ make demo-embed\n'
make -s demo-embed
printf '\$ '
echo done >'$folder/done'
sleep 60
END
LC_ALL=C.UTF-8 xterm -geometry 131x13+0+0 -b 14 -bw 0 +sb -fa "DejaVu Sans Mono" -fs 10 \
  -bg '#1b1f27' -fg '#d5d9e0' -xrm 'xterm*cursorBlink: false' -e sh "$folder/show.sh" &
terminal_pid=$!
wait_for "$folder/done"
sleep 0.5

mkdir -p "$(dirname "$picture")"
import -window root -trim +repage -strip +dither -colors 64 "png8:$folder/embed.png" || exit 1
mv "$folder/embed.png" "$picture"
