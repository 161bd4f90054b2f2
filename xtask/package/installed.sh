#!/bin/sh
# Uses the Debian package as its users do, in a fresh Debian: cargo xtask test --all runs it as root in a
# changed root directory, with /proc, /sys and /dev of the machine.
#
#   installed.sh PACKAGE
set -eu
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
package=$1
fail() { echo "error: $*" >&2; exit 1; }

apt-get install --yes --no-install-recommends "$package"

for page in tracer tracer-run tracer-audit tracer-alerts; do
    man "$page" > /tmp/page || fail "man $page"
    [ "$(wc -l < /tmp/page)" -gt 10 ] || fail "man $page shows nothing"
done

complete='. /usr/share/bash-completion/bash_completion; _completion_loader tracer || true
COMP_WORDS=(tracer au) COMP_CWORD=1 COMP_LINE="tracer au" COMP_POINT=9
_tracer tracer au tracer; echo "${COMPREPLY[@]}"'
[ "$(bash -c "$complete")" = audit ] || fail "bash does not complete audit"

tracer doctor
tracer demo > /tmp/demo
grep -q 'The tattling client: 3 alerts' /tmp/demo || fail "the demo raises no alerts"
tracer browsers

# As systemd starts it, without the journal, which is not there.
unit=/usr/lib/systemd/system/tracer.service
start=$(sed -n 's/^ExecStart=//p' "$unit" | sed 's/ --log journald//')
export STATE_DIRECTORY=/var/lib/tracer
mkdir -m 700 -p "$STATE_DIRECTORY"
$start > /tmp/out 2> /tmp/err &
service=$!
waited=0
until grep -q 'watching; press' /tmp/err; do
    [ "$waited" -lt 120 ] || { cat /tmp/err >&2; fail "the service does not watch"; }
    sleep 0.5
    waited=$((waited + 1))
done
kill -HUP "$service"
kill -TERM "$service"
wait "$service" || { cat /tmp/err >&2; fail "the service ends with an error"; }
grep -q 'requests read' /tmp/err || fail "the service prints no summary"
[ -s "$STATE_DIRECTORY/tracer.db" ] || fail "the service makes no store"
unset STATE_DIRECTORY

apt-get install --yes --reinstall "$package"
[ -s /var/lib/tracer/tracer.db ] || fail "an upgrade removes the store"
apt-get remove --yes tracer
[ -s /var/lib/tracer/tracer.db ] || fail "removing the package removes the store"
apt-get purge --yes tracer
# man-db removes the pages that it formatted once a day.
left=$(find / -xdev -name '*tracer*' -not -path '/proc/*' -not -path '/sys/*' -not -path '/dev/*' \
    -not -path '/var/cache/man/*' -not -path "$package")
[ -z "$left" ] || fail "a purge leaves files: $left"
if man -w tracer 2> /dev/null; then fail "the manual outlives a purge"; fi
echo "installed, used, upgraded and purged"
