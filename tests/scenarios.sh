#!/bin/sh
# Tries the embedded scenarios of the browsers that are installed: a short audit of each, on a screen of
# its own. Records in docs/measurements/scenarios.md when each last ran, and how many pages it opened.
#
#   sudo tests/scenarios.sh TRACER [USER]      USER runs the browsers (default: nobody-like `tracer-try`)
set -eu
tracer=$(realpath "${1:?give the path of a tracer}")
user=${2:-tracer-try}
table=$(dirname "$(realpath "$0")")/../docs/measurements/scenarios.md
id "$user" > /dev/null 2>&1 || useradd --create-home "$user"
work=$(mktemp -d)
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT

try() { # scenario, browser, program
    command -v "$3" > /dev/null || { echo "$1: $3 is not installed" >&2; return 0; }
    # Any user may use the screen, and each audit has a session bus of its own.
    xvfb-run --auto-servernum --server-args="-ac -screen 0 1280x800x24" dbus-run-session -- \
        "$tracer" audit --browser "$2" --as "$user" --unattended --site plain \
        --phases fresh,pages,private,cleared --out "$work/$1" < /dev/null > "$work/$1.log" 2>&1 || true
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
