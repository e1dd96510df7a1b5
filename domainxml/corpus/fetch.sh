#!/bin/sh
# Fetch the domain files of libvirt's own test suites, for the tests with the
# build tag "corpus":
#
#     domainxml/corpus/fetch.sh && go test -tags corpus ./domainxml
#
# The suites are part of Debian's source packages of libvirt, 9.0 (bookworm)
# and 11.3 (trixie). apt downloads and verifies the package lists, with a
# configuration of its own in a temporary folder: nothing under /etc, /var/lib
# or /var/cache changes, and no rights are needed. It needs apt, xz-utils, tar
# and debian-archive-keyring; the tests also need xmllint (libxml2-utils). An
# archive that is there already is kept.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
into=${1:-$here/../../.cache/libvirt}
mkdir -p "$into"
into=$(cd "$into" && pwd)

# version, SHA-256 of the archive (from Debian's Sources lists)
archives="9.0.0 deca5cff1b7baac297bca9663907c61f71a47183371dc7ac019c107806d5435a
11.3.0 6bcb0c42c4580436fea262ced56f68a6afe20f7390b1bea2116718cc034a0283"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/archives/partial"
key=/usr/share/keyrings/debian-archive-keyring.gpg
# The mirror that this machine takes Debian's packages from.
mirror=$(apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
	sed -n 's/^Debian main [^ -]* //p' | head -n 1)
[ -n "$mirror" ] || { echo "fetch.sh: apt knows no Debian mirror; run apt-get update first" >&2; exit 1; }
for suite in bookworm trixie; do
	echo "deb-src [signed-by=$key] $mirror $suite main"
done >"$work/sources.list"
apt() {
	apt-get -q -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- \
		-o Dir::State::lists="$work/lists" -o Dir::Cache="$work" \
		-o Dir::Cache::archives="$work/archives" -o APT::Sandbox::User=root "$@"
}

fresh=no
echo "$archives" | while read -r version sum; do
	[ -f "$into/libvirt-$version/src/conf/schemas/domain.rng" ] && continue
	if [ "$fresh" = no ]; then
		apt update
		fresh=yes
	fi
	cd "$work"
	# The source's detached signature is not on every mirror; the archive's
	# checksum below stands in for it.
	apt source --download-only "libvirt=$(apt-cache -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- \
		-o Dir::State::lists="$work/lists" -o Dir::Cache="$work" showsrc libvirt |
		sed -n "s/^Version: \($version-.*\)/\1/p" | head -n 1)" || true
	echo "$sum  libvirt_$version.orig.tar.xz" | sha256sum -c
	mkdir -p "$work/unpacked"
	tar -xf "libvirt_$version.orig.tar.xz" -C "$work/unpacked" --wildcards '*/tests/*.xml' '*/src/conf/schemas/*.rng'
	rm -rf "$into/libvirt-$version"
	mv "$work/unpacked/libvirt-$version" "$into/"
done
find "$into" -type f -name '*.xml' | wc -l
