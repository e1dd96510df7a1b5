#!/bin/sh
# The first program of the test host, and its process 1. The kernel starts it
# with the machine's own files as its root, over hostfs and read-only. It
# builds a root that may be written to and forgets all of it at the end, and
# hands over to the agent, which does what the harness asks for.
#
# $0 is on the machine; beside it lie what this host needs:
#   agent     the program that listens on the serial line
#   settings  shell variables: PERSIST (a device, or empty), CACHE (a folder
#             that outlives this host, for QEMU's capabilities), MODULES (the
#             folder with those of this kernel), SYSTEMD (yes: systemd takes over
#             as process 1; or empty)
#   bin/      programs to be found in PATH
#   requests/ what the harness asks of the agent (package wire)
#   share/    files that go in and out
here=${0%/*}
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
. "$here/settings"

# 1. A root: the machine's files below, a tmpfs above that takes all writes.
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /mnt
insmod "$MODULES/$(uname -r)/kernel/fs/overlayfs/overlay.ko"
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
cd /mnt/root || exit 1
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t devtmpfs devtmpfs dev
# Five hundred terminals of 1990, which no host has today, and all of which
# every lvm command looks at.
rm -f dev/[pt]ty[a-ep-z][0-9a-f]
mkdir -p dev/pts dev/shm
ln -s /proc/self/fd dev/fd
for i in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${i%:*}" "dev/${i#*:}"; done
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir -p run/lock run/lvm testhost usr/lib/modules
mount --bind "$MODULES" usr/lib/modules

# 2. What the machine's own services left in these places is not this host's.
for place in root var/lib/libvirt var/log/libvirt etc/libvirt/qemu etc/libvirt/nwfilter var/lib/vmmigrate etc/lvm/archive etc/lvm/backup; do
	mkdir -p "$place"
	mount -t tmpfs -o mode=755 tmpfs "$place"
done
chmod 700 root var/lib/vmmigrate
mkdir -p var/lib/libvirt/images var/log/libvirt/qemu etc/libvirt/qemu/networks etc/libvirt/qemu/autostart

# 3. The folders shared with the machine, the only way for a write to get out.
mount -t hostfs -o "$here" testhost testhost
mkdir -p var/cache/libvirt
mount -t hostfs -o "$CACHE" cache var/cache/libvirt
for program in testhost/bin/*; do
	ln -s "/$program" "usr/local/bin/${program##*/}"
done

# 4. Into that root. Unlike chroot, pivot_root moves the kernel along, so that
# modprobe finds the modules when dm-crypt asks the kernel for a cipher.
mkdir oldroot
pivot_root . oldroot
cd / || exit 1
umount -l /oldroot
rmdir /oldroot

# 5. As on any host. The machine may be a container, this host is none: systemd
# would neither write out nor unmount at shutdown what it believes to be another's.
rm -f /.dockerenv /run/.containerenv
hostname testhost
ip link set lo up
modprobe -a dm-mod dm-crypt dm-thin-pool loop
places="var/lib/vmmigrate etc/libvirt/qemu var/lib/libvirt"
if [ -n "$SYSTEMD" ]; then
	# What is enabled on the machine is not on this host; its log is kept.
	places="$places etc/systemd/system var/log/journal var/lib/tang"
	for place in etc/systemd/system var/log/journal var/lib/tang; do
		mkdir -p "/$place"
		mount -t tmpfs -o mode=755 tmpfs "/$place"
	done
else
	/usr/lib/systemd/systemd-udevd --daemon 2>/dev/null
	udevadm trigger --subsystem-match=block --subsystem-match=misc
	udevadm settle
fi
if [ -n "$PERSIST" ]; then
	mkdir /persist
	mount -t ext4 "$PERSIST" /persist
	for place in $places; do
		[ -d "/persist/$place" ] || { mkdir -p "/persist/${place%/*}" && cp -a "/$place" "/persist/$place"; }
		mount --bind "/persist/$place" "/$place"
	done
fi

# 6. systemd takes over, and its first unit is the agent; when that ends, the
# host shuts down, unit by unit.
if [ -n "$SYSTEMD" ]; then
	echo 0123456789abcdef0123456789abcdef >/etc/machine-id
	# The machine's disks are not this host's, nor is what it does with a log.
	: >/etc/fstab
	rm -f /etc/crypttab
	mkdir -p /run/systemd/journald.conf.d
	printf '[Journal]\nStorage=persistent\n' >/run/systemd/journald.conf.d/testhost.conf
	# libvirtd may be enabled, and then starts before anybody can say this.
	rm -f /etc/libvirt/qemu.conf /usr/bin/pkttyagent
	cp /testhost/qemu.conf /etc/libvirt/qemu.conf
	# A file that is replaced can't be a mount, so it is a link.
	if [ -n "$PERSIST" ]; then
		mkdir -p /persist/etc
		ln -s /persist/etc/crypttab /etc/crypttab
	fi
	mkdir -p /run/systemd/system/multi-user.target.wants
	cat >/run/systemd/system/testhost-agent.service <<-'unit'
		[Unit]
		DefaultDependencies=no
		Conflicts=shutdown.target
		Before=shutdown.target
		SuccessAction=poweroff
		FailureAction=poweroff
		[Service]
		Environment=HOME=/root
		ExecStart=/testhost/agent /dev/ttyS0 /testhost/requests
	unit
	ln -s ../testhost-agent.service /run/systemd/system/multi-user.target.wants/
	exec /usr/lib/systemd/systemd --unit=multi-user.target --log-target=journal-or-kmsg
fi

# Or else this shell stays: process 1 has to collect the orphans.
HOME=/root /testhost/agent /dev/ttyS0 /testhost/requests

sync
echo u >/proc/sysrq-trigger # remounts all file systems read-only
halt -ff
