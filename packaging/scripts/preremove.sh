#!/bin/sh
# "remove" is dpkg's word and 0 is rpm's for: not to make room for another
# version. Units that were enabled would be links to nothing. None is stopped:
# the disks of running guests stay open.
set -e
case ${1-} in
remove | 0)
	if command -v systemctl >/dev/null; then
		for unit in /usr/lib/systemd/system/vmmigrate*; do
			[ ! -f "$unit" ] || systemctl --quiet --no-reload disable "${unit##*/}" || true
		done
	fi
	;;
esac
