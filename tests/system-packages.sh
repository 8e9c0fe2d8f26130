#!/bin/sh
# Install the system packages the tests need, where this user may; else say what is missing and go on.
# With "acceptance": those that build and boot a guest machine instead.
set -u
packages="gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base gstreamer1.0-plugins-good
gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-tools ffmpeg chromium chromium-driver mosquitto"
[ "${1:-}" != acceptance ] || packages="qemu-system-x86 mmdebstrap e2fsprogs systemd-container"
command -v dpkg-query >/dev/null 2>&1 || { echo "not a Debian system: tests that need $packages skip"; exit 0; }
missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing="$missing $package"
done
promtool=""
[ "${1:-}" = acceptance ] || command -v promtool >/dev/null || promtool=" promtool"
[ -n "$missing$promtool" ] || exit 0
if [ "$(id -u)" = 0 ]; then sudo=""; elif sudo -n true 2>/dev/null; then sudo="sudo -n"; else
    echo "may not install$missing$promtool: tests that need them skip; run as root: sh $0 $*"
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
{ $sudo apt-get update -q && $sudo apt-get install -y -q --no-install-recommends $missing; } >/dev/null ||
    echo "could not install$missing: tests that need them skip"
[ -n "$promtool" ] || exit 0
# One program of the package prometheus: installed as a whole it would start a server.
scratch=$(mktemp -d) && cd "$scratch" && apt-get download -q -o APT::Sandbox::User=root prometheus >/dev/null &&
    dpkg-deb --fsys-tarfile prometheus_*.deb | $sudo tar -xC /usr/local --strip-components=2 ./usr/bin/promtool ||
    echo "could not install promtool: tests that need it skip"
rm -rf "$scratch"
