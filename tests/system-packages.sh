#!/bin/sh
# Install the system packages the tests need, where this user may; else say what is missing and go on.
# With "acceptance": those that build and boot a guest machine instead.
set -u
packages="gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base gstreamer1.0-plugins-good
gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly ffmpeg chromium chromium-driver mosquitto"
[ "${1:-}" != acceptance ] || packages="qemu-system-x86 mmdebstrap e2fsprogs systemd-container"
command -v dpkg-query >/dev/null 2>&1 || { echo "not a Debian system: tests that need $packages skip"; exit 0; }
missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ]; then sudo=""; elif sudo -n true 2>/dev/null; then sudo="sudo -n"; else
    echo "may not install$missing: tests that need them skip; run: sudo apt-get install$missing"
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
{ $sudo apt-get update -q && $sudo apt-get install -y -q --no-install-recommends $missing; } >/dev/null ||
    echo "could not install$missing: tests that need them skip"
