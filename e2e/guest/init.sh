#!/bin/sh
# The guest's process 1, in its initramfs. It writes nothing to any disk.
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec </dev/null >/dev/ttyS0 2>&1
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
	insmod "/modules/$module.ko"
done

echo "GUEST up"
# noload: mounting must not replay a journal, even on a copy that tore.
mount -t ext4 -o ro,noload /dev/vda2 /root || echo "GUEST cannot mount its root"
echo "SAYS $(cat /root/etc/mail-server-says)"
# One with this serial number is a server: it runs until its power button is
# pressed.
if [ "$(cat /sys/class/dmi/id/product_serial)" = stay ]; then
	insmod /modules/button.ko
	insmod /modules/evdev.ko
	for events in /dev/input/event*; do
		(head -c 1 "$events" >/dev/null && echo "GUEST button" && poweroff -f) &
	done
	echo "GUEST serves"
	wait
fi
for disk in /sys/block/vd*; do
	name=${disk##*/}
	sum=$(sha256sum <"/dev/$name")
	echo "DISK $name $(($(cat "$disk/size") * 512)) bytes SHA256 ${sum%% *}"
done
echo "GUEST done"
poweroff -f
