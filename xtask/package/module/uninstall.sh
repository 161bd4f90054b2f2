#!/system/bin/sh
# Removes what tracer stored. The manager removes the module itself.

pkill -x tracer
rm -rf /data/local/tmp/tracer
