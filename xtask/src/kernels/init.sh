#!/bin/sh
# The first process of a guest (see ../kernels.rs): mounts what Linux programs expect, loads modules, runs the tests that
# /tests names, and ends the machine. What it and the tests say goes over the second serial line; the kernel's own words
# go over the first.
export PATH=/usr/bin:/usr/sbin
export HOME=/root

mount -t devtmpfs dev /dev
exec >/dev/ttyS1 2>&1 </dev/null
# As it is written: no carriage returns.
stty -F /dev/ttyS1 -opost

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t bpf bpf /sys/fs/bpf
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t debugfs debug /sys/kernel/debug

# Whoever started this machine may have been killed: it does not go on for ever.
(sleep 1800; poweroff -f) &

echo "guest: kernel $(uname -r)"
while read -r module; do
    insmod "/modules/$module.ko" || echo "guest: module $module does not load"
done </modules/order
ip link set lo up

# One at a time: qemu's translated CPUs are slow, and tests wait for each other's grace periods.
# shellcheck disable=SC2046
/target/debug/deps/all --exact --test-threads 1 $(cat /tests)
echo "guest: the tests ended with status $?"
poweroff -f
