# shellcheck shell=bash disable=SC2034
# The Debian 12 packages that the scripts need, in one place. Sourced after common.sh.

# To compile and install.
BUILD_PACKAGES=(
  g++ cmake ninja-build pkg-config
  libnl-3-dev libnl-route-3-dev libnftnl-dev libmnl-dev libip4tc-dev libip6tc-dev
  nlohmann-json3-dev libfmt-dev libcli11-dev libyaml-cpp-dev libisofs-dev libsystemd-dev
  zlib1g-dev liblzma-dev libzstd-dev liblz4-dev
)
# To make the demo guest: its kernel and dropbear are downloaded and unpacked, never installed.
GUEST_PACKAGES=(busybox-static cpio gzip binutils ca-certificates openssh-client)
# To boot it and to look at its network.
RUN_PACKAGES=(qemu-system-x86 iproute2 iputils-ping curl passwd openssh-client tar)
# To run the tests and the checks.
TEST_PACKAGES=(
  doctest-dev mold clang-format-19 clang-tidy-19 clang-19 libclang-rt-19-dev shellcheck
  nftables iptables netcat-openbsd strace socat tcpdump dnsmasq-base procps systemd util-linux git python3 python3-pip
  python3-jsonschema python3-yaml dbus-daemon python3-dbus python3-gi python3-nftables zsh fish checkpolicy dpkg-dev file
)
# An SSH server for the tests: unpacked into a folder.
SSHD_UNPACKED=(openssh-server libwrap0)
# containerd for the harness: unpacked too, since an installed one would be started here.
CONTAINERD_UNPACKED=(containerd runc)
# firewalld, likewise: the four above are what it stands on.
FIREWALLD_UNPACKED=(firewalld python3-firewall)
# To make disk images (scripts/build-image).
IMAGE_PACKAGES=(mmdebstrap e2fsprogs)
# To cross-compile for arm64 and to run what comes out; the libraries are that architecture's.
ARM64_PACKAGES=(
  crossbuild-essential-arm64 qemu-user-static qemu-system-arm libc6-dev:arm64 libnl-3-dev:arm64 libnl-route-3-dev:arm64
  libnftnl-dev:arm64 libmnl-dev:arm64 libip4tc-dev:arm64 libip6tc-dev:arm64 libfmt-dev:arm64 libyaml-cpp0.7:arm64 libisofs-dev:arm64
  zlib1g-dev:arm64 liblzma-dev:arm64 libzstd-dev:arm64 liblz4-dev:arm64
)
# Of those, the ones that cannot be installed beside this machine's own: unpacked into a folder.
ARM64_UNPACKED=(libyaml-cpp-dev:arm64 libyaml-cpp0.7:arm64)

# missing_packages NAME[:ARCH]...: prints those that are not installed; without ARCH this machine's own is meant.
missing_packages() {
  local name own
  own=$(dpkg --print-architecture)
  for name in "$@"; do
    dpkg-query -W -f '${Package} ${Package}:${Architecture} ${Architecture} ${db:Status-Status}\n' "$name" 2>/dev/null |
      awk -v name="$name" -v own="$own" '
        $4 == "installed" && ($2 == name || ($1 == name && ($3 == own || $3 == "all"))) { found = 1 }
        END { exit !found }' || printf '%s\n' "$name"
  done
}

# install_packages LOG NAME...: installs what is missing; nothing to do, nothing is asked of the network.
install_packages() {
  local log=$1 missing
  shift
  have dpkg-query || die "no dpkg here: this script knows Debian 12" "install the packages of scripts/lib/packages.sh by hand"
  mapfile -t missing < <(missing_packages "$@")
  if [ "${#missing[@]}" -eq 0 ]; then
    say "    all there already"
    return 0
  fi
  [ "$(id -u)" -eq 0 ] || die "packages are missing: ${missing[*]}" "run this as root, or apt-get install them first"
  say "    installing ${missing[*]}"
  quiet "$log" apt_install "${missing[@]}"
}

apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get -q update && apt-get -q install -y --no-install-recommends "$@"
}

# unpack_packages DIR NAME...: downloads packages and unpacks them there.
unpack_packages() {
  local root=$1 package
  shift
  rm -rf "$root" && mkdir -p "$root/debs" || return
  (cd "$root/debs" && apt-get -q -o APT::Sandbox::User=root download "$@") || return
  for package in "$root"/debs/*.deb; do dpkg -x "$package" "$root" || return; done
}
