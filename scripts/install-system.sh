#!/usr/bin/env bash
# Installs what Debian and Ubuntu lack for this project, and nothing that is there:
#
#   bash scripts/install-system.sh venv       Python's venv module
#   bash scripts/install-system.sh display    an X server and OpenGL, for the window tests
#
# As root it calls apt-get; otherwise it prints the command to run and fails.
# On macOS and Windows, where nothing of this is missing, it does nothing.
set -euo pipefail

command -v dpkg-query >/dev/null || exit 0

case "${1:-}" in
  venv)
    wanted=(python3-venv)
    ;;
  display)
    # Qt 6 draws through the xcb plugin, which loads these at run time.
    wanted=(
      xvfb xauth libgl1 libegl1 libgl1-mesa-dri libdbus-1-3 libfontconfig1
      libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1
      libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0
    )
    ;;
  *)
    echo "usage: install-system.sh venv|display" >&2
    exit 2
    ;;
esac

missing=()
for package in "${wanted[@]}"; do
  state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}"
else
  echo "Missing system packages. Run: sudo apt-get install ${missing[*]}" >&2
  exit 1
fi
