#!/bin/sh
# Prints the copyright file of the packages: a static binary holds other people's
# modules, whose licences ask to go along with it.
set -eu
cd "$(dirname "$0")/.."
cat <<END
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: vmmigrate
Source: https://github.com/vmmigrate/vmmigrate
Comment: The program is statically linked. Below vmmigrate's own licence are
 those of the Go modules in it, as they came with them.

Files: *
Copyright: the vmmigrate developers
License: Apache-2.0
 The whole text of the Apache License, version 2.0, is in
 /usr/share/common-licenses/Apache-2.0 on Debian, and elsewhere in LICENSE
 beside this file.
END
go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/vmmigrate |
	sort -u | while read -r module version dir; do
	licence=
	for file in "$dir"/LICENSE* "$dir"/LICENCE* "$dir"/COPYING*; do
		[ ! -f "$file" ] || licence=$file
	done
	[ -n "$licence" ] || { echo "copyright.sh: $module $version has no licence" >&2; exit 1; }
	if grep -q 'Apache License' "$licence"; then
		printf '\nFiles: %s %s\nCopyright: its authors\nLicense: Apache-2.0\n' "$module" "$version"
		[ ! -f "$dir/NOTICE" ] || sed 's/[[:space:]]*$//; s/^$/./; s/^/ /' "$dir/NOTICE"
		continue
	fi
	printf '\nFiles: %s %s\nCopyright: as in the licence\nLicense: as follows\n' "$module" "$version"
	tr -d '\r' <"$licence" | sed 's/[[:space:]]*$//; s/^$/./; s/^/ /'
done
