"""What the board's plain shell does for a connection: it holds the folder, runs a line in it, and stops what runs."""

from __future__ import annotations

import shlex

READY = "helmsight-ready"

# Asks the noted process to end, and after at most 5 s ends its login with all that it started: a process that another
# one left behind would hold the connection. sshd gives each login a session, the sixth figure of /proc/PID/stat; where
# a server does not, the keeper is in it too, and the noted process alone is ended. By now the number may be another
# process's, in a stranger's login: only what began at the noted tick, the 22nd figure, is ours.
_STOP = r"""
look() {
  l= && read -r l 2>/dev/null <"/proc/$1/stat"
  set -- ${l##*) }
  session=$4 began=${20}
}
ours() { look "$p" && [ -n "$began" ] && [ "$began" = "$noted" ]; }
stop() {
  p= noted= && read -r p noted 2>/dev/null <"$1"
  rm -f "$1"
  look $$ && own=$session
  [ -n "$p" ] && ours || return 0
  its=$session
  kill "$p" 2>/dev/null
  for i in 1 2 3 4 5; do ours || break; sleep 1; done
  ours && kill -9 "$p" 2>/dev/null
  [ "$its" != "$own" ] || return 0
  for f in /proc/[0-9]*; do look "${f#/proc/}" && [ "$session" = "$its" ] && kill -9 "${f#/proc/}" 2>/dev/null; done
}
"""

# Holds the board's folder for as long as the connection is there: when stdin ends or is silent, whether we closed it
# or the cable was pulled, what still runs there is stopped and the folder goes; tar may still write into it for a
# moment. Facts come first, `name value`, a line each. An old busybox has no such `timeout`: there only the end counts.
_KEEPER = r"""
d=$(mktemp -d "${TMPDIR:-/tmp}/helmsight.XXXXXX") || exit 73
gone() {
  trap '' HUP INT TERM PIPE
  stop "$d/pid"
  for i in 1 2 3 4 5; do rm -rf "$d" 2>/dev/null; [ -e "$d" ] || break; sleep 1; done
}
trap 'gone; exit 1' HUP INT TERM PIPE
echo
echo "folder $d"
echo "machine $(uname -m)"
echo "libc $(getconf GNU_LIBC_VERSION 2>/dev/null)"
echo "free_kb $(df -Pk "$d" | tail -n 1 | tr -s ' ' | cut -d ' ' -f 4)"
for f in $(command -v helmsight) ~/.local/bin/helmsight ~/.venv/bin/helmsight; do
  [ -x "$f" ] && { echo "helmsight $f"; break; }
done
limit=
timeout 1 true 2>/dev/null && limit="timeout SILENT"
echo READY
while [ -n "$($limit dd bs=1 count=1 2>/dev/null)" ]; do :; done
gone
exit 0
"""

# What runs writes its own temporary files there too, as ONNX Runtime does, so that they go with the folder. The number
# of the process and the tick at which it began are noted, so that it can be stopped, and no other; it may have ended by
# then, of which nothing is said: the last line of stderr is what it said itself.
_RUN = """cd {folder} && {{ TMPDIR={folder}; export TMPDIR; {command} & p=$!
l=; read -r l 2>/dev/null </proc/$p/stat; set -- ${{l##*) }}; echo $p ${{20}} >pid
wait $p; rc=$?; rm -f pid; exit $rc; }}"""


def keeper(silent_s: int) -> str:
    """The script that greets, and waits for the connection's end or for a silence of `silent_s`."""
    return _STOP + _KEEPER.replace("READY", READY).replace("SILENT", str(silent_s))


def run(folder: str, command: str) -> str:
    """`command`, a line of the shell, in the board's folder; one at a time."""
    return _RUN.format(folder=shlex.quote(folder), command=command)


def stop(folder: str) -> str:
    """End what `run` started."""
    return f"{_STOP}stop {shlex.quote(folder)}/pid"
