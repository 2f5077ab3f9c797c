#!/bin/sh
# Takes a picture of the command in a terminal:
#
#   examples/command/screenshot.sh docs/images/command.png
#
# Nothing in it is drawn: the lines are typed into a shell in an xterm on a virtual screen, and the
# answers come from the offline server. Needs tmux, xterm, Xvfb, ImageMagick, lua5.4 with
# lua-socket and lua-cjson, and the module built for it.

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
picture=${1:-$root/docs/images/command.png}
missing=
for tool in tmux xterm Xvfb import lua5.4; do
  command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"
done
if [ -n "$missing" ]; then
  echo "screenshot: missing:$missing" >&2
  exit 77
fi

folder=$(mktemp -d) || exit 1
screen_pid='' terminal_pid='' server_pid=''
tmux() {
  TMUX='' TMUX_TMPDIR="$folder" command tmux -L picture -f "$folder/tmux.conf" "$@"
}
clean_up() {
  tmux kill-server 2>/dev/null
  exec 4>&-
  for pid in $terminal_pid $server_pid $screen_pid; do
    kill "$pid" 2>/dev/null
  done
  wait
  rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

# wait_for <command...>
wait_for() {
  tries=400
  until "$@" >/dev/null 2>&1; do
    tries=$((tries - 1))
    if [ $tries -le 0 ]; then
      echo "screenshot: waited too long for: $*" >&2
      exit 1
    fi
    sleep 0.05
  done
}

# The server runs as long as its standard input is open.
mkfifo "$folder/open"
(cd "$root" && exec lua5.4 examples/offline_server.lua --port 18471 <"$folder/open" \
  >"$folder/server" 2>&1) &
server_pid=$!
exec 4>"$folder/open"
wait_for test -s "$folder/server"

# Xvfb picks a free number and writes it down when it is ready.
Xvfb -displayfd 3 -screen 0 1000x720x24 -nolisten tcp >/dev/null 2>&1 3>"$folder/display" &
screen_pid=$!
wait_for test -s "$folder/display"
DISPLAY=:$(cat "$folder/display")
export DISPLAY

cat >"$folder/tmux.conf" <<END
set -g status off
set -g default-terminal screen-256color
END
mkdir "$folder/bin"
cat >"$folder/bin/opperchat" <<END
#!/bin/sh
exec lua5.4 '$root/bin/opperchat' "\$@"
END
chmod +x "$folder/bin/opperchat"
cat >"$folder/start.sh" <<END
cd '$root/examples'
export HOME='$folder' PATH='$folder/bin':\$PATH OPPER_API_KEY= LC_ALL=C.UTF-8
export OPPER_BASE_URL=http://127.0.0.1:18471/v1 OPPERCHAT_MODEL=openai/gpt-5-mini
unset XDG_DATA_HOME XDG_CONFIG_HOME NO_COLOR
clear
PS1='\$ ' exec sh -i
END
TMUX_TMPDIR="$folder" LC_ALL=C.UTF-8 xterm -geometry 104x20+0+0 -b 14 -bw 0 +sb \
  -fa "DejaVu Sans Mono" -fs 11 -bg '#1b1f27' -fg '#d5d9e0' -title opperchat \
  -xrm 'xterm*cursorBlink: false' -e tmux -L picture -f "$folder/tmux.conf" \
  new-session "sh $folder/start.sh" &
terminal_pid=$!

# shows <text>: whether it is on the screen.
shows() {
  tmux capture-pane -pJ | grep -qF -e "$1"
}

# Whether the prompt of the shell or of the chat waits on the last line.
is_ready() {
  tmux capture-pane -pJ | grep -v '^ *$' | tail -n 1 | grep -q '^[$>] *$'
}

# types <line> <text>: types a line and waits for what it brings.
types() {
  wait_for is_ready
  tmux send-keys -l -- "$1"
  tmux send-keys Enter
  wait_for shows "$2"
}

types 'opperchat --schema "number, due_date, total float" <documents/invoice.pdf' '}'
types 'opperchat -s "You are a concise assistant."' 'Ctrl-D leaves'
types 'What is a coroutine?' 'reached me'
types 'Give me an example.' '(4 messages reached'
types '/usage' 'requests'
types "/quit" "kept as"
types "opperchat --list" "openai/gpt-5-mini         What"
wait_for is_ready
sleep 0.3

# The terminal alone, without the empty screen around it; few colours make a small file.
mkdir -p "$(dirname "$picture")"
import -window root -trim +repage -strip +dither -colors 64 "png8:$folder/command.png" || exit 1
mv "$folder/command.png" "$picture"
