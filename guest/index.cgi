#!/bin/busybox sh
# shellcheck shell=dash
# The page that the guest serves: who it is and how long it has been up.
name=$(hostname)
addresses=$(ip -o addr show scope global | awk '{printf "%s%s", sep, $4; sep = " "}')
uptime=$(cut -d' ' -f1 /proc/uptime)
cat <<EOF
Content-Type: text/html

<!doctype html>
<title>$name</title>
<h1>Hello from $name</h1>
<p>address: $addresses</p>
<p>up for $uptime s on Linux $(uname -r)</p>
EOF
