#!/bin/sh
# First program of polyvirt's tiny guest. It tells its NUMA topology on the console and waits to be switched off.
#
# Lines for programs begin with "polyvirt-guest ":
#   polyvirt-guest ready
#   polyvirt-guest cpus 0-7
#   polyvirt-guest node 0 cpus 0-1 memory 61440 kB distances 10 20 20 20
#   polyvirt-guest end
# Off: the ACPI power button, or the line "poweroff" on the console. "reboot" and "topology" are understood too, and after "sh " comes
# a command, which is run; when it is done, its status follows its output:
#   polyvirt-guest status 0
/bin/busybox mkdir -p /proc /sys /dev /run /var/run
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
dmesg -n 1
# The console may echo nothing: what is typed is a command, not text to be seen twice.
stty -echo 2>/dev/null

# button: the ACPI power button as an input device; evdev: /dev/input/event*, which acpid reads.
for module in /modules/*.ko; do
    [ ! -e "$module" ] || insmod "$module" || echo "polyvirt-guest: insmod $module failed"
done
acpid -d -c /etc/acpi >/dev/null 2>&1 </dev/null &
acpid=$!
# "ready" promises that a press of the button is seen: wait, a second at most, until acpid has the device open.
tries=0
while [ -e /dev/input/event0 ] && [ $tries -lt 50 ] && ! ls -l /proc/$acpid/fd 2>/dev/null | grep -q /dev/input/event; do
    usleep 20000
    tries=$((tries + 1))
done

topology() {
    echo "polyvirt-guest cpus $(cat /sys/devices/system/cpu/online)"
    for node in $(ls -d /sys/devices/system/node/node[0-9]* 2>/dev/null | sort -t e -k 4 -n); do
        memory=$(awk '/MemTotal/ { print $4, $5 }' "$node/meminfo")
        echo "polyvirt-guest node ${node##*/node} cpus $(cat "$node/cpulist") memory $memory distances $(cat "$node/distance")"
    done
    echo "polyvirt-guest end"
}

# The firmware may have left the cursor behind control sequences: begin a line of our own.
echo
echo "polyvirt-guest ready"
topology

# The first program may never end: the kernel would panic. So the loop outlives a console that ends or was never there.
while :; do
    if read -r line; then
        case $line in
            poweroff) echo "polyvirt-guest off"; poweroff -f ;;
            reboot) reboot -f ;;
            topology) topology ;;
            "sh "*) (eval "${line#sh }"); echo "polyvirt-guest status $?" ;;
            "") ;;
            *) echo "polyvirt-guest: '$line' is not understood: poweroff, reboot, topology or sh COMMAND" ;;
        esac
    else
        sleep 1
    fi
done
