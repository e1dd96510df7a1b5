#!/bin/sh
# The state stays, also when the package is purged: a header backup may be all
# that opens a damaged volume, and a journal all that takes back a half-done job.
# dpkg says "remove" before it says "purge", and once is enough.
set -e
[ ! -d /run/systemd/system ] || systemctl daemon-reload
case ${1-} in
remove | 0)
	if [ -n "$(ls -A /var/lib/vmmigrate 2>/dev/null)" ]; then
		echo "vmmigrate: /var/lib/vmmigrate is left alone. It holds backups of LUKS headers and the records of jobs;" >&2
		echo "vmmigrate: once you need none of them, remove it yourself: rm -r /var/lib/vmmigrate" >&2
	fi
	;;
esac
