#!/bin/sh
# Tries the embedded scenarios of the browsers that are installed: a short audit of each, on a screen and
# a session bus of its own. Records in docs/measurements/scenarios.md when each last ran, and how many
# pages it opened. Needs Xvfb, xvfb-run, dbus-daemon and python3.
#
#   sudo tests/scenarios.sh TRACER [SCENARIO…]      all scenarios, or those named
#
# The user `tracer-try`, which is created if needed, runs the browsers; AS=USER names another one.
set -eu
tracer=$(realpath "${1:?give the path of a tracer}")
shift
wanted=" $* "
user=${AS:-tracer-try}
table=$(dirname "$(realpath "$0")")/../docs/measurements/scenarios.md
id "$user" > /dev/null 2>&1 || useradd --create-home "$user"
uid=$(id -u "$user")

# What a login makes: the folder for sockets, with the session bus. tracer finds both.
runtime=/run/user/$uid
made_runtime=
if [ ! -d "$runtime" ]; then
    made_runtime=$runtime
    mkdir -p /run/user
    mkdir -m 700 "$runtime"
    chown "$user" "$runtime"
fi
bus=
if [ ! -S "$runtime/bus" ]; then
    bus=$(su "$user" -c "XDG_RUNTIME_DIR=$runtime dbus-daemon --session --fork --print-pid \
        --address=unix:path=$runtime/bus" < /dev/null)
fi
work=$(mktemp -d)
chmod 755 "$work"
cleanup() {
    [ -z "$bus" ] || kill "$bus" 2> /dev/null || true
    [ -z "$made_runtime" ] || rm -rf "$made_runtime"
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

try() { # scenario, browser, program
    case $wanted in
        *" $1 "* | "  ") ;;
        *) return 0 ;;
    esac
    command -v "$3" > /dev/null || { echo "$1: $3 is not installed" >&2; return 0; }
    # Any user may use the screen. Sandboxes of browsers fail at a file of keys that they cannot read.
    env -u DBUS_SESSION_BUS_ADDRESS \
        xvfb-run --auto-servernum --server-args="-ac -screen 0 1280x800x24" \
        env -u XAUTHORITY "$tracer" audit --browser "$2" --as "$user" --unattended --site plain \
        --phases fresh,pages,private,cleared --out "$work/$1" < /dev/null > "$work/$1.log" 2>&1 ||
        { echo "$1 failed:" >&2; tail -n 3 "$work/$1.log" >&2; }
    python3 - "$work/$1/report.json" "$table" "$1" <<'PYTHON'
import json, re, sys, time
report, table, name = sys.argv[1:]
try:
    report = json.load(open(report))
except OSError:
    report = {"subject": {"version": None}, "phases": []}
pages = [page for phase in report["phases"] for page in phase["visits"]]
opened = sum(page["served"] is True for page in pages)
version = (report["subject"]["version"] or "not known").replace("|", "/")
row = f"| `{name}` | {time.strftime('%Y-%m-%d')} | {version} | {opened} of {len(pages)} |\n"
text = open(table).read()
pattern = re.compile(rf"^\| `{name}` \|.*\n", re.M)
text = pattern.sub(row, text) if pattern.search(text) else text.rstrip("\n") + "\n" + row
open(table, "w").write(text)
print(row, end="")
PYTHON
}

try chromium Chromium chromium
try firefox Firefox firefox-esr
try brave Brave brave-browser
try vivaldi Vivaldi vivaldi
try edge Edge microsoft-edge
try opera Opera opera
try epiphany "GNOME Web" epiphany-browser
try falkon Falkon falkon
try konqueror Konqueror konqueror
try qutebrowser qutebrowser qutebrowser
try surf surf surf
try luakit luakit luakit
try netsurf NetSurf netsurf-gtk
try dillo Dillo dillo
try w3m w3m w3m
try lynx Lynx lynx
try links Links links2
try elinks ELinks elinks
