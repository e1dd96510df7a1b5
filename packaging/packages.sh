#!/bin/sh
# Makes dist/*.deb and dist/*.rpm, the same bytes from the same commit whoever
# does it and whenever. `make packages` calls it with nfpm's path.
set -eu
cd "$(dirname "$0")/.."
umask 022
export LC_ALL=C TZ=UTC
nfpm=$1

# The day of a package is that of its commit, and the version is that of its tag.
# After a tag, and without one, the commit's second goes into it, so that what was
# committed later counts as newer to dpkg and rpm; ~ is older than nothing.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
described=$(git describe --tags --match 'v[0-9]*' --abbrev=0 2>/dev/null || true)
if [ -n "$described" ] && [ "$(git rev-list -n 1 "$described")" = "$(git rev-parse HEAD)" ]; then
	version=${described#v}
else
	commit=$(git log -1 --format=%h --abbrev=12)
	version=${described#v}
	version=${version:-0}+git$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d.%H%M%S).$commit
fi
[ -z "$(git status --porcelain)" ] || version=$version+changed
PACKAGE_VERSION=$(printf %s "$version" | tr - '~')
GOARCH=${GOARCH:-$(go env GOARCH)}
export SOURCE_DATE_EPOCH PACKAGE_VERSION GOARCH

rm -rf dist
mkdir -p dist
for kind in deb rpm; do
	root=dist/$kind
	zsh=vendor-completions
	[ $kind = deb ] || zsh=site-functions
	# -s -w: nothing that only a debugger reads. Panics still tell lines.
	make -s install DESTDIR="$PWD/$root" PREFIX=/usr ZSH=$zsh VERSION="$PACKAGE_VERSION" LDFLAGS="-s -w" >&2
	# gzip's own header would hold the time (Debian policy, 12.1).
	gzip -9n "$root"/usr/share/man/man8/*.8
	packaging/copyright.sh >"$root/usr/share/doc/vmmigrate/copyright"
done
install -m 0644 LICENSE dist/rpm/usr/share/doc/vmmigrate/
install -D -m 0644 packaging/lintian-overrides dist/deb/usr/share/lintian/overrides/vmmigrate
find dist -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

# What changed since the tag before; a line of a Debian changelog has 80 columns.
{
	echo "- semver: '$PACKAGE_VERSION'"
	echo "  date: $(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)"
	echo "  packager: vmmigrate developers <vmmigrate@users.noreply.github.com>"
	echo "  deb: {urgency: medium, distributions: [unstable]}"
	echo "  changes:"
	before=$(git describe --tags --match 'v[0-9]*' --abbrev=0 HEAD^ 2>/dev/null || true)
	if [ -n "$before" ]; then
		git log --no-merges --format=%s "$before.."
	else
		echo "Built from commit $(git rev-parse HEAD)."
	fi | while read -r subject; do
		echo "    - note: |-"
		echo "$subject" | fold -s -w 72 | sed 's/ *$//; s/^/        /'
	done
} >dist/changelog.yaml

for kind in deb rpm; do
	"$nfpm" package --config packaging/nfpm.yaml --packager $kind --target dist/ >&2
done
ls dist/*.deb dist/*.rpm
