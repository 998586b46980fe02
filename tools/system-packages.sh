#!/usr/bin/env bash
# Installs the system packages that no Python package brings, on Debian and Ubuntu, as root or with a sudo that asks
# for no password. Elsewhere it names them and ends well: only the tests that need them are skipped, and say so.
set -eu

opencv="libgl1 libglib2.0-0"                                   # libGL.so.1, libgthread-2.0.so.0
simulator="libegl1 libegl-mesa0 libgl1-mesa-dri libglu1-mesa"  # EGL without a screen, and GLU for pyglet
arm="qemu-user libc6-armhf-cross libc6-arm64-cross"             # to run what is built for boards, as on them

# A real RTSP server for the tests of network cameras.
stream="python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"
browser="chromium chromium-driver"                              # for the preview's page; Ubuntu has it as a snap only

wanted="$opencv $simulator $arm $stream"
if command -v apt-cache >/dev/null && apt-cache policy chromium-driver 2>/dev/null | grep -q 'Candidate: [0-9]'; then
    wanted="$wanted $browser"
fi

installed() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed' ||
        dpkg-query -W -f '${Status}' "${1}t64" 2>/dev/null | grep -q 'ok installed' # Ubuntu 24.04's name
}

missing=""
for package in $wanted; do
    installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "no apt-get here; for all tests install what Debian calls:$missing" >&2
    exit 0
fi
as_root=""
if [ "$(id -u)" != 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        echo "not root, and sudo wants a password; for all tests run: sudo apt-get install$missing" >&2
        exit 0
    fi
    as_root="sudo -n"
fi

echo "installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
install() { $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null; }
if ! install 2>/dev/null; then
    $as_root apt-get update -qq && install ||
        echo "apt-get could not install$missing; the tests that need them are skipped" >&2
fi
