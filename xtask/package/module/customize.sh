# Sourced by the installer of Magisk, KernelSU or APatch.

case $ARCH in
    @ARCH@) ;;
    *) abort "This module is for @ARCH@, and the device is $ARCH." ;;
esac

set_perm "$MODPATH/system/bin/tracer" 0 0 0755
ui_print "Alerts: logcat -s tracer, or, as root, tracer alerts"
ui_print "Does it work here? As root, tracer doctor"
