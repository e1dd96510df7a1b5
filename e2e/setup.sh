#!/bin/sh
# Installs the Debian packages that the test host and the guest are made of,
# and nothing if they are all there. Runs as root, or by way of sudo.
set -eu

# What a host boots and runs; gcc and libc6-dev are for testhost/boot/xstate.c.
host="user-mode-linux kmod udev iproute2 procps gcc libc6-dev lvm2 thin-provisioning-tools mdadm cryptsetup-bin xfsprogs
	libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils ovmf virtinst"
# What a host boots with and unlocks disks by: systemd as its process 1, a tang
# server, and a TPM in software.
boot="systemd-sysv dbus clevis-luks clevis-systemd tang swtpm libtss2-tcti-swtpm0 libtss2-esys-3.0.2-0 libtss2-mu0 libtss2-rc0"
# What the guest is built from, besides its kernel, which is fetched, not installed.
guest="busybox-static e2fsprogs fdisk grub-common grub-pc-bin genisoimage"
# What libvirt's own domain files are unpacked and judged with, and the man pages.
corpus="libxml2-utils xz-utils groff-base"
# What judges and installs the packages.
packages="lintian rpm man-db"
# What completes its commands.
shells="zsh fish"
# What docs/verification.md has people type.
pages="xxd"
# Who else copies disks, for make bench.
peers="libnbd-bin"

# shellcheck disable=SC2086 # one word a package
there=" $(dpkg-query -W -f '${db:Status-Status}:${Package} ' $host $boot $guest $corpus $packages $shells $pages $peers 2>/dev/null || true)"
missing=
for package in $host $boot $guest $corpus $packages $shells $pages $peers; do
	case $there in
	*" installed:$package "*) ;;
	*) missing="$missing $package" ;;
	esac
done
# An apt that knows no packages can't fetch the guest's kernel either.
known=$(apt-cache pkgnames linux-image-cloud-amd64)
[ -n "$missing" ] || [ -z "$known" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || { echo "e2e/setup.sh: run it as root, to install:$missing" >&2; exit 1; }
	as_root=sudo
fi
$as_root apt-get update -qq
[ -z "$missing" ] || {
	echo "installing:$missing"
	# shellcheck disable=SC2086 # one word a package
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
