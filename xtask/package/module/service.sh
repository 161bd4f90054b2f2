#!/system/bin/sh
# Started by Magisk, KernelSU or APatch late during boot.

module=${0%/*}

# The list of packages and the log are there once Android has booted.
until [ "$(getprop sys.boot_completed)" = 1 ]; do
    sleep 5
done

# Alerts are in the log (`logcat -s tracer`) and in the store (`tracer alerts`).
exec "$module/system/bin/tracer" run --browsers --log logcat >/dev/null 2>&1 </dev/null
