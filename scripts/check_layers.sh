#!/bin/bash
# Dependencies point down only: base <- addr <- net, netfilter, cni <- ipam <- plugins; the runner stands on lib alone.
# Prints each include that breaks a rule and exits 1, or nothing.
set -euo pipefail
cd "${1:-$(dirname "$0")/..}"
broken=0
bad() { printf '%s\n' "$1"; broken=1; }

# What a folder may include of ours, as an extended regular expression of paths.
allowed_of() {
  case $1 in
    lib/base/*) echo '^lib/base/' ;;
    lib/addr/*) echo '^lib/(base|addr)/' ;;
    lib/net/*) echo '^lib/(base|addr|net)/' ;;
    lib/netfilter/nftables/*) echo '^lib/((base|addr|netfilter/nftables)/|netfilter/[^/]*$)' ;;
    lib/netfilter/iptables/*) echo '^lib/((base|addr|netfilter/iptables)/|netfilter/[^/]*$)' ;;
    lib/netfilter/*) echo '^lib/(base|addr|netfilter)/' ;;
    lib/cni/*) echo '^lib/(base|addr|cni)/' ;;
    ipam/*) echo '^(lib|ipam)/' ;;
    plugins/*) echo "^(lib|ipam|$(dirname "$1"))/" ;;
    runner/*) echo '^(lib|runner)/' ;;
    *) echo . ;;
  esac
}

# Each C library's folder; everybody else goes through that folder's own headers.
owner_of() {
  case $1 in
    netlink/*) echo lib/net ;;
    libmnl/*) echo lib/netfilter ;;
    libnftnl/*) echo lib/netfilter/nftables ;;
    libiptc/* | xtables.h) echo lib/netfilter/iptables ;;
    boost/* | CLI/*) echo runner ;;
    yaml-cpp/*) echo runner ;;
    libisofs/*) echo runner/guest ;;
    systemd/*) echo plugins/firewall ;;
  esac
}

mapfile -t sources < <(find lib ipam plugins runner -name '*.cc' -o -name '*.h' | sort)
for file in "${sources[@]}"; do
  allowed=$(allowed_of "$file")
  while read -r include; do
    [ -n "$include" ] || continue
    [[ $include =~ $allowed ]] || bad "$file: includes \"$include\", which is not below it"
    # A header with kernel or C library types is its folder's own business.
    if [ -f "$include" ] && [ "$(dirname "$include")" != "$(dirname "$file")" ] &&
      grep -qE '^#include <(netlink|libnftnl|libmnl|libiptc|linux)/' "$include"; then
      bad "$file: includes \"$include\", which shows kernel or C library headers and is private to $(dirname "$include")"
    fi
  done < <(sed -nE 's/^#include "([^"]+)".*/\1/p' "$file")
  while read -r include; do
    [ -n "$include" ] || continue
    owner=$(owner_of "$include")
    [ -z "$owner" ] || [[ $file == "$owner"/* ]] || bad "$file: includes <$include>, which only $owner may"
    case $file:$include in
      lib/base/*:nlohmann/* | lib/addr/*:nlohmann/* | lib/net/*:nlohmann/* | lib/netfilter/*:nlohmann/*)
        bad "$file: includes <$include>: JSON starts at lib/cni" ;;
      *:iostream) bad "$file: includes <iostream>, whose constructors run before every main" ;;
    esac
  done < <(sed -nE 's/^#include <([^>]+)>.*/\1/p' "$file")
done

# A plugin starts no shell and no tool.
while read -r hit; do
  [ -n "$hit" ] && bad "$hit: starts a shell"
done < <(grep -nEH '(^|[^_a-zA-Z0-9.>:"])(system|popen)\(' "${sources[@]}" | cut -d: -f1,2)
exit "$broken"
