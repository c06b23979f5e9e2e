#!/bin/sh
# Run by acpid when the power button is pressed.
echo "polyvirt-guest off (power button)" >/dev/console
/bin/poweroff -f
